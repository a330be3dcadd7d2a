//! What the API asks the roster to change, and how the roster's answers are told.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::document::find;
use super::gazette;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::status::StatusWish;
use super::transfer::{ImportedLine, ReadLine};
use crate::presence::{
    Change, ChangeError, Changed, Conflict, Directory, Language, Problem, Problems, Profile,
    Roster, Settings, Source, StatusSettings, Subscriber,
};

/// How often a change of the whole settings is tried again when somebody else was faster.
const ATTEMPTS: u32 = 8;

/// A change that is on disk.
pub(super) struct Written {
    /// The subscriber as it is now.
    pub profile: Arc<Profile>,
    /// Whether there was no such subscriber before.
    pub is_created: bool,
    /// Whether it sets a password that will be guessed.
    pub is_short: bool,
}

impl Written {
    /// What the person may not have meant, in a language.
    pub(super) fn warnings(&self, state: &ApiState, language: Language) -> Vec<String> {
        let mut told = state.roster().warnings(&self.profile, language);
        let short = match language {
            Language::De => "Das Kennwort hat weniger als 8 Zeichen: es lässt sich erraten",
            Language::En => "The password has fewer than 8 characters: it will be guessed",
        };
        told.extend(self.is_short.then(|| short.to_owned()));
        told
    }
}

/// Creates a subscriber.
pub(super) async fn create(state: &ApiState, subscriber: Subscriber) -> Result<Written, Failure> {
    let is_short = subscriber.password.is_short();
    let change = Change::Create {
        subscriber: Box::new(subscriber),
        source: Source::Admin,
    };
    let written = written(state, change, true).await?;
    Ok(Written {
        is_short,
        ..written
    })
}

/// Creates or replaces a subscriber.
pub(super) async fn put(
    state: &ApiState,
    subscriber: Subscriber,
    if_version: Option<u64>,
) -> Result<Written, Failure> {
    let is_created = state.directory().get(&subscriber.id).is_none();
    let is_short = subscriber.password.is_short();
    let change = Change::Put {
        subscriber: Box::new(subscriber),
        if_version,
        source: Source::Admin,
    };
    let written = written(state, change, is_created).await?;
    Ok(Written {
        is_short,
        ..written
    })
}

/// A subscriber who is deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    /// Who.
    pub id: String,
    /// How many others forward calls to them, by settings or exceptions.
    pub forwarding_total: usize,
    /// Their ids; at most 100.
    pub forwarding: Vec<String>,
}

/// Deletes a subscriber with tokens, sessions, phones and journal: whoever is given the id later
/// inherits nothing but the forwardings that lead to it, which are told.
pub(super) async fn delete(
    state: &ApiState,
    id: &str,
    if_version: Option<u64>,
) -> Result<Deleted, Failure> {
    let whose = id.to_owned();
    let asked = state.blocking(move |state| state.roster().forwarding_to(&whose));
    let (forwarding_total, forwarding) = asked.await?;
    let change = Change::Delete {
        id: id.to_owned(),
        if_version,
    };
    let callee = state.directory().handle_of_id(id);
    let deleted = written(state, change, false).await?;
    let id = deleted.profile.id().to_owned();
    gazette::tell_deleted(state, &id);
    if let Some(callee) = callee {
        // What the store refuses now, the sweep does later: nobody is found under the id.
        let _ = state.shared().locations.remove(callee, &id, None);
    }
    let key = state.journal_key(&id);
    let whose = id.clone();
    state
        .blocking(move |state| {
            state.tokens().delete_all_of(&whose)?;
            state.sessions().delete_all_of(&whose)?;
            state.store().erase_journal(key)
        })
        .await?
        .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    Ok(Deleted {
        id,
        forwarding_total,
        forwarding,
    })
}

/// Sets a subscriber's status.
pub(super) async fn set_status(
    state: &ApiState,
    id: &str,
    wish: StatusWish,
    source: Source,
    if_version: Option<u64>,
) -> Result<Written, Failure> {
    let change = Change::SetStatus {
        id: id.to_owned(),
        status: wish.status,
        own_status: wish.own_status,
        message: wish.message,
        until: wish.until,
        hold: wish.hold,
        source,
        if_version,
    };
    written(state, change, false).await
}

/// Clears a subscriber's status.
pub(super) async fn clear_status(
    state: &ApiState,
    id: &str,
    source: Source,
    if_version: Option<u64>,
) -> Result<Written, Failure> {
    let change = Change::ClearStatus {
        id: id.to_owned(),
        source,
        if_version,
    };
    written(state, change, false).await
}

/// Replaces what is set for every status.
pub(super) async fn set_settings(
    state: &ApiState,
    id: &str,
    settings: Settings,
    if_version: Option<u64>,
) -> Result<Written, Failure> {
    let written = adjust(state, id, if_version, |subscriber| {
        subscriber.settings.clone_from(&settings);
    });
    written.await.map_err(within_settings)
}

/// Changes a part of a document: it is read and put back whole, again where somebody else was
/// faster and the caller demanded no version.
pub(super) async fn adjust(
    state: &ApiState,
    id: &str,
    if_version: Option<u64>,
    change: impl Fn(&mut Subscriber),
) -> Result<Written, Failure> {
    let mut attempts = 1..=ATTEMPTS;
    loop {
        let profile = find(state, id)?;
        let mut subscriber = profile.to_subscriber();
        change(&mut subscriber);
        let put = Change::Put {
            subscriber: Box::new(subscriber),
            if_version: if_version.or(Some(profile.version())),
            source: Source::Api,
        };
        let outcome = state.roster().change(put).await;
        let is_overtaken = matches!(
            outcome,
            Err(ChangeError::Conflict(Conflict::Version { .. }))
        );
        if is_overtaken && if_version.is_none() && attempts.next().is_some() {
            continue;
        }
        return answer(outcome, false);
    }
}

/// Replaces what is set for one status, or with `all` for what every status inherits.
pub(super) async fn set_part(
    state: &ApiState,
    id: &str,
    part: &str,
    settings: StatusSettings,
    if_version: Option<u64>,
) -> Result<Written, Failure> {
    let change = Change::PutSettings {
        id: id.to_owned(),
        part: part.into(),
        settings: Box::new(settings),
        if_version,
    };
    written(state, change, false).await
}

/// Creates or replaces many subscribers, each for itself; one answer a line, in order. What
/// `POST /import` does, also without a server.
pub async fn import(
    roster: &Roster,
    directory: &Directory,
    lines: Vec<(u64, ReadLine)>,
) -> Vec<ImportedLine> {
    let mut answers = Vec::with_capacity(lines.len());
    let mut changes = Vec::with_capacity(lines.len());
    let mut waiting = Vec::with_capacity(lines.len());
    let mut seen = HashSet::new();
    for (line, read) in lines {
        match read {
            Ok(subscriber) => {
                let id = subscriber.id.clone();
                let is_first = seen.insert(id.to_ascii_lowercase());
                let is_created = is_first && directory.get(&id).is_none();
                waiting.push((line, id, is_created));
                changes.push(Change::Put {
                    subscriber: Box::new(subscriber),
                    if_version: None,
                    source: Source::Import,
                });
            }
            Err(problems) => {
                answers.push(ImportedLine::failed(line, None, &Failure::from(problems)));
            }
        }
    }
    let outcomes = roster.change_many(changes).await;
    for ((line, id, is_created), outcome) in waiting.into_iter().zip(outcomes) {
        answers.push(match outcome {
            Ok(changed) => ImportedLine::done(line, id, outcome_name(is_created, &changed)),
            Err(error) => ImportedLine::failed(line, Some(id), &failure(error)),
        });
    }
    answers.sort_by_key(|answer| answer.line);
    answers
}

fn outcome_name(is_created: bool, changed: &Changed) -> &'static str {
    match (changed.is_new, is_created) {
        (true, true) => "created",
        (true, false) => "changed",
        (false, _) => "unchanged",
    }
}

/// Makes one change and tells how it went.
pub(super) async fn written(
    state: &ApiState,
    change: Change,
    is_created: bool,
) -> Result<Written, Failure> {
    answer(state.roster().change(change).await, is_created)
}

fn answer(outcome: Result<Changed, ChangeError>, is_created: bool) -> Result<Written, Failure> {
    outcome.map_err(failure).map(|changed| Written {
        profile: changed.profile,
        is_created,
        is_short: false,
    })
}

/// How a change that did not happen is told.
pub(super) fn failure(error: ChangeError) -> Failure {
    match error {
        ChangeError::NotFound { id } => Failure::no_subscriber(&id),
        ChangeError::Refused(text) => Failure::new(Kind::Conflict, text),
        ChangeError::Invalid(problems) => problems.into(),
        ChangeError::Store(text) => {
            let text = format!("nothing was changed: {text}");
            Failure::new(Kind::Storage, text)
        }
        ChangeError::Busy => {
            let text = "too many changes are waiting for the disk; try again in a moment";
            Failure::new(Kind::Unavailable, text)
        }
        ChangeError::Conflict(Conflict::Exists { id }) => Failure::new(
            Kind::Conflict,
            format!("there is a subscriber `{id}` already; PUT replaces"),
        ),
        ChangeError::Conflict(Conflict::Taken { key, owner }) => {
            Failure::new(Kind::Conflict, format!("`{key}` belongs to `{owner}`"))
        }
        ChangeError::Conflict(Conflict::Version { id, current }) => Failure::new(
            Kind::VersionMismatch,
            format!("`{id}` is at version {current} now; read it again"),
        ),
    }
}

/// Names problems by the settings' own keys, as the request did.
fn within_settings(failure: Failure) -> Failure {
    if failure.problems.is_empty() {
        return failure;
    }
    let rename = |problem: Problem| {
        let field = problem.field.strip_prefix("settings.");
        Problem {
            field: field.unwrap_or(&problem.field).to_owned(),
            ..problem
        }
    };
    let problems = failure.problems.into_iter().map(rename).collect();
    Failure::from((failure.kind, Problems(problems)))
}
