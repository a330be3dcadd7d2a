//! Importing without a running server: the command opens the store itself.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::exit::CliError;
use crate::api::{ReadLine, import};
use crate::auth::Hashing;
use crate::config::Config;
use crate::presence::{
    Clock, Directory, NumberPlan, PasswordWish, Problem, Problems, Roster, Subscriber,
};
use crate::store::{Embedded, Options, Store};

/// A store that no server has open.
pub(super) struct Offline {
    roster: Roster,
    directory: Arc<Directory>,
    runtime: Runtime,
    /// Whether passwords can become digests: those belong to a realm.
    has_realm: bool,
}

impl Offline {
    /// Opens the store in a directory; numbers are read as the default configuration reads them.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let mut config = Config::load(None, super::environment()).map_err(failed)?;
        config.store.path = path.to_path_buf();
        Self::start(&config)
    }

    /// Opens the store of a configuration.
    pub(super) fn open_configured(file: &Path) -> Result<Self, CliError> {
        Self::start(&Config::load(Some(file), super::environment()).map_err(failed)?)
    }

    fn start(config: &Config) -> Result<Self, CliError> {
        let store = Embedded::open(&config.store.path, Options::default()).map_err(failed)?;
        let seed = u64::from_le_bytes(store.secret().first_chunk().copied().unwrap_or_default());
        let directory = Arc::new(Directory::new(seed));
        let plan = NumberPlan::for_region(&config.sip.region)
            .map_err(|error| CliError::failed(format!("sip.region: {error:?}")))?;
        let clock: Clock = Arc::new(super::time::wall);
        let around = (directory.clone(), plan);
        let roster = Roster::start_under(config.house(), Arc::new(store), around, clock);
        let roster = roster.map_err(failed)?;
        roster.set_hashing(Hashing {
            realm: config.realm().unwrap_or_default().into(),
            md5: config.auth.knows_md5(),
        });
        Ok(Self {
            has_realm: config.realm().is_some(),
            roster,
            directory,
            runtime: Builder::new_current_thread().build().map_err(failed)?,
        })
    }

    /// Stores documents as `POST /import` does; one result each, in order.
    pub(super) fn put(&self, documents: &[Value]) -> Vec<Value> {
        let lines = (1u64..).zip(documents).map(|(number, document)| {
            let read: ReadLine =
                Subscriber::from_json(document).and_then(|read| self.check_realm(read));
            (number, read)
        });
        let results = import(&self.roster, &self.directory, lines.collect());
        let results = self.runtime.block_on(results);
        let results = results.iter().map(serde_json::to_value);
        results.map(Result::unwrap_or_default).collect()
    }
}

impl Offline {
    fn check_realm(&self, subscriber: Subscriber) -> ReadLine {
        match subscriber.password {
            PasswordWish::Clear(_) if !self.has_realm => {
                let text = "needs a realm: set auth.realm or sip.domains";
                Err(Problems(vec![Problem::new("password", text)]))
            }
            _ => Ok(subscriber),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::failed(error.to_string())
}
