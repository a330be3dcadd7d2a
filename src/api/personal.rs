//! What a person sets about themselves whatever the status: what colleagues see, and calendars.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::changes;
use super::document::find;
use super::extract::{Body, Path, if_match, read_as};
use super::problem::Failure;
use super::state::ApiState;
use super::subscribers::etag;
use crate::presence::{Problem, Problems, Profile, Visibility};

/// What colleagues see of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VisibilityDocument {
    /// What the person wants; what is left out is as configured.
    pub own: Visibility,
    /// What is configured, and at most shown.
    pub configured: Visibility,
    /// The teams the person belongs to.
    pub teams: Vec<String>,
}

/// The calendars that tell of a person.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarsDocument {
    /// `https` URLs of iCalendar feeds, at most 4; for the administrator also files of the server.
    pub calendars: Vec<String>,
}

/// Read what colleagues see
#[utoipa::path(
    get, path = "/subscribers/{id}/visibility", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = VisibilityDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn visibility(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    Ok(seen(&state, &*find(&state, &id)?))
}

/// Replace what colleagues see
///
/// A person can show less than is configured, not more.
#[utoipa::path(
    put, path = "/subscribers/{id}/visibility", tag = "settings", request_body = Visibility,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = VisibilityDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace_visibility(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let wanted: Visibility = read_as(&body)?;
    let expected = if_match(&headers)?;
    let written = changes::adjust(&state, &id, expected, |subscriber| {
        subscriber.visibility = wanted;
    });
    Ok(seen(&state, &written.await?.profile))
}

fn seen(state: &ApiState, profile: &Profile) -> Response {
    let document = VisibilityDocument {
        own: profile.visibility(),
        configured: state.shared().policy.load().visibility,
        teams: profile.teams().to_vec(),
    };
    (etag(profile.version()), Json(document)).into_response()
}

/// Read which calendars count
#[utoipa::path(
    get, path = "/subscribers/{id}/calendars", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = CalendarsDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn calendars(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    Ok(kept(&*find(&state, &id)?))
}

/// Replace which calendars count
///
/// What the entries mean, `triggers` says.
#[utoipa::path(
    put, path = "/subscribers/{id}/calendars", tag = "settings", request_body = CalendarsDocument,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = CalendarsDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace_calendars(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let wanted = read_as::<CalendarsDocument>(&body)?.calendars;
    refuse_files(&caller, &*find(&state, &id)?, &wanted)?;
    let expected = if_match(&headers)?;
    let written = changes::adjust(&state, &id, expected, |subscriber| {
        subscriber.calendars.clone_from(&wanted);
    });
    Ok(kept(&written.await?.profile))
}

/// What files the server may read is the administrator's to say; one that is there may stay.
fn refuse_files(caller: &Caller, profile: &Profile, wanted: &[String]) -> Result<(), Failure> {
    if caller.administers().is_ok() {
        return Ok(());
    }
    let is_file = |feed: &&String| !feed.trim().to_ascii_lowercase().starts_with("https://");
    let known = profile.calendars();
    let refused = wanted.iter().enumerate().filter(|(_, feed)| is_file(feed));
    let problems: Vec<Problem> = refused
        .filter(|(_, feed)| !known.contains(feed))
        .map(|(position, _)| {
            let text = "must begin with https://; only the administrator names files";
            Problem::new(format!("calendars.{position}"), text)
        })
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Problems(problems).into()),
    }
}

fn kept(profile: &Profile) -> Response {
    let document = CalendarsDocument {
        calendars: profile.calendars().to_vec(),
    };
    (etag(profile.version()), Json(document)).into_response()
}
