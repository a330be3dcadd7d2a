//! Signing in at a provider that the test plays: its answers, and what is not believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::signer::{Signer, discovery};
use super::*;
use crate::api::oidc::Provider;

const ISSUER: &str = "https://login.example.com/realm";
const BEGIN: &str = "/api/v1/session/oidc";
const CALLBACK: &str = "/api/v1/session/oidc/callback";

fn provider() -> Provider {
    Provider {
        issuer: ISSUER.to_owned(),
        client_id: "pointsman".to_owned(),
        client_secret: Some("secret of the client".to_owned()),
        scopes: vec!["openid".to_owned(), "profile".to_owned()],
        claim: "preferred_username".to_owned(),
        claim_domain: None,
        label: "Company".to_owned(),
        public_url: Some("https://phone.example.com/".to_owned()),
        passwords: true,
    }
}

/// The other side: what it answers a code with.
struct Played {
    signer: Mutex<Signer>,
    claims: Mutex<Value>,
    /// The whole token, where it is not a signed one.
    token: Mutex<Option<String>>,
    challenge: Mutex<String>,
}

impl Played {
    /// In the place of the provider of that world.
    fn in_world(world: &World) -> Arc<Self> {
        let played = Arc::new(Self {
            signer: Mutex::new(Signer::new("one")),
            claims: Mutex::default(),
            token: Mutex::default(),
            challenge: Mutex::default(),
        });
        let asked = Arc::clone(&played);
        world.stage.play(move |request| asked.answer(&request));
        world.state.set_provider(Some(provider()));
        played
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Result<axum::http::Response<Vec<u8>>, String> {
        let path = request.uri().to_string();
        let (status, document) = match path.strip_prefix(ISSUER) {
            Some("/.well-known/openid-configuration") => (200, discovery(ISSUER)),
            Some("/keys") => (200, self.signer.lock().unwrap().key_set()),
            Some("/token") => self.redeem(request),
            _ => return Err(format!("nobody is at {path}")),
        };
        let response = axum::http::Response::builder()
            .status(status)
            .header("content-type", "application/json");
        Ok(response.body(document.to_string().into_bytes()).unwrap())
    }

    fn redeem(&self, request: &Request<Vec<u8>>) -> (u16, Value) {
        let form = String::from_utf8_lossy(request.body()).into_owned();
        let of = |name: &str| {
            let mut pairs = form.split('&');
            pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let verifier = of("code_verifier").unwrap();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let knows_us = request.headers().contains_key("authorization");
        if challenge != *self.challenge.lock().unwrap() || of("code") != Some("right") || !knows_us
        {
            return (400, json!({"error": "invalid_grant"}));
        }
        let signed = || {
            self.signer
                .lock()
                .unwrap()
                .token(&self.claims.lock().unwrap())
        };
        let token = self.token.lock().unwrap().clone().unwrap_or_else(signed);
        let answer = json!({"access_token": "a", "token_type": "Bearer", "id_token": token});
        (200, answer)
    }

    /// Claims that are to be believed, changed by `with`.
    fn claim(&self, nonce: &str, with: Value) {
        let now_s = NOW.parse::<Timestamp>().unwrap().as_second();
        let mut claims = json!({"iss": ISSUER, "aud": "pointsman", "sub": "7", "nonce": nonce,
                                "iat": now_s, "exp": now_s + 300, "preferred_username": "Anna"});
        let more = with.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        *self.claims.lock().unwrap() = claims;
    }
}

/// What the way out says.
struct Way {
    cookie: String,
    state: String,
    nonce: String,
}

impl World {
    async fn go(&self, played: &Played) -> Way {
        let nobody = self.with_token(None);
        let out = nobody.get(BEGIN).await;
        assert_eq!(out.status, 303, "{}", out.text());
        let location = out.headers["location"].to_str().unwrap().to_owned();
        assert!(
            location.starts_with(&format!("{ISSUER}/authorize?")),
            "{location}"
        );
        let url = url::Url::parse(&location).unwrap();
        let of = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
        };
        assert_eq!(
            of("redirect_uri"),
            format!("https://phone.example.com{CALLBACK}")
        );
        assert_eq!(
            (of("scope"), of("response_type")),
            ("openid profile".into(), "code".into())
        );
        assert_eq!(of("code_challenge_method"), "S256");
        *played.challenge.lock().unwrap() = of("code_challenge");
        let cookie = out.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
        Way {
            cookie: cookie.split(';').next().unwrap().to_owned(),
            state: of("state"),
            nonce: of("nonce"),
        }
    }

    async fn come_back(&self, cookie: &str, query: &str) -> Answer {
        let request = self
            .with_token(None)
            .request(Method::GET, &format!("{CALLBACK}?{query}"))
            .header("cookie", cookie);
        let answer = self.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer
    }
}

fn place(answer: &Answer) -> &str {
    answer.headers["location"].to_str().unwrap()
}

fn session_of(answer: &Answer) -> Option<String> {
    let cookies = answer.headers.get_all("set-cookie").into_iter();
    let mut cookies = cookies.map(|cookie| cookie.to_str().unwrap());
    let found = cookies.find(|cookie| cookie.starts_with("pointsman_session="))?;
    Some(found.split(';').next().unwrap().to_owned())
}

async fn who(world: &World, cookie: &str) -> Answer {
    let nobody = world.with_token(None);
    let request = nobody.request(Method::GET, "/api/v1/session");
    let request = request.header("cookie", cookie).body(Body::empty());
    nobody.call(request.unwrap()).await
}

#[tokio::test]
async fn whom_the_provider_names_is_signed_in() {
    let world = world().await;
    let played = Played::in_world(&world);
    let way = world.go(&played).await;
    played.claim(&way.nonce, json!({}));
    let back = world
        .come_back(&way.cookie, &format!("code=right&state={}", way.state))
        .await;
    assert_eq!(place(&back), "/");
    let session = session_of(&back).unwrap();
    let document = who(&world, &session).await.json();
    assert_eq!(document["id"], "anna");
    assert_eq!(document["at_provider"], true);
    let end = world.with_token(None).get("/api/v1/session/oidc/end").await;
    assert!(place(&end).starts_with(&format!("{ISSUER}/end?client_id=pointsman&")));
    // Another provider, or none: what this one opened is over.
    let other = Provider {
        client_id: "other".to_owned(),
        ..provider()
    };
    for next in [Some(other), None] {
        world.state.set_provider(next);
        assert_eq!(who(&world, &session).await.status, 401);
    }
}

#[tokio::test]
async fn a_token_that_is_not_for_this_sign_in_opens_nothing() {
    let world = world().await;
    let played = Played::in_world(&world);
    let now_s = NOW.parse::<Timestamp>().unwrap().as_second();
    for (with, reason) in [
        (json!({"nonce": "another"}), "unbelievable"),
        (json!({"nonce": null}), "unbelievable"),
        (json!({"aud": "somebody else"}), "unbelievable"),
        (
            json!({"aud": ["pointsman", "somebody else"]}),
            "unbelievable",
        ),
        (
            json!({"iss": "https://login.example.com/other"}),
            "unbelievable",
        ),
        (json!({"exp": now_s - 1}), "unbelievable"),
        (json!({"preferred_username": "nobody"}), "unknown"),
        (json!({"preferred_username": 7}), "unanswered"),
        (json!({"preferred_username": ""}), "unknown"),
    ] {
        let way = world.go(&played).await;
        played.claim(&way.nonce, with.clone());
        let query = format!("code=right&state={}", way.state);
        let back = world.come_back(&way.cookie, &query).await;
        assert_eq!(place(&back), format!("/#sign-in-{reason}"), "{with}");
        assert_eq!(session_of(&back), None, "{with}");
    }
}

#[tokio::test]
async fn a_signature_that_is_none_is_not_believed_and_a_new_key_is_fetched() {
    let world = world().await;
    let played = Played::in_world(&world);
    let way = world.go(&played).await;
    played.claim(&way.nonce, json!({}));
    let query = format!("code=right&state={}", way.state);
    let claims = played.claims.lock().unwrap().to_string();
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let forged = Signer::new("one").token(&played.claims.lock().unwrap());
    for token in [unsigned, forged] {
        *played.token.lock().unwrap() = Some(token);
        let back = world.come_back(&way.cookie, &query).await;
        assert_eq!(place(&back), "/#sign-in-unbelievable");
    }
    *played.token.lock().unwrap() = None;
    *played.signer.lock().unwrap() = Signer::new("two");
    // Read a moment ago: an unknown key is not looked for again and again.
    let back = world.come_back(&way.cookie, &query).await;
    assert_eq!(place(&back), "/#sign-in-unbelievable");
    world.stage.later(10);
    let back = world.come_back(&way.cookie, &query).await;
    assert_eq!(place(&back), "/");
}

#[tokio::test]
async fn a_way_back_belongs_to_the_browser_that_went_out() {
    let world = world().await;
    let played = Played::in_world(&world);
    let mine = world.go(&played).await;
    let theirs = world.go(&played).await;
    played.claim(&theirs.nonce, json!({}));
    for (cookie, query, reason) in [
        (
            "other=1",
            format!("code=right&state={}", theirs.state),
            "lost",
        ),
        (
            mine.cookie.as_str(),
            format!("code=right&state={}", theirs.state),
            "mismatch",
        ),
        (mine.cookie.as_str(), "code=right".to_owned(), "mismatch"),
        (
            mine.cookie.as_str(),
            format!("error=access_denied&state={}", mine.state),
            "denied",
        ),
        (
            mine.cookie.as_str(),
            format!("state={}", mine.state),
            "unanswered",
        ),
        (
            theirs.cookie.as_str(),
            format!("code=wrong&state={}", theirs.state),
            "unanswered",
        ),
        // The code was asked for with another verifier.
        (
            mine.cookie.as_str(),
            format!("code=right&state={}", mine.state),
            "unanswered",
        ),
    ] {
        let back = world.come_back(cookie, &query).await;
        assert_eq!(place(&back), format!("/#sign-in-{reason}"), "{query}");
        assert_eq!(session_of(&back), None);
    }
    let failing = format!("code=wrong&state={}", mine.state);
    let mut reasons = Vec::new();
    for _ in 0..12 {
        reasons.push(place(&world.come_back(&mine.cookie, &failing).await).to_owned());
    }
    assert_eq!(reasons.last().unwrap(), "/#sign-in-wait");
}

#[tokio::test]
async fn an_address_counts_in_its_domain_and_passwords_can_be_switched_off() {
    let world = world().await;
    let played = Played::in_world(&world);
    let by_mail = Provider {
        claim: "email".to_owned(),
        claim_domain: Some("example.com".to_owned()),
        passwords: false,
        ..provider()
    };
    world.state.set_provider(Some(by_mail));
    for (with, there) in [
        (json!({"email": "anna@Example.com"}), "/"),
        (json!({"email": "anna@example.org"}), "/#sign-in-unknown"),
        (json!({"email": "anna"}), "/#sign-in-unknown"),
        (
            json!({"email": "anna@example.com", "email_verified": false}),
            "/#sign-in-unknown",
        ),
    ] {
        let way = world.go(&played).await;
        played.claim(&way.nonce, with.clone());
        let query = format!("code=right&state={}", way.state);
        let back = world.come_back(&way.cookie, &query).await;
        assert_eq!(place(&back), there, "{with}");
    }
    let nobody = world.with_token(None);
    let ways = nobody.get("/api/v1/session/ways").await.json();
    assert_eq!(
        ways,
        json!({"passwords": false, "provider": {"label": "Company", "path": BEGIN}})
    );
    let body = json!({"id": "anna", "password": "whatever"});
    let refused = nobody.send(Method::POST, "/api/v1/session", body).await;
    assert_problem(&refused, 403, "forbidden");
    let by_token = json!({ "token": ADMIN });
    let answer = nobody.send(Method::POST, "/api/v1/session", by_token).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.state.set_provider(None);
    assert_problem(&nobody.get(BEGIN).await, 404, "not-found");
    let ways = nobody.get("/api/v1/session/ways").await.json();
    assert_eq!(ways, json!({"passwords": true}));
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_told() {
    let world = world().await;
    world.state.set_provider(Some(provider()));
    let out = world.with_token(None).get(BEGIN).await;
    assert_eq!(place(&out), "/#sign-in-unanswered");
}
