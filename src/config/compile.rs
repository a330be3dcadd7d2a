//! From what was written to what the call path reads.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::address::PLACEHOLDER;
use super::{
    Config, ConfigError, ConfigErrors, Forwarding, HostPort, Listen, RegistrarMode, UnknownCallee,
};
use crate::event::{Package, Packages};
use crate::presence::{Holidays, NumberPlan};
use crate::proxy::policy::{
    Limits, Listener, Network, NextHop, Node, Overload, Peer, Policy, Timers,
    UnknownCallee as Unknown, Voicemail,
};
use crate::proxy::{Check, HealthRules, Wanted};
use crate::registrar::Rules;
use crate::routing::Mode;

/// What the configuration asks of the system, once when it is loaded.
pub trait Surroundings {
    /// The addresses that a host name leads to (RFC 3263). None where that is not known yet and
    /// will be found out later.
    ///
    /// # Errors
    /// The name leads nowhere, or nobody could be asked.
    fn resolve(&self, name: &Wanted) -> io::Result<Vec<IpAddr>>;

    /// The address of ours from which a datagram to `to` would be sent.
    ///
    /// # Errors
    /// There is no route.
    fn source_towards(&self, to: SocketAddr) -> io::Result<IpAddr>;

    /// The network that an address of ours is on, where it is known.
    fn network_of(&self, address: IpAddr) -> Option<Network>;
}

/// The policy that a configuration says. Listeners have the port that was configured, which may
/// be 0: see [`Policy::bound`].
///
/// # Errors
/// Names that cannot be resolved, and listeners whose own address cannot be told.
pub fn compile(config: &Config, system: &dyn Surroundings) -> Result<Policy, ConfigErrors> {
    let mut errors = Vec::new();
    let sip = &config.sip;
    let next_hop = match config.nodes.is_empty() {
        true => one(config, ("sip.next_hop", &sip.next_hop), system, &mut errors),
        false => group(config, system, &mut errors),
    };
    let outbound = one(config, ("sip.outbound", &sip.outbound), system, &mut errors)
        .or_else(|| next_hop.clone());
    let voicemail_host = sip.voicemail.as_ref().map(|template| template.hop.clone());
    let voicemail_host = ("sip.voicemail", &voicemail_host);
    let voicemail_hop = one(config, voicemail_host, system, &mut errors);
    let hops: Vec<_> = [&next_hop, &outbound, &voicemail_hop]
        .into_iter()
        .flatten()
        .collect();
    let listeners = listeners(config, &hops, system, &mut errors);
    let plan = NumberPlan::for_region(&sip.region)
        .map_err(|_| errors.push(config.error("sip.region", "this is not a region")));
    let (Ok(plan), true) = (plan, errors.is_empty()) else {
        return Err(ConfigErrors(errors));
    };
    let registrar = registrar(config);
    let mut house = config.house();
    house
        .domains
        .extend(listeners.iter().map(|listener| listener.host.clone()));
    Ok(Policy {
        auth: super::auth::policy(config, &listeners, registrar.is_some()),
        never_ban: config.auth.never_ban.clone(),
        listeners,
        domains: sip
            .domains
            .iter()
            .map(|domain| domain.as_str().into())
            .collect(),
        plan: Arc::new(plan),
        peers: peers(config, &hops),
        health: health(config),
        zone: config.presence.zone(),
        holidays: Holidays::default(),
        house: Arc::new(house),
        visibility: config.presence.visibility(),
        stranger: stranger(config),
        voicemail: voicemail_hop.and_then(|hop| voicemail(config, hop)),
        next_hop,
        outbound,
        dnd_status: sip.dnd_status,
        unknown_callee: match sip.unknown_callee {
            UnknownCallee::NextHop => Unknown::NextHop,
            UnknownCallee::Reject => Unknown::Reject,
        },
        events: events(config, registrar.is_some()),
        registrar,
        timers: timers(config),
        limits: limits(config),
        overload: Overload {
            max_delay_ms: config.overload.max_delay_ms,
            control: config.overload.control,
        },
        ring_for_s: sip.ring_for_s,
        call_limit: sip.call_limit,
        hop_limit: sip.hop_limit,
        retry_after_s: sip.retry_after_s,
        udp_limit_bytes: sip.udp_limit_bytes as usize,
        join_datagrams: sip.join_datagrams,
    })
}

impl Config {
    /// How many shards run: as configured, or one per core.
    pub fn shards(&self) -> usize {
        let cores = || {
            std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(64)
        };
        self.sip.shards.map_or_else(cores, usize::from)
    }
}

impl Policy {
    /// The same with the addresses that the listeners were given where port 0 was configured.
    #[must_use]
    pub fn bound(mut self, addresses: &[SocketAddr]) -> Self {
        for (listener, address) in self.listeners.iter_mut().zip(addresses) {
            if listener.port == 0 {
                listener.port = address.port();
                listener.advertised = host_port(&listener.host, listener.port);
            }
            listener.local = *address;
        }
        self
    }
}

/// A configured system of one host.
fn one(
    config: &Config,
    (key, host): (&str, &Option<HostPort>),
    system: &dyn Surroundings,
    errors: &mut Vec<ConfigError>,
) -> Option<NextHop> {
    let host = host.as_ref()?;
    let addresses = addresses(config, key, host, system).map_err(|error| errors.push(error));
    let node = Node {
        name: key.trim_start_matches("sip.").into(),
        target: wanted(host),
        priority: 1,
        weight: 1,
        addresses: addresses.ok()?,
    };
    Some(NextHop {
        host_port: host.to_string().into(),
        nodes: vec![node],
    })
}

/// The nodes, by priority. Where a next hop is configured too, requests name that.
fn group(
    config: &Config,
    system: &dyn Surroundings,
    errors: &mut Vec<ConfigError>,
) -> Option<NextHop> {
    let mut nodes = Vec::new();
    for (index, node) in config.nodes.iter().enumerate() {
        match addresses(config, &format!("node[{index}].uri"), &node.uri, system) {
            Ok(addresses) => nodes.push(Node {
                name: node.name.as_str().into(),
                target: wanted(&node.uri),
                priority: node.priority,
                weight: node.weight,
                addresses,
            }),
            Err(error) => errors.push(error),
        }
    }
    nodes.sort_by_key(|node| node.priority);
    let host = config.sip.next_hop.as_ref();
    let host = host.or_else(|| config.nodes.first().map(|node| &node.uri))?;
    Some(NextHop {
        host_port: host.to_string().into(),
        nodes,
    })
}

/// The addresses of a configured host, of which one at least must be of a family that we listen on.
fn addresses(
    config: &Config,
    key: &str,
    host: &HostPort,
    system: &dyn Surroundings,
) -> Result<Vec<IpAddr>, ConfigError> {
    let target = wanted(host);
    let asked_for = host.transport.is_some() || host.is_secure;
    let transport = target.sought().transport_or_default();
    let mut listening = config.sip.listen.iter();
    if asked_for && !listening.any(|listen| listen.transport == transport) {
        let transport = transport.param();
        let text = format!("{host} is reached by {transport}, and no listener speaks that");
        return Err(config.error(key, text));
    }
    let found = match host.ip() {
        Some(ip) => vec![ip],
        None => system.resolve(&target).map_err(|error| {
            config.error(
                key,
                format!("the name {:?} leads nowhere: {error}", host.host),
            )
        })?,
    };
    let reachable = |ip: &IpAddr| {
        let mut listening = config.sip.listen.iter();
        listening.any(|listen| listen.address.is_ipv4() == ip.is_ipv4())
    };
    if found.is_empty() || found.iter().any(reachable) {
        return Ok(found);
    }
    let families = match found.iter().any(IpAddr::is_ipv4) {
        true => "IPv4",
        false => "IPv6",
    };
    let text = format!(
        "{} has {families} addresses only, and no listener is {families}",
        host.host
    );
    Err(config.error(key, text))
}

/// Penalties, and who is checked: the nodes, the other configured systems, and peers.
fn health(config: &Config) -> HealthRules {
    let check = |name: &str, target: Wanted, every_s: u32| Check {
        name: name.into(),
        target,
        every_ms: u64::from(every_s) * 1_000,
    };
    let of_node = |node: &super::Node| check(&node.name, wanted(&node.uri), node.check_s);
    let sip = &config.sip;
    let voicemail = sip.voicemail.as_ref().map(|voicemail| &voicemail.hop);
    let next_hop = sip.next_hop.as_ref().filter(|_| config.nodes.is_empty());
    let hops = [
        ("next_hop", next_hop),
        ("outbound", sip.outbound.as_ref()),
        ("voicemail", voicemail),
    ];
    let hops = hops
        .into_iter()
        .filter_map(|(name, hop)| Some((name, hop?)));
    let hops = hops.map(|(name, hop)| check(name, wanted(hop), config.health.check_s));
    let of_peer = |peer: &super::Peer| {
        let address = peer.address.first()?.base;
        let target = wanted(&HostPort::named(address.to_string().into()));
        Some(check(&peer.name, target, peer.check_s))
    };
    let peers = config.peers.iter().filter_map(of_peer);
    let checks = config.nodes.iter().map(of_node).chain(hops).chain(peers);
    HealthRules {
        penalty_ms: u64::from(config.health.penalty_s) * 1_000,
        failures: config.health.failures,
        checks: checks.filter(|check| check.every_ms > 0).collect(),
    }
}

/// What is sought where a host is configured.
pub(super) fn wanted(host: &HostPort) -> Wanted {
    Wanted {
        host: host.host.clone(),
        port: host.port,
        transport: host.transport,
        is_secure: host.is_secure,
    }
}

fn listeners(
    config: &Config,
    hops: &[&NextHop],
    system: &dyn Surroundings,
    errors: &mut Vec<ConfigError>,
) -> Vec<Listener> {
    let one = |listen: &Listen| {
        let local = listen.address;
        let advertised = advertised(config, listen, hops, system)?;
        let port = advertised.port.unwrap_or(local.port());
        let default = system.source_towards(anywhere(local)).ok();
        Ok(Listener {
            transport: listen.transport,
            network: system.network_of(local.ip()),
            has_default_route: local.ip().is_unspecified() || default == Some(local.ip()),
            local,
            advertised: host_port(&advertised.host, port),
            host: advertised.host,
            port,
        })
    };
    let found = config.sip.listen.iter().map(one);
    found
        .filter_map(|listener| listener.map_err(|error| errors.push(error)).ok())
        .collect()
}

/// What a listener calls itself: as configured, else its address, else the address from which the
/// system would send to the systems we know.
fn advertised(
    config: &Config,
    listen: &Listen,
    hops: &[&NextHop],
    system: &dyn Surroundings,
) -> Result<HostPort, ConfigError> {
    let local = listen.address;
    let fits = |entry: &&HostPort| entry.ip().is_none_or(|ip| ip.is_ipv4() == local.is_ipv4());
    if let Some(entry) = config.sip.advertise.iter().find(fits) {
        return Ok(entry.clone());
    }
    let named = |ip: IpAddr| HostPort::named(ip.to_string().into());
    if !local.ip().is_unspecified() {
        return Ok(named(local.ip()));
    }
    let nodes = hops.iter().flat_map(|hop| &hop.nodes);
    let known = nodes.flat_map(|node| node.addresses.iter().map(|ip| SocketAddr::new(*ip, 9)));
    let same_family = |to: &SocketAddr| to.is_ipv4() == local.is_ipv4();
    known
        .filter(same_family)
        .chain([anywhere(local)])
        .find_map(|to| {
            system
                .source_towards(to)
                .ok()
                .filter(|ip| !ip.is_unspecified())
        })
        .map(named)
        .ok_or_else(|| {
            let text = format!(
                "{listen} stands for every address of this machine, and there is no route that \
                 would tell which to write into messages; set sip.advertise"
            );
            config.error("sip.listen", text)
        })
}

/// An address that stands for the rest of the world (RFC 5737, RFC 3849); nothing is sent there.
fn anywhere(local: SocketAddr) -> SocketAddr {
    match local.is_ipv4() {
        true => (Ipv4Addr::new(192, 0, 2, 1), 9).into(),
        false => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
    }
}

fn host_port(host: &str, port: u16) -> Box<str> {
    match host.contains(':') {
        true => format!("[{host}]:{port}").into(),
        false => format!("{host}:{port}").into(),
    }
}

/// The configured peers, then the systems we send calls to, where no peer covers them.
fn peers(config: &Config, hops: &[&NextHop]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = config
        .peers
        .iter()
        .map(|peer| configured(config, peer))
        .collect();
    for (hop, name) in hops.iter().zip(["next_hop", "outbound", "voicemail"]) {
        let addresses = hop.nodes.iter().flat_map(|node| &node.addresses);
        let covered = |ip: &IpAddr| {
            let holds = |peer: &Peer| peer.networks.iter().any(|block| block.holds(*ip));
            let mut by_address = peers.iter().filter(|peer| peer.certificates.is_empty());
            by_address.any(holds)
        };
        let networks: Vec<Network> = addresses
            .map(IpAddr::to_canonical)
            .filter(|ip| !covered(ip))
            .map(Network::host)
            .collect();
        if !networks.is_empty() {
            peers.push(Peer {
                name: name.into(),
                networks,
                trust_identity: true,
                send_identity: true,
                ..stranger(config)
            });
        }
    }
    peers
}

fn configured(config: &Config, peer: &super::Peer) -> Peer {
    let voicemail = peer.voicemail_forwarding.or(peer.forwarding);
    Peer {
        name: peer.name.as_str().into(),
        networks: peer.address.clone(),
        certificates: peer
            .certificate
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        forwarding: mode(peer.forwarding.unwrap_or(config.sip.forwarding)),
        voicemail_forwarding: mode(voicemail.unwrap_or(voicemail_forwarding(config))),
        trust_diversion: peer.trust_diversion,
        trust_identity: peer.trust_identity,
        send_identity: peer.send_identity.unwrap_or(peer.trust_identity),
        external: peer.external,
    }
}

/// Somebody unknown: an identity they assert counts for nothing (RFC 3325 §5). The diversions
/// they tell of can only make us forward less, so they count.
fn stranger(config: &Config) -> Peer {
    Peer {
        name: "stranger".into(),
        networks: Vec::new(),
        certificates: Vec::new(),
        forwarding: mode(config.sip.forwarding),
        voicemail_forwarding: mode(voicemail_forwarding(config)),
        trust_diversion: true,
        trust_identity: false,
        send_identity: false,
        external: false,
    }
}

fn voicemail_forwarding(config: &Config) -> Forwarding {
    config
        .sip
        .voicemail_forwarding
        .unwrap_or(config.sip.forwarding)
}

fn mode(forwarding: Forwarding) -> Mode {
    match forwarding {
        Forwarding::Redirect => Mode::Redirect,
        Forwarding::Retarget => Mode::Retarget,
    }
}

fn voicemail(config: &Config, hop: NextHop) -> Option<Voicemail> {
    let text = &config.sip.voicemail.as_ref()?.text;
    let (before, after) = text.split_once(PLACEHOLDER).unwrap_or((text, ""));
    Some(Voicemail {
        before: before.into(),
        after: after.into(),
        per_subscriber: text.contains(PLACEHOLDER),
        hop,
    })
}

/// What registrations may do; `None` where they are the PBX's.
fn registrar(config: &Config) -> Option<Rules> {
    let registrar = &config.registrar;
    let default = match config.has_pbx() {
        true => RegistrarMode::Pass,
        false => RegistrarMode::Local,
    };
    let is_local = registrar.mode.unwrap_or(default) == RegistrarMode::Local;
    is_local.then_some(Rules {
        min_expires_s: registrar.min_expires_s,
        default_expires_s: registrar.default_expires_s,
        max_expires_s: registrar.max_expires_s,
        bindings_per_aor: registrar.bindings_per_aor,
    })
}

/// What watchers may subscribe to; left out, everything where phones register with us, and nothing
/// where the PBX knows them: it has lamps of its own.
fn events(config: &Config, is_registrar: bool) -> crate::event::Rules {
    let all = || match is_registrar {
        true => Package::ALL.to_vec(),
        false => Vec::new(),
    };
    let packages = config.events.packages.clone().unwrap_or_else(all);
    crate::event::Rules {
        packages: Packages::of(packages),
        max_expires_s: config.events.max_expires_s,
        per_watcher: config.events.per_watcher,
        limit: config.limits.subscriptions,
        lamp_shows_dnd: config.events.lamp_shows_dnd,
    }
}

fn timers(config: &Config) -> Timers {
    let mut timers = Timers {
        session_expires_s: config.sip.session_expires_s,
        session_min_s: config.sip.session_min_s,
        call_limit_s: config.sip.max_call_s,
        ..Timers::default()
    };
    timers.t1 = u64::from(config.timers.t1_ms);
    timers.t2 = u64::from(config.timers.t2_ms);
    timers.t4 = u64::from(config.timers.t4_ms);
    timers.timer_c = u64::from(config.timers.timer_c_s) * 1_000;
    timers.failover = u64::from(config.timers.failover_ms);
    timers
}

fn limits(config: &Config) -> Limits {
    let shards = config.shards();
    Limits {
        transactions: config.limits.transactions.div_ceil(shards),
        calls: config.limits.calls.div_ceil(shards),
        branches: config.limits.branches,
        messages_per_source_s: config.limits.messages_per_source_s,
    }
}
