//! The HTTP interface: subscribers, statuses, settings, calls, explanations, events, metrics.
//!
//! Handlers read the directory and ask the roster for changes; they decide nothing about calls:
//! `explain` asks the very function that routes them. Every error is a problem document
//! (RFC 9457), every listing is bounded, and the OpenAPI document comes from the handlers
//! themselves. The clock, chance and the configuration come in by [`state::Host`].
//!
//! Entry points: [`router`] for the handlers, [`serve::serve`] to answer connections.

pub mod auth;
mod bans;
mod bindings;
mod calls;
mod changes;
mod colleagues;
mod data;
mod delegates;
mod document;
pub mod events;
mod exceptions;
mod explain;
mod extract;
pub mod gazette;
mod health;
mod hours;
mod house;
mod journal;
mod language;
mod layers;
mod list;
pub mod metrics;
pub mod oidc;
mod pack;
mod page;
mod page_password;
mod peers;
mod personal;
pub mod problem;
pub mod serve;
mod session;
pub mod sessions;
mod settings;
pub mod state;
mod status;
mod statuses;
mod stream;
mod subscribers;
mod teams;
#[cfg(test)]
mod tests;
mod throttle;
pub mod tokens;
pub mod traces;
mod transfer;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use changes::import;
pub use transfer::{ImportedLine, ReadLine};

use problem::{Failure, Kind, ProblemDetails};
use state::ApiState;

/// The most bytes of a document in a request.
pub const BODY_LIMIT_BYTES: usize = 256 * 1024;
/// How long a request may take that neither streams nor imports.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "pointsman",
        description = "Subscribers, their statuses and settings, calls, and why calls go where \
                       they go."
    ),
    components(schemas(ProblemDetails)),
    modifiers(&BearerToken),
    security(("token" = [])),
    tags(
        (name = "subscribers", description = "Who can be called"),
        (name = "status", description = "What a subscriber shows"),
        (name = "settings", description = "What happens to calls in each status"),
        (name = "calls", description = "Calls in progress, past calls, and why"),
        (name = "session", description = "Signing in at the page"),
        (name = "tokens", description = "What subscribers authenticate with"),
        (name = "server", description = "Health, metrics, configuration"),
    )
)]
struct Document;

/// Tells of the bearer tokens.
struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, openapi: &mut OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let components = openapi.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", scheme);
    }
}

/// What every operation may answer instead: a problem document.
struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let schema = Some(Ref::from_schema_name("ProblemDetails"));
        let refusal = ResponseBuilder::new()
            .description("It was not done; the document says why (RFC 9457)")
            .content("application/problem+json", Content::new(schema))
            .build();
        BTreeMap::from([("default".to_owned(), refusal.into())])
    }
}

/// All routes, ready to be served.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = routes().split_for_parts();
    let document = document.to_json().unwrap_or_default();
    routes
        .route(
            "/api/v1/openapi.json",
            get(|| async move { ([("content-type", "application/json")], document) }),
        )
        .layer(middleware::from_fn_with_state(
            state.clone(),
            auth::authenticate,
        ))
        .merge(health::open_routes())
        .merge(page::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn(pack::pack_documents))
        .layer(middleware::from_fn(limit_time))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), seal))
        .with_state(state)
}

/// The OpenAPI document of all operations.
pub fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The routes that need authentication, with their documentation.
fn routes() -> OpenApiRouter<ApiState> {
    let api = OpenApiRouter::new()
        .routes(routes!(subscribers::list, subscribers::create))
        .routes(routes!(
            subscribers::read,
            subscribers::replace,
            subscribers::delete
        ))
        .routes(routes!(status::read, status::set, status::clear))
        .routes(routes!(statuses::statuses))
        .routes(routes!(colleagues::colleagues))
        .routes(routes!(teams::list))
        .routes(routes!(layers::overrule, layers::take_back))
        .routes(routes!(delegates::read, delegates::replace))
        .routes(routes!(layers::signals, layers::report))
        .routes(routes!(layers::withdraw))
        .routes(routes!(layers::dismiss, layers::count_again))
        .routes(routes!(layers::triggers, layers::replace_triggers))
        .routes(routes!(exceptions::read, exceptions::replace))
        .routes(routes!(hours::read, hours::replace, hours::delete))
        .routes(routes!(personal::visibility, personal::replace_visibility))
        .routes(routes!(personal::calendars, personal::replace_calendars))
        .routes(routes!(house::read))
        .routes(routes!(
            settings::read_all,
            settings::replace_all,
            settings::delete_all
        ))
        .routes(routes!(settings::read, settings::replace, settings::delete))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::delete))
        .routes(routes!(session::sign_in, session::who, session::sign_out))
        .routes(routes!(oidc::ways))
        .routes(routes!(oidc::begin))
        .routes(routes!(oidc::come_back))
        .routes(routes!(oidc::leave))
        .routes(routes!(
            page_password::read,
            page_password::set,
            page_password::remove
        ))
        .routes(routes!(bans::list))
        .routes(routes!(bans::lift))
        .routes(routes!(journal::journal, data::erase_journal))
        .routes(routes!(data::give_out, data::erase))
        .routes(routes!(bindings::list_all))
        .routes(routes!(bindings::list, bindings::delete_all))
        .routes(routes!(bindings::delete))
        .routes(routes!(calls::calls))
        .routes(routes!(calls::decisions))
        .routes(routes!(explain::explain))
        .routes(routes!(stream::events))
        .routes(routes!(transfer::import))
        .routes(routes!(transfer::export))
        .routes(routes!(peers::peers))
        .routes(routes!(health::reload));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", api)
        .routes(routes!(health::metrics))
}

/// Whether the path's answer takes as long as it takes.
fn is_long(path: &str) -> bool {
    ["/events", "/import", "/export"]
        .iter()
        .any(|end| path.strip_prefix("/api/v1") == Some(end))
}

async fn limit_time(request: Request, next: Next) -> Response {
    if is_long(request.uri().path()) {
        return next.run(request).await;
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let text = format!("not done within {} seconds", REQUEST_TIMEOUT.as_secs());
            Failure::new(Kind::Timeout, text).into_response()
        }
    }
}

/// Headers that keep answers from being kept, framed or taken for something else; and the
/// problem document where a layer below answered an error without one.
async fn seal(State(_): State<ApiState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(axum::http::HeaderValue::from_static(value));
    }
    response
}

async fn no_route(uri: Uri) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("there is no `{}`; GET /api lists what there is", uri.path()),
    )
}

async fn no_method(method: Method, uri: Uri) -> Failure {
    Failure::new(
        Kind::MethodNotAllowed,
        format!(
            "`{}` has no {method}; GET /api lists what there is",
            uri.path()
        ),
    )
}

/// The object of a body whose keys are all among `allowed`.
fn require_keys<'v>(body: &'v Value, allowed: &[&str]) -> Result<&'v Map<String, Value>, Failure> {
    let Some(map) = body.as_object() else {
        return Err(Failure::new(
            Kind::Invalid,
            "the body must be a JSON object",
        ));
    };
    let unknown = map.keys().filter(|key| !allowed.contains(&key.as_str()));
    let problems: Vec<_> = unknown
        .take(crate::presence::MAX_PROBLEMS)
        .map(|key| {
            let text = format!("unknown key; use {}", allowed.join(", "));
            crate::presence::Problem::new(key.chars().take(40).collect::<String>(), text)
        })
        .collect();
    if problems.is_empty() {
        Ok(map)
    } else {
        Err(crate::presence::Problems(problems).into())
    }
}
