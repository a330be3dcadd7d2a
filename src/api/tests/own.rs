//! Statuses of the deployment's own.

use super::*;
use crate::config::Config;

const STATUS: &str = "/api/v1/subscribers/anna/status";
const ANNA: &str = "/api/v1/subscribers/anna";
const OWN: &str = r#"
    [[status]]
    id = "business_trip"
    text_de = "Dienstreise"
    text_en = "Business trip"
    colour = "blue"
    activity = "travel"
    [[status]]
    id = "home_office"
    class = "available"
    [[status]]
    id = "exam"
    class = "dnd"
"#;

/// What the administrator lays down is in force for calls and changes.
async fn lay_down(world: &World, text: &str) {
    let config = Config::parse("test.toml".as_ref(), text, []).unwrap();
    let house = config.house();
    let mut policy = (*world.state.shared().policy.load_full()).clone();
    policy.house = Arc::new(house.clone());
    world.state.shared().policy.store(Arc::new(policy));
    world.state.roster().set_house(house).await;
}

async fn world() -> World {
    let world = super::world().await;
    lay_down(&world, OWN).await;
    world
}

async fn choose(world: &World, status: &str) -> Value {
    let put = world
        .send(Method::PUT, STATUS, json!({"status": status}))
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    put.json()
}

async fn explained(world: &World) -> Value {
    let asked = "/api/v1/explain?from=%2B4930999&to=anna&lang=de";
    world.get(asked).await.json()
}

#[tokio::test]
async fn the_statuses_are_listed_with_texts_class_and_colour() {
    let world = world().await;
    let listed = world.get("/api/v1/statuses").await.json();
    let listed = listed.as_array().unwrap();
    let ids: Vec<_> = listed
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        [
            "available",
            "away",
            "break",
            "dnd",
            "in_call",
            "business_trip",
            "home_office",
            "exam"
        ]
    );
    assert_eq!(listed[4]["can_be_chosen"], false);
    assert_eq!(
        listed[5],
        json!({"id": "business_trip", "own": true, "class": "away", "status": "away",
            "text": {"de": "Dienstreise", "en": "Business trip"}, "colour": "blue",
            "activity": "travel", "can_be_chosen": true})
    );
    assert_eq!(
        listed[6]["text"],
        json!({"de": "home_office", "en": "home_office"})
    );
    let bob = world.with_token(Some(&world.token_of("bob").await));
    assert_eq!(bob.get("/api/v1/statuses").await.status, 200);
    assert_eq!(
        world.with_token(None).get("/api/v1/statuses").await.status,
        401
    );
}

#[tokio::test]
async fn an_own_status_is_chosen_and_means_what_its_class_does() {
    let world = world().await;
    for (status, class, layer) in [
        ("business_trip", "away", "chosen"),
        ("home_office", "available", "available"),
        ("exam", "dnd", "held"),
    ] {
        let shown = choose(&world, status).await;
        assert_eq!(shown["own_status"], status);
        assert_eq!(
            (&shown["status"], &shown["effective_status"]),
            (&json!(class), &json!(class))
        );
        assert_eq!(shown["layers"][0]["layer"], layer);
        assert_eq!(shown["layers"][0]["own_status"], status);
    }
    let bob = world.with_token(Some(&world.token_of("bob").await));
    let seen = bob.get("/api/v1/colleagues").await.json();
    assert_eq!(seen["colleagues"][0]["own_status"], "exam");
    let plain = choose(&world, "away").await;
    assert!(plain.get("own_status").is_none(), "{plain}");
    let unknown = world
        .send(Method::PUT, STATUS, json!({"status": "holiday"}))
        .await;
    assert_problem(&unknown, 422, "invalid");
    assert!(
        unknown.text().contains("away, break, dnd, business_trip"),
        "{}",
        unknown.text()
    );
}

#[tokio::test]
async fn settings_of_its_own_come_before_those_of_its_class_and_of_all() {
    let world = world().await;
    choose(&world, "business_trip").await;
    let inherited = explained(&world).await;
    assert_eq!(
        inherited["target"], "+491701234567",
        "that of away: {inherited}"
    );
    let path = format!("{ANNA}/settings/business_trip");
    let own = json!({"immediate": "voicemail", "message": "Back on Monday"});
    let put = world.send(Method::PUT, &path, own.clone()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(world.get(&path).await.json(), own);
    let now = explained(&world).await;
    assert_eq!(now["voicemail"], true, "{now}");
    assert!(
        now["reasons"][0]["sentence"]
            .as_str()
            .unwrap()
            .contains("„Dienstreise“"),
        "{now}"
    );
    assert_eq!(world.get(STATUS).await.json()["message"], "Back on Monday");
    let away = choose(&world, "away").await;
    assert!(away.get("message").is_none(), "{away}");
    assert_eq!(explained(&world).await["target"], "+491701234567");
    assert_eq!(world.delete(&path).await.status, 200);
    assert_eq!(world.get(&path).await.json(), json!({}));
    let nowhere = world.get(&format!("{ANNA}/settings/holiday")).await;
    assert_problem(&nowhere, 404, "not-found");
}

#[tokio::test]
async fn orders_entries_and_categories_can_stand_for_one() {
    let world = world().await;
    let order = json!({"status": "exam", "message": "Thesis"});
    let ordered = world
        .send(Method::PUT, &format!("{ANNA}/override"), order)
        .await;
    assert_eq!(ordered.status, 200, "{}", ordered.text());
    assert_eq!(ordered.json()["layers"][0]["own_status"], "exam");
    assert_eq!(ordered.json()["status"], "dnd");
    world.delete(&format!("{ANNA}/override")).await;
    let entry = json!({"kind": "calendar", "id": "c1", "status": "business_trip"});
    let told = world
        .send(Method::POST, &format!("{ANNA}/signals"), entry)
        .await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(told.json()["own_status"], "business_trip");
    let harmless = json!({"kind": "calendar", "id": "c2", "status": "home_office"});
    let refused = world
        .send(Method::POST, &format!("{ANNA}/signals"), harmless)
        .await;
    assert_problem(&refused, 422, "invalid");
    let triggers = format!("{ANNA}/triggers");
    let wanted = json!({"calendar_categories": {"Travel": "business_trip"}});
    let put = world.send(Method::PUT, &triggers, wanted.clone()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(world.get(&triggers).await.json(), wanted);
    let typo = json!({"calendar_categories": {"Travel": "busines_trip"}});
    assert_problem(
        &world.send(Method::PUT, &triggers, typo).await,
        422,
        "invalid",
    );
}

#[tokio::test]
async fn one_that_is_taken_away_counts_as_its_class_and_comes_back() {
    let world = world().await;
    choose(&world, "exam").await;
    let path = format!("{ANNA}/settings/exam");
    world
        .send(Method::PUT, &path, json!({"immediate": "connect"}))
        .await;
    assert_eq!(explained(&world).await["plan"], "connect");
    lay_down(&world, "").await;
    let shown = world.get(STATUS).await.json();
    assert_eq!(
        (&shown["status"], shown.get("own_status")),
        (&json!("dnd"), None)
    );
    assert_eq!(explained(&world).await["plan"], "reject");
    let whole = world.get(ANNA).await.json();
    assert!(whole["warnings"].to_string().contains("exam"), "{whole}");
    let again = world.send(Method::PUT, ANNA, whole).await;
    assert_eq!(
        again.status,
        200,
        "what was read can be put back: {}",
        again.text()
    );
    assert_eq!(
        world.get(&path).await.json(),
        json!({"immediate": "connect"})
    );
    lay_down(&world, "[[status]]\nid = \"exam\"\nclass = \"restricted\"").await;
    let back = world.get(STATUS).await.json();
    assert_eq!(
        (&back["status"], &back["own_status"]),
        (&json!("break"), &json!("exam"))
    );
    assert_eq!(explained(&world).await["plan"], "connect");
}

#[tokio::test]
async fn what_was_exported_is_imported_again() {
    let world = world().await;
    choose(&world, "business_trip").await;
    let settings = json!({"own": {"exam": {"immediate": "missed"}}});
    let put = world
        .send(Method::PUT, &format!("{ANNA}/settings"), settings)
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    let exported = world.get("/api/v1/export").await.text();
    let other = empty_world();
    let refused = other.import(&exported).await;
    assert_eq!(refused[0]["result"], "failed", "{refused:?}");
    assert!(
        refused[0].to_string().contains("business_trip"),
        "{refused:?}"
    );
    lay_down(&other, OWN).await;
    let done = other.import(&exported).await;
    assert_eq!(done[0]["result"], "created", "{done:?}");
    let read = other.get(ANNA).await.json();
    assert_eq!(read["own_status"], "business_trip");
    assert_eq!(read["settings"]["own"]["exam"]["immediate"], "missed");
}
