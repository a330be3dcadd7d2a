//! A subscriber as the API shows it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Failure;
use super::state::ApiState;
use crate::presence::{OwnName, Profile, Source, Standing, Status, StatusLayer, Subscriber};

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
    /// What is odd, in the language of the request: forwardings that close a loop, lead to nobody or
    /// whereto they may not, rules that never match, a password that phones cannot use any more. A
    /// list of subscribers has only what each document tells by itself.
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
    /// The base status in force: that of the highest layer.
    pub status: Status,
    /// The own status that it stands for, by its id; `GET /statuses` has its texts and its colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_status: Option<&'static str>,
    /// What colleagues see: the status, or `in_call` during calls and meetings unless it is `dnd`.
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
    pub source: Option<Source>,
    /// Since when; told to the subscriber and the administrator only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Whether what was chosen holds against what comes by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub hold: bool,
    /// Every layer that is present, the highest first; told to the subscriber and the administrator
    /// only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub layers: Vec<LayerDocument>,
    /// Whether the reader may order a status: the administrator, and delegates.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub may_order: bool,
    /// The order that is in force, for who may order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<LayerDocument>,
    /// How many calls are open.
    pub calls: u16,
    /// Grows with every change.
    pub version: u64,
}

/// One layer of a subscriber's status.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct LayerDocument {
    /// Which.
    pub layer: StatusLayer,
    /// What it says.
    pub status: Status,
    /// The own status that it stands for, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_status: Option<&'static str>,
    /// Shown with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// An event's title, an activity, `idle` or `locked`, or who ordered it; left out for an event
    /// without a title.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub cause: String,
    /// The id of the signal that says so, by which it is dismissed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The name for people of who ordered it, where that is a subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl LayerDocument {
    fn of(state: &ApiState, standing: &Standing<'_>) -> Self {
        let by = match standing.layer {
            StatusLayer::Override => state.directory().get(standing.cause),
            _ => None,
        };
        Self {
            layer: standing.layer,
            status: standing.status,
            own_status: standing.own.map(OwnName::id),
            message: standing.message.map(str::to_owned),
            since: standing.since_unix_s.and_then(second),
            until: standing.until_unix_s.and_then(second),
            source: standing.source,
            cause: standing.cause.to_owned(),
            event: standing.event.map(str::to_owned),
            by: by.map(|by| by.display_name().to_owned()),
        }
    }
}

fn second(unix_s: i64) -> Option<Timestamp> {
    Timestamp::from_second(unix_s).ok()
}

impl SubscriberDocument {
    /// The document of a profile as it is at this moment.
    pub(super) fn of(state: &ApiState, profile: &Profile, warnings: Vec<String>) -> Self {
        let now_s = state.now_s();
        let mut subscriber = profile.to_subscriber();
        if profile.is_expired(now_s) {
            subscriber.status = Status::Available;
            subscriber.own_status = None;
            subscriber.status_message = None;
            subscriber.until = None;
            subscriber.hold = false;
        }
        let (effective_status, calls) = presence(state, profile, now_s);
        Self {
            subscriber,
            effective_status,
            calls,
            has_password: profile.credentials().is_some(),
            warnings,
        }
    }
}

impl StatusDocument {
    /// The status of a profile as it is at this moment; with `is_own`, what colleagues are not told.
    pub(super) fn of(state: &ApiState, profile: &Profile, is_own: bool) -> Self {
        let now_s = state.now_s();
        let standing = profile.standing(now_s);
        let (effective_status, calls) = presence(state, profile, now_s);
        let layers = profile.standings(now_s);
        Self {
            id: profile.id().to_owned(),
            display_name: profile.display_name().to_owned(),
            status: standing.status,
            own_status: standing.own.map(OwnName::id),
            effective_status,
            message: profile
                .message_at(now_s, effective_status)
                .map(str::to_owned),
            until: standing.until_unix_s.and_then(second),
            source: standing.source.filter(|_| is_own),
            since: standing.since_unix_s.and_then(second).filter(|_| is_own),
            hold: is_own && profile.is_held() && !profile.is_expired(now_s),
            layers: layers
                .iter()
                .filter(|_| is_own)
                .map(|layer| LayerDocument::of(state, layer))
                .collect(),
            may_order: false,
            order: None,
            calls,
            version: profile.version(),
        }
    }
}

impl StatusDocument {
    /// What was ordered and is in force.
    pub(super) fn order_of(state: &ApiState, profile: &Profile) -> Option<LayerDocument> {
        let layers = profile.standings(state.now_s());
        let mut orders = layers.iter();
        let order = orders.find(|layer| layer.layer == StatusLayer::Override)?;
        Some(LayerDocument::of(state, order))
    }
}

/// The effective status and the number of open calls.
pub(super) fn presence(state: &ApiState, profile: &Profile, now_s: i64) -> (Status, u16) {
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
