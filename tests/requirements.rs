//! `fixtures/rfc/requirements.tsv` is true: what it names exists, and what a standard asks for is
//! either kept, with the code and the test that show it, or left out for a reason.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects has failed"
)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

const LEVELS: [&str; 5] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"];
const NOT_KEPT: &str = "not implemented";
const NOTHING: &str = "-";

struct Row {
    line: usize,
    requirement: String,
    section: String,
    level: String,
    code: String,
    test: String,
    reason: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("fixtures/rfc/requirements.tsv")).unwrap();
    let mut lines = text.lines().enumerate();
    assert_eq!(
        lines.next().unwrap().1,
        "requirement\tsection\tlevel\tcode\ttest\treason"
    );
    lines
        .map(|(at, line)| {
            let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
            let line = at + 1;
            let [requirement, section, level, code, test, reason] =
                <[String; 6]>::try_from(fields).unwrap_or_else(|f| panic!("line {line}: {f:?}"));
            Row {
                line,
                requirement,
                section,
                level,
                code,
                test,
                reason,
            }
        })
        .collect()
}

fn fail_on(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The sources that are named, read once.
#[derive(Default)]
struct Sources(HashMap<String, Option<String>>);

impl Sources {
    /// Whether `path`, or `path::item` with one of these words before the item, exists.
    fn hold(&mut self, reference: &str, words: &[&str]) -> bool {
        let (path, item) = match reference.split_once("::") {
            Some((path, item)) => (path, Some(item)),
            None => (reference, None),
        };
        let text = self
            .0
            .entry(path.to_owned())
            .or_insert_with(|| fs::read_to_string(root().join(path)).ok());
        let Some(text) = text else {
            return false;
        };
        item.is_none_or(|item| {
            words.iter().any(|word| {
                text.match_indices(&format!("{word} {item}"))
                    .any(|(at, found)| {
                        let next = text[at + found.len()..].chars().next();
                        next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                    })
            })
        })
    }
}

#[test]
fn every_row_is_complete_and_stands_once() {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for row in rows() {
        let Row {
            line,
            requirement,
            section,
            level,
            code,
            test,
            reason,
        } = &row;
        let fields = [requirement, section, level, code, test, reason];
        if fields.iter().any(|field| field.trim().is_empty()) {
            found.push(format!("line {line}: an empty field"));
        }
        if !LEVELS.contains(&&**level) {
            found.push(format!("line {line}: level {level:?}"));
        }
        if !section.starts_with("RFC ") || !section.contains(" §") {
            found.push(format!("line {line}: section {section:?}"));
        }
        if !seen.insert((requirement.clone(), section.clone())) {
            found.push(format!("line {line}: stands twice"));
        }
        let is_kept = code != NOT_KEPT;
        let has_test = test != NOTHING;
        let has_reason = reason != NOTHING;
        if is_kept != has_test || is_kept == has_reason {
            found.push(format!("line {line}: a test or a reason, not both"));
        }
    }
    fail_on(&found, "requirements.tsv");
}

#[test]
fn every_code_and_test_that_is_named_exists() {
    let mut sources = Sources::default();
    let items = [
        "fn", "struct", "enum", "const", "static", "trait", "type", "mod",
    ];
    let mut found = Vec::new();
    for row in rows().iter().filter(|row| row.code != NOT_KEPT) {
        if !sources.hold(&row.code, &items) {
            found.push(format!("line {}: no {}", row.line, row.code));
        }
        let is_named = row.test.contains("::");
        if !is_named || !sources.hold(&row.test, &["fn"]) {
            found.push(format!("line {}: no test {}", row.line, row.test));
        }
    }
    fail_on(&found, "requirements.tsv names what is not there");
}

#[test]
fn every_standard_of_the_requirements_has_its_row_in_the_document() {
    let document = fs::read_to_string(root().join("docs/standards.md")).unwrap();
    let of = |row: &Row| row.section.split(" §").next().unwrap().to_owned();
    let standards: HashSet<String> = rows().iter().map(of).collect();
    let missing: Vec<_> = standards
        .into_iter()
        .filter(|standard| !document.contains(&format!("| {standard} ")))
        .collect();
    fail_on(&missing, "docs/standards.md has no row for");
}

#[test]
fn every_file_that_the_document_links_to_exists() {
    let document = fs::read_to_string(root().join("docs/standards.md")).unwrap();
    let docs = root().join("docs");
    let missing: Vec<_> = document
        .split("](")
        .skip(1)
        .map(|rest| rest.split([')', '#']).next().unwrap().to_owned())
        .filter(|link| !link.starts_with("http") && !docs.join(link).exists())
        .collect();
    fail_on(&missing, "docs/standards.md links to what is not there");
}
