//! `GET /api/v1/events`: server-sent events of status and call changes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::time::{Instant, Sleep, sleep};

use super::Refusals;
use super::auth::{Caller, Origin, Via};
use super::colleagues::Viewer;
use super::events::{Event, EventKind, Heard, Listener};
use super::problem::{Failure, Kind};
use super::serve::ended;
use super::session;
use super::state::ApiState;
use crate::presence::{Level, Profile};

/// How often a stream without events says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a stream begins with.
const HELLO: Bytes = Bytes::from_static(b": pointsman\n\n");
/// What says that it is alive.
const ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// Follow status and call changes
///
/// Server-sent events. `status` has the subscriber's `id`, `effective_status`, `status`, `message`,
/// `until`, `calls` and `at`; `call` has `state` (`began` or `ended`), the call as in `GET /calls`,
/// and `at`; `peer` has the `name`, `transport` and `address` of a system that is `up` or `down` by
/// `state`, the `status` that decided, and `at`; `document` has the `id` and `version` of a
/// subscriber who changed in what no `status` tells (settings, exceptions, layers beneath the
/// status in force), and `at`. A reader that falls behind or comes back too late (`Last-Event-ID`) gets `lagged` with
/// the number it missed, and should read afresh. Subscribers see of everybody's
/// status what they may (`shows`; `none`: from now on nothing), calls and documents of their own only, and no peers.
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
    let secret = session::cookie(&headers).filter(|_| origin.via == Via::Page);
    let mut ending = state.ending();
    let reader = Reader {
        ending: Box::pin(async move { ended(&mut ending).await }),
        secret: secret.map(str::to_owned),
        silence: Box::pin(sleep(KEEP_ALIVE)),
        greeted: false,
        listener,
        caller,
        state,
    };
    let stream = unfold(reader, |mut reader| async {
        let frame = reader.next().await?;
        Some((Ok::<_, Infallible>(frame), reader))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// One who reads the stream. There is no task beside the connection's own: an event wakes that, and
/// what it sends is written once for all who see as much.
struct Reader {
    state: ApiState,
    caller: Caller,
    listener: Listener,
    /// The server's end. Like the next, it waits on while events come: to begin and give up waiting
    /// takes locks that all readers share, with each event for each of them.
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Ends when a sign of life is due.
    silence: Pin<Box<Sleep>>,
    /// The session that the reader came with; the stream ends with it.
    secret: Option<String>,
    greeted: bool,
}

impl Reader {
    /// What is sent next; `None` where the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(HELLO);
        }
        loop {
            tokio::select! {
                biased;
                heard = self.listener.next() => match heard? {
                    Heard::Event(event) => {
                        let frame = frame(&self.state, &self.caller, &event);
                        if frame.is_some() {
                            return frame;
                        }
                    }
                    Heard::Gap(gap) => {
                        let document = serde_json::to_string(&gap).unwrap_or_default();
                        return Some(format!("event: lagged\ndata: {document}\n\n").into());
                    }
                },
                () = &mut self.ending => return None,
                () = &mut self.silence => {
                    self.silence.as_mut().reset(Instant::now() + KEEP_ALIVE);
                    return self.is_signed_in().then_some(ALIVE);
                }
            }
        }
    }

    fn is_signed_in(&self) -> bool {
        let Some(secret) = &self.secret else {
            return true;
        };
        self.state.sessions().of(&self.state, secret).is_some()
    }
}

/// The event as the caller may see it.
fn frame(state: &ApiState, caller: &Caller, event: &Event) -> Option<Bytes> {
    match (caller, event.kind) {
        (Caller::Administrator, _) => event.frame(None),
        (Caller::Subscriber(_), EventKind::Status) => {
            let about = event.subscribers.first()?;
            // That somebody is gone everybody may know.
            let Some(profile) = state.directory().get(about) else {
                return event.frame(None);
            };
            let viewer = Viewer::of(state, caller);
            let level = viewer.level(state, &profile);
            let saw = |before: &Profile| viewer.level(state, before) > Level::None;
            let is_told = level > Level::None || event.regrouped.as_deref().is_some_and(saw);
            is_told.then(|| event.frame(Some(level))).flatten()
        }
        (Caller::Subscriber(id), _) => {
            let mut named = event.subscribers.iter();
            named.find(|name| name.eq_ignore_ascii_case(id))?;
            event.frame(None)
        }
    }
}
