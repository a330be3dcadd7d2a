//! Tokens, errors, health, the OpenAPI document.

use super::*;

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let world = world().await;
    let subscribers = "/api/v1/subscribers";
    assert_problem(&world.get("/api/v1/nothing").await, 404, "not-found");
    assert_problem(&world.get("/nothing").await, 404, "not-found");
    assert_problem(&world.delete(subscribers).await, 405, "method-not-allowed");
    assert_problem(&world.delete("/healthz").await, 405, "method-not-allowed");
    let post = |kind: &str, body: Vec<u8>| {
        let request = world
            .request(Method::POST, subscribers)
            .header("content-type", kind);
        world.call(request.body(body.into()).unwrap())
    };
    let malformed = post("application/json", b"{\"id\":".to_vec()).await;
    assert_problem(&malformed, 400, "malformed");
    assert!(
        malformed.text().contains("line 1 column"),
        "{}",
        malformed.text()
    );
    let wrong_type = post("text/plain", b"{\"id\":\"x\"}".to_vec()).await;
    assert_problem(&wrong_type, 415, "unsupported-media-type");
    let large = post(
        "application/json",
        vec![b' '; crate::api::BODY_LIMIT_BYTES + 1],
    )
    .await;
    assert_problem(&large, 413, "too-large");
    let path = world.get("/api/v1/subscribers/%ff/status").await;
    assert_problem(&path, 400, "malformed");
    let reload = world.send(Method::POST, "/api/v1/reload", json!({})).await;
    assert_problem(&reload, 422, "invalid");
    assert!(reload.text().contains("p.toml:7:3"), "{}", reload.text());
}

/// Method; status for the administrator, Anna, an unknown token, no token; path; body.
const ACCESS: &str = r#"
GET    200 403 401 401 /api/v1/subscribers
POST   409 403 401 401 /api/v1/subscribers {"id":"anna"}
GET    200 200 401 401 /api/v1/subscribers/anna
GET    200 403 401 401 /api/v1/subscribers/bob
PUT    200 403 401 401 /api/v1/subscribers/bob {"id":"bob"}
DELETE 404 403 401 401 /api/v1/subscribers/nobody
GET    200 200 401 401 /api/v1/subscribers/anna/status
GET    200 200 401 401 /api/v1/subscribers/bob/status
PUT    200 200 401 401 /api/v1/subscribers/anna/status {"status":"away"}
PUT    200 403 401 401 /api/v1/subscribers/bob/status {"status":"away"}
DELETE 200 403 401 401 /api/v1/subscribers/bob/status
GET    200 403 401 401 /api/v1/subscribers/bob/settings
PUT    200 200 401 401 /api/v1/subscribers/anna/settings/dnd {"busy":"reject"}
PUT    200 403 401 401 /api/v1/subscribers/bob/settings/dnd {"busy":"reject"}
PUT    200 403 401 401 /api/v1/subscribers/bob/settings {}
GET    200 200 401 401 /api/v1/subscribers/anna/journal
GET    200 403 401 401 /api/v1/subscribers/bob/journal
GET    200 403 401 401 /api/v1/subscribers/anna/tokens
POST   404 403 401 401 /api/v1/subscribers/nobody/tokens {}
DELETE 404 403 401 401 /api/v1/subscribers/anna/tokens/x
GET    200 200 401 401 /api/v1/teams
GET    200 403 401 401 /api/v1/calls
GET    200 200 401 401 /api/v1/calls?subscriber=anna
GET    200 403 401 401 /api/v1/calls?subscriber=bob
GET    200 403 401 401 /api/v1/decisions
GET    200 200 401 401 /api/v1/explain?from=bob&to=anna
GET    200 403 401 401 /api/v1/explain?from=anna&to=bob
GET    200 403 401 401 /api/v1/explain?from=anna&to=999
GET    200 403 401 401 /api/v1/export
GET    200 403 401 401 /api/v1/bans
DELETE 404 403 401 401 /api/v1/bans/192.0.2.1
POST   415 403 401 401 /api/v1/import {}
POST   422 403 401 401 /api/v1/reload {}
GET    200 403 401 401 /metrics
GET    200 200 401 401 /api/v1/openapi.json
GET    200 200 200 200 /healthz
GET    200 200 200 200 /readyz
GET    200 200 200 200 /
GET    200 200 200 200 /api
GET    200 200 401 401 /api/v1/session
GET    200 200 401 401 /api/v1/subscribers/anna/page-password
GET    200 403 401 401 /api/v1/subscribers/bob/page-password
DELETE 204 403 401 401 /api/v1/subscribers/anna/page-password
PUT    422 422 401 401 /api/v1/subscribers/anna/page-password {"password":"x"}
PUT    422 403 401 401 /api/v1/subscribers/bob/page-password {"password":"x"}
"#;

#[tokio::test]
async fn tokens_open_exactly_what_they_should() {
    let world = world().await;
    let anna = world.token_of("anna").await;
    let callers = [Some(ADMIN), Some(anna.as_str()), Some("wrong"), None];
    for row in ACCESS.lines().filter(|row| !row.is_empty()) {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let method: Method = fields[0].parse().unwrap();
        let body = fields
            .get(6)
            .map_or(Value::Null, |body| serde_json::from_str(body).unwrap());
        for (caller, expected) in callers.iter().zip(&fields[1..5]) {
            let asked = world.with_token(*caller);
            let answer = asked.send(method.clone(), fields[5], body.clone()).await;
            let status = answer.status.as_str();
            assert_eq!(status, *expected, "{row} by {caller:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn colleagues_see_the_status_without_its_history() {
    let world = world().await;
    let bob = world.with_token(Some(&world.token_of("bob").await));
    let path = "/api/v1/subscribers/anna/status";
    world
        .send(
            Method::PUT,
            path,
            json!({"status": "dnd", "message": "Writing"}),
        )
        .await;
    let seen = bob.get(path).await.json();
    assert_eq!(seen["effective_status"], "dnd");
    assert_eq!(seen["message"], "Writing");
    assert_eq!((seen.get("since"), seen.get("source")), (None, None));
    assert_ne!(world.get(path).await.json().get("since"), None);
}

#[tokio::test]
async fn a_deleted_token_or_subscriber_is_shut_out_at_once() {
    let world = world().await;
    let token = world.token_of("anna").await;
    let anna = world.with_token(Some(&token));
    let path = "/api/v1/subscribers/anna";
    assert_eq!(anna.get(path).await.status, 200);
    let tokens = world.get(&format!("{path}/tokens")).await.json();
    assert_eq!(tokens["tokens"][0]["label"], "laptop");
    assert!(!tokens.to_string().contains(&token));
    let id = tokens["tokens"][0]["id"].as_str().unwrap();
    assert_eq!(
        world.delete(&format!("{path}/tokens/{id}")).await.status,
        204
    );
    assert_problem(&anna.get(path).await, 401, "unauthenticated");

    let bob = world.with_token(Some(&world.token_of("bob").await));
    assert_eq!(world.delete("/api/v1/subscribers/bob").await.status, 200);
    assert_problem(
        &bob.get("/api/v1/subscribers/bob").await,
        401,
        "unauthenticated",
    );
}

#[tokio::test]
async fn tokens_and_subscribers_share_a_store_over_a_restart() {
    let world = world().await;
    let token = world.token_of("anna").await;
    let again = world_over(world.store.clone(), Some(ADMIN));
    let anna = again.with_token(Some(&token));
    assert_eq!(anna.get("/api/v1/subscribers/anna").await.status, 200);
    assert_eq!(again.get("/api/v1/subscribers").await.json()["total"], 2);
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_administrator() {
    let mut world = world_over(Memory::new([9; 32]), None);
    assert_eq!(world.get("/api/v1/subscribers").await.status, 200);
    let foreign_host = world
        .request(Method::GET, "/api/v1/subscribers")
        .header("host", "evil.example");
    let mut foreign_host = foreign_host.body(Body::empty()).unwrap();
    foreign_host
        .headers_mut()
        .insert("host", "evil.example:8080".parse().unwrap());
    assert_problem(&world.call(foreign_host).await, 421, "misdirected");
    let page = world
        .request(Method::POST, "/api/v1/reload")
        .header("origin", "http://evil.example")
        .body(Body::empty());
    assert_problem(&world.call(page.unwrap()).await, 421, "misdirected");
    let own = world
        .request(Method::GET, "/api/v1/subscribers")
        .header("origin", "http://127.0.0.1:8080")
        .body(Body::empty());
    assert_eq!(world.call(own.unwrap()).await.status, 200);
    world.peer = "192.0.2.7:50000".parse().unwrap();
    assert_problem(
        &world.get("/api/v1/subscribers").await,
        401,
        "unauthenticated",
    );
}

#[tokio::test]
async fn a_server_that_drains_is_alive_but_not_ready() {
    let world = world().await;
    assert_eq!(world.get("/readyz").await.status, 200);
    let draining = &world.state.shared().draining;
    draining.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_problem(&world.get("/readyz").await, 503, "unavailable");
    assert_eq!(world.get("/healthz").await.status, 200);
}

/// Every path with its methods.
const ROUTES: &[(&str, &str)] = &[
    ("/api/v1/subscribers", "get post"),
    ("/api/v1/subscribers/{id}", "delete get put"),
    ("/api/v1/subscribers/{id}/status", "delete get put"),
    ("/api/v1/subscribers/{id}/settings", "delete get put"),
    (
        "/api/v1/subscribers/{id}/settings/{status}",
        "delete get put",
    ),
    ("/api/v1/statuses", "get"),
    ("/api/v1/subscribers/{id}/hours", "delete get put"),
    ("/api/v1/colleagues", "get"),
    ("/api/v1/teams", "get"),
    ("/api/v1/subscribers/{id}/override", "delete put"),
    ("/api/v1/subscribers/{id}/delegates", "get put"),
    ("/api/v1/subscribers/{id}/visibility", "get put"),
    ("/api/v1/subscribers/{id}/calendars", "get put"),
    ("/api/v1/house", "get"),
    ("/api/v1/session/ways", "get"),
    ("/api/v1/session/oidc", "get"),
    ("/api/v1/session/oidc/callback", "get"),
    ("/api/v1/session/oidc/end", "get"),
    ("/api/v1/subscribers/{id}/signals", "get post"),
    ("/api/v1/subscribers/{id}/signals/{kind}/{signal}", "delete"),
    (
        "/api/v1/subscribers/{id}/signals/{kind}/{signal}/dismissed",
        "delete put",
    ),
    ("/api/v1/subscribers/{id}/triggers", "get put"),
    ("/api/v1/subscribers/{id}/exceptions", "get put"),
    ("/api/v1/subscribers/{id}/journal", "delete get"),
    ("/api/v1/subscribers/{id}/data", "delete get"),
    ("/api/v1/subscribers/{id}/tokens", "get post"),
    ("/api/v1/subscribers/{id}/tokens/{token}", "delete"),
    ("/api/v1/bindings", "get"),
    ("/api/v1/subscribers/{id}/bindings", "delete get"),
    ("/api/v1/subscribers/{id}/bindings/{binding}", "delete"),
    ("/api/v1/session", "delete get post"),
    ("/api/v1/subscribers/{id}/page-password", "delete get put"),
    ("/api/v1/bans", "get"),
    ("/api/v1/bans/{source}", "delete"),
    ("/api/v1/calls", "get"),
    ("/api/v1/decisions", "get"),
    ("/api/v1/explain", "get"),
    ("/api/v1/events", "get"),
    ("/api/v1/import", "post"),
    ("/api/v1/export", "get"),
    ("/api/v1/peers", "get"),
    ("/api/v1/reload", "post"),
    ("/metrics", "get"),
];

#[tokio::test]
async fn the_openapi_document_has_every_route() {
    let world = world().await;
    let document = world.get("/api/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), ROUTES.len());
    for (path, methods) in ROUTES.iter().copied() {
        let operations = paths[path].as_object().unwrap();
        let mut found: Vec<&str> = operations.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found.join(" "), methods, "{path}");
        for operation in operations.values() {
            assert!(
                operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
                "{path}"
            );
            assert!(operation["responses"]["default"].is_object(), "{path}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in references(&document) {
        assert!(
            schemas.contains_key(&name),
            "{name} is referred to and missing"
        );
    }
    assert!(document["components"]["securitySchemes"]["token"].is_object());
}

/// The names of all schemas that a document refers to.
fn references(document: &Value) -> Vec<String> {
    match document {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value.as_str()) {
                ("$ref", Some(path)) => vec![path.rsplit('/').next().unwrap().to_owned()],
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn the_page_lists_operations_and_explains_problems() {
    let page = world().await.get("/api").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let text = page.text();
    assert!(text.contains("GET /api/v1/calls"));
    assert!(text.contains("id=\"problem-version-mismatch\""));
}
