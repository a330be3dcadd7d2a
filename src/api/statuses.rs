//! The statuses there are: the five, and the deployment's own.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::state::ApiState;
use crate::presence::{Class, Colour, Language, OwnStatus, Status};

/// A status that people see and choose.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatusChoice {
    /// What `PUT /subscribers/{id}/status` takes, and under which its settings stand.
    pub id: String,
    /// Whether it is of the deployment's own.
    pub own: bool,
    /// What it means for calls, phones and colleagues.
    pub class: Class,
    /// The one of the five that stands for it where own statuses are not known.
    pub status: Status,
    /// What people read.
    pub text: Texts,
    /// In which colour it is shown.
    pub colour: Colour,
    /// The activity that phones are told (RPID, RFC 4480), where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// Whether people can choose it; `in_call` is shown by itself.
    pub can_be_chosen: bool,
}

/// A text in each language.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Texts {
    /// In German.
    pub de: String,
    /// In English.
    pub en: String,
}

/// List the statuses
///
/// The five that always exist, then those of the deployment's own, in the order in which people see
/// them.
#[utoipa::path(
    get, path = "/statuses", tag = "status",
    responses((status = 200, body = Vec<StatusChoice>), Refusals)
)]
pub(super) async fn statuses(
    State(state): State<ApiState>,
    _caller: Caller,
) -> Json<Vec<StatusChoice>> {
    let house = state.roster().house();
    let own = house.statuses.0.iter().map(StatusChoice::of_own);
    let five = Status::ALL.into_iter().map(StatusChoice::of);
    Json(five.chain(own).collect())
}

impl StatusChoice {
    fn of(status: Status) -> Self {
        let activity = match status {
            Status::Away => Some("away"),
            Status::Break => Some("meal"),
            Status::Dnd => Some("busy"),
            Status::InCall => Some("on-the-phone"),
            Status::Available => None,
        };
        Self {
            id: status.name().to_owned(),
            own: false,
            class: Class::of(status),
            status,
            text: Texts {
                de: status.label(Language::De).to_owned(),
                en: status.label(Language::En).to_owned(),
            },
            colour: Colour::of(status),
            activity: activity.map(str::to_owned),
            can_be_chosen: status != Status::InCall,
        }
    }

    fn of_own(own: &OwnStatus) -> Self {
        Self {
            id: own.name.id().to_owned(),
            own: true,
            class: own.class,
            status: own.class.status(),
            text: Texts {
                de: own.de.to_string(),
                en: own.en.to_string(),
            },
            colour: own.colour,
            activity: own.activity.as_deref().map(str::to_owned),
            can_be_chosen: true,
        }
    }
}
