//! Subscribers: list, create, read, replace, delete.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::changes::{self, Deleted, Written};
use super::document::{SubscriberDocument, find};
use super::extract::{Body, Path, Query, if_match};
use super::language::Speech;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::{Refusals, list};
use crate::presence::Subscriber;

/// Which subscribers are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SubscriberQuery {
    /// At most so many, 1 to 1,000; 100 without it
    limit: Option<usize>,
    /// `next` of the page before
    after: Option<String>,
    /// Only those whose id, name or aliases contain this text
    search: Option<String>,
}

/// Some subscribers, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubscriberPage {
    /// At most as many as were asked for.
    pub subscribers: Vec<SubscriberDocument>,
    /// Continues the listing as `after`; absent at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many there are on all pages.
    pub total: usize,
}

/// List subscribers
#[utoipa::path(
    get, path = "/subscribers", tag = "subscribers", params(SubscriberQuery),
    responses((status = 200, body = SubscriberPage), Refusals)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<SubscriberQuery>,
    speech: Speech,
) -> Result<Json<SubscriberPage>, Failure> {
    caller.administers()?;
    let limit = list::limit(query.limit)?;
    let page = state
        .blocking(move |state| {
            let (after, search) = (query.after.as_deref(), query.search.as_deref());
            let search = search.filter(|text| !text.is_empty());
            let page = state.directory().list(after, search, limit);
            let documents = page.subscribers.iter();
            SubscriberPage {
                subscribers: documents
                    .map(|profile| {
                        let language = speech.of(profile);
                        let warnings = state.roster().document_warnings(profile, language);
                        SubscriberDocument::of(state, profile, warnings)
                    })
                    .collect(),
                next: page.next,
                total: page.total,
            }
        })
        .await?;
    Ok(Json(page))
}

/// Create a subscriber
#[utoipa::path(
    post, path = "/subscribers", tag = "subscribers", request_body = Subscriber,
    responses(
        (status = 201, body = SubscriberDocument,
         headers(("Location" = String), ("ETag" = String))),
        (status = 409, description = "The id, or an alias, is somebody's already",
         body = super::problem::ProblemDetails, content_type = "application/problem+json"),
        Refusals
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    speech: Speech,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.administers()?;
    let subscriber = Subscriber::from_json(&body)?;
    let written = changes::create(&state, subscriber).await?;
    let location = format!("/api/v1/subscribers/{}", written.profile.id());
    let answer = answer(&state, &written, (StatusCode::CREATED, speech));
    Ok(([(LOCATION, location)], answer).into_response())
}

/// Read a subscriber
#[utoipa::path(
    get, path = "/subscribers/{id}", tag = "subscribers",
    params(("id" = String, Path, description = "Id of the subscriber, in any case")),
    responses((status = 200, body = SubscriberDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    speech: Speech,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    let warnings = state.roster().warnings(&profile, speech.of(&profile));
    let document = SubscriberDocument::of(&state, &profile, warnings);
    Ok((etag(profile.version()), Json(document)).into_response())
}

/// Replace a subscriber, or create one
///
/// The whole document: what is left out is unset. With `If-Match` it is replaced only if it has
/// still that version.
#[utoipa::path(
    put, path = "/subscribers/{id}", tag = "subscribers", request_body = Subscriber,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses(
        (status = 200, body = SubscriberDocument, headers(("ETag" = String))),
        (status = 201, body = SubscriberDocument, description = "It is new"),
        (status = 412, description = "It was changed since it was read",
         body = super::problem::ProblemDetails, content_type = "application/problem+json"),
        Refusals
    )
)]
pub(super) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    (headers, speech): (HeaderMap, Speech),
    Body(mut body): Body,
) -> Result<Response, Failure> {
    caller.administers()?;
    let expected = if_match(&headers)?;
    if let Some(map) = body.as_object_mut() {
        // Answers of this API can be edited and put back.
        map.remove("warnings");
        map.entry("id").or_insert_with(|| id.clone().into());
    }
    let subscriber = Subscriber::from_json(&body)?;
    if !subscriber.id.eq_ignore_ascii_case(&id) {
        let text = format!("must be `{id}` as in the path; an id cannot be changed");
        return Err(Failure::field(Kind::Invalid, "id", text));
    }
    let written = changes::put(&state, subscriber, expected).await?;
    let status = match written.is_created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(answer(&state, &written, (status, speech)))
}

/// Delete a subscriber
///
/// With tokens, sessions, registered phones and journal; what others granted to the id ends. Calls in
/// progress go on. Forwardings to the subscriber stay, and lead to whoever is given the id or number
/// later: the answer tells whose they are, and each is warned.
#[utoipa::path(
    delete, path = "/subscribers/{id}", tag = "subscribers",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = Deleted, description = "It is deleted, and its tokens with it"),
              Refusals)
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Deleted>, Failure> {
    caller.administers()?;
    let expected = if_match(&headers)?;
    Ok(Json(changes::delete(&state, &id, expected).await?))
}

/// The entity tag of a version (RFC 9110 §8.8.3).
pub(super) fn etag(version: u64) -> [(axum::http::HeaderName, String); 1] {
    [(ETAG, format!("\"{version}\""))]
}

fn answer(state: &ApiState, written: &Written, (status, speech): (StatusCode, Speech)) -> Response {
    let profile = &written.profile;
    let warnings = written.warnings(state, speech.of(profile));
    let document = SubscriberDocument::of(state, profile, warnings);
    (status, etag(profile.version()), Json(document)).into_response()
}
