//! Layers of a status: orders from above, signals, triggers.

use super::*;

const STATUS: &str = "/api/v1/subscribers/anna/status";
const SIGNALS: &str = "/api/v1/subscribers/anna/signals";
const TRIGGERS: &str = "/api/v1/subscribers/anna/triggers";
const OVERRIDE: &str = "/api/v1/subscribers/anna/override";

async fn status(world: &World) -> Value {
    world.get(STATUS).await.json()
}

async fn wants_dnd_in_meetings(world: &World) {
    let wanted = json!({"dnd_in_meetings": true, "dnd_activities": ["presentation"]});
    let put = world.send(Method::PUT, TRIGGERS, wanted.clone()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(world.get(TRIGGERS).await.json(), wanted);
}

#[tokio::test]
async fn a_meeting_stands_beside_what_was_chosen_and_can_be_dismissed() {
    let world = world().await;
    wants_dnd_in_meetings(&world).await;
    let meeting = json!({"kind": "meeting", "id": "standup", "title": "Stand-up",
                         "until": "2026-11-23T13:00:00Z"});
    let reported = world.send(Method::POST, SIGNALS, meeting.clone()).await;
    assert_eq!(reported.status, 200, "{}", reported.text());
    let shown = reported.json();
    assert_eq!(shown["status"], "dnd");
    assert_eq!(shown["effective_status"], "dnd", "no meeting lifts dnd");
    assert_eq!(shown["until"], "2026-11-23T13:00:00Z");
    assert_eq!(shown["layers"][0]["layer"], "event");
    assert_eq!(shown["layers"][0]["cause"], "Stand-up");
    assert_eq!(shown["layers"][1]["layer"], "available");

    assert_eq!(shown["layers"][0]["event"], "standup");
    let nameless = json!({"kind": "meeting", "id": "standup", "until": "2026-11-23T13:00:00Z"});
    let reported = world.send(Method::POST, SIGNALS, nameless).await.json();
    let layer = &reported["layers"][0];
    assert_eq!(layer.get("cause"), None, "an id says nothing to people");
    assert_eq!(layer["event"], "standup");

    let dismissed = format!("{SIGNALS}/meeting/standup/dismissed");
    let answer = world.send(Method::PUT, &dismissed, json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["effective_status"], "available");
    world.send(Method::POST, SIGNALS, meeting.clone()).await;
    assert_eq!(status(&world).await["status"], "available", "it stays so");
    world.delete(&dismissed).await;
    assert_eq!(status(&world).await["status"], "dnd");
    let withdrawn = world.delete(&format!("{SIGNALS}/meeting/standup")).await;
    assert_eq!(withdrawn.status, 204);
    assert_eq!(status(&world).await["status"], "available");
    assert_problem(
        &world.send(Method::PUT, &dismissed, json!({})).await,
        409,
        "conflict",
    );
}

#[tokio::test]
async fn a_meeting_without_a_wish_shows_as_a_call() {
    let world = world().await;
    let meeting = json!({"kind": "meeting", "id": "standup"});
    let shown = world.send(Method::POST, SIGNALS, meeting).await.json();
    assert_eq!(shown["status"], "available");
    assert_eq!(shown["effective_status"], "in_call");
    assert_eq!(shown["calls"], 0);
}

#[tokio::test]
async fn an_order_goes_before_a_choice_and_shows_who_gave_it() {
    let world = world().await;
    let away = json!({"status": "away", "message": "Lunch"});
    world.send(Method::PUT, STATUS, away).await;
    let order = json!({"status": "available", "message": "On duty"});
    let ordered = world.send(Method::PUT, OVERRIDE, order.clone()).await;
    assert_eq!(ordered.status, 200, "{}", ordered.text());
    let shown = status(&world).await;
    assert_eq!(
        (&shown["status"], &shown["message"]),
        (&json!("available"), &json!("On duty"))
    );
    assert_eq!(shown["layers"][0]["cause"], "admin");
    assert_eq!(shown["layers"][1]["message"], "Lunch");

    let bob = world.with_token(Some(&world.token_of("bob").await));
    let refused = bob.send(Method::PUT, OVERRIDE, order.clone()).await;
    assert_problem(&refused, 403, "forbidden");
    let mut anna = world.get("/api/v1/subscribers/anna").await.json();
    anna["delegates"] = json!(["bob"]);
    let put = world
        .send(Method::PUT, "/api/v1/subscribers/anna", anna)
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    let ordered = bob.send(Method::PUT, OVERRIDE, order).await;
    assert_eq!(ordered.status, 200, "{}", ordered.text());
    assert_eq!(status(&world).await["layers"][0]["cause"], "bob");
    assert_eq!(bob.delete(OVERRIDE).await.status, 200);
    assert_eq!(status(&world).await["message"], "Lunch");
}

#[tokio::test]
async fn colleagues_see_the_status_and_not_why() {
    let world = world().await;
    wants_dnd_in_meetings(&world).await;
    let secret = json!({"kind": "activity", "id": "presentation", "title": "Merger"});
    world.send(Method::POST, SIGNALS, secret).await;
    let bob = world.with_token(Some(&world.token_of("bob").await));
    let seen = bob.get(STATUS).await;
    assert_eq!(seen.json()["status"], "dnd");
    assert!(!seen.text().contains("Merger"), "{}", seen.text());
    assert!(seen.json().get("layers").is_none());
    for path in [SIGNALS, TRIGGERS] {
        assert_problem(&bob.get(path).await, 403, "forbidden");
    }
}

#[tokio::test]
async fn a_held_status_and_bad_signals_are_told_by_key() {
    let world = world().await;
    let held = json!({"status": "available", "hold": true});
    let answer = world.send(Method::PUT, STATUS, held).await.json();
    assert_eq!(
        (&answer["hold"], &answer["layers"][0]["layer"]),
        (&json!(true), &json!("held"))
    );
    for (signal, field) in [
        (json!({"kind": "calendar", "id": "x"}), "status"),
        (
            json!({"kind": "calendar", "id": "x", "status": "available"}),
            "status",
        ),
        (json!({"kind": "meeting", "id": ""}), "id"),
        (json!({"kind": "client", "id": "web"}), "until"),
        (
            json!({"kind": "meeting", "id": "x", "until": "2026-11-23T11:00:00Z"}),
            "until",
        ),
        (
            json!({"kind": "meeting", "id": "x", "idle_since": NOW}),
            "idle_since",
        ),
    ] {
        let answer = world.send(Method::POST, SIGNALS, signal).await;
        assert_problem(&answer, 422, "invalid");
        assert_eq!(
            answer.json()["problems"][0]["field"],
            field,
            "{}",
            answer.text()
        );
    }
    let unknown = json!({"kind": "coffee", "id": "x"});
    let answer = world.send(Method::POST, SIGNALS, unknown).await;
    assert_problem(&answer, 422, "invalid");
    let path = format!("{SIGNALS}/coffee/x");
    assert_problem(&world.delete(&path).await, 404, "not-found");
}

#[tokio::test]
async fn an_answer_that_is_put_back_keeps_every_layer() {
    let world = world().await;
    wants_dnd_in_meetings(&world).await;
    world
        .send(Method::POST, SIGNALS, json!({"kind": "meeting", "id": "m"}))
        .await;
    world
        .send(Method::PUT, OVERRIDE, json!({"status": "break"}))
        .await;
    let path = "/api/v1/subscribers/anna";
    let mut document = world.get(path).await.json();
    let before = status(&world).await["layers"].clone();
    let again = world.send(Method::PUT, path, document.clone()).await;
    assert_eq!(again.json()["version"], document["version"], "no change");
    let map = document.as_object_mut().unwrap();
    map.remove("signals");
    map.remove("override");
    map.insert("display_name".into(), json!("Anna"));
    world.send(Method::PUT, path, document).await;
    assert_eq!(status(&world).await["layers"], before);
}

#[tokio::test]
async fn exceptions_are_read_replaced_and_warned_about() {
    let world = world().await;
    let path = "/api/v1/subscribers/anna/exceptions";
    assert_eq!(world.get(path).await.json(), json!({}));
    let written = json!({
        "blocked": ["+49 900*"], "vips": ["bob"],
        "rules": [
            {"name": "Munich", "callers": ["+4989*"], "action": "voicemail",
             "when": {"days": ["mon", "tue"], "from": "08:00", "to": "17:30", "holidays": false}},
            {"name": "Everybody", "action": {"forward": "102"}, "until": "2026-12-01T00:00:00Z"},
            {"name": "Nobody", "callers": ["internal"], "action": "reject",
             "until": "2026-11-30T00:00:00Z"}]});
    let put = world.send(Method::PUT, path, written).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(
        put.json()["warnings"],
        json!(["The rule “Nobody” never applies: “Everybody” comes first"])
    );
    assert_eq!(put.json()["exceptions"]["blocked"], json!(["+49900*"]));
    assert_eq!(world.get(path).await.json(), put.json()["exceptions"]);
    for (bad, field) in [
        (json!({"rules": [{"name": "x"}]}), "rules.0.action"),
        (
            json!({"rules": [{"name": "x", "action": "reject", "when": {"from": "8"}}]}),
            "rules.0.when.from",
        ),
        (
            json!({"rules": [{"name": "x", "action": "reject", "when": {"zone": "Mars"}}]}),
            "rules.0.when.zone",
        ),
        (json!({"blocked": ["a b"]}), "blocked.0"),
    ] {
        let answer = world.send(Method::PUT, path, bad).await;
        assert_problem(&answer, 422, "invalid");
        assert_eq!(
            answer.json()["problems"][0]["field"],
            field,
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn colleagues_are_seen_as_far_as_configured_and_wanted() {
    let world = world().await;
    let mut anna = world.get("/api/v1/subscribers/anna").await.json();
    anna["teams"] = json!(["Sales"]);
    anna["visibility"] = json!({"others": "free_busy"});
    world
        .send(Method::PUT, "/api/v1/subscribers/anna", anna.clone())
        .await;
    let away = json!({"status": "away", "message": "Lunch"});
    world.send(Method::PUT, STATUS, away).await;
    let bob = world.with_token(Some(&world.token_of("bob").await));
    let seen = bob.get(STATUS).await.json();
    assert_eq!(
        (&seen["shows"], &seen["free"]),
        (&json!("free_busy"), &json!(false))
    );
    assert!(
        seen.get("status").is_none() && seen.get("message").is_none(),
        "{seen}"
    );
    let listed = bob.get("/api/v1/colleagues?team=sales").await.json();
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["colleagues"][0]["free"], false);
    assert_eq!(listed["colleagues"][0]["teams"], json!(["Sales"]));
    for (status, found) in [("busy", 1), ("free", 0), ("away", 0), ("available", 1)] {
        let asked = format!("/api/v1/colleagues?status={status}");
        assert_eq!(bob.get(&asked).await.json()["total"], found, "{status}");
    }
    let to_admin = world.get("/api/v1/colleagues?status=away").await.json();
    assert_eq!(to_admin["colleagues"][0]["id"], "anna");
    let no_status = bob.get("/api/v1/colleagues?status=asleep").await;
    assert_problem(&no_status, 400, "malformed");
    let teams = bob.get("/api/v1/teams").await.json();
    let sales = json!([{"name": "Sales", "members": 1}]);
    assert_eq!(teams["teams"], sales);

    let team = json!({"id": "bob", "teams": ["sales"]});
    world
        .send(Method::PUT, "/api/v1/subscribers/bob", team)
        .await;
    let seen = bob.get(STATUS).await.json();
    assert_eq!(
        (&seen["shows"], &seen["message"]),
        (&json!("full"), &json!("Lunch"))
    );

    anna["visibility"] = json!({"team": "none"});
    world
        .send(Method::PUT, "/api/v1/subscribers/anna", anna)
        .await;
    assert_problem(&bob.get(STATUS).await, 404, "not-found");
    let listed = bob.get("/api/v1/colleagues").await.json();
    assert_eq!(listed["total"], 1, "oneself: {listed}");
    let teams = bob.get("/api/v1/teams").await.json();
    assert_eq!(teams["teams"], json!([{"name": "sales", "members": 1}]));
    let listed = world.get("/api/v1/colleagues?search=ANNA").await.json();
    assert_eq!(listed["colleagues"][0]["shows"], "full");
}
