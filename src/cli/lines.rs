//! The lines of an import: where each document came from, and what is wrong with it before it is
//! even sent.

use std::io::{self, BufRead};

use serde_json::Value;

use super::csv_lines;

/// The longest line of JSON that is read; a subscriber's document is far shorter.
pub(super) const LINE_LIMIT_BYTES: usize = 256 * 1024;

/// One line of the input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Counted from 1, as editors do.
    pub number: u64,
    /// The document, or why there is none.
    pub document: Result<Value, String>,
}

/// The lines of an input, blank ones left out. Ends after the first error of the input itself.
pub(super) type Lines<'a> = Box<dyn Iterator<Item = io::Result<Line>> + 'a>;

/// How the input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One JSON document a line
    Jsonl,
    /// A header line that names the fields, then one subscriber a line
    Csv,
}

impl Format {
    /// The format that a file's name suggests.
    pub(super) fn of(file: &str) -> Option<Self> {
        let (_, extension) = file.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The lines of `input`.
    ///
    /// # Errors
    /// A CSV header that cannot be read or names unknown fields.
    pub(super) fn lines<'a>(self, input: Box<dyn BufRead + 'a>) -> Result<Lines<'a>, String> {
        match self {
            Self::Jsonl => Ok(Box::new(JsonLines { input, number: 0 })),
            Self::Csv => csv_lines::lines(input),
        }
    }
}

struct JsonLines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let raw = match read_line(&mut self.input) {
                Ok(Some(raw)) => raw,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            self.number += 1;
            let document = match raw {
                Raw::TooLong => Err(format!("longer than {LINE_LIMIT_BYTES} bytes")),
                Raw::Bytes(bytes) => {
                    let text = without_mark(&bytes).trim_ascii();
                    if text.is_empty() {
                        continue;
                    }
                    serde_json::from_slice(text).map_err(|error| format!("no JSON: {error}"))
                }
            };
            return Some(Ok(Line {
                number: self.number,
                document,
            }));
        }
    }
}

/// The bytes without the byte order mark that some programs put at the beginning of a file.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A line as it came.
pub(super) enum Raw {
    /// With its line end.
    Bytes(Vec<u8>),
    /// Over the limit; its bytes are gone.
    TooLong,
}

/// Reads a line without keeping more of it than the limit; `None` at the end.
pub(super) fn read_line(input: &mut impl BufRead) -> io::Result<Option<Raw>> {
    let mut line = Vec::new();
    let mut is_too_long = false;
    let mut is_started = false;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            break;
        }
        is_started = true;
        let end = memchr::memchr(b'\n', available);
        let taken = end.map_or(available.len(), |end| end + 1);
        let room = LINE_LIMIT_BYTES.saturating_sub(line.len());
        is_too_long |= taken > room.saturating_add(1);
        line.extend(available.iter().take(taken.min(room)));
        input.consume(taken);
        if end.is_some() {
            break;
        }
    }
    Ok(is_started.then_some(if is_too_long {
        Raw::TooLong
    } else {
        Raw::Bytes(line)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Line> {
        let lines = Format::Jsonl.lines(Box::new(input)).unwrap();
        lines.collect::<io::Result<_>>().unwrap()
    }

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let lines = read(b"\xef\xbb\xbf{\"id\":\"a\"}\r\n\n  \n{\"id\":\"b\"}");
        let numbers: Vec<_> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 4]);
        assert!(lines.iter().all(|line| line.document.is_ok()));
    }

    #[test]
    fn a_bad_line_spoils_no_other() {
        let mut input = b"{\"id\":\"a\"}\n{\"id\":\n\xff\xfe\n".to_vec();
        input.extend(vec![b'x'; LINE_LIMIT_BYTES + 10]);
        input.extend(b"\n{\"id\":\"b\"}\n");
        let lines = read(&input);
        let good: Vec<_> = lines
            .iter()
            .filter(|l| l.document.is_ok())
            .map(|l| l.number)
            .collect();
        assert_eq!(good, [1, 5]);
        assert!(lines[3].document.as_ref().unwrap_err().contains("longer"));
    }

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        assert_eq!(Format::of("people.CSV"), Some(Format::Csv));
        assert_eq!(Format::of("a/b.jsonl"), Some(Format::Jsonl));
        assert_eq!(Format::of("-"), None);
    }
}
