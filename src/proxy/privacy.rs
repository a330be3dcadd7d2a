//! Who may see what of a caller: asserted identities at the border of the trust domain (RFC 3325)
//! and what the Privacy header asks of a proxy (RFC 3323, RFC 7044 §10.1).
//!
//! We fulfil `id` and `history` and respect `none`. For `header` and `session` somebody must stand
//! between the parties for the whole dialog, which a proxy does not: such a request goes on with its
//! Privacy header as it is, unless it is `critical` to the caller.

use super::Proxy;
use super::forward::Origin;
use super::hop::Hop;
use super::policy::{Peer, Policy};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::{Routed, is_ours};
use super::shared::Shared;
use crate::message::forward::remove_header;
use crate::message::{Edits, Message, Name, NameAddr, Scheme, Uri};

/// What stands in place of a URI that is to be kept private (RFC 3323 §4.1.1.3, RFC 7044 §10.1.2).
const ANONYMOUS: &[u8] = b"sip:anonymous@anonymous.invalid";

/// The priv-values of a message's Privacy headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub header: bool,
    pub session: bool,
    pub user: bool,
    pub id: bool,
    pub history: bool,
    pub critical: bool,
    pub none: bool,
}

impl Wishes {
    /// Reads them; `;` separates, and `,` between lines that were joined.
    pub(super) fn of(message: &Message<'_>) -> Self {
        let mut wishes = Self::default();
        for header in message.headers(Name::Privacy) {
            words(header.value).for_each(|word| wishes.add(word));
        }
        wishes
    }

    fn add(&mut self, word: &[u8]) {
        let known: [(&[u8], &mut bool); 7] = [
            (b"header", &mut self.header),
            (b"session", &mut self.session),
            (b"user", &mut self.user),
            (b"id", &mut self.id),
            (b"history", &mut self.history),
            (b"critical", &mut self.critical),
            (b"none", &mut self.none),
        ];
        for (name, is_wished) in known {
            *is_wished |= word.eq_ignore_ascii_case(name);
        }
    }

    fn wants_no_history(self) -> bool {
        !self.none && (self.history || self.header)
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| matches!(byte, b';' | b','))
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty())
}

/// Refuses a new request whose caller would rather not be connected than without a privacy that we
/// cannot give (RFC 3323 §5). A Route beyond us leads it to somebody who may be able to; a `user`
/// whose From is anonymous already wants no more than that.
///
/// # Errors
/// `critical` stands beside a priv-value that we do not fulfil.
pub(super) fn check(request: &ProxyRequest<'_>, routed: &Routed) -> Result<(), Rejection> {
    let wishes = Wishes::of(&request.message);
    if !wishes.critical || wishes.none || request.is_in_dialog() || routed.next.is_some() {
        return Ok(());
    }
    let user = wishes.user && !is_anonymous(&request.from);
    let missing = match (wishes.header, wishes.session, user) {
        (false, false, false) => return Ok(()),
        (true, false, false) => "Privacy Cannot Be Provided: header",
        (false, true, false) => "Privacy Cannot Be Provided: session",
        (false, false, true) => "Privacy Cannot Be Provided: user",
        (true, true, false) => "Privacy Cannot Be Provided: header, session",
        (true, false, true) => "Privacy Cannot Be Provided: header, user",
        (false, true, true) => "Privacy Cannot Be Provided: session, user",
        (true, true, true) => "Privacy Cannot Be Provided: header, session, user",
    };
    Err(Rejection::PrivacyFailure(missing))
}

/// The From that RFC 3323 §4.1.1.3 prescribes for anonymous callers, and its common variants.
pub(super) fn is_anonymous(from: &NameAddr<'_>) -> bool {
    Uri::parse(from.uri).is_ok_and(|uri| is_anonymous_uri(&uri, from))
}

/// The same where the URI was read already.
pub(super) fn is_anonymous_uri(uri: &Uri<'_>, from: &NameAddr<'_>) -> bool {
    uri.user.eq_ignore_ascii_case(b"anonymous")
        || uri.is_host(b"anonymous.invalid")
        || (uri.user.is_empty() && from.display.eq_ignore_ascii_case(b"anonymous"))
}

/// Between whom a message passes through us, as far as trust goes.
#[derive(Clone, Copy)]
pub(super) struct Passage<'a> {
    pub policy: &'a Policy,
    pub is_from_trusted: bool,
    pub is_to_trusted: bool,
}

impl<'a> Passage<'a> {
    /// A response's way, from the hops that the request went to: all must be trusted.
    pub(super) fn of_response<'h>(
        policy: &'a Policy,
        shared: &Shared,
        mut from: impl Iterator<Item = &'h Hop>,
        to: &Hop,
    ) -> Self {
        Self {
            policy,
            is_from_trusted: from.all(|hop| peer_at(policy, shared, hop).0.trust_identity),
            is_to_trusted: is_in_trust_domain(policy, shared, to),
        }
    }

    /// Takes off what may not pass (RFC 3325 §5 to §7): an identity that somebody untrusted
    /// asserts or prefers, an asserted one that an untrusted receiver is not to see, and our own
    /// part of the history where the caller or an entry asks for that (RFC 7044 §10.1.2).
    pub(super) fn edit(&self, message: &Message<'_>, edits: &mut Edits) {
        if !self.is_from_trusted {
            remove_header(message, edits, Name::PAssertedIdentity);
            remove_header(message, edits, Name::PPreferredIdentity);
        }
        if self.is_to_trusted {
            return;
        }
        let wishes = Wishes::of(message);
        if self.is_from_trusted && wishes.id && !wishes.none {
            remove_header(message, edits, Name::PAssertedIdentity);
        }
        if message.header(Name::HistoryInfo).is_some() {
            self.hide_history(message, wishes, edits);
        }
        if wishes.history && !wishes.none {
            take_off_history(message, edits);
        }
    }

    /// Entries that name a domain of ours become anonymous where the message or the entry asks.
    fn hide_history(&self, message: &Message<'_>, wishes: Wishes, edits: &mut Edits) {
        for value in message.values(Name::HistoryInfo) {
            let Ok(address) = NameAddr::parse(value.bytes) else {
                continue;
            };
            let Ok(uri) = Uri::parse(address.uri) else {
                continue;
            };
            if self.names_us(&uri) && (wishes.wants_no_history() || is_private(&uri)) {
                let offset = address.uri.as_ptr() as usize - value.bytes.as_ptr() as usize;
                let start = value.span.start + offset;
                edits.replace(start..start + address.uri.len(), |out| {
                    out.extend_from_slice(ANONYMOUS);
                });
            }
        }
    }

    /// Appends header lines of our own making, of which the History-Info is treated like one that
    /// came in.
    pub(super) fn write_tail(&self, message: &Message<'_>, tail: &[u8], out: &mut Vec<u8>) {
        if self.is_to_trusted || !Wishes::of(message).wants_no_history() {
            out.extend_from_slice(tail);
            return;
        }
        let mut pieces = tail.split(|byte| *byte == b'<');
        out.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            let end = piece.iter().position(|byte| *byte == b'>');
            let (uri, rest) = piece.split_at(end.unwrap_or(0));
            let is_hidden = Uri::parse(uri).is_ok_and(|uri| self.names_us(&uri));
            out.push(b'<');
            out.extend_from_slice(if is_hidden { ANONYMOUS } else { uri });
            out.extend_from_slice(rest);
        }
    }

    fn names_us(&self, uri: &Uri<'_>) -> bool {
        uri.scheme != Scheme::Tel && is_ours(uri, self.policy)
    }
}

impl Proxy {
    /// A request's way to a hop, where it has, or gets from us (`adds`), what concerns a border. One
    /// that is stored has passed it already.
    pub(super) fn passage<'p>(
        &self,
        policy: &'p Policy,
        (message, adds): (&Message<'_>, bool),
        (origin, upstream): (Origin, &Hop),
        to: &Hop,
    ) -> Option<Passage<'p>> {
        if !adds && !concerns(message) {
            return None;
        }
        let is_stored = matches!(origin, Origin::Stored);
        Some(Passage {
            policy,
            is_from_trusted: is_stored || peer_at(policy, &self.shared, upstream).0.trust_identity,
            is_to_trusted: is_in_trust_domain(policy, &self.shared, to),
        })
    }
}

/// Whether a message has anything that a border may take off.
pub(super) fn concerns(message: &Message<'_>) -> bool {
    let names = [
        Name::PAssertedIdentity,
        Name::PPreferredIdentity,
        Name::HistoryInfo,
        Name::Privacy,
    ];
    names.iter().any(|name| message.count(*name) > 0)
}

/// Who is at the other end of a hop, by its address or its certificate.
fn peer_at<'p>(policy: &'p Policy, shared: &Shared, hop: &Hop) -> (&'p Peer, bool) {
    let flow = hop.flow.connection().and_then(|id| shared.flows.get(id));
    let identities = flow.as_ref().map(|flow| &*flow.identities);
    policy.peer(hop.to.ip(), identities.unwrap_or_default())
}

/// Whether the hop is in our trust domain (RFC 3325 §2.3): a peer that is configured so, or one of
/// the systems that we send calls to ourselves, where no peer covers it.
fn is_in_trust_domain(policy: &Policy, shared: &Shared, hop: &Hop) -> bool {
    let (peer, is_known) = peer_at(policy, shared, hop);
    let is_uncovered = std::ptr::eq(peer, &raw const policy.stranger);
    is_known && (peer.send_identity || is_uncovered)
}

/// `?Privacy=history` within a history entry's URI (RFC 7044 §10.1.1).
fn is_private(uri: &Uri<'_>) -> bool {
    let headers = uri.headers.strip_prefix(b"?").unwrap_or(uri.headers);
    headers
        .split(|byte| *byte == b'&')
        .any(|header| header.eq_ignore_ascii_case(b"Privacy=history"))
}

/// The wish was fulfilled: `history` goes; where nothing else is left, the header goes, and with it
/// the option tag that demanded a privacy service (RFC 3323 §5, RFC 7044 §10.1.2).
fn take_off_history(message: &Message<'_>, edits: &mut Edits) {
    let mut is_left = false;
    for header in message.headers(Name::Privacy) {
        let is_other = |word: &&[u8]| !word.eq_ignore_ascii_case(b"history");
        let mut others = words(header.value).filter(is_other).peekable();
        if others.peek().is_none() {
            edits.remove(header.line);
            continue;
        }
        is_left = true;
        edits.replace(header.value_span, |out| {
            for (at, word) in others.enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b";" });
                out.extend_from_slice(word);
            }
        });
    }
    if !is_left {
        let demanded = message
            .values(Name::ProxyRequire)
            .find(|value| value.bytes.eq_ignore_ascii_case(b"privacy"));
        if let Some(value) = demanded {
            edits.remove(value.cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    fn wishes(value: &str) -> Wishes {
        let mut index = Index::new();
        let text = format!("INVITE sip:b@h SIP/2.0\r\nPrivacy: {value}\r\n\r\n");
        Wishes::of(&index.parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn priv_values_are_read_in_any_case_and_separation() {
        let id = Wishes {
            id: true,
            ..Wishes::default()
        };
        assert_eq!(wishes("ID"), id);
        assert_eq!(wishes(" id ; token"), id);
        let both = Wishes {
            critical: true,
            ..id
        };
        assert_eq!(wishes("critical,id"), both);
        assert_eq!(wishes("identity"), Wishes::default());
    }

    #[test]
    fn only_the_history_wish_is_taken_off() {
        let cut = |lines: &str| {
            let text = format!("INVITE sip:b@h SIP/2.0\r\n{lines}X: y\r\n\r\n");
            let mut index = Index::new();
            let mut edits = Edits::new();
            take_off_history(&index.parse(text.as_bytes()).unwrap(), &mut edits);
            let mut out = Vec::new();
            edits.apply(text.as_bytes(), &mut out);
            let out = String::from_utf8(out).unwrap();
            let lines = out.strip_prefix("INVITE sip:b@h SIP/2.0\r\n").unwrap();
            lines.strip_suffix("X: y\r\n\r\n").unwrap().to_owned()
        };
        assert_eq!(cut("Privacy: history\r\n"), "");
        assert_eq!(
            cut("Privacy: history; id;critical\r\nProxy-Require: privacy\r\n"),
            "Privacy: id;critical\r\nProxy-Require: privacy\r\n"
        );
        assert_eq!(
            cut("Proxy-Require: privacy, other\r\nPrivacy: history\r\n"),
            "Proxy-Require: other\r\n"
        );
    }
}
