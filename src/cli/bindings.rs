//! `pointsman bindings`: which phones are registered.

use clap::Args;
use serde_json::Value;
use ureq::http::Method;

use super::client::{escape, field, take, text};
use super::exit::Outcome;
use super::output::{cell, local_time, say, say_json, say_table, table};
use super::{DONE, Setting};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pointsman bindings
  pointsman bindings anna
  pointsman bindings anna --remove 17
  pointsman bindings anna --remove-all")]
pub(super) struct Bindings {
    /// Id of the subscriber; without it, the phones of everybody
    id: Option<String>,
    /// At most so many, where everybody's are listed
    #[arg(long, short, default_value_t = 1_000, value_name = "COUNT")]
    limit: u64,
    /// Remove the binding with this id, as the list shows it
    #[arg(long, value_name = "BINDING", requires = "id")]
    remove: Option<String>,
    /// Remove every binding of the subscriber
    #[arg(long, requires = "id", conflicts_with = "remove")]
    remove_all: bool,
}

impl Bindings {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        if let (Some(id), Some(path)) = (&self.id, self.removed_path()) {
            client.json(Method::DELETE, &path, None)?;
            return match setting.json {
                true => DONE,
                false => say(&format!(
                    "removed; {id}'s phone is not called until it registers"
                )),
            };
        }
        let all = || format!("/api/v1/bindings?limit={}", self.limit);
        let mut answer = client.get(&self.id.as_deref().map_or_else(all, path))?;
        let bindings = take(&mut answer, "bindings");
        if setting.json {
            return say_json(&bindings);
        }
        let bindings = bindings.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut table = table(&[
            "id",
            "subscriber",
            "contact",
            "q",
            "expires",
            "reached by",
            "user agent",
        ]);
        for binding in bindings {
            table.add_row([
                cell(text(binding, "id")),
                cell(text(binding, "subscriber")),
                cell(text(binding, "contact")),
                cell(&field(binding, "q").to_string()),
                cell(&local_time(text(binding, "expires_at"))),
                cell(&way(binding)),
                cell(text(binding, "user_agent")),
            ]);
        }
        say_table(table, "no bindings")?;
        let total = field(&answer, "total").as_u64().unwrap_or(0);
        if total > bindings.len() as u64 {
            eprintln!("… of {total} bindings; raise --limit to see more");
        }
        DONE
    }

    fn removed_path(&self) -> Option<String> {
        let all = path(self.id.as_deref()?);
        match &self.remove {
            Some(binding) => Some(format!("{all}/{}", escape(binding))),
            None => self.remove_all.then_some(all),
        }
    }
}

fn path(id: &str) -> String {
    format!("/api/v1/subscribers/{}/bindings", escape(id))
}

/// How it is reached: by its address, or by which transport from where it registered; and whether
/// that way is closed.
fn way(binding: &Value) -> String {
    let closed = match field(binding, "is_reachable").as_bool() {
        Some(true) => "",
        _ => " (closed)",
    };
    match text(binding, "reached_by") {
        "address" => "address".to_owned(),
        _ => {
            let (transport, source) = (text(binding, "transport"), text(binding, "source"));
            format!("{transport} {source}{closed}")
        }
    }
}
