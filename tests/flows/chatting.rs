//! MESSAGE: delivered, forwarded, refused or suppressed as the callee set it.

use crate::harness::*;

const URI: &str = "sip:bob@example.com";

fn bob(more: &str) -> String {
    format!(r#"{{"id":"bob","display_name":"Bob"{more}}}"#)
}

fn chat(world: &mut World, call: &str) -> Vec<Sent> {
    world.receive(CALLER, request("MESSAGE", URI, call, ""))
}

#[test]
fn a_message_is_delivered_as_a_call_would_be() {
    let mut world = World::new(policy(), &[&bob("")]);
    let copy = find(&chat(&mut world, "a"), PBX, "MESSAGE");
    assert_eq!(copy.first_line(), format!("MESSAGE {URI} SIP/2.0"));
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    world.assert_drained();
}

#[test]
fn dnd_refuses_or_suppresses_and_answers_again_alike() {
    for (more, status) in [
        (r#","status":"dnd""#, 480),
        (
            r#","status":"dnd","settings":{"dnd":{"chat":"suppress"}}"#,
            202,
        ),
        (
            r#","status":"dnd","settings":{"all":{"chat":"deliver"}}"#,
            480,
        ),
        (
            r#","status":"away","settings":{"away":{"immediate":"missed"}}"#,
            480,
        ),
        (r#","settings":{"available":{"chat":"reject"}}"#, 480),
        (r#","exceptions":{"blocked":["external"]}"#, 603),
    ] {
        let mut world = World::new(policy(), &[&bob(more)]);
        let first = chat(&mut world, "a");
        assert_eq!(statuses(&first, CALLER), [status], "{more}");
        let again = chat(&mut world, "a");
        assert_eq!(again[0].bytes, first[0].bytes, "{more}");
        world.assert_drained();
    }
}

#[test]
fn a_call_does_not_keep_messages_away() {
    let more = r#","settings":{"in_call":{"immediate":"reject"},"dnd":{"chat":"deliver"}}"#;
    let mut world = World::new(policy(), &[&bob(more)]);
    let copy = find(&world.receive(CALLER, invite(URI, "call")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(world.marks("bob"), (1, 0));
    find(&chat(&mut world, "a"), PBX, "MESSAGE");
}

#[test]
fn a_message_is_forwarded_to_an_address_and_not_to_a_number() {
    let forwarded = |target: &str| {
        let more = format!(
            r#","status":"away","settings":{{"away":{{"immediate":{{"forward":"{target}"}}}}}}"#
        );
        let mut world = World::new(policy(), &[&bob(&more)]);
        chat(&mut world, "a")
    };
    let sent = forwarded("sip:bob@203.0.113.7");
    let copy = find(&sent, "203.0.113.7:5060", "MESSAGE");
    assert_eq!(copy.first_line(), "MESSAGE sip:bob@203.0.113.7 SIP/2.0");
    assert_eq!(statuses(&forwarded("+491701234567"), CALLER), [480]);
}
