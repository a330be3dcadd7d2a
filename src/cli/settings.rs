//! `pointsman settings`: show and change what happens to a subscriber's calls in each status.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::Setting;
use super::client::{Client, escape, field};
use super::exit::{CliError, Outcome};
use super::output::{cell, printable, say_json, say_table, table};

#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Show what is set for each status
    Show(Show),
    /// Change what happens in one status
    Set(Set),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman settings show anna")]
pub(super) struct Show {
    /// Id of the subscriber
    id: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman settings set anna away immediate=forward:+491701234567 message=\"Back at three\"
  pointsman settings set anna available no_answer=voicemail ring_for_s=20
  pointsman settings set anna available immediate.anonymous=reject
  pointsman settings set anna away --clear")]
pub(super) struct Set {
    /// Id of the subscriber
    id: String,
    /// available, away, break, dnd, in_call, or all for what every status inherits
    status: String,
    /// KEY=VALUE with immediate, busy, no_answer, unreachable, declined (connect, reject, missed,
    /// voicemail or forward:TARGET; for a caller class KEY.internal, KEY.external, KEY.anonymous),
    /// message or ring_for_s; an empty value unsets
    #[arg(value_name = "KEY=VALUE", required_unless_present = "clear")]
    changes: Vec<String>,
    /// Unset everything else of this status
    #[arg(long)]
    clear: bool,
}

impl Settings {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        match self {
            Self::Show(show) => show.run(setting),
            Self::Set(set) => set.run(setting),
        }
    }
}

impl Show {
    fn run(&self, setting: &Setting) -> Outcome {
        let path = format!("/api/v1/subscribers/{}/settings", escape(&self.id));
        let settings = setting.client()?.get(&path)?;
        if setting.json {
            return say_json(&settings);
        }
        say_settings(&settings)
    }
}

impl Set {
    fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        let mut part = if self.clear {
            json!({})
        } else {
            self.part(&client)?
        };
        for change in &self.changes {
            let (key, value) = change.split_once('=').ok_or_else(|| {
                CliError::usage(format!(
                    "`{change}`: use KEY=VALUE, as in no_answer=voicemail"
                ))
            })?;
            apply(&mut part, key.trim(), value.trim())?;
        }
        let answer = client.json(Method::PUT, &self.path(), Some(&part))?;
        warn(&answer);
        if setting.json {
            return say_json(&answer);
        }
        say_settings(&json!({ &self.status: field(&answer, "settings") }))
    }

    fn part(&self, client: &Client) -> Result<Value, CliError> {
        client.get(&self.path())
    }

    fn path(&self) -> String {
        let (id, status) = (escape(&self.id), escape(&self.status));
        format!("/api/v1/subscribers/{id}/settings/{status}")
    }
}

/// Changes one key of a status' settings; keys and values are checked by the server.
pub(super) fn apply(part: &mut Value, key: &str, value: &str) -> Result<(), CliError> {
    let Some(map) = part.as_object_mut() else {
        return Err(CliError::failed("the settings are no object"));
    };
    match key.split_once('.') {
        Some((rule, class)) => {
            let slot = map.entry(rule).or_insert_with(|| json!({}));
            if !is_by_class(slot) {
                let all = slot.take();
                *slot = json!({ "internal": all, "external": all, "anonymous": all });
            }
            if let Some(classes) = slot.as_object_mut() {
                set_or_unset(classes, class, action(value));
            }
        }
        None => set_or_unset(map, key, scalar(key, value)),
    }
    Ok(())
}

fn is_by_class(rule: &Value) -> bool {
    rule.as_object()
        .is_some_and(|map| !map.contains_key("forward"))
}

fn set_or_unset(map: &mut Map<String, Value>, key: &str, value: Value) {
    if value.is_null() {
        map.remove(key);
    } else {
        map.insert(key.to_owned(), value);
    }
}

/// The JSON form of what stands behind `=`; `Null` where it is empty.
fn scalar(key: &str, value: &str) -> Value {
    match key {
        "message" if !value.is_empty() => json!(value),
        "ring_for_s" => match value.parse::<u64>() {
            Ok(seconds) => json!(seconds),
            Err(_) if value.is_empty() => Value::Null,
            Err(_) => json!(value),
        },
        _ => action(value),
    }
}

fn action(value: &str) -> Value {
    match value.split_once(':') {
        _ if value.is_empty() => Value::Null,
        Some(("forward", target)) => json!({ "forward": target }),
        _ => json!(value),
    }
}

/// A table of everything that is set.
pub(super) fn say_settings(settings: &Value) -> Outcome {
    let mut table = table(&["when", "setting", "value"]);
    for (status, part) in settings.as_object().into_iter().flatten() {
        for (key, value) in part.as_object().into_iter().flatten() {
            if is_by_class(value) {
                for (class, action) in value.as_object().into_iter().flatten() {
                    let key = format!("{key} ({class})");
                    table.add_row([cell(status), cell(&key), cell(&words(action))]);
                }
            } else {
                table.add_row([cell(status), cell(key), cell(&words(value))]);
            }
        }
    }
    say_table(table, "nothing is set: calls are connected; dnd rejects")
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => match map.get("forward").and_then(Value::as_str) {
            Some(target) => format!("forward to {target}"),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// Tells the warnings of an answer, such as forwardings that close a loop, on standard error.
pub(super) fn warn(answer: &Value) {
    let warnings = answer.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("warning: {}", printable(warning));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(before: Value, changes: &[(&str, &str)]) -> Value {
        let mut part = before;
        for (key, value) in changes {
            apply(&mut part, key, value).unwrap();
        }
        part
    }

    #[test]
    fn changes_touch_only_what_they_name() {
        let before = json!({"message": "Hi", "no_answer": "voicemail"});
        let changes = [
            ("immediate", "forward:+4930"),
            ("ring_for_s", "20"),
            ("message", ""),
        ];
        assert_eq!(
            applied(before, &changes),
            json!({"no_answer": "voicemail", "immediate": {"forward": "+4930"}, "ring_for_s": 20})
        );
    }

    #[test]
    fn one_class_is_changed_beside_the_others() {
        let changed = applied(
            json!({"busy": "voicemail"}),
            &[("busy.anonymous", "reject")],
        );
        assert_eq!(
            changed,
            json!({"busy": {"internal": "voicemail", "external": "voicemail", "anonymous": "reject"}})
        );
        let fresh = applied(json!({}), &[("immediate.external", "forward:sip:a@b")]);
        assert_eq!(
            fresh,
            json!({"immediate": {"external": {"forward": "sip:a@b"}}})
        );
    }
}
