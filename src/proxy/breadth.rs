//! Max-Breadth: how many branches of one request may be active at once, over all proxies
//! (RFC 5393 §5).

use super::rejection::Rejection;
use crate::message::forward::{line, write_number};
use crate::message::{Edits, Message, Name};

/// What a request without Max-Breadth gets, and the most that one may bring (RFC 5393 §5.3.3).
pub(super) const MAX_BREADTH: u32 = 60;

/// The Max-Breadth of a request that came in: at most ours, and ours where it has none that can be
/// read. With 0 it may not be forwarded at all.
///
/// # Errors
/// It is 0.
pub(super) fn incoming(message: &Message<'_>) -> Result<u32, Rejection> {
    match message.header(Name::MaxBreadth).map(|header| header.value) {
        None => Ok(MAX_BREADTH),
        Some(value) => match std::str::from_utf8(value).map(str::parse::<u32>) {
            Ok(Ok(0)) => Err(Rejection::MaxBreadthExceeded),
            Ok(Ok(breadth)) => Ok(breadth.min(MAX_BREADTH)),
            _ => Ok(MAX_BREADTH),
        },
    }
}

/// What each of `starting` branches gets that start at once while those with `active` still wait
/// for a final response: as evenly as it divides, the first ones more. Fewer than `starting` where
/// not every branch can have one; the others wait until one has ended (§5.3.3.1).
pub(super) fn split(
    incoming: u32,
    active: impl IntoIterator<Item = u32>,
    starting: usize,
) -> impl ExactSizeIterator<Item = u32> {
    let used = active.into_iter().fold(0, u32::saturating_add);
    let left = incoming.saturating_sub(used);
    let count = u32::try_from(starting).unwrap_or(u32::MAX).min(left);
    let share = left.checked_div(count).unwrap_or(0);
    let more = left.checked_rem(count).unwrap_or(0);
    (0..count as usize).map(move |at| share + u32::from(at < more as usize))
}

/// Puts the copy's value where the request had one: every request that is passed on has exactly one
/// (§5.3.3).
pub(super) fn edit(message: &Message<'_>, breadth: u32, edits: &mut Edits) {
    let mut lines = message.headers(Name::MaxBreadth);
    if let Some(first) = lines.next() {
        edits.replace(first.value_span, |out| write_number(out, breadth.into()));
    }
    for further in lines {
        edits.remove(further.line);
    }
}

/// Appends the line of a copy whose request had none.
pub(super) fn write_missing(message: &Message<'_>, breadth: u32, out: &mut Vec<u8>) {
    if message.count(Name::MaxBreadth) == 0 {
        line(out, b"Max-Breadth", |out| {
            write_number(out, breadth.into());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    fn request(lines: &str) -> String {
        format!("INVITE sip:b@h SIP/2.0\r\n{lines}Subject: x\r\n\r\n")
    }

    fn read(lines: &str) -> Result<u32, Rejection> {
        let mut index = Index::new();
        incoming(&index.parse(request(lines).as_bytes()).unwrap())
    }

    #[test]
    fn sixty_is_the_default_and_the_most() {
        assert_eq!(read(""), Ok(60));
        assert_eq!(read("Max-Breadth: 7\r\n"), Ok(7));
        assert_eq!(read("max-breadth : 61\r\n"), Ok(60));
        assert_eq!(read("Max-Breadth: 99999999999999\r\n"), Ok(60));
        assert_eq!(read("Max-Breadth: many\r\n"), Ok(60));
        assert_eq!(
            read("Max-Breadth: 0\r\n"),
            Err(Rejection::MaxBreadthExceeded)
        );
    }

    #[test]
    fn the_copy_has_exactly_one() {
        let edited = |lines: &str| {
            let text = request(lines);
            let mut index = Index::new();
            let mut edits = Edits::new();
            let message = index.parse(text.as_bytes()).unwrap();
            edits.insert(message.first_header_at(), |out| {
                write_missing(&message, 5, out)
            });
            edit(&message, 5, &mut edits);
            let mut out = Vec::new();
            edits.apply(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let head = "INVITE sip:b@h SIP/2.0\r\n";
        assert_eq!(
            edited(""),
            format!("{head}Max-Breadth: 5\r\nSubject: x\r\n\r\n")
        );
        assert_eq!(
            edited("Max-Breadth:  60 \r\nX: y\r\nMax-Breadth: 8\r\n"),
            format!("{head}Max-Breadth:  5 \r\nX: y\r\nSubject: x\r\n\r\n")
        );
    }

    #[test]
    fn active_branches_never_have_more_than_came_in() {
        let shares = |incoming, active: &[u32], starting| {
            split(incoming, active.iter().copied(), starting).collect::<Vec<_>>()
        };
        assert_eq!(shares(60, &[], 1), [60]);
        assert_eq!(shares(60, &[], 7), [9, 9, 9, 9, 8, 8, 8]);
        assert_eq!(shares(4, &[], 8), [1, 1, 1, 1]);
        assert_eq!(shares(4, &[1, 1, 1], 4), [1]);
        assert_eq!(shares(1, &[1], 1), [0; 0]);
        for incoming in 1..20 {
            for starting in 0..25 {
                let sum: u32 = split(incoming, [2, 1], starting).sum();
                assert!(sum + 3 <= incoming || sum == 0);
            }
        }
    }
}
