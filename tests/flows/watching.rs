//! SUBSCRIBE and NOTIFY (RFC 6665): lamps (RFC 4235) and presence (RFC 3856) of our subscribers.

use std::num::NonZeroU64;

use pointsman::engine::ConnectionId;
use pointsman::event::{Package, Packages, Rules};
use pointsman::message::Transport;
use pointsman::presence::{Level, Visibility};
use pointsman::proxy::{FlowView, Policy};
use pointsman::store::{Memory, Records};

use crate::authenticating::{guarded, sign};
use crate::harness::*;

const ANNA: &str = r#"{"id":"anna","display_name":"Anna","aliases":["101"],"language":"en"}"#;
const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
const PHONE: &str = "192.0.2.70:5062";

fn rules() -> Rules {
    Rules {
        packages: Packages::of(Package::ALL),
        ..Rules::default()
    }
}

fn watching() -> Policy {
    Policy {
        events: rules(),
        ..policy()
    }
}

fn world() -> World {
    World::new(watching(), &[ANNA, BOB])
}

/// A SUBSCRIBE of Anna's phone. Within the dialog that `answer` made, where there is one.
fn subscribe(
    (call, cseq): (&str, u32),
    package: &str,
    answer: Option<&Sent>,
    lines: &str,
) -> String {
    let (uri, to) = match answer {
        Some(answer) => (format!("sip:{PROXY}"), answer.header("To").unwrap()),
        None => (
            "sip:bob@example.com".to_owned(),
            "<sip:bob@example.com>".to_owned(),
        ),
    };
    format!(
        "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{call}{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Anna\" <sip:anna@example.com>;tag=f{call}\r\nTo: {to}\r\n\
         Call-ID: {call}@phone\r\nCSeq: {cseq} SUBSCRIBE\r\nContact: <sip:anna@{PHONE};x=1>\r\n\
         Event: {package}\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

/// Subscribes; the 200 and the first NOTIFY, which is taken.
#[track_caller]
fn subscribed(world: &mut World, call: &str, package: &str) -> (Sent, Sent) {
    let sent = world.receive(PHONE, subscribe((call, 1), package, None, ""));
    assert_eq!(sent.len(), 2, "{sent:#?}");
    let (answer, notify) = (answer(&sent, PHONE, 200), find(&sent, PHONE, "NOTIFY"));
    assert!(take(world, &notify).is_empty());
    (answer, notify)
}

/// The phone takes a NOTIFY; what comes of it.
fn take(world: &mut World, notify: &Sent) -> Vec<Sent> {
    world.receive(PHONE, respond(notify, "200 OK", ""))
}

fn body(notify: &Sent) -> String {
    let text = notify.text();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length: usize = notify.header("Content-Length").unwrap().parse().unwrap();
    assert_eq!(length, body.len(), "{head}");
    body.to_owned()
}

fn state(notify: &Sent) -> String {
    notify.header("Subscription-State").unwrap()
}

/// The states of the dialogs in a document.
fn lamp(notify: &Sent) -> Vec<String> {
    let body = body(notify);
    let states = body.split("<state>").skip(1);
    states
        .map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect()
}

/// The one NOTIFY among what was sent.
#[track_caller]
fn told(sent: &[Sent]) -> Sent {
    let mut told = sent
        .iter()
        .filter(|s| s.method().as_deref() == Some("NOTIFY"));
    let one = told
        .next()
        .unwrap_or_else(|| panic!("no NOTIFY in {sent:#?}"));
    assert!(told.next().is_none(), "{sent:#?}");
    one.clone()
}

/// Ends what is left, and sees that nothing is.
fn drained(mut world: World) {
    world.advance(7_300_000);
    world.assert_drained();
    assert!(world.shared.ledger.is_empty());
}

#[test]
fn a_lamp_follows_a_call_from_its_ringing_to_its_end() {
    let mut world = world();
    let (accepted, first) = subscribed(&mut world, "a", "dialog;id=9");
    assert_eq!(accepted.header("Expires").as_deref(), Some("3600"));
    assert_eq!(
        accepted.header("Contact").unwrap(),
        format!("<sip:{PROXY}>")
    );
    assert_eq!(
        first.first_line(),
        format!("NOTIFY sip:anna@{PHONE};x=1 SIP/2.0")
    );
    assert_eq!(first.header("Event").as_deref(), Some("dialog;id=9"));
    assert_eq!(first.header("CSeq").as_deref(), Some("1 NOTIFY"));
    assert_eq!(state(&first), "active;expires=3600");
    assert_eq!(first.header("From"), accepted.header("To"));
    assert_eq!(first.header("To"), accepted.header("From"));
    assert_eq!(first.header("Call-ID").as_deref(), Some("a@phone"));
    assert_eq!(
        first.header("Content-Type").as_deref(),
        Some("application/dialog-info+xml")
    );
    assert_eq!(lamp(&first), ["terminated"]);
    assert!(body(&first).contains("version=\"0\" state=\"full\" entity=\"sip:bob@example.com\""));

    let sent = world.receive(CALLER, invite("sip:bob@example.com", "c"));
    let copy = find(&sent, PBX, "INVITE");
    let sent = world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let ringing = told(&sent);
    assert_eq!(lamp(&ringing), ["early"]);
    assert!(body(&ringing).contains("direction=\"recipient\""));
    take(&mut world, &ringing);
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    let (ok, busy) = (answer(&sent, CALLER, 200), told(&sent));
    assert_eq!(lamp(&busy), ["confirmed"]);
    assert!(body(&busy).contains("version=\"2\""));
    assert!(
        !busy.text().contains("carl"),
        "with whom is nobody's business"
    );
    take(&mut world, &busy);
    let sent = world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    let idle = told(&sent);
    assert_eq!(lamp(&idle), ["terminated"]);
    assert_eq!(idle.header("CSeq").as_deref(), Some("4 NOTIFY"));
    take(&mut world, &idle);
    drained(world);
}

#[test]
fn presence_has_the_status_its_note_and_its_end() {
    let mut world = world();
    let (_, first) = subscribed(&mut world, "p", "presence");
    let document = body(&first);
    assert!(document.contains("<basic>open</basic>"), "{document}");
    assert!(document.contains("entity=\"sip:bob@example.com\""));
    assert!(!document.contains("activities") && !document.contains("note"));
    world.put(
        r#"{"id":"bob","aliases":["102"],"status":"away","status_message":"Lunch & <b>",
            "until":"2026-11-23T12:30:00Z"}"#,
    );
    let away = told(&world.advance(0));
    let document = body(&away);
    assert!(document.contains(
        "<rpid:activities until=\"2026-11-23T12:30:00Z\"><rpid:away/></rpid:activities>"
    ));
    assert!(document.contains("<note xml:lang=\"en\">Lunch &amp; &lt;b&gt;</note>"));
    take(&mut world, &away);
    world.put(r#"{"id":"bob","aliases":["102"],"status":"dnd"}"#);
    let dnd = told(&world.advance(0));
    let document = body(&dnd);
    assert!(document.contains("<basic>closed</basic>") && document.contains("<rpid:busy/>"));
    assert!(document.contains("Do not disturb"), "{document}");
    take(&mut world, &dnd);
    drained(world);
}

#[test]
fn what_a_watcher_does_not_see_is_not_told() {
    let mut world = world();
    subscribed(&mut world, "a", "dialog");
    world.put(r#"{"id":"bob","aliases":["102","+4930777"],"status":"away"}"#);
    assert!(world.advance(0).is_empty(), "a lamp shows no status");
    world.put(r#"{"id":"carla"}"#);
    assert!(world.advance(0).is_empty());
    drained(world);
}

#[test]
fn changes_that_come_faster_than_answers_are_one() {
    let mut world = world();
    let sent = world.receive(PHONE, subscribe(("p", 1), "presence", None, ""));
    let first = told(&sent);
    for status in ["away", "dnd", "break"] {
        world.put(&BOB.replace(
            "\"aliases\"",
            &format!("\"status\":\"{status}\",\"aliases\""),
        ));
        assert!(world.advance(10).is_empty(), "one NOTIFY at a time");
    }
    let last = told(&take(&mut world, &first));
    assert!(body(&last).contains("On a break"));
    world.put(&BOB.replace("\"aliases\"", "\"status\":\"dnd\",\"aliases\""));
    world.put(&BOB.replace("\"aliases\"", "\"status\":\"break\",\"aliases\""));
    assert!(take(&mut world, &last).is_empty(), "all is as it was told");
    drained(world);
}

#[test]
fn a_subscription_is_refreshed_and_ended() {
    let mut world = world();
    let (first, _) = subscribed(&mut world, "a", "dialog");
    world.advance(3_000_000);
    let again = subscribe(("a", 2), "dialog", Some(&first), "Expires: 600\r\n");
    let sent = world.receive(PHONE, &again);
    assert_eq!(
        answer(&sent, PHONE, 200).header("Expires").as_deref(),
        Some("600")
    );
    let notify = told(&sent);
    assert_eq!(state(&notify), "active;expires=600");
    take(&mut world, &notify);
    let repeated = world.receive(PHONE, &again);
    assert_eq!(
        (repeated.len(), repeated[0].status()),
        (1, Some(200)),
        "sent again"
    );
    let late = subscribe(("a", 1), "dialog", Some(&first), "").replace("bKa1", "bKa1late");
    assert_eq!(statuses(&world.receive(PHONE, late), PHONE), [500]);
    let end = subscribe(("a", 3), "dialog", Some(&first), "Expires: 0\r\n");
    let sent = world.receive(PHONE, end);
    assert_eq!(
        answer(&sent, PHONE, 200).header("Expires").as_deref(),
        Some("0")
    );
    let last = told(&sent);
    assert_eq!(state(&last), "terminated;reason=timeout");
    assert_eq!(lamp(&last), ["terminated"]);
    let kept = world.store.slot_records(Records::Subscriptions).len();
    assert_eq!((kept, world.shared.ledger.len()), (0, 1));
    let anew = subscribe(("a", 9), "dialog", None, "");
    let begun = told(&world.receive(PHONE, anew));
    assert_eq!(
        state(&begun),
        "active;expires=3600",
        "whoever begins anew is not refused"
    );
    assert_eq!(world.shared.ledger.len(), 1);
    world.receive(PHONE, respond(&begun, "481 Gone", ""));
    assert_eq!(world.engine.load().watches, 0);
    let gone = subscribe(("a", 4), "dialog", Some(&first), "");
    assert_eq!(statuses(&world.receive(PHONE, gone), PHONE), [481]);
    drained(world);
}

#[test]
fn who_ends_a_subscription_before_they_have_answered_hears_of_its_end() {
    let mut world = world();
    let sent = world.receive(PHONE, subscribe(("a", 1), "dialog", None, ""));
    let (accepted, first) = (answer(&sent, PHONE, 200), told(&sent));
    let end = subscribe(("a", 2), "dialog", Some(&accepted), "Expires: 0\r\n");
    let sent = world.receive(PHONE, end);
    assert_eq!(statuses(&sent, PHONE), [200]);
    assert_eq!(sent.len(), 1, "one NOTIFY at a time");
    let last = told(&take(&mut world, &first));
    assert_eq!(state(&last), "terminated;reason=timeout");
    take(&mut world, &last);
    let sent = world.receive(
        PHONE,
        subscribe(("b", 1), "dialog", None, "Expires: 60\r\n"),
    );
    let first = told(&sent);
    world.now_ms += 60_000;
    let sent = world.receive(PHONE, respond(&first, "503 Service Unavailable", ""));
    assert!(sent.is_empty());
    assert_eq!(state(&told(&world.advance(0))), "terminated;reason=timeout");
    drained(world);
}

#[test]
fn who_asks_once_is_told_once() {
    let mut world = world();
    let sent = world.receive(
        PHONE,
        subscribe(("o", 1), "presence", None, "Expires: 0\r\n"),
    );
    let once = told(&sent);
    assert_eq!(state(&once), "terminated;reason=timeout");
    assert!(body(&once).contains("<basic>open</basic>"));
    take(&mut world, &once);
    assert_eq!(world.engine.load().watches, 0);
    drained(world);
}

#[test]
fn a_subscription_ends_in_time_and_its_watcher_is_told() {
    let mut world = world();
    let sent = world.receive(
        PHONE,
        subscribe(("e", 1), "dialog", None, "Expires: 60\r\n"),
    );
    take(&mut world, &told(&sent));
    assert!(world.advance(59_900).is_empty());
    let last = told(&world.advance(200));
    assert_eq!(state(&last), "terminated;reason=timeout");
    take(&mut world, &last);
    drained(world);
}

#[test]
fn a_watcher_who_does_not_answer_is_forgotten() {
    let mut world = world();
    let sent = world.receive(PHONE, subscribe(("t", 1), "dialog", None, ""));
    let notify = told(&sent);
    let again = world.advance(31_600);
    assert_eq!(again.len(), 10, "timer E");
    assert!(again.iter().all(|sent| sent.bytes == notify.bytes));
    world.advance(500);
    assert_eq!(world.engine.load().watches, 0);
    assert!(world.shared.ledger.is_empty());
    drained(world);
}

#[test]
fn a_watcher_who_knows_no_such_subscription_is_forgotten_and_one_in_trouble_is_not() {
    let mut world = world();
    let notify = told(&world.receive(PHONE, subscribe(("x", 1), "dialog", None, "")));
    world.receive(
        PHONE,
        respond(&notify, "481 Subscription Does Not Exist", ""),
    );
    assert_eq!(world.engine.load().watches, 0);
    let notify = told(&world.receive(PHONE, subscribe(("y", 1), "dialog", None, "")));
    assert!(
        world
            .receive(PHONE, respond(&notify, "503 Service Unavailable", ""))
            .is_empty()
    );
    let again = told(&world.advance(5_100));
    assert_eq!(again.header("CSeq").as_deref(), Some("2 NOTIFY"));
    take(&mut world, &again);
    let notify = told(&world.receive(PHONE, subscribe(("z", 1), "dialog", None, "")));
    for _ in 0..5 {
        let last = if world.now_ms < 6_000 {
            notify.clone()
        } else {
            told(&world.advance(5_100))
        };
        world.now_ms += 1_000;
        world.receive(PHONE, respond(&last, "500 Oops", ""));
    }
    assert_eq!(world.engine.load().watches, 2);
    let last = told(&world.advance(5_100));
    world.receive(PHONE, respond(&last, "500 Oops", ""));
    assert_eq!(world.engine.load().watches, 1, "after five more tries");
    drained(world);
}

#[test]
fn a_watcher_whose_phone_is_off_is_forgotten() {
    let mut world = world();
    told(&world.receive(PHONE, subscribe(("u", 1), "dialog", None, "")));
    world.unreachable(PHONE);
    assert_eq!(world.engine.load().watches, 0);
    drained(world);
}

#[test]
fn who_shows_nothing_cannot_be_watched_and_is_not_any_more() {
    let mut world = world();
    subscribed(&mut world, "a", "presence");
    let hidden = r#"{"id":"bob","aliases":["102"],"visibility":{"others":"none","team":"none"}}"#;
    world.put(hidden);
    let last = told(&world.advance(0));
    assert_eq!(state(&last), "terminated;reason=rejected");
    assert_eq!(
        (body(&last), last.header("Content-Type")),
        (String::new(), None)
    );
    take(&mut world, &last);
    let sent = world.receive(PHONE, subscribe(("b", 1), "presence", None, ""));
    assert_eq!((sent.len(), sent[0].status()), (1, Some(403)), "{sent:#?}");
    drained(world);
}

#[test]
fn who_shows_whether_they_are_free_shows_no_more() {
    let free_busy = Visibility {
        team: None,
        others: Some(Level::FreeBusy),
    };
    let policy = Policy {
        visibility: free_busy,
        ..watching()
    };
    let mut world = World::new(policy, &[ANNA, BOB]);
    subscribed(&mut world, "a", "presence");
    subscribed(&mut world, "b", "dialog");
    world.put(&BOB.replace(
        "\"aliases\"",
        "\"status\":\"away\",\"status_message\":\"Lunch\",\"aliases\"",
    ));
    let sent = world.advance(0);
    let bodies: Vec<String> = sent.iter().map(body).collect();
    assert!(
        bodies[0].contains("<rpid:busy/>") && !bodies[0].contains("note"),
        "{bodies:?}"
    );
    assert_eq!(lamp(&sent[1]), ["confirmed"]);
    drained(world);
}

#[test]
fn a_lamp_for_a_number_follows_the_number() {
    let mut world = world();
    let by_number = subscribe(("n", 1), "dialog", None, "").replace("sip:bob@", "sip:102@");
    let first = told(&world.receive(PHONE, by_number));
    assert!(body(&first).contains("entity=\"sip:102@example.com\""));
    take(&mut world, &first);
    world.put(r#"{"id":"bob"}"#);
    let last = told(&world.advance(0));
    assert_eq!(state(&last), "terminated;reason=noresource");
    take(&mut world, &last);
    world.put(BOB);
    let by_number = subscribe(("m", 1), "dialog", None, "").replace("sip:bob@", "sip:102@");
    let first = told(&world.receive(PHONE, by_number));
    world.put(r#"{"id":"bob"}"#);
    world.put(r#"{"id":"carla","aliases":["102"]}"#);
    let last = told(&take(&mut world, &first));
    assert_eq!(
        state(&last),
        "terminated;reason=deactivated",
        "Carla has it now"
    );
    take(&mut world, &last);
    drained(world);
}

#[test]
fn a_phone_that_opens_another_connection_is_told_over_that() {
    const OVER: (u64, u8) = (7, 1);
    const AGAIN: (u64, u8) = (8, 1);
    let mut policy = Policy {
        events: rules(),
        ..registering()
    };
    policy.listeners.push(listener(Transport::Tcp, PROXY));
    let mut world = World::new(policy, &[ANNA, BOB]);
    let open = |world: &World, (id, listener): (u64, u8)| {
        let id = ConnectionId(NonZeroU64::new(id).unwrap());
        let view = FlowView {
            listener,
            peer: address("198.51.100.7:40001"),
            identities: Vec::new(),
            is_outgoing: false,
            since_unix_ms: 0,
        };
        world.shared.flows.insert(id, view);
    };
    let from = "198.51.100.7:40001";
    let tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    open(&world, OVER);
    let request = tcp(subscribe(("t", 1), "presence", None, ""));
    let sent = world.receive_over(OVER, from, request);
    let first = told(&sent);
    assert_eq!(first.hop.flow.connection().unwrap().0.get(), OVER.0);
    world.receive_over(OVER, from, tcp(respond(&first, "200 OK", "")));
    world
        .shared
        .flows
        .remove(ConnectionId(NonZeroU64::new(OVER.0).unwrap()));
    world.put(&BOB.replace("\"aliases\"", "\"status\":\"dnd\",\"aliases\""));
    let lost = told(&world.advance(0));
    world.unreachable(&lost.to.to_string());
    assert_eq!(world.engine.load().watches, 1, "the phone may come back");
    let lost = told(&world.advance(5_100));
    world.unreachable(&lost.to.to_string());
    open(&world, AGAIN);
    let register = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP {PHONE};branch=z9hG4bKr\r\n\
         Max-Forwards: 70\r\nFrom: <sip:anna@example.com>;tag=1\r\nTo: <sip:anna@example.com>\r\n\
         Call-ID: r\r\nCSeq: 1 REGISTER\r\nContact: <sip:anna@{PHONE};x=1>\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let sent = world.receive_over(AGAIN, "198.51.100.7:40002", register);
    assert_eq!(sent[0].status(), Some(200), "{sent:#?}");
    let again = told(&world.advance(10_100));
    assert_eq!(again.hop.flow.connection().unwrap().0.get(), AGAIN.0);
    assert!(body(&again).contains("<rpid:busy/>"));
    world.receive_over(
        AGAIN,
        "198.51.100.7:40002",
        tcp(respond(&again, "200 OK", "")),
    );
    drained(world);
}

#[test]
fn timers_do_not_grow_with_what_is_told() {
    let mut world = world();
    subscribed(&mut world, "a", "presence");
    for change in 0..50 {
        let status = if change % 2 == 0 { "dnd" } else { "away" };
        world.put(&BOB.replace(
            "\"aliases\"",
            &format!("\"status\":\"{status}\",\"aliases\""),
        ));
        let notify = told(&world.advance(0));
        world.advance(700);
        take(&mut world, &notify);
    }
    world.advance(40_000);
    assert!(world.engine.load().timers <= 2, "{:?}", world.engine.load());
    drained(world);
}

#[test]
fn who_joins_a_team_sees_at_once_what_it_sees() {
    let bob = BOB.replace(
        "\"aliases\"",
        "\"status\":\"dnd\",\"teams\":[\"Sales\"],\"aliases\"",
    );
    let policy = Policy {
        visibility: Visibility {
            team: None,
            others: Some(Level::FreeBusy),
        },
        ..watching()
    };
    let mut world = World::new(policy, &[ANNA, &bob]);
    let (_, first) = subscribed(&mut world, "a", "presence");
    assert!(!body(&first).contains("Do not disturb"));
    world.put(&ANNA.replace("\"aliases\"", "\"teams\":[\"Sales\"],\"aliases\""));
    let now = told(&world.advance(0));
    assert!(body(&now).contains("Do not disturb"));
    take(&mut world, &now);
    drained(world);
}

#[test]
fn who_is_removed_is_watched_no_more() {
    let mut world = world();
    subscribed(&mut world, "a", "dialog");
    world.shared.directory.remove("bob");
    let last = told(&world.advance(0));
    assert_eq!(state(&last), "terminated;reason=noresource");
    take(&mut world, &last);
    world.put(BOB);
    subscribed(&mut world, "b", "dialog");
    world.shared.directory.remove("anna");
    assert_eq!(
        state(&told(&world.advance(0))),
        "terminated;reason=rejected"
    );
    drained(world);
}

#[test]
fn after_a_restart_every_watcher_is_told_how_things_are() {
    let store = Memory::new([7; 32]);
    let mut before = World::with_store(watching(), &[ANNA, BOB], store.clone(), 0);
    let (accepted, _) = subscribed(&mut before, "a", "dialog");
    let busy = BOB.replace("\"aliases\"", "\"status\":\"dnd\",\"aliases\"");
    drop(before);
    let policy = Policy {
        events: Rules {
            lamp_shows_dnd: true,
            ..rules()
        },
        ..watching()
    };
    let mut world = World::with_store(policy, &[ANNA, &busy], store, 600_000);
    let notify = told(&world.advance(0));
    assert_eq!(notify.to, address(PHONE));
    assert_eq!(state(&notify), "active;expires=3000");
    assert_eq!(lamp(&notify), ["confirmed"]);
    let cseq: u32 = notify
        .header("CSeq")
        .unwrap()
        .trim_end_matches(" NOTIFY")
        .parse()
        .unwrap();
    assert!(cseq > 1);
    assert!(body(&notify).contains(&format!("version=\"{}\"", cseq - 1)));
    assert_eq!(notify.header("From"), accepted.header("To"));
    take(&mut world, &notify);
    let refresh = subscribe(("a", 2), "dialog", Some(&accepted), "");
    assert_eq!(statuses(&world.receive(PHONE, refresh), PHONE), [200]);
    drained(world);
}

#[test]
fn a_subscription_that_ended_while_nobody_looked_is_forgotten() {
    let store = Memory::new([7; 32]);
    let mut before = World::with_store(watching(), &[ANNA, BOB], store.clone(), 0);
    subscribed(&mut before, "a", "dialog");
    drop(before);
    let mut world = World::with_store(watching(), &[ANNA, BOB], store, 3_600_001);
    assert!(world.advance(0).is_empty());
    assert_eq!(world.engine.load().watches, 0);
    drained(world);
}

#[test]
fn strangers_prove_who_they_are_and_nobody_takes_over_a_subscription() {
    let policy = Policy {
        events: rules(),
        ..guarded()
    };
    let anna = ANNA.replace("\"aliases\"", "\"password\":\"correct horse\",\"aliases\"");
    let bob = BOB.replace("\"aliases\"", "\"password\":\"battery staple\",\"aliases\"");
    let mut world = crate::authenticating::world(policy, &[&anna, &bob]);
    let sent = world.receive(PHONE, subscribe(("a", 1), "dialog", None, ""));
    assert_eq!(statuses(&sent, PHONE), [401]);
    let nobody = subscribe(("a", 1), "dialog", None, "").replace("sip:bob@", "sip:nil@");
    let same = world.receive(PHONE, nobody.replace("bKa1", "bKa0"));
    let same = same[0].text().replace("sip:nil@", "sip:bob@");
    let nonce = |text: &str| text.split("nonce=\"").nth(1).unwrap()[..48].to_owned();
    assert_eq!(
        same.replace("bKa0", "bKa1").replace(&nonce(&same), "N"),
        sent[0].text().replace(&nonce(&sent[0].text()), "N"),
        "who scans learns nothing"
    );
    for (name, branch) in [("bob", "bKa8"), ("nil", "bKa9")] {
        let last_hop = subscribe(("a", 1), "dialog", None, "")
            .replace("sip:bob@", &format!("sip:{name}@"))
            .replace("bKa1", branch)
            .replace("Max-Forwards: 70", "Max-Forwards: 0");
        assert_eq!(
            statuses(&world.receive(PHONE, last_hop), PHONE),
            [401],
            "{name}"
        );
    }
    let uri = "sip:bob@example.com";
    let signed = sign(&sent[0], ("anna", "correct horse"), ("SUBSCRIBE", uri));
    let sent = world.receive(PHONE, subscribe(("a", 2), "dialog", None, &signed));
    let accepted = answer(&sent, PHONE, 200);
    take(&mut world, &told(&sent));
    let refresh = subscribe(("a", 3), "dialog", Some(&accepted), "Expires: 0\r\n");
    let challenged = world.receive(PHONE, &refresh);
    assert_eq!(statuses(&challenged, PHONE), [401], "a refresh is one, too");
    let contact = format!("sip:{PROXY}");
    let theirs = sign(
        &challenged[0],
        ("bob", "battery staple"),
        ("SUBSCRIBE", &contact),
    );
    let stolen = subscribe(
        ("a", 4),
        "dialog",
        Some(&accepted),
        &format!("Expires: 0\r\n{theirs}"),
    )
    .replace("sip:anna@example.com", "sip:bob@example.com");
    assert_eq!(statuses(&world.receive(PHONE, stolen), PHONE), [403]);
    assert_eq!(world.engine.load().watches, 1);
    drained(world);
}

#[test]
fn what_cannot_be_served_says_why() {
    let mut world = world();
    let refused = [
        ("dialog", "Expires: 30\r\n", 423, "Min-Expires: 60"),
        (
            "dialog",
            "Accept: text/plain\r\n",
            406,
            "Accept: application/pidf+xml",
        ),
        (
            "presence",
            "Require: eventlist\r\n",
            420,
            "Unsupported: eventlist",
        ),
    ];
    for (number, (package, lines, status, says)) in refused.into_iter().enumerate() {
        let call = format!("r{number}");
        let sent = world.receive(PHONE, subscribe((&call, 1), package, None, lines));
        assert_eq!(statuses(&sent, PHONE), [status], "{sent:#?}");
        assert!(sent[0].text().contains(says), "{}", sent[0].text());
    }
    let stranger = subscribe(("s", 1), "dialog", None, "")
        .replace("sip:anna@example.com", "sip:eve@elsewhere.net");
    assert_eq!(statuses(&world.receive(PHONE, stranger), PHONE), [403]);
    assert_eq!(world.engine.load().watches, 0);
    drained(world);
}

#[test]
fn what_is_not_served_here_goes_on_as_without() {
    let mut world = world();
    for (call, package, uri) in [
        ("m", "message-summary", "sip:bob@example.com"),
        ("n", "dialog", "sip:queue@example.com"),
    ] {
        let request = subscribe((call, 1), package, None, "").replace("sip:bob@example.com", uri);
        find(&world.receive(PHONE, request), PBX, "SUBSCRIBE");
    }
    let mut world = World::new(policy(), &[ANNA, BOB]);
    let sent = world.receive(PHONE, subscribe(("a", 1), "dialog", None, ""));
    find(&sent, PBX, "SUBSCRIBE");
}

#[test]
fn subscriptions_are_bounded_for_each_watcher_and_in_all() {
    let policy = Policy {
        events: Rules {
            per_watcher: 2,
            limit: 3,
            ..rules()
        },
        ..watching()
    };
    let mut world = World::new(policy, &[ANNA, BOB, r#"{"id":"carla"}"#]);
    subscribed(&mut world, "a", "dialog");
    subscribed(&mut world, "b", "presence");
    let sent = world.receive(PHONE, subscribe(("c", 1), "dialog", None, ""));
    assert_eq!(statuses(&sent, PHONE), [403]);
    let carla = |call: &str| {
        subscribe((call, 1), "dialog", None, "").replace("sip:anna@example", "sip:carla@example")
    };
    let notify = told(&world.receive(PHONE, carla("d")));
    take(&mut world, &notify);
    let sent = world.receive(PHONE, carla("e"));
    assert_eq!(statuses(&sent, PHONE), [503]);
    assert!(sent[0].header("Retry-After").is_some());
    let once = subscribe(("f", 1), "dialog", None, "Expires: 0\r\n");
    assert_eq!(
        statuses(&world.receive(PHONE, once), PHONE),
        [503],
        "asking once counts as well"
    );
    drained(world);
}

#[test]
fn notifications_go_by_the_proxies_that_the_subscription_came_by() {
    let mut world = world();
    let routes = "Record-Route: <sip:192.0.2.9;lr>, <sip:192.0.2.8;lr>\r\n";
    let sent = world.receive(
        "192.0.2.9:5060",
        subscribe(("v", 1), "dialog", None, routes),
    );
    let notify = told(&sent);
    assert_eq!(
        notify.header("Route").as_deref(),
        Some("<sip:192.0.2.9;lr>, <sip:192.0.2.8;lr>")
    );
    let accepted = sent.iter().find(|sent| sent.status() == Some(200)).unwrap();
    assert_eq!(accepted.header("Record-Route"), notify.header("Route"));
    assert_eq!(
        notify.to, accepted.to,
        "never to where only a Contact points"
    );
    world.receive("192.0.2.9:5060", respond(&notify, "200 OK", ""));
    drained(world);
}

#[test]
fn what_hostile_watchers_send_does_no_harm() {
    let mut world = world();
    let accepts = "Accept: text/x-nothing\r\n".repeat(200) + "Accept: application/pidf+xml\r\n";
    let longest = "Expires: 4294967295\r\n";
    let quoted = "\"\"\"<&'".repeat(20);
    let cases = [
        (accepts.as_str(), "presence", 200),
        (longest, "dialog", 200),
        ("Expires: -1\r\n", "dialog", 200),
        ("Contact: <sip:x@198.51.100.1>\r\n", "dialog", 400),
        (
            "Record-Route: <sip:h;lr>\r\n".repeat(60).as_str(),
            "dialog",
            513,
        ),
        (
            "Content-Type: application/simple-filter+xml\r\n",
            "presence",
            200,
        ),
    ]
    .map(|(lines, package, status)| (lines.to_owned(), package, status));
    for (number, (lines, package, status)) in cases.into_iter().enumerate() {
        let call = format!("h{number}");
        let request = subscribe((&call, 1), package, None, &lines)
            .replace("\"Anna\"", &format!("\"{}\"", "a".repeat(200)))
            .replace(
                "sip:bob@example.com SIP",
                "sip:bob@example.com;q=%22%3C%26 SIP",
            );
        let sent = world.receive(PHONE, request);
        let first = sent.first().and_then(Sent::status);
        assert_eq!(first, Some(status), "{lines:.60} {sent:#?}");
        if status == 200 {
            let notify = told(&sent);
            assert_eq!(notify.to, address(PHONE));
            assert!(body(&notify).contains("entity=\"sip:bob@example.com\""));
            take(&mut world, &notify);
        }
    }
    let id = format!("dialog;id={}", "i".repeat(900));
    let sent = world.receive(PHONE, subscribe(("i", 1), &id, None, ""));
    assert_eq!(statuses(&sent, PHONE), [513]);
    let note = format!(
        "{{\"id\":\"bob\",\"status\":\"away\",\"status_message\":{:?}}}",
        quoted
    );
    world.put(&note);
    let away = world.advance(0).into_iter().map(|sent| body(&sent));
    let away: Vec<String> = away.filter(|body| body.contains("rpid:away")).collect();
    assert!(away[0].contains("&quot;&lt;&amp;&apos;") && !away[0].contains("\"<&"));
    drained(world);
}
