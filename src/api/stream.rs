//! `GET /api/v1/events`: server-sent events of status and call changes.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Refusals;
use super::auth::{Caller, Origin, Via};
use super::colleagues::{Viewer, mask};
use super::events::{Event, EventKind, Heard, Listener};
use super::problem::{Failure, Kind};
use super::serve::ended;
use super::session;
use super::state::ApiState;

/// How often a stream without events says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many frames wait for a reader beside the backlog of the events themselves.
const FRAMES: usize = 16;

/// Follow status and call changes
///
/// Server-sent events. `status` has the subscriber's `id`, `effective_status`, `status`, `message`,
/// `until`, `calls` and `at`; `call` has `state` (`began` or `ended`), the call as in `GET /calls`,
/// and `at`; `peer` has the `name`, `transport` and `address` of a system that is `up` or `down` by
/// `state`, the `status` that decided, and `at`. A reader that falls behind or comes back too late (`Last-Event-ID`) gets `lagged` with
/// the number it missed, and should read afresh. Subscribers see of everybody's
/// status what they may (`shows`), calls of their own only, and no peers.
#[utoipa::path(
    get, path = "/events", tag = "calls",
    params(("Last-Event-ID" = Option<String>, Header,
            description = "Id of the last event seen, to go on after it")),
    responses((status = 200, description = "The stream", body = String,
               content_type = "text/event-stream"), Refusals)
)]
pub(super) async fn events(
    State(state): State<ApiState>,
    (caller, origin): (Caller, Origin),
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let listener = state
        .events()
        .listen(last)
        .ok_or_else(|| Failure::new(Kind::Unavailable, "there are too many listeners already"))?;
    state.shared().watchers.store(1, Relaxed);
    let (frames, stream) = mpsc::channel(FRAMES);
    let secret = session::cookie(&headers).filter(|_| origin.via == Via::Page);
    let over = signed_out(state.clone(), secret.map(str::to_owned));
    let forwarding = forward(state.clone(), caller, listener, frames);
    tokio::spawn(async move {
        tokio::select! {
            () = forwarding => {}
            () = over => {}
        }
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(ReceiverStream::new(stream))
        .keep_alive(keep_alive)
        .into_response();
    let unbuffered = axum::http::HeaderValue::from_static("no");
    response
        .headers_mut()
        .insert("x-accel-buffering", unbuffered);
    Ok(response)
}

/// Passes on what the caller may see, until the reader is gone or the server ends.
async fn forward(
    state: ApiState,
    caller: Caller,
    mut listener: Listener,
    frames: mpsc::Sender<Result<Frame, Infallible>>,
) {
    let mut ending = state.ending();
    let hello = Frame::default().comment("pointsman");
    if frames.send(Ok(hello)).await.is_err() {
        return;
    }
    loop {
        let heard = tokio::select! {
            heard = listener.next() => heard,
            () = frames.closed() => return,
            () = ended(&mut ending) => return,
        };
        let frame = match heard {
            Some(Heard::Event(event)) => match frame(&state, &caller, &event) {
                Some(frame) => frame,
                None => continue,
            },
            Some(Heard::Gap(gap)) => {
                let document = serde_json::to_string(&gap).unwrap_or_default();
                Frame::default().event("lagged").data(document)
            }
            None => return,
        };
        if frames.send(Ok(frame)).await.is_err() {
            return;
        }
    }
}

/// Waits until the session is over that the reader came with; for ever without one.
async fn signed_out(state: ApiState, secret: Option<String>) {
    let Some(secret) = secret else {
        return std::future::pending().await;
    };
    while state.sessions().of(&state, &secret).is_some() {
        tokio::time::sleep(KEEP_ALIVE).await;
    }
}

/// The event as the caller may see it.
fn frame(state: &ApiState, caller: &Caller, event: &Event) -> Option<Frame> {
    let kind = match event.kind {
        EventKind::Status => "status",
        EventKind::Call => "call",
        EventKind::Peer => "peer",
    };
    let text = match (caller, event.kind) {
        (Caller::Administrator, _) => event.document.to_string(),
        (Caller::Subscriber(_), EventKind::Status) => seen(state, caller, event)?.to_string(),
        (Caller::Subscriber(id), _) => {
            let mut named = event.subscribers.iter();
            named.find(|name| name.eq_ignore_ascii_case(id))?;
            event.document.to_string()
        }
    };
    let id = state.events().id(event);
    Some(Frame::default().event(kind).id(id).data(text))
}

/// Somebody's status, as far as the caller sees it. That somebody is gone everybody may know.
fn seen(state: &ApiState, caller: &Caller, event: &Event) -> Option<Value> {
    let about = event.subscribers.first()?;
    match state.directory().get(about) {
        Some(profile) => {
            let level = Viewer::of(state, caller).level(state, &profile);
            mask(event.document.clone(), level)
        }
        None => Some(event.document.clone()),
    }
}
