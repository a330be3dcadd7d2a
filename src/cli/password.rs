//! `pointsman password`: set or remove the password of a subscriber's phones, or of the web page.

use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;
use console::Term;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Client, escape, text};
use super::exit::{CliError, Exit, Outcome};
use super::output::{say, say_json};
use super::{Setting, settings};
use crate::auth::PASSWORD_LIMIT_BYTES;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman password anna                     (asks twice)
  pass show phones/anna | pointsman password anna
  pointsman password anna --remove
  pointsman password anna --page              (the one for the web page)

The server keeps digests of it for the realm in force, for the id and every alias; of the one for the
web page it keeps an Argon2id hash. Without one for the page, that of the phones opens it.")]
pub(super) struct Password {
    /// Id of the subscriber
    id: String,
    /// Remove the password: phones cannot authenticate as this subscriber any more
    #[arg(long)]
    remove: bool,
    /// The password of the web page instead of that of the phones
    #[arg(long)]
    page: bool,
}

impl Password {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        if self.page {
            return self.run_for_page(setting, &client);
        }
        let path = format!("/api/v1/subscribers/{}", escape(&self.id));
        let mut document = client.get(&path)?;
        let password = match self.remove {
            true => Value::Null,
            false => read_password(&self.id)?.into(),
        };
        if let Some(map) = document.as_object_mut() {
            map.insert("password".to_owned(), password);
        }
        let answer = client.json(Method::PUT, &path, Some(&document))?;
        settings::warn(&answer);
        if setting.json {
            return say_json(&answer);
        }
        let done = match self.remove {
            true => "has no password now",
            false => "has a new password",
        };
        say(&format!("{} {done}", text(&answer, "id")))?;
        Ok(Exit::Done)
    }

    fn run_for_page(&self, setting: &Setting, client: &Client) -> Outcome {
        let path = format!("/api/v1/subscribers/{}/page-password", escape(&self.id));
        let answer = if self.remove {
            client.json(Method::DELETE, &path, None)?
        } else {
            let wish = json!({ "password": read_password(&self.id)? });
            client.json(Method::PUT, &path, Some(&wish))?
        };
        if setting.json {
            return say_json(&answer);
        }
        let done = match self.remove {
            true => "has no password for the page now",
            false => "has a new password for the page",
        };
        say(&format!("{} {done}", self.id))?;
        Ok(Exit::Done)
    }
}

/// Asks twice on a terminal; else the first line of standard input.
fn read_password(id: &str) -> Result<String, CliError> {
    let failed = |error: io::Error| CliError::failed(format!("the password: {error}"));
    if !io::stdin().is_terminal() {
        let limit = PASSWORD_LIMIT_BYTES as u64 + 3;
        let mut input = String::new();
        io::stdin()
            .take(limit)
            .read_to_string(&mut input)
            .map_err(failed)?;
        return Ok(input.lines().next().unwrap_or_default().to_owned());
    }
    let terminal = Term::stderr();
    let ask = |prompt: &str| {
        terminal.write_str(prompt)?;
        terminal.read_secure_line()
    };
    let first = ask(&format!("New password of {id}: ")).map_err(failed)?;
    match ask("Once more: ").map_err(failed)? == first {
        true => Ok(first),
        false => Err(CliError::failed(
            "the two differ; nothing was changed".to_owned(),
        )),
    }
}
