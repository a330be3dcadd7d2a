//! What the administrator lays down, with a store and a virtual clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::*;
use crate::store::{Memory, Store};

struct Town {
    roster: Roster,
    directory: Arc<Directory>,
    now: Arc<AtomicI64>,
}

/// Berlin's rules: everybody from nine to five on weekdays with a break at noon, Sales to six.
fn rules() -> HouseRules {
    let day = json!(["09:00-12:00", "13:00-17:00"]);
    let house = json!({"mon": day, "tue": day, "wed": day, "thu": day, "fri": day});
    let sales = json!({"mon": ["09:00-18:00"], "outside": "dnd"});
    let mut rules = HouseRules {
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        ..HouseRules::default()
    };
    let week = |week: Value| serde_json::from_value::<WorkWeek>(week).unwrap();
    rules.hours = [(Some("Sales"), sales), (None, house)]
        .map(|(team, hours)| TeamHours {
            team: team.map(Into::into),
            schedule: Arc::new(rules.schedule(&week(hours))),
        })
        .into();
    rules
}

impl Town {
    fn at(local: &str) -> Self {
        let now = Arc::new(AtomicI64::new(second(local)));
        let told = Arc::clone(&now);
        let clock: Clock =
            Arc::new(move || Timestamp::from_second(told.load(Ordering::Relaxed)).unwrap());
        let directory = Arc::new(Directory::new(1));
        let store: Arc<dyn Store> = Arc::new(Memory::new([0; 32]));
        let around = (Arc::clone(&directory), sample::plan());
        Self {
            roster: Roster::start_under(rules(), store, around, clock).unwrap(),
            directory,
            now,
        }
    }

    async fn put(&self, document: Value) -> u64 {
        let subscriber = Box::new(Subscriber::from_json(&document).unwrap());
        let change = Change::Put {
            subscriber,
            if_version: None,
            source: Source::Api,
        };
        self.roster.change(change).await.unwrap().profile.version()
    }

    /// The clock goes on, and the roster looks after what is over.
    async fn go_to(&self, local: &str) {
        self.now.store(second(local), Ordering::Relaxed);
        self.roster.expire().await;
    }

    fn standing(&self, id: &str) -> (StatusLayer, Status, String) {
        let profile = self.directory.get(id).unwrap();
        let now_s = self.now.load(Ordering::Relaxed);
        let standing = profile.standing(now_s);
        let until = standing.until_unix_s.map_or_else(String::new, |at| {
            let at = Timestamp::from_second(at).unwrap();
            at.to_zoned_datetime(rules().zone)
                .strftime("%a %H:%M")
                .to_string()
        });
        (standing.layer, standing.status, until)
    }
}

fn second(local: &str) -> i64 {
    let local = format!("{local}[Europe/Berlin]");
    let at: jiff::ZonedDateTime = local.parse().unwrap();
    at.timestamp().as_second()
}

fn schedule(status: Status, until: &str) -> (StatusLayer, Status, String) {
    (StatusLayer::Schedule, status, until.to_owned())
}

fn at_work() -> (StatusLayer, Status, String) {
    (StatusLayer::Available, Status::Available, String::new())
}

#[tokio::test]
async fn hours_go_from_boundary_to_boundary_and_write_nothing() {
    let town = Town::at("2026-11-23T08:00:00");
    let version = town.put(json!({"id": "anna"})).await;
    let mut events = town.roster.events();
    assert_eq!(town.standing("anna"), schedule(Status::Away, "Mon 09:00"));
    for (now, expected) in [
        ("2026-11-23T08:59:59", schedule(Status::Away, "Mon 09:00")),
        ("2026-11-23T09:00:00", at_work()),
        ("2026-11-23T12:00:00", schedule(Status::Break, "Mon 13:00")),
        ("2026-11-23T13:00:00", at_work()),
        ("2026-11-23T17:00:00", schedule(Status::Away, "Tue 09:00")),
        ("2026-11-27T18:00:00", schedule(Status::Away, "Mon 09:00")),
    ] {
        town.go_to(now).await;
        assert_eq!(town.standing("anna"), expected, "{now}");
    }
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event.status);
    }
    use Status::{Available, Away, Break};
    assert_eq!(told, [Available, Break, Available, Away, Away]);
    let now = town.directory.get("anna").unwrap().version();
    assert_eq!(now, version, "a boundary is no change of the document");
}

#[tokio::test]
async fn a_team_goes_before_the_house_and_own_hours_before_both() {
    let town = Town::at("2026-11-23T17:30:00");
    town.put(json!({"id": "anna"})).await;
    town.put(json!({"id": "bob", "teams": ["sales"]})).await;
    let own = json!({"mon": ["10:00-20:00"], "outside": "available"});
    town.put(json!({"id": "cleo", "teams": ["Sales"], "hours": own}))
        .await;
    town.put(json!({"id": "dora", "hours": {}})).await;
    assert_eq!(town.standing("anna"), schedule(Status::Away, "Tue 09:00"));
    assert_eq!(town.standing("bob"), at_work());
    assert_eq!(town.standing("cleo"), at_work());
    town.go_to("2026-11-23T23:00:00").await;
    assert_eq!(town.standing("bob"), schedule(Status::Dnd, "Mon 09:00"));
    assert_eq!(town.standing("cleo"), at_work(), "available is none");
    assert_eq!(
        town.standing("dora"),
        at_work(),
        "a week without hours says nothing"
    );
}

#[tokio::test]
async fn hours_stand_beneath_a_choice_and_above_idle_and_are_dismissed_until_the_boundary() {
    let town = Town::at("2026-11-23T12:10:00");
    let held = json!({"id": "bob", "hold": true});
    town.put(held).await;
    town.put(json!({"id": "anna"})).await;
    assert_eq!(town.standing("bob").0, StatusLayer::Held);
    assert_eq!(town.standing("anna"), schedule(Status::Break, "Mon 13:00"));
    let dismiss = |dismissed| Change::Dismiss {
        id: "anna".into(),
        kind: SignalKind::Schedule,
        signal: HOURS_SIGNAL.into(),
        dismissed,
    };
    town.roster.change(dismiss(true)).await.unwrap();
    assert_eq!(town.standing("anna"), at_work());
    town.roster.change(dismiss(false)).await.unwrap();
    assert_eq!(town.standing("anna").1, Status::Break);
    town.roster.change(dismiss(true)).await.unwrap();
    town.go_to("2026-11-23T17:00:00").await;
    assert_eq!(
        town.standing("anna"),
        schedule(Status::Away, "Tue 09:00"),
        "the next one counts"
    );
    assert!(town.directory.get("anna").unwrap().signals().is_empty());
    town.go_to("2026-11-24T10:00:00").await;
    let nothing = town.roster.change(dismiss(true)).await;
    assert!(
        matches!(nothing, Err(ChangeError::Refused(_))),
        "{nothing:?}"
    );
    let reported = Change::Report {
        id: "anna".into(),
        signal: Box::new(
            serde_json::from_value(
                json!({"kind": "schedule", "id": HOURS_SIGNAL, "status": "away"}),
            )
            .unwrap(),
        ),
    };
    assert!(matches!(
        town.roster.change(reported).await,
        Err(ChangeError::Invalid(_))
    ));
}

#[tokio::test]
async fn holidays_and_other_hours_are_in_force_at_once() {
    let town = Town::at("2026-12-25T10:00:00");
    town.put(json!({"id": "anna"})).await;
    assert_eq!(town.standing("anna"), at_work());
    let day = jiff::civil::Date::constant(2026, 12, 25);
    town.roster
        .set_house(rules().observing(Holidays::new([day])))
        .await;
    assert_eq!(town.standing("anna"), schedule(Status::Away, "Sat 00:00"));
    let profile = town.directory.get("anna").unwrap();
    assert_eq!(
        profile.standing(town.now.load(Ordering::Relaxed)).cause,
        "holiday"
    );
    town.roster.set_house(HouseRules::default()).await;
    assert_eq!(
        town.standing("anna"),
        at_work(),
        "no hours are laid down any more"
    );
}

#[tokio::test]
async fn boundaries_keep_their_time_of_day_when_the_clocks_change() {
    let town = Town::at("2026-10-23T18:00:00");
    town.put(json!({"id": "anna"})).await;
    let before = second("2026-10-23T17:00:00");
    let after = second("2026-10-26T09:00:00");
    assert_eq!(
        after - before,
        (64 + 1) * 3_600,
        "the clocks were put back meanwhile"
    );
    assert_eq!(town.standing("anna"), schedule(Status::Away, "Mon 09:00"));
    town.go_to("2026-10-26T08:59:59").await;
    assert_eq!(town.standing("anna").1, Status::Away);
    town.go_to("2026-10-26T09:00:00").await;
    assert_eq!(town.standing("anna"), at_work());
}

proptest::proptest! {
    #[test]
    fn hours_never_make_anyone_more_available_than_they_chose(
        all in sample::subscribers(), hour in 0i64..24 * 14,
    ) {
        let now_s = second("2026-11-23T00:30:00") + hour * 3_600;
        let instant = |at: jiff::Timestamp| Timestamp::from_second(now_s + at.as_second() - 1_000);
        for document in all {
            let until = document.until.and_then(|until| instant(until).ok());
            let chosen = Subscriber { until, ..document };
            let compiled = |rules: &HouseRules| {
                Profile::under(rules, &chosen, &sample::plan(), now_s)
            };
            let (alone, together) = (compiled(&HouseRules::default()), compiled(&rules()));
            if together.status_at(now_s) == Status::Available {
                proptest::prop_assert_eq!(alone.status_at(now_s), Status::Available);
            }
            if alone.status_at(now_s) == Status::Dnd {
                proptest::prop_assert_eq!(together.status_at(now_s), Status::Dnd);
            }
            let found_later = compiled(&rules());
            let at_boundary = found_later.hours().map(|hours| hours.current.until_s);
            if let Some(boundary_s) = at_boundary {
                let fresh = Profile::under(&rules(), &chosen, &sample::plan(), boundary_s);
                proptest::prop_assert_eq!(
                    found_later.status_at(boundary_s),
                    fresh.status_at(boundary_s)
                );
            }
        }
    }
}
