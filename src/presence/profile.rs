//! A subscriber in the immutable, compact form that readers share.

use std::borrow::Cow;

use jiff::Timestamp;

use super::exceptions::ExceptionRules;
use super::layers::{self, Claim, Override, Signal, StatusLayer, Triggers};
use super::model::{CallerClass, Chat, Language, Settings, Source, Status, Subscriber};
use super::numbers::NumberPlan;
use super::password::PasswordWish;
use super::settings::{Layer, Moment, Rules, Step};
use super::visibility::Visibility;
use crate::auth::Credentials;

/// Between the aliases in the packed text; no alias contains it.
const SEPARATOR: char = '\n';
/// `until` or `since` that is not set.
const NEVER: i64 = i64::MIN;

/// One version of a subscriber. Never changed, only replaced.
#[derive(PartialEq, Eq, Debug)]
pub struct Profile {
    /// Id, display name, status message and aliases, one after the other.
    text: Box<str>,
    more: Option<Box<More>>,
    until_s: i64,
    since_s: i64,
    version: u64,
    id_end: u16,
    name_end: u16,
    message_end: u16,
    status: Status,
    hold: bool,
    /// What was in force when this was made.
    settled: Status,
    source: Option<Source>,
    language: Option<Language>,
}

/// What only some have: the others pay one empty pointer for it.
#[derive(PartialEq, Eq, Debug, Default)]
struct More {
    rules: Option<Rules>,
    credentials: Option<Credentials>,
    exceptions: Option<ExceptionRules>,
    /// What claims a status beside the choice, the highest first.
    claims: Box<[Claim]>,
    /// When the person is in meetings.
    meetings: Box<[(i64, i64)]>,
    /// Whether a meeting was on when this was made.
    was_in_meeting: bool,
    overruled: Option<Override>,
    signals: Box<[Signal]>,
    triggers: Triggers,
    calendars: Box<[String]>,
    teams: Box<[String]>,
    visibility: Visibility,
    delegates: Box<[String]>,
}

/// The base status in force at a time, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing<'p> {
    /// The highest layer that is present.
    pub layer: StatusLayer,
    /// What it says.
    pub status: Status,
    /// What was given with it.
    pub message: Option<&'p str>,
    /// When it ends, in unix seconds.
    pub until_unix_s: Option<i64>,
    /// Since when it holds, in unix seconds.
    pub since_unix_s: Option<i64>,
    /// Who says so.
    pub source: Option<Source>,
    /// An event, a client's state or a person that it goes back to; empty for a choice.
    pub cause: &'p str,
}

impl Profile {
    /// Compiles a document that has been validated, as it is at that time.
    pub fn new(subscriber: &Subscriber, plan: &NumberPlan, now_unix_s: i64) -> Self {
        let mut text = String::with_capacity(packed_length(subscriber));
        let mut end_of = |part: &str| {
            text.push_str(part);
            u16::try_from(text.len()).unwrap_or(u16::MAX)
        };
        let id_end = end_of(&subscriber.id);
        let name_end = end_of(&subscriber.display_name);
        let message_end = end_of(subscriber.status_message.as_deref().unwrap_or_default());
        for (position, alias) in subscriber.aliases.iter().enumerate() {
            if position > 0 {
                text.push(SEPARATOR);
            }
            text.push_str(alias);
        }
        let mut profile = Self {
            text: text.into(),
            more: More::of(subscriber, plan, now_unix_s),
            until_s: subscriber.until.map_or(NEVER, Timestamp::as_second),
            since_s: subscriber.since.map_or(NEVER, Timestamp::as_second),
            version: subscriber.version,
            id_end,
            name_end,
            message_end,
            status: subscriber.status,
            hold: subscriber.hold,
            settled: subscriber.status,
            source: subscriber.source,
            language: subscriber.language,
        };
        profile.settled = profile.status_at(now_unix_s);
        profile
    }

    /// The one that stands where no subscriber is.
    pub(super) fn vacant() -> Self {
        Self {
            text: Box::default(),
            more: None,
            until_s: NEVER,
            since_s: NEVER,
            version: 0,
            id_end: 0,
            name_end: 0,
            message_end: 0,
            status: Status::Available,
            hold: false,
            settled: Status::Available,
            source: None,
            language: None,
        }
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.id_end == 0
    }

    /// The id as it was written.
    pub fn id(&self) -> &str {
        self.slice(0, self.id_end)
    }

    /// The name for people.
    pub fn display_name(&self) -> &str {
        self.slice(self.id_end, self.name_end)
    }

    /// The message given with the status.
    pub fn status_message(&self) -> Option<&str> {
        Some(self.slice(self.name_end, self.message_end)).filter(|message| !message.is_empty())
    }

    /// The aliases in their canonical form.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        let packed = self
            .text
            .get(usize::from(self.message_end)..)
            .unwrap_or_default();
        packed.split(SEPARATOR).filter(|alias| !alias.is_empty())
    }

    /// Every key under which the directory finds this subscriber: the id in lower case, and the
    /// aliases.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let id = self.id();
        let id = if id.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(id.to_ascii_lowercase())
        } else {
            Cow::Borrowed(id)
        };
        std::iter::once(id).chain(self.aliases().map(Cow::Borrowed))
    }

    /// Whether another version is found under the same keys.
    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        self.id().eq_ignore_ascii_case(other.id()) && self.aliases().eq(other.aliases())
    }

    /// Whether the directory finds this subscriber under that key.
    pub fn has_key(&self, key: &[u8]) -> bool {
        self.id().as_bytes().eq_ignore_ascii_case(key)
            || self.aliases().any(|alias| alias.as_bytes() == key)
    }

    /// In which language this subscriber is addressed.
    pub fn language(&self) -> Option<Language> {
        self.language
    }

    /// The status chosen by hand, `until` and other layers notwithstanding.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether the choice holds against whatever comes by itself.
    pub fn is_held(&self) -> bool {
        self.hold
    }

    /// The base status that was in force when this was made.
    pub(super) fn settled(&self) -> Status {
        self.settled
    }

    /// Whether the base status may be another at another time.
    pub fn is_timed(&self) -> bool {
        self.until_s != NEVER || !self.claims().is_empty() || !self.meetings().is_empty()
    }

    /// Whether something has begun or ended since this was made.
    pub(super) fn is_due(&self, now_unix_s: i64) -> bool {
        self.is_expired(now_unix_s)
            || self.status_at(now_unix_s) != self.settled
            || self.more.as_ref().is_some_and(|more| {
                more.is_over(now_unix_s) || more.is_in_meeting(now_unix_s) != more.was_in_meeting
            })
    }

    /// The base status in force at that time.
    pub fn status_at(&self, now_unix_s: i64) -> Status {
        let chosen = self.choice(now_unix_s);
        match self.claim_at(now_unix_s) {
            Some(claim) if claim.layer < chosen.1 => claim.status,
            _ => chosen.0,
        }
    }

    /// The base status in force at that time, and why.
    pub fn standing(&self, now_unix_s: i64) -> Standing<'_> {
        let (_, layer) = self.choice(now_unix_s);
        match self.claim_at(now_unix_s) {
            Some(claim) if claim.layer < layer => claim.standing(),
            _ => self.chosen(now_unix_s),
        }
    }

    /// Every layer that is present at that time, the highest first.
    pub fn standings(&self, now_unix_s: i64) -> Vec<Standing<'_>> {
        let claims = self.claims().iter();
        let mut present: Vec<Standing<'_>> = claims
            .filter(|claim| claim.is_present(now_unix_s))
            .map(Claim::standing)
            .collect();
        let chosen = self.chosen(now_unix_s);
        let at = present.partition_point(|standing| standing.layer < chosen.layer);
        present.insert(at, chosen);
        present
    }

    /// The choice, or that there is none any more.
    fn chosen(&self, now_unix_s: i64) -> Standing<'_> {
        if self.is_expired(now_unix_s) {
            return Standing::AVAILABLE;
        }
        let (status, layer) = self.choice(now_unix_s);
        Standing {
            layer,
            status,
            message: self.status_message(),
            until_unix_s: self.until_unix_s(),
            since_unix_s: Some(self.since_s).filter(|at| *at != NEVER),
            source: self.source,
            cause: "",
        }
    }

    /// What was chosen and has not ended, and the layer it belongs to.
    fn choice(&self, now_unix_s: i64) -> (Status, StatusLayer) {
        if self.is_expired(now_unix_s) {
            (Status::Available, StatusLayer::Available)
        } else {
            let layer = StatusLayer::of_choice(self.status, self.hold);
            (self.status, layer)
        }
    }

    fn claim_at(&self, now_unix_s: i64) -> Option<&Claim> {
        self.claims()
            .iter()
            .find(|claim| claim.is_present(now_unix_s))
    }

    fn claims(&self) -> &[Claim] {
        self.more.as_ref().map_or(&[], |more| &more.claims)
    }

    fn meetings(&self) -> &[(i64, i64)] {
        self.more.as_ref().map_or(&[], |more| &more.meetings)
    }

    /// Whether the person is in a meeting at that time: as good as in a call.
    pub fn is_in_meeting(&self, now_unix_s: i64) -> bool {
        self.more
            .as_ref()
            .is_some_and(|more| more.is_in_meeting(now_unix_s))
    }

    /// What an administrator or a delegate ordered.
    pub fn overruled(&self) -> Option<&Override> {
        self.more.as_ref()?.overruled.as_ref()
    }

    /// What clients and calendars report.
    pub fn signals(&self) -> &[Signal] {
        self.more.as_ref().map_or(&[], |more| &more.signals)
    }

    /// Which signals change the status.
    pub fn triggers(&self) -> Triggers {
        self.more
            .as_ref()
            .map_or_else(Triggers::default, |more| more.triggers.clone())
    }

    /// The calendars that tell of the person.
    pub fn calendars(&self) -> &[String] {
        self.more.as_ref().map_or(&[], |more| &more.calendars)
    }

    /// The teams the person belongs to.
    pub fn teams(&self) -> &[String] {
        self.more.as_ref().map_or(&[], |more| &more.teams)
    }

    /// Whether both belong to a team.
    pub fn shares_a_team_with(&self, other: &Self) -> bool {
        self.teams().iter().any(|team| other.is_in(team))
    }

    /// Whether the person belongs to that team.
    pub fn is_in(&self, team: &str) -> bool {
        let mut teams = self.teams().iter();
        teams.any(|own| own == team || own.to_lowercase() == team.to_lowercase())
    }

    /// What colleagues see, as the person wants it.
    pub fn visibility(&self) -> Visibility {
        self.more
            .as_ref()
            .map_or_else(Visibility::default, |more| more.visibility)
    }

    /// Who may order a status beside the administrator.
    pub fn delegates(&self) -> &[String] {
        self.more.as_ref().map_or(&[], |more| &more.delegates)
    }

    /// Whether that person may order this one's status.
    pub fn is_represented_by(&self, id: &str) -> bool {
        let mut delegates = self.delegates().iter();
        delegates.any(|delegate| delegate.eq_ignore_ascii_case(id))
    }

    /// Whether the choice has ended by itself.
    pub fn is_expired(&self, now_unix_s: i64) -> bool {
        self.until_s != NEVER && self.until_s <= now_unix_s
    }

    /// When the status ends, in unix seconds.
    pub fn until_unix_s(&self) -> Option<i64> {
        Some(self.until_s).filter(|at| *at != NEVER)
    }

    /// When the status ends.
    pub fn until(&self) -> Option<Timestamp> {
        self.until_unix_s()
            .and_then(|at| Timestamp::from_second(at).ok())
    }

    /// Since when the status holds.
    pub fn since(&self) -> Option<Timestamp> {
        Some(self.since_s)
            .filter(|at| *at != NEVER)
            .and_then(|at| Timestamp::from_second(at).ok())
    }

    /// Where the status came from.
    pub fn source(&self) -> Option<Source> {
        self.source
    }

    /// Which version of the document this is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What colleagues read beside `shown` at that time: the message given with the status in force,
    /// else the one in the settings of what is shown.
    pub fn message_at(&self, now_unix_s: i64, shown: Status) -> Option<&str> {
        let rules = self.rules();
        self.standing(now_unix_s)
            .message
            .or_else(|| rules?.message(Layer::Of(shown)))
            .or_else(|| rules?.message(Layer::All))
    }

    /// What is set for callers of a class at a moment of a call while `status` is in force: in the
    /// status, else in `all`. An inherited `connect` does not lift `dnd`.
    pub fn step(
        &self,
        status: Status,
        moment: Moment,
        class: CallerClass,
    ) -> Option<(&Step, Layer)> {
        let rules = self.rules()?;
        let own = Layer::Of(status);
        if let Some(step) = rules.step(own, moment, class) {
            return Some((step, own));
        }
        let lifts = |step: &Step| {
            status == Status::Dnd && moment == Moment::Immediate && *step == Step::Connect
        };
        let inherited = rules
            .step(Layer::All, moment, class)
            .filter(|step| !lifts(step));
        inherited.map(|step| (step, Layer::All))
    }

    /// What `status` itself sets, without inheritance.
    pub fn own_step(&self, status: Status, moment: Moment, class: CallerClass) -> Option<&Step> {
        self.rules()?.step(Layer::Of(status), moment, class)
    }

    /// The seconds to ring while `status` is in force, its own or those of `all`.
    pub fn ring_for_s(&self, status: Status) -> Option<u16> {
        let rules = self.rules()?;
        rules
            .ring_for_s(Layer::Of(status))
            .or_else(|| rules.ring_for_s(Layer::All))
    }

    /// What becomes of chat messages while `status` is in force: its own word, else that of `all`.
    /// An inherited `deliver` does not lift `dnd`.
    pub fn chat(&self, status: Status) -> Option<(Chat, Layer)> {
        let rules = self.rules()?;
        let own = Layer::Of(status);
        if let Some(chat) = rules.chat(own) {
            return Some((chat, own));
        }
        let lifts = |chat: &Chat| status == Status::Dnd && *chat == Chat::Deliver;
        let inherited = rules.chat(Layer::All).filter(|chat| !lifts(chat));
        inherited.map(|chat| (chat, Layer::All))
    }

    /// The seconds to ring that `status` itself sets.
    pub fn own_ring_for_s(&self, status: Status) -> Option<u16> {
        self.rules()?.ring_for_s(Layer::Of(status))
    }

    /// Whether a call can meet a rule while `status` is in force.
    pub fn has_rules_for(&self, status: Status) -> bool {
        let has_exceptions = self.exceptions().is_some();
        has_exceptions
            || self.rules().is_some_and(|rules| {
                rules.touches_calls(Layer::Of(status)) || rules.touches_calls(Layer::All)
            })
    }

    /// The compiled settings, where anything is set.
    pub fn rules(&self) -> Option<&Rules> {
        self.more.as_ref()?.rules.as_ref()
    }

    /// Who is treated otherwise than the status says, where anybody is.
    pub fn exceptions(&self) -> Option<&ExceptionRules> {
        self.more.as_ref()?.exceptions.as_ref()
    }

    /// What is kept of the password, where there is one.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.more.as_ref()?.credentials.as_ref()
    }

    /// The document, as it was put.
    pub fn to_subscriber(&self) -> Subscriber {
        Subscriber {
            id: self.id().to_owned(),
            display_name: self.display_name().to_owned(),
            aliases: self.aliases().map(str::to_owned).collect(),
            language: self.language,
            status: self.status,
            status_message: self.status_message().map(str::to_owned),
            until: self.until(),
            source: self.source,
            since: self.since(),
            version: self.version,
            settings: self.settings(),
            exceptions: self
                .exceptions()
                .map(|rules| rules.written().clone())
                .unwrap_or_default(),
            hold: self.hold,
            overruled: self.overruled().cloned(),
            signals: self.signals().to_vec(),
            triggers: self.triggers(),
            calendars: self.calendars().to_vec(),
            teams: self.teams().to_vec(),
            visibility: self.visibility(),
            delegates: self.delegates().to_vec(),
            password: PasswordWish::Unsaid.over(self.credentials()),
        }
    }

    /// The settings as documents write them.
    pub fn settings(&self) -> Settings {
        self.rules().map(Rules::settings).unwrap_or_default()
    }

    fn slice(&self, start: u16, end: u16) -> &str {
        self.text
            .get(usize::from(start)..usize::from(end))
            .unwrap_or_default()
    }
}

impl More {
    fn of(subscriber: &Subscriber, plan: &NumberPlan, now_unix_s: i64) -> Option<Box<Self>> {
        let mut more = Self {
            rules: Rules::compile(&subscriber.settings, plan),
            credentials: subscriber.password.credentials().cloned(),
            exceptions: ExceptionRules::compile(&subscriber.exceptions, plan),
            claims: layers::claims(subscriber).into(),
            meetings: layers::meetings(subscriber).into(),
            was_in_meeting: false,
            overruled: subscriber.overruled.clone(),
            signals: subscriber.signals.as_slice().into(),
            triggers: subscriber.triggers.clone(),
            calendars: subscriber.calendars.as_slice().into(),
            teams: subscriber.teams.as_slice().into(),
            visibility: subscriber.visibility,
            delegates: subscriber.delegates.as_slice().into(),
        };
        more.was_in_meeting = more.is_in_meeting(now_unix_s);
        (more != Self::default()).then(|| Box::new(more))
    }

    fn is_in_meeting(&self, now_unix_s: i64) -> bool {
        let mut meetings = self.meetings.iter();
        meetings.any(|(from, until)| (*from..*until).contains(&now_unix_s))
    }

    /// Whether a part of the document has ended by itself.
    fn is_over(&self, now_unix_s: i64) -> bool {
        self.signals.iter().any(|signal| signal.is_over(now_unix_s))
            || self
                .overruled
                .as_ref()
                .is_some_and(|order| order.is_over(now_unix_s))
    }
}

impl Standing<'_> {
    /// Where nothing is chosen and nothing claims anything.
    const AVAILABLE: Self = Self {
        layer: StatusLayer::Available,
        status: Status::Available,
        message: None,
        until_unix_s: None,
        since_unix_s: None,
        source: None,
        cause: "",
    };
}

impl Claim {
    fn standing(&self) -> Standing<'_> {
        Standing {
            layer: self.layer,
            status: self.status,
            message: self.message.as_deref(),
            until_unix_s: Some(self.until_s).filter(|at| *at != i64::MAX),
            since_unix_s: Some(self.from_s).filter(|at| *at != i64::MIN),
            source: Some(self.source),
            cause: &self.cause,
        }
    }
}

fn packed_length(subscriber: &Subscriber) -> usize {
    let aliases: usize = subscriber.aliases.iter().map(|alias| alias.len() + 1).sum();
    let message = subscriber.status_message.as_ref().map_or(0, String::len);
    (subscriber.id.len() + subscriber.display_name.len() + message + aliases).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn plan() -> NumberPlan {
        crate::presence::sample::plan()
    }

    fn profile(document: serde_json::Value) -> Profile {
        Profile::new(&Subscriber::from_json(&document).unwrap(), &plan(), 0)
    }

    #[test]
    fn a_status_has_ended_in_the_second_of_its_until() {
        let anna = profile(json!({
            "id": "anna", "status": "dnd", "status_message": "Thinking",
            "until": "1970-01-01T00:10:00Z"
        }));
        assert_eq!(anna.status_at(599), Status::Dnd);
        assert_eq!(anna.status_at(600), Status::Available);
        assert_eq!(anna.message_at(599, Status::Dnd), Some("Thinking"));
        assert_eq!(anna.message_at(600, Status::Available), None);
    }

    #[test]
    fn a_status_inherits_what_it_leaves_unset() {
        let anna = profile(json!({"id": "anna", "settings": {
            "all": {"immediate": "voicemail", "ring_for_s": 30, "message": "Hello"},
            "away": {"immediate": {"internal": "connect"}, "message": "Out"},
        }}));
        let step = |status, class| anna.step(status, Moment::Immediate, class).unwrap();
        let away = Layer::Of(Status::Away);
        assert_eq!(
            step(Status::Away, CallerClass::Internal),
            (&Step::Connect, away)
        );
        assert_eq!(
            step(Status::Away, CallerClass::External),
            (&Step::Voicemail, Layer::All)
        );
        assert_eq!(
            step(Status::Break, CallerClass::Internal),
            (&Step::Voicemail, Layer::All)
        );
        assert_eq!(anna.ring_for_s(Status::Away), Some(30));
        assert_eq!(anna.message_at(0, Status::Away), Some("Out"));
        assert_eq!(anna.message_at(0, Status::Dnd), Some("Hello"));
    }

    #[test]
    fn an_inherited_connect_does_not_lift_dnd_but_its_own_does() {
        let all = profile(json!({"id": "a", "settings": {"all": {"immediate": "connect"}}}));
        let own = profile(json!({"id": "a", "settings": {"dnd": {"immediate": "connect"}}}));
        let step = |profile: &Profile| {
            profile
                .step(Status::Dnd, Moment::Immediate, CallerClass::Internal)
                .map(|(step, _)| step.clone())
        };
        assert_eq!(step(&all), None);
        assert_eq!(step(&own), Some(Step::Connect));
    }

    #[test]
    fn keys_are_the_id_in_lower_case_and_the_aliases() {
        let anna = profile(json!({"id": "Anna", "aliases": ["101", "+4930123456"]}));
        assert_eq!(
            anna.keys().collect::<Vec<_>>(),
            ["anna", "101", "+4930123456"]
        );
        assert!(anna.has_key(b"anna") && anna.has_key(b"101") && !anna.has_key(b"10"));
        assert_eq!(anna.id(), "Anna");
    }

    proptest! {
        #[test]
        fn a_document_survives_compilation(
            all in crate::presence::sample::subscribers(),
            aliases in prop::collection::vec("[a-z0-9]{1,12}", 0..4),
            message in proptest::option::of("[a-zäß ]{1,40}"),
        ) {
            for mut subscriber in all {
                subscriber.aliases = aliases.clone();
                subscriber.status_message = message.clone();
                let compiled = Profile::new(&subscriber, &plan(), 0);
                prop_assert_eq!(compiled.to_subscriber(), subscriber);
            }
        }
    }
}
