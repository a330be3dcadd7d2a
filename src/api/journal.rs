//! `GET /api/v1/subscribers/{id}/journal`: what became of a subscriber's calls.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::calls::{instant, text};
use super::colleagues::Viewer;
use super::extract::{Path, Query};
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::{Refusals, list};
use crate::call::Entry;
use crate::presence::Status;
use crate::store::Position;

/// How many entries are read at once where all are wanted.
const PAGE: usize = 1_000;

/// What became of one call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JournalEntry {
    /// `answered`, `answered_elsewhere`, `missed`, `forwarded`, `voicemail`, `rejected_dnd`,
    /// `rejected`, `blocked`, `rang_through`, `message`, `feature_code`.
    pub kind: &'static str,
    /// When the INVITE came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The caller's address.
    pub from: String,
    /// Who that is, where it is a subscriber whom the reader may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// The target of a forwarding, or who answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Who that is, where it is a subscriber whom the reader may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// The Call-ID, possibly cut.
    pub call_id: String,
    /// How long it rang, in milliseconds.
    pub ring_ms: u32,
    /// How long they talked, in seconds.
    pub talk_s: u32,
    /// The final status that the caller got.
    pub status: u32,
    /// Why, as labels; nothing of the status of those to whom the call was forwarded.
    pub reasons: Vec<String>,
}

/// Entries of the journal, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JournalPage {
    /// At most as many as were asked for.
    pub entries: Vec<JournalEntry>,
    /// Continues the listing as `before`; absent at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// After so many days entries are gone.
    pub kept_days: u32,
}

/// Which part of the journal is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JournalQuery {
    /// At most so many, 1 to 1,000; 100 without it
    limit: Option<usize>,
    /// `next` of the page before
    before: Option<String>,
}

/// List what became of a subscriber's calls
///
/// The newest first.
#[utoipa::path(
    get, path = "/subscribers/{id}/journal", tag = "calls",
    params(("id" = String, Path, description = "Id of the subscriber"), JournalQuery),
    responses((status = 200, body = JournalPage), Refusals)
)]
pub(super) async fn journal(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<JournalQuery>,
) -> Result<Json<JournalPage>, Failure> {
    caller.owns(&id)?;
    let limit = list::limit(query.limit)?;
    let before = query.before.as_deref().map(position).transpose()?;
    let subscriber = state.directory().get(&id);
    let subscriber = subscriber.ok_or_else(|| Failure::no_subscriber(&id))?;
    let key = state.journal_key(subscriber.id());
    let found = state
        .blocking(move |state| state.store().read_journal(key, before, limit))
        .await?
        .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    let next = match found.last() {
        Some((position, _)) if found.len() == limit => Some(position.0.to_string()),
        _ => None,
    };
    let viewer = Viewer::of(&state, &caller);
    let entries = found.iter();
    Ok(Json(JournalPage {
        entries: entries
            .filter_map(|(_, bytes)| entry(&state, &viewer, bytes))
            .collect(),
        next,
        kept_days: state.journal_days(),
    }))
}

/// Every entry of a subscriber, the newest first, with the names that `viewer` may see.
pub(super) fn whole_journal(
    state: &ApiState,
    viewer: &Viewer,
    key: u64,
) -> Result<Vec<JournalEntry>, Failure> {
    let mut entries = Vec::new();
    let mut before = None;
    loop {
        let read = state.store().read_journal(key, before, PAGE);
        let read = read.map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
        before = read.last().map(|(position, _)| *position);
        entries.extend(
            read.iter()
                .filter_map(|(_, bytes)| entry(state, viewer, bytes)),
        );
        if read.len() < PAGE {
            return Ok(entries);
        }
    }
}

fn position(text: &str) -> Result<Position, Failure> {
    text.parse().map(Position).map_err(|_| {
        Failure::field(
            Kind::Malformed,
            "before",
            "must be `next` of the page before",
        )
    })
}

fn entry(state: &ApiState, viewer: &Viewer, bytes: &[u8]) -> Option<JournalEntry> {
    let entry = Entry::decode(bytes)?;
    let (from, target) = (text(entry.from), text(entry.target));
    Some(JournalEntry {
        kind: entry.kind.name(),
        at: instant(entry.at_unix_ms),
        from_name: viewer.name_behind(state, &from),
        from,
        target_name: viewer.name_behind(state, &target),
        target,
        call_id: text(entry.call_id),
        ring_ms: entry.ring_ms,
        talk_s: entry.talk_s,
        status: entry.status,
        reasons: own_reasons(&text(entry.reasons)),
    })
}

/// The labels without the statuses of those to whom the call went on: no journal is a history of a
/// colleague's status.
fn own_reasons(labels: &str) -> Vec<String> {
    let mut is_elsewhere = false;
    let labels = labels.split(',').filter(|label| !label.is_empty());
    let own = labels.filter(|label| {
        let is_status = Status::from_name(label).is_some() || *label == "expired";
        let is_hidden = is_elsewhere && is_status;
        is_elsewhere |= label.ends_with("_forward");
        !is_hidden
    });
    own.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::own_reasons;

    #[test]
    fn a_journal_tells_no_colleagues_status() {
        let told = |labels| own_reasons(labels).join(",");
        assert_eq!(
            told("dnd,in_call,immediate_forward,expired,away,immediate_reject"),
            "dnd,in_call,immediate_forward,immediate_reject"
        );
        assert_eq!(
            told("available,failed_no_answer"),
            "available,failed_no_answer"
        );
        assert_eq!(told(""), "");
    }
}
