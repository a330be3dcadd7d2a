//! What the handlers work on.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::http::{Request, Response};
use jiff::Timestamp;
use tokio::sync::watch;

use super::auth::SecretHash;
use super::events::Events;
use super::oidc::{Oidc, Provider, SignInProvider};
use super::problem::{Failure, Kind};
use super::sessions::Sessions;
use super::tokens::Tokens;
use super::traces::Traces;
use crate::presence::{Directory, Problems, Roster};
use crate::proxy::{Keys, Shared, Trace};
use crate::store::Store;

/// What the API asks of the process around it: the clock, chance, and the configuration.
pub trait Host: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// The clock that the shards run on, in milliseconds.
    fn now_ms(&self) -> u64;

    /// The certificates in use; none where nothing is encrypted.
    fn certificates(&self) -> Vec<CertificateFacts> {
        Vec::new()
    }

    /// Bytes nobody can guess.
    ///
    /// # Errors
    /// The system has none.
    fn random(&self, bytes: &mut [u8]) -> Result<(), String>;

    /// Reads the configuration again and puts it in force. Hands back the keys that changed and
    /// need a restart.
    ///
    /// # Errors
    /// Everything that is wrong with the file, by key; nothing has changed.
    fn reload(&self) -> Result<Vec<&'static str>, Problems>;

    /// Sends a request to another server and waits for the answer, which may take its time.
    ///
    /// # Errors
    /// Nobody answers; in words.
    fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, String>;

    /// What the process counts beside what the shards count in [`Shared`].
    fn measures(&self) -> Measures;

    /// Moves the decisions of this moment into `traces`. A host that logs them does it on the way.
    fn collect_traces(&self, shared: &Shared, traces: &Traces) {
        traces.collect(shared);
    }
}

/// What a certificate in use says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// What it is for.
    pub purpose: String,
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The hosts it is for.
    pub names: Vec<String>,
    /// From when on it is valid, seconds since 1970.
    pub not_before_unix_s: i64,
    /// Until when it is valid, seconds since 1970.
    pub not_after_unix_s: i64,
    /// Where it was read from.
    pub file: String,
}

/// Numbers of the process around, for the metrics.
#[derive(Debug, Default)]
pub struct Measures {
    /// Name without prefix and suffix, what it means, the count.
    pub counters: Vec<(&'static str, &'static str, u64)>,
    /// As the counters, but these can fall.
    pub gauges: Vec<(&'static str, &'static str, u64)>,
    /// How long things take.
    pub histograms: Vec<Histogram>,
    /// Numbers with labels.
    pub families: Vec<Family>,
}

/// Numbers of one meaning, told apart by labels.
#[derive(Debug, Default)]
pub struct Family {
    /// The name without prefix and suffix.
    pub name: &'static str,
    /// What is counted.
    pub help: &'static str,
    /// Whether the numbers can fall.
    pub is_gauge: bool,
    /// Each number with its labels.
    pub samples: Vec<Sample>,
}

/// A number with its labels, name and value each.
pub type Sample = (Vec<(&'static str, &'static str)>, u64);

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The name without prefix, with its unit: `store_write_seconds`.
    pub name: &'static str,
    /// What is measured.
    pub help: &'static str,
    /// Upper bounds of the buckets, in seconds; the last bucket has none.
    pub bounds_s: Vec<f64>,
    /// How often, in each bucket and beyond the last bound; not cumulated.
    pub counts: Vec<u64>,
    /// The sum of all, in seconds.
    pub sum_s: f64,
}

/// What the handlers work on; cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Parts>);

/// Where the state comes from.
pub struct Parts {
    /// Changes of subscribers.
    pub roster: Arc<Roster>,
    /// What outlives the process.
    pub store: Arc<dyn Store>,
    /// What the shards share.
    pub shared: Arc<Shared>,
    /// The process around.
    pub host: Arc<dyn Host>,
    /// The tokens of subscribers.
    pub tokens: Tokens,
    /// Who is signed in at the page.
    pub sessions: Sessions,
    /// The hash of the administrator's token.
    pub admin_token: ArcSwapOption<SecretHash>,
    /// Where people can sign in beside the page.
    pub provider: SignInProvider,
    /// Who listens to what changes.
    pub events: Arc<Events>,
    /// The decisions of late.
    pub traces: Traces,
    /// How long journal entries are kept.
    pub journal_days: u32,
    /// Whether the API ends: streams end with it.
    pub ending: watch::Receiver<bool>,
}

impl ApiState {
    /// The state of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Keeps a decision for those who ask.
    pub fn keep_trace(&self, trace: Trace) {
        self.0.traces.push(trace);
    }

    pub(super) fn collect_traces(&self) {
        self.0.host.collect_traces(&self.0.shared, &self.0.traces);
    }

    pub(super) fn admin_token(&self) -> Option<Arc<SecretHash>> {
        self.0.admin_token.load_full()
    }

    /// Puts another administrator's token in force.
    pub fn set_admin_token(&self, token: Option<&str>) {
        let hash = token.map(|token| Arc::new(SecretHash::of(token)));
        self.0.admin_token.store(hash);
    }

    /// Puts another provider in force, or none.
    pub fn set_provider(&self, provider: Option<Provider>) {
        self.0.provider.put(provider);
    }

    pub(super) fn oidc(&self) -> Option<Arc<Oidc>> {
        self.0.provider.in_force()
    }

    /// Whether passwords open sessions.
    pub(super) fn allows_passwords(&self) -> bool {
        self.oidc().is_none_or(|oidc| oidc.allows_passwords())
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.0.shared.directory
    }

    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.0.roster
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(super) fn host(&self) -> &Arc<dyn Host> {
        &self.0.host
    }

    pub(super) fn events(&self) -> &Arc<Events> {
        &self.0.events
    }

    pub(super) fn traces(&self) -> &Traces {
        &self.0.traces
    }

    pub(super) fn journal_days(&self) -> u32 {
        self.0.journal_days
    }

    pub(super) fn ending(&self) -> watch::Receiver<bool> {
        self.0.ending.clone()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.host.now()
    }

    pub(super) fn now_s(&self) -> i64 {
        self.now().as_second()
    }

    /// A subscriber's key in the journal.
    pub(super) fn journal_key(&self, id: &str) -> u64 {
        Keys::new(&self.0.shared.secret).subscriber(id.as_bytes())
    }

    /// Runs what waits for the disk where it holds nobody up.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let state = self.clone();
        tokio::task::spawn_blocking(move || work(&state))
            .await
            .map_err(|_| Failure::new(Kind::Internal, "the request ended in a fault; see the log"))
    }
}
