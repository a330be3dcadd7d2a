//! The command line: one file for each subcommand.
//!
//! The commands talk to a running server through its HTTP API; `serve`, `demo` and the offline
//! `import` open what they need themselves. Nothing here decides anything about calls. What a
//! command prints is a table for people or, with `--json`, a document for programs; how it ends is
//! an exit code from [`exit`].
//!
//! Entry point: [`run`].

mod agent;
mod bans;
mod bench;
mod bindings;
mod calls;
mod check_config;
mod client;
mod completions;
mod csv_lines;
mod data;
mod demo;
pub mod exit;
mod explain;
mod export;
mod import;
mod journal;
mod lines;
mod offline;
mod output;
mod password;
mod peers;
mod reload;
mod serve;
mod settings;
mod status;
mod subscriber;
mod time;
mod token;
mod watch;
mod watch_view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::{Client, Connection};
use exit::{CliError, Exit, Outcome};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed, or the answer is no (bad lines in an import, an invalid configuration)
  2  the command line is wrong
  3  no server answers
  4  there is no such subscriber
  5  the server refused: a conflict, an invalid document, a missing token";

/// Presence-aware SIP call routing in front of a PBX
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, propagate_version = true, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON for programs instead of tables for people
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What a command is told beside its own arguments.
pub struct Setting {
    connection: Connection,
    json: bool,
}

impl Setting {
    /// A client for the server that the command line names.
    fn client(&self) -> Result<Client, CliError> {
        Client::new(&self.connection)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Route calls: the server itself
    Serve(serve::Serve),
    /// Check a configuration file and say what is wrong with it
    CheckConfig(check_config::CheckConfig),
    /// Create or replace subscribers from JSON Lines or CSV
    Import(import::Import),
    /// Write all subscribers as JSON Lines
    Export(export::Export),
    /// List, show, change and delete subscribers
    #[command(subcommand)]
    Subscriber(subscriber::Subscriber),
    /// Set or remove the password of a subscriber's phones
    Password(password::Password),
    /// List who is shut out after too many failures, and let them in again
    #[command(subcommand)]
    Bans(bans::Bans),
    /// Show, set and clear a subscriber's status
    #[command(subcommand)]
    Status(status::Status),
    /// Show and change what happens to a subscriber's calls
    #[command(subcommand)]
    Settings(settings::Settings),
    /// Make, list and delete the tokens with which subscribers use the API
    #[command(subcommand)]
    Token(token::Token),
    /// List and remove the phones that are registered with us
    Bindings(bindings::Bindings),
    /// List the calls in progress
    Calls(calls::Calls),
    /// Show the systems around: next hops, peers, listeners, certificates
    Peers(peers::Peers),
    /// List what became of a subscriber's calls
    Journal(journal::Journal),
    /// Give out or erase everything that is kept about one person
    #[command(subcommand)]
    Data(data::Data),
    /// Say what would happen to a call, and why, without making it
    Explain(explain::Explain),
    /// Watch calls and status changes live
    Watch(watch::Watch),
    /// Tell the server whether somebody sits at this Linux desktop
    Agent(agent::Agent),
    /// Make the server read its configuration file again
    Reload(reload::Reload),
    /// Route calls between simulated phones, on this machine, to see what pointsman does
    Demo(demo::Demo),
    /// Drive calls at any SIP proxy, check every answer, measure
    Bench(Box<bench::Bench>),
    /// Write completions for a shell
    Completions(completions::Completions),
}

/// Reads the command line, does what it says and hands back the exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let setting = Setting {
        connection: cli.connection,
        json: cli.json,
    };
    let outcome = match cli.command {
        Command::Serve(command) => command.run(),
        Command::CheckConfig(command) => command.run(&setting),
        Command::Import(command) => command.run(&setting),
        Command::Export(command) => command.run(&setting),
        Command::Subscriber(command) => command.run(&setting),
        Command::Password(command) => command.run(&setting),
        Command::Bans(command) => command.run(&setting),
        Command::Status(command) => command.run(&setting),
        Command::Settings(command) => command.run(&setting),
        Command::Token(command) => command.run(&setting),
        Command::Bindings(command) => command.run(&setting),
        Command::Calls(command) => command.run(&setting),
        Command::Peers(command) => command.run(&setting),
        Command::Journal(command) => command.run(&setting),
        Command::Data(command) => command.run(&setting),
        Command::Explain(command) => command.run(&setting),
        Command::Watch(command) => command.run(&setting),
        Command::Agent(command) => command.run(&setting),
        Command::Reload(command) => command.run(&setting),
        Command::Demo(command) => command.run(&setting),
        Command::Bench(command) => command.run(&setting),
        Command::Completions(command) => command.run(),
    };
    end(outcome)
}

fn end(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !error.message.is_empty() {
                eprintln!("pointsman: {error}");
            }
            error.exit.into()
        }
    }
}

/// The environment, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Nothing more to say.
const DONE: Outcome = Ok(Exit::Done);

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            if command.has_subcommands() {
                command
                    .get_subcommands()
                    .filter(|c| c.get_name() != "help")
                    .for_each(check);
            } else {
                let after = command.get_after_help().map(ToString::to_string);
                let example = after.unwrap_or_default();
                assert!(example.contains("pointsman "), "{}", command.get_name());
            }
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
        check(&Cli::command());
    }
}
