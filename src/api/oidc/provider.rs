//! The provider: asked over HTTP, and its answers checked.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, ProviderMetadataWithLogout, RedirectUrl, Scope,
    SignatureVerificationError, TokenResponse as _,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::pass::{COOKIE, Pass};
use super::{Refused, WayBack};
use crate::api::auth::{Origin, hex};
use crate::api::problem::{Failure, Kind};
use crate::api::session;
use crate::api::sessions::Proof;
use crate::api::state::ApiState;

/// Where the provider sends people back to.
const CALLBACK: &str = "/api/v1/session/oidc/callback";
/// How long what the provider tells of itself is believed.
pub(super) const KNOWN_S: i64 = 300;
/// How soon it is read again for a key that is not among those known.
const AGAIN_S: i64 = 5;
/// How many ask the provider at once.
const ASKING: usize = 4;
/// Signatures that anybody can check and only the provider can make.
const SIGNED_BY: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// A provider as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// What it calls itself.
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// The secret that goes with it.
    pub client_secret: Option<String>,
    /// What it is asked for.
    pub scopes: Vec<String>,
    /// Which claim is the subscriber's id.
    pub claim: String,
    /// In which domain the claim is an address, where it is one.
    pub claim_domain: Option<String>,
    /// What the button says.
    pub label: String,
    /// Where people find the page.
    pub public_url: Option<String>,
    /// Whether passwords open sessions as well.
    pub passwords: bool,
}

/// The provider that is in force, and what it told of itself.
pub(in crate::api) struct Oidc {
    provider: Provider,
    known: Mutex<Option<Known>>,
    pub(super) seats: Semaphore,
}

#[derive(Clone)]
struct Known {
    metadata: Arc<ProviderMetadataWithLogout>,
    read_s: i64,
}

/// The place of the provider that is in force.
#[derive(Default)]
pub struct SignInProvider(ArcSwapOption<Oidc>);

impl SignInProvider {
    /// Puts another in force, or none. The same again keeps what it told of itself.
    pub(in crate::api) fn put(&self, provider: Option<Provider>) {
        let now = self.0.load();
        if now.as_ref().map(|oidc| &oidc.provider) != provider.as_ref() {
            let next = provider.map(|provider| Arc::new(Oidc::new(provider)));
            self.0.store(next);
        }
    }

    pub(in crate::api) fn in_force(&self) -> Option<Arc<Oidc>> {
        self.0.load_full()
    }
}

impl Oidc {
    /// Nothing has been asked yet.
    fn new(provider: Provider) -> Self {
        Self {
            provider,
            known: Mutex::default(),
            seats: Semaphore::new(ASKING),
        }
    }

    /// What the button says.
    pub(super) fn label(&self) -> &str {
        &self.provider.label
    }

    /// Whether passwords open sessions as well.
    pub(in crate::api) fn allows_passwords(&self) -> bool {
        self.provider.passwords
    }

    /// What a session rests on that this provider opened.
    pub(in crate::api) fn proof(&self) -> Proof {
        let Provider {
            issuer, client_id, ..
        } = &self.provider;
        let named = Sha256::digest(format!("{issuer}\n{client_id}").as_bytes());
        Proof::Provider(hex(&named))
    }

    /// Where people find the page.
    pub(super) fn page(&self, origin: &Origin, headers: &HeaderMap) -> Result<String, Failure> {
        if let Some(url) = &self.provider.public_url {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.filter(|host| !host.contains(['/', '?', '#', '@', '\\']));
        let scheme = if origin.is_secure { "https" } else { "http" };
        host.map(|host| format!("{scheme}://{host}"))
            .ok_or_else(|| Failure::new(Kind::Malformed, "the Host header is missing"))
    }

    pub(super) fn callback(
        &self,
        origin: &Origin,
        headers: &HeaderMap,
    ) -> Result<RedirectUrl, Failure> {
        let url = format!("{}{CALLBACK}", self.page(origin, headers)?);
        RedirectUrl::new(url).map_err(|error| Failure::new(Kind::Malformed, error.to_string()))
    }

    fn client(&self, metadata: &ProviderMetadataWithLogout, callback: RedirectUrl) -> Client {
        let id = ClientId::new(self.provider.client_id.clone());
        let secret = self.provider.client_secret.clone().map(ClientSecret::new);
        let methods = metadata.token_endpoint_auth_methods_supported();
        let knows =
            |wanted: &CoreClientAuthMethod| methods.is_some_and(|methods| methods.contains(wanted));
        let in_body = !knows(&CoreClientAuthMethod::ClientSecretBasic)
            && knows(&CoreClientAuthMethod::ClientSecretPost);
        let client = CoreClient::from_provider_metadata(metadata.clone(), id, secret)
            .set_redirect_uri(callback);
        match in_body {
            true => client.set_auth_type(AuthType::RequestBody),
            false => client,
        }
    }

    /// What the provider tells of itself; read again where it is older than that.
    pub(super) fn metadata(
        &self,
        state: &ApiState,
        older_s: i64,
    ) -> Result<Arc<ProviderMetadataWithLogout>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now_s = state.now_s();
        if let Some(known) = known.as_ref() {
            let age_s = now_s.saturating_sub(known.read_s);
            if (0..older_s).contains(&age_s) {
                return Ok(Arc::clone(&known.metadata));
            }
        }
        let issuer = IssuerUrl::new(self.provider.issuer.clone());
        let issuer = issuer.map_err(|error| error.to_string())?;
        let read = ProviderMetadataWithLogout::discover(&issuer, &asks(state));
        let metadata = Arc::new(read.map_err(|error| whole(&error))?);
        *known = Some(Known {
            metadata: Arc::clone(&metadata),
            read_s: now_s,
        });
        Ok(metadata)
    }

    pub(super) fn way_out(
        &self,
        state: &ApiState,
        pass: &Pass,
        callback: RedirectUrl,
    ) -> Result<String, String> {
        let client = self.client(&*self.metadata(state, KNOWN_S)?, callback);
        let (csrf, nonce) = (CsrfToken::new(pass.state()), Nonce::new(pass.nonce()));
        let verifier = PkceCodeVerifier::new(pass.verifier());
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let scopes = self
            .provider
            .scopes
            .iter()
            .filter(|scope| *scope != "openid");
        let (url, _, _) = client
            .authorize_url(flow, || csrf, || nonce)
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.into())
    }

    /// Who has come back.
    pub(super) async fn arrive(
        self: &Arc<Self>,
        state: &ApiState,
        origin: &Origin,
        headers: &HeaderMap,
        way: WayBack,
    ) -> Result<Result<String, Refused>, Failure> {
        let secret = session::cookie_named(headers, COOKIE).filter(|secret| !secret.is_empty());
        let Some(pass) = secret.map(|secret| Pass(secret.to_owned())) else {
            return Ok(Err(Refused::Lost));
        };
        if !pass.has_state(way.state.as_deref().unwrap_or_default()) {
            return Ok(Err(Refused::Mismatch));
        }
        let code = match (way.error, way.code) {
            (None, Some(code)) => code,
            (Some(error), _) => {
                tracing::info!(error, "the provider signed nobody in");
                return Ok(Err(Refused::Denied));
            }
            (None, None) => return Ok(Err(Refused::Unanswered)),
        };
        // Nobody else is kept waiting by those who guess codes.
        let claimed = format!("\nprovider from {}", origin.source);
        let throttle = &state.sessions().throttle;
        let Ok(attempt) = throttle.attempt(origin.source, &claimed, state.now_s()) else {
            return Ok(Err(Refused::Wait));
        };
        let callback = self.callback(origin, headers)?;
        let Ok(_seat) = self.seats.try_acquire() else {
            return Ok(Err(Refused::Unanswered));
        };
        let asked = Arc::clone(self);
        let named = state.blocking(move |state| asked.redeem(state, &pass, code, callback));
        let found = match named.await? {
            Ok(claims) => self.subscriber(state, &claims).ok_or(Refused::Unknown),
            Err((refused, fault)) => {
                tracing::warn!(fault, "a sign-in at the provider failed");
                Err(refused)
            }
        };
        if found.is_ok() {
            throttle.forgive(attempt);
        }
        Ok(found)
    }

    /// Changes the code for an ID token, and hands back its claims if they are to be believed.
    fn redeem(
        &self,
        state: &ApiState,
        pass: &Pass,
        code: String,
        callback: RedirectUrl,
    ) -> Result<Value, (Refused, String)> {
        let unanswered = |fault: String| (Refused::Unanswered, fault);
        let unbelievable = |fault: String| (Refused::Unbelievable, fault);
        let metadata = self.metadata(state, KNOWN_S).map_err(unanswered)?;
        let client = self.client(&metadata, callback.clone());
        let request = client.exchange_code(AuthorizationCode::new(code));
        let tokens = request
            .map_err(|error| unanswered(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(pass.verifier()))
            .request(&asks(state))
            .map_err(|error| unanswered(whole(&error)))?;
        let none = || unbelievable("there is no ID token in the answer".to_owned());
        let token = tokens.id_token().ok_or_else(none)?;
        let mut verified = verify(&client, token, pass, state);
        if let Err(ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoMatchingKey,
        )) = &verified
        {
            // The provider has changed its keys.
            let metadata = self.metadata(state, AGAIN_S).map_err(unanswered)?;
            verified = verify(&self.client(&metadata, callback), token, pass, state);
        }
        verified.map_err(|error| unbelievable(whole(&error)))?;
        claims_of(token).ok_or_else(|| unbelievable("the claims cannot be read".to_owned()))
    }

    /// Whom the claims name.
    fn subscriber(&self, state: &ApiState, claims: &Value) -> Option<String> {
        let found = self.id_in(claims);
        let profile = found.and_then(|id| state.directory().get(id));
        if profile.is_none() {
            let claim = self.provider.claim.as_str();
            let value = claims.get(claim).map(ToString::to_string);
            tracing::info!(claim, value, "the provider names nobody whom we know");
        }
        profile.map(|profile| profile.id().to_owned())
    }

    fn id_in<'c>(&self, claims: &'c Value) -> Option<&'c str> {
        let Provider {
            claim,
            claim_domain,
            ..
        } = &self.provider;
        let value = claims.get(claim)?.as_str()?;
        let is_unverified = claims.get("email_verified") == Some(&Value::Bool(false));
        if claim == "email" && is_unverified {
            return None;
        }
        match claim_domain {
            None => Some(value),
            Some(domain) => {
                let (local, at) = value.rsplit_once('@')?;
                at.eq_ignore_ascii_case(domain).then_some(local)
            }
        }
    }

    /// Where the provider ends its own session (OpenID Connect RP-Initiated Logout 1.0 §2).
    pub(super) fn way_to_end(
        &self,
        known: &ProviderMetadataWithLogout,
        page: &str,
    ) -> Option<String> {
        let end = known.additional_metadata().end_session_endpoint.as_ref()?;
        let mut url = end.url().clone();
        url.query_pairs_mut()
            .append_pair("client_id", &self.provider.client_id)
            .append_pair("post_logout_redirect_uri", &format!("{page}/"));
        Some(url.into())
    }
}

/// Checks signature, issuer, audience, time and nonce (OpenID Connect Core §3.1.3.7).
fn verify(
    client: &Client,
    token: &CoreIdToken,
    pass: &Pass,
    state: &ApiState,
) -> Result<(), ClaimsVerificationError> {
    let now_s = state.now_s();
    let verifier = client
        .id_token_verifier()
        .set_allowed_algs(SIGNED_BY)
        .set_time_fn(move || chrono::DateTime::from_timestamp(now_s, 0).unwrap_or_default());
    token
        .claims(&verifier, &Nonce::new(pass.nonce()))
        .map(|_| ())
}

/// The claims of a token that has been verified.
fn claims_of(token: &CoreIdToken) -> Option<Value> {
    let text = token.to_string();
    let payload = text.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// Asks the provider by the host's own means.
fn asks(state: &ApiState) -> impl Fn(HttpRequest) -> Result<HttpResponse, Unanswered> {
    |request| state.host().ask(request).map_err(Unanswered)
}

/// The provider did not answer, and why.
#[derive(Debug)]
struct Unanswered(String);

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unanswered {}

/// An error with all that is behind it.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(next) = behind {
        text = format!("{text}: {next}");
        behind = next.source();
    }
    text
}
