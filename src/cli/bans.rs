//! `pointsman bans`: who is shut out after too many failures, and letting them in again.

use clap::{Args, Subcommand};
use serde_json::Value;
use ureq::http::Method;

use super::client::{escape, take, text};
use super::exit::Outcome;
use super::output::{cell, printable, say, say_json, say_table, table};
use super::{DONE, Setting};

#[derive(Debug, Subcommand)]
pub(super) enum Bans {
    /// List the sources that are shut out
    List(List),
    /// Let sources in again
    Lift(Lift),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman bans list")]
pub(super) struct List {}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman bans lift 192.0.2.66 2001:db8:0:1::/64")]
pub(super) struct Lift {
    /// Addresses; for IPv6 any address of the /64
    #[arg(required = true)]
    sources: Vec<String>,
}

impl Bans {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        match self {
            Self::List(_) => list(setting),
            Self::Lift(lift) => lift.run(setting),
        }
    }
}

fn list(setting: &Setting) -> Outcome {
    let mut answer = setting.client()?.get("/api/v1/bans")?;
    let bans = take(&mut answer, "bans");
    if setting.json {
        return say_json(&bans);
    }
    let mut table = table(&["source", "since", "until"]);
    for ban in bans.as_array().into_iter().flatten() {
        let of = |key: &str| cell(text(ban, key));
        table.add_row([of("source"), of("since"), of("until")]);
    }
    say_table(table, "nobody is shut out")?;
    DONE
}

impl Lift {
    fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        for source in &self.sources {
            let path = format!("/api/v1/bans/{}", escape(source));
            client.json(Method::DELETE, &path, None::<&Value>)?;
            if !setting.json {
                say(&format!("{} is let in again", printable(source)))?;
            }
        }
        DONE
    }
}
