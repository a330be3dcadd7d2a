//! A relay that loses datagrams: what it forwards and what not is told by a seed.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The same message is lost at most so often by one relay, so that every call gets through in time.
const LOSSES_OF_ONE: u32 = 1;
const LOOK: Duration = Duration::from_millis(50);

/// Forwards datagrams between whoever sends to it and one target, in both directions.
pub struct LossyRelay {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

struct State {
    percent: u64,
    dropped: AtomicU64,
    is_ending: AtomicBool,
    chance: Mutex<Chance>,
}

struct Chance {
    random: u64,
    lost: HashMap<Vec<u8>, u32>,
}

impl LossyRelay {
    /// A relay at `front` before `target` that loses `percent` of what it gets.
    pub fn start(front: SocketAddr, target: SocketAddr, percent: u64, seed: u64) -> Self {
        let front = Arc::new(UdpSocket::bind(front).unwrap());
        let back_address = (front.local_addr().unwrap().ip(), 0);
        let back = Arc::new(UdpSocket::bind(back_address).unwrap());
        let client = Arc::new(Mutex::new(None));
        let chance = Mutex::new(Chance {
            random: seed,
            lost: HashMap::new(),
        });
        let state = Arc::new(State {
            percent,
            dropped: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
            chance,
        });
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(LOOK)).unwrap();
        }
        let (there, here) = (Arc::clone(&state), Arc::clone(&state));
        let (to_back, to_front) = (Arc::clone(&back), Arc::clone(&front));
        let learned = Arc::clone(&client);
        let threads = vec![
            std::thread::spawn(move || {
                there.forward(&front, |from, datagram| {
                    *learned.lock().unwrap() = Some(from);
                    let _ = to_back.send_to(datagram, target);
                });
            }),
            std::thread::spawn(move || {
                here.forward(&back, |_, datagram| {
                    if let Some(client) = *client.lock().unwrap() {
                        let _ = to_front.send_to(datagram, client);
                    }
                });
            }),
        ];
        Self { state, threads }
    }

    /// How many datagrams it has lost.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for LossyRelay {
    fn drop(&mut self) {
        self.state.is_ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    fn forward(&self, socket: &UdpSocket, send: impl Fn(SocketAddr, &[u8])) {
        let mut buffer = vec![0; 65_536];
        while !self.is_ending.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let datagram = &buffer[..length];
            if self.is_lost(datagram) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                send(from, datagram);
            }
        }
    }

    fn is_lost(&self, datagram: &[u8]) -> bool {
        let mut chance = self.chance.lock().unwrap();
        // xorshift64
        chance.random ^= chance.random << 13;
        chance.random ^= chance.random >> 7;
        chance.random ^= chance.random << 17;
        if chance.random % 100 >= self.percent {
            return false;
        }
        let lost = chance.lost.entry(datagram.to_vec()).or_default();
        *lost += 1;
        *lost <= LOSSES_OF_ONE
    }
}
