//! Reading what derives its form: the field that is wrong is named.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::model::Problem;

/// Reads an object whose type says by itself what is wrong with it; the problem names the field,
/// and none where a key is missing or unknown, which its text names. A list is none, although serde
/// would take it for the values of the fields in their order.
///
/// # Errors
/// The first problem.
pub fn read_object<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    if !value.is_object() {
        let text = format!("expected an object, found {}", kind(value));
        return Err(Problem::new("", text));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let segments = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let field: Vec<String> = segments.collect();
        Problem::new(field.join("."), error.into_inner().to_string())
    })
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::presence::{Signal, Subscriber, Triggers, WorkWeek};

    fn wrong<T: DeserializeOwned>(value: serde_json::Value) -> (String, String) {
        let Problem { field, text } = read_object::<T>(&value).err().unwrap();
        (field, text)
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        for (value, field) in [
            (json!({"away_after_min": "x"}), "away_after_min"),
            (json!({"dnd_activities": ["a", 1]}), "dnd_activities.1"),
            (
                json!({"calendar_categories": {"Travel": 5}}),
                "calendar_categories.Travel",
            ),
        ] {
            assert_eq!(wrong::<Triggers>(value).0, field);
        }
        assert_eq!(wrong::<WorkWeek>(json!({"mon": ["9-5"]})).0, "mon.0");
        let (field, text) = wrong::<Signal>(json!({"kind": "meeting"}));
        assert!(field.is_empty() && text.contains("`id`"), "{field} {text}");
    }

    #[test]
    fn a_list_is_no_object() {
        assert!(wrong::<Triggers>(json!([7])).1.contains("an object"));
        assert!(
            wrong::<Signal>(json!(["meeting", "x"]))
                .1
                .contains("an object")
        );
        let written = json!({"id": "anna", "triggers": [7], "signals": [["meeting", "x"]],
            "exceptions": {"rules": [{"name": "x", "action": "connect", "when": [["mon"]]}]}});
        let problems = Subscriber::from_json(&written).unwrap_err().0;
        let mut fields: Vec<_> = problems.iter().map(|one| one.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["exceptions.rules.0.when", "signals.0", "triggers"]);
    }
}
