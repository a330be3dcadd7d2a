//! When people work.

use super::*;

const HOURS: &str = "/api/v1/subscribers/anna/hours";
const STATUS: &str = "/api/v1/subscribers/anna/status";

#[tokio::test]
async fn hours_put_a_person_on_a_status_until_the_next_boundary() {
    let world = world().await;
    assert_eq!(world.get(HOURS).await.json(), json!({}));
    // It is noon in London, on a Monday.
    let week = json!({"mon": ["08:00-11:30", "12:30-16:00"], "zone": "Europe/London"});
    let put = world.send(Method::PUT, HOURS, week.clone()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let document = put.json();
    assert_eq!(document["own"], week);
    assert_eq!(document["in_force"], week);
    assert_eq!(
        (&document["now"], &document["until"]),
        (&json!("break"), &json!("2026-11-23T12:30:00Z"))
    );
    let shown = world.get(STATUS).await.json();
    assert_eq!(
        (&shown["status"], &shown["until"]),
        (&json!("break"), &document["until"])
    );
    assert_eq!(shown["layers"][0]["layer"], "schedule");
    assert_eq!(shown["layers"][0]["cause"], "break");
    let signals = world.get("/api/v1/subscribers/anna/signals").await.json();
    assert_eq!(signals[0]["id"], "hours");
    let dismissed = "/api/v1/subscribers/anna/signals/schedule/hours/dismissed";
    let answer = world.send(Method::PUT, dismissed, json!({})).await;
    assert_eq!(answer.json()["status"], "available", "{}", answer.text());
    let signals = world.get("/api/v1/subscribers/anna/signals").await.json();
    assert_eq!(
        (signals.as_array().unwrap().len(), &signals[0]["dismissed"]),
        (1, &json!(true))
    );
    assert_eq!(world.delete(dismissed).await.json()["status"], "break");
    assert_eq!(world.delete(HOURS).await.json(), json!({}));
    assert_eq!(world.get(STATUS).await.json()["status"], "available");
}

#[tokio::test]
async fn hours_that_cannot_be_are_refused_by_their_keys() {
    let world = world().await;
    for (week, field) in [
        (json!({"mon": ["13:00-17:00", "09:00-12:00"]}), "mon"),
        (json!({"zone": "Mars"}), "zone"),
        (json!({"outside": "lunch"}), "outside"),
        (json!({"in_breaks": "in_call"}), "in_breaks"),
    ] {
        let refused = world.send(Method::PUT, HOURS, week.clone()).await;
        assert_problem(&refused, 422, "invalid");
        assert_eq!(refused.json()["problems"][0]["field"], field, "{week}");
    }
    let refused = world
        .send(Method::PUT, HOURS, json!({"mon": ["9-5"]}))
        .await;
    assert_problem(&refused, 422, "invalid");
    assert!(refused.text().contains("09:00-12:30"), "{}", refused.text());
    let bob = world.with_token(Some(&world.token_of("bob").await));
    assert_problem(&bob.get(HOURS).await, 403, "forbidden");
    let line = json!({"id": "eve", "hours": {"mon": ["09:00-17:00"]}}).to_string();
    assert_eq!(world.import(&line).await[0]["result"], "created");
    let eve = world.get("/api/v1/subscribers/eve").await.json();
    assert_eq!(eve["hours"], json!({"mon": ["09:00-17:00"]}));
}
