//! Who is treated otherwise than the subscriber's status says: read, replace.

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
use super::problem::Failure;
use super::state::ApiState;
use super::subscribers::etag;
use crate::presence::{Change, Exceptions, Profile};

/// Read the exceptions
#[utoipa::path(
    get, path = "/subscribers/{id}/exceptions", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = Exceptions, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    Ok((etag(profile.version()), Json(written_exceptions(&profile))).into_response())
}

/// Replace the exceptions
///
/// The warnings name rules that can never match and rules that contradict an earlier one.
#[utoipa::path(
    put, path = "/subscribers/{id}/exceptions", tag = "settings", request_body = Exceptions,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = ChangedExceptions, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    (headers, speech): (HeaderMap, Speech),
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let change = Change::PutExceptions {
        id,
        exceptions: Box::new(Exceptions::from_json(&body)?),
        if_version: if_match(&headers)?,
    };
    let written = changes::written(&state, change, false).await?;
    let profile = &written.profile;
    let document = ChangedExceptions {
        exceptions: written_exceptions(profile),
        warnings: written.warnings(&state, speech.of(profile)),
    };
    Ok((etag(profile.version()), Json(document)).into_response())
}

/// The exceptions after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedExceptions {
    /// What is set now.
    pub exceptions: Exceptions,
    /// What is odd about them.
    pub warnings: Vec<String>,
}

fn written_exceptions(profile: &Profile) -> Exceptions {
    let exceptions = profile.exceptions();
    exceptions
        .map(|rules| rules.written().clone())
        .unwrap_or_default()
}
