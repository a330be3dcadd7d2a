//! RFC 3261 §17 with RFC 6026: the four transaction machines, one file each.
//!
//! A machine is a value: events and the time come in, what to do comes out. It holds its timers in
//! its states, so leaving a state stops them. It must not know messages, sockets or the proxy that
//! uses it. Entry points: [`InviteServer`], [`InviteClient`], [`NonInviteServer`],
//! [`NonInviteClient`]; their deadlines wait in a [`Wheel`], a [`Table`] finds them.

pub mod branch;
mod invite_client;
mod invite_server;
mod non_invite_client;
mod non_invite_server;
mod table;
mod wheel;

pub use branch::{BranchId, BranchKind};
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use non_invite_client::NonInviteClient;
pub use non_invite_server::NonInviteServer;
pub use table::Table;
pub use wheel::Wheel;

/// A point on the monotonic clock, in milliseconds.
pub type Ms = u64;

/// The base values of RFC 3261 table 4, in milliseconds, and what the transport spares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// The round-trip estimate T1.
    pub t1: Ms,
    /// The longest retransmission interval T2.
    pub t2: Ms,
    /// How long a message stays in the network, T4.
    pub t4: Ms,
    /// Whether the transport retransmits by itself (TCP, TLS): timers A, E, G are off, D, I, J and
    /// K are zero.
    pub reliable: bool,
}

impl Base {
    /// 64*T1, the life of timers B, F, H, J, L and M.
    pub fn t1_64(&self) -> Ms {
        self.t1.saturating_mul(64)
    }
}

/// A retransmission that waits for its moment; each one doubles the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retransmit {
    /// When the next one is due.
    pub at: Ms,
    /// The interval that led there.
    pub interval: Ms,
}

impl Retransmit {
    fn first(now: Ms, interval: Ms) -> Self {
        Self {
            at: now.saturating_add(interval),
            interval,
        }
    }

    fn next(self, now: Ms, longest: Ms) -> Self {
        Self::first(now, self.interval.saturating_mul(2).min(longest))
    }
}

/// What a timer asks of a transaction's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send the last message again (timers A, E, G).
    Retransmit,
    /// No answer came in time (timers B, F), or no ACK (timer H).
    TimedOut,
    /// The transaction has ended (timers D, I, J, K, L, M).
    Ended,
}

/// What a response means to the client transaction that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Give it to the proxy core.
    Pass,
    /// Give it to the proxy core and acknowledge it (RFC 3261 §17.1.1.3).
    PassAndAck,
    /// A retransmitted final response: acknowledge it once more, nothing else.
    Ack,
    /// Not expected in this state.
    Drop,
}

/// The earliest of some deadlines; a missing one never wins.
pub fn soonest(deadlines: impl IntoIterator<Item = Option<Ms>>) -> Option<Ms> {
    deadlines.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::soonest;

    #[test]
    fn a_missing_deadline_never_wins() {
        assert_eq!(soonest([None, Some(7), None, Some(3)]), Some(3));
        assert_eq!(soonest([None, None]), None);
    }
}
