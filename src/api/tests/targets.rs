//! Whereto may be forwarded, and forwardings in a circle.

use super::*;
use crate::config::Config;

const ANNA: &str = "/api/v1/subscribers/anna";
const RULES: &str = "[sip]\ndomains = [\"example.com\"]\n[forwarding]\ndeny = [\"+49900*\", \
                     \"sip:*@evil.example\"]\nallow = [\"+499001*\"]";

async fn lay_down(world: &World, text: &str) {
    let config = Config::parse("test.toml".as_ref(), text, []).unwrap();
    let house = config.house();
    let mut policy = (*world.state.shared().policy.load_full()).clone();
    policy.house = Arc::new(house.clone());
    world.state.shared().policy.store(Arc::new(policy));
    world.state.roster().set_house(house).await;
}

#[tokio::test]
async fn a_target_that_is_not_allowed_is_refused_with_field_target_and_rule() {
    let world = world().await;
    lay_down(&world, RULES).await;
    let number = json!({"immediate": {"external": {"forward": "0900 223"}}});
    let put = world
        .send(Method::PUT, &format!("{ANNA}/settings/away"), number)
        .await;
    assert_problem(&put, 422, "invalid");
    let problem = &put.json()["problems"][0];
    assert_eq!(problem["field"], "immediate.external.forward");
    assert_eq!(
        problem["text"],
        "0900223 may not be forwarded to: forwarding.deny \"+49900*\""
    );
    let all = json!({"dnd": {"busy": {"forward": "sip:x@evil.example"}},
                     "own": {}, "away": {"busy": {"forward": "+499001234"}}});
    let put = world
        .send(Method::PUT, &format!("{ANNA}/settings"), all)
        .await;
    assert_problem(&put, 422, "invalid");
    let problems = put.json()["problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 1, "{problems}");
    assert_eq!(problems[0]["field"], "dnd.busy.forward");
    let rules = json!({"rules": [{"name": "x", "action": {"forward": "+4990099"}}]});
    let put = world
        .send(Method::PUT, &format!("{ANNA}/exceptions"), rules.clone())
        .await;
    assert_problem(&put, 422, "invalid");
    assert_eq!(put.json()["problems"][0]["field"], "rules.0.action.forward");
    let lines = world
        .import(&json!({"id": "eve", "exceptions": rules}).to_string())
        .await;
    assert_eq!(lines[0]["result"], "failed", "{lines:?}");
}

#[tokio::test]
async fn a_rule_that_comes_later_lets_the_forwarding_count_as_not_set() {
    let world = world().await;
    let settings = json!({
        "all": {"immediate": {"forward": "102"}},
        "available": {"immediate": {"forward": "+4990055"}, "no_answer": {"forward": "+4990056"}}});
    let put = world
        .send(Method::PUT, &format!("{ANNA}/settings"), settings)
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    let asked = "/api/v1/explain?from=%2B4930999&to=anna";
    let before = world.get(asked).await.json();
    assert_eq!(before["target"], "+4990055");
    lay_down(&world, RULES).await;
    let after = world.get(asked).await.json();
    assert_eq!(after["target"], "bob", "what it inherits counts: {after}");
    assert_eq!(after["reasons"][1]["code"], "target_refused");
    let whole = world.get(ANNA).await.json();
    assert!(whole["warnings"].to_string().contains("+49900*"), "{whole}");
    lay_down(&world, "[forwarding]\ndeny = [\"*\"]").await;
    let closed = world.get(asked).await.json();
    assert_eq!(
        closed["target"], "bob",
        "colleagues are always allowed: {closed}"
    );
}

#[tokio::test]
async fn circles_are_found_in_exceptions_and_addresses_of_ours() {
    let world = world().await;
    lay_down(&world, RULES).await;
    let rules =
        json!({"rules": [{"name": "Night", "action": {"forward": "sip:anna@example.com"}}]});
    let path = "/api/v1/subscribers/bob/exceptions";
    assert_eq!(world.send(Method::PUT, path, rules).await.status, 200);
    let back = json!({"immediate": {"forward": "sip:bob@EXAMPLE.com;transport=tcp"}});
    let put = world
        .send(Method::PUT, &format!("{ANNA}/settings/break"), back)
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    let warnings = put.json()["warnings"].to_string();
    assert!(
        warnings.contains("Bob Bauer forwards to you in the exception “Night”"),
        "{warnings}"
    );
    let own = json!({"rules": [{"name": "x", "action": {"forward": "sip:101@example.com"}}]});
    let put = world
        .send(Method::PUT, &format!("{ANNA}/exceptions"), own)
        .await;
    assert!(
        put.text().contains("You forward to yourself"),
        "{}",
        put.text()
    );
    let elsewhere = json!({"immediate": {"forward": "sip:anna@example.org"}});
    let put = world
        .send(
            Method::PUT,
            "/api/v1/subscribers/bob/settings/away",
            elsewhere,
        )
        .await;
    assert!(!put.text().contains("yourself"), "{}", put.text());
}
