//! The published decision table: `fixtures/decisions.json` is run, and `docs/decisions.md` is
//! printed from it. `POINTSMAN_WRITE_DOCS=1 cargo test --lib routing::table` prints it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::*;
use crate::presence::{
    CallerClass, Class, Colour, Directory, Handle, HouseRules, Language, Mark, MarkKind,
    NumberPlan, OwnName, OwnStatus, OwnStatuses, Profile, ProfileGuard, Routing, Subscriber,
    Target, TargetRules,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    about: String,
    cast: Vec<Value>,
    sections: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    text: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    who: BTreeMap<String, Map<String, Value>>,
    #[serde(default)]
    calls: BTreeMap<String, usize>,
    from: Option<String>,
    class: Option<String>,
    number: Option<String>,
    #[serde(default = "anna")]
    to: String,
    #[serde(default)]
    visited: Vec<String>,
    #[serde(default)]
    diversions: u8,
    after: Option<String>,
    #[serde(default = "redirect")]
    forwarding: String,
    #[serde(default = "redirect")]
    voicemail: String,
    #[serde(default = "limit")]
    call_limit: u16,
    #[serde(default = "dnd_status")]
    dnd_status: u16,
    #[serde(default)]
    now: i64,
    #[serde(default)]
    emergency_callback: bool,
    #[serde(default)]
    deny: Vec<String>,
    plan: String,
    #[serde(default)]
    reasons: Vec<String>,
}

fn anna() -> String {
    "anna".into()
}

fn redirect() -> String {
    "redirect".into()
}

const fn limit() -> u16 {
    1
}

const fn dnd_status() -> u16 {
    480
}

struct World {
    directory: Arc<Directory>,
    plan: NumberPlan,
    domains: Vec<Box<str>>,
    house: HouseRules,
    _calls: Vec<Mark>,
}

impl World {
    fn new(cast: &[Value], case: &Case) -> Self {
        let directory = Arc::new(Directory::new(5));
        let plan = NumberPlan::for_region("DE").unwrap();
        let house = HouseRules {
            statuses: own_statuses(),
            targets: TargetRules::new(&case.deny, &[]),
            ..HouseRules::default()
        };
        for member in cast {
            let mut document = member.clone();
            let id = member["id"].as_str().unwrap();
            for (key, value) in case.who.get(id).into_iter().flatten() {
                document[key] = value.clone();
            }
            let subscriber = Subscriber::from_json(&document).unwrap();
            let subscriber = subscriber.validate(&plan).unwrap();
            let profile = Profile::under(&house, &subscriber, &plan, i64::MIN);
            directory.put_profile(Arc::new(profile)).unwrap();
        }
        let calls = case.calls.iter().flat_map(|(id, count)| {
            let handle = directory.handle_of_id(id).unwrap();
            (0..*count).map(move |_| handle)
        });
        let calls = calls
            .map(|handle| directory.mark(handle, MarkKind::InCall))
            .collect();
        let domains = vec!["example.com".into()];
        Self {
            plan,
            domains,
            house,
            _calls: calls,
            directory,
        }
    }

    fn handle(&self, id: &str) -> Handle {
        self.directory.handle_of_id(id).unwrap_or_else(|| {
            let ghost = Subscriber {
                id: id.into(),
                ..Subscriber::default()
            };
            let handle = self.directory.put(&ghost, &self.plan).unwrap();
            self.directory.remove(id);
            handle
        })
    }

    fn name(&self, handle: Handle) -> String {
        self.directory
            .profile(handle)
            .map_or("?".into(), |profile| profile.id().to_owned())
    }

    fn decide(&self, case: &Case) -> Option<Decision> {
        let subscriber = case.from.as_deref().map(|id| self.handle(id));
        let number = case.number.as_deref().unwrap_or("+4989999999");
        let class = match (case.class.as_deref(), subscriber) {
            (Some("anonymous"), _) => CallerClass::Anonymous,
            (None, Some(_)) => CallerClass::Internal,
            (None, None) => CallerClass::External,
            (Some(other), _) => panic!("class {other}"),
        };
        let (key, uri) = match class {
            CallerClass::Anonymous => ("", String::new()),
            _ => (
                case.from.as_deref().unwrap_or(number),
                format!("sip:{number}@trunk.example"),
            ),
        };
        let caller = Caller {
            class,
            subscriber,
            key: key.as_bytes(),
            uri: uri.as_bytes(),
        };
        let history = History {
            visited: case.visited.iter().map(|id| self.handle(id)).collect(),
            diversions: case.diversions,
        };
        let question = Question {
            forwarding: mode(&case.forwarding),
            voicemail: mode(&case.voicemail),
            voicemail_available: case.voicemail != "none",
            call_limit: case.call_limit,
            is_emergency_callback: case.emergency_callback,
            ..Question::new(caller, self.handle(&case.to), &history, case.now)
        };
        let lookup = Lookup {
            directory: &self.directory,
            plan: &self.plan,
            domains: &self.domains,
        };
        let town = Town {
            lookup,
            world: self,
        };
        match case.after.as_deref() {
            None => Some(decide(&question, &town)),
            Some(after) => {
                let failure = Failure::ALL
                    .into_iter()
                    .find(|f| f.name() == after)
                    .unwrap();
                decide_after(&question, failure, &town)
            }
        }
    }

    fn show_plan(&self, case: &Case, decision: Option<&Decision>) -> String {
        let Some(decision) = decision else {
            return "pass through".into();
        };
        match &decision.plan {
            Plan::Connect(connect) => {
                format!("connect {}{}", self.name(connect.callee), ringing(connect))
            }
            Plan::Forward(divert) => format!("forward to {}", self.show_divert(divert)),
            Plan::Redirect(divert) => format!("redirect to {}", self.show_divert(divert)),
            Plan::Reject(rejection) => {
                format!(
                    "reject {} {}",
                    rejection.status(case.dnd_status),
                    rejection.label()
                )
            }
        }
    }

    fn show_divert(&self, divert: &Divert) -> String {
        let hops: Vec<String> = divert
            .hops
            .iter()
            .map(|hop| format!("{} {}", self.name(hop.subscriber), hop.cause.label()))
            .collect();
        let hops = hops.join(", ");
        match &divert.to {
            Destination::Target(target) => format!("{} ({hops})", target.as_str()),
            Destination::Voicemail { of } => format!("voicemail of {} ({hops})", self.name(*of)),
            Destination::Subscriber { connect, .. } => {
                format!("{} ({hops}){}", self.name(connect.callee), ringing(connect))
            }
        }
    }
}

/// The own statuses of the table.
fn own_statuses() -> OwnStatuses {
    let own = |id: &str, class: Class| OwnStatus {
        name: OwnName::of(id).unwrap(),
        class,
        de: id.into(),
        en: id.into(),
        colour: Colour::Blue,
        activity: None,
    };
    OwnStatuses(vec![
        own("trip", Class::Away),
        own("exam", Class::Dnd),
        own("home", Class::Available),
    ])
}

/// The directory under the rules of a case.
struct Town<'a> {
    lookup: Lookup<'a>,
    world: &'a World,
}

impl Subscribers for Town<'_> {
    fn routing(&self, handle: Handle) -> Routing {
        self.lookup.routing(handle)
    }
    fn profile(&self, handle: Handle) -> Option<ProfileGuard> {
        self.lookup.profile(handle)
    }
    fn resolve(&self, target: &Target) -> Option<Handle> {
        self.lookup.resolve(target)
    }
    fn may_forward_to(&self, target: &Target) -> bool {
        let rules = &self.world.house.targets;
        rules.refusal(target, &self.world.plan).is_none() || self.resolve(target).is_some()
    }
}

fn mode(name: &str) -> Mode {
    match name {
        "redirect" | "none" => Mode::Redirect,
        "retarget" => Mode::Retarget,
        other => panic!("mode {other}"),
    }
}

fn ringing(connect: &Connect) -> String {
    let ring = connect
        .ring_for_s
        .map(|s| format!(" for {s} s"))
        .unwrap_or_default();
    let ask = if connect.has_after_action {
        ", then ask"
    } else {
        ""
    };
    format!("{ring}{ask}")
}

fn table() -> Table {
    serde_json::from_str(include_str!("../../fixtures/decisions.json")).unwrap()
}

#[test]
fn every_case_of_the_table_is_decided_as_published() {
    let table = table();
    let mut wrong = String::new();
    for case in table.sections.iter().flat_map(|section| &section.cases) {
        let world = World::new(&table.cast, case);
        let decision = world.decide(case);
        let plan = world.show_plan(case, decision.as_ref());
        let reasons: Vec<&str> = decision
            .iter()
            .flat_map(|d| &d.reasons)
            .map(Reason::label)
            .collect();
        if plan != case.plan || reasons != case.reasons {
            let name = &case.name;
            writeln!(
                wrong,
                "{name}:\n  {plan} {reasons:?}\n  {} {:?}",
                case.plan, case.reasons
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "decided, then published:\n{wrong}");
    let count = table
        .sections
        .iter()
        .map(|section| section.cases.len())
        .sum::<usize>();
    assert!(count >= 60, "{count} cases");
}

#[test]
fn every_decision_of_the_table_can_be_told_in_both_languages() {
    struct People<'a>(&'a World);
    impl Names for People<'_> {
        fn name(&self, handle: Handle) -> String {
            self.0.name(handle)
        }
        fn zone(&self) -> TimeZone {
            TimeZone::fixed(jiff::tz::offset(1))
        }
    }
    let table = table();
    let (mut english, mut german) = (Vec::new(), Vec::new());
    for case in table.sections.iter().flat_map(|section| &section.cases) {
        let world = World::new(&table.cast, case);
        if let Some(decision) = world.decide(case) {
            english.extend(decision.describe(Language::En, &People(&world)));
            german.extend(decision.describe(Language::De, &People(&world)));
        }
    }
    for expected in [
        "anna is not to be disturbed until 1970-01-01 01:16",
        "anna's setting for away forwards external callers to +491701234567",
        "anna's setting for every status sends external callers to voicemail on no answer",
        "The call goes to the voicemail of anna",
        "The call has been to anna already",
        "anna is rung for up to 25 seconds",
    ] {
        assert!(english.iter().any(|told| told == expected), "{expected}");
    }
    for expected in [
        "anna möchte nicht gestört werden bis 01.01.1970 01:16",
        "anna, Einstellung „Ich bin abwesend“: externe Anrufer werden an +491701234567 \
         weitergeleitet",
        "Der Anruf geht auf die Mailbox von anna",
        "Bei anna klingelt es bis zu 25 Sekunden",
    ] {
        assert!(german.iter().any(|told| told == expected), "{expected}");
    }
}

#[test]
fn the_published_page_is_up_to_date() {
    let page = page(&table());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/decisions.md");
    if std::env::var_os("POINTSMAN_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        published == page,
        "docs/decisions.md is out of date; run \
         `POINTSMAN_WRITE_DOCS=1 cargo test --lib routing::table`"
    );
}

const INTRODUCTION: &str = "\
Each row is a test: it is printed from `fixtures/decisions.json`, which says for each case who has set
what, who calls whom, and the decision. Where nothing else is said, an external caller
(+4989999999) calls Anna, everybody is available, there is a voicemail, and forwarding is by redirect.

A plan reads: `connect anna for 20 s, then ask` rings Anna and asks again after a failure;
`redirect to bob (anna away)` answers 302 with Bob, diverted by Anna because she is away; `forward to` is
the same with the engine proxying to the target itself; `pass through` leaves the downstream's answer as
it is. The labels of the reasons are those of the log and the metrics.
";

fn page(table: &Table) -> String {
    let mut page = String::from("# What a call does: the decision table\n\n");
    page.push_str(INTRODUCTION);
    for section in &table.sections {
        write!(page, "\n## {}\n\n{}\n\n", section.title, section.text).unwrap();
        page.push_str("| case | settings | call | plan | reasons |\n|---|---|---|---|---|\n");
        for case in &section.cases {
            let (settings, call) = (settings_cell(case), call_cell(case));
            let reasons = case.reasons.join(", ");
            let (name, plan) = (&case.name, &case.plan);
            writeln!(
                page,
                "| {name} | {settings} | {call} | `{plan}` | {reasons} |"
            )
            .unwrap();
        }
    }
    assert!(!table.about.is_empty());
    page
}

fn settings_cell(case: &Case) -> String {
    let set = case.who.iter().filter(|(_, document)| !document.is_empty());
    let shown: Vec<String> = set
        .map(|(id, document)| {
            let parts: Vec<String> = document
                .iter()
                .map(|(key, value)| cell(key, value))
                .collect();
            format!("{id}: {}", parts.join(", "))
        })
        .collect();
    shown.join("<br>")
}

fn cell(key: &str, value: &Value) -> String {
    match (key, value) {
        ("status", Value::String(status)) => status.clone(),
        ("until", Value::String(until)) => {
            format!(
                "until {}",
                until.parse::<jiff::Timestamp>().unwrap().as_second()
            )
        }
        ("settings", settings) => format!("`{settings}`"),
        (key, value) => format!("{key} {value}"),
    }
}

fn call_cell(case: &Case) -> String {
    let mut parts = Vec::new();
    parts.extend(case.from.as_ref().map(|from| format!("from {from}")));
    parts.extend(case.number.as_ref().map(|number| format!("from {number}")));
    parts.extend(case.class.clone());
    if case.to != "anna" {
        parts.push(format!("to {}", case.to));
    }
    parts.extend(
        case.calls
            .iter()
            .map(|(id, calls)| format!("{id} in {calls} call(s)")),
    );
    if case.call_limit != 1 {
        parts.push(format!("busy in {} calls", case.call_limit));
    }
    if !case.visited.is_empty() {
        parts.push(format!("was at {}", case.visited.join(", ")));
    }
    if case.diversions > 0 {
        parts.push(format!("{} diversion(s) before", case.diversions));
    }
    parts.extend(case.after.as_ref().map(|after| format!("after: {after}")));
    if case.forwarding != "redirect" {
        parts.push(format!("forwarding: {}", case.forwarding));
    }
    if case.voicemail != "redirect" {
        parts.push(format!("voicemail: {}", case.voicemail));
    }
    if case.dnd_status != 480 {
        parts.push(format!("dnd_status {}", case.dnd_status));
    }
    if case.emergency_callback {
        parts.push("emergency call-back".into());
    }
    parts.join(", ")
}
