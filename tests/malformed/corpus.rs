//! Every file has its verdict, and every verdict its file.

use crate::verdict::{outcome, streamed, verdict};
use pointsman::message::{Fault, Malformed, Unframed};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The classes of `fixtures/malformed`: each has a property of its own among these tests.
const CLASSES: &[&str] = &[
    "authorization",
    "call_id",
    "contact",
    "content_length",
    "control_bytes",
    "cseq",
    "header_names",
    "keep_alives",
    "limits",
    "max_forwards",
    "parties",
    "responses",
    "singletons",
    "start_line",
    "subscribe",
    "via",
    "xml_bodies",
];

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn messages_below(folder: &Path, base: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            messages_below(&path, base, found);
        } else if path.extension().is_some_and(|end| end == "sip") {
            let name = path.strip_prefix(base).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), fs::read(&path).unwrap());
        }
    }
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let (base, mut found) = (folder("malformed"), BTreeMap::new());
    messages_below(&base, &base, &mut found);
    found
}

/// File, verdict of `check`, what the engine does, what a stream does, and why.
fn rows() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(folder("malformed/verdicts.tsv")).unwrap();
    let rows = text.lines().skip(1).map(|row| {
        let mut cells: Vec<_> = row.split('\t').map(str::to_owned).collect();
        assert!(
            cells.len() == 5 && !cells[4].is_empty(),
            "five cells: {row}"
        );
        (cells.remove(0), cells)
    });
    rows.collect()
}

#[test]
fn every_file_has_its_verdict_and_every_verdict_its_file() {
    let (rows, mut wrong) = (rows(), Vec::new());
    let files = files();
    for (file, bytes) in &files {
        let (engine, stream) = (outcome(bytes).text(), streamed(bytes));
        let found = [verdict(bytes), engine.as_str(), stream.as_str()];
        let row = rows.get(file).map(Vec::as_slice).unwrap_or_default();
        if row.get(..3).is_none_or(|row| row != found) {
            wrong.push(format!("{file}\t{}", found.join("\t")));
        }
    }
    let gone = rows.keys().filter(|file| !files.contains_key(*file));
    wrong.extend(gone.map(|file| format!("{file}\tno such file")));
    assert!(
        wrong.is_empty(),
        "other verdicts than in the table:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_classes_are_those_with_a_property() {
    let found: BTreeSet<_> = files().into_keys().collect();
    let classes: BTreeSet<_> = found
        .iter()
        .map(|file| file.split('/').next().unwrap())
        .collect();
    assert_eq!(classes, CLASSES.iter().copied().collect());
}

#[test]
fn every_fault_stands_in_a_corpus() {
    let mut seen: BTreeSet<String> = rows()
        .into_values()
        .flat_map(|row| row[..3].to_vec())
        .collect();
    let others = fs::read_to_string(folder("messages/verdicts.tsv")).unwrap();
    let others = others.lines().filter_map(|row| row.split('\t').nth(1));
    seen.extend(others.map(str::to_owned));
    // Faults of parts that `check` leaves alone, and a datagram no UDP socket delivers.
    let elsewhere = [
        "malformed_contact",
        "star_with_others",
        "malformed_route",
        "malformed_address",
        "malformed_uri",
        "too_large",
    ];
    let faults = Fault::ALL.iter().map(|fault| fault.kind().to_owned());
    let malformed = Malformed::ALL
        .iter()
        .map(|malformed| malformed.kind().to_owned());
    let unframed = Unframed::ALL
        .iter()
        .map(|why| format!("closed: {}", why.kind()));
    for kind in faults.chain(malformed).chain(unframed) {
        let is_seen = seen.contains(&kind) || elsewhere.contains(&kind.as_str());
        assert!(is_seen, "no file shows {kind}");
    }
}
