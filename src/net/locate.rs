//! RFC 3263 §4: from what a URI names to transports, addresses and ports. Who asks name servers is
//! a parameter ([`Ask`]), so that the rules are tried without a network.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::{join, join_all};

use crate::message::Transport;
use crate::proxy::policy::Policy;
use crate::proxy::{Endpoint, Endpoints, Target, Wanted};

/// How many records of one kind count, and how many addresses of one name.
const RECORDS_LIMIT: usize = 32;
const ADDRESSES_LIMIT: usize = 16;
/// How long an answer is believed at least and at most, and one that there is nothing.
const TTL_LEAST_S: u32 = 1;
const TTL_MOST_S: u32 = 86_400;
const NOTHING_MOST_S: u32 = 300;
/// How long a chain is believed of which a part could not be asked.
const UNCERTAIN_S: u32 = 30;

/// Asks name servers, or stands in for them.
pub(super) trait Ask {
    /// The addresses that this machine itself knows for a name (`/etc/hosts`); nobody else is asked
    /// then.
    fn local(&self, name: &str) -> Vec<IpAddr>;
    /// The NAPTR records of a name.
    async fn naptr(&self, name: &str) -> Answer<Naptr>;
    /// The SRV records of a name.
    async fn srv(&self, name: &str) -> Answer<Srv>;
    /// The addresses of a name, in one family.
    async fn addresses(&self, name: &str, is_ipv4: bool) -> Answer<IpAddr>;
}

/// The records of a name, none where there are none.
#[derive(Debug, Clone)]
pub(super) struct Records<T> {
    pub(super) records: Vec<T>,
    /// How long this is believed: the least of the records' own times, or what the SOA says.
    pub(super) ttl_s: u32,
}

/// What a query brought.
pub(super) type Answer<T> = Result<Records<T>, Unanswered>;

/// Nobody answered, or the answer was a failure: nothing is known, not even that there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unanswered(pub(super) String);

/// A NAPTR record (RFC 3403) as far as SIP uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Naptr {
    pub(super) order: u16,
    pub(super) preference: u16,
    pub(super) flags: String,
    pub(super) services: String,
    pub(super) has_regexp: bool,
    pub(super) replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// The host; `.` where the service is decidedly not there.
    pub(super) target: String,
}

/// What we listen on, and so what we can use, in our order of preference: that of the listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ours {
    transports: Vec<Transport>,
    families: Vec<bool>,
}

impl Ours {
    /// From the listeners' transports and whether they are IPv4. Browsers connect to us, we cannot
    /// connect to them (RFC 7118 §5).
    pub(super) fn new(listeners: impl Iterator<Item = (Transport, bool)>) -> Self {
        let mut ours = Self::default();
        for (transport, is_ipv4) in listeners.filter(|(t, _)| !t.is_websocket()) {
            if !ours.transports.contains(&transport) {
                ours.transports.push(transport);
            }
            if !ours.families.contains(&is_ipv4) {
                ours.families.push(is_ipv4);
            }
        }
        ours
    }

    /// Those of a running server.
    pub(super) fn of(policy: &Policy) -> Self {
        let listeners = policy.listeners.iter();
        Self::new(listeners.map(|l| (l.transport, l.local.is_ipv4())))
    }

    fn rank(&self, transport: Transport) -> Option<u16> {
        let found = self.transports.iter().position(|t| *t == transport)?;
        u16::try_from(found).ok()
    }
}

/// Where a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// None where it leads nowhere.
    pub(super) targets: Vec<Target>,
    /// How long this is believed.
    pub(super) ttl_s: u32,
}

/// Where what is wanted leads (RFC 3263 §4.1 and §4.2).
///
/// # Errors
/// Name servers could not be asked and so nothing is known.
pub(super) async fn locate(
    ask: &impl Ask,
    wanted: &Wanted,
    ours: &Ours,
) -> Result<Located, Unanswered> {
    let mut chain = Chain {
        ask,
        ours,
        name: (&*wanted.host).into(),
        ttl_s: TTL_MOST_S,
        unanswered: None,
    };
    let targets = chain.locate(wanted).await;
    match chain.unanswered {
        Some(unanswered) if targets.is_empty() => Err(unanswered),
        _ => {
            let most_s = if targets.is_empty() {
                NOTHING_MOST_S
            } else {
                TTL_MOST_S
            };
            Ok(Located {
                targets,
                ttl_s: chain.ttl_s.clamp(TTL_LEAST_S, most_s),
            })
        }
    }
}

/// One resolution under way.
struct Chain<'a, A> {
    ask: &'a A,
    ours: &'a Ours,
    /// What a certificate must name: what was sought, not what it led to (RFC 5922 §4).
    name: std::sync::Arc<str>,
    /// The least time of all answers so far.
    ttl_s: u32,
    unanswered: Option<Unanswered>,
}

/// An SRV name to ask for, and what its targets speak.
struct Service {
    name: String,
    transport: Transport,
    rank: u16,
    /// The replacement has addresses itself (NAPTR flag `a`).
    is_host: bool,
}

impl<A: Ask> Chain<'_, A> {
    async fn locate(&mut self, wanted: &Wanted) -> Vec<Target> {
        let host = &*wanted.host;
        let Some(fallback) = self.transport_without_records(wanted) else {
            return Vec::new();
        };
        let port = wanted.port.unwrap_or(fallback.default_port());
        let local = self.ask.local(host);
        if !local.is_empty() {
            self.note(UNCERTAIN_S);
            let endpoints = self.endpoints(&local, fallback, port);
            return target((0, 0, 0), endpoints).into_iter().collect();
        }
        if wanted.port.is_none() {
            if wanted.transport.is_none()
                && let Some(targets) = self.by_naptr(wanted).await
            {
                return targets;
            }
            if let Some(targets) = self.by_srv(wanted).await {
                return targets;
            }
        }
        let endpoints = self.hosts(host, fallback, port).await;
        target((0, 0, 0), endpoints).into_iter().collect()
    }

    /// What is spoken where no record says it (§4.1): what was asked for, else TLS for `sips`, else
    /// UDP; where we do not speak that, what we speak.
    fn transport_without_records(&self, wanted: &Wanted) -> Option<Transport> {
        let transport = wanted.sought().transport_or_default();
        let is_free = wanted.transport.is_none() && !wanted.is_secure;
        let is_ours = self.ours.transports.contains(&transport);
        match (is_ours, is_free) {
            (true, _) => Some(transport),
            (false, true) => self.ours.transports.first().copied(),
            (false, false) => None,
        }
    }

    /// §4.1: the domain's own choice of transports. `None` where it makes none that we can follow.
    async fn by_naptr(&mut self, wanted: &Wanted) -> Option<Vec<Target>> {
        let answer = self.ask.naptr(&wanted.host).await;
        // That NAPTR alone fails is common where somebody filters DNS: SRV may do without it.
        let mut records = match answer {
            Ok(answer) => self.taken(answer),
            Err(_) => {
                self.note(UNCERTAIN_S);
                return None;
            }
        };
        records.sort_by_key(|record| (record.order, record.preference));
        let usable = |record: &Naptr| {
            let transport = record.transport(wanted.is_secure)?;
            self.ours.rank(transport).map(|_| transport)
        };
        let lowest = records.iter().find(|r| usable(r).is_some())?.order;
        let services: Vec<Service> = records
            .iter()
            .filter(|record| record.order == lowest)
            .zip(0u16..)
            .filter_map(|(record, rank)| {
                Some(Service {
                    name: record.replacement.clone(),
                    transport: usable(record)?,
                    rank,
                    is_host: record.flags.eq_ignore_ascii_case("a"),
                })
            })
            .collect();
        self.services(&services).await
    }

    /// §4.1, §4.2 without NAPTR: `_sip._udp` and so on, for the transport that was asked for or each
    /// that we speak. `None` where there is no SRV record at all.
    async fn by_srv(&mut self, wanted: &Wanted) -> Option<Vec<Target>> {
        let transports = match (wanted.transport, wanted.is_secure) {
            (Some(_), _) | (None, true) => vec![wanted.sought().transport_or_default()],
            (None, false) => self.ours.transports.clone(),
        };
        let is_free = wanted.transport.is_none() && !wanted.is_secure;
        let services: Vec<Service> = transports
            .into_iter()
            .filter_map(|transport| {
                let label = match transport {
                    Transport::Udp => "_sip._udp",
                    Transport::Tcp => "_sip._tcp",
                    // The service `sips` is for SIPS URIs, and for whoever asks for TLS.
                    Transport::Tls if !is_free => "_sips._tcp",
                    _ => return None,
                };
                Some(Service {
                    name: format!("{label}.{}", wanted.host),
                    transport,
                    rank: self.ours.rank(transport)?,
                    is_host: false,
                })
            })
            .collect();
        self.services(&services).await
    }

    /// The targets of several services, asked for at once. `None` where none of them exists: then
    /// the domain's own addresses count (§4.2). One that says that it is not there, or that nobody
    /// could ask for, exists.
    async fn services(&mut self, services: &[Service]) -> Option<Vec<Target>> {
        let asked = services.iter().filter(|service| !service.is_host);
        let answers = join_all(asked.map(|service| self.ask.srv(&service.name))).await;
        let mut answers = answers.into_iter();
        let mut exists = false;
        let mut targets = Vec::new();
        for service in services {
            if service.is_host {
                let port = service.transport.default_port();
                let endpoints = self.hosts(&service.name, service.transport, port).await;
                exists |= !endpoints.is_empty();
                targets.extend(target((service.rank, 0, 0), endpoints));
                continue;
            }
            let records = match answers.next() {
                Some(Ok(answer)) => self.taken(answer),
                Some(Err(unanswered)) => {
                    exists = true;
                    self.miss(unanswered);
                    continue;
                }
                None => continue,
            };
            exists |= !records.is_empty();
            targets.extend(self.of_srv(service, &records).await);
        }
        exists.then_some(targets)
    }

    /// The hosts of SRV records. The target `.` says that the service is not there (RFC 2782).
    async fn of_srv(&mut self, service: &Service, records: &[Srv]) -> Vec<Target> {
        let present = records.iter().filter(|record| record.target != ".");
        let present: Vec<&Srv> = present.take(RECORDS_LIMIT).collect();
        let mut targets = Vec::new();
        let answers = join_all(present.iter().map(|srv| self.ask_addresses(&srv.target))).await;
        for (srv, found) in present.into_iter().zip(answers) {
            let addresses = self.settle(found);
            let endpoints = self.endpoints(&addresses, service.transport, srv.port);
            let place = (service.rank, srv.priority, srv.weight);
            targets.extend(target(place, endpoints));
        }
        targets
    }

    /// The addresses of a host in the families that we listen on.
    async fn hosts(&mut self, host: &str, transport: Transport, port: u16) -> Endpoints {
        let found = self.ask_addresses(host).await;
        let addresses = self.settle(found);
        self.endpoints(&addresses, transport, port)
    }

    /// Both families at once.
    async fn ask_addresses(&self, host: &str) -> [Option<Answer<IpAddr>>; 2] {
        let local = self.ask.local(host);
        if !local.is_empty() {
            let records = local;
            return [
                Some(Ok(Records {
                    records,
                    ttl_s: UNCERTAIN_S,
                })),
                None,
            ];
        }
        let one = async |is_ipv4: Option<&bool>| match is_ipv4 {
            Some(is_ipv4) => Some(self.ask.addresses(host, *is_ipv4).await),
            None => None,
        };
        let families = &self.ours.families;
        let (first, second) = join(one(families.first()), one(families.get(1))).await;
        [first, second]
    }

    fn settle(&mut self, answers: [Option<Answer<IpAddr>>; 2]) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for answer in answers.into_iter().flatten() {
            match answer {
                Ok(answer) => found.extend(self.taken(answer)),
                Err(unanswered) => self.miss(unanswered),
            }
        }
        found
    }

    fn endpoints(&self, addresses: &[IpAddr], transport: Transport, port: u16) -> Endpoints {
        let families = self.ours.families.iter();
        let of_family = |is_ipv4: &bool| {
            let is_ipv4 = *is_ipv4;
            addresses.iter().filter(move |ip| ip.is_ipv4() == is_ipv4)
        };
        let usable = families.flat_map(of_family).take(ADDRESSES_LIMIT);
        let endpoint = |ip: &IpAddr| Endpoint {
            transport,
            address: SocketAddr::new(*ip, port),
            name: Some(self.name.clone()),
        };
        usable.map(endpoint).collect()
    }

    fn taken<T>(&mut self, answer: Records<T>) -> Vec<T> {
        self.note(answer.ttl_s);
        answer.records
    }

    fn miss(&mut self, unanswered: Unanswered) {
        self.note(UNCERTAIN_S);
        self.unanswered.get_or_insert(unanswered);
    }

    fn note(&mut self, ttl_s: u32) {
        self.ttl_s = self.ttl_s.min(ttl_s);
    }
}

fn target((rank, priority, weight): (u16, u16, u16), endpoints: Endpoints) -> Option<Target> {
    let target = Target {
        rank,
        priority,
        weight,
        endpoints,
    };
    Some(target).filter(|target| !target.endpoints.is_empty())
}

impl Naptr {
    /// The transport that a record is about (RFC 3263 §4.1, RFC 7118 §8.3); none for other services
    /// than SIP's, for those that a `sips` URI forbids, and for rewriting rules.
    fn transport(&self, is_secure: bool) -> Option<Transport> {
        let is_terminal = ["s", "a"]
            .iter()
            .any(|f| self.flags.eq_ignore_ascii_case(f));
        let (protocol, transport) = self.services.split_once('+')?;
        let is_sips = protocol.eq_ignore_ascii_case("SIPS");
        let is_sip = protocol.eq_ignore_ascii_case("SIP") && !is_secure;
        if !is_terminal || self.has_regexp || !(is_sip || is_sips) {
            return None;
        }
        match (&*transport.to_ascii_uppercase(), is_sips) {
            ("D2U", false) => Some(Transport::Udp),
            ("D2T", false) => Some(Transport::Tcp),
            ("D2T", true) => Some(Transport::Tls),
            ("D2W", false) => Some(Transport::Ws),
            ("D2W", true) => Some(Transport::Wss),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
