//! TLS: certificates of both sides, names, reloading.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use pointsman::config::Config;
use pointsman::net::Server;
use tempfile::TempDir;

use super::certificates::{Authority, Issued, phone, trunk};
use super::peer::{Peer, ack, request};
use super::site::{Plan, Site, wait, write};

const TLS: &str = r#""tls:127.0.0.1:0""#;

/// A directory with an authority's root and our certificate.
struct Office {
    directory: TempDir,
    authority: Authority,
    own: Issued,
}

impl Office {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("root");
        let own = authority.issue(&["sip.example.com", "127.0.0.1"]);
        own.write(directory.path(), "server");
        authority.write(&directory.path().join("root.pem"));
        Self {
            directory,
            authority,
            own,
        }
    }

    fn section(&self, more: &str) -> String {
        let at = |name: &str| self.directory.path().join(name);
        let (certificate, key) = (at("server.pem"), at("server.key"));
        format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n{more}\n")
    }

    fn root(&self) -> String {
        format!("{:?}", self.directory.path().join("root.pem"))
    }

    fn open(self, listen: &str, sip: &str, tls: &str) -> (Site, Authority, Issued) {
        let more = self.section(tls);
        let plan = Plan {
            listen,
            sip,
            more: &more,
        };
        let site = Site::within(self.directory, &plan);
        (site, self.authority, self.own)
    }
}

/// Calls Anna, who does not want to be disturbed.
fn refused_call<S: Read + Write>(peer: &mut Peer<S>, call: &str) {
    let invite = request("INVITE", "101", ("TLS", "127.0.0.1:9"), call);
    peer.send(&invite);
    let response = peer.final_response();
    assert_eq!(response.status(), Some(480), "{}", response.0);
    peer.send(ack(&invite, &response));
}

#[test]
fn a_call_over_tls_is_decided_on_both_families() {
    let office = Office::new();
    let listen = r#""tls:127.0.0.1:0", "tls:[::1]:0""#;
    let (site, authority, _) = office.open(listen, "", "");
    for listener in [0, 1] {
        let mut peer = phone(&authority, None, site.at(listener));
        for number in 0..4 {
            refused_call(&mut peer, &format!("t{listener}-{number}"));
        }
        peer.send("\r\n\r\n");
        let mut ping = peer.hear_bytes(2);
        while ping != b"\r\n" {
            ping = peer.hear_bytes(2);
        }
        drop(peer);
        site.until_empty();
    }
    let mut plain = Peer::connect(site.at(0));
    plain.send(request("INVITE", "101", ("TLS", "127.0.0.1:9"), "plain"));
    plain.until_closed();
    site.until("connections_refused", "tls", 1);
    site.until_empty();
}

#[test]
fn the_other_sides_certificate_is_verified_and_its_names_are_known() {
    let office = Office::new();
    let root = office.root();
    let tls = format!("client_ca = {root}\nrequire_client_certificate = true");
    let (site, authority, _) = office.open(TLS, "", &tls);
    let own = authority.issue(&["sip:Trunk.example.net", "host.example.net", "127.0.0.1"]);
    let mut known = phone(&authority, Some(&own), site.at(0));
    refused_call(&mut known, "known");
    let mut identities = Vec::new();
    let flows = &site.server.shared().flows;
    flows.each(|_, view| identities.clone_from(&view.identities));
    assert_eq!(identities, ["trunk.example.net".into(), "127.0.0.1".into()]);

    let stranger = Authority::new("elsewhere").issue(&["trunk.example.net"]);
    for own in [None, Some(&stranger)] {
        let mut refused = phone(&authority, own, site.at(0));
        let invite = request("INVITE", "101", ("TLS", "127.0.0.1:9"), "refused");
        // The alert may come before or after we have written.
        let _ = refused.stream.write_all(invite.as_bytes());
        refused.until_closed();
    }
    site.until("connections_refused", "tls", 2);
    drop(known);
    site.until_empty();
}

/// A trunk at `sip:127.0.0.1` with a certificate for these names.
fn trunk_site(names: &[&str], tls: &str) -> (Site, TcpListener, Issued, Authority) {
    let office = Office::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let next_hop = format!("next_hop = \"sip:{at};transport=tls\"");
    let tls = format!("server_ca = {}\n{tls}", office.root());
    let of_trunk = office.authority.issue(names);
    let (site, authority, _) = office.open(TLS, &next_hop, &tls);
    (site, listener, of_trunk, authority)
}

/// Calls Bert, who is behind the trunk.
fn call_bert(site: &Site, authority: &Authority) -> Peer<super::certificates::TlsClient> {
    let mut caller = phone(authority, None, site.at(0));
    caller.send(request("INVITE", "102", ("TLS", "127.0.0.1:9"), "bert"));
    caller
}

#[test]
fn a_call_goes_on_to_a_trunk_that_is_who_it_should_be_with_our_certificate() {
    let (site, listener, of_trunk, authority) = trunk_site(&["127.0.0.1"], "");
    let mut caller = call_bert(&site, &authority);
    let stream = Peer::accept(&listener).stream;
    let mut trunk = trunk(&of_trunk, Some(&authority), stream);
    let invite = trunk.hear();
    assert!(
        invite.header("Via").starts_with("SIP/2.0/TLS "),
        "{}",
        invite.0
    );
    trunk.send(invite.answer("486 Busy Here", ""));
    assert!(trunk.hear().0.starts_with("ACK "));
    assert_eq!(caller.final_response().status(), Some(486));
    drop((caller, trunk));
    site.until_empty();
}

#[test]
fn a_trunk_with_another_name_or_an_unknown_issuer_gets_no_call() {
    let elsewhere = Authority::new("elsewhere").issue(&["127.0.0.1"]);
    for of_elsewhere in [None, Some(elsewhere)] {
        let (site, listener, wrong, authority) =
            trunk_site(&["trunk.example.net", "127.0.0.2"], "");
        let shown = of_elsewhere.unwrap_or(wrong);
        let mut caller = call_bert(&site, &authority);
        let stream = Peer::accept(&listener).stream;
        let mut trunk = trunk(&shown, None, stream);
        assert_eq!(trunk.try_hear(), None);
        let failed = caller.final_response().status().unwrap();
        assert!(failed >= 400, "{failed}");
        site.until("connections_refused", "tls", 1);
        drop((caller, trunk));
        site.until_empty();
    }
    let (site, listener, wrong, authority) =
        trunk_site(&["x.example.net"], "verify_server = false");
    let mut caller = call_bert(&site, &authority);
    let mut trunk = trunk(&wrong, None, Peer::accept(&listener).stream);
    let invite = trunk.hear();
    trunk.send(invite.answer("486 Busy Here", ""));
    assert_eq!(caller.final_response().status(), Some(486));
    drop(site);
}

#[test]
fn requests_come_back_over_the_connection_of_who_shows_the_certificate_for_its_alias() {
    let office = Office::new();
    let tls = format!("client_ca = {}", office.root());
    let (site, authority, _) = office.open(TLS, "", &tls);
    let own = authority.issue(&["trunk.example.net"]);
    let mut peer = phone(&authority, Some(&own), site.at(0));
    let with_alias = |host: &str, call: &str| {
        let via = format!("{host}:5099;alias");
        request("OPTIONS", "101", ("TLS", &via), call)
    };
    for (host, entries) in [("other.example.net", 1), ("trunk.example.net", 2)] {
        peer.send(with_alias(host, host));
        peer.final_response();
        assert_eq!(site.server.connections()[2], entries, "{host}");
    }
    drop(peer);
    site.until_empty();
}

#[test]
fn new_certificates_are_in_force_without_a_restart_and_broken_ones_are_not() {
    let office = Office::new();
    let own = office.own.clone();
    let (site, authority, _) = office.open(TLS, "", "");
    let subject = |peer: &mut Peer<super::certificates::TlsClient>| {
        peer.send("\r\n\r\n");
        peer.hear_bytes(2);
        let (_, connection) = (&peer.stream.sock, &peer.stream.conn);
        connection.peer_certificates().unwrap()[0].to_vec()
    };
    let mut before = phone(&authority, None, site.at(0));
    let first = subject(&mut before);
    let names = || site.server.certificates()[0].names.clone();
    assert_eq!(names(), ["sip.example.com".into(), "127.0.0.1".into()]);

    let directory = site.directory.path();
    std::fs::write(directory.join("server.pem"), "broken").unwrap();
    assert!(
        site.server
            .reload()
            .unwrap_err()
            .to_string()
            .contains("no certificate")
    );
    let mut meanwhile = phone(&authority, None, site.at(0));
    assert_eq!(subject(&mut meanwhile), first);
    refused_call(&mut meanwhile, "meanwhile");

    // The files' change is noticed without being told.
    authority
        .issue(&["sip.example.com", "new.example.com"])
        .write(directory, "server");
    assert!(wait(|| names().contains(&"new.example.com".into())));
    let mut after = phone(&authority, None, site.at(0));
    assert_ne!(subject(&mut after), first);
    refused_call(&mut before, "still-there");

    own.write(directory, "server");
    site.server.reload().unwrap();
    let mut again = phone(&authority, None, site.at(0));
    assert_eq!(subject(&mut again), first);
    drop((before, meanwhile, after, again));
    site.until_empty();
}

/// What a server says that does not start, in its own words.
fn refusal(office: &Office, tls: &str) -> String {
    let more = office.section(tls);
    let plan = Plan {
        listen: TLS,
        sip: "",
        more: &more,
    };
    let file = write(office.directory.path(), &plan);
    let read = move || Config::load(Some(&file), []);
    let config = match read() {
        Ok(config) => config,
        Err(errors) => return errors.to_string(),
    };
    let started = Server::start(config, Box::new(read));
    started.err().unwrap().to_string()
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let office = Office::new();
    let at = |name: &str| office.directory.path().join(name);
    let refused = |said: &str, why: &str| {
        let text = refusal(&office, "");
        assert!(text.contains(said) && text.contains(why), "{text}");
        assert!(text.contains("pointsman.toml:"), "{text}");
    };
    let other = office.authority.issue(&["x.example.com"]);
    std::fs::write(at("server.key"), &other.key).unwrap();
    refused("tls.private_key", "not the key of the certificate");
    std::fs::write(at("server.key"), "nothing").unwrap();
    refused("tls.private_key", "holds no private key");
    std::fs::remove_file(at("server.key")).unwrap();
    refused("tls.private_key", "cannot read the file");
    office.own.write(office.directory.path(), "server");
    std::fs::write(at("server.pem"), "nothing").unwrap();
    refused("tls.certificate", "holds no certificate");
    let old = office.authority.issue_until(&["x.example.com"], 2001);
    old.write(office.directory.path(), "server");
    refused("tls.certificate", "ended on 2001-12-31");
    office.own.write(office.directory.path(), "server");
    let text = refusal(&office, "client_ca = \"/nonexistent.pem\"");
    assert!(
        text.contains("tls.client_ca: /nonexistent.pem: cannot read"),
        "{text}"
    );
    let text = refusal(&office, "require_client_certificate = true");
    assert!(text.contains("no `tls.client_ca`"), "{text}");
}

#[test]
fn only_tls_1_3_is_spoken_where_it_must_be_and_openssl_agrees() {
    let office = Office::new();
    let (site, _, _) = office.open(TLS, "", "min_version = \"1.3\"");
    let Some(newest) = openssl(site.at(0), "-tls1_3") else {
        return;
    };
    assert!(
        newest.contains("TLSv1.3") && newest.contains("sip.example.com"),
        "{newest}"
    );
    let old = openssl(site.at(0), "-tls1_2").unwrap();
    assert!(old.contains("alert protocol version"), "{old}");
}

/// What `openssl s_client` tells, where it is installed.
fn openssl(to: SocketAddr, version: &str) -> Option<String> {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string(), version])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    drop(client.stdin.take());
    let output = client.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}
