//! Loss, silence, strangers and stalls.

use super::*;

#[test]
fn what_is_lost_is_sent_again_and_the_call_ends_well() {
    let heads: [(&str, usize); 9] = [
        ("INVITE", 1),
        ("INVITE", 2),
        ("SIP/2.0 180", 2),
        ("SIP/2.0 200", 2),
        ("SIP/2.0 200", 1),
        ("ACK", 1),
        ("ACK", 2),
        ("BYE", 1),
        ("BYE", 2),
    ];
    for (head, vias) in heads {
        let mut is_lost = false;
        let mut plan = plan(Scenario::Call, "anna");
        plan.times.hold_ns = 2_000 * MS;
        let stage = played(plan, |text| {
            let is_it = text.starts_with(head) && text.matches("Via:").count() == vias;
            if is_it && !std::mem::replace(&mut is_lost, true) {
                return None;
            }
            Some(text)
        });
        let counts = stage.counts();
        assert_eq!(counts.right, 1, "{head} {vias}: {counts:?}");
        assert_eq!(
            counts.retransmitted_calls,
            u64::from(head != "SIP/2.0 180"),
            "{head} {vias}: {counts:?}"
        );
        assert_eq!(stage.generator.tally().failed(), 0);
    }
}

#[test]
fn silence_is_retransmitted_by_the_timers_and_ends_in_a_timeout() {
    let mut at_ms = Vec::new();
    let mut stage = Stage::new(plan(Scenario::Call, "anna"));
    stage.generator.place(0, 0);
    for step in 0..4_000 {
        stage.now_ns = step * 10 * MS;
        stage.generator.tick(stage.now_ns);
        for (_, _, text) in stage.take() {
            assert!(text.starts_with("INVITE"));
            at_ms.push(stage.now_ns / MS);
        }
    }
    assert_eq!(at_ms, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!((stage.counts().timed_out, stage.generator.open()), (1, 0));
}

#[test]
fn what_rings_on_is_told_and_cancelled_and_what_fails_outside_the_interval_too() {
    for is_measured in [true, false] {
        let mut stage = Stage::new(plan(Scenario::Voicemail, "anna"));
        stage.generator.set_measuring(is_measured);
        let mut has_cancelled = false;
        // The server sends it to the callee, who lets it ring: voicemail is to answer.
        stage.call(&mut |text| Some(text));
        stage.pass(70_000, &mut |text| {
            has_cancelled |= text.starts_with("CANCEL");
            Some(text)
        });
        let (counts, told) = (stage.counts(), u64::from(is_measured));
        assert!(has_cancelled);
        assert_eq!((counts.timed_out, counts.rang_on), (told, told));
        assert_eq!(counts.failed_outside, 1 - told);
    }
}

#[test]
fn who_gives_up_does_so_also_where_the_180_was_lost() {
    let mut stage = Stage::new(plan(Scenario::NoAnswer, "anna"));
    let trying = |text: &str| {
        let text = text.replacen("180 Ringing", "100 Trying", 1);
        text.starts_with("SIP/2.0 100").then_some(text)
    };
    // Of what rings only a 100 reaches the caller.
    stage.call(&mut |text| match text.matches("Via:").count() {
        1 => trying(&text).or(Some(text)),
        _ => Some(text),
    });
    assert_eq!((stage.generator.open(), stage.counts().right), (1, 0));
    stage.pass(3_900, &mut same);
    assert_eq!(stage.generator.open(), 1);
    stage.pass(200, &mut same);
    assert_right(&stage);
}

#[test]
fn over_tcp_nothing_is_sent_again() {
    let mut plan = plan(Scenario::Redirect, "redirect1");
    plan.transport = Transport::Tcp;
    let stage = played(plan, |_| None);
    assert_eq!(stage.counts().timed_out, 1);
    assert_eq!(stage.counts().invites_again, 0);
}

#[test]
fn a_repeated_failure_is_acknowledged_again_though_its_call_is_over() {
    let mut refusal = None;
    let mut stage = Stage::new(plan(Scenario::Reject, "reject1"));
    stage.call(&mut |text| {
        if text.starts_with("SIP/2.0 480") {
            refusal = Some(text.clone());
        }
        Some(text)
    });
    assert_right(&stage);
    let (_, ack) = stage.hear(Seat::Caller, &refusal.unwrap()).remove(0);
    assert!(
        ack.starts_with("ACK sip:reject1@example.com SIP/2.0\r\n"),
        "{ack}"
    );
    let mut index = Index::new();
    let ack = index.parse(ack.as_bytes()).unwrap();
    assert!(ack.top_via().unwrap().branch.ends_with(b"i") && ack.to().unwrap().tag.is_some());
    assert_eq!(stage.counts().repeated_answers, 1);
}

#[test]
fn strangers_messages_are_unexpected_and_a_keep_alive_options_is_answered() {
    let mut stage = Stage::new(plan(Scenario::Call, "anna"));
    let mut index = Index::new();
    let hop = |seat| Hop {
        seat,
        to: SERVER.parse().unwrap(),
        connection: None,
    };
    let text = "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bKx\r\n\
                From: <sip:p@x>;tag=1\r\nTo: <sip:x>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
    for seat in Seat::ALL {
        stage
            .generator
            .receive(0, hop(seat), &index.parse(text.as_bytes()).unwrap());
        assert!(stage.take().remove(0).2.starts_with("SIP/2.0 200 OK"));
    }
    assert_eq!(stage.counts().unexpected, 0);
    let other = text.replace("OPTIONS", "BYE");
    stage.generator.receive(
        0,
        hop(Seat::Callee),
        &index.parse(other.as_bytes()).unwrap(),
    );
    assert!(stage.take().remove(0).2.starts_with("SIP/2.0 481"));
    assert_eq!(stage.counts().unexpected, 1);
}

#[test]
fn a_stalled_peer_shows_in_the_times_of_the_calls_that_were_due_meanwhile() {
    let pace = Pace {
        window: None,
        burst: 0,
        rate: Some(1_000.0),
        count: None,
    };
    let mut plan = plan(Scenario::Redirect, "redirect[1..9]");
    (plan.most_open, plan.slots) = (2_000, 2_000);
    let mut stage = Stage::new(plan);
    let mut schedule = Schedule::new(pace, 0);
    // For 300 ms of a second nothing moves at all, neither the peer nor the generator.
    for ms in (0..400).chain(700..1_000) {
        stage.now_ns = ms * MS;
        while let Some(due_ns) = schedule.next(stage.now_ns, 0, 0) {
            stage.generator.place(stage.now_ns, due_ns);
        }
        stage.settle(&mut same);
    }
    let tally = stage.generator.tally();
    assert_eq!(tally.counts.right, 1_000);
    // 30 % of the calls were due in the stall, and waited for its end: 150 ms in the mean.
    let share_late = 1.0 - 700.0 / 1_000.0;
    assert!(tally.final_ns.quantile_ns(1.0 - share_late / 2.0) >= 140 * MS);
    assert!(tally.final_ns.max_ns() >= 298 * MS && tally.lag_ns.max_ns() >= 298 * MS);
    assert!(tally.final_ns.quantile_ns(0.5) < MS);
}

#[test]
fn calls_beyond_the_slots_fail_and_are_told() {
    let mut stage = Stage::new(plan(Scenario::Call, "anna"));
    for _ in 0..10 {
        stage.generator.place(0, 0);
    }
    assert_eq!((stage.counts().placed, stage.counts().not_placed), (10, 2));
    stage.generator.abandon(0);
    assert_eq!((stage.counts().timed_out, stage.generator.open()), (8, 0));
    assert_eq!(stage.generator.tally().failed(), 10);
}

#[test]
fn an_answer_to_a_call_that_was_given_up_is_late_and_acknowledged() {
    let mut stage = Stage::new(plan(Scenario::Reject, "reject1"));
    let mut refusal = None;
    stage.call(&mut |text| match text.starts_with("SIP/2.0 480") {
        true => {
            refusal = Some(text);
            None
        }
        false => Some(text),
    });
    stage.pass(40_000, &mut |_| None);
    assert_eq!(stage.counts().timed_out, 1);
    let sent = stage.hear(Seat::Caller, &refusal.unwrap());
    assert_eq!(
        (stage.counts().late, stage.counts().repeated_answers),
        (1, 0)
    );
    assert!(sent[0].1.starts_with("ACK "));
}
