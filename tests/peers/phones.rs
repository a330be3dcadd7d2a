//! Two baresips that are registered with us call each other, and what else becomes of their calls.

use std::net::SocketAddr;

use serde_json::json;

use crate::baresip::{Account, Baresip};
use crate::sipp::{Log, Seen};
use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true};

/// We are the registrar; who registers has a password.
const KEYS: &str = r#"listen = ["udp:{server}:5060", "tcp:{server}:5060", "tls:{server}:5061"]
# next_hop =
forwarding = "retarget"
[tls]
certificate = "{folder}/{server}.pem"
private_key = "{folder}/{server}.key"
[auth]
md5_only = true"#;
const SECRET: &str = r#","password":"correct-horse"}"#;
/// Bob takes one call at a time.
const BUSY: &str = r#"{"in_call":{"immediate":"reject"}}"#;
const TO_BOB: &str = "sip:bob@example.com";

/// Anna and Bob with their phones; `anna` is as [`anna`] and [`PLAIN_ANNA`] write her.
struct Office {
    stage: Stage,
    anna: Baresip,
    bob: Baresip,
}

impl Office {
    fn open(anna: &str, transport: &str) -> Self {
        Self::open_watching(anna, transport, "")
    }

    /// The same; Anna's phone subscribes to `watches`.
    fn open_watching(anna: &str, transport: &str, watches: &str) -> Self {
        let with_password = |json: &str| {
            let open = json.strip_suffix('}').unwrap();
            format!("{open}{SECRET}")
        };
        let stage = Stage::new(
            KEYS,
            &[with_password(anna), with_password(&bob("available", BUSY))],
        );
        let port = if transport == "tls" { 5061 } else { 5060 };
        let phone = |user, last| {
            let account = Account {
                user,
                password: "correct-horse",
                at: stage.host(last),
                server: SocketAddr::new(stage.address().ip(), port),
                transport,
                watches: if user == "anna" { watches } else { "" },
            };
            Baresip::start(stage.folder(), &account)
        };
        let (anna, bob) = (phone("anna", 11), phone("bob", 12));
        stage.wait_for_bindings(2);
        Self { stage, anna, bob }
    }

    /// Switches the phones off; what each of them saw of calls.
    fn close(self) -> (Stage, Log, Log) {
        let (anna, bob) = (self.anna.leave(), self.bob.leave());
        self.stage.assert_forgotten();
        (self.stage, anna, bob)
    }

    /// A whole call from Anna to Bob.
    fn talk(&self) {
        self.anna.dial(TO_BOB);
        self.bob.wait_for("CALL_INCOMING", 1);
        self.bob.accept();
        self.anna.wait_for("CALL_ESTABLISHED", 1);
        self.bob.wait_for("CALL_ESTABLISHED", 1);
        self.stage.wait_for_calls_of("anna", 1);
        self.stage.wait_for_calls_of("bob", 1);
        self.bob.hang_up();
        self.anna.wait_for("CALL_CLOSED", 1);
        self.stage.wait_for_calls_of("anna", 0);
        self.stage.wait_for_calls_of("bob", 0);
    }
}

fn final_of(log: &Log) -> Option<u16> {
    log.answers().last().copied()
}

fn via_transport(message: &Seen) -> &str {
    let via = message.header("Via");
    via.split([' ', '/']).nth(2).unwrap_or_default()
}

#[test]
fn registered_phones_talk_and_are_in_call_meanwhile() {
    if !are_peers_wanted() {
        return;
    }
    let office = Office::open(PLAIN_ANNA, "udp");
    office.talk();
    let (stage, anna, bob) = office.close();
    assert_eq!(final_of(&anna), Some(200), "{:?}", anna.first_lines());
    assert_eq!(bob.requests(), ["INVITE", "ACK"]);
    assert_eq!(anna.requests(), ["BYE"]);
    assert_eq!(via_transport(bob.request("INVITE")), "UDP");
    stage.assert_noted("bob", "answered");
}

#[test]
fn phones_talk_over_tcp_and_over_tls() {
    if !are_peers_wanted() {
        return;
    }
    for transport in ["tcp", "tls"] {
        let office = Office::open(PLAIN_ANNA, transport);
        office.talk();
        let (stage, anna, bob) = office.close();
        assert_eq!(final_of(&anna), Some(200), "{:?}", anna.first_lines());
        let wanted = transport.to_ascii_uppercase();
        assert_eq!(via_transport(bob.request("INVITE")), wanted);
        assert_eq!(anna.requests(), ["BYE"]);
        stage.assert_noted("bob", "answered");
    }
}

#[test]
fn a_phone_shows_its_colleague_as_they_are_over_kill_9() {
    if !are_peers_wanted() {
        return;
    }
    for transport in ["udp", "tcp"] {
        let mut office = Office::open_watching(PLAIN_ANNA, transport, TO_BOB);
        let told = |office: &Office, what: &str| {
            until_true(&format!("{what} over {transport}"), || {
                let log = office.anna.log();
                let newest = log.received().filter(|m| m.text.starts_with("NOTIFY "));
                newest.last().is_some_and(|m| m.text.contains(what))
            });
        };
        told(&office, "<basic>open</basic>");
        let status = json!({"status": "dnd", "message": "Writing & thinking"});
        office.stage.server.put("subscribers/bob/status", &status);
        told(&office, "Writing &amp; thinking");
        until_true("the phone says so", || {
            let screen = office.anna.screen();
            let said = screen
                .rsplit("changed status from")
                .next()
                .unwrap_or_default();
            said.contains("Online") && said.contains("Busy")
        });
        let log = office.anna.log();
        let sent = log.0.iter().filter(|m| !m.is_received);
        let answers = sent.filter(|m| m.header("CSeq").ends_with("NOTIFY"));
        assert!(answers.clone().count() > 1);
        assert!(answers.map(Seen::status).all(|status| status == Some(200)));
        if transport == "udp" {
            office.stage.server.kill_9();
            office.stage.restart();
            office
                .stage
                .server
                .put("subscribers/bob/status", &json!({"status": "away"}));
            told(&office, "<rpid:away/>");
        }
        let open = || office.stage.server.metric("pointsman_subscriptions_open");
        assert_eq!(open(), 1);
        let Office { stage, anna, bob } = office;
        drop((anna, bob));
        stage.server.delete("subscribers/bob");
    }
}

#[test]
fn who_hangs_up_while_it_rings_cancels() {
    if !are_peers_wanted() {
        return;
    }
    let office = Office::open(PLAIN_ANNA, "udp");
    office.anna.dial(TO_BOB);
    office.bob.wait_for("CALL_INCOMING", 1);
    office.anna.wait_for("CALL_RINGING", 1);
    office.anna.hang_up();
    office.bob.wait_for("CALL_CLOSED", 1);
    until_true("487", || final_of(&office.anna.calls()) == Some(487));
    let (stage, _, bob) = office.close();
    assert_eq!(&bob.requests()[..2], ["INVITE", "CANCEL"]);
    let entry = stage.journal("bob", 1);
    assert_eq!(entry["status"], 487, "{entry}");
}

#[test]
fn who_rejects_and_who_talks_is_busy() {
    if !are_peers_wanted() {
        return;
    }
    let office = Office::open(PLAIN_ANNA, "udp");
    office.anna.dial(TO_BOB);
    office.bob.wait_for("CALL_INCOMING", 1);
    office.bob.hang_up();
    office.anna.wait_for("CALL_CLOSED", 1);
    assert_eq!(final_of(&office.anna.calls()), Some(486));
    office.stage.wait_for_calls_of("bob", 0);

    office.anna.dial(TO_BOB);
    office.bob.wait_for("CALL_INCOMING", 2);
    office.bob.accept();
    office.anna.wait_for("CALL_ESTABLISHED", 1);
    office.stage.wait_for_calls_of("bob", 1);
    let third = office.stage.call(TO_BOB);
    assert_eq!(third.answers(), [486]);
    office.anna.hang_up();
    office.bob.wait_for("CALL_CLOSED", 2);
    let (stage, _, bob) = office.close();
    let invites = bob
        .requests()
        .into_iter()
        .filter(|method| *method == "INVITE");
    assert_eq!(invites.count(), 2, "{:?}", bob.first_lines());
    stage.journal("bob", 3);
}

#[test]
fn a_call_that_nobody_answers_goes_on_to_the_colleague() {
    if !are_peers_wanted() {
        return;
    }
    let settings = r#"{"available":{"no_answer":{"forward":"102"},"ring_for_s":5}}"#;
    let office = Office::open(&anna("available", settings), "udp");
    let caller = office
        .stage
        .start(office.stage.calling("uac_call", TO_ANNA));
    office.anna.wait_for("CALL_INCOMING", 1);
    office.bob.wait_for("CALL_INCOMING", 1);
    office.anna.wait_for("CALL_CLOSED", 1);
    office.bob.accept();
    let caller = caller.finish();
    assert_eq!(final_of(&caller), Some(200), "{:?}", caller.first_lines());
    let (stage, anna, bob) = office.close();
    assert_eq!(&anna.requests()[..2], ["INVITE", "CANCEL"]);
    assert_eq!(bob.requests(), ["INVITE", "ACK", "BYE"]);
    assert!(!bob.request("INVITE").header("Diversion").is_empty());
    stage.journal("anna", 1);
}

#[test]
fn a_call_to_somebody_away_rings_at_the_colleagues() {
    if !are_peers_wanted() {
        return;
    }
    let settings = r#"{"away":{"immediate":{"forward":"102"}}}"#;
    let office = Office::open(&anna("away", settings), "udp");
    let caller = office
        .stage
        .start(office.stage.calling("uac_call", TO_ANNA));
    office.bob.wait_for("CALL_INCOMING", 1);
    office.bob.accept();
    let caller = caller.finish();
    assert_eq!(final_of(&caller), Some(200), "{:?}", caller.first_lines());
    let (stage, anna, bob) = office.close();
    assert_eq!(anna.requests(), [""; 0], "Anna's phone is silent");
    assert_eq!(bob.requests(), ["INVITE", "ACK", "BYE"]);
    stage.journal("anna", 1);
}
