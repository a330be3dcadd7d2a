//! Reading documents from JSON with errors that name the key, the fault and what is allowed.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, Visitor};
use serde_json::{Map, Value};

use super::exceptions::{Exception, Exceptions};
use super::model::{
    Action, ClassRule, Language, Problem, Problems, Rule, Settings, Source, Status, StatusSettings,
    Subscriber,
};
use super::objects::{kind, read_object};
use super::password::PasswordWish;
use crate::auth::{Credentials, Password};

/// How many problems one document reports at most.
pub const MAX_PROBLEMS: usize = 32;

const SUBSCRIBER_KEYS: &[&str] = &[
    "id",
    "display_name",
    "aliases",
    "language",
    "status",
    "own_status",
    "status_message",
    "until",
    "source",
    "since",
    "settings",
    "exceptions",
    "hold",
    "override",
    "hours",
    "signals",
    "triggers",
    "calendars",
    "teams",
    "visibility",
    "delegates",
    "password",
    "credentials",
    "version",
    "effective_status",
    "calls",
    "has_password",
];
const PART_KEYS: &[&str] = &[
    "message",
    "immediate",
    "busy",
    "no_answer",
    "unreachable",
    "declined",
    "ring_for_s",
    "chat",
];
const EXCEPTIONS_KEYS: &[&str] = &["blocked", "vips", "call_through_dnd", "rules"];
const EXCEPTION_KEYS: &[&str] = &["name", "callers", "when", "action", "until"];
const CLASS_KEYS: &[&str] = &["internal", "external", "anonymous"];
const ACTIONS: &str =
    r#""connect", "reject", "missed", "voicemail" or {"forward": "<number or SIP URI>"}"#;

impl Subscriber {
    /// Reads a subscriber; `version` is ignored and left 0.
    ///
    /// # Errors
    /// Every key that is unknown, of the wrong kind, or has a value that is not allowed.
    pub fn from_json(value: &Value) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let subscriber = reader.subscriber(value);
        reader.finish(subscriber)
    }
}

impl Settings {
    /// Reads the settings of all statuses.
    ///
    /// # Errors
    /// As [`Subscriber::from_json`], with fields relative to the settings.
    pub fn from_json(value: &Value) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let settings = reader.settings(value);
        reader.finish(settings)
    }
}

impl Exceptions {
    /// Reads exceptions.
    ///
    /// # Errors
    /// As [`Subscriber::from_json`], with fields relative to the exceptions.
    pub fn from_json(value: &Value) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let exceptions = reader.exceptions(value);
        reader.finish(exceptions)
    }
}

impl StatusSettings {
    /// Reads the settings of one status.
    ///
    /// # Errors
    /// As [`Subscriber::from_json`], with fields relative to the status.
    pub fn from_json(value: &Value) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let part = reader.part(value);
        reader.finish(part)
    }
}

/// Implements `Deserialize` by way of a whole value, so that errors can name their keys.
macro_rules! deserialize_by_value {
    ($($document:ty),+) => {$(
        impl<'de> Deserialize<'de> for $document {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    )+};
}

deserialize_by_value!(Subscriber, Settings, StatusSettings, Exceptions);

macro_rules! deserialize_by_name {
    ($($named:ty),+) => {$(
        impl<'de> Deserialize<'de> for $named {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Name;
                impl Visitor<'_> for Name {
                    type Value = $named;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "one of {}", <$named>::ALL.map(<$named>::name).join(", "))
                    }
                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$named, E> {
                        let allowed = <$named>::ALL.map(<$named>::name);
                        <$named>::from_name(name)
                            .ok_or_else(|| E::custom(unknown_name(name, &allowed)))
                    }
                }
                deserializer.deserialize_str(Name)
            }
        }
    )+};
}

deserialize_by_name!(Status, Language, Source);

/// Collects problems while it walks a document; `path` is where it stands.
#[derive(Default)]
struct Reader {
    path: Vec<String>,
    problems: Vec<Problem>,
}

impl Reader {
    fn finish<T>(self, document: T) -> Result<T, Problems> {
        if self.problems.is_empty() {
            Ok(document)
        } else {
            Err(Problems(self.problems))
        }
    }

    fn subscriber(&mut self, value: &Value) -> Subscriber {
        let Some(map) = self.object(value, "a subscriber", SUBSCRIBER_KEYS) else {
            return Subscriber::default();
        };
        let id = self.key(map, "id", Self::text);
        if id.is_none() && !map.contains_key("id") {
            self.problem_at("id", "missing");
        }
        let id = id.unwrap_or_default();
        Subscriber {
            display_name: self
                .key(map, "display_name", Self::text)
                .unwrap_or_else(|| id.clone()),
            aliases: self.key(map, "aliases", Self::texts).unwrap_or_default(),
            language: self.key(map, "language", Self::language),
            status: self.key(map, "status", Self::status).unwrap_or_default(),
            own_status: self.key(map, "own_status", Self::text),
            status_message: self.key(map, "status_message", Self::text),
            until: self.key(map, "until", Self::instant),
            source: self.key(map, "source", Self::source),
            since: self.key(map, "since", Self::instant),
            version: 0,
            settings: self
                .key(map, "settings", |reader, value| {
                    Some(reader.settings(value))
                })
                .unwrap_or_default(),
            exceptions: self
                .key(map, "exceptions", |reader, value| {
                    Some(reader.exceptions(value))
                })
                .unwrap_or_default(),
            hold: self.key(map, "hold", Self::plain).unwrap_or_default(),
            overruled: self.key(map, "override", Self::whole),
            hours: self.key(map, "hours", Self::whole),
            signals: self.key(map, "signals", Self::wholes).unwrap_or_default(),
            triggers: self.key(map, "triggers", Self::whole).unwrap_or_default(),
            calendars: self.key(map, "calendars", Self::texts).unwrap_or_default(),
            teams: self.key(map, "teams", Self::texts).unwrap_or_default(),
            visibility: self.key(map, "visibility", Self::whole).unwrap_or_default(),
            delegates: self.key(map, "delegates", Self::texts).unwrap_or_default(),
            password: self.password(map),
            id,
        }
    }

    /// A password is never told, whatever is wrong with it.
    fn password(&mut self, map: &Map<String, Value>) -> PasswordWish {
        let given = self.key(map, "password", Self::text);
        let credentials = self.key(map, "credentials", Self::credentials);
        match (given, credentials) {
            (Some(_), Some(_)) => {
                self.problem_at("password", "stands beside `credentials`; use one of both");
                PasswordWish::Unsaid
            }
            (Some(text), None) => match Password::new(&text) {
                Ok(password) => PasswordWish::Clear(password),
                Err(fault) => {
                    self.problem_at("password", fault);
                    PasswordWish::Unsaid
                }
            },
            (None, Some(credentials)) => PasswordWish::Digests(credentials),
            (None, None) if map.get("password") == Some(&Value::Null) => PasswordWish::Removed,
            (None, None) => PasswordWish::Unsaid,
        }
    }

    fn credentials(&mut self, value: &Value) -> Option<Credentials> {
        match Credentials::from_json(value) {
            Ok(credentials) => Some(credentials),
            Err((key, fault)) if key.is_empty() => {
                self.problem(fault);
                None
            }
            Err((key, fault)) => {
                self.problem_at(&key, fault);
                None
            }
        }
    }

    fn settings(&mut self, value: &Value) -> Settings {
        let mut settings = Settings::default();
        let keys: Vec<&str> = Settings::PARTS.into_iter().chain(["own"]).collect();
        let Some(map) = self.object(value, "the settings", &keys) else {
            return settings;
        };
        settings.own = self.key(map, "own", Self::own_parts).unwrap_or_default();
        for name in Settings::PARTS {
            let part = self.key(map, name, |reader, value| Some(reader.part(value)));
            if let (Some(part), Some(slot)) = (part, settings.part_mut(name)) {
                *slot = part;
            }
        }
        settings
    }

    fn own_parts(&mut self, value: &Value) -> Option<BTreeMap<String, StatusSettings>> {
        let Some(map) = value.as_object() else {
            let found = kind(value);
            self.problem(format!("expected settings by own status, found {found}"));
            return None;
        };
        let mut parts = BTreeMap::new();
        for name in map.keys() {
            let part = self.key(map, name, |reader, value| Some(reader.part(value)));
            parts.extend(part.map(|part| (name.clone(), part)));
        }
        Some(parts)
    }

    fn exceptions(&mut self, value: &Value) -> Exceptions {
        let Some(map) = self.object(value, "the exceptions", EXCEPTIONS_KEYS) else {
            return Exceptions::default();
        };
        Exceptions {
            blocked: self.key(map, "blocked", Self::texts).unwrap_or_default(),
            vips: self.key(map, "vips", Self::texts).unwrap_or_default(),
            call_through_dnd: self
                .key(map, "call_through_dnd", Self::plain)
                .unwrap_or_default(),
            rules: self
                .key(map, "rules", Self::exception_list)
                .unwrap_or_default(),
        }
    }

    fn exception_list(&mut self, value: &Value) -> Option<Vec<Exception>> {
        let Some(items) = value.as_array() else {
            self.problem(format!("expected a list of rules, found {}", kind(value)));
            return None;
        };
        let mut rules = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            self.path.push(position.to_string());
            rules.extend(self.exception(item));
            self.path.pop();
        }
        Some(rules)
    }

    fn exception(&mut self, value: &Value) -> Option<Exception> {
        let map = self.object(value, "a rule", EXCEPTION_KEYS)?;
        for key in ["name", "action"] {
            if !map.contains_key(key) {
                self.problem_at(key, "missing");
            }
        }
        let callers = self.key(map, "callers", Self::texts).unwrap_or_default();
        let when = self.key(map, "when", Self::whole);
        let until = self.key(map, "until", Self::instant);
        let action = self.key(map, "action", Self::action);
        Some(Exception {
            name: self.key(map, "name", Self::text)?,
            callers,
            when,
            action: action?,
            until,
        })
    }

    fn part(&mut self, value: &Value) -> StatusSettings {
        let Some(map) = self.object(value, "the settings of a status", PART_KEYS) else {
            return StatusSettings::default();
        };
        StatusSettings {
            message: self.key(map, "message", Self::text),
            immediate: self.key(map, "immediate", Self::rule),
            busy: self.key(map, "busy", Self::rule),
            no_answer: self.key(map, "no_answer", Self::rule),
            unreachable: self.key(map, "unreachable", Self::rule),
            declined: self.key(map, "declined", Self::rule),
            ring_for_s: self.key(map, "ring_for_s", Self::seconds),
            chat: self.key(map, "chat", Self::plain),
        }
    }

    fn rule(&mut self, value: &Value) -> Option<Rule> {
        let by_class = value
            .as_object()
            .filter(|map| !map.contains_key("forward") || map.keys().any(|key| is_class(key)));
        let Some(map) = by_class else {
            return self.action(value).map(Rule::All);
        };
        if map.is_empty() || !map.keys().any(|key| is_class(key)) {
            let found = map.keys().next().map_or("an empty object", String::as_str);
            self.problem(format!(
                "found {found}; use {ACTIONS}, or an object with \"internal\", \"external\", \
                 \"anonymous\""
            ));
            return None;
        }
        self.refuse_unknown(map, CLASS_KEYS);
        Some(Rule::PerClass(ClassRule {
            internal: self.key(map, "internal", Self::action),
            external: self.key(map, "external", Self::action),
            anonymous: self.key(map, "anonymous", Self::action),
        }))
    }

    fn action(&mut self, value: &Value) -> Option<Action> {
        match value {
            Value::String(name) => self.simple_action(name),
            Value::Object(map) if map.contains_key("forward") => {
                self.refuse_unknown(map, &["forward"]);
                self.key(map, "forward", Self::text).map(Action::Forward)
            }
            other => {
                self.problem(format!(
                    "expected an action, found {}; use {ACTIONS}",
                    kind(other)
                ));
                None
            }
        }
    }

    fn simple_action(&mut self, name: &str) -> Option<Action> {
        match name {
            "connect" => Some(Action::Connect),
            "reject" => Some(Action::Reject),
            "missed" => Some(Action::Missed),
            "voicemail" => Some(Action::Voicemail),
            "forward" => {
                self.problem(r#"forward needs a target; use {"forward": "<number or SIP URI>"}"#);
                None
            }
            other => {
                self.problem(format!(
                    "unknown action `{}`; use {ACTIONS}",
                    excerpt(other)
                ));
                None
            }
        }
    }

    fn language(&mut self, value: &Value) -> Option<Language> {
        self.name(
            value,
            Language::from_name,
            &Language::ALL.map(Language::name),
        )
    }

    fn status(&mut self, value: &Value) -> Option<Status> {
        self.name(value, Status::from_name, &Status::ALL.map(Status::name))
    }

    fn source(&mut self, value: &Value) -> Option<Source> {
        self.name(value, Source::from_name, &Source::ALL.map(Source::name))
    }

    fn name<T>(
        &mut self,
        value: &Value,
        from_name: fn(&str) -> Option<T>,
        allowed: &[&str],
    ) -> Option<T> {
        let text = self.text(value)?;
        let named = from_name(&text);
        if named.is_none() {
            self.problem(unknown_name(&text, allowed));
        }
        named
    }

    fn instant(&mut self, value: &Value) -> Option<Timestamp> {
        let text = self.text(value)?;
        let instant = text.parse().ok();
        if instant.is_none() {
            self.problem(format!(
                "`{}` is no point in time; use RFC 3339 with an offset, \
                 \"2026-11-23T15:00:00+01:00\"",
                excerpt(&text)
            ));
        }
        instant
    }

    fn seconds(&mut self, value: &Value) -> Option<u16> {
        let seconds = value
            .as_u64()
            .and_then(|seconds| u16::try_from(seconds).ok());
        if seconds.is_none() {
            self.problem(format!(
                "expected whole seconds from 5 to 120, found {}",
                excerpt(&value.to_string())
            ));
        }
        seconds
    }

    /// A value whose type says by itself what is wrong with it.
    fn plain<T: DeserializeOwned>(&mut self, value: &Value) -> Option<T> {
        T::deserialize(value)
            .map_err(|error| self.problem(error.to_string()))
            .ok()
    }

    /// An object whose type says by itself what is wrong with it.
    fn whole<T: DeserializeOwned>(&mut self, value: &Value) -> Option<T> {
        match read_object(value) {
            Ok(read) => Some(read),
            Err(Problem { field, text }) => {
                let depth = self.path.len();
                self.path
                    .extend(Some(field).filter(|field| !field.is_empty()));
                self.problem(text);
                self.path.truncate(depth);
                None
            }
        }
    }

    /// A list of such objects.
    fn wholes<T: DeserializeOwned>(&mut self, value: &Value) -> Option<Vec<T>> {
        let Some(items) = value.as_array() else {
            self.problem(format!("expected a list of objects, found {}", kind(value)));
            return None;
        };
        let mut read = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            self.path.push(position.to_string());
            read.extend(self.whole(item));
            self.path.pop();
        }
        Some(read)
    }

    fn texts(&mut self, value: &Value) -> Option<Vec<String>> {
        let Some(items) = value.as_array() else {
            self.problem(format!("expected a list of texts, found {}", kind(value)));
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            self.path.push(position.to_string());
            texts.extend(self.text(item));
            self.path.pop();
        }
        Some(texts)
    }

    fn text(&mut self, value: &Value) -> Option<String> {
        let text = value.as_str();
        if text.is_none() {
            self.problem(format!("expected a text, found {}", kind(value)));
        }
        text.map(str::to_owned)
    }

    /// The value of a key that may be left out; `null` counts as left out.
    fn key<T>(
        &mut self,
        map: &Map<String, Value>,
        name: &str,
        read: impl FnOnce(&mut Self, &Value) -> Option<T>,
    ) -> Option<T> {
        let value = map.get(name).filter(|value| !value.is_null())?;
        self.path.push(name.to_owned());
        let read = read(self, value);
        self.path.pop();
        read
    }

    fn object<'v>(
        &mut self,
        value: &'v Value,
        what: &str,
        keys: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Some(map) = value.as_object() else {
            self.problem(format!(
                "expected {what} as an object, found {}",
                kind(value)
            ));
            return None;
        };
        self.refuse_unknown(map, keys);
        Some(map)
    }

    fn refuse_unknown(&mut self, map: &Map<String, Value>, allowed: &[&str]) {
        for key in map.keys().filter(|key| !allowed.contains(&key.as_str())) {
            let key = excerpt(key);
            self.problem_at(&key, format!("unknown key; use {}", allowed.join(", ")));
        }
    }

    fn problem_at(&mut self, key: &str, text: impl Into<String>) {
        self.path.push(key.to_owned());
        self.problem(text);
        self.path.pop();
    }

    fn problem(&mut self, text: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem::new(self.path.join("."), text));
        }
    }
}

fn is_class(key: &str) -> bool {
    CLASS_KEYS.contains(&key)
}

fn unknown_name(name: &str, allowed: &[&str]) -> String {
    format!(
        "unknown name `{}`; use {}",
        excerpt(name),
        allowed.join(", ")
    )
}

/// At most 40 characters of what somebody sent, fit for one line.
fn excerpt(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(40)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ANNA: &str = r#"{"id":"anna","display_name":"Anna Arndt","aliases":["101","+493012345101"],
        "status":"away","settings":{"available":{"no_answer":"voicemail","ring_for_s":20},
        "away":{"message":"Back at three","immediate":{"forward":"+491701234567"}},
        "in_call":{"immediate":"reject"}}}"#;

    fn problem(document: Value) -> String {
        Subscriber::from_json(&document).unwrap_err().to_string()
    }

    #[test]
    fn a_document_round_trips() {
        let anna: Subscriber = serde_json::from_str(ANNA).unwrap();
        assert_eq!(anna.status, Status::Away);
        assert_eq!(
            anna.settings.away.immediate,
            Some(Rule::All(Action::Forward("+491701234567".into())))
        );
        let written = serde_json::to_value(&anna).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(ANNA).unwrap());
        assert_eq!(Subscriber::from_json(&written).unwrap(), anna);
    }

    #[test]
    fn an_answer_of_the_api_can_be_put_back() {
        let mut answer: Value = serde_json::from_str(ANNA).unwrap();
        answer["effective_status"] = json!("in_call");
        answer["calls"] = json!(2);
        answer["version"] = json!(17);
        let read = Subscriber::from_json(&answer).unwrap();
        assert_eq!(read, serde_json::from_str(ANNA).unwrap());
    }

    #[test]
    fn an_unknown_action_is_named_with_its_path_and_what_is_allowed() {
        let text = problem(json!({"id": "a", "settings": {"away": {"immediate": "fwd"}}}));
        assert_eq!(
            text,
            "settings.away.immediate: unknown action `fwd`; use \"connect\", \"reject\", \
             \"missed\", \"voicemail\" or {\"forward\": \"<number or SIP URI>\"}"
        );
        let text = problem(json!({"id": "a", "settings": {"away": {"busy": {"forward": 5}}}}));
        assert_eq!(
            text,
            "settings.away.busy.forward: expected a text, found a number"
        );
        let text = problem(json!({"id": "a", "settings": {"away": {"busy": "forward"}}}));
        assert!(text.contains("forward needs a target"), "{text}");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = problem(json!({
            "Id": "a", "status": "busy", "until": "tomorrow", "aliases": ["1", 2],
            "settings": {"dnd": {"ring_for": 3, "ring_for_s": -1}, "lunch": {}}
        }));
        for part in [
            "Id: unknown key; use id,",
            "id: missing",
            "status: unknown name `busy`; use available, away, break, dnd, in_call",
            "until: `tomorrow` is no point in time",
            "aliases.1: expected a text, found a number",
            "settings.dnd.ring_for: unknown key; use message, immediate",
            "settings.dnd.ring_for_s: expected whole seconds from 5 to 120, found -1",
            "settings.lunch: unknown key; use all, available",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn a_rule_is_one_action_or_one_per_caller_class() {
        let part = StatusSettings::from_json(&json!({
            "immediate": {"internal": "connect", "anonymous": {"forward": "101"}}
        }))
        .unwrap();
        assert_eq!(
            part.immediate,
            Some(Rule::PerClass(ClassRule {
                internal: Some(Action::Connect),
                external: None,
                anonymous: Some(Action::Forward("101".into())),
            }))
        );
        for wrong in [
            json!({"immediate": {}}),
            json!({"immediate": {"intern": "connect"}}),
            json!({"immediate": {"internal": "connect", "extern": "reject"}}),
            json!({"immediate": {"internal": "connect", "forward": "1"}}),
            json!({"immediate": {"forward": "1", "x": 2}}),
            json!({"immediate": 3}),
            json!([]),
        ] {
            assert!(StatusSettings::from_json(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_kind_of_document_and_endless_problems_are_bounded_errors() {
        assert!(problem(json!(3)).contains("expected a subscriber as an object"));
        let keys: Map<String, Value> = (0..100).map(|n| (format!("x{n}"), json!(1))).collect();
        let problems = Subscriber::from_json(&Value::Object(keys)).unwrap_err();
        assert_eq!(problems.0.len(), MAX_PROBLEMS);
    }

    #[test]
    fn every_name_reads_back() {
        for status in Status::ALL {
            assert_eq!(
                serde_json::from_value::<Status>(json!(status)).unwrap(),
                status
            );
        }
        for source in Source::ALL {
            assert_eq!(
                serde_json::from_value::<Source>(json!(source)).unwrap(),
                source
            );
        }
        for language in Language::ALL {
            assert_eq!(
                serde_json::from_value::<Language>(json!(language)).unwrap(),
                language
            );
        }
        assert!(serde_json::from_value::<Status>(json!("x")).is_err());
    }
}
