//! Dialog information (RFC 4235): what lights the lamp beside a person's name.
//!
//! A watcher is shown that there is a call, never with whom: neither identities, targets nor
//! Call-IDs are in the document.

use std::io::Write as _;
use std::ops::Range;

use super::seen::Seen;
use super::xml::escape;
use crate::presence::{Level, Status};

/// Appends the document, which is the whole state (§3.2); where in it the version stands.
pub(super) fn write(
    seen: &Seen<'_>,
    (entity, version): (&str, u32),
    shows_dnd: bool,
    out: &mut Vec<u8>,
) -> Range<usize> {
    out.extend_from_slice(
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
          <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"",
    );
    let start = out.len();
    let _ = write!(out, "{version}");
    let version = start..out.len();
    out.extend_from_slice(b"\" state=\"full\" entity=\"");
    escape(entity, out);
    out.extend_from_slice(b"\">");
    let is_lit = is_lit(seen, shows_dnd);
    // Some phones keep a lamp as it is until they see its dialog change: so there is always one.
    out.extend_from_slice(match (is_lit, seen.is_ringing) {
        (true, _) => b"<dialog id=\"call\"><state>confirmed</state></dialog>",
        (false, true) => {
            b"<dialog id=\"call\" direction=\"recipient\"><state>early</state></dialog>"
        }
        (false, false) => b"<dialog id=\"call\"><state>terminated</state></dialog>".as_slice(),
    });
    if is_lit && seen.is_ringing {
        out.extend_from_slice(
            b"<dialog id=\"second\" direction=\"recipient\"><state>early</state></dialog>",
        );
    }
    out.extend_from_slice(b"</dialog-info>\n");
    version
}

fn is_lit(seen: &Seen<'_>, shows_dnd: bool) -> bool {
    match seen.level {
        Level::None => false,
        Level::FreeBusy => seen.status != Status::Available,
        Level::Status | Level::Full => {
            seen.is_in_call
                || seen.status == Status::InCall
                || shows_dnd && seen.status == Status::Dnd
        }
    }
}
