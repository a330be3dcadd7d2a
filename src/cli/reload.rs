//! `pointsman reload`: make the server read its configuration file again.

use clap::Args;
use ureq::http::Method;

use super::Setting;
use super::client::field;
use super::exit::Outcome;
use super::output::{printable, say, say_json};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman reload\n\nA bad file changes nothing.")]
pub(super) struct Reload {}

impl Reload {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let answer = setting
            .client()?
            .json(Method::POST, "/api/v1/reload", None)?;
        if setting.json {
            return say_json(&answer);
        }
        for key in field(&answer, "needs_restart")
            .as_array()
            .into_iter()
            .flatten()
        {
            let key = key.as_str().unwrap_or("");
            eprintln!(
                "{} changed: it takes effect at the next start",
                printable(key)
            );
        }
        say("the configuration is in force")
    }
}
