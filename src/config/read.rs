//! From a file and the environment to a checked [`Config`].

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Fault, Place};
use super::house::{CODE_KEYS, HOURS_KEYS, STATUS_KEYS};
use super::keys::{KEYS, Key, NODE_KEYS, PEER_KEYS, SECTIONS};
use super::value::Value;
use super::{Config, Secret};

/// What an environment variable begins with that overrides a key.
const PREFIX: &str = "POINTSMAN_";
/// What stands between section and key in it.
const SEPARATOR: &str = "__";
/// A configuration file is written by people.
const FILE_LIMIT_BYTES: u64 = 16 << 20;

impl Config {
    /// Reads a file, if there is one, then the environment's overrides, and checks the whole.
    /// Without both, the defaults are in force.
    ///
    /// # Errors
    /// Everything that is wrong with it: what cannot be read, unknown keys, wrong types,
    /// impossible values and combinations.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let text = match file {
            None => String::new(),
            Some(path) => read_file(path).map_err(|error| ConfigErrors(vec![error]))?,
        };
        Self::parse(file.unwrap_or(Path::new("")), &text, environment)
    }

    /// As [`Config::load`], from a text; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut reading = Reading {
            path,
            text,
            config: Config::default(),
            errors: Vec::new(),
        };
        reading.document();
        reading.environment(environment);
        if reading.errors.is_empty() {
            reading.secret_files();
            reading.errors.extend(reading.config.check());
        }
        match reading.errors.is_empty() {
            true => Ok(reading.config),
            false => Err(ConfigErrors(reading.errors)),
        }
    }
}

/// A configuration while it is read.
struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    config: Config,
    errors: Vec<ConfigError>,
}

/// Keys of which a table must have one, and what is said where it has none.
type Need = (&'static [&'static str], &'static str);

const PEER_NEEDS: &[Need] = &[
    (&["name"], "it has no `name`, which every peer needs"),
    (
        &["address", "certificate"],
        "it has neither `address` nor `certificate`; every peer needs one of them",
    ),
];
const NODE_NEEDS: &[Need] = &[
    (&["name"], "it has no `name`, which every node needs"),
    (&["uri"], "it has no `uri`, which every node needs"),
];

const STATUS_NEEDS: &[Need] = &[(&["id"], "it has no `id`, which every status needs")];

const CODE_NEEDS: &[Need] = &[
    (
        &["code"],
        "it has no `code`, which every feature code needs",
    ),
    (
        &["status", "forward", "clear"],
        "it has none of `status`, `forward` and `clear`; every feature code needs one of them",
    ),
];

impl Reading<'_> {
    fn document(&mut self) {
        let (document, faults) = DeTable::parse_recoverable(self.text);
        let start = |fault: &toml::de::Error| fault.span().map_or(0, |span| span.start);
        if let Some(first) = faults.iter().min_by_key(|fault| start(fault)) {
            let text = format!("this is not TOML: {}", first.message());
            return self.refuse(first.span(), "", text);
        }
        for (name, value) in in_file_order(document.get_ref()) {
            match name.get_ref().as_ref() {
                "peer" => {
                    self.config.peers = self.tables("peer", value, (PEER_KEYS, PEER_NEEDS));
                }
                "node" => {
                    self.config.nodes = self.tables("node", value, (NODE_KEYS, NODE_NEEDS));
                }
                "status" => {
                    let keys = (STATUS_KEYS, STATUS_NEEDS);
                    self.config.statuses = self.tables("status", value, keys);
                }
                "hours" => {
                    self.config.hours = self.tables("hours", value, (HOURS_KEYS, &[]));
                }
                "feature_code" => {
                    let keys = (CODE_KEYS, CODE_NEEDS);
                    self.config.codes = self.tables("feature_code", value, keys);
                }
                section if SECTIONS.iter().any(|(known, _)| *known == section) => {
                    self.section(section, value);
                }
                unknown => {
                    let known = SECTIONS.iter().map(|(known, _)| *known);
                    let known = known.chain(["peer", "node", "status", "hours", "feature_code"]);
                    let text = format!("there is no such section; {}", nearest(unknown, known));
                    self.refuse(Some(name.span()), unknown, text);
                }
            }
        }
    }

    fn section(&mut self, section: &str, value: &Spanned<DeValue<'_>>) {
        let Some(table) = value.get_ref().as_table() else {
            let text = format!("a section is needed here; allowed: [{section}]");
            return self.refuse(Some(value.span()), section, text);
        };
        for (name, value) in in_file_order(table) {
            let full = format!("{section}.{}", name.get_ref());
            let Some(key) = KEYS.iter().find(|key| key.name == full) else {
                let known = KEYS
                    .iter()
                    .filter_map(|key| key.name.strip_prefix(section)?.strip_prefix('.'));
                let text = format!("there is no such key; {}", nearest(name.get_ref(), known));
                self.refuse(Some(name.span()), &full, text);
                continue;
            };
            match (key.set)(&mut self.config, Value::Toml(value)) {
                Ok(()) => self.remember(full, value.span()),
                Err(fault) => self.reject(&full, fault.at(Some(value.span()))),
            }
        }
    }

    /// The tables of a section that can stand several times.
    fn tables<T: Default>(
        &mut self,
        kind: &str,
        value: &Spanned<DeValue<'_>>,
        keys: (&[Key<T>], &[Need]),
    ) -> Vec<T> {
        let Some(array) = value.get_ref().as_array() else {
            let text = format!("a list of tables is needed here; allowed: [[{kind}]]");
            self.refuse(Some(value.span()), kind, text);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array {
            match item.get_ref().as_table() {
                Some(table) => {
                    let place = format!("{kind}[{}]", tables.len());
                    tables.push(self.table(place, table, item.span(), keys));
                }
                None => {
                    let text = format!("a table is needed here; allowed: [[{kind}]]");
                    self.refuse(Some(item.span()), kind, text);
                }
            }
        }
        tables
    }

    fn table<T: Default>(
        &mut self,
        place: String,
        table: &DeTable<'_>,
        span: Range<usize>,
        (keys, required): (&[Key<T>], &[Need]),
    ) -> T {
        let mut read = T::default();
        self.remember(place.clone(), span.clone());
        for (name, value) in in_file_order(table) {
            let full = format!("{place}.{}", name.get_ref());
            let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
                let known = keys.iter().map(|key| key.name);
                let text = format!("there is no such key; {}", nearest(name.get_ref(), known));
                self.refuse(Some(name.span()), &full, text);
                continue;
            };
            match (key.set)(&mut read, Value::Toml(value)) {
                Ok(()) => self.remember(full, value.span()),
                Err(fault) => self.reject(&full, fault.at(Some(value.span()))),
            }
        }
        for (any_of, text) in required {
            if !any_of.iter().any(|key| table.contains_key(*key)) {
                self.refuse(Some(span.clone()), &place, (*text).to_owned());
            }
        }
        read
    }

    fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut overrides: Vec<_> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value)))
            .collect();
        overrides.sort();
        for (name, value) in overrides {
            let place = Place::Variable(format!("{PREFIX}{name}"));
            let known = |key: &&Key<Config>| variable(key.name) == name;
            match KEYS.iter().find(known) {
                Some(key) => self.override_key(key, &value, place),
                None => self.unknown_variable(&name, place),
            }
        }
    }

    fn override_key(&mut self, key: &Key<Config>, value: &str, place: Place) {
        match (key.set)(&mut self.config, Value::Text(value)) {
            Ok(()) => {
                self.config.places.0.insert(key.name.to_owned(), place);
            }
            Err(fault) => {
                let key = key.name.to_owned();
                self.errors.push(ConfigError {
                    place,
                    key,
                    text: fault.text,
                });
            }
        }
    }

    /// Two underscores make an override; with one, the command line's own variables are meant,
    /// unless a key was spelt so.
    fn unknown_variable(&mut self, name: &str, place: Place) {
        let known: Vec<_> = KEYS
            .iter()
            .map(|key| format!("{PREFIX}{}", variable(key.name)))
            .collect();
        let name = format!("{PREFIX}{name}");
        let text = if let Some(meant) = known.iter().find(|v| v.replace(SEPARATOR, "_") == name) {
            format!("two underscores stand between section and key: {meant}")
        } else if ["PEER__", "NODE__"].iter().any(|kind| {
            name.strip_prefix(PREFIX)
                .is_some_and(|n| n.starts_with(kind))
        }) {
            "peers and nodes are configured in the file only".to_owned()
        } else if name.contains(SEPARATOR) {
            let hint = nearest(&name, known.iter().map(String::as_str));
            format!("there is no such key; {hint}")
        } else {
            return;
        };
        self.errors.push(ConfigError {
            place,
            key: String::new(),
            text,
        });
    }

    /// Reads the secrets that stand in files of their own.
    fn secret_files(&mut self) {
        let api = &self.config.api;
        let token = (api.admin_token_file.clone(), api.admin_token.is_some());
        if let Some(token) = self.secret_file(("api.admin_token_file", "api.admin_token"), token) {
            self.config.api.admin_token = Some(token);
        }
        let oidc = &self.config.oidc;
        let secret = (
            oidc.client_secret_file.clone(),
            oidc.client_secret.is_some(),
        );
        let keys = ("oidc.client_secret_file", "oidc.client_secret");
        if let Some(secret) = self.secret_file(keys, secret) {
            self.config.oidc.client_secret = Some(secret);
        }
    }

    fn secret_file(
        &mut self,
        (key, other): (&str, &str),
        (path, is_given): (Option<PathBuf>, bool),
    ) -> Option<Secret> {
        let path = path?;
        let text = match std::fs::read_to_string(&path) {
            _ if is_given => format!("there is an `{other}` too; allowed: one of both"),
            Err(error) => format!("cannot read {}: {error}", path.display()),
            Ok(secret)
                if secret.trim().is_empty() || secret.trim().contains(char::is_whitespace) =>
            {
                format!("{} holds no token; allowed: one word", path.display())
            }
            Ok(secret) => return Some(Secret::new(secret.trim())),
        };
        self.errors.push(self.config.error(key, text));
        None
    }

    fn reject(&mut self, key: &str, fault: Fault) {
        self.refuse(fault.span, key, fault.text);
    }

    fn refuse(&mut self, span: Option<Range<usize>>, key: &str, text: String) {
        let place = self.place(span.map_or(0, |span| span.start));
        self.errors.push(ConfigError {
            place,
            key: key.to_owned(),
            text,
        });
    }

    fn remember(&mut self, key: String, span: Range<usize>) {
        let place = self.place(span.start);
        self.config.places.0.insert(key, place);
    }

    fn place(&self, offset: usize) -> Place {
        Place::in_file(self.path, self.text, offset)
    }
}

/// The name of the variable that overrides a key, without the prefix: `SIP__NEXT_HOP`.
pub(super) fn variable(key: &str) -> String {
    key.replacen('.', SEPARATOR, 1).to_ascii_uppercase()
}

fn in_file_order<'t, 'a>(
    table: &'t DeTable<'a>,
) -> Vec<(
    &'t Spanned<std::borrow::Cow<'a, str>>,
    &'t Spanned<DeValue<'a>>,
)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let failed = |text: String| ConfigError {
        place: Place::File {
            path: path.to_owned(),
            line: 1,
            column: 1,
        },
        key: String::new(),
        text,
    };
    let size = std::fs::metadata(path)
        .map_err(|error| failed(format!("cannot read the file: {error}")))?
        .len();
    if size > FILE_LIMIT_BYTES {
        return Err(failed(format!(
            "the file has {size} bytes, this is no configuration"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| failed(format!("cannot read the file: {error}")))
}

/// What was probably meant, or else everything there is.
fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let near = known
        .clone()
        .map(|name| (distance(written, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 4));
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => format!("allowed: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// How many letters must be changed, added or taken away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (above, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let here = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
