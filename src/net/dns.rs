//! Queries to name servers, as the system's configuration or ours says.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

use super::locate::{Answer, Ask, Naptr, Records, Srv, Unanswered};
use crate::config;
use crate::proxy::NameCounts;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// How long it is believed that there is nothing, where no SOA says it.
const NOTHING_S: u32 = 60;
/// How often a server is asked before the next or the end.
const ATTEMPTS: usize = 2;
/// How many queries one server has at once.
const QUERIES_LIMIT: usize = 1_024;

/// Whom to ask, with what this machine knows itself.
pub(super) struct NameServers<'a> {
    asking: &'a Asking,
    counts: &'a NameCounts,
}

/// A resolver for one configuration; made anew when that or the system's files change.
pub(super) struct Asking {
    resolver: TokioResolver,
    hosts: Arc<Hosts>,
    made_for: (config::Dns, [Option<SystemTime>; 2]),
}

impl Asking {
    /// Reads the system's files. Must be called within a runtime.
    ///
    /// # Errors
    /// What the resolver says.
    pub(super) fn new(dns: &config::Dns) -> Result<Self, String> {
        let stamps = stamps();
        let (servers, mut options) = servers_and_options(dns);
        options.timeout = Duration::from_millis(dns.timeout_ms.into());
        options.attempts = ATTEMPTS - 1;
        options.max_active_requests = QUERIES_LIMIT;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(servers, provider).with_options(options);
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self {
            resolver,
            hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
            made_for: (dns.clone(), stamps),
        })
    }

    /// Whether nothing changed that it was made for.
    pub(super) fn is_current(&self, dns: &config::Dns) -> bool {
        self.made_for.0 == *dns && self.made_for.1 == stamps()
    }

    /// Asks, and counts it.
    pub(super) fn counting<'a>(&'a self, counts: &'a NameCounts) -> NameServers<'a> {
        NameServers {
            asking: self,
            counts,
        }
    }
}

/// The configured servers, or the system's; like the system's own resolver, one on this machine
/// where nothing is configured.
fn servers_and_options(dns: &config::Dns) -> (ResolverConfig, ResolverOpts) {
    let system = hickory_resolver::system_conf::read_system_conf();
    let (system, options) = system.unwrap_or_else(|error| {
        tracing::debug!(%error, "no {RESOLV_CONF}");
        let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        let servers = ResolverConfig::from_name_servers(vec![here]);
        (servers, ResolverOpts::default())
    });
    if dns.servers.is_empty() {
        return (system, options);
    }
    let (domain, search, _) = system.into_parts();
    let servers = dns.servers.iter().map(name_server).collect();
    (ResolverConfig::from_parts(domain, search, servers), options)
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.into_iter().map(at_port).collect();
    NameServerConfig::new(address.ip(), true, connections)
}

/// When the system's files were changed.
fn stamps() -> [Option<SystemTime>; 2] {
    [RESOLV_CONF, HOSTS].map(|file| Path::new(file).metadata().ok()?.modified().ok())
}

impl NameServers<'_> {
    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Answer<T> {
        self.counts.queries.fetch_add(1, Relaxed);
        let failed = |error: &dyn Display| {
            self.counts.failures.fetch_add(1, Relaxed);
            tracing::debug!(name, %kind, %error, "a query failed");
            Err(Unanswered(format!("{error} ({kind} of {name})")))
        };
        let Ok(question) = question(name, kind) else {
            return Ok(nothing(NOTHING_S));
        };
        match self.asking.resolver.lookup(question, kind).await {
            Ok(lookup) => {
                let answers = lookup.answers().iter();
                let ttl_s = answers.clone().map(|record| record.ttl).min();
                Ok(Records {
                    records: answers.filter_map(|record| read(&record.data)).collect(),
                    ttl_s: ttl_s.unwrap_or(NOTHING_S),
                })
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => {
                    Ok(nothing(none.negative_ttl.unwrap_or(NOTHING_S)))
                }
                code => failed(&code),
            },
            Err(error) => failed(&error),
        }
    }
}

fn nothing<T>(ttl_s: u32) -> Records<T> {
    Records {
        records: Vec::new(),
        ttl_s,
    }
}

/// A name as it is asked for. The system's search list counts for addresses, as in other programs,
/// and for names of one label; SRV and NAPTR of a full name are asked for as they are.
fn question(name: &str, kind: RecordType) -> Result<Name, String> {
    let mut question = Name::from_utf8(name).map_err(|error| error.to_string())?;
    let is_address = matches!(kind, RecordType::A | RecordType::AAAA);
    let labels = name.split('.').filter(|label| !label.starts_with('_'));
    if !is_address && labels.count() > 1 {
        question.set_fqdn(true);
    }
    Ok(question)
}

impl Ask for NameServers<'_> {
    fn local(&self, name: &str) -> Vec<IpAddr> {
        let bare = name.trim_end_matches('.').to_ascii_lowercase();
        let mut found: Vec<IpAddr> = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let query = Name::from_utf8(&bare).map(|name| Query::query(name, kind));
            let lookup = query
                .ok()
                .and_then(|q| self.asking.hosts.lookup_static_host(&q));
            let addresses = lookup.iter().flat_map(|lookup| lookup.answers());
            found.extend(addresses.filter_map(|record| record.data.ip_addr()));
        }
        // RFC 6761 §6.3.
        if found.is_empty() && (bare == "localhost" || bare.ends_with(".localhost")) {
            found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        found
    }

    async fn naptr(&self, name: &str) -> Answer<Naptr> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let read = |data: &RData| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                services: text(&naptr.services),
                has_regexp: !naptr.regexp.is_empty(),
                replacement: naptr.replacement.to_ascii(),
            }),
            _ => None,
        };
        self.ask(name, RecordType::NAPTR, read).await
    }

    async fn srv(&self, name: &str) -> Answer<Srv> {
        let read = |data: &RData| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        };
        self.ask(name, RecordType::SRV, read).await
    }

    async fn addresses(&self, name: &str, is_ipv4: bool) -> Answer<IpAddr> {
        let kind = if is_ipv4 {
            RecordType::A
        } else {
            RecordType::AAAA
        };
        self.ask(name, kind, |data| data.ip_addr()).await
    }
}
