//! Calls through a back-to-back user agent, which makes a call of its own to the callee.

use std::collections::HashMap;

use super::*;

/// What it calls itself.
const CONTACT: &str = "sip:b2b@127.0.0.9:5060";

/// Makes of the stateless proxy on the stage a back-to-back user agent: each half has its own
/// Call-ID, tags, CSeq, hops and Contact.
#[derive(Default)]
struct BackToBack {
    /// The caller's Call-ID and Contact.
    caller: [String; 2],
    /// The callee's tag and Contact.
    callee: [String; 2],
    /// The caller's Via by method.
    vias: HashMap<String, String>,
}

fn value<'t>(text: &'t str, name: &str) -> &'t str {
    let mut lines = text.lines();
    lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
}

/// The message with another value of each field; without the field where there is none.
fn with(text: &str, fields: &[(&str, Option<&str>)]) -> String {
    let lines = text.split_inclusive("\r\n").filter_map(|line| {
        let name = line.split_once(": ").map_or("", |(name, _)| name);
        match fields.iter().find(|(field, _)| *field == name) {
            Some((_, Some(value))) => Some(format!("{name}: {value}\r\n")),
            Some((_, None)) => None,
            None => Some(line.to_owned()),
        }
    });
    lines.collect()
}

impl BackToBack {
    fn pass(&mut self, text: String) -> Option<String> {
        let vias: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Via: "))
            .map(str::to_owned)
            .collect();
        let is_request = !text.starts_with("SIP/2.0");
        Some(match (is_request, &vias[..]) {
            (true, [_]) => self.of_caller(&text),
            (true, [own, caller]) => self.towards_callee(&text, own, caller),
            (false, [via]) if via.contains("127.0.0.9") => self.of_callee(&text, via),
            _ => self.towards_caller(&text),
        })
    }

    fn of_caller(&mut self, text: &str) -> String {
        if text.starts_with("INVITE") {
            self.caller = [value(text, "Call-ID"), value(text, "Contact")].map(str::to_owned);
        }
        let [tag, contact] = &self.callee;
        let to_callee = text.replacen(CONTACT, contact, 1);
        to_callee.replace(";tag=uas", &format!(";tag={tag}"))
    }

    fn towards_callee(&mut self, text: &str, own: &str, caller: &str) -> String {
        let (number, method) = value(text, "CSeq").split_once(' ').unwrap();
        self.vias.insert(method.to_owned(), caller.to_owned());
        let number: u32 = number.parse().unwrap();
        let from = value(text, "From").split_once(";tag=").unwrap().0;
        let other_half = with(
            text,
            &[
                ("Via", None),
                ("Record-Route", None),
                ("Call-ID", Some("another")),
                ("CSeq", Some(&format!("{} {method}", number + 100))),
                ("From", Some(&format!("{from};tag=uac"))),
                ("Contact", Some(&format!("<{CONTACT}>"))),
                ("Max-Forwards", Some("70")),
                ("Content-Type", Some("application/sdp;by=b2b")),
            ],
        );
        other_half.replacen("\r\n", &format!("\r\nVia: {own}\r\n"), 1)
    }

    fn of_callee(&mut self, text: &str, own: &str) -> String {
        let tag = value(text, "To").split_once(";tag=");
        let contact = value(text, "Contact").trim_matches(['<', '>']);
        if let Some((_, tag)) = tag.filter(|_| !contact.is_empty()) {
            self.callee = [tag, contact].map(str::to_owned);
        }
        let (number, method) = value(text, "CSeq").split_once(' ').unwrap();
        let number: u32 = number.parse().unwrap();
        let from = value(text, "From").split_once(";tag=").unwrap().0;
        let [call_id, _] = &self.caller;
        let vias = format!("{own}\r\nVia: {}", self.vias[method]);
        with(
            text,
            &[
                ("Via", Some(&vias)),
                ("Call-ID", Some(call_id)),
                ("CSeq", Some(&format!("{} {method}", number - 100))),
                ("From", Some(&format!("{from};tag={call_id}"))),
            ],
        )
    }

    fn towards_caller(&self, text: &str) -> String {
        let to = value(text, "To");
        let to = match to.split_once(";tag=") {
            Some((to, _)) => format!("{to};tag=uas"),
            None => to.to_owned(),
        };
        let contact = format!("<{CONTACT}>");
        with(text, &[("To", Some(&to)), ("Contact", Some(&contact))])
    }
}

fn through_it(scenario: Scenario, from: &str) -> Plan {
    let templates = Templates::compile(&[], "sip:{user}@{domain}", from).unwrap();
    Plan {
        templates: Arc::new(templates),
        is_back_to_back: true,
        ..plan(scenario, "anna")
    }
}

#[test]
fn the_callee_knows_a_call_by_the_user_of_from() {
    for scenario in [Scenario::Call, Scenario::NoAnswer] {
        let mut server = BackToBack::default();
        let plan = through_it(scenario, "sip:{call_id}@{domain}");
        let stage = played(plan, |text| server.pass(text));
        assert_right(&stage);
        assert_eq!(stage.counts().unexpected, 0);
        assert_eq!(stage.generator.tally().added_ns.count(), 1);
    }
}

#[test]
fn without_it_nothing_of_the_other_half_is_known_and_a_proxy_is_held_to_all_of_it() {
    let mut server = BackToBack::default();
    let unknown = through_it(Scenario::Call, "sip:bench@{domain}");
    let stage = played(unknown, |text| server.pass(text));
    assert_eq!(stage.counts().right, 0);
    assert!(stage.counts().unexpected > 0);

    let mut server = BackToBack::default();
    let mut as_proxy = through_it(Scenario::Call, "sip:{call_id}@{domain}");
    as_proxy.is_back_to_back = false;
    let stage = played(as_proxy, |text| server.pass(text));
    assert_eq!(stage.counts().right, 0);
}

#[test]
fn what_it_answers_itself_is_told() {
    let mut server = BackToBack::default();
    let plan = through_it(Scenario::Call, "sip:{call_id}@{domain}");
    let mut stage = Stage::new(plan);
    stage.server = Reflector::new(SERVER.parse().unwrap(), None);
    let mut announces = |text: String| {
        let text = server.pass(text)?;
        Some(text.replacen("SIP/2.0 404 Not Found", "SIP/2.0 200 OK", 1))
    };
    stage.call(&mut announces);
    assert_eq!(stage.wrongs(), [(Wrong::Place, 1)]);
}

#[test]
fn what_it_never_ends_at_the_callee_is_told() {
    for (scenario, kept_back) in [(Scenario::Call, "BYE"), (Scenario::NoAnswer, "CANCEL")] {
        let mut server = BackToBack::default();
        let mut kept: Vec<String> = Vec::new();
        let mut stage = Stage::new(through_it(scenario, "sip:{call_id}@{domain}"));
        // The caller's half is answered by itself, the other one is kept back.
        let mut answers_first = |text: String| {
            let text = server.pass(text)?;
            let is_kept = text.starts_with(kept_back) && text.contains("Call-ID: another");
            if is_kept {
                kept.push(text);
                return None;
            }
            Some(text)
        };
        stage.call(&mut answers_first);
        stage.pass(1_000, &mut answers_first);
        let late = kept.pop().unwrap();
        for answer in of_own_half(&mut stage, kept_back) {
            stage.hear(Seat::Caller, &answer);
        }
        assert_eq!(stage.counts().left_standing, 1, "{scenario:?}");
        assert!(stage.generator.awaits_callee(stage.now_ns));
        let answers = stage.hear(Seat::Callee, &late);
        assert!(answers[0].1.starts_with("SIP/2.0 200"), "{answers:?}");
        assert_eq!(stage.counts().left_standing, 0, "{scenario:?}");
        assert!(!stage.generator.awaits_callee(stage.now_ns));
    }
}

/// What a server says to the caller that ends its own half by itself.
fn of_own_half(stage: &mut Stage, kept_back: &str) -> Vec<String> {
    let ident = stage.generator.calls.open()[0];
    let ident = String::from_utf8(ident.write(0x00c0_ffee).to_vec()).unwrap();
    let answer = |status: &str, letter: char, cseq: &str| {
        format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bK{ident}{letter};rport\r\n\
             From: <sip:{ident}@example.com>;tag={ident}\r\nTo: <sip:anna@example.com>;tag=uas\r\n\
             Call-ID: {ident}\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    match kept_back {
        "BYE" => vec![answer("200 OK", 'b', "2 BYE")],
        _ => vec![
            answer("200 OK", 'i', "1 CANCEL"),
            answer("487 Request Terminated", 'i', "1 INVITE"),
        ],
    }
}

#[test]
fn who_calls_is_not_named_by_what_only_a_message_has() {
    let compiled = Templates::compile(&[], "sip:{user}@x", "sip:{user}@x");
    let told = compiled.err().map(|error| error.to_string());
    assert!(told.is_some_and(|told| told.contains("--from") && told.contains("call_id")));
}
