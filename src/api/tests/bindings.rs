//! Phones that are registered, as the administrator and their owner see them.

use super::*;
use crate::message::{Index, Transport};
use crate::registrar::{Arrived, Flow, Registration, Rules};

/// Binds a contact of a subscriber that registered by WebSocket or by a datagram.
fn bind(world: &World, id: &str, contact: &str, transport: Transport) {
    let shared = world.state.shared();
    let callee = shared.directory.handle_of_id(id).unwrap();
    let text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nCall-ID: {contact}\r\n\
         User-Agent: Telephone 7\r\nCSeq: 1 REGISTER\r\nContact: {contact}\r\n\r\n"
    );
    let mut index = Index::new();
    let message = index.parse(text.as_bytes()).unwrap();
    let connection = transport.is_reliable().then_some(std::num::NonZeroU64::MIN);
    let arrived = Arrived {
        flow: Flow {
            listener: 0,
            transport,
            peer: "192.0.2.9:5060".parse().unwrap(),
            connection,
        },
        is_direct: true,
        sent_by: None,
    };
    let now_unix_ms = NOW.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let registration = Registration::read(
        &message,
        (callee, id),
        arrived,
        (1, now_unix_ms),
        Rules::default(),
    );
    let locations = &shared.locations;
    locations
        .register(&registration.unwrap(), &|_| true)
        .unwrap();
}

const PATH: &str = "/api/v1/subscribers/anna/bindings";

#[tokio::test]
async fn bindings_are_listed_with_how_they_are_reached() {
    let world = world().await;
    assert_eq!(world.get(PATH).await.json()["bindings"], json!([]));
    bind(&world, "anna", "<sip:anna@192.0.2.9>;q=0.5", Transport::Udp);
    bind(&world, "anna", "<sip:x@y.invalid>", Transport::Wss);
    let listed = world.get(PATH).await.json();
    let [first, second] = listed["bindings"].as_array().unwrap().as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(
        (&first["contact"], &first["q"]),
        (&json!("sip:anna@192.0.2.9"), &json!(0.5))
    );
    assert_eq!(
        (&first["expires_s"], &first["is_reachable"]),
        (&json!(3600), &json!(true))
    );
    assert_eq!(
        (&first["reached_by"], &first["user_agent"]),
        (&json!("address"), &json!("Telephone 7"))
    );
    assert_eq!(
        (&second["reached_by"], &second["transport"]),
        (&json!("flow"), &json!("wss"))
    );
    assert_eq!(second["is_reachable"], false, "its connection is closed");
    bind(&world, "bob", "<sip:bob@192.0.2.9>", Transport::Udp);
    let all = world.get("/api/v1/bindings?limit=2").await.json();
    assert_eq!(
        (all["bindings"].as_array().unwrap().len(), &all["total"]),
        (2, &json!(3))
    );
    let metrics = world.get("/metrics").await.text();
    assert!(metrics.contains("pointsman_bindings 3"), "{metrics}");
}

#[tokio::test]
async fn one_binding_is_removed_or_all() {
    let world = world().await;
    for n in 0..3 {
        bind(
            &world,
            "anna",
            &format!("<sip:a{n}@192.0.2.9>"),
            Transport::Udp,
        );
    }
    bind(&world, "bob", "<sip:bob@192.0.2.9>", Transport::Udp);
    let id =
        |bindings: &Value, at: usize| bindings["bindings"][at]["id"].as_str().unwrap().to_owned();
    let annas = world.get(PATH).await.json();
    let bobs = world.get("/api/v1/subscribers/bob/bindings").await.json();
    let others = format!("{PATH}/{}", id(&bobs, 0));
    assert_problem(&world.delete(&others).await, 404, "not-found");
    assert_problem(&world.delete(&format!("{PATH}/x")).await, 404, "not-found");
    let one = format!("{PATH}/{}", id(&annas, 1));
    assert_eq!(world.delete(&one).await.status, 204);
    assert_eq!(
        world.get(PATH).await.json()["bindings"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(world.delete(PATH).await.status, 204);
    assert_eq!(world.get(PATH).await.json()["bindings"], json!([]));
    assert_eq!(world.state.shared().locations.len(), 1);
}

#[tokio::test]
async fn a_deleted_subscriber_leaves_no_bindings() {
    let world = world().await;
    bind(&world, "anna", "<sip:anna@192.0.2.9>", Transport::Udp);
    assert_eq!(world.delete("/api/v1/subscribers/anna").await.status, 200);
    assert!(world.state.shared().locations.is_empty());
    assert_problem(&world.get(PATH).await, 404, "not-found");
}

#[tokio::test]
async fn a_subscriber_sees_their_own_bindings_only() {
    let world = world().await;
    let anna = world.with_token(Some(&world.token_of("anna").await));
    assert_eq!(anna.get(PATH).await.status, 200);
    assert_eq!(
        anna.get("/api/v1/subscribers/bob/bindings").await.status,
        403
    );
    assert_eq!(anna.get("/api/v1/bindings").await.status, 403);
}
