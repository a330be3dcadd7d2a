//! Who is signed in at the page: kept as hashes, ended by time and by what they were opened with.
//!
//! A session is as good as the secret that opened it: when the administrator's token is replaced, a
//! subscriber's token deleted or a password changed, every session that rests on it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dashmap::DashMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::auth::{Caller, SecretHash, hex};
use super::page_password::PagePasswords;
use super::state::ApiState;
use super::throttle::Throttle;
use crate::auth::Algorithm;
use crate::store::{Store, StoreError, Write};

/// Sessions stand in the store under keys that no subscriber's id can be.
const KEY_PREFIX: &str = "session:";
/// The cookie's name.
pub(super) const COOKIE: &str = "pointsman_session";
/// Without a request for so long, a session is over.
pub(super) const IDLE_S: i64 = 12 * 3_600;
/// So long after it was opened, a session is over in any case.
pub(super) const LIFE_S: i64 = 7 * 86_400;
/// How old the time of the last request may be on the disk.
const NOTED_EVERY_S: i64 = 600;
/// How often sessions that are over are looked for.
const SWEPT_EVERY_S: i64 = 600;
/// How many sessions one person may have; the oldest ends for a new one.
const SESSIONS_PER_PERSON: usize = 16;
/// How many passwords are checked at once: each takes 19 MiB and a core for a while.
const CHECKS: usize = 2;

/// Every session that is open, and what it takes to open one.
pub struct Sessions {
    by_hash: DashMap<String, Kept>,
    store: Arc<dyn Store>,
    swept_s: AtomicI64,
    /// The passwords of the page.
    pub(super) passwords: PagePasswords,
    /// Who fails too often.
    pub(super) throttle: Throttle,
    /// Seats of those whose password is being checked.
    pub(super) checks: Semaphore,
}

/// With what a session was opened: a hash that tells whether that is still in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Proof {
    /// The administrator's token.
    AdminToken(String),
    /// A subscriber's token, by its id.
    Token(String),
    /// The password of the page.
    PagePassword(String),
    /// The password of the phones.
    PhonePassword(String),
    /// The provider of OpenID Connect.
    Provider(String),
}

/// A session as the store keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscriber: Option<String>,
    proof: Proof,
    created_s: i64,
    seen_s: i64,
    #[serde(skip)]
    noted_s: i64,
}

impl Kept {
    fn ends_s(&self) -> i64 {
        let idle = self.seen_s.saturating_add(IDLE_S);
        idle.min(self.created_s.saturating_add(LIFE_S))
    }
}

impl Sessions {
    /// Reads the sessions and passwords that the store keeps.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let by_hash = DashMap::new();
        store.load_under(KEY_PREFIX, &mut |key, value| {
            let Some(hash) = key.strip_prefix(KEY_PREFIX) else {
                return;
            };
            match serde_json::from_slice::<Kept>(value) {
                Ok(kept) => {
                    let noted_s = kept.seen_s;
                    by_hash.insert(hash.to_owned(), Kept { noted_s, ..kept });
                }
                Err(error) => tracing::error!(%error, "a session in the store is unreadable"),
            }
        })?;
        Ok(Self {
            by_hash,
            swept_s: AtomicI64::new(0),
            passwords: PagePasswords::load(Arc::clone(&store))?,
            throttle: Throttle::new(&store.secret()),
            checks: Semaphore::new(CHECKS),
            store,
        })
    }

    /// Opens a session for whoever has the secret; it is on disk on return.
    pub(super) fn open(
        &self,
        secret: &str,
        caller: &Caller,
        proof: Proof,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let now_s = now.as_second();
        let kept = Kept {
            subscriber: match caller {
                Caller::Administrator => None,
                Caller::Subscriber(id) => Some(id.clone()),
            },
            proof,
            created_s: now_s,
            seen_s: now_s,
            noted_s: now_s,
        };
        let mut own: Vec<(i64, String)> = self
            .by_hash
            .iter()
            .filter(|other| other.subscriber == kept.subscriber)
            .map(|other| (other.seen_s, other.key().clone()))
            .collect();
        own.sort();
        let surplus = (own.len() + 1).saturating_sub(SESSIONS_PER_PERSON);
        let mut over: Vec<String> = own.into_iter().take(surplus).map(|(_, h)| h).collect();
        over.extend(self.over(now_s));
        let hash = SecretHash::of(secret).to_hex();
        let mut batch: Vec<Write> = over.iter().map(|hash| forgotten(hash)).collect();
        batch.push(written(&hash, &kept));
        self.store.write(&batch)?;
        for hash in &over {
            self.by_hash.remove(hash);
        }
        self.by_hash.insert(hash, kept);
        Ok(())
    }

    /// Who has the secret's session, and until when; notes that they were here.
    pub(super) fn of(&self, state: &ApiState, secret: &str) -> Option<(Caller, i64)> {
        let hash = SecretHash::of(secret).to_hex();
        let now_s = state.now_s();
        let mut kept = self.by_hash.get_mut(&hash)?;
        let caller = match &kept.subscriber {
            None => Caller::Administrator,
            Some(id) => Caller::Subscriber(state.directory().get(id)?.id().to_owned()),
        };
        if now_s >= kept.ends_s() || !is_in_force(state, &caller, &kept.proof) {
            return None;
        }
        kept.seen_s = now_s.max(kept.seen_s);
        let ends_s = kept.ends_s();
        if kept.seen_s.saturating_sub(kept.noted_s) >= NOTED_EVERY_S {
            kept.noted_s = kept.seen_s;
            let note = written(&hash, &kept);
            let store = Arc::clone(&self.store);
            tokio::task::spawn_blocking(move || {
                // What is not noted only ends earlier.
                let _ = store.write(&[note]);
            });
        }
        Some((caller, ends_s))
    }

    /// Whether a provider opened the secret's session.
    pub(super) fn is_of_provider(&self, secret: &str) -> bool {
        let kept = self.by_hash.get(&SecretHash::of(secret).to_hex());
        kept.is_some_and(|kept| matches!(kept.proof, Proof::Provider(_)))
    }

    /// Ends the secret's session.
    ///
    /// # Errors
    /// The store refused; the session is over until the next start.
    pub(super) fn close(&self, secret: &str) -> Result<(), StoreError> {
        self.end(vec![SecretHash::of(secret).to_hex()])
    }

    /// Ends every session of a subscriber who is deleted, and forgets the page's password.
    ///
    /// # Errors
    /// The store refused; they are over until the next start.
    pub fn delete_all_of(&self, subscriber: &str) -> Result<(), StoreError> {
        let is_own = |kept: &Kept| {
            let own = kept.subscriber.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(subscriber))
        };
        let sessions = self.by_hash.iter().filter(|kept| is_own(kept));
        let hashes = sessions.map(|kept| kept.key().clone()).collect();
        self.end(hashes)?;
        self.passwords.remove(subscriber).map(|_| ())
    }

    fn end(&self, hashes: Vec<String>) -> Result<(), StoreError> {
        let there: Vec<String> = hashes
            .into_iter()
            .filter(|hash| self.by_hash.remove(hash).is_some())
            .collect();
        let batch: Vec<Write> = there.iter().map(|hash| forgotten(hash)).collect();
        match batch.is_empty() {
            true => Ok(()),
            false => self.store.write(&batch),
        }
    }

    /// The sessions that time has ended, looked for now and then.
    fn over(&self, now_s: i64) -> Vec<String> {
        let swept_s = self.swept_s.load(Relaxed);
        if now_s.saturating_sub(swept_s) < SWEPT_EVERY_S {
            return Vec::new();
        }
        self.swept_s.store(now_s, Relaxed);
        let over = self.by_hash.iter().filter(|kept| now_s >= kept.ends_s());
        over.map(|kept| kept.key().clone()).collect()
    }
}

/// Whether what opened a session still opens one.
fn is_in_force(state: &ApiState, caller: &Caller, proof: &Proof) -> bool {
    match (proof, caller) {
        (Proof::AdminToken(_), Caller::Administrator) => state
            .admin_token()
            .is_some_and(|hash| admin_proof(&hash) == *proof),
        (Proof::Token(id), Caller::Subscriber(own)) => state.tokens().is_of(id, own),
        (Proof::Provider(_), Caller::Subscriber(_)) => {
            state.oidc().is_some_and(|oidc| oidc.proof() == *proof)
        }
        (Proof::PagePassword(_) | Proof::PhonePassword(_), _) if !state.allows_passwords() => false,
        (Proof::PagePassword(_), Caller::Subscriber(own)) => {
            let kept = state.sessions().passwords.of(own);
            kept.is_some_and(|kept| page_proof(&kept) == *proof)
        }
        (Proof::PhonePassword(_), Caller::Subscriber(own)) => {
            state.sessions().passwords.of(own).is_none()
                && phone_proof(state, own).is_some_and(|current| current == *proof)
        }
        _ => false,
    }
}

/// What a session rests on that the administrator's token opened.
pub(super) fn admin_proof(token: &SecretHash) -> Proof {
    Proof::AdminToken(fingerprint(token.to_hex().as_bytes()))
}

/// What a session rests on that the page's password opened.
pub(super) fn page_proof(kept: &str) -> Proof {
    Proof::PagePassword(fingerprint(kept.as_bytes()))
}

/// What a session rests on that the phones' password opened; `None` where there is none.
pub(super) fn phone_proof(state: &ApiState, id: &str) -> Option<Proof> {
    let profile = state.directory().get(id)?;
    let credentials = profile.credentials()?;
    let realm = credentials.realm();
    let digest = credentials.digest(profile.id().as_bytes(), realm, Algorithm::Sha256)?;
    Some(Proof::PhonePassword(fingerprint(digest.as_bytes())))
}

fn fingerprint(of: &[u8]) -> String {
    hex(&Sha256::digest(of))
}

fn written(hash: &str, kept: &Kept) -> Write {
    Write::Put {
        key: format!("{KEY_PREFIX}{hash}"),
        value: serde_json::to_vec(kept).unwrap_or_default(),
    }
}

fn forgotten(hash: &str) -> Write {
    Write::Delete {
        key: format!("{KEY_PREFIX}{hash}"),
    }
}
