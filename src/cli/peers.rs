//! `pointsman peers`: the systems around the server and how they are.

use clap::Args;
use comfy_table::{Cell, Color, Table};
use serde_json::Value;

use super::Setting;
use super::client::{field, text};
use super::exit::Outcome;
use super::output::{cell, local_time, printable, say, say_json, say_table, table};

/// A certificate that ends within so many days is worth a warning.
const WARN_DAYS: i64 = 21;

#[derive(Debug, Args)]
#[command(after_help = "\
Shows the systems that calls are sent to with every address their names lead to, who is trusted,
where the server listens, and the certificates with their expiry.

States: `up` and `down` by checks (OPTIONS), `penalised` after a call failed there, `unknown` where
nobody checks, `unresolved` where the name leads nowhere yet. What is down or penalised is tried
after all others. A certificate that ends within 21 days is marked with `!`.

Examples:
  pointsman peers
  pointsman peers --json | jq '.systems[] | select(.state == \"down\")'")]
pub(super) struct Peers;

impl Peers {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let answer = setting.client()?.get("/api/v1/peers")?;
        if setting.json {
            return say_json(&answer);
        }
        say_table(systems(&answer), "no systems are configured")?;
        section(peers(&answer))?;
        section(listeners(&answer))?;
        section(certificates(&answer))?;
        section(holidays(&answer))?;
        for warning in warnings(&answer) {
            say(&warning)?;
        }
        super::DONE
    }
}

/// One more table below the first, if it has any rows.
fn section(table: Table) -> Outcome {
    if table.is_empty() {
        return super::DONE;
    }
    say("")?;
    say_table(table, "")
}

fn list<'v>(document: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    field(document, key).as_array().into_iter().flatten()
}

/// A number as text; empty where there is none.
fn number(document: &Value, key: &str) -> String {
    field(document, key)
        .as_i64()
        .map(|n| n.to_string())
        .unwrap_or_default()
}

fn systems(answer: &Value) -> Table {
    let mut table = table(&[
        "system",
        "for",
        "prio",
        "weight",
        "transport",
        "address",
        "state",
        "since",
        "answer",
        "ms",
    ]);
    for system in list(answer, "systems") {
        let head = |table: &mut Table, target: Option<&Value>| {
            let none = Value::Null;
            let shown = target.unwrap_or(&none);
            let state = target.map_or(text(system, "state"), |target| text(target, "state"));
            let address = match target {
                Some(target) => text(target, "address"),
                None => text(system, "uri"),
            };
            table.add_row([
                cell(text(system, "name")),
                cell(text(system, "role")),
                cell(&place(system, shown, "priority")),
                cell(&place(system, shown, "weight")),
                cell(text(shown, "transport")),
                cell(address),
                state_cell(state, text(shown, "trouble")),
                cell(&local_time(text(shown, "since"))),
                cell(&number(shown, "last_status")),
                cell(&number(shown, "rtt_ms")),
            ]);
        };
        let mut targets = list(system, "targets").peekable();
        if targets.peek().is_none() {
            head(&mut table, None);
        }
        targets.for_each(|target| head(&mut table, Some(target)));
    }
    table
}

/// The configured number, then the SRV record's own where it has one: `1`, `1/10`.
fn place(system: &Value, target: &Value, key: &str) -> String {
    let own = number(system, key);
    match field(target, key).as_i64() {
        Some(of_record) if of_record > 0 => format!("{own}/{of_record}"),
        _ => own,
    }
}

fn state_cell(state: &str, trouble: &str) -> Cell {
    let shown = match trouble {
        "" => printable(state),
        trouble => format!("{} ({})", printable(state), printable(trouble)),
    };
    let cell = Cell::new(shown);
    match state {
        "up" => cell.fg(Color::Green),
        "penalised" => cell.fg(Color::Yellow),
        "down" | "unresolved" => cell.fg(Color::Red),
        _ => cell,
    }
}

fn peers(answer: &Value) -> Table {
    let mut table = table(&["trusted", "addresses", "connections"]);
    for peer in list(answer, "peers") {
        let addresses: Vec<&str> = list(peer, "addresses").filter_map(Value::as_str).collect();
        table.add_row([
            cell(text(peer, "name")),
            cell(&addresses.join(" ")),
            cell(&number(peer, "connections")),
        ]);
    }
    table
}

fn listeners(answer: &Value) -> Table {
    let mut table = table(&["listens on", "address", "known as", "connections"]);
    for listener in list(answer, "listeners") {
        table.add_row([
            cell(text(listener, "transport")),
            cell(text(listener, "address")),
            cell(text(listener, "advertised")),
            cell(&number(listener, "connections")),
        ]);
    }
    table
}

fn certificates(answer: &Value) -> Table {
    let mut table = table(&[
        "certificate",
        "subject",
        "names",
        "expires",
        "days left",
        "file",
    ]);
    for certificate in list(answer, "certificates") {
        let names: Vec<&str> = list(certificate, "names")
            .filter_map(Value::as_str)
            .collect();
        let is_late = days_left(certificate) < WARN_DAYS;
        let mark = if is_late { " !" } else { "" };
        let days = Cell::new(format!("{}{mark}", number(certificate, "days_left")));
        table.add_row([
            cell(text(certificate, "use")),
            cell(text(certificate, "subject")),
            cell(&names.join(" ")),
            cell(&local_time(text(certificate, "not_after"))),
            if is_late { days.fg(Color::Red) } else { days },
            cell(text(certificate, "file")),
        ]);
    }
    table
}

fn holidays(answer: &Value) -> Table {
    let mut table = table(&["holidays", "read", "days", "trouble"]);
    for reading in list(answer, "holidays") {
        table.add_row([
            cell(text(reading, "feed")),
            cell(&local_time(text(reading, "read_at"))),
            cell(&number(reading, "entries")),
            cell(text(field(reading, "fault"), "text")),
        ]);
    }
    table
}

fn days_left(certificate: &Value) -> i64 {
    field(certificate, "days_left").as_i64().unwrap_or(i64::MAX)
}

/// What somebody should do something about.
fn warnings(answer: &Value) -> Vec<String> {
    let late = list(answer, "certificates").filter(|one| days_left(one) < WARN_DAYS);
    let late = late.map(|certificate| {
        let (subject, file) = (text(certificate, "subject"), text(certificate, "file"));
        let when = match days_left(certificate) {
            days if days < 0 => "has expired".to_owned(),
            days => format!("expires in {days} days"),
        };
        format!(
            "! the certificate of {} {when}: {}",
            printable(subject),
            printable(file)
        )
    });
    let down = list(answer, "systems");
    let down = down.filter(|system| ["down", "unresolved"].contains(&text(system, "state")));
    let down = down.map(|system| {
        format!(
            "! {} is {}",
            printable(text(system, "name")),
            text(system, "state")
        )
    });
    let unread = list(answer, "holidays").filter(|one| one.get("fault").is_some());
    let unread = unread.map(|reading| {
        format!(
            "! the holidays cannot be read: {}",
            printable(text(field(reading, "fault"), "text"))
        )
    });
    let people = field(answer, "calendars_unreadable").as_u64().unwrap_or(0);
    let people = (people > 0).then(|| format!("! calendars of {people} people cannot be read"));
    late.chain(down).chain(unread).chain(people).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_needs_attention_is_said_below_the_tables() {
        let answer = json!({
            "systems": [
                {"name": "pbx-1", "state": "down", "targets": []},
                {"name": "pbx-2", "state": "up", "targets": []},
                {"name": "trunk", "state": "unresolved", "targets": []},
            ],
            "certificates": [
                {"subject": "CN=a", "file": "a.pem", "days_left": 20},
                {"subject": "CN=b", "file": "b.pem", "days_left": 21},
                {"subject": "CN=c", "file": "c.pem", "days_left": -1},
            ],
            "holidays": [{"feed": "/a.ics", "entries": 9},
                         {"feed": "/b.ics", "fault": {"text": "no such file"}}],
            "calendars_unreadable": 3,
        });
        assert_eq!(
            warnings(&answer),
            [
                "! the certificate of CN=a expires in 20 days: a.pem",
                "! the certificate of CN=c has expired: c.pem",
                "! pbx-1 is down",
                "! trunk is unresolved",
                "! the holidays cannot be read: no such file",
                "! calendars of 3 people cannot be read",
            ]
        );
    }

    #[test]
    fn every_address_has_a_row_and_a_name_without_one_too() {
        let answer = json!({"systems": [
            {"name": "a", "priority": 1, "weight": 2, "state": "up", "targets": [
                {"address": "192.0.2.1:5060", "state": "up", "priority": 0, "weight": 5},
                {"address": "192.0.2.2:5060", "state": "penalised", "trouble": "timeout"},
            ]},
            {"name": "b", "uri": "sip:b.example", "state": "unresolved", "targets": []},
        ]});
        let mut table = systems(&answer);
        table.force_no_tty();
        let text = table.trim_fmt();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[1].contains("2/5") && lines[1].contains("192.0.2.1:5060"),
            "{text}"
        );
        assert!(lines[2].contains("penalised (timeout)"), "{text}");
        assert!(
            lines[3].contains("sip:b.example") && lines[3].contains("unresolved"),
            "{text}"
        );
    }
}
