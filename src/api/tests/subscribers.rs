//! Subscribers, statuses, settings, import and export.

use super::*;

#[tokio::test]
async fn long_listings_are_packed_for_who_unpacks_them() {
    let world = world().await;
    for number in 0..40 {
        let document = json!({"id": format!("p{number}")});
        world
            .send(Method::POST, "/api/v1/subscribers", document)
            .await;
    }
    let path = "/api/v1/colleagues";
    let plain = world.get(path).await;
    assert_eq!(plain.headers.get("content-encoding"), None);
    let asked = world
        .request(Method::GET, path)
        .header("accept-encoding", "gzip, br");
    let packed = world.call(asked.body(Body::empty()).unwrap()).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() * 4 < plain.body.len());
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&packed.body[..]),
        &mut text,
    )
    .unwrap();
    assert_eq!(text, plain.text());
    let short = world
        .request(Method::GET, "/api/v1/subscribers/anna/status")
        .header("accept-encoding", "gzip");
    let short = world.call(short.body(Body::empty()).unwrap()).await;
    assert_eq!(short.headers.get("content-encoding"), None);
}

#[tokio::test]
async fn a_subscriber_is_created_read_replaced_and_deleted() {
    let world = empty_world();
    let path = "/api/v1/subscribers/carol";
    let created = world
        .send(
            Method::POST,
            "/api/v1/subscribers",
            json!({"id": "carol", "aliases": ["030 1234-56"]}),
        )
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(created.headers["location"], path);
    assert_eq!(created.json()["effective_status"], "available");
    let read = world.get("/api/v1/subscribers/CAROL").await;
    assert_eq!(read.etag(), created.etag());
    assert_eq!(read.json()["calls"], 0);

    let mut document = read.json();
    document["display_name"] = json!("Carol Conrad");
    let replaced = world
        .send_if(Method::PUT, path, document.clone(), Some(read.etag()))
        .await;
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    assert_ne!(replaced.etag(), read.etag());
    let stale = world
        .send_if(Method::PUT, path, document, Some(read.etag()))
        .await;
    assert_problem(&stale, 412, "version-mismatch");

    assert_eq!(world.delete(path).await.status, 200);
    assert_problem(&world.get(path).await, 404, "not-found");
    assert_problem(&world.delete(path).await, 404, "not-found");
}

#[tokio::test]
async fn conflicts_and_bad_documents_are_told_by_key() {
    let world = world().await;
    let path = "/api/v1/subscribers";
    let twice = world.send(Method::POST, path, json!({"id": "ANNA"})).await;
    assert_problem(&twice, 409, "conflict");
    let taken = world
        .send(
            Method::POST,
            path,
            json!({"id": "dora", "aliases": ["101"]}),
        )
        .await;
    assert_problem(&taken, 409, "conflict");
    assert!(taken.text().contains("anna"), "{}", taken.text());

    let bad = json!({"id": "dora", "nmae": "x", "settings": {"away": {"immediate": "voicemial"}}});
    let answer = world.send(Method::POST, path, bad).await;
    assert_problem(&answer, 422, "invalid");
    let problems = answer.json()["problems"].clone();
    let fields: Vec<&str> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["nmae", "settings.away.immediate"]);

    let other_id = world
        .send(
            Method::PUT,
            "/api/v1/subscribers/anna",
            json!({"id": "bob"}),
        )
        .await;
    assert_problem(&other_id, 422, "invalid");
}

#[tokio::test]
async fn listings_are_paged_and_searched() {
    let world = world().await;
    let first = world.get("/api/v1/subscribers?limit=1").await.json();
    assert_eq!(first["subscribers"][0]["id"], "anna");
    assert_eq!(first["total"], 2);
    let next = first["next"].as_str().unwrap();
    let second = world
        .get(&format!("/api/v1/subscribers?limit=1&after={next}"))
        .await
        .json();
    assert_eq!(second["subscribers"][0]["id"], "bob");
    assert_eq!(second.get("next"), None);
    let found = world.get("/api/v1/subscribers?search=bauer").await.json();
    assert_eq!(found["subscribers"].as_array().unwrap().len(), 1);
    for bad in ["limit=0", "limit=1001", "limit=x", "serach=x"] {
        let answer = world.get(&format!("/api/v1/subscribers?{bad}")).await;
        assert_problem(&answer, 400, "malformed");
    }
    let unknown = world.get("/api/v1/subscribers?serach=x").await;
    assert!(unknown.text().contains("serach"), "{}", unknown.text());
}

#[tokio::test]
async fn a_status_is_set_and_cleared_but_never_in_call() {
    let world = world().await;
    let path = "/api/v1/subscribers/anna/status";
    let wish =
        json!({"status": "away", "message": "Back at three", "until": "2026-11-23T14:00:00Z"});
    let set = world.send(Method::PUT, path, wish).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let status = set.json();
    assert_eq!(status["effective_status"], "away");
    assert_eq!(status["message"], "Back at three");
    assert_eq!(status["source"], "admin");

    let in_call = world
        .send(Method::PUT, path, json!({"status": "in_call"}))
        .await;
    assert_problem(&in_call, 409, "conflict");
    assert!(in_call.text().contains("during calls"));
    let past = json!({"status": "away", "until": NOW});
    let past = world.send(Method::PUT, path, past).await;
    assert_problem(&past, 422, "invalid");
    assert_eq!(
        world.get(path).await.json()["status"],
        "away",
        "nothing changed"
    );

    let stale = world
        .send_if(Method::PUT, path, json!({"status": "dnd"}), Some("\"1\""))
        .await;
    assert_problem(&stale, 412, "version-mismatch");
    let cleared = world.delete(path).await.json();
    assert_eq!(cleared["effective_status"], "available");
    assert_eq!(cleared.get("message"), None);
    let nobody = world.send(
        Method::PUT,
        "/api/v1/subscribers/x/status",
        json!({"status": "dnd"}),
    );
    assert_problem(&nobody.await, 404, "not-found");
}

#[tokio::test]
async fn settings_are_changed_one_status_at_a_time() {
    let world = world().await;
    let all = "/api/v1/subscribers/anna/settings";
    let part = "/api/v1/subscribers/anna/settings/dnd";
    let changed = world
        .send(Method::PUT, part, json!({"immediate": "voicemail"}))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(
        changed.json()["settings"],
        json!({"immediate": "voicemail"})
    );
    let settings = world.get(all).await.json();
    assert_eq!(settings["dnd"], json!({"immediate": "voicemail"}));
    assert_eq!(settings["available"]["ring_for_s"], 20, "the others stay");
    assert_eq!(world.delete(part).await.json()["settings"], json!({}));
    assert_problem(&world.get(&format!("{all}/asleep")).await, 404, "not-found");
    let bad = world
        .send(Method::PUT, part, json!({"imediate": "reject"}))
        .await;
    assert_problem(&bad, 422, "invalid");
    let replaced = world
        .send(Method::PUT, all, json!({"all": {"busy": "reject"}}))
        .await;
    assert_eq!(
        replaced.json()["settings"],
        json!({"all": {"busy": "reject"}})
    );
    assert_eq!(world.delete(all).await.json()["settings"], json!({}));
}

#[tokio::test]
async fn an_import_answers_each_line_and_an_export_gives_it_back() {
    let world = empty_world();
    let mut lines = String::new();
    for n in 0..2_500 {
        lines.push_str(&format!(
            "{{\"id\":\"s{n:04}\",\"aliases\":[\"{n:05}\"]}}\n"
        ));
    }
    lines.push_str(
        "{\"id\":\n\n{\"id\":\"x\",\"aliases\":[\"00001\"]}\n{\"id\":\"y\",\"colour\":1}",
    );
    let results = world.import(&lines).await;
    assert_eq!(results.len(), 2_503);
    let created = results
        .iter()
        .filter(|line| line["result"] == "created")
        .count();
    assert_eq!(created, 2_500);
    let failed: Vec<_> = results
        .iter()
        .filter(|line| line["result"] == "failed")
        .collect();
    let numbers: Vec<_> = failed
        .iter()
        .map(|line| line["line"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [2_501, 2_503, 2_504]);
    assert!(
        failed[1]["detail"].as_str().unwrap().contains("s0001"),
        "{}",
        failed[1]
    );

    let export = world.get("/api/v1/export").await.text();
    assert_eq!(export.lines().count(), 2_500);
    let other = empty_world();
    other.import(&export).await;
    assert_eq!(other.get("/api/v1/export").await.text(), export);
}
