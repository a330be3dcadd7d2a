//! RFC 3263's decisions, one by one, with a name server of a few lines.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::*;

const TTL_S: u32 = 600;

/// Records by kind and name, such as `SRV _sip._udp.example.com`.
#[derive(Default)]
struct Zone {
    records: BTreeMap<String, (u32, Vec<String>)>,
    /// What fails when it is asked for.
    broken: BTreeSet<String>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    asked: RefCell<Vec<String>>,
}

impl Zone {
    fn new(lines: &[&str]) -> Self {
        let mut zone = Self::default();
        for line in lines {
            let mut words = line.splitn(3, ' ');
            let (kind, name, data) = (words.next(), words.next(), words.next());
            let key = format!("{} {}", kind.unwrap(), name.unwrap());
            let entry = zone.records.entry(key).or_insert((TTL_S, Vec::new()));
            entry.1.push(data.unwrap().to_owned());
        }
        zone
    }

    fn broken(mut self, what: &[&str]) -> Self {
        self.broken = what.iter().map(ToString::to_string).collect();
        self
    }

    fn ttl(mut self, key: &str, ttl_s: u32) -> Self {
        self.records.get_mut(key).unwrap().0 = ttl_s;
        self
    }

    fn ask<T>(&self, kind: &str, name: &str, read: impl Fn(&str) -> T) -> Answer<T> {
        let key = format!("{kind} {}", name.trim_end_matches('.'));
        self.asked.borrow_mut().push(key.clone());
        if self.broken.contains(&key) {
            return Err(Unanswered(key));
        }
        let found = self.records.get(&key);
        Ok(Records {
            ttl_s: found.map_or(TTL_S, |(ttl_s, _)| *ttl_s),
            records: found
                .iter()
                .flat_map(|(_, lines)| lines)
                .map(|l| read(l))
                .collect(),
        })
    }
}

fn naptr(line: &str) -> Naptr {
    let words: Vec<&str> = line.split(' ').collect();
    Naptr {
        order: words[0].parse().unwrap(),
        preference: words[1].parse().unwrap(),
        flags: words[2].to_owned(),
        services: words[3].to_owned(),
        has_regexp: words[4] != "-",
        replacement: words[5].to_owned(),
    }
}

fn srv(line: &str) -> Srv {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words[at].parse().unwrap();
    Srv {
        priority: number(0),
        weight: number(1),
        port: number(2),
        target: words[3].to_owned(),
    }
}

impl Ask for Zone {
    fn local(&self, name: &str) -> Vec<IpAddr> {
        self.hosts.get(name).cloned().unwrap_or_default()
    }

    async fn naptr(&self, name: &str) -> Answer<Naptr> {
        self.ask("NAPTR", name, naptr)
    }

    async fn srv(&self, name: &str) -> Answer<Srv> {
        self.ask("SRV", name, srv)
    }

    async fn addresses(&self, name: &str, is_ipv4: bool) -> Answer<IpAddr> {
        let kind = if is_ipv4 { "A" } else { "AAAA" };
        self.ask(kind, name, |line| line.parse().unwrap())
    }
}

/// `sip:example.com`, `sips:example.com:5061;tcp` and the like.
fn wanted(text: &str) -> Wanted {
    let (scheme, rest) = text.split_once(':').unwrap();
    let (host, transport) = rest
        .split_once(';')
        .map_or((rest, None), |(h, t)| (h, Some(t)));
    let (host, port) = host
        .split_once(':')
        .map_or((host, None), |(h, p)| (h, Some(p)));
    Wanted {
        host: host.into(),
        port: port.map(|port| port.parse().unwrap()),
        transport: transport.and_then(|name| Transport::from_name(name.as_bytes())),
        is_secure: scheme == "sips",
    }
}

fn ours(listeners: &[(Transport, bool)]) -> Ours {
    Ours::new(listeners.iter().copied())
}

fn all() -> Ours {
    ours(&[
        (Transport::Udp, true),
        (Transport::Tcp, true),
        (Transport::Tls, true),
    ])
}

fn run(zone: &Zone, text: &str, ours: &Ours) -> Result<Located, Unanswered> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(locate(zone, &wanted(text), ours))
}

/// What is found, in the order of rank and priority: `transport address rank/priority/weight`.
fn found(zone: &Zone, text: &str, ours: &Ours) -> Vec<String> {
    let mut targets = run(zone, text, ours).unwrap().targets;
    targets.sort_by_key(|t| (t.rank, t.priority, t.weight));
    let mut shown = Vec::new();
    for target in &targets {
        for endpoint in &target.endpoints {
            let (rank, priority, weight) = (target.rank, target.priority, target.weight);
            let (transport, address) = (endpoint.transport.param(), endpoint.address);
            shown.push(format!("{transport} {address} {rank}/{priority}/{weight}"));
        }
    }
    shown
}

const PLAIN: &[&str] = &["A example.com 192.0.2.1"];

#[test]
fn a_name_without_records_is_its_addresses_by_the_default_transport() {
    let zone = Zone::new(PLAIN);
    for (text, expected) in [
        ("sip:example.com", "udp 192.0.2.1:5060 0/0/0"),
        ("sips:example.com", "tls 192.0.2.1:5061 0/0/0"),
        ("sip:example.com;tcp", "tcp 192.0.2.1:5060 0/0/0"),
        ("sip:example.com;tls", "tls 192.0.2.1:5061 0/0/0"),
        ("sip:example.com:5080", "udp 192.0.2.1:5080 0/0/0"),
        ("sips:example.com:5080", "tls 192.0.2.1:5080 0/0/0"),
        ("sips:example.com;tcp", "tls 192.0.2.1:5061 0/0/0"),
    ] {
        assert_eq!(found(&zone, text, &all()), [expected], "{text}");
    }
}

#[test]
fn an_explicit_port_asks_for_addresses_only() {
    let zone = Zone::new(&[
        "A example.com 192.0.2.1",
        "SRV _sip._udp.example.com 0 0 5070 example.com",
        "NAPTR example.com 0 0 s SIP+D2T - _sip._tcp.example.com",
    ]);
    found(&zone, "sip:example.com:5060", &all());
    assert_eq!(*zone.asked.borrow(), ["A example.com"]);
}

#[test]
fn an_explicit_transport_asks_for_its_srv_only() {
    let zone = Zone::new(&[
        "A a.example.com 192.0.2.7",
        "SRV _sip._tcp.example.com 1 2 5070 a.example.com",
        "NAPTR example.com 0 0 s SIP+D2U - _sip._udp.example.com",
    ]);
    let expected = ["tcp 192.0.2.7:5070 0/1/2"];
    let only_tcp = ours(&[(Transport::Tcp, true)]);
    assert_eq!(found(&zone, "sip:example.com;tcp", &only_tcp), expected);
    assert_eq!(zone.asked.borrow()[0], "SRV _sip._tcp.example.com");
}

#[test]
fn a_sips_uri_goes_over_tls_only() {
    let zone = Zone::new(&[
        "NAPTR example.com 0 0 s SIP+D2U - _sip._udp.example.com",
        "NAPTR example.com 1 0 s SIPS+D2T - _sips._tcp.example.com",
        "SRV _sip._udp.example.com 0 0 5060 a.example.com",
        "SRV _sips._tcp.example.com 0 0 5071 a.example.com",
        "A a.example.com 192.0.2.7",
    ]);
    assert_eq!(
        found(&zone, "sips:example.com", &all()),
        ["tls 192.0.2.7:5071 0/0/0"]
    );
    let without_naptr = Zone::new(&[
        "SRV _sip._udp.example.com 0 0 5060 a.example.com",
        "SRV _sips._tcp.example.com 0 0 5071 a.example.com",
        "A a.example.com 192.0.2.7",
    ]);
    let expected = ["tls 192.0.2.7:5071 2/0/0"];
    assert_eq!(found(&without_naptr, "sips:example.com", &all()), expected);
    let udp = ours(&[(Transport::Udp, true)]);
    assert!(
        found(&zone, "sips:example.com", &udp).is_empty(),
        "we do not speak TLS"
    );
}

const CHOICE: &[&str] = &[
    "NAPTR example.com 10 50 s SIPS+D2T - _sips._tcp.example.com",
    "NAPTR example.com 20 60 S sip+d2t - _sip._tcp.example.com",
    "NAPTR example.com 20 50 s SIP+D2U - _sip._udp.example.com",
    "NAPTR example.com 5 1 s SIPS+D2W - _ws.example.com",
    "NAPTR example.com 5 1 s E2U+email - mail.example.com",
    "NAPTR example.com 5 1 u SIP+D2U !.*!x! .",
    "SRV _sips._tcp.example.com 0 0 5061 a.example.com",
    "SRV _sip._tcp.example.com 0 0 5060 a.example.com",
    "SRV _sip._udp.example.com 0 0 5060 a.example.com",
    "A a.example.com 192.0.2.7",
];

#[test]
fn the_domain_chooses_by_order_and_preference_among_what_we_speak() {
    let zone = Zone::new(CHOICE);
    assert_eq!(
        found(&zone, "sip:example.com", &all()),
        ["tls 192.0.2.7:5061 0/0/0"]
    );
    let plain = ours(&[(Transport::Tcp, true), (Transport::Udp, true)]);
    let expected = ["udp 192.0.2.7:5060 0/0/0", "tcp 192.0.2.7:5060 1/0/0"];
    assert_eq!(found(&zone, "sip:example.com", &plain), expected);
}

#[test]
fn a_browser_has_no_address_to_connect_to() {
    let with_websocket = ours(&[(Transport::Wss, true), (Transport::Udp, true)]);
    let zone = Zone::new(CHOICE);
    assert_eq!(
        found(&zone, "sip:example.com", &with_websocket),
        ["udp 192.0.2.7:5060 0/0/0"]
    );
    assert!(found(&zone, "sip:example.com;wss", &with_websocket).is_empty());
}

#[test]
fn naptr_that_we_cannot_follow_leaves_it_to_srv() {
    let zone = Zone::new(&[
        "NAPTR example.com 0 0 s SIP+D2S - _sip._sctp.example.com",
        "SRV _sip._tcp.example.com 0 0 5060 a.example.com",
        "A a.example.com 192.0.2.7",
    ]);
    assert_eq!(
        found(&zone, "sip:example.com", &all()),
        ["tcp 192.0.2.7:5060 1/0/0"]
    );
}

#[test]
fn naptr_may_lead_to_a_host_at_once() {
    let zone = Zone::new(&[
        "NAPTR example.com 0 0 a SIP+D2T - a.example.com",
        "A a.example.com 192.0.2.7",
    ]);
    assert_eq!(
        found(&zone, "sip:example.com", &all()),
        ["tcp 192.0.2.7:5060 0/0/0"]
    );
}

#[test]
fn without_naptr_each_transport_is_asked_for_in_our_order() {
    let zone = Zone::new(&[
        "SRV _sip._udp.example.com 0 5 5060 a.example.com",
        "SRV _sip._udp.example.com 1 0 5060 b.example.com",
        "SRV _sip._tcp.example.com 0 0 5062 a.example.com",
        "SRV _sips._tcp.example.com 0 0 5061 a.example.com",
        "A a.example.com 192.0.2.7",
        "A b.example.com 192.0.2.8",
    ]);
    let expected = [
        "udp 192.0.2.7:5060 0/0/5",
        "udp 192.0.2.8:5060 0/1/0",
        "tcp 192.0.2.7:5062 1/0/0",
    ];
    assert_eq!(found(&zone, "sip:example.com", &all()), expected);
    let tcp_first = ours(&[(Transport::Tcp, true), (Transport::Udp, true)]);
    assert!(found(&zone, "sip:example.com", &tcp_first)[0].starts_with("tcp"));
    assert!(!zone.asked.borrow().iter().any(|key| key.contains("_sips")));
}

#[test]
fn a_service_that_is_decidedly_not_there_has_no_fallback() {
    let zone = Zone::new(&[
        "SRV _sip._udp.example.com 0 0 0 .",
        "A example.com 192.0.2.1",
    ]);
    assert!(found(&zone, "sip:example.com", &all()).is_empty());
    assert!(found(&zone, "sip:example.com;udp", &all()).is_empty());
    assert_eq!(found(&zone, "sip:example.com;tcp", &all()).len(), 1);
}

#[test]
fn families_that_we_do_not_listen_on_are_not_asked_for() {
    let lines = &["A example.com 192.0.2.1", "AAAA example.com 2001:db8::1"];
    let udp = |families: &[bool]| {
        let listeners: Vec<_> = families.iter().map(|v4| (Transport::Udp, *v4)).collect();
        found(&Zone::new(lines), "sip:example.com", &ours(&listeners))
    };
    assert_eq!(udp(&[true]), ["udp 192.0.2.1:5060 0/0/0"]);
    assert_eq!(udp(&[false]), ["udp [2001:db8::1]:5060 0/0/0"]);
    let both = ["udp [2001:db8::1]:5060 0/0/0", "udp 192.0.2.1:5060 0/0/0"];
    assert_eq!(
        udp(&[false, true]),
        both,
        "the family of the first listener goes first"
    );
}

#[test]
fn what_this_machine_knows_itself_is_asked_of_nobody() {
    let mut zone = Zone::new(PLAIN);
    zone.hosts
        .insert("example.com".to_owned(), vec!["127.0.0.9".parse().unwrap()]);
    assert_eq!(
        found(&zone, "sip:example.com", &all()),
        ["udp 127.0.0.9:5060 0/0/0"]
    );
    assert!(zone.asked.borrow().is_empty());
}

#[test]
fn a_certificate_must_name_what_was_sought() {
    let zone = Zone::new(&[
        "SRV _sips._tcp.example.com 0 0 5061 edge.provider.net",
        "A edge.provider.net 192.0.2.7",
    ]);
    let located = run(&zone, "sips:example.com", &all()).unwrap();
    assert_eq!(
        located.targets[0].endpoints[0].name.as_deref(),
        Some("example.com")
    );
}

#[test]
fn a_chain_is_believed_for_the_least_of_its_times() {
    let lines = &[
        "SRV _sip._udp.example.com 0 0 5060 a.example.com",
        "A a.example.com 192.0.2.7",
    ];
    let ttl_s = |key, ttl_s| {
        let zone = Zone::new(lines).ttl(key, ttl_s);
        run(&zone, "sip:example.com;udp", &all()).unwrap().ttl_s
    };
    assert_eq!(ttl_s("A a.example.com", 30), 30);
    assert_eq!(ttl_s("SRV _sip._udp.example.com", 40), 40);
    assert_eq!(ttl_s("A a.example.com", 0), TTL_LEAST_S);
    assert_eq!(ttl_s("A a.example.com", 900), TTL_S);
    let nothing = run(&Zone::default(), "sip:gone.example", &all()).unwrap();
    assert_eq!((nothing.targets.len(), nothing.ttl_s), (0, NOTHING_MOST_S));
}

#[test]
fn a_failure_is_not_the_same_as_nothing() {
    let lines = &[
        "SRV _sip._udp.example.com 0 0 5060 a.example.com",
        "SRV _sip._udp.example.com 0 0 5060 b.example.com",
        "A a.example.com 192.0.2.7",
        "A example.com 192.0.2.1",
    ];
    let zone = Zone::new(lines).broken(&["NAPTR example.com"]);
    assert_eq!(
        found(&zone, "sip:example.com", &all()).len(),
        1,
        "SRV does without NAPTR"
    );
    let zone = Zone::new(lines).broken(&["SRV _sip._tcp.example.com", "A b.example.com"]);
    let located = run(&zone, "sip:example.com", &all()).unwrap();
    assert_eq!(
        (located.targets.len(), located.ttl_s),
        (1, UNCERTAIN_S),
        "a part will do"
    );
    let zone = Zone::new(lines).broken(&["SRV _sip._udp.example.com"]);
    assert!(
        run(&zone, "sip:example.com;udp", &all()).is_err(),
        "its A record is another service"
    );
    let zone = Zone::new(lines).broken(&["A example.com"]);
    assert!(run(&zone, "sip:example.com:5060", &all()).is_err());
}

#[test]
fn an_answer_of_any_size_is_cut() {
    let mut lines = Vec::new();
    for number in 0..200 {
        lines.push(format!(
            "SRV _sip._udp.example.com {number} 0 5060 h{number}.example.com"
        ));
        lines.push(format!("A h{number}.example.com 192.0.2.{number}"));
        lines.push(format!("A many.example.com 192.0.2.{number}"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let zone = Zone::new(&lines);
    assert_eq!(
        found(&zone, "sip:example.com;udp", &all()).len(),
        RECORDS_LIMIT
    );
    assert_eq!(
        found(&zone, "sip:many.example.com", &all()).len(),
        ADDRESSES_LIMIT
    );
}

#[test]
fn a_name_is_reached_by_what_we_speak_where_that_is_not_udp() {
    let tcp = ours(&[(Transport::Tcp, true)]);
    assert_eq!(
        found(&Zone::new(PLAIN), "sip:example.com", &tcp),
        ["tcp 192.0.2.1:5060 0/0/0"]
    );
    assert!(found(&Zone::new(PLAIN), "sip:example.com;udp", &tcp).is_empty());
}
