//! The messages that are sent, as text with `{slots}`, compiled once and written without parsing.

use std::fmt;

use super::ident::write_decimal;

macro_rules! slots {
    ($($variant:ident $text:literal;)*) => {
        /// What a template's `{name}` stands for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Slot {
            $(#[doc = concat!("`{", $text, "}`")] $variant,)*
        }

        impl Slot {
            const NAMES: &'static [(&'static str, Slot)] = &[$(($text, Slot::$variant),)*];
            const COUNT: usize = Self::NAMES.len();

            /// Its name between the braces.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

slots! {
    Server "server";
    Domain "domain";
    Local "local";
    LocalHost "local_host";
    Transport "transport";
    Caller "caller";
    User "user";
    RequestUri "request_uri";
    ToUri "to_uri";
    ToTag "to_tag";
    Tag "tag";
    Branch "branch";
    CallId "call_id";
    CSeq "cseq";
    Routes "routes";
    RecordRoutes "record_routes";
    Authorization "authorization";
    Contact "contact";
    Event "event";
    Length "length";
}

/// The values of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    slots: [&'a [u8]; Slot::COUNT],
}

impl<'a> Values<'a> {
    /// All slots empty.
    pub(super) const fn new() -> Self {
        Self {
            slots: [&[]; Slot::COUNT],
        }
    }

    /// The same values with this one.
    #[inline]
    pub(super) fn set(mut self, slot: Slot, value: &'a [u8]) -> Self {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = value;
        }
        self
    }

    #[inline]
    fn get(&self, slot: Slot) -> &'a [u8] {
        self.slots.get(slot as usize).copied().unwrap_or_default()
    }
}

/// A message with slots.
#[derive(Debug, Clone, Default)]
pub(super) struct Template {
    head: Vec<Part>,
    body: Vec<Part>,
    /// What its Max-Forwards says, where it has one.
    pub(super) max_forwards: Option<u8>,
    /// What its Expires says, where it has one.
    pub(super) expires_s: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Box<[u8]>),
    Slot(Slot),
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Which template.
    pub name: String,
    /// Where, counted from 1; 0 for the whole.
    pub line: usize,
    /// What.
    pub reason: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "template {}: {}", self.name, self.reason),
            line => write!(f, "template {}, line {line}: {}", self.name, self.reason),
        }
    }
}

impl Template {
    /// Compiles a message. Line ends become CRLF; `{{` stands for a brace.
    ///
    /// # Errors
    /// An unknown slot, a brace that is not closed, no empty line before the body.
    pub(super) fn compile(name: &str, text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\r\n", "\n");
        let (head, body) = match text.split_once("\n\n") {
            Some((head, body)) => (format!("{head}\n\n"), body),
            None => (format!("{}\n\n", text.trim_end()), ""),
        };
        let first_body_line = head.lines().count() + 1;
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            let found = fields.find(|(field, _)| field.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim())
        };
        Ok(Self {
            head: parts(name, &head, 1)?,
            body: parts(name, body, first_body_line)?,
            max_forwards: field("max-forwards").and_then(|value| value.parse().ok()),
            expires_s: field("expires").and_then(|value| value.parse().ok()),
        })
    }

    /// Compiles a piece of a message, such as a URI.
    ///
    /// # Errors
    /// An unknown slot, a brace that is not closed.
    pub(super) fn compile_piece(name: &str, text: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            head: parts(name, text, 1)?,
            ..Self::default()
        })
    }

    /// The slots that are used.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let parts = self.head.iter().chain(&self.body);
        parts.filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Slot(slot) => Some(*slot),
        })
    }

    /// Whether a slot is used.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.slots().any(|used| used == slot)
    }

    /// Appends the message; `{length}` is the body's.
    #[inline]
    pub(super) fn write(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        let mut length = [0; 20];
        let length = decimal(body_bytes(&self.body, values), &mut length);
        let values = values.set(Slot::Length, length);
        write_parts(&self.head, &values, out);
        write_parts(&self.body, &values, out);
    }

    /// Appends the body.
    pub(super) fn write_body(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        write_parts(&self.body, values, out);
    }

    /// Appends a piece.
    pub(super) fn write_piece(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        write_parts(&self.head, values, out);
    }
}

fn body_bytes(parts: &[Part], values: &Values<'_>) -> usize {
    let lengths = parts.iter().map(|part| match part {
        Part::Text(text) => text.len(),
        Part::Slot(slot) => values.get(*slot).len(),
    });
    lengths.sum()
}

fn decimal(value: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut text = Vec::new();
    if value < 1_000 {
        // The usual case, without an allocation.
        let all = [value / 100, value / 10 % 10, value % 10];
        for (place, digit) in digits.iter_mut().zip(all) {
            *place = b'0' + digit as u8;
        }
        let skipped = if value < 10 {
            2
        } else {
            usize::from(value < 100)
        };
        return digits.get(skipped..3).unwrap_or_default();
    }
    write_decimal(value as u64, &mut text);
    for (place, digit) in digits.iter_mut().zip(&text) {
        *place = *digit;
    }
    digits.get(..text.len()).unwrap_or_default()
}

#[inline]
fn write_parts(parts: &[Part], values: &Values<'_>, out: &mut Vec<u8>) {
    for part in parts {
        out.extend_from_slice(match part {
            Part::Text(text) => text,
            Part::Slot(slot) => values.get(*slot),
        });
    }
}

fn parts(name: &str, text: &str, first_line: usize) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut line = first_line;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let error = |reason: String| TemplateError {
            name: name.to_owned(),
            line,
            reason,
        };
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\n' => {
                line += 1;
                literal.extend_from_slice(b"\r\n");
            }
            '{' if rest.starts_with('{') => {
                rest = rest.get(1..).unwrap_or_default();
                literal.push(b'{');
            }
            '{' => {
                let (slot, after) = rest
                    .split_once('}')
                    .filter(|(slot, _)| !slot.contains('\n'))
                    .ok_or_else(|| error("`{` is not closed; write {{ for a brace".to_owned()))?;
                let known = Slot::NAMES.iter().find(|(known, _)| *known == slot);
                let (_, known) = known.ok_or_else(|| error(unknown(slot)))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal).into()));
                }
                parts.push(Part::Slot(*known));
                rest = after;
            }
            _ => literal.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal.into()));
    }
    Ok(parts)
}

fn unknown(slot: &str) -> String {
    let names: Vec<_> = Slot::NAMES.iter().map(|(name, _)| *name).collect();
    format!("there is no {{{slot}}}; there are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, values: &Values<'_>) -> String {
        let mut out = Vec::new();
        Template::compile("t", text)
            .unwrap()
            .write(values, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn slots_are_filled_and_the_length_is_the_bodys() {
        let values = Values::new().set(Slot::User, b"anna").set(Slot::Tag, b"t1");
        let text = "INVITE sip:{user}@x SIP/2.0\nFrom: <sip:a>;tag={tag}\n\
                    Content-Length: {length}\n\nv=0\ns={user}\n";
        assert_eq!(
            written(text, &values),
            "INVITE sip:anna@x SIP/2.0\r\nFrom: <sip:a>;tag=t1\r\nContent-Length: 13\r\n\r\n\
             v=0\r\ns=anna\r\n"
        );
    }

    #[test]
    fn a_message_without_a_body_ends_with_an_empty_line() {
        for text in [
            "A\nB: {length}",
            "A\nB: {length}\n",
            "A\r\nB: {length}\r\n\r\n",
        ] {
            assert_eq!(written(text, &Values::new()), "A\r\nB: 0\r\n\r\n");
        }
    }

    #[test]
    fn lengths_of_any_size_are_right() {
        for length in [0, 9, 10, 99, 100, 999, 1_000, 12_345] {
            let text = format!("A\nB: {{length}}\n\n{}", "x".repeat(length));
            let expected = format!("B: {length}\r\n\r\n");
            assert!(
                written(&text, &Values::new()).contains(&expected),
                "{length}"
            );
        }
    }

    #[test]
    fn a_bad_slot_is_named_with_its_line() {
        let error = Template::compile("invite", "A\nB: {usr}\n\n").unwrap_err();
        assert_eq!((error.name.as_str(), error.line), ("invite", 2));
        assert!(error.reason.contains("{usr}") && error.reason.contains("user, "));
        let error = Template::compile("invite", "A\n\nbody\n{user\n}").unwrap_err();
        assert_eq!(error.line, 4);
        assert_eq!(written("A\n\n{{user}", &Values::new()), "A\r\n\r\n{user}");
    }
}
