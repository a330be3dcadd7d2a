//! What the administrator configures: one TOML file, environment variables, defaults that work.
//!
//! Every key stands in one table (`keys`), from which the file is read, the environment is read, the
//! reference in `docs/configuration.md` is written and what a reload can change is known. A fault
//! names its place, its key and what is allowed; all faults of a file are reported together.
//! This folder opens no socket and asks no name server: [`Surroundings`] answers for the system.
//!
//! Entry points: [`Config::load`], then [`compile()`] for the call path's [`Policy`].
//!
//! [`Policy`]: crate::proxy::policy::Policy

mod address;
mod auth;
mod check;
mod compile;
mod defaults;
mod error;
mod house;
mod keys;
mod oidc;
mod read;
mod readers;
mod reference;
mod sections;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

pub use address::{HostPort, Listen, VoicemailTemplate};
pub use auth::Auth;
pub use compile::{Surroundings, compile};
pub use error::{ConfigError, ConfigErrors, Place};
pub use house::{Code, Hours, OwnStatus};
pub use oidc::Oidc;
pub use reference::reference;

use crate::event::Package;
use crate::message::Transport;
use crate::presence::{Level, Visibility};
use crate::proxy::Wanted;
use crate::proxy::policy::Network;

/// Everything that can be configured, with the defaults where nothing is.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Config {
    /// `[sip]`
    pub sip: Sip,
    /// `[[peer]]`
    #[serde(rename = "peer")]
    pub peers: Vec<Peer>,
    /// `[[node]]`
    #[serde(rename = "node")]
    pub nodes: Vec<Node>,
    /// `[[status]]`
    #[serde(rename = "status")]
    pub statuses: Vec<OwnStatus>,
    /// `[[hours]]`
    pub hours: Vec<Hours>,
    /// `[health]`
    pub health: Health,
    /// `[dns]`
    pub dns: Dns,
    /// `[presence]`
    pub presence: Presence,
    /// `[feature_codes]`
    pub feature_codes: FeatureCodes,
    /// `[[feature_code]]`
    #[serde(rename = "feature_code")]
    pub codes: Vec<Code>,
    /// `[forwarding]`
    pub forwarding: ForwardingTargets,
    /// `[registrar]`
    pub registrar: Registrar,
    /// `[events]`
    pub events: Events,
    /// `[tls]`
    pub tls: Tls,
    /// `[auth]`
    pub auth: Auth,
    /// `[timers]`
    pub timers: Timers,
    /// `[limits]`
    pub limits: Limits,
    /// `[overload]`
    pub overload: Overload,
    /// `[store]`
    pub store: Store,
    /// `[api]`
    pub api: Api,
    /// `[oidc]`
    pub oidc: Oidc,
    /// `[log]`
    pub log: Log,
    /// `[shutdown]`
    pub shutdown: Shutdown,
    #[serde(skip)]
    places: Places,
}

/// `[sip]`: the keys' meanings are in `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Sip {
    pub listen: Vec<Listen>,
    pub advertise: Vec<HostPort>,
    pub domains: Vec<String>,
    pub region: String,
    pub next_hop: Option<HostPort>,
    pub outbound: Option<HostPort>,
    pub voicemail: Option<VoicemailTemplate>,
    pub forwarding: Forwarding,
    pub voicemail_forwarding: Option<Forwarding>,
    pub dnd_status: u16,
    pub unknown_callee: UnknownCallee,
    pub call_limit: u16,
    pub hop_limit: u8,
    pub ring_for_s: u16,
    pub session_expires_s: u32,
    pub session_min_s: u32,
    pub max_call_s: u32,
    pub retry_after_s: u32,
    pub udp_limit_bytes: u32,
    pub join_datagrams: bool,
    pub shards: Option<u16>,
    pub receive_buffer_bytes: u32,
    #[serde(serialize_with = "networks_as_text")]
    pub proxy_protocol: Vec<Network>,
    pub reuse_tcp: bool,
}

/// `[presence]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Presence {
    pub time_zone: Option<String>,
    pub team_sees: Level,
    pub others_see: Level,
    pub holidays: Vec<String>,
    pub calendar_refresh_s: u32,
    #[serde(serialize_with = "networks_as_text")]
    pub calendar_networks: Vec<Network>,
}

impl Presence {
    /// What colleagues see of each other.
    pub const fn visibility(&self) -> Visibility {
        Visibility {
            team: Some(self.team_sees),
            others: Some(self.others_see),
        }
    }

    /// The time zone in which hours are meant that name none.
    pub fn zone(&self) -> TimeZone {
        self.time_zone
            .as_deref()
            .and_then(|name| TimeZone::get(name).ok())
            .unwrap_or_else(TimeZone::system)
    }
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Tls {
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
    pub require_client_certificate: bool,
    pub server_ca: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub min_version: TlsVersion,
    pub verify_server: bool,
    pub allow_wildcards: bool,
}

/// `[[peer]]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Peer {
    pub name: String,
    #[serde(serialize_with = "networks_as_text")]
    pub address: Vec<Network>,
    pub certificate: Vec<String>,
    pub forwarding: Option<Forwarding>,
    pub voicemail_forwarding: Option<Forwarding>,
    pub trust_diversion: bool,
    pub trust_identity: bool,
    pub send_identity: Option<bool>,
    pub external: bool,
    pub check_s: u32,
}

/// `[[node]]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Node {
    pub name: String,
    pub uri: HostPort,
    pub priority: u16,
    pub weight: u16,
    pub check_s: u32,
}

/// `[health]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Health {
    pub check_s: u32,
    pub failures: u8,
    pub penalty_s: u32,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Dns {
    pub servers: Vec<SocketAddr>,
    pub timeout_ms: u32,
}

/// `[feature_codes]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct FeatureCodes {
    pub enabled: bool,
    pub usual: bool,
}

/// `[forwarding]`
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct ForwardingTargets {
    pub deny: Vec<String>,
    pub allow: Vec<String>,
}

/// `[registrar]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Registrar {
    pub mode: Option<RegistrarMode>,
    pub min_expires_s: u32,
    pub default_expires_s: u32,
    pub max_expires_s: u32,
    pub bindings_per_aor: usize,
}

/// `[events]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Events {
    pub packages: Option<Vec<Package>>,
    pub max_expires_s: u32,
    pub per_watcher: usize,
    pub lamp_shows_dnd: bool,
}

/// `[timers]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Timers {
    pub t1_ms: u32,
    pub t2_ms: u32,
    pub t4_ms: u32,
    pub timer_c_s: u32,
    pub failover_ms: u32,
}

/// `[limits]`, of the whole server
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Limits {
    pub transactions: usize,
    pub calls: usize,
    pub bindings: usize,
    pub subscriptions: usize,
    pub branches: usize,
    pub message_bytes: usize,
    pub messages_per_source_s: u32,
    pub connections: usize,
    pub connections_per_source: usize,
    pub connections_opening: usize,
    pub connect_s: u32,
    pub handshake_s: u32,
    pub first_message_s: u32,
    pub message_s: u32,
    pub connection_idle_s: u32,
    pub connection_stall_s: u32,
    pub connection_queue_messages: usize,
    pub connection_queue_bytes: usize,
}

/// `[overload]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Overload {
    pub max_delay_ms: u32,
    pub control: bool,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Store {
    pub engine: StoreEngine,
    pub path: PathBuf,
    pub journal_days: u32,
    pub journal_max_mib: u32,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Api {
    pub listen: SocketAddr,
    pub admin_token: Option<Secret>,
    pub admin_token_file: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
    pub calls_per_s: u32,
}

/// `[shutdown]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Shutdown {
    pub grace_s: u32,
}

/// How a forwarding is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forwarding {
    /// 302 with the target in Contact.
    Redirect,
    /// The engine sends the call to the target itself.
    Retarget,
}

/// What happens to a call to nobody of ours in a domain of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownCallee {
    /// Passed on to the PBX.
    NextHop,
    /// Answered 404.
    Reject,
}

/// Who keeps the bindings of phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrarMode {
    /// We do.
    Local,
    /// The PBX: REGISTER is passed on.
    Pass,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2 and newer.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 and newer.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Which store keeps the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreEngine {
    /// In a directory of this machine.
    Embedded,
}

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// A secret text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, for comparing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

/// Where each key that is not at its default was set. Two configurations that say the same in
/// different places are equal.
#[derive(Debug, Clone, Default)]
struct Places(BTreeMap<String, Place>);

impl PartialEq for Places {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Config {
    /// Where a key was set: `sip.next_hop`, or `peer[0].address` counted from 0.
    pub fn place(&self, key: &str) -> Place {
        self.places.0.get(key).cloned().unwrap_or(Place::Default)
    }

    /// The keys in which the other configuration differs and which only a restart can change.
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        keys::KEYS
            .iter()
            .filter(|key| !key.reloads && (key.shown)(self) != (key.shown)(other))
            .map(|key| key.name)
            .collect()
    }

    /// Whether there is a PBX, as a next hop or as nodes.
    fn has_pbx(&self) -> bool {
        self.sip.next_hop.is_some() || !self.nodes.is_empty()
    }

    /// The configured hosts that are names: what must be resolved whatever calls come.
    pub fn names(&self) -> Vec<Wanted> {
        let sip = &self.sip;
        let voicemail = sip.voicemail.as_ref().map(|voicemail| &voicemail.hop);
        let hops = [sip.next_hop.as_ref(), sip.outbound.as_ref(), voicemail];
        let nodes = self.nodes.iter().map(|node| &node.uri);
        let hosts = hops.into_iter().flatten().chain(nodes);
        let mut names: Vec<Wanted> = Vec::new();
        for host in hosts.filter(|host| host.ip().is_none()) {
            let wanted = compile::wanted(host);
            if !names.contains(&wanted) {
                names.push(wanted);
            }
        }
        names
    }

    /// This configuration with the running values of all keys that only a restart changes.
    ///
    /// # Errors
    /// The two contradict each other, such as a token that was taken away while the API is served
    /// to other machines.
    pub fn keeping_running(mut self, running: &Self) -> Result<Self, ConfigErrors> {
        self.sip.listen = running.sip.listen.clone();
        self.sip.region = running.sip.region.clone();
        self.sip.shards = running.sip.shards;
        self.sip.receive_buffer_bytes = running.sip.receive_buffer_bytes;
        self.limits.calls = running.limits.calls;
        self.limits.bindings = running.limits.bindings;
        self.limits.subscriptions = running.limits.subscriptions;
        self.limits.message_bytes = running.limits.message_bytes;
        self.store = running.store.clone();
        self.api.listen = running.api.listen;
        self.log.format = running.log.format;
        match self.check() {
            errors if errors.is_empty() => Ok(self),
            errors => Err(ConfigErrors(errors)),
        }
    }

    /// A fault of a key, at the place where it was set.
    pub(crate) fn error(&self, key: &str, text: impl Into<String>) -> ConfigError {
        ConfigError {
            place: self.place(key),
            key: key.to_owned(),
            text: text.into(),
        }
    }
}

fn networks_as_text<S: Serializer>(networks: &[Network], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(
        networks
            .iter()
            .map(|block| format!("{}/{}", block.base, block.prefix)),
    )
}

#[cfg(test)]
mod tests;
