//! Whole calls through the generator in virtual time: against a server that is right, and against
//! one that gets each thing wrong in turn.

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::message::{Index, Transport};

const SERVER: &str = "127.0.0.9:5060";
const MS: u64 = 1_000_000;

/// Changes a message on its way, or drops it.
type Spoil<'s> = &'s mut dyn FnMut(String) -> Option<String>;

struct Stage {
    generator: Generator,
    server: Reflector,
    now_ns: u64,
    callee: SocketAddr,
    elsewhere: SocketAddr,
}

fn addresses() -> [Option<SocketAddr>; 3] {
    ["127.0.0.1:5071", "127.0.0.1:5072", "127.0.0.1:5073"].map(|text| text.parse().ok())
}

fn plan(scenario: Scenario, users: &str) -> Plan {
    Plan {
        items: vec![Item {
            scenario,
            weight: 1,
            targets: Arc::new(Targets::of_pattern(users).unwrap().with_password("secret")),
            finals: scenario.usual_finals().to_vec(),
        }],
        templates: Arc::new(
            Templates::compile(&[], "sip:{user}@{domain}", "sip:b@{domain}").unwrap(),
        ),
        server: SERVER.parse().unwrap(),
        transport: Transport::Udp,
        seats: addresses(),
        times: Times {
            ring_ns: 0,
            hold_ns: 0,
            t1_ns: 500 * MS,
            t2_ns: 4_000 * MS,
            timeout_ns: 32_000 * MS,
            late_ns: 4_000 * MS,
        },
        checks: Checks::ALL,
        domain: "example.com".to_owned(),
        seed: 0x00c0_ffee,
        thread: 0,
        threads: 1,
        slots: 8,
        samples: 4,
    }
}

impl Stage {
    fn new(plan: Plan) -> Self {
        let [_, callee, elsewhere] = plan.seats;
        let mut generator = Generator::new(plan.clone());
        generator.set_measuring(true);
        Self {
            generator,
            server: Reflector::new(plan.server, callee.or(Some(plan.server))),
            now_ns: 0,
            callee: callee.unwrap_or(plan.server),
            elsewhere: elsewhere.unwrap_or(plan.server),
        }
    }

    /// Delivers what is under way until nothing is.
    fn settle(&mut self, spoil: Spoil<'_>) {
        let mut index = Index::new();
        loop {
            let sent = self.take();
            if sent.is_empty() {
                return;
            }
            for (hop, from, text) in sent {
                let Some(text) = spoil(text) else { continue };
                let Ok(message) = index.parse(text.as_bytes()) else {
                    continue;
                };
                let server = self.generator_server();
                if hop.to == server && from != server {
                    self.server.receive(from, &message);
                    continue;
                }
                let seat = match hop.to {
                    to if to == self.callee => Seat::Callee,
                    to if to == self.elsewhere => Seat::Elsewhere,
                    _ => Seat::Caller,
                };
                let hop = Hop {
                    seat,
                    to: from,
                    connection: None,
                };
                self.generator.receive(self.now_ns, hop, &message);
            }
        }
    }

    fn generator_server(&self) -> SocketAddr {
        SERVER.parse().unwrap()
    }

    fn take(&mut self) -> Vec<(Hop, SocketAddr, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let seats = addresses().map(Option::unwrap);
        let mut sent: Vec<_> = self
            .generator
            .outbox()
            .iter()
            .map(|(hop, bytes)| (hop, seats[hop.seat as usize], text(bytes)))
            .collect();
        self.generator.outbox().clear();
        let own = self.generator_server();
        sent.extend(
            self.server
                .outbox()
                .iter()
                .map(|(hop, bytes)| (hop, own, text(bytes))),
        );
        self.server.outbox().clear();
        sent
    }

    /// Lets time pass in small steps.
    fn pass(&mut self, ms: u64, spoil: Spoil<'_>) {
        for _ in 0..ms.div_ceil(10) {
            self.now_ns += 10 * MS;
            self.generator.tick(self.now_ns);
            self.settle(spoil);
        }
    }

    fn call(&mut self, spoil: Spoil<'_>) {
        self.generator.place(self.now_ns, self.now_ns);
        self.settle(spoil);
    }

    fn counts(&self) -> Counts {
        self.generator.tally().counts
    }

    /// What was told to be wrong with messages.
    fn wrongs(&self) -> Vec<(Wrong, u64)> {
        self.generator.tally().wrongs().collect()
    }
}

fn same(text: String) -> Option<String> {
    Some(text)
}

/// Plays one call whose messages pass through `spoil`.
fn played(plan: Plan, mut spoil: impl FnMut(String) -> Option<String>) -> Stage {
    let mut stage = Stage::new(plan);
    stage.call(&mut spoil);
    stage.pass(40_000, &mut spoil);
    stage
}

fn assert_right(stage: &Stage) {
    let counts = stage.counts();
    assert_eq!(
        (counts.placed, counts.right),
        (1, 1),
        "{counts:?} {:?}",
        stage.generator.tally().samples
    );
    assert_eq!(stage.wrongs(), []);
    assert_eq!(
        (counts.unexpected, counts.invites_again),
        (0, 0),
        "{counts:?}"
    );
    assert_eq!(
        (stage.generator.open(), stage.generator.setting_up()),
        (0, 0)
    );
}

#[test]
fn every_scenario_ends_well_against_a_server_that_is_right() {
    for (scenario, users) in [
        (Scenario::Call, "anna"),
        (Scenario::Redirect, "redirect1"),
        (Scenario::Reject, "reject1"),
        (Scenario::NoAnswer, "anna"),
        (Scenario::Register, "anna"),
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
            super::calls::LegStage::Ringing
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

#[test]
fn each_wrong_message_is_counted_as_such_and_fails_its_call() {
    let answer = |text: &str| {
        text.starts_with("SIP/2.0 200")
            && text.contains("INVITE\r\n")
            && text.matches("Via:").count() == 1
    };
    let at_callee =
        |text: &str, method: &str| text.starts_with(method) && text.matches("Via:").count() == 2;
    let cases: Vec<(Wrong, Box<dyn Fn(String) -> String>)> = vec![
        (
            Wrong::Via,
            Box::new(move |t| {
                if answer(&t) {
                    t.replacen("Via: ", "Via: SIP/2.0/UDP x;branch=z9hG4bK1, ", 1)
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::CSeq,
            Box::new(move |t| {
                if answer(&t) {
                    t.replace("CSeq: 1 INVITE", "CSeq: 7 INVITE")
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::FromTag,
            Box::new(move |t| {
                if answer(&t) {
                    t.replacen(";tag=c0", ";tag=d0", 1)
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::ToTag,
            Box::new(move |t| {
                if answer(&t) {
                    t.replacen("p1\r\n", "p9\r\n", 1)
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::RouteSet,
            Box::new(move |t| {
                if answer(&t) {
                    t.replacen(";lr>", ";lr;x=1>", 1)
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::RouteSet,
            Box::new(move |t| {
                if answer(&t) {
                    t.replacen("Record-Route", "X-Route", 1)
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::Contact,
            Box::new(move |t| {
                if answer(&t) {
                    t.replacen("sip:bench@127.0.0.1:5072", "sip:x@127.0.0.1:5072", 1)
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::Body,
            Box::new(move |t| {
                if answer(&t) {
                    t.replace("m=audio 40002", "m=audio 40004")
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::Length,
            Box::new(move |t| {
                if answer(&t) {
                    t.replace("Content-Length: ", "Content-Length: 9")
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::Body,
            Box::new(move |t| {
                if at_callee(&t, "INVITE") {
                    t.replace("m=audio 40000", "m=audio 40006")
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::MaxForwards,
            Box::new(move |t| {
                if at_callee(&t, "INVITE") {
                    t.replace("Max-Forwards: 69", "Max-Forwards: 70")
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::LeftRoute,
            Box::new(move |t| {
                if at_callee(&t, "BYE") {
                    t.replace("Max-F", "Route: <sip:y;lr>\r\nMax-F")
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::LeftRoute,
            Box::new(move |t| {
                if at_callee(&t, "ACK") {
                    t.replace("Max-F", "Route: <sip:y;lr>\r\nMax-F")
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::RequestUri,
            Box::new(move |t| {
                if at_callee(&t, "BYE") {
                    t.replacen("BYE sip:bench", "BYE sip:bunch", 1)
                } else {
                    t
                }
            }),
        ),
        (
            Wrong::CSeq,
            Box::new(move |t| {
                if at_callee(&t, "BYE") {
                    t.replace("CSeq: 2", "CSeq: 3")
                } else {
                    t
                }
            }),
        ),
    ];
    for (number, (wrong, spoil)) in cases.iter().enumerate() {
        let stage = played(plan(Scenario::Call, "anna"), |text| Some(spoil(text)));
        let counts = stage.counts();
        let told: Vec<_> = stage.wrongs().iter().map(|(wrong, _)| *wrong).collect();
        assert_eq!(told, [*wrong], "case {number}: {counts:?}");
        assert_eq!(
            (counts.wrong_message, counts.right),
            (1, 0),
            "case {number}: {counts:?}"
        );
        assert_eq!(stage.generator.open(), 0, "case {number}");
        // Without the check, nothing is wrong.
        let mut lenient = plan(Scenario::Call, "anna");
        lenient.checks = Checks::ALL.without(*wrong);
        let stage = played(lenient, |text| Some(spoil(text)));
        assert_eq!(
            stage.counts().right,
            1,
            "case {number}: {:?}",
            stage.generator.tally().samples
        );
    }
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
    let mut index = Index::new();
    let refusal = refusal.unwrap();
    let hop = Hop {
        seat: Seat::Caller,
        to: SERVER.parse().unwrap(),
        connection: None,
    };
    stage
        .generator
        .receive(0, hop, &index.parse(refusal.as_bytes()).unwrap());
    let sent = stage.take();
    assert!(
        sent[0]
            .2
            .starts_with("ACK sip:reject1@example.com SIP/2.0\r\n"),
        "{}",
        sent[0].2
    );
    let ack = index.parse(sent[0].2.as_bytes()).unwrap();
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
    plan.slots = 2_000;
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
