//! Many calls at once: a mix of everything, and shards that hand calls to each other.

use crate::sipp::{Role, Sipp};
use crate::stage::*;
use crate::wait::are_peers_wanted;

/// Forty calls, ten in a second.
fn crowd(stage: &Stage, uri: &str) -> Sipp {
    let role: Role = stage.calling("uac_call", uri);
    stage.start(role.calls(40).rate(10).pause_ms(200))
}

#[test]
fn two_hundred_calls_of_all_kinds_leave_nothing_behind() {
    if !are_peers_wanted() {
        return;
    }
    let people = [
        anna("available", "{}"),
        bob("away", r#"{"away":{"immediate":{"forward":"+491701234567"}}}"#),
        r#"{"id":"cleo","display_name":"C","aliases":["103"],"status":"dnd"}"#.to_owned(),
        r#"{"id":"dora","display_name":"D","aliases":["104"],"settings":{"all":{"immediate":"voicemail"}}}"#
            .to_owned(),
    ];
    let stage = Stage::new("voicemail_forwarding = \"retarget\"", &people);
    let pbx = stage.start(stage.waiting("uas_answer", stage.pbx()).calls(80));
    let voicemail = stage.start(stage.waiting("uas_answer", stage.voicemail()).calls(40));
    let calls = ["101", "101", "102", "103", "104"];
    let callers = calls.map(|user| crowd(&stage, &format!("sip:{user}@example.com")));
    let finals = callers.map(|caller| {
        let answers = caller.finish().answers();
        answers
            .into_iter()
            .filter(|status| *status >= 200)
            .collect::<Vec<_>>()
    });
    for (found, expected) in finals.iter().zip([200, 200, 302, 480, 200]) {
        assert_eq!(*found, vec![expected; 40]);
    }
    assert_eq!(pbx.finish().requests().len(), 80 * 3);
    assert_eq!(voicemail.finish().requests().len(), 40 * 3);
    stage.assert_free();
    let server = &stage.server;
    assert_eq!(server.metric("pointsman_calls_decided_total"), 200);
    assert_eq!(server.metric("pointsman_decision_seconds_count"), 200);
    assert_eq!(server.metric("pointsman_calls_answered_total"), 120);
    assert_eq!(server.metric("pointsman_calls_ended_bye_total"), 120);
    assert_eq!(server.metric("pointsman_overloads_total"), 0);
    for (id, kind) in [
        ("anna", "answered"),
        ("bob", "forwarded"),
        ("cleo", "rejected_dnd"),
    ] {
        let journal = server.get(&format!("subscribers/{id}/journal?limit=1000"));
        let entries = journal["entries"].as_array().unwrap();
        let of_kind = entries.iter().filter(|entry| entry["kind"] == kind);
        assert_eq!(of_kind.count(), entries.len(), "{id}");
        assert_eq!(entries.len(), if id == "anna" { 80 } else { 40 }, "{id}");
    }
}

#[test]
fn shards_hand_over_what_is_not_theirs() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("shards = 2", &[PLAIN_ANNA]);
    let pbx = stage.start(stage.waiting("uas_answer", stage.pbx()).calls(40));
    let one_trunk = stage.calling("uac_call", TO_ANNA);
    let caller = stage.start(one_trunk.calls(40).rate(40).pause_ms(300));
    let finals: Vec<_> = caller.finish().answers();
    let answered = finals.iter().filter(|status| **status == 200).count();
    assert_eq!((answered, finals.iter().max()), (40, Some(&200)));
    assert_eq!(pbx.finish().requests().len(), 40 * 3);
    stage.assert_free();
    assert_eq!(stage.server.metric("pointsman_shards"), 2);
    assert!(stage.server.metric("pointsman_handed_over_total") > 0);
    assert_eq!(stage.server.metric("pointsman_calls_ended_bye_total"), 40);
    let journal = stage.server.get("subscribers/anna/journal?limit=1000");
    assert_eq!(journal["entries"].as_array().unwrap().len(), 40);
}
