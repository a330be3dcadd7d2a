//! `[auth]`: who must authenticate, and what becomes of those who fail.

use std::net::IpAddr;

use serde::Serialize;

use super::Config;
use crate::auth::{AuthPolicy, BanRules, Methods};
use crate::message::Method;
use crate::proxy::policy::{Listener, Network};

/// The methods that can be named; a request of another one is challenged under `"*"` only.
const METHODS: [Method; 8] = [
    Method::Register,
    Method::Publish,
    Method::Subscribe,
    Method::Invite,
    Method::Message,
    Method::Options,
    Method::Refer,
    Method::Notify,
];
const EVERY: &str = "*";
const REALM_LIMIT_BYTES: usize = 128;

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Auth {
    pub methods: Vec<String>,
    pub realm: Option<String>,
    pub md5: bool,
    pub nonce_s: u32,
    pub failures: u32,
    pub window_s: u32,
    pub ban_s: u32,
    #[serde(serialize_with = "super::networks_as_text")]
    pub never_ban: Vec<Network>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            methods: ["REGISTER", "PUBLISH", "SUBSCRIBE"]
                .map(str::to_owned)
                .to_vec(),
            realm: None,
            md5: false,
            nonce_s: 300,
            failures: 10,
            window_s: 60,
            ban_s: 300,
            never_ban: Vec::new(),
        }
    }
}

impl Config {
    /// The realm that phones are asked with: the configured one, else the first domain, else the
    /// first address that is advertised or listened on. `None` where only the system can tell.
    pub fn realm(&self) -> Option<String> {
        let configured = self.auth.realm.clone();
        let domain = || self.sip.domains.first().cloned();
        let advertised = || {
            self.sip
                .advertise
                .first()
                .map(|entry| entry.host.to_string())
        };
        let address = || {
            let listen = self.sip.listen.first()?;
            let ip: IpAddr = listen.address.ip();
            (!ip.is_unspecified()).then(|| ip.to_string())
        };
        configured
            .or_else(domain)
            .or_else(advertised)
            .or_else(address)
    }
}

/// The policy of `[auth]`.
pub(super) fn policy(config: &Config, listeners: &[Listener], is_registrar: bool) -> AuthPolicy {
    let auth = &config.auth;
    let host = || listeners.first().map(|listener| listener.host.to_string());
    let realm = config.realm().or_else(host).unwrap_or_default();
    let is_named = |method: &&Method| auth.methods.iter().any(|name| name == method.as_str());
    AuthPolicy {
        methods: match auth.methods.iter().any(|name| name == EVERY) {
            true => Methods::ALL,
            false => Methods::of(METHODS.iter().filter(is_named).copied()),
        },
        realm: realm.into(),
        md5: auth.md5,
        nonce_s: auth.nonce_s,
        registrar_is_local: is_registrar,
        bans: BanRules {
            failures: auth.failures,
            window_s: auth.window_s,
            ban_s: auth.ban_s,
        },
    }
}

/// One of the methods that can be challenged.
pub(super) fn method(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let is_known = METHODS.iter().any(|method| method.as_str() == name);
    if is_known || name == EVERY {
        return Ok(name);
    }
    let allowed: Vec<_> = METHODS.iter().map(|method| method.as_str()).collect();
    Err(format!(
        "{text:?} cannot be challenged; allowed: {} and {EVERY:?} for all",
        allowed.join(", ")
    ))
}

/// A realm that can stand between quotes.
pub(super) fn realm(text: &str) -> Result<String, String> {
    let legal = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    match text.is_empty() || text.len() > REALM_LIMIT_BYTES || !text.bytes().all(legal) {
        true => Err(format!(
            "{text:?} is no realm; allowed: 1 to {REALM_LIMIT_BYTES} ASCII characters without \
             quotes and backslashes, such as \"example.com\""
        )),
        false => Ok(text.to_owned()),
    }
}

/// A name in a certificate.
pub(super) fn identity(text: &str) -> Result<String, String> {
    super::address::domain(text)
}
