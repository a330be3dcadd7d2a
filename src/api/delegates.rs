//! Who may order a person's status: read, replace; and whose status one may order oneself.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::changes;
use super::colleagues::Viewer;
use super::document::find;
use super::extract::{Body, Path, if_match};
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::subscribers::etag;
use super::{Refusals, require_keys};
use crate::presence::{Level, Problem, Problems, Profile};

/// How many people are named who made somebody their delegate.
const NAMED_LIMIT: usize = 1_000;

/// Who orders whose status.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DelegatesDocument {
    /// Colleagues who may order the subscriber's status, by their ids.
    pub delegates: Vec<String>,
    /// Whose status the subscriber may order, at most 1,000.
    #[schema(read_only, required = false)]
    pub delegate_of: Vec<Delegator>,
}

/// Somebody who made the subscriber a delegate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Delegator {
    /// Who.
    pub id: String,
    /// The name for people.
    pub display_name: String,
}

/// Who may order the status from now on.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DelegatesWish {
    /// Ids of colleagues, at most 16.
    pub delegates: Vec<String>,
}

/// Read who may order the status
#[utoipa::path(
    get, path = "/subscribers/{id}/delegates", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = DelegatesDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    shown(&state, profile.version(), profile.id().to_owned()).await
}

/// Replace who may order the status
///
/// Delegates order a status with `PUT …/override`; it goes before what the subscriber chooses, who
/// sees who ordered it.
#[utoipa::path(
    put, path = "/subscribers/{id}/delegates", tag = "status", request_body = DelegatesWish,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = DelegatesDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    // An answer of this API can be edited and put back.
    let map = require_keys(&body, &["delegates", "delegate_of"])?;
    let wish = serde_json::json!({"delegates": map.get("delegates")});
    let wish = DelegatesWish::deserialize(wish).map_err(|_| {
        let text = "must be a list of ids, as [\"bob\"]";
        Failure::field(Kind::Invalid, "delegates", text)
    })?;
    let profile = find(&state, &id)?;
    let delegates = named(&state, &caller, &profile, &wish.delegates)?;
    let expected = if_match(&headers)?;
    let written = changes::adjust(&state, &id, expected, |subscriber| {
        subscriber.delegates.clone_from(&delegates);
    });
    let profile = written.await?.profile;
    shown(&state, profile.version(), profile.id().to_owned()).await
}

/// The ids as they are written, each once.
///
/// # Errors
/// Nobody is of an id, or nobody whom the caller may see; somebody is their own delegate.
fn named(
    state: &ApiState,
    caller: &Caller,
    own: &Profile,
    wished: &[String],
) -> Result<Vec<String>, Failure> {
    let viewer = Viewer::of(state, caller);
    let mut problems = Vec::new();
    let mut delegates: Vec<String> = Vec::with_capacity(wished.len());
    for (position, id) in wished.iter().enumerate().take(own.delegates().len() + 64) {
        let mut problem = |text: String| {
            problems.push(Problem::new(format!("delegates.{position}"), text));
        };
        let is_known = own.delegates().iter().any(|d| d.eq_ignore_ascii_case(id));
        let found = state.directory().get(id.trim());
        let found = found.filter(|one| is_known || viewer.level(state, one) > Level::None);
        match found {
            None => problem(format!("there is no subscriber `{}`", id.trim())),
            Some(one) if one.id().eq_ignore_ascii_case(own.id()) => {
                problem("nobody is their own delegate".to_owned());
            }
            Some(one) if delegates.iter().any(|other| other == one.id()) => {}
            Some(one) => delegates.push(one.id().to_owned()),
        }
    }
    match problems.is_empty() {
        true => Ok(delegates),
        false => Err(Problems(problems).into()),
    }
}

async fn shown(state: &ApiState, version: u64, id: String) -> Result<Response, Failure> {
    let document = state
        .blocking(move |state| DelegatesDocument::of(state, &id))
        .await?;
    Ok((etag(version), Json(document)).into_response())
}

impl DelegatesDocument {
    /// Looks at every subscriber. Who is gone is not named.
    fn of(state: &ApiState, id: &str) -> Self {
        let directory = state.directory();
        let own = directory.get(id);
        let delegates = own.iter().flat_map(|own| own.delegates());
        let is_delegate =
            |one: &Profile| one.delegates().iter().any(|d| d.eq_ignore_ascii_case(id));
        let mut delegate_of: Vec<Delegator> = directory
            .profiles()
            .filter(|one| is_delegate(one))
            .take(NAMED_LIMIT)
            .map(|one| Delegator {
                id: one.id().to_owned(),
                display_name: one.display_name().to_owned(),
            })
            .collect();
        delegate_of.sort_by(|a, b| a.id.cmp(&b.id));
        Self {
            delegates: delegates
                .filter(|id| directory.get(id).is_some())
                .cloned()
                .collect(),
            delegate_of,
        }
    }
}
