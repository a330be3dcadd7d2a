//! The sans-IO whole: messages and the time come in, messages and facts go out.
//!
//! One [`Engine`] per core owns its transactions, calls and timers, so nothing here takes a lock.
//! It must not read a clock, open a socket or block: the host in `net` does that. Entry points:
//! [`Engine::handle`] and [`Engine::handle_timeouts`]; what is to be sent is in the [`Outbox`].

mod sharder;

pub use sharder::Sharder;

pub use crate::proxy::{
    Arrival, ConnectionId, Flow, Hop, Now, Outbox, Shared, Transmit, Unreachable, shard_of,
};

use std::net::SocketAddr;
use std::sync::Arc;

use crate::message::{Index, Message, Start};
use crate::proxy::{Load, Proxy};
use crate::store::{Journal, OpenCalls};

/// Users of more bytes are not looked for ahead.
const LONGEST_USER: usize = 28;

/// Something that happened outside.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A message came in: a datagram, or one that was cut out of a stream.
    Message {
        /// How it came.
        source: Source,
        /// All of it.
        bytes: &'a [u8],
    },
    /// What the engine sent could not be delivered (RFC 3261 §18.4).
    Unreachable(Unreachable),
    /// A name that somebody waits for was resolved.
    Resolved,
}

/// How a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Who sent it.
    pub address: SocketAddr,
    /// Index into `Policy::listeners`.
    pub listener: u8,
    /// The connection that it came over, for a stream transport.
    pub connection: Option<ConnectionId>,
    /// How long it waited for us, milliseconds.
    pub waited_ms: u32,
}

impl Source {
    /// A datagram that was handled at once.
    pub fn datagram(address: SocketAddr, listener: u8) -> Self {
        Self {
            address,
            listener,
            connection: None,
            waited_ms: 0,
        }
    }
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It was dealt with here; answers are in the outbox.
    Done,
    /// Its call belongs to that shard: hand the datagram over.
    Belongs(u16),
}

/// One shard: all messages of a call meet here.
pub struct Engine {
    shard: u16,
    shards: u16,
    shared: Arc<Shared>,
    index: Index,
    proxy: Proxy,
}

impl Engine {
    /// Shard number `shard` of as many as `shared` has. It goes on with the calls that an earlier
    /// run left in `stored`.
    pub fn new(
        shard: u16,
        shared: Arc<Shared>,
        stored: Box<dyn OpenCalls>,
        journal: Box<dyn Journal>,
        now: Now,
    ) -> Self {
        let shards = shared.shards.len() as u16;
        let proxy = Proxy::new(shard.into(), Arc::clone(&shared), stored, journal, now);
        Self {
            shard,
            shards,
            shared,
            index: Index::new(),
            proxy,
        }
    }

    /// These messages will be handled next: what is known of those they call is asked for, so that
    /// nothing has to wait for memory then. Changes nothing.
    pub fn foresee<'m>(&self, messages: impl Iterator<Item = &'m [u8]>) {
        self.shared.directory.warm(messages.filter_map(called_user));
    }

    /// Takes one input. Datagrams of calls that belong to another shard are not touched.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) -> Handled {
        self.proxy.begin(now, out);
        let handled = match input {
            Input::Message { source, bytes } => self.handle_message(source, bytes),
            Input::Unreachable(failure) => {
                self.proxy.handle_unreachable(&failure);
                Handled::Done
            }
            Input::Resolved => {
                self.proxy.handle_resolved();
                Handled::Done
            }
        };
        self.proxy.end(out);
        handled
    }

    fn handle_message(&mut self, source: Source, bytes: &[u8]) -> Handled {
        let message = match self.index.parse(bytes) {
            Ok(message) => message,
            Err(malformed) => {
                self.proxy.count_malformed(malformed);
                return Handled::Done;
            }
        };
        let call_key = self.proxy.call_key(message.call_id().unwrap_or_default());
        let owner = shard_of(call_key, self.shards);
        if owner != self.shard {
            return Handled::Belongs(owner);
        }
        let arrival = Arrival {
            from: source.address,
            listener: source.listener,
            connection: source.connection,
            waited_ms: source.waited_ms,
            call_key,
        };
        dispatch(&mut self.proxy, &arrival, message);
        Handled::Done
    }

    /// Fires every timer that is due.
    pub fn handle_timeouts(&mut self, now: Now, out: &mut Outbox) {
        self.proxy.begin(now, out);
        self.proxy.handle_timeouts();
        self.proxy.end(out);
    }

    /// When [`Engine::handle_timeouts`] must be called, on the clock of [`Now::ms`].
    pub fn next_timeout(&self) -> Option<u64> {
        self.proxy.next_timeout()
    }

    /// Whether a message of this source is taken at all; see `limits.messages_per_source_s`. To be
    /// asked once for each message that came from outside.
    pub fn admits(&mut self, now: Now, source: &Source) -> bool {
        self.proxy
            .admits(source.address.ip(), source.connection, now.ms)
    }

    /// The kernel lost so many messages that were for this shard: it is overloaded.
    pub fn note_lost(&mut self, messages: u64) {
        self.proxy.note_lost(messages);
    }

    /// Of the new requests over UDP, how many in ten thousand shall reach the engine: all, unless far
    /// more come than it can handle or leaving them is not possible. To be asked every 50 ms.
    pub fn wanted(&mut self, now: Now, is_possible: bool) -> u32 {
        self.proxy.wanted(now.ms, is_possible)
    }

    /// How many INVITEs were decided so far.
    pub fn decisions(&self) -> u64 {
        self.proxy.decisions()
    }

    /// Whether datagrams may be given to the kernel joined; see `sip.join_datagrams`.
    pub fn joins_datagrams(&self) -> bool {
        self.proxy.joins_datagrams()
    }

    /// The sizes of the tables: all zero after every scenario.
    pub fn load(&self) -> Load {
        self.proxy.load()
    }

    /// Shows the sizes of the tables to the metrics; once for each batch.
    pub fn publish_gauges(&self) {
        self.proxy.publish_gauges();
    }

    /// What this shard shares with the others.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// The user part of whom an INVITE calls, as far as a glance tells.
fn called_user(message: &[u8]) -> Option<&[u8]> {
    let uri = message.strip_prefix(b"INVITE sip:")?;
    let end = uri
        .iter()
        .take(LONGEST_USER)
        .position(|b| matches!(b, b'@' | b';' | b':' | b' '))?;
    uri.get(..end)
}

fn dispatch(proxy: &mut Proxy, arrival: &Arrival, message: Message<'_>) {
    match message.start() {
        Start::Request { .. } => proxy.handle_request(arrival, message),
        Start::Response { .. } => proxy.handle_response(arrival, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_called_is_told_at_a_glance_or_not_at_all() {
        for (message, user) in [
            (
                &b"INVITE sip:bob@example.com SIP/2.0\r\n"[..],
                Some(&b"bob"[..]),
            ),
            (
                b"INVITE sip:+4930123;phone-context=x@example.com SIP/2.0",
                Some(b"+4930123"),
            ),
            (b"INVITE sip:bob:secret@example.com SIP/2.0", Some(b"bob")),
            (b"INVITE sip:bo", None),
            (
                b"INVITE sip:a-name-that-is-longer-than-a-slot@example.com",
                None,
            ),
            (b"ACK sip:bob@example.com SIP/2.0", None),
            (b"", None),
        ] {
            assert_eq!(called_user(message), user);
        }
    }
}
