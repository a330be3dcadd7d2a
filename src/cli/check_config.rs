//! `pointsman check-config`: what is wrong with a configuration, without starting anything.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Setting;
use super::exit::{CliError, Exit, Outcome};
use super::output::{say, say_json};
use crate::config::{Config, ConfigErrors};
use crate::net;
use crate::proxy::Policy;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pointsman check-config /etc/pointsman.toml && systemctl reload pointsman

Environment variables such as POINTSMAN_SIP__REGION are taken into account as by `serve`.")]
pub(super) struct CheckConfig {
    /// The configuration file
    file: PathBuf,
}

impl CheckConfig {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        match check(&self.file) {
            Ok(checked) if setting.json => say_json(&json!({
                "ok": true, "shards": checked.config.shards(),
                "peers": checked.policy.peers.len(),
                "errors": [], "warnings": checked.warnings,
            })),
            Ok(checked) => {
                say_summary(&self.file, &checked.config, &checked.policy)?;
                for warning in &checked.warnings {
                    say(&format!("  warning     {warning}"))?;
                }
                Ok(Exit::Done)
            }
            Err(errors) if setting.json => {
                let errors: Vec<_> = errors.0.iter().map(|error| {
                    json!({ "place": error.place.to_string(), "key": error.key, "text": error.text })
                }).collect();
                say_json(&json!({ "ok": false, "errors": errors }))?;
                Ok(Exit::Failed)
            }
            Err(errors) => Err(CliError::failed(errors.to_string())),
        }
    }
}

/// A file without faults.
struct Checked {
    config: Config,
    policy: Policy,
    warnings: Vec<String>,
}

/// Reads and compiles a file as `serve` does.
fn check(file: &Path) -> Result<Checked, ConfigErrors> {
    let config = Config::load(Some(file), super::environment())?;
    let (policy, certificates) = net::check(&config)?;
    let now_s = net::Clock::start().timestamp().as_second();
    let mut warnings = config.warnings(&policy.plan);
    warnings.extend(certificates.iter().filter_map(|c| c.warning(now_s)));
    Ok(Checked {
        config,
        policy,
        warnings,
    })
}

/// The addresses of a system's nodes, separated by blanks.
fn addresses(hop: &crate::proxy::policy::NextHop) -> String {
    let of_node = |node: &crate::proxy::policy::Node| {
        let port = node.target.port;
        let default = node.target.sought().transport_or_default().default_port();
        let at = node.addresses.first().copied();
        at.map(|ip| std::net::SocketAddr::new(ip, port.unwrap_or(default)).to_string())
    };
    let found: Vec<String> = hop.nodes.iter().filter_map(of_node).collect();
    found.join(" ")
}

fn say_summary(file: &Path, config: &Config, policy: &Policy) -> Outcome {
    let listen: Vec<String> = config.sip.listen.iter().map(ToString::to_string).collect();
    let hop = |hop: &Option<crate::proxy::policy::NextHop>| {
        let shown = hop
            .as_ref()
            .map(|hop| format!("{} ({})", hop.host_port, addresses(hop)));
        shown.unwrap_or_else(|| "none".to_owned())
    };
    say(&format!("{}: ok", file.display()))?;
    say(&format!(
        "  listens on  {}, {} shards",
        listen.join(", "),
        config.shards()
    ))?;
    say(&format!("  domains     {}", policy.domains.join(" ")))?;
    say(&format!("  next hop    {}", hop(&policy.next_hop)))?;
    let voicemail = policy
        .voicemail
        .as_ref()
        .map(|voicemail| voicemail.hop.clone());
    say(&format!("  voicemail   {}", hop(&voicemail)))?;
    let peers: Vec<&str> = policy.peers.iter().map(|peer| &*peer.name).collect();
    say(&format!(
        "  peers       {}",
        if peers.is_empty() {
            "none".to_owned()
        } else {
            peers.join(", ")
        }
    ))?;
    if !policy.house.targets.is_empty() {
        let forwarding = &config.forwarding;
        let denied = match forwarding.deny.is_empty() {
            true => "everything".to_owned(),
            false => forwarding.deny.join(" "),
        };
        let allowed = match forwarding.allow.is_empty() {
            true => String::new(),
            false => format!(" but for {}", forwarding.allow.join(" ")),
        };
        say(&format!("  forwarding  denied to {denied}{allowed}"))?;
    }
    say(&format!("  store       {}", config.store.path.display()))?;
    let token = if config.api.admin_token.is_some() {
        "with a token"
    } else {
        "without a token"
    };
    say(&format!("  api         {} {token}", config.api.listen))
}
