//! Passwords: kept as digests, shown to nobody, moved only where that is asked for; and bans.

use std::net::IpAddr;

use super::*;
use crate::auth::{BanRules, Hashing, Offence};

const SECRET: &str = "correct-horse-battery";
const PATH: &str = "/api/v1/subscribers/carol";

fn hashing(realm: &str) -> Hashing {
    Hashing {
        realm: realm.into(),
        md5: true,
    }
}

/// Everything that the store holds, as text.
fn stored(world: &World) -> String {
    let mut all = String::new();
    let mut add = |key: &str, value: &[u8]| {
        all.push_str(key);
        all.push_str(&String::from_utf8_lossy(value));
    };
    world.store.load(&mut add).unwrap();
    all
}

async fn carol(world: &World) -> Answer {
    world.state.roster().set_hashing(hashing("example.com"));
    let document = json!({"id": "carol", "aliases": ["103"], "password": SECRET});
    world.send(Method::PUT, PATH, document).await
}

#[tokio::test]
async fn a_password_is_nowhere_in_clear() {
    let world = empty_world();
    let created = carol(&world).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let lines = format!("{{\"id\":\"dora\",\"password\":\"{SECRET}\"}}\n");
    let imported = world.import(&lines).await;
    assert_eq!(imported[0]["result"], "created");
    assert!(stored(&world).contains("SHA-512-256"));
    let shown = [
        created.text(),
        world.get(PATH).await.text(),
        world.get("/api/v1/subscribers").await.text(),
        world.get("/api/v1/export").await.text(),
        stored(&world),
        imported[0].to_string(),
    ];
    for text in shown {
        assert!(!text.contains(SECRET), "{text}");
    }
    for text in [
        world.get(PATH).await.text(),
        world.get("/api/v1/export").await.text(),
    ] {
        assert!(!text.contains("SHA-256"), "{text}");
    }
    assert_eq!(world.get(PATH).await.json()["has_password"], true);
}

#[tokio::test]
async fn a_password_stays_until_it_is_set_or_removed() {
    let world = empty_world();
    carol(&world).await;
    let profile = || world.state.directory().get("carol").unwrap();
    let first = profile().credentials().cloned().unwrap();
    let put = |document| world.send(Method::PUT, PATH, document);
    put(json!({"id": "carol", "aliases": ["103"], "display_name": "C"})).await;
    let status = json!({"status": "away"});
    world
        .send(Method::PUT, &format!("{PATH}/status"), status)
        .await;
    let settings = json!({"immediate": "voicemail"});
    world
        .send(Method::PUT, &format!("{PATH}/settings/away"), settings)
        .await;
    assert_eq!(profile().credentials(), Some(&first));
    assert_eq!(profile().display_name(), "C");

    let mut answer = world.get(PATH).await.json();
    answer["password"] = json!("another password");
    put(answer).await;
    assert_ne!(profile().credentials(), Some(&first));
    put(json!({"id": "carol", "password": null})).await;
    assert_eq!(profile().credentials(), None);
    assert!(world.get(PATH).await.json().get("has_password").is_none());
    assert!(!stored(&world).contains("credentials"));
}

#[tokio::test]
async fn a_server_moves_with_its_passwords_if_that_is_asked_for() {
    let world = empty_world();
    carol(&world).await;
    world.import("{\"id\":\"dora\"}\n").await;
    let plain = world.get("/api/v1/export").await.text();
    let whole = world.get("/api/v1/export?credentials=true").await.text();
    assert_eq!(plain.lines().count(), 2);
    assert!(whole.contains("\"credentials\"") && !whole.contains(SECRET));
    let other = empty_world();
    other.import(&whole).await;
    let export = other.get("/api/v1/export?credentials=true").await.text();
    assert_eq!(export, whole);
    let ours = world.state.directory().get("carol").unwrap();
    let theirs = other.state.directory().get("carol").unwrap();
    assert_eq!(ours.credentials(), theirs.credentials());
    let restarted = world_over(other.store.clone(), Some(ADMIN));
    let theirs = restarted.state.directory().get("carol").unwrap();
    assert_eq!(ours.credentials(), theirs.credentials());
    let bob = world.with_token(Some(&world.token_of("dora").await));
    assert_eq!(bob.get("/api/v1/export?credentials=true").await.status, 403);
}

#[tokio::test]
async fn a_password_that_phones_cannot_use_is_told() {
    let world = empty_world();
    carol(&world).await;
    assert!(world.get(PATH).await.json().get("warnings").is_none());
    world.state.roster().set_hashing(hashing("example.net"));
    let read = world.get(PATH).await.json();
    assert!(
        read["warnings"][0].as_str().unwrap().contains("realm"),
        "{read}"
    );
    carol(&world).await;
    let document = json!({"id": "carol", "aliases": ["103", "104"]});
    let changed = world.send(Method::PUT, PATH, document).await.json();
    assert!(
        changed["warnings"][0].as_str().unwrap().contains("104"),
        "{changed}"
    );
    let short = json!({"id": "eve", "password": "1234"});
    let created = world
        .send(Method::POST, "/api/v1/subscribers", short)
        .await
        .json();
    assert!(
        created["warnings"][0]
            .as_str()
            .unwrap()
            .contains("8 characters"),
        "{created}"
    );
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_repeated() {
    let world = empty_world();
    let long = SECRET.repeat(20);
    for document in [
        json!({"id": "carol", "password": long}),
        json!({"id": "carol", "password": format!("{SECRET}\n")}),
        json!({"id": "carol", "password": [SECRET]}),
        json!({"id": "carol", "password": ""}),
        json!({"id": "carol", "password": SECRET, "credentials": {"format": 1}}),
    ] {
        let answer = world.send(Method::PUT, PATH, document).await;
        assert_problem(&answer, 422, "invalid");
        assert!(!answer.text().contains(SECRET), "{}", answer.text());
    }
}

#[tokio::test]
async fn bans_are_listed_and_lifted_by_the_administrator() {
    let world = world().await;
    let mallory: IpAddr = "2001:db8:0:1::66".parse().unwrap();
    let rules = BanRules {
        failures: 1,
        window_s: 60,
        ban_s: 300,
    };
    let now_ms = world.state.now().as_millisecond();
    let offence = (Offence::WrongCredentials, 1);
    world
        .state
        .shared()
        .guard
        .bans
        .note(mallory, offence, &rules, now_ms);
    let listed = world.get("/api/v1/bans").await.json();
    assert_eq!(listed["bans"][0]["source"], "2001:db8:0:1::/64");
    assert!(listed["bans"][0]["until"].as_str() > listed["bans"][0]["since"].as_str());
    let anna = world.with_token(Some(&world.token_of("anna").await));
    assert_eq!(anna.get("/api/v1/bans").await.status, 403);
    let path = "/api/v1/bans/2001:db8:0:1::%2F64";
    assert_eq!(anna.delete(path).await.status, 403);
    assert_eq!(world.delete(path).await.status, 204);
    assert_problem(&world.delete(path).await, 404, "not-found");
    assert_problem(&world.delete("/api/v1/bans/nobody").await, 422, "invalid");
}
