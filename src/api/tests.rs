//! The handlers, called without a socket.

mod access;
mod bindings;
mod calls;
mod data;
mod delegates;
mod events;
mod hours;
mod layers;
mod oidc;
mod own;
mod passwords;
mod peers;
mod personal;
mod session;
#[expect(unreachable_pub, reason = "the tests of the page have it, too")]
mod signer;
mod subscribers;
mod targets;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::auth::PeerAddress;
use super::events::Events;
use super::state::{ApiState, CertificateFacts, Histogram, Host, Measures, Parts};
use super::tokens::Tokens;
use super::traces::Traces;
use crate::auth::AuthPolicy;
use crate::call::{CallRecord, Entry, EntryKind};
use crate::presence::{Clock, Directory, NumberPlan, Problem, Problems, Roster};
use crate::proxy::policy::{Limits, NextHop, Peer, Policy, Timers, UnknownCallee, Voicemail};
use crate::proxy::{CallEvent, Shared};
use crate::routing::Mode;
use crate::store::{Journal, Memory, Store};

const NOW: &str = "2026-11-23T12:00:00Z";
const ADMIN: &str = "admin-token";

/// A process around the API: its clock stands still, its chance is counted.
#[derive(Default)]
struct Stage {
    drawn: AtomicU8,
    later_s: AtomicI64,
    other_server: Mutex<Option<OtherServer>>,
}

/// What another server answers.
type OtherServer = Box<dyn Fn(Request<Vec<u8>>) -> Result<HttpResponse, String> + Send>;
type HttpResponse = axum::http::Response<Vec<u8>>;

impl Stage {
    /// Puts another server where requests of ours go.
    fn play(
        &self,
        answer: impl Fn(Request<Vec<u8>>) -> Result<HttpResponse, String> + Send + 'static,
    ) {
        *self.other_server.lock().unwrap() = Some(Box::new(answer));
    }

    /// Time passes.
    fn later(&self, seconds: i64) {
        self.later_s.fetch_add(seconds, Relaxed);
    }
}

impl Host for Stage {
    fn now(&self) -> Timestamp {
        let begun: Timestamp = NOW.parse().unwrap();
        Timestamp::from_second(begun.as_second() + self.later_s.load(Relaxed)).unwrap()
    }

    fn ask(&self, request: Request<Vec<u8>>) -> Result<HttpResponse, String> {
        match &*self.other_server.lock().unwrap() {
            Some(answer) => answer(request),
            None => Err("nobody is there".to_owned()),
        }
    }

    fn now_ms(&self) -> u64 {
        1_000_000
    }

    fn certificates(&self) -> Vec<CertificateFacts> {
        let now_s = self.now().as_second();
        vec![CertificateFacts {
            purpose: "tls:127.0.0.1:5061".to_owned(),
            subject: "CN=example.com".to_owned(),
            issuer: "CN=An authority".to_owned(),
            names: vec!["example.com".to_owned()],
            not_before_unix_s: now_s - 86_400,
            not_after_unix_s: now_s + 3 * 86_400 + 60,
            file: "/etc/pointsman/cert.pem".to_owned(),
        }]
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), String> {
        bytes.fill(self.drawn.fetch_add(1, Relaxed) + 1);
        Ok(())
    }

    fn reload(&self) -> Result<Vec<&'static str>, Problems> {
        let text = "p.toml:7:3: no such region";
        Err(Problems(vec![Problem::new("sip.region", text)]))
    }

    fn measures(&self) -> Measures {
        Measures {
            counters: vec![("datagrams_received", "Datagrams received", 5)],
            gauges: Vec::new(),
            families: Vec::new(),
            histograms: vec![Histogram {
                name: "store_write_seconds",
                help: "How long a write takes",
                bounds_s: vec![0.001, 0.1],
                counts: vec![1, 2, 3],
                sum_s: 4.5,
            }],
        }
    }
}

struct World {
    state: ApiState,
    stage: Arc<Stage>,
    router: Router,
    store: Memory,
    _ending: Arc<watch::Sender<bool>>,
    token: Option<String>,
    peer: SocketAddr,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn etag(&self) -> &str {
        self.headers["etag"].to_str().unwrap()
    }
}

fn policy() -> Policy {
    let hop = NextHop::at("hop", "127.0.0.1:5080".parse().unwrap());
    let stranger = Peer {
        name: "stranger".into(),
        networks: Vec::new(),
        certificates: Vec::new(),
        forwarding: Mode::Redirect,
        voicemail_forwarding: Mode::Redirect,
        trust_diversion: false,
        trust_identity: false,
        send_identity: false,
        external: false,
    };
    Policy {
        listeners: Vec::new(),
        domains: vec!["example.com".into()],
        plan: Arc::new(NumberPlan::for_region("DE").unwrap()),
        next_hop: Some(hop.clone()),
        outbound: None,
        voicemail: Some(Voicemail {
            before: "sip:vm-".into(),
            after: "@127.0.0.1".into(),
            per_subscriber: true,
            hop,
        }),
        peers: vec![Peer {
            name: "trunk".into(),
            external: true,
            forwarding: Mode::Retarget,
            ..stranger.clone()
        }],
        stranger,
        auth: AuthPolicy::off(),
        never_ban: Vec::new(),
        dnd_status: 480,
        unknown_callee: UnknownCallee::NextHop,
        registrar: None,
        timers: Timers::default(),
        overload: Default::default(),
        limits: Limits::default(),
        call_limit: 1,
        hop_limit: 5,
        retry_after_s: 10,
        udp_limit_bytes: 1_300,
        join_datagrams: true,
        events: Default::default(),
        ring_for_s: 30,
        health: Default::default(),
        zone: jiff::tz::TimeZone::UTC,
        holidays: Default::default(),
        house: Default::default(),
        visibility: Default::default(),
    }
}

/// A server with Anna, Bob and an administrator's token.
async fn world() -> World {
    let world = empty_world();
    let anna = json!({
        "id": "anna", "display_name": "Anna Arndt", "aliases": ["101", "+493012345101"],
        "settings": {"away": {"immediate": {"forward": "+491701234567"}},
                     "available": {"no_answer": "voicemail", "ring_for_s": 20}}
    });
    for document in [
        anna,
        json!({"id": "bob", "display_name": "Bob Bauer", "aliases": ["102"]}),
    ] {
        let answer = world
            .send(Method::POST, "/api/v1/subscribers", document)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    world
}

/// A server with an administrator's token and nobody else.
fn empty_world() -> World {
    world_over(Memory::new([9; 32]), Some(ADMIN))
}

/// A server over that store.
fn world_over(store: Memory, admin: Option<&str>) -> World {
    let directory = Arc::new(Directory::new(1));
    let clock: Clock = Arc::new(|| NOW.parse().unwrap());
    let plan = NumberPlan::for_region("DE").unwrap();
    let roster =
        Roster::start(Arc::new(store.clone()), Arc::clone(&directory), plan, clock).unwrap();
    let (stop, ending) = watch::channel(false);
    let stage = Arc::new(Stage::default());
    let state = ApiState::new(Parts {
        roster: Arc::new(roster),
        store: Arc::new(store.clone()),
        shared: Arc::new(Shared::new(policy(), directory, [9; 32], 2)),
        host: Arc::clone(&stage) as Arc<dyn Host>,
        tokens: Tokens::load(Arc::new(store.clone())).unwrap(),
        sessions: super::sessions::Sessions::load(Arc::new(store.clone())).unwrap(),
        admin_token: arc_swap::ArcSwapOption::empty(),
        provider: super::oidc::SignInProvider::default(),
        events: Arc::new(Events::new("run")),
        traces: Traces::default(),
        journal_days: 90,
        ending,
    });
    state.set_admin_token(admin);
    World {
        router: super::router(state.clone()),
        state,
        stage,
        store,
        _ending: Arc::new(stop),
        token: admin.map(str::to_owned),
        peer: "127.0.0.1:50000".parse().unwrap(),
    }
}

impl World {
    /// The same server, asked with another token.
    fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            state: self.state.clone(),
            router: self.router.clone(),
            stage: Arc::clone(&self.stage),
            store: self.store.clone(),
            _ending: Arc::clone(&self._ending),
            token: token.map(str::to_owned),
            peer: self.peer,
        }
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8080")
            .extension(PeerAddress(self.peer));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request
    }

    async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, 64 << 20).await.unwrap().to_vec(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(self.request(Method::GET, path).body(Body::empty()).unwrap())
            .await
    }

    /// Reads it as somebody who wants this language.
    async fn get_in(&self, language: &str, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        let request = request.header("accept-language", language);
        self.call(request.body(Body::empty()).unwrap()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(
            self.request(Method::DELETE, path)
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send_if(method, path, body, None).await
    }

    async fn send_if(&self, method: Method, path: &str, body: Value, etag: Option<&str>) -> Answer {
        let mut request = self
            .request(method, path)
            .header("content-type", "application/json");
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        self.call(request.body(body.to_string().into()).unwrap())
            .await
    }

    async fn import(&self, lines: &str) -> Vec<Value> {
        let request = self
            .request(Method::POST, "/api/v1/import")
            .header("content-type", "application/x-ndjson")
            .body(lines.to_owned().into())
            .unwrap();
        let answer = self.call(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn token_of(&self, id: &str) -> String {
        let path = format!("/api/v1/subscribers/{id}/tokens");
        let answer = self
            .send(Method::POST, &path, json!({"label": "laptop"}))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let document = answer.json();
    assert_eq!(document["type"], format!("/#problem-{kind}"));
    assert_eq!(document["status"], status);
    assert!(!document["detail"].as_str().unwrap().is_empty());
}
