//! Waiting for something, but never for ever; and whether there is anything to wait for.

use std::io::Write as _;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// What `look` finds, as soon as it finds something.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// Waits until `holds`.
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

/// How the process ended; `None` if it still runs after `patience`.
pub fn end_of(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    within(patience, || child.try_wait().unwrap())
}

/// The same, for so long; `None` if it does not find anything.
pub fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(LOOK);
    }
}

/// The programs without which no test here runs.
const PROGRAMS: [&str; 8] = [
    "sipp", "sipsak", "baresip", "svmap", "svwar", "svcrack", "openssl", "socat",
];

/// Whether the tests with real peers shall run.
///
/// # Panics
/// They shall, and one of the programs is missing.
pub fn are_peers_wanted() -> bool {
    if std::env::var_os("POINTSMAN_REAL_PEERS").is_none() {
        say("left to `make test`");
        return false;
    }
    let is_missing = |program: &&str| !is_installed(program);
    let missing: Vec<_> = PROGRAMS.into_iter().filter(is_missing).collect();
    assert!(
        missing.is_empty(),
        "POINTSMAN_REAL_PEERS is set, but there is no {missing:?}: `make deps` says what to install"
    );
    true
}

/// Whether a program can be started.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says why a test is left out, past the test harness, which would keep the output of a test that
/// passes.
pub fn say(why: &str) {
    let test = std::thread::current().name().unwrap_or("peers").to_owned();
    let _ = writeln!(std::io::stdout(), "{why}: peers {test}");
}
