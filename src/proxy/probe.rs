//! OPTIONS to the systems that we send calls to, so that it is known which of them answer
//! (RFC 3261 §11). Each check belongs to one shard, and its Call-ID to the same, so that the answer
//! comes back there.

use std::io::Write;
use std::sync::Arc;

use slotmap::SlotMap;

use super::branch::ffi;
use super::health::{Check, Found, Standing, TargetKey};
use super::hop::{Endpoint, Hop, Unreachable};
use super::keys::{Keys, shard_of};
use super::policy::Listener;
use super::{Owner, ProbeKey, Proxy};
use crate::message::{Method, Transport};
use crate::transaction::branch::write_hex;
use crate::transaction::{BranchId, BranchKind, Due, Ms, NonInviteClient, soonest};

/// How many checks wait for an answer at most.
const OPEN_LIMIT: usize = 4_096;
/// Checks begin within this time after they were configured, so that not all go out at once.
const SPREAD_MS: u64 = 1_000;
/// How many Call-IDs are tried to find one of this shard; with 64 shards 2,000 fail once in 10^13.
const CALL_ID_TRIES: u64 = 2_000;

/// The checks of one shard.
#[derive(Default)]
pub(super) struct Probes {
    planned: Vec<Planned>,
    open: SlotMap<ProbeKey, Probe>,
    /// The deadline that the timer wheel holds for the next check.
    armed: Option<Ms>,
    /// How many were sent, for Call-IDs that do not come again.
    sent: u64,
}

/// A check and when it is due.
struct Planned {
    check: Check,
    next_ms: Ms,
}

/// One OPTIONS that waits for its final response.
struct Probe {
    name: Arc<str>,
    target: TargetKey,
    hop: Hop,
    client: NonInviteClient,
    started_ms: Ms,
    /// When it counts as failed: before the next one is due.
    deadline_ms: Ms,
    check: u32,
    sent: Box<[u8]>,
    armed: Ms,
}

impl Probes {
    /// How many wait for an answer.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether the timer wheel is to wake a check that waits for its answer at `at`.
    pub(super) fn is_armed(&self, key: ProbeKey, at: Ms) -> bool {
        self.open.get(key).is_some_and(|probe| probe.armed == at)
    }

    /// Whether the next check is planned for `at`.
    pub(super) fn is_planned(&self, at: Ms) -> bool {
        self.armed == Some(at)
    }

    fn is_open(&self, name: &str, target: TargetKey) -> bool {
        let same = |probe: &Probe| probe.target == target && *probe.name == *name;
        self.open.values().any(same)
    }
}

impl Proxy {
    /// The configuration is new: takes over the checks that belong to this shard; those that there
    /// were already keep their turn.
    pub(super) fn plan_probes(&mut self) {
        if self.policy.health.checks.is_empty() && self.probes.planned.is_empty() {
            return;
        }
        let shards = self.shared.shards.len() as u16;
        let before = std::mem::take(&mut self.probes.planned);
        for check in &self.policy.health.checks {
            let key = self.keys.call(check.name.as_bytes());
            if usize::from(shard_of(key, shards)) != self.shard {
                continue;
            }
            let planned = before.iter().find(|planned| planned.check == *check);
            let first_ms = self.now.ms + key % SPREAD_MS.min(check.every_ms.max(1));
            self.probes.planned.push(Planned {
                check: check.clone(),
                next_ms: planned.map_or(first_ms, |planned| planned.next_ms),
            });
        }
        self.arm_probes();
    }

    fn arm_probes(&mut self) {
        let next = self.probes.planned.iter().map(|planned| planned.next_ms);
        self.probes.armed = next.min();
        if let Some(at) = self.probes.armed {
            self.wheel.insert(at, Owner::Probes);
        }
    }

    /// The wheel says that a check may be due.
    pub(super) fn probe_due(&mut self, at: Ms) {
        if self.probes.armed != Some(at) {
            return;
        }
        let now_ms = self.now.ms;
        let due = self.probes.planned.iter_mut();
        let due = due.filter(|planned| planned.next_ms <= now_ms);
        let due: Vec<Check> = due
            .map(|planned| {
                planned.next_ms = now_ms.saturating_add(planned.check.every_ms.max(1));
                planned.check.clone()
            })
            .collect();
        for check in &due {
            let sought = check.target.sought();
            let Some(resolved) = self.shared.names.resolved(&sought, now_ms) else {
                continue;
            };
            for endpoint in resolved.endpoints() {
                self.probe(check, endpoint);
            }
        }
        self.arm_probes();
    }

    /// Asks one endpoint, unless it still owes an answer.
    fn probe(&mut self, check: &Check, endpoint: &Endpoint) {
        let target = (endpoint.transport, endpoint.address);
        let has_room = self.probes.open.len() < OPEN_LIMIT;
        if !has_room || self.probes.is_open(&check.name, target) {
            return;
        }
        let policy = Arc::clone(&self.policy);
        let hop = policy.hop_to(endpoint, 0);
        let hop = hop.and_then(|hop| {
            let listener = policy.listeners.get(usize::from(hop.listener))?;
            Some((hop, listener))
        });
        let (Some((hop, listener)), Some(call_id)) = (hop, self.own_call_id()) else {
            return;
        };
        let base = policy.base(hop.listener);
        let call_key = self.keys.call(call_id.as_bytes());
        let key = self.probes.open.insert(Probe {
            name: Arc::clone(&check.name),
            target,
            client: NonInviteClient::start(self.now.ms, &base),
            started_ms: self.now.ms,
            deadline_ms: self.now.ms + check.every_ms.min(base.t1_64()),
            check: self.keys.check(call_key, b"probe", 1),
            sent: Box::default(),
            armed: Ms::MAX,
            hop: hop.clone(),
        });
        let Some(probe) = self.probes.open.get_mut(key) else {
            return;
        };
        let options = Options {
            check,
            endpoint,
            listener,
            call_id: &call_id,
            branch: BranchId {
                kind: BranchKind::Probe,
                context: ffi(key),
                leg: 0,
                check: probe.check,
            },
        };
        probe.sent = self.out.send(&hop, |out| options.write(out)).into();
        self.count(|c| &c.probes_sent);
        self.settle_probe(key);
    }

    /// A Call-ID that was never used and that this shard owns.
    fn own_call_id(&mut self) -> Option<String> {
        let shards = self.shared.shards.len() as u16;
        let run = self.keys.token(self.now.unix_ms.unsigned_abs());
        for _ in 0..CALL_ID_TRIES {
            self.probes.sent = self.probes.sent.wrapping_add(1);
            let call_id = format!("{run:016x}-{}-{}", self.shard, self.probes.sent);
            if is_own(&self.keys, &call_id, shards, self.shard) {
                return Some(call_id);
            }
        }
        None
    }

    /// A response to a check. Says whether it was one of ours.
    pub(super) fn on_probe_response(&mut self, id: &BranchId, status: u16, method: Method) -> bool {
        let key = ProbeKey::from(slotmap::KeyData::from_ffi(id.context));
        let Some(probe) = self.probes.open.get_mut(key) else {
            return false;
        };
        if probe.check != id.check || method != Method::Options {
            return false;
        }
        let base = self.policy.base(probe.hop.listener);
        probe.client.on_response(status, self.now.ms, &base);
        if status < 200 {
            self.settle_probe(key);
            return true;
        }
        let rtt_ms = self.now.ms.saturating_sub(probe.started_ms);
        self.end_probe(
            key,
            Found::Answer {
                status,
                rtt_ms: u32::try_from(rtt_ms).unwrap_or(u32::MAX),
            },
        );
        true
    }

    pub(super) fn wake_probe(&mut self, key: ProbeKey, at: Ms) {
        let open = self.probes.open.get_mut(key);
        let Some(probe) = open.filter(|probe| probe.armed == at) else {
            return;
        };
        probe.armed = Ms::MAX;
        let base = self.policy.base(probe.hop.listener);
        let due = probe.client.on_timeout(self.now.ms, &base);
        if due == Due::TimedOut || probe.deadline_ms <= self.now.ms {
            return self.end_probe(key, Found::Nothing);
        }
        if due == Due::Retransmit {
            self.out
                .send(&probe.hop, |out| out.extend_from_slice(&probe.sent));
        }
        self.settle_probe(key);
    }

    /// The transport says that an address cannot be reached.
    pub(super) fn fail_probes(&mut self, failure: &Unreachable) {
        let open = self.probes.open.iter();
        let hit = open.filter(|(_, probe)| probe.hop.is_hit_by(failure));
        let hit: Vec<ProbeKey> = hit.map(|(key, _)| key).collect();
        for key in hit {
            self.end_probe(key, Found::Nothing);
        }
    }

    fn settle_probe(&mut self, key: ProbeKey) {
        let Some(probe) = self.probes.open.get_mut(key) else {
            return;
        };
        let deadline = soonest([probe.client.deadline(), Some(probe.deadline_ms)]);
        if let Some(deadline) = deadline.filter(|at| *at < probe.armed) {
            probe.armed = deadline;
            self.wheel
                .insert(deadline.max(self.now.ms), Owner::Probe(key));
        }
    }

    /// A check is over; retransmissions of its answer are strays.
    fn end_probe(&mut self, key: ProbeKey, found: Found) {
        let Some(probe) = self.probes.open.remove(key) else {
            return;
        };
        let rules = &self.policy.health;
        let target = (&probe.name, probe.target);
        match self.shared.health.note(target, found, self.now, rules) {
            Some(Standing::Down) => {
                tracing::warn!(name = %probe.name, address = %probe.target.1, "a system is down");
                self.shared.event_queued.notify_one();
            }
            Some(_) => {
                tracing::info!(name = %probe.name, address = %probe.target.1, "a system is up");
                self.shared.event_queued.notify_one();
            }
            None => {}
        }
    }
}

fn is_own(keys: &Keys, call_id: &str, shards: u16, shard: usize) -> bool {
    usize::from(shard_of(keys.call(call_id.as_bytes()), shards)) == shard
}

/// What an OPTIONS of ours says.
struct Options<'a> {
    check: &'a Check,
    endpoint: &'a Endpoint,
    listener: &'a Listener,
    call_id: &'a str,
    branch: BranchId,
}

impl Options<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let Self {
            listener, call_id, ..
        } = self;
        let advertised = &listener.advertised;
        let _ = write!(out, "OPTIONS ");
        self.write_uri(out);
        let token = listener.transport.token();
        let _ = write!(out, " SIP/2.0\r\nVia: SIP/2.0/{token} {advertised};branch=");
        self.branch.write(out);
        let _ = write!(
            out,
            ";rport\r\nMax-Forwards: 70\r\nFrom: <sip:{advertised}>;tag="
        );
        write_hex(out, u64::from(self.branch.check), 8);
        out.extend_from_slice(b"\r\nTo: <");
        self.write_uri(out);
        let _ = write!(
            out,
            ">\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nAccept: application/sdp\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    /// The URI of the system itself (RFC 3261 §11.1): as it is configured, with the transport that
    /// was found.
    fn write_uri(&self, out: &mut Vec<u8>) {
        let target = &self.check.target;
        let transport = self.endpoint.transport;
        let is_told = transport == Transport::Udp || target.is_secure || target.transport.is_some();
        let _ = match is_told {
            true => write!(out, "{target}"),
            false => write!(out, "{target};transport={}", transport.param()),
        };
    }
}
