//! Which phones a subscriber has registered (RFC 3261 §10).

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::extract::{Path, Query};
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::{Refusals, list};
use crate::proxy::ConnectionId;
use crate::registrar::{Binding, Bindings};

/// How many bindings are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BindingQuery {
    /// At most so many, 1 to 1,000; 100 without it
    limit: Option<usize>,
}

/// Bindings of all subscribers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllBindings {
    /// At most as many as were asked for, in no order that matters.
    pub bindings: Vec<BindingDocument>,
    /// How many there are, those that have just ended included.
    pub total: usize,
}

/// The bindings of one subscriber.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BindingList {
    /// In the order in which they were made.
    pub bindings: Vec<BindingDocument>,
}

/// One phone that is registered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BindingDocument {
    /// Names it while it exists.
    pub id: String,
    /// Whose it is.
    pub subscriber: String,
    /// Its Contact.
    pub contact: String,
    /// Its preference, 0 to 1.
    pub q: f64,
    /// When it ends unless it is refreshed.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Seconds until then.
    pub expires_s: i64,
    /// When it was registered or refreshed.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Timestamp,
    /// Whether a call can reach it now, as far as its connection tells.
    pub is_reachable: bool,
    /// `address`: its Contact or path is used; `flow`: the way it registered, and no other;
    /// `flow_first`: that way while it is open.
    pub reached_by: &'static str,
    /// By what it registered, where that way is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    /// Where it registered from, where that way is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<SocketAddr>,
    /// The proxies between it and us (RFC 3327).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Which device it is (RFC 5626).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Which of the device's flows it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reg_id: Option<u32>,
    /// What it calls itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// The Call-ID it registers with.
    pub call_id: String,
    /// The number of its last REGISTER.
    pub cseq: u32,
}

/// List the phones that are registered
#[utoipa::path(
    get, path = "/bindings", tag = "subscribers", params(BindingQuery),
    responses((status = 200, body = AllBindings), Refusals)
)]
pub(super) async fn list_all(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<BindingQuery>,
) -> Result<Json<AllBindings>, Failure> {
    caller.administers()?;
    let limit = list::limit(query.limit)?;
    let answer = state.blocking(move |state| {
        let locations = &state.shared().locations;
        let mut bindings = Vec::new();
        for of_one in locations.all() {
            bindings.extend(documents(state, &of_one));
            if bindings.len() >= limit {
                break;
            }
        }
        bindings.truncate(limit);
        AllBindings {
            bindings,
            total: locations.len(),
        }
    });
    Ok(Json(answer.await?))
}

/// List the phones that a subscriber has registered
#[utoipa::path(
    get, path = "/subscribers/{id}/bindings", tag = "subscribers",
    params(("id" = String, Path, description = "Id of the subscriber, in any case")),
    responses((status = 200, body = BindingList), Refusals)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BindingList>, Failure> {
    caller.owns(&id)?;
    let callee = state.directory().handle_of_id(&id);
    callee.ok_or_else(|| Failure::no_subscriber(&id))?;
    Ok(Json(BindingList {
        bindings: bindings_of(&state, &id),
    }))
}

/// Remove every binding of a subscriber
///
/// Nobody tells the phones: they are not called until they register again.
#[utoipa::path(
    delete, path = "/subscribers/{id}/bindings", tag = "subscribers",
    params(("id" = String, Path, description = "Id of the subscriber, in any case")),
    responses((status = 204, description = "None is left"), Refusals)
)]
pub(super) async fn delete_all(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    caller.owns(&id)?;
    remove(&state, &id, None)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove one binding of a subscriber
#[utoipa::path(
    delete, path = "/subscribers/{id}/bindings/{binding}", tag = "subscribers",
    params(
        ("id" = String, Path, description = "Id of the subscriber, in any case"),
        ("binding" = String, Path, description = "Id of the binding, as it is listed"),
    ),
    responses((status = 204, description = "It is removed"), Refusals)
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, binding)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    caller.owns(&id)?;
    let unknown = || {
        let text = format!("`{id}` has no binding `{binding}`");
        Failure::new(Kind::NotFound, text)
    };
    let slot: u32 = binding.parse().map_err(|_| unknown())?;
    match remove(&state, &id, Some(slot))? {
        0 => Err(unknown()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// The phones that a subscriber has registered.
pub(super) fn bindings_of(state: &ApiState, id: &str) -> Vec<BindingDocument> {
    let callee = state.directory().handle_of_id(id);
    let bindings = callee.and_then(|callee| state.shared().locations.of(callee, id));
    bindings.map_or_else(Vec::new, |bindings| documents(state, &bindings))
}

fn documents(state: &ApiState, bindings: &Bindings) -> Vec<BindingDocument> {
    let now_unix_ms = state.now().as_millisecond();
    let current = bindings.list.iter().filter(|b| !b.is_expired(now_unix_ms));
    let document = |binding| BindingDocument::of(state, &bindings.id, binding, now_unix_ms);
    current.map(document).collect()
}

fn remove(state: &ApiState, id: &str, slot: Option<u32>) -> Result<usize, Failure> {
    let callee = state.directory().handle_of_id(id);
    let callee = callee.ok_or_else(|| Failure::no_subscriber(id))?;
    let removed = state.shared().locations.remove(callee, id, slot);
    removed.map_err(|_| Failure::new(Kind::Storage, "nothing was changed: the store refused"))
}

impl BindingDocument {
    fn of(state: &ApiState, id: &str, binding: &Binding, now_unix_ms: i64) -> Self {
        use crate::registrar::Reach::{Only, Preferred, Resolved};
        let texts = binding.texts();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let at = |unix_ms| Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::MAX);
        let flows = &state.shared().flows;
        let is_open = |id| flows.get(ConnectionId(id)).is_some();
        let flow = binding.reach.flow();
        Self {
            id: binding.slot.to_string(),
            subscriber: id.to_owned(),
            contact: text(texts.uri),
            q: f64::from(binding.q_thousandths) / 1_000.0,
            expires_at: at(binding.expires_unix_ms),
            expires_s: binding.expires_s(now_unix_ms),
            registered_at: at(binding.registered_unix_ms),
            is_reachable: binding.is_reachable(is_open),
            reached_by: match binding.reach {
                Resolved => "address",
                Preferred(_) => "flow_first",
                Only(_) => "flow",
            },
            transport: flow.map(|flow| flow.transport.param()),
            source: flow.map(|flow| flow.peer),
            path: text(texts.path),
            instance: text(binding.instance()),
            reg_id: (binding.reg_id > 0).then_some(binding.reg_id),
            user_agent: text(texts.agent),
            call_id: text(texts.call_id),
            cseq: binding.cseq,
        }
    }
}
