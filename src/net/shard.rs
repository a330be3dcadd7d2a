//! One thread for each shard: datagrams in by the batch, through the engine, out by the batch.

mod core;
mod report;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use socket2::Socket;

use self::core::{Core, undeliverable};
use super::batch::{BATCH, Receiver, backlog, kernel_drops, read_errors};
use super::clock::Clock;
use super::counters::HostCounters;
use super::epoll::{Alarm, Epoll};
use super::gauges::Gauges;
use super::handler::Handler;
use super::post::{Handed, Post, posts};
use super::priority;
use super::sender::{Manner, Sender};
use super::sieve;
use super::stream::Connections;
use super::waiting::Waiting;
use crate::engine::{Input, Now, Outbox, Source};

/// The token of the waker among those of the listeners.
const WAKER: u64 = u64::MAX;
/// The token of the alarm.
const ALARM: u64 = u64::MAX - 1;
/// How many batches are taken before all sockets are looked at again.
const PASSES: usize = 16;
/// After a batch of so many datagrams the next ones have mostly come while it was handled: they are
/// taken at once. Asking for them costs less than asking whether there are any.
const EAGER: usize = 8;
/// Of a batch of so many datagrams, what is known of the callees is asked for before the first is handled.
const FORESIGHT: usize = 4;
/// Of so many datagrams on a batch may travel joined. It is that large under load only; of what little is sent
/// otherwise, a capture on this machine shows each message.
const JOIN_FROM: usize = 8;
/// What a full buffer counts for while losses cannot be told: as if so many of a batch were lost.
const DEEP_LOSS: u64 = BATCH as u64 / 8;
/// How many destinations that cannot be reached are remembered between two batches.
const UNREACHABLE_LIMIT: usize = 64;
/// How often the kernel's drop counter is read: what tells that more comes than is handled.
const DROPS_MS: u64 = 50;

/// A shard's datagram sockets by the index of their listener; a stream's has none.
pub type Sockets = Vec<Option<Socket>>;

/// The running shards.
pub struct Shards {
    threads: Vec<JoinHandle<()>>,
    posts: Arc<[Post]>,
    connections: Option<Arc<Connections>>,
    stop: Arc<AtomicBool>,
}

impl Shards {
    /// Starts one thread for each entry: a shard's sockets by listener, and what makes its engine,
    /// in its thread.
    ///
    /// # Errors
    /// No thread or descriptor is left.
    pub fn start<H: Handler>(
        shards: Vec<(Sockets, impl FnOnce(Now) -> H + Send + 'static)>,
        clock: Clock,
        message_limit: usize,
    ) -> io::Result<Self> {
        let posts = posts(shards.len())?;
        Self::start_beside(None, posts, shards, (clock, message_limit))
    }

    /// As [`Shards::start`]; what goes to a listener without a socket is left to `connections`,
    /// which tell the same posts.
    pub(super) fn start_beside<H: Handler>(
        connections: Option<Arc<Connections>>,
        posts: Arc<[Post]>,
        shards: Vec<(Sockets, impl FnOnce(Now) -> H + Send + 'static)>,
        (clock, message_limit): (Clock, usize),
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = Self {
            threads: Vec::new(),
            posts,
            connections,
            stop,
        };
        for (number, (sockets, engine)) in (0_u16..).zip(shards) {
            let host = Host::new(number, &running, sockets, clock)?;
            let thread = Builder::new().name(format!("shard-{number}"));
            running.threads.push(thread.spawn(move || {
                priority::go_first();
                let engine = engine(clock.now());
                Shard {
                    core: host.core(engine, message_limit),
                    host,
                    wanted: sieve::ALL,
                    can_sieve: true,
                    drops: 0,
                }
                .run();
            })?);
        }
        Ok(running)
    }

    /// Makes every shard look around, and show its sizes.
    pub fn nudge(&self) {
        for post in self.posts.iter() {
            post.waker.wake();
        }
    }

    /// What tells every shard that names were resolved.
    pub fn on_resolved(&self) -> impl Fn() + Send + Sync + 'static {
        let posts = Arc::clone(&self.posts);
        move || {
            for post in posts.iter() {
                post.push(Handed::Resolved);
                post.waker.wake();
            }
        }
    }

    /// What wakes a shard whose watchers are to be told of something.
    pub fn on_stirred(&self) -> impl Fn(usize) + Send + Sync + 'static {
        let posts = Arc::clone(&self.posts);
        move |shard| {
            if let Some(post) = posts.get(shard) {
                post.push(Handed::Stirred);
                post.waker.wake();
            }
        }
    }

    /// Whether a shard ended by itself.
    pub fn have_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished) && !self.stop.load(Ordering::Relaxed)
    }

    /// The numbers of each shard, for the metrics; they outlive the shards.
    pub fn gauges(&self) -> Gauges {
        Gauges::new(Arc::clone(&self.posts))
    }
}

impl Drop for Shards {
    /// Ends the shards, after the batch they are at.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.nudge();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One shard's sockets and what it waits with.
struct Host {
    number: u16,
    sockets: Sockets,
    posts: Arc<[Post]>,
    connections: Option<Arc<Connections>>,
    stop: Arc<AtomicBool>,
    epoll: Epoll,
    /// Rings when a timer is due.
    alarm: Alarm,
    clock: Clock,
}

/// One shard: its host and what handles messages.
struct Shard<H> {
    host: Host,
    core: Core<H>,
    /// Of the new requests that come, how many the kernel lets through, in ten thousand.
    wanted: u32,
    /// Whether the kernel takes filters.
    can_sieve: bool,
    /// The kernel's counters of dropped datagrams, all sockets together, as last read.
    drops: u32,
}

impl Host {
    fn new(number: u16, shards: &Shards, sockets: Sockets, clock: Clock) -> io::Result<Self> {
        let (posts, stop) = (Arc::clone(&shards.posts), Arc::clone(&shards.stop));
        let (epoll, alarm) = (Epoll::new()?, Alarm::new()?);
        let host = Self {
            number,
            sockets,
            posts,
            connections: shards.connections.clone(),
            stop,
            epoll,
            alarm,
            clock,
        };
        host.epoll.add_edge(host.alarm.as_fd(), ALARM)?;
        for (token, socket) in (0..).zip(&host.sockets) {
            if let Some(socket) = socket {
                host.epoll.add(socket.as_fd(), token)?;
            }
        }
        if let Some(post) = host.post() {
            host.epoll.add_edge(post.waker.as_fd(), WAKER)?;
        }
        Ok(host)
    }

    fn core<H>(&self, engine: H, message_limit: usize) -> Core<H> {
        Core {
            number: self.number,
            engine,
            outbox: Outbox::new(),
            posts: Arc::clone(&self.posts),
            message_limit,
            to_wake: 0,
            untimed: 0,
            quiet_until_ms: 0,
            limited_quiet_until_ms: 0,
        }
    }

    fn socket(&self, listener: u8) -> Option<&Socket> {
        self.sockets.get(usize::from(listener))?.as_ref()
    }

    fn post(&self) -> Option<&Post> {
        self.posts.get(usize::from(self.number))
    }

    fn must_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps until a socket is ready, another shard hands something over, or a timer is due.
    /// `now_ms` is when the last batch was handled, just before.
    fn wait(&mut self, next_timeout: Option<u64>, now_ms: u64) -> io::Result<()> {
        let Some(post) = self.posts.get(usize::from(self.number)) else {
            return Ok(());
        };
        let is_due = next_timeout.is_some_and(|at| at <= now_ms);
        if let Some(at) = next_timeout.filter(|_| !is_due) {
            self.alarm.ring_by(at, now_ms)?;
        }
        post.waker.about_to_sleep();
        let has_work = is_due || !post.is_empty() || self.stop.load(Ordering::Relaxed);
        let result = self.epoll.wait(has_work.then_some(0));
        post.waker.awake();
        post.counters.wakeups.inc();
        result
    }
}

/// What is kept between the batches of one wake-up.
struct Exchange {
    receiver: Receiver,
    sender: Sender,
    /// Listeners that have datagrams.
    ready: Vec<u8>,
    unreachable: Vec<SocketAddr>,
    waiting: Waiting,
    next_drops_ms: u64,
    /// When the last batch was handled.
    handled_ms: u64,
}

impl<H: Handler> Shard<H> {
    /// Works until it is told to stop.
    fn run(mut self) {
        let mut exchange = Exchange {
            receiver: Receiver::new(),
            sender: Sender::new(),
            ready: Vec::new(),
            unreachable: Vec::new(),
            waiting: Waiting::new(self.host.sockets.len()),
            next_drops_ms: 0,
            handled_ms: self.host.clock.now().ms,
        };
        while !self.host.must_stop() {
            let next_timeout = match exchange.unreachable.is_empty() {
                true if self.wanted < sieve::ALL => {
                    let soon_ms = exchange.next_drops_ms;
                    let next = self.core.engine.next_timeout();
                    Some(next.map_or(soon_ms, |next| next.min(soon_ms)))
                }
                true => self.core.engine.next_timeout(),
                false => Some(0),
            };
            if let Err(error) = self.host.wait(next_timeout, exchange.handled_ms) {
                tracing::error!(shard = self.core.number, %error, "the shard cannot wait and ends");
                return;
            }
            self.look(&mut exchange);
            for _ in 0..PASSES {
                if !self.pass(&mut exchange) || self.host.must_stop() {
                    break;
                }
            }
        }
    }

    /// Notes which listeners are ready, and reads the error queues that have something.
    fn look(&mut self, exchange: &mut Exchange) {
        exchange.ready.clear();
        for ready in self.host.epoll.ready() {
            if matches!(ready.token, WAKER | ALARM) {
                if ready.token == ALARM {
                    self.host.alarm.has_rung();
                }
                continue;
            }
            let listener = ready.token as u8;
            exchange.ready.push(listener);
            if let Some(socket) = self.host.socket(listener).filter(|_| ready.has_error) {
                let unreachable = &mut exchange.unreachable;
                read_errors(socket.as_fd(), &mut |to, _| remember(unreachable, to));
                self.core.tell_others(unreachable);
            }
        }
    }

    /// One batch from each listener that is ready, what other shards handed over, what is due,
    /// and all answers; whether more waits.
    fn pass(&mut self, exchange: &mut Exchange) -> bool {
        let now = self.host.clock.now();
        exchange.waiting.begin(now);
        let mut ready = std::mem::take(&mut exchange.ready);
        let mut received = 0;
        ready.retain(|listener| {
            let count = self.receive(*listener, now, exchange);
            received += count;
            count >= EAGER
        });
        exchange.ready = ready;
        // The batches took their time, during which others went on handing over.
        let has_handed = self.host.post().is_some_and(|post| !post.is_empty());
        let now = match has_handed || received >= EAGER {
            true => self.host.clock.now(),
            false => now,
        };
        exchange.handled_ms = now.ms;
        let has_more_handed = self.core.take_handed(now);
        for to in exchange.unreachable.drain(..) {
            self.core.handle(now, Input::Unreachable(undeliverable(to)));
        }
        if self
            .core
            .engine
            .next_timeout()
            .is_some_and(|at| at <= now.ms)
        {
            self.core.handle_timeouts(now);
        }
        self.core.wake_others();
        self.flush(exchange);
        self.core.engine.publish_gauges();
        if now.ms >= exchange.next_drops_ms {
            exchange.next_drops_ms = now.ms + DROPS_MS;
            self.read_drops();
            self.sieve(now);
        }
        has_more_handed || !exchange.ready.is_empty()
    }

    /// Handles one batch of a listener; how many datagrams it had.
    fn receive(&mut self, listener: u8, now: Now, exchange: &mut Exchange) -> usize {
        let Some(socket) = self.host.socket(listener) else {
            return 0;
        };
        let wants_times = exchange.waiting.is_possible(listener, now);
        let count = match exchange.receiver.receive(socket.as_fd(), wants_times) {
            Ok(count) => count,
            Err(error) => {
                tracing::error!(listener, %error, "receiving failed");
                0
            }
        };
        if count == BATCH && self.wanted < sieve::ALL {
            let is_deep = backlog(socket.as_fd()).is_some_and(|backlog| backlog.is_deep);
            if is_deep {
                self.core.engine.note_lost(DEEP_LOSS);
            }
        }
        self.core.count_received(count);
        exchange.waiting.looked(listener, now, count == BATCH);
        if count >= FORESIGHT {
            self.core.engine.foresee(exchange.receiver.all());
        }
        for slot in 0..count {
            if let Some(datagram) = exchange.receiver.get(slot) {
                let bytes = datagram.bytes;
                let waited_ms = exchange.waiting.waited_ms(now, datagram.received_unix_ms);
                match datagram.is_truncated || bytes.len() > self.core.message_limit {
                    true => self.core.count(|counters| counters.too_long.inc()),
                    false => {
                        let source = Source {
                            waited_ms,
                            ..Source::datagram(datagram.from, listener)
                        };
                        match self.core.engine.admits(now, &source) {
                            true => self.core.handle_received(now, source, bytes),
                            false => self.core.report_limited(now, &source),
                        }
                    }
                }
            }
        }
        count
    }

    /// Sends what the engine wants sent, listener by listener, each in its order.
    fn flush(&mut self, exchange: &mut Exchange) {
        if self.core.outbox.is_empty() {
            return;
        }
        let Exchange {
            sender,
            unreachable,
            ..
        } = exchange;
        let (outbox, Some(post)) = (&self.core.outbox, self.host.post()) else {
            return;
        };
        let counters = &post.counters;
        let manner = Manner {
            join_from: match self.core.engine.joins_datagrams() {
                true => JOIN_FROM,
                false => usize::MAX,
            },
            is_connected: false,
        };
        for (listener, socket) in (0_u8..).zip(&self.host.sockets) {
            let Some(socket) = socket else {
                continue;
            };
            let of_listener = outbox
                .transmits()
                .iter()
                .filter(|t| t.hop.listener == listener);
            let datagrams = of_listener.map(|transmit| (transmit.hop.to, outbox.payload(transmit)));
            let mut failed = |to, error: &io::Error| match error.raw_os_error() {
                Some(libc::EAGAIN | libc::ENOBUFS) => counters.send_drops.inc(),
                _ => {
                    counters.send_failures.inc();
                    remember(unreachable, to);
                }
            };
            let sent = sender.send(socket.as_fd(), manner, datagrams, &mut failed);
            HostCounters::add(&counters.datagrams_joined, sent.joined);
            HostCounters::add(&counters.datagrams_sent, sent.datagrams);
            HostCounters::add(&counters.send_calls, sent.calls);
        }
        self.stream(post);
        self.core.outbox.clear();
    }

    /// Gives what goes over connections to their queues; nothing waits here. What fails at once is
    /// told to this shard with its next batch.
    fn stream(&self, post: &Post) {
        let (host, outbox) = (&self.host, &self.core.outbox);
        let Some(connections) = &host.connections else {
            return;
        };
        for transmit in outbox.transmits() {
            let hop = &transmit.hop;
            if host.socket(hop.listener).is_none()
                && let Err(failure) = connections.send(hop, outbox.payload(transmit))
            {
                post.push(Handed::Unreachable(failure));
            }
        }
    }

    /// What the kernel dropped by itself tells how much too much comes. While it leaves requests at
    /// our word the two cannot be told apart: then full buffers tell, see [`Shard::receive`].
    fn read_drops(&mut self) {
        let mut sockets = self.host.sockets.iter().flatten();
        // The kernel's counters begin anew after 32 bits, which a flood reaches within hours.
        let all = sockets.try_fold(0_u32, |sum, socket| {
            kernel_drops(socket.as_fd()).map(|drops| sum.wrapping_add(drops))
        });
        let (Some(all), Some(post)) = (all, self.host.post()) else {
            return;
        };
        let more = u64::from(all.wrapping_sub(self.drops));
        let (dropped, sieved) = (&post.counters.kernel_drops, &post.counters.kernel_sieved);
        match self.wanted < sieve::ALL {
            true => sieved.set(sieved.get() + more),
            false => {
                dropped.set(dropped.get() + more);
                if more > 0 {
                    self.core.engine.note_lost(more);
                }
            }
        }
        self.drops = all;
    }

    /// Tells the kernel how many of the new requests shall come in, where that has changed.
    fn sieve(&mut self, now: Now) {
        let wanted = self.core.engine.wanted(now, self.can_sieve);
        if wanted == self.wanted {
            return;
        }
        let sockets = || self.host.sockets.iter().flatten();
        let set = sockets().try_for_each(|socket| sieve::set(socket.as_fd(), wanted));
        self.wanted = wanted;
        if let Err(error) = set {
            tracing::warn!(%error, "the kernel takes no filter: overload costs more");
            sockets().for_each(|socket| drop(sieve::set(socket.as_fd(), sieve::ALL)));
            (self.can_sieve, self.wanted) = (false, sieve::ALL);
        }
    }
}

/// Remembers a destination once; a flood of errors costs no memory.
fn remember(unreachable: &mut Vec<SocketAddr>, to: SocketAddr) {
    if unreachable.len() < UNREACHABLE_LIMIT && !unreachable.contains(&to) {
        unreachable.push(to);
    }
}

#[cfg(test)]
mod tests;
