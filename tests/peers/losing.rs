//! Retransmission: calls through networks that lose a good part of everything.

use crate::relay::LossyRelay;
use crate::sipp::Role;
use crate::stage::*;
use crate::wait::are_peers_wanted;

const CALLS: u32 = 20;
const LOSS_PERCENT: u64 = 40;
/// Long enough that each answer is acknowledged before the BYE, whatever is lost.
const TALK_MS: u32 = 2_500;
const BEFORE_SERVER: u8 = 7;
const BEFORE_PBX: u8 = 6;

#[test]
fn calls_get_through_although_a_third_of_all_datagrams_is_lost() {
    if !are_peers_wanted() {
        return;
    }
    let keys = "next_hop = \"sip:{before_pbx}:5060\"\n[timers]\nt1_ms = 200";
    let stage = Stage::new(keys, &[PLAIN_ANNA]);
    let before_server = stage.relay(BEFORE_SERVER);
    let before_pbx = stage.relay(BEFORE_PBX);
    let upstream = LossyRelay::start(before_server, stage.address(), LOSS_PERCENT, 0x5eed_0001);
    let downstream = LossyRelay::start(before_pbx, stage.pbx(), LOSS_PERCENT, 0x5eed_0002);
    let pbx = stage.waiting("uas_answer_patient", stage.pbx());
    let pbx = pbx
        .key("contact", &before_pbx.to_string())
        .retransmissions(12);
    let pbx = stage.start(pbx.calls(CALLS));
    let at = stage.relay(5);
    let caller = Role::calling("uac_call", at, before_server, TO_ANNA);
    let caller = caller
        .calls(CALLS)
        .rate(20)
        .pause_ms(TALK_MS)
        .retransmissions(12);
    let caller = stage.start(caller).finish();
    stage.assert_free();
    let pbx = pbx.stop();
    assert!(upstream.dropped() > 40, "{}", upstream.dropped());
    assert!(downstream.dropped() > 40, "{}", downstream.dropped());
    let distinct = |log: &crate::sipp::Log, method: &str| {
        let of_method = log.received().filter(|m| m.method() == Some(method));
        let ids: std::collections::HashSet<_> =
            of_method.map(|m| m.header("Call-ID").to_owned()).collect();
        ids.len()
    };
    for method in ["INVITE", "ACK", "BYE"] {
        assert_eq!(distinct(&pbx, method), CALLS as usize, "{method}");
    }
    assert!(
        caller
            .answers()
            .iter()
            .all(|status| [180, 200].contains(status))
    );
    let server = &stage.server;
    assert_eq!(
        server.metric("pointsman_calls_decided_total"),
        u64::from(CALLS)
    );
    assert_eq!(
        server.metric("pointsman_calls_answered_total"),
        u64::from(CALLS)
    );
    assert_eq!(
        server.metric("pointsman_calls_ended_bye_total"),
        u64::from(CALLS)
    );
    assert!(server.metric("pointsman_retransmissions_received_total") > 0);
    assert!(server.metric("pointsman_retransmissions_sent_total") > 0);
    let journal = server.get("subscribers/anna/journal?limit=1000");
    let entries = journal["entries"].as_array().unwrap();
    assert_eq!(entries.len(), CALLS as usize, "one entry for each call");
    assert!(entries.iter().all(|entry| entry["kind"] == "answered"));
}
