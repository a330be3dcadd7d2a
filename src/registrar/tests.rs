//! Sequences of REGISTERs against a model that is too simple to be wrong.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;
use crate::message::{Index, Transport};
use crate::presence::{Directory, Handle};
use crate::store::{Memory, Records};

const NOON: i64 = 1_795_435_200_000;

struct House {
    directory: Directory,
    store: Memory,
    locations: Locations,
    anna: Handle,
}

impl House {
    fn new() -> Self {
        let directory = Directory::new(1);
        let plan = crate::presence::sample::plan();
        let subscriber = crate::presence::Subscriber {
            id: "Anna".into(),
            ..Default::default()
        };
        let anna = directory.put(&subscriber, &plan).unwrap();
        let store = Memory::new([1; 32]);
        let locations = restored(&store, &directory);
        Self {
            directory,
            store,
            locations,
            anna,
        }
    }

    fn register(&self, text: &str, now: i64) -> Result<Vec<(String, i64)>, Refusal> {
        self.register_by(
            text,
            (flow(Transport::Udp, "192.0.2.9:5060", None), now),
            |_| true,
        )
    }

    fn register_by(
        &self,
        text: &str,
        (flow, now): (Flow, i64),
        is_open: impl Fn(NonZeroU64) -> bool,
    ) -> Result<Vec<(String, i64)>, Refusal> {
        let mut index = Index::new();
        let message = index.parse(text.as_bytes()).unwrap();
        check_extensions(&message)?;
        let via = message.top_via().unwrap();
        let arrived = Arrived {
            flow,
            is_direct: message.vias().count() == 1,
            sent_by: via.host_ip(),
        };
        let transaction = foldhash::fast::FixedState::with_seed(1);
        let transaction = std::hash::BuildHasher::hash_one(&transaction, via.branch);
        let registration = Registration::read(
            &message,
            (self.anna, "anna"),
            arrived,
            (transaction, now),
            Rules::default(),
        )?;
        let registered = self.locations.register(&registration, &is_open)?;
        let list = registered
            .bindings
            .iter()
            .flat_map(|bindings| bindings.list.iter());
        let current = list.filter(|binding| !binding.is_expired(now));
        let text = |binding: &Binding| String::from_utf8(binding.uri().to_vec()).unwrap();
        Ok(current.map(|b| (text(b), b.expires_s(now))).collect())
    }

    fn targets(&self, now: i64, is_open: impl Fn(NonZeroU64) -> bool) -> Vec<(String, Reach)> {
        let profile = self.directory.profile(self.anna).unwrap();
        let targets = self
            .locations
            .targets((self.anna, &profile), None, now, is_open);
        let text = |target: Target<'_>| String::from_utf8(target.uri.into_owned()).unwrap();
        targets.iter().map(|t| (text(t.clone()), t.reach)).collect()
    }
}

fn restored(store: &Memory, directory: &Directory) -> Locations {
    Locations::restore(store.slot_records(Records::Bindings), directory, |flow| {
        Some(flow.listener)
    })
}

fn flow(transport: Transport, peer: &str, connection: Option<u64>) -> Flow {
    Flow {
        listener: 0,
        transport,
        peer: peer.parse().unwrap(),
        connection: connection.and_then(NonZeroU64::new),
    }
}

/// A REGISTER of one phone: its Call-ID, its CSeq, and lines of its own.
fn request(call: &str, cseq: u32, lines: &str) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{call}{cseq}\r\n\
         From: <sip:anna@example.com>;tag=1\r\nTo: <sip:anna@example.com>\r\n\
         Call-ID: {call}\r\nCSeq: {cseq} REGISTER\r\n{lines}\r\n"
    )
}

fn reaches(contact: &str, flow: Flow, more: &str) -> Reach {
    let house = House::new();
    let lines = format!("Contact: {contact}\r\n{more}");
    house
        .register_by(&request("a", 1, &lines), (flow, NOON), |_| true)
        .unwrap();
    house.targets(NOON, |_| true)[0].1
}

#[test]
fn a_phone_is_reached_the_way_that_works() {
    let udp = flow(Transport::Udp, "192.0.2.9:5060", None);
    let tcp = flow(Transport::Tcp, "192.0.2.9:41000", Some(7));
    let ws = flow(Transport::Ws, "192.0.2.9:42000", Some(8));
    let instance = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1";
    let outbound = "Supported: path, outbound\r\n";
    for (contact, flow, more, expected) in [
        ("<sip:a@192.0.2.9>", udp, "", Reach::Resolved),
        ("<sip:a@192.0.2.77>", udp, "", Reach::Resolved),
        ("<sip:a@phone.example.com>", udp, "", Reach::Resolved),
        ("<sip:a@10.0.0.5>", udp, "", Reach::Only(udp)),
        ("<sip:a@127.0.0.1>", udp, "", Reach::Only(udp)),
        ("<sip:a@df7.invalid;transport=ws>", ws, "", Reach::Only(ws)),
        (
            "<sip:a@192.0.2.9;transport=tcp>",
            tcp,
            "",
            Reach::Preferred(tcp),
        ),
        ("<sip:a@192.0.2.9:5060>", tcp, "", Reach::Preferred(tcp)),
        ("<sip:a@192.0.2.9;transport=udp>", tcp, "", Reach::Resolved),
        ("<sip:a@192.0.2.77;transport=tcp>", tcp, "", Reach::Resolved),
        ("<sip:a@192.0.2.9>", ws, "", Reach::Only(ws)),
    ] {
        assert_eq!(reaches(contact, flow, more), expected, "{contact} {flow:?}");
    }
    let with_flow = format!("<sip:a@192.0.2.9>{instance}");
    assert_eq!(reaches(&with_flow, udp, outbound), Reach::Only(udp));
    assert_eq!(
        reaches(&with_flow, udp, ""),
        Reach::Resolved,
        "outbound was not asked for"
    );
    let path = "Supported: path\r\nPath: <sip:edge.example.com;lr>\r\n";
    assert_eq!(reaches("<sip:a@10.0.0.5>", udp, path), Reach::Resolved);
}

#[test]
fn a_phone_behind_a_translator_is_known_by_its_via() {
    let house = House::new();
    let text = request("a", 1, "Contact: <sip:a@203.0.113.5>\r\n");
    let text = text.replace("UDP 192.0.2.9", "UDP 203.0.113.5");
    let udp = flow(Transport::Udp, "192.0.2.9:5060", None);
    house.register_by(&text, (udp, NOON), |_| true).unwrap();
    assert_eq!(house.targets(NOON, |_| true)[0].1, Reach::Only(udp));
}

#[test]
fn a_closed_flow_is_no_target_unless_the_contact_can_be_reached() {
    let house = House::new();
    let ws = flow(Transport::Wss, "192.0.2.9:42000", Some(8));
    let tcp = flow(Transport::Tcp, "192.0.2.9:41000", Some(7));
    let browser = request("a", 1, "Contact: <sip:a@x.invalid;transport=ws>;q=0.5\r\n");
    house.register_by(&browser, (ws, NOON), |_| true).unwrap();
    let phone = request("b", 1, "Contact: <sip:b@192.0.2.9;transport=tcp>\r\n");
    house.register_by(&phone, (tcp, NOON), |_| true).unwrap();
    let open = house.targets(NOON, |_| true);
    let ways: Vec<Reach> = open.iter().map(|(_, reach)| *reach).collect();
    assert_eq!(
        ways,
        [Reach::Preferred(tcp), Reach::Only(ws)],
        "by falling q"
    );
    let closed = house.targets(NOON, |_| false);
    assert_eq!(
        closed,
        [("sip:b@192.0.2.9;transport=tcp".to_owned(), Reach::Resolved)]
    );
}

#[test]
fn no_connection_survives_a_restart_but_the_bindings_do() {
    let house = House::new();
    let ws = flow(Transport::Wss, "192.0.2.9:42000", Some(8));
    let browser = request("a", 1, "Contact: <sip:a@x.invalid>\r\n");
    house.register_by(&browser, (ws, NOON), |_| true).unwrap();
    house
        .register(&request("b", 1, "Contact: <sip:b@192.0.2.9>\r\n"), NOON)
        .unwrap();
    house
        .register(&request("c", 1, "Contact: <sip:c@10.0.0.1>\r\n"), NOON)
        .unwrap();
    let again = House {
        locations: restored(&house.store, &house.directory),
        ..house
    };
    assert_eq!(again.locations.len(), 3);
    let uris: Vec<String> = again
        .targets(NOON, |_| true)
        .into_iter()
        .map(|t| t.0)
        .collect();
    assert_eq!(uris, ["sip:b@192.0.2.9", "sip:c@10.0.0.1"]);
    let listed = again
        .register(&request("d", 1, ""), NOON + 600_000)
        .unwrap();
    assert!(
        listed.iter().all(|(_, expires_s)| *expires_s == 3_000),
        "{listed:?}"
    );
}

#[test]
fn the_bindings_of_somebody_removed_are_swept_and_never_found() {
    let house = House::new();
    house
        .register(&request("b", 1, "Contact: <sip:b@192.0.2.9>\r\n"), NOON)
        .unwrap();
    house.directory.remove("anna");
    assert!(house.locations.of(house.anna, "bert").is_none());
    assert_eq!(house.locations.sweep(&house.directory, NOON, 10_000), 1);
    assert!(house.locations.is_empty() && house.store.slot_records(Records::Bindings).is_empty());
}

#[test]
fn what_has_expired_is_swept_from_memory_and_store() {
    let house = House::new();
    let lines = "Contact: <sip:b@192.0.2.9>;expires=60, <sip:c@192.0.2.9>;expires=90\r\n";
    house.register(&request("b", 1, lines), NOON).unwrap();
    assert_eq!(
        house.locations.sweep(&house.directory, NOON + 59_999, 10),
        0
    );
    assert_eq!(
        house.locations.sweep(&house.directory, NOON + 60_000, 10),
        1
    );
    assert_eq!(
        (
            house.locations.len(),
            house.store.slot_records(Records::Bindings).len()
        ),
        (1, 1)
    );
    assert_eq!(
        house.locations.sweep(&house.directory, NOON + 90_000, 10),
        1
    );
    assert!(house.locations.is_empty());
}

#[test]
fn phones_that_are_gone_make_room_and_others_do_not() {
    let house = House::new();
    let tcp = |n: u64| flow(Transport::Ws, "192.0.2.9:41000", Some(n));
    let of = |n: u64| {
        request(
            &format!("c{n}"),
            1,
            &format!("Contact: <sip:p{n}@x.invalid>\r\n"),
        )
    };
    for n in 1..=16 {
        house.register_by(&of(n), (tcp(n), NOON), |_| true).unwrap();
    }
    let full = house.register_by(&of(17), (tcp(17), NOON), |_| true);
    assert_eq!(full, Err(Refusal::TooManyBindings));
    let gone = NonZeroU64::new(3).unwrap();
    let kept = house
        .register_by(&of(17), (tcp(17), NOON), |id| id != gone)
        .unwrap();
    assert_eq!(kept.len(), 16);
    assert!(kept.iter().all(|(uri, _)| uri != "sip:p3@x.invalid"));
    let refreshed = of(16).replace("CSeq: 1", "CSeq: 2");
    assert!(
        house
            .register_by(&refreshed, (tcp(16), NOON), |_| true)
            .is_ok()
    );
}

#[test]
fn a_store_that_is_full_or_too_long_a_contact_changes_nothing() {
    let options = crate::store::Options {
        bindings: 2,
        ..Default::default()
    };
    let house = House::new();
    let store = Memory::with_options([1; 32], options);
    let house = House {
        locations: restored(&store, &house.directory),
        store,
        ..house
    };
    let three = "Contact: <sip:a@h1>, <sip:b@h1>, <sip:c@h1>\r\n";
    assert_eq!(
        house.register(&request("a", 1, three), NOON),
        Err(Refusal::Full)
    );
    let two = "Contact: <sip:a@h1>, <sip:b@h1>\r\n";
    assert_eq!(
        house.register(&request("a", 2, two), NOON).unwrap().len(),
        2
    );
    let swap = "Contact: <sip:a@h1>;expires=0, <sip:c@h1>\r\n";
    assert_eq!(
        house.register(&request("a", 3, swap), NOON),
        Err(Refusal::Full),
        "a slot is reserved before one is freed"
    );
    let long = format!("Contact: <sip:{}@h1>\r\n", "x".repeat(1_000));
    let long = house.register(&request("a", 4, &long), NOON);
    assert!(
        matches!(long, Err(Refusal::ContactTooLong | Refusal::Full)),
        "{long:?}"
    );
    assert_eq!(house.register(&request("b", 1, ""), NOON).unwrap().len(), 2);
    let none = house.register(&request("a", 5, "Contact: *\r\nExpires: 0\r\n"), NOON);
    assert_eq!(none, Ok(Vec::new()));
    assert!(house.store.slot_records(Records::Bindings).is_empty());
}

#[derive(Debug, Clone)]
struct Step {
    phone: usize,
    cseq: u32,
    contacts: Vec<(usize, u32)>,
    waits_s: i64,
    restarts: bool,
    clears: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let contact = (
        0usize..6,
        prop_oneof![Just(0u32), Just(60), Just(100), Just(600)],
    );
    (
        0usize..3,
        1u32..30,
        prop::collection::vec(contact, 0..4),
        0i64..90,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(phone, cseq, contacts, waits_s, restarts, clears)| Step {
            phone,
            cseq,
            contacts,
            waits_s,
            restarts,
            clears,
        })
}

/// Contact to its end, Call-ID and CSeq.
type Model = BTreeMap<String, (i64, usize, u32)>;

/// The rules of RFC 3261 §10.3 on a map; `None` where the request fails.
fn modelled(model: &Model, step: &Step, now: i64) -> Option<Model> {
    let mut next = model.clone();
    let is_late = |(_, phone, cseq): &(i64, usize, u32)| *phone == step.phone && step.cseq <= *cseq;
    if step.clears {
        return (!model.values().any(is_late)).then(Model::new);
    }
    for (number, expires_s) in &step.contacts {
        let uri = format!("sip:p{number}@192.0.2.9");
        if model.get(&uri).is_some_and(is_late) {
            return None;
        }
        match expires_s {
            0 => drop(next.remove(&uri)),
            expires_s => {
                let ends = now + i64::from(*expires_s) * 1_000;
                next.insert(uri, (ends, step.phone, step.cseq));
            }
        }
    }
    Some(next)
}

proptest! {
    #[test]
    fn registrations_do_what_the_rules_do_to_a_map(steps in prop::collection::vec(step(), 1..40)) {
        let mut house = House::new();
        let mut model = Model::new();
        let mut now = NOON;
        for (number, step) in steps.iter().enumerate() {
            now += step.waits_s * 1_000;
            model.retain(|_, (ends, ..)| *ends > now);
            if step.restarts {
                house.locations = restored(&house.store, &house.directory);
            }
            let contact = |(number, expires_s): &(usize, u32)| {
                format!("Contact: <sip:p{number}@192.0.2.9>;expires={expires_s}\r\n")
            };
            let lines = match step.clears {
                true => "Contact: *\r\nExpires: 0\r\n".to_owned(),
                false => step.contacts.iter().map(contact).collect(),
            };
            let text = request(&format!("phone{}", step.phone), step.cseq, &lines);
            // Each step is a transaction of its own, whatever its CSeq.
            let text = text.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{number}x"));
            let found = house.register(&text, now);
            match modelled(&model, step, now) {
                Some(next) => model = next,
                None => prop_assert_eq!(&found, &Err(Refusal::OutOfOrder)),
            }
            let mut listed = house.register(&request("query", 1, ""), now).unwrap();
            listed.sort();
            let expected: Vec<(String, i64)> = model
                .iter()
                .map(|(uri, (ends, ..))| (uri.clone(), (ends - now) / 1_000))
                .collect();
            prop_assert_eq!(&listed, &expected);
            prop_assert_eq!(house.targets(now, |_| true).len(), model.len());
        }
        house.locations.sweep(&house.directory, now + 10_000_000, 10_000);
        prop_assert!(house.locations.is_empty() && house.store.slot_records(Records::Bindings).is_empty());
    }
}
