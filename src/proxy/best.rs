//! The best response so far (RFC 3261 §16.7(6)) with the challenges of all others (§16.7(7)).

use crate::message::forward::remove_top_via;
use crate::message::{Edits, Message, Name};

/// A final response kept for later.
pub(super) struct Best {
    pub status: u16,
    pub bytes: Box<[u8]>,
    /// Challenges of other branches: complete header lines.
    challenges: Vec<u8>,
}

/// How many bytes of other branches' challenges are kept.
const CHALLENGES_LIMIT_BYTES: usize = 8_192;

impl Best {
    /// Keeps the response if it is better than what there is.
    pub(super) fn consider(best: &mut Option<Self>, message: &Message<'_>) {
        let status = message.status().unwrap_or(500);
        let is_better = best
            .as_ref()
            .is_none_or(|best| rank(status) < rank(best.status));
        if !is_better {
            if let Some(best) = best.as_mut().filter(|best| is_challenge(best.status)) {
                append_challenges(message, &mut best.challenges);
            }
            return;
        }
        *best = Some(Self {
            status,
            bytes: message.bytes().into(),
            challenges: Vec::new(),
        });
    }

    /// Collects the edits that make the response fit to go upstream: our Via goes, the other
    /// branches' challenges come, and a 503 becomes a 500, as it would stop upstream from using us
    /// at all.
    pub(super) fn edit(&self, message: &Message<'_>, edits: &mut Edits) -> Option<()> {
        upstream_edits(message, edits)?;
        if !self.challenges.is_empty() {
            edits.insert(message.headers_end(), |out| {
                out.extend_from_slice(&self.challenges);
            });
        }
        Some(())
    }
}

/// What every response loses on its way upstream (§16.7(3), §16.7(6)).
pub(super) fn upstream_edits(message: &Message<'_>, edits: &mut Edits) -> Option<()> {
    edits.clear();
    remove_top_via(message, edits).ok()?;
    if message.status() == Some(503) {
        edits.replace(0..message.first_header_at(), |out| {
            out.extend_from_slice(b"SIP/2.0 500 Server Internal Error\r\n");
        });
    }
    Some(())
}

/// The status upstream sees (§16.7(6)).
pub(super) fn upstream_status(status: u16) -> u16 {
    if status == 503 { 500 } else { status }
}

fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 407)
}

fn append_challenges(message: &Message<'_>, out: &mut Vec<u8>) {
    if !message.status().is_some_and(is_challenge) {
        return;
    }
    for name in [Name::WwwAuthenticate, Name::ProxyAuthenticate] {
        for header in message.headers(name) {
            let line = message.bytes().get(header.line).unwrap_or_default();
            if out.len() + line.len() <= CHALLENGES_LIMIT_BYTES {
                out.extend_from_slice(line);
            }
        }
    }
}

/// The order of preference of §16.7(6): a 6xx first, then the lowest class; within the 4xx those
/// that the caller can act upon.
fn rank(status: u16) -> u16 {
    match status {
        600..=699 => 0,
        300..=399 => 1,
        401 | 407 => 2,
        415 | 420 | 484 => 3,
        400..=407 | 409..=499 => 4,
        408 => 5,
        503 => 7,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    fn response(status: u16, headers: &str) -> String {
        format!(
            "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
             Via: SIP/2.0/UDP b;branch=z9hG4bK2\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
             Call-ID: x\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: 0\r\n\r\n"
        )
    }

    fn best_of(responses: &[String]) -> (u16, String) {
        let mut best = None;
        for text in responses {
            let mut index = Index::new();
            Best::consider(&mut best, &index.parse(text.as_bytes()).unwrap());
        }
        let best = best.unwrap();
        let (mut index, mut edits, mut out) = (Index::new(), Edits::new(), Vec::new());
        let message = index.parse(&best.bytes).unwrap();
        best.edit(&message, &mut edits).unwrap();
        edits.apply(message.bytes(), &mut out);
        (best.status, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_best_class_wins_and_a_6xx_before_all() {
        let best = |statuses: &[u16]| {
            let responses: Vec<String> = statuses.iter().map(|s| response(*s, "")).collect();
            best_of(&responses).0
        };
        assert_eq!(best(&[404, 302, 500]), 302);
        assert_eq!(best(&[486, 603, 302]), 603);
        assert_eq!(best(&[500, 404]), 404);
        assert_eq!(best(&[404, 401]), 401);
        assert_eq!(best(&[503, 500]), 500);
        assert_eq!(best(&[408, 486]), 486);
    }

    #[test]
    fn challenges_of_all_branches_reach_the_caller() {
        let first = response(401, "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\"\r\n");
        let second = response(
            407,
            "Proxy-Authenticate: Digest realm=\"b\", nonce=\"2\"\r\n",
        );
        let plain = response(
            404,
            "WWW-Authenticate: Digest realm=\"no\", nonce=\"3\"\r\n",
        );
        let (status, text) = best_of(&[first, plain, second]);
        assert_eq!(status, 401);
        assert!(text.contains("realm=\"a\"") && text.contains("Proxy-Authenticate: Digest realm"));
        assert!(!text.contains("realm=\"no\"") && !text.contains("UDP a;"));
    }

    #[test]
    fn a_503_is_a_500_upstream() {
        let (_, text) = best_of(&[response(503, "Retry-After: 5\r\n")]);
        assert!(text.starts_with("SIP/2.0 500 Server Internal Error\r\n"));
    }
}
