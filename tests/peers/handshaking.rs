//! openssl s_client: which TLS is spoken, what certificate is shown, and that SIP is behind it.

use std::process::Command;
use std::time::Duration;

use crate::certificates::{LAST_YEAR, NAME};
use crate::program::{Said, run_with_input};
use crate::stage::*;
use crate::wait::are_peers_wanted;

const KEYS: &str = r#"listen = ["udp:{server}:5060", "tls:{server}:5061"]
[tls]
certificate = "{folder}/{server}.pem"
private_key = "{folder}/{server}.key""#;
const LIMIT: Duration = Duration::from_secs(20);

/// Connects, sends a ping and waits for the answer; the server closes nothing, so s_client is told
/// to go after a while.
fn s_client(stage: &Stage, arguments: &[&str]) -> Said {
    let ip = stage.address().ip();
    let ping = format!(
        "OPTIONS sip:{ip} SIP/2.0\r\nVia: SIP/2.0/TLS {ip}:40000;branch=z9hG4bKssl;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:openssl@{ip}>;tag=1\r\nTo: <sip:{ip}>\r\nCall-ID: ssl\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("{ip}:5061")]);
    command.args(["-servername", NAME, "-verify_hostname", NAME]);
    command.arg("-CAfile").arg(stage.folder().join("root.pem"));
    command.args(["-verify_return_error", "-ign_eof"]);
    run_with_input(
        command.args(arguments),
        ping.as_bytes(),
        "SIP/2.0 200 OK",
        LIMIT,
    )
}

#[test]
fn tls_1_2_and_1_3_carry_sip_with_a_certificate_that_verifies() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(KEYS, &[PLAIN_ANNA]);
    for (argument, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = s_client(&stage, &[argument]);
        for text in [
            version,
            "Verification: OK",
            "Verified peername: sip.example.com",
            "CN = sip.example.com",
            "SIP/2.0 200 OK",
            "Call-ID: ssl",
        ] {
            assert!(said.text.contains(text), "{text}: {}", said.text);
        }
    }
    let shown = stage.server.tell(&["peers"]);
    assert!(shown.contains(NAME), "{shown}");
    assert!(shown.contains(&LAST_YEAR.to_string()), "{shown}");
    stage.assert_forgotten();
}

#[test]
fn older_tls_and_unknown_roots_are_refused() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(KEYS, &[PLAIN_ANNA]);
    for argument in ["-tls1", "-tls1_1"] {
        let said = s_client(&stage, &[argument, "-cipher", "ALL:@SECLEVEL=0"]);
        assert_ne!(said.code, Some(0), "{}", said.text);
        assert!(said.text.contains("SSL alert number"), "{}", said.text);
        assert!(!said.text.contains("SIP/2.0 200 OK"), "{}", said.text);
    }
    let said = s_client(&stage, &["-tls1_3"]);
    assert!(said.text.contains("SIP/2.0 200 OK"), "{}", said.text);
    stage.assert_forgotten();
}
