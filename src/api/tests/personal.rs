//! What people set about themselves, and what the house lays down.

use super::*;
use crate::presence::readings::{FeedFault, Found, Reading};

const VISIBILITY: &str = "/api/v1/subscribers/anna/visibility";
const CALENDARS: &str = "/api/v1/subscribers/anna/calendars";

#[tokio::test]
async fn a_person_shows_less_than_is_configured() {
    let world = world().await;
    let anna = world.with_token(Some(&world.token_of("anna").await));
    let read = anna.get(VISIBILITY).await;
    assert_eq!(
        read.json(),
        json!({"own": {}, "configured": {}, "teams": []})
    );
    let put = anna
        .send(Method::PUT, VISIBILITY, json!({"others": "free_busy"}))
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.json()["own"], json!({"others": "free_busy"}));
    let bob = world.with_token(Some(&world.token_of("bob").await));
    let seen = bob.get("/api/v1/subscribers/anna/status").await.json();
    assert_eq!(seen["shows"], "free_busy");
    let wrong = anna
        .send(Method::PUT, VISIBILITY, json!({"others": "nothing"}))
        .await;
    assert_problem(&wrong, 422, "invalid");
    assert_problem(&bob.get(VISIBILITY).await, 403, "forbidden");
}

#[tokio::test]
async fn a_person_names_feeds_and_the_administrator_files_too() {
    let world = world().await;
    let anna = world.with_token(Some(&world.token_of("anna").await));
    let feed = json!({"calendars": ["https://cal.example.com/anna.ics"]});
    let put = anna.send(Method::PUT, CALENDARS, feed.clone()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let read = anna.get(CALENDARS).await.json();
    assert_eq!(
        (&read["calendars"], &read["readings"]),
        (&feed["calendars"], &json!([]))
    );
    let again = anna.send(Method::PUT, CALENDARS, read).await;
    assert_eq!(
        again.status,
        200,
        "answers can be put back: {}",
        again.text()
    );
    let file = json!({"calendars": ["https://cal.example.com/a.ics", "/etc/passwd"]});
    let refused = anna.send(Method::PUT, CALENDARS, file.clone()).await;
    assert_problem(&refused, 422, "invalid");
    assert_eq!(refused.json()["problems"][0]["field"], "calendars.1");
    let by_admin = world.send(Method::PUT, CALENDARS, file.clone()).await;
    assert_eq!(by_admin.status, 200, "{}", by_admin.text());
    let kept = anna.send(Method::PUT, CALENDARS, file).await;
    assert_eq!(kept.status, 200, "what is there may stay: {}", kept.text());
    let plain = json!({"calendars": ["http://cal.example.com/a.ics"]});
    assert_problem(
        &anna.send(Method::PUT, CALENDARS, plain).await,
        422,
        "invalid",
    );
}

#[tokio::test]
async fn the_administrator_sees_the_rules_of_the_house() {
    let world = world().await;
    for (id, teams) in [
        ("bob", json!(["Sales"])),
        ("eve", json!(["sales", "Board"])),
    ] {
        let document = json!({"id": id, "teams": teams});
        let path = format!("/api/v1/subscribers/{id}");
        world.send(Method::PUT, &path, document).await;
    }
    let house = world.get("/api/v1/house").await.json();
    assert_eq!(
        house["teams"],
        json!([{"name": "Board", "members": 1}, {"name": "Sales", "members": 2}])
    );
    assert_eq!(
        (&house["ring_for_s"], &house["dnd_status"]),
        (&json!(30), &json!(480))
    );
    let bob = world.with_token(Some(&world.token_of("bob").await));
    assert_problem(&bob.get("/api/v1/house").await, 403, "forbidden");
}

#[tokio::test]
async fn how_a_calendar_was_read_is_told_to_the_person_in_their_language() {
    let world = world().await;
    let anna = world.with_token(Some(&world.token_of("anna").await));
    let (good, bad) = (
        "https://cal.example.com/key",
        "https://cal.example.com/other",
    );
    let wish = json!({"calendars": [good, bad]});
    anna.send(Method::PUT, CALENDARS, wish).await;
    let reading = |feed: &str, fault| Reading {
        feed: feed.to_owned(),
        read_s: 1_000,
        found: Found {
            events: 7,
            entries: 2,
            categories: vec!["Travel".to_owned()],
        },
        fault,
    };
    let mut events = world.state.roster().events();
    let told = vec![
        reading(bad, Some((FeedFault::Status(404), 900))),
        reading(good, None),
        reading("https://cal.example.com/former", None),
    ];
    world.state.roster().note_readings("anna", told.clone());
    let event = events.recv().await.unwrap();
    assert_eq!(
        (&*event.id, event.is_inward, event.is_shown),
        ("anna", true, false)
    );
    world.state.roster().note_readings("anna", told);
    assert!(events.try_recv().is_err(), "the same is no news");
    let read = anna.get(CALENDARS).await.json();
    assert_eq!(
        read["readings"],
        json!([
            {"feed": good, "read_at": "1970-01-01T00:16:40Z", "events": 7, "entries": 2},
            {"feed": bad, "read_at": "1970-01-01T00:16:40Z", "events": 7, "entries": 2,
             "fault": {"code": "status", "since": "1970-01-01T00:15:00Z",
                       "text": "there is no such calendar any more (404)"}}
        ])
    );
    assert_eq!(read["categories"], json!(["Travel"]));
    let german = anna.get_in("de-AT,en;q=0.5", CALENDARS).await.json();
    let text = &german["readings"][1]["fault"]["text"];
    assert_eq!(*text, "diesen Kalender gibt es nicht mehr (404)");
    let peers = world.get("/api/v1/peers").await.json();
    assert_eq!(peers["calendars_unreadable"], 1);
    assert!(
        !peers.to_string().contains("cal.example.com"),
        "it is a secret"
    );
    let bob = world.with_token(Some(&world.token_of("bob").await));
    assert_problem(&bob.get(CALENDARS).await, 403, "forbidden");
    let whole = world.get("/api/v1/subscribers/anna/data").await.json();
    assert_eq!(whole["subscriber"]["calendars"], json!([good, bad]));
}

#[tokio::test]
async fn warnings_are_in_the_language_of_the_request() {
    let world = world().await;
    let document = json!({"id": "anna", "aliases": ["101"], "language": "de", "settings":
        {"away": {"immediate": {"forward": "bob"}}}});
    let path = "/api/v1/subscribers/anna";
    world.send(Method::PUT, path, document).await;
    world
        .send(Method::PUT, "/api/v1/subscribers/bob", json!({"id": "bob"}))
        .await;
    let gone = world.delete("/api/v1/subscribers/BOB").await;
    assert_eq!(
        gone.json(),
        json!({"id": "bob", "forwarding_total": 1, "forwarding": ["anna"]})
    );
    for (wanted, text) in [
        ("en", "You forward to bob, and nobody here has that name"),
        ("de", "Sie leiten an bob weiter; hier heißt niemand so"),
        ("fr", "Sie leiten an bob weiter; hier heißt niemand so"),
    ] {
        let read = world.get_in(wanted, path).await.json();
        assert_eq!(read["warnings"], json!([text]), "{wanted}");
    }
}
