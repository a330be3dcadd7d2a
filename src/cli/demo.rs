//! `pointsman demo`: calls between simulated phones on this machine.

use std::process::ExitCode;

use super::exit::Exit;

/// Runs the demonstration and hands back the exit code.
pub fn run() -> ExitCode {
    eprintln!("pointsman: the demonstration is not part of this build");
    Exit::Failed.into()
}
