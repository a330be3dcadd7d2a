//! dnsmasq as the name server: SRV leads to two PBX nodes, and one of them is gone.

use std::process::Command;

use crate::program::Running;
use crate::sipp::is_bound;
use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true};

/// The first node is the PBX, the second where the mobile phone is elsewhere.
const KEYS: &str = r#"next_hop = "sip:pbx.example.com"
[dns]
servers = ["{voicemail}:5353"]"#;

/// dnsmasq with two SRV records of `priorities`, for the PBX and for the mobile phone's address.
fn name_server(stage: &Stage, priorities: [u16; 2]) -> Running {
    let at = std::net::SocketAddr::new(stage.voicemail().ip(), 5353);
    let mut command = Command::new("/usr/sbin/dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
    ]);
    command.args(["--user=", "--pid-file=", "--bind-interfaces", "--port=5353"]);
    command.arg(format!("--listen-address={}", at.ip()));
    command.arg("--local=/example.com/");
    let nodes = [("one", stage.pbx()), ("two", stage.mobile())];
    for ((name, node), priority) in nodes.into_iter().zip(priorities) {
        let (host, ip, port) = (format!("{name}.example.com"), node.ip(), node.port());
        command.arg(format!("--host-record={host},{ip},300"));
        let record = format!("_sip._udp.pbx.example.com,{host},{port},{priority},10");
        command.arg(format!("--srv-host={record}"));
    }
    let mut dnsmasq = Running::start(&mut command);
    until_true("dnsmasq", || {
        assert!(!dnsmasq.has_ended(), "{}", dnsmasq.text());
        is_bound(at, false)
    });
    dnsmasq
}

#[test]
fn srv_says_which_node_gets_the_calls_and_which_when_that_is_gone() {
    if !are_peers_wanted() {
        return;
    }
    for (priorities, is_first_preferred) in [([1, 2], true), ([2, 1], false)] {
        let stage = Stage::new(KEYS, &[PLAIN_ANNA]);
        let _dnsmasq = name_server(&stage, priorities);
        let (preferred, other) = match is_first_preferred {
            true => (stage.pbx(), stage.mobile()),
            false => (stage.mobile(), stage.pbx()),
        };
        let node = stage.wait_for_call("uas_answer", preferred);
        let caller = stage.call(TO_ANNA);
        assert_eq!(caller.answers(), [180, 200], "{}", stage.server.log());
        assert_eq!(node.finish().requests(), ["INVITE", "ACK", "BYE"]);
        stage.wait_for_calls_of("anna", 0);

        // Nobody is where the preferred node was.
        let spare = stage.wait_for_call("uas_answer", other);
        let caller = stage.call(TO_ANNA);
        assert_eq!(caller.answers(), [180, 200], "{}", stage.server.log());
        let spare = spare.finish();
        assert_eq!(spare.requests(), ["INVITE", "ACK", "BYE"]);
        let uri = spare.request("INVITE").first_line().to_owned();
        assert!(uri.starts_with("INVITE sip:101@"), "{uri}");
        stage.assert_decided(&caller, "connect", &["available"]);
        stage.assert_free();
    }
}
