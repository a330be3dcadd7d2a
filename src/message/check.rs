//! Whether a framed message may be processed (RFC 3261 §16.3 steps 1 and 2, §16.7, §18.3).

use super::address::NameAddr;
use super::fault::Fault;
use super::lexeme::{Elements, number, part};
use super::limits;
use super::name::{Method, Name};
use super::scan;
use super::start::Start;
use super::uri::{Scheme, has_illegal_byte};
use super::via::{Branch, MAGIC_COOKIE};
use super::view::Message;

/// Checks the parts a proxy needs, and no others: RFC 3261 §16.3(1) forbids to refuse a message for
/// a field that is not needed to forward it. The first fault found is the one to answer with; a
/// response with a fault is dropped, for what it says about the call is not to be trusted.
pub fn check(message: &Message<'_>) -> Result<(), Fault> {
    message.checked_by(all)
}

fn all(message: &Message<'_>) -> Result<(), Fault> {
    framing(message)?;
    lines(message)?;
    let scheme = request_uri(message)?;
    singletons(message)?;
    vias(message)?;
    parties(message)?;
    call_id(message)?;
    cseq(message)?;
    content_length(message)?;
    if message.method().is_none() {
        return Ok(());
    }
    message.max_forwards()?;
    values(message)?;
    match scheme {
        Some(Scheme::Other) => Err(Fault::UnsupportedUriScheme),
        _ => Ok(()),
    }
}

/// The version comes first: what another version calls malformed is not ours to say.
fn framing(message: &Message<'_>) -> Result<(), Fault> {
    let start = message.start_fault();
    let version = start.filter(|fault| *fault == Fault::UnsupportedVersion);
    version
        .or(message.framing_fault())
        .or(start)
        .map_or(Ok(()), Err)
}

/// A CR that ends no line ends one for some peers: they would see a header that we do not.
fn lines(message: &Message<'_>) -> Result<(), Fault> {
    let bytes = message.bytes();
    if message.has_bare_return() {
        return Err(Fault::MalformedHeader);
    }
    if message.lines_count() > limits::HEADERS {
        return Err(Fault::TooManyHeaders);
    }
    if message.headers_end() > limits::HEADER_BYTES && message.longest_line() > limits::HEADER_BYTES
    {
        return Err(Fault::HeaderTooLong);
    }
    if bytes.len() > limits::MESSAGE_BYTES && message.method().is_some() {
        return Err(Fault::MessageTooLarge);
    }
    Ok(())
}

/// Header fields in a Request-URI would become headers of whoever receives it (RFC 3261 §19.1.1).
fn request_uri(message: &Message<'_>) -> Result<Option<Scheme>, Fault> {
    if message.method().is_none() {
        return Ok(None);
    }
    let bytes = message.uri();
    if bytes.len() > limits::URI_BYTES {
        return Err(Fault::UriTooLong);
    }
    let uri = message.parsed_uri();
    let uri = uri.map_err(|_| Fault::MalformedRequestUri)?;
    let is_sip = matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
    if has_illegal_byte(bytes) || (is_sip && uri.has_question) {
        return Err(Fault::MalformedRequestUri);
    }
    Ok(Some(uri.scheme))
}

fn singletons(message: &Message<'_>) -> Result<(), Fault> {
    let required = [
        (Name::From, Fault::MissingFrom, Fault::DuplicateFrom),
        (Name::To, Fault::MissingTo, Fault::DuplicateTo),
        (Name::CallId, Fault::MissingCallId, Fault::DuplicateCallId),
        (Name::CSeq, Fault::MissingCSeq, Fault::DuplicateCSeq),
    ];
    if message.count(Name::Via) == 0 {
        return Err(Fault::MissingVia);
    }
    for (name, missing, duplicate) in required {
        match message.count(name) {
            0 => return Err(missing),
            1 => {}
            _ => return Err(duplicate),
        }
    }
    if message.count(Name::MaxForwards) > 1 {
        return Err(Fault::DuplicateMaxForwards);
    }
    let read = [
        Name::ContentType,
        Name::Expires,
        Name::Event,
        Name::SessionExpires,
        Name::MinSe,
        Name::SipIfMatch,
    ];
    if read.iter().any(|name| message.count(*name) > 1) {
        return Err(Fault::DuplicateHeader);
    }
    Ok(())
}

/// All elements are read: responses go back along them, those above us as well as the one that is
/// cut out. An unclear branch matters only where it tells transactions apart: at the top, and in a
/// response at the one beneath, which is on top at the next hop.
fn vias(message: &Message<'_>) -> Result<(), Fault> {
    let (limit, telling) = match message.method() {
        Some(_) => (limits::VIAS, 1),
        None => (limits::VIAS + 1, 2),
    };
    let mut count = 0;
    let mut tells = || {
        count += 1;
        match count > limit {
            true => Err(Fault::TooManyVias),
            false => Ok(count <= telling),
        }
    };
    for header in message.headers(Name::Via) {
        if let Some(found) = message.lone_branch_of(&header) {
            branch(&found, tells()?)?;
            continue;
        }
        for element in Elements::new(header.value) {
            let tells = tells()?;
            let offset = header.value_span.start + element.start;
            let via = message.via_at(part(header.value, element), offset)?;
            branch(&via.told(), tells)?;
        }
    }
    Ok(())
}

fn branch(branch: &Branch<'_>, tells: bool) -> Result<(), Fault> {
    if branch.bytes.len() > limits::BRANCH_BYTES {
        return Err(Fault::BranchTooLong);
    }
    let is_bare = branch.bytes == MAGIC_COOKIE || branch.is_unclear;
    match tells && is_bare || has_illegal_byte(branch.bytes) {
        true => Err(Fault::MalformedVia),
        false => Ok(()),
    }
}

fn parties(message: &Message<'_>) -> Result<(), Fault> {
    party(&message.from_()?, Fault::MalformedFrom, Fault::TwoFromTags)?;
    party(&message.to()?, Fault::MalformedTo, Fault::TwoToTags)
}

fn party(address: &NameAddr<'_>, malformed: Fault, two_tags: Fault) -> Result<(), Fault> {
    let is_sound = address.sound
        || address.is_strict() && !has_illegal_byte(address.uri) && address.parsed_uri().is_ok();
    if !is_sound {
        return Err(malformed);
    }
    match (address.tag, address.tags) {
        (None, 0) => Ok(()),
        (None, _) => Err(malformed),
        (Some(tag), _) if !address.sound && (!tag.is_ascii() || has_illegal_byte(tag)) => {
            Err(malformed)
        }
        (_, 2..) => Err(two_tags),
        (Some(tag), _) if tag.len() > limits::TAG_BYTES => Err(Fault::TagTooLong),
        _ => Ok(()),
    }
}

/// A Call-ID is one or two words: no blank, which a fold would be too, and no control byte.
fn call_id(message: &Message<'_>) -> Result<(), Fault> {
    let call_id = message.call_id()?;
    if call_id.len() > limits::CALL_ID_BYTES {
        return Err(Fault::CallIdTooLong);
    }
    let is_illegal = |block: scan::Block| block.is_at_most(b' ').or(block.is(0x7f));
    match scan::any(call_id, is_illegal) {
        false => Ok(()),
        true => Err(Fault::MalformedCallId),
    }
}

fn cseq(message: &Message<'_>) -> Result<(), Fault> {
    let cseq = message.cseq()?;
    match message.start() {
        Start::Request {
            method,
            method_bytes,
            ..
        } if method_bytes != cseq.method_bytes => Err(match method {
            Method::Other => Fault::UnknownMethodMismatch,
            _ => Fault::CSeqMethodMismatch,
        }),
        _ => Ok(()),
    }
}

/// How many values a request has of what we may have to walk through.
fn values(message: &Message<'_>) -> Result<(), Fault> {
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        if message.count(name) > limits::CREDENTIALS {
            return Err(Fault::TooManyCredentials);
        }
    }
    if has_more(message, Name::Route, limits::ROUTES) {
        return Err(Fault::TooManyRoutes);
    }
    if has_more(message, Name::Contact, limits::CONTACTS) {
        return Err(Fault::TooManyContacts);
    }
    Ok(())
}

/// Whether there are more values than the limit. Lists that are too short for it are not read: a
/// value and its comma have at least two bytes.
fn has_more(message: &Message<'_>, name: Name, limit: usize) -> bool {
    let bytes: usize = message
        .headers(name)
        .map(|header| header.value.len() + 1)
        .sum();
    bytes > 2 * limit && message.values(name).count() > limit
}

/// Two that agree do no harm; two that disagree would frame the message differently for the next
/// hop.
fn content_length(message: &Message<'_>) -> Result<(), Fault> {
    let mut lengths = message
        .headers(Name::ContentLength)
        .map(|header| number(header.value));
    let Some(first) = lengths.next() else {
        return Ok(());
    };
    let length = first.ok_or(Fault::MalformedContentLength)?;
    for other in lengths {
        if other.ok_or(Fault::MalformedContentLength)? != length {
            return Err(Fault::ConflictingContentLength);
        }
    }
    let held = message.bytes().len() - message.body_at();
    if length > held as u64 {
        Err(Fault::ContentLengthTooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    const GOOD: &str = "INVITE sip:b@example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\n\
        Max-Forwards: 70\r\n\
        From: <sip:a@example.com>;tag=1\r\n\
        To: <sip:b@example.com>\r\n\
        Call-ID: 1@a\r\n\
        CSeq: 1 INVITE\r\n\
        Content-Length: 0\r\n\r\n";

    fn checked(text: &str) -> Result<(), Fault> {
        check(&Index::new().parse(text.as_bytes()).unwrap())
    }

    fn with(from: &str, to: &str) -> Result<(), Fault> {
        assert!(GOOD.contains(from));
        checked(&GOOD.replacen(from, to, 1))
    }

    #[test]
    fn a_good_request_passes() {
        assert_eq!(checked(GOOD), Ok(()));
        assert_eq!(with("Max-Forwards: 70\r\n", ""), Ok(()));
        assert_eq!(with("Content-Length: 0\r\n", ""), Ok(()));
        assert_eq!(with(";branch=z9hG4bK1", ""), Ok(()));
    }

    #[test]
    fn required_headers_are_there_exactly_once() {
        let lines = [
            (
                "From: <sip:a@example.com>;tag=1\r\n",
                Fault::MissingFrom,
                Fault::DuplicateFrom,
            ),
            (
                "To: <sip:b@example.com>\r\n",
                Fault::MissingTo,
                Fault::DuplicateTo,
            ),
            (
                "Call-ID: 1@a\r\n",
                Fault::MissingCallId,
                Fault::DuplicateCallId,
            ),
            (
                "CSeq: 1 INVITE\r\n",
                Fault::MissingCSeq,
                Fault::DuplicateCSeq,
            ),
        ];
        for (line, missing, duplicate) in lines {
            assert_eq!(with(line, ""), Err(missing));
            assert_eq!(with(line, &line.repeat(2)), Err(duplicate));
        }
        let via = "Via: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\n";
        assert_eq!(with(via, ""), Err(Fault::MissingVia));
        let hops = "Max-Forwards: 70\r\n";
        assert_eq!(
            with(hops, &hops.repeat(2)),
            Err(Fault::DuplicateMaxForwards)
        );
    }

    #[test]
    fn the_request_line_is_judged_by_name() {
        assert_eq!(
            with("SIP/2.0\r", "SIP/3.0\r"),
            Err(Fault::UnsupportedVersion)
        );
        assert_eq!(
            with("sip:b@", "nobody:b@"),
            Err(Fault::UnsupportedUriScheme)
        );
        assert_eq!(with("sip:b@", "sip:b c@"), Err(Fault::MalformedRequestUri));
        assert_eq!(
            with("sip:b@example.com", "<sip:b@h>"),
            Err(Fault::MalformedRequestUri)
        );
        assert_eq!(
            with("INVITE sip", "INVITE  sip"),
            Err(Fault::MalformedRequestLine)
        );
        assert_eq!(with("sip:b@example.com", "tel:+4930"), Ok(()));
        assert_eq!(with("sip:b@example.com", "urn:service:sos"), Ok(()));
        assert_eq!(Fault::UnsupportedVersion.status(), 505);
        assert_eq!(Fault::UnsupportedUriScheme.status(), 416);
    }

    #[test]
    fn cseq_is_a_small_number_and_the_method() {
        assert_eq!(
            with("1 INVITE\r\nC", "1 BYE\r\nC"),
            Err(Fault::CSeqMethodMismatch)
        );
        assert_eq!(with("1 INVITE\r\nC", "2147483647 INVITE\r\nC"), Ok(()));
        for number in ["2147483648", "4294967296", "36893488147419103232"] {
            let line = format!("{number} INVITE\r\nC");
            assert_eq!(with("1 INVITE\r\nC", &line), Err(Fault::CSeqOutOfRange));
        }
        for text in [
            "INVITE\r\nC",
            "-1 INVITE\r\nC",
            "1INVITE\r\nC",
            "1\r\nC",
            "\r\nC",
        ] {
            assert_eq!(
                with("1 INVITE\r\nC", text),
                Err(Fault::MalformedCSeq),
                "{text:?}"
            );
        }
    }

    #[test]
    fn content_length_is_one_number_within_the_datagram() {
        let length = |text: &str| with("Content-Length: 0", text);
        assert_eq!(
            length("Content-Length: -1"),
            Err(Fault::MalformedContentLength)
        );
        assert_eq!(
            length("Content-Length: 1"),
            Err(Fault::ContentLengthTooLong)
        );
        let overflow = "Content-Length: 18446744073709551616";
        assert_eq!(length(overflow), Err(Fault::MalformedContentLength));
        let conflict = "Content-Length: 0\r\nl: 1";
        assert_eq!(length(conflict), Err(Fault::ConflictingContentLength));
        assert_eq!(length("Content-Length: 0\r\nl: 00"), Ok(()));
    }

    #[test]
    fn max_forwards_is_a_byte() {
        assert_eq!(with(": 70", ": 0068"), Ok(()));
        for text in [": 300", ": -1", ": x", ":"] {
            assert_eq!(with(": 70", text), Err(Fault::MalformedMaxForwards));
        }
    }

    #[test]
    fn parties_have_balanced_quotes_and_one_tag() {
        assert_eq!(with("To: <", "To: \"x <"), Err(Fault::MalformedTo));
        assert_eq!(with("From: <", "From: \"x <"), Err(Fault::MalformedFrom));
        assert_eq!(with(";tag=1", ";tag=1;tag=2"), Err(Fault::TwoFromTags));
        assert_eq!(
            with("com>\r\nCall", "com>;tag=1;TAG=1\r\nCall"),
            Err(Fault::TwoToTags)
        );
        assert_eq!(with("To: <", "To: \";tag=1;tag=2\" <"), Ok(()));
    }

    #[test]
    fn the_top_via_line_is_a_via_list() {
        assert_eq!(
            with("SIP/2.0/UDP a.example.com", "x"),
            Err(Fault::MalformedVia)
        );
        assert_eq!(with("bK1", "bK1;;,;,,"), Err(Fault::MalformedVia));
        assert_eq!(with("bK1", "bK"), Err(Fault::MalformedVia));
        assert_eq!(
            with("a.example.com", "a.example.com:99999"),
            Err(Fault::MalformedVia)
        );
        assert_eq!(with("bK1", "bK1, SIP/2.0/TCP [::1]:5060;branch=2"), Ok(()));
    }

    #[test]
    fn the_first_via_too_many_is_one_whatever_is_in_it() {
        let via = "Via: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\n";
        let full = via.repeat(limits::VIAS);
        assert_eq!(with(via, &full), Ok(()));
        for more in [
            via,
            "Via: x\r\n",
            "Via: SIP/2.0/UDP a;branch=z9hG4bK1, x\r\n",
        ] {
            let fault = Err(Fault::TooManyVias);
            assert_eq!(with(via, &format!("{full}{more}")), fault, "{more}");
        }
    }
}
