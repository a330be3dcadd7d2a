//! Subscriptions, and the NOTIFYs they get.

use super::*;

fn holding(hold_ms: u64) -> Plan {
    let mut plan = plan(Scenario::Subscribe, "anna");
    plan.times.hold_ns = hold_ms * MS;
    plan
}

/// Plays a subscription until it is held; its first NOTIFY.
fn watching() -> (Stage, String) {
    let mut stage = Stage::new(holding(5_000));
    let mut notify = None;
    stage.call(&mut |text| {
        if text.starts_with("NOTIFY") {
            notify = Some(text.clone());
        }
        Some(text)
    });
    (stage, notify.unwrap())
}

/// The NOTIFY of a change, with this number.
fn change(notify: &str, number: u32) -> String {
    notify
        .replace("CSeq: 1 ", &format!("CSeq: {number} "))
        .replace("n;rport", &format!("n{number};rport"))
}

fn is_answer(text: &str, cseq: &str) -> bool {
    text.starts_with("SIP/2.0 200") && text.contains(&format!("CSeq: {cseq} SUBSCRIBE\r\n"))
}

fn is_notify(text: &str, state: &str) -> bool {
    text.starts_with("NOTIFY") && text.contains(&format!("State: {state}"))
}

#[test]
fn a_subscription_is_made_held_and_ended_in_its_dialog() {
    let mut sent = Vec::new();
    let stage = played(holding(1_000), |text| {
        sent.push(text.clone());
        Some(text.replace(
            "Expires: 3600\r\nContent",
            "Expires: 3600\r\nRecord-Route: <sip:127.0.0.9;lr>\r\nContent",
        ))
    });
    assert_right(&stage);
    let heads: Vec<_> = sent
        .iter()
        .map(|text| text.split(' ').next().unwrap())
        .collect();
    let half = ["SUBSCRIBE", "SIP/2.0", "NOTIFY", "SIP/2.0"];
    assert_eq!(heads, [half, half].concat());
    for part in [
        "SUBSCRIBE sip:anna@example.com SIP/2.0\r\n",
        "\r\nFrom: \"Bench Caller\" <sip:b@example.com>;tag=",
        "\r\nTo: <sip:anna@example.com>\r\n",
        "\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:bench@127.0.0.1:5071>\r\nEvent: dialog\r\n",
        "\r\nExpires: 3600\r\n",
    ] {
        assert!(sent[0].contains(part), "{part}: {}", sent[0]);
    }
    for part in [
        "SUBSCRIBE sip:127.0.0.9:5060 SIP/2.0\r\n",
        "\r\nRoute: <sip:127.0.0.9;lr>\r\n",
        "\r\nTo: <sip:anna@example.com>;tag=reflector\r\n",
        "\r\nCSeq: 2 SUBSCRIBE\r\n",
        "\r\nExpires: 0\r\n",
    ] {
        assert!(sent[4].contains(part), "{part}: {}", sent[4]);
    }
    let tally = stage.generator.tally();
    assert_eq!((tally.notified_ns.count(), tally.bye_ns.count()), (1, 1));
    assert_eq!(tally.counts.notifications, 0);
}

#[test]
fn presence_is_subscribed_to_by_its_name() {
    let mut plan = holding(0);
    plan.event = Event::Presence;
    let mut has_event = false;
    let stage = played(plan, |text| {
        has_event |= text.starts_with("SUBSCRIBE") && text.contains("\r\nEvent: presence\r\n");
        Some(text)
    });
    assert_right(&stage);
    assert!(has_event);
}

#[test]
fn a_notify_may_come_before_the_200() {
    for (cseq, tag, wrong) in [
        ("1", "reflector", None),
        ("2", "reflector", None),
        ("1", "another", Some(Wrong::ToTag)),
    ] {
        let mut is_lost = false;
        // The first 200 is lost, and the SUBSCRIBE is sent again.
        let stage = played(holding(1_000), |text| {
            let is_first = is_answer(&text, cseq) && !std::mem::replace(&mut is_lost, true);
            match is_answer(&text, "1") {
                _ if is_first => None,
                true => Some(text.replace("tag=reflector", &format!("tag={tag}"))),
                false => Some(text),
            }
        });
        let counts = stage.counts();
        let told: Vec<_> = stage.wrongs().iter().map(|(wrong, _)| *wrong).collect();
        assert_eq!(told.first(), wrong.as_ref(), "{cseq}: {counts:?}");
        assert_eq!(counts.right, u64::from(wrong.is_none()), "{cseq}");
        assert_eq!(
            (counts.requests_again, counts.repeated_requests),
            (1, 1),
            "{cseq}"
        );
        assert_eq!((stage.generator.open(), counts.unexpected), (0, 0));
    }
}

#[test]
fn each_wrong_message_of_a_subscription_is_told_and_fails_it() {
    let cases: [(Wrong, &str, &str, &str); 15] = [
        (Wrong::Via, "200", ";branch=z9", ";x=1;branch=z9"),
        (Wrong::CSeq, "200", "CSeq: 1 S", "CSeq: 7 S"),
        (Wrong::FromTag, "200", ">;tag=c0", ">;tag=d0"),
        (Wrong::ToTag, "200", ";tag=reflector", ""),
        (Wrong::Contact, "200", "Contact: <", "X-Contact: <"),
        (Wrong::Expires, "200", "Expires: 3600", "X-Expires: 3600"),
        (Wrong::Expires, "200", "Expires: 3600", "Expires: 3601"),
        (Wrong::CSeq, "active", "1 NOTIFY", "1 INFO"),
        (Wrong::FromTag, "active", ";tag=reflector", ";tag=another"),
        (Wrong::ToTag, "active", ">;tag=c0", ">;tag=d0"),
        (
            Wrong::RequestUri,
            "active",
            "NOTIFY sip:bench",
            "NOTIFY sip:bunch",
        ),
        (
            Wrong::LeftRoute,
            "active",
            "Max-F",
            "Route: <sip:y>\r\nMax-F",
        ),
        (Wrong::Event, "active", "Event: dialog", "Event: presence"),
        (Wrong::State, "active", "State: active", "State: pending"),
        (
            Wrong::Length,
            "active",
            "Content-Length: 0",
            "Content-Length: 9",
        ),
    ];
    for (wrong, which, from, to) in cases {
        let spoil = |text: String| {
            let is_it = match which {
                "200" => is_answer(&text, "1"),
                state => is_notify(&text, state),
            };
            Some(match is_it {
                true => text.replacen(from, to, 1),
                false => text,
            })
        };
        let stage = played(holding(0), spoil);
        let counts = stage.counts();
        let told: Vec<_> = stage.wrongs().iter().map(|(wrong, _)| *wrong).collect();
        assert_eq!(told.first(), Some(&wrong), "{to}: {counts:?}");
        assert_eq!((counts.wrong_message, counts.right), (1, 0), "{to}");
        assert_eq!(stage.generator.open(), 0, "{to}");
    }
    // What is not looked at is not wrong.
    let mut lenient = holding(0);
    lenient.checks = Checks::ALL.without(Wrong::Event);
    let stage = played(lenient, |text| {
        Some(text.replace("Event: dialog\r\nSub", "Event: x\r\nSub"))
    });
    assert_right(&stage);
}

#[test]
fn a_notify_that_comes_again_is_answered_again_and_changes_are_counted() {
    let (mut stage, notify) = watching();
    for (number, changes, repeated) in [(1, 0, 1), (2, 1, 1), (2, 1, 2), (1, 1, 3), (9, 2, 3)] {
        let sent = stage.hear(Seat::Caller, &change(&notify, number).replace("n1;", "n;"));
        assert!(
            sent.len() == 1 && sent[0].1.starts_with("SIP/2.0 200"),
            "{sent:?}"
        );
        let counts = stage.counts();
        assert_eq!(
            (counts.notifications, counts.repeated_requests),
            (changes, repeated)
        );
    }
    // Another NOTIFY with the number of the last one.
    let again = change(&notify, 9).replace("n9;", "n10;");
    stage.hear(Seat::Caller, &again);
    assert_eq!(stage.wrongs(), [(Wrong::CSeq, 1)]);
}

#[test]
fn a_change_counts_when_it_comes_in_the_measured_interval() {
    let (mut stage, notify) = watching();
    stage.generator.set_measuring(false);
    stage.hear(Seat::Caller, &change(&notify, 2));
    assert_eq!(stage.counts().notifications, 0);
    let mut early = Stage::new(holding(5_000));
    early.generator.set_measuring(false);
    let mut notify = None;
    early.call(&mut |text| {
        if text.starts_with("NOTIFY") {
            notify = Some(text.clone());
        }
        Some(text)
    });
    early.generator.set_measuring(true);
    early.hear(Seat::Caller, &change(&notify.unwrap(), 2));
    assert_eq!(
        (early.counts().notifications, early.counts().placed),
        (1, 0)
    );
}

#[test]
fn a_server_that_ends_a_subscription_has_failed_it() {
    let (mut stage, notify) = watching();
    let last = change(&notify, 2).replace("State: active", "State: terminated");
    let sent = stage.hear(Seat::Caller, &last);
    assert!(sent.len() == 1 && sent[0].1.starts_with("SIP/2.0 200"));
    assert_eq!(stage.wrongs(), [(Wrong::HungUp, 1)]);
    assert_eq!(
        (stage.counts().wrong_message, stage.generator.open()),
        (1, 0)
    );
    // Its answer was lost; another one belongs to nothing.
    let sent = stage.hear(Seat::Caller, &last);
    assert!(sent[0].1.starts_with("SIP/2.0 200"), "{sent:?}");
    let sent = stage.hear(Seat::Caller, &change(&notify, 3));
    assert!(sent[0].1.starts_with("SIP/2.0 481"), "{sent:?}");
    assert_eq!(
        (stage.counts().repeated_requests, stage.counts().unexpected),
        (1, 1)
    );
}

#[test]
fn an_interrupted_run_unsubscribes() {
    let (mut stage, _) = watching();
    let mut has_ended = false;
    stage.generator.leave(stage.now_ns);
    stage.settle(&mut |text| {
        has_ended |= text.starts_with("SUBSCRIBE") && text.contains("\r\nExpires: 0\r\n");
        Some(text)
    });
    assert!(has_ended);
    assert_eq!((stage.generator.open(), stage.generator.failed()), (0, 0));
    assert_eq!(stage.counts(), Counts::default());
    // Also what is accepted only then.
    let mut late = Stage::new(holding(5_000));
    late.generator.place(0, 0);
    late.generator.leave(0);
    late.settle(&mut same);
    assert_eq!((late.generator.open(), late.generator.failed()), (0, 0));
}

#[test]
fn what_is_given_up_leaves_no_subscription() {
    // No NOTIFY comes.
    let mut ends = 0;
    let mut stage = Stage::new(holding(0));
    let mut answer = None;
    let mut deaf = |text: String| {
        ends += usize::from(text.contains("\r\nExpires: 0\r\nUser"));
        if is_answer(&text, "1") {
            answer = Some(text.clone());
        }
        (!text.starts_with("NOTIFY")).then_some(text)
    };
    stage.call(&mut deaf);
    stage.pass(40_000, &mut deaf);
    assert_eq!((stage.counts().timed_out, stage.generator.open()), (1, 0));
    assert_eq!((ends, stage.counts().unexpected), (1, 0));
    let answer = answer.unwrap();
    // The 200 comes when nobody waits for it.
    let mut stage = Stage::new(holding(0));
    stage.call(&mut |_| None);
    stage.pass(40_000, &mut |_| None);
    assert_eq!(stage.counts().timed_out, 1);
    let sent = stage.hear(Seat::Caller, &answer);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(
        sent[0].1.starts_with("SUBSCRIBE sip:127.0.0.9:5060 ")
            && sent[0].1.contains("\r\nExpires: 0\r\n"),
        "{sent:?}"
    );
    let (_, notify) = watching();
    let sent = stage.hear(Seat::Caller, &notify);
    assert!(sent[0].1.starts_with("SIP/2.0 481"), "{sent:?}");
}

#[test]
fn challenged_subscriptions_come_again_with_credentials() {
    let mut plan = holding(0);
    plan.credentials = Some(Credentials {
        user: "b".to_owned(),
        password: "secret".to_owned(),
    });
    let mut sent = Vec::new();
    let stage = played(plan.clone(), |text| {
        // The server lets nobody in without credentials.
        if text.starts_with("SUBSCRIBE") {
            sent.push(text.clone());
        }
        let is_challenged = ["1", "3"]
            .iter()
            .any(|cseq| is_answer(&text, cseq) || text.contains(&format!("CSeq: {cseq} NOTIFY")));
        match text.starts_with("NOTIFY") {
            _ if !is_challenged => Some(text),
            true => None,
            false => Some(text.replace("200 OK", "401 Unauthorized").replace(
                "Content-Length",
                "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nContent-Length",
            )),
        }
    });
    assert_right(&stage);
    assert_eq!(stage.counts().challenged, 2);
    let has = |index: usize| sent[index].contains("\r\nAuthorization: Digest username=\"b\"");
    assert_eq!([0, 1, 2, 3].map(has), [false, true, false, true]);
    // Where it is refused, the status is told.
    let stage = played(plan, |text| {
        Some(match text.starts_with("SIP/2.0 200") {
            true => text.replace("200 OK", "403 Forbidden"),
            false => text,
        })
    });
    assert_eq!(
        (stage.counts().wrong_status, stage.generator.open()),
        (1, 0)
    );
}

#[test]
fn lost_messages_of_a_subscription_are_sent_again() {
    for lost in ["SUBSCRIBE", "SIP/2.0"] {
        let mut count = 0;
        let stage = played(holding(100), |text| {
            let is_it = text.starts_with(lost) && text.contains(" SUBSCRIBE\r\n");
            count += usize::from(is_it);
            (!is_it || count > 2).then_some(text)
        });
        let counts = stage.counts();
        assert_eq!((counts.right, counts.requests_again), (1, 2), "{counts:?}");
        assert_eq!(stage.generator.open(), 0);
    }
}
