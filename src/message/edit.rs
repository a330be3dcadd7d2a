//! A list of edits over a message's bytes: what no edit covers goes out byte for byte.

use super::lexeme::part;
use std::ops::Range;

/// Reusable scratch for edits: it keeps its capacity, so that editing allocates nothing once it is
/// warm.
///
/// Every byte that any edit covers is gone; every text comes out, in the order of the offsets where
/// its edit begins. At one offset inserts come before replacements, each in the order of the calls.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    edits: Vec<Edit>,
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Edit {
    span: Range<usize>,
    text: Range<usize>,
}

impl Edits {
    /// No edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all edits, keeps the room.
    pub fn clear(&mut self) {
        self.edits.clear();
        self.text.clear();
    }

    /// Whether there is nothing to edit.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts what `write` appends in place of the span's bytes.
    pub fn replace(&mut self, span: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        // A writer that shortened the buffer has written nothing.
        let text = start.min(self.text.len())..self.text.len();
        let span = span.start..span.end.max(span.start);
        let key = |span: &Range<usize>| (span.start, !span.is_empty());
        let later = self
            .edits
            .iter()
            .rev()
            .take_while(|edit| key(&edit.span) > key(&span))
            .count();
        self.edits
            .insert(self.edits.len() - later, Edit { span, text });
    }

    /// Puts what `write` appends before the byte at `at`.
    pub fn insert(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.replace(at..at, write);
    }

    /// Leaves the span's bytes out.
    pub fn remove(&mut self, span: Range<usize>) {
        self.replace(span, |_| ());
    }

    /// Appends the edited message to `out`. Spans beyond the message's end are cut to it.
    pub fn apply(&self, message: &[u8], out: &mut Vec<u8>) {
        out.reserve(message.len() + self.text.len());
        let mut copied = 0;
        for edit in &self.edits {
            let start = edit.span.start.min(message.len());
            if start > copied {
                out.extend_from_slice(part(message, copied..start));
                copied = start;
            }
            out.extend_from_slice(part(&self.text, edit.text.clone()));
            copied = copied.max(edit.span.end.min(message.len()));
        }
        out.extend_from_slice(part(message, copied..message.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same said naively: byte by byte.
    fn naive(message: &[u8], edits: &[(Range<usize>, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for at in 0..=message.len() {
            let here = edits
                .iter()
                .filter(|(span, _)| span.start.min(message.len()) == at);
            // Clamped spans keep the order of their offsets.
            let mut here: Vec<_> = here.collect();
            here.sort_by_key(|(span, _)| (span.start, !span.is_empty()));
            for (_, text) in here {
                out.extend_from_slice(text);
            }
            if at < message.len() && !edits.iter().any(|(span, _)| span.contains(&at)) {
                out.push(message[at]);
            }
        }
        out
    }

    fn applied(message: &[u8], edits: &[(Range<usize>, Vec<u8>)]) -> Vec<u8> {
        let mut list = Edits::new();
        for (span, text) in edits {
            list.replace(span.clone(), |out| out.extend_from_slice(text));
        }
        let mut out = Vec::new();
        list.apply(message, &mut out);
        out
    }

    fn edit() -> impl Strategy<Value = (Range<usize>, Vec<u8>)> {
        (
            0usize..70,
            0usize..12,
            proptest::collection::vec(any::<u8>(), 0..6),
        )
            .prop_map(|(start, length, text)| (start..start + length, text))
    }

    proptest! {
        #[test]
        fn edits_equal_a_naive_implementation(
            message in proptest::collection::vec(any::<u8>(), 0..64),
            edits in proptest::collection::vec(edit(), 0..8),
        ) {
            prop_assert_eq!(applied(&message, &edits), naive(&message, &edits));
        }
    }

    #[test]
    fn inserts_at_one_offset_keep_their_order() {
        let insert = |text: &str| (3..3, text.as_bytes().to_vec());
        let edits = [
            insert("1"),
            (3..4, b"R".to_vec()),
            insert("2"),
            (0..0, b"<".to_vec()),
        ];
        assert_eq!(applied(b"abcdef", &edits), b"<abc12Ref");
    }

    #[test]
    fn without_edits_the_message_is_the_same() {
        let mut edits = Edits::new();
        edits.remove(0..2);
        edits.clear();
        let mut out = b"x".to_vec();
        edits.apply(b"abc", &mut out);
        assert_eq!(out, b"xabc");
        assert!(edits.is_empty());
    }
}
