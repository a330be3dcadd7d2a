//! `pointsman explain`: what would happen to a call, and why.

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::client::{escape, field, text};
use super::exit::Outcome;
use super::output::{printable, say, say_json};
use super::{DONE, Setting, time};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman explain --from bob --to anna
  pointsman explain --from +491701234567 --to 101 --at \"2026-12-24 18:00\"
  pointsman explain --from anonymous --to anna --lang de")]
pub(super) struct Explain {
    /// Who calls: a subscriber, a number, a SIP URI, or `anonymous`
    #[arg(long)]
    from: String,
    /// Who is called: a subscriber, a number or a SIP URI
    #[arg(long)]
    to: String,
    /// When: RFC 3339, local `2026-12-24 18:00`, `18:00`, `+90m`; now without it
    #[arg(long, value_parser = time::parse, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Language of the sentences: en or de
    #[arg(long)]
    lang: Option<String>,
}

impl Explain {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let mut path = format!(
            "/api/v1/explain?from={}&to={}",
            escape(&self.from),
            escape(&self.to)
        );
        if let Some(at) = &self.at {
            path.push_str(&format!("&at={}", escape(&at.to_string())));
        }
        if let Some(language) = &self.lang {
            path.push_str(&format!("&lang={}", escape(language)));
        }
        let answer = setting.client()?.get(&path)?;
        if setting.json {
            return say_json(&answer);
        }
        say_sentences(&answer)
    }
}

fn say_sentences(answer: &Value) -> Outcome {
    say(&printable(text(answer, "summary")))?;
    for reason in field(answer, "reasons").as_array().into_iter().flatten() {
        say(&format!("  - {}", printable(text(reason, "sentence"))))?;
    }
    for after in field(answer, "afterwards").as_array().into_iter().flatten() {
        say(&format!("  > {}", printable(text(after, "sentence"))))?;
    }
    DONE
}
