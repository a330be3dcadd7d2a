//! CSV to subscribers' documents: the header names the fields.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value, json};

use super::lines::{LINE_LIMIT_BYTES, Line, Lines, Raw, read_line, without_mark};
use super::settings;

/// The fields of a document that a column may carry, beside `<status>.<setting>`.
const FIELDS: [&str; 11] = [
    "id",
    "display_name",
    "aliases",
    "language",
    "status",
    "own_status",
    "status_message",
    "until",
    "source",
    "settings",
    "password",
];
const PARTS: [&str; 6] = ["all", "available", "away", "break", "dnd", "in_call"];
const UNCLOSED: &str = "a quote is not closed, or text follows a closing quote";
/// Over how many further lines a quoted field may go on.
const RECORD_LINES: usize = 16;

/// The subscribers of a CSV input. The delimiter is the one that the header uses: a comma, a
/// semicolon (German spreadsheets) or a tab.
///
/// # Errors
/// A header that cannot be read, or that names a field nobody knows.
pub(super) fn lines<'a>(mut input: Box<dyn BufRead + 'a>) -> Result<Lines<'a>, String> {
    let header = match read_line(&mut input).map_err(|error| error.to_string())? {
        Some(Raw::Bytes(header)) => header,
        Some(Raw::TooLong) => return Err("the header is too long".to_owned()),
        None => return Err("the file is empty".to_owned()),
    };
    let delimiter = delimiter_of(&header);
    let columns = columns(without_mark(&header), delimiter)?;
    Ok(Box::new(CsvLines {
        input,
        columns,
        delimiter,
        number: 1,
        ahead: VecDeque::new(),
    }))
}

/// Puts physical lines together to records, one at a time: a quote that is never closed must not
/// swallow the rest of the file.
struct CsvLines<R> {
    input: R,
    columns: Vec<String>,
    delimiter: u8,
    /// The number of the line read last.
    number: u64,
    /// Lines that were read ahead in search of a closing quote.
    ahead: VecDeque<Raw>,
}

impl<R: BufRead> Iterator for CsvLines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let raw = match self.next_line() {
                Ok(Some(raw)) => raw,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            let number = self.number;
            let document = match raw {
                Raw::TooLong => Err(format!("longer than {LINE_LIMIT_BYTES} bytes")),
                Raw::Bytes(line) => match self.whole_record(line) {
                    Ok(Ok(record)) if record.trim_ascii().is_empty() => continue,
                    Ok(Ok(record)) => self.document(&record),
                    Ok(Err(reason)) => Err(reason),
                    Err(error) => return Some(Err(error)),
                },
            };
            return Some(Ok(Line { number, document }));
        }
    }
}

impl<R: BufRead> CsvLines<R> {
    fn next_line(&mut self) -> io::Result<Option<Raw>> {
        let line = match self.ahead.pop_front() {
            Some(line) => Some(line),
            None => read_line(&mut self.input)?,
        };
        self.number += u64::from(line.is_some());
        Ok(line)
    }

    /// The record that begins with `line`. Where its quote is not closed within a few lines, the
    /// lines after the first are left for the next records.
    fn whole_record(&mut self, line: Vec<u8>) -> io::Result<Result<Vec<u8>, String>> {
        let mut record = line;
        let mut taken = 0;
        loop {
            match Quotes::of(&record, self.delimiter) {
                Quotes::Closed => break,
                Quotes::Broken => return Ok(Err(UNCLOSED.to_owned())),
                Quotes::Open => {}
            }
            if self.ahead.len() == taken {
                self.ahead.extend(read_line(&mut self.input)?);
            }
            match self.ahead.get(taken) {
                Some(Raw::Bytes(next)) if taken < RECORD_LINES => record.extend(next),
                _ => return Ok(Err(UNCLOSED.to_owned())),
            }
            taken += 1;
        }
        self.ahead.drain(..taken);
        self.number += taken as u64;
        Ok(Ok(record))
    }

    fn document(&self, record: &[u8]) -> Result<Value, String> {
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(record);
        let mut fields = ByteRecord::new();
        match reader.read_byte_record(&mut fields) {
            Ok(_) => document(&self.columns, &fields),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// How a record stands to its quotes.
#[derive(Debug, PartialEq, Eq)]
enum Quotes {
    /// Every quoted field has its end.
    Closed,
    /// The record ends inside a quoted field.
    Open,
    /// Something stands between a closing quote and the next field: the quote opened elsewhere.
    Broken,
}

impl Quotes {
    fn of(record: &[u8], delimiter: u8) -> Self {
        let mut is_field_start = true;
        let mut is_open = false;
        let mut bytes = record.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match (byte, is_open) {
                (b'"', true) if bytes.peek() == Some(&b'"') => {
                    bytes.next();
                }
                (b'"', true) => {
                    is_open = false;
                    let ends = |next: &u8| [delimiter, b'\r', b'\n'].contains(next);
                    if !bytes.peek().is_none_or(ends) {
                        return Self::Broken;
                    }
                }
                (b'"', false) if is_field_start => is_open = true,
                _ => is_field_start = byte == delimiter,
            }
        }
        if is_open { Self::Open } else { Self::Closed }
    }
}

fn delimiter_of(header: &[u8]) -> u8 {
    let count = |delimiter: u8| header.iter().filter(|byte| **byte == delimiter).count();
    let mut best = b',';
    for candidate in [b';', b'\t'] {
        if count(candidate) > count(best) {
            best = candidate;
        }
    }
    best
}

fn columns(header: &[u8], delimiter: u8) -> Result<Vec<String>, String> {
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .from_reader(header);
    let record = reader.records().next().ok_or("the file is empty")?;
    let record = record.map_err(|error| format!("the header: {error}"))?;
    let columns: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
    if let Some(unknown) = columns.iter().find(|name| !is_column(name)) {
        return Err(format!(
            "the header names `{unknown}`; use {}, or a setting as in away.immediate",
            FIELDS.join(", ")
        ));
    }
    if !columns.iter().any(|name| name == "id") {
        return Err("the header has no column `id`".to_owned());
    }
    Ok(columns)
}

fn is_column(name: &str) -> bool {
    let is_setting = name
        .split_once('.')
        .is_some_and(|(part, _)| PARTS.contains(&part));
    FIELDS.contains(&name) || is_setting
}

fn document(columns: &[String], record: &ByteRecord) -> Result<Value, String> {
    if record.len() > columns.len() {
        return Err(format!(
            "{} fields, the header has {}",
            record.len(),
            columns.len()
        ));
    }
    let mut map = Map::new();
    for (column, raw) in columns.iter().zip(record) {
        let text = std::str::from_utf8(raw).map_err(|_| format!("{column}: no UTF-8"))?;
        if !text.trim().is_empty() {
            set_field(&mut map, column, text.trim())?;
        }
    }
    Ok(Value::Object(map))
}

fn set_field(map: &mut Map<String, Value>, column: &str, text: &str) -> Result<(), String> {
    match column {
        "aliases" => {
            map.insert(column.to_owned(), aliases(text).into());
        }
        "settings" => {
            let value: Value =
                serde_json::from_str(text).map_err(|error| format!("settings: {error}"))?;
            map.insert(column.to_owned(), value);
        }
        _ => match column.split_once('.') {
            Some((part, key)) => set_setting(map, part, key, text)?,
            None => {
                map.insert(column.to_owned(), json!(text));
            }
        },
    }
    Ok(())
}

/// Aliases stand between semicolons or commas; where there are none, between spaces, unless the
/// spaces are inside a single number (`+49 30 1234-56`).
fn aliases(text: &str) -> Vec<&str> {
    let is_country_code = |piece: &str| piece.starts_with('+') && piece.len() <= 4;
    let separators: &[char] = if text.contains([';', ',']) {
        &[';', ',']
    } else if text.split(' ').any(is_country_code) {
        &[]
    } else {
        &[' ']
    };
    text.split(separators)
        .map(str::trim)
        .filter(|alias| !alias.is_empty())
        .collect()
}

fn set_setting(
    map: &mut Map<String, Value>,
    part: &str,
    key: &str,
    text: &str,
) -> Result<(), String> {
    let all = map.entry("settings").or_insert_with(|| json!({}));
    let Some(all) = all.as_object_mut() else {
        return Err("settings: no object".to_owned());
    };
    let part = all.entry(part).or_insert_with(|| json!({}));
    settings::apply(part, key, text).map_err(|error| error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Vec<Line> {
        let lines = lines(Box::new(input.as_bytes())).unwrap();
        lines.collect::<io::Result<_>>().unwrap()
    }

    #[test]
    fn a_row_becomes_a_document() {
        let lines = read(
            "id,display_name,aliases,status,away.immediate,available.ring_for_s\n\
             anna,\"Arndt, Anna\",101;+49 30 12345-101; 0301,away,forward:+49170,20\n\
             bob,,,,,\n",
        );
        assert_eq!(
            lines[0].document,
            Ok(json!({
                "id": "anna", "display_name": "Arndt, Anna",
                "aliases": ["101", "+49 30 12345-101", "0301"], "status": "away",
                "settings": {"away": {"immediate": {"forward": "+49170"}},
                             "available": {"ring_for_s": 20}}
            }))
        );
        assert_eq!(lines[1].document, Ok(json!({"id": "bob"})));
    }

    #[test]
    fn a_spreadsheet_in_german_is_read_as_it_comes() {
        let lines = read("\u{feff}id;display_name;aliases\r\nänne;Änne Öz;101 102\r\n");
        assert_eq!(
            lines[0].document,
            Ok(json!({"id": "änne", "display_name": "Änne Öz", "aliases": ["101", "102"]}))
        );
    }

    #[test]
    fn aliases_are_separated_as_people_separate_them() {
        assert_eq!(aliases("101 102"), ["101", "102"]);
        assert_eq!(aliases("101;102; +49 30 1"), ["101", "102", "+49 30 1"]);
        assert_eq!(aliases("+49 30 1234-56"), ["+49 30 1234-56"]);
        assert_eq!(aliases("+493012345101 101"), ["+493012345101", "101"]);
    }

    #[test]
    fn lines_are_counted_as_editors_count_them() {
        let lines = read("id,display_name\na,\"two\nlines\"\n\nb,x\nc,1,2,3\n");
        let numbers: Vec<_> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [2, 5, 6]);
        assert_eq!(lines[2].document, Err("4 fields, the header has 2".into()));
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_line_only() {
        let mut input = "id,display_name\na,\"open\n".to_owned();
        (0..39).for_each(|n| input.push_str(&format!("s{n},x\n")));
        input.push_str("s39,5\" screen\n");
        let lines = read(&input);
        assert_eq!(lines.len(), 41);
        assert_eq!(lines[0].document, Err(UNCLOSED.into()));
        assert_eq!(lines[40].number, 42);
        let last = json!({"id": "s39", "display_name": "5\" screen"});
        assert_eq!(lines[40].document, Ok(last));
    }

    #[test]
    fn a_quote_that_a_later_line_seems_to_close_costs_its_own_line_only() {
        let lines = read("id,display_name\na,\"open\nb,\"B\"\nc,C\n");
        let read: Vec<bool> = lines.iter().map(|line| line.document.is_ok()).collect();
        assert_eq!(read, [false, true, true]);
    }

    #[test]
    fn quotes_are_doubled_inside_quotes() {
        let lines = read("id,display_name\na,\"say \"\"hi\"\", a\"\n");
        assert_eq!(
            lines[0].document,
            Ok(json!({"id": "a", "display_name": "say \"hi\", a"}))
        );
    }

    #[test]
    fn a_header_nobody_understands_is_refused() {
        let error = |input: &'static str| lines(Box::new(input.as_bytes())).err().unwrap();
        assert!(error("id,nmae\na,b\n").contains("`nmae`"));
        assert!(error("display_name\nb\n").contains("`id`"));
        assert!(error("").contains("empty"));
    }
}
