//! When a person works: read, replace, and back to what team and house say.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::changes::{self, Written};
use super::document::find;
use super::extract::{Body, Path, if_match, read_as};
use super::problem::Failure;
use super::state::ApiState;
use super::subscribers::etag;
use crate::presence::{Change, Profile, WorkWeek};

/// When a person works, by their own wish and as it is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HoursDocument {
    /// The person's own hours, instead of those of team and house.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<WorkWeek>,
    /// The hours that count: the own ones, those of a team, or those of the house.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<WorkWeek>,
    /// What they say now: `business_hours`, `break`, `outside_hours` or `holiday`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<&'static str>,
    /// Until when: the next boundary.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

impl HoursDocument {
    fn of(profile: &Profile, now_unix_s: i64) -> Self {
        let hours = profile.hours();
        let segment = hours.map(|hours| hours.segment(now_unix_s));
        Self {
            own: profile.own_hours().cloned(),
            in_force: hours.map(|hours| hours.schedule.week().clone()),
            now: segment.map(|segment| segment.kind.name()),
            until: segment.and_then(|segment| Timestamp::from_second(segment.until_s).ok()),
        }
    }
}

/// Read when a person works
#[utoipa::path(
    get, path = "/subscribers/{id}/hours", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = HoursDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    Ok(answer(&state, &profile))
}

/// Replace when a person works
///
/// A week without any hours says nothing, whatever team and house say.
#[utoipa::path(
    put, path = "/subscribers/{id}/hours", tag = "settings", request_body = WorkWeek,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = HoursDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    let week: WorkWeek = read_as(&body)?;
    change(&state, &caller, id, &headers, Some(Box::new(week))).await
}

/// Work when team and house say
#[utoipa::path(
    delete, path = "/subscribers/{id}/hours", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = HoursDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    change(&state, &caller, id, &headers, None).await
}

async fn change(
    state: &ApiState,
    caller: &Caller,
    id: String,
    headers: &HeaderMap,
    hours: Option<Box<WorkWeek>>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let change = Change::PutHours {
        id,
        hours,
        if_version: if_match(headers)?,
    };
    let Written { profile, .. } = changes::written(state, change, false).await?;
    Ok(answer(state, &profile))
}

fn answer(state: &ApiState, profile: &Profile) -> Response {
    let document = HoursDocument::of(profile, state.now_s());
    (etag(profile.version()), Json(document)).into_response()
}
