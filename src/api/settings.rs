//! What happens to a subscriber's calls in each status: read, replace, unset.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::changes;
use super::document::find;
use super::extract::{Body, Path, if_match};
use super::language::Speech;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::subscribers::etag;
use crate::presence::{Settings, StatusSettings};

/// The settings of every status after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedSettings {
    /// What is set now.
    pub settings: Settings,
    /// What is odd about them, such as forwardings that close a loop.
    pub warnings: Vec<String>,
}

/// The settings of one status after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedPart {
    /// What is set now.
    pub settings: StatusSettings,
    /// What is odd about the subscriber's settings, such as forwardings that close a loop.
    pub warnings: Vec<String>,
}

/// Read the settings of every status
#[utoipa::path(
    get, path = "/subscribers/{id}/settings", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = Settings, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn read_all(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    Ok((etag(profile.version()), Json(profile.settings())).into_response())
}

/// Replace the settings of every status
#[utoipa::path(
    put, path = "/subscribers/{id}/settings", tag = "settings", request_body = Settings,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = ChangedSettings, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace_all(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: (HeaderMap, Speech),
    Body(body): Body,
) -> Result<Response, Failure> {
    let settings = Settings::from_json(&body)?;
    change_all(&state, &caller, &id, asked, settings).await
}

/// Unset everything
#[utoipa::path(
    delete, path = "/subscribers/{id}/settings", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = ChangedSettings, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn delete_all(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: (HeaderMap, Speech),
) -> Result<Response, Failure> {
    change_all(&state, &caller, &id, asked, Settings::default()).await
}

async fn change_all(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    (headers, speech): (HeaderMap, Speech),
    settings: Settings,
) -> Result<Response, Failure> {
    caller.owns(id)?;
    let expected = if_match(&headers)?;
    let written = changes::set_settings(state, id, settings, expected).await?;
    let profile = &written.profile;
    let document = ChangedSettings {
        settings: profile.settings(),
        warnings: written.warnings(state, speech.of(profile)),
    };
    Ok((etag(profile.version()), Json(document)).into_response())
}

/// Read the settings of one status
#[utoipa::path(
    get, path = "/subscribers/{id}/settings/{status}", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("status" = String, Path, description = "A status, an own one too, or `all` for what each inherits")),
    responses((status = 200, body = StatusSettings, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, status)): Path<(String, String)>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    let part = profile.settings().part(&status);
    if part.is_empty() {
        require_part(&state, &status)?;
    }
    Ok((etag(profile.version()), Json(part)).into_response())
}

/// Replace the settings of one status
#[utoipa::path(
    put, path = "/subscribers/{id}/settings/{status}", tag = "settings",
    request_body = StatusSettings,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("status" = String, Path, description = "A status, an own one too, or `all` for what each inherits"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = ChangedPart, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, status)): Path<(String, String)>,
    asked: (HeaderMap, Speech),
    Body(body): Body,
) -> Result<Response, Failure> {
    let part = StatusSettings::from_json(&body)?;
    change(&state, &caller, (id, status), asked, part).await
}

/// Unset everything of one status
#[utoipa::path(
    delete, path = "/subscribers/{id}/settings/{status}", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("status" = String, Path, description = "A status, an own one too, or `all` for what each inherits"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = ChangedPart, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, status)): Path<(String, String)>,
    asked: (HeaderMap, Speech),
) -> Result<Response, Failure> {
    let part = StatusSettings::default();
    change(&state, &caller, (id, status), asked, part).await
}

async fn change(
    state: &ApiState,
    caller: &Caller,
    (id, status): (String, String),
    (headers, speech): (HeaderMap, Speech),
    part: StatusSettings,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let expected = if_match(&headers)?;
    if find(state, &id)?.settings().part(&status).is_empty() {
        require_part(state, &status)?;
    }
    let written = changes::set_part(state, &id, &status, part, expected).await?;
    let profile = &written.profile;
    let document = ChangedPart {
        settings: profile.settings().part(&status),
        warnings: written.warnings(state, speech.of(profile)),
    };
    Ok((etag(profile.version()), Json(document)).into_response())
}

fn require_part(state: &ApiState, name: &str) -> Result<(), Failure> {
    let statuses = &state.roster().house().statuses;
    if Settings::PARTS.contains(&name) || statuses.get(name).is_some() {
        return Ok(());
    }
    let own = statuses.0.iter().map(|own| own.name.id());
    let known: Vec<&str> = Settings::PARTS.into_iter().chain(own).collect();
    let text = format!(
        "there are no settings for `{name}`; use {}",
        known.join(", ")
    );
    Err(Failure::new(Kind::NotFound, text))
}
