//! SIPp over TCP, over TLS through socat, and between transports.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::program::Running;
use crate::sipp::{Log, Role, is_bound};
use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true};

const TCP: &str = r#"listen = ["udp:{server}:5060", "tcp:{server}:5060", "tls:{server}:5061"]
next_hop = "sip:{pbx}:5060;transport=tcp"
outbound = "sip:{mobile}:5060;transport=tcp"
[tls]
certificate = "{folder}/{server}.pem"
private_key = "{folder}/{server}.key"
server_ca = "{folder}/root.pem""#;
/// How long SIPp rings and talks, so that it is seen from outside.
const TALK_MS: u32 = 3_000;

/// `first` is the transport of the caller's side, the other that of the PBX.
fn talk(stage: &Stage, caller: Role, pbx: Role) -> (Log, Log) {
    let pbx = stage.start(pbx);
    let caller = stage.start(caller.pause_ms(TALK_MS));
    stage.wait_for_calls_of("anna", 1);
    let caller = caller.finish();
    let pbx = pbx.finish();
    assert_eq!(caller.answers(), [180, 200]);
    assert_eq!(pbx.requests(), ["INVITE", "ACK", "BYE"]);
    stage.assert_noted("anna", "answered");
    (caller, pbx)
}

/// The protocol in the topmost Via and the transport in our Record-Route, as the PBX sees it.
fn assert_seen(pbx: &Log, protocol: &str) {
    let invite = pbx.request("INVITE");
    let via = invite.header("Via");
    assert!(via.starts_with(protocol), "{via}");
    assert_eq!(invite.headers("Via").len(), 2);
}

#[test]
fn a_call_goes_over_tcp_on_both_sides() {
    if !are_peers_wanted() {
        return;
    }
    for mode in ["t1", "tn"] {
        let stage = Stage::new(TCP, &[PLAIN_ANNA]);
        let pbx = stage.waiting("uas_answer", stage.pbx()).over_tcp("t1");
        let caller = stage.calling("uac_call", TO_ANNA).over_tcp(mode);
        let (caller, pbx) = talk(&stage, caller, pbx);
        assert_seen(&pbx, "SIP/2.0/TCP ");
        stage.assert_decided(&caller, "connect", &["available"]);
        stage.assert_forgotten();
    }
}

#[test]
fn a_caller_on_udp_reaches_a_pbx_on_tcp_and_the_reverse() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(TCP, &[PLAIN_ANNA]);
    let pbx = stage.waiting("uas_answer", stage.pbx()).over_tcp("t1");
    let (_, pbx) = talk(&stage, stage.calling("uac_call", TO_ANNA), pbx);
    assert_seen(&pbx, "SIP/2.0/TCP ");
    let routes = pbx.request("INVITE").headers("Record-Route").join(",");
    assert_eq!(
        routes.matches("sip:").count(),
        2,
        "one for each side: {routes}"
    );
    stage.assert_forgotten();

    let keys = TCP.replace(";transport=tcp", "");
    let stage = Stage::new(&keys, &[PLAIN_ANNA]);
    let pbx = stage.waiting("uas_answer", stage.pbx());
    let caller = stage.calling("uac_call", TO_ANNA).over_tcp("t1");
    let (_, pbx) = talk(&stage, caller, pbx);
    assert_seen(&pbx, "SIP/2.0/UDP ");
    stage.assert_forgotten();
}

#[test]
fn a_call_over_tcp_is_cancelled_while_it_rings() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(TCP, &[PLAIN_ANNA]);
    let pbx = stage.start(stage.waiting("uas_cancelled", stage.pbx()).over_tcp("t1"));
    let caller = stage.calling("uac_cancel_ringing", TO_ANNA).over_tcp("t1");
    let caller = stage.start(caller).finish();
    assert_eq!(pbx.finish().requests(), ["INVITE", "CANCEL", "ACK"]);
    assert_eq!(caller.answers().last(), Some(&487));
    stage.assert_forgotten();
}

#[test]
fn a_call_over_tcp_is_redirected_or_forwarded() {
    if !are_peers_wanted() {
        return;
    }
    let away = anna(
        "away",
        r#"{"away":{"immediate":{"forward":"+491701234567"}}}"#,
    );
    let stage = Stage::new(TCP, &[&away]);
    let caller = stage.calling("uac_call", TO_ANNA).over_tcp("t1");
    let caller = stage.start(caller).finish();
    assert_eq!(caller.answers(), [302]);
    let contact = uri_of(caller.answer(302), "Contact");
    assert!(contact.contains("+491701234567"), "{contact}");
    stage.assert_forgotten();

    let keys = format!("forwarding = \"retarget\"\n{TCP}");
    let stage = Stage::new(&keys, &[&away]);
    let mobile = stage.start(stage.waiting("uas_answer", stage.mobile()).over_tcp("t1"));
    let caller = stage.calling("uac_call", TO_ANNA).over_tcp("t1");
    let caller = stage.start(caller).finish();
    let mobile = mobile.finish();
    assert_eq!(caller.answers().last(), Some(&200));
    let invite = mobile.request("INVITE");
    assert!(invite.first_line().contains("+491701234567"));
    assert!(invite.header("Via").starts_with("SIP/2.0/TCP "));
    stage.assert_forgotten();
}

/// socat, which takes TLS on one side and speaks TCP on the other.
fn tunnel(from: &str, to: &str, front: SocketAddr) -> Running {
    let mut socat = Running::start(Command::new("socat").args([from, to]));
    until_true(&format!("socat at {front}"), || {
        assert!(!socat.has_ended(), "{}", socat.text());
        is_bound(front, true)
    });
    socat
}

/// In front of a caller: connects to the server with TLS and verifies it.
fn towards_server(stage: &Stage, front: SocketAddr) -> Running {
    let (server, root) = (stage.address().ip(), stage.folder().join("root.pem"));
    let from = format!("TCP-LISTEN:{},bind={},reuseaddr", front.port(), front.ip());
    let to = format!(
        "OPENSSL:{server}:5061,cafile={},commonname=sip.example.com",
        root.display()
    );
    tunnel(&from, &to, front)
}

/// In front of a PBX: takes the server's TLS connection.
fn from_server(folder: &Path, front: SocketAddr, pbx: SocketAddr) -> Running {
    let host = front.ip();
    let file = |end| folder.join(format!("{host}.{end}")).display().to_string();
    let (certificate, key) = (file("pem"), file("key"));
    let from = format!(
        "OPENSSL-LISTEN:{},bind={host},reuseaddr,cert={certificate},key={key},verify=0",
        front.port()
    );
    tunnel(&from, &format!("TCP:{pbx}"), front)
}

#[test]
fn a_call_goes_over_tls_on_both_sides() {
    if !are_peers_wanted() {
        return;
    }
    let keys = TCP.replace(":5060;transport=tcp", ":5061;transport=tls");
    let stage = Stage::new(&keys, &[PLAIN_ANNA]);
    let pbx_front = SocketAddr::new(stage.pbx().ip(), 5061);
    let pbx = stage.waiting("uas_answer", stage.pbx()).over_tcp("t1");
    let pbx = stage.start(pbx.behind(pbx_front));
    let _pbx_tunnel = from_server(stage.folder(), pbx_front, stage.pbx());
    let caller_front = stage.host(6);
    let _caller_tunnel = towards_server(&stage, caller_front);
    let caller = stage.calling("uac_call", TO_ANNA).over_tcp("t1");
    let caller = caller.towards(caller_front).pause_ms(TALK_MS);
    let caller = stage.start(caller);
    stage.wait_for_calls_of("anna", 1);
    let (caller, pbx) = (caller.finish(), pbx.finish());
    assert_eq!(caller.answers(), [180, 200]);
    assert_eq!(pbx.requests(), ["INVITE", "ACK", "BYE"]);
    assert_seen(&pbx, "SIP/2.0/TLS ");
    stage.assert_noted("anna", "answered");
    stage.assert_forgotten();
}
