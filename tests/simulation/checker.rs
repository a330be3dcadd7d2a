//! The invariants, checked from outside: what went into the engine, what came out, what it marks.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;

use pointsman::call::CallRecord;
use pointsman::proxy::Keys;

use crate::people::People;
use crate::sip::Sip;

/// What a timer may be late by: a tick of the engine's wheel, twice.
const SLACK_MS: u64 = 10;
const T1_64: u64 = 32_000;

/// A broken invariant.
#[derive(Debug)]
pub struct Violation {
    pub rule: String,
    pub call_id: String,
}

pub type Verdict = Result<(), Violation>;

/// A request that came in.
struct Received {
    message: Rc<Sip>,
    reply_to: SocketAddr,
    run: u32,
    copies: u32,
    /// Responses of the other side to it, retransmissions counted.
    responses: u32,
    finals: Vec<Rc<Sip>>,
    /// A 503 made without state: a retransmission may find room.
    was_refused: bool,
}

/// An INVITE that the engine sent on a branch.
struct Branch {
    call_id: String,
    callee: Option<usize>,
    is_pending: bool,
    has_rung: bool,
    cancelled_at: Option<u64>,
    refusals: u32,
}

/// Call-ID and tags, hashed as the records have them; the tags in ascending order.
type DialogKey = (u64, u64, u64);

struct Dialog {
    opened: u64,
    ends: u64,
    call_id: String,
}

pub struct Checker {
    keys: Keys,
    known: HashSet<SocketAddr>,
    call_limit_ms: u64,
    run: u32,
    requests: HashMap<String, Received>,
    branches: HashMap<String, Branch>,
    sent: HashMap<u64, u32>,
    dialogs: HashMap<DialogKey, Dialog>,
    ended: HashSet<DialogKey>,
}

fn broken(rule: impl Into<String>, m: &Sip) -> Verdict {
    Err(Violation {
        rule: rule.into(),
        call_id: m.call_id().to_owned(),
    })
}

fn key_of(branch: &str, method: &str) -> String {
    format!("{branch} {method}")
}

impl Checker {
    /// `known`: every address that takes part; anything else was never named to the engine.
    pub fn new(secret: &[u8; 32], known: HashSet<SocketAddr>, call_limit_s: u32) -> Self {
        Self {
            keys: Keys::new(secret),
            known,
            call_limit_ms: u64::from(call_limit_s) * 1_000,
            run: 0,
            requests: HashMap::new(),
            branches: HashMap::new(),
            sent: HashMap::new(),
            dialogs: HashMap::new(),
            ended: HashSet::new(),
        }
    }

    /// The engine was killed and started again: what it knew of transactions is gone.
    pub fn on_restart(&mut self) {
        self.run += 1;
        self.branches.clear();
        self.sent.clear();
    }

    fn dialog_of(&self, m: &Sip) -> DialogKey {
        let one = self.keys.tag(m.sender_tag().as_bytes());
        let other = self.keys.tag(m.to_tag().as_bytes());
        (
            self.keys.call(m.call_id().as_bytes()),
            one.min(other),
            one.max(other),
        )
    }

    /// A message is about to be given to the engine.
    pub fn on_input(&mut self, now: u64, from: SocketAddr, m: &Rc<Sip>) {
        if m.status().is_some() {
            self.on_response_in(now, m);
            return;
        }
        let run = self.run;
        let received = self
            .requests
            .entry(key_of(m.branch(0), m.method()))
            .or_insert_with(|| Received {
                message: Rc::clone(m),
                reply_to: reply_address(m, from),
                run,
                copies: 0,
                responses: 0,
                finals: Vec::new(),
                was_refused: false,
            });
        received.copies += 1;
        if received.run != run {
            received.run = run;
            received.finals.clear();
            received.was_refused = false;
        }
        if m.is("BYE") && m.headers("Route").any(|route| route.contains(";pm=")) {
            let dialog = self.dialog_of(m);
            self.dialogs.remove(&dialog);
            self.ended.insert(dialog);
        }
    }

    fn on_response_in(&mut self, now: u64, m: &Sip) {
        let status = m.status().unwrap_or(0);
        if let Some(received) = self.requests.get_mut(&key_of(m.branch(1), m.method())) {
            received.responses += 1;
        }
        let branch = self
            .branches
            .get_mut(m.branch(0))
            .filter(|_| m.method() == "INVITE");
        let Some(branch) = branch else {
            return;
        };
        branch.refusals += u32::from(status >= 300);
        branch.is_pending &= status < 200;
        let is_abandoned = branch
            .cancelled_at
            .is_some_and(|at| now >= at + T1_64 + SLACK_MS);
        if (180..190).contains(&status) && branch.is_pending && !is_abandoned {
            branch.has_rung = true;
        }
    }

    /// The engine sent a message, because of `cause` or because of a timer.
    pub fn on_output(
        &mut self,
        now: u64,
        cause: Option<&Sip>,
        to: SocketAddr,
        m: &Rc<Sip>,
        people: &People,
    ) -> Verdict {
        if !self.known.contains(&to) {
            return broken(format!("sent to {to}, which nobody named"), m);
        }
        match m.status() {
            None => self.on_request_out(now, to, m, people)?,
            Some(status) => self.on_response_out(now, cause, to, status, m)?,
        }
        self.check_repetition(to, m)
    }

    /// RFC 3261 §17: timer A makes 7 of an INVITE, timer E 11 of another request, timer G 11 of a
    /// response; what is relayed or repeated on demand is bounded by what came in.
    fn check_repetition(&mut self, to: SocketAddr, m: &Sip) -> Verdict {
        let mut hasher = DefaultHasher::new();
        (to, &m.text).hash(&mut hasher);
        let count = self.sent.entry(hasher.finish()).or_insert(0);
        *count += 1;
        let count = *count;
        let demanded = |branch: &str| {
            let of = self.requests.get(&key_of(branch, m.method()));
            of.map_or(0, |received| received.copies + received.responses)
        };
        let most = match (m.status(), m.method()) {
            (Some(_), _) => 11 + demanded(m.branch(0)),
            (None, "INVITE") => 7,
            (None, "ACK") if m.vias() == 1 => self
                .branches
                .get(m.branch(0))
                .map_or(0, |branch| branch.refusals),
            (None, "ACK") => demanded(m.branch(1)),
            (None, _) => 11,
        };
        if count > most {
            return broken(
                format!("sent {count} times, {most} are allowed: {}", m.first_line()),
                m,
            );
        }
        Ok(())
    }

    fn on_request_out(
        &mut self,
        now: u64,
        to: SocketAddr,
        m: &Rc<Sip>,
        people: &People,
    ) -> Verdict {
        if m.vias() == 1 {
            return self.on_hop_request(now, m);
        }
        let Some(received) = self.requests.get(&key_of(m.branch(1), m.method())) else {
            return broken("a request was relayed that never came in", m);
        };
        let hops = |m: &Sip| {
            m.header("Max-Forwards")
                .and_then(|value| value.parse::<u32>().ok())
        };
        if hops(m)
            .zip(hops(&received.message))
            .is_none_or(|(out, came)| out + 1 != came)
        {
            return broken("Max-Forwards did not fall by one", m);
        }
        if m.vias() != received.message.vias() + 1 {
            return broken("a relayed request has not exactly one more Via", m);
        }
        if m.is("ACK") && m.to_tag().starts_with("pm") {
            return broken("the ACK of a response of the engine's own was relayed", m);
        }
        if m.body() != received.message.body() {
            return broken("the body of a request was changed", m);
        }
        if m.is("INVITE") {
            let callee = callee_of(m, people).filter(|_| m.to_tag().is_empty());
            let is_pbx = to.port() == 5080;
            self.branches
                .entry(m.branch(0).to_owned())
                .or_insert(Branch {
                    call_id: m.call_id().to_owned(),
                    callee: callee.filter(|_| is_pbx),
                    is_pending: true,
                    has_rung: false,
                    cancelled_at: None,
                    refusals: 0,
                });
        }
        Ok(())
    }

    /// CANCEL and the ACK of a 300–699 belong to a branch and have its Via alone; a NOTIFY is the
    /// engine's own.
    fn on_hop_request(&mut self, now: u64, m: &Sip) -> Verdict {
        match (self.branches.get_mut(m.branch(0)), m.method()) {
            (Some(branch), "CANCEL") => {
                branch.cancelled_at.get_or_insert(now);
                Ok(())
            }
            (Some(branch), "ACK") if branch.refusals > 0 => Ok(()),
            (None, "NOTIFY") => Ok(()),
            _ => broken(
                format!("{} of the engine's own belongs to no branch", m.method()),
                m,
            ),
        }
    }

    fn on_response_out(
        &mut self,
        now: u64,
        cause: Option<&Sip>,
        to: SocketAddr,
        status: u16,
        m: &Rc<Sip>,
    ) -> Verdict {
        let Some(received) = self.requests.get_mut(&key_of(m.branch(0), m.method())) else {
            return broken("a response to a request that never came in", m);
        };
        if received.reply_to != to {
            return broken(
                format!("a response went to {to}, not {}", received.reply_to),
                m,
            );
        }
        let answered = cause.filter(|cause| cause.status() == Some(status));
        if answered.is_some_and(|cause| cause.cseq() == m.cseq() && cause.body() != m.body()) {
            return broken("the body of a response was changed", m);
        }
        let is_first = received.finals.is_empty();
        let is_call = received.message.to_tag().is_empty();
        check_final(received, status, m)?;
        let is_relayed = answered.is_some_and(|cause| !cause.to_tag().is_empty());
        match (status, m.method()) {
            (200..=299, "INVITE") if is_call => self.open_dialog(now, m),
            (200..=299, "INVITE") => self.refresh_dialog(now, m),
            (200..=299, "UPDATE") if is_first => self.refresh_dialog(now, m),
            (408 | 481, "CANCEL") => {}
            (408 | 481, _) if is_relayed && !is_call => {
                let dialog = self.dialog_of(m);
                self.dialogs.remove(&dialog);
                self.ended.insert(dialog);
            }
            _ => {}
        }
        Ok(())
    }

    fn open_dialog(&mut self, now: u64, m: &Sip) {
        let dialog = self.dialog_of(m);
        if self.ended.contains(&dialog) {
            return;
        }
        let ends = now + self.lasts(m.session_s(), self.call_limit_ms);
        let call_id = m.call_id().to_owned();
        self.dialogs.entry(dialog).or_insert(Dialog {
            opened: now,
            ends,
            call_id,
        });
    }

    fn refresh_dialog(&mut self, now: u64, m: &Sip) {
        let key = self.dialog_of(m);
        let (session_s, limit_ms) = (m.session_s(), self.call_limit_ms);
        let Some(opened) = self.dialogs.get(&key).map(|dialog| dialog.opened) else {
            return;
        };
        let lasts = self.lasts(session_s, (opened + limit_ms).saturating_sub(now));
        if let Some(dialog) = self.dialogs.get_mut(&key) {
            dialog.ends = now + lasts;
        }
    }

    fn lasts(&self, session_s: u64, limit_ms: u64) -> u64 {
        match session_s {
            0 => limit_ms,
            s => (s * 1_000 + 5_000).min(limit_ms),
        }
    }

    /// After every step: the records are the calls that are open, the marks are the records and
    /// the phones that ring.
    pub fn check_state(&mut self, now: u64, records: &[Vec<u8>], marks: &[(u16, u16)]) -> Verdict {
        let mut calls = vec![0u16; marks.len()];
        let mut open = HashSet::new();
        for bytes in records {
            let Some(record) = CallRecord::decode(bytes) else {
                return state("a stored record cannot be read", "");
            };
            let (one, other) = (record.caller_tag, record.callee_tag);
            let key = (record.key, one.min(other), one.max(other));
            let call_id = String::from_utf8_lossy(record.call_id).into_owned();
            if self.ended.contains(&key) {
                return state("a call is open though its BYE came", &call_id);
            }
            match self.dialogs.get(&key) {
                None => return state("a call is open that nobody answered", &call_id),
                Some(dialog) if dialog.ends + SLACK_MS < now => {
                    return state("a call is open beyond its end", &call_id);
                }
                Some(_) => open.insert(key),
            };
            for id in [record.caller, record.callee] {
                let number = std::str::from_utf8(id)
                    .ok()
                    .and_then(|id| id.strip_prefix('s'));
                let number = number.and_then(|n| n.parse::<usize>().ok());
                if let Some(count) = number.and_then(|n| calls.get_mut(n - 100)) {
                    *count += 1;
                }
            }
        }
        self.check_missing(now, &open)?;
        let ringing = self.ringing(now, marks.len());
        for (number, (marked, rings)) in marks.iter().enumerate() {
            if *marked != calls[number] {
                let text = format!(
                    "s{} is marked {marked} times, {} records",
                    100 + number,
                    calls[number]
                );
                return state(&text, "");
            }
            let (least, most) = ringing[number];
            if *rings < least || *rings > most {
                let text = format!("s{} rings {rings} times, not {least}", 100 + number);
                let call_id = self.last_call_of(number);
                return state(&text, &call_id);
            }
        }
        Ok(())
    }

    /// A call that rang at a subscriber, the likeliest one.
    fn last_call_of(&self, number: usize) -> String {
        let mut theirs = self
            .branches
            .values()
            .filter(|branch| branch.callee == Some(number));
        let suspect = |b: &&Branch| b.has_rung && (b.is_pending || b.cancelled_at.is_some());
        let any = theirs.clone().find(suspect).or_else(|| theirs.next());
        any.map(|branch| branch.call_id.clone()).unwrap_or_default()
    }

    fn check_missing(&mut self, now: u64, open: &HashSet<DialogKey>) -> Verdict {
        if open.len() == self.dialogs.len() {
            return Ok(());
        }
        let missing = self
            .dialogs
            .iter()
            .find(|(key, dialog)| !open.contains(*key) && dialog.ends > now + SLACK_MS);
        if let Some((_, dialog)) = missing {
            return state("a call that goes on has no record", &dialog.call_id.clone());
        }
        self.dialogs.retain(|key, _| open.contains(key));
        Ok(())
    }

    /// How many branches ring at each subscriber: at least, and at most.
    fn ringing(&mut self, now: u64, count: usize) -> Vec<(u16, u16)> {
        let mut ringing = vec![(0, 0); count];
        for branch in self
            .branches
            .values_mut()
            .filter(|b| b.is_pending && b.has_rung)
        {
            let dead_at = branch.cancelled_at.map_or(u64::MAX, |at| at + T1_64);
            branch.is_pending = now <= dead_at.saturating_add(SLACK_MS);
            if let Some(count) = branch.callee.and_then(|number| ringing.get_mut(number)) {
                count.0 += u16::from(now + SLACK_MS < dead_at);
                count.1 += u16::from(branch.is_pending);
            }
        }
        ringing
    }

    /// The requests of the last run that were never answered.
    pub fn unanswered(&self) -> Vec<String> {
        let open = self
            .requests
            .values()
            .filter(|r| r.run == self.run && r.finals.is_empty());
        open.filter(|r| !r.message.is("ACK"))
            .map(|r| format!("{} {}", r.message.call_id(), r.message.first_line()))
            .collect()
    }

    /// At the end: every INVITE the engine took in its last run was answered, no call is open.
    pub fn check_end(&self) -> Verdict {
        if let Some(dialog) = self.dialogs.values().next() {
            return state("a call never ended", &dialog.call_id);
        }
        for received in self.requests.values() {
            let m = &received.message;
            if m.is("INVITE")
                && received.run == self.run
                && received.finals.is_empty()
                && !received.was_refused
            {
                return broken("an INVITE never got a final response", m);
            }
        }
        Ok(())
    }
}

fn state(rule: &str, call_id: &str) -> Verdict {
    Err(Violation {
        rule: rule.to_owned(),
        call_id: call_id.to_owned(),
    })
}

/// At most one final response that differs, but for the 2xx of a fork; nothing provisional after.
fn check_final(received: &mut Received, status: u16, m: &Rc<Sip>) -> Verdict {
    if status < 200 {
        if received.finals.is_empty() {
            return Ok(());
        }
        return broken(format!("a {status} after the final response"), m);
    }
    if status == 503 && m.to_tag().starts_with("pm") {
        received.was_refused = true;
        return Ok(());
    }
    if received.finals.iter().any(|earlier| earlier.text == m.text) {
        return Ok(());
    }
    let is_fork = status < 300 && m.method() == "INVITE";
    let differs = received.finals.iter().any(|earlier| {
        !is_fork || earlier.status() != Some(status) || earlier.to_tag() == m.to_tag()
    });
    if differs {
        let first = received
            .finals
            .first()
            .map_or("", |earlier| earlier.first_line());
        return broken(
            format!("a second final response: {first}, then {}", m.first_line()),
            m,
        );
    }
    received.finals.push(Rc::clone(m));
    Ok(())
}

/// Where a response belongs: RFC 3261 §18.2.2, RFC 3581 §4.
fn reply_address(m: &Sip, from: SocketAddr) -> SocketAddr {
    let via = m.header("Via").unwrap_or_default();
    if via.contains(";rport") {
        return from;
    }
    let sent_by = via.split([' ', ';']).nth(1).unwrap_or_default();
    let port = sent_by
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    SocketAddr::new(from.ip(), port.unwrap_or(5060))
}

/// The subscriber whose phones an INVITE to the PBX reaches.
fn callee_of(m: &Sip, people: &People) -> Option<usize> {
    let (user, host) = m.uri().strip_prefix("sip:")?.split_once('@')?;
    let host = host.split(';').next()?;
    (host == "example.com").then(|| people.find(user)).flatten()
}
