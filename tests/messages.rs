//! The message layer against a corpus with a verdict for every file, and against random bytes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use pointsman::message::{
    Edits, Fault, Index, Message, Method, Name, NameAddr, Reply, Uri, check, forward,
    write_response,
};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

/// Counts the allocations of each thread, to show that there are none.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts"
)]
// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/messages")
}

fn corpus() -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let messages = files.filter(|path| path.extension().is_some_and(|end| end == "sip"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    messages
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .collect()
}

fn verdicts() -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder().join("verdicts.tsv")).unwrap();
    let rows = text.lines().skip(1).map(|row| {
        let cells: Vec<_> = row.split('\t').collect();
        assert!(
            cells.len() == 3 && !cells[2].is_empty(),
            "file, verdict and note: {row}"
        );
        (cells[0].to_owned(), cells[1].to_owned())
    });
    rows.collect()
}

fn verdict(bytes: &[u8]) -> &'static str {
    match Index::new().parse(bytes) {
        Ok(message) => check(&message).map_or_else(Fault::kind, |()| "ok"),
        Err(malformed) => malformed.kind(),
    }
}

#[test]
fn every_file_has_its_verdict_and_every_verdict_its_file() {
    let found: BTreeMap<_, _> = corpus()
        .into_iter()
        .map(|(file, bytes)| (file, verdict(&bytes).to_owned()))
        .collect();
    assert_eq!(found, verdicts());
}

#[test]
fn every_refused_request_can_be_answered() {
    for (file, bytes) in corpus() {
        let mut index = Index::new();
        let Ok(request) = index.parse(&bytes) else {
            continue;
        };
        let Err(fault) = check(&request) else {
            continue;
        };
        let mut out = Vec::new();
        let reply = Reply {
            reason: fault.reason_phrase().as_bytes(),
            ..Reply::new(fault.status())
        };
        write_response(&request, &reply, &mut out);
        let mut index = Index::new();
        let response = index.parse(&out).unwrap();
        assert_eq!(response.status(), Some(fault.status()), "{file}");
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            let value = request.header(name).map(|header| header.value);
            assert_eq!(
                response.header(name).map(|header| header.value),
                value,
                "{file}"
            );
        }
    }
}

/// A whole forward: what a proxy does to a request.
fn forwarded(message: &Message<'_>, edits: &mut Edits, out: &mut Vec<u8>) -> Result<(), Fault> {
    edits.clear();
    out.clear();
    forward::stamp_top_via(message, edits, "192.0.2.99:5070".parse().unwrap())?;
    forward::push_via(message, edits, |out| {
        out.extend_from_slice(b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours");
    });
    forward::insert_header(message, edits, b"Record-Route", |out| {
        out.extend_from_slice(b"<sip:192.0.2.1;lr>");
    });
    forward::count_hop(message, edits)?;
    edits.apply(message.bytes(), out);
    Ok(())
}

#[test]
fn reading_checking_and_forwarding_allocate_nothing_when_warm() {
    let (mut index, mut edits, mut out) = (Index::new(), Edits::new(), Vec::new());
    let corpus = corpus();
    let mut run = || {
        for bytes in corpus.values() {
            let Ok(message) = index.parse(bytes) else {
                continue;
            };
            if black_box(check(&message)).is_ok() && message.method().is_some() {
                forwarded(&message, &mut edits, &mut out).unwrap();
                out.clear();
                write_response(&message, &Reply::new(180), &mut out);
            }
        }
    };
    run();
    let before = ALLOCATIONS.with(Cell::get);
    run();
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}

/// Asks everything there is to ask.
fn exercise(message: &Message<'_>) {
    let _ = (
        message.start(),
        message.call_id(),
        message.max_forwards(),
        check(message),
    );
    let _ = (
        message.from_(),
        message.to(),
        message.cseq(),
        message.body(),
    );
    let _ = message
        .top_via()
        .map(|via| (via.received_ip(), via.params().count()));
    for header in message.all_headers() {
        assert_eq!(&message.bytes()[header.value_span.clone()], header.value);
        assert!(header.line.start <= header.value_span.start);
        assert!(header.value_span.end <= header.line.end);
        let _ = NameAddr::parse(header.value).map(|address| address.parsed_uri());
        let _ = Uri::parse(header.value).map(|uri| (uri.ip(), uri.unescaped_user()));
    }
    for name in Name::all() {
        assert_eq!(message.headers(name).count(), message.count(name));
        for value in message.values(name) {
            assert_eq!(&message.bytes()[value.span.clone()], value.bytes);
        }
    }
    for via in message.vias().flatten() {
        assert_eq!(&message.bytes()[via.span.clone()], via.bytes);
    }
    let mut out = Vec::new();
    let source = Some("[2001:db8::1]:5060".parse().unwrap());
    write_response(
        message,
        &Reply {
            source,
            to_tag: Some(b"t"),
            ..Reply::new(400)
        },
        &mut out,
    );
    let _ = forwarded(message, &mut Edits::new(), &mut out);
}

#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Repeat(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b" \t\r\n:;,<>\"\\=@[]%/\0".to_vec())
    ];
    let bytes = prop::collection::vec(byte.clone(), 0..8);
    prop_oneof![
        (any::<usize>(), byte).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<usize>(), bytes).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<usize>(), 0usize..40).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (any::<usize>(), 0usize..80).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let file = prop::sample::select(corpus().into_values().collect::<Vec<_>>());
    (file, prop::collection::vec(mutation(), 0..6)).prop_map(|(mut bytes, mutations)| {
        for mutation in mutations {
            mutate(&mut bytes, mutation);
        }
        bytes
    })
}

fn mutate(bytes: &mut Vec<u8>, mutation: Mutation) {
    let place = |at: usize| at % (bytes.len() + 1);
    match mutation {
        Mutation::Set(at, byte) => {
            let at = place(at);
            bytes.splice(at..(at + 1).min(bytes.len()), [byte]);
        }
        Mutation::Insert(at, text) => {
            let at = place(at);
            bytes.splice(at..at, text);
        }
        Mutation::Cut(at, length) => {
            let at = place(at);
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        Mutation::Repeat(at, length) => {
            let at = place(at);
            let text = bytes[at..(at + length).min(bytes.len())].to_vec();
            bytes.splice(at..at, text);
        }
    }
}

/// The elements of a list, byte by byte.
fn naive_elements(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut elements, mut current) = (Vec::new(), Vec::new());
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (at, &byte) in text.iter().enumerate() {
        if !quoted && !bracketed && byte == b',' {
            elements.push(std::mem::take(&mut current));
            continue;
        }
        current.push(byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted && !bracketed => bracketed = text[at..].contains(&b'>'),
            b'>' if bracketed => bracketed = false,
            _ => {}
        }
    }
    elements.push(current);
    let trimmed = elements.iter().map(|element| element.trim_ascii().to_vec());
    trimmed.filter(|element| !element.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Index::new().parse(&bytes) {
            exercise(&message);
        }
    }

    #[test]
    fn random_bytes_after_a_start_line_never_panic(
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [b"INVITE sip:a@b SIP/2.0\r\nVia: ", rest.as_slice()].concat();
        exercise(&Index::new().parse(&bytes).unwrap());
    }

    #[test]
    fn mutated_messages_never_panic(bytes in mutated()) {
        if let Ok(message) = Index::new().parse(&bytes) {
            exercise(&message);
        }
    }

    #[test]
    fn a_forwarded_message_is_the_same_outside_the_edits(bytes in mutated()) {
        let mut index = Index::new();
        let Ok(message) = index.parse(&bytes) else { return Ok(()) };
        if check(&message).is_err() || message.method().is_none() {
            return Ok(());
        }
        let (mut edits, mut out) = (Edits::new(), Vec::new());
        forwarded(&message, &mut edits, &mut out).unwrap();
        let mut index = Index::new();
        let sent = index.parse(&out).unwrap();
        prop_assert_eq!(check(&sent), Ok(()));
        prop_assert_eq!(sent.body(), message.body());
        prop_assert_eq!(&out[..sent.first_header_at()], &bytes_before_headers(&message)[..]);
        let old = untouched(&message, 0);
        prop_assert_eq!(untouched(&sent, 1), old);
    }

    #[test]
    fn a_pushed_via_comes_off_again(bytes in mutated()) {
        let mut index = Index::new();
        let Ok(message) = index.parse(&bytes) else { return Ok(()) };
        if check(&message).is_err() {
            return Ok(());
        }
        let (mut edits, mut out, mut back) = (Edits::new(), Vec::new(), Vec::new());
        forward::push_via(&message, &mut edits, |out| out.extend_from_slice(b"SIP/2.0/UDP p"));
        edits.apply(message.bytes(), &mut out);
        edits.clear();
        let mut index = Index::new();
        let sent = index.parse(&out).unwrap();
        prop_assert_eq!(sent.top_via().unwrap().host, b"p");
        forward::remove_top_via(&sent, &mut edits).unwrap();
        edits.apply(sent.bytes(), &mut back);
        prop_assert_eq!(back.as_slice(), message.bytes());
    }

    #[test]
    fn values_agree_with_a_naive_splitter(text in "[ab,<>\"\\\\ ;=\t]{0,40}") {
        let bytes = format!("ACK sip:a@b SIP/2.0\r\nRoute: {text}\r\nRoute: z, y\r\n\r\n");
        let mut index = Index::new();
        let message = index.parse(bytes.as_bytes()).unwrap();
        let found: Vec<_> = message.values(Name::Route).collect();
        let mut want = naive_elements(text.as_bytes());
        let alone = want.len() == 1;
        prop_assert!(found.iter().take(want.len()).all(|value| value.alone == alone));
        want.extend([b"z".to_vec(), b"y".to_vec()]);
        prop_assert_eq!(found.iter().map(|value| value.bytes.to_vec()).collect::<Vec<_>>(), want);
    }

    #[test]
    fn an_element_cut_out_leaves_the_others(
        text in "[ab,<>\" ;=]{0,40}",
        which in any::<prop::sample::Index>(),
    ) {
        let bytes = format!("ACK sip:a@b SIP/2.0\r\nRoute: {text}\r\nRoute: z, y\r\n\r\n");
        let mut index = Index::new();
        let message = index.parse(bytes.as_bytes()).unwrap();
        let values: Vec<_> = message.values(Name::Route).collect();
        let gone = which.index(values.len());
        let (mut edits, mut out) = (Edits::new(), Vec::new());
        edits.remove(values[gone].cut.clone());
        edits.apply(message.bytes(), &mut out);
        let mut want: Vec<_> = values.iter().map(|value| value.bytes).collect();
        want.remove(gone);
        let mut index = Index::new();
        let sent = index.parse(&out).unwrap();
        prop_assert_eq!(sent.values(Name::Route).map(|v| v.bytes).collect::<Vec<_>>(), want);
    }
}

fn bytes_before_headers(message: &Message<'_>) -> Vec<u8> {
    message.bytes()[..message.first_header_at()].to_vec()
}

/// All header lines but the ones a forward edits: the first Vias (ours and the stamped one), our
/// Record-Route and Max-Forwards.
fn untouched(message: &Message<'_>, ours: usize) -> Vec<Vec<u8>> {
    let vias = message.headers(Name::Via).take(1 + ours);
    let record_routes = message.headers(Name::RecordRoute).take(ours);
    let edited = vias
        .chain(record_routes)
        .chain(message.headers(Name::MaxForwards));
    let edited: Vec<_> = edited.map(|header| header.line).collect();
    let rest = message
        .all_headers()
        .filter(|header| !edited.contains(&header.line));
    rest.map(|header| message.bytes()[header.line].to_vec())
        .collect()
}

#[test]
fn a_datagram_of_open_brackets_is_split_at_its_commas() {
    let text = format!(
        "ACK sip:a@b SIP/2.0\r\nRoute: {}\r\n\r\n",
        "<,".repeat(30_000)
    );
    let mut index = Index::new();
    let message = index.parse(text.as_bytes()).unwrap();
    assert_eq!(message.method(), Some(Method::Ack));
    assert_eq!(message.values(Name::Route).count(), 30_000);
}
