//! `pointsman serve`: the server itself, with its API.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use axum::http::{Request, Response};
use clap::Args;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::exit::{CliError, Exit, Outcome};
use crate::api::events::Events;
use crate::api::oidc::{Provider, SignInProvider};
use crate::api::serve::CONNECTION_LIMIT;
use crate::api::sessions::Sessions;
use crate::api::state::{ApiState, CertificateFacts, Family, Histogram, Host, Measures, Parts};
use crate::api::tokens::Tokens;
use crate::api::traces::Traces;
use crate::api::{gazette, router, serve};
use crate::config::Config;
use crate::net::{self, Clock, LATENCY_BOUNDS_NS, Labelled, Latency, RunningApi, Server};
use crate::presence::{Problem, Problems};
use crate::proxy::{Shared, Trace};

/// Descriptors for all but connections.
const OTHER_DESCRIPTORS: u64 = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Without a file the defaults are in force: calls on udp:127.0.0.1:5060, the API on 127.0.0.1:8080.
A line that begins with READY goes to standard output when calls are answered; the log goes to
standard error. SIGHUP reads the file again; SIGTERM answers new calls with 503, waits for the
open ones (shutdown.grace_s) and ends; a second SIGTERM ends at once.

Example:
  pointsman serve --config /etc/pointsman.toml")]
pub(super) struct Serve {
    /// The configuration file
    #[arg(long, short, env = "POINTSMAN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let read = move || Config::load(self.config.as_deref(), super::environment());
        match net::serve(Box::new(read), start_api) {
            Ok(()) => Ok(Exit::Done),
            Err(error) => Err(CliError::failed(error.to_string())),
        }
    }
}

/// The process around the API.
struct Process {
    /// Weak, as the server's hooks lead back to the API.
    server: Weak<Server>,
    clock: Clock,
}

async fn start_api(server: Arc<Server>, ending: watch::Receiver<bool>) -> io::Result<RunningApi> {
    start_api_and_tell(server, ending, |_| ()).await
}

/// Serves the API of a server; each decision is told to `tell` as well.
pub(super) async fn start_api_and_tell(
    server: Arc<Server>,
    ending: watch::Receiver<bool>,
    tell: impl Fn(&Trace) + Send + Sync + 'static,
) -> io::Result<RunningApi> {
    // Each open page is a connection, beside those of phones; what is too little is told where
    // connections are refused.
    let connections = server
        .config()
        .limits
        .connections
        .saturating_add(CONNECTION_LIMIT);
    let _ = net::allow_descriptors(connections as u64 + OTHER_DESCRIPTORS);
    let listener = TcpListener::bind(server.config().api.listen).await?;
    let address = listener.local_addr()?;
    let state = ApiState::new(Parts {
        roster: Arc::clone(server.roster()),
        store: server.store(),
        shared: Arc::clone(server.shared()),
        host: Arc::new(Process {
            server: Arc::downgrade(&server),
            clock: server.clock(),
        }),
        tokens: Tokens::load(server.store()).map_err(io::Error::other)?,
        sessions: Sessions::load(server.store()).map_err(io::Error::other)?,
        admin_token: ArcSwapOption::empty(),
        provider: SignInProvider::default(),
        events: Arc::new(Events::new(epoch()?)),
        traces: Traces::default(),
        journal_days: server.config().store.journal_days,
        ending: ending.clone(),
    });
    put_in_force(&state, &server.config());
    let of_hook = state.clone();
    server.on_reload(move |config| put_in_force(&of_hook, config));
    let of_hook = state.clone();
    server.on_trace(move |trace| {
        tell(&trace);
        of_hook.keep_trace(trace);
    });
    let task = tokio::spawn(async move {
        let router = router(state.clone());
        let gazette = tokio::spawn(gazette::run(state, ending.clone()));
        serve::serve(listener, router, ending).await;
        gazette.abort();
    });
    Ok(RunningApi { address, task })
}

/// Who may sign in, and where.
fn put_in_force(state: &ApiState, config: &Config) {
    let token = config.api.admin_token.as_ref();
    state.set_admin_token(token.map(|token| token.expose()));
    let oidc = &config.oidc;
    let configured = oidc.issuer.clone().zip(oidc.client_id.clone());
    let provider = configured.map(|(issuer, client_id)| Provider {
        issuer,
        client_id,
        client_secret: oidc
            .client_secret
            .as_ref()
            .map(|secret| secret.expose().to_owned()),
        scopes: oidc.scopes.clone(),
        claim: oidc.claim.clone(),
        claim_domain: oidc.claim_domain.clone(),
        label: oidc.label.clone(),
        public_url: oidc.public_url.clone(),
        passwords: oidc.passwords,
    });
    state.set_provider(provider);
}

/// Tells the events of this run from those of another.
fn epoch() -> io::Result<String> {
    let mut bytes = [0; 8];
    net::random(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

impl Host for Process {
    fn now(&self) -> Timestamp {
        self.clock.timestamp()
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().ms
    }

    fn certificates(&self) -> Vec<CertificateFacts> {
        let server = self.server.upgrade();
        let ours = server.map(|server| server.certificates());
        ours.unwrap_or_default().into_iter().map(facts).collect()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), String> {
        net::random(bytes).map_err(|error| error.to_string())
    }

    fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, String> {
        net::ask(request)
    }

    fn reload(&self) -> Result<Vec<&'static str>, Problems> {
        let Some(server) = self.server.upgrade() else {
            return Err(Problems(vec![Problem::new("", "the server is ending")]));
        };
        let problem = |error: crate::config::ConfigError| {
            Problem::new(
                error.key.clone(),
                format!("{}: {}", error.place, error.text),
            )
        };
        match server.reload() {
            Ok(reloaded) => Ok(reloaded.needs_restart),
            Err(errors) => Err(Problems(errors.0.into_iter().map(problem).collect())),
        }
    }

    fn measures(&self) -> Measures {
        self.server
            .upgrade()
            .map(|server| measures(&server))
            .unwrap_or_default()
    }

    fn collect_traces(&self, _: &Shared, _: &Traces) {
        if let Some(server) = self.server.upgrade() {
            server.collect_traces();
        }
    }
}

fn facts(ours: net::CertificateFacts) -> CertificateFacts {
    CertificateFacts {
        purpose: ours.use_.to_owned(),
        subject: ours.subject,
        issuer: ours.issuer,
        names: ours.names.into_iter().map(String::from).collect(),
        not_before_unix_s: ours.not_before_unix_s,
        not_after_unix_s: ours.not_after_unix_s,
        file: ours.file.display().to_string(),
    }
}

fn family(labelled: Labelled) -> Family {
    Family {
        name: labelled.name,
        help: labelled.help,
        is_gauge: labelled.is_gauge,
        samples: labelled.samples,
    }
}

fn measures(server: &Server) -> Measures {
    let gauges = server.gauges();
    let mut counters: Vec<(&'static str, &'static str, u64)> = Vec::new();
    for shard in gauges.counters() {
        for (index, (name, help, count)) in shard.plain().enumerate() {
            match counters.get_mut(index) {
                Some((_, _, sum)) => *sum += count,
                None => counters.push((name, help, count)),
            }
        }
    }
    let streams = server.stream_counters();
    let mut families = Vec::new();
    if let Some(streams) = streams {
        counters.extend(streams.plain());
        families.extend(streams.labelled().into_iter().map(family));
    }
    let handling: Vec<&Latency> = gauges.latencies().collect();
    let decisions: Vec<&Latency> = gauges.decisions().collect();
    let waiting: Vec<&Latency> = gauges.waiting().collect();
    let histograms = vec![
        histogram(
            (
                "decision_seconds",
                "How long an INVITE takes to be looked up, decided and carried out",
            ),
            &decisions,
        ),
        histogram(
            (
                "handling_seconds",
                "How long a received message takes to be handled, sampled",
            ),
            &handling,
        ),
        histogram(
            (
                "queue_delay_seconds",
                "How long a received message waited before it was handled, sampled",
            ),
            &waiting,
        ),
        histogram(
            (
                "store_write_seconds",
                "How long a batch of changes takes to be on disk",
            ),
            &[server.store_writes()],
        ),
    ];
    Measures {
        counters,
        gauges: Vec::new(),
        histograms,
        families,
    }
}

fn histogram((name, help): (&'static str, &'static str), of: &[&Latency]) -> Histogram {
    let mut counts = vec![0; LATENCY_BOUNDS_NS.len() + 1];
    let mut sum_ns = 0;
    for latency in of {
        for (sum, count) in counts.iter_mut().zip(latency.buckets()) {
            *sum += count;
        }
        sum_ns += latency.sum_ns();
    }
    Histogram {
        name,
        help,
        bounds_s: LATENCY_BOUNDS_NS
            .iter()
            .map(|ns| *ns as f64 / 1e9)
            .collect(),
        counts,
        sum_s: sum_ns as f64 / 1e9,
    }
}
