//! The fuzz targets' own functions over the committed messages, and over what fuzzing found once.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a finding is a panic"
)]

#[path = "../fuzz/src/bodies/mod.rs"]
mod bodies;

use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, found);
        } else if path.extension().is_none_or(|end| end != "tsv") {
            found.push(path);
        }
    }
}

fn run(folders: &[&str], body: impl Fn(&[u8])) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files = Vec::new();
    for folder in folders {
        below(&base.join(folder), &mut files);
    }
    assert!(!files.is_empty());
    for file in files {
        body(&fs::read(&file).unwrap());
    }
}

#[test]
fn messages_hold_what_the_fuzzer_asks_of_them() {
    run(
        &["messages", "malformed", "torture", "fuzz/message"],
        bodies::message,
    );
}

#[test]
fn streams_hold_what_the_fuzzer_asks_of_them() {
    run(
        &["messages", "malformed", "torture", "fuzz/framing"],
        bodies::framing,
    );
}

#[test]
fn header_values_and_uris_hold_what_the_fuzzer_asks_of_them() {
    let lines = |bytes: &[u8]| {
        for line in bytes.split(|byte| *byte == b'\n') {
            let value = line.splitn(2, |byte| *byte == b':').nth(1).unwrap_or(line);
            bodies::headers(value.trim_ascii());
            bodies::uri(value.trim_ascii());
        }
    };
    run(&["messages", "malformed", "torture"], lines);
    run(&["fuzz/headers"], bodies::headers);
    run(&["fuzz/uri"], bodies::uri);
}

#[test]
fn sequences_hold_what_the_fuzzer_asks_of_them() {
    run(&["fuzz/sequence"], bodies::sequence);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// A little of what the fuzzer does at length.
    #[test]
    fn random_sequences_hold_what_the_fuzzer_asks_of_them(
        bytes in prop::collection::vec(prop_oneof![3 => 0u8..12, 1 => any::<u8>()], 0..200),
    ) {
        bodies::sequence(&bytes);
    }
}
