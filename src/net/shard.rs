//! One thread for each shard: datagrams in by the batch, through the engine, out by the batch.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use socket2::Socket;

use super::batch::{BATCH, Receiver, Sender, kernel_drops, read_errors};
use super::clock::{Clock, stopwatch};
use super::counters::HostCounters;
use super::epoll::Epoll;
use super::gauges::Gauges;
use super::post::{Handed, Post, posts};
use super::stream::Connections;
use super::waiting::Waiting;
use crate::engine::{Engine, Handled, Input, Now, Outbox, Source, Unreachable};

/// The token of the waker among those of the listeners.
const WAKER: u64 = u64::MAX;
/// How many batches are taken before all sockets are looked at again.
const PASSES: usize = 16;
/// How many inputs of other shards are taken with each batch.
const HANDED_PER_PASS: usize = 256;
/// How many destinations that cannot be reached are remembered between two batches.
const UNREACHABLE_LIMIT: usize = 64;
/// One of so many datagrams is timed.
const SAMPLE: u32 = 16;
/// How often the kernel's drop counter is read, and a panic logged.
const SECOND_MS: u64 = 1_000;
/// How much of a message that caused a panic is logged.
const FIRST_LINE_LIMIT: usize = 128;

/// What a shard hosts; the [`Engine`], and in tests anything that answers.
pub trait Handler {
    /// Takes one input; see [`Engine::handle`].
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) -> Handled;
    /// Fires what is due; see [`Engine::handle_timeouts`].
    fn handle_timeouts(&mut self, now: Now, out: &mut Outbox);
    /// When that must be, on the clock of [`Now::ms`].
    fn next_timeout(&self) -> Option<u64>;
    /// How many INVITEs were decided so far.
    fn decisions(&self) -> u64 {
        0
    }
    /// Shows sizes to the metrics; once for each batch.
    fn publish_gauges(&self) {}
}

impl Handler for Engine {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) -> Handled {
        Self::handle(self, now, input, out)
    }

    fn handle_timeouts(&mut self, now: Now, out: &mut Outbox) {
        Self::handle_timeouts(self, now, out);
    }

    fn next_timeout(&self) -> Option<u64> {
        Self::next_timeout(self)
    }

    fn decisions(&self) -> u64 {
        Self::decisions(self)
    }

    fn publish_gauges(&self) {
        Self::publish_gauges(self);
    }
}

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
                let engine = engine(clock.now());
                Shard {
                    core: host.core(engine, message_limit),
                    host,
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
    clock: Clock,
}

/// One shard: its host and what handles messages.
struct Shard<H> {
    host: Host,
    core: Core<H>,
}

/// The engine with what it fills.
struct Core<H> {
    number: u16,
    engine: H,
    outbox: Outbox,
    posts: Arc<[Post]>,
    message_limit: usize,
    /// A bit for each shard that was handed something and not yet woken.
    to_wake: u64,
    untimed: u32,
    quiet_until_ms: u64,
}

impl Host {
    fn new(number: u16, shards: &Shards, sockets: Sockets, clock: Clock) -> io::Result<Self> {
        let (posts, stop) = (Arc::clone(&shards.posts), Arc::clone(&shards.stop));
        let epoll = Epoll::new()?;
        let host = Self {
            number,
            sockets,
            posts,
            connections: shards.connections.clone(),
            stop,
            epoll,
            clock,
        };
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
    /// A short poll before sleeping belongs here.
    fn wait(&mut self, next_timeout: Option<u64>) -> io::Result<()> {
        let Some(post) = self.posts.get(usize::from(self.number)) else {
            return Ok(());
        };
        let now_ms = self.clock.now().ms;
        let timeout = next_timeout.map(|at| at.saturating_sub(now_ms));
        post.waker.about_to_sleep();
        let has_work = !post.is_empty() || self.stop.load(Ordering::Relaxed);
        let result = self.epoll.wait(if has_work { Some(0) } else { timeout });
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
    next_second_ms: u64,
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
            next_second_ms: 0,
        };
        while !self.host.must_stop() {
            let next_timeout = match exchange.unreachable.is_empty() {
                true => self.core.engine.next_timeout(),
                false => Some(0),
            };
            if let Err(error) = self.host.wait(next_timeout) {
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
        for ready in self.host.epoll.ready().filter(|ready| ready.token != WAKER) {
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
        ready.retain(|listener| self.receive(*listener, now, exchange));
        exchange.ready = ready;
        // The batches took their time, during which others went on handing over.
        let now = self.host.clock.now();
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
        if now.ms >= exchange.next_second_ms {
            exchange.next_second_ms = now.ms + SECOND_MS;
            self.read_drops();
        }
        has_more_handed || !exchange.ready.is_empty()
    }

    /// Handles one batch of a listener; whether it was full, so that more may wait.
    fn receive(&mut self, listener: u8, now: Now, exchange: &mut Exchange) -> bool {
        let Some(socket) = self.host.socket(listener) else {
            return false;
        };
        let wants_times = exchange.waiting.is_possible(listener, now);
        let count = match exchange.receiver.receive(socket.as_fd(), wants_times) {
            Ok(count) => count,
            Err(error) => {
                tracing::error!(listener, %error, "receiving failed");
                0
            }
        };
        self.core.count_received(count);
        exchange.waiting.looked(listener, now, count == BATCH);
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
                        self.core.handle_received(now, source, bytes);
                    }
                }
            }
        }
        count == BATCH
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
        for (listener, socket) in (0_u8..).zip(&self.host.sockets) {
            let Some(socket) = socket else {
                continue;
            };
            let of_listener = outbox
                .transmits()
                .iter()
                .filter(|t| t.hop.listener == listener);
            let datagrams = of_listener.map(|transmit| (transmit.hop.to, outbox.payload(transmit)));
            let sent = sender.send(socket.as_fd(), datagrams, &mut |to, error| match error
                .raw_os_error()
            {
                Some(libc::EAGAIN | libc::ENOBUFS) => counters.send_drops.inc(),
                _ => {
                    counters.send_failures.inc();
                    remember(unreachable, to);
                }
            });
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

    fn read_drops(&self) {
        let drops = self
            .host
            .sockets
            .iter()
            .flatten()
            .filter_map(|socket| kernel_drops(socket.as_fd()));
        let drops: u64 = drops.map(u64::from).sum();
        self.core.count(|counters| counters.kernel_drops.set(drops));
    }
}

/// Remembers a destination once; a flood of errors costs no memory.
fn remember(unreachable: &mut Vec<SocketAddr>, to: SocketAddr) {
    if unreachable.len() < UNREACHABLE_LIMIT && !unreachable.contains(&to) {
        unreachable.push(to);
    }
}

impl<H: Handler> Core<H> {
    /// Handles a datagram of this shard's sockets, or hands it to the shard that owns its call.
    fn handle_received(&mut self, now: Now, source: Source, bytes: &[u8]) {
        self.untimed += 1;
        let timed = (self.untimed >= SAMPLE).then(stopwatch);
        let handled = self.handle(now, Input::Message { source, bytes });
        if let Some(start) = timed {
            self.untimed = 0;
            let ns = start.elapsed().as_nanos() as u64;
            if let Some(post) = self.posts.get(usize::from(self.number)) {
                post.latency.record(ns);
                post.waiting.record(u64::from(source.waited_ms) * 1_000_000);
            }
        }
        if let Handled::Belongs(owner) = handled {
            self.hand_over(
                owner,
                Handed::Message {
                    source,
                    bytes: Bytes::copy_from_slice(bytes),
                    received_ms: now.ms,
                },
            );
        }
    }

    fn hand_over(&mut self, owner: u16, handed: Handed) {
        let is_other = owner != self.number;
        let post = self.posts.get(usize::from(owner)).filter(|_| is_other);
        let is_queued = post.is_some_and(|post| post.push(handed));
        if is_queued {
            self.to_wake |= 1_u64.checked_shl(owner.into()).unwrap_or(0);
        }
        self.count(|counters| match is_queued {
            true => counters.handed_over.inc(),
            false => counters.handover_drops.inc(),
        });
    }

    /// Wakes whom this batch handed something, once each.
    fn wake_others(&mut self) {
        let mut left = std::mem::take(&mut self.to_wake);
        while left != 0 {
            let shard = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.posts.get(shard).is_some_and(|post| post.waker.wake()) {
                self.count(|counters| counters.handover_wakeups.inc());
            }
        }
    }

    /// Handles what other shards handed over; whether more waits.
    fn take_handed(&mut self, now: Now) -> bool {
        for _ in 0..HANDED_PER_PASS {
            let post = self.posts.get(usize::from(self.number));
            let Some(handed) = post.and_then(Post::pop) else {
                return false;
            };
            let handled = match &handed {
                Handed::Message {
                    source,
                    bytes,
                    received_ms,
                } => {
                    if source.connection.is_none() {
                        self.count(|counters| counters.handed_in.inc());
                    }
                    let handed_ms = now.ms.saturating_sub(*received_ms);
                    let handed_ms = u32::try_from(handed_ms).unwrap_or(u32::MAX);
                    let source = Source {
                        waited_ms: source.waited_ms.saturating_add(handed_ms),
                        ..*source
                    };
                    self.handle(now, Input::Message { source, bytes })
                }
                Handed::Unreachable(failure) => self.handle(now, Input::Unreachable(*failure)),
                Handed::Resolved => self.handle(now, Input::Resolved),
            };
            if handled != Handled::Done {
                self.count(|counters| counters.handover_drops.inc());
            }
        }
        true
    }

    /// Passes ICMP errors on: the kernel gives them to any socket that shares the port.
    fn tell_others(&mut self, unreachable: &[SocketAddr]) {
        for to in unreachable {
            self.count(|counters| counters.unreachable.inc());
            for shard in (0..self.posts.len() as u16).filter(|shard| *shard != self.number) {
                if self
                    .posts
                    .get(usize::from(shard))
                    .is_some_and(|p| p.push(Handed::Unreachable(undeliverable(*to))))
                {
                    self.to_wake |= 1_u64.checked_shl(shard.into()).unwrap_or(0);
                }
            }
        }
    }

    /// Lets the engine handle an input. A panic costs that input and nothing else.
    /// Gives an input to the engine. What decides an INVITE is timed each time.
    fn handle(&mut self, now: Now, input: Input<'_>) -> Handled {
        let is_invite =
            matches!(input, Input::Message { bytes, .. } if bytes.starts_with(b"INVITE "));
        let before = is_invite.then(|| (self.engine.decisions(), stopwatch()));
        let handled = self.handle_contained(now, input);
        let decided = before.filter(|(count, _)| *count != self.engine.decisions());
        if let Some((_, start)) = decided
            && let Some(post) = self.posts.get(usize::from(self.number))
        {
            post.decision.record(start.elapsed().as_nanos() as u64);
        }
        handled
    }

    fn handle_contained(&mut self, now: Now, input: Input<'_>) -> Handled {
        let (engine, outbox) = (&mut self.engine, &mut self.outbox);
        let handled = catch_unwind(AssertUnwindSafe(|| engine.handle(now, input, outbox)));
        handled.unwrap_or_else(|_| {
            let line = match input {
                Input::Message { bytes, .. } => first_line(bytes),
                Input::Unreachable(failure) => format!("({failure:?})"),
                Input::Resolved => "(resolved)".to_owned(),
            };
            self.report_panic(now, &line);
            Handled::Done
        })
    }

    fn handle_timeouts(&mut self, now: Now) {
        let (engine, outbox) = (&mut self.engine, &mut self.outbox);
        if catch_unwind(AssertUnwindSafe(|| engine.handle_timeouts(now, outbox))).is_err() {
            self.report_panic(now, "(timer)");
        }
    }

    /// Counts a panic and logs it, once a second: where it happened was told by the panic hook.
    fn report_panic(&mut self, now: Now, line: &str) {
        self.count(|counters| counters.panics.inc());
        if now.ms >= self.quiet_until_ms {
            self.quiet_until_ms = now.ms + SECOND_MS;
            tracing::error!(
                shard = self.number,
                line,
                "a message caused a panic and was dropped"
            );
        }
    }

    fn count_received(&self, count: usize) {
        if count > 0 {
            self.count(|counters| {
                HostCounters::add(&counters.datagrams_received, count);
                counters.receive_calls.inc();
            });
        }
    }

    fn count(&self, count: impl Fn(&HostCounters)) {
        if let Some(post) = self.posts.get(usize::from(self.number)) {
            count(&post.counters);
        }
    }
}

/// What an ICMP error tells.
fn undeliverable(to: SocketAddr) -> Unreachable {
    Unreachable {
        to,
        listener: None,
        connection: None,
    }
}

/// The first line of a message, made safe for a log.
fn first_line(bytes: &[u8]) -> String {
    let line = bytes
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let line = line.get(..FIRST_LINE_LIMIT).unwrap_or(line);
    line.escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
