//! What no call waits for, and what the server is left with.

use super::*;

#[test]
fn what_an_interrupted_run_leaves_is_hung_up_or_cancelled_and_counts_for_nothing() {
    for (scenario, before, last) in [
        (Scenario::Call, "BYE", "BYE"),
        (Scenario::NoAnswer, "CANCEL", "ACK"),
    ] {
        let mut plan = plan(scenario, "anna");
        (plan.times.hold_ns, plan.times.ring_ns) = (60_000 * MS, 0);
        if scenario == Scenario::NoAnswer {
            plan.times.ring_ns = 60_000 * MS;
        }
        let mut stage = Stage::new(plan);
        let mut sent = Vec::new();
        let mut listen = |text: String| {
            let head = text.split(' ').next().unwrap_or_default().to_owned();
            sent.push(head);
            Some(text)
        };
        stage.call(&mut listen);
        assert_eq!((stage.generator.open(), stage.counts().placed), (1, 1));
        stage.generator.leave(stage.now_ns);
        stage.settle(&mut listen);
        assert_eq!((stage.generator.open(), stage.generator.failed()), (0, 0));
        assert_eq!(stage.counts(), Counts::default(), "{scenario:?}");
        assert_eq!(stage.generator.tally().statuses().count(), 0);
        assert!(sent.iter().any(|head| head == before), "{sent:?}");
        let request = sent.iter().rfind(|head| *head != "SIP/2.0");
        assert_eq!(request.map(String::as_str), Some(last));
    }
}

#[test]
fn what_rings_only_after_the_interruption_is_cancelled_then() {
    let mut stage = Stage::new(plan(Scenario::NoAnswer, "anna"));
    let mut invite = None;
    stage.call(&mut |text| {
        invite.get_or_insert(text);
        None
    });
    stage.generator.leave(stage.now_ns);
    assert_eq!((stage.generator.open(), invite.is_some()), (1, true));
    let mut is_cancelled = false;
    stage.pass(600, &mut |text| {
        is_cancelled |= text.starts_with("CANCEL");
        Some(text)
    });
    assert!(is_cancelled && stage.generator.open() == 0);
}

#[test]
fn a_closed_connection_takes_the_request_along_once() {
    let server = SERVER.parse().unwrap();
    let mut plan = plan(Scenario::Redirect, "redirect1");
    plan.transport = Transport::Tcp;
    let mut stage = Stage::new(plan);
    stage.call(&mut |_| None);
    stage
        .generator
        .on_connection_closed(0, addresses()[1].unwrap());
    assert_eq!(stage.take().len(), 0, "another peer's");
    stage.generator.on_connection_closed(0, server);
    let sent = stage.take();
    assert!(sent.len() == 1 && sent[0].2.starts_with("INVITE"));
    assert_eq!(
        (stage.counts().invites_again, stage.generator.open()),
        (1, 1)
    );
    stage.generator.on_connection_closed(0, server);
    assert_eq!((stage.counts().cut_off, stage.generator.open()), (1, 0));
    assert_eq!(stage.generator.tally().failed(), 1);
}

/// What the generator sends for a message of the server's.
fn heard(stage: &mut Stage, seat: Seat, text: &str) -> Vec<String> {
    let sent = stage.hear(seat, text).into_iter();
    sent.map(|(_, text)| text).collect()
}

/// Plays one call until it talks; the 200 that the caller got and the INVITE that the callee got.
fn talking() -> (Stage, String, String) {
    let mut plan = plan(Scenario::Call, "anna");
    plan.times.hold_ns = 5_000 * MS;
    let mut stage = Stage::new(plan);
    let (mut answer, mut invite) = (None, None);
    stage.call(&mut |text| {
        if text.starts_with("SIP/2.0 200") {
            answer = Some(text.clone());
        }
        if text.starts_with("INVITE") {
            invite = Some(text.clone());
        }
        Some(text)
    });
    (stage, answer.unwrap(), invite.unwrap())
}

/// A request of the server's in the caller's dialog.
fn of_server(method: &str, answer: &str) -> String {
    let value = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().to_owned()
    };
    format!(
        "{method} sip:bench@127.0.0.1:5071 SIP/2.0\r\nVia: SIP/2.0/UDP {SERVER};branch=z9hG4bKs{method}\r\n\
         From:{}\r\nTo:{}\r\nCall-ID:{}\r\nCSeq: 7 {method}\r\n\r\n",
        value("To:"),
        value("From:"),
        value("Call-ID:"),
    )
}

#[test]
fn a_server_that_hangs_up_is_answered_and_the_call_has_failed() {
    let (mut stage, answer, _) = talking();
    let bye = of_server("BYE", &answer);
    let sent = heard(&mut stage, Seat::Caller, &bye);
    assert!(
        sent.len() == 1 && sent[0].starts_with("SIP/2.0 200"),
        "{sent:?}"
    );
    assert_eq!(stage.wrongs(), [(Wrong::HungUp, 1)]);
    assert_eq!(
        (stage.counts().wrong_message, stage.generator.open()),
        (1, 0)
    );
    // Once more, because its answer was lost.
    let sent = heard(&mut stage, Seat::Caller, &bye);
    assert!(sent[0].starts_with("SIP/2.0 200"), "{sent:?}");
    assert_eq!(
        (stage.counts().unexpected, stage.generator.failed()),
        (0, 1)
    );
}

#[test]
fn requests_that_are_not_played_are_answered_too() {
    let (mut stage, answer, _) = talking();
    for (method, status) in [("INVITE", "488"), ("INFO", "501"), ("OPTIONS", "200")] {
        let sent = heard(&mut stage, Seat::Caller, &of_server(method, &answer));
        assert!(
            sent[0].starts_with(&format!("SIP/2.0 {status}")),
            "{sent:?}"
        );
    }
    assert_eq!(
        heard(&mut stage, Seat::Caller, &of_server("ACK", &answer)),
        [""; 0]
    );
    assert_eq!((stage.counts().unexpected, stage.generator.open()), (2, 1));
}

#[test]
fn another_callees_200_is_acknowledged_and_hung_up_in_its_own_dialog() {
    let (mut stage, answer, _) = talking();
    let tag = answer.split_once("To:").unwrap().1;
    let tag = tag
        .split_once("tag=")
        .unwrap()
        .1
        .split_once("\r\n")
        .unwrap()
        .0;
    let other = answer
        .replace(&format!("tag={tag}"), "tag=fork")
        .replace("Contact: <sip:bench@", "Contact: <sip:fork@");
    let sent = heard(&mut stage, Seat::Caller, &other);
    assert_eq!(sent.len(), 2);
    for (text, start) in sent.iter().zip(["ACK sip:fork@", "BYE sip:fork@"]) {
        assert!(
            text.starts_with(start) && text.contains(";tag=fork"),
            "{text}"
        );
    }
    assert_eq!(
        (
            stage.counts().forked_answers,
            stage.counts().repeated_answers
        ),
        (1, 0)
    );
    // Its BYE's answer is nothing to the call, which goes on to its end.
    let bye =
        of_server("BYE", &answer).replace("BYE sip:bench@127.0.0.1:5071 SIP/2.0", "SIP/2.0 200 OK");
    let branch = sent[1]
        .split_once("branch=")
        .unwrap()
        .1
        .split_once(';')
        .unwrap()
        .0;
    let bye = bye
        .replace("z9hG4bKsBYE", branch)
        .replace("CSeq: 7", "CSeq: 2");
    assert_eq!(heard(&mut stage, Seat::Caller, &bye), [""; 0]);
    assert_eq!(
        heard(&mut stage, Seat::Caller, &answer).len(),
        1,
        "the call's own ACK"
    );
    stage.pass(40_000, &mut same);
    assert_eq!((stage.counts().right, stage.counts().unexpected), (1, 0));
}

#[test]
fn a_200_after_the_call_was_given_up_leaves_nothing_open() {
    let mut stage = Stage::new(plan(Scenario::Call, "anna"));
    let mut answer = None;
    stage.call(&mut |text| match text.starts_with("SIP/2.0 200") {
        true => {
            answer = Some(text);
            None
        }
        false => Some(text),
    });
    stage.pass(80_000, &mut |_| None);
    assert_eq!(stage.counts().timed_out, 1);
    let sent = heard(&mut stage, Seat::Caller, &answer.unwrap());
    let methods: Vec<_> = sent
        .iter()
        .map(|text| text.split(' ').next().unwrap())
        .collect();
    assert_eq!(methods, ["ACK", "BYE"]);
    assert_eq!((stage.counts().late, stage.counts().forked_answers), (1, 0));
}

#[test]
fn what_rings_refuses_though_the_callers_half_has_ended() {
    let mut plan = plan(Scenario::Call, "anna");
    plan.times.ring_ns = 60_000 * MS;
    plan.items[0].finals = vec![408];
    let mut stage = Stage::new(plan);
    let (mut invite, mut ringing) = (None, None);
    stage.call(&mut |text| {
        match text.split(' ').next() {
            Some("INVITE") => invite = Some(text.clone()),
            _ if text.starts_with("SIP/2.0 180") => ringing = Some(text.clone()),
            _ => {}
        }
        Some(text)
    });
    let given_up = ringing
        .unwrap()
        .replace("180 Ringing", "408 Request Timeout");
    heard(&mut stage, Seat::Caller, &given_up);
    assert_eq!(stage.counts().right, 1);
    let invite = invite.unwrap();
    let head = invite.split("\r\n\r\n").next().unwrap();
    let cancel = head
        .replacen("INVITE ", "CANCEL ", 1)
        .replace("1 INVITE", "1 CANCEL");
    let cancel = cancel.lines().filter(|line| !line.starts_with("Content-"));
    let cancel = cancel.collect::<Vec<_>>().join("\r\n") + "\r\nContent-Length: 0\r\n\r\n";
    let sent = heard(&mut stage, Seat::Callee, &cancel);
    assert!(
        sent[0].starts_with("SIP/2.0 200") && sent[0].contains("1 CANCEL"),
        "{sent:?}"
    );
    assert!(
        sent[1].starts_with("SIP/2.0 487") && sent[1].contains("1 INVITE"),
        "{sent:?}"
    );
    assert_eq!(stage.counts().repeated_requests, 0);
    let sent = heard(&mut stage, Seat::Callee, &invite);
    assert!(sent[0].starts_with("SIP/2.0 487"), "{sent:?}");
    assert_eq!((sent.len(), stage.counts().repeated_requests), (1, 1));
}

#[test]
fn no_public_host_is_sent_to_because_a_contact_names_it() {
    for (may_go_far, expected) in [(false, SERVER), (true, "192.0.2.9:5080")] {
        let mut plan = plan(Scenario::Call, "anna");
        plan.may_go_far = may_go_far;
        plan.seats[1] = None;
        let mut stage = Stage::new(plan);
        stage.generator.place(0, 0);
        let invite = stage.take().remove(0).2;
        let answer = invite
            .replacen("INVITE sip:anna@example.com SIP/2.0", "SIP/2.0 200 OK", 1)
            .replace(
                "To: <sip:anna@example.com>",
                "To: <sip:anna@example.com>;tag=x",
            )
            .replace(
                "Contact: <sip:bench@127.0.0.1:5071>",
                "Contact: <sip:a@192.0.2.9:5080>",
            );
        let (to, ack) = stage.hear(Seat::Caller, &answer).remove(0);
        assert!(ack.starts_with("ACK sip:a@192.0.2.9:5080 "), "{ack}");
        assert_eq!(to.to_string(), expected);
    }
}
