//! Messages as the simulated phones and the checker read them: split once, kept as text.

use std::ops::Range;
use std::rc::Rc;

/// A message, its header lines found.
pub struct Sip {
    pub text: String,
    /// Empty for a response.
    method: Range<usize>,
    uri: Range<usize>,
    status: Option<u16>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    body: usize,
}

impl Sip {
    /// Reads a message; what the simulation sends can always be read.
    pub fn read(bytes: &[u8]) -> Option<Rc<Self>> {
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        let head = text.find("\r\n\r\n")?;
        let first = text.find("\r\n")?;
        let status = text
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let method = text.find(' ').filter(|_| status.is_none()).unwrap_or(0);
        let uri_end = text[..first].rfind(' ')?;
        let uri = if status.is_none() {
            method + 1..uri_end
        } else {
            0..0
        };
        let mut headers = Vec::with_capacity(16);
        let mut at = first + 2;
        while at < head {
            let end = text[at..].find("\r\n")? + at;
            let colon = text[at..end].find(':')? + at;
            let value = text[colon + 1..end].trim_start();
            headers.push((at..colon, end - value.len()..end));
            at = end + 2;
        }
        Some(Rc::new(Self {
            method: 0..method,
            uri,
            status,
            headers,
            body: head + 4,
            text,
        }))
    }

    pub fn of(text: &str) -> Rc<Self> {
        Self::read(text.as_bytes()).unwrap_or_else(|| panic!("the simulation wrote {text:?}"))
    }

    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The method of a request, or of the request that a response answers.
    pub fn method(&self) -> &str {
        if self.status.is_none() {
            &self.text[self.method.clone()]
        } else {
            self.cseq().1
        }
    }

    pub fn is(&self, method: &str) -> bool {
        self.status.is_none() && self.method() == method
    }

    pub fn uri(&self) -> &str {
        &self.text[self.uri.clone()]
    }

    pub fn body(&self) -> &str {
        &self.text[self.body..]
    }

    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| self.text[key.clone()].eq_ignore_ascii_case(name))
            .map(|(_, value)| &self.text[value.clone()])
    }

    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.headers(name).next()
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self
            .header("CSeq")
            .and_then(|value| value.split_once(' '))
            .unwrap_or(("0", ""));
        (number.parse().unwrap_or(0), method)
    }

    /// The branch of the Via that stands at that place, the topmost is 0.
    pub fn branch(&self, at: usize) -> &str {
        param(self.headers("Via").nth(at).unwrap_or_default(), "branch").unwrap_or_default()
    }

    pub fn vias(&self) -> usize {
        self.headers("Via").count()
    }

    pub fn sender_tag(&self) -> &str {
        param(self.header("From").unwrap_or_default(), "tag").unwrap_or_default()
    }

    pub fn to_tag(&self) -> &str {
        param(self.header("To").unwrap_or_default(), "tag").unwrap_or_default()
    }

    /// The session interval agreed on, seconds (RFC 4028).
    pub fn session_s(&self) -> u64 {
        let value = self.header("Session-Expires").unwrap_or_default();
        value
            .split(';')
            .next()
            .and_then(|s| s.trim().parse().ok())
            .unwrap_or(0)
    }
}

/// The value of a parameter; a name inside angle brackets is not one.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let outside = value.rfind('>').map_or(value, |end| &value[end + 1..]);
    outside.split(';').skip(1).find_map(|param| {
        let (key, value) = param.split_once('=')?;
        (key.trim() == name).then_some(value.trim())
    })
}

/// The URI within angle brackets.
pub fn uri_of(value: &str) -> &str {
    let start = value.find('<').map_or(0, |at| at + 1);
    let end = value.find('>').unwrap_or(value.len());
    &value[start..end]
}
