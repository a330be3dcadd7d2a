//! Virtual time: the events to come, and datagrams that are lost, doubled, late or overtaken.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::rc::Rc;

use pointsman::proxy::Wanted;

use crate::phone::Timer;
use crate::random::Chance;
use crate::sip::Sip;

/// What happens at a moment.
pub enum Event {
    /// A datagram arrives.
    Arrives {
        from: SocketAddr,
        to: SocketAddr,
        message: Rc<Sip>,
    },
    /// Something is due at a phone.
    Phone(Timer),
    /// The network says that nobody is at an address.
    Unreachable(SocketAddr),
    /// A name was resolved.
    Resolved(Wanted),
    /// A subscriber changes something.
    Change(usize),
    /// Something is due at a watcher.
    Watch(usize),
    /// `kill -9`; nobody listens until the start.
    Kill,
    /// A start with what is in the store.
    Start,
    /// Somebody sends what they overheard, altered.
    Vandal,
    /// The process is to end: no new calls from now on, and the restart after it.
    Drain,
}

/// How bad the network is, in percent of the datagrams.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    pub reordering: u64,
}

/// The network and the clock.
pub struct Network {
    pub now: u64,
    pub chance: Chance,
    pub weather: Weather,
    /// Nobody listens there, and the network says so.
    pub closed: SocketAddr,
    events: BTreeMap<u64, Event>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    next: u64,
    pub log: Vec<Line>,
}

/// One datagram that was sent, for the ladder.
pub struct Line {
    pub at: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub message: Rc<Sip>,
    pub copies: u8,
}

impl Network {
    pub fn new(seed: u64, weather: Weather, closed: SocketAddr) -> Self {
        Self {
            now: 0,
            chance: Chance::new(seed),
            weather,
            closed,
            events: BTreeMap::new(),
            queue: BinaryHeap::new(),
            next: 0,
            log: Vec::new(),
        }
    }

    pub fn after(&mut self, ms: u64, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((self.now + ms, self.next)));
        self.events.insert(self.next, event);
    }

    pub fn timer(&mut self, ms: u64, timer: Timer) {
        self.after(ms, Event::Phone(timer));
    }

    pub fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    pub fn take(&mut self) -> Option<Event> {
        let Reverse((at, number)) = self.queue.pop()?;
        self.now = self.now.max(at);
        self.events.remove(&number)
    }

    /// Sends a datagram into the weather.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, message: Rc<Sip>) {
        let lost = self.chance.percent(self.weather.loss);
        let doubled = self.chance.percent(self.weather.duplication);
        let copies = u8::from(!lost) + u8::from(doubled);
        self.log.push(Line {
            at: self.now,
            from,
            to,
            message: Rc::clone(&message),
            copies,
        });
        if to == self.closed {
            self.after(2, Event::Unreachable(to));
            return;
        }
        for _ in 0..copies {
            let late = self.chance.percent(self.weather.reordering);
            let ms = if late {
                self.chance.range(20, 1_500)
            } else {
                self.chance.range(1, 20)
            };
            let message = Rc::clone(&message);
            self.after(ms, Event::Arrives { from, to, message });
        }
    }
}
