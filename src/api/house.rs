//! What the administrator laid down for everybody, as it is in force: teams, who sees what, when
//! people work, whereto may be forwarded.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::problem::Failure;
use super::state::ApiState;
use super::teams::{TeamDocument, teams};
use crate::presence::{Visibility, WorkWeek};

/// The rules of the house.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HouseDocument {
    /// What colleagues see of each other (`presence.team_sees`, `presence.others_see`).
    pub visibility: Visibility,
    /// The teams of all subscribers, at most 1,000.
    pub teams: Vec<TeamDocument>,
    /// When people work who say nothing else (`[[hours]]`), the first that is for them.
    pub hours: Vec<HoursOfTeam>,
    /// Whereto may not be forwarded, and what may nevertheless (`[forwarding]`).
    pub forwarding: Vec<String>,
    /// For how long phones ring, in seconds (`sip.ring_for_s`).
    pub ring_for_s: u16,
    /// How do not disturb is answered (`sip.dnd_status`).
    pub dnd_status: u16,
    /// How many calls somebody has before they count as busy (`sip.call_limit`).
    pub call_limit: u16,
}

/// Hours that are configured.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HoursOfTeam {
    /// Whose; everybody's where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The week.
    pub week: WorkWeek,
}

/// Read the rules of the house
///
/// They stand in the configuration file, and change when that is read again. For the administrator.
#[utoipa::path(
    get, path = "/house", tag = "server",
    responses((status = 200, body = HouseDocument), Refusals)
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Json<HouseDocument>, Failure> {
    caller.administers()?;
    Ok(Json(state.blocking(HouseDocument::of).await?))
}

impl HouseDocument {
    fn of(state: &ApiState) -> Self {
        let house = state.roster().house();
        let policy = state.shared().policy.load();
        let hours = house.hours.iter().map(|hours| HoursOfTeam {
            team: hours.team.as_deref().map(str::to_owned),
            week: hours.schedule.week().clone(),
        });
        Self {
            visibility: policy.visibility,
            teams: teams(state, |_| true),
            hours: hours.collect(),
            forwarding: house.targets.told().map(str::to_owned).collect(),
            ring_for_s: policy.ring_for_s,
            dnd_status: policy.dnd_status,
            call_limit: policy.call_limit,
        }
    }
}
