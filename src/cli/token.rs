//! `pointsman token`: the tokens with which subscribers use the API.

use clap::{Args, Subcommand};
use serde_json::json;
use ureq::http::Method;

use super::client::{escape, take, text};
use super::exit::Outcome;
use super::output::{cell, local_time, say, say_json, say_table, table};
use super::{DONE, Setting};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token; it is shown this once
    Create(Create),
    /// List a subscriber's tokens, without their secrets
    List(List),
    /// Delete a token: whoever holds it is shut out at once
    Delete(Delete),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman token create anna --label \"laptop\"")]
pub(super) struct Create {
    /// Id of the subscriber
    id: String,
    /// What the token is for
    #[arg(long, short)]
    label: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman token list anna")]
pub(super) struct List {
    /// Id of the subscriber
    id: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman token delete anna 5f1c0a9be2d34c77")]
pub(super) struct Delete {
    /// Id of the subscriber
    id: String,
    /// Id of the token, as `list` shows it
    token_id: String,
}

impl Token {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        match self {
            Self::Create(create) => create.run(setting),
            Self::List(list) => list.run(setting),
            Self::Delete(delete) => delete.run(setting),
        }
    }
}

impl Create {
    fn run(&self, setting: &Setting) -> Outcome {
        let body = json!({ "label": self.label });
        let answer = setting
            .client()?
            .json(Method::POST, &path(&self.id), Some(&body))?;
        if setting.json {
            return say_json(&answer);
        }
        say(text(&answer, "token"))?;
        eprintln!(
            "Keep it: it cannot be shown again. Its id is {}.",
            text(&answer, "id")
        );
        DONE
    }
}

impl List {
    fn run(&self, setting: &Setting) -> Outcome {
        let mut answer = setting.client()?.get(&path(&self.id))?;
        let tokens = take(&mut answer, "tokens");
        if setting.json {
            return say_json(&tokens);
        }
        let mut table = table(&["id", "label", "created"]);
        for token in tokens.as_array().into_iter().flatten() {
            table.add_row([
                cell(text(token, "id")),
                cell(text(token, "label")),
                cell(&local_time(text(token, "created_at"))),
            ]);
        }
        say_table(table, "no tokens")
    }
}

impl Delete {
    fn run(&self, setting: &Setting) -> Outcome {
        let path = format!("{}/{}", path(&self.id), escape(&self.token_id));
        setting.client()?.json(Method::DELETE, &path, None)?;
        if setting.json {
            return DONE;
        }
        say("the token is deleted")
    }
}

fn path(id: &str) -> String {
    format!("/api/v1/subscribers/{}/tokens", escape(id))
}
