//! A provider of OpenID Connect on loopback that signs whoever comes in, or does not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::signer::{Signer, discovery};

type Pairs = HashMap<String, String>;

/// Where it is, and whom it signs in.
pub struct Provider {
    pub issuer: String,
    signs_in: Arc<Mutex<Option<String>>>,
}

struct Realm {
    issuer: String,
    signer: Signer,
    signs_in: Arc<Mutex<Option<String>>>,
    /// What each code was asked for with: nonce and challenge.
    codes: Mutex<HashMap<String, (String, String)>>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let signs_in = Arc::new(Mutex::new(Some("anna".to_owned())));
        let realm = Arc::new(Realm {
            issuer: issuer.clone(),
            signer: Signer::new("one"),
            signs_in: Arc::clone(&signs_in),
            codes: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(tell))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(redeem))
            .route("/end", get(end))
            .with_state(realm);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, signs_in }
    }

    /// Whom it signs in from now on; `None` for nobody.
    pub fn sign_in(&self, name: Option<&str>) {
        *self.signs_in.lock().unwrap() = name.map(str::to_owned);
    }
}

async fn tell(State(realm): State<Arc<Realm>>) -> Json<Value> {
    Json(discovery(&realm.issuer))
}

async fn keys(State(realm): State<Arc<Realm>>) -> Json<Value> {
    Json(realm.signer.key_set())
}

async fn authorize(State(realm): State<Arc<Realm>>, Query(asked): Query<Pairs>) -> Redirect {
    let (back, state) = (&asked["redirect_uri"], &asked["state"]);
    if realm.signs_in.lock().unwrap().is_none() {
        return Redirect::to(&format!("{back}?error=access_denied&state={state}"));
    }
    let mut codes = realm.codes.lock().unwrap();
    let code = format!("code-{}", codes.len());
    let kept = (asked["nonce"].clone(), asked["code_challenge"].clone());
    codes.insert(code.clone(), kept);
    Redirect::to(&format!("{back}?code={code}&state={state}"))
}

async fn redeem(State(realm): State<Arc<Realm>>, Form(asked): Form<Pairs>) -> Response {
    let kept = realm.codes.lock().unwrap().remove(&asked["code"]);
    let verifier = Sha256::digest(asked["code_verifier"].as_bytes());
    let known = kept.filter(|(_, challenge)| URL_SAFE_NO_PAD.encode(verifier) == *challenge);
    let Some((nonce, _)) = known else {
        let refusal = Json(json!({"error": "invalid_grant"}));
        return (StatusCode::BAD_REQUEST, refusal).into_response();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let name = realm.signs_in.lock().unwrap().clone();
    let claims = json!({"iss": realm.issuer, "aud": "page", "sub": "7", "nonce": nonce,
                        "iat": now.as_secs(), "exp": now.as_secs() + 300,
                        "preferred_username": name});
    let token = realm.signer.token(&claims);
    Json(json!({"access_token": "a", "token_type": "Bearer", "id_token": token})).into_response()
}

async fn end() -> Html<&'static str> {
    Html("<p id=ended>Signed out at the provider.</p>")
}
