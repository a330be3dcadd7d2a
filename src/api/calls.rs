//! Calls in progress, and the decisions of late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::colleagues::Viewer;
use super::extract::Query;
use super::problem::Failure;
use super::state::ApiState;
use super::{Refusals, list};
use crate::call::CallRecord;
use crate::proxy::Trace;

/// A call in progress.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Call {
    /// Names the dialog, also in events; a fork has several of one Call-ID.
    pub key: String,
    /// The Call-ID, possibly cut.
    pub call_id: String,
    /// The caller's address.
    pub from: String,
    /// The address that was called.
    pub to: String,
    /// The calling subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Their name for people, in listings and where the reader may see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_name: Option<String>,
    /// The subscriber who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee: Option<String>,
    /// Their name for people, in listings and where the reader may see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee_name: Option<String>,
    /// The subscriber who was called first, where somebody else answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_called: Option<String>,
    /// Their name for people, in listings and where the reader may see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_called_name: Option<String>,
    /// When the INVITE came.
    #[schema(value_type = String, format = DateTime)]
    pub invited_at: Timestamp,
    /// When it was answered.
    #[schema(value_type = String, format = DateTime)]
    pub answered_at: Timestamp,
    /// How long it rang, in milliseconds.
    pub ring_ms: u32,
    /// When the record ends by itself if neither BYE nor refresh comes.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// The session interval (RFC 4028), in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub session_expires_s: u32,
}

/// Calls in progress, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallList {
    /// At most as many as were asked for.
    pub calls: Vec<Call>,
    /// How many there are.
    pub total: usize,
}

/// How many calls are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CallQuery {
    /// At most so many, 1 to 1,000; 100 without it
    limit: Option<usize>,
    /// Only calls of this subscriber
    subscriber: Option<String>,
}

/// A call's decision with its reasons.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct DecisionTrace {
    /// When the INVITE came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The Call-ID.
    pub call_id: String,
    /// The caller's address.
    pub from: String,
    /// Whose address that is now, by the name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// The address that was called.
    pub to: String,
    /// Where the INVITE came from.
    pub source: String,
    /// `internal`, `external` or `anonymous`.
    pub caller_class: &'static str,
    /// The subscriber who was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee: Option<String>,
    /// Their name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee_name: Option<String>,
    /// `connect`, `redirect`, `forward`, `redirect_voicemail`, `forward_voicemail`, `reject`,
    /// `pass_on`.
    pub decision: &'static str,
    /// Why, in the order in which it was found.
    pub reasons: Vec<&'static str>,
    /// Where it was diverted to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Whose address or voicemail that is now, by the name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// The final status that the caller got.
    pub status: u16,
    /// From the INVITE to the final response, in milliseconds.
    pub setup_ms: u32,
    /// How long it rang, in milliseconds.
    pub ring_ms: u32,
}

/// The decisions of late, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecisionList {
    /// At most as many as were asked for.
    pub decisions: Vec<DecisionTrace>,
}

/// Which decisions are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DecisionQuery {
    /// At most so many, 1 to 1,000; 100 without it
    limit: Option<usize>,
    /// Only the call of this Call-ID
    call_id: Option<String>,
    /// Only calls to this subscriber
    subscriber: Option<String>,
}

/// List the calls in progress
///
/// The newest first.
#[utoipa::path(
    get, path = "/calls", tag = "calls", params(CallQuery),
    responses((status = 200, body = CallList), Refusals)
)]
pub(super) async fn calls(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<CallQuery>,
) -> Result<Json<CallList>, Failure> {
    match (&caller, &query.subscriber) {
        (Caller::Subscriber(_), Some(id)) => caller.owns(id)?,
        _ => caller.administers()?,
    }
    let limit = list::limit(query.limit)?;
    let listed = state
        .blocking(move |state| {
            let viewer = Viewer::of(state, &caller);
            let mut listed = newest_calls(state, limit, query.subscriber.as_deref());
            for call in &mut listed.calls {
                call.name_parties(state, &viewer);
            }
            listed
        })
        .await?;
    Ok(Json(listed))
}

/// When a call was answered, what tells it from others of that moment, and its record; the oldest
/// is the greatest.
type Newest = Reverse<(i64, u64, Box<[u8]>)>;

/// The newest `limit` calls, by looking at each once and keeping no more.
fn newest_calls(state: &ApiState, limit: usize, subscriber: Option<&str>) -> CallList {
    let mut newest: BinaryHeap<Newest> = BinaryHeap::new();
    let mut total = 0;
    state.store().read_calls(&mut |bytes| {
        let Some(record) = CallRecord::decode(bytes) else {
            return;
        };
        if !subscriber.is_none_or(|id| is_party(&record, id)) {
            return;
        }
        total += 1;
        newest.push(Reverse((record.answered_unix_ms, record.key, bytes.into())));
        if newest.len() > limit {
            newest.pop();
        }
    });
    let sorted = newest.into_sorted_vec();
    let calls = sorted
        .iter()
        .filter_map(|Reverse((_, _, bytes))| CallRecord::decode(bytes))
        .map(|record| Call::of(&record))
        .collect();
    CallList { calls, total }
}

fn is_party(record: &CallRecord<'_>, id: &str) -> bool {
    [record.caller, record.callee, record.first_called]
        .iter()
        .any(|party| party.eq_ignore_ascii_case(id.as_bytes()))
}

/// List the decisions of late
///
/// What was decided for recent calls and why, the newest first; the oldest are forgotten.
#[utoipa::path(
    get, path = "/decisions", tag = "calls", params(DecisionQuery),
    responses((status = 200, body = DecisionList), Refusals)
)]
pub(super) async fn decisions(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<DecisionQuery>,
) -> Result<Json<DecisionList>, Failure> {
    caller.administers()?;
    let limit = list::limit(query.limit)?;
    let directory = state.directory();
    let wanted = match &query.subscriber {
        Some(id) => Some(
            directory
                .handle_of_id(id)
                .ok_or_else(|| Failure::no_subscriber(id))?,
        ),
        None => None,
    };
    state.collect_traces();
    let traces = state.traces().newest(limit, |trace| {
        wanted.is_none_or(|handle| trace.callee == Some(handle))
            && query
                .call_id
                .as_deref()
                .is_none_or(|id| trace.texts.call_id() == id)
    });
    let decisions = traces
        .iter()
        .map(|trace| DecisionTrace::of(trace, &state))
        .collect();
    Ok(Json(DecisionList { decisions }))
}

impl Call {
    /// A record as it is shown.
    pub(super) fn of(record: &CallRecord<'_>) -> Self {
        Self {
            key: dialog_key(record),
            call_id: text(record.call_id),
            from: text(record.from),
            to: text(record.to),
            caller: named(record.caller),
            caller_name: None,
            callee: named(record.callee),
            callee_name: None,
            first_called: named(record.first_called),
            first_called_name: None,
            invited_at: instant(record.invited_unix_ms),
            answered_at: instant(record.answered_unix_ms),
            ring_ms: record.ring_ms,
            ends_at: instant(record.ends_unix_ms),
            session_expires_s: record.session_expires_s,
        }
    }

    /// Adds the names of those whom this one may see.
    fn name_parties(&mut self, state: &ApiState, viewer: &Viewer) {
        let name =
            |id: &Option<String>| viewer.name_of(state, &*state.directory().get(id.as_ref()?)?);
        self.caller_name = name(&self.caller);
        self.callee_name = name(&self.callee);
        self.first_called_name = name(&self.first_called);
    }
}

impl DecisionTrace {
    fn of(trace: &Trace, state: &ApiState) -> Self {
        let callee = trace
            .callee
            .and_then(|handle| state.directory().profile(handle));
        let behind = |address: &str| Viewer::Administrator.name_behind(state, address);
        Self {
            at: instant(trace.at_unix_ms),
            call_id: trace.texts.call_id().into_owned(),
            from: trace.texts.from().into_owned(),
            from_name: behind(&trace.texts.from()),
            to: trace.texts.to().into_owned(),
            source: trace.source.to_string(),
            caller_class: trace.class.name(),
            callee: callee.as_ref().map(|profile| profile.id().to_owned()),
            callee_name: callee.map(|profile| profile.display_name().to_owned()),
            decision: trace.outcome.label(),
            reasons: trace.reasons.iter().map(|reason| reason.label()).collect(),
            target: trace.texts.target().into_owned(),
            target_name: behind(&trace.texts.target()),
            status: trace.status,
            setup_ms: trace.setup_ms,
            ring_ms: trace.ring_ms,
        }
    }
}

/// Tells dialogs apart without showing how they are found.
fn dialog_key(record: &CallRecord<'_>) -> String {
    format!(
        "{:016x}",
        record.key ^ record.caller_tag.rotate_left(21) ^ record.callee_tag.rotate_left(42)
    )
}

/// Milliseconds since 1970 as an instant.
pub(super) fn instant(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What a message said, as text.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn named(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| text(bytes))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}
