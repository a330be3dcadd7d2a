//! A received message as its reader sees it: headers by name, typed fields on demand, no copies.

use super::address::{AddressPlaces, NameAddr};
use super::fault::Fault;
use super::index::{Index, Line};
use super::lexeme::{Elements, number, part, skip_space, tail, trimmed};
use super::name::{Method, Name};
use super::remembered::{Field, Place, Slot, once};
use super::start::{Kind, Start};
use super::uri::Uri;
use super::usual;
use super::via::{Branch, Via};
use std::ops::Range;

/// A message that was framed. Nothing in it is copied; typed fields are read when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    index: &'a Index,
}

/// One header line, with its continuation lines where it is folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Which header it is.
    pub name: Name,
    /// The name as written, without white space after it.
    pub name_bytes: &'a [u8],
    /// The value as written, without white space at its ends; folds are kept.
    pub value: &'a [u8],
    /// The value's place in the message.
    pub value_span: Range<usize>,
    /// The place of the whole line, from its name to its line end.
    pub line: Range<usize>,
}

/// One element of a comma list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The element without white space at its ends.
    pub bytes: &'a [u8],
    /// Its place in the message.
    pub span: Range<usize>,
    /// What to cut so that the element goes and the list stays well formed: the whole line where
    /// it stands alone, else the element with a comma beside it.
    pub cut: Range<usize>,
    /// The line it stands in.
    pub header: Header<'a>,
    /// Whether it is the only element of its line.
    pub alone: bool,
}

/// The CSeq header (RFC 3261 §20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Less than 2^31.
    pub number: u32,
    /// The method, `Other` when it is none of ours.
    pub method: Method,
    /// The method as written.
    pub method_bytes: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8], index: &'a Index) -> Self {
        Self { bytes, index }
    }

    /// The message, from its start line to the end of its body.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The start line.
    pub fn start(&self) -> Start<'a> {
        self.index.start.view(self.bytes)
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method> {
        match self.index.start.kind {
            Kind::Request { method, .. } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// The status code of a response, 100 to 699.
    pub fn status(&self) -> Option<u16> {
        match self.index.start.kind {
            Kind::Request { .. } => None,
            Kind::Response { status } => Some(status),
        }
    }

    /// The Request-URI as written; empty for a response.
    pub fn uri(&self) -> &'a [u8] {
        part(self.bytes, self.uri_span())
    }

    /// The Request-URI in its parts.
    pub fn parsed_uri(&self) -> Result<Uri<'a>, Fault> {
        once(&self.index.remembered.uri, self.bytes, || {
            Uri::parse(self.uri())
        })
    }

    /// The place of the Request-URI; empty for a response.
    pub fn uri_span(&self) -> Range<usize> {
        match self.index.start.kind {
            Kind::Request { .. } => self.index.start.text.clone(),
            Kind::Response { .. } => 0..0,
        }
    }

    /// The offset just after the start line, where the first header line begins.
    pub fn first_header_at(&self) -> usize {
        self.index.first_header_at
    }

    /// The offset of the empty line that ends the header section; the length when it is missing.
    pub fn headers_end(&self) -> usize {
        self.index.headers_end
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &'a [u8] {
        tail(self.bytes, self.index.body_at)
    }

    /// The offset just after the empty line.
    pub(super) fn body_at(&self) -> usize {
        self.index.body_at
    }

    /// The first header of this name: one array look-up.
    #[inline]
    pub fn header(&self, name: Name) -> Option<Header<'a>> {
        let slot = self
            .index
            .slots
            .get(name as usize)
            .filter(|slot| slot.count > 0)?;
        self.index
            .lines
            .get(usize::from(slot.first))
            .map(|line| self.view(line))
    }

    /// How many header lines have this name.
    #[inline]
    pub fn count(&self, name: Name) -> usize {
        self.index
            .slots
            .get(name as usize)
            .map_or(0, |slot| slot.count.into())
    }

    /// The headers of this name, in order.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let message = *self;
        let lines = self.lines(name);
        lines.map(move |line| message.view(line))
    }

    /// All headers in order; a line without a colon comes with an empty name.
    pub fn all_headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let message = *self;
        self.index.lines.iter().map(move |line| message.view(line))
    }

    /// The elements of the comma lists of all headers of this name, in order; empty ones are
    /// passed over. Commas within quotes and `<>` separate nothing.
    pub fn values(&self, name: Name) -> impl Iterator<Item = Value<'a>> + use<'a> {
        self.headers(name).flat_map(Values::new)
    }

    /// The topmost Via.
    pub fn top_via(&self) -> Result<Via<'a>, Fault> {
        once(&self.index.remembered.via, self.bytes, || {
            self.read_top_via()
        })
    }

    fn read_top_via(&self) -> Result<Via<'a>, Fault> {
        let header = self.header(Name::Via).ok_or(Fault::MissingVia)?;
        if let Some(via) = usual::via(header.value, header.value_span.start) {
            self.note_control(&via);
            return Ok(via);
        }
        let element = Elements::new(header.value).find(|element| !element.is_empty());
        let element = element.ok_or(Fault::MalformedVia)?;
        let offset = header.value_span.start + element.start;
        self.parse_via(part(header.value, element), offset)
    }

    fn parse_via(&self, element: &'a [u8], offset: usize) -> Result<Via<'a>, Fault> {
        let via = Via::parse(element, offset)?;
        self.note_control(&via);
        Ok(via)
    }

    #[inline]
    fn note_control(&self, via: &Via<'a>) {
        if via.oc.is_some() {
            let top = self.header(Name::Via).map(|header| header.value_span.start);
            if top != Some(via.span.start) || self.status().is_none() {
                self.index.remembered.names_control.set(true);
            }
        }
    }

    /// The branch of the Via that fills this header line, where it is written as most are.
    pub(super) fn lone_branch_of(&self, header: &Header<'a>) -> Option<Branch<'a>> {
        let top = self.index.remembered.via.get().and_then(Result::ok);
        if let Some(top) = top.filter(|top| top.span() == header.value_span) {
            return Some(top.branch(self.bytes));
        }
        let via = usual::via(header.value, header.value_span.start)?;
        self.note_control(&via);
        Some(via.told())
    }

    /// Where the top Via stands: less to ask for than all its parts.
    #[inline]
    fn top_via_span(&self) -> Option<Range<usize>> {
        let slot = &self.index.remembered.via;
        if slot.get().is_none() {
            let _ = self.top_via();
        }
        slot.get()?.ok().map(|places| places.span())
    }

    /// Whether a Via that was read so far speaks of overload control (RFC 7339 §4), other than the
    /// top one of a response, which is that of whoever reads it.
    pub fn names_control(&self) -> bool {
        self.index.remembered.names_control.get()
    }

    /// What `check` finds, which is asked once.
    pub(super) fn checked_by(
        &self,
        check: impl FnOnce(&Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let found = &self.index.remembered.checked;
        found.get().unwrap_or_else(|| {
            let result = check(self);
            found.set(Some(result));
            result
        })
    }

    /// All Vias, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'a>, Fault>> + use<'a> {
        let message = *self;
        let alone = self.lone_via();
        let others = match alone {
            Some(_) => 0,
            None => usize::MAX,
        };
        let all = self.values(Name::Via).take(others);
        let all = all.map(move |value| message.via_at(value.bytes, value.span.start));
        alone.map(Ok).into_iter().chain(all)
    }

    /// Whether one of the Vias that can be read is such a one; `top` is the topmost.
    pub fn has_via(&self, top: &Via<'a>, mut is_such: impl FnMut(&Via<'a>) -> bool) -> bool {
        if self.count(Name::Via) == 1 && self.is_top_via_alone() {
            return is_such(top);
        }
        self.vias().any(|via| via.is_ok_and(|via| is_such(&via)))
    }

    /// The From header. (`from` alone reads like a conversion.)
    pub fn from_(&self) -> Result<NameAddr<'a>, Fault> {
        once(&self.index.remembered.from, self.bytes, || {
            let header = self.header(Name::From).ok_or(Fault::MissingFrom)?;
            let (from, uri) =
                NameAddr::parse_usual(header.value).map_err(|_| Fault::MalformedFrom)?;
            if let Some(uri) = uri {
                let places = uri.places(self.bytes);
                self.index.remembered.from_uri.set(Some(Ok(places)));
            }
            Ok(from)
        })
    }

    /// The URI of the From as written; empty where the header cannot be read.
    pub fn from_text(&self) -> &'a [u8] {
        self.uri_text(&self.index.remembered.from, Self::from_)
    }

    /// The URI of the To as written; empty where the header cannot be read.
    pub fn to_text(&self) -> &'a [u8] {
        self.uri_text(&self.index.remembered.to, Self::to)
    }

    /// The URI of an address alone: less to ask for than all its parts.
    fn uri_text(
        &self,
        slot: &Slot<AddressPlaces>,
        read: impl Fn(&Self) -> Result<NameAddr<'a>, Fault>,
    ) -> &'a [u8] {
        if slot.get().is_none() {
            let _ = read(self);
        }
        let places = slot.get().and_then(Result::ok);
        places.map_or(b"", |places| places.uri(self.bytes))
    }

    /// The URI of the From in its parts.
    pub fn from_uri(&self) -> Result<Uri<'a>, Fault> {
        once(&self.index.remembered.from_uri, self.bytes, || {
            Uri::parse(self.from_()?.uri)
        })
    }

    /// The To header.
    pub fn to(&self) -> Result<NameAddr<'a>, Fault> {
        once(&self.index.remembered.to, self.bytes, || {
            let header = self.header(Name::To).ok_or(Fault::MissingTo)?;
            NameAddr::parse(header.value).map_err(|_| Fault::MalformedTo)
        })
    }

    /// The Call-ID, compared byte by byte (RFC 3261 §20.8); never empty.
    pub fn call_id(&self) -> Result<&'a [u8], Fault> {
        let value = self.header(Name::CallId).ok_or(Fault::MissingCallId)?.value;
        if value.is_empty() {
            Err(Fault::MalformedCallId)
        } else {
            Ok(value)
        }
    }

    /// The CSeq header.
    pub fn cseq(&self) -> Result<CSeq<'a>, Fault> {
        once(&self.index.remembered.cseq, self.bytes, || {
            CSeq::parse(self.header(Name::CSeq).ok_or(Fault::MissingCSeq)?.value)
        })
    }

    /// The hops that are left, where the header is there.
    pub fn max_forwards(&self) -> Result<Option<u8>, Fault> {
        let Some(header) = self.header(Name::MaxForwards) else {
            return Ok(None);
        };
        let hops = number(header.value).and_then(|number| u8::try_from(number).ok());
        hops.map(Some).ok_or(Fault::MalformedMaxForwards)
    }

    /// The top Via where it is the only one of the message; `None` also where that would have to
    /// be looked for.
    fn lone_via(&self) -> Option<Via<'a>> {
        let is_lone = self.count(Name::Via) == 1 && self.is_top_via_alone();
        self.top_via().ok().filter(|_| is_lone)
    }

    /// Whether the top Via fills its header line.
    pub(super) fn is_top_via_alone(&self) -> bool {
        let header = self.header(Name::Via).map(|header| header.value_span);
        header.is_some() && header == self.top_via_span()
    }

    /// Whether there is another Via below the top one.
    pub fn has_lower_via(&self) -> bool {
        match (self.is_top_via_alone(), self.count(Name::Via)) {
            (true, 1) => false,
            (true, 2) => self
                .headers(Name::Via)
                .nth(1)
                .is_some_and(|header| !header.value.is_empty()),
            _ => self.values(Name::Via).nth(1).is_some(),
        }
    }

    /// The Via element that is written there: the top one was read before.
    pub(super) fn via_at(&self, element: &'a [u8], offset: usize) -> Result<Via<'a>, Fault> {
        match self.top_via_span() {
            Some(top) if top.start == offset => self.top_via(),
            _ => self.parse_via(element, offset),
        }
    }

    /// How many header lines there are.
    pub(super) fn lines_count(&self) -> usize {
        self.index.lines.len()
    }

    /// The length of the longest header line.
    pub(super) fn longest_line(&self) -> usize {
        let lengths = self.index.lines.iter().map(|line| line.end - line.start);
        lengths.max().unwrap_or_default() as usize
    }

    pub(super) fn framing_fault(&self) -> Option<Fault> {
        self.index.fault
    }

    /// Whether a CR before the body ends no line.
    pub(super) fn has_bare_return(&self) -> bool {
        self.index.has_bare_return
    }

    pub(super) fn start_fault(&self) -> Option<Fault> {
        self.index.start.fault
    }

    fn lines(&self, name: Name) -> impl Iterator<Item = &'a Line> + use<'a> {
        let slot = self.index.slots.get(name as usize);
        let (first, count) = slot.map_or((0, 0), |slot| (slot.first.into(), slot.count.into()));
        let lines = self.index.lines.get(first..).unwrap_or_default().iter();
        lines.filter(move |line| line.name == name).take(count)
    }

    #[inline]
    fn view(&self, line: &Line) -> Header<'a> {
        let value_span = line.value_start as usize..line.value_end as usize;
        Header {
            name: line.name,
            name_bytes: part(self.bytes, line.start as usize..line.name_end as usize),
            value: part(self.bytes, value_span.clone()),
            value_span,
            line: line.start as usize..line.end as usize,
        }
    }
}

impl<'a> CSeq<'a> {
    /// Reads `number method`, with any white space between.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        let digits = value
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let method_at = skip_space(value, digits);
        let method_bytes = trimmed(tail(value, method_at));
        if digits == 0 || method_at == digits || method_bytes.is_empty() {
            return Err(Fault::MalformedCSeq);
        }
        let number = number(part(value, 0..digits)).and_then(|number| u32::try_from(number).ok());
        let number = number
            .filter(|number| *number < 1 << 31)
            .ok_or(Fault::CSeqOutOfRange)?;
        Ok(Self {
            number,
            method: Method::from_bytes(method_bytes),
            method_bytes,
        })
    }
}

/// A [`CSeq`] as places in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct CSeqPlaces {
    number: u32,
    method: Method,
    method_bytes: Place,
}

impl<'a> Field<'a> for CSeq<'a> {
    type Places = CSeqPlaces;

    fn places(&self, message: &'a [u8]) -> CSeqPlaces {
        CSeqPlaces {
            number: self.number,
            method: self.method,
            method_bytes: Place::of(self.method_bytes, message),
        }
    }

    fn at(places: &CSeqPlaces, message: &'a [u8]) -> Self {
        Self {
            number: places.number,
            method: places.method,
            method_bytes: places.method_bytes.within(message),
        }
    }
}

/// The elements of one line, each knowing its neighbours.
struct Values<'a> {
    header: Header<'a>,
    elements: Elements<'a>,
    previous_end: Option<usize>,
    next: Option<Range<usize>>,
}

impl<'a> Values<'a> {
    fn new(header: Header<'a>) -> Self {
        let mut elements = Elements::new(header.value);
        let next = elements.find(|element| !element.is_empty());
        Self {
            header,
            elements,
            previous_end: None,
            next,
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let element = self.next.take()?;
        self.next = self.elements.find(|element| !element.is_empty());
        let base = self.header.value_span.start;
        let cut = match (&self.next, self.previous_end) {
            (Some(next), _) => base + element.start..base + next.start,
            (None, Some(end)) => base + end..base + element.end,
            (None, None) => self.header.line.clone(),
        };
        let alone = self.next.is_none() && self.previous_end.is_none();
        self.previous_end = Some(element.end);
        Some(Value {
            bytes: part(self.header.value, element.clone()),
            span: base + element.start..base + element.end,
            cut,
            header: self.header.clone(),
            alone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(lines: &str, read: impl FnOnce(&Message<'_>, &[Value<'_>])) {
        let text = format!("ACK sip:a@b SIP/2.0\r\n{lines}\r\n");
        let mut index = Index::new();
        let message = index.parse(text.as_bytes()).unwrap();
        read(&message, &message.values(Name::Route).collect::<Vec<_>>());
    }

    #[test]
    fn a_cut_takes_one_comma_with_it() {
        values("Route: <a> ,\r\n\t<b,b>, <c>\r\n", |message, values| {
            let cut = |at: usize| part(message.bytes(), values[at].cut.clone());
            assert_eq!(cut(0), b"<a> ,\r\n\t");
            assert_eq!(cut(1), b"<b,b>, ");
            assert_eq!(cut(2), b", <c>");
            assert!(values.iter().all(|value| !value.alone));
        });
    }

    #[test]
    fn an_element_alone_is_cut_with_its_line() {
        values(
            "X: y\r\nRoute:\r\n <a>,\r\nRoute: <b>\r\n",
            |message, values| {
                assert_eq!(
                    part(message.bytes(), values[0].cut.clone()),
                    b"Route:\r\n <a>,\r\n"
                );
                assert_eq!(
                    part(message.bytes(), values[1].cut.clone()),
                    b"Route: <b>\r\n"
                );
                assert!(values.iter().all(|value| value.alone));
            },
        );
    }

    #[test]
    fn typed_fields_name_what_is_missing() {
        let mut index = Index::new();
        let message = index
            .parse(b"ACK sip:a@b SIP/2.0\r\nFrom: \"\r\n\r\n")
            .unwrap();
        assert_eq!(message.top_via(), Err(Fault::MissingVia));
        assert_eq!(message.from_(), Err(Fault::MalformedFrom));
        assert_eq!(message.to(), Err(Fault::MissingTo));
        assert_eq!(message.call_id(), Err(Fault::MissingCallId));
        assert_eq!(message.cseq(), Err(Fault::MissingCSeq));
        assert_eq!(message.max_forwards(), Ok(None));
        assert_eq!(
            (message.method(), message.status()),
            (Some(Method::Ack), None)
        );
        assert_eq!(message.uri(), b"sip:a@b");
    }
}
