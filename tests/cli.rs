//! The command line against a real server, from the outside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_pointsman");
const TOKEN: &str = "t0ken-of-the-administrator";

/// A server of its own on free ports, ended with the test.
struct Server {
    child: Child,
    api: String,
    directory: TempDir,
}

impl Server {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(api_keys: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), api_keys)
    }

    fn start_in(directory: TempDir, api_keys: &str) -> Self {
        let config = directory.path().join("pointsman.toml");
        let store = directory.path().join("data");
        let text = format!(
            "[sip]\nlisten = [\"udp:127.0.0.1:0\"]\nshards = 1\n\
             next_hop = \"sip:127.0.0.1:5080\"\n\
             voicemail = \"sip:vm-{{subscriber}}@127.0.0.1:5090\"\n\
             [store]\npath = {store:?}\n[shutdown]\ngrace_s = 0\n\
             [api]\nlisten = \"127.0.0.1:0\"\n{api_keys}"
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new(BINARY)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let api = ready(child.stdout.take().unwrap()).unwrap_or_else(|| {
            let log = fs::read_to_string(directory.path().join("log")).unwrap();
            panic!("the server did not start: {log}")
        });
        Self {
            child,
            api,
            directory,
        }
    }

    /// Ends the server as SIGTERM does, and hands back its directory.
    fn stop(mut self) -> TempDir {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(&pid).status().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .env("POINTSMAN_API", &self.api)
            .env_remove("POINTSMAN_TOKEN")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs a command that succeeds, and reads the JSON it prints.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(answer.code, 0, "{arguments:?}: {}", answer.stderr);
        serde_json::from_str(&answer.stdout).unwrap_or(Value::Null)
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, text: &str) {
        let answer = self.run(arguments);
        assert_eq!(answer.code, code, "{arguments:?}: {}", answer.stderr);
        assert!(
            answer.stderr.contains(text),
            "{arguments:?}: {}",
            answer.stderr
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the line that says that the server is ready, and takes the API's address from it.
fn ready(stdout: ChildStdout) -> Option<String> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let (_, api) = line.strip_prefix("READY ")?.split_once("api=")?;
    Some(api.trim().to_owned())
}

struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn anna() -> Value {
    json!({
        "id": "anna", "display_name": "Anna Arndt", "aliases": ["101", "+493012345101"],
        "settings": {"available": {"no_answer": "voicemail", "ring_for_s": 20},
                     "away": {"message": "Back at three", "immediate": {"forward": "+491701234567"}},
                     "in_call": {"immediate": "reject"}}
    })
}

fn with_anna_and_bob() -> Server {
    let server = Server::start();
    let lines = format!("{}\n{{\"id\":\"bob\",\"aliases\":[\"102\"]}}\n", anna());
    let file = write(&server.path("people.jsonl"), &lines);
    let answer = server.run(&["import", &file]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    server
}

#[test]
fn an_import_of_json_lines_loses_nothing_but_the_bad_lines() {
    let server = Server::start();
    let mut lines = String::new();
    for n in 1..=1_000 {
        match n {
            17 => lines.push_str("{\"id\":\"s17\"\n"),
            500 => lines.push_str("{\"id\":\"s500\",\"colour\":\"red\"}\n"),
            900 => lines.push_str("{\"id\":\"s900\",\"aliases\":[\"10001\"]}\n"),
            _ => lines.push_str(&format!(
                "{{\"id\":\"s{n}\",\"aliases\":[\"{}\"]}}\n",
                10_000 + n
            )),
        }
    }
    let file = write(&server.path("people.jsonl"), &lines);
    let answer = server.run(&["import", &file]);
    assert_eq!(answer.code, 1);
    let told: Vec<&str> = answer.stderr.lines().collect();
    assert_eq!(told.len(), 3, "{}", answer.stderr);
    for (line, (number, reason)) in told
        .iter()
        .zip([(17, "JSON"), (500, "colour"), (900, "s1")])
    {
        assert!(line.starts_with(&format!("{file}:{number}: ")), "{line}");
        assert!(line.contains(reason), "{line}");
    }
    assert_eq!(
        answer.stdout.trim(),
        "997 created, 0 changed, 0 unchanged, 3 bad lines"
    );
    assert_eq!(
        server
            .json(&["subscriber", "list"])
            .as_array()
            .unwrap()
            .len(),
        997
    );

    let again = server.run(&["import", &file, "--json"]);
    let tally: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(
        (&tally["created"], &tally["unchanged"]),
        (&json!(0), &json!(997))
    );
    assert_eq!(tally["bad"][1]["line"], 500);
}

#[test]
fn an_import_of_csv_reads_what_spreadsheets_write() {
    let server = Server::start();
    let mut lines = "\u{feff}id;display_name;aliases;status;away.immediate\r\n".to_owned();
    for n in 2..=1_000 {
        match n {
            20 => lines.push_str("s20;\"open;;;\r\n"),
            30 => lines.push_str("s30;x;;asleep;\r\n"),
            40 => lines.push_str("s40;a;b;c;d;e;f\r\n"),
            _ => lines.push_str(&format!(
                "s{n};\"Nr. {n}\";\"{};9{n:05}\";away;voicemail\r\n",
                10_000 + n
            )),
        }
    }
    let file = write(&server.path("people.csv"), &lines);
    let answer = server.run(&["import", &file]);
    assert_eq!(answer.code, 1);
    assert_eq!(
        answer.stdout.trim(),
        "996 created, 0 changed, 0 unchanged, 3 bad lines"
    );
    let numbers: Vec<&str> = answer
        .stderr
        .lines()
        .map(|line| line.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(numbers, ["20", "30", "40"], "{}", answer.stderr);
    let shown = server.json(&["subscriber", "show", "s999"]);
    assert_eq!(shown["aliases"], json!(["10999", "900999"]));
    assert_eq!(shown["effective_status"], "away");
    assert_eq!(shown["settings"]["away"]["immediate"], "voicemail");
}

#[test]
fn an_export_is_an_import_of_the_same() {
    let server = with_anna_and_bob();
    let exported = server.path("export.jsonl");
    let answer = server.run(&["export", exported.to_str().unwrap()]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let text = fs::read_to_string(&exported).unwrap();
    let other = Server::start();
    let mut child = other
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(other.run(&["export"]).stdout, text);
}

#[test]
fn without_a_server_an_import_goes_to_the_store() {
    let directory = Server::start().stop();
    let file = write(
        &directory.path().join("people.jsonl"),
        "{\"id\":\"anna\"}\nno\n{\"id\":\"bob\"}\n",
    );
    let config = directory.path().join("pointsman.toml");
    let import = |arguments: &[&str]| -> Answer {
        let mut command = Command::new(BINARY);
        command
            .arg("import")
            .arg(&file)
            .args(arguments)
            .output()
            .unwrap()
            .into()
    };
    let answer = import(&["--config", config.to_str().unwrap()]);
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    assert_eq!(
        answer.stdout.trim(),
        "2 created, 0 changed, 0 unchanged, 1 bad lines"
    );
    let store = directory.path().join("data");
    let again = import(&["--store", store.to_str().unwrap()]);
    assert!(
        again
            .stdout
            .starts_with("0 created, 0 changed, 2 unchanged"),
        "{}",
        again.stdout
    );
    let server = Server::start_in(directory, "");
    assert_eq!(
        server
            .json(&["subscriber", "list"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let locked = import(&["--store", server.path("data").to_str().unwrap()]);
    assert_eq!(locked.code, 1);
    assert!(
        locked.stderr.contains("in use by another process"),
        "{}",
        locked.stderr
    );
}

#[test]
fn a_status_is_set_shown_and_cleared() {
    let server = with_anna_and_bob();
    let set = [
        "status",
        "set",
        "anna",
        "away",
        "--message",
        "Lunch",
        "--until",
        "+90m",
    ];
    let answer = server.run(&set);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(
        answer.stdout.starts_with("anna is away, \"Lunch\" until "),
        "{}",
        answer.stdout
    );
    let shown = server.json(&["status", "show", "anna"]);
    assert_eq!(
        (&shown["status"], &shown["message"]),
        (&json!("away"), &json!("Lunch"))
    );
    let both = server.run(&["status", "show", "anna", "bob"]).stdout;
    assert_eq!(both.lines().count(), 3, "{both}");
    assert!(!both.contains('\u{1b}'), "no colours when piped");
    assert_eq!(
        server.json(&["status", "clear", "anna"])["status"],
        "available"
    );
    server.refused(&["status", "set", "anna", "in_call"], 5, "during calls");
    server.refused(
        &[
            "status",
            "set",
            "anna",
            "dnd",
            "--until",
            "2020-01-01 10:00",
        ],
        5,
        "past",
    );
    server.refused(&["status", "set", "nobody", "dnd"], 4, "nobody");
    server.refused(&["status", "set", "anna", "asleep"], 5, "must be one of");
    server.refused(
        &["status", "set", "anna", "dnd", "--until", "soon"],
        2,
        "18:00",
    );
}

#[test]
fn subscribers_and_settings_are_changed_by_parts() {
    let server = with_anna_and_bob();
    let named = server.run(&["subscriber", "set", "bob", "--name", "Bob Bauer"]);
    assert_eq!(named.code, 0, "{}", named.stderr);
    let bob = server.json(&["subscriber", "show", "bob"]);
    assert_eq!(
        (&bob["display_name"], &bob["aliases"]),
        (&json!("Bob Bauer"), &json!(["102"]))
    );
    assert_eq!(
        server
            .run(&["subscriber", "set", "carol", "--alias", "103"])
            .code,
        0
    );
    server.refused(&["subscriber", "set", "carol", "--alias", "101"], 5, "anna");
    server.refused(&["subscriber", "show", "nobody"], 4, "nobody");

    let changes = [
        "settings",
        "set",
        "anna",
        "dnd",
        "immediate.external=voicemail",
    ];
    assert_eq!(server.run(&changes).code, 0);
    let settings = server.json(&["settings", "show", "anna"]);
    assert_eq!(
        settings["dnd"],
        json!({"immediate": {"external": "voicemail"}})
    );
    assert_eq!(settings["available"]["ring_for_s"], 20);
    server.refused(
        &["settings", "set", "anna", "dnd", "ring_for_s=2"],
        5,
        "5 to 120",
    );
    server.refused(
        &["settings", "set", "anna", "dnd", "nonsense"],
        2,
        "KEY=VALUE",
    );

    let circle = server.run(&["settings", "set", "bob", "away", "immediate=forward:anna"]);
    assert_eq!(circle.code, 0);
    let circle = server.run(&["settings", "set", "anna", "away", "immediate=forward:bob"]);
    assert!(circle.stderr.starts_with("warning: "), "{}", circle.stderr);
    assert_eq!(
        server.run(&["subscriber", "delete", "bob", "carol"]).code,
        0
    );
    assert_eq!(
        server
            .json(&["subscriber", "list"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn explain_tells_what_would_happen_in_sentences_and_codes() {
    let server = with_anna_and_bob();
    server.run(&[
        "status",
        "set",
        "anna",
        "away",
        "--until",
        "2099-12-24 18:00",
    ]);
    let told = server
        .run(&["explain", "--from", "bob", "--to", "101"])
        .stdout;
    assert!(
        told.starts_with("The call goes to +491701234567\n"),
        "{told}"
    );
    assert!(told.contains("  - Anna Arndt is away"), "{told}");
    let later = [
        "explain",
        "--from",
        "+491700000000",
        "--to",
        "anna",
        "--at",
        "2099-12-24 18:01",
    ];
    let later = server.json(&later);
    assert_eq!(
        (&later["plan"], &later["ring_for_s"]),
        (&json!("connect"), &json!(20))
    );
    assert_eq!(later["afterwards"][0]["voicemail"], true);
    let german = server
        .run(&["explain", "--from", "bob", "--to", "bob", "--lang", "de"])
        .stdout;
    assert!(german.contains("bob ist anwesend"), "{german}");
    assert_eq!(server.json(&["calls"]), json!([]));
    assert_eq!(server.json(&["journal", "anna"]), json!([]));
    server.refused(&["journal", "nobody"], 4, "nobody");
}

#[test]
fn tokens_shut_out_and_let_in() {
    let server = Server::start_with(&format!("admin_token = \"{TOKEN}\"\n"));
    server.refused(&["subscriber", "list"], 5, "Authorization");
    let as_admin = |arguments: &[&str]| server.run(&[arguments, &["--token", TOKEN]].concat());
    let file = write(&server.path("anna.jsonl"), &anna().to_string());
    assert_eq!(as_admin(&["import", &file]).code, 0);
    let created = as_admin(&["token", "create", "anna", "--label", "laptop"]);
    assert_eq!(created.code, 0, "{}", created.stderr);
    let token = write(&server.path("token"), &created.stdout);
    let own = ["status", "set", "anna", "break", "--token-file", &token];
    let own = server.run(&own);
    assert_eq!(own.code, 0, "{}", own.stderr);
    server.refused(
        &["subscriber", "list", "--token-file", &token],
        5,
        "administrator",
    );
    let listed = as_admin(&["token", "list", "anna", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(as_admin(&["token", "delete", "anna", id]).code, 0);
    server.refused(
        &["status", "clear", "anna", "--token-file", &token],
        5,
        "not known",
    );
}

#[test]
fn the_pages_password_is_set_and_removed() {
    let server = with_anna_and_bob();
    let mut command = server.command(&["password", "anna", "--page"]);
    let mut setting = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = setting.stdin.take().unwrap();
    stdin.write_all(b"correct horse\n").unwrap();
    drop(stdin);
    assert!(setting.wait().unwrap().success());
    let said = server
        .run(&["password", "anna", "--page", "--remove"])
        .stdout;
    assert!(
        said.contains("anna has no password for the page now"),
        "{said}"
    );
    server.refused(&["password", "nobody", "--page", "--remove"], 4, "nobody");
}

#[test]
fn watch_tells_of_each_change_on_a_line() {
    let server = with_anna_and_bob();
    let mut watch = server
        .command(&["watch", "--count", "1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = (0..100).any(|n| {
        let status = if n % 2 == 0 { "break" } else { "away" };
        server.run(&["status", "set", "anna", status]);
        watch.try_wait().unwrap().is_some()
    });
    assert!(ended, "watch saw none of a hundred changes");
    let mut line = String::new();
    watch
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut line)
        .unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["event"], &event["data"]["id"]),
        (&json!("status"), &json!("anna"))
    );
}

#[test]
fn a_reload_takes_effect_or_changes_nothing() {
    let server = Server::start();
    assert_eq!(server.run(&["reload"]).code, 0);
    let path = server.path("pointsman.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("next_hop", "next_hopp")).unwrap();
    server.refused(&["reload"], 5, "next_hopp");
    fs::write(
        &path,
        good.replace("[api]\n", &format!("[api]\nadmin_token = \"{TOKEN}\"\n")),
    )
    .unwrap();
    assert_eq!(server.run(&["reload"]).code, 0);
    server.refused(&["calls"], 5, "Authorization");
    assert_eq!(server.run(&["calls", "--token", TOKEN]).code, 0);
}

#[test]
fn peers_shows_the_systems_around() {
    let server = Server::start();
    let text = server.run(&["peers"]).stdout;
    for shown in [
        "SYSTEM",
        "next_hop",
        "127.0.0.1:5080",
        "unknown",
        "voicemail",
        "LISTENS ON",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let document = server.json(&["peers"]);
    assert_eq!(document["systems"][0]["name"], "next_hop");
    assert_eq!(document["listeners"][0]["transport"], "udp");
    let help = server.run(&["peers", "--help"]).stdout;
    assert!(
        help.contains("unresolved") && help.contains("--json"),
        "{help}"
    );
}

#[test]
fn check_config_names_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let check = |text: &str, arguments: &[&str]| -> Answer {
        let file = write(&directory.path().join("c.toml"), text);
        let mut command = Command::new(BINARY);
        command
            .args(["check-config", &file])
            .args(arguments)
            .output()
            .unwrap()
            .into()
    };
    let good = check("[sip]\nregion = \"AT\"\n", &[]);
    assert_eq!(good.code, 0, "{}", good.stderr);
    assert!(good.stdout.contains(": ok\n"), "{}", good.stdout);
    let odd = "[forwarding]\ndeny = [\"+49900\", \"110\", \"+49137*\"]\n";
    let warned = check(odd, &[]).stdout;
    assert_eq!(warned.matches("  warning  ").count(), 1, "{warned}");
    assert!(warned.contains("\"+49900*\""), "{warned}");
    let bad = "[sip]\nregion = \"XX\"\ncolour = 1\n[api]\nlisten = \"0.0.0.0:80\"\n";
    let answer = check(bad, &[]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("c.toml:2:"), "{}", answer.stderr);
    assert!(answer.stderr.contains("colour"), "{}", answer.stderr);
    let errors: Value = serde_json::from_str(&check(bad, &["--json"]).stdout).unwrap();
    assert_eq!(errors["ok"], false);
    assert_eq!(errors["errors"][0]["key"], "sip.region");
}

#[test]
fn without_a_server_the_address_is_told_and_what_to_do() {
    let api = "http://127.0.0.1:9";
    for arguments in [
        &["calls"][..],
        &["watch"],
        &["export"],
        &["subscriber", "list"],
    ] {
        let output = Command::new(BINARY)
            .args(arguments)
            .args(["--api", api])
            .output();
        let answer = Answer::from(output.unwrap());
        assert_eq!(answer.code, 3, "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(api) && answer.stderr.contains("pointsman serve"));
    }
    let usage: Answer = Command::new(BINARY).arg("clals").output().unwrap().into();
    assert_eq!(usage.code, 2);
    assert!(
        usage.stderr.contains("calls"),
        "a similar command is proposed: {}",
        usage.stderr
    );
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(BINARY).args(["completions", shell]).output();
        let answer = Answer::from(output.unwrap());
        assert_eq!(answer.code, 0);
        assert!(answer.stdout.contains("check-config"), "{shell}");
    }
}
