//! What stands beside the chosen status: an order from above, what clients and calendars report, and
//! which of that the subscriber wants.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::auth::Caller;
use super::changes::{self, Written};
use super::colleagues::Viewer;
use super::document::{StatusDocument, find};
use super::extract::{Body, Path, if_match, read_as};
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::subscribers::etag;
use super::{Refusals, require_keys};
use crate::presence::{Change, Override, Signal, SignalKind, Source, Triggers};

/// Order a status
///
/// It goes before whatever the subscriber chooses. For the administrator, and for the colleagues
/// whom the subscriber named as `delegates`. The subscriber sees who ordered it.
#[utoipa::path(
    put, path = "/subscribers/{id}/override", tag = "status", request_body = Override,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = StatusDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn overrule(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    let by = may_order(&state, &caller, &id)?;
    require_keys(&body, &["status", "own_status", "message", "until"])?;
    let order = Override {
        by,
        ..read_as(&named_own(&state, body))?
    };
    let expected = if_match(&headers)?;
    order_it(&state, &caller, (&id, Some(order)), expected).await
}

/// Take an ordered status back
#[utoipa::path(
    delete, path = "/subscribers/{id}/override", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = StatusDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn take_back(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    may_order(&state, &caller, &id)?;
    let expected = if_match(&headers)?;
    order_it(&state, &caller, (&id, None), expected).await
}

/// Orders, or takes back; tells what the one who orders may see.
async fn order_it(
    state: &ApiState,
    caller: &Caller,
    (id, order): (&str, Option<Override>),
    if_version: Option<u64>,
) -> Result<Response, Failure> {
    let (what, by) = match &order {
        Some(order) => (order.status.name(), order.by.clone()),
        None => ("nothing", String::new()),
    };
    tracing::info!(subscriber = id, status = what, by, "a status was ordered");
    let change = Change::Overrule {
        id: id.to_owned(),
        order: order.map(Box::new),
        if_version,
    };
    let profile = changes::written(state, change, false).await?.profile;
    let document = Viewer::of(state, caller).see(state, &profile);
    Ok((etag(profile.version()), Json(document)).into_response())
}

/// Who orders: the administrator, or a delegate of the subscriber.
fn may_order(state: &ApiState, caller: &Caller, id: &str) -> Result<String, Failure> {
    let profile = find(state, id)?;
    match caller {
        Caller::Administrator => Ok("admin".to_owned()),
        Caller::Subscriber(own) => {
            let refused = || {
                let text = format!(
                    "`{own}` is no delegate of `{id}`; only those and the administrator order a status"
                );
                Failure::new(Kind::Forbidden, text)
            };
            let is_delegate = profile.is_represented_by(own);
            is_delegate.then(|| own.clone()).ok_or_else(refused)
        }
    }
}

/// List what clients and calendars report
#[utoipa::path(
    get, path = "/subscribers/{id}/signals", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = Vec<Signal>, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn signals(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    let mut signals = profile.signals().to_vec();
    if !signals.iter().any(Signal::is_of_hours) {
        signals.extend(profile.hours_signal(state.now_s()));
    }
    Ok((etag(profile.version()), Json(signals)).into_response())
}

/// Report something of a person
///
/// A meeting, an activity, an entry of a calendar, or how a client of theirs is used. The same `kind`
/// and `id` again replaces what was said before; one that was dismissed stays so.
#[utoipa::path(
    post, path = "/subscribers/{id}/signals", tag = "status", request_body = Signal,
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = StatusDocument, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn report(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let has_source = body.get("source").is_some();
    let mut signal: Signal = read_as(&named_own(&state, body))?;
    if !has_source && signal.kind == SignalKind::Calendar {
        signal.source = Source::Calendar;
    }
    let change = Change::Report {
        id,
        signal: Box::new(signal),
    };
    status_after(&state, changes::written(&state, change, false).await?)
}

/// Say that something reported is over
///
/// What is not there is over, too.
#[utoipa::path(
    delete, path = "/subscribers/{id}/signals/{kind}/{signal}", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("kind" = SignalKind, Path, description = "Its kind"),
           ("signal" = String, Path, description = "Its id")),
    responses((status = 204), Refusals)
)]
pub(super) async fn withdraw(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, kind, signal)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let kind = named(&kind)?;
    let change = Change::Withdraw { id, kind, signal };
    changes::written(&state, change, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Dismiss what was reported
///
/// It does not count for the rest of the event.
#[utoipa::path(
    put, path = "/subscribers/{id}/signals/{kind}/{signal}/dismissed", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("kind" = SignalKind, Path, description = "Its kind"),
           ("signal" = String, Path, description = "Its id")),
    responses((status = 200, body = StatusDocument), Refusals)
)]
pub(super) async fn dismiss(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, kind, signal)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    set_dismissed(&state, &caller, (id, kind, signal), true).await
}

/// Let a dismissed signal count again
#[utoipa::path(
    delete, path = "/subscribers/{id}/signals/{kind}/{signal}/dismissed", tag = "status",
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("kind" = SignalKind, Path, description = "Its kind"),
           ("signal" = String, Path, description = "Its id")),
    responses((status = 200, body = StatusDocument), Refusals)
)]
pub(super) async fn count_again(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, kind, signal)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    set_dismissed(&state, &caller, (id, kind, signal), false).await
}

async fn set_dismissed(
    state: &ApiState,
    caller: &Caller,
    (id, kind, signal): (String, String, String),
    dismissed: bool,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let change = Change::Dismiss {
        id,
        kind: named(&kind)?,
        signal,
        dismissed,
    };
    status_after(state, changes::written(state, change, false).await?)
}

/// Read which signals change the status
#[utoipa::path(
    get, path = "/subscribers/{id}/triggers", tag = "settings",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = Triggers, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn triggers(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    Ok((etag(profile.version()), Json(profile.triggers())).into_response())
}

/// Replace which signals change the status
#[utoipa::path(
    put, path = "/subscribers/{id}/triggers", tag = "settings", request_body = Triggers,
    params(("id" = String, Path, description = "Id of the subscriber"),
           ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = Triggers, headers(("ETag" = String))), Refusals)
)]
pub(super) async fn replace_triggers(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    caller.owns(&id)?;
    let change = Change::PutTriggers {
        id,
        triggers: Box::new(read_as(&body)?),
        if_version: if_match(&headers)?,
    };
    let Written { profile, .. } = changes::written(&state, change, false).await?;
    Ok((etag(profile.version()), Json(profile.triggers())).into_response())
}

fn status_after(state: &ApiState, written: Written) -> Result<Response, Failure> {
    let document = StatusDocument::of(state, &written.profile, true);
    Ok((etag(written.profile.version()), Json(document)).into_response())
}

fn named(kind: &str) -> Result<SignalKind, Failure> {
    SignalKind::from_name(kind).ok_or_else(|| {
        let names = SignalKind::ALL.map(SignalKind::name).join(", ");
        let text = format!("`{kind}` is no kind of signal; use one of {names}");
        Failure::new(Kind::NotFound, text)
    })
}

/// A `status` that is the id of an own status becomes the one it stands for, with `own_status`.
fn named_own(state: &ApiState, mut body: Value) -> Value {
    let house = state.roster().house();
    let own = body
        .get("status")
        .or_else(|| body.get("own_status"))
        .and_then(Value::as_str)
        .and_then(|id| house.statuses.get(id));
    if let (Some(own), Some(map)) = (own, body.as_object_mut()) {
        map.insert("own_status".to_owned(), own.name.id().into());
        map.insert("status".to_owned(), own.class.status().name().into());
    }
    body
}
