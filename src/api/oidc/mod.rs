//! Signing in at the page at a provider of OpenID Connect: the authorization code flow with PKCE.
//!
//! Between the way out and the way back nothing is kept here: a cookie of the browser holds a random
//! secret, and state, nonce and code verifier are hashes of it (`pass`). So a way back belongs to the
//! browser that went out (RFC 6749 §10.12), a code to its verifier (RFC 7636), an ID token to its
//! nonce (OpenID Connect Core §3.1.3.7), and a flood of ways out fills nothing. `provider` asks the
//! provider and believes its answers or not.

mod pass;
mod provider;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(super) use provider::Oidc;
pub use provider::{Provider, SignInProvider};

use super::Refusals;
use super::auth::{Caller, Origin, hex};
use super::extract::Query;
use super::problem::{Failure, Kind};
use super::session;
use super::state::ApiState;
use pass::Pass;

/// Why nobody was signed in; the page has words for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// The browser brings no cookie of the way out, or it took too long.
    Lost,
    /// The way back is not that of the way out.
    Mismatch,
    /// The person or the provider said no.
    Denied,
    /// The provider does not answer, or not as one.
    Unanswered,
    /// What it says is not to be believed.
    Unbelievable,
    /// It is nobody whom we know.
    Unknown,
    /// Too many attempts.
    Wait,
}

/// The ways to sign in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignInWays {
    /// Whether by id and password.
    pub passwords: bool,
    /// The provider of OpenID Connect, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderWay>,
}

/// The way over a provider.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProviderWay {
    /// What a button should say.
    pub label: String,
    /// Where a browser begins.
    pub path: &'static str,
}

/// What the provider sends a browser back with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WayBack {
    /// The authorization code
    code: Option<String>,
    /// The state of the way out
    state: Option<String>,
    /// Why there is no code
    error: Option<String>,
}

/// How people can sign in
#[utoipa::path(
    get, path = "/session/ways", tag = "session", security(()),
    responses((status = 200, body = SignInWays), Refusals)
)]
pub(super) async fn ways(State(state): State<ApiState>) -> Json<SignInWays> {
    let oidc = state.oidc();
    let way = |oidc: &Arc<Oidc>| ProviderWay {
        label: oidc.label().to_owned(),
        path: "/api/v1/session/oidc",
    };
    Json(SignInWays {
        passwords: state.allows_passwords(),
        provider: oidc.as_ref().map(way),
    })
}

/// Sign in at the provider
///
/// For browsers: leads to the provider of OpenID Connect, which leads back.
#[utoipa::path(
    get, path = "/session/oidc", tag = "session", security(()),
    responses((status = 303, description = "To the provider"), Refusals)
)]
pub(super) async fn begin(
    State(state): State<ApiState>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let oidc = configured(&state)?;
    let mut random = [0; 32];
    let drawn = state.host().random(&mut random);
    drawn.map_err(|error| Failure::new(Kind::Internal, error))?;
    let pass = Pass(hex(&random));
    let cookie = pass.cookie(&origin);
    let callback = oidc.callback(&origin, &headers)?;
    let Ok(_seat) = oidc.seats.try_acquire() else {
        return Ok(Refused::Unanswered.answer(&origin));
    };
    let asked = Arc::clone(&oidc);
    let way = state.blocking(move |state| asked.way_out(state, &pass, callback));
    Ok(match way.await? {
        Ok(url) => {
            let headers = [(LOCATION, url), (SET_COOKIE, cookie)];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(fault) => {
            tracing::warn!(fault, "nobody can sign in at the provider");
            Refused::Unanswered.answer(&origin)
        }
    })
}

/// Come back from the provider
///
/// For browsers: opens a session for whom the ID token names, or leads to the page with the reason
/// why not.
#[utoipa::path(
    get, path = "/session/oidc/callback", tag = "session", security(()), params(WayBack),
    responses((status = 303, description = "To the page", headers(("Set-Cookie" = String))), Refusals)
)]
pub(super) async fn come_back(
    State(state): State<ApiState>,
    origin: Origin,
    headers: HeaderMap,
    Query(way): Query<WayBack>,
) -> Result<Response, Failure> {
    let oidc = configured(&state)?;
    match oidc.arrive(&state, &origin, &headers, way).await? {
        Ok(id) => {
            let proof = oidc.proof();
            let caller = Caller::Subscriber(id);
            let session = session::opened(&state, &headers, &origin, caller, proof).await?;
            let [(_, session)] = session;
            let headers = [
                (LOCATION, "/".to_owned()),
                (SET_COOKIE, session),
                (SET_COOKIE, Pass::none(&origin)),
            ];
            let mut response = StatusCode::SEE_OTHER.into_response();
            for (name, value) in headers {
                let value = value.parse().map_err(|_| {
                    Failure::new(Kind::Internal, "a cookie that is no header field")
                })?;
                response.headers_mut().append(name, value);
            }
            Ok(response)
        }
        Err(refused) => Ok(refused.answer(&origin)),
    }
}

/// Sign out at the provider, too
///
/// For browsers: leads to where the provider ends its own session, if it says where, and else to the
/// page. `DELETE /session` comes first.
#[utoipa::path(
    get, path = "/session/oidc/end", tag = "session", security(()),
    responses((status = 303, description = "To the provider"), Refusals)
)]
pub(super) async fn leave(
    State(state): State<ApiState>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let oidc = configured(&state)?;
    let page = oidc.page(&origin, &headers)?;
    let asked = Arc::clone(&oidc);
    let there = match oidc.seats.try_acquire() {
        Ok(_seat) => {
            let known = state.blocking(move |state| asked.metadata(state, provider::KNOWN_S));
            known
                .await?
                .ok()
                .and_then(|known| oidc.way_to_end(&known, &page))
        }
        Err(_) => None,
    };
    let there = there.unwrap_or_else(|| "/".to_owned());
    Ok((StatusCode::SEE_OTHER, [(LOCATION, there)]).into_response())
}

fn configured(state: &ApiState) -> Result<Arc<Oidc>, Failure> {
    let none = || Failure::new(Kind::NotFound, "no provider is configured (`oidc.issuer`)");
    state.oidc().ok_or_else(none)
}

impl Refused {
    const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Mismatch => "mismatch",
            Self::Denied => "denied",
            Self::Unanswered => "unanswered",
            Self::Unbelievable => "unbelievable",
            Self::Unknown => "unknown",
            Self::Wait => "wait",
        }
    }

    /// To the page, which says why.
    fn answer(self, origin: &Origin) -> Response {
        let headers = [
            (LOCATION, format!("/#sign-in-{}", self.name())),
            (SET_COOKIE, Pass::none(origin)),
        ];
        (StatusCode::SEE_OTHER, headers).into_response()
    }
}
