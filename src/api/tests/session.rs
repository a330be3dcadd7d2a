//! Sessions of the page: signing in and out, what ends them, and what keeps others out.

use super::*;

/// A browser at the page: it keeps the cookie and says where its requests come from.
struct Page<'w> {
    world: &'w World,
    cookie: String,
}

impl World {
    async fn sign_in(&self, body: Value) -> Answer {
        let request = self
            .with_token(None)
            .request(Method::POST, "/api/v1/session")
            .header("content-type", "application/json")
            .header("origin", "http://127.0.0.1:8080");
        self.call(request.body(body.to_string().into()).unwrap())
            .await
    }

    async fn page_of(&self, body: Value) -> Page<'_> {
        let answer = self.sign_in(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Page {
            world: self,
            cookie: cookie_of(&answer),
        }
    }

    async fn set_page_password(&self, id: &str, password: &str) {
        let path = format!("/api/v1/subscribers/{id}/page-password");
        let body = json!({ "password": password });
        let answer = self.send(Method::PUT, &path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

impl Page<'_> {
    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let world = self.world.with_token(None);
        world
            .request(method, path)
            .header("cookie", format!("other=1; {}", self.cookie))
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.request(Method::GET, path).body(Body::empty());
        self.world.call(request.unwrap()).await
    }

    async fn send_from(
        &self,
        site: (&str, &str),
        method: Method,
        path: &str,
        body: Value,
    ) -> Answer {
        let request = self
            .request(method, path)
            .header("content-type", "application/json")
            .header(site.0, site.1);
        let request = request.body(body.to_string().into()).unwrap();
        self.world.call(request).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send_from(("sec-fetch-site", "same-origin"), method, path, body)
            .await
    }
}

fn cookie_of(answer: &Answer) -> String {
    let set = answer.headers["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn by_password(id: &str, password: &str) -> Value {
    json!({ "id": id, "password": password })
}

const SESSION: &str = "/api/v1/session";
const STATUS: &str = "/api/v1/subscribers/anna/status";

#[tokio::test]
async fn the_cookie_is_out_of_reach_for_scripts_and_other_sites() {
    let world = world().await;
    world.set_page_password("anna", "correct horse").await;
    let answer = world.sign_in(by_password("Anna", "correct horse")).await;
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Secure"), "{set}");
    let secret = set.split(['=', ';']).nth(1).unwrap();
    assert_eq!(secret.len(), 64, "256 bits: {set}");
    let document = answer.json();
    assert_eq!(document["role"], "subscriber");
    assert_eq!(document["display_name"], "Anna Arndt");
    world
        .store
        .load(&mut |key, value| {
            let text = format!("{key} {}", String::from_utf8_lossy(value));
            assert!(!text.contains(secret), "the secret is kept: {key}");
            assert!(!text.contains("correct horse"), "{key}");
        })
        .unwrap();
    let proxied = world
        .with_token(None)
        .request(Method::POST, SESSION)
        .header("content-type", "application/json")
        .header("x-forwarded-proto", "https");
    let body = by_password("anna", "correct horse").to_string();
    let answer = world.call(proxied.body(body.into()).unwrap()).await;
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(set.ends_with("; Secure"), "{set}");
}

#[tokio::test]
async fn a_session_is_the_subscriber_and_its_changes_are_from_the_page() {
    let world = world().await;
    world.set_page_password("anna", "correct horse").await;
    let page = world.page_of(by_password("anna", "correct horse")).await;
    assert_eq!(page.get(SESSION).await.json()["id"], "anna");
    assert_eq!(page.get(SESSION).await.json()["via"], "page");
    let body = json!({"status": "away"});
    let answer = page.send(Method::PUT, STATUS, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["source"], "web");
    let other = page.get("/api/v1/subscribers/bob").await;
    assert_problem(&other, 403, "forbidden");
}

#[tokio::test]
async fn the_phones_password_opens_the_page_until_there_is_one_for_it() {
    let world = world().await;
    let bob = json!({"id": "bob", "display_name": "Bob Bauer", "aliases": ["102"],
                     "password": "bobs-phone"});
    world
        .send(Method::PUT, "/api/v1/subscribers/bob", bob)
        .await;
    let page = world.page_of(by_password("bob", "bobs-phone")).await;
    assert_eq!(page.get(SESSION).await.status, 200);
    let wrong = world.sign_in(by_password("bob", "bobs-phones")).await;
    assert_problem(&wrong, 401, "unauthenticated");
    world.set_page_password("bob", "bobs-page-password").await;
    let phone = world.sign_in(by_password("bob", "bobs-phone")).await;
    assert_problem(&phone, 401, "unauthenticated");
    assert_problem(&page.get(SESSION).await, 401, "unauthenticated");
    assert_eq!(
        world
            .sign_in(by_password("bob", "bobs-page-password"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn people_change_their_own_password_and_stay_signed_in() {
    let world = world().await;
    world.set_page_password("anna", "correct horse").await;
    let page = world.page_of(by_password("anna", "correct horse")).await;
    let elsewhere = world.page_of(by_password("anna", "correct horse")).await;
    let path = "/api/v1/subscribers/anna/page-password";
    for body in [
        json!({"password": "battery staple"}),
        json!({"password": "battery staple", "old": "wrong"}),
    ] {
        let answer = page.send(Method::PUT, path, body).await;
        assert_problem(&answer, 403, "forbidden");
        assert_eq!(answer.json()["problems"][0]["field"], "old");
    }
    let short = json!({"password": "short", "old": "correct horse"});
    let answer = page.send(Method::PUT, path, short).await;
    assert_problem(&answer, 422, "invalid");
    let body = json!({"password": "battery staple", "old": "correct horse"});
    let answer = page.send(Method::PUT, path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let renewed = Page {
        world: &world,
        cookie: cookie_of(&answer),
    };
    assert_eq!(renewed.get(SESSION).await.status, 200);
    assert_eq!(page.get(SESSION).await.status, 401);
    assert_eq!(elsewhere.get(SESSION).await.status, 401);
    let others = "/api/v1/subscribers/bob/page-password";
    let body = json!({"password": "battery staple", "old": "battery staple"});
    let answer = renewed.send(Method::PUT, others, body).await;
    assert_problem(&answer, 403, "forbidden");
}

#[tokio::test]
async fn other_pages_change_nothing_with_the_cookie() {
    let world = world().await;
    let page = world.page_of(json!({ "token": ADMIN })).await;
    let body = json!({"status": "away"});
    for site in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("x-nothing", "said"),
    ] {
        let answer = page
            .send_from(site, Method::PUT, STATUS, body.clone())
            .await;
        assert_problem(&answer, 403, "forbidden");
    }
    let own = ("origin", "http://127.0.0.1:8080");
    let answer = page.send_from(own, Method::PUT, STATUS, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let form = page
        .request(Method::DELETE, "/api/v1/subscribers/bob/status")
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "text/plain");
    let answer = world.call(form.body("x".into()).unwrap()).await;
    assert_problem(&answer, 415, "unsupported-media-type");
    let login = world
        .with_token(None)
        .request(Method::POST, SESSION)
        .header("content-type", "application/json")
        .header("origin", "http://evil.example");
    let body = json!({ "token": ADMIN }).to_string();
    let answer = world.call(login.body(body.into()).unwrap()).await;
    assert_problem(&answer, 403, "forbidden");
}

#[tokio::test]
async fn a_session_ends_with_what_opened_it() {
    let world = world().await;
    let admin = world.page_of(json!({ "token": ADMIN })).await;
    assert_eq!(admin.get(SESSION).await.json()["role"], "administrator");
    let token = world.token_of("anna").await;
    let anna = world.page_of(json!({ "token": token })).await;
    assert_eq!(anna.get(SESSION).await.json()["id"], "anna");
    let tokens = "/api/v1/subscribers/anna/tokens";
    let listed = world.get(tokens).await.json();
    let id = listed["tokens"][0]["id"].as_str().unwrap().to_owned();
    world.delete(&format!("{tokens}/{id}")).await;
    assert_eq!(anna.get(SESSION).await.status, 401);
    world.set_page_password("bob", "correct horse").await;
    let bob = world.page_of(by_password("bob", "correct horse")).await;
    world.delete("/api/v1/subscribers/bob").await;
    assert_eq!(bob.get(SESSION).await.status, 401);
    let again = json!({"id": "bob", "aliases": ["102"]});
    world.send(Method::POST, "/api/v1/subscribers", again).await;
    let answer = world.sign_in(by_password("bob", "correct horse")).await;
    assert_eq!(answer.status, 401, "the password went with the subscriber");
    world.state.set_admin_token(Some("another-token"));
    assert_eq!(admin.get(SESSION).await.status, 401);
}

#[tokio::test]
async fn signing_out_ends_the_session_also_for_a_copy_of_the_cookie() {
    let world = world().await;
    let page = world.page_of(json!({ "token": ADMIN })).await;
    let answer = page.send(Method::DELETE, SESSION, json!({})).await;
    assert_eq!(answer.status, 204);
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(set.contains("Max-Age=0"), "{set}");
    let answer = page.get(SESSION).await;
    assert_problem(&answer, 401, "unauthenticated");
    let again = world_over(world.store.clone(), Some(ADMIN));
    let copy = Page {
        world: &again,
        cookie: page.cookie.clone(),
    };
    assert_eq!(copy.get(SESSION).await.status, 401);
}

#[tokio::test]
async fn sessions_and_passwords_survive_a_restart() {
    let world = world().await;
    world.set_page_password("anna", "correct horse").await;
    let page = world.page_of(by_password("anna", "correct horse")).await;
    let again = world_over(world.store.clone(), Some(ADMIN));
    let after = Page {
        world: &again,
        cookie: page.cookie.clone(),
    };
    assert_eq!(after.get(SESSION).await.json()["id"], "anna");
    let answer = again.sign_in(by_password("anna", "correct horse")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(again.get("/api/v1/subscribers").await.json()["total"], 2);
}

#[tokio::test]
async fn wrong_passwords_make_wait_and_tell_nothing_of_who_is_known() {
    let world = world().await;
    world.set_page_password("anna", "correct horse").await;
    let known = world.sign_in(by_password("anna", "wrong")).await;
    let unknown = world.sign_in(by_password("nobody", "wrong")).await;
    assert_problem(&known, 401, "unauthenticated");
    assert_eq!(known.text(), unknown.text());
    let mut waits = 0;
    for _ in 0..12 {
        let answer = world.sign_in(by_password("anna", "wrong")).await;
        if answer.status == 429 {
            assert_problem(&answer, 429, "too-many-attempts");
            assert!(
                answer.headers["retry-after"]
                    .to_str()
                    .unwrap()
                    .parse::<u32>()
                    .unwrap()
                    > 0
            );
            waits += 1;
        }
    }
    assert!(waits >= 2, "{waits}");
    let right = world.sign_in(by_password("anna", "correct horse")).await;
    assert_eq!(
        right.status, 429,
        "the wait is for everybody who claims the id"
    );
}

#[tokio::test]
async fn a_cookie_nobody_knows_is_nobody_also_on_the_servers_machine() {
    let world = world_over(Memory::new([9; 32]), None);
    assert_eq!(world.get(SESSION).await.json()["via"], "machine");
    let stranger = Page {
        world: &world,
        cookie: format!("pointsman_session={}", "0".repeat(64)),
    };
    let answer = stranger.get(SESSION).await;
    assert_problem(&answer, 401, "unauthenticated");
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(set.contains("Max-Age=0"), "{set}");
    let proxied = world
        .request(Method::GET, "/api/v1/subscribers")
        .header("x-forwarded-for", "192.0.2.1");
    let answer = world.call(proxied.body(Body::empty()).unwrap()).await;
    assert_problem(&answer, 401, "unauthenticated");
}

#[tokio::test]
async fn a_session_ends_after_a_while() {
    use crate::api::auth::Caller;
    use crate::api::sessions::{IDLE_S, LIFE_S, admin_proof};
    let world = world().await;
    let sessions = world.state.sessions();
    let now: Timestamp = NOW.parse().unwrap();
    let proof = admin_proof(&world.state.admin_token().unwrap());
    for (age_s, is_open) in [(IDLE_S - 1, true), (IDLE_S, false), (LIFE_S, false)] {
        let opened = Timestamp::from_second(now.as_second() - age_s).unwrap();
        let secret = format!("secret-{age_s}");
        let caller = Caller::Administrator;
        sessions
            .open(&secret, &caller, proof.clone(), opened)
            .unwrap();
        let found = sessions.of(&world.state, &secret);
        assert_eq!(found.is_some(), is_open, "after {age_s} s");
    }
}

#[tokio::test]
async fn the_page_and_its_files_are_for_everybody_and_strict() {
    let world = world().await.with_token(None);
    let page = world.get("/").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let script = world.get("/assets/app.js").await;
    assert_eq!(script.status, 200);
    let request = world
        .request(Method::GET, "/assets/app.js")
        .header("if-none-match", script.etag());
    let known = world.call(request.body(Body::empty()).unwrap()).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_problem(&world.get("/assets/secret").await, 404, "not-found");
}
