//! `pointsman data`: everything that is kept about one person, given out or erased.

use clap::{Args, Subcommand};
use ureq::http::Method;

use super::Setting;
use super::client::escape;
use super::exit::{CliError, Outcome};
use super::output::{say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum Data {
    /// Write everything that is kept about a person as JSON
    Export(Export),
    /// Erase everything that is kept about a person: the subscriber, and their journal
    Erase(Erase),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman data export anna > anna.json")]
pub(super) struct Export {
    /// Id of the subscriber
    id: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman data erase anna --yes
  pointsman data erase anna --journal-only --yes")]
pub(super) struct Erase {
    /// Id of the subscriber, also of one who was deleted before
    id: String,
    /// Only the journal: the subscriber stays
    #[arg(long)]
    journal_only: bool,
    /// Do it: nothing of it comes back
    #[arg(long)]
    yes: bool,
}

impl Data {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        match self {
            Self::Export(export) => {
                let path = format!("/api/v1/subscribers/{}/data", escape(&export.id));
                say_json(&setting.client()?.get(&path)?)
            }
            Self::Erase(erase) => erase.run(setting),
        }
    }
}

impl Erase {
    fn run(&self, setting: &Setting) -> Outcome {
        if !self.yes {
            let text = "this cannot be undone; say --yes to do it";
            return Err(CliError::usage(text.to_owned()));
        }
        let what = if self.journal_only { "journal" } else { "data" };
        let path = format!("/api/v1/subscribers/{}/{what}", escape(&self.id));
        setting.client()?.json(Method::DELETE, &path, None)?;
        match setting.json {
            true => super::DONE,
            false => say(&format!("nothing is left of {}'s {what}", self.id)),
        }
    }
}
