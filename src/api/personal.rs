//! What a person sets about themselves whatever the status: what colleagues see, and calendars.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::changes;
use super::document::find;
use super::extract::{Body, Path, if_match, read_as};
use super::language::Speech;
use super::problem::Failure;
use super::state::ApiState;
use super::subscribers::etag;
use crate::presence::readings::Reading;
use crate::presence::{Language, Problem, Problems, Profile, Visibility};

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

/// Which calendars shall tell of a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarsWish {
    /// `https` URLs of iCalendar feeds, at most 4; for the administrator also files of the server.
    pub calendars: Vec<String>,
}

/// The calendars that tell of a person, and how they were read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CalendarsDocument {
    /// `https` URLs of iCalendar feeds, or files of the server.
    pub calendars: Vec<String>,
    /// How each was read the last time; one that was not read yet is missing.
    #[schema(read_only)]
    pub readings: Vec<FeedReading>,
    /// The categories of their events, to name in `triggers`.
    #[schema(read_only)]
    pub categories: Vec<String>,
}

/// How a feed was read the last time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedReading {
    /// Which.
    pub feed: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub read_at: Timestamp,
    /// How many events it has altogether; while it cannot be read, as it was read before.
    pub events: usize,
    /// How many occurrences count now or within two days; for holidays, how many days.
    pub entries: usize,
    /// Why it cannot be read; what it said before counts meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<FeedTrouble>,
}

/// Why a feed cannot be read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedTrouble {
    /// For programs: `status`, `file`, `timeout`, `no_host`, `unreachable`, `tls`, `in_clear`,
    /// `redirects`, `not_public`, `too_large`, `no_calendar` or `other`.
    pub code: &'static str,
    /// For people, in the language of the request.
    pub text: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl FeedReading {
    /// As it is told in a language.
    pub(super) fn of(reading: &Reading, language: Language) -> Self {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let fault = reading.fault.as_ref();
        Self {
            feed: reading.feed.clone(),
            read_at: at(reading.read_s),
            events: reading.found.events,
            entries: reading.found.entries,
            fault: fault.map(|(fault, since_s)| FeedTrouble {
                code: fault.name(),
                text: fault.text(language),
                since: at(*since_s),
            }),
        }
    }
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
    speech: Speech,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    Ok(kept(&state, &*find(&state, &id)?, &speech))
}

/// Replace which calendars count
///
/// What the entries mean, `triggers` says. They are read within some seconds, and then again and
/// again; a `document` event tells when a reading says something new.
#[utoipa::path(
    put, path = "/subscribers/{id}/calendars", tag = "settings", request_body = CalendarsWish,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = CalendarsDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace_calendars(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    (headers, speech): (HeaderMap, Speech),
    Body(mut body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    if let Some(map) = body.as_object_mut() {
        // Answers of this API can be edited and put back.
        map.remove("readings");
        map.remove("categories");
    }
    let wanted = read_as::<CalendarsWish>(&body)?.calendars;
    refuse_files(&caller, &*find(&state, &id)?, &wanted)?;
    let expected = if_match(&headers)?;
    let written = changes::adjust(&state, &id, expected, |subscriber| {
        subscriber.calendars.clone_from(&wanted);
    });
    Ok(kept(&state, &written.await?.profile, &speech))
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

fn kept(state: &ApiState, profile: &Profile, speech: &Speech) -> Response {
    let language = speech.of(profile);
    let readings = state.roster().readings().of(profile.id());
    let calendars = profile.calendars().to_vec();
    let in_order = calendars.iter().filter_map(|feed| {
        let mut readings = readings.iter();
        readings.find(|reading| reading.feed == *feed)
    });
    let mut categories: Vec<String> = Vec::new();
    for category in in_order.clone().flat_map(|one| &one.found.categories) {
        let is_known = |one: &String| one.to_lowercase() == category.to_lowercase();
        if !categories.iter().any(is_known) {
            categories.push(category.clone());
        }
    }
    let document = CalendarsDocument {
        readings: in_order
            .map(|reading| FeedReading::of(reading, language))
            .collect(),
        categories,
        calendars: calendars.clone(),
    };
    (etag(profile.version()), Json(document)).into_response()
}
