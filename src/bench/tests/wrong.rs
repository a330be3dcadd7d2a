//! Each thing a server can get wrong is told by its name, and fails its call.

use super::*;

/// Which message is spoiled.
#[derive(Debug, Clone, Copy)]
enum Which {
    /// The 200 to the INVITE, at the caller.
    Answer,
    /// Another response, at the caller: its status and method.
    Response(&'static str, &'static str),
    /// A request with the server's Via on it, at the callee.
    Request(&'static str),
}

impl Which {
    fn is(self, text: &str) -> bool {
        let vias = text.matches("Via:").count();
        match self {
            Self::Answer => {
                vias == 1 && text.starts_with("SIP/2.0 200") && text.contains(" INVITE\r\n")
            }
            Self::Response(status, method) => {
                let head = format!("SIP/2.0 {status} ");
                vias == 1 && text.starts_with(&head) && text.contains(&format!(" {method}\r\n"))
            }
            Self::Request(method) => vias == 2 && text.starts_with(method),
        }
    }
}

const ANSWER: Which = Which::Answer;
const INVITE: Which = Which::Request("INVITE");
const ACK: Which = Which::Request("ACK");
const BYE: Which = Which::Request("BYE");

/// What is told, and what is put for what in which message.
const CASES: [(Wrong, Which, &str, &str); 16] = [
    (
        Wrong::Via,
        ANSWER,
        "Via: ",
        "Via: SIP/2.0/UDP x;branch=z9hG4bK1, ",
    ),
    (Wrong::CSeq, ANSWER, "CSeq: 1 INVITE", "CSeq: 7 INVITE"),
    (Wrong::FromTag, ANSWER, ";tag=c0", ";tag=d0"),
    (Wrong::ToTag, ANSWER, "p1\r\n", "p9\r\n"),
    (Wrong::RouteSet, ANSWER, ";lr>", ";lr;x=1>"),
    (Wrong::RouteSet, ANSWER, "Record-Route", "X-Route"),
    (Wrong::Body, ANSWER, "m=audio 40002", "m=audio 40004"),
    (
        Wrong::Length,
        ANSWER,
        "Content-Length: ",
        "Content-Length: 9",
    ),
    (Wrong::Body, INVITE, "m=audio 40000", "m=audio 40006"),
    (
        Wrong::MaxForwards,
        INVITE,
        "Max-Forwards: 69",
        "Max-Forwards: 70",
    ),
    (Wrong::LeftRoute, BYE, "Max-F", "Route: <sip:y;lr>\r\nMax-F"),
    (Wrong::LeftRoute, ACK, "Max-F", "Route: <sip:y;lr>\r\nMax-F"),
    (Wrong::RequestUri, BYE, "BYE sip:bench", "BYE sip:bunch"),
    (Wrong::CSeq, BYE, "CSeq: 2", "CSeq: 3"),
    (
        Wrong::ToTag,
        Which::Response("180", "INVITE"),
        "p1\r\n",
        "p9\r\n",
    ),
    (
        Wrong::ToTag,
        Which::Response("200", "BYE"),
        "p1\r\n",
        "p9\r\n",
    ),
];

#[test]
fn each_wrong_message_is_told_and_fails_its_call() {
    for (wrong, which, from, to) in CASES {
        let spoil = |text: String| match which.is(&text) {
            true => Some(text.replacen(from, to, 1)),
            false => Some(text),
        };
        let stage = played(plan(Scenario::Call, "anna"), spoil);
        let counts = stage.counts();
        let told: Vec<_> = stage.wrongs().iter().map(|(wrong, _)| *wrong).collect();
        assert_eq!(told, [wrong], "{which:?} {to}: {counts:?}");
        assert_eq!(
            (counts.wrong_message, counts.right),
            (1, 0),
            "{which:?} {to}"
        );
        assert_eq!(stage.generator.open(), 0, "{which:?} {to}");
        // Without the check, nothing is wrong.
        let mut lenient = plan(Scenario::Call, "anna");
        lenient.checks = Checks::ALL.without(wrong);
        assert_eq!(played(lenient, spoil).counts().right, 1, "{which:?} {to}");
    }
}

#[test]
fn a_cancel_that_is_refused_is_wrong() {
    let refused = Which::Response("200", "CANCEL");
    let stage = played(plan(Scenario::NoAnswer, "anna"), |text| {
        Some(match refused.is(&text) {
            true => text.replacen("200 OK", "481 Call Does Not Exist", 1),
            false => text,
        })
    });
    assert_eq!(stage.wrongs(), [(Wrong::Cancel, 1)]);
    assert_eq!(stage.counts().wrong_message, 1);
}

#[test]
fn a_bye_that_the_server_answers_itself_is_told() {
    let mut plan = plan(Scenario::Call, "anna");
    plan.times.hold_ns = 1_000 * MS;
    let mut stage = Stage::new(plan);
    let mut bye = None;
    stage.call(&mut same);
    stage.pass(1_200, &mut |text| match BYE.is(&text) {
        true => {
            bye = Some(text);
            None
        }
        false => Some(text),
    });
    let bye = bye.unwrap();
    let lines = bye.split_inclusive("\r\n").skip(1);
    let rest: String = lines.filter(|line| !line.contains(SERVER)).collect();
    stage.hear(Seat::Caller, &format!("SIP/2.0 200 OK\r\n{rest}"));
    assert_eq!(stage.wrongs(), [(Wrong::Lost, 1)]);
    assert_eq!(
        (stage.counts().wrong_message, stage.generator.open()),
        (1, 0)
    );
}

#[test]
fn a_forks_other_callee_may_be_hung_up_later_than_the_one_who_is_kept() {
    let mut plan = plan(Scenario::Call, "anna");
    plan.times.hold_ns = 1_000 * MS;
    plan.checks = Checks::ALL.without(Wrong::Place);
    let mut stage = Stage::new(plan);
    let mut invite = None;
    stage.call(&mut |text| {
        if INVITE.is(&text) {
            invite = Some(text.replacen("z9hG4bKr", "z9hG4bKq", 1));
        }
        Some(text)
    });
    let sent = stage.hear(Seat::Elsewhere, &invite.unwrap());
    assert!(sent[1].1.starts_with("SIP/2.0 200"), "{sent:?}");
    // Its 200 is long on its way, and so is its BYE.
    stage.pass(3_000, &mut |text| {
        (!text.contains("p2\r\n")).then_some(text)
    });
    assert_eq!((stage.counts().right, stage.wrongs()), (1, Vec::new()));
    assert_eq!(stage.counts().unacknowledged, 0);
}

#[test]
fn acks_that_never_arrive_fail_the_call_where_they_cannot_have_been_lost_by_chance() {
    for (hold_ms, is_wrong) in [(0, false), (600, false), (9_000, true)] {
        let mut plan = plan(Scenario::Call, "anna");
        plan.times.hold_ns = hold_ms * MS;
        let stage = played(plan, |text| (!ACK.is(&text)).then_some(text));
        let (counts, wrongs) = (stage.counts(), stage.wrongs());
        assert_eq!(counts.right, u64::from(!is_wrong), "{hold_ms}: {counts:?}");
        assert_eq!(counts.unacknowledged, u64::from(!is_wrong), "{hold_ms}");
        assert_eq!(wrongs.contains(&(Wrong::Lost, 1)), is_wrong, "{wrongs:?}");
        assert!(wrongs.contains(&(Wrong::Order, 1)));
    }
}

#[test]
fn a_contact_that_was_changed_is_told_at_both_ends() {
    let stage = played(plan(Scenario::Call, "anna"), |text| {
        Some(match ANSWER.is(&text) {
            true => text.replacen("sip:bench@127.0.0.1:5072", "sip:x@127.0.0.1:5072", 1),
            false => text,
        })
    });
    assert_eq!(stage.counts().wrong_message, 1);
    assert_eq!(stage.wrongs().first(), Some(&(Wrong::Contact, 1)));
    assert!(stage.wrongs().contains(&(Wrong::RequestUri, 2)));
}

#[test]
fn a_redirect_without_contact_and_a_call_at_the_wrong_place_are_wrong() {
    let stage = played(plan(Scenario::Redirect, "redirect1"), |text| {
        Some(text.replace("Contact: <sip:elsewhere", "X-Contact: <sip:elsewhere"))
    });
    assert_eq!(stage.wrongs(), [(Wrong::Contact, 1)]);
    let mut misled = Stage::new(plan(Scenario::Call, "anna"));
    misled.server = Reflector::new(SERVER.parse().unwrap(), Some(misled.elsewhere));
    misled.call(&mut same);
    assert_eq!(misled.wrongs(), [(Wrong::Place, 1)]);
}

#[test]
fn another_final_status_fails_the_call_whatever_it_is() {
    // The server refuses whom it should put through, and puts through whom it should refuse.
    let stage = played(plan(Scenario::Call, "reject1"), same);
    assert_eq!((stage.counts().wrong_status, stage.counts().right), (1, 0));
    assert_eq!(
        stage.generator.tally().statuses().collect::<Vec<_>>(),
        [(480, 1)]
    );
    let mut lenient = plan(Scenario::Reject, "anna");
    lenient.checks = Checks::ALL.without(Wrong::Place);
    let stage = played(lenient, same);
    assert_eq!(
        (stage.counts().wrong_status, stage.generator.open()),
        (1, 0)
    );
}
