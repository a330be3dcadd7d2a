//! The configuration in force and what it is compiled to: put in force as a whole, and compiled
//! again when a configured name leads elsewhere.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::clock::Clock;
use super::names::{Asked, addresses, resolve_now};
use super::socket::System;
use super::stream::{CertificateFacts, Tls};
use super::upkeep::unix_s;
use crate::config::{Config, ConfigErrors, Surroundings, compile};
use crate::engine::Shared;
use crate::presence::Holidays;
use crate::proxy::policy::{Network, Policy};
use crate::proxy::{Names, Wanted};

/// Logs what the configuration says and hardly means.
pub(super) fn warn(config: &Config, policy: &Policy) {
    for warning in config.warnings(&policy.plan) {
        tracing::warn!("{warning}");
    }
}

/// How long a start waits for name servers; it goes on without them.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// How long a reload or a check waits.
const PATIENCE: Duration = Duration::from_secs(12);

/// What is known of the configured names while a configuration is compiled.
pub(super) struct Surveyed {
    asked: Vec<Asked>,
    /// Whether a name may lead nowhere: it is asked for again later.
    is_lenient: bool,
}

impl Surveyed {
    /// For a start: a name that cannot be resolved is told and does not hold it up, as a PBX must
    /// come up again without name servers.
    pub(super) fn for_start(config: &Config, now_ms: u64) -> Self {
        let asked = resolve_now((config, config.names()), now_ms, START_PATIENCE);
        for (wanted, found) in &asked {
            let error = match found {
                Ok(resolved) if !resolved.targets.is_empty() => continue,
                Ok(_) => "there is no such name",
                Err(error) => error,
            };
            let host = &*wanted.host;
            tracing::warn!(
                host,
                error,
                "a configured name leads nowhere; it is asked for again"
            );
        }
        Self {
            asked,
            is_lenient: true,
        }
    }

    /// For a check: every name must lead somewhere.
    pub(super) fn for_check(config: &Config) -> Self {
        Self {
            asked: resolve_now((config, config.names()), 0, PATIENCE),
            is_lenient: false,
        }
    }

    /// For a reload: what is known counts, even if no name server answers now; what is new must
    /// lead somewhere.
    fn for_reload(config: &Config, names: &Names, now_ms: u64) -> Self {
        let (known, new): (Vec<_>, Vec<_>) = config.names().into_iter().partition(|wanted| {
            let found = names.addresses(&wanted.sought());
            found.is_some_and(|found| !found.is_empty())
        });
        let mut asked = resolve_now((config, new), now_ms, PATIENCE);
        let known = known.into_iter().map(|wanted| {
            let resolved = names.resolved(&wanted.sought(), now_ms);
            let resolved = resolved.ok_or_else(|| "it was forgotten".to_owned());
            (wanted, resolved)
        });
        asked.extend(known);
        Self {
            asked,
            is_lenient: false,
        }
    }

    /// For names that changed: only what is known counts.
    fn for_change(config: &Config, names: &Names, now_ms: u64) -> Self {
        let asked = config.names().into_iter().map(|wanted| {
            let resolved = names.resolved(&wanted.sought(), now_ms);
            (wanted, Ok(resolved.unwrap_or_default()))
        });
        Self {
            asked: asked.collect(),
            is_lenient: true,
        }
    }

    /// Hands what was found to the calls.
    pub(super) fn publish(&self, names: &Names, now_ms: u64) {
        for (wanted, found) in &self.asked {
            if let Ok(resolved) = found {
                names.put(wanted, resolved.clone(), now_ms);
            }
        }
    }
}

impl Surroundings for Surveyed {
    fn resolve(&self, name: &Wanted) -> io::Result<Vec<IpAddr>> {
        let asked = self.asked.iter().find(|(wanted, _)| wanted == name);
        let found = asked.map(|(_, found)| found.as_ref().map(addresses));
        match found {
            Some(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            _ if self.is_lenient => Ok(Vec::new()),
            Some(Err(error)) => Err(io::Error::other(error.clone())),
            _ => Err(io::Error::other(
                "it has neither SRV records nor addresses that a listener can reach",
            )),
        }
    }

    fn source_towards(&self, to: SocketAddr) -> io::Result<IpAddr> {
        System.source_towards(to)
    }

    fn network_of(&self, address: IpAddr) -> Option<Network> {
        System.network_of(address)
    }
}

/// The configuration in force.
pub(super) struct InForce {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    /// The bound addresses of the listeners.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) changing: Mutex<()>,
    pub(super) holidays: ArcSwap<Holidays>,
}

impl InForce {
    /// What runs now, with the bound addresses of its listeners.
    pub(super) fn new(
        config: &Arc<ArcSwap<Config>>,
        shared: &Arc<Shared>,
        clock: Clock,
        addresses: &[SocketAddr],
    ) -> Arc<Self> {
        Arc::new(Self {
            config: Arc::clone(config),
            shared: Arc::clone(shared),
            clock,
            addresses: addresses.to_vec(),
            changing: Mutex::default(),
            holidays: ArcSwap::default(),
        })
    }

    /// What watchers see may be another under it: they are told at once.
    fn put(&self, policy: Policy) {
        self.shared.policy.store(Arc::new(policy));
        self.shared.directory.watched().stir_all();
    }

    /// Puts a configuration in force; hands back the keys that need a restart, and it. `prepare`
    /// may still refuse it.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing has changed.
    pub(super) fn reload(
        &self,
        read: impl FnOnce() -> Result<Config, ConfigErrors>,
        prepare: impl FnOnce(&Config) -> Result<(), ConfigErrors>,
    ) -> Result<(Vec<&'static str>, Arc<Config>), ConfigErrors> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let running = self.config.load_full();
        let wanted = read()?;
        let needs_restart = running.needs_restart(&wanted);
        let config = wanted.keeping_running(&running)?;
        let (names, now_ms) = (&self.shared.names, self.clock.now().ms);
        let surveyed = Surveyed::for_reload(&config, names, now_ms);
        let mut policy = compile(&config, &surveyed)?.bound(&self.addresses);
        policy = policy.observing((**self.holidays.load()).clone());
        prepare(&config)?;
        warn(&config, &policy);
        surveyed.publish(names, now_ms);
        self.put(policy);
        let config = Arc::new(config);
        self.config.store(Arc::clone(&config));
        Ok((needs_restart, config))
    }

    /// These are the holidays from now on.
    pub(super) fn observe(&self, holidays: Holidays) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = self.shared.policy.load_full();
        if policy.holidays != holidays {
            self.holidays.store(Arc::new(holidays.clone()));
            let observing = (*policy).clone().observing(holidays);
            self.put(observing);
        }
    }

    /// A configured name leads elsewhere: the systems are known by their new addresses. What we
    /// call ourselves stays, as calls in progress have it in their routes.
    pub(super) fn follow_names(&self) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.config.load_full();
        let surveyed = Surveyed::for_change(&config, &self.shared.names, self.clock.now().ms);
        match compile(&config, &surveyed) {
            Ok(policy) => {
                let listeners = self.shared.policy.load().listeners.clone();
                let policy = policy.observing((**self.holidays.load()).clone());
                let policy = Policy {
                    listeners,
                    ..policy
                };
                self.put(policy);
            }
            Err(errors) => tracing::warn!(%errors, "the new addresses of a name cannot be used"),
        }
    }
}

/// The policy and the certificates of a configuration, as a server would use them; for checking a
/// file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(config: &Config) -> Result<(Policy, Vec<CertificateFacts>), ConfigErrors> {
    let policy = compile(config, &Surveyed::for_check(config))?;
    let tls = Tls::load(config, unix_s(Clock::start()))?;
    let certificates = tls.map(|tls| tls.certificates().to_vec());
    Ok((policy, certificates.unwrap_or_default()))
}
