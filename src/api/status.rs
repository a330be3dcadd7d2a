//! A subscriber's status: read, set, clear.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::{Caller, Origin, Via};
use super::changes;
use super::colleagues::Viewer;
use super::document::{StatusDocument, find};
use super::extract::{Body, Path, if_match};
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::subscribers::etag;
use super::{Refusals, require_keys};
use crate::presence::{OwnStatuses, Problem, Problems, Source, Status, StatusName};

/// A status to be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct StatusWish {
    /// `available`, `away`, `break`, `dnd`, or the id of an own status (`GET /statuses`); `in_call` is
    /// shown during calls and cannot be set.
    #[schema(value_type = String)]
    pub status: Status,
    /// The own status.
    #[serde(skip)]
    pub own_status: Option<String>,
    /// Shown to colleagues with the status.
    pub message: Option<String>,
    /// When the status ends by itself (RFC 3339, in the future).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Whether it holds against what comes by itself: meetings, calendar, hours, idle.
    #[schema(required = false)]
    pub hold: bool,
}

impl StatusWish {
    /// Reads a wish.
    ///
    /// # Errors
    /// Unknown keys, wrong kinds, an `until` that is no instant; `in_call` is a conflict.
    fn read(body: &Value, statuses: &OwnStatuses) -> Result<Self, Failure> {
        let map = require_keys(body, &["status", "message", "until", "hold"])?;
        let mut problems = Vec::new();
        let mut text = |key: &str| match map.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                problems.push(Problem::new(key, "must be a text"));
                None
            }
        };
        let (status, message, until) = (text("status"), text("message"), text("until"));
        let hold = match map.get("hold") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(hold)) => *hold,
            Some(_) => {
                problems.push(Problem::new("hold", "must be true or false"));
                false
            }
        };
        let named = status.as_deref().and_then(StatusName::read);
        let named = named.and_then(|name| statuses.named(&name));
        if named.is_none() && problems.is_empty() {
            let text = format!("must be one of {}", statuses.choices());
            problems.push(Problem::new("status", text));
        }
        let until = until.map(|text| text.parse::<Timestamp>());
        if let Some(Err(_)) = until {
            let help = "must be RFC 3339 with an offset, 2026-11-23T15:00:00+01:00";
            problems.push(Problem::new("until", help));
        }
        match (named, until.transpose()) {
            (Some(base), Ok(until)) if problems.is_empty() => Ok(Self {
                status: base.status,
                own_status: base.own.map(|own| own.id().to_owned()),
                message,
                until,
                hold,
            }),
            _ => Err(Problems(problems).into()),
        }
    }
}

/// Read a subscriber's status
///
/// Colleagues see status, message and end, or less (`shows`: `full`, `status`, `free_busy`), as
/// configured and as the subscriber wants; never since when, nor who set it.
#[utoipa::path(
    get, path = "/subscribers/{id}/status", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = StatusDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let profile = find(&state, &id)?;
    let seen = Viewer::of(&state, &caller).see(&state, &profile);
    let document = seen.ok_or_else(|| Failure::no_subscriber(&id))?;
    Ok((etag(profile.version()), Json(document)).into_response())
}

/// Set a subscriber's status
///
/// It is in force for the next INVITE, and on disk before this is answered.
#[utoipa::path(
    put, path = "/subscribers/{id}/status", tag = "status", request_body = StatusWish,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = StatusDocument, headers(("ETag" = String))),
        (status = 409, description = "`in_call` cannot be set",
         body = super::problem::ProblemDetails, content_type = "application/problem+json"),
        Refusals
    )
)]
pub(super) async fn set(
    State(state): State<ApiState>,
    (caller, origin): (Caller, Origin),
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let expected = if_match(&headers)?;
    let wish = StatusWish::read(&body, &state.roster().house().statuses)?;
    if wish.status == Status::InCall {
        return Err(Failure::field(
            Kind::Conflict,
            "status",
            "in_call is shown by itself during calls and cannot be set; use available, away, \
             break or dnd",
        ));
    }
    if wish.until.is_some_and(|until| until <= state.now()) {
        return Err(Failure::field(
            Kind::Invalid,
            "until",
            "lies in the past; a status ends in the future or has no end",
        ));
    }
    let written =
        changes::set_status(&state, &id, wish, source(&caller, &origin), expected).await?;
    let document = StatusDocument::of(&state, &written.profile, true);
    Ok((etag(written.profile.version()), Json(document)).into_response())
}

/// Clear a subscriber's status
///
/// The subscriber is available again, without message or end.
#[utoipa::path(
    delete, path = "/subscribers/{id}/status", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = StatusDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn clear(
    State(state): State<ApiState>,
    (caller, origin): (Caller, Origin),
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let expected = if_match(&headers)?;
    let written = changes::clear_status(&state, &id, source(&caller, &origin), expected).await?;
    let document = StatusDocument::of(&state, &written.profile, true);
    Ok((etag(written.profile.version()), Json(document)).into_response())
}

/// Who a status set by this caller is from.
fn source(caller: &Caller, origin: &Origin) -> Source {
    match caller {
        Caller::Administrator => Source::Admin,
        Caller::Subscriber(_) if origin.via == Via::Page => Source::Web,
        Caller::Subscriber(_) => Source::Api,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wish_is_read_or_its_keys_are_named() {
        let until = "2026-11-23T15:00:00+01:00";
        let own = OwnStatuses::default();
        let wish = json!({"status": "away", "message": "x", "until": until});
        let wish = StatusWish::read(&wish, &own);
        assert_eq!(
            wish.unwrap().until,
            Some("2026-11-23T14:00:00Z".parse().unwrap())
        );
        for (body, field) in [
            (json!({}), "status"),
            (json!({"status": "asleep"}), "status"),
            (json!({"status": "away", "untill": "x"}), "untill"),
            (json!({"status": "away", "until": "soon"}), "until"),
            (json!({"status": "away", "message": 7}), "message"),
        ] {
            let failure = StatusWish::read(&body, &own).unwrap_err();
            assert_eq!(failure.problems[0].field, field, "{body}");
        }
        assert!(StatusWish::read(&json!([]), &own).is_err());
    }
}
