//! What the administrator configured, compiled for the call path: immutable, swapped whole on reload.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::health::HealthRules;
use super::names::Wanted;
use crate::auth::AuthPolicy;
use crate::message::{Transport, host_address, is_same};
use crate::presence::{Holidays, HouseRules, NumberPlan, Visibility};
use crate::registrar::Rules;
use crate::routing::Mode;
use crate::transaction::Base;

/// Everything a shard needs of the configuration. One `Arc` of it is read per batch of messages.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Where we listen, in the order of the host's sockets; never empty.
    pub listeners: Vec<Listener>,
    /// Host names and addresses that are ours (lower case, IPv6 without brackets), beside the
    /// listeners' own addresses.
    pub domains: Vec<Box<str>>,
    /// The home region's way to write numbers.
    pub plan: Arc<NumberPlan>,
    /// The PBX. Without one, a call that should be connected is answered 480.
    pub next_hop: Option<NextHop>,
    /// Where a forwarding to a number outside our directory is placed; the PBX unless configured.
    pub outbound: Option<NextHop>,
    /// The voicemail system; without one the action `voicemail` is treated as not set.
    pub voicemail: Option<Voicemail>,
    /// Who is trusted, first match wins. The next hop, the outbound hop and voicemail are known too.
    pub peers: Vec<Peer>,
    /// How a source that matches no `[[peer]]` is treated.
    pub stranger: Peer,
    /// Who must authenticate, and what becomes of those who fail.
    pub auth: AuthPolicy,
    /// Who is never shut out, beside the peers.
    pub never_ban: Vec<Network>,
    /// Status answered for `dnd` without an action: 480, 486 or 603.
    pub dnd_status: u16,
    /// What happens to a call to nobody of ours in a domain of ours.
    pub unknown_callee: UnknownCallee,
    /// What registrations may do; `None` passes REGISTER on to the PBX.
    pub registrar: Option<Rules>,
    /// RFC 3261 timers and our own.
    pub timers: Timers,
    /// Bounds of tables; reaching one answers 503 before any state is made.
    pub limits: Limits,
    /// What is given up under load.
    pub overload: Overload,
    /// How long a callee with a no-answer action rings, where they leave it open; seconds.
    pub ring_for_s: u16,
    /// How many calls make a subscriber busy.
    pub call_limit: u16,
    /// Diversions after which a call is not forwarded again (RFC 5806 counters included).
    pub hop_limit: u8,
    /// `Retry-After` of a 503, seconds.
    pub retry_after_s: u32,
    /// Penalties, and who is asked whether they are well.
    pub health: HealthRules,
    /// In which time zone hours are meant that name none.
    pub zone: TimeZone,
    /// The days on which nobody works.
    pub holidays: Holidays,
    /// What the administrator lays down for everybody's statuses.
    pub house: Arc<HouseRules>,
    /// What colleagues see of each other.
    pub visibility: Visibility,
    /// What watchers may subscribe to here.
    pub events: crate::event::Rules,
    /// Longer requests go over TCP where we listen on it (RFC 3261 §18.1.1); 0 is no limit.
    pub udp_limit_bytes: usize,
    /// Whether datagrams may be given to the kernel joined.
    pub join_datagrams: bool,
}

/// One address we listen on, with the texts that name it in messages.
#[derive(Debug, Clone)]
pub struct Listener {
    /// What it speaks.
    pub transport: Transport,
    /// The bound address.
    pub local: SocketAddr,
    /// The network that its address is on, where the system tells.
    pub network: Option<Network>,
    /// Whether messages to the rest of the world leave from its address.
    pub has_default_route: bool,
    /// `host:port` as the other side reaches us; IPv6 in brackets.
    pub advertised: Box<str>,
    /// The advertised host alone, lower case, IPv6 without brackets.
    pub host: Box<str>,
    /// The advertised port.
    pub port: u16,
}

/// A system a request can be sent to: one host, or a group of nodes of which each can take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// `host[:port]` as configured, for Request-URIs we make.
    pub host_port: Box<str>,
    /// Whom to send to, by priority; never empty.
    pub nodes: Vec<Node>,
}

/// One node of a [`NextHop`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The configured name, as logs and metrics show it.
    pub name: Box<str>,
    /// Where it is.
    pub target: Wanted,
    /// Nodes of a lower number are tried first (as RFC 2782).
    pub priority: u16,
    /// How often it comes first among nodes of its priority (as RFC 2782).
    pub weight: u16,
    /// The addresses that its name leads to, as of late: it is known by them.
    pub addresses: Vec<IpAddr>,
}

impl NextHop {
    /// A group of one node at an address, by UDP.
    pub fn at(name: &str, address: SocketAddr) -> Self {
        let host_port = address.to_string().into();
        let target = Wanted {
            host: address.ip().to_string().into(),
            port: Some(address.port()),
            transport: Some(Transport::Udp),
            is_secure: false,
        };
        let node = Node {
            name: name.into(),
            target,
            priority: 1,
            weight: 1,
            addresses: vec![address.ip()],
        };
        Self {
            host_port,
            nodes: vec![node],
        }
    }

    /// Whether an address is a node's.
    pub fn is_at(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let mut addresses = self.nodes.iter().flat_map(|node| &node.addresses);
        addresses.any(|address| address.to_canonical() == ip)
    }
}

/// The voicemail template, `sip:vm-{subscriber}@host` cut at its placeholder (RFC 4458).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voicemail {
    /// Text before `{subscriber}`, from `sip:` on.
    pub before: Box<str>,
    /// Text after it; empty where the template has no placeholder.
    pub after: Box<str>,
    /// Whether the template has the placeholder.
    pub per_subscriber: bool,
    /// Where retargeted calls are sent.
    pub hop: NextHop,
}

/// A trunk, a PBX node or any source, and what is believed of it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The configured name, as logs and metrics show it.
    pub name: Box<str>,
    /// The networks it sends from; any, where there are none but certificates.
    pub networks: Vec<Network>,
    /// The names of which its certificate has one; none, where its address is enough.
    pub certificates: Vec<Box<str>>,
    /// How a forwarding is carried out for calls from it.
    pub forwarding: Mode,
    /// The same for voicemail.
    pub voicemail_forwarding: Mode,
    /// Whether Diversion and History-Info from it are believed.
    pub trust_diversion: bool,
    /// Whether P-Asserted-Identity from it is believed (RFC 3325).
    pub trust_identity: bool,
    /// Whether it is in our trust domain for what we send: it gets identities that are private.
    pub send_identity: bool,
    /// Calls from it are never internal, whatever their From says (a trunk).
    pub external: bool,
}

impl Peer {
    fn is_at(&self, source: IpAddr, identities: &[Box<str>]) -> bool {
        let is_named = || {
            let mut names = self.certificates.iter();
            names.any(|name| {
                identities
                    .iter()
                    .any(|shown| shown.eq_ignore_ascii_case(name))
            })
        };
        let is_there = || self.networks.iter().any(|block| block.holds(source));
        match (self.networks.is_empty(), self.certificates.is_empty()) {
            (_, true) => is_there(),
            (true, false) => is_named(),
            (false, false) => is_there() && is_named(),
        }
    }
}

/// An address block, `192.0.2.0/24` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first address of the block.
    pub base: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Network {
    /// The block that holds one address only.
    pub fn host(address: IpAddr) -> Self {
        Self {
            base: address,
            prefix: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    /// Whether the block holds the address. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(a)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                u32::from(base) & mask == u32::from(a) & mask
            }
            (IpAddr::V6(base), IpAddr::V6(a)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                u128::from(base) & mask == u128::from(a) & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self == Self::host(self.base) {
            true => self.base.fmt(f),
            false => write!(f, "{}/{}", self.base, self.prefix),
        }
    }
}

/// What happens to a call to nobody of ours in a domain of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownCallee {
    /// Passed on to the PBX, which may know them.
    NextHop,
    /// Answered 404.
    Reject,
}

/// Durations in milliseconds, by the RFC's letters (RFC 3261 table 4), and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// T1: the round-trip estimate, 500.
    pub t1: u64,
    /// T2: the longest interval between retransmissions of a non-INVITE request, 4,000.
    pub t2: u64,
    /// T4: how long a message stays in the network, 5,000.
    pub t4: u64,
    /// Timer C: how long a branch may ring, more than three minutes (RFC 3261 §16.6(11)).
    pub timer_c: u64,
    /// How long a hop may be silent before the target's next one is tried (RFC 3263 §4.3).
    pub failover: u64,
    /// Session-Expires we insert where the caller supports timers (RFC 4028), seconds; 0 never.
    pub session_expires_s: u32,
    /// The shortest session interval that we take (RFC 4028 §8.1), seconds; at least 90.
    pub session_min_s: u32,
    /// After this many seconds a call record ends whatever the peers say.
    pub call_limit_s: u32,
}

impl Timers {
    /// The base values the transaction machines run on.
    pub fn base(&self, reliable: bool) -> Base {
        Base {
            t1: self.t1,
            t2: self.t2,
            t4: self.t4,
            reliable,
        }
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: 500,
            t2: 4_000,
            t4: 5_000,
            timer_c: 185_000,
            failover: 4_000,
            session_expires_s: 1_800,
            session_min_s: 90,
            call_limit_s: 12 * 3_600,
        }
    }
}

/// How many of each thing one shard holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions (request contexts) in any state.
    pub transactions: usize,
    /// Open calls.
    pub calls: usize,
    /// Branches tried for one INVITE.
    pub branches: usize,
    /// Messages a second from one source that is no peer, of the whole server; 0 for any number.
    pub messages_per_source_s: u32,
}

/// What is given up under load; the classes and rules are in `proxy::overload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// How long a new call may have waited before it is handled; 0 for any time, and then nothing
    /// is given up. Other requests may wait half as long, subscriptions a quarter.
    pub max_delay_ms: u32,
    /// Whether neighbours tell us how much less they want, and we them (RFC 7339).
    pub control: bool,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            max_delay_ms: 200,
            control: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: 1_000_000,
            calls: 100_000,
            branches: 16,
            messages_per_source_s: 0,
        }
    }
}

impl Policy {
    /// The same with these holidays.
    #[must_use]
    pub fn observing(self, holidays: Holidays) -> Self {
        let house = Arc::new(self.house.observing(holidays.clone()));
        Self {
            holidays,
            house,
            ..self
        }
    }

    /// What is believed of a source, and whether it is known to us at all. `identities` are the
    /// names in the certificate that it has shown, if any.
    pub fn peer(&self, source: IpAddr, identities: &[Box<str>]) -> (&Peer, bool) {
        let configured = self
            .peers
            .iter()
            .find(|peer| peer.is_at(source, identities));
        match configured {
            Some(peer) => (peer, true),
            None => (&self.stranger, self.is_own_hop(source)),
        }
    }

    /// Whether the address is one of the systems we send calls to ourselves.
    fn is_own_hop(&self, source: IpAddr) -> bool {
        let voicemail = self.voicemail.as_ref().map(|voicemail| &voicemail.hop);
        [self.next_hop.as_ref(), self.outbound.as_ref(), voicemail]
            .into_iter()
            .flatten()
            .any(|hop| hop.is_at(source))
    }

    /// Whether a host (without brackets) is one of our domains or addresses.
    pub fn is_ours(&self, host: &[u8]) -> bool {
        let listeners = self.listeners.iter().map(|listener| &listener.host);
        let mut hosts = self.domains.iter().chain(listeners);
        hosts.any(|ours| is_same_host(ours, host))
    }

    /// Whether `host:port` names one of our listeners (a Route or Via of ours).
    pub fn is_our_address(&self, host: &[u8], port: Option<u16>) -> bool {
        self.listeners.iter().any(|l| {
            l.port == port.unwrap_or(l.transport.default_port()) && is_same_host(&l.host, host)
        })
    }

    /// The base values for a transaction over a listener.
    pub fn base(&self, listener: u8) -> Base {
        self.timers.base(self.transport(listener).is_reliable())
    }
}

/// Whether two hosts, IPv6 without brackets, are the same: an address can be written in several ways.
fn is_same_host(ours: &str, host: &[u8]) -> bool {
    let ours = ours.as_bytes();
    let (Some(our_last), Some(last)) = (ours.last(), host.last()) else {
        return ours.is_empty() && host.is_empty();
    };
    // Addresses of one network are as long as each other, and differ at their end.
    if our_last.eq_ignore_ascii_case(last) && is_same(ours, host) {
        return true;
    }
    let address = |host: &[u8]| host_address(host).filter(IpAddr::is_ipv6);
    may_be_ipv6(host)
        && may_be_ipv6(ours)
        && address(ours).is_some_and(|ours| address(host) == Some(ours))
}

/// An IPv6 address has a colon behind its first group, which has four digits at most.
fn may_be_ipv6(host: &[u8]) -> bool {
    host.iter().take(5).any(|byte| *byte == b':')
}
