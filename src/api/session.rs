//! `/api/v1/session`: signing in and out at the page, and who is signed in.

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, COOKIE as COOKIE_HEADER, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::{Caller, Origin, Via, hex};
use super::extract::Body;
use super::problem::{Failure, Kind};
use super::sessions::{COOKIE, LIFE_S, Proof, admin_proof};
use super::state::ApiState;
use super::{Refusals, page_password, require_keys};
use crate::auth::PASSWORD_LIMIT_BYTES;
use crate::presence::Language;

/// A cookie to be set.
type SetCookie = [(HeaderName, String); 1];

/// How somebody signs in: with id and password, or with a token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignIn {
    /// Id of the subscriber.
    pub id: Option<String>,
    /// The password of the page; that of the phones where there is none for the page.
    pub password: Option<String>,
    /// The administrator's token, or a subscriber's.
    pub token: Option<String>,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionDocument {
    /// `administrator` or `subscriber`.
    pub role: &'static str,
    /// Id of the subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The language in which the subscriber is addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// `page` by cookie, `token` by Authorization, `machine` for whoever asks from the server's own
    /// machine where there is no administrator's token.
    pub via: &'static str,
    /// When the session ends if nothing more is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether a provider of OpenID Connect opened it: its own session goes on until a browser
    /// goes to `/api/v1/session/oidc/end`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub at_provider: bool,
}

/// Sign in
///
/// Sets a cookie that the page's requests carry. Wrong passwords make the sender and the id wait;
/// whoever is not known is told the same, after the same time.
#[utoipa::path(
    post, path = "/session", tag = "session", request_body = SignIn, security(()),
    responses(
        (status = 200, body = SessionDocument, headers(("Set-Cookie" = String))),
        (status = 429, description = "Too many attempts; `Retry-After` says when to try again",
         body = super::problem::ProblemDetails, content_type = "application/problem+json"),
        Refusals
    )
)]
pub(super) async fn sign_in(
    State(state): State<ApiState>,
    origin: Origin,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Failure> {
    let map = require_keys(&body, &["id", "password", "token"])?;
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or("").trim();
    let (id, token) = (text("id").to_owned(), text("token").to_owned());
    let password = map.get("password").and_then(Value::as_str).unwrap_or("");
    let password = password.to_owned();
    if token.is_empty() && (id.is_empty() || password.is_empty()) {
        let text = "send `id` and `password`, or `token`";
        return Err(Failure::new(Kind::Invalid, text));
    }
    if token.is_empty() && !state.allows_passwords() {
        let text = "passwords are switched off (`oidc.passwords`); sign in at the provider";
        return Err(Failure::new(Kind::Forbidden, text));
    }
    let throttle = &state.sessions().throttle;
    // Nobody else is kept waiting by those who guess tokens.
    let claimed = match token.is_empty() {
        true => id.clone(),
        false => format!("\ntoken from {}", origin.source),
    };
    let attempt = match throttle.attempt(origin.source, &claimed, state.now_s()) {
        Ok(attempt) => attempt,
        Err(wait_s) => return Ok(too_many(wait_s)),
    };
    let found = match token.is_empty() {
        true if password.len() > PASSWORD_LIMIT_BYTES => None,
        true => {
            let found = page_password::check(&state, &id, &password).await?;
            found.map(|(id, proof)| (Caller::Subscriber(id), proof))
        }
        false => by_token(&state, &token),
    };
    let Some((caller, proof)) = found else {
        tracing::info!(source = %origin.source, "a sign-in at the page failed");
        let text = match token.is_empty() {
            true => "the id or the password is wrong",
            false => "the token is not known",
        };
        return Err(Failure::new(Kind::Unauthenticated, text));
    };
    throttle.forgive(attempt);
    let cookie = opened(&state, &headers, &origin, caller.clone(), proof).await?;
    let ends_at = state
        .now()
        .as_second()
        .saturating_add(super::sessions::IDLE_S);
    let document = document(&state, &caller, Via::Page, Some(ends_at));
    Ok((cookie, Json(document)).into_response())
}

/// Who is signed in
#[utoipa::path(
    get, path = "/session", tag = "session",
    responses((status = 200, body = SessionDocument), Refusals)
)]
pub(super) async fn who(
    State(state): State<ApiState>,
    (caller, origin): (Caller, Origin),
    headers: HeaderMap,
) -> Json<SessionDocument> {
    let mut document = document(&state, &caller, origin.via, origin.ends_s);
    let secret = cookie(&headers).filter(|_| origin.via == Via::Page);
    document.at_provider = secret.is_some_and(|secret| state.sessions().is_of_provider(secret));
    Json(document)
}

/// Sign out
///
/// The session is over, also where its cookie was copied to.
#[utoipa::path(
    delete, path = "/session", tag = "session",
    responses((status = 204, description = "Nobody is signed in"), Refusals)
)]
pub(super) async fn sign_out(
    State(state): State<ApiState>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if let Some(secret) = cookie(&headers).map(str::to_owned) {
        state
            .blocking(move |state| state.sessions().close(&secret))
            .await?
            .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    }
    Ok((StatusCode::NO_CONTENT, expired(&origin)).into_response())
}

/// Opens a session and hands back the cookie for it.
pub(super) async fn opened(
    state: &ApiState,
    headers: &HeaderMap,
    origin: &Origin,
    caller: Caller,
    proof: Proof,
) -> Result<SetCookie, Failure> {
    let mut random = [0; 32];
    let drawn = state.host().random(&mut random);
    drawn.map_err(|error| Failure::new(Kind::Internal, error))?;
    let secret = hex(&random);
    let set = set_cookie(&secret, LIFE_S, origin);
    let before = cookie(headers).map(str::to_owned);
    state
        .blocking(move |state| {
            if let Some(before) = before {
                state.sessions().close(&before)?;
            }
            let now = state.now();
            state.sessions().open(&secret, &caller, proof, now)
        })
        .await?
        .map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    Ok(set)
}

/// The session's secret that a request carries.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    cookie_named(headers, COOKIE)
}

/// What a request's cookie of that name says.
pub(super) fn cookie_named<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let values = headers.get_all(COOKIE_HEADER).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Takes the cookie back.
pub(super) fn expired(origin: &Origin) -> SetCookie {
    set_cookie("", 0, origin)
}

/// What is told to who tries too often.
pub(super) fn too_many(wait_s: u32) -> Response {
    let text = format!("too many attempts; try again in {wait_s} seconds");
    let mut response = Failure::new(Kind::TooManyAttempts, text).into_response();
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(wait_s));
    response
}

fn set_cookie(secret: &str, life_s: i64, origin: &Origin) -> SetCookie {
    let secure = if origin.is_secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={secret}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}");
    [(SET_COOKIE, text)]
}

fn by_token(state: &ApiState, token: &str) -> Option<(Caller, Proof)> {
    let admin = state.admin_token();
    if let Some(hash) = admin.filter(|hash| hash.admits(token)) {
        return Some((Caller::Administrator, admin_proof(&hash)));
    }
    let (id, owner) = state.tokens().known(token)?;
    Some((Caller::Subscriber(owner), Proof::Token(id)))
}

fn document(state: &ApiState, caller: &Caller, via: Via, ends_s: Option<i64>) -> SessionDocument {
    let profile = match caller {
        Caller::Administrator => None,
        Caller::Subscriber(id) => state.directory().get(id),
    };
    SessionDocument {
        role: match caller {
            Caller::Administrator => "administrator",
            Caller::Subscriber(_) => "subscriber",
        },
        id: profile.as_ref().map(|profile| profile.id().to_owned()),
        display_name: profile
            .as_ref()
            .map(|profile| profile.display_name().to_owned()),
        language: profile.as_ref().and_then(|profile| profile.language()),
        via: via.name(),
        expires_at: ends_s.and_then(|at| Timestamp::from_second(at).ok()),
        at_provider: false,
    }
}

/// Refuses a request that another web page may have made a browser send with our cookie.
///
/// # Errors
/// It changes something and does not say that it comes from our own page, or its body is no JSON.
pub(super) fn refuse_foreign_changes(
    method: &axum::http::Method,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    if method.is_safe() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text("host")
        }
        (None, None) => false,
    };
    if !is_ours {
        let text = "a cookie changes something for requests of its own page only (Origin, \
                    Sec-Fetch-Site); programs send a token";
        return Err(Failure::new(Kind::Forbidden, text));
    }
    let kinds = [
        "application/json",
        "application/x-ndjson",
        "application/jsonl",
    ];
    match headers.contains_key(CONTENT_TYPE) {
        true => super::extract::require_type(headers, &kinds),
        false => Ok(()),
    }
}
