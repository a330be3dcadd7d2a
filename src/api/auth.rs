//! Who asks: the administrator, a subscriber, or nobody we know.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::{Failure, Kind};
use super::session;
use super::state::ApiState;

/// Where a request came from; the listener adds it to each request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// May do everything.
    Administrator,
    /// May read and change what is their own, and see colleagues' status.
    Subscriber(String),
}

impl Caller {
    /// Who it is, for the log: an id, or `admin`.
    pub fn name(&self) -> &str {
        match self {
            Self::Administrator => "admin",
            Self::Subscriber(id) => id,
        }
    }

    /// Passes the administrator.
    ///
    /// # Errors
    /// [`Kind::Forbidden`].
    pub fn administers(&self) -> Result<(), Failure> {
        match self {
            Self::Administrator => Ok(()),
            Self::Subscriber(id) => Err(Failure::new(
                Kind::Forbidden,
                format!("the token of `{id}` does not allow this; it needs the administrator's"),
            )),
        }
    }

    /// Passes the administrator and the subscriber `id`.
    ///
    /// # Errors
    /// [`Kind::Forbidden`].
    pub fn owns(&self, id: &str) -> Result<(), Failure> {
        match self {
            Self::Subscriber(own) if !own.eq_ignore_ascii_case(id) => Err(Failure::new(
                Kind::Forbidden,
                format!("the token of `{own}` does not reach what belongs to `{id}`"),
            )),
            _ => Ok(()),
        }
    }
}

/// By what somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// A token.
    Token,
    /// A session of the page.
    Page,
    /// Nothing but that they ask from this machine.
    Machine,
}

impl Via {
    /// The name in documents.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Page => "page",
            Self::Machine => "machine",
        }
    }
}

/// How a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// By what the sender is known.
    pub via: Via,
    /// The sender's address; what a proxy on this machine says it is.
    pub source: IpAddr,
    /// Whether it came by https, as a proxy on this machine says.
    pub is_secure: bool,
    /// When the session ends, in unix seconds.
    pub ends_s: Option<i64>,
}

impl Origin {
    fn of(peer: Option<IpAddr>, headers: &HeaderMap) -> Self {
        let peer = peer.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let is_proxied = peer.to_canonical().is_loopback();
        let text = |name: &str| {
            let value = headers.get(name).filter(|_| is_proxied)?;
            value.to_str().ok()
        };
        let named = text("x-forwarded-for").and_then(|list| list.rsplit(',').next());
        Self {
            via: Via::Token,
            source: named.and_then(|ip| ip.trim().parse().ok()).unwrap_or(peer),
            is_secure: text("x-forwarded-proto")
                .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https")),
            ends_s: None,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::new(Kind::Internal, "a route without authentication"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::new(Kind::Internal, "a route without authentication"))
    }
}

/// A hash that stands for a secret where it is kept or compared.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret. Secrets are long and random, so one round is enough.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Whether `secret` is the one; takes the same time whatever differs.
    pub fn admits(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }

    /// The hash as 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// The hash that [`SecretHash::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Finds out who asks, before any handler sees the request.
pub(super) async fn authenticate(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request
        .extensions()
        .get::<PeerAddress>()
        .map(|PeerAddress(address)| address.ip());
    let mut origin = Origin::of(peer, request.headers());
    if is_on_the_way(&request) {
        request.extensions_mut().insert(origin);
        return next.run(request).await;
    }
    if is_sign_in(&request) {
        let headers = request.headers();
        let is_page = headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site");
        if is_page && let Err(failure) = session::refuse_foreign_changes(&Method::POST, headers) {
            return failure.into_response();
        }
        request.extensions_mut().insert(origin);
        return next.run(request).await;
    }
    match identify(&state, &mut origin, peer, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(origin);
            next.run(request).await
        }
        Err(failure) if origin.via == Via::Page && failure.kind == Kind::Unauthenticated => {
            (session::expired(&origin), failure).into_response()
        }
        Err(failure) => failure.into_response(),
    }
}

/// The one request that nobody is known for yet.
fn is_sign_in(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == "/api/v1/session"
}

/// What a browser asks before anybody is signed in: how that is done, and the way to a provider and
/// back. Nothing of it changes what is there for whoever is signed in.
fn is_on_the_way(request: &Request) -> bool {
    let path = request.uri().path().strip_prefix("/api/v1/session/");
    let open = ["ways", "oidc", "oidc/callback", "oidc/end"];
    request.method() == Method::GET && path.is_some_and(|path| open.contains(&path))
}

/// Who asks. Without an administrator's token, whoever asks from this machine is one; then a web
/// page of somebody else, open in a browser here, must be kept out by Host and Origin.
fn identify(
    state: &ApiState,
    origin: &mut Origin,
    peer: Option<IpAddr>,
    request: &Request,
) -> Result<Caller, Failure> {
    let headers = request.headers();
    let admin = state.admin_token();
    if admin.is_none() {
        refuse_foreign_pages(headers, request.uri())?;
    }
    if let Some(token) = bearer(headers)? {
        if admin.as_deref().is_some_and(|hash| hash.admits(token)) {
            return Ok(Caller::Administrator);
        }
        return state
            .tokens()
            .owner(token)
            .map(Caller::Subscriber)
            .ok_or_else(|| Failure::new(Kind::Unauthenticated, "the token is not known"));
    }
    if let Some(secret) = session::cookie(headers).filter(|secret| !secret.is_empty()) {
        origin.via = Via::Page;
        let found = state.sessions().of(state, secret);
        let over = || Failure::new(Kind::Unauthenticated, "the session is over; sign in again");
        let (caller, ends_s) = found.ok_or_else(over)?;
        origin.ends_s = Some(ends_s);
        session::refuse_foreign_changes(request.method(), headers)?;
        return Ok(caller);
    }
    origin.via = Via::Machine;
    // What a proxy passes on comes from somewhere else.
    let is_direct = !["forwarded", "x-forwarded-for"]
        .iter()
        .any(|name| headers.contains_key(*name));
    match (admin, peer) {
        (None, Some(ip)) if ip.to_canonical().is_loopback() && is_direct => {
            Ok(Caller::Administrator)
        }
        _ => Err(Failure::new(
            Kind::Unauthenticated,
            "send `Authorization: Bearer <token>` with the administrator's token \
             (`api.admin_token`) or a subscriber's",
        )),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let malformed = || {
        Failure::new(
            Kind::Unauthenticated,
            "Authorization must be `Bearer <token>`",
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(malformed());
    }
    Ok(Some(token.trim()))
}

fn refuse_foreign_pages(headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
    let from_header = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str());
    let Some(host) = host.or(from_header) else {
        return Err(Failure::new(
            Kind::Misdirected,
            "the Host header is missing",
        ));
    };
    if !is_local(host) {
        return Err(Failure::new(
            Kind::Misdirected,
            format!(
                "Host `{host}` is not this machine; without `api.admin_token` only 127.0.0.1, \
                 [::1] and localhost are answered"
            ),
        ));
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let own = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    if own {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Misdirected,
        "a web page of another origin may not use this API",
    ))
}

/// Whether `host[:port]` names this machine by a loopback address or `localhost`.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_admits_its_secret_only_also_after_storage() {
        let hash = SecretHash::of("s3cret");
        let kept = SecretHash::from_hex(&hash.to_hex()).unwrap();
        assert!(kept.admits("s3cret"));
        assert!(!kept.admits("s3cret "));
        for bad in ["", "00", &"g".repeat(64), &"ä".repeat(32)] {
            assert!(SecretHash::from_hex(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn local_hosts_are_loopback_addresses_and_localhost() {
        for host in [
            "127.0.0.1:8080",
            "127.1.2.3",
            "localhost",
            "LocalHost:80",
            "[::1]:8080",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "evil.example",
            "192.0.2.1:8080",
            "localhost.evil.example",
            "",
            "[::2]",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn subscribers_own_themselves_without_regard_to_case() {
        let anna = Caller::Subscriber("anna".into());
        assert!(anna.owns("Anna").is_ok());
        assert_eq!(anna.owns("bob").unwrap_err().kind, Kind::Forbidden);
        assert_eq!(anna.administers().unwrap_err().kind, Kind::Forbidden);
        assert!(Caller::Administrator.owns("bob").is_ok());
    }
}
