//! What a document must satisfy before it is stored.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::exceptions::{Exception, Exceptions, Pattern};
use super::layers::{Override, SIGNALS_LIMIT, Signal, SignalKind, Triggers};
use super::model::{Action, Problem, Problems, Rule, Settings, Status, StatusSettings, Subscriber};
use super::numbers::{KEY_LIMIT_BYTES, NumberPlan, is_number};
use super::own::{OWN_STATUSES_LIMIT, StatusName};

const DISPLAY_NAME_LIMIT_BYTES: usize = 128;
const MESSAGE_LIMIT_BYTES: usize = 500;
const TARGET_LIMIT_BYTES: usize = 256;
const ALIASES_LIMIT: usize = 32;
const RULES_LIMIT: usize = 50;
const CALLERS_LIMIT: usize = 200;
const FEED_LIMIT_BYTES: usize = 1_000;
const CATEGORIES_LIMIT: usize = 32;
const CALENDARS_LIMIT: usize = 4;
const TEAMS_LIMIT: usize = 16;
const DELEGATES_LIMIT: usize = 16;
const ACTIVITIES_LIMIT: usize = 16;
const SIGNAL_ID_LIMIT_BYTES: usize = 128;
const RING_FOR_S: std::ops::RangeInclusive<u16> = 5..=120;

impl Subscriber {
    /// The document as it is stored: aliases in their canonical form and without repetitions,
    /// forwarding numbers without separators, instants in whole seconds.
    ///
    /// # Errors
    /// Every field that is not allowed.
    pub fn validate(mut self, plan: &NumberPlan) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        if !is_id(&self.id) {
            problems.push(Problem::new(
                "id",
                "1 to 64 characters of A-Z a-z 0-9 . _ ~ + -",
            ));
        }
        check_status(self.status, &mut problems);
        check_text(
            "display_name",
            &self.display_name,
            DISPLAY_NAME_LIMIT_BYTES,
            &mut problems,
        );
        if let Some(message) = &self.status_message {
            check_text(
                "status_message",
                message,
                MESSAGE_LIMIT_BYTES,
                &mut problems,
            );
        }
        self.status_message = self.status_message.filter(|message| !message.is_empty());
        self.until = self.until.map(|until| whole_seconds(until, true));
        self.since = self.since.map(|since| whole_seconds(since, false));
        self.aliases = canonical_aliases(&self.id, &self.aliases, plan, &mut problems);
        self.settings.normalise(&mut problems);
        self.exceptions.normalise("exceptions.", &mut problems);
        self.normalise_layers(&mut problems);
        unless(problems, self)
    }
}

impl StatusSettings {
    /// The settings of one status as they are stored; as [`Subscriber::validate`].
    ///
    /// # Errors
    /// Every field that is not allowed.
    pub fn validate(mut self) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        self.normalise("", &mut problems);
        unless(problems, self)
    }

    fn normalise(&mut self, path: &str, problems: &mut Vec<Problem>) {
        let at = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        if let Some(message) = &self.message {
            check_text(&at("message"), message, MESSAGE_LIMIT_BYTES, problems);
        }
        self.message = self.message.take().filter(|message| !message.is_empty());
        if self
            .ring_for_s
            .is_some_and(|seconds| !RING_FOR_S.contains(&seconds))
        {
            problems.push(Problem::new(at("ring_for_s"), "must be 5 to 120 seconds"));
        }
        for (name, rule) in [
            ("immediate", &mut self.immediate),
            ("busy", &mut self.busy),
            ("no_answer", &mut self.no_answer),
            ("unreachable", &mut self.unreachable),
            ("declined", &mut self.declined),
        ] {
            if let Some(set) = rule.take() {
                *rule = normalise_rule(set, &at(name), problems);
            }
        }
    }
}

impl Settings {
    fn normalise(&mut self, problems: &mut Vec<Problem>) {
        for name in Self::PARTS {
            if let Some(part) = self.part_mut(name) {
                part.normalise(&format!("settings.{name}"), problems);
            }
        }
        if self.own.len() > OWN_STATUSES_LIMIT {
            let text = format!("{}; at most {OWN_STATUSES_LIMIT}", self.own.len());
            problems.push(Problem::new("settings.own", text));
        }
        for (id, part) in &mut self.own {
            part.normalise(&format!("settings.own.{id}"), problems);
        }
        self.own.retain(|_, part| !part.is_empty());
    }
}

impl Subscriber {
    /// What stands beside the chosen status.
    fn normalise_layers(&mut self, problems: &mut Vec<Problem>) {
        if let Some(order) = self.overruled.take() {
            check_status_at("override.status", order.status, problems);
            let message = order.message.as_deref().unwrap_or_default();
            check_message("override.message", message, problems);
            self.overruled = Some(order.normal());
        }
        if self.signals.len() > SIGNALS_LIMIT {
            let count = self.signals.len();
            problems.push(Problem::new(
                "signals",
                format!("{count}; at most {SIGNALS_LIMIT}"),
            ));
            self.signals.clear();
        }
        for (position, signal) in self.signals.iter_mut().enumerate() {
            signal.normalise(&format!("signals.{position}."), problems);
        }
        if let Some(hours) = &self.hours {
            problems.extend(hours.problems("hours."));
        }
        self.triggers.normalise("triggers.", problems);
        if self.calendars.len() > CALENDARS_LIMIT {
            let text = format!("at most {CALENDARS_LIMIT}");
            problems.push(Problem::new("calendars", text));
        }
        for (position, feed) in self.calendars.iter().enumerate() {
            if let Err(fault) = check_feed(feed) {
                problems.push(Problem::new(format!("calendars.{position}"), fault));
            }
        }
        let is_long = |team: &String| team.is_empty() || team.len() > DISPLAY_NAME_LIMIT_BYTES;
        if self.teams.len() > TEAMS_LIMIT || self.teams.iter().any(is_long) {
            let text =
                format!("at most {TEAMS_LIMIT} names of 1 to {DISPLAY_NAME_LIMIT_BYTES} bytes");
            problems.push(Problem::new("teams", text));
        }
        for (position, team) in self.teams.iter().enumerate() {
            let field = format!("teams.{position}");
            check_text(&field, team, DISPLAY_NAME_LIMIT_BYTES, problems);
        }
        if self.delegates.len() > DELEGATES_LIMIT {
            let text = format!("{}; at most {DELEGATES_LIMIT}", self.delegates.len());
            problems.push(Problem::new("delegates", text));
        }
        for (position, delegate) in self.delegates.iter().enumerate() {
            if !is_id(delegate) {
                let field = format!("delegates.{position}");
                problems.push(Problem::new(field, "must be the id of a subscriber"));
            }
        }
    }
}

impl Exceptions {
    /// The exceptions as they are stored; as [`Subscriber::validate`].
    ///
    /// # Errors
    /// Every field that is not allowed.
    pub fn validate(mut self) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        self.normalise("", &mut problems);
        unless(problems, self)
    }

    fn normalise(&mut self, path: &str, problems: &mut Vec<Problem>) {
        normalise_callers(&mut self.blocked, &format!("{path}blocked"), problems);
        normalise_callers(&mut self.vips, &format!("{path}vips"), problems);
        if self.rules.len() > RULES_LIMIT {
            let text = format!("{}; at most {RULES_LIMIT}", self.rules.len());
            problems.push(Problem::new(format!("{path}rules"), text));
            self.rules.clear();
        }
        for (position, rule) in self.rules.iter_mut().enumerate() {
            rule.normalise(&format!("{path}rules.{position}."), problems);
        }
    }
}

impl Exception {
    fn normalise(&mut self, path: &str, problems: &mut Vec<Problem>) {
        let at = |key: &str| format!("{path}{key}");
        check_text(&at("name"), &self.name, DISPLAY_NAME_LIMIT_BYTES, problems);
        normalise_callers(&mut self.callers, &at("callers"), problems);
        normalise_action(&mut self.action, &at("action"), problems);
        self.until = self.until.map(|until| whole_seconds(until, true));
        let zone = self.when.as_ref().and_then(|when| when.zone.as_deref());
        if let Some(zone) = zone.filter(|zone| TimeZone::get(zone).is_err()) {
            let text = format!("`{zone}` is no time zone; use an IANA name, Europe/Berlin");
            problems.push(Problem::new(at("when.zone"), text));
        }
    }
}

/// A calendar is an `https` or `http` URL, or a file of the server by its whole path.
pub fn check_feed(feed: &str) -> Result<(), &'static str> {
    let is_url = ["https://", "http://"].iter().any(|scheme| {
        feed.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    });
    if feed.len() > FEED_LIMIT_BYTES || feed.bytes().any(|b| b.is_ascii_control()) {
        Err("at most 1000 bytes, without control characters")
    } else if is_url || feed.starts_with('/') {
        Ok(())
    } else {
        Err("must be an https:// URL, or the whole path of a file on the server")
    }
}

fn normalise_callers(callers: &mut [String], path: &str, problems: &mut Vec<Problem>) {
    if callers.len() > CALLERS_LIMIT {
        let text = format!("{}; at most {CALLERS_LIMIT}", callers.len());
        problems.push(Problem::new(path, text));
        return;
    }
    for (position, caller) in callers.iter_mut().enumerate() {
        match Pattern::check(caller) {
            Ok(normal) => *caller = normal,
            Err(fault) => problems.push(Problem::new(format!("{path}.{position}"), fault)),
        }
    }
}

impl Override {
    /// The order as it is stored: instants in whole seconds, no empty message.
    pub(super) fn normal(self) -> Self {
        Self {
            message: self.message.filter(|message| !message.is_empty()),
            until: self.until.map(|until| whole_seconds(until, true)),
            since: self.since.map(|since| whole_seconds(since, false)),
            ..self
        }
    }
}

impl Signal {
    /// The signal as it is stored; as [`Subscriber::validate`].
    ///
    /// # Errors
    /// Every field that is not allowed.
    pub fn validate(mut self) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        self.normalise("", &mut problems);
        unless(problems, self)
    }

    fn normalise(&mut self, path: &str, problems: &mut Vec<Problem>) {
        let mut problem = |key: &str, text: &str| {
            problems.push(Problem::new(format!("{path}{key}"), text));
        };
        let is_entry = matches!(self.kind, SignalKind::Calendar | SignalKind::Schedule);
        match (is_entry, self.status) {
            (true, Some(Status::Away | Status::Break | Status::Dnd)) | (false, None) => {}
            (true, _) => problem("status", "must be away, break or dnd"),
            (false, Some(_)) => problem("status", "belongs to calendar and schedule only"),
        }
        if self.kind == SignalKind::Client {
            if self.until.is_none() {
                problem(
                    "until",
                    "missing; a client that says no more is forgotten then",
                );
            }
        } else if self.idle_since.is_some() || self.locked_since.is_some() {
            problem(
                "idle_since",
                "idle_since and locked_since belong to a client only",
            );
        }
        if self.id.is_empty() || self.id.len() > SIGNAL_ID_LIMIT_BYTES {
            problem("id", "1 to 128 bytes");
        }
        if self
            .from
            .zip(self.until)
            .is_some_and(|(from, until)| until <= from)
        {
            problem("until", "must be after `from`");
        }
        check_text(
            &format!("{path}id"),
            &self.id,
            SIGNAL_ID_LIMIT_BYTES,
            problems,
        );
        if let Some(title) = &self.title {
            check_message(&format!("{path}title"), title, problems);
        }
        self.title = self.title.take().filter(|title| !title.is_empty());
        self.from = self.from.map(|from| whole_seconds(from, false));
        self.until = self.until.map(|until| whole_seconds(until, true));
        self.idle_since = self.idle_since.map(|since| whole_seconds(since, true));
        self.locked_since = self.locked_since.map(|since| whole_seconds(since, true));
    }
}

impl Triggers {
    /// The triggers as they are stored; as [`Subscriber::validate`].
    ///
    /// # Errors
    /// Every field that is not allowed.
    pub fn validate(mut self) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        self.normalise("", &mut problems);
        unless(problems, self)
    }

    fn normalise(&mut self, path: &str, problems: &mut Vec<Problem>) {
        if self.away_after_min.is_some_and(|minutes| minutes > 240) {
            let field = format!("{path}away_after_min");
            problems.push(Problem::new(field, "0 (never) to 240 minutes"));
        }
        let statuses = self
            .calendar_busy
            .iter()
            .chain(&self.calendar_out_of_office);
        for status in statuses.chain(self.calendar_categories.values()) {
            if *status == StatusName::Of(Status::InCall) {
                check_status_at(&format!("{path}calendar_busy"), Status::InCall, problems);
            }
        }
        if self.calendar_categories.len() > CATEGORIES_LIMIT {
            let text = format!("at most {CATEGORIES_LIMIT}");
            problems.push(Problem::new(format!("{path}calendar_categories"), text));
        }
        let names = &self.dnd_activities;
        let is_long = |name: &String| name.is_empty() || name.len() > SIGNAL_ID_LIMIT_BYTES;
        if names.len() > ACTIVITIES_LIMIT || names.iter().any(is_long) {
            let text = format!("at most {ACTIVITIES_LIMIT} names of 1 to 128 bytes");
            problems.push(Problem::new(format!("{path}dnd_activities"), text));
        }
    }
}

/// The document, unless something is wrong with it.
fn unless<T>(problems: Vec<Problem>, document: T) -> Result<T, Problems> {
    if problems.is_empty() {
        Ok(document)
    } else {
        Err(Problems(problems))
    }
}

/// Whether this may be the id of a subscriber.
pub fn is_id(id: &str) -> bool {
    (1..=KEY_LIMIT_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._~+-".contains(&b))
}

/// `in_call` follows from calls and cannot be chosen.
pub(super) fn check_status(status: Status, problems: &mut Vec<Problem>) {
    check_status_at("status", status, problems);
}

fn check_status_at(field: &str, status: Status, problems: &mut Vec<Problem>) {
    if status == Status::InCall {
        problems.push(Problem::new(
            field,
            "in_call is set by calls only; use available, away, break or dnd",
        ));
    }
}
/// A message that is not too long and has no control characters but line ends.
pub(super) fn check_message(field: &str, text: &str, problems: &mut Vec<Problem>) {
    check_text(field, text, MESSAGE_LIMIT_BYTES, problems);
}

fn check_text(field: &str, text: &str, limit: usize, problems: &mut Vec<Problem>) {
    if text.len() > limit {
        let length = text.len();
        problems.push(Problem::new(
            field,
            format!("{length} bytes long; at most {limit}"),
        ));
    }
    let message = limit == MESSAGE_LIMIT_BYTES;
    if text
        .chars()
        .any(|c| c.is_control() && !(message && c == '\n'))
    {
        problems.push(Problem::new(field, "has a control character"));
    }
}

fn canonical_aliases(
    id: &str,
    aliases: &[String],
    plan: &NumberPlan,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    if aliases.len() > ALIASES_LIMIT {
        let count = aliases.len();
        problems.push(Problem::new(
            "aliases",
            format!("{count}; at most {ALIASES_LIMIT}"),
        ));
        return Vec::new();
    }
    let mut canonical: Vec<String> = Vec::with_capacity(aliases.len());
    for (position, alias) in aliases.iter().enumerate() {
        let key = plan.canonical_alias(alias.trim());
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~+*#-".contains(&b);
        if key.is_empty() || key.len() > KEY_LIMIT_BYTES || !key.bytes().all(allowed) {
            problems.push(Problem::new(
                format!("aliases.{position}"),
                "must be an extension, a telephone number or a name of at most 64 characters",
            ));
        } else if !key.eq_ignore_ascii_case(id) && !canonical.contains(&key) {
            canonical.push(key);
        }
    }
    canonical
}

fn normalise_rule(rule: Rule, path: &str, problems: &mut Vec<Problem>) -> Option<Rule> {
    let mut rule = rule;
    match &mut rule {
        Rule::All(action) => normalise_action(action, path, problems),
        Rule::PerClass(by_class) => {
            let slots = [
                ("internal", &mut by_class.internal),
                ("external", &mut by_class.external),
                ("anonymous", &mut by_class.anonymous),
            ];
            let mut set = 0;
            for (name, action) in slots {
                if let Some(action) = action {
                    normalise_action(action, &format!("{path}.{name}"), problems);
                    set += 1;
                }
            }
            if set == 0 {
                return None;
            }
        }
    }
    Some(rule)
}

fn normalise_action(action: &mut Action, path: &str, problems: &mut Vec<Problem>) {
    if let Action::Forward(target) = action {
        match normalise_target(target) {
            Ok(normal) => *target = normal,
            Err(fault) => problems.push(Problem::new(format!("{path}.forward"), fault)),
        }
    }
}

/// A number without separators, the id of a colleague, or a URI that cannot break out of a header
/// field.
pub(super) fn normalise_target(target: &str) -> Result<String, &'static str> {
    let target = target.trim();
    if target.is_empty() || target.len() > TARGET_LIMIT_BYTES {
        return Err("1 to 256 characters");
    }
    if let Some((_, rest)) = split_scheme(target) {
        let forbidden = |b: u8| !b.is_ascii_graphic() || b"<>\"'\\?,`{}|^".contains(&b);
        return if rest.is_empty() || rest.starts_with('@') || rest.ends_with('@') {
            Err("a URI needs a user or host after its scheme")
        } else if rest.bytes().any(forbidden) {
            Err("a URI here has no blanks, quotes, brackets, commas or headers")
        } else {
            Ok(target.to_owned())
        };
    }
    if is_number(target.as_bytes()) {
        return Ok(target
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == '+')
            .collect());
    }
    let code = target
        .bytes()
        .all(|b| b.is_ascii_digit() || b"*#+".contains(&b));
    if code || is_id(target) {
        Ok(target.to_owned())
    } else {
        Err("must be a number, an extension, or a sip:, sips: or tel: URI")
    }
}

/// Splits `sip:`, `sips:` or `tel:` off, in any case.
pub(super) fn split_scheme(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once(':')?;
    ["sip", "sips", "tel"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then_some((scheme, rest))
}

/// Drops the fraction of a second, forward in time if `up`.
pub(super) fn whole_seconds(instant: Timestamp, up: bool) -> Timestamp {
    let seconds = instant.as_second();
    let floor = Timestamp::from_second(seconds).unwrap_or(instant);
    if up && floor < instant {
        Timestamp::from_second(seconds.saturating_add(1)).unwrap_or(instant)
    } else {
        floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::ClassRule;

    fn check(subscriber: Subscriber) -> Result<Subscriber, String> {
        let plan = crate::presence::sample::plan();
        subscriber
            .validate(&plan)
            .map_err(|problems| problems.to_string())
    }

    fn anna() -> Subscriber {
        Subscriber {
            id: "anna".into(),
            display_name: "Anna".into(),
            ..Subscriber::default()
        }
    }

    fn forward(target: &str) -> Result<Subscriber, String> {
        let mut anna = anna();
        anna.settings.away.immediate = Some(Rule::All(Action::Forward(target.into())));
        check(anna)
    }

    #[test]
    fn aliases_become_canonical_without_repetitions() {
        let aliases = ["101", "+49 30 1234-56", "030 123456", "ANNA", "Anna.Arndt"];
        let anna = Subscriber {
            aliases: aliases.map(String::from).to_vec(),
            ..anna()
        };
        assert_eq!(
            check(anna).unwrap().aliases,
            ["101", "+4930123456", "anna.arndt"]
        );
    }

    #[test]
    fn in_call_is_refused_with_its_reason() {
        let error = check(Subscriber {
            status: Status::InCall,
            ..anna()
        })
        .unwrap_err();
        assert!(
            error.starts_with("status: in_call is set by calls only"),
            "{error}"
        );
    }

    #[test]
    fn every_bound_is_kept() {
        let long = "x".repeat(600);
        let many: Vec<String> = (100..200).map(|n| n.to_string()).collect();
        for (wrong, field) in [
            (
                Subscriber {
                    id: String::new(),
                    ..anna()
                },
                "id",
            ),
            (
                Subscriber {
                    id: "a b".into(),
                    ..anna()
                },
                "id",
            ),
            (
                Subscriber {
                    id: "x".repeat(65),
                    ..anna()
                },
                "id",
            ),
            (
                Subscriber {
                    display_name: long.clone(),
                    ..anna()
                },
                "display_name",
            ),
            (
                Subscriber {
                    display_name: "a\rb".into(),
                    ..anna()
                },
                "display_name",
            ),
            (
                Subscriber {
                    status_message: Some(long.clone()),
                    ..anna()
                },
                "status_message",
            ),
            (
                Subscriber {
                    aliases: many,
                    ..anna()
                },
                "aliases",
            ),
            (
                Subscriber {
                    aliases: vec!["a@b".into()],
                    ..anna()
                },
                "aliases.0",
            ),
            (
                Subscriber {
                    aliases: vec![long],
                    ..anna()
                },
                "aliases.0",
            ),
        ] {
            let error = check(wrong).unwrap_err();
            assert!(error.starts_with(&format!("{field}: ")), "{error}");
        }
    }

    #[test]
    fn the_ring_time_is_5_to_120_seconds() {
        for (seconds, is_good) in [(0, false), (4, false), (5, true), (120, true), (121, false)] {
            let mut anna = anna();
            anna.settings.all.ring_for_s = Some(seconds);
            let checked = check(anna);
            assert_eq!(checked.is_ok(), is_good, "{seconds}");
            if let Err(error) = checked {
                assert_eq!(error, "settings.all.ring_for_s: must be 5 to 120 seconds");
            }
        }
    }

    #[test]
    fn a_forwarding_target_is_dialable_and_cannot_inject_a_header() {
        for good in [
            "101",
            "+491701234567",
            "*21",
            "bob",
            "sip:bob@example.com",
            "tel:+4930",
        ] {
            assert!(forward(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "sip:",
            "sip:@host",
            "sip:a@b\r\nVia: x",
            "sip:a@b>",
            "sip:a b@c",
            "sip:a@b?Subject=x",
            "sip:a@b,sip:c@d",
            "\"x\" <sip:a@b>",
            "http://example.com",
            "bob@example.com",
            "über",
        ] {
            assert!(forward(bad).is_err(), "{bad}");
        }
        let anna = forward(" +49 (170) 123-4567 ").unwrap();
        assert_eq!(
            anna.settings.away.immediate,
            Some(Rule::All(Action::Forward("+491701234567".into())))
        );
    }

    #[test]
    fn instants_are_whole_seconds_and_an_empty_rule_is_none() {
        let mut anna = anna();
        anna.until = Some("2026-11-23T15:00:00.2Z".parse().unwrap());
        anna.since = Some("2026-11-23T14:00:00.8Z".parse().unwrap());
        anna.settings.dnd.busy = Some(Rule::PerClass(ClassRule::default()));
        let anna = check(anna).unwrap();
        assert_eq!(anna.until.unwrap().to_string(), "2026-11-23T15:00:01Z");
        assert_eq!(anna.since.unwrap().to_string(), "2026-11-23T14:00:00Z");
        assert!(anna.settings.is_empty());
    }
}
