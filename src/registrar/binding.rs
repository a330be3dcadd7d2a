//! One binding: a contact of a subscriber, how it is reached and for how long (RFC 3261 §10.3).

use std::net::SocketAddr;
use std::num::NonZeroU64;

use smallvec::SmallVec;

use crate::message::{Params, Transport};
use crate::presence::Handle;

/// The way a REGISTER came: by it a request goes back to the phone (RFC 5626 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Index of the listener that received it.
    pub listener: u8,
    /// What that listener speaks.
    pub transport: Transport,
    /// The other side's address.
    pub peer: SocketAddr,
    /// The connection; `None` for datagrams, and after a restart, which no connection survives.
    pub connection: Option<NonZeroU64>,
}

/// How a binding's phone is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Where the first URI of its path leads, or its own without a path (RFC 3263).
    Resolved,
    /// Over the flow while that is open, else as [`Reach::Resolved`].
    Preferred(Flow),
    /// Over the flow and no other way: behind NAT, by WebSocket, or registered for it (RFC 5626).
    Only(Flow),
}

/// A contact that is bound to an address-of-record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// URI, parameters, path, Call-ID and user agent, one after the other.
    pub(super) texts: Box<[u8]>,
    /// Where each of them ends, but the last.
    pub(super) ends: [u16; 4],
    /// The CSeq number of the REGISTER that made it.
    pub cseq: u32,
    /// The preference in thousandths; 1,000 where the phone gave none.
    pub q_thousandths: u16,
    /// Which of its instance's flows this is (RFC 5626 §4.2); 0 without outbound.
    pub reg_id: u32,
    /// How it is reached.
    pub reach: Reach,
    /// When it ends, milliseconds since 1970.
    pub expires_unix_ms: i64,
    /// When it was registered or refreshed, milliseconds since 1970.
    pub registered_unix_ms: i64,
    /// The keyed hash of the transaction that made it: tells a retransmission from a request that
    /// comes too late.
    pub transaction: u64,
    /// Its place in the store: names it while it exists.
    pub slot: u32,
}

/// A binding with texts of 300 bytes takes less than 600 in all.
const _: () = assert!(size_of::<Binding>() <= 160);

/// The texts of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Texts<'a> {
    /// The contact's URI as written.
    pub uri: &'a [u8],
    /// The contact's parameters as written, from the first semicolon on, without those that the
    /// registrar writes itself.
    pub params: &'a [u8],
    /// The values of the Path header, joined by commas (RFC 3327).
    pub path: &'a [u8],
    /// The Call-ID of the REGISTER that made it.
    pub call_id: &'a [u8],
    /// What the phone calls itself.
    pub agent: &'a [u8],
}

/// All bindings of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bindings {
    /// Whose: a record of the directory may be given to somebody else.
    pub id: Box<str>,
    /// Where the directory keeps them.
    pub callee: Handle,
    /// In the order in which they were made; expired ones may still be among them.
    pub list: Box<[Binding]>,
}

impl Texts<'_> {
    /// The texts as one, and where each ends; `None` when they are too long.
    pub(super) fn packed(&self) -> Option<(Box<[u8]>, [u16; 4])> {
        let parts = [self.uri, self.params, self.path, self.call_id, self.agent];
        let mut all = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut ends: SmallVec<[u16; 5]> = SmallVec::new();
        for part in parts {
            all.extend_from_slice(part);
            ends.push(u16::try_from(all.len()).ok()?);
        }
        let ends = ends.first_chunk::<4>()?;
        Some((all.into(), *ends))
    }
}

impl Binding {
    /// Its texts.
    pub fn texts(&self) -> Texts<'_> {
        let [uri, params, path, call_id] = self.ends.map(usize::from);
        let part = |from: usize, to: usize| self.texts.get(from..to).unwrap_or_default();
        Texts {
            uri: part(0, uri),
            params: part(uri, params),
            path: part(params, path),
            call_id: part(path, call_id),
            agent: part(call_id, self.texts.len()),
        }
    }

    /// The contact's URI as written.
    pub fn uri(&self) -> &[u8] {
        self.texts().uri
    }

    /// The instance of the phone, `<urn:…>` without the quotes (RFC 5626 §4.1); empty without one.
    pub fn instance(&self) -> &[u8] {
        instance_of(self.texts().params)
    }

    /// Whether it has ended.
    pub fn is_expired(&self, now_unix_ms: i64) -> bool {
        self.expires_unix_ms <= now_unix_ms
    }

    /// How many seconds are left, rounded up so that a fresh interval is shown whole.
    pub fn expires_s(&self, now_unix_ms: i64) -> i64 {
        let left = self.expires_unix_ms.saturating_sub(now_unix_ms).max(0);
        left.saturating_add(999) / 1_000
    }

    /// Whether a request can reach it, as far as its flow tells.
    pub fn is_reachable(&self, is_open: impl Fn(NonZeroU64) -> bool) -> bool {
        match self.reach {
            Reach::Only(flow) => flow.is_open(is_open),
            Reach::Preferred(_) | Reach::Resolved => true,
        }
    }
}

impl Flow {
    /// Whether something can be sent over it.
    pub fn is_open(&self, is_open: impl Fn(NonZeroU64) -> bool) -> bool {
        match self.connection {
            Some(connection) => is_open(connection),
            None => !self.transport.is_reliable(),
        }
    }
}

impl Reach {
    /// The flow, where it has one.
    pub fn flow(&self) -> Option<&Flow> {
        match self {
            Self::Resolved => None,
            Self::Preferred(flow) | Self::Only(flow) => Some(flow),
        }
    }

    pub(super) fn flow_mut(&mut self) -> Option<&mut Flow> {
        match self {
            Self::Resolved => None,
            Self::Preferred(flow) | Self::Only(flow) => Some(flow),
        }
    }
}

/// The value of `+sip.instance` without its quotes.
pub(super) fn instance_of(params: &[u8]) -> &[u8] {
    Params::new(params)
        .find(|param| param.is(b"+sip.instance"))
        .and_then(|param| param.value)
        .map(|value| {
            let inner = value
                .strip_prefix(b"\"")
                .and_then(|v| v.strip_suffix(b"\""));
            inner.unwrap_or(value)
        })
        .unwrap_or_default()
}
