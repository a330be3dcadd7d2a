//! The life of a server while calls are up: kill -9, SIGTERM, SIGHUP.

use std::time::Duration;

use serde_json::json;

use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true};

#[test]
fn calls_survive_kill_9_and_their_byes_clear_the_marks() {
    if !are_peers_wanted() {
        return;
    }
    let mut stage = Stage::new("", &[PLAIN_ANNA, PLAIN_BOB]);
    let pbx = stage.start(stage.waiting("uas_answer", stage.pbx()).calls(4));
    let to_anna = stage.calling("uac_talk", TO_ANNA).calls(3).rate(30);
    let to_anna = stage.start(to_anna);
    let by_bob = stage.calling("uac_talk", "sip:199@example.com");
    let by_bob = stage.start(by_bob.key("caller", "<sip:bob@example.com>"));
    stage.wait_for_calls_of("anna", 3);
    stage.wait_for_calls_of("bob", 1);
    let forward = json!({"immediate": {"forward": "+491701234567"}, "message": "Back at three"});
    stage.server.put("subscribers/anna/settings/away", &forward);
    let away = json!({"status": "away"});
    stage.server.put("subscribers/bob/status", &away);
    let mut before = call_ids(&stage);
    stage.server.kill_9();
    stage.restart();
    let mut after = call_ids(&stage);
    before.sort();
    after.sort();
    assert_eq!(after, before);
    stage.wait_for_calls_of("anna", 3);
    stage.wait_for_calls_of("bob", 1);
    let kept = stage.server.get("subscribers/anna/settings/away");
    assert_eq!(kept["immediate"], forward["immediate"], "{kept}");
    assert_eq!(stage.subscriber("bob")["status"], "away");
    to_anna.hang_up_and_finish();
    by_bob.hang_up_and_finish();
    let pbx = pbx.finish();
    let byes = pbx.requests().into_iter().filter(|method| *method == "BYE");
    assert_eq!(byes.count(), 4);
    stage.assert_free();
    assert_eq!(stage.subscriber("bob")["effective_status"], "away");
    let entry = stage.journal("anna", 3);
    assert_eq!(entry["kind"], "answered");
}

fn call_ids(stage: &Stage) -> Vec<String> {
    let calls = stage.calls();
    let ids = calls
        .iter()
        .map(|call| call["call_id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[test]
fn sigterm_lets_the_open_call_end_and_takes_no_new_one() {
    if !are_peers_wanted() {
        return;
    }
    let mut stage = Stage::new("retry_after_s = 9", &[PLAIN_ANNA, PLAIN_BOB]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let open = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("anna", 1);
    assert_eq!(stage.server.ask("/readyz").0, 200);
    stage.server.signal("-TERM");
    until_true("not ready any more", || {
        stage.server.ask("/readyz").0 == 503
    });
    let refused = stage.call("sip:102@example.com");
    assert_eq!(refused.answers(), [503]);
    assert_eq!(refused.answer(503).header("Retry-After"), "9");
    assert_eq!(stage.subscriber("anna")["calls"], 1);
    assert_eq!(open.hang_up_and_finish().answers(), [180, 200]);
    assert_eq!(pbx.finish().requests(), ["INVITE", "ACK", "BYE"]);
    let ended = stage.server.wait(Duration::from_secs(10));
    assert_eq!(ended.code(), Some(0), "{}", stage.server.log());
    stage.restart();
    stage.assert_noted("anna", "answered");
    stage.assert_free();
}

#[test]
fn sigterm_gives_up_waiting_after_the_grace_and_the_call_is_known_afterwards() {
    if !are_peers_wanted() {
        return;
    }
    let mut stage = Stage::new("[shutdown]\ngrace_s = 1", &[PLAIN_ANNA]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let open = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("anna", 1);
    stage.server.signal("-TERM");
    let ended = stage.server.wait(Duration::from_secs(10));
    assert_eq!(ended.code(), Some(0), "{}", stage.server.log());
    stage.restart();
    stage.wait_for_calls_of("anna", 1);
    open.hang_up_and_finish();
    pbx.finish();
    stage.assert_noted("anna", "answered");
    stage.assert_free();
}

#[test]
fn sighup_puts_a_good_file_in_force_and_leaves_a_bad_one() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[anna("dnd", "{}")]);
    assert_eq!(stage.call(TO_ANNA).answers(), [480]);
    stage.configure("dnd_status = 603");
    stage.server.signal("-HUP");
    stage.server.wait_for_log("the configuration was reloaded");
    assert_eq!(stage.call(TO_ANNA).answers(), [603]);
    stage.configure("dnd_status = 486\nno_such_key = 1");
    stage.server.signal("-HUP");
    stage.server.wait_for_log("no_such_key");
    assert_eq!(stage.call(TO_ANNA).answers(), [603]);
    stage.configure("dnd_status = 486");
    stage.server.signal("-HUP");
    until_true("reloaded again", || stage.call(TO_ANNA).answers() == [486]);
    stage.assert_free();
}
