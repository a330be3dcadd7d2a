//! What happens to a call: the decisions that nearly every INVITE needs.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pointsman::presence::{Directory, Handle, NumberPlan, Subscriber};
use pointsman::routing::{
    Caller, CallerClass, Failure, History, Lookup, Question, decide, decide_after,
};

const HOUSE: [&str; 7] = [
    r#"{"id": "plain"}"#,
    r#"{"id": "settings-elsewhere", "settings": {"away": {"immediate": "voicemail"}}}"#,
    r#"{"id": "dnd", "status": "dnd"}"#,
    r#"{"id": "usual", "settings": {"all": {"no_answer": "voicemail", "busy": "voicemail",
        "ring_for_s": 20}, "in_call": {"immediate": "reject"}}}"#,
    r#"{"id": "away-forward", "status": "away",
        "settings": {"away": {"immediate": {"forward": "+491701234567"}}}}"#,
    r#"{"id": "away-colleague", "status": "away",
        "settings": {"away": {"immediate": {"forward": "plain"}}}}"#,
    r#"{"id": "circle", "settings": {"all": {"immediate": {"forward": "circle"},
        "no_answer": "voicemail"}}}"#,
];

fn decisions(c: &mut Criterion) {
    let plan = NumberPlan::for_region("DE").unwrap();
    let directory = Directory::new(7);
    for document in HOUSE {
        let subscriber: Subscriber = serde_json::from_str(document).unwrap();
        directory
            .put(&subscriber.validate(&plan).unwrap(), &plan)
            .unwrap();
    }
    let domains = ["example.com".into()];
    let lookup = Lookup {
        directory: &directory,
        plan: &plan,
        domains: &domains,
    };
    let history = History::default();
    let caller = Caller {
        class: CallerClass::External,
        subscriber: None,
        key: b"+4989999999",
        uri: b"sip:+4989999999@trunk.example",
    };
    let ask = |callee: Handle| Question::new(caller, callee, &history, 1_000);
    let mut group = c.benchmark_group("decide");
    for document in HOUSE {
        let id = document.split('"').nth(3).unwrap();
        let callee = directory.handle_of_id(id).unwrap();
        group.bench_function(id, |b| {
            b.iter(|| black_box(decide(black_box(&ask(callee)), &lookup)));
        });
    }
    let callee = directory.handle_of_id("usual").unwrap();
    group.bench_function("usual, after no answer", |b| {
        b.iter(|| black_box(decide_after(&ask(callee), Failure::NoAnswer, &lookup)));
    });
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
