//! Dialog information (RFC 4235): what lights the lamp beside a person's name.
//!
//! A watcher is shown that there is a call, never with whom: neither identities, targets nor
//! Call-IDs are in the document.

use std::io::Write as _;

use super::seen::Seen;
use super::xml::escape;
use crate::presence::{Level, Status};

/// Appends the document, which is the whole state (§3.2).
pub(super) fn write(
    seen: &Seen<'_>,
    (entity, version): (&str, u32),
    shows_dnd: bool,
    out: &mut Vec<u8>,
) {
    let _ = write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" \
         state=\"full\" entity=\""
    );
    escape(entity, out);
    out.extend_from_slice(b"\">");
    let is_lit = is_lit(seen, shows_dnd);
    if is_lit || !seen.is_ringing {
        // Some phones keep a lamp lit until they see a dialog end; an empty list leaves it so.
        let state = if is_lit { "confirmed" } else { "terminated" };
        let _ = write!(out, "<dialog id=\"call\"><state>{state}</state></dialog>");
    }
    if seen.is_ringing {
        out.extend_from_slice(
            b"<dialog id=\"ring\" direction=\"recipient\"><state>early</state></dialog>",
        );
    }
    out.extend_from_slice(b"</dialog-info>\n");
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
