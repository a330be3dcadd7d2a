//! One subscription: its dialog, whom it watches, and what its watcher was told (RFC 6665 §4.2).

use std::net::SocketAddr;

use super::package::Package;
use crate::message::Transport;
use crate::presence::Handle;

/// So many CSeq numbers are taken at once: what follows a restart is higher than what went before,
/// and the store is written to once for so many notifications.
pub const RESERVED_CSEQ: u32 = 1_000;

/// The dialog that a SUBSCRIBE has made, as its notifier knows it (RFC 3261 §12.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// The Call-ID.
    pub call_id: Box<[u8]>,
    /// From of our requests, with our tag: the To of the SUBSCRIBE.
    pub local: Box<[u8]>,
    /// To of our requests, with the watcher's tag: the From of the SUBSCRIBE.
    pub remote: Box<[u8]>,
    /// The watcher's Contact, to which our requests are addressed.
    pub target: Box<[u8]>,
    /// The Route of our requests; empty without one.
    pub routes: Box<[u8]>,
    /// The CSeq of the watcher's last request.
    pub remote_cseq: u32,
}

/// The way on which the watcher's last request came, and notifications go: never to where only a
/// Contact points, which anybody can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WayBack {
    /// Index of the listener that received it.
    pub listener: u8,
    /// What it speaks.
    pub transport: Transport,
    /// Where responses to it go.
    pub peer: SocketAddr,
}

/// Why a subscription ends (RFC 6665 §4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time is over, or it was ended, or asked for once.
    Timeout,
    /// The watcher may not see the person any more.
    Rejected,
    /// The person is no more.
    NoResource,
    /// Its address is somebody else's now: the watcher should subscribe anew.
    Deactivated,
}

impl End {
    /// The reason in Subscription-State.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::NoResource => "noresource",
            Self::Deactivated => "deactivated",
        }
    }
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// What it is of.
    pub package: Package,
    /// The `id` of its Event header; empty without one.
    pub event_id: Box<[u8]>,
    /// The watched person.
    pub presentity: Handle,
    /// Their id: the handle may be somebody else's one day.
    pub presentity_id: Box<str>,
    /// The URI that is watched, as the watcher writes it.
    pub entity: Box<str>,
    /// Who watches; empty for a trusted system.
    pub watcher_id: Box<str>,
    /// The dialog.
    pub dialog: Dialog,
    /// Where notifications go.
    pub way: WayBack,
    /// When it ends, milliseconds since 1970.
    pub expires_unix_ms: i64,
    /// The CSeq of the last NOTIFY.
    pub cseq: u32,
    /// Up to here numbers may have been used, as far as the store knows.
    pub reserved_cseq: u32,
    /// Its place in the store; `None` while it has none.
    pub slot: Option<u32>,
    /// Whether it counts among those that there are.
    pub is_counted: bool,
}

impl Subscription {
    /// The number of the next NOTIFY; whether the store must be told before it is used.
    pub fn count_notify(&mut self) -> (u32, bool) {
        self.cseq = self.cseq.wrapping_add(1) & 0x7fff_ffff;
        let is_beyond = self.cseq > self.reserved_cseq;
        if is_beyond {
            self.reserved_cseq = self.cseq.saturating_add(RESERVED_CSEQ);
        }
        (self.cseq, is_beyond)
    }

    /// How many seconds are left of it.
    pub fn expires_s(&self, now_unix_ms: i64) -> u32 {
        let left_ms = self.expires_unix_ms.saturating_sub(now_unix_ms).max(0);
        u32::try_from((left_ms + 999) / 1_000).unwrap_or(u32::MAX)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now_unix_ms: i64) -> bool {
        self.expires_unix_ms <= now_unix_ms
    }
}
