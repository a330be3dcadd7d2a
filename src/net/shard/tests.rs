//! Shards with an engine that answers each datagram with its shard and the datagram.
#![expect(clippy::disallowed_methods, reason = "sockets belong here")]

use std::net::UdpSocket;
use std::time::Duration;

use super::super::clock::stopwatch;
use super::super::socket::{Buffers, bind_shared, local_address};
use super::report::{FIRST_LINE_LIMIT, first_line};
use super::*;
use crate::engine::{Handled, Hop, Unreachable};

/// Answers a datagram. Its first byte names the owner, `boom` panics, `call H:P` sends there
/// and reports `Unreachable` to whoever sent the last one, `later` is answered by a timer, after
/// `full` no new requests are wanted for a while.
struct Echo {
    shard: u16,
    shards: u16,
    last: Option<(SocketAddr, u8)>,
    timer: Option<(u64, SocketAddr)>,
    full_until_ms: u64,
}

impl Handler for Echo {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) -> Handled {
        let (from, listener, bytes) = match input {
            Input::Message { source, bytes } => (source.address, source.listener, bytes),
            Input::Resolved => return Handled::Done,
            Input::Unreachable(Unreachable { to, .. }) => {
                if let Some((from, listener)) = self.last {
                    let hop = Hop::new(from, listener);
                    out.send(&hop, |o| o.extend(format!("gone {to}").bytes()));
                }
                return Handled::Done;
            }
        };
        let owner = u16::from(bytes[0]) % self.shards;
        if owner != self.shard {
            return Handled::Belongs(owner);
        }
        let text = String::from_utf8_lossy(&bytes[1..]).into_owned();
        self.last = Some((from, listener));
        if let Some(to) = text.strip_prefix("call ") {
            out.send(&Hop::new(to.parse().unwrap(), listener), |o| o.push(b'x'));
        } else if text == "boom" {
            out.send(&Hop::new(from, listener), |_| panic!("as asked"));
        } else if text == "full" {
            self.full_until_ms = now.ms + 600;
        } else if text == "later" {
            self.timer = Some((now.ms + 20, from));
        } else {
            let answer = format!("{} {text}", self.shard);
            out.send(&Hop::new(from, listener), |o| o.extend(answer.bytes()));
        }
        Handled::Done
    }

    fn handle_timeouts(&mut self, now: Now, out: &mut Outbox) {
        if let Some((_, to)) = self.timer.take_if(|(at, _)| *at <= now.ms) {
            out.send(&Hop::new(to, 0), |o| o.extend(b"now"));
        }
    }

    fn next_timeout(&self) -> Option<u64> {
        self.timer.map(|(at, _)| at)
    }

    fn wanted(&mut self, now: Now, _is_possible: bool) -> u32 {
        if now.ms < self.full_until_ms {
            0
        } else {
            10_000
        }
    }
}

fn start(listeners: &[&str], shards: usize) -> (Shards, Vec<SocketAddr>) {
    let mut of_shards: Vec<Sockets> = (0..shards).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for listener in listeners {
        let sockets = bind_shared(listener.parse().unwrap(), Buffers::default(), shards).unwrap();
        addresses.push(local_address(&sockets[0]).unwrap());
        for (shard, socket) in of_shards.iter_mut().zip(sockets) {
            shard.push(Some(socket));
        }
    }
    let count = shards as u16;
    let echo = |(shard, sockets)| {
        let engine = move |_| Echo {
            shard,
            shards: count,
            last: None,
            timer: None,
            full_until_ms: 0,
        };
        (sockets, engine)
    };
    let shards = (0..).zip(of_shards).map(echo).collect();
    (
        Shards::start(shards, Clock::start(), 9_000).unwrap(),
        addresses,
    )
}

fn phone(address: &str) -> UdpSocket {
    let phone = UdpSocket::bind(address).unwrap();
    phone
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    phone
}

fn ask(phone: &UdpSocket, to: SocketAddr, text: &[u8]) -> String {
    phone.send_to(text, to).unwrap();
    hear(phone).1
}

fn hear(phone: &UdpSocket) -> (SocketAddr, String) {
    let mut buffer = [0; 65_536];
    let (length, from) = phone.recv_from(&mut buffer).unwrap();
    (
        from,
        String::from_utf8_lossy(&buffer[..length]).into_owned(),
    )
}

fn total(shards: &Shards, number: impl Fn(&HostCounters) -> u64) -> u64 {
    shards.gauges().counters().map(number).sum()
}

#[test]
fn every_shard_answers_for_its_own_calls_whoever_received_them() {
    let (shards, to) = start(&["127.0.0.1:0"], 2);
    let phone = phone("127.0.0.1:0");
    for round in 0..50_u8 {
        assert_eq!(
            ask(&phone, to[0], &[0, b'a' + round % 26]),
            format!("0 {}", (b'a' + round % 26) as char)
        );
        assert_eq!(ask(&phone, to[0], &[1, b'x']), "1 x");
    }
    assert_eq!(total(&shards, |c| c.datagrams_received.get()), 100);
    assert_eq!(total(&shards, |c| c.handed_over.get()), 50);
    assert_eq!(total(&shards, |c| c.handed_in.get()), 50);
    assert_eq!(total(&shards, |c| c.handover_drops.get()), 0);
}

#[test]
fn answers_leave_from_the_listener_that_was_asked() {
    let (_shards, to) = start(&["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"], 2);
    let (four, six) = (phone("127.0.0.1:0"), phone("[::1]:0"));
    for (phone, to) in [(&four, to[0]), (&six, to[1]), (&four, to[2])] {
        for owner in [0, 1] {
            phone.send_to(&[owner, b'x'], to).unwrap();
            assert_eq!(hear(phone), (to, format!("{owner} x")));
        }
    }
}

#[test]
fn a_burst_is_answered_in_order() {
    let (_shards, to) = start(&["127.0.0.1:0"], 2);
    let phone = phone("127.0.0.1:0");
    for owner in [0_u8, 1] {
        for i in 0..200 {
            let text = [&[owner], format!("{i}").as_bytes()].concat();
            phone.send_to(&text, to[0]).unwrap();
        }
        for i in 0..200 {
            assert_eq!(hear(&phone).1, format!("{owner} {i}"));
        }
    }
}

#[test]
fn a_panic_costs_one_message() {
    let (shards, to) = start(&["127.0.0.1:0"], 1);
    let phone = phone("127.0.0.1:0");
    phone.send_to(b"\0before", to[0]).unwrap();
    phone.send_to(b"\0boom", to[0]).unwrap();
    phone.send_to(b"\0after", to[0]).unwrap();
    assert_eq!(
        (hear(&phone).1, hear(&phone).1),
        ("0 before".to_owned(), "0 after".to_owned())
    );
    assert_eq!(total(&shards, |c| c.panics.get()), 1);
    assert!(!shards.have_failed());
}

#[test]
fn a_dead_destination_is_told_to_every_shard() {
    let (shards, to) = start(&["127.0.0.1:0"], 2);
    let phones = [phone("127.0.0.1:0"), phone("127.0.0.1:0")];
    // Nobody listens there, and the kernel gives a port so low to nobody.
    let dead = "127.0.0.1:9";
    assert_eq!(ask(&phones[0], to[0], b"\0hello"), "0 hello");
    let call = format!("\u{1}call {dead}");
    assert_eq!(
        ask(&phones[1], to[0], call.as_bytes()),
        format!("gone {dead}")
    );
    assert_eq!(hear(&phones[0]).1, format!("gone {dead}"));
    assert_eq!(total(&shards, |c| c.unreachable.get()), 1);
}

#[test]
fn what_cannot_be_sent_is_told_to_the_engine() {
    let (shards, to) = start(&["127.0.0.1:0"], 1);
    let phone = phone("127.0.0.1:0");
    assert_eq!(ask(&phone, to[0], b"\0call [::1]:5060"), "gone [::1]:5060");
    assert_eq!(total(&shards, |c| c.send_failures.get()), 1);
}

#[test]
fn timers_fire_without_traffic() {
    let (_shards, to) = start(&["127.0.0.1:0"], 1);
    assert_eq!(ask(&phone("127.0.0.1:0"), to[0], b"\0later"), "now");
}

#[test]
fn a_message_above_the_limit_is_counted_and_dropped() {
    let (shards, to) = start(&["127.0.0.1:0"], 1);
    let phone = phone("127.0.0.1:0");
    phone.send_to(&[0; 9_001], to[0]).unwrap();
    assert_eq!(ask(&phone, to[0], b"\0x"), "0 x");
    assert_eq!(total(&shards, |c| c.too_long.get()), 1);
}

#[test]
fn one_datagram_in_sixteen_is_timed() {
    let (shards, to) = start(&["127.0.0.1:0"], 1);
    let phone = phone("127.0.0.1:0");
    for _ in 0..64 {
        ask(&phone, to[0], b"\0x");
    }
    let samples: u64 = shards
        .gauges()
        .latencies()
        .flat_map(|l| l.buckets().collect::<Vec<_>>())
        .sum();
    assert_eq!(samples, 4);
}

#[test]
fn a_shard_that_ends_by_itself_is_noticed() {
    struct Mortal;
    impl Handler for Mortal {
        fn handle(&mut self, _: Now, _: Input<'_>, _: &mut Outbox) -> Handled {
            Handled::Done
        }
        fn handle_timeouts(&mut self, _: Now, _: &mut Outbox) {}
        fn next_timeout(&self) -> Option<u64> {
            panic!("outside of any message");
        }
    }
    let socket = bind_shared("127.0.0.1:0".parse().unwrap(), Buffers::default(), 1).unwrap();
    let shards = Shards::start(
        vec![(socket.into_iter().map(Some).collect(), |_| Mortal)],
        Clock::start(),
        9_000,
    )
    .unwrap();
    for _ in 0..1_000 {
        if shards.have_failed() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("nobody noticed");
}

/// Answers how long a datagram waited; on `block` says so and waits to be released.
struct Slow {
    blocked: std::sync::mpsc::Sender<()>,
    release: std::sync::mpsc::Receiver<()>,
    shard: u8,
}

impl Handler for Slow {
    fn handle(&mut self, _: Now, input: Input<'_>, out: &mut Outbox) -> Handled {
        let Input::Message { source, bytes } = input else {
            return Handled::Done;
        };
        match bytes {
            b"block" if self.shard == 0 => {
                self.blocked.send(()).unwrap();
                self.release.recv().unwrap();
            }
            b"for 1" if self.shard == 0 => return Handled::Belongs(1),
            b"for 0" if self.shard == 1 => return Handled::Belongs(0),
            _ => {
                let hop = Hop::new(source.address, source.listener);
                let text = format!("{} {}", self.shard, source.waited_ms);
                out.send(&hop, |o| o.extend(text.bytes()));
            }
        }
        Handled::Done
    }
    fn handle_timeouts(&mut self, _: Now, _: &mut Outbox) {}
    fn next_timeout(&self) -> Option<u64> {
        None
    }
}

/// Blocks shard 0 while `wait` runs and sends, and gives the answers that come afterwards, with
/// how long the shard was blocked at least and at most, milliseconds.
fn answers_after_a_block(
    sockets: Vec<Socket>,
    phone: &UdpSocket,
    wait: impl FnOnce(),
    answers: usize,
) -> (Vec<String>, u128, u128) {
    let (blocked, is_blocked) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let mut released = Some(released);
    let to = local_address(&sockets[0]).unwrap();
    let engines = (0..).zip(sockets).map(|(shard, socket)| {
        let release = match released.take() {
            Some(release) => release,
            None => std::sync::mpsc::channel().1,
        };
        let blocked = blocked.clone();
        let engine = move |_| Slow {
            blocked,
            release,
            shard,
        };
        (vec![Some(socket)], engine)
    });
    let _shards = Shards::start(engines.collect(), Clock::start(), 9_000).unwrap();
    phone.send_to(b"block", to).unwrap();
    is_blocked.recv_timeout(Duration::from_secs(10)).unwrap();
    let before = stopwatch();
    wait();
    let sent = stopwatch();
    while sent.elapsed() < Duration::from_millis(100) {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let at_least = sent.elapsed().as_millis();
    release.send(()).unwrap();
    let answers = (0..answers).map(|_| hear(phone).1).collect();
    (answers, at_least, before.elapsed().as_millis())
}

#[test]
fn a_datagram_knows_how_long_it_waited_for_its_shard() {
    let socket = bind_shared("127.0.0.1:0".parse().unwrap(), Buffers::default(), 1).unwrap();
    let to = local_address(&socket[0]).unwrap();
    let phone = phone("127.0.0.1:0");
    let send = || {
        for _ in 0..100 {
            phone.send_to(b"x", to).unwrap();
        }
    };
    let (answers, at_least, at_most) = answers_after_a_block(socket, &phone, send, 100);
    for answer in answers {
        let waited_ms: u128 = answer.strip_prefix("0 ").unwrap().parse().unwrap();
        let expected = at_least.saturating_sub(2)..=at_most + 2;
        assert!(expected.contains(&waited_ms), "{waited_ms} {expected:?}");
    }
}

#[test]
fn a_datagram_that_is_handed_over_takes_its_waiting_along() {
    let any = "127.0.0.1:0".parse().unwrap();
    // Two sockets of their own, so that the test says which shard receives what.
    let mut sockets = bind_shared(any, Buffers::default(), 1).unwrap();
    sockets.extend(bind_shared(any, Buffers::default(), 1).unwrap());
    let second = local_address(&sockets[1]).unwrap();
    let phone = phone("127.0.0.1:0");
    let send = || assert_eq!(phone.send_to(b"for 0", second).unwrap(), 5);
    let (answers, at_least, at_most) = answers_after_a_block(sockets, &phone, send, 1);
    let waited_ms: u128 = answers[0].strip_prefix("0 ").unwrap().parse().unwrap();
    // The other shard took it some moments after it was sent, and nothing waits between the two.
    let expected = at_least / 2..=at_most + 4;
    assert!(expected.contains(&waited_ms), "{waited_ms} {expected:?}");
}

#[test]
fn the_first_line_is_safe_for_a_log() {
    assert_eq!(
        first_line(b"INVITE sip:a@b\x1b[31m SIP/2.0\r\nTo: x"),
        "INVITE sip:a@b\\x1b[31m SIP/2.0"
    );
    assert_eq!(first_line(&[b'a'; 500]).len(), FIRST_LINE_LIMIT);
}

#[test]
fn what_is_not_wanted_is_left_to_the_kernel_and_let_in_again_in_time() {
    let (shards, to) = start(&["127.0.0.1:0"], 1);
    let phone = phone("127.0.0.1:0");
    phone.send_to(b"\0full", to[0]).unwrap();
    // Anything that is handled makes the shard look; requests of calls in progress still come in.
    let began = stopwatch();
    while total(&shards, |c| c.kernel_sieved.get()) == 0 {
        phone.send_to(b"INVITE sip:a", to[0]).unwrap();
        phone.send_to(b"BYE sip:a", to[0]).unwrap();
        while hear(&phone).1 != "0 YE sip:a" {}
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(total(&shards, |c| c.kernel_drops.get()), 0);
    // Nothing more is sent until it wants requests again: it must find out by itself.
    std::thread::sleep(Duration::from_millis(700));
    let mut answered = String::new();
    phone
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    while !answered.starts_with("0 NVITE") {
        phone.send_to(b"INVITE sip:a", to[0]).unwrap();
        let mut buffer = [0; 64];
        let length = phone.recv(&mut buffer).unwrap_or(0);
        answered = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
