//! The checker finds what is planted: each invariant, broken once on purpose.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;

use pointsman::call::CallRecord;
use pointsman::proxy::Keys;

use crate::checker::{Checker, Verdict};
use crate::harness::{PBX, address};
use crate::people::People;
use crate::random::Chance;
use crate::sip::Sip;

const SECRET: [u8; 32] = [9; 32];
const PHONE: &str = "192.0.2.50:5060";
const OUR_BRANCH: &str = "z9hG4bKours";

/// A call that was relayed as it should be, up to here.
struct Bench {
    checker: Checker,
    people: People,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        let known: HashSet<SocketAddr> = [PHONE, PBX].map(address).into();
        let mut bench = Self {
            checker: Checker::new(&SECRET, known, 900),
            people: People::new(5, &mut Chance::new(1)),
            now: 0,
        };
        bench.comes(PHONE, &invite());
        bench.goes(PBX, &relayed()).unwrap();
        bench
    }

    fn comes(&mut self, from: &str, text: &str) -> Rc<Sip> {
        let message = Sip::of(text);
        self.checker.on_input(self.now, address(from), &message);
        message
    }

    fn goes(&mut self, to: &str, text: &str) -> Verdict {
        self.because(None, to, text)
    }

    fn because(&mut self, cause: Option<&Sip>, to: &str, text: &str) -> Verdict {
        let message = Sip::of(text);
        self.checker
            .on_output(self.now, cause, address(to), &message, &self.people)
    }

    fn state(&mut self, records: &[Vec<u8>], marks: &[(u16, u16)]) -> Verdict {
        self.checker.check_state(self.now, records, marks)
    }
}

fn invite() -> String {
    format!(
        "INVITE sip:102@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKsim0\r\n\
         Max-Forwards: 70\r\nFrom: <sip:s100@example.com>;tag=a\r\nTo: <sip:102@example.com>\r\n\
         Call-ID: c@sim\r\nCSeq: 1 INVITE\r\nContent-Length: 3\r\n\r\nsdp"
    )
}

fn relayed() -> String {
    let via = format!("Via: SIP/2.0/UDP 192.0.2.1:5060;branch={OUR_BRANCH}\r\nVia: ");
    invite()
        .replacen("Via: ", &via, 1)
        .replace("Forwards: 70", "Forwards: 69")
}

fn response(status: u16, tag: &str, via: &str) -> String {
    format!(
        "SIP/2.0 {status} So\r\n{via}Via: SIP/2.0/UDP {PHONE};branch=z9hG4bKsim0\r\n\
         From: <sip:s100@example.com>;tag=a\r\nTo: <sip:102@example.com>;tag={tag}\r\n\
         Call-ID: c@sim\r\nCSeq: 1 INVITE\r\nContent-Length: 3\r\n\r\nsdp"
    )
}

fn from_pbx(status: u16) -> String {
    let via = format!("Via: SIP/2.0/UDP 192.0.2.1:5060;branch={OUR_BRANCH}\r\n");
    response(status, "b", &via)
}

fn bye() -> String {
    format!(
        "BYE sip:phone@{PBX} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKsim1\r\n\
         Max-Forwards: 70\r\nRoute: <sip:192.0.2.1:5060;lr;pm=1>\r\n\
         From: <sip:s100@example.com>;tag=a\r\nTo: <sip:102@example.com>;tag=b\r\n\
         Call-ID: c@sim\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The record that the engine should keep of the call; `s100` calls `s102`.
fn record() -> Vec<u8> {
    let keys = Keys::new(&SECRET);
    let mut bytes = Vec::new();
    CallRecord {
        key: keys.call(b"c@sim"),
        caller_tag: keys.tag(b"a"),
        callee_tag: keys.tag(b"b"),
        call_id: b"c@sim",
        caller: b"s100",
        callee: b"s102",
        ..CallRecord::default()
    }
    .encode(&mut bytes);
    bytes
}

#[track_caller]
fn assert_broken(verdict: Verdict, rule: &str) {
    match verdict {
        Ok(()) => panic!("what breaks {rule:?} went unnoticed"),
        Err(broken) => assert!(broken.rule.contains(rule), "{broken:?}"),
    }
}

const NOBODY: [(u16, u16); 5] = [(0, 0); 5];
const TALKING: [(u16, u16); 5] = [(1, 0), (0, 0), (1, 0), (0, 0), (0, 0)];

#[test]
fn a_call_as_it_should_be_breaks_nothing() {
    let mut bench = Bench::new();
    let ringing = bench.comes(PBX, &from_pbx(180));
    bench
        .because(Some(&ringing), PHONE, &response(180, "b", ""))
        .unwrap();
    bench
        .state(&[], &[(0, 0), (0, 0), (0, 1), (0, 0), (0, 0)])
        .unwrap();
    let ok = bench.comes(PBX, &from_pbx(200));
    bench
        .because(Some(&ok), PHONE, &response(200, "b", ""))
        .unwrap();
    bench
        .because(Some(&ok), PHONE, &response(200, "fork", ""))
        .unwrap();
    bench.goes(PHONE, &response(200, "b", "")).unwrap();
    assert_broken(bench.checker.check_end(), "a call never ended");
    assert_broken(
        Bench::new().checker.check_end(),
        "never got a final response",
    );
}

#[test]
fn a_second_final_response_is_found() {
    let mut bench = Bench::new();
    bench.goes(PHONE, &response(486, "b", "")).unwrap();
    bench.goes(PHONE, &response(486, "b", "")).unwrap();
    assert_broken(bench.goes(PHONE, &response(480, "b", "")), "second final");
    assert_broken(bench.goes(PHONE, &response(200, "b", "")), "second final");
    assert_broken(bench.goes(PHONE, &response(486, "x", "")), "second final");
}

#[test]
fn a_100_after_the_final_response_is_found() {
    let mut bench = Bench::new();
    bench.goes(PHONE, &response(486, "b", "")).unwrap();
    assert_broken(bench.goes(PHONE, &response(100, "", "")), "after the final");
}

#[test]
fn a_message_to_somebody_who_was_never_named_is_found() {
    let mut bench = Bench::new();
    assert_broken(
        bench.goes("203.0.113.200:5060", &response(486, "b", "")),
        "nobody named",
    );
    assert_broken(bench.goes(PBX, &response(486, "b", "")), "went to");
}

#[test]
fn hops_vias_and_bodies_that_are_wrong_are_found() {
    let changed = |from: &str, to: &str| Bench::new().goes(PBX, &relayed().replace(from, to));
    assert_broken(changed("Forwards: 69", "Forwards: 70"), "Max-Forwards");
    assert_broken(
        changed(
            "Max-Forwards",
            "Via: SIP/2.0/UDP x;branch=y\r\nMax-Forwards",
        ),
        "Via",
    );
    assert_broken(changed("\r\n\r\nsdp", "\r\n\r\nsdq"), "body of a request");
    assert_broken(changed("z9hG4bKsim0", "z9hG4bKsim9"), "never came in");
    let mut bench = Bench::new();
    let ok = bench.comes(PBX, &from_pbx(200));
    let altered = response(200, "b", "").replace("sdp", "sdq");
    assert_broken(
        bench.because(Some(&ok), PHONE, &altered),
        "body of a response",
    );
}

#[test]
fn endless_retransmissions_are_found() {
    let mut bench = Bench::new();
    for _ in 1..7 {
        bench.goes(PBX, &relayed()).unwrap();
    }
    assert_broken(bench.goes(PBX, &relayed()), "sent 8 times");
    for _ in 0..12 {
        bench.goes(PHONE, &response(486, "b", "")).unwrap();
    }
    assert_broken(bench.goes(PHONE, &response(486, "b", "")), "sent 13 times");
}

#[test]
fn an_ack_that_no_response_asks_for_is_found() {
    let ack = invite()
        .replace("INVITE", "ACK")
        .replace("z9hG4bKsim0", OUR_BRANCH);
    assert_broken(Bench::new().goes(PBX, &ack), "belongs to no branch");
}

#[test]
fn marks_without_records_and_records_without_marks_are_found() {
    let mut bench = Bench::new();
    assert_broken(bench.state(&[], &TALKING), "marked 1 times");
    assert_broken(bench.state(&[record()], &TALKING), "nobody answered");
    let ok = bench.comes(PBX, &from_pbx(200));
    bench
        .because(Some(&ok), PHONE, &response(200, "b", ""))
        .unwrap();
    bench.state(&[record()], &TALKING).unwrap();
    assert_broken(bench.state(&[record()], &NOBODY), "marked 0 times");
    assert_broken(bench.state(&[], &NOBODY), "has no record");
    bench.now = 901_000;
    assert_broken(bench.state(&[record()], &TALKING), "beyond its end");
}

#[test]
fn a_call_that_outlives_its_bye_is_found() {
    let mut bench = Bench::new();
    let ok = bench.comes(PBX, &from_pbx(200));
    bench
        .because(Some(&ok), PHONE, &response(200, "b", ""))
        .unwrap();
    bench.comes(PHONE, &bye());
    bench.state(&[], &NOBODY).unwrap();
    assert_broken(bench.state(&[record()], &TALKING), "though its BYE came");
    bench.checker.check_end().unwrap();
}

#[test]
fn a_lamp_that_stays_lit_is_found() {
    let mut bench = Bench::new();
    bench.comes(PBX, &from_pbx(180));
    assert_broken(bench.state(&[], &NOBODY), "rings 0 times");
    bench.comes(PBX, &from_pbx(486));
    assert_broken(
        bench.state(&[], &[(0, 0), (0, 0), (0, 1), (0, 0), (0, 0)]),
        "rings 1 times",
    );
}
