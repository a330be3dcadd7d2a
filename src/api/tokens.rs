//! The tokens with which subscribers use the API: kept as hashes, shown once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dashmap::DashMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Caller, SecretHash, hex};
use super::extract::{Body, Path};
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::{Refusals, require_keys};
use crate::store::{Store, StoreError, Write};

/// Tokens stand in the store under keys that no subscriber's id can be.
pub const KEY_PREFIX: &str = "token:";
/// What every token begins with, so that people and scanners recognise it.
const MARK: &str = "pms";
/// How many tokens one subscriber may have.
const TOKENS_PER_SUBSCRIBER: usize = 32;
/// The longest label, in bytes.
const LABEL_LIMIT_BYTES: usize = 100;

/// Every token that is valid.
pub struct Tokens {
    by_id: DashMap<String, Kept>,
    store: Arc<dyn Store>,
}

/// A token as the store keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    subscriber: String,
    hash: String,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

/// A token as it is listed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenEntry {
    /// Names the token, to delete it.
    pub id: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was made (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A new token: the only time it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NewToken {
    /// Sent as `Authorization: Bearer <token>`.
    pub token: String,
    /// What is listed of it from now on.
    #[serde(flatten)]
    pub entry: TokenEntry,
}

/// What a new token is for.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct TokenWish {
    /// At most 100 bytes.
    pub label: Option<String>,
}

/// A subscriber's tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenList {
    /// In the order in which they were made.
    pub tokens: Vec<TokenEntry>,
}

impl Tokens {
    /// Reads the tokens that the store keeps.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let by_id = DashMap::new();
        store.load_under(KEY_PREFIX, &mut |key, value| {
            let Some(id) = key.strip_prefix(KEY_PREFIX) else {
                return;
            };
            match serde_json::from_slice::<Kept>(value) {
                Ok(kept) => {
                    by_id.insert(id.to_owned(), kept);
                }
                Err(error) => tracing::error!(%id, %error, "a token in the store is unreadable"),
            }
        })?;
        Ok(Self { by_id, store })
    }

    /// Whose token it is.
    pub fn owner(&self, token: &str) -> Option<String> {
        self.known(token).map(|(_, owner)| owner)
    }

    /// The id of a token and whose it is.
    pub(super) fn known(&self, token: &str) -> Option<(String, String)> {
        let (id, secret) = token
            .strip_prefix(MARK)?
            .strip_prefix('_')?
            .split_once('_')?;
        let kept = self.by_id.get(id)?;
        let hash = SecretHash::from_hex(&kept.hash)?;
        hash.admits(secret)
            .then(|| (id.to_owned(), kept.subscriber.clone()))
    }

    /// Whether there is a token of that id, and that subscriber's.
    pub(super) fn is_of(&self, id: &str, subscriber: &str) -> bool {
        let kept = self.by_id.get(id);
        kept.is_some_and(|kept| kept.subscriber.eq_ignore_ascii_case(subscriber))
    }

    /// A subscriber's tokens, in the order in which they were made.
    pub fn of(&self, subscriber: &str) -> Vec<TokenEntry> {
        let mut tokens: Vec<TokenEntry> = self
            .by_id
            .iter()
            .filter(|kept| kept.subscriber.eq_ignore_ascii_case(subscriber))
            .map(|kept| entry(kept.key(), &kept))
            .collect();
        tokens.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        tokens
    }

    /// Keeps a new token made of `random`; it is on disk on return.
    fn create(&self, kept: Kept, id: String) -> Result<TokenEntry, StoreError> {
        let value = serde_json::to_vec(&kept).unwrap_or_default();
        self.store.write(&[Write::Put {
            key: format!("{KEY_PREFIX}{id}"),
            value,
        }])?;
        let entry = entry(&id, &kept);
        self.by_id.insert(id, kept);
        Ok(entry)
    }

    /// Forgets tokens; they are invalid at once and gone from the disk on return.
    fn delete(&self, ids: &[String]) -> Result<(), StoreError> {
        let deletes: Vec<Write> = ids
            .iter()
            .map(|id| Write::Delete {
                key: format!("{KEY_PREFIX}{id}"),
            })
            .collect();
        for id in ids {
            self.by_id.remove(id);
        }
        if deletes.is_empty() {
            return Ok(());
        }
        self.store.write(&deletes)
    }

    /// Forgets every token of a subscriber who is deleted.
    ///
    /// # Errors
    /// The store refused; the tokens are invalid until the next start.
    pub fn delete_all_of(&self, subscriber: &str) -> Result<(), StoreError> {
        let ids: Vec<String> = self.of(subscriber).into_iter().map(|t| t.id).collect();
        self.delete(&ids)
    }
}

fn entry(id: &str, kept: &Kept) -> TokenEntry {
    TokenEntry {
        id: id.to_owned(),
        label: kept.label.clone(),
        created_at: kept.created_at,
    }
}

/// Make a token for a subscriber
///
/// The token is in this answer and nowhere else: the server keeps a hash.
#[utoipa::path(
    post, path = "/subscribers/{id}/tokens", tag = "tokens",
    params(("id" = String, Path, description = "Id of the subscriber")),
    request_body = TokenWish,
    responses((status = 201, body = NewToken), Refusals)
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<(StatusCode, Json<NewToken>), Failure> {
    caller.administers()?;
    let subscriber = state
        .directory()
        .get(&id)
        .ok_or_else(|| Failure::no_subscriber(&id))?
        .id()
        .to_owned();
    let label = read_label(&body)?;
    if state.tokens().of(&subscriber).len() >= TOKENS_PER_SUBSCRIBER {
        return Err(Failure::new(
            Kind::Conflict,
            format!("{subscriber} has {TOKENS_PER_SUBSCRIBER} tokens; delete one first"),
        ));
    }
    let mut random = [0; 40];
    let drawn = state.host().random(&mut random);
    drawn.map_err(|error| Failure::new(Kind::Internal, error))?;
    let (id, secret) = random.split_at(8);
    let (id, secret) = (hex(id), hex(secret));
    let token = format!("{MARK}_{id}_{secret}");
    let kept = Kept {
        subscriber,
        hash: SecretHash::of(&secret).to_hex(),
        created_at: state.now(),
        label,
    };
    let entry = state
        .blocking(move |state| state.tokens().create(kept, id))
        .await?
        .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    Ok((StatusCode::CREATED, Json(NewToken { token, entry })))
}

/// List a subscriber's tokens, without their secrets
#[utoipa::path(
    get, path = "/subscribers/{id}/tokens", tag = "tokens",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = TokenList), Refusals)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TokenList>, Failure> {
    caller.administers()?;
    let subscriber = state.directory().get(&id);
    let subscriber = subscriber.ok_or_else(|| Failure::no_subscriber(&id))?;
    let tokens = state.tokens().of(subscriber.id());
    Ok(Json(TokenList { tokens }))
}

/// Delete a token
///
/// Whoever holds it is shut out at once.
#[utoipa::path(
    delete, path = "/subscribers/{id}/tokens/{token}", tag = "tokens",
    params(
        ("id" = String, Path, description = "Id of the subscriber"),
        ("token" = String, Path, description = "Id of the token, as it is listed"),
    ),
    responses((status = 204, description = "It is deleted"), Refusals)
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, token)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    caller.administers()?;
    if !state.tokens().of(&id).iter().any(|entry| entry.id == token) {
        return Err(Failure::new(
            Kind::NotFound,
            format!("`{id}` has no token `{token}`"),
        ));
    }
    state
        .blocking(move |state| state.tokens().delete(&[token]))
        .await?
        .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_label(body: &serde_json::Value) -> Result<Option<String>, Failure> {
    let map = require_keys(body, &["label"])?;
    match map.get("label") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(label)) if label.len() <= LABEL_LIMIT_BYTES => {
            Ok(Some(label.clone()))
        }
        Some(_) => Err(Failure::field(
            Kind::Invalid,
            "label",
            format!("must be a text of at most {LABEL_LIMIT_BYTES} bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    fn tokens() -> (Tokens, Memory) {
        let store = Memory::new([1; 32]);
        (Tokens::load(Arc::new(store.clone())).unwrap(), store)
    }

    fn keep(tokens: &Tokens, id: &str, secret: &str, subscriber: &str) {
        let kept = Kept {
            subscriber: subscriber.into(),
            hash: SecretHash::of(secret).to_hex(),
            created_at: Timestamp::UNIX_EPOCH,
            label: None,
        };
        tokens.create(kept, id.into()).unwrap();
    }

    #[test]
    fn a_token_names_its_owner_until_it_is_deleted() {
        let (tokens, _) = tokens();
        keep(&tokens, "0a", "s1", "anna");
        assert_eq!(tokens.owner("pms_0a_s1").as_deref(), Some("anna"));
        for bad in [
            "pms_0a_s2",
            "pms_0b_s1",
            "pms_0a_",
            "0a_s1",
            "",
            "pms_0a_s1_",
        ] {
            assert_eq!(tokens.owner(bad), None, "{bad}");
        }
        tokens.delete(&["0a".into()]).unwrap();
        assert_eq!(tokens.owner("pms_0a_s1"), None);
    }

    #[test]
    fn tokens_survive_a_restart_as_hashes() {
        let (tokens, store) = tokens();
        keep(&tokens, "0a", "secret", "anna");
        store
            .load(&mut |key, value| {
                assert_eq!(key, "token:0a");
                assert!(!String::from_utf8_lossy(value).contains("secret"));
            })
            .unwrap();
        let again = Tokens::load(Arc::new(store)).unwrap();
        assert_eq!(again.owner("pms_0a_secret").as_deref(), Some("anna"));
    }

    #[test]
    fn a_deleted_subscriber_leaves_no_tokens() {
        let (tokens, store) = tokens();
        keep(&tokens, "0a", "x", "anna");
        keep(&tokens, "0b", "y", "Anna");
        keep(&tokens, "0c", "z", "bob");
        tokens.delete_all_of("anna").unwrap();
        assert_eq!(tokens.owner("pms_0a_x"), None);
        let again = Tokens::load(Arc::new(store)).unwrap();
        assert_eq!(again.of("anna").len(), 0);
        assert_eq!(again.of("bob").len(), 1);
    }
}
