//! The escaping of texts in documents of ours.

/// What XML 1.0 may not contain even escaped (§2.2): control bytes but tab and line ends.
fn is_legal(character: char) -> bool {
    !matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Appends a text so that it can stand in an element or in an attribute's double quotes.
pub(super) fn escape(text: &str, out: &mut Vec<u8>) {
    for character in text.chars().filter(|c| is_legal(*c)) {
        let escaped = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&apos;",
            '\t' => "&#9;",
            '\n' => "&#10;",
            '\r' => "&#13;",
            plain => {
                let mut bytes = [0; 4];
                out.extend_from_slice(plain.encode_utf8(&mut bytes).as_bytes());
                continue;
            }
        };
        out.extend_from_slice(escaped.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn whatever_a_person_writes_stays_text() {
        let mut out = Vec::new();
        super::escape("a<b> & \"c\" 'd'\u{0}\u{7}\né", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;&#10;é"
        );
    }
}
