//! A subscriber in the immutable, compact form that readers share.

use std::borrow::Cow;

use jiff::Timestamp;

use super::applied::Circle;
use super::exceptions::ExceptionRules;
use super::hours::{WorkHours, WorkWeek};
use super::house::HouseRules;
use super::layers::{self, Claim, Override, Signal, Triggers};
use super::model::{Language, Settings, Source, Status, Subscriber};
use super::numbers::NumberPlan;
use super::own::{BaseStatus, OwnName};
use super::password::PasswordWish;
use super::settings::Rules;
use super::visibility::Visibility;
use crate::ahead::fetch;
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
    /// The hours that are for the person.
    hours: Option<Box<WorkHours>>,
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
    /// The own status that was chosen, as the document names it, and if there is one of that name.
    own_status: Option<Box<str>>,
    own: Option<OwnName>,
    /// The own status that was in force when this was made.
    settled_own: Option<OwnName>,
    credentials: Option<Credentials>,
    exceptions: Option<ExceptionRules>,
    /// What claims a status beside the choice, the highest first.
    claims: Box<[Claim]>,
    /// When the person is in meetings.
    meetings: Box<[(i64, i64)]>,
    /// Whether a meeting was on when this was made.
    was_in_meeting: bool,
    overruled: Option<Override>,
    own_hours: Option<Box<WorkWeek>>,
    signals: Box<[Signal]>,
    triggers: Triggers,
    calendars: Box<[String]>,
    teams: Box<[String]>,
    visibility: Visibility,
    delegates: Box<[String]>,
}

impl Profile {
    /// Compiles a document that has been validated, as it is at that time.
    /// No own status is known: see [`Profile::under`].
    pub fn new(subscriber: &Subscriber, plan: &NumberPlan, now_unix_s: i64) -> Self {
        Self::under(&HouseRules::default(), subscriber, plan, now_unix_s)
    }

    /// The same where the administrator has laid down something.
    pub fn under(
        house: &HouseRules,
        subscriber: &Subscriber,
        plan: &NumberPlan,
        now_unix_s: i64,
    ) -> Self {
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
            more: More::of(subscriber, house, plan, now_unix_s),
            hours: WorkHours::of(subscriber, house, now_unix_s),
            until_s: subscriber.until.map_or(NEVER, Timestamp::as_second),
            since_s: subscriber.since.map_or(NEVER, Timestamp::as_second),
            version: subscriber.version,
            id_end,
            name_end,
            message_end,
            status: house
                .statuses
                .resolve(subscriber.status, subscriber.own_status.as_deref())
                .status,
            hold: subscriber.hold,
            settled: subscriber.status,
            source: subscriber.source,
            language: subscriber.language,
        };
        let base = profile.base_at(now_unix_s);
        profile.settled = base.status;
        if let Some(more) = &mut profile.more {
            more.settled_own = base.own;
        }
        profile
    }

    /// The one that stands where no subscriber is.
    pub(super) fn vacant() -> Self {
        Self {
            text: Box::default(),
            more: None,
            hours: None,
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

    /// Asks for the profile itself, of what a decision reads.
    pub(super) fn warm(&self) {
        fetch(self);
    }

    /// Asks for what it names.
    pub(super) fn warm_parts(&self) {
        fetch(&*self.text);
        self.more.iter().for_each(|more| fetch(&**more));
    }

    /// Asks for what that names.
    pub(super) fn warm_rules(&self) {
        self.rules().into_iter().for_each(Rules::warm);
    }

    /// Asks for where it forwards to at once.
    pub(super) fn warm_targets(&self) {
        self.rules().into_iter().for_each(Rules::warm_targets);
    }

    /// Asks for how that is written.
    pub(super) fn warm_texts(&self) {
        self.rules().into_iter().for_each(Rules::warm_texts);
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

    /// Whether anything but the status is set.
    pub(super) fn has_more(&self) -> bool {
        self.more.is_some()
    }

    pub(super) fn circle(&self) -> Circle<'_> {
        self.more
            .as_ref()
            .map_or_else(Circle::default, |more| Circle {
                teams: &more.teams,
                delegates: &more.delegates,
                visibility: more.visibility,
            })
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
    pub(super) fn settled(&self) -> BaseStatus {
        BaseStatus {
            status: self.settled,
            own: self.more.as_ref().and_then(|more| more.settled_own),
        }
    }

    /// The own status that was chosen, as the document names it: there may be none of that name
    /// now.
    pub fn own_status(&self) -> Option<&str> {
        self.more.as_ref()?.own_status.as_deref()
    }

    /// Whether the base status may be another at another time.
    pub fn is_timed(&self) -> bool {
        self.until_s != NEVER
            || self.hours.is_some()
            || !self.claims().is_empty()
            || !self.meetings().is_empty()
    }

    /// Whether something has begun or ended since this was made.
    pub(super) fn is_due(&self, now_unix_s: i64) -> bool {
        self.is_expired(now_unix_s)
            || self.base_at(now_unix_s) != self.settled()
            || self
                .hours()
                .is_some_and(|hours| !hours.current.holds(now_unix_s))
            || self.more.as_ref().is_some_and(|more| {
                more.is_over(now_unix_s) || more.is_in_meeting(now_unix_s) != more.was_in_meeting
            })
    }

    pub(super) fn chosen_own(&self, now_unix_s: i64) -> Option<OwnName> {
        let own = self.more.as_ref()?.own;
        own.filter(|_| !self.is_expired(now_unix_s))
    }

    pub(super) fn claims(&self) -> &[Claim] {
        self.more.as_ref().map_or(&[], |more| &more.claims)
    }

    /// The hours that are for the person, by their own wish or the administrator's.
    pub fn hours(&self) -> Option<&WorkHours> {
        self.hours.as_deref()
    }

    /// The hours that the person wants instead of those of team and house.
    pub fn own_hours(&self) -> Option<&WorkWeek> {
        self.more.as_ref()?.own_hours.as_deref()
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
            own_status: self.own_status().map(str::to_owned),
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
            hours: self.own_hours().cloned(),
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
    fn of(
        subscriber: &Subscriber,
        house: &HouseRules,
        plan: &NumberPlan,
        now_unix_s: i64,
    ) -> Option<Box<Self>> {
        let own_status = subscriber.own_status.as_deref();
        let base = house.statuses.resolve(subscriber.status, own_status);
        let mut more = Self {
            own_status: own_status.map(Into::into),
            own: base.own,
            settled_own: None,
            rules: Rules::compile(&subscriber.settings, plan),
            credentials: subscriber.password.credentials().cloned(),
            exceptions: ExceptionRules::compile(&subscriber.exceptions, plan),
            claims: layers::claims(subscriber, &house.statuses).into(),
            meetings: layers::meetings(subscriber).into(),
            was_in_meeting: false,
            overruled: subscriber.overruled.clone(),
            own_hours: subscriber.hours.clone().map(Box::new),
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
    use crate::presence::{CallerClass, Layer, Moment, Step};

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
        let step = |status: Status, class| {
            anna.step(status.into(), (Moment::Immediate, class), |_| true)
                .unwrap()
        };
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
        assert_eq!(anna.ring_for_s(Status::Away.into()), Some(30));
        assert_eq!(anna.message_at(0, Status::Away), Some("Out"));
        assert_eq!(anna.message_at(0, Status::Dnd), Some("Hello"));
    }

    #[test]
    fn an_inherited_connect_does_not_lift_dnd_but_its_own_does() {
        let all = profile(json!({"id": "a", "settings": {"all": {"immediate": "connect"}}}));
        let own = profile(json!({"id": "a", "settings": {"dnd": {"immediate": "connect"}}}));
        let step = |profile: &Profile| {
            profile
                .step(
                    Status::Dnd.into(),
                    (Moment::Immediate, CallerClass::Internal),
                    |_| true,
                )
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
