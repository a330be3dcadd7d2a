//! Who is shut out, and letting them in again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use super::auth::Caller;
use super::extract::Path;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use crate::auth::{Ban, Source};

/// Everybody who is shut out, in the order of their addresses.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BanList {
    /// At most as many as the table holds.
    pub bans: Vec<BanDocument>,
}

/// A source whose requests are dropped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BanDocument {
    /// An IPv4 address, or an IPv6 `/64`.
    pub source: String,
    /// Since when (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

impl BanDocument {
    fn of(ban: &Ban) -> Option<Self> {
        Some(Self {
            source: ban.source.to_string(),
            since: Timestamp::from_millisecond(ban.since_unix_ms).ok()?,
            until: Timestamp::from_millisecond(ban.until_unix_ms).ok()?,
        })
    }
}

/// List who is shut out
#[utoipa::path(
    get, path = "/bans", tag = "server",
    responses((status = 200, body = BanList), Refusals)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Json<BanList>, Failure> {
    caller.administers()?;
    let bans = state.shared().guard.bans.list(now_ms(&state));
    Ok(Json(BanList {
        bans: bans.iter().filter_map(BanDocument::of).collect(),
    }))
}

/// Let somebody in again
///
/// What the source has done is forgotten.
#[utoipa::path(
    delete, path = "/bans/{source}", tag = "server",
    params(("source" = String, Path, description = "Its address; for IPv6 any address of the /64")),
    responses((status = 204, description = "It is shut out no longer"), Refusals)
)]
pub(super) async fn lift(
    State(state): State<ApiState>,
    caller: Caller,
    Path(source): Path<String>,
) -> Result<StatusCode, Failure> {
    caller.administers()?;
    let parsed: Source = source.parse().map_err(|_| {
        let text = format!("`{source}` is no address");
        Failure::field(Kind::Invalid, "source", text)
    })?;
    match state.shared().guard.bans.lift(parsed, now_ms(&state)) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::new(
            Kind::NotFound,
            format!("`{parsed}` is not shut out"),
        )),
    }
}

fn now_ms(state: &ApiState) -> i64 {
    state.now().as_millisecond()
}
