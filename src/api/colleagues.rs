//! What people see of each other.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::document::StatusDocument;
use super::extract::Query;
use super::problem::Failure;
use super::state::ApiState;
use super::{Refusals, list};
use crate::message::{Scheme, Uri};
use crate::presence::{Level, Profile, Status};

/// Which colleagues are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ColleagueQuery {
    /// At most so many, 1 to 1,000; 100 without it
    limit: Option<usize>,
    /// `next` of the page before
    after: Option<String>,
    /// Only those whose id, name or aliases contain this text
    search: Option<String>,
    /// Only members of this team
    team: Option<String>,
}

/// Some colleagues, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ColleaguePage {
    /// Each as in `GET /subscribers/{id}/status`, with `teams`.
    pub colleagues: Vec<Value>,
    /// Continues the listing as `after`; absent at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many there are on all pages.
    pub total: usize,
}

/// List colleagues
///
/// Everybody whom the caller may see, each as far as the caller may see them.
#[utoipa::path(
    get, path = "/colleagues", tag = "status", params(ColleagueQuery),
    responses((status = 200, body = ColleaguePage), Refusals)
)]
pub(super) async fn colleagues(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<ColleagueQuery>,
) -> Result<Json<ColleaguePage>, Failure> {
    let limit = list::limit(query.limit)?;
    let page = state
        .blocking(move |state| page(state, &caller, &query, limit))
        .await?;
    Ok(Json(page))
}

fn page(state: &ApiState, caller: &Caller, query: &ColleagueQuery, limit: usize) -> ColleaguePage {
    let viewer = Viewer::of(state, caller);
    let (after, search) = (query.after.as_deref(), query.search.as_deref());
    let search = search.filter(|text| !text.is_empty());
    let team = query.team.as_deref().filter(|team| !team.is_empty());
    let page = state.directory().list_of(after, search, limit, |profile| {
        team.is_none_or(|team| profile.is_in(team)) && viewer.level(state, profile) > Level::None
    });
    let shown = page.subscribers.iter().filter_map(|profile| {
        let mut shown = viewer.see(state, profile)?;
        if let Some(map) = shown.as_object_mut() {
            map.insert("teams".to_owned(), json!(profile.teams()));
        }
        Some(shown)
    });
    ColleaguePage {
        colleagues: shown.collect(),
        next: page.next,
        total: page.total,
    }
}

/// Who looks.
pub(super) enum Viewer {
    /// The administrator sees everything.
    Administrator,
    /// A subscriber, as long as they are there.
    Subscriber(Option<std::sync::Arc<Profile>>),
}

impl Viewer {
    /// The one who asks.
    pub(super) fn of(state: &ApiState, caller: &Caller) -> Self {
        match caller {
            Caller::Administrator => Self::Administrator,
            Caller::Subscriber(id) => Self::Subscriber(state.directory().get(id)),
        }
    }

    /// How much this one sees of somebody.
    pub(super) fn level(&self, state: &ApiState, seen: &Profile) -> Level {
        match self {
            Self::Administrator => Level::Full,
            Self::Subscriber(Some(own)) => {
                let is_own = own.id().eq_ignore_ascii_case(seen.id());
                if is_own || seen.is_represented_by(own.id()) {
                    return Level::Full;
                }
                let configured = state.shared().policy.load().visibility;
                let shares_a_team = own.shares_a_team_with(seen);
                seen.visibility().level(shares_a_team, configured)
            }
            Self::Subscriber(None) => Level::None,
        }
    }

    /// The name for people of somebody whom this one may see.
    pub(super) fn name_of(&self, state: &ApiState, seen: &Profile) -> Option<String> {
        (self.level(state, seen) > Level::None).then(|| seen.display_name().to_owned())
    }

    /// The same of the subscriber behind an address, as subscribers are now.
    pub(super) fn name_behind(&self, state: &ApiState, address: &str) -> Option<String> {
        let uri = Uri::parse(address.as_bytes()).ok()?;
        let policy = state.shared().policy.load();
        if uri.scheme != Scheme::Tel && !policy.is_ours(uri.host) {
            return None;
        }
        let user = uri.unescaped_user();
        let directory = state.directory();
        let profile = directory.profile(directory.find_dialled(&user, &policy.plan)?)?;
        self.name_of(state, &profile)
    }

    /// Somebody's status as this one sees it; `None` where that is nothing.
    pub(super) fn see(&self, state: &ApiState, seen: &Profile) -> Option<Value> {
        let level = self.level(state, seen);
        let is_own = match self {
            Self::Administrator => true,
            Self::Subscriber(own) => own
                .as_ref()
                .is_some_and(|own| own.id().eq_ignore_ascii_case(seen.id())),
        };
        let mut status = StatusDocument::of(state, seen, is_own);
        status.may_order = match self {
            Self::Administrator => true,
            Self::Subscriber(own) => own
                .as_ref()
                .is_some_and(|own| seen.is_represented_by(own.id())),
        };
        if status.may_order {
            status.order = StatusDocument::order_of(state, seen);
        }
        mask(serde_json::to_value(&status).unwrap_or_default(), level)
    }
}

/// What is left of a status at that level; the level itself is told as `shows`.
pub(super) fn mask(mut status: Value, level: Level) -> Option<Value> {
    if level == Level::None {
        return None;
    }
    let map = status.as_object_mut()?;
    if level < Level::Full {
        for key in ["message", "until", "since", "source"] {
            map.remove(key);
        }
    }
    if level < Level::Status {
        let effective = map.remove("effective_status");
        let is_free = effective.as_ref().and_then(Value::as_str) == Some(Status::Available.name());
        for key in ["status", "own_status", "calls"] {
            map.remove(key);
        }
        map.insert("free".to_owned(), is_free.into());
    }
    map.insert("shows".to_owned(), level.name().into());
    Some(status)
}
