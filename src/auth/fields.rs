//! The fields of a challenge or of credentials: a scheme and `name=value` pairs.

/// How many fields one header may have; a client needs a dozen.
const FIELDS_LIMIT: usize = 32;

/// One `name=value`; the value without its quotes, escapes as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// The scheme of a header value and the text behind it.
pub fn scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let value = value.trim_ascii();
    let end = value
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(value.len());
    value.split_at(end)
}

/// Reads all fields, or none where one is broken: credentials that are cut off say nothing. Commas
/// may be missing, doubled or trailing, and blanks may stand around everything.
pub fn fields<'a>(text: &'a [u8], mut each: impl FnMut(Field<'a>)) -> Option<()> {
    let mut rest = text;
    for _ in 0..FIELDS_LIMIT {
        let start = rest.iter().position(|byte| !is_between(*byte));
        let Some(start) = start else {
            return Some(());
        };
        let (field, after) = field(rest.get(start..)?)?;
        each(field);
        rest = after;
    }
    rest.iter().all(|byte| is_between(*byte)).then_some(())
}

fn is_between(byte: u8) -> bool {
    byte == b',' || byte.is_ascii_whitespace()
}

fn field(text: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, rest) = text.split_at(equals);
    let name = name.trim_ascii();
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return None;
    }
    let rest = rest.get(1..)?.trim_ascii_start();
    let (value, after) = match rest.strip_prefix(b"\"") {
        Some(quoted) => {
            let end = closing_quote(quoted)?;
            (quoted.get(..end)?, quoted.get(end + 1..)?)
        }
        None => {
            let end = rest.iter().position(|byte| is_between(*byte));
            rest.split_at(end.unwrap_or(rest.len()))
        }
    };
    let is_clean = value.iter().all(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    is_clean.then_some((Field { name, value }, after))
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    text.iter().position(|byte| {
        let closes = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        closes
    })
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields(text.as_bytes(), |field| {
            found.push((text_of(field.name), text_of(field.value)));
        })?;
        Some(found)
    }

    #[test]
    fn spacing_and_commas_do_not_matter() {
        let expected = read(r#"a="1",b=2"#).unwrap();
        assert_eq!(expected.len(), 2);
        for same in [
            r#" a = "1" ,, b=2 ,"#,
            "a=\"1\",\r\n\tb=2",
            r#"a="1" b=2"#,
            r#"a=1,b="2""#,
        ] {
            assert_eq!(read(same), Some(expected.clone()), "{same}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_field_is_not_read() {
        for broken in [r#"a="1"#, "a", "=1", "a b=1", "a=\"x\\\"", "a=\"x\r\ny\""] {
            assert_eq!(read(broken), None, "{broken}");
        }
        let many = "a=1,".repeat(FIELDS_LIMIT);
        assert!(read(&many).is_some());
        assert!(read(&format!("{many}b=1")).is_none());
        assert_eq!(read(r#"a="x\"y""#).unwrap()[0].1, r#"x\"y"#);
    }

    #[test]
    fn a_scheme_ends_at_white_space() {
        assert_eq!(scheme(b"  Digest\t a=1 "), (&b"Digest"[..], &b"\t a=1"[..]));
        assert_eq!(scheme(b"Digest"), (&b"Digest"[..], &b""[..]));
        assert_eq!(scheme(b""), (&b""[..], &b""[..]));
    }
}
