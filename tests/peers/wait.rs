//! Waiting for something, but never for ever; and whether there is anything to wait for.

use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
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

fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
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

/// Whether the tests with real peers shall run.
///
/// # Panics
/// They shall, and SIPp is missing.
pub fn are_peers_wanted() -> bool {
    if std::env::var_os("POINTSMAN_REAL_PEERS").is_none() {
        let test = std::thread::current().name().unwrap_or("peers").to_owned();
        // Written past the test harness, which would keep the output of a test that passes.
        let _ = writeln!(std::io::stdout(), "left to `make test`: peers {test}");
        return false;
    }
    let version = Command::new("sipp")
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(
        version.is_ok(),
        "POINTSMAN_REAL_PEERS is set, but there is no `sipp`: apt-get install sip-tester"
    );
    true
}
