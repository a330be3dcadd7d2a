//! Health, metrics, and reading the configuration again.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use super::{Refusals, metrics as text};

/// What a reload changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// Keys that changed and take effect at the next start.
    pub needs_restart: Vec<&'static str>,
}

/// Routes that anybody may ask: they tell nothing but "yes" and "no".
pub(super) fn open_routes() -> Router<ApiState> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
}

async fn ready(State(state): State<ApiState>) -> Result<&'static str, Failure> {
    if state.shared().is_draining() {
        let text = "the server is ending: it takes no new calls";
        return Err(Failure::new(Kind::Unavailable, text));
    }
    Ok("ready\n")
}

/// Read the metrics
///
/// In the OpenMetrics text format, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    responses((status = 200, body = String,
               content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
              Refusals)
)]
pub(super) async fn metrics(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Response, Failure> {
    caller.administers()?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text::text(&state)).into_response())
}

/// Read the configuration file again
///
/// What can change at run time is put in force at once, all or nothing: a bad file changes nothing.
#[utoipa::path(
    post, path = "/reload", tag = "server",
    responses((status = 200, body = Reloaded), Refusals)
)]
pub(super) async fn reload(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Json<Reloaded>, Failure> {
    caller.administers()?;
    let reloaded = state.blocking(|state| state.host().reload()).await?;
    reloaded
        .map(|needs_restart| Json(Reloaded { needs_restart }))
        .map_err(|problems| Failure {
            detail: format!("the configuration is not in force, nothing changed: {problems}"),
            ..Failure::from(problems)
        })
}
