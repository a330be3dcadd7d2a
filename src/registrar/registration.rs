//! A REGISTER as the registrar reads it (RFC 3261 §10.3, RFC 3327 §5.3, RFC 5626 §6).

use std::net::IpAddr;

use super::Rules;
use super::binding::{Flow, Reach};
use super::contact::{Contact, Contacts};
use super::refusal::Refusal;
use crate::message::{Message, Name, NameAddr, Scheme, Transport, Uri};
use crate::presence::Handle;

/// The extensions that a Require may name.
const KNOWN: [&[u8]; 3] = [b"path", b"outbound", b"gruu"];
/// The longest User-Agent kept.
const AGENT_LIMIT_BYTES: usize = 64;

/// How a REGISTER came.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// The way back.
    pub flow: Flow,
    /// Whether the phone sent it to us itself: it has one Via.
    pub is_direct: bool,
    /// The address in the topmost Via, where it is one.
    pub sent_by: Option<IpAddr>,
}

/// What the phone says it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions {
    /// RFC 3327.
    pub path: bool,
    /// RFC 5626.
    pub outbound: bool,
    /// RFC 5627.
    pub gruu: bool,
}

/// Everything about one REGISTER that decides what becomes of it.
#[derive(Debug, Clone)]
pub struct Registration<'a> {
    /// Whose contacts they are.
    pub callee: Handle,
    /// The subscriber's id.
    pub id: &'a str,
    /// What is to be bound.
    pub contacts: Contacts<'a>,
    /// The interval of the Expires header.
    pub expires_s: Option<u32>,
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// The number in CSeq.
    pub cseq: u32,
    /// The keyed hash of the transaction.
    pub transaction: u64,
    /// The Path values, joined by commas.
    pub path: Vec<u8>,
    /// User-Agent, possibly cut.
    pub agent: &'a [u8],
    /// How it came.
    pub arrived: Arrived,
    /// What the phone can do.
    pub extensions: Extensions,
    /// What is allowed.
    pub rules: Rules,
    /// The time, milliseconds since 1970.
    pub now_unix_ms: i64,
}

/// Whether everything that Require names is known (RFC 3261 §10.3 step 2).
///
/// # Errors
/// [`Refusal::BadExtension`].
pub fn check_extensions(message: &Message<'_>) -> Result<(), Refusal> {
    match unknown_options(message).next() {
        Some(_) => Err(Refusal::BadExtension),
        None => Ok(()),
    }
}

impl<'a> Registration<'a> {
    /// Reads a request whose parts a proxy needs were checked before. `callee` and `id` are the
    /// subscriber of its To.
    ///
    /// # Errors
    /// What RFC 3261 §10.3 and RFC 5626 §6 refuse before looking at the bindings there are.
    pub fn read(
        message: &Message<'a>,
        (callee, id): (Handle, &'a str),
        arrived: Arrived,
        (transaction, now_unix_ms): (u64, i64),
        rules: Rules,
    ) -> Result<Self, Refusal> {
        let extensions = Extensions::read(message);
        let path = path_of(message)?;
        if !path.is_empty() && !extensions.path {
            return Err(Refusal::PathUnsupported);
        }
        let agent = message.header(Name::UserAgent).map(|header| header.value);
        let agent = agent.unwrap_or_default();
        let mut registration = Self {
            callee,
            id,
            contacts: Contacts::read(message)?,
            expires_s: message.expires_s(),
            call_id: message.call_id().map_err(|_| Refusal::MalformedContact)?,
            cseq: message.cseq().map_or(0, |cseq| cseq.number),
            transaction,
            path,
            agent: agent.get(..AGENT_LIMIT_BYTES).unwrap_or(agent),
            arrived,
            extensions,
            rules,
            now_unix_ms,
        };
        registration.settle_flows()?;
        registration.check_intervals()?;
        Ok(registration)
    }

    /// Whether the bindings are kept by instance and flow (RFC 5626 §6).
    pub fn is_outbound(&self) -> bool {
        self.list().iter().any(|contact| contact.reg_id > 0)
    }

    /// The contacts, where there are any.
    pub(super) fn list(&self) -> &[Contact<'a>] {
        match &self.contacts {
            Contacts::List(list) => list,
            Contacts::Query | Contacts::Everything => &[],
        }
    }

    /// The interval of a contact in seconds; 0 removes it.
    pub(super) fn interval_s(&self, contact: &Contact<'_>) -> u32 {
        self.requested_s(contact).min(self.rules.max_expires_s)
    }

    fn requested_s(&self, contact: &Contact<'_>) -> u32 {
        let asked = contact.expires_s.or(self.expires_s);
        asked.unwrap_or(self.rules.default_expires_s)
    }

    /// Whether `reg-id` counts: only where the phone supports outbound and the first hop keeps
    /// flows, which is us or the proxy whose Path has `ob`.
    fn settle_flows(&mut self) -> Result<(), Refusal> {
        let has_flow = self.arrived.is_direct || first_path_has_ob(&self.path);
        let asks = self.is_outbound() && self.extensions.outbound;
        if asks && !has_flow {
            return Err(Refusal::FirstHopLacksOutbound);
        }
        let bound = self.list().iter().filter(|c| self.interval_s(c) > 0);
        let bound: Vec<_> = bound.map(|contact| contact.reg_id > 0).collect();
        if asks && bound.len() > 1 && bound.contains(&true) {
            return Err(Refusal::SeveralFlows);
        }
        if let (false, Contacts::List(list)) = (asks, &mut self.contacts) {
            list.iter_mut().for_each(|contact| contact.reg_id = 0);
        }
        Ok(())
    }

    fn check_intervals(&self) -> Result<(), Refusal> {
        let is_brief = |contact: &Contact<'_>| {
            let requested = self.requested_s(contact);
            (1..self.rules.min_expires_s.min(3_600)).contains(&requested)
        };
        match self.list().iter().any(is_brief) {
            true => Err(Refusal::TooBrief),
            false => Ok(()),
        }
    }

    /// How a contact is reached. By the path where there is one; else over the flow it came by,
    /// where nothing else would do: WebSocket, a flow of RFC 5626, a host that is none, NAT. A
    /// stream that is open anyway is preferred to opening another.
    pub(super) fn reach(&self, contact: &Contact<'_>) -> Reach {
        let Arrived {
            flow,
            is_direct,
            sent_by,
        } = self.arrived;
        let Ok(uri) = Uri::parse(contact.uri) else {
            return Reach::Resolved;
        };
        if !is_direct || !self.path.is_empty() || !matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
        {
            return Reach::Resolved;
        }
        if flow.transport.is_websocket() || contact.reg_id > 0 || is_invalid(uri.host) {
            return Reach::Only(flow);
        }
        let peer = flow.peer.ip().to_canonical();
        let host = uri.ip().map(|ip| ip.to_canonical());
        let sent_by = sent_by.map(|ip| ip.to_canonical());
        let is_elsewhere = host.is_some_and(|host| host != peer);
        let is_translated = host == sent_by && is_elsewhere;
        let is_hidden = host.is_some_and(|host| is_hidden(host, peer));
        match is_translated || is_hidden {
            true => Reach::Only(flow),
            false if is_elsewhere || !takes_flow(&uri, flow.transport) => Reach::Resolved,
            false => Reach::Preferred(flow),
        }
    }
}

impl Extensions {
    fn read(message: &Message<'_>) -> Self {
        let names = [Name::Supported, Name::Require];
        let has = |option: &[u8]| {
            let mut values = names.iter().flat_map(|name| message.values(*name));
            values.any(|value| value.bytes.eq_ignore_ascii_case(option))
        };
        Self {
            path: has(b"path"),
            outbound: has(b"outbound"),
            gruu: has(b"gruu"),
        }
    }
}

/// The options in Require that we do not know.
pub(super) fn unknown_options<'a>(message: &Message<'a>) -> impl Iterator<Item = &'a [u8]> {
    let values = message.values(Name::Require).map(|value| value.bytes);
    values.filter(|option| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(option)))
}

/// The Path values as they will stand in a Route (RFC 3327 §5.4), unfolded.
fn path_of(message: &Message<'_>) -> Result<Vec<u8>, Refusal> {
    let mut path = Vec::new();
    for value in message.values(Name::Path) {
        let address = NameAddr::parse(value.bytes).map_err(|_| Refusal::MalformedContact)?;
        Uri::parse(address.uri).map_err(|_| Refusal::MalformedContact)?;
        if !path.is_empty() {
            path.extend_from_slice(b",");
        }
        let unfolded = value.bytes.iter().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            byte => *byte,
        });
        path.extend(unfolded);
    }
    Ok(path)
}

fn first_path_has_ob(path: &[u8]) -> bool {
    let first = path.split(|byte| *byte == b'>').next().unwrap_or_default();
    let uri = first
        .split(|byte| *byte == b'<')
        .next_back()
        .unwrap_or_default();
    Uri::parse(uri).is_ok_and(|uri| uri.param(b"ob").is_some())
}

/// Whether the contact wants what the flow is: a datagram goes to its address all the same.
fn takes_flow(uri: &Uri<'_>, arrived_by: Transport) -> bool {
    let wanted = uri.param(b"transport").flatten();
    let wanted = wanted.and_then(Transport::from_name);
    arrived_by.is_reliable() && wanted.is_none_or(Transport::is_reliable)
}

/// A host that is made to lead nowhere (RFC 2606 §2, RFC 7118 appendix B.1).
fn is_invalid(host: &[u8]) -> bool {
    let label = host.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    label.eq_ignore_ascii_case(b"invalid")
}

/// Whether a host means another to us than to a phone at that address.
fn is_hidden(host: IpAddr, peer: IpAddr) -> bool {
    let is_own = host.is_loopback() || host.is_unspecified();
    (is_own && !peer.is_loopback()) || (is_private(host) && !is_private(peer))
}

/// Addresses that are used many times in the world (RFC 1918, RFC 6598, RFC 3927, RFC 4193).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, _, _] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}
