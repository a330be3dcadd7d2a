//! A subscriber as the API shows it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Failure;
use super::state::ApiState;
use crate::presence::{Profile, Status, Subscriber};

/// A subscriber's document, and how the subscriber is right now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct SubscriberDocument {
    /// What is stored.
    #[serde(flatten)]
    pub subscriber: Subscriber,
    /// What colleagues see: the status, or `in_call` during calls unless it is `dnd`.
    #[schema(read_only)]
    pub effective_status: Status,
    /// How many calls are open.
    #[schema(read_only)]
    pub calls: u16,
    /// Whether phones can authenticate as this subscriber.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(read_only, required = false)]
    pub has_password: bool,
    /// What is odd: a password that phones cannot use any more; after a change also settings such
    /// as forwardings that close a loop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(read_only, required = false)]
    pub warnings: Vec<String>,
}

/// A subscriber's status.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct StatusDocument {
    /// Whose.
    pub id: String,
    /// The name for people.
    pub display_name: String,
    /// The status that was set, `available` where none is.
    pub status: Status,
    /// What colleagues see: the status, or `in_call` during calls unless it is `dnd`.
    pub effective_status: Status,
    /// Shown with the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Who set it; told to the subscriber and the administrator only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<crate::presence::Source>,
    /// Since when; told to the subscriber and the administrator only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How many calls are open.
    pub calls: u16,
    /// Grows with every change.
    pub version: u64,
}

impl SubscriberDocument {
    /// The document of a profile as it is at this moment.
    pub(super) fn of(state: &ApiState, profile: &Profile) -> Self {
        let now_s = state.now_s();
        let mut subscriber = profile.to_subscriber();
        if profile.is_expired(now_s) {
            subscriber.status = Status::Available;
            subscriber.status_message = None;
            subscriber.until = None;
        }
        let (effective_status, calls) = presence(state, profile, now_s);
        Self {
            subscriber,
            effective_status,
            calls,
            has_password: profile.credentials().is_some(),
            warnings: profile.password_gaps(&state.roster().hashing()),
        }
    }
}

impl StatusDocument {
    /// The status of a profile as it is at this moment; with `is_own`, what colleagues are not told.
    pub(super) fn of(state: &ApiState, profile: &Profile, is_own: bool) -> Self {
        let now_s = state.now_s();
        let is_expired = profile.is_expired(now_s);
        let status = profile.status_at(now_s);
        let (effective_status, calls) = presence(state, profile, now_s);
        let set = profile.status_message().filter(|_| !is_expired);
        let message = set.or_else(|| profile.message_for(effective_status));
        Self {
            id: profile.id().to_owned(),
            display_name: profile.display_name().to_owned(),
            status,
            effective_status,
            message: message.map(str::to_owned),
            until: profile.until().filter(|_| !is_expired),
            source: profile.source().filter(|_| is_own && !is_expired),
            since: profile.since().filter(|_| is_own && !is_expired),
            calls,
            version: profile.version(),
        }
    }
}

/// The effective status and the number of open calls.
fn presence(state: &ApiState, profile: &Profile, now_s: i64) -> (Status, u16) {
    match state.directory().handle_of_id(profile.id()) {
        Some(handle) => (
            state.directory().effective_status(handle, now_s),
            state.directory().routing(handle).calls,
        ),
        None => (profile.status_at(now_s), 0),
    }
}

/// The subscriber of that id.
pub(super) fn find(state: &ApiState, id: &str) -> Result<std::sync::Arc<Profile>, Failure> {
    let profile = state.directory().get(id);
    profile.ok_or_else(|| Failure::no_subscriber(id))
}
