//! PIDF with RPID: a person's status as a presence document (RFC 3863, RFC 4479, RFC 4480).

use std::io::Write as _;

use jiff::Timestamp;

use super::seen::Seen;
use super::xml::escape;
use crate::presence::{Language, Level, Status};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
    xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
    xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"";

/// Appends the document.
pub(super) fn write(seen: &Seen<'_>, entity: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(HEAD.as_bytes());
    escape(entity, out);
    let basic = if is_open(seen) { "open" } else { "closed" };
    let _ = write!(
        out,
        "\"><tuple id=\"t1\"><status><basic>{basic}</basic></status>"
    );
    write_note(seen, "note", out);
    out.extend_from_slice(b"</tuple><dm:person id=\"p1\">");
    write_activities(seen, out);
    write_note(seen, "dm:note", out);
    out.extend_from_slice(b"</dm:person></presence>\n");
}

/// Whether calls are taken at all (RFC 3863 §4.1.4): not by who is not to be disturbed.
fn is_open(seen: &Seen<'_>) -> bool {
    seen.level == Level::FreeBusy || seen.status != Status::Dnd
}

/// RPID's activities (RFC 4480 §3.2), by what they mean for a call.
fn write_activities(seen: &Seen<'_>, out: &mut Vec<u8>) {
    let activities: &[&str] = match (seen.level, seen.status) {
        (_, Status::Available) => return,
        (Level::None | Level::FreeBusy, _) => &["busy"],
        (_, Status::Away) => &["away"],
        // RPID has no short pause: `away` is what phones know, the note says the rest.
        (_, Status::Break) => &["away"],
        (_, Status::InCall) if seen.is_in_call => &["on-the-phone"],
        (_, Status::InCall) => &["meeting"],
        (_, Status::Dnd) if seen.is_in_call => &["busy", "on-the-phone"],
        (_, Status::Dnd) => &["busy"],
    };
    out.extend_from_slice(b"<rpid:activities");
    let until = seen.until_unix_s.map(Timestamp::from_second);
    if let Some(Ok(until)) = until {
        let _ = write!(out, " until=\"{until}\"");
    }
    out.push(b'>');
    for activity in activities {
        let _ = write!(out, "<rpid:{activity}/>");
    }
    out.extend_from_slice(b"</rpid:activities>");
}

fn write_note(seen: &Seen<'_>, element: &str, out: &mut Vec<u8>) {
    let Some(note) = seen.note else {
        return;
    };
    let language = match seen.language {
        Language::De => "de",
        Language::En => "en",
    };
    let _ = write!(out, "<{element} xml:lang=\"{language}\">");
    escape(note, out);
    let _ = write!(out, "</{element}>");
}
