//! The reference of all keys, as `docs/configuration.md` shows it.

use std::fmt::Write;

use super::house::{CODE_ABOUT, CODE_KEYS, HOURS_ABOUT, HOURS_KEYS, STATUS_ABOUT, STATUS_KEYS};
use super::keys::{Absent, KEYS, Key, NODE_KEYS, PEER_KEYS, SECTIONS};
use super::read::variable;

/// Every key with type, default, meaning and whether a reload changes it, as Markdown.
pub fn reference() -> String {
    let mut out = String::new();
    for (section, about) in SECTIONS {
        let prefix = format!("{section}.");
        let keys = KEYS.iter().filter(|key| key.name.starts_with(&prefix));
        let rows: Vec<_> = keys
            .map(|key| row(key, Some(&variable(key.name))))
            .collect();
        write_section(&mut out, &format!("[{section}]"), about, &rows);
        if *section == "sip" {
            let about = "Who is trusted: trunks, PBX nodes, any system that sends us calls. The \
                         first peer whose address matches counts. Repeat the section for each.";
            let rows: Vec<_> = PEER_KEYS.iter().map(|key| row(key, None)).collect();
            write_section(&mut out, "[[peer]]", about, &rows);
            let about = "The PBX nodes among which calls are divided, in the place of \
                         `sip.next_hop`. Repeat the section for each.";
            let rows: Vec<_> = NODE_KEYS.iter().map(|key| row(key, None)).collect();
            write_section(&mut out, "[[node]]", about, &rows);
        }
        if *section == "presence" {
            let rows: Vec<_> = STATUS_KEYS.iter().map(|key| row(key, None)).collect();
            write_section(&mut out, "[[status]]", STATUS_ABOUT, &rows);
            let rows: Vec<_> = HOURS_KEYS.iter().map(|key| row(key, None)).collect();
            write_section(&mut out, "[[hours]]", HOURS_ABOUT, &rows);
        }
        if *section == "feature_codes" {
            let rows: Vec<_> = CODE_KEYS.iter().map(|key| row(key, None)).collect();
            write_section(&mut out, "[[feature_code]]", CODE_ABOUT, &rows);
        }
    }
    out
}

fn write_section(out: &mut String, title: &str, about: &str, rows: &[String]) {
    let _ = writeln!(out, "## `{title}`\n\n{about}\n");
    for row in rows {
        out.push_str(row);
    }
}

fn row<T>(key: &Key<T>, variable: Option<&str>) -> String {
    let name = key.name.rsplit('.').next().unwrap_or(key.name);
    let default = match key.default {
        Absent::Toml(text) => format!("`{text}`"),
        Absent::Words(text) => text.to_owned(),
    };
    let reload = if key.reloads {
        "at once on reload"
    } else {
        "needs a restart"
    };
    let variable = variable
        .map(|name| format!(" · `POINTSMAN_{name}`"))
        .unwrap_or_default();
    format!(
        "### `{name}`\n\n{doc}\n\nType: {kind} · Default: {default} · Changes: {reload}{variable}\n\n",
        doc = key.doc,
        kind = key.kind,
    )
}

#[cfg(test)]
mod tests {
    use super::super::value::Value;
    use super::super::{Config, Node, OwnStatus, Peer};
    use super::*;
    use toml::de::DeTable;

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    const BEGIN: &str = "<!-- The rest is written by the test `config::reference`: \
                         UPDATE_DOCS=1 cargo test config:: -->\n\n";

    #[test]
    fn the_document_is_the_table_of_keys() {
        let document = std::fs::read_to_string(DOCUMENT).unwrap();
        let (head, tail) = document
            .split_once(BEGIN)
            .expect("the marker stands in the document");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(DOCUMENT, format!("{head}{BEGIN}{}", reference())).unwrap();
        } else {
            assert!(
                tail == reference(),
                "run: UPDATE_DOCS=1 cargo test config::"
            );
        }
    }

    #[test]
    fn every_field_has_a_key_and_every_key_a_field() {
        let mut keys: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        keys.sort();
        let config = serde_json::to_value(Config::default()).unwrap();
        let mut fields = Vec::new();
        for (section, value) in config.as_object().unwrap() {
            for (field, _) in value.as_object().into_iter().flatten() {
                fields.push(format!("{section}.{field}"));
            }
        }
        fields.sort();
        assert_eq!(keys, fields);

        check_table(PEER_KEYS, &Peer::default());
        check_table(NODE_KEYS, &Node::default());
        check_table(STATUS_KEYS, &OwnStatus::default());
    }

    fn check_table<T>(keys: &[Key<T>], of: &impl serde::Serialize) {
        let mut keys: Vec<_> = keys.iter().map(|key| key.name.to_owned()).collect();
        keys.sort();
        let table = serde_json::to_value(of).unwrap();
        let mut fields: Vec<_> = table.as_object().unwrap().keys().cloned().collect();
        fields.sort();
        assert_eq!(keys, fields);
    }

    #[test]
    fn setting_a_key_to_its_default_changes_nothing() {
        fn check<T: std::default::Default + PartialEq + std::fmt::Debug>(keys: &[Key<T>]) {
            for key in keys {
                let Absent::Toml(default) = key.default else {
                    continue;
                };
                let text = format!("x = {default}");
                let table = DeTable::parse(&text).unwrap();
                let mut set = T::default();
                (key.set)(&mut set, Value::Toml(&table.get_ref()["x"])).unwrap();
                assert_eq!(set, T::default(), "{}", key.name);
            }
        }
        check(KEYS);
        check(PEER_KEYS);
        check(NODE_KEYS);
        check(STATUS_KEYS);
    }

    #[test]
    fn an_absent_value_is_none_or_empty_where_the_default_is_in_words() {
        for key in KEYS
            .iter()
            .filter(|key| matches!(key.default, Absent::Words(_)))
        {
            let shown = (key.shown)(&Config::default());
            assert!(
                ["None", "[]"].contains(&shown.as_str()),
                "{}: {shown}",
                key.name
            );
        }
    }
}
