//! What a person who writes a configuration sees.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::*;
use crate::message::Method;
use crate::proxy::Wanted;
use crate::proxy::policy::{Network, Policy};
use crate::routing::Mode;

fn read(text: &str) -> Result<Config, ConfigErrors> {
    read_with(text, &[])
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Config::parse(Path::new("pointsman.toml"), text, variables)
}

fn faults(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// A system with one network card and a name server that knows two names.
struct Office;

impl Surroundings for Office {
    fn resolve(&self, name: &Wanted) -> io::Result<Vec<IpAddr>> {
        match &*name.host {
            "pbx.example.com" => Ok(vec![
                "2001:db8::5".parse().unwrap(),
                "192.0.2.5".parse().unwrap(),
            ]),
            "six.example.com" => Ok(vec!["2001:db8::6".parse().unwrap()]),
            _ => Err(io::Error::other("no such name")),
        }
    }

    fn source_towards(&self, to: SocketAddr) -> io::Result<IpAddr> {
        match to {
            SocketAddr::V4(to) if to.ip().is_loopback() => Ok("127.0.0.1".parse().unwrap()),
            SocketAddr::V4(_) => Ok("198.51.100.1".parse().unwrap()),
            SocketAddr::V6(_) => Err(io::Error::other("no route")),
        }
    }

    fn network_of(&self, _: IpAddr) -> Option<Network> {
        None
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    compile(&read(text).unwrap(), &Office).map_err(|errors| errors.to_string())
}

#[test]
fn nothing_configured_is_the_default() {
    assert_eq!(read("").unwrap(), Config::default());
    let policy = policy("").unwrap();
    assert_eq!(&*policy.listeners[0].advertised, "127.0.0.1:5060");
    assert_eq!(policy.timers.timer_c, 185_000);
    assert!(policy.next_hop.is_none());
}

#[test]
fn the_example_is_a_configuration() {
    let text = include_str!("../../docs/pointsman.example.toml");
    let config = read(text).unwrap();
    assert_eq!(config.peers.len(), 2);
    let policy = compile(&config, &Office).unwrap();
    let names: Vec<_> = policy.peers.iter().map(|peer| &*peer.name).collect();
    assert_eq!(names, ["trunk", "second PBX", "next_hop"]);
    for section in toml::from_str::<toml::Table>(text).unwrap().keys() {
        assert!(reference().contains(&format!("[{section}]")));
    }
}

#[test]
fn every_key_of_the_sections_stands_in_the_example() {
    let text = include_str!("../../docs/pointsman.example.toml");
    for key in keys::KEYS {
        let name = key.name.rsplit('.').next().unwrap();
        let stands = |line: &str| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{name} = "))
        };
        assert!(text.lines().any(stands), "{name}");
    }
}

#[test]
fn faults_name_line_column_key_and_what_is_allowed() {
    insta::assert_snapshot!(faults(r#"
[sip]
listen = ["udp:127.0.0.1", "sctp:127.0.0.1:5061"]
nexthop = "sip:127.0.0.1"
next_hop = "127.0.0.1:5080"
voicemail = "sip:vm-{id}@127.0.0.1"
dnd_status = 481
forwarding = "both"
session_expires_s = 30
shards = "two"
region = "XY"
domains = ["example.com", 7]

[sips]

[[peer]]
address = "192.0.2.1/24"
trust = true

[timers]
t1_ms = -1
"#), @r#"
    pointsman.toml:3:28: sip.listen: "sctp:127.0.0.1:5061" names no transport; allowed: udp, tcp, tls, ws or wss, and an address, such as "udp:192.0.2.1:5060", "tls:[2001:db8::1]:5061" or "tcp:0.0.0.0"
    pointsman.toml:4:1: sip.nexthop: there is no such key; did you mean `next_hop`?
    pointsman.toml:5:12: sip.next_hop: "127.0.0.1:5080" is not a SIP URI; allowed: "sip:HOST[:PORT]" such as "sip:192.0.2.1:5060", with ";transport=tcp" or ";transport=tls" where it is not UDP
    pointsman.toml:6:13: sip.voicemail: "sip:vm-{id}@127.0.0.1" has a placeholder that is not known; allowed: "sip:USER@HOST[:PORT]" where USER may contain {subscriber}, such as "sip:vm-{subscriber}@192.0.2.1:5060"
    pointsman.toml:7:14: sip.dnd_status: 481 is not allowed; allowed: 480, 486, 603
    pointsman.toml:8:14: sip.forwarding: "both" is not allowed; allowed: "redirect", "retarget"
    pointsman.toml:9:21: sip.session_expires_s: 30 is not allowed; allowed: 0, or a whole number from 90 to 86400
    pointsman.toml:10:10: sip.shards: "two" is not allowed; allowed: a whole number from 1 to 64
    pointsman.toml:11:10: sip.region: "XY" is not a region; allowed: an ISO 3166 code such as "DE"
    pointsman.toml:12:27: sip.domains: 7 is not allowed; allowed: a text in quotes
    pointsman.toml:14:2: sips: there is no such section; did you mean `sip`?
    pointsman.toml:17:11: peer[0].address: "192.0.2.1/24" has bits set behind its prefix (the block begins at 192.0.2.0); allowed: an address or a block such as "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32"
    pointsman.toml:18:1: peer[0].trust: there is no such key; allowed: name, address, certificate, forwarding, voicemail_forwarding, trust_diversion, trust_identity, send_identity, external, check_s
    pointsman.toml:16:1: peer[0]: it has no `name`, which every peer needs
    pointsman.toml:21:9: timers.t1_ms: -1 is not allowed; allowed: a whole number from 10 to 10000
    "#);
}

#[test]
fn what_is_no_toml_names_its_line() {
    insta::assert_snapshot!(faults("[sip]\nlisten = [\"udp:127.0.0.1\"\nregion = \"DE\"\n"), @r#"pointsman.toml:3:1: this is not TOML: missing comma between array elements, expected `,`"#);
    insta::assert_snapshot!(faults("[sip]\nregion = \"DE\"\nregion = \"AT\"\n"), @r#"pointsman.toml:3:1: this is not TOML: duplicate key"#);
    insta::assert_snapshot!(faults("sip = 1\npeer = 2\nx = 3\n"), @r#"
    pointsman.toml:1:7: sip: a section is needed here; allowed: [sip]
    pointsman.toml:2:8: peer: a list of tables is needed here; allowed: [[peer]]
    pointsman.toml:3:1: x: there is no such section; allowed: sip, health, dns, presence, forwarding, feature_codes, registrar, events, tls, auth, timers, limits, overload, store, api, oidc, log, shutdown, peer, node, status, hours, feature_code
    "#);
}

#[test]
fn contradictions_are_found() {
    insta::assert_snapshot!(faults(r#"
[sip]
advertise = "2001:db8::7"
[api]
listen = "0.0.0.0:8080"
[timers]
t1_ms = 500
t2_ms = 100
[[peer]]
name = "a"
address = ["192.0.2.0/24", "192.0.2.7"]
[[peer]]
name = "a"
address = "192.0.2.7"
"#), @r#"
    pointsman.toml:5:10: api.listen: 0.0.0.0:8080 is reachable from other machines, and there is no token; set api.admin_token or api.admin_token_file, or listen on 127.0.0.1
    pointsman.toml:8:9: timers.t2_ms: T2 (100 ms) is below T1 (500 ms); allowed: at least T1
    pointsman.toml:3:13: sip.advertise: 2001:db8::7 is of a family that no listener has
    pointsman.toml:13:8: peer[1].name: another peer is called "a"
    pointsman.toml:14:11: peer[1].address: 192.0.2.7/32 belongs to the peer "a" already
    "#);
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = "[sip]\nnext_hop = \"sip:192.0.2.1\"\n[api]\nlisten = \"0.0.0.0:8080\"\n";
    let variables = [
        ("POINTSMAN_SIP__NEXT_HOP", "sip:192.0.2.2:5070"),
        ("POINTSMAN_SIP__LISTEN", "udp:127.0.0.1:0, udp:[::1]:0"),
        ("POINTSMAN_SIP__SHARDS", "2"),
        ("POINTSMAN_API__ADMIN_TOKEN", "sesame"),
        ("POINTSMAN_URL", "http://127.0.0.1:8080"),
        ("HOME", "/root"),
    ];
    let config = read_with(text, &variables).unwrap();
    assert_eq!(
        config.sip.next_hop.as_ref().unwrap().to_string(),
        "192.0.2.2:5070"
    );
    assert_eq!(config.sip.listen.len(), 2);
    assert_eq!(config.sip.shards, Some(2));
    assert_eq!(config.api.admin_token.as_ref().unwrap().expose(), "sesame");
    assert_eq!(
        config.place("api.listen").to_string(),
        "pointsman.toml:4:10"
    );
    assert!(!format!("{config:?}").contains("sesame"));
}

#[test]
fn variables_that_match_no_key_are_errors() {
    let variables = [
        ("POINTSMAN_SIP__NEXTHOP", "sip:192.0.2.2"),
        ("POINTSMAN_SIP_LISTEN", "udp:127.0.0.1:0"),
        ("POINTSMAN_PEER__NAME", "a"),
        ("POINTSMAN_SIP__DND_STATUS", "no"),
    ];
    insta::assert_snapshot!(read_with("", &variables).unwrap_err(), @r#"
    environment variable POINTSMAN_PEER__NAME: peers and nodes are configured in the file only
    environment variable POINTSMAN_SIP_LISTEN: two underscores stand between section and key: POINTSMAN_SIP__LISTEN
    environment variable POINTSMAN_SIP__DND_STATUS: sip.dnd_status: "no" is not allowed; allowed: 480, 486, 603
    environment variable POINTSMAN_SIP__NEXTHOP: there is no such key; did you mean `POINTSMAN_SIP__NEXT_HOP`?
    "#);
}

#[test]
fn the_token_may_stand_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let text = format!("[api]\nlisten = \"0.0.0.0:80\"\nadmin_token_file = {path:?}\n");
    assert!(faults(&text).contains("pointsman.toml:3:20: api.admin_token_file: cannot read"));
    std::fs::write(&path, "\n").unwrap();
    assert!(faults(&text).contains("holds no token"));
    std::fs::write(&path, "sesame\n").unwrap();
    assert_eq!(
        read(&text).unwrap().api.admin_token.unwrap().expose(),
        "sesame"
    );
    assert!(faults(&format!("{text}admin_token = \"b\"\n")).contains("one of both"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/p.toml")), []).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("/nonexistent/p.toml:1:1: cannot read the file: No such file"),
        "{text}"
    );
}

#[test]
fn names_are_resolved_to_a_family_that_is_listened_on() {
    let hop = |text: &str| policy(text).map(|policy| policy.next_hop.unwrap());
    let pbx = hop("[sip]\nnext_hop = \"sip:PBX.example.com\"").unwrap();
    assert!(pbx.is_at("192.0.2.5".parse().unwrap()));
    assert_eq!(&*pbx.host_port, "pbx.example.com");
    insta::assert_snapshot!(hop("[sip]\nnext_hop = \"sip:six.example.com\"").unwrap_err(), @r#"pointsman.toml:2:12: sip.next_hop: six.example.com has IPv6 addresses only, and no listener is IPv6"#);
    insta::assert_snapshot!(hop("[sip]\nnext_hop = \"sip:gone.example.com\"").unwrap_err(), @r#"pointsman.toml:2:12: sip.next_hop: the name "gone.example.com" leads nowhere: no such name"#);
}

#[test]
fn nodes_stand_in_the_place_of_the_next_hop() {
    let text = r#"
[sip]
next_hop = "sip:pbx.example.com"
[[node]]
name = "spare"
uri = "sip:192.0.2.22:5070"
priority = 2
check_s = 0
[[node]]
name = "main"
uri = "sip:pbx.example.com"
weight = 7
[health]
check_s = 60
penalty_s = 5
"#;
    let policy = policy(text).unwrap();
    let group = policy.next_hop.unwrap();
    let names: Vec<_> = group.nodes.iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["main", "spare"]);
    assert_eq!(
        (&*group.host_port, group.nodes[0].weight),
        ("pbx.example.com", 7)
    );
    assert!(group.is_at("192.0.2.22".parse().unwrap()));
    let checks: Vec<_> = policy
        .health
        .checks
        .iter()
        .map(|c| (&*c.name, c.every_ms))
        .collect();
    assert_eq!(
        checks,
        [("main", 30_000)],
        "the spare is not, and the next hop is its nodes"
    );
    assert_eq!(policy.health.penalty_ms, 5_000);
    assert_eq!(read(text).unwrap().names().len(), 1);
}

#[test]
fn nodes_and_checks_that_cannot_be_are_named() {
    insta::assert_snapshot!(faults(r#"
[[node]]
name = "a"
uri = "sip:192.0.2.1"
[[node]]
name = "a"
uri = "sip:192.0.2.2"
[[peer]]
name = "trunk"
address = "192.0.2.0/24"
check_s = 10
"#), @r#"
    pointsman.toml:6:8: node[1].name: another node is called "a"
    pointsman.toml:11:11: peer[0].check_s: only a peer with a single address can be checked
    "#);
    let tcp = policy("[sip]\nnext_hop = \"sip:192.0.2.1;transport=tcp\"").unwrap_err();
    assert!(
        tcp.contains("reached by tcp, and no listener speaks that"),
        "{tcp}"
    );
}

#[test]
fn a_listener_on_every_address_says_how_it_is_reached() {
    let names = |text: &str| -> Result<Vec<String>, String> {
        let listeners = policy(text)?.listeners;
        Ok(listeners
            .iter()
            .map(|listener| listener.advertised.to_string())
            .collect())
    };
    let wild = "[sip]\nlisten = \"udp:0.0.0.0\"\n";
    assert_eq!(names(wild).unwrap(), ["198.51.100.1:5060"]);
    let local = names(&format!("{wild}next_hop = \"sip:127.0.0.1:5080\"")).unwrap();
    assert_eq!(local, ["127.0.0.1:5060"]);
    let told = names(&format!("{wild}advertise = \"sbc.example.com:5066\"")).unwrap();
    assert_eq!(told, ["sbc.example.com:5066"]);
    let both = "[sip]\nlisten = [\"udp:0.0.0.0\", \"udp:[::]:5070\"]\n";
    insta::assert_snapshot!(names(both).unwrap_err(), @r#"pointsman.toml:2:10: sip.listen: udp:[::]:5070 stands for every address of this machine, and there is no route that would tell which to write into messages; set sip.advertise"#);
    let told = names(&format!(
        "{both}advertise = [\"203.0.113.7\", \"[2001:db8::7]\"]"
    ))
    .unwrap();
    assert_eq!(told, ["203.0.113.7:5060", "[2001:db8::7]:5070"]);
}

#[test]
fn port_0_is_replaced_by_the_port_that_was_given() {
    let policy = policy("[sip]\nlisten = \"udp:[::1]:0\"").unwrap();
    let policy = policy.bound(&["[::1]:40000".parse().unwrap()]);
    assert_eq!(&*policy.listeners[0].advertised, "[::1]:40000");
    assert_eq!(policy.listeners[0].port, 40_000);
}

#[test]
fn a_peer_inherits_what_it_does_not_say() {
    let policy = policy(
        r#"
[sip]
next_hop = "sip:192.0.2.5"
voicemail = "sip:vm-{subscriber}@192.0.2.6;user=phone"
forwarding = "redirect"
voicemail_forwarding = "retarget"
[[peer]]
name = "a"
address = "198.51.100.0/24"
[[peer]]
name = "b"
address = "192.0.2.5"
forwarding = "redirect"
trust_identity = false
"#,
    )
    .unwrap();
    let of = |address: &str| policy.peer(address.parse().unwrap(), &[]);
    let (a, known) = of("198.51.100.9");
    assert!(known);
    assert_eq!(
        (a.forwarding, a.voicemail_forwarding),
        (Mode::Redirect, Mode::Retarget)
    );
    let (b, _) = of("192.0.2.5");
    assert_eq!((&*b.name, b.voicemail_forwarding), ("b", Mode::Redirect));
    assert!(!b.trust_identity);
    let (voicemail, known) = of("192.0.2.6");
    assert!(known && voicemail.trust_identity);
    let (stranger, known) = of("203.0.113.1");
    assert!(!known && !stranger.trust_identity);
    let template = policy.voicemail.as_ref().unwrap();
    assert_eq!(
        (&*template.before, &*template.after),
        ("sip:vm-", "@192.0.2.6;user=phone")
    );
}

#[test]
fn limits_are_those_of_the_whole_server() {
    let policy = policy("[sip]\nshards = 4\n[limits]\ncalls = 10\ntransactions = 400\n").unwrap();
    assert_eq!((policy.limits.calls, policy.limits.transactions), (3, 100));
}

#[test]
fn keys_that_only_a_restart_changes_are_told() {
    let old = read("[sip]\nnext_hop = \"sip:192.0.2.1\"").unwrap();
    let new = read("[sip]\nlisten = \"udp:127.0.0.1:5070\"\n[store]\npath = \"x\"").unwrap();
    assert_eq!(old.needs_restart(&new), ["sip.listen", "store.path"]);
    assert!(old.needs_restart(&old).is_empty());
}

#[test]
fn a_running_server_keeps_what_only_a_restart_changes() {
    let running = Config::default();
    let wanted = read(
        r#"
[sip]
listen = "udp:127.0.0.1:5070"
region = "AT"
shards = 7
receive_buffer_bytes = 100000
dnd_status = 603
[limits]
calls = 7
bindings = 7
subscriptions = 7
message_bytes = 9000
[store]
path = "x"
journal_days = 7
journal_max_mib = 77
[api]
listen = "127.0.0.1:7"
[log]
format = "json"
"#,
    )
    .unwrap();
    let fixed = keys::KEYS
        .iter()
        .filter(|key| !key.reloads && key.name != "store.engine");
    assert_eq!(running.needs_restart(&wanted).len(), fixed.count());
    let kept = wanted.keeping_running(&running).unwrap();
    assert!(running.needs_restart(&kept).is_empty());
    assert_eq!(kept.sip.dnd_status, 603);
}

#[test]
fn phones_register_with_us_where_there_is_no_pbx_or_it_is_said() {
    let rules = |text: &str| policy(text).unwrap().registrar;
    assert_eq!(rules(""), Some(crate::registrar::Rules::default()));
    let behind = "[sip]\nnext_hop = \"sip:192.0.2.2\"\n";
    assert_eq!(rules(behind), None);
    let local = format!("{behind}[registrar]\nmode = \"local\"\nbindings_per_aor = 3\n");
    assert_eq!(rules(&local).map(|rules| rules.bindings_per_aor), Some(3));
    let challenges = |text: &str| policy(text).unwrap().auth.challenges(Method::Register);
    assert!(challenges("") && challenges(&local) && !challenges(behind));
    assert_eq!(
        rules(&format!("{behind}[registrar]\nmode = \"pass\"\n")),
        None
    );
    assert!(faults("[registrar]\nmode = \"pass\"\n").contains("sip.next_hop"));
    let text = faults("[registrar]\ndefault_expires_s = 9000\n");
    assert!(text.contains("above max_expires_s"), "{text}");
}

#[test]
fn a_reload_cannot_open_the_api_to_everybody() {
    let running = read("[api]\nlisten = \"0.0.0.0:8080\"\nadmin_token = \"sesame\"").unwrap();
    let wanted = read("[api]\nlisten = \"127.0.0.1:8080\"").unwrap();
    let errors = wanted.keeping_running(&running).unwrap_err().to_string();
    assert!(errors.contains("there is no token"), "{errors}");
}
