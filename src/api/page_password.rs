//! The passwords with which subscribers sign in at the page: kept as Argon2id hashes only.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use dashmap::DashMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Caller, Origin, Via};
use super::document::find;
use super::extract::{Body, Path};
use super::problem::{Failure, Kind};
use super::session;
use super::sessions::{Proof, page_proof, phone_proof};
use super::state::ApiState;
use super::{Refusals, require_keys};
use crate::auth::{Algorithm, Password};
use crate::store::{Store, StoreError, Write};

/// Passwords stand in the store under keys that no subscriber's id can be.
const KEY_PREFIX: &str = "page-password:";
/// Shorter ones are guessed.
const SHORTEST_CHARACTERS: usize = 8;
const SALT_BYTES: usize = 16;
/// How long a sign-in waits for those before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hash of each subscriber who has a password for the page.
pub(super) struct PagePasswords {
    by_id: DashMap<String, Kept>,
    store: Arc<dyn Store>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// In the PHC string format, with its salt and cost.
    hash: String,
    changed_at: Timestamp,
}

/// A password for the page.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PagePasswordWish {
    /// The new one: at least 8 characters, at most 256 bytes.
    pub password: String,
    /// The one in force, where subscribers change their own: that of the page, or of their phones
    /// where they have none for the page.
    pub old: Option<String>,
}

/// Whether there is a password for the page.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PagePasswordState {
    /// Whether one is set; without one, that of the phones opens the page.
    pub is_set: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub changed_at: Option<Timestamp>,
}

impl PagePasswords {
    pub(super) fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let by_id = DashMap::new();
        store.load_under(KEY_PREFIX, &mut |key, value| {
            let Some(id) = key.strip_prefix(KEY_PREFIX) else {
                return;
            };
            match serde_json::from_slice::<Kept>(value) {
                Ok(kept) => {
                    by_id.insert(id.to_owned(), kept);
                }
                Err(error) => tracing::error!(%id, %error, "a page's password is unreadable"),
            }
        })?;
        Ok(Self { by_id, store })
    }

    /// The hash of a subscriber's password.
    pub(super) fn of(&self, id: &str) -> Option<String> {
        let kept = self.by_id.get(&id.to_ascii_lowercase())?;
        Some(kept.hash.clone())
    }

    fn state(&self, id: &str) -> PagePasswordState {
        let kept = self.by_id.get(&id.to_ascii_lowercase());
        PagePasswordState {
            is_set: kept.is_some(),
            changed_at: kept.map(|kept| kept.changed_at),
        }
    }

    /// Keeps a hash; it is on disk on return.
    fn put(&self, id: &str, kept: Kept) -> Result<(), StoreError> {
        let id = id.to_ascii_lowercase();
        self.store.write(&[Write::Put {
            key: format!("{KEY_PREFIX}{id}"),
            value: serde_json::to_vec(&kept).unwrap_or_default(),
        }])?;
        self.by_id.insert(id, kept);
        Ok(())
    }

    /// Forgets a subscriber's password; whether there was one.
    pub(super) fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_ascii_lowercase();
        if !self.by_id.contains_key(&id) {
            return Ok(false);
        }
        let key = format!("{KEY_PREFIX}{id}");
        self.store.write(&[Write::Delete { key }])?;
        Ok(self.by_id.remove(&id).is_some())
    }
}

/// Whose password it is, and what the session rests on. Takes as long for those nobody knows.
///
/// # Errors
/// Too many are waiting for the same.
pub(super) async fn check(
    state: &ApiState,
    id: &str,
    password: &str,
) -> Result<Option<(String, Proof)>, Failure> {
    let seat = tokio::time::timeout(PATIENCE, state.sessions().checks.acquire()).await;
    let Ok(Ok(_seat)) = seat else {
        let text = "too many passwords are being checked; try again in a moment";
        return Err(Failure::new(Kind::Unavailable, text));
    };
    let (id, password) = (id.to_owned(), password.to_owned());
    state
        .blocking(move |state| check_now(state, &id, &password))
        .await
}

fn check_now(state: &ApiState, id: &str, password: &str) -> Option<(String, Proof)> {
    let profile = state.directory().get(id);
    let of_page = profile
        .as_ref()
        .and_then(|p| state.sessions().passwords.of(p.id()));
    let stands_for_nobody = || nobodys_hash().to_owned();
    let hash = of_page.clone().unwrap_or_else(stands_for_nobody);
    let is_of_page = admits(&hash, password) && of_page.is_some();
    let credentials = profile.as_ref().and_then(|profile| profile.credentials());
    let realm = credentials.map_or("", |credentials| credentials.realm());
    let name = profile
        .as_ref()
        .map_or(id, |profile| profile.id())
        .as_bytes();
    let given = Algorithm::Sha256.hash(&[name, realm.as_bytes(), password.as_bytes()]);
    let kept = credentials.and_then(|kept| kept.digest(name, realm, Algorithm::Sha256));
    let is_of_phones = kept.is_some_and(|kept| kept == given) && of_page.is_none();
    let id = profile.as_ref()?.id().to_owned();
    let proof = match (is_of_page, is_of_phones) {
        (true, _) => of_page.as_deref().map(page_proof),
        (false, true) => phone_proof(state, &id),
        (false, false) => None,
    };
    proof.map(|proof| (id, proof))
}

fn admits(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|kept| {
        Argon2::default()
            .verify_password(password.as_bytes(), &kept)
            .is_ok()
    })
}

fn hash_of(password: &str, salt: &[u8]) -> Option<String> {
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), salt);
    hash.ok().map(|hash: PasswordHash| hash.to_string())
}

/// What the password of somebody unknown is compared with.
fn nobodys_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash_of("", &[0; SALT_BYTES]).unwrap_or_default())
}

/// Tell whether there is a password for the page
#[utoipa::path(
    get, path = "/subscribers/{id}/page-password", tag = "session",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = PagePasswordState), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<PagePasswordState>, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    Ok(Json(state.sessions().passwords.state(profile.id())))
}

/// Set the password for the page
///
/// Only its Argon2id hash is kept. Every session that the old one opened is over; who changes it at
/// the page gets a new one.
#[utoipa::path(
    put, path = "/subscribers/{id}/page-password", tag = "session",
    request_body = PagePasswordWish,
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = PagePasswordState),
              (status = 429, description = "The old one was wrong too often",
               body = super::problem::ProblemDetails, content_type = "application/problem+json"),
              Refusals)
)]
pub(super) async fn set(
    State(state): State<ApiState>,
    (caller, origin): (Caller, Origin),
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let id = find(&state, &id)?.id().to_owned();
    let (password, old) = wish(&body)?;
    if caller != Caller::Administrator
        && let Err(refusal) = require_old(&state, &origin, &id, old.as_deref()).await?
    {
        return Ok(refusal);
    }
    let mut salt = [0; SALT_BYTES];
    let drawn = state.host().random(&mut salt);
    drawn.map_err(|error| Failure::new(Kind::Internal, error))?;
    let owner = id.clone();
    let changed_at = state.now();
    let kept = state
        .blocking(move |state| {
            let hash = hash_of(&password, &salt).ok_or_else(no_hash)?;
            let proof = page_proof(&hash);
            let kept = Kept { hash, changed_at };
            let put = state.sessions().passwords.put(&owner, kept);
            put.map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
            Ok::<_, Failure>(proof)
        })
        .await??;
    tracing::info!(subscriber = %id, "the page's password was set");
    let document = Json(state.sessions().passwords.state(&id));
    let is_at_page = origin.via == Via::Page && caller != Caller::Administrator;
    match is_at_page {
        true => {
            let cookie = session::opened(&state, &headers, &origin, caller, kept).await?;
            Ok((cookie, document).into_response())
        }
        false => Ok(document.into_response()),
    }
}

/// Remove the password for the page
///
/// That of the phones opens the page from then on.
#[utoipa::path(
    delete, path = "/subscribers/{id}/page-password", tag = "session",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 204, description = "There is none"), Refusals)
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    caller.administers()?;
    let id = find(&state, &id)?.id().to_owned();
    state
        .blocking(move |state| state.sessions().passwords.remove(&id))
        .await?
        .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Passes who knows the password in force, and who has none yet.
async fn require_old(
    state: &ApiState,
    origin: &Origin,
    id: &str,
    old: Option<&str>,
) -> Result<Result<(), Response>, Failure> {
    let has_one = state.sessions().passwords.of(id).is_some() || phone_proof(state, id).is_some();
    if !has_one {
        return Ok(Ok(()));
    }
    let attempt = state
        .sessions()
        .throttle
        .attempt(origin.source, id, state.now_s());
    let attempt = match attempt {
        Ok(attempt) => attempt,
        Err(wait_s) => return Ok(Err(session::too_many(wait_s))),
    };
    match check(state, id, old.unwrap_or_default()).await? {
        Some(_) => {
            state.sessions().throttle.forgive(attempt);
            Ok(Ok(()))
        }
        None => {
            let text = "is not the password in force";
            Err(Failure::field(Kind::Forbidden, "old", text))
        }
    }
}

fn wish(body: &serde_json::Value) -> Result<(String, Option<String>), Failure> {
    let map = require_keys(body, &["password", "old"])?;
    let text = |key: &str| map.get(key).and_then(serde_json::Value::as_str);
    let wrong = |text: String| Failure::field(Kind::Invalid, "password", text);
    let password = text("password").ok_or_else(|| wrong("must be a text".to_owned()))?;
    Password::new(password).map_err(wrong)?;
    if password.chars().count() < SHORTEST_CHARACTERS {
        let text = format!("must have at least {SHORTEST_CHARACTERS} characters");
        return Err(wrong(text));
    }
    Ok((password.to_owned(), text("old").map(str::to_owned)))
}

fn no_hash() -> Failure {
    Failure::new(Kind::Internal, "the password could not be hashed")
}
