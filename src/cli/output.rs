//! What people see: tables, colours on a terminal, JSON for programs.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, Color, ContentArrangement, Table, TableStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::client::text;
use super::exit::{CliError, Exit, Outcome};

/// Prints a line; a reader that has gone away (`| head`) ends the command quietly.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn say(line: &str) -> Outcome {
    match writeln!(io::stdout().lock(), "{line}") {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Done, ""))
        }
        Err(error) => Err(CliError::failed(format!("standard output: {error}"))),
    }
}

/// Prints a document for programs: on one line where it is piped, indented for people.
///
/// # Errors
/// As [`say`].
pub(super) fn say_json(document: &Value) -> Outcome {
    if io::stdout().is_terminal() {
        say(&format!("{document:#}"))
    } else {
        say(&document.to_string())
    }
}

/// Whether standard output takes colours: a terminal, and `NO_COLOR` is unset or empty.
pub(super) fn is_colourful() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
}

/// A table without frames, as wide as the terminal.
pub(super) fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new())
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headers.iter().map(|header| header.to_uppercase()));
    if is_colourful() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

/// Prints a table, or `nothing` where it has no rows.
///
/// # Errors
/// As [`say`].
pub(super) fn say_table(mut table: Table, nothing: &str) -> Outcome {
    if table.is_empty() {
        return say(nothing);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    say(&table.trim_fmt())
}

/// A status in its colour.
pub(super) fn status_cell(status: &str) -> Cell {
    let cell = Cell::new(printable(status));
    match status.rsplit(' ').next().unwrap_or(status) {
        "available" => cell.fg(Color::Green),
        "away" => cell.fg(Color::Yellow),
        "break" => cell.fg(Color::Cyan),
        "dnd" => cell.fg(Color::Red),
        "in_call" => cell.fg(Color::Magenta),
        _ => cell,
    }
}

/// What is shown to colleagues: an own status before the one it stands for, unless a call covers it.
pub(super) fn status_word(document: &Value) -> String {
    let effective = text(document, "effective_status");
    let own = text(document, "own_status");
    match own.is_empty() || effective != text(document, "status") {
        true => effective.to_owned(),
        false => format!("{} {effective}", printable(own)),
    }
}

/// A cell with text that came from others.
pub(super) fn cell(text: &str) -> Cell {
    Cell::new(printable(text))
}

/// Text without control characters, which a terminal might obey.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// An RFC 3339 instant as people here read it, `2026-11-23 15:00`; other text as it is.
pub(super) fn local_time(instant: &str) -> String {
    match instant.parse::<Timestamp>() {
        Ok(instant) => instant
            .to_zoned_datetime(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => printable(instant),
    }
}

/// The effective status with its message and its end, on one line.
pub(super) fn status_line(document: &Value) -> String {
    let mut line = status_word(document);
    for key in ["message", "status_message"] {
        if !text(document, key).is_empty() {
            line.push_str(&format!(", \"{}\"", printable(text(document, key))));
        }
    }
    if !text(document, "until").is_empty() {
        line.push_str(&format!(" until {}", local_time(text(document, "until"))));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_others_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
    }

    #[test]
    fn a_table_has_no_frames_and_no_colours_when_piped() {
        let mut table = table(&["id", "status"]);
        table.force_no_tty();
        table.add_row([cell("anna"), status_cell("dnd")]);
        let text = table.trim_fmt();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("ID"));
        assert!(lines[1].starts_with("anna"));
        assert!(!text.contains('\u{1b}'));
    }
}
