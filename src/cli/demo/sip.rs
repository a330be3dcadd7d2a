//! Messages of the simulated phones, made and read with `rsip`.
//!
//! `rsip` has the headers. The start line is ours: `rsip` refuses a `tel:` Request-URI and writes
//! reason phrases of its own.

use rsip::Header;
use rsip::headers::{self, UntypedHeader};
use rsip::prelude::{HasHeaders, HeadersExt, ToTypedHeader};

/// What a call carries, so that INVITE and 200 are whole.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 8\r\n";

/// A message that came in.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub start: Start,
    head: rsip::Response,
}

/// The first line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: String, uri: String },
    Response { status: u16, phrase: String },
}

impl Message {
    /// Reads a datagram; `None` where it is no SIP message.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let (first, rest) = bytes.split_at_checked(end)?;
        let start = Start::read(std::str::from_utf8(first).ok()?)?;
        let neutral = [b"SIP/2.0 200 OK", rest].concat();
        let head = rsip::Response::try_from(neutral).ok()?;
        Some(Self { start, head })
    }

    /// The status code of a response.
    pub(super) fn status(&self) -> Option<u16> {
        match &self.start {
            Start::Response { status, .. } => Some(*status),
            Start::Request { .. } => None,
        }
    }

    /// The branch of the topmost Via.
    pub(super) fn branch(&self) -> Option<String> {
        let via = self.head.via_header().ok()?.typed().ok()?;
        via.branch().map(|branch| branch.value().to_owned())
    }

    /// The CSeq's method in a response, whose start line has none.
    pub(super) fn cseq_method(&self) -> Option<rsip::Method> {
        Some(self.head.cseq_header().ok()?.typed().ok()?.method)
    }

    /// The Call-ID.
    pub(super) fn call_id(&self) -> &str {
        self.head.call_id_header().map_or("", |id| id.value())
    }

    /// The From header's value.
    pub(super) fn from(&self) -> &str {
        self.head.from_header().map_or("", |from| from.value())
    }

    /// The To header's value.
    pub(super) fn to(&self) -> &str {
        self.head.to_header().map_or("", |to| to.value())
    }

    /// The tag of the To header.
    pub(super) fn to_tag(&self) -> Option<String> {
        let to = self.head.to_header().ok()?.typed().ok()?;
        to.tag().map(|tag| tag.value().to_owned())
    }

    /// The first Contact's URI and display name.
    pub(super) fn contact(&self) -> Option<Contact> {
        let value = self.head.contact_header().ok()?.value();
        let (display, rest) = value.split_once('<')?;
        let (uri, _) = rest.split_once('>')?;
        Some(Contact {
            uri: uri.to_owned(),
            name: display.trim().trim_matches('"').to_owned(),
        })
    }

    /// The URIs of the Record-Route headers, topmost first.
    pub(super) fn record_routes(&self) -> Vec<String> {
        let values = self
            .head
            .headers()
            .iter()
            .filter_map(|header| match header {
                Header::RecordRoute(routes) => Some(routes.value()),
                _ => None,
            });
        values
            .flat_map(|value| value.split('<').skip(1))
            .filter_map(|part| Some(part.split_once('>')?.0.to_owned()))
            .collect()
    }

    /// The value of a header that `rsip` has no type for.
    pub(super) fn other(&self, name: &str) -> Option<&str> {
        self.head.headers().iter().find_map(|header| match header {
            Header::Other(key, value) if key.eq_ignore_ascii_case(name) => Some(value.as_str()),
            _ => None,
        })
    }

    /// A response to this request: it goes back the way it came (RFC 3261 §8.2.6).
    pub(super) fn respond(&self, reply: &Reply<'_>) -> Vec<u8> {
        let mut lines: Vec<Header> = Vec::new();
        for header in self.head.headers().iter() {
            match header {
                Header::To(to) if self.to_tag().is_none() && reply.status > 100 => {
                    let tagged = format!("{};tag={}", to.value(), reply.tag);
                    lines.push(headers::To::new(tagged).into());
                }
                Header::Via(_)
                | Header::From(_)
                | Header::To(_)
                | Header::CallId(_)
                | Header::CSeq(_)
                | Header::RecordRoute(_) => lines.push(header.clone()),
                _ => {}
            }
        }
        if let Some(contact) = &reply.contact {
            lines.push(headers::Contact::new(contact.as_str()).into());
        }
        let first = format!("SIP/2.0 {} {}", reply.status, reply.phrase);
        write(&first, lines, reply.has_body)
    }
}

impl Start {
    fn read(line: &str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
            let (code, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
            let (status, phrase) = (code.parse().ok()?, phrase.to_owned());
            return Some(Self::Response { status, phrase });
        }
        let (method, rest) = line.split_once(' ')?;
        let (uri, _) = rest.split_once(' ')?;
        let (method, uri) = (method.to_owned(), uri.to_owned());
        Some(Self::Request { method, uri })
    }
}

/// Where the other side wants to be reached, and how it calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contact {
    pub uri: String,
    pub name: String,
}

/// What a response says.
pub(super) struct Reply<'a> {
    pub status: u16,
    pub phrase: &'a str,
    /// Our tag.
    pub tag: &'a str,
    /// The whole value of Contact.
    pub contact: Option<String>,
    pub has_body: bool,
}

/// What a request says.
pub(super) struct Request {
    pub method: rsip::Method,
    pub uri: String,
    /// Our address, and the branch.
    pub via: (std::net::SocketAddr, String),
    /// The whole values of From and To, with tags.
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    /// URIs, next hop first.
    pub routes: Vec<String>,
    /// The whole value of Contact.
    pub contact: Option<String>,
    /// Headers that `rsip` has no type for.
    pub others: Vec<(&'static str, String)>,
}

impl Request {
    /// The bytes on the wire. INVITEs carry an offer.
    pub(super) fn write(self) -> Vec<u8> {
        let (sent_by, branch) = self.via;
        let via = format!("SIP/2.0/UDP {sent_by};rport;branch={branch}");
        let mut lines: Vec<Header> = vec![
            headers::Via::new(via).into(),
            headers::MaxForwards::from(70).into(),
        ];
        let routes = self.routes.iter().map(|route| format!("<{route}>"));
        lines.extend(routes.map(|route| Header::from(headers::Route::new(route))));
        lines.push(headers::From::new(self.from).into());
        lines.push(headers::To::new(self.to).into());
        lines.push(headers::CallId::new(self.call_id).into());
        lines.push(rsip::typed::CSeq::from((self.cseq, self.method)).into());
        lines.extend(
            self.contact
                .map(|contact| Header::from(headers::Contact::new(contact))),
        );
        let others = self.others.into_iter();
        lines.extend(others.map(|(name, value)| Header::Other(name.to_owned(), value)));
        lines.push(headers::UserAgent::new("pointsman demo").into());
        let first = format!("{} {} SIP/2.0", self.method, self.uri);
        write(&first, lines, self.method == rsip::Method::Invite)
    }
}

fn write(first: &str, mut lines: Vec<Header>, has_body: bool) -> Vec<u8> {
    let body = if has_body { SDP } else { "" };
    if has_body {
        lines.push(headers::ContentType::new("application/sdp").into());
    }
    lines.push(headers::ContentLength::from(body.len() as u32).into());
    format!("{first}\r\n{}\r\n{body}", rsip::Headers::from(lines)).into_bytes()
}

/// The user part of a URI; the number of a `tel:`.
pub(super) fn user_of(uri: &str) -> &str {
    let (_, rest) = uri.split_once(':').unwrap_or(("", uri));
    let end = rest.find(['@', ';', '?']).unwrap_or(rest.len());
    rest.get(..end).unwrap_or(rest)
}

/// The address of a URI whose host is one; port 5060 where it names none.
pub(super) fn address_of(uri: &str) -> Option<std::net::SocketAddr> {
    let (_, rest) = uri.split_once(':')?;
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next()?;
    let with_port = || format!("{host}:5060").parse();
    host.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(uri: &str) -> Vec<u8> {
        Request {
            method: rsip::Method::Invite,
            uri: uri.to_owned(),
            via: ("127.0.0.1:5070".parse().unwrap(), "z9hG4bK1".to_owned()),
            from: "\"Paula\" <sip:150@example.com>;tag=f".to_owned(),
            to: "<sip:101@example.com>".to_owned(),
            call_id: "one".to_owned(),
            cseq: 7,
            routes: vec!["sip:127.0.0.1:5060;lr".to_owned()],
            contact: Some("<sip:150@127.0.0.1:5070>".to_owned()),
            others: vec![("Diversion", "<sip:x@y>;counter=5".to_owned())],
        }
        .write()
    }

    #[test]
    fn what_is_written_is_read() {
        for uri in ["sip:101@example.com", "tel:+49-30-1234-116"] {
            let read = Message::read(&invite(uri)).unwrap();
            let (method, uri) = ("INVITE".to_owned(), uri.to_owned());
            assert_eq!(read.start, Start::Request { method, uri });
            assert_eq!(read.branch().unwrap(), "z9hG4bK1");
            assert_eq!(read.call_id(), "one");
            assert_eq!(read.to_tag(), None);
            assert_eq!(read.contact().unwrap().uri, "sip:150@127.0.0.1:5070");
            assert_eq!(read.other("diversion"), Some("<sip:x@y>;counter=5"));
        }
    }

    #[test]
    fn our_own_parser_accepts_what_is_made_here() {
        let mut index = crate::message::Index::new();
        let bytes = invite("sip:101@example.com");
        let message = index.parse(&bytes).unwrap();
        assert_eq!(message.cseq().unwrap().number, 7);
        assert_eq!(message.body(), SDP.as_bytes());
    }

    #[test]
    fn a_response_goes_back_the_way_the_request_came() {
        let request = Message::read(&invite("sip:101@example.com")).unwrap();
        let contact = Some("\"Anna\" <sip:101@127.0.0.1:5080>".to_owned());
        let reply = Reply {
            status: 200,
            phrase: "OK",
            tag: "t",
            contact,
            has_body: true,
        };
        let read = Message::read(&request.respond(&reply)).unwrap();
        assert_eq!(read.status(), Some(200));
        assert_eq!(read.branch(), request.branch());
        assert_eq!(read.to_tag().unwrap(), "t");
        assert_eq!(read.cseq_method(), Some(rsip::Method::Invite));
        assert_eq!(read.contact().unwrap().name, "Anna");
    }

    #[test]
    fn noise_is_no_message() {
        for noise in [
            &b""[..],
            b"\r\n\r\n",
            b"hello\r\n\r\n",
            b"SIP/2.0 x\r\n\r\n",
        ] {
            assert!(Message::read(noise).is_none(), "{noise:?}");
        }
    }

    #[test]
    fn users_and_addresses_are_taken_from_uris() {
        assert_eq!(user_of("sip:vm-anna@127.0.0.1:5090;target=x"), "vm-anna");
        assert_eq!(user_of("tel:+49-30-1234"), "+49-30-1234");
        let address = |uri| address_of(uri).map(|address| address.to_string());
        assert_eq!(
            address("sip:a@127.0.0.1:5090;x=y").unwrap(),
            "127.0.0.1:5090"
        );
        assert_eq!(address("sip:127.0.0.1;lr").unwrap(), "127.0.0.1:5060");
        assert_eq!(address("sip:a@example.com"), None);
    }
}
