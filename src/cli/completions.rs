//! `pointsman completions`: completions for a shell.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::{CliError, Outcome};
use super::{Cli, DONE};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman completions bash > /etc/bash_completion.d/pointsman
  pointsman completions zsh > \"${fpath[1]}/_pointsman\"
  pointsman completions fish > ~/.config/fish/completions/pointsman.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "pointsman", &mut script);
        match io::stdout().lock().write_all(&script) {
            Ok(()) => DONE,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
            Err(error) => Err(CliError::failed(format!("standard output: {error}"))),
        }
    }
}
