//! Calls that end well, and what is told of them.

use super::*;

#[test]
fn every_scenario_ends_well_against_a_server_that_is_right() {
    for (scenario, users) in [
        (Scenario::Call, "anna"),
        (Scenario::Redirect, "redirect1"),
        (Scenario::Reject, "reject1"),
        (Scenario::NoAnswer, "anna"),
        (Scenario::Register, "anna"),
        (Scenario::Subscribe, "anna"),
    ] {
        let stage = played(plan(scenario, users), same);
        assert_right(&stage);
        let status = stage.generator.tally().statuses().next().unwrap().0;
        assert!(scenario.usual_finals().contains(&status), "{scenario:?}");
    }
}

#[test]
fn a_full_call_is_timed_at_every_station() {
    let mut plan = plan(Scenario::Call, "anna");
    plan.times.ring_ns = 300 * MS;
    plan.times.hold_ns = 1_000 * MS;
    let stage = played(plan, same);
    assert_right(&stage);
    let tally = stage.generator.tally();
    let about = |told_ns: u64, ms: u64| told_ns.abs_diff(ms * MS) <= 15 * MS;
    assert!(about(tally.ringing_ns.max_ns(), 0) && about(tally.added_ns.max_ns(), 0));
    assert!(
        about(tally.final_ns.max_ns(), 300),
        "{}",
        tally.final_ns.max_ns()
    );
    assert!(about(tally.bye_ns.max_ns(), 0), "{}", tally.bye_ns.max_ns());
    assert!(stage.now_ns > 1_300 * MS);
}

#[test]
fn voicemail_and_forwarded_calls_are_answered_elsewhere_while_the_callee_rings() {
    for scenario in [Scenario::Voicemail, Scenario::Forward] {
        let mut stage = Stage::new(plan(scenario, "anna"));
        stage.call(&mut same);
        assert_eq!(stage.counts().right, 0);
        // The proxy gives up ringing: it would cancel, and then call the other address.
        let ident = stage.generator.calls.open()[0];
        assert_eq!(
            stage.generator.calls.get(ident).unwrap().legs[0].stage,
            crate::bench::calls::LegStage::Ringing
        );
        // And sent there at once, the call is answered.
        let mut direct = Stage::new(plan(scenario, "anna"));
        direct.server = Reflector::new(SERVER.parse().unwrap(), Some(direct.elsewhere));
        direct.call(&mut same);
        assert_right(&direct);
    }
}

#[test]
fn a_server_that_answers_itself_needs_no_callee_here() {
    let mut plan = plan(Scenario::Call, "anna");
    plan.seats = [plan.seats[0], None, None];
    let mut stage = Stage::new(plan);
    stage.generator.place(0, 0);
    let invite = stage.take().remove(0).2;
    assert!(
        invite.starts_with("INVITE sip:anna@example.com SIP/2.0\r\n"),
        "{invite}"
    );
    let mut index = Index::new();
    let hop = Hop {
        seat: Seat::Caller,
        to: SERVER.parse().unwrap(),
        connection: None,
    };
    for (request, contact) in [
        (invite, "Contact: <sip:uas@127.0.0.9:5060>\r\n"),
        (String::new(), ""),
    ] {
        let request = if request.is_empty() {
            let sent = stage.take();
            assert!(
                sent[0]
                    .2
                    .starts_with("ACK sip:uas@127.0.0.9:5060 SIP/2.0\r\n")
            );
            sent[1].2.clone()
        } else {
            request
        };
        let mut response = Vec::new();
        let message = index.parse(request.as_bytes()).unwrap();
        let reply = crate::message::Reply {
            to_tag: Some(b"uas"),
            headers: contact.as_bytes(),
            ..crate::message::Reply::new(200)
        };
        crate::message::write_response(&message, &reply, &mut response);
        let message = index.parse(&response).unwrap();
        stage.generator.receive(0, hop, &message);
    }
    assert_right(&stage);
}

/// A registrar that challenges every REGISTER without credentials.
fn challenging(text: String) -> Option<String> {
    let is_first = text.starts_with("SIP/2.0 200") && text.contains("CSeq: 1 REGISTER\r\n");
    Some(match is_first {
        true => text
            .replace("SIP/2.0 200 OK\r\n", "SIP/2.0 401 Unauthorized\r\n")
            .replace(
                "Content-Length",
                "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\nContent-Length",
            ),
        false => text,
    })
}

/// A proxy that challenges every INVITE whose CSeq is one of `challenged`.
fn challenging_calls(challenged: &[&str], text: String) -> Option<String> {
    let is_challenged = |cseq: &&str| text.contains(&format!("CSeq: {cseq} INVITE\r\n"));
    let is_challenged = challenged.iter().any(is_challenged);
    Some(match text.split(' ').next() {
        Some("INVITE") if is_challenged => text.replacen("sip:anna@", "sip:reject@", 1),
        Some("SIP/2.0") if is_challenged => text
            .replace(
                "480 Temporarily Unavailable",
                "407 Proxy Authentication Required",
            )
            .replace(
                "Content-Length",
                "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nContent-Length",
            ),
        _ => text,
    })
}

/// A challenge to this request, with its fields.
fn challenge_to(request: &str) -> String {
    let (_, fields) = request.split_once("\r\n").unwrap();
    let (fields, _) = fields.split_once("\r\n\r\n").unwrap();
    let fields: Vec<_> = fields
        .split("\r\n")
        .filter(|field| !field.starts_with("Content-") && !field.starts_with("Max-"))
        .map(
            |field| match field.starts_with("To: ") && !field.contains(";tag=") {
                true => format!("{field};tag=proxy"),
                false => field.to_owned(),
            },
        )
        .collect();
    format!(
        "SIP/2.0 407 Proxy Authentication Required\r\n{}\r\n\
         Proxy-Authenticate: Digest realm=\"r\", nonce=\"b\"\r\nContent-Length: 0\r\n\r\n",
        fields.join("\r\n")
    )
}

fn with_credentials() -> Plan {
    let mut plan = plan(Scenario::Call, "anna");
    plan.credentials = Some(Credentials {
        user: "bert".to_owned(),
        password: "secret".to_owned(),
    });
    plan
}

#[test]
fn a_challenged_call_comes_again_with_credentials() {
    let mut sent = Vec::new();
    let stage = played(with_credentials(), |text| {
        // What the caller sent, not what the proxy passed on.
        let is_callers = text.matches("Via: ").count() == 1 && !text.starts_with("SIP/2.0 ");
        if is_callers {
            sent.push(text.clone());
        }
        challenging_calls(&["1"], text)
    });
    assert_right(&stage);
    assert_eq!(stage.counts().challenged, 1);
    let credentials = "\r\nProxy-Authorization: Digest username=\"bert\", realm=\"r\", \
                       nonce=\"n\", uri=\"sip:anna@example.com\", response=";
    let after = |text: &str, name: &str| text.split(name).nth(1).unwrap().to_owned();
    let told: Vec<_> = sent
        .iter()
        .map(|text| {
            let cseq = after(text, "CSeq: ");
            let cseq = cseq.split("\r\n").next().unwrap().to_owned();
            (cseq, text.contains(credentials))
        })
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(cseq, has)| (cseq.as_str(), *has))
        .collect();
    assert_eq!(
        told,
        [
            ("1 INVITE", false),
            ("1 ACK", false),
            ("2 INVITE", true),
            ("2 ACK", true),
            ("3 BYE", false),
        ]
    );
    let branch = |text: &str| after(text, "branch=")[..30].to_owned();
    assert_eq!(branch(&sent[0]), branch(&sent[1]), "one transaction");
    assert_ne!(branch(&sent[0]), branch(&sent[2]), "another");
}

#[test]
fn a_challenge_that_comes_twice_is_acknowledged_twice_and_answered_once() {
    let mut stage = Stage::new(with_credentials());
    let (mut challenge, mut invites) = (String::new(), 0);
    stage.call(&mut |text| {
        invites += usize::from(text.starts_with("INVITE"));
        let text = challenging_calls(&["1"], text)?;
        if text.starts_with("SIP/2.0 407") {
            challenge.clone_from(&text);
        }
        // The second INVITE is lost.
        (!text.contains("CSeq: 2 INVITE")).then_some(text)
    });
    assert_eq!(invites, 2);
    let sent = stage.hear(Seat::Caller, &challenge);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].1.starts_with("ACK ") && sent[0].1.contains("\r\nCSeq: 1 ACK\r\n"));
    assert_eq!(stage.counts().repeated_answers, 1);
    // It is sent again, and the call goes on.
    stage.pass(1_000, &mut same);
    assert_eq!((stage.counts().right, stage.wrongs()), (1, vec![]));
}

#[test]
fn a_challenged_bye_comes_again_with_credentials_of_its_own() {
    let mut stage = Stage::new(with_credentials());
    let mut bye = String::new();
    stage.call(&mut |text| {
        let text = challenging_calls(&["1"], text)?;
        if text.starts_with("BYE") {
            bye.clone_from(&text);
        }
        (!text.starts_with("BYE")).then_some(text)
    });
    assert!(
        bye.contains("\r\nCSeq: 3 BYE\r\n") && !bye.contains("Authorization"),
        "{bye}"
    );
    let challenge = challenge_to(&bye);
    let sent = stage.hear(Seat::Caller, &challenge);
    assert_eq!(sent.len(), 1, "{sent:?}");
    let again = &sent[0].1;
    assert!(
        again.starts_with("BYE ") && again.contains("\r\nCSeq: 4 BYE\r\n"),
        "{again}"
    );
    assert!(
        again.contains("nonce=\"b\", uri=\"sip:bench@127.0.0.1:5072\""),
        "{again}"
    );
    // The challenge again is nothing new.
    assert_eq!(stage.hear(Seat::Caller, &challenge), []);
    stage.pass(1_000, &mut same);
    assert_eq!((stage.counts().right, stage.wrongs()), (1, vec![]));
    assert_eq!(stage.counts().challenged, 2);
}

#[test]
fn a_call_that_was_cancelled_is_not_placed_again() {
    let mut plan = with_credentials();
    plan.items[0].scenario = Scenario::NoAnswer;
    let mut stage = Stage::new(plan);
    let mut invite = String::new();
    stage.call(&mut |text| {
        if text.starts_with("INVITE") && invite.is_empty() {
            invite.clone_from(&text);
        }
        (!text.starts_with("CANCEL")).then_some(text)
    });
    let sent = stage.hear(Seat::Caller, &challenge_to(&invite));
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].1.starts_with("ACK "), "{sent:?}");
    assert_eq!(
        (stage.counts().wrong_status, stage.generator.open()),
        (1, 0)
    );
}

#[test]
fn credentials_that_are_refused_end_the_call() {
    let stage = played(with_credentials(), |text| {
        challenging_calls(&["1", "2"], text)
    });
    assert_eq!(
        (stage.counts().wrong_status, stage.counts().challenged),
        (1, 2)
    );
    assert_eq!(
        stage.generator.tally().statuses().collect::<Vec<_>>(),
        [(407, 1)]
    );
    assert_eq!(stage.generator.open(), 0);
}

#[test]
fn a_challenged_registration_comes_again_with_credentials() {
    let mut credentials = None;
    let stage = played(plan(Scenario::Register, "anna"), |text| {
        if text.starts_with("REGISTER") && text.contains("CSeq: 2 ") {
            credentials = Some(text.clone());
        }
        challenging(text)
    });
    assert_eq!((stage.counts().right, stage.counts().challenged), (1, 1));
    let credentials = credentials.unwrap();
    assert!(credentials.contains("\r\nAuthorization: Digest username=\"anna\", realm=\"r\""));
    // Nobody without a password has credentials: the challenge is the final answer.
    let mut without = plan(Scenario::Register, "anna");
    without.items[0].targets = Arc::new(Targets::of_pattern("anna").unwrap());
    let stage = played(without, challenging);
    assert_eq!((stage.counts().wrong_status, stage.counts().right), (1, 0));
    assert_eq!(
        stage.generator.tally().statuses().collect::<Vec<_>>(),
        [(401, 1)]
    );
}
