//! How the systems that we send to are doing: penalised after a failure, up or down by checks.
//!
//! One table for all shards, keyed by transport and address. A target in trouble is put behind the
//! others, never out of reach: when all are in trouble, all are tried.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;
use dashmap::DashMap;

use super::Now;
use super::hop::{Endpoints, Flow, Hop};
use super::names::Wanted;
use super::policy::Policy;
use super::shared::Shared;
use crate::message::{Message, Name, Transport};

/// How many targets are remembered; a failure of a further one is only counted.
const TARGETS_LIMIT: usize = 10_000;
/// The longest time that a Retry-After keeps a target back.
const RETRY_AFTER_LIMIT_S: u32 = 600;
/// How many changes wait for a reader that is late.
const CHANGES_LIMIT: usize = 1_024;
/// A target that nobody heard of for so long is forgotten.
const FORGET_MS: u64 = 3_600_000;

/// What is configured about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthRules {
    /// How long a target stays behind the others after a failure.
    pub penalty_ms: u64,
    /// After so many failed checks in a row a target is down.
    pub failures: u8,
    /// Who is asked with OPTIONS, and how often.
    pub checks: Vec<Check>,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            penalty_ms: 30_000,
            failures: 2,
            checks: Vec::new(),
        }
    }
}

/// One system that is asked with OPTIONS (RFC 3261 §11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The configured name.
    pub name: Arc<str>,
    /// Where it is.
    pub target: Wanted,
    /// How often it is asked.
    pub every_ms: u64,
}

/// One target: how it is spoken to, and where.
pub type TargetKey = (Transport, SocketAddr);

/// How a target failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No answer came in time.
    TimedOut,
    /// A 503, with its Retry-After in seconds where it has one (RFC 3261 §21.5.4).
    Unavailable(Option<u32>),
    /// The transport could not deliver (RFC 3261 §18.4).
    Unreachable,
}

impl Trouble {
    /// Its name in the API.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::Unavailable(_) => "unavailable",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What the checks say of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Nothing yet, or nobody checks it.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// What is known of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetHealth {
    /// What the checks say.
    pub standing: Standing,
    /// Until when it is kept behind others; 0 is not at all.
    pub penalised_until_ms: u64,
    /// Why.
    pub trouble: Option<Trouble>,
    /// Failed checks in a row.
    pub failures: u8,
    /// When its standing changed, milliseconds since 1970; 0 is never.
    pub since_unix_ms: i64,
    /// The last answer to a check; 0 is none.
    pub last_status: u16,
    /// How long that took.
    pub rtt_ms: Option<u32>,
    seen_ms: u64,
}

impl TargetHealth {
    /// Whether others go before it at that moment.
    pub fn is_bad(&self, now_ms: u64) -> bool {
        self.standing == Standing::Down || self.penalised_until_ms > now_ms
    }

    fn is_marked(&self) -> bool {
        self.standing == Standing::Down || self.penalised_until_ms > 0
    }
}

/// A target went up or down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingChange {
    /// The configured name.
    pub name: Arc<str>,
    /// The target.
    pub target: TargetKey,
    /// What it is now; never unknown.
    pub standing: Standing,
    /// The answer that decided; 0 where there was none.
    pub status: u16,
    /// When, milliseconds since 1970.
    pub at_unix_ms: i64,
}

/// The health of all targets.
pub struct Health {
    targets: DashMap<TargetKey, TargetHealth>,
    /// How many are penalised or down: with none, nothing is looked up.
    marked: AtomicUsize,
    penalties: AtomicU64,
    /// Changes for whoever tells of them; the oldest fall out.
    pub changes: ArrayQueue<StandingChange>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            targets: DashMap::new(),
            marked: AtomicUsize::new(0),
            penalties: AtomicU64::new(0),
            changes: ArrayQueue::new(CHANGES_LIMIT),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    /// A final response, and how long it took.
    Answer { status: u16, rtt_ms: u32 },
    /// None came, or it could not be sent.
    Nothing,
}

impl Health {
    /// A target failed: it is tried after all others for a while. A 503's own time counts, within
    /// reason.
    pub fn penalise(&self, target: TargetKey, trouble: Trouble, now: Now, rules: &HealthRules) {
        let for_ms = match trouble {
            Trouble::Unavailable(Some(s)) => u64::from(s.min(RETRY_AFTER_LIMIT_S)) * 1_000,
            _ => rules.penalty_ms,
        };
        if for_ms == 0 {
            return;
        }
        self.penalties.fetch_add(1, Relaxed);
        self.change(target, now, |health| {
            let until_ms = now.ms.saturating_add(for_ms);
            health.penalised_until_ms = health.penalised_until_ms.max(until_ms);
            health.trouble = Some(trouble);
        });
    }

    /// A target answered: nothing is held against it any more.
    pub fn forgive(&self, target: TargetKey, now: Now) {
        if self.marked.load(Relaxed) > 0 && self.targets.contains_key(&target) {
            self.change(target, now, |health| {
                health.penalised_until_ms = 0;
                health.trouble = None;
                health.failures = 0;
                if health.standing == Standing::Down {
                    health.standing = Standing::Up;
                    health.since_unix_ms = now.unix_ms;
                }
            });
        }
    }

    /// Puts what is in trouble behind the others, in the order in which it was.
    pub fn put_bad_last(&self, endpoints: &mut Endpoints, now_ms: u64) {
        if endpoints.len() < 2 || self.marked.load(Relaxed) == 0 {
            return;
        }
        endpoints.sort_by_cached_key(|endpoint| {
            let health = self.targets.get(&(endpoint.transport, endpoint.address));
            health.is_some_and(|health| health.is_bad(now_ms))
        });
    }

    /// What a check found, for the metrics and the next call. Says it when the target went up or
    /// down by it: down after some failures in a row, up with the first answer.
    pub(super) fn note(
        &self,
        (name, target): (&Arc<str>, TargetKey),
        found: Found,
        now: Now,
        rules: &HealthRules,
    ) -> Option<Standing> {
        let mut changed = None;
        self.change(target, now, |health| {
            let before = health.standing;
            match found {
                Found::Answer { status, rtt_ms } => {
                    health.last_status = status;
                    health.rtt_ms = Some(rtt_ms);
                }
                Found::Nothing => {
                    health.last_status = 0;
                    health.rtt_ms = None;
                }
            }
            // Whoever answers is there, whatever the answer (RFC 3261 §11), unless it says that
            // the system behind it is not.
            let is_well = !matches!(health.last_status, 0 | 408 | 503);
            health.failures = if is_well {
                0
            } else {
                health.failures.saturating_add(1)
            };
            if is_well {
                health.standing = Standing::Up;
                health.penalised_until_ms = 0;
                health.trouble = None;
            } else if health.failures >= rules.failures {
                health.standing = Standing::Down;
            }
            if health.standing != before {
                health.since_unix_ms = now.unix_ms;
                changed = Some((health.standing, health.last_status));
            }
        });
        let (standing, status) = changed?;
        self.changes.force_push(StandingChange {
            name: Arc::clone(name),
            target,
            standing,
            status,
            at_unix_ms: now.unix_ms,
        });
        Some(standing)
    }

    fn change(&self, target: TargetKey, now: Now, change: impl FnOnce(&mut TargetHealth)) {
        if self.targets.len() >= TARGETS_LIMIT && !self.targets.contains_key(&target) {
            return;
        }
        let mut health = self.targets.entry(target).or_default();
        let was_marked = health.is_marked();
        change(&mut health);
        health.seen_ms = now.ms;
        match (was_marked, health.is_marked()) {
            (false, true) => {
                self.marked.fetch_add(1, Relaxed);
            }
            (true, false) => {
                self.marked.fetch_sub(1, Relaxed);
            }
            _ => {}
        }
    }

    /// Ends penalties that are over, and forgets targets that nobody uses; the host calls it now
    /// and then.
    pub fn sweep(&self, now_ms: u64) {
        self.targets.retain(|_, health| {
            let is_over = health.penalised_until_ms <= now_ms && health.penalised_until_ms > 0;
            if is_over {
                health.penalised_until_ms = 0;
                if health.standing != Standing::Down {
                    self.marked.fetch_sub(1, Relaxed);
                }
            }
            let stays = health.seen_ms.saturating_add(FORGET_MS) > now_ms;
            if !stays && health.is_marked() {
                self.marked.fetch_sub(1, Relaxed);
            }
            stays
        });
    }

    /// What is known of a target.
    pub fn of(&self, target: TargetKey) -> TargetHealth {
        self.targets.get(&target).map(|h| *h).unwrap_or_default()
    }

    /// How many penalties there were.
    pub fn penalties(&self) -> u64 {
        self.penalties.load(Relaxed)
    }

    /// How many targets are penalised or down.
    pub fn in_trouble(&self, now_ms: u64) -> usize {
        self.targets.iter().filter(|h| h.is_bad(now_ms)).count()
    }
}

/// What a call heard from a hop.
#[derive(Clone, Copy)]
pub(super) enum Heard<'a, 'm> {
    /// A response.
    Response(&'a Message<'m>),
    /// Nothing, for long.
    Nothing,
    /// The transport's refusal.
    Refusal,
}

/// Holds a failure of a hop against its target, and forgives it where it answers. What goes over a
/// connection of a phone's own says nothing about anybody else.
pub(super) fn heard(
    (shared, policy): (&Shared, &Policy),
    hop: &Hop,
    heard: Heard<'_, '_>,
    now: Now,
) {
    if hop.flow != Flow::Any {
        return;
    }
    let target = (policy.transport(hop.listener), hop.to);
    let trouble = match heard {
        Heard::Response(message) if message.status() == Some(503) => {
            Trouble::Unavailable(retry_after_s(message))
        }
        Heard::Response(_) => return shared.health.forgive(target, now),
        Heard::Nothing => Trouble::TimedOut,
        Heard::Refusal => Trouble::Unreachable,
    };
    shared.health.penalise(target, trouble, now, &policy.health);
}

/// The seconds of a Retry-After; what follows them does not matter (RFC 3261 §20.33).
fn retry_after_s(message: &Message<'_>) -> Option<u32> {
    let value = message.values(Name::RetryAfter).next()?.bytes;
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    let number = |sum: u32, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit.wrapping_sub(b'0')))
    };
    value
        .first()
        .filter(|byte| byte.is_ascii_digit())
        .map(|_| digits.fold(0, number))
}

#[cfg(test)]
mod tests {
    use super::super::hop::Endpoint;
    use super::*;

    const A: &str = "192.0.2.1:5060";
    const B: &str = "192.0.2.2:5060";

    fn at(ms: u64) -> Now {
        Now {
            ms,
            unix_ms: ms as i64 + 1_000,
        }
    }

    fn key(address: &str) -> TargetKey {
        (Transport::Udp, address.parse().unwrap())
    }

    fn order(health: &Health, ms: u64) -> Vec<String> {
        let endpoint = |address: &&str| Endpoint {
            transport: Transport::Udp,
            address: address.parse().unwrap(),
            name: None,
        };
        let mut endpoints: Endpoints = [A, B].iter().map(endpoint).collect();
        health.put_bad_last(&mut endpoints, ms);
        endpoints.iter().map(|e| e.address.to_string()).collect()
    }

    fn note(health: &Health, status: u16, ms: u64) -> Option<Standing> {
        let found = match status {
            0 => Found::Nothing,
            status => Found::Answer { status, rtt_ms: 7 },
        };
        health.note(
            (&"a".into(), key(A)),
            found,
            at(ms),
            &HealthRules::default(),
        )
    }

    #[test]
    fn a_penalty_puts_a_target_last_until_it_is_over() {
        let health = Health::default();
        health.penalise(key(A), Trouble::TimedOut, at(0), &HealthRules::default());
        assert_eq!(order(&health, 29_999), [B, A]);
        assert_eq!(order(&health, 30_000), [A, B]);
        health.sweep(30_000);
        assert_eq!((health.in_trouble(30_000), health.penalties()), (0, 1));
        assert_eq!(health.marked.load(Relaxed), 0);
    }

    #[test]
    fn a_retry_after_is_kept_to_within_reason() {
        let health = Health::default();
        let rules = HealthRules::default();
        health.penalise(key(A), Trouble::Unavailable(Some(5)), at(0), &rules);
        assert_eq!(health.of(key(A)).penalised_until_ms, 5_000);
        health.penalise(key(A), Trouble::Unavailable(Some(u32::MAX)), at(0), &rules);
        assert_eq!(health.of(key(A)).penalised_until_ms, 600_000);
        health.penalise(key(B), Trouble::Unavailable(Some(0)), at(0), &rules);
        assert_eq!(health.of(key(B)), TargetHealth::default());
    }

    #[test]
    fn an_answer_forgives() {
        let health = Health::default();
        health.penalise(key(A), Trouble::Unreachable, at(0), &HealthRules::default());
        health.forgive(key(A), at(1));
        assert_eq!(order(&health, 1), [A, B]);
        health.forgive(key(B), at(1));
        assert_eq!(
            health.targets.len(),
            1,
            "whoever was never in trouble is not kept"
        );
    }

    #[test]
    fn two_failed_checks_are_needed_to_go_down_and_one_answer_to_come_back() {
        let health = Health::default();
        assert_eq!(note(&health, 200, 0), Some(Standing::Up));
        assert_eq!(note(&health, 0, 1), None);
        assert_eq!(note(&health, 404, 2), None, "an answer is an answer");
        assert_eq!(note(&health, 503, 3), None);
        assert_eq!(note(&health, 408, 4), Some(Standing::Down));
        assert_eq!(order(&health, 5), [B, A]);
        assert_eq!(note(&health, 0, 5), None);
        assert_eq!(health.of(key(A)).since_unix_ms, 1_004);
        assert_eq!(note(&health, 405, 6), Some(Standing::Up));
        assert_eq!(order(&health, 6), [A, B]);
        assert_eq!(health.changes.len(), 3);
        assert_eq!(health.marked.load(Relaxed), 0);
    }

    #[test]
    fn a_call_that_is_answered_brings_a_target_up_again() {
        let health = Health::default();
        note(&health, 0, 0);
        note(&health, 0, 1);
        health.forgive(key(A), at(2));
        assert_eq!(health.of(key(A)).standing, Standing::Up);
        assert_eq!(note(&health, 0, 3), None, "it counts from the beginning");
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let health = Health::default();
        for port in 0..=TARGETS_LIMIT as u64 {
            let address = SocketAddr::from(([10, 0, (port >> 8) as u8, port as u8], 5060));
            let rules = HealthRules::default();
            health.penalise((Transport::Udp, address), Trouble::TimedOut, at(0), &rules);
        }
        assert_eq!(health.targets.len(), TARGETS_LIMIT);
        health.sweep(FORGET_MS);
        assert_eq!(health.targets.len(), 0);
        assert_eq!(health.marked.load(Relaxed), 0);
    }
}
