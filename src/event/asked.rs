//! A SUBSCRIBE as the notifier reads it (RFC 6665 §4.2.1).

use super::Rules;
use super::package::Package;
use super::refusal::{MIN_EXPIRES_S, Refusal};
use crate::message::{Contacts, Message, Name, NameAddr, Params, first_value};

/// The interval of a subscription that asks for none, seconds (RFC 3856 §6.4, RFC 4235 §3.4).
const DEFAULT_EXPIRES_S: u32 = 3_600;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The package.
    pub package: Package,
    /// Which of several subscriptions in one dialog; empty without one.
    pub id: &'a [u8],
    /// The interval that is granted, seconds; 0 ends the subscription, or asks once.
    pub expires_s: u32,
    /// Where notifications go: the Contact's URI.
    pub target: &'a [u8],
    /// The Record-Route values in their order, joined by commas.
    pub routes: Vec<u8>,
}

/// The package and id that an Event header names; `None` where that is no package of ours.
pub fn event_of<'a>(message: &Message<'a>) -> Option<(Package, &'a [u8])> {
    let value = message.header(Name::Event)?.value;
    let end = value
        .iter()
        .position(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n'));
    let package = Package::from_name(value.get(..end.unwrap_or(value.len()))?)?;
    let mut params = Params::new(value);
    let id = params
        .find(|param| param.is(b"id"))
        .and_then(|param| param.value);
    Some((package, id.unwrap_or_default()))
}

impl<'a> Asked<'a> {
    /// Reads a request whose package is served here.
    ///
    /// # Errors
    /// What RFC 6665 §4.2.1.1 refuses before looking at who asks.
    pub fn read(
        message: &Message<'a>,
        (package, id): (Package, &'a [u8]),
        rules: &Rules,
    ) -> Result<Self, Refusal> {
        if !accepts(message, package) {
            return Err(Refusal::NotAcceptable);
        }
        let asked_s = message.expires_s().unwrap_or(DEFAULT_EXPIRES_S);
        if (1..MIN_EXPIRES_S).contains(&asked_s) {
            return Err(Refusal::TooBrief);
        }
        let contacts = Contacts::read(message).map_err(|_| Refusal::MalformedContact)?;
        let mut contacts = contacts.iter();
        let (Some(contact), None) = (contacts.next(), contacts.next()) else {
            return Err(Refusal::MalformedContact);
        };
        Ok(Self {
            package,
            id,
            expires_s: asked_s.min(rules.max_expires_s),
            target: contact.address.uri,
            routes: routes_of(message)?,
        })
    }
}

/// Whether the watcher takes the package's documents: it names them, a range of them, or nothing.
fn accepts(message: &Message<'_>, package: Package) -> bool {
    let ours = package.content_type().as_bytes();
    let mut values = message.values(Name::Accept).peekable();
    values.peek().is_none()
        || values.any(|value| {
            let range = first_value(value.bytes).unwrap_or(value.bytes);
            let range = range.split(|byte| *byte == b';').next().unwrap_or(range);
            let range = range.trim_ascii();
            range.eq_ignore_ascii_case(ours)
                || range == b"*/*"
                || range.eq_ignore_ascii_case(b"application/*")
        })
}

/// The route set of the dialog: for who is asked, the Record-Route in its order (RFC 3261 §12.1.1),
/// unfolded.
fn routes_of(message: &Message<'_>) -> Result<Vec<u8>, Refusal> {
    let mut routes = Vec::new();
    for value in message.values(Name::RecordRoute) {
        NameAddr::parse(value.bytes).map_err(|_| Refusal::MalformedContact)?;
        if !routes.is_empty() {
            routes.extend_from_slice(b", ");
        }
        routes.extend(unfolded(value.bytes));
    }
    Ok(routes)
}

/// A value as it can stand in a line of our own.
pub fn unfolded(value: &[u8]) -> impl Iterator<Item = u8> + '_ {
    value.iter().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        byte => *byte,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Packages;
    use crate::message::Index;

    fn read<T>(lines: &str, check: impl FnOnce(Option<Result<Asked<'_>, Refusal>>) -> T) -> T {
        let text = format!("SUBSCRIBE sip:a@h SIP/2.0\r\n{lines}\r\n");
        let mut index = Index::new();
        let message = index.parse(text.as_bytes()).unwrap();
        let rules = Rules {
            packages: Packages::of(Package::ALL),
            ..Rules::default()
        };
        check(event_of(&message).map(|event| Asked::read(&message, event, &rules)))
    }

    fn refusal(lines: &str) -> Refusal {
        read(lines, |asked| asked.unwrap().unwrap_err())
    }

    #[test]
    fn a_lamp_and_a_presence_are_read() {
        let lines = "Event: dialog ; sla;id=7\r\nContact: <sip:p@h:5070>\r\nExpires: 86400\r\n\
                     Record-Route: <sip:x;lr>,\r\n <sip:y;lr>\r\nRecord-Route: <sip:z;lr>\r\n";
        read(lines, |asked| {
            let asked = asked.unwrap().unwrap();
            assert_eq!((asked.package, asked.id), (Package::Dialog, &b"7"[..]));
            assert_eq!(
                (asked.expires_s, asked.target),
                (7_200, &b"sip:p@h:5070"[..])
            );
            assert_eq!(asked.routes, b"<sip:x;lr>, <sip:y;lr>, <sip:z;lr>");
        });
        let lines = "o: presence\r\nm: sip:p@h\r\nAccept: text/plain, Application/pidf+xml;q=1\r\n";
        read(lines, |asked| {
            let asked = asked.unwrap().unwrap();
            assert_eq!((asked.package, asked.id), (Package::Presence, &b""[..]));
            assert_eq!(asked.expires_s, 3_600);
        });
    }

    #[test]
    fn other_packages_are_not_ours() {
        for lines in [
            "",
            "Event: message-summary\r\n",
            "Event: dialog.x\r\n",
            "Event:\r\n",
        ] {
            read(lines, |asked| assert_eq!(asked, None, "{lines}"));
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        let with = |line: &str| format!("Event: dialog\r\n{line}");
        let contact = "Contact: <sip:p@h>\r\n";
        for (line, expected) in [
            ("", Refusal::MalformedContact),
            ("Contact: *\r\n", Refusal::MalformedContact),
            (
                "Contact: <sip:p@h>, <sip:q@h>\r\n",
                Refusal::MalformedContact,
            ),
            (&format!("{contact}Expires: 59\r\n"), Refusal::TooBrief),
            (
                &format!("{contact}Accept: text/plain\r\n"),
                Refusal::NotAcceptable,
            ),
            (
                &format!("{contact}Record-Route: <sip:\r\n"),
                Refusal::MalformedContact,
            ),
        ] {
            assert_eq!(refusal(&with(line)), expected, "{line}");
        }
        let once = with(&format!("{contact}Expires: 0\r\n"));
        read(&once, |asked| {
            assert_eq!(asked.unwrap().unwrap().expires_s, 0)
        });
    }
}
