//! Who is called in which scenario: from patterns, or from the file of `import`.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use serde_json::Value;

use super::super::exit::CliError;
use super::super::lines::Format;
use super::options::{TargetOptions, of_scenario};
use crate::bench::{Scenario, Targets};

/// One subscriber of a file, as far as calls to them are concerned.
struct Subscriber {
    name: String,
    password: String,
    /// In which scenarios calls to them end as these want it.
    scenarios: Vec<Scenario>,
}

/// The users of a scenario.
///
/// # Errors
/// A pattern that is none, a file that cannot be read, nobody to call.
pub(super) fn targets(
    options: &TargetOptions,
    scenario: Scenario,
) -> Result<Arc<Targets>, CliError> {
    let own = |texts: &[String]| {
        let texts = texts.iter().map(|text| of_scenario(text));
        texts
            .filter(|(of, _)| *of == Some(scenario))
            .map(|(_, rest)| rest.to_owned())
            .next_back()
    };
    let common = |texts: &[String]| {
        let texts = texts.iter().map(|text| of_scenario(text));
        texts
            .filter(|(of, _)| of.is_none())
            .map(|(_, rest)| rest.to_owned())
            .next_back()
    };
    let found = match (own(&options.users), own(&options.subscribers)) {
        (Some(pattern), _) => of_pattern(&pattern)?,
        (None, Some(file)) => of_file(&file, None, options)?,
        (None, None) => match (common(&options.subscribers), common(&options.users)) {
            (Some(file), _) => of_file(&file, Some(scenario), options)?,
            (None, Some(pattern)) => of_pattern(&pattern)?,
            (None, None) => of_pattern("bench")?,
        },
    };
    let found = match &options.password {
        Some(password) => found.with_password(password),
        None => found,
    };
    Ok(Arc::new(found))
}

fn of_pattern(text: &str) -> Result<Targets, CliError> {
    let pattern = match text.parse::<u32>() {
        // A short number is a count; a long one is somebody's number.
        Ok(count) if text.len() < 8 && count > 0 => format!("user[1..{count}]"),
        _ => text.to_owned(),
    };
    Targets::of_pattern(&pattern).map_err(|error| CliError::usage(format!("--users {error}")))
}

fn of_file(
    file: &str,
    scenario: Option<Scenario>,
    options: &TargetOptions,
) -> Result<Targets, CliError> {
    let failed = |reason: String| CliError::failed(format!("{file}: {reason}"));
    let input = File::open(file).map_err(|error| failed(error.to_string()))?;
    let format = Format::of(file).unwrap_or(Format::Jsonl);
    let input = Box::new(BufReader::with_capacity(1 << 18, input));
    let mut chosen = Vec::new();
    for line in format.lines(input).map_err(failed)? {
        let line = line.map_err(|error| failed(error.to_string()))?;
        let bad = |reason: String| failed(format!("line {}: {reason}", line.number));
        let document = line.document.map_err(bad)?;
        let subscriber = Subscriber::read(&document, options.by_alias)
            .ok_or_else(|| failed(format!("line {}: no id", line.number)))?;
        if scenario.is_none_or(|scenario| subscriber.scenarios.contains(&scenario)) {
            chosen.push((subscriber.name, subscriber.password));
        }
    }
    if chosen.is_empty() {
        let what = scenario.map_or("call", Scenario::name);
        return Err(failed(format!(
            "nobody in it is fit for {what}; --users {what}=… or --subscribers {what}=FILE names who is"
        )));
    }
    let users = chosen
        .iter()
        .map(|(name, password)| (name.as_str(), password.as_str()));
    Targets::of_list(users).map_err(|error| failed(error.to_string()))
}

impl Subscriber {
    fn read(document: &Value, by_alias: bool) -> Option<Self> {
        let id = document.get("id")?.as_str()?;
        let alias = document.pointer("/aliases/0").and_then(Value::as_str);
        let password = document.get("password").and_then(Value::as_str);
        Some(Self {
            name: alias.filter(|_| by_alias).unwrap_or(id).to_owned(),
            password: password.unwrap_or_default().to_owned(),
            scenarios: scenarios(document),
        })
    }
}

/// What calls to a subscriber come to, by the status and what is set for it.
fn scenarios(document: &Value) -> Vec<Scenario> {
    let status = document.get("status").and_then(Value::as_str);
    let status = status.unwrap_or("available");
    let set = |moment: &str| {
        let of = |status: &str| document.pointer(&format!("/settings/{status}/{moment}"));
        of(status).or_else(|| of("all"))
    };
    let immediate = set("immediate");
    let mut scenarios = vec![Scenario::Register, Scenario::Subscribe];
    match (status, immediate) {
        (_, Some(Value::Object(action))) if action.contains_key("forward") => {
            scenarios.extend([Scenario::Redirect, Scenario::Forward]);
        }
        (_, Some(Value::String(action))) if action == "voicemail" => {
            scenarios.push(Scenario::Voicemail);
        }
        (_, Some(Value::String(action))) if ["reject", "missed"].contains(&action.as_str()) => {
            scenarios.push(Scenario::Reject);
        }
        (_, Some(Value::String(action))) if action == "connect" => {
            scenarios.extend([Scenario::Call, Scenario::NoAnswer]);
        }
        // Another outcome for each class of callers: nobody here knows which class ours is.
        (_, Some(Value::Object(_))) => {}
        ("dnd", _) => scenarios.push(Scenario::Reject),
        _ => {
            scenarios.extend([Scenario::Call, Scenario::NoAnswer]);
            match set("no_answer") {
                Some(Value::String(action)) if action == "voicemail" => {
                    scenarios.push(Scenario::Voicemail);
                }
                Some(Value::Object(action)) if action.contains_key("forward") => {
                    scenarios.push(Scenario::Forward);
                }
                _ => {}
            }
        }
    }
    scenarios
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn subscribers_are_fit_for_what_their_status_makes_of_calls() {
        let cases = [
            (json!({}), vec![Scenario::Call, Scenario::NoAnswer]),
            (json!({"status": "dnd"}), vec![Scenario::Reject]),
            (
                json!({"status": "away", "settings": {"away": {"immediate": {"forward": "sip:a@b"}}}}),
                vec![Scenario::Redirect, Scenario::Forward],
            ),
            (
                json!({"status": "away", "settings": {"away": {"immediate": "voicemail"}}}),
                vec![Scenario::Voicemail],
            ),
            (
                json!({"status": "break", "settings": {"break": {"immediate": "reject"}}}),
                vec![Scenario::Reject],
            ),
            (
                json!({"status": "dnd", "settings": {"dnd": {"immediate": "connect"}}}),
                vec![Scenario::Call, Scenario::NoAnswer],
            ),
            (
                json!({"status": "away", "settings": {"all": {"immediate": "missed"}}}),
                vec![Scenario::Reject],
            ),
            (
                json!({"settings": {"available": {"immediate": {"internal": "connect"}}}}),
                vec![],
            ),
            (
                json!({"settings": {"available": {"no_answer": "voicemail"}}}),
                vec![Scenario::Call, Scenario::NoAnswer, Scenario::Voicemail],
            ),
        ];
        for (document, expected) in cases {
            let found = scenarios(&document);
            assert_eq!(found.get(2..).unwrap(), expected, "{document}");
        }
    }

    #[test]
    fn a_subscriber_is_called_by_id_or_alias() {
        let document = json!({"id": "anna", "aliases": ["101", "102"], "password": "p"});
        let name = |by_alias| Subscriber::read(&document, by_alias).unwrap().name;
        assert_eq!(
            (name(false), name(true)),
            ("anna".to_owned(), "101".to_owned())
        );
        assert!(Subscriber::read(&json!({"x": 1}), false).is_none());
    }

    #[test]
    fn a_short_number_is_a_count_and_a_long_one_a_number() {
        assert_eq!(of_pattern("1000").unwrap().len(), 1_000);
        assert_eq!(of_pattern("4930123456").unwrap().len(), 1);
        assert_eq!(of_pattern("bob").unwrap().name(0), b"bob");
    }
}
