//! What people set about themselves, and what the house lays down.

use super::*;

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
    assert_eq!(anna.get(CALENDARS).await.json(), feed);
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
