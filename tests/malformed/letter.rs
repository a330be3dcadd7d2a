//! Messages made of header lines that a test may set, add or spoil.

use proptest::prelude::*;

/// A request to Bob, or anything else that was made of it.
#[derive(Debug, Clone)]
pub struct Letter {
    pub start: Vec<u8>,
    pub lines: Vec<Vec<u8>>,
    pub body: Vec<u8>,
}

pub const VIA: &str = "SIP/2.0/UDP 192.0.2.50:5070;branch=z9hG4bK-letter";

impl Letter {
    pub fn new(method: &str) -> Self {
        Self::to(method, "sip:bob@example.com")
    }

    pub fn to(method: &str, uri: &str) -> Self {
        let lines = [
            format!("Via: {VIA}"),
            "Max-Forwards: 70".into(),
            "From: \"Nora\" <sip:nora@elsewhere.net>;tag=n0ra".into(),
            "To: <sip:bob@example.com>".into(),
            "Call-ID: c0ffee@192.0.2.50".into(),
            format!("CSeq: 17 {method}"),
        ];
        Self {
            start: format!("{method} {uri} SIP/2.0").into_bytes(),
            lines: lines.map(String::into_bytes).to_vec(),
            body: Vec::new(),
        }
    }

    /// Puts these values in place of the header's lines.
    pub fn set<T: AsRef<[u8]>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let head = format!("{name}: ").into_bytes();
        let at = self.lines.iter().position(|line| line.starts_with(&head));
        let at = at.unwrap_or(self.lines.len());
        self.lines.retain(|line| !line.starts_with(&head));
        let lines = values
            .into_iter()
            .map(|value| [&head, value.as_ref()].concat());
        self.lines.splice(at..at, lines);
        self
    }

    pub fn add(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.push(line.as_ref().to_vec());
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// As it is, without Content-Length.
    pub fn bare(&self) -> Vec<u8> {
        let mut bytes = self.start.clone();
        for line in &self.lines {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(line);
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// With Content-Length.
    pub fn bytes(&self) -> Vec<u8> {
        let length = format!("Content-Length: {}", self.body.len());
        self.clone().add(length).bare()
    }
}

/// White space that may stand between two parts of a header: none, blanks, a fold.
pub fn space() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "", " ", "\t", "  \t ", "\r\n ", " \r\n\t"])
        .prop_map(str::to_owned)
}

/// A token of RFC 3261 §25.1.
pub fn token() -> impl Strategy<Value = String> {
    "[-a-zA-Z0-9.!%*_+`'~]{1,12}"
}

/// Each letter in either case.
pub fn any_case(text: &str) -> impl Strategy<Value = String> + use<> {
    let text = text.to_owned();
    prop::collection::vec(any::<bool>(), text.len()).prop_map(move |upper| {
        let cased = text.chars().zip(upper).map(|(letter, upper)| {
            if upper {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            }
        });
        cased.collect()
    })
}
