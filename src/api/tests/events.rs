//! The event stream.

use super::calls::open_call;
use super::*;
use crate::presence::{Change, StatusSettings};

/// Reads the stream until an event of that name has come.
async fn next_event(body: &mut axum::body::BodyDataStream, name: &str) -> Value {
    use tokio_stream::StreamExt as _;
    let wanted = format!("event: {name}\n");
    loop {
        let wait = tokio::time::timeout(std::time::Duration::from_secs(5), body.next());
        let chunk = wait.await.expect("an event in time").unwrap().unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        if text.contains(&wanted) {
            let data = text
                .lines()
                .find_map(|line| line.strip_prefix("data: "))
                .unwrap();
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// The next event as it is on the wire.
async fn any_event(body: &mut axum::body::BodyDataStream) -> String {
    use tokio_stream::StreamExt as _;
    loop {
        let wait = tokio::time::timeout(std::time::Duration::from_secs(5), body.next());
        let chunk = wait.await.expect("an event in time").unwrap().unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        if text.starts_with("event: ") {
            return text;
        }
    }
}

async fn listen(world: &World) -> axum::body::BodyDataStream {
    let request = world.request(Method::GET, "/api/v1/events");
    let request = request.body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

#[tokio::test]
async fn the_event_stream_tells_status_and_call_changes() {
    let world = world().await;
    let mut events = listen(&world).await;
    let (stop, ending) = watch::channel(false);
    let gazette = tokio::spawn(crate::api::gazette::run(world.state.clone(), ending));
    tokio::task::yield_now().await;
    world
        .send(
            Method::PUT,
            "/api/v1/subscribers/anna/status",
            json!({"status": "break"}),
        )
        .await;
    let status = next_event(&mut events, "status").await;
    assert_eq!(
        (&status["id"], &status["effective_status"]),
        (&json!("anna"), &json!("break"))
    );

    let shared = world.state.shared();
    assert_eq!(
        shared.watchers.load(std::sync::atomic::Ordering::Relaxed),
        1
    );
    let record = open_call(&world).into();
    let began = CallEvent {
        is_open: true,
        record,
    };
    shared.shards[1].events.push(began).unwrap();
    shared.event_queued.notify_one();
    let call = next_event(&mut events, "call").await;
    assert_eq!(
        (&call["state"], &call["callee"]),
        (&json!("began"), &json!("anna"))
    );
    assert_eq!(next_event(&mut events, "status").await["id"], "bob");
    stop.send(true).unwrap();
    gazette.await.unwrap();
}

#[tokio::test]
async fn subscribers_hear_of_their_own_calls_only() {
    let world = world().await;
    let carol = json!({"id": "carol"});
    world.send(Method::POST, "/api/v1/subscribers", carol).await;
    let carol = world.with_token(Some(&world.token_of("carol").await));
    let mut events = listen(&carol).await;
    let told = |parties: &[&str]| {
        let parties = parties.iter().map(|id| (*id).to_owned()).collect();
        let document = json!({"parties": parties});
        let kind = crate::api::events::EventKind::Call;
        world.state.events().publish(kind, parties, document);
    };
    told(&["anna", "bob"]);
    told(&["bob", "carol"]);
    let call = next_event(&mut events, "call").await;
    assert_eq!(call["parties"], json!(["bob", "carol"]));
}

#[tokio::test]
async fn what_only_the_person_sees_is_told_to_them_alone() {
    let world = world().await;
    let mut own = listen(&world.with_token(Some(&world.token_of("anna").await))).await;
    let mut other = listen(&world.with_token(Some(&world.token_of("bob").await))).await;
    let (stop, ending) = watch::channel(false);
    let gazette = tokio::spawn(crate::api::gazette::run(world.state.clone(), ending));
    tokio::task::yield_now().await;
    // As a feature code writes it: a forwarding in every status.
    let put = Change::PutSettings {
        id: "anna".into(),
        part: "all".into(),
        settings: Box::new(
            StatusSettings::from_json(&json!({"immediate": {"forward": "bob"}})).unwrap(),
        ),
        if_version: None,
    };
    let changed = world.state.roster().change(put).await.unwrap();
    let told = next_event(&mut own, "document").await;
    assert_eq!(
        (&told["id"], &told["version"]),
        (&json!("anna"), &json!(changed.profile.version()))
    );
    let seen = "/api/v1/subscribers/anna/visibility";
    for (others, shows) in [("status", "status"), ("none", "none")] {
        world
            .send(Method::PUT, seen, json!({"others": others}))
            .await;
        let told = next_event(&mut other, "status").await;
        assert_eq!(
            (&told["id"], &told["shows"]),
            (&json!("anna"), &json!(shows))
        );
        assert_eq!(told.get("status").is_some(), shows == "status");
    }
    // Who sees nothing hears nothing of it, and never of another's document.
    for path in ["anna/status", "bob/status"] {
        let path = format!("/api/v1/subscribers/{path}");
        world
            .send(Method::PUT, &path, json!({"status": "away"}))
            .await;
    }
    let told = any_event(&mut other).await;
    assert!(told.contains("\"id\":\"bob\""), "{told}");
    stop.send(true).unwrap();
    gazette.await.unwrap();
}
