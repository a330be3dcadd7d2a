//! The torture messages of RFC 4475 and RFC 5118: `fixtures/torture.tsv` says what we do with each,
//! and `docs/torture.md` why. Messages of our own with the same traits are tried always, the RFCs'
//! own bytes where `POINTSMAN_TORTURE` names a folder that holds their two archives unpacked.

use crate::corpus::folder;
use crate::harness::*;
use crate::verdict::{outcome_in, verdict, world};
use std::fs;
use std::path::PathBuf;

struct Row {
    rfc: String,
    message: String,
    check: String,
    engine: String,
    ours: String,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(folder("torture.tsv")).unwrap();
    let rows = text.lines().skip(1).map(|row| {
        let cells: Vec<_> = row.split('\t').map(str::to_owned).collect();
        let [rfc, message, check, engine, ours] = cells.try_into().unwrap();
        Row {
            rfc,
            message,
            check,
            engine,
            ours,
        }
    });
    rows.collect()
}

/// What `check` and the engine say. It serves the domains that the messages of the two RFCs are for.
fn found(bytes: &[u8]) -> (&'static str, String) {
    let mut world = world();
    let domains = [
        "example.com",
        "example.net",
        "example.org",
        "company.com",
        "host.example.net",
        "registrar.example.com",
        "2001:db8::10",
    ];
    let mut policy = policy();
    policy.domains = domains.map(Into::into).to_vec();
    world.shared.policy.store(policy.into());
    let found = (verdict(bytes), outcome_in(&mut world, bytes).text());
    world.assert_drained();
    found
}

#[test]
fn messages_of_our_own_with_the_same_traits_meet_the_same_answer() {
    let status = |text: &str| text.split(' ').next().map(str::to_owned);
    for row in rows() {
        let (_, engine) = found(&fs::read(folder(&row.ours)).unwrap());
        assert_eq!(
            status(&engine),
            status(&row.engine),
            "{} {}",
            row.message,
            row.ours
        );
    }
}

#[test]
fn the_rfcs_own_bytes_meet_the_answers_of_the_table() {
    let Some(archives) = std::env::var_os("POINTSMAN_TORTURE").map(PathBuf::from) else {
        return;
    };
    let path = |row: &Row| match row.rfc.as_str() {
        "4475" => archives.join(format!("4475/{}.dat", row.message)),
        _ => archives.join("5118").join(&row.message),
    };
    let differing = rows().into_iter().filter_map(|row| {
        let (check, engine) = found(&fs::read(path(&row)).unwrap());
        let is_same = (check, &engine) == (row.check.as_str(), &row.engine);
        (!is_same).then(|| format!("{}\t{}\t{check}\t{engine}", row.rfc, row.message))
    });
    let differing: Vec<_> = differing.collect();
    assert!(differing.is_empty(), "\n{}", differing.join("\n"));
}

#[test]
fn each_message_stands_in_the_documents_table() {
    let text = fs::read_to_string(folder("../docs/torture.md")).unwrap();
    for row in rows() {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", row.message)))
            .unwrap_or_else(|| panic!("{} is missing", row.message));
        let status = row.engine.split(' ').next().unwrap();
        assert!(line.contains(status), "{}: {status}: {line}", row.message);
        assert!(line.contains(&row.ours), "{}: {line}", row.message);
    }
}
