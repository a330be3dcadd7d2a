//! Calls, journal, explanations, metrics.

use super::*;
use crate::presence::CallerClass;
use crate::proxy::{Outcome, Trace, TraceTexts};
use crate::routing::Reason;

/// Keeps an open call of Bob with Anna.
pub(super) fn open_call(world: &World) -> Vec<u8> {
    let record = CallRecord {
        key: 7,
        answered_unix_ms: 1_000,
        ends_unix_ms: 9_000_000,
        call_id: b"c1@host",
        from: b"sip:bob@example.com",
        to: b"sip:101@example.com",
        caller: b"bob",
        callee: b"anna",
        ..CallRecord::default()
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    let mut calls = world.store.open_calls(1, &|_| 0).unwrap();
    calls[0].insert(&bytes).unwrap();
    bytes
}

#[tokio::test]
async fn calls_in_progress_are_listed() {
    let world = world().await;
    assert_eq!(
        world.get("/api/v1/calls").await.json(),
        json!({"calls": [], "total": 0})
    );
    open_call(&world);
    let listed = world.get("/api/v1/calls?subscriber=anna").await.json();
    assert_eq!(listed["total"], 1);
    let call = &listed["calls"][0];
    assert_eq!(call["call_id"], "c1@host");
    assert_eq!(
        (&call["caller"], &call["callee"]),
        (&json!("bob"), &json!("anna"))
    );
    assert_eq!(call["answered_at"], "1970-01-01T00:00:01Z");
    assert_eq!(
        (&call["caller_name"], &call["callee_name"]),
        (&json!("Bob Bauer"), &json!("Anna Arndt"))
    );
    assert_eq!(
        world.get("/api/v1/calls?subscriber=carol").await.json()["total"],
        0
    );
}

/// Bob shows nothing to anybody.
async fn hide_bob(world: &World) {
    let hidden = json!({"team": "none", "others": "none"});
    let path = "/api/v1/subscribers/bob/visibility";
    let put = world.send(Method::PUT, path, hidden).await;
    assert_eq!(put.status, 200, "{}", put.text());
}

#[tokio::test]
async fn who_may_not_see_somebody_reads_no_name_of_theirs() {
    let world = world().await;
    open_call(&world);
    hide_bob(&world).await;
    let anna = world.with_token(Some(&world.token_of("anna").await));
    let listed = anna.get("/api/v1/calls?subscriber=anna").await.json();
    let call = &listed["calls"][0];
    assert_eq!(call.get("caller_name"), None, "{call}");
    assert_eq!(call["callee_name"], "Anna Arndt");
    let asked = "/api/v1/explain?from=bob&to=anna";
    let explained = anna.get(asked).await.json();
    assert_eq!(explained.get("caller_name"), None, "{explained}");
    let to_admin = world.get(asked).await.json();
    assert_eq!(to_admin["caller_name"], "Bob Bauer");
}

#[tokio::test]
async fn explain_tells_no_colleagues_settings() {
    let world = world().await;
    let settings = json!({"all": {"immediate": {"forward": "102"}}});
    let path = "/api/v1/subscribers/anna/settings";
    world.send(Method::PUT, path, settings).await;
    let private = json!({"away": {"immediate": {"forward": "+491709999999"}}});
    let path = "/api/v1/subscribers/bob/settings";
    world.send(Method::PUT, path, private).await;
    let path = "/api/v1/subscribers/bob/status";
    world
        .send(Method::PUT, path, json!({"status": "away"}))
        .await;
    let anna = world.with_token(Some(&world.token_of("anna").await));
    let asked = "/api/v1/explain?from=%2B493099&to=anna";
    let told = anna.get(asked).await;
    assert_eq!(told.json()["summary"], "The call goes on to Bob Bauer");
    assert_eq!(told.json()["target"], "bob");
    assert!(!told.text().contains("1709999999"), "{}", told.text());
    assert!(!told.text().contains("Bob Bauer is"), "{}", told.text());
    hide_bob(&world).await;
    let told = anna.get(asked).await;
    assert!(!told.text().contains("Bob"), "{}", told.text());
    let to_admin = world.get(asked).await;
    assert_eq!(to_admin.json()["target"], "+491709999999");
}

#[tokio::test]
async fn decisions_are_listed_by_call_and_by_subscriber() {
    let world = world().await;
    let anna = world.state.directory().handle_of_id("anna");
    for (number, callee) in [(1, anna), (2, None), (3, anna)] {
        world.state.traces().push(Trace {
            at_unix_ms: number * 1_000,
            texts: TraceTexts::new([
                format!("c{number}").as_bytes(),
                b"sip:bob@example.com",
                b"sip:101@example.com",
                b"+491701234567",
            ]),
            source: world.peer,
            class: CallerClass::Internal,
            callee,
            outcome: Outcome::Redirect,
            reasons: [Reason::NoVoicemail].into_iter().collect(),
            status: 302,
            setup_ms: 3,
            ring_ms: 0,
        });
    }
    let ids = async |query: &str| {
        let listed = world
            .get(&format!("/api/v1/decisions?{query}"))
            .await
            .json();
        let decisions = listed["decisions"].as_array().unwrap().clone();
        decisions
            .iter()
            .map(|d| d["call_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, ["c3", "c2", "c1"]);
    assert_eq!(ids("limit=1").await, ["c3"]);
    assert_eq!(ids("subscriber=ANNA").await, ["c3", "c1"]);
    assert_eq!(ids("call_id=c2").await, ["c2"]);
    let listed = world.get("/api/v1/decisions?call_id=c1").await.json();
    let decision = &listed["decisions"][0];
    assert_eq!(
        (&decision["decision"], &decision["callee"]),
        (&json!("redirect"), &json!("anna"))
    );
    assert_eq!(decision["reasons"], json!(["no_voicemail"]));
    assert_eq!(
        (&decision["from_name"], &decision["callee_name"]),
        (&json!("Bob Bauer"), &json!("Anna Arndt"))
    );
    assert_eq!(decision.get("target_name"), None, "{decision}");
    let nobody = world.get("/api/v1/decisions?subscriber=x").await;
    assert_problem(&nobody, 404, "not-found");
}

#[tokio::test]
async fn the_journal_is_read_page_by_page() {
    let world = world().await;
    let key = world.state.journal_key("anna");
    let mut journal: Box<dyn Journal> = world.store.journals(1).unwrap().remove(0);
    for n in 0..5_i64 {
        let entry = Entry {
            kind: EntryKind::Missed,
            at_unix_ms: n * 1_000,
            ring_ms: 3_000,
            talk_s: 0,
            status: 480,
            from: b"sip:bob@example.com",
            target: b"",
            call_id: b"c",
            reasons: b"away,immediate_missed",
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        journal.append(key, &bytes);
    }
    let path = "/api/v1/subscribers/anna/journal";
    let first = world.get(&format!("{path}?limit=3")).await.json();
    assert_eq!(first["entries"][0]["at"], "1970-01-01T00:00:04Z");
    assert_eq!(first["entries"][0]["kind"], "missed");
    assert_eq!(
        first["entries"][0]["reasons"],
        json!(["away", "immediate_missed"])
    );
    let next = first["next"].as_str().unwrap();
    let second = world
        .get(&format!("{path}?limit=3&before={next}"))
        .await
        .json();
    assert_eq!(second["entries"].as_array().unwrap().len(), 2);
    assert_eq!(second.get("next"), None);
    assert_problem(
        &world.get(&format!("{path}?before=x")).await,
        400,
        "malformed",
    );
    assert_problem(
        &world.get("/api/v1/subscribers/x/journal").await,
        404,
        "not-found",
    );
}

#[tokio::test]
async fn explain_says_what_would_happen_and_why() {
    let world = world().await;
    let status = json!({"status": "away", "until": "2026-11-23T14:00:00Z"});
    world
        .send(Method::PUT, "/api/v1/subscribers/anna/status", status)
        .await;
    let away = world.get("/api/v1/explain?from=bob&to=101").await.json();
    assert_eq!(away["plan"], "redirect");
    assert_eq!(away["target"], "+491701234567");
    assert_eq!(away["caller_class"], "internal");
    let codes: Vec<_> = away["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["code"])
        .collect();
    assert_eq!(codes, ["away", "immediate_forward"]);
    assert!(
        away["reasons"][0]["sentence"]
            .as_str()
            .unwrap()
            .contains("Anna Arndt")
    );

    let later = "/api/v1/explain?from=%2B491700000000&to=anna&at=2026-11-23T16:00:00+01:00&lang=de";
    let later = world.get(later).await.json();
    assert_eq!(later["plan"], "connect");
    assert_eq!(later["ring_for_s"], 20);
    assert!(later["summary"].as_str().unwrap().contains("klingelt"));
    assert_eq!(later["afterwards"][0]["when"], "no_answer");
    assert_eq!(later["afterwards"][0]["voicemail"], true);
    assert_eq!(later["afterwards"][1]["plan"], "final_response");

    let unknown = world.get("/api/v1/explain?from=bob&to=999").await.json();
    assert_eq!(unknown["plan"], "pass_on");
    let elsewhere = world
        .get("/api/v1/explain?from=bob&to=sip:x@other.example")
        .await
        .json();
    assert_eq!(elsewhere["plan"], "relay");
    let trunk = world
        .get("/api/v1/explain?from=bob&to=anna&peer=trunk")
        .await
        .json();
    assert_eq!(trunk["caller_class"], "external");
    assert_eq!(trunk["plan"], "forward");
    for bad in [
        "from=bob",
        "from=bob&to=anna&at=noon",
        "from=bob&to=sip:",
        "from=a&to=anna&lang=fr",
    ] {
        let answer = world.get(&format!("/api/v1/explain?{bad}")).await;
        assert_problem(&answer, 400, "malformed");
    }
}

#[tokio::test]
async fn the_metrics_are_text_that_prometheus_reads() {
    let world = world().await;
    let shared = world.state.shared();
    for shard in &shared.shards {
        shard.counters.calls_decided.inc();
        shard
            .counters
            .decisions
            .inc("redirect", "immediate_forward");
    }
    let answer = world.get("/metrics").await;
    let text = answer.text();
    for line in [
        "pointsman_calls_decided_total 2",
        "pointsman_decisions_total{decision=\"redirect\",reason=\"immediate_forward\"} 2",
        "pointsman_responses_total{class=\"2xx\"} 0",
        "pointsman_subscribers 2",
        "pointsman_calls_open 0",
        "pointsman_datagrams_received_total 5",
        "pointsman_store_write_seconds_count 6",
        "pointsman_store_write_seconds_bucket{le=\"0.1\"} 3",
        "pointsman_store_write_seconds_bucket{le=\"+Inf\"} 6",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}
