//! Random documents for property tests.

use std::sync::LazyLock;

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::layers::{Signal, SignalKind};
use super::model::{Action, ClassRule, Rule, Settings, Source, Status, StatusSettings, Subscriber};
use super::numbers::NumberPlan;

pub(crate) const IDS: [&str; 6] = ["anna", "bob", "cleo", "dora", "emil", "fritz"];

/// The German number plan, made once.
pub(crate) fn plan() -> NumberPlan {
    static PLAN: LazyLock<NumberPlan> = LazyLock::new(|| NumberPlan::for_region("DE").unwrap());
    PLAN.clone()
}

pub(crate) fn action() -> BoxedStrategy<Action> {
    prop_oneof![
        Just(Action::Connect),
        Just(Action::Reject),
        Just(Action::Missed),
        Just(Action::Voicemail),
        select(&IDS[..]).prop_map(|id| Action::Forward(id.into())),
        select(&IDS[..]).prop_map(|id| Action::Forward(id.into())),
        select(&["+491701234567", "101", "sip:x@elsewhere.example"][..])
            .prop_map(|target| Action::Forward(target.into())),
    ]
    .boxed()
}

pub(crate) fn rule() -> BoxedStrategy<Rule> {
    let class = || weighted(0.5, action());
    prop_oneof![
        3 => action().prop_map(Rule::All),
        1 => (class(), class(), class())
            .prop_filter("some class", |(a, b, c)| a.is_some() || b.is_some() || c.is_some())
            .prop_map(|(internal, external, anonymous)| {
                Rule::PerClass(ClassRule { internal, external, anonymous })
            }),
    ]
    .boxed()
}

pub(crate) fn part() -> BoxedStrategy<StatusSettings> {
    let rule = || weighted(0.35, rule());
    let message = weighted(0.2, "[A-Za-zäöü ]{1,12}");
    let ring_for_s = weighted(0.3, 5u16..=120);
    (message, rule(), rule(), rule(), rule(), rule(), ring_for_s)
        .prop_map(
            |(message, immediate, busy, no_answer, unreachable, declined, ring_for_s)| {
                StatusSettings {
                    message,
                    immediate,
                    busy,
                    no_answer,
                    unreachable,
                    declined,
                    ring_for_s,
                    chat: None,
                }
            },
        )
        .boxed()
}

pub(crate) fn settings() -> BoxedStrategy<Settings> {
    let part = || weighted(0.5, part()).prop_map(Option::unwrap_or_default);
    let five = (part(), part(), part(), part(), part(), part());
    let own = prop::collection::btree_map("[a-z]{1,4}", part(), 0..2);
    (five, own)
        .prop_map(
            |((all, available, away, pause, dnd, in_call), own)| Settings {
                all,
                available,
                away,
                pause,
                dnd,
                in_call,
                own,
            },
        )
        .boxed()
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    select(&[Status::Available, Status::Away, Status::Break, Status::Dnd][..])
}

/// What clients and calendars may report of somebody.
pub(crate) fn signals() -> impl Strategy<Value = Vec<Signal>> {
    let at = |range| weighted(0.7, range).prop_map(|at: Option<i64>| instant(at));
    let one = (
        select(&SignalKind::ALL[..]),
        select(&[Status::Away, Status::Break, Status::Dnd][..]),
        (at(0i64..1_000), at(0i64..2_000), at(0i64..2_000)),
        any::<bool>(),
    );
    let signal = one.prop_map(|(kind, status, (from, idle_since, until), dismissed)| {
        let is_entry = matches!(kind, SignalKind::Calendar | SignalKind::Schedule);
        Signal {
            kind,
            id: "focus".into(),
            title: None,
            own_status: None,
            status: is_entry.then_some(status),
            from,
            until,
            idle_since: idle_since.filter(|_| kind == SignalKind::Client),
            locked_since: None,
            dismissed,
            source: Source::Trigger,
        }
    });
    prop::collection::vec(signal, 0..6)
}

fn instant(second: Option<i64>) -> Option<jiff::Timestamp> {
    second.and_then(|at| jiff::Timestamp::from_second(at).ok())
}

/// One subscriber for each of [`IDS`].
pub(crate) fn subscribers() -> impl Strategy<Value = Vec<Subscriber>> {
    let one = (
        status(),
        settings(),
        weighted(0.3, 0i64..2_000),
        weighted(0.2, signals()),
    );
    prop::collection::vec(one, IDS.len()).prop_map(|all| {
        let documents = IDS
            .iter()
            .zip(all)
            .map(|(id, (status, settings, until, signals))| Subscriber {
                id: (*id).into(),
                display_name: id.to_uppercase(),
                status,
                until: until.and_then(|at| jiff::Timestamp::from_second(at).ok()),
                settings,
                signals: signals.unwrap_or_default(),
                ..Subscriber::default()
            });
        documents.collect()
    })
}
