//! What we read against two other parsers: where both accept a message, they agree on what it says.
//! rsip's known gaps are told below, each with a message that shows it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects has failed"
)]

use bytes::Bytes;
use pointsman::message::{Index, Message, Name, NameAddr, check};
use proptest::prelude::*;
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
use sipx_sip::TypedHeader;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The facts two readers must agree on; `None` where one does not say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    /// The method and the Request-URI, or the status.
    start: (String, String),
    headers: usize,
    /// Host, port and branch of the top Via.
    via: Option<(String, Option<u16>, String)>,
    from_tag: Option<String>,
    to_tag: Option<String>,
    call_id: Option<String>,
    cseq: Option<(u32, String)>,
    body: Vec<u8>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ours(message: &Message<'_>) -> Facts {
    let start = match message.status() {
        Some(status) => (status.to_string(), String::new()),
        None => {
            let line = &message.bytes()[..message.uri_span().start];
            (text(line.trim_ascii()), text(message.uri()))
        }
    };
    let tag = |name| {
        let address = message.header(name).map(|header| header.value);
        let address = address.and_then(|value| NameAddr::parse(value).ok());
        address.and_then(|address| address.tag).map(text)
    };
    Facts {
        start,
        headers: message.all_headers().count(),
        via: message
            .top_via()
            .ok()
            .map(|via| (text(via.host), via.port, text(via.branch))),
        from_tag: tag(Name::From),
        to_tag: tag(Name::To),
        call_id: message.call_id().ok().map(text),
        cseq: message
            .cseq()
            .ok()
            .map(|cseq| (cseq.number, text(cseq.method_bytes))),
        body: message.body().to_vec(),
    }
}

/// The same as sipx-sip reads it; `None` where it does not read the message at all.
fn sipx(bytes: &[u8]) -> Option<Facts> {
    use sipx_sip::message::Message;
    let limits = sipx_sip::parser::Limits::datagram();
    let message = sipx_sip::parser::parse_datagram(Bytes::copy_from_slice(bytes), &limits).ok()?;
    let start = match &message {
        Message::Request(request) => (
            text(request.method.as_bytes()),
            text(&request.uri.to_bytes()),
        ),
        Message::Response(response) => (response.status.code().to_string(), String::new()),
    };
    fn typed<H: TypedHeader>(message: &Message) -> Option<H> {
        message.headers().typed::<H>()?.ok()
    }
    let via = typed::<sipx_sip::Via>(&message);
    Some(Facts {
        start,
        headers: message.headers().len(),
        via: via.map(|via| {
            let host = text(&via.host.to_bytes());
            let host = host.trim_matches(['[', ']']).to_owned();
            (host, via.port, via.branch().map(text).unwrap_or_default())
        }),
        from_tag: typed::<sipx_sip::headers::From>(&message)
            .and_then(|from| from.0.tag().map(text)),
        to_tag: typed::<sipx_sip::headers::To>(&message).and_then(|to| to.0.tag().map(text)),
        call_id: typed::<sipx_sip::CallId>(&message).map(|call_id| text(&call_id.0)),
        cseq: typed::<sipx_sip::CSeq>(&message)
            .map(|cseq| (cseq.sequence, text(cseq.method.as_bytes()))),
        body: message.body().to_vec(),
    })
}

/// The same as rsip reads it; `None` where it does not read the message at all.
fn rsip(bytes: &[u8]) -> Option<Facts> {
    let message = rsip::SipMessage::try_from(bytes).ok()?;
    let (start, headers, body) = match &message {
        rsip::SipMessage::Request(request) => (
            (request.method.to_string(), request.uri.to_string()),
            request.headers.iter().count(),
            request.body.clone(),
        ),
        rsip::SipMessage::Response(response) => (
            (response.status_code.code().to_string(), String::new()),
            response.headers.iter().count(),
            response.body.clone(),
        ),
    };
    let via = message
        .via_header()
        .ok()
        .and_then(|via| via.clone().typed().ok());
    let cseq = message
        .cseq_header()
        .ok()
        .and_then(|cseq| cseq.clone().typed().ok());
    let from = message
        .from_header()
        .ok()
        .and_then(|from| from.clone().typed().ok());
    let to = message
        .to_header()
        .ok()
        .and_then(|to| to.clone().typed().ok());
    Some(Facts {
        start,
        headers,
        via: via.map(|via| {
            let host = via.uri.host_with_port.host.to_string();
            let port = via
                .uri
                .host_with_port
                .port
                .as_ref()
                .map(|port| *port.value());
            let branch = via.branch().map(|branch| branch.value().to_owned());
            (host, port, branch.unwrap_or_default())
        }),
        from_tag: from.and_then(|from| from.tag().map(|tag| tag.value().to_owned())),
        to_tag: to.and_then(|to| to.tag().map(|tag| tag.value().to_owned())),
        call_id: message
            .call_id_header()
            .ok()
            .map(|id| id.value().to_owned()),
        cseq: cseq.map(|cseq| (cseq.seq, cseq.method.to_string())),
        body,
    })
}

/// An IPv6 host in one spelling.
fn host(text: &str) -> String {
    let ip = text.parse::<std::net::IpAddr>();
    ip.map_or_else(|_| text.to_owned(), |ip| ip.to_string())
}

/// What two readers say differently, where both say something.
fn differences(ours: &Facts, theirs: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{what}: {ours:?} / {theirs:?}"));
        }
    };
    compare(
        "start",
        format!("{:?}", ours.start),
        format!("{:?}", theirs.start),
    );
    compare(
        "headers",
        ours.headers.to_string(),
        theirs.headers.to_string(),
    );
    compare("body", text(&ours.body), text(&theirs.body));
    if let (Some(a), Some(b)) = (&ours.via, &theirs.via) {
        let shown =
            |via: &(String, Option<u16>, String)| format!("{} {:?} {}", host(&via.0), via.1, via.2);
        compare("via", shown(a), shown(b));
    }
    for (what, a, b) in [
        ("from tag", &ours.from_tag, &theirs.from_tag),
        ("to tag", &ours.to_tag, &theirs.to_tag),
        ("call-id", &ours.call_id, &theirs.call_id),
    ] {
        if let (Some(a), Some(b)) = (a, b) {
            compare(what, a.clone(), b.clone());
        }
    }
    if let (Some(a), Some(b)) = (&ours.cseq, &theirs.cseq) {
        compare("cseq", format!("{a:?}"), format!("{b:?}"));
    }
    found
}

fn files() -> BTreeMap<String, Vec<u8>> {
    fn below(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|end| end == "sip") {
                let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
                found.insert(name.to_str().unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let (base, mut found) = (PathBuf::from(env!("CARGO_MANIFEST_DIR")), BTreeMap::new());
    for folder in ["messages", "malformed", "torture"] {
        below(&base.join("fixtures").join(folder), &mut found);
    }
    found
}

/// What two readers of a message that both accept say differently; `None` where one does not.
fn compared(bytes: &[u8], reader: fn(&[u8]) -> Option<Facts>) -> Option<Vec<String>> {
    let mut index = Index::new();
    let message = index
        .parse(bytes)
        .ok()
        .filter(|message| check(message).is_ok())?;
    Some(differences(&ours(&message), &reader(bytes)?))
}

#[test]
fn sipx_reads_every_fixture_the_same() {
    let files = files();
    let found = files
        .iter()
        .filter_map(|(file, bytes)| Some((file, compared(bytes, sipx)?)));
    let (agreeing, differing): (Vec<_>, Vec<_>) = found.partition(|(_, found)| found.is_empty());
    assert!(agreeing.len() > 100, "{}", agreeing.len());
    assert!(differing.is_empty(), "{differing:#?}");
}

/// What rsip makes of a message that is good: it agrees, refuses it, or reads these parts otherwise.
fn rsip_verdict(bytes: &[u8]) -> Option<String> {
    let mut index = Index::new();
    let message = index
        .parse(bytes)
        .ok()
        .filter(|message| check(message).is_ok())?;
    let Some(theirs) = rsip(bytes) else {
        return Some("refused".into());
    };
    let found = differences(&ours(&message), &theirs);
    let parts = found.iter().filter_map(|text| text.split(':').next());
    Some(parts.collect::<Vec<_>>().join(", ")).filter(|parts| !parts.is_empty())
}

/// `fixtures/rsip_gaps.tsv` lists every good message of the corpora that rsip refuses or reads
/// otherwise; with all others it agrees.
#[test]
fn rsip_reads_the_same_but_for_its_known_gaps() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rsip_gaps.tsv");
    let listed = fs::read_to_string(path).unwrap();
    let listed: BTreeMap<_, _> = listed
        .lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<_> = row.split('\t').collect();
            assert!(
                cells.len() == 3 && !cells[2].is_empty(),
                "file, gap and why: {row}"
            );
            (cells[0].to_owned(), cells[1].to_owned())
        })
        .collect();
    let found: BTreeMap<_, _> = files()
        .into_iter()
        .filter_map(|(file, bytes)| Some((file, rsip_verdict(&bytes)?)))
        .collect();
    let lines = |gaps: &BTreeMap<String, String>| {
        let lines = gaps.iter().map(|(file, gap)| format!("{file}\t{gap}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(lines(&found), lines(&listed));
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let file = prop::sample::select(files().into_values().collect::<Vec<_>>());
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b" \t\r\n:;,<>\"\\=@[]%/?*1a".to_vec())
    ];
    let insert = prop::collection::vec(byte, 0..4);
    let mutation = (any::<prop::sample::Index>(), 0usize..4, insert);
    (file, prop::collection::vec(mutation, 0..5)).prop_map(|(mut bytes, mutations)| {
        for (at, cut, insert) in mutations {
            let at = at.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn mutated_messages_are_read_the_same_where_both_accept(bytes in mutated()) {
        prop_assume!(bytes.len() < 10_000);
        let found = compared(&bytes, sipx).unwrap_or_default();
        prop_assert!(found.is_empty(), "{}\n{found:#?}", text(&bytes));
    }
}
