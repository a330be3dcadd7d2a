//! A program that does one thing and ends: sipsak, sipvicious, openssl, node.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait::{end_of, within};

/// What a program said, on both of its outputs, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// `None` when it did not end in time.
    pub code: Option<i32>,
    pub text: String,
}

/// A program that runs; it ends with its test.
pub struct Running {
    child: Child,
    output: File,
}

impl Running {
    /// Starts a program that reads nothing.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    fn start_with(command: &mut Command, input: Stdio) -> Self {
        let output = tempfile::tempfile().unwrap();
        let child = command
            .stdin(input)
            .stdout(output.try_clone().unwrap())
            .stderr(output.try_clone().unwrap())
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, output }
    }

    /// What it said so far.
    pub fn text(&self) -> String {
        let length = self.output.metadata().unwrap().len();
        let mut bytes = vec![0; length as usize];
        self.output.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, but no longer than that.
    pub fn finish(mut self, limit: Duration) -> Said {
        let code = end_of(&mut self.child, limit).map(|status| status.code().unwrap_or(-1));
        let _ = self.child.kill();
        let _ = self.child.wait();
        Said {
            code,
            text: self.text(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, or for so long.
pub fn run(command: &mut Command, limit: Duration) -> Said {
    Running::start(command).finish(limit)
}

/// The same, with something to read; it is over when it ends or has said `last`.
pub fn run_with_input(command: &mut Command, input: &[u8], last: &str, limit: Duration) -> Said {
    let mut running = Running::start_with(command, Stdio::piped());
    let mut stdin = running.child.stdin.take().unwrap();
    let _ = stdin.write_all(input);
    within(limit, || {
        let is_over = running.text().contains(last) || running.has_ended();
        is_over.then_some(())
    });
    drop(stdin);
    running.finish(Duration::ZERO)
}
