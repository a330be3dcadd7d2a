//! Everything that is kept about one person: given out, and erased.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::bindings::{BindingDocument, bindings_of};
use super::changes;
use super::colleagues::Viewer;
use super::document::{SubscriberDocument, find};
use super::extract::Path;
use super::journal::{JournalEntry, whole_journal};
use super::language::Speech;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::tokens::TokenEntry;

/// Everything that is kept about a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PersonalRecord {
    /// When this was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The document: status, settings, exceptions, hours, signals, teams. Of passwords only whether
    /// there are any.
    pub subscriber: SubscriberDocument,
    /// The tokens, without their secrets.
    pub tokens: Vec<TokenEntry>,
    /// The phones that are registered.
    pub bindings: Vec<BindingDocument>,
    /// The whole journal, the newest first.
    pub journal: Vec<JournalEntry>,
}

/// Give out everything that is kept about a person
///
/// For the subscriber and the administrator. What others' journals say of calls with the person is
/// theirs and not part of it.
#[utoipa::path(
    get, path = "/subscribers/{id}/data", tag = "subscribers",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 200, body = PersonalRecord), Refusals)
)]
pub(super) async fn give_out(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    speech: Speech,
) -> Result<Json<PersonalRecord>, Failure> {
    caller.owns(&id)?;
    let profile = find(&state, &id)?;
    let id = profile.id().to_owned();
    tracing::info!(
        subscriber = id,
        by = caller.name(),
        "personal data were given out"
    );
    let (key, of) = (state.journal_key(&id), id.clone());
    let journal = state
        .blocking(move |state| whole_journal(state, &Viewer::of(state, &caller), key))
        .await??;
    let warnings = state.roster().warnings(&profile, speech.of(&profile));
    Ok(Json(PersonalRecord {
        at: state.now(),
        subscriber: SubscriberDocument::of(&state, &profile, warnings),
        tokens: state.tokens().of(&of),
        bindings: bindings_of(&state, &of),
        journal,
    }))
}

/// Erase everything that is kept about a person
///
/// Deletes the subscriber with tokens, sessions, bindings, journal and recent decisions; also what is
/// left of somebody who was deleted before. For the administrator. What others' journals say of calls
/// with the person is theirs, and stays for the configured time; the log is not touched.
#[utoipa::path(
    delete, path = "/subscribers/{id}/data", tag = "subscribers",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 204, description = "Nothing is left"), Refusals)
)]
pub(super) async fn erase(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    caller.administers()?;
    let profile = state.directory().get(&id);
    let id = profile
        .as_ref()
        .map_or(id, |profile| profile.id().to_owned());
    if profile.is_some() {
        let handle = state.directory().handle_of_id(&id);
        changes::delete(&state, &id, None).await?;
        state.collect_traces();
        state.traces().forget(|trace| trace.callee == handle);
    }
    erase_entries(&state, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Erase a subscriber's journal
///
/// For the subscriber and the administrator.
#[utoipa::path(
    delete, path = "/subscribers/{id}/journal", tag = "calls",
    params(("id" = String, Path, description = "Id of the subscriber")),
    responses((status = 204, description = "It is empty"), Refusals)
)]
pub(super) async fn erase_journal(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    caller.owns(&id)?;
    let id = find(&state, &id)?.id().to_owned();
    erase_entries(&state, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn erase_entries(state: &ApiState, caller: &Caller, id: String) -> Result<(), Failure> {
    let key = state.journal_key(&id);
    let erased = state
        .blocking(move |state| state.store().erase_journal(key))
        .await?
        .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    let by = caller.name();
    tracing::info!(
        subscriber = id,
        entries = erased,
        by,
        "a journal was erased"
    );
    Ok(())
}
