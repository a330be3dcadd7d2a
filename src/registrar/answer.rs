//! The header lines of the 200 (RFC 3261 §10.3 step 8, RFC 3327 §5.3, RFC 5626 §6, RFC 5627 §5).

use std::io::Write as _;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::binding::{Binding, Bindings};
use super::contact::Contacts;
use super::registration::Registration;
use crate::message::{NameAddr, Uri};

/// How long a flow may be silent before the phone should think it dead, seconds (RFC 5626 §4.4):
/// it sends keep-alives a little more often.
const FLOW_TIMER_S: u32 = 120;

/// Appends every line that a 200 has beside those that all responses have. `to` is the
/// address-of-record as the phone wrote it.
pub fn write_headers(
    registration: &Registration<'_>,
    bindings: Option<&Bindings>,
    to: &NameAddr<'_>,
    out: &mut Vec<u8>,
) {
    let now_unix_ms = registration.now_unix_ms;
    let list = bindings.map(|bindings| &*bindings.list).unwrap_or_default();
    for binding in list.iter().filter(|b| !b.is_expired(now_unix_ms)) {
        write_contact(registration, binding, to, out);
    }
    if !registration.path.is_empty() {
        line(b"Path", &registration.path, out);
    }
    let is_bound = matches!(registration.contacts, Contacts::List(_));
    if registration.is_outbound() && is_bound {
        line(b"Require", b"outbound", out);
        if registration.arrived.is_direct {
            let _ = write!(out, "Flow-Timer: {FLOW_TIMER_S}\r\n");
        }
    }
    line(b"Supported", b"path, outbound, gruu", out);
    if let Some(date) = date(now_unix_ms) {
        line(b"Date", date.as_bytes(), out);
    }
}

fn write_contact(
    registration: &Registration<'_>,
    binding: &Binding,
    to: &NameAddr<'_>,
    out: &mut Vec<u8>,
) {
    let texts = binding.texts();
    out.extend_from_slice(b"Contact: <");
    out.extend_from_slice(texts.uri);
    out.push(b'>');
    out.extend_from_slice(texts.params);
    let _ = write!(
        out,
        ";expires={}",
        binding.expires_s(registration.now_unix_ms)
    );
    if registration.extensions.gruu {
        write_public_gruu(binding, to, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The address-of-record with the instance in `gr`: needs no state, and stays valid
/// (RFC 5627 appendix A.1).
fn write_public_gruu(binding: &Binding, to: &NameAddr<'_>, out: &mut Vec<u8>) {
    let instance = binding.instance();
    let urn = instance
        .strip_prefix(b"<")
        .and_then(|i| i.strip_suffix(b">"));
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b":-._~".contains(byte);
    let Some(urn) = urn.filter(|urn| !urn.is_empty() && urn.iter().all(is_plain)) else {
        return;
    };
    let Ok(aor) = Uri::parse(to.uri) else {
        return;
    };
    let tail = aor.params.len() + aor.headers.len() + usize::from(!aor.headers.is_empty());
    let bare = to.uri.len().saturating_sub(tail);
    out.extend_from_slice(b";pub-gruu=\"");
    out.extend_from_slice(to.uri.get(..bare).unwrap_or_default());
    out.extend_from_slice(b";gr=");
    out.extend_from_slice(urn);
    out.push(b'"');
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A SIP-date: RFC 1123 and GMT (RFC 3261 §20.17).
fn date(now_unix_ms: i64) -> Option<String> {
    let now = Timestamp::from_millisecond(now_unix_ms).ok()?;
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&now)
        .ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_date_is_as_the_rfc_writes_it() {
        let date = super::date(1_289_692_800_000 - 8 * 3_600_000 + 29_000).unwrap();
        assert_eq!(date, "Sat, 13 Nov 2010 16:00:29 GMT");
    }
}
