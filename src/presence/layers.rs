//! Which status is in force: layers side by side, of which the highest that is present counts.
//!
//! Nothing overwrites anything and nothing is saved and restored: what a person chose, what an
//! administrator ordered and what clients and calendars report stand beside each other, each with its
//! own end. [`claims`] makes of a document what each of them claims and for how long; the profile
//! answers which claim is in force at a time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{Source, Status, Subscriber};
use super::own::{BaseStatus, OwnName, OwnStatuses, StatusName};

/// How many signals one subscriber has at most.
pub const SIGNALS_LIMIT: usize = 64;
/// After how many minutes without activity a person counts as idle, where they set nothing.
pub const AWAY_AFTER_MIN: u16 = 5;

/// The layers, the highest first.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StatusLayer {
    /// An administrator or a delegate decides.
    Override,
    /// Chosen by hand: `dnd`, or any status marked `hold`.
    Held,
    /// Chosen by hand: `away` or `break`.
    Chosen,
    /// A meeting or activity for which the subscriber wants `dnd`.
    Event,
    /// An entry of a calendar.
    Calendar,
    /// Hours and holidays.
    Schedule,
    /// Idle or locked, on all clients.
    Idle,
    /// `available`, chosen or because nothing else is there.
    Available,
}

/// What an administrator or a delegate ordered.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The status, never `in_call`.
    pub status: Status,
    /// The own status by its id, where one was ordered; `status` is then the one it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_status: Option<String>,
    /// Shown with it, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Since when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Who ordered it: a subscriber's id, or `admin`.
    #[serde(default)]
    pub by: String,
}

/// What a signal tells of.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// The person is in a meeting: shown as in a call, and `dnd` where they want that.
    Meeting,
    /// The person does what is named: `presentation`, `focus`. `dnd` where they want that.
    Activity,
    /// An entry of a calendar, with the status it stands for.
    Calendar,
    /// Hours or a holiday, with the status they stand for.
    Schedule,
    /// A client of the person, idle, locked or in use.
    Client,
}

/// What somebody reported of a person: it claims a status while it lasts.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Of what it tells.
    pub kind: SignalKind,
    /// Names the event, the activity or the client, at most 128 bytes.
    pub id: String,
    /// What the subscriber reads of it, at most 500 bytes. Never told to colleagues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The status that a `calendar` or `schedule` entry stands for: `away`, `break` or `dnd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The own status by its id, where the entry stands for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_status: Option<String>,
    /// When it begins; left out, at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// When it ends by itself; a `client` that says no more is forgotten then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Since when nobody has touched the `client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub idle_since: Option<Timestamp>,
    /// Since when the `client`'s screen is locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub locked_since: Option<Timestamp>,
    /// The subscriber does not want it to count; it stays so until the event ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dismissed: bool,
    /// Who reported it.
    #[serde(default = "triggered")]
    pub source: Source,
}

/// Which signals change the status of a person, as they want it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Triggers {
    /// `away` after so many minutes without activity on any client, 1 to 240; 0: never. Left
    /// out, 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_after_min: Option<u16>,
    /// `away` while every client is locked. Left out, yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_on_lock: Option<bool>,
    /// `dnd` during meetings. Left out, no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnd_in_meetings: Option<bool>,
    /// `dnd` during activities of these names, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dnd_activities: Vec<String>,
    /// What a busy entry of a calendar means: `away`, `break`, `dnd`, an own status, or `available`
    /// for nothing. Left out, a meeting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar_busy: Option<StatusName>,
    /// What out of office means. Left out, `away`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar_out_of_office: Option<StatusName>,
    /// What entries of these categories mean, whatever else they say; at most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub calendar_categories: BTreeMap<String, StatusName>,
}

/// What one layer claims, and when: from the second `from_s` until before `until_s`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// In which layer.
    pub layer: StatusLayer,
    /// Which status.
    pub status: Status,
    /// The own status that it stands for.
    pub own: Option<OwnName>,
    /// When it begins, in unix seconds.
    pub from_s: i64,
    /// When it ends, in unix seconds; [`i64::MAX`] where it does not end by itself.
    pub until_s: i64,
    /// Shown with the status.
    pub message: Option<Box<str>>,
    /// What it goes back to: an event's title, an activity, who ordered it. Empty for an event
    /// without a title.
    pub cause: Box<str>,
    /// The id of the signal that says so, where one does.
    pub event: Option<Box<str>>,
    /// Who says so.
    pub source: Source,
}

impl StatusLayer {
    /// The name in documents, `override`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Held => "held",
            Self::Chosen => "chosen",
            Self::Event => "event",
            Self::Calendar => "calendar",
            Self::Schedule => "schedule",
            Self::Idle => "idle",
            Self::Available => "available",
        }
    }

    /// Where a status belongs that was chosen by hand.
    pub const fn of_choice(status: Status, hold: bool) -> Self {
        match status {
            _ if hold => Self::Held,
            Status::Dnd => Self::Held,
            Status::Away | Status::Break => Self::Chosen,
            Status::Available | Status::InCall => Self::Available,
        }
    }
}

impl SignalKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Meeting,
        Self::Activity,
        Self::Calendar,
        Self::Schedule,
        Self::Client,
    ];

    /// The name in documents, `meeting`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meeting => "meeting",
            Self::Activity => "activity",
            Self::Calendar => "calendar",
            Self::Schedule => "schedule",
            Self::Client => "client",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Signal {
    /// Whether it is over at that time.
    pub fn is_over(&self, now_unix_s: i64) -> bool {
        self.until
            .is_some_and(|until| until.as_second() <= now_unix_s)
    }

    fn begins_s(&self) -> i64 {
        self.from.map_or(i64::MIN, Timestamp::as_second)
    }

    fn ends_s(&self) -> i64 {
        self.until.map_or(i64::MAX, Timestamp::as_second)
    }

    /// The status it claims, and in which layer, where the person wants that.
    fn wanted(&self, triggers: &Triggers) -> Option<(StatusLayer, Status)> {
        match self.kind {
            SignalKind::Meeting => triggers
                .dnd_in_meetings
                .unwrap_or(false)
                .then_some((StatusLayer::Event, Status::Dnd)),
            SignalKind::Activity => triggers
                .dnd_activities
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&self.id))
                .then_some((StatusLayer::Event, Status::Dnd)),
            SignalKind::Calendar => Some((StatusLayer::Calendar, self.status?)),
            SignalKind::Schedule => Some((StatusLayer::Schedule, self.status?)),
            SignalKind::Client => None,
        }
    }

    fn claim(&self, triggers: &Triggers, statuses: &OwnStatuses) -> Option<Claim> {
        let (layer, status) = self.wanted(triggers).filter(|_| !self.dismissed)?;
        let base = match layer {
            StatusLayer::Event => status.into(),
            _ => statuses.resolve(status, self.own_status.as_deref()),
        };
        let BaseStatus { status, own } = base;
        // An entry never makes anybody available.
        (status != Status::Available).then(|| Claim {
            layer,
            status,
            own,
            from_s: self.begins_s(),
            until_s: self.ends_s(),
            message: None,
            cause: self.title.as_deref().unwrap_or(self.word()).into(),
            event: Some(self.id.as_str().into()),
            source: self.source,
        })
    }

    /// What stands for a title where there is none. Only an activity's id says something to people.
    fn word(&self) -> &str {
        match self.kind {
            SignalKind::Activity | SignalKind::Schedule => &self.id,
            SignalKind::Meeting | SignalKind::Calendar | SignalKind::Client => "",
        }
    }

    /// From when this client counts as left alone; `None` while it is in use.
    fn left_from_s(&self, triggers: &Triggers) -> Option<i64> {
        let after_min = triggers.away_after_min.unwrap_or(AWAY_AFTER_MIN);
        let idle = self
            .idle_since
            .filter(|_| after_min > 0)
            .map(|since| since.as_second().saturating_add(i64::from(after_min) * 60));
        let locked = self
            .locked_since
            .filter(|_| triggers.away_on_lock.unwrap_or(true))
            .map(Timestamp::as_second);
        idle.into_iter().chain(locked).min()
    }
}

impl Override {
    /// Whether it is over at that time.
    pub fn is_over(&self, now_unix_s: i64) -> bool {
        self.until
            .is_some_and(|until| until.as_second() <= now_unix_s)
    }

    fn claim(&self, statuses: &OwnStatuses) -> Claim {
        let base = statuses.resolve(self.status, self.own_status.as_deref());
        Claim {
            layer: StatusLayer::Override,
            status: base.status,
            own: base.own,
            from_s: i64::MIN,
            until_s: self.until.map_or(i64::MAX, Timestamp::as_second),
            message: self.message.as_deref().map(Into::into),
            cause: self.by.as_str().into(),
            event: None,
            source: Source::Admin,
        }
    }
}

impl Claim {
    /// Whether it is there at that time.
    pub const fn is_present(&self, now_unix_s: i64) -> bool {
        self.from_s <= now_unix_s && now_unix_s < self.until_s
    }
}

/// Everything that claims a status beside the person's own choice, the highest first.
pub fn claims(subscriber: &Subscriber, statuses: &OwnStatuses) -> Vec<Claim> {
    let triggers = &subscriber.triggers;
    let mut claims: Vec<Claim> = subscriber
        .overruled
        .iter()
        .map(|order| order.claim(statuses))
        .chain(
            subscriber
                .signals
                .iter()
                .filter_map(|signal| signal.claim(triggers, statuses)),
        )
        .chain(idle_claim(&subscriber.signals, triggers))
        .filter(|claim| claim.from_s < claim.until_s)
        .collect();
    claims.sort_by_key(|claim| (claim.layer, reachability(claim.status)));
    claims
}

/// When the person is in meetings, whatever they want to follow from it.
pub fn meetings(subscriber: &Subscriber) -> Vec<(i64, i64)> {
    subscriber
        .signals
        .iter()
        .filter(|signal| signal.kind == SignalKind::Meeting && !signal.dismissed)
        .map(|signal| (signal.begins_s(), signal.ends_s()))
        .filter(|(from, until)| from < until)
        .collect()
}

/// A person is idle only if all their clients are; a client that said nothing until its end is
/// none any more.
fn idle_claim(signals: &[Signal], triggers: &Triggers) -> Option<Claim> {
    let mut from_s = i64::MIN;
    let mut until_s = i64::MIN;
    let mut is_locked = true;
    let clients = signals
        .iter()
        .filter(|signal| signal.kind == SignalKind::Client && !signal.dismissed);
    for client in clients {
        match client.left_from_s(triggers) {
            Some(left_s) => {
                from_s = from_s.max(left_s.min(client.ends_s()));
                until_s = until_s.max(client.ends_s());
                is_locked &= client.locked_since.is_some();
            }
            None => from_s = from_s.max(client.ends_s()),
        }
    }
    (from_s < until_s).then(|| Claim {
        layer: StatusLayer::Idle,
        status: Status::Away,
        own: None,
        from_s,
        until_s,
        message: None,
        cause: if is_locked { "locked" } else { "idle" }.into(),
        event: None,
        source: Source::Trigger,
    })
}

/// Of two claims in one layer the one counts that leaves a person less reachable.
pub(super) const fn reachability(status: Status) -> u8 {
    match status {
        Status::Dnd => 0,
        Status::Away => 1,
        Status::Break => 2,
        Status::Available | Status::InCall => 3,
    }
}

const fn triggered() -> Source {
    Source::Trigger
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::presence::Profile;
    use crate::presence::sample;

    fn at(second: i64) -> String {
        Timestamp::from_second(second).unwrap().to_string()
    }

    fn profile(document: serde_json::Value) -> Profile {
        let mut whole = json!({"id": "anna"});
        let parts = document.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(parts);
        let subscriber = Subscriber::from_json(&whole).unwrap();
        Profile::new(
            &subscriber.validate(&sample::plan()).unwrap(),
            &sample::plan(),
            0,
        )
    }

    fn in_force(document: serde_json::Value, now_s: i64) -> (StatusLayer, Status) {
        let profile = profile(document);
        let standing = profile.standing(now_s);
        (standing.layer, standing.status)
    }

    #[test]
    fn the_highest_layer_that_is_present_counts() {
        use Status::{Available, Away, Break, Dnd};
        let meeting = json!({"kind": "meeting", "id": "m", "until": at(600)});
        let ooo = json!({"kind": "calendar", "id": "c", "status": "away", "until": at(900)});
        let night = json!({"kind": "schedule", "id": "s", "status": "break", "until": at(990)});
        let idle =
            json!({"kind": "client", "id": "web", "idle_since": at(100), "until": at(9_999)});
        let all = json!({
            "status": "away", "until": at(500),
            "override": {"status": "break", "until": at(450), "by": "boss"},
            "triggers": {"dnd_in_meetings": true},
            "signals": [idle, night, ooo, meeting]});
        for (now_s, expected) in [
            (449, (StatusLayer::Override, Break)),
            (450, (StatusLayer::Chosen, Away)),
            (500, (StatusLayer::Event, Dnd)),
            (600, (StatusLayer::Calendar, Away)),
            (900, (StatusLayer::Schedule, Break)),
            (990, (StatusLayer::Idle, Away)),
            (9_999, (StatusLayer::Available, Available)),
        ] {
            assert_eq!(in_force(all.clone(), now_s), expected, "at {now_s}");
        }
    }

    #[test]
    fn what_is_held_beats_what_comes_by_itself() {
        let meeting = json!([{"kind": "meeting", "id": "m"}]);
        let wanted = json!({"dnd_in_meetings": true});
        let available = json!({"signals": meeting, "triggers": wanted});
        assert_eq!(in_force(available.clone(), 1).1, Status::Dnd);
        let mut held = available;
        held["hold"] = json!(true);
        assert_eq!(in_force(held, 1), (StatusLayer::Held, Status::Available));
    }

    #[test]
    fn a_person_is_idle_only_if_all_their_clients_are() {
        let client = |id: &str, idle: Option<i64>, locked: Option<i64>, until: i64| {
            json!({"kind": "client", "id": id, "idle_since": idle.map(at),
                   "locked_since": locked.map(at), "until": at(until)})
        };
        let one = [client("a", Some(0), None, 5_000)];
        assert_eq!(in_force(json!({"signals": one}), 299).1, Status::Available);
        assert_eq!(in_force(json!({"signals": one}), 300).1, Status::Away);
        let off = json!({"signals": one, "triggers": {"away_after_min": 0}});
        assert_eq!(in_force(off, 300).1, Status::Available);
        let two = [
            client("a", Some(0), None, 5_000),
            client("b", None, None, 900),
        ];
        assert_eq!(in_force(json!({"signals": two}), 899).1, Status::Available);
        assert_eq!(
            in_force(json!({"signals": two}), 900).1,
            Status::Away,
            "the client in use has not been heard of since"
        );
        let locked = [
            client("a", Some(0), None, 5_000),
            client("b", None, Some(400), 5_000),
        ];
        assert_eq!(
            in_force(json!({"signals": locked}), 399).1,
            Status::Available
        );
        assert_eq!(in_force(json!({"signals": locked}), 400).1, Status::Away);
    }

    #[test]
    fn a_dismissed_event_does_not_count() {
        let signals = json!([{"kind": "meeting", "id": "m", "dismissed": true}]);
        let document = json!({"signals": signals, "triggers": {"dnd_in_meetings": true}});
        assert_eq!(in_force(document.clone(), 1).1, Status::Available);
        assert!(!profile(document).is_in_meeting(1));
    }

    #[test]
    fn a_meeting_shows_whatever_follows_from_it() {
        let meeting = profile(json!({"signals": [{"kind": "meeting", "id": "m",
            "from": at(10), "until": at(20)}]}));
        assert_eq!(
            [9, 10, 19, 20].map(|now| meeting.is_in_meeting(now)),
            [false, true, true, false]
        );
        assert_eq!(meeting.status_at(15), Status::Available);
    }

    proptest! {
        #[test]
        fn an_automatic_layer_never_makes_anyone_more_available_than_they_chose(
            all in sample::subscribers(), signals in sample::signals(), now_s in 0i64..2_000,
        ) {
            for chosen in all {
                let chosen = Subscriber { signals: Vec::new(), ..chosen };
                let alone = Profile::new(&chosen, &sample::plan(), 0);
                let together = Subscriber { signals: signals.clone(), ..chosen };
                let together = Profile::new(&together, &sample::plan(), 0);
                if together.status_at(now_s) == Status::Available {
                    prop_assert_eq!(alone.status_at(now_s), Status::Available);
                }
                if alone.status_at(now_s) == Status::Dnd {
                    prop_assert_eq!(together.status_at(now_s), Status::Dnd);
                }
            }
        }

        #[test]
        fn when_a_choice_ends_the_next_layer_is_in_force(
            all in sample::subscribers(), signals in sample::signals(), now_s in 0i64..2_000,
        ) {
            for chosen in all {
                let together = Subscriber { signals: signals.clone(), ..chosen };
                let ended = together.until.is_some_and(|until| until.as_second() <= now_s);
                let without = Subscriber {
                    status: Status::Available, until: None, status_message: None,
                    ..together.clone()
                };
                if ended {
                    prop_assert_eq!(
                        Profile::new(&together, &sample::plan(), 0).status_at(now_s),
                        Profile::new(&without, &sample::plan(), 0).status_at(now_s)
                    );
                }
            }
        }
    }
}
