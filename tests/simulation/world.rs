//! A run: the engine, its store, the network, the phones, and the checker that watches.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pointsman::engine::{Engine, Input, Now, Outbox, Shared, Source, Unreachable};
use pointsman::event::{Ledger, Package, Packages, Rules};
use pointsman::message::Transport;
use pointsman::presence::{Directory, Handle};
use pointsman::proxy::policy::{Limits, Network as Block, Policy, Timers};
use pointsman::proxy::{Endpoint, Resolved, Wanted};
use pointsman::routing::Mode;
use pointsman::store::{Memory, Records, Store};

use crate::caller::{Ending, Errand, Plan};
use crate::checker::{Checker, Verdict, Violation};
use crate::harness::{NOON_UNIX_MS, PBX, PROXY, VOICEMAIL, address, peer, policy};
use crate::ladder;
use crate::network::{Event, Network, Weather};
use crate::people::{CLOSED, EXTERNAL, People, SLOW_NAME, dialled, id_of};
use crate::phone::{Phones, Timer};
use crate::random::Chance;
use crate::sip::Sip;
use crate::watcher::{TICK_MS, Watchers};

const SECRET: [u8; 32] = [9; 32];
const CALL_LIMIT_S: u32 = 900;
/// Calls are placed within this time.
const SPAN_MS: u64 = 600_000;
/// When everything is over.
const HORIZON_MS: u64 = SPAN_MS + CALL_LIMIT_S as u64 * 1_000 + 600_000;
const VANDAL: &str = "198.51.100.66:5060";
/// How many lamps there are.
const WATCHERS: usize = 6;
const SLOW_ADDRESS: &str = "203.0.113.11:5060";

/// What one seed makes of a run.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub seed: u64,
    pub calls: usize,
    pub subscribers: usize,
    pub weather: Weather,
    pub restarts: usize,
}

impl Scenario {
    pub fn of(seed: u64, calls: usize) -> Self {
        let mut chance = Chance::new(seed ^ 0xabcd);
        let is_clear = chance.percent(20);
        let mut rate = |most: u64| {
            if is_clear {
                0
            } else {
                chance.range(0, most + 1)
            }
        };
        let weather = Weather {
            loss: rate(20),
            duplication: rate(20),
            reordering: rate(20),
        };
        Self {
            seed,
            calls,
            subscribers: chance.range(20, 51) as usize,
            weather,
            restarts: if chance.percent(40) {
                chance.range(1, 4) as usize
            } else {
                0
            },
        }
    }
}

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub calls: usize,
    pub answered: usize,
    pub datagrams: usize,
    pub restarts: usize,
    pub cancelled: usize,
    pub redirected: usize,
    pub refused: usize,
    /// INVITEs that a caller gave up although nothing came.
    pub unheard: usize,
    /// Dialogs beyond the first of a fork.
    pub forked: usize,
    /// Calls that the engine sent to another target by itself.
    pub retargeted: usize,
}

pub struct World {
    scenario: Scenario,
    pub net: Network,
    phones: Phones,
    people: People,
    checker: Checker,
    policy: Policy,
    store: Memory,
    shared: Arc<Shared>,
    engine: Engine,
    handles: Vec<Handle>,
    out: Outbox,
    plans: Vec<Option<Plan>>,
    watchers: Watchers,
    /// The marks of each subscriber, and when they changed last.
    marks: Vec<(u16, u16)>,
    changed: Vec<u64>,
    proxy: SocketAddr,
    is_down: bool,
}

/// What the name server of this world says.
fn resolved(name: &Wanted, now_ms: u64) -> Resolved {
    let found = (&*name.host == SLOW_NAME).then(|| Endpoint {
        transport: Transport::Udp,
        address: address(SLOW_ADDRESS),
        name: None,
    });
    Resolved::of(found.into_iter().collect(), now_ms + 60_000)
}

impl World {
    pub fn new(scenario: Scenario) -> Self {
        let mut net = Network::new(scenario.seed, scenario.weather, address(CLOSED));
        let policy = random_policy(&mut net.chance);
        let people = People::new(scenario.subscribers, &mut net.chance);
        let store = Memory::new(SECRET);
        let (shared, engine, handles) = start(&policy, &people, &store, 0);
        let fixed = [PBX, VOICEMAIL, EXTERNAL, CLOSED, SLOW_ADDRESS, VANDAL].map(address);
        let callers = (0..40).map(caller_address);
        let lamps = (0..WATCHERS).map(Watchers::address_of);
        let known: HashSet<SocketAddr> = fixed.into_iter().chain(callers).chain(lamps).collect();
        let watched: Vec<usize> = (0..WATCHERS)
            .map(|_| net.chance.below(scenario.subscribers))
            .collect();
        let mut world = Self {
            scenario,
            phones: Phones::new(address(PROXY)),
            people,
            checker: Checker::new(&SECRET, known, CALL_LIMIT_S),
            policy,
            store,
            shared,
            engine,
            handles,
            out: Outbox::new(),
            plans: Vec::new(),
            watchers: Watchers::new(address(PROXY), watched, HORIZON_MS - 200_000),
            marks: vec![(0, 0); scenario.subscribers],
            changed: vec![0; scenario.subscribers],
            proxy: address(PROXY),
            is_down: false,
            net,
        };
        world.plan();
        world
    }

    /// Everything that is decided beforehand.
    fn plan(&mut self) {
        for call in 0..self.scenario.calls {
            let plan = self.random_call(call);
            self.plans.push(Some(plan));
            let at = self.net.chance.range(0, SPAN_MS);
            self.net.timer(at, Timer::Dial(call));
        }
        for _ in 0..self.scenario.subscribers {
            let (at, who) = (
                self.net.chance.range(0, SPAN_MS),
                self.net.chance.below(self.scenario.subscribers),
            );
            self.net.after(at, Event::Change(who));
        }
        for number in 0..self.watchers.len() {
            let at = self.net.chance.range(0, TICK_MS);
            self.net.after(at, Event::Watch(number));
        }
        for _ in 0..self.scenario.calls / 5 {
            let at = self.net.chance.range(0, SPAN_MS);
            self.net.after(at, Event::Vandal);
        }
        for _ in 0..self.scenario.restarts {
            let at = self.net.chance.range(1_000, SPAN_MS + 60_000);
            let drains = self.net.chance.percent(40);
            if drains {
                self.net.after(at, Event::Drain);
            }
            let killed = at + if drains { 20_000 } else { 0 };
            let down_ms = self.net.chance.range(1, 8_000);
            self.net.after(killed, Event::Kill);
            self.net.after(killed + down_ms, Event::Start);
        }
    }

    /// Sends a request that somebody overheard, as a new one of their own: with other tags where
    /// it belongs to a dialog. No call of others may come to harm by it.
    fn vandalise(&mut self) {
        let overheard = self.net.chance.below(self.net.log.len().max(1));
        let Some(line) = self.net.log.get(overheard) else {
            return;
        };
        if line.to != self.proxy || line.message.status().is_some() {
            return;
        }
        let m = std::rc::Rc::clone(&line.message);
        let via = format!(
            "SIP/2.0/UDP {VANDAL};branch=z9hG4bKvandal{}",
            self.net.log.len()
        );
        let mut text = m
            .text
            .replacen(m.header("Via").unwrap_or_default(), &via, 1);
        if !m.to_tag().is_empty() {
            text = text.replacen(&format!(";tag={}", m.sender_tag()), ";tag=guessed", 1);
        }
        self.net.send(address(VANDAL), self.proxy, Sip::of(&text));
    }

    fn random_call(&mut self, call: usize) -> Plan {
        let count = self.scenario.subscribers;
        let chance = &mut self.net.chance;
        let number = chance.below(40);
        let at = caller_address(number);
        let from = match chance.below(10) {
            0..=5 => format!("sip:{}@example.com", id_of(chance.below(count))),
            6 => "sip:anonymous@anonymous.invalid".into(),
            _ => format!("sip:carl{call}@elsewhere.test"),
        };
        let callee = chance.below(count);
        let user = if chance.percent(3) {
            "999".into()
        } else {
            dialled(callee, chance)
        };
        let via = match chance.below(10) {
            0 => format!("10.1.2.3:{};rport", at.port()),
            1 => format!("203.0.113.200:{}", at.port()),
            _ => at.to_string(),
        };
        Plan {
            at,
            call_id: format!("c{call}@sim"),
            from,
            to: format!("sip:{user}@example.com"),
            via,
            errand: random_errand(chance),
        }
    }

    /// Lets everything happen; the violation of the first broken invariant comes back.
    pub fn run(&mut self) -> Result<Tally, Violation> {
        loop {
            let engine_at = self.engine.next_timeout().filter(|_| !self.is_down);
            let engine_at = engine_at.map(|at| at.max(self.net.now));
            match (self.net.next_at(), engine_at) {
                (_, Some(at)) | (Some(at), None)
                    if at > HORIZON_MS && self.net.now > HORIZON_MS =>
                {
                    break;
                }
                (Some(event), engine) if engine.is_none_or(|engine| event <= engine) => {
                    self.step()?;
                }
                (_, Some(at)) => {
                    self.net.now = at;
                    self.engine.handle_timeouts(self.now(), &mut self.out);
                    self.flush(None)?;
                }
                (_, None) => break,
            }
        }
        self.check_end()?;
        Ok(self.tally())
    }

    fn step(&mut self) -> Verdict {
        match self.net.take() {
            Some(Event::Arrives { from, to, message }) => self.arrive(from, to, &message),
            Some(Event::Unreachable(_)) if self.is_down => Ok(()),
            Some(Event::Unreachable(to)) => {
                let failure = Unreachable {
                    to,
                    listener: None,
                    connection: None,
                };
                let input = Input::Unreachable(failure);
                self.engine.handle(self.now(), input, &mut self.out);
                self.flush(None)
            }
            Some(Event::Phone(Timer::Dial(call))) => {
                if let Some(plan) = self.plans[call].take() {
                    self.phones.dial(&mut self.net, plan);
                }
                Ok(())
            }
            Some(Event::Phone(timer)) => {
                self.phones.fire(&mut self.net, timer);
                Ok(())
            }
            Some(Event::Resolved(name)) => {
                let now_ms = self.net.now;
                self.shared
                    .names
                    .put(&name, resolved(&name, now_ms), now_ms);
                self.engine
                    .handle(self.now(), Input::Resolved, &mut self.out);
                self.flush(None)
            }
            Some(Event::Change(who)) => {
                self.people.change(who, &mut self.net.chance);
                let put = self
                    .shared
                    .directory
                    .put(&self.people.documents[who], &self.policy.plan);
                put.unwrap_or_else(|fault| panic!("{fault}"));
                Ok(())
            }
            Some(Event::Watch(number)) => self.look_at_lamps(number),
            Some(Event::Drain) => {
                self.shared.draining.store(true, Ordering::Relaxed);
                Ok(())
            }
            Some(Event::Kill) => {
                self.is_down = true;
                Ok(())
            }
            Some(Event::Start) => self.restart(),
            Some(Event::Vandal) => {
                self.vandalise();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A datagram arrives: at the engine, at a watcher, at another phone.
    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, message: &Rc<Sip>) -> Verdict {
        if to != self.proxy {
            match self.watchers.find(to) {
                Some(number) => self.watchers.receive(&mut self.net, number, from, message),
                None => self.phones.receive(&mut self.net, from, to, message),
            }
            return Ok(());
        }
        if self.is_down {
            return Ok(());
        }
        self.checker.on_input(self.net.now, from, message);
        let input = Input::Message {
            source: Source::datagram(from, 0),
            bytes: message.text.as_bytes(),
        };
        self.engine.handle(self.now(), input, &mut self.out);
        self.flush(Some(message))
    }

    /// A watcher does what is due; whether all lamps are right.
    fn look_at_lamps(&mut self, number: usize) -> Verdict {
        self.watchers.tick(&mut self.net, number);
        // Whose NOTIFY got lost eleven times has no subscription and does not know it yet.
        let all_known = self.engine.load().watches >= self.watchers.believing();
        match all_known && !self.is_down {
            true => self
                .watchers
                .check(self.net.now, &self.marks, &self.changed),
            false => Ok(()),
        }
    }

    fn now(&self) -> Now {
        now_at(self.net.now)
    }

    /// What the engine sent goes into the network, watched.
    fn flush(&mut self, cause: Option<&Rc<Sip>>) -> Verdict {
        let out = std::mem::take(&mut self.out);
        let mut verdict = Ok(());
        for transmit in out.transmits() {
            let Some(message) = Sip::read(out.payload(transmit)) else {
                return Err(Violation {
                    rule: "the engine sent something that is no message".into(),
                    call_id: String::new(),
                });
            };
            let checked = self.checker.on_output(
                self.net.now,
                cause.map(|cause| &**cause),
                transmit.hop.to,
                &message,
                &self.people,
            );
            self.net.send(self.proxy, transmit.hop.to, message);
            verdict = verdict.and(checked);
        }
        self.out = out;
        self.out.clear();
        while let Some(name) = self.shared.names.take_wanted() {
            let ms = self.net.chance.range(1, 3_000);
            self.net.after(ms, Event::Resolved(name));
        }
        verdict.and_then(|()| self.check_state())
    }

    fn check_state(&mut self) -> Verdict {
        let mut records = Vec::new();
        self.store
            .read_calls(&mut |record| records.push(record.to_vec()));
        let marks: Vec<(u16, u16)> = self
            .handles
            .iter()
            .map(|handle| self.shared.directory.routing(*handle))
            .map(|routing| (routing.calls, routing.ringing))
            .collect();
        for (who, marks) in marks.iter().enumerate() {
            if self.marks.get(who) != Some(marks) {
                self.changed[who] = self.net.now;
            }
        }
        let checked = self.checker.check_state(self.net.now, &records, &marks);
        self.marks = marks;
        checked
    }

    fn restart(&mut self) -> Verdict {
        let (shared, engine, handles) =
            start(&self.policy, &self.people, &self.store, self.net.now);
        (self.shared, self.engine, self.handles) = (shared, engine, handles);
        self.out.clear();
        self.is_down = false;
        self.checker.on_restart();
        self.changed.fill(self.net.now);
        let kept = self.store.slot_records(Records::Subscriptions).len();
        let taken = self.engine.load().watches;
        if kept != taken {
            return violation(format!("{kept} subscriptions were kept, {taken} go on"));
        }
        self.check_state()
    }

    fn check_end(&mut self) -> Verdict {
        self.check_state()?;
        self.checker.check_end()?;
        let load = self.engine.load();
        if load != Default::default() {
            return violation(format!(
                "the tables are not empty: {load:?} {:?}",
                self.checker.unanswered()
            ));
        }
        if !self.shared.ledger.is_empty() {
            return violation("a subscription is still kept".to_owned());
        }
        let is_clear = self.scenario.weather.loss == 0 && self.scenario.restarts == 0;
        let unanswered = self.phones.clients.iter().find(|client| {
            client.request.is("INVITE")
                && client.request.to_tag().is_empty()
                && client.answer.is_none()
        });
        match unanswered.filter(|_| is_clear) {
            Some(client) => Err(Violation {
                rule: "without loss a caller got no final response".into(),
                call_id: client.request.call_id().to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn tally(&self) -> Tally {
        let invites = self
            .phones
            .clients
            .iter()
            .filter(|client| client.request.is("INVITE") && client.request.to_tag().is_empty());
        let answers: Vec<Option<u16>> = invites.map(|client| client.answer).collect();
        let count = |wanted: fn(&Option<u16>) -> bool| answers.iter().filter(|a| wanted(a)).count();
        let told = self
            .net
            .log
            .iter()
            .filter(|line| line.message.status() == Some(181));
        Tally {
            calls: self.scenario.calls,
            answered: count(|answer| *answer == Some(200)),
            datagrams: self.net.log.len(),
            restarts: self.scenario.restarts,
            cancelled: count(|answer| *answer == Some(487)),
            redirected: count(|answer| *answer == Some(302)),
            refused: count(|answer| answer.is_some_and(|status| status > 302 && status != 487)),
            unheard: count(Option::is_none),
            forked: self
                .phones
                .legs
                .iter()
                .filter(|leg| leg.errand.is_extra)
                .count(),
            retargeted: told.count(),
        }
    }

    /// The failing call as a ladder; without one, the last datagrams of all.
    pub fn ladder(&self, call_id: &str) -> String {
        ladder::draw(&self.net.log, call_id)
    }
}

fn violation(rule: String) -> Verdict {
    Err(Violation {
        rule,
        call_id: String::new(),
    })
}

fn now_at(ms: u64) -> Now {
    Now {
        ms,
        unix_ms: NOON_UNIX_MS + ms as i64,
    }
}

/// Half of the callers are known to us, half are strangers.
fn caller_address(number: usize) -> SocketAddr {
    let network = if number < 20 { "192.0.2" } else { "198.51.100" };
    address(&format!("{network}.{}:{}", 100 + number, 5_060 + number))
}

fn start(
    policy: &Policy,
    people: &People,
    store: &Memory,
    now_ms: u64,
) -> (Arc<Shared>, Engine, Vec<Handle>) {
    let directory = Arc::new(Directory::new(7));
    let handles = people
        .documents
        .iter()
        .map(|document| directory.put(document, &policy.plan).unwrap())
        .collect();
    let ledger = Ledger::restore(store.slot_records(Records::Subscriptions));
    let shared = Shared::new(policy.clone(), directory, store.secret(), 1).with_ledger(ledger);
    let shared = Arc::new(shared);
    let stored = store.open_calls(1, &|_| 0).unwrap().remove(0);
    let journal = store.journals(1).unwrap().remove(0);
    let engine = Engine::new(0, Arc::clone(&shared), stored, journal, now_at(now_ms));
    (shared, engine, handles)
}

fn random_policy(chance: &mut Chance) -> Policy {
    let modes = [Mode::Redirect, Mode::Retarget];
    let mut trunk = peer("trunk", *chance.pick(&modes));
    trunk.networks = vec![Block {
        base: address("192.0.2.0:0").ip(),
        prefix: 24,
    }];
    trunk.voicemail_forwarding = *chance.pick(&modes);
    Policy {
        peers: vec![trunk],
        stranger: peer("", *chance.pick(&modes)),
        events: Rules {
            packages: Packages::of(Package::ALL),
            ..Rules::default()
        },
        dnd_status: *chance.pick(&[480, 486, 603]),
        ring_for_s: chance.range(5, 30) as u16,
        call_limit: chance.range(1, 3) as u16,
        timers: Timers {
            session_expires_s: *chance.pick(&[0, 90, 300]),
            call_limit_s: CALL_LIMIT_S,
            ..Timers::default()
        },
        limits: Limits {
            calls: *chance.pick(&[5, 1_000, 1_000]),
            transactions: *chance.pick(&[40, 10_000, 10_000]),
            branches: *chance.pick(&[2, 16]),
            ..Limits::default()
        },
        ..policy()
    }
}

fn random_errand(chance: &mut Chance) -> Errand {
    let ends = chance.weighted(&[
        (60, Some(Ending::Bye)),
        (10, Some(Ending::Vanish)),
        (30, None),
    ]);
    let mut headers = String::new();
    if chance.percent(40) {
        headers += "Supported: timer\r\n";
        if chance.percent(40) {
            headers += &format!("Session-Expires: {}\r\n", chance.range(90, 200));
        }
    }
    Errand {
        cancels_after: chance.percent(25).then(|| chance.range(0, 20_000)),
        talks_ms: chance.range(0, 90_000),
        ends,
        refreshes_at: if chance.percent(15) {
            vec![chance.range(0, 30_000)]
        } else {
            Vec::new()
        },
        uses_update: chance.percent(50),
        follows: if chance.percent(70) { 4 } else { 0 },
        follows_anew: chance.percent(30),
        headers,
        ..Errand::default()
    }
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.datagrams += other.datagrams;
        self.restarts += other.restarts;
        self.cancelled += other.cancelled;
        self.redirected += other.redirected;
        self.refused += other.refused;
        self.unheard += other.unheard;
        self.forked += other.forked;
        self.retargeted += other.retargeted;
    }
}
