//! How a command ends: exit codes that scripts can use, and the text that goes with them.

use std::fmt;
use std::process::ExitCode;

/// The exit codes, as `--help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed, or the answer is no.
    Failed = 1,
    /// The command line is wrong (clap ends with the same code).
    Usage = 2,
    /// No server answers.
    Unreachable = 3,
    /// There is no such subscriber.
    NotFound = 4,
    /// The server understood and refused: a conflict, an invalid document, a missing token.
    Refused = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that did not do what it was asked for.
#[derive(Debug)]
pub struct CliError {
    /// How the process ends.
    pub exit: Exit,
    /// What to tell the person, without a final line break; empty when all is said.
    pub message: String,
}

impl CliError {
    /// An error with its text.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// Something on this machine did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// What was asked for makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a command hands back.
pub type Outcome = Result<Exit, CliError>;
