//! Places one call and watches what comes of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;

use super::phone::{Line, Phone};
use super::scenarios::{Caller, Course, SCENARIOS, Scenario};
use super::sip::{Start, address_of, user_of};
use super::stage::{DOMAIN, HOME, RETARGETING_TRUNK, STRANGER, Stage, TRUNK};
use super::timing::Out;
use super::wire::Wire;
use crate::presence::Status;
use crate::proxy::Trace;

/// How long a call is talked, milliseconds.
const TALK_MS: u64 = 400;
/// How long a phone waits for what must come.
const PATIENCE_MS: u64 = 15_000;
/// How long a break lasts that ends by itself.
const BREAK: SignedDuration = SignedDuration::from_secs(2);
/// How long a decision or a mark may take to be seen.
const NOTICE_MS: u64 = 1_000;

/// What came of a call.
#[derive(Debug, Default)]
pub(super) struct Got {
    /// The callee's effective status when a break began that ends before the call.
    pub status_before: Option<Status>,
    /// The same just before the call.
    pub status: Option<Status>,
    /// The engine's decision; none for what is refused before one.
    pub trace: Option<Trace>,
    /// The name of the refusal before a decision.
    pub rejection: Option<&'static str>,
    /// What the phone heard.
    pub heard: Vec<u16>,
    /// The reason phrase of the final response.
    pub phrase: String,
    /// The Reason header of the final response.
    pub reason_header: Option<String>,
    /// The Contact of a 302.
    pub contact: Option<String>,
    /// What the phone heard when it followed.
    pub then: Vec<u16>,
    /// Who answered.
    pub answered_by: Option<String>,
    /// Who was shown as in a call while the call was open.
    pub in_call: Vec<String>,
    /// Who of those still was when it had ended.
    pub still_in_call: Vec<String>,
    /// Whether the call was ended as it should.
    pub has_ended: bool,
}

/// A phone with its socket.
struct Set {
    wire: Wire,
    phone: Phone,
    interrupted: Arc<AtomicBool>,
}

impl Set {
    fn new(stage: &Stage, scenario: &Scenario, purpose: &str) -> std::io::Result<Self> {
        let wire = Wire::open(scenario.caller.address(), stage.clock)?;
        let mut others = scenario.caller.others();
        if let Course::Diverted(counter) = scenario.course {
            let diverted = format!("<sip:+4940555@elsewhere.net>;reason=away;counter={counter}");
            others.push(("Diversion", diverted));
        }
        let phone = Phone::new(Line {
            local: wire.local(),
            from: scenario.caller.from(),
            others,
            call_id: format!("{}{purpose}-{}", scenario.key, wire.local().port()),
        });
        Ok(Self {
            wire,
            phone,
            interrupted: Arc::clone(stage.interrupted()),
        })
    }

    fn dial(&mut self, uri: &str, to: SocketAddr) {
        let mut out = Out::new();
        self.phone.dial(uri, to, self.wire.now(), &mut out);
        self.wire.send(out);
    }

    /// Lets the phone work until something is the case; whether it is, in time. An interrupted
    /// demo waits for nothing.
    fn until(&mut self, limit_ms: u64, is_so: impl Fn(&Phone) -> bool) -> bool {
        let end = self.wire.now() + limit_ms;
        while !is_so(&self.phone) {
            if self.wire.now() >= end || self.interrupted.load(Ordering::Relaxed) {
                return false;
            }
            self.wire.step(&mut self.phone);
        }
        true
    }

    fn cancel(&mut self) {
        let mut out = Out::new();
        self.phone.cancel(self.wire.now(), &mut out);
        self.wire.send(out);
    }

    fn hang_up(&mut self) -> bool {
        let mut out = Out::new();
        self.phone.hang_up(self.wire.now(), &mut out);
        self.wire.send(out);
        self.until(PATIENCE_MS, |phone| phone.deadline().is_none());
        self.phone.has_ended()
    }
}

/// Plays a scenario to its end.
///
/// # Errors
/// There is no socket for a phone.
pub(super) fn play(stage: &Stage, scenario: &Scenario) -> std::io::Result<Got> {
    let mut set = Set::new(stage, scenario, "")?;
    let mut got = Got::default();
    if scenario.course == Course::AfterTheBreak {
        got.status_before = sit_out_break(stage, scenario, &mut set)?;
    }
    let mut first = occupy(stage, scenario)?;
    got.status = scenario.callee.and_then(|id| stage.effective_status(id));
    set.dial(&scenario.uri(), stage.proxy());
    if scenario.course == Course::CallerGivesUp {
        set.until(PATIENCE_MS, Phone::hears_ringing);
        set.cancel();
    }
    set.until(PATIENCE_MS, Phone::is_settled);
    observe_answer(&set.phone, &mut got);
    got.in_call = in_call(stage, scenario);
    let followed = got.contact.clone();
    if let Some(contact) = followed {
        follow(stage, &mut set, &contact, &mut got);
    }
    got.answered_by = set.phone.answered_by().map(|contact| contact.name);
    got.has_ended = match (set.phone.answered_by(), scenario.course) {
        (None, _) => true,
        (Some(_), Course::CalleeHangsUp) => set.until(PATIENCE_MS, Phone::has_ended),
        (Some(_), _) => {
            set.until(TALK_MS, |_| false);
            set.hang_up()
        }
    };
    if let Some(first) = &mut first {
        got.has_ended &= first.hang_up();
    }
    observe_end(stage, scenario, &set, &mut got);
    Ok(got)
}

/// Begins a break, tells the status then, and waits until the roster has dropped it: its time is
/// over, and the roster looks once a second.
fn sit_out_break(
    stage: &Stage,
    scenario: &Scenario,
    set: &mut Set,
) -> std::io::Result<Option<Status>> {
    let id = scenario.callee.unwrap_or_default();
    let begun = stage.begin_break(id, BREAK);
    begun.map_err(std::io::Error::other)?;
    let status = stage.effective_status(id);
    let has_ended = || {
        let profile = stage.directory().get(id);
        profile.is_none_or(|profile| profile.status() == Status::Available)
    };
    set.until(PATIENCE_MS, |_| has_ended());
    Ok(status)
}

/// The call that is open before: answered, and seen as a mark.
fn occupy(stage: &Stage, scenario: &Scenario) -> std::io::Result<Option<Set>> {
    if scenario.course != Course::WhileInCall {
        return Ok(None);
    }
    let mut first = Set::new(stage, scenario, "-first")?;
    first.dial(&scenario.uri(), stage.proxy());
    first.until(PATIENCE_MS, Phone::is_settled);
    Ok(Some(first))
}

fn observe_answer(phone: &Phone, got: &mut Got) {
    got.heard = phone.heard().to_vec();
    let Some(response) = phone.final_response() else {
        return;
    };
    if let Start::Response { phrase, .. } = &response.start {
        got.phrase = phrase.clone();
    }
    got.reason_header = response.other("Reason").map(str::to_owned);
    if response
        .status()
        .is_some_and(|status| (300..400).contains(&status))
    {
        got.contact = response.contact().map(|contact| contact.uri);
    }
}

/// The phone calls whom the 302 named: voicemail at its address, a number outside over the public
/// network, and everybody else over the proxy.
fn follow(stage: &Stage, set: &mut Set, contact: &str, got: &mut Got) {
    let outside = user_of(contact)
        .starts_with('+')
        .then(|| stage.public_network());
    let to = address_of(contact).or(outside).unwrap_or(stage.proxy());
    set.dial(contact, to);
    set.until(PATIENCE_MS, Phone::is_settled);
    got.then = set.phone.heard().to_vec();
}

/// Who of those concerned is shown as in a call right now.
fn in_call(stage: &Stage, scenario: &Scenario) -> Vec<String> {
    let expected = scenario.expected.in_call.iter().copied();
    let concerned = expected.chain(scenario.callee.filter(|id| !is_answered_anywhere(id)));
    concerned
        .filter(|id| {
            stage
                .effective_status(id)
                .is_some_and(|status| status == Status::InCall)
        })
        .map(str::to_owned)
        .collect()
}

fn observe_end(stage: &Stage, scenario: &Scenario, set: &Set, got: &mut Got) {
    let end = set.wire.now() + NOTICE_MS;
    loop {
        got.trace = stage.trace(set.phone.call_id());
        got.still_in_call = in_call(stage, scenario);
        let is_refused_unasked = scenario.caller == Caller::Stranger;
        let is_seen = got.trace.is_some() || is_refused_unasked;
        if (is_seen && got.still_in_call.is_empty()) || set.wire.now() >= end {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    let denied = stage.rejections("relay_denied") > 0;
    got.rejection = (got.trace.is_none() && denied).then_some("relay_denied");
}

impl Scenario {
    /// The Request-URI.
    pub(super) fn uri(&self) -> String {
        match self.dialled.contains(':') {
            true => self.dialled.to_owned(),
            false => format!("sip:{}@{DOMAIN}", self.dialled),
        }
    }
}

/// Whether any call of the demo may put that subscriber into a call.
fn is_answered_anywhere(id: &str) -> bool {
    SCENARIOS
        .iter()
        .any(|scenario| scenario.expected.in_call.contains(&id))
}

impl Caller {
    fn address(self) -> IpAddr {
        match self {
            Self::Colleague(..) => HOME,
            Self::Outside(_) | Self::Anonymous => TRUNK,
            Self::Retargeted(_) => RETARGETING_TRUNK,
            Self::Stranger => STRANGER,
        }
    }

    /// The value of From, without tag.
    fn from(self) -> String {
        match self {
            Self::Colleague(name, extension) => format!("\"{name}\" <sip:{extension}@{DOMAIN}>"),
            Self::Outside(number) | Self::Retargeted(number) => {
                format!("<sip:{number}@trunk.example.net>")
            }
            Self::Anonymous => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
            Self::Stranger => "<sip:mallory@elsewhere.net>".to_owned(),
        }
    }

    fn others(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Anonymous => vec![("Privacy", "id".to_owned())],
            _ => Vec::new(),
        }
    }
}
