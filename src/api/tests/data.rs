//! One person's data: given out, erased.

use super::*;
use crate::call::{Entry, EntryKind};
use crate::store::{Journal, Store};

const DATA: &str = "/api/v1/subscribers/anna/data";

fn note(world: &World, journal: &mut Box<dyn Journal>, (id, from): (&str, &str)) {
    let entry = Entry {
        kind: EntryKind::Missed,
        at_unix_ms: 1_795_435_200_000,
        ring_ms: 9_000,
        talk_s: 0,
        status: 480,
        from: from.as_bytes(),
        target: b"",
        call_id: b"x",
        reasons: b"available",
    };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    journal.append(world.state.journal_key(id), &bytes);
}

#[tokio::test]
async fn everything_about_a_person_is_given_out_to_them_and_the_administrator() {
    let world = world().await;
    let mut journal = world.store.journals(1).unwrap().remove(0);
    note(&world, &mut journal, ("anna", "sip:bob@example.com"));
    note(&world, &mut journal, ("bob", "sip:anna@example.com"));
    let anna = world.with_token(Some(&world.token_of("anna").await));
    let given = anna.get(DATA).await;
    assert_eq!(given.status, 200, "{}", given.text());
    let given = given.json();
    assert_eq!(given["subscriber"]["display_name"], "Anna Arndt");
    assert_eq!(given["tokens"][0]["label"], "laptop");
    assert_eq!(given["journal"].as_array().unwrap().len(), 1);
    assert_eq!(given["bindings"], json!([]));
    let bob = world.with_token(Some(&world.token_of("bob").await));
    assert_problem(&bob.get(DATA).await, 403, "forbidden");
    assert_eq!(world.get(DATA).await.status, 200);
}

#[tokio::test]
async fn the_journal_of_somebody_deleted_is_nobodys() {
    let world = world().await;
    let mut journal = world.store.journals(1).unwrap().remove(0);
    note(&world, &mut journal, ("anna", "sip:bob@example.com"));
    note(&world, &mut journal, ("bob", "sip:anna@example.com"));
    let entries = async |id: &str| {
        let path = format!("/api/v1/subscribers/{id}/journal");
        let journal = world.get(&path).await.json();
        journal["entries"].as_array().unwrap().len()
    };
    assert_eq!(entries("anna").await, 1);
    assert_eq!(world.delete("/api/v1/subscribers/anna").await.status, 200);
    let anna = json!({"id": "anna"});
    world.send(Method::POST, "/api/v1/subscribers", anna).await;
    assert_eq!((entries("anna").await, entries("bob").await), (0, 1));
}

#[tokio::test]
async fn a_journal_is_erased_by_whose_it_is_and_all_else_by_the_administrator() {
    let world = world().await;
    let mut journal = world.store.journals(1).unwrap().remove(0);
    for _ in 0..3 {
        note(&world, &mut journal, ("anna", "sip:bob@example.com"));
    }
    note(&world, &mut journal, ("bob", "sip:anna@example.com"));
    let path = "/api/v1/subscribers/anna/journal";
    let anna = world.with_token(Some(&world.token_of("anna").await));
    assert_problem(&anna.delete(DATA).await, 403, "forbidden");
    assert_eq!(anna.delete(path).await.status, 204);
    assert_eq!(world.get(path).await.json()["entries"], json!([]));
    note(&world, &mut journal, ("anna", "sip:bob@example.com"));
    assert_eq!(world.delete(DATA).await.status, 204);
    assert_eq!(anna.get(path).await.status, 401, "the token is gone");
    assert_problem(&world.get(DATA).await, 404, "not-found");
    let key = world.state.journal_key("anna");
    assert_eq!(world.store.read_journal(key, None, 10).unwrap().len(), 0);
    assert_eq!(
        world.delete(DATA).await.status,
        204,
        "nothing is left, again"
    );
    let bob = world.get("/api/v1/subscribers/bob/journal").await.json();
    assert_eq!(bob["entries"].as_array().unwrap().len(), 1, "that is Bob's");
}
