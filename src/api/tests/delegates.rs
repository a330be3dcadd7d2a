//! Who may order whose status, and what they see of it.

use super::*;
use crate::presence::HouseRules;
use crate::store::Store as _;

const DELEGATES: &str = "/api/v1/subscribers/anna/delegates";
const OVERRIDE: &str = "/api/v1/subscribers/anna/override";
const STATUS: &str = "/api/v1/subscribers/anna/status";

async fn as_subscriber(world: &World, id: &str) -> World {
    world.with_token(Some(&world.token_of(id).await))
}

#[tokio::test]
async fn a_person_names_delegates_who_then_set_the_status() {
    let world = world().await;
    let (anna, bob) = (
        as_subscriber(&world, "anna").await,
        as_subscriber(&world, "bob").await,
    );
    let read = anna.get(DELEGATES).await;
    assert_eq!(read.json(), json!({"delegates": [], "delegate_of": []}));
    assert!(bob.get(STATUS).await.json().get("may_order").is_none());
    let named = json!({"delegates": ["BOB", "bob"]});
    let put = anna.send(Method::PUT, DELEGATES, named).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.json()["delegates"], json!(["bob"]));
    let own = bob.get("/api/v1/subscribers/bob/delegates").await.json();
    assert_eq!(
        own["delegate_of"],
        json!([{"id": "anna", "display_name": "Anna Arndt"}])
    );
    let order = json!({"status": "away", "message": "Ill"});
    let ordered = bob.send(Method::PUT, OVERRIDE, order).await;
    assert_eq!(ordered.status, 200, "{}", ordered.text());
    assert!(ordered.json().get("layers").is_none(), "{}", ordered.text());
    assert_eq!(ordered.json()["order"]["by"], "Bob Bauer");
    let seen = anna.get(STATUS).await.json();
    assert_eq!(seen["layers"][0]["layer"], "override");
    assert_eq!(seen["layers"][0]["by"], "Bob Bauer");
    let listed = bob.get("/api/v1/colleagues?search=anna").await.json();
    assert_eq!(listed["colleagues"][0]["may_order"], true);
    assert_eq!(listed["colleagues"][0]["order"]["status"], "away");
    // What was read can be put back; who is no delegate any more orders nothing.
    let again = anna.send(Method::PUT, DELEGATES, put.json()).await;
    assert_eq!(again.status, 200, "{}", again.text());
    let none = json!({"delegates": []});
    assert_eq!(anna.send(Method::PUT, DELEGATES, none).await.status, 200);
    assert_problem(&bob.delete(OVERRIDE).await, 403, "forbidden");
}

#[tokio::test]
async fn a_delegate_is_a_colleague_whom_one_may_see() {
    let world = world().await;
    let hidden = json!({"id": "carla", "visibility": {"others": "none"}});
    world
        .send(Method::POST, "/api/v1/subscribers", hidden)
        .await;
    let anna = as_subscriber(&world, "anna").await;
    for (delegates, field) in [
        (json!(["bob", "nobody"]), "delegates.1"),
        (json!(["carla"]), "delegates.0"),
        (json!(["anna"]), "delegates.0"),
        (json!("bob"), "delegates"),
        (json!([1]), "delegates"),
    ] {
        let wish = json!({ "delegates": delegates });
        let answer = anna.send(Method::PUT, DELEGATES, wish).await;
        assert_problem(&answer, 422, "invalid");
        let found = &answer.json()["problems"][0];
        assert_eq!(found["field"], field, "{}", answer.text());
    }
    let wish = json!({"delegates": ["carla"]});
    let by_admin = world.send(Method::PUT, DELEGATES, wish).await;
    assert_eq!(by_admin.status, 200, "{}", by_admin.text());
    let bob = as_subscriber(&world, "bob").await;
    assert_problem(&bob.get(DELEGATES).await, 403, "forbidden");
    let stale = anna.request(Method::PUT, DELEGATES);
    let stale = stale
        .header("content-type", "application/json")
        .header("if-match", "\"1\"");
    let body = json!({"delegates": []}).to_string();
    let answer = anna.call(stale.body(body.into()).unwrap()).await;
    assert_problem(&answer, 412, "version-mismatch");
}

#[tokio::test]
async fn who_gets_the_id_of_somebody_deleted_inherits_nothing() {
    let world = world().await;
    let anna = as_subscriber(&world, "anna").await;
    let mut house = HouseRules::clone(&world.state.roster().house());
    house.domains = ["example.com".into()].into();
    world.state.roster().set_house(house).await;
    let named = json!({"delegates": ["bob"]});
    assert_eq!(anna.send(Method::PUT, DELEGATES, named).await.status, 200);
    let path = "/api/v1/subscribers/anna/exceptions";
    let written = json!({
        "blocked": ["+4930*"], "vips": ["BOB", "+491701234567", "sip:bob@example.com", "bobby"],
        "rules": [
            {"name": "Bob only", "callers": ["bob"], "action": "connect"},
            {"name": "Both", "callers": ["bob", "bobby"], "action": "connect"},
            {"name": "All", "action": "voicemail", "when": {"from": "20:00"}}]});
    let put = anna.send(Method::PUT, path, written).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let before = anna.get(path).await;
    let gone = world.delete("/api/v1/subscribers/bob").await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    world
        .send(Method::POST, "/api/v1/subscribers", json!({"id": "bob"}))
        .await;
    let bob = as_subscriber(&world, "bob").await;
    let order = json!({"status": "away"});
    assert_problem(
        &bob.send(Method::PUT, OVERRIDE, order).await,
        403,
        "forbidden",
    );
    let after = anna.get(path).await;
    let rules = json!([
        {"name": "Both", "callers": ["bobby"], "action": "connect"},
        {"name": "All", "action": "voicemail", "when": {"from": "20:00"}}]);
    assert_eq!(after.json()["vips"], json!(["+491701234567", "bobby"]));
    assert_eq!(after.json()["rules"], rules);
    assert_ne!(after.headers["etag"], before.headers["etag"]);
    // What is in force is on disk.
    let mut stored = String::new();
    let mut each = |key: &str, value: &[u8]| {
        if key.contains("anna") {
            stored = String::from_utf8_lossy(value).into_owned();
        }
    };
    world.store.load(&mut each).unwrap();
    assert!(
        stored.contains("bobby") && !stored.contains("Bob only"),
        "{stored}"
    );
}
