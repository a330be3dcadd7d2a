//! The teams there are, as far as somebody sees their members.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::colleagues::Viewer;
use super::problem::Failure;
use super::state::ApiState;
use crate::presence::{Level, Profile};

/// How many teams are named.
const TEAMS_LIMIT: usize = 1_000;

/// A team.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TeamDocument {
    /// As the first of its members writes it.
    pub name: String,
    /// How many belong to it.
    pub members: usize,
}

/// The teams there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TeamList {
    /// In the order of their names, at most 1,000.
    pub teams: Vec<TeamDocument>,
}

/// List teams
///
/// Those of everybody whom the caller may see; of others they tell nothing, not even how many they
/// are. `GET /colleagues?team=` lists the members.
#[utoipa::path(
    get, path = "/teams", tag = "status",
    responses((status = 200, body = TeamList), Refusals)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Json<TeamList>, Failure> {
    let listed = state.blocking(move |state| {
        let viewer = Viewer::of(state, &caller);
        teams(state, |profile| viewer.level(state, profile) > Level::None)
    });
    Ok(Json(TeamList {
        teams: listed.await?,
    }))
}

/// The teams of those who `count`; looks at every subscriber.
pub(super) fn teams(state: &ApiState, counts: impl Fn(&Profile) -> bool) -> Vec<TeamDocument> {
    let mut found: BTreeMap<String, TeamDocument> = BTreeMap::new();
    for profile in state.directory().profiles() {
        if profile.teams().is_empty() || !counts(&profile) {
            continue;
        }
        for name in profile.teams() {
            let key = name.to_lowercase();
            if found.len() >= TEAMS_LIMIT && !found.contains_key(&key) {
                continue;
            }
            let team = found.entry(key).or_insert_with(|| TeamDocument {
                name: name.clone(),
                members: 0,
            });
            team.members += 1;
        }
    }
    found.into_values().collect()
}
