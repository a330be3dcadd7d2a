//! Addresses as From, To, Contact, Route and their like write them (RFC 3261 §20.10).

use super::fault::Fault;
use super::lexeme::{Params, closing_quote, is_space, is_token, part, skip_space, tail, trimmed};
use super::remembered::{Field, Place};
use super::scan::{find, find2, find3};
use super::uri::Uri;
use super::usual;

/// `"Display" <uri>;params` or `uri;params`; every part is as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name without its surrounding quotes, escapes kept; empty when there is none.
    pub display: &'a [u8],
    /// The URI without brackets and white space around it; never empty.
    pub uri: &'a [u8],
    /// The first `tag` parameter; `None` also when it is written without a value.
    pub tag: Option<&'a [u8]>,
    /// The header parameters, from the first semicolon on.
    pub params: &'a [u8],
    /// Written as the grammar has it.
    strict: bool,
    /// Its URI is known to be one, and no byte of URI and tags is illegal there.
    pub(super) sound: bool,
    /// How many `tag` parameters there are, with and without a value.
    pub(super) tags: u8,
}

impl<'a> NameAddr<'a> {
    /// Reads one address; its URI may be none that can be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::parse_usual(bytes).map(|(address, _)| address)
    }

    /// Reads one address, and its URI.
    pub fn parse_with_uri(bytes: &'a [u8]) -> Result<(Self, Uri<'a>), Fault> {
        let (address, uri) = Self::parse_usual(bytes)?;
        Ok((address, uri.map_or_else(|| address.parsed_uri(), Ok)?))
    }

    /// Reads one address, and its URI where both are written as most are.
    pub(super) fn parse_usual(bytes: &'a [u8]) -> Result<(Self, Option<Uri<'a>>), Fault> {
        let bytes = trimmed(bytes);
        match usual::address(bytes) {
            Some((address, uri)) => Ok((address, Some(uri))),
            None => Self::parse_any(bytes).map(|address| (address, None)),
        }
    }

    /// What was read of one whose form is the usual one.
    #[inline]
    pub(super) fn usual(
        display: &'a [u8],
        uri: &'a [u8],
        params: &'a [u8],
        (tag, tags): (Option<&'a [u8]>, u8),
    ) -> Self {
        Self {
            display,
            uri,
            tag,
            params,
            strict: true,
            sound: true,
            tags,
        }
    }

    /// Reads one without white space around it; the URI itself is not looked into.
    pub(super) fn parse_any(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (display, uri, params, strict) = match form(bytes)? {
            Form::Bracketed { display_end, open } => bracketed(bytes, display_end, open)?,
            Form::Bare => bare(bytes)?,
        };
        if uri.is_empty() {
            return Err(Fault::MalformedAddress);
        }
        let (tag, tags) = read_tags(params)?;
        Ok(Self {
            display,
            uri,
            tag,
            params,
            strict,
            sound: false,
            tags,
        })
    }

    /// The value of a header parameter, in any case: `Some(None)` when it has none.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.params().value(name)
    }

    /// The header parameters in order.
    pub fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// Whether it is written as RFC 3261 §25.1 has it: a display name of tokens where it is not
    /// quoted, and no white space beside the URI. Bytes beyond ASCII pass for token bytes: many
    /// phones write names so, and nothing in them can be mistaken for a separator.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// The URI in its parts.
    pub fn parsed_uri(&self) -> Result<Uri<'a>, Fault> {
        Uri::parse(self.uri)
    }
}

/// A [`NameAddr`] as places in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressPlaces {
    display: Place,
    uri: Place,
    tag: Option<Place>,
    params: Place,
    strict: bool,
    sound: bool,
    tags: u8,
}

impl AddressPlaces {
    /// The URI as written.
    pub(super) fn uri(self, message: &[u8]) -> &[u8] {
        self.uri.within(message)
    }
}

impl<'a> Field<'a> for NameAddr<'a> {
    type Places = AddressPlaces;

    fn places(&self, message: &'a [u8]) -> AddressPlaces {
        let place = |piece| Place::of(piece, message);
        AddressPlaces {
            display: place(self.display),
            uri: place(self.uri),
            tag: self.tag.map(place),
            params: place(self.params),
            strict: self.strict,
            sound: self.sound,
            tags: self.tags,
        }
    }

    fn at(places: &AddressPlaces, message: &'a [u8]) -> Self {
        Self {
            display: places.display.within(message),
            uri: places.uri.within(message),
            tag: places.tag.map(|place| place.within(message)),
            params: places.params.within(message),
            strict: places.strict,
            sound: places.sound,
            tags: places.tags,
        }
    }
}

enum Form {
    Bracketed { display_end: usize, open: usize },
    Bare,
}

/// Where the bracket opens, if there is one. A display name may be unquoted and hold more than
/// tokens (a comma, Latin-1): peers write such, and a proxy passes it on.
fn form(bytes: &[u8]) -> Result<Form, Fault> {
    if bytes.first() == Some(&b'"') {
        let close = closing_quote(bytes, 1).ok_or(Fault::MalformedAddress)?;
        let open = skip_space(bytes, close + 1);
        return match bytes.get(open) {
            Some(b'<') => Ok(Form::Bracketed {
                display_end: close + 1,
                open,
            }),
            _ => Err(Fault::MalformedAddress),
        };
    }
    match find3(b'<', b'"', b';', bytes) {
        Some(open) if bytes.get(open) == Some(&b'<') => Ok(Form::Bracketed {
            display_end: open,
            open,
        }),
        Some(quote) if bytes.get(quote) == Some(&b'"') => Err(Fault::MalformedAddress),
        _ => Ok(Form::Bare),
    }
}

type Parts<'a> = (&'a [u8], &'a [u8], &'a [u8], bool);

/// The first tag among the parameters, and how many there are.
fn read_tags(params: &[u8]) -> Result<(Option<&[u8]>, u8), Fault> {
    if params.is_empty() {
        return Ok((None, 0));
    }
    let all = Params::new(params);
    if !all.is_plain() && has_open_quote(params) {
        return Err(Fault::MalformedAddress);
    }
    let (mut first, mut tags) = (None, 0_u8);
    for param in all {
        if param.name.len() == 3 && param.is(b"tag") {
            if tags == 0 {
                first = param.value.filter(|tag| !tag.is_empty());
            }
            tags = tags.saturating_add(1);
        }
    }
    Ok((first, tags))
}

fn bracketed(bytes: &[u8], display_end: usize, open: usize) -> Result<Parts<'_>, Fault> {
    let inner = tail(bytes, open + 1);
    let close = find(b'>', inner).ok_or(Fault::MalformedAddress)?;
    let after = trimmed(tail(inner, close + 1));
    if after.first().is_some_and(|&byte| byte != b';') {
        return Err(Fault::MalformedAddress);
    }
    let padded = part(inner, 0..close);
    let uri = trimmed(padded);
    let (display, is_name) = display_name(part(bytes, 0..display_end));
    Ok((display, uri, after, is_name && uri.len() == padded.len()))
}

/// A display name without its quotes, and whether it is written as the grammar has it.
#[inline]
fn display_name(written: &[u8]) -> (&[u8], bool) {
    if let [b'"', quoted @ .., b'"'] = written {
        return (quoted, true);
    }
    let name = trimmed(written);
    let is_word = |byte: &u8| is_token(*byte) || is_space(*byte) || !byte.is_ascii();
    (name, name.iter().all(is_word))
}

/// Without brackets every parameter is the header's, none the URI's; a URI that has a comma or a
/// question mark must stand in brackets (RFC 3261 §20).
fn bare(bytes: &[u8]) -> Result<Parts<'_>, Fault> {
    let end = find(b';', bytes).unwrap_or(bytes.len());
    let (uri, params) = (trimmed(part(bytes, 0..end)), tail(bytes, end));
    if find2(b',', b'?', uri).is_some() {
        return Err(Fault::MalformedAddress);
    }
    Ok((part(bytes, 0..0), uri, params, true))
}

fn has_open_quote(params: &[u8]) -> bool {
    let mut from = 0;
    while let Some(open) = find(b'"', tail(params, from)) {
        match closing_quote(params, from + open + 1) {
            Some(close) => from = close + 1,
            None => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_quoted_display_name_may_hold_anything() {
        let address = parsed(r#" "A \" <;tag=no" <sip:a@b;lr> ;x="y;tag=z"; Tag = 7 "#);
        assert_eq!(address.display, br#"A \" <;tag=no"#);
        assert_eq!(address.uri, b"sip:a@b;lr");
        assert_eq!(address.tag, Some(&b"7"[..]));
        assert_eq!(address.param(b"X"), Some(Some(&b"\"y;tag=z\""[..])));
        assert!(address.parsed_uri().unwrap().is_lr());
    }

    #[test]
    fn without_brackets_params_are_the_headers() {
        let address = parsed("sip:a@b;tag=1");
        assert_eq!(
            (address.uri, address.tag),
            (&b"sip:a@b"[..], Some(&b"1"[..]))
        );
        assert_eq!(address.display, b"");
    }

    #[test]
    fn unquoted_and_spaced_forms_are_read() {
        let address = parsed("Bell, Alexander\r\n\t< sip:a@b >;tag=43");
        assert_eq!(
            (address.display, address.uri),
            (&b"Bell, Alexander"[..], &b"sip:a@b"[..])
        );
        assert_eq!(parsed("<tel:+49>").tag, None);
        assert_eq!(parsed("<tel:+49>;tag").tag, None);
    }

    #[test]
    fn unbalanced_quotes_and_brackets_are_refused() {
        for text in [
            "",
            "<>",
            "\"A <sip:a@b>",
            "<sip:a@b",
            "A \"B\" <sip:a@b>",
            "\"A\" sip:a@b",
            "<sip:a@b> x",
            "<sip:a@b>;x=\"",
            ";tag=1",
        ] {
            let fault = Err(Fault::MalformedAddress);
            assert_eq!(NameAddr::parse(text.as_bytes()), fault, "{text:?}");
        }
    }
}
