//! The demonstration as a stranger runs it: the real binary, over real UDP on this machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("demo")
        .args(arguments)
        .env("LANG", "C.UTF-8")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn call<'d>(document: &'d Value, name: &str) -> &'d Value {
    let calls = document["calls"].as_array().unwrap();
    calls.iter().find(|call| call["name"] == name).unwrap()
}

#[test]
fn every_call_comes_out_as_expected_and_nothing_is_left() {
    let output = demo(&["--json"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["ok"], true);
    let calls = document["calls"].as_array().unwrap();
    assert!(calls.len() >= 25);
    for call in calls {
        assert_eq!(call["ok"], true, "{call:#}");
    }
    let left = document["left"].as_object().unwrap();
    for (table, count) in left
        .iter()
        .filter(|(name, _)| *name != "waiting_for_timer_d")
    {
        assert_eq!(*count, 0, "{table}");
    }
    // What the issue asks for by name, without the demo's own judgement.
    let heard = |name| call(&document, name)["heard"].to_string();
    assert_eq!(heard("available"), "[180,200]");
    assert_eq!(heard("away_redirect"), "[302]");
    assert_eq!(heard("away_retarget"), "[181,180,200]");
    assert_eq!(heard("dnd"), "[480]");
    assert_eq!(heard("in_call_reject"), "[486]");
    assert_eq!(heard("stranger_relay"), "[403]");
    assert_eq!(call(&document, "in_call_reject")["status"], "in_call");
    assert_eq!(call(&document, "class_internal")["class"], "internal");
    assert_eq!(call(&document, "class_anonymous")["class"], "anonymous");
    let why = call(&document, "no_answer_voicemail")["why"].to_string();
    assert!(why.contains("Frank Fuchs does not answer"), "{why}");
}

#[test]
fn people_get_a_table_in_their_language() {
    let output = demo(&["--lang", "de"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for part in [
        "Paula Pauls → Anna Arndt (101)",
        "Dieter Dorn möchte nicht gestört",
        "480 Do Not Disturb",
        "Anrufen verliefen wie erwartet",
        "Übrig: 0 Anrufe, 0 Marken, 0 Transaktionen",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    assert!(!out.contains('✗') && !out.contains('\u{1b}'), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 132));
    assert!(err.is_empty(), "{err}");
}

fn pointsman(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(arguments)
        .output()
        .unwrap();
    let err = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {err}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_kept_demo_can_be_explored_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut kept = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["demo", "--keep", "--json"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(kept.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let (_, api) = line.split_once("the API on ").unwrap();
    let ask = |arguments: &[&str]| pointsman(&[&["--json", "--api", api], arguments].concat());
    assert_eq!(ask(&["subscriber", "show", "bob"])["status"], "away");
    let why = ask(&["explain", "--from", "150", "--to", "102"]).to_string();
    assert!(why.contains("+491701234567"), "{why}");
    assert_eq!(ask(&["calls"]).to_string().matches("call_id").count(), 0);
    let ended = Command::new("kill")
        .args(["-INT", &kept.id().to_string()])
        .status();
    assert!(ended.unwrap().success());
    assert_eq!(kept.wait().unwrap().code(), Some(0));
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
}

#[test]
fn help_says_what_it_takes_and_how_it_ends() {
    let output = demo(&["--help"]);
    let out = text(&output.stdout);
    for part in [
        "--lang",
        "--drain",
        "--keep",
        "--json",
        "free ports",
        "It ends with 0 if every call",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
}
