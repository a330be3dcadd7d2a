//! `pointsman watch`: calls and status changes as they happen.

use std::io::{self, BufRead, BufReader, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Setting;
use super::client::{Client, text};
use super::exit::Outcome;
use super::output::{local_time, printable, say, status_line};
use super::watch_view::View;

/// How many events wait to be drawn before the server is left to wait.
const QUEUE: usize = 1_024;
/// How often the table is drawn at least, so that durations move.
const TICK: Duration = Duration::from_secs(1);
/// The pause before a lost connection is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// The longest line of the event stream.
const LINE_LIMIT_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman watch
  pointsman watch --json | jq 'select(.event == \"status\")'

On a terminal a table is drawn again with each change; elsewhere each change is a line.")]
pub(super) struct Watch {
    /// Print a line for each change also on a terminal
    #[arg(long)]
    lines: bool,
    /// End after so many events
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

/// One event of the stream, or what became of the connection.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// `event`, `id` and the document.
    Event(String, String, Value),
    /// The connection is lost, and tried again.
    Lost(String),
    /// The connection is back.
    Back,
}

impl Watch {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        // The first connection is made here, so that its failure ends the command.
        let stream = BufReader::new(client.stream("/api/v1/events", None)?);
        let (sender, news) = mpsc::sync_channel(QUEUE);
        let listener = setting.client()?;
        thread::spawn(move || listen(&listener, stream, &sender));
        if setting.json || self.lines || !io::stdout().is_terminal() {
            self.say_lines(&news, setting.json)
        } else {
            self.draw(&client, &news)
        }
    }

    fn say_lines(&self, news: &Receiver<News>, as_json: bool) -> Outcome {
        let mut told = 0;
        while self.count.is_none_or(|count| told < count) {
            match news.recv() {
                Ok(News::Event(event, id, data)) if as_json => {
                    say(&json!({ "event": event, "id": id, "data": data }).to_string())?;
                }
                Ok(News::Event(event, _, data)) => {
                    say(&line(&event, &data))?;
                }
                Ok(News::Lost(reason)) => {
                    eprintln!("{reason}\ntrying again …");
                    continue;
                }
                Ok(News::Back) => {
                    eprintln!("connected again");
                    continue;
                }
                Err(_) => break,
            }
            told += 1;
        }
        super::DONE
    }

    fn draw(&self, client: &Client, news: &Receiver<News>) -> Outcome {
        let mut view = View::new(client.base());
        view.reset(client.get("/api/v1/calls?limit=1000").ok());
        let mut told = 0;
        view.draw()?;
        while self.count.is_none_or(|count| told < count) {
            match news.recv_timeout(TICK) {
                Ok(first) => {
                    let rest = news.try_iter().take(QUEUE);
                    for item in std::iter::once(first).chain(rest) {
                        told += 1;
                        if view.is_stale_after(item) {
                            view.reset(client.get("/api/v1/calls?limit=1000").ok());
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            view.draw()?;
        }
        super::DONE
    }
}

/// Reads the stream until nobody wants its events; connects again where it breaks.
fn listen(client: &Client, first: impl BufRead, news: &SyncSender<News>) {
    let mut last = String::new();
    let mut ended = read_events(first, &mut last, news);
    while let Ended::Broken(reason) = ended {
        if news.send(News::Lost(reason)).is_err() {
            return;
        }
        let stream = connect_again(client, &last);
        if news.send(News::Back).is_err() {
            return;
        }
        ended = read_events(stream, &mut last, news);
    }
}

/// Tries until the server answers.
fn connect_again(client: &Client, last: &str) -> impl BufRead + use<> {
    let last = Some(last).filter(|last| !last.is_empty());
    loop {
        pause();
        if let Ok(stream) = client.stream("/api/v1/events", last) {
            return BufReader::new(stream);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a command may wait")]
fn pause() {
    thread::sleep(RETRY);
}

enum Ended {
    Unwanted,
    Broken(String),
}

/// Reads server-sent events (the `text/event-stream` of the HTML standard).
fn read_events(mut stream: impl BufRead, last: &mut String, news: &SyncSender<News>) -> Ended {
    let (mut event, mut data) = (String::new(), String::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        match io::Read::take(&mut stream, LINE_LIMIT_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => return Ended::Broken("the server ended the event stream".to_owned()),
            Ok(_) => {}
            Err(error) => return Ended::Broken(format!("the event stream broke: {error}")),
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        match text.split_once(':') {
            _ if text.is_empty() => {
                let document = serde_json::from_str(&data).unwrap_or(Value::Null);
                let event = std::mem::take(&mut event);
                if !std::mem::take(&mut data).is_empty()
                    && news
                        .send(News::Event(event, last.clone(), document))
                        .is_err()
                {
                    return Ended::Unwanted;
                }
            }
            Some(("event", name)) => event = name.trim_start().to_owned(),
            Some(("data", more)) => data.push_str(more.trim_start()),
            Some(("id", id)) => *last = id.trim_start().to_owned(),
            _ => {}
        }
    }
}

/// One change on one line.
pub(super) fn line(event: &str, data: &Value) -> String {
    let at = local_time(text(data, "at"));
    match event {
        "status" => format!("{at}  {} is {}", text(data, "id"), status_line(data)),
        "peer" => {
            let (name, state) = (text(data, "name"), text(data, "state"));
            format!(
                "{at}  {} at {} is {state}",
                printable(name),
                text(data, "address")
            )
        }
        "call" => {
            let from = super::calls::party(data, "caller", "from");
            let to = super::calls::party(data, "callee", "to");
            let what = text(data, "state");
            printable(&format!("{at}  call {what}: {from} -> {to}"))
        }
        "document" => format!("{at}  {} has other settings or layers", text(data, "id")),
        "lagged" => "some changes were missed".to_owned(),
        other => printable(&format!("{at}  {other}: {data}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_event_by_event() {
        let stream =
            b": hello\n\nid: a-1\nevent: status\ndata: {\"id\":\"anna\",\ndata: \"n\":1}\n\n\
                       data: 2\r\n\r\n: keep-alive\n\n";
        let (sender, news) = mpsc::sync_channel(8);
        let mut last = String::new();
        assert!(matches!(
            read_events(&stream[..], &mut last, &sender),
            Ended::Broken(_)
        ));
        assert_eq!(
            news.try_iter().collect::<Vec<_>>(),
            [
                News::Event("status".into(), "a-1".into(), json!({"id": "anna", "n": 1})),
                News::Event(String::new(), "a-1".into(), json!(2)),
            ]
        );
        assert_eq!(last, "a-1");
    }

    #[test]
    fn a_change_is_told_on_one_line() {
        let status = json!({"id": "anna", "effective_status": "away", "message": "Back\nat three"});
        let told = line("status", &status);
        assert!(
            told.ends_with("anna is away, \"Back\u{fffd}at three\""),
            "{told}"
        );
        let call = json!({"state": "began", "caller": "bob", "callee": "anna", "from": "x"});
        assert!(line("call", &call).ends_with("call began: bob -> anna"));
        let document = line("document", &json!({"id": "anna", "version": 3}));
        assert!(document.ends_with("anna has other settings or layers"));
    }
}
