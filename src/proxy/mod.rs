//! RFC 3261 §16: carry out a plan. Response contexts, branches, best response, CANCEL, loops.
//!
//! [`Proxy`] owns the transactions and calls of one shard. It is told what came in and what time it
//! is, asks `routing` what to do with a new INVITE, and puts what is to be sent into an
//! [`Outbox`]. It must not read a clock, open a socket or decide about presence. Entry points:
//! [`Proxy::handle_request`], [`Proxy::handle_response`], [`Proxy::handle_timeouts`].

mod accepted;
mod answered;
mod authenticate;
mod best;
mod branch;
mod breadth;
mod caller;
mod cancel;
mod carry_out;
mod chat;
mod choice;
mod codes;
mod confirmed;
mod counters;
mod dialog;
mod divert;
mod extensions;
mod facts;
mod failover;
mod forward;
mod handle;
mod health;
mod hop;
mod invite;
mod keys;
mod loops;
mod maddr;
mod names;
mod note;
mod oc;
mod outbox;
mod overload;
mod parked;
pub mod policy;
mod privacy;
mod probe;
mod register;
mod reject;
mod rejection;
mod relay;
mod relay_response;
mod request;
mod response;
mod route;
mod secrecy;
mod seek;
mod session;
mod setup;
mod shared;
mod sources;
mod subscribe;
mod target;
mod tell;
mod timeout;
mod token;
mod watches;

pub use codes::{CodeAnswer, CodeDesk, CodeWish};
pub use counters::{Counter, Counters, LabelCounters};
pub use facts::{CallEvent, Outcome, Trace, TraceTexts};
pub use health::{
    Check, Health, HealthRules, Standing, StandingChange, TargetHealth, TargetKey, Trouble,
};
pub use hop::{ConnectionId, Endpoint, Endpoints, Flow, FlowView, Flows, Hop, Hops, Unreachable};
pub use keys::{Keys, shard_of};
pub use names::{Lookup, NameCounts, Names, Resolved, Sought, Target, Wanted};
pub use outbox::{Outbox, Transmit};
pub use policy::Policy;
pub use rejection::Rejection;
pub use setup::Neighbourhood;
pub use shared::{ShardView, Shared};
pub use sources::Sources;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use slotmap::{SlotMap, new_key_type};

use crate::call::{CallId, Calls};
use crate::message::{Edits, Index};
use crate::store::{Journal, OpenCalls};
use crate::transaction::{Ms, Table, Wheel};
use relay::Relay;

new_key_type! {
    /// Names an INVITE's response context; part of our Via branch.
    struct InviteKey;
    /// Names another request's context; part of our Via branch.
    struct RelayKey;
    /// Names a check that waits for its answer; part of our Via branch.
    struct ProbeKey;
    /// Names a request that was answered at once.
    struct AnswerKey;
    /// Names an event subscription; part of our Via branch.
    struct WatchKey;
}

/// The time, as the host read it once for a batch of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never goes back; timers run on it.
    pub ms: Ms,
    /// Milliseconds since 1970 UTC; `until`, the journal and the log use it.
    pub unix_ms: i64,
}

/// How a message came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its source.
    pub from: SocketAddr,
    /// The listener that received it.
    pub listener: u8,
    /// The connection that it came over.
    pub connection: Option<ConnectionId>,
    /// How long it waited before it was handled, milliseconds.
    pub waited_ms: u32,
    /// The keyed hash of its Call-ID.
    pub call_key: u64,
}

/// Whose timer, or whose transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Invite(InviteKey),
    /// An INVITE that was refused and acknowledged, by what finds it.
    Confirmed(u64),
    Relay(RelayKey),
    Answer(AnswerKey),
    Call(CallId),
    Parked,
    Probe(ProbeKey),
    Probes,
    /// A call to a feature code, by its call key.
    Code(u64),
    Watch(WatchKey),
}

/// The configuration that the shards share.
struct PolicyOf(Arc<Shared>);

impl std::ops::Deref for PolicyOf {
    type Target = ArcSwap<Policy>;

    fn deref(&self) -> &Self::Target {
        &self.0.policy
    }
}

/// One shard's stateful proxy.
pub struct Proxy {
    shard: usize,
    shared: Arc<Shared>,
    /// The configuration of the batch being handled.
    policy: Arc<Policy>,
    /// Where the next one comes from: looked at for each message, without a write to shared memory.
    latest: Cache<PolicyOf, Arc<Policy>>,
    keys: Keys,
    invites: accepted::Invites,
    /// Each in memory of its own, as the INVITEs are.
    relays: SlotMap<RelayKey, Box<Relay>>,
    answers: SlotMap<AnswerKey, Box<answered::Answered>>,
    /// How many of these are to requests that we answered ourselves.
    own_answers: usize,
    servers: Table<Owner>,
    /// How many of these are [`Owner::Confirmed`].
    confirmed: usize,
    calls: Calls,
    /// Calls to feature codes.
    codes: codes::CodeCalls,
    /// Requests whose target is being resolved.
    parked: parked::Parked,
    /// Until when the request that is handled anew may wait.
    resumed_until_ms: Option<Ms>,
    /// The checks of this shard, and those that wait for an answer.
    probes: probe::Probes,
    /// Who watches whom.
    watches: watches::Watches,
    /// What is let in when more comes than fits.
    gate: overload::Gate,
    /// What next hops want less of.
    throttles: oc::Throttles,
    /// Whether a Via that is meant for others ever spoke of overload control.
    hears_control: bool,
    journal: Box<dyn Journal>,
    wheel: Wheel<Owner>,
    scratch: Scratch,
    /// The moment of the input being handled.
    now: Now,
    /// What is to be sent for it.
    out: Outbox,
    /// How many messages of earlier inputs are in there.
    out_before: usize,
}

/// Buffers that keep their capacity from message to message.
#[derive(Default)]
struct Scratch {
    edits: Edits,
    lines: Vec<u8>,
    tail: Vec<u8>,
    uri: Vec<u8>,
    record: Vec<u8>,
    closed: Vec<u8>,
    stored: Index,
}

impl Proxy {
    /// A proxy that goes on with the calls an earlier run left in `stored`.
    pub fn new(
        shard: usize,
        shared: Arc<Shared>,
        stored: Box<dyn OpenCalls>,
        journal: Box<dyn Journal>,
        now: Now,
    ) -> Self {
        let calls = Calls::restore(stored, Arc::clone(&shared.directory), now.ms, now.unix_ms);
        shared.guard.begin(now.unix_ms.div_euclid(1_000));
        let mut wheel = Wheel::new(now.ms);
        for (id, deadline) in calls.deadlines() {
            wheel.insert(deadline, Owner::Call(id));
        }
        let mut proxy = Self {
            shard,
            policy: shared.policy.load_full(),
            latest: Cache::new(PolicyOf(Arc::clone(&shared))),
            keys: Keys::new(&shared.secret).for_run(now.unix_ms),
            invites: accepted::Invites::default(),
            relays: SlotMap::with_key(),
            answers: SlotMap::with_key(),
            own_answers: 0,
            servers: Table::new(),
            confirmed: 0,
            calls,
            codes: codes::CodeCalls::default(),
            parked: parked::Parked::default(),
            resumed_until_ms: None,
            probes: probe::Probes::default(),
            watches: watches::Watches::default(),
            gate: overload::Gate::default(),
            throttles: oc::Throttles::default(),
            hears_control: false,
            journal,
            wheel,
            scratch: Scratch::default(),
            now,
            out: Outbox::default(),
            out_before: 0,
            shared,
        };
        proxy.plan_probes();
        proxy.restore_watches();
        proxy
    }

    /// Begins an input: what it is answered with goes into `out`, until [`Proxy::end`]. What an
    /// input left that never ended (a contained panic) goes along.
    pub fn begin(&mut self, now: Now, out: &mut Outbox) {
        self.now = now;
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, out);
            self.out_before = self.out.transmits().len();
        }
        let latest = self.latest.load();
        if !Arc::ptr_eq(latest, &self.policy) {
            self.policy = Arc::clone(latest);
            self.plan_probes();
            self.watches.make_all_due();
        }
    }

    /// Ends an input and gives the outbox back.
    pub fn end(&mut self, out: &mut Outbox) {
        self.tell_upstream(self.out_before);
        if self.has_news() {
            self.tell_watchers(tell::WITH_A_MESSAGE);
        }
        std::mem::swap(&mut self.out, out);
    }

    /// The keyed hash of a Call-ID.
    pub fn call_key(&self, call_id: &[u8]) -> u64 {
        self.keys.call(call_id)
    }

    /// How many transactions and calls there are: all zero after every scenario.
    pub fn load(&self) -> Load {
        Load {
            invites: self.invites.len() + self.confirmed,
            relays: self.relays.len(),
            answers: self.answers.len(),
            servers: self.servers.len(),
            calls: self.calls.len(),
            parked: self.parked.len(),
            probes: self.probes.len(),
            codes: self.codes.len(),
            watches: self.watches.len(),
            timers: self.wheel.len(),
        }
    }

    /// Whether a message of this source is taken at all: nobody but those we know sends more than
    /// `messages_per_source_s`. Asked once for each message, by whichever shard received it.
    pub fn admits(&mut self, source: IpAddr, connection: Option<ConnectionId>, now_ms: Ms) -> bool {
        let policy = self.latest.load();
        let limit_s = policy.limits.messages_per_source_s;
        let sources = &self.shared.sources;
        let is_admitted =
            limit_s == 0 || sources.admit(source, self.keys.token(0), limit_s, now_ms) || {
                let flow = connection.and_then(|id| self.shared.flows.get(id));
                let identities = flow.as_ref().map(|flow| &*flow.identities);
                policy.peer(source, identities.unwrap_or_default()).1
            };
        if !is_admitted {
            self.count(|counters| &counters.source_limited);
        }
        is_admitted
    }

    /// The kernel lost so many messages that were for this shard.
    pub fn note_lost(&mut self, messages: u64) {
        self.gate.lost(messages);
    }

    /// Of the new requests, how many in ten thousand shall come in at all, where that is possible.
    pub fn wanted(&mut self, now_ms: Ms, is_possible: bool) -> u32 {
        let is_on = self.policy.overload.max_delay_ms > 0 && self.resumed_until_ms.is_none();
        self.gate.wanted(now_ms, is_possible && is_on)
    }

    /// Whether datagrams may be given to the kernel joined.
    pub fn joins_datagrams(&self) -> bool {
        self.policy.join_datagrams
    }

    /// How many INVITEs were decided so far.
    pub fn decisions(&self) -> u64 {
        self.counters()
            .map_or(0, |counters| counters.calls_decided.get())
    }

    /// When [`Proxy::handle_timeouts`] must be called.
    pub fn next_timeout(&self) -> Option<Ms> {
        match self.has_news() {
            true => Some(self.now.ms),
            false => self.wheel.next(),
        }
    }

    /// What this shard counts.
    fn counters(&self) -> Option<&Counters> {
        self.shared
            .shards
            .get(self.shard)
            .map(|view| &view.counters)
    }

    fn count(&self, pick: impl FnOnce(&Counters) -> &Counter) {
        if let Some(counters) = self.counters() {
            pick(counters).inc();
        }
    }

    /// Shows the sizes of the tables to the metrics; the host calls it after each batch.
    pub fn publish_gauges(&self) {
        if let Some(counters) = self.counters() {
            counters.calls_open.set(self.calls.len() as u64);
            let invites = self.invites.len() + self.confirmed;
            counters.invites_open.set(invites as u64);
            let others = self.relays.len() + self.answers.len();
            counters.relays_open.set(others as u64);
            counters.subscriptions_open.set(self.watches.len() as u64);
            counters.timers.set(self.wheel.len() as u64);
            counters.oc_percent.set(self.gate.excess_percent().into());
            if self.shared.is_draining() {
                let pending = self
                    .invites
                    .iter()
                    .filter(|(_, i)| i.server.is_proceeding());
                counters.invites_pending.set(pending.count() as u64);
            }
        }
    }
}

/// The sizes of one shard's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// INVITE contexts.
    pub invites: usize,
    /// Other transactions that wait for an answer.
    pub relays: usize,
    /// Those that were answered.
    pub answers: usize,
    /// Entries that find server transactions.
    pub servers: usize,
    /// Open calls.
    pub calls: usize,
    /// Requests that wait for a name.
    pub parked: usize,
    /// Checks that wait for an answer.
    pub probes: usize,
    /// Calls to feature codes.
    pub codes: usize,
    /// Event subscriptions.
    pub watches: usize,
    /// Entries of the timer wheel, those for what is over included.
    pub timers: usize,
}
