//! Whether a message is as it must be: what a server changed that it may not, or left out.

use std::net::SocketAddr;

use super::ident::{Letter, Written, branch};
use super::plan::Checks;
use crate::message::{Message, Method, Name, NameAddr, Via};

macro_rules! wrongs {
    ($($variant:ident $name:literal $text:literal;)*) => {
        /// What is wrong with a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Wrong {
            $(#[doc = $text] $variant,)*
        }

        impl Wrong {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name on the command line and in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What was found, for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

wrongs! {
    Via "via" "the Via is not ours alone, or was changed";
    CallId "call-id" "the Call-ID is not the call's";
    CSeq "cseq" "the CSeq is not the request's";
    FromTag "from-tag" "the From tag is not the caller's, or a NOTIFY's not the dialog's";
    ToTag "to-tag" "the To tag is missing, or not the callee's, or a NOTIFY's not the caller's";
    RouteSet "route-set" "the Record-Routes are not those the callee copied, or not in their order";
    LeftRoute "left-route" "a Route is left that the proxy should have removed";
    Contact "contact" "the Contact is missing, or not the one that was sent";
    RequestUri "request-uri" "the Request-URI of a request in the dialog is not the Contact it goes to";
    MaxForwards "max-forwards" "Max-Forwards was not counted down";
    Length "content-length" "the Content-Length is not the body's";
    Body "body" "the body was changed";
    Place "place" "the call arrived at another address than it should";
    Order "order" "a request overtook the one before it";
    HungUp "hung-up" "the server hung up, or ended the subscription, before the caller did";
    Lost "lost" "the ACK or the BYE never reached the callee";
    Cancel "cancel" "the CANCEL was refused";
    Expires "expires" "the 200 to a SUBSCRIBE has no Expires, or grants more than was asked for";
    Event "event" "the Event of a NOTIFY is not the one that was subscribed to";
    State "state" "the Subscription-State of a NOTIFY is neither active nor terminated";
}

impl Wrong {
    /// The check of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|wrong| wrong.name() == name)
    }
}

/// The first thing that is wrong.
pub(super) type Checked = Result<(), Wrong>;

/// What a response must answer.
pub(super) struct Asked<'a> {
    /// The call.
    pub ident: &'a Written,
    /// Which transaction of it.
    pub letter: Letter,
    /// The request's CSeq.
    pub cseq: (u32, Method),
    /// `host:port` of the Via.
    pub local: &'a [u8],
    /// The same as an address.
    pub address: SocketAddr,
    /// The transport of the Via.
    pub transport: &'a [u8],
    /// The To tag, of a request in a dialog.
    pub to_tag: Option<&'a [u8]>,
}

/// A response to a request of ours: Via, Call-ID, CSeq, tags and length.
pub(super) fn response(message: &Message<'_>, asked: &Asked<'_>, checks: Checks) -> Checked {
    unless(checks, Wrong::Via, || is_our_via(message, asked))?;
    unless(checks, Wrong::CallId, || {
        message.call_id() == Ok(asked.ident.as_slice())
    })?;
    unless(checks, Wrong::CSeq, || {
        message
            .cseq()
            .is_ok_and(|cseq| (cseq.number, cseq.method) == asked.cseq)
    })?;
    unless(checks, Wrong::FromTag, || {
        message
            .from_()
            .is_ok_and(|from| from.tag == Some(asked.ident))
    })?;
    unless(checks, Wrong::ToTag, || {
        let is_it = |tag: &[u8]| asked.to_tag.is_none_or(|sent| sent == tag);
        let tag = message.to().ok().and_then(|to| to.tag);
        message.status() == Some(100) || tag.is_some_and(is_it)
    })?;
    length(message, checks)
}

/// Whether the one Via is the one we sent; `received` and `rport` may have been filled in, with
/// the truth (RFC 3261 §18.2.1, RFC 3581 §4).
fn is_our_via(message: &Message<'_>, asked: &Asked<'_>) -> bool {
    let Ok(via) = message.top_via() else {
        return false;
    };
    let ours = branch(asked.ident, asked.letter);
    // A connection comes from another port than the one that is listened on.
    let is_stream = asked.transport != b"UDP";
    let known = via.params().all(|param| match param.name.len() {
        5 if param.is(b"rport") => true,
        6 if param.is(b"branch") => true,
        8 if param.is(b"received") => true,
        _ => false,
    });
    known
        && via.branch == ours
        && is_sip_2(&via)
        && via.transport.eq_ignore_ascii_case(asked.transport)
        && is_sent_by(&via, asked.local)
        && (is_stream
            || via
                .rport
                .flatten()
                .is_none_or(|port| port == asked.address.port()))
        && (via.received.is_none() || via.received_ip() == Some(asked.address.ip()))
        && is_alone(message)
}

/// Whether it begins with `SIP/2.0/`, blanks beside the slashes not counted (RFC 3261 §25.1).
fn is_sip_2(via: &Via<'_>) -> bool {
    let mut bytes = via.bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    b"SIP/2.0/".iter().all(|wanted| {
        bytes
            .next()
            .is_some_and(|byte| byte.eq_ignore_ascii_case(wanted))
    })
}

/// Whether host and port are those of `local`, which is written `host:port`.
fn is_sent_by(via: &Via<'_>, local: &[u8]) -> bool {
    let Some(colon) = memchr::memrchr(b':', local) else {
        return false;
    };
    let (host, port) = local.split_at(colon);
    let host = host
        .strip_prefix(b"[")
        .and_then(|host| host.strip_suffix(b"]"))
        .unwrap_or(host);
    let port = std::str::from_utf8(port.get(1..).unwrap_or_default());
    via.host.eq_ignore_ascii_case(host)
        && via.port.is_some()
        && port.ok().and_then(|port| port.parse().ok()) == via.port
}

/// Whether there is one Via and no more.
fn is_alone(message: &Message<'_>) -> bool {
    message.count(Name::Via) == 1
        && message
            .header(Name::Via)
            .is_some_and(|via| memchr::memchr(b',', via.value).is_none())
}

/// Content-Length, where it is there (over UDP it may be missing, RFC 3261 §20.14).
pub(super) fn length(message: &Message<'_>, checks: Checks) -> Checked {
    unless(checks, Wrong::Length, || {
        let Some(header) = message.header(Name::ContentLength) else {
            return true;
        };
        let text = std::str::from_utf8(header.value).ok();
        text.and_then(|text| text.parse().ok()) == Some(message.body().len())
    })
}

/// A request that the callee receives: it is the caller's, with the proxy's marks on it.
///
/// `sent` is the Max-Forwards that the caller put there.
pub(super) fn request(
    message: &Message<'_>,
    ident: &Written,
    sent: Option<u8>,
    checks: Checks,
) -> Checked {
    unless(checks, Wrong::Via, || message.top_via().is_ok())?;
    unless(checks, Wrong::CallId, || {
        message.call_id() == Ok(ident.as_slice())
    })?;
    unless(checks, Wrong::FromTag, || {
        message.from_().is_ok_and(|from| from.tag == Some(ident))
    })?;
    unless(checks, Wrong::MaxForwards, || {
        is_counted_down(message, sent)
    })?;
    length(message, checks)
}

/// Whether each proxy that put its Via on the request took one from Max-Forwards. What the last
/// hop made itself (a CANCEL, the ACK to a failure) has nothing to count down, and may have none:
/// RFC 2543 knew no such header.
fn is_counted_down(message: &Message<'_>, sent: Option<u8>) -> bool {
    let hops = message.values(Name::Via).count().saturating_sub(1);
    match message.max_forwards() {
        Ok(Some(left)) => {
            hops == 0 || sent.is_none_or(|sent| usize::from(left) + hops <= sent.into())
        }
        Ok(None) => hops == 0,
        Err(_) => false,
    }
}

/// What a NOTIFY must be.
pub(super) struct Notified<'a> {
    /// The subscription.
    pub ident: &'a Written,
    /// The Contact that was subscribed with, where it is known.
    pub contact: Option<&'a [u8]>,
    /// The notifier's tag, where it is known.
    pub tag: Option<&'a [u8]>,
    /// The package, where it is known.
    pub event: Option<&'a [u8]>,
    /// The CSeq number of the NOTIFY before it.
    pub after: Option<u32>,
}

/// A NOTIFY: it is of the subscription's dialog, newer than the one before it, about what was
/// subscribed to.
pub(super) fn notify(message: &Message<'_>, asked: &Notified<'_>, checks: Checks) -> Checked {
    unless(checks, Wrong::Via, || message.top_via().is_ok())?;
    unless(checks, Wrong::CallId, || {
        message.call_id() == Ok(asked.ident.as_slice())
    })?;
    unless(checks, Wrong::CSeq, || {
        message.cseq().is_ok_and(|cseq| {
            cseq.method == Method::Notify && asked.after.is_none_or(|after| after < cseq.number)
        })
    })?;
    unless(checks, Wrong::FromTag, || {
        let tag = message.from_().ok().and_then(|from| from.tag);
        tag.is_some_and(|tag| asked.tag.is_none_or(|known| known == tag))
    })?;
    let contact = asked.contact.unwrap_or(message.uri());
    in_dialog(message, contact, asked.ident, checks)?;
    unless(checks, Wrong::Event, || {
        let event = message.header(Name::Event);
        event.is_some_and(|event| asked.event.is_none_or(|known| known == token(event.value)))
    })?;
    unless(checks, Wrong::State, || {
        state(message).eq_ignore_ascii_case(b"active") || is_terminated(message)
    })?;
    length(message, checks)
}

/// Whether a NOTIFY is the last of its subscription.
pub(super) fn is_terminated(message: &Message<'_>) -> bool {
    state(message).eq_ignore_ascii_case(b"terminated")
}

fn state<'a>(message: &Message<'a>) -> &'a [u8] {
    let state = message.header(Name::SubscriptionState);
    state.map_or(&[][..], |state| token(state.value))
}

/// A value without its parameters.
fn token(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    value.get(..end).unwrap_or(value).trim_ascii()
}

/// The 200 to a SUBSCRIBE: it grants as many seconds as were asked for, or fewer, not none
/// (RFC 6665 §4.2.1.1).
pub(super) fn granted(message: &Message<'_>, asked_s: Option<u32>, checks: Checks) -> Checked {
    unless(checks, Wrong::Expires, || {
        let granted_s = message.expires_s();
        granted_s.is_some_and(|granted_s| {
            asked_s.is_none_or(|asked_s| granted_s <= asked_s && (granted_s > 0) == (asked_s > 0))
        })
    })
}

/// A request within the dialog: its Request-URI is the receiver's Contact and no Route is left.
pub(super) fn in_dialog(
    message: &Message<'_>,
    contact: &[u8],
    to_tag: &[u8],
    checks: Checks,
) -> Checked {
    unless(checks, Wrong::RequestUri, || message.uri() == contact)?;
    unless(checks, Wrong::LeftRoute, || message.count(Name::Route) == 0)?;
    unless(checks, Wrong::ToTag, || {
        message.to().is_ok_and(|to| to.tag == Some(to_tag))
    })
}

/// The URI of the first Contact.
pub(super) fn contact_uri<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let contact = message.values(Name::Contact).next()?;
    Some(NameAddr::parse(contact.bytes).ok()?.uri)
}

/// `Err(wrong)` unless the condition holds, or nobody wants to know.
#[inline]
pub(super) fn unless(checks: Checks, wrong: Wrong, holds: impl FnOnce() -> bool) -> Checked {
    if checks.wants(wrong) && !holds() {
        return Err(wrong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ident::Ident;
    use super::*;
    use crate::message::Index;

    const SEED: u32 = 0xabcdef;

    fn ident() -> Written {
        let ident = Ident {
            thread: 0,
            slot: 1,
            generation: 2,
        };
        ident.write(SEED)
    }

    fn check(edit: impl FnOnce(String) -> String) -> Checked {
        let id = String::from_utf8(ident().to_vec()).unwrap();
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bK{id}i;rport\r\n\
             From: \"B\" <sip:b@x>;tag={id}\r\nTo: <sip:a@x>;tag=t\r\nCall-ID: {id}\r\n\
             CSeq: 1 INVITE\r\nContent-Length: 3\r\n\r\nabc"
        );
        let text = edit(text);
        let mut index = Index::new();
        let message = index.parse(text.as_bytes()).unwrap();
        let asked = Asked {
            ident: &ident(),
            letter: Letter::Invite,
            cseq: (1, Method::Invite),
            local: b"127.0.0.1:5071",
            address: "127.0.0.1:5071".parse().unwrap(),
            transport: b"UDP",
            to_tag: None,
        };
        response(&message, &asked, Checks::ALL)
    }

    #[test]
    fn a_right_answer_passes_with_what_may_be_filled_in() {
        assert_eq!(check(|text| text), Ok(()));
        for rport in [
            ";rport=5071;received=127.0.0.1",
            ";received=127.0.0.1;rport=5071",
            "",
        ] {
            assert_eq!(check(|text| text.replace(";rport", rport)), Ok(()));
        }
        assert_eq!(check(|t| t.replace("5071;branch", "5071 ;branch")), Ok(()));
        assert_eq!(check(|text| text.replace("Via:", "v:")), Ok(()));
        // What is equal however it is written (RFC 3261 §7.3.1, §20.42, §25.1).
        for (from, to) in [
            ("SIP/2.0/UDP", "SIP / 2.0 / UDP"),
            ("SIP/2.0/UDP", "sip/2.0/udp"),
            (";branch=", " ; BRANCH = "),
            ("127.0.0.1:5071", "127.0.0.1 : 5071"),
        ] {
            assert_eq!(check(|text| text.replacen(from, to, 1)), Ok(()), "{to}");
        }
    }

    #[test]
    fn each_kind_of_wrong_answer_is_told() {
        let cases: [(&str, &str, Wrong); 16] = [
            ("127.0.0.1:5071", "127.0.0.1:5072", Wrong::Via),
            ("127.0.0.1:5071", "10.127.0.0.1:5071", Wrong::Via),
            ("SIP/2.0/UDP", "SIP/2.0/TCP", Wrong::Via),
            ("2i;", "2b;", Wrong::Via),
            (";rport", ";rport=5072", Wrong::Via),
            (";rport", ";received=10.0.0.1", Wrong::Via),
            (";rport", ";ttl=1", Wrong::Via),
            (
                "\r\nFrom",
                "\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom",
                Wrong::Via,
            ),
            (
                ";rport\r\n",
                ";rport, SIP/2.0/UDP a;branch=z9hG4bK1\r\n",
                Wrong::Via,
            ),
            ("Call-ID: ", "Call-ID: x", Wrong::CallId),
            ("CSeq: 1 ", "CSeq: 2 ", Wrong::CSeq),
            ("1 INVITE", "1 BYE", Wrong::CSeq),
            ("@x>;tag=abcdef", "@x>;tag=abcdee", Wrong::FromTag),
            (";tag=t\r\n", "\r\n", Wrong::ToTag),
            ("Content-Length: 3", "Content-Length: 4", Wrong::Length),
            ("Content-Length: 3", "Content-Length: x", Wrong::Length),
        ];
        for (from, to, wrong) in cases {
            assert_eq!(check(|text| text.replacen(from, to, 1)), Err(wrong), "{to}");
        }
    }

    #[test]
    fn a_100_needs_no_tag_and_a_datagram_no_length() {
        let trying = |text: String| {
            text.replace(";tag=t\r\n", "\r\n")
                .replace("200 OK", "100 T")
        };
        assert_eq!(check(trying), Ok(()));
        assert_eq!(check(|t| t.replace("Content-Length: 3\r\n", "")), Ok(()));
    }

    #[test]
    fn what_a_hop_made_itself_is_not_counted_down() {
        let via = "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bKp\r\n";
        let cases = [
            ("CANCEL", 1, "", true),
            ("CANCEL", 1, "Max-Forwards: 70\r\n", true),
            ("INVITE", 2, "Max-Forwards: 69\r\n", true),
            ("INVITE", 2, "Max-Forwards: 70\r\n", false),
            ("INVITE", 2, "", false),
            ("CANCEL", 1, "Max-Forwards: x\r\n", false),
        ];
        for (method, vias, limit, is_right) in cases {
            let id = String::from_utf8(ident().to_vec()).unwrap();
            let text = format!(
                "{method} sip:a@x SIP/2.0\r\n{}{limit}From: <sip:b@x>;tag={id}\r\nTo: <sip:a@x>\r\n\
                 Call-ID: {id}\r\nCSeq: 1 {method}\r\n\r\n",
                via.repeat(vias)
            );
            let mut index = Index::new();
            let message = index.parse(text.as_bytes()).unwrap();
            let checked = request(&message, &ident(), Some(70), Checks::ALL);
            assert_eq!(checked.is_ok(), is_right, "{text}");
        }
    }

    #[test]
    fn every_check_has_its_name() {
        for wrong in Wrong::ALL {
            assert_eq!(Wrong::from_name(wrong.name()), Some(*wrong));
            assert!(!wrong.text().is_empty());
        }
        const { assert!(Wrong::COUNT <= 32) };
    }
}
