//! `GET /api/v1/peers`: the systems around us and how they are, our listeners, our certificates.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::calls::instant;
use super::language::Speech;
use super::personal::FeedReading;
use super::problem::Failure;
use super::state::{ApiState, CertificateFacts};
use crate::proxy::policy::{NextHop, Policy};
use crate::proxy::{Standing, TargetHealth, Wanted};

/// The systems around us.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PeerList {
    /// The systems that calls are sent to, and peers that are checked.
    pub systems: Vec<System>,
    /// Who is trusted, in the order in which they are looked through.
    pub peers: Vec<TrustedPeer>,
    /// Where we listen.
    pub listeners: Vec<ListenerState>,
    /// The certificates in use.
    pub certificates: Vec<Certificate>,
    /// How the feeds of the holidays (`presence.holidays`) were read the last time.
    pub holidays: Vec<FeedReading>,
    /// How many people have a calendar that cannot be read.
    pub calendars_unreadable: usize,
    /// How many host names are known.
    pub names_known: usize,
}

/// A system that calls are sent to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct System {
    /// The configured name; `next_hop`, `outbound` and `voicemail` where none is configured.
    pub name: String,
    /// What it is for: `next_hop`, `outbound`, `voicemail` or `peer`.
    pub role: &'static str,
    /// Where it is, as configured.
    pub uri: String,
    /// Those of a lower number are tried first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// The best of its targets' states; `unresolved` where its name leads nowhere yet.
    pub state: &'static str,
    /// How often it is asked whether it is there, in seconds; 0 is never.
    pub check_s: u64,
    /// Where its name leads.
    pub targets: Vec<TargetState>,
}

/// One address of a system.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TargetState {
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    /// Address and port.
    pub address: String,
    /// As the SRV record says.
    pub priority: u16,
    /// As the SRV record says.
    pub weight: u16,
    /// `up` or `down` by checks, `penalised` after a call failed there, `unknown` where nobody
    /// checks. What is down or penalised is tried after all others.
    pub state: &'static str,
    /// Why it is penalised: `timeout`, `unavailable` or `unreachable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<&'static str>,
    /// Since when it is up or down.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The answer to the last check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// How long that took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<u32>,
}

/// Somebody whose messages are trusted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrustedPeer {
    /// The configured name.
    pub name: String,
    /// The address blocks that it sends from.
    pub addresses: Vec<String>,
    /// How many connections it has open.
    pub connections: usize,
}

/// An address that we listen on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListenerState {
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: &'static str,
    /// The bound address.
    pub address: String,
    /// What stands in messages.
    pub advertised: String,
    /// How many connections are open.
    pub connections: usize,
}

/// A certificate in use.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Certificate {
    /// What it is for.
    #[serde(rename = "use")]
    pub purpose: String,
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The hosts it is for.
    pub names: Vec<String>,
    /// From when on it is valid.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Until when it is valid.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// Whole days until then; negative when it is over.
    pub days_left: i64,
    /// Where it was read from.
    pub file: String,
}

/// List the systems around us and how they are
///
/// What calls are sent to with the state of every address, who is trusted, the listeners with their
/// open connections, and the certificates with their expiry.
#[utoipa::path(
    get, path = "/peers", tag = "server",
    responses((status = 200, body = PeerList), Refusals)
)]
pub(super) async fn peers(
    State(state): State<ApiState>,
    caller: Caller,
    speech: Speech,
) -> Result<Json<PeerList>, Failure> {
    caller.administers()?;
    let policy = state.shared().policy.load_full();
    let mut of_listener = vec![0; policy.listeners.len()];
    let mut of_peer = BTreeMap::<Box<str>, usize>::new();
    state.shared().flows.each(|_, flow| {
        if let Some(count) = of_listener.get_mut(usize::from(flow.listener)) {
            *count += 1;
        }
        let (peer, _) = policy.peer(flow.peer.ip(), &flow.identities);
        *of_peer.entry(peer.name.clone()).or_default() += 1;
    });
    let listeners = policy.listeners.iter().zip(of_listener);
    Ok(Json(PeerList {
        systems: systems(&state),
        peers: policy
            .peers
            .iter()
            .map(|peer| TrustedPeer {
                name: peer.name.to_string(),
                addresses: peer.networks.iter().map(ToString::to_string).collect(),
                connections: of_peer.get(&peer.name).copied().unwrap_or(0),
            })
            .collect(),
        listeners: listeners
            .map(|(listener, connections)| ListenerState {
                transport: listener.transport.param(),
                address: listener.local.to_string(),
                advertised: listener.advertised.to_string(),
                connections,
            })
            .collect(),
        certificates: certificates(&state),
        holidays: holidays(&state, speech),
        calendars_unreadable: state.roster().readings().troubled(),
        names_known: state.shared().names.len(),
    }))
}

fn holidays(state: &ApiState, speech: Speech) -> Vec<FeedReading> {
    let readings = state.roster().readings().holidays();
    let told = readings.iter();
    told.map(|reading| FeedReading::of(reading, speech.wanted()))
        .collect()
}

fn certificates(state: &ApiState) -> Vec<Certificate> {
    let now_s = state.now_s();
    let of_facts = |facts: CertificateFacts| Certificate {
        purpose: facts.purpose,
        subject: facts.subject,
        issuer: facts.issuer,
        names: facts.names,
        not_before: instant(facts.not_before_unix_s.saturating_mul(1_000)),
        not_after: instant(facts.not_after_unix_s.saturating_mul(1_000)),
        days_left: facts
            .not_after_unix_s
            .saturating_sub(now_s)
            .div_euclid(86_400),
        file: facts.file,
    };
    let found = state.host().certificates();
    found.into_iter().map(of_facts).collect()
}

/// Every configured system that calls are sent to, then the peers that are checked.
pub(super) fn systems(state: &ApiState) -> Vec<System> {
    let policy = state.shared().policy.load_full();
    let voicemail = policy.voicemail.as_ref().map(|voicemail| &voicemail.hop);
    // Without one of its own, forwarded calls go to the PBX.
    let outbound = policy.outbound.as_ref();
    let outbound = outbound.filter(|hop| policy.next_hop.as_ref() != Some(*hop));
    let groups = [
        ("next_hop", policy.next_hop.as_ref()),
        ("outbound", outbound),
        ("voicemail", voicemail),
    ];
    let mut systems: Vec<System> = Vec::new();
    for (role, group) in groups {
        for node in group.iter().flat_map(|group: &&NextHop| &group.nodes) {
            let place = (node.priority, node.weight);
            systems.push(system(
                state,
                &policy,
                (&node.name, role),
                (&node.target, place),
            ));
        }
    }
    for check in &policy.health.checks {
        if !systems.iter().any(|system| *system.name == *check.name) {
            let target = (&check.target, (0, 0));
            systems.push(system(state, &policy, (&check.name, "peer"), target));
        }
    }
    systems
}

fn system(
    state: &ApiState,
    policy: &Policy,
    (name, role): (&str, &'static str),
    (target, (priority, weight)): (&Wanted, (u16, u16)),
) -> System {
    let now_ms = state.host().now_ms();
    let shared = state.shared();
    let resolved = shared.names.resolved(&target.sought(), now_ms);
    let mut targets = Vec::new();
    for found in resolved.iter().flat_map(|resolved| &resolved.targets) {
        for endpoint in &found.endpoints {
            let health = shared.health.of((endpoint.transport, endpoint.address));
            targets.push(TargetState {
                transport: endpoint.transport.param(),
                address: endpoint.address.to_string(),
                priority: found.priority,
                weight: found.weight,
                state: state_of(&health, now_ms),
                trouble: health
                    .trouble
                    .filter(|_| health.penalised_until_ms > now_ms)
                    .map(|trouble| trouble.label()),
                since: (health.since_unix_ms > 0).then(|| instant(health.since_unix_ms)),
                last_status: Some(health.last_status).filter(|status| *status > 0),
                rtt_ms: health.rtt_ms,
            });
        }
    }
    let best = ["up", "unknown", "penalised", "down"]
        .into_iter()
        .find(|state| targets.iter().any(|target| target.state == *state));
    let mut checks = policy.health.checks.iter();
    let check = checks.find(|check| *check.name == *name);
    System {
        name: name.to_owned(),
        role,
        uri: target.to_string(),
        priority,
        weight,
        state: best.unwrap_or("unresolved"),
        check_s: check.map_or(0, |check| check.every_ms / 1_000),
        targets,
    }
}

fn state_of(health: &TargetHealth, now_ms: u64) -> &'static str {
    match health.standing {
        Standing::Down => "down",
        _ if health.is_bad(now_ms) => "penalised",
        Standing::Up => "up",
        Standing::Unknown => "unknown",
    }
}
