//! The message layer: reading, judging, editing, answering, cutting streams.

use pointsman::message::{
    CSeq, Contact, Contacts, Edits, Fault, Frame, Framer, Index, Message, Name, NameAddr, Params,
    Reply, Uri, Via, check, forward, write_response,
};

/// One datagram: everything there is to ask of it, a forward of it and an answer to it.
pub fn message(data: &[u8]) {
    let mut index = Index::new();
    let Ok(message) = index.parse(data) else {
        return;
    };
    ask(&message);
    answer(&message);
    if check(&message).is_ok() {
        relay(&message);
    }
}

fn ask(message: &Message<'_>) {
    let bytes = message.bytes();
    for name in Name::all() {
        assert_eq!(message.headers(name).count(), message.count(name));
        for value in message.values(name) {
            assert_eq!(bytes.get(value.span.clone()), Some(value.bytes));
            assert!(value.cut.start <= value.span.start && value.span.end <= value.cut.end);
        }
    }
    for header in message.all_headers() {
        assert_eq!(bytes.get(header.value_span.clone()), Some(header.value));
        assert!(
            header.line.start <= header.value_span.start
                && header.value_span.end <= header.line.end
        );
    }
    let _ = (
        message.start(),
        message.from_(),
        message.to(),
        message.cseq(),
    );
    let _ = (
        message.call_id(),
        message.max_forwards(),
        message.expires_s(),
    );
    if let Ok(contacts) = Contacts::read(message) {
        assert!(contacts.iter().count() <= message.values(Name::Contact).count());
    }
    assert!(
        message
            .vias()
            .flatten()
            .all(|via| bytes.get(via.span.clone()) == Some(via.bytes))
    );
}

fn answer(message: &Message<'_>) {
    let source = Some("[2001:db8::1]:5060".parse().unwrap());
    let reply = Reply {
        source,
        to_tag: Some(b"ours"),
        ..Reply::new(400)
    };
    let mut out = Vec::new();
    write_response(message, &reply, &mut out);
    let mut index = Index::new();
    let response = index.parse(&out).unwrap();
    assert_eq!(response.status(), Some(400));
    if check(message).is_ok() {
        assert_eq!(
            check(&response),
            Ok(()),
            "{}",
            String::from_utf8_lossy(&out)
        );
    }
}

/// What is relayed is good again, and the same but for the edits; what was pushed comes off again.
fn relay(message: &Message<'_>) {
    let (mut edits, mut out) = (Edits::new(), Vec::new());
    forward::push_via(message, &mut edits, |out| {
        out.extend_from_slice(b"SIP/2.0/UDP p;branch=z9hG4bKp")
    });
    edits.apply(message.bytes(), &mut out);
    let mut index = Index::new();
    let sent = index.parse(&out).unwrap();
    assert_eq!(
        (sent.top_via().unwrap().host, sent.body()),
        (&b"p"[..], message.body())
    );
    edits.clear();
    forward::remove_top_via(&sent, &mut edits).unwrap();
    let mut back = Vec::new();
    edits.apply(sent.bytes(), &mut back);
    assert_eq!(back, message.bytes());
    if message.method().is_none() {
        return;
    }
    edits.clear();
    out.clear();
    forward::stamp_top_via(message, &mut edits, "192.0.2.9:5070".parse().unwrap()).unwrap();
    forward::count_hop(message, &mut edits).unwrap();
    forward::remove_top_route(message, &mut edits);
    forward::replace_uri(message, &mut edits, b"sip:other@example.com");
    edits.apply(message.bytes(), &mut out);
    let mut index = Index::new();
    let sent = index.parse(&out).unwrap();
    let is_good = check(&sent);
    // What was added may be what is too much.
    let is_full = matches!(
        is_good,
        Err(Fault::MessageTooLarge | Fault::HeaderTooLong | Fault::TooManyHeaders)
    );
    assert!(
        is_good.is_ok() || is_full,
        "{is_good:?}: {}",
        String::from_utf8_lossy(&out)
    );
    let via = sent.top_via().unwrap();
    assert!(via.received.is_none() || via.received_ip() == Some("192.0.2.9".parse().unwrap()));
    let routes = message.values(Name::Route).count();
    assert_eq!(sent.values(Name::Route).count(), routes.saturating_sub(1));
}

/// A stream in the pieces that the first bytes say: the frames are those of the stream in one piece,
/// and each is one message to the index.
pub fn framing(data: &[u8]) {
    const LIMIT: usize = 2_000;
    let (sizes, stream) = data.split_at(data.len().min(4));
    let whole = frames(&[stream]);
    let mut pieces = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at(usize::from(*size).max(1).min(rest.len()));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    if !sizes.is_empty() {
        assert_eq!(frames(&pieces), whole);
    }

    fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<&'static str>) {
        let mut framer = Framer::new(LIMIT);
        let mut frames = Vec::new();
        for piece in pieces {
            if let Err(why) = framer.push(piece) {
                return (frames, Some(why.kind()));
            }
            loop {
                match framer.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(why) => return (frames, Some(why.kind())),
                }
            }
            assert!(framer.buffered() <= LIMIT);
        }
        for frame in &frames {
            let Frame::Message(bytes) = frame else {
                continue;
            };
            assert!(bytes.len() <= LIMIT);
            if let Ok(message) = Index::new().parse(bytes) {
                assert_eq!(message.bytes(), &bytes[..]);
            }
        }
        (frames, None)
    }
}

/// One URI.
pub fn uri(data: &[u8]) {
    let Ok(uri) = Uri::parse(data) else { return };
    let _ = (uri.is_lr(), uri.ip(), uri.unescaped_user());
    for part in [uri.user, uri.host, uri.host_port, uri.params, uri.headers] {
        assert!(part.is_empty() || data.windows(part.len()).any(|window| window == part));
    }
    assert!(uri.unescaped_user().len() <= uri.user.len());
    assert!(Params::new(uri.params).all(|param| uri.params.get(param.span.clone()).is_some()));
}

/// One header value, read as each of the typed headers.
pub fn headers(data: &[u8]) {
    if let Ok(via) = Via::parse(data, 0) {
        let _ = (
            via.received_ip(),
            via.host_ip(),
            via.response_address(),
            via.has_rfc3261_branch(),
        );
        assert!(
            via.params()
                .all(|param| data.get(param.span.clone()).is_some())
        );
        assert!(!via.host.is_empty() && !via.transport.is_empty());
    }
    if let Ok(address) = NameAddr::parse(data) {
        assert!(!address.uri.is_empty());
        let _ = (
            address.parsed_uri(),
            address.is_strict(),
            address.params().count(),
        );
    }
    if let Ok(contact) = Contact::parse(data) {
        assert!(contact.q_thousandths <= 1_000 && contact.address.parsed_uri().is_ok());
    }
    if let Ok(cseq) = CSeq::parse(data) {
        assert!(cseq.number < 1 << 31 && !cseq.method_bytes.is_empty());
    }
    let _ = Name::from_bytes(data);
}
