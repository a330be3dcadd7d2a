//! What people see of each other.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::document::{StatusDocument, presence};
use super::extract::Query;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::{Refusals, list};
use crate::message::{Scheme, Uri};
use crate::presence::{Level, OwnName, Profile, Status};

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
    /// Only those who are seen in this status, by the id of `GET /statuses`; `free` or `busy` finds
    /// those of whom no more is seen
    status: Option<String>,
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
    if let Some(status) = query.status.as_deref().filter(|text| !text.is_empty()) {
        check_status(&state, status)?;
    }
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
    let status = query.status.as_deref().filter(|text| !text.is_empty());
    let page = state.directory().list_of(after, search, limit, |profile| {
        if !team.is_none_or(|team| profile.is_in(team)) {
            return false;
        }
        let level = viewer.level(state, profile);
        level > Level::None && status.is_none_or(|wanted| shown_as(state, profile, level) == wanted)
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

/// `free`, `busy`, or a status that there is.
fn check_status(state: &ApiState, status: &str) -> Result<(), Failure> {
    let is_own = state.roster().house().statuses.get(status).is_some();
    if is_own || matches!(status, FREE | BUSY) || Status::from_name(status).is_some() {
        return Ok(());
    }
    let text = format!("there is no status `{status}`; `GET /statuses` has them");
    Err(Failure::field(Kind::Malformed, "status", text))
}

const FREE: &str = "free";
const BUSY: &str = "busy";

/// The status by its id, as it is seen at that level.
fn shown_as(state: &ApiState, profile: &Profile, level: Level) -> &'static str {
    let now_s = state.now_s();
    let (effective, _) = presence(state, profile, now_s);
    if level < Level::Status {
        return if effective == Status::Available {
            FREE
        } else {
            BUSY
        };
    }
    let standing = profile.standing(now_s);
    let own = standing.own.filter(|_| standing.status == effective);
    own.map_or(effective.name(), OwnName::id)
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
                seen.level_for(Some(own), state.shared().policy.load().visibility)
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
