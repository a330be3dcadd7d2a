//! The table that `watch` draws: calls in progress above, what changed of late below.

use std::collections::VecDeque;
use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;
use terminal_size::{Height, terminal_size};

use super::calls::party;
use super::client::{take, text};
use super::exit::{CliError, Outcome};
use super::output::{cell, table};
use super::watch::{News, line};

/// How many changes are remembered.
const CHANGES: usize = 200;
/// How many calls are remembered; the server has the others.
const CALLS: usize = 10_000;
/// The lines that the frame takes.
const FRAME_LINES: usize = 5;

/// What is drawn.
pub(super) struct View {
    server: String,
    calls: Vec<Value>,
    changes: VecDeque<String>,
    trouble: Option<String>,
}

impl View {
    pub(super) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            calls: Vec::new(),
            changes: VecDeque::new(),
            trouble: None,
        }
    }

    /// Takes the calls in progress from a listing, the newest first.
    pub(super) fn reset(&mut self, listing: Option<Value>) {
        if let Some(Value::Array(calls)) = listing.map(|mut listing| take(&mut listing, "calls")) {
            self.calls = calls;
        }
    }

    /// Takes in what happened. `true`: something was missed, the calls must be listed again.
    pub(super) fn is_stale_after(&mut self, news: News) -> bool {
        match news {
            News::Lost(reason) => {
                self.trouble = Some(reason);
                false
            }
            News::Back => {
                self.trouble = None;
                true
            }
            News::Event(event, _, data) => {
                if self.changes.len() == CHANGES {
                    self.changes.pop_back();
                }
                self.changes.push_front(line(&event, &data));
                if event == "call" {
                    self.change_calls(data);
                }
                event == "lagged"
            }
        }
    }

    fn change_calls(&mut self, call: Value) {
        let key = text(&call, "key").to_owned();
        self.calls.retain(|known| text(known, "key") != key);
        if text(&call, "state") == "began" && self.calls.len() < CALLS {
            self.calls.insert(0, call);
        }
    }

    /// Draws all from the top of the terminal.
    pub(super) fn draw(&self) -> Outcome {
        let lines = terminal_size().map_or(24, |(_, Height(lines))| usize::from(lines));
        let drawn = self.lines(lines, super::time::wall()).join("\n");
        let mut out = io::stdout().lock();
        match writeln!(out, "\x1b[H\x1b[2J{drawn}").and_then(|()| out.flush()) {
            Ok(()) => super::DONE,
            Err(error) => Err(CliError::failed(format!("standard output: {error}"))),
        }
    }

    /// At most `height` lines: half for calls, the rest for changes.
    fn lines(&self, height: usize, now: Timestamp) -> Vec<String> {
        let room = height.saturating_sub(FRAME_LINES).max(2);
        let shown = self
            .calls
            .len()
            .min((room / 2).max(room.saturating_sub(self.changes.len())));
        let mut lines = vec![format!(
            "pointsman at {}: {} calls",
            self.server,
            self.calls.len()
        )];
        if let Some(trouble) = &self.trouble {
            lines.push(format!("{trouble}; trying again …"));
        }
        if shown > 0 {
            let mut calls = table(&["for", "from", "to", "answered by"]);
            for call in self.calls.iter().take(shown) {
                calls.add_row([
                    cell(&duration(text(call, "answered_at"), now)),
                    cell(party(call, "caller", "from")),
                    cell(text(call, "to")),
                    cell(text(call, "callee")),
                ]);
            }
            lines.extend(calls.trim_fmt().lines().map(str::to_owned));
        }
        lines.push(String::new());
        lines.extend(self.changes.iter().take(room - shown).cloned());
        lines
    }
}

/// How long ago, as `1:02:03` or `2:03`.
fn duration(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(key: &str, state: &str) -> News {
        let data = json!({"key": key, "state": state, "from": key, "to": "anna",
                          "answered_at": "2026-11-23T15:00:00Z"});
        News::Event("call".into(), "a-1".into(), data)
    }

    #[test]
    fn calls_come_and_go_and_changes_stay_in_sight() {
        let mut view = View::new("http://x");
        assert!(!view.is_stale_after(call("a", "began")));
        assert!(!view.is_stale_after(call("b", "began")));
        assert!(!view.is_stale_after(call("a", "ended")));
        let now = "2026-11-23T16:02:03Z".parse().unwrap();
        let drawn = view.lines(24, now).join("\n");
        assert!(
            drawn.starts_with("pointsman at http://x: 1 calls"),
            "{drawn}"
        );
        assert!(drawn.contains("1:02:03"), "{drawn}");
        assert_eq!(drawn.matches("call began").count(), 2);
    }

    #[test]
    fn what_is_drawn_fits_the_terminal() {
        let mut view = View::new("http://x");
        for n in 0..100 {
            view.is_stale_after(call(&n.to_string(), "began"));
        }
        for height in [1, 10, 24, 60] {
            let lines = view.lines(height, Timestamp::UNIX_EPOCH).len();
            assert!(lines <= height.max(7), "{lines} of {height}");
        }
    }

    #[test]
    fn missed_events_make_the_listing_stale() {
        let mut view = View::new("x");
        assert!(view.is_stale_after(News::Event("lagged".into(), String::new(), json!({}))));
        assert!(!view.is_stale_after(News::Lost("gone".into())));
        assert!(view.is_stale_after(News::Back));
    }
}
