//! `[oidc]`: signing in at the page at a provider of OpenID Connect.

use std::path::PathBuf;

use serde::Serialize;

use super::{Config, ConfigError, Secret};

/// `[oidc]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each key is described once, in `keys`")]
pub struct Oidc {
    pub issuer: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    pub client_secret_file: Option<PathBuf>,
    pub scopes: Vec<String>,
    pub claim: String,
    pub claim_domain: Option<String>,
    pub label: String,
    pub public_url: Option<String>,
    pub passwords: bool,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            scopes: ["openid", "profile"].map(str::to_owned).to_vec(),
            claim: "preferred_username".to_owned(),
            claim_domain: None,
            label: "Single sign-on".to_owned(),
            public_url: None,
            passwords: true,
        }
    }
}

impl Config {
    /// What is missing for signing in at a provider, or stands there without one.
    pub(super) fn check_oidc(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let mut error = |key: &str, text: &str| errors.push(self.error(key, text));
        let oidc = &self.oidc;
        if oidc.issuer.is_some() && oidc.client_id.is_none() {
            let text = "there is no `oidc.client_id`, by which the provider knows this server";
            error("oidc.issuer", text);
        }
        if oidc.issuer.is_none() {
            let needs = "has no effect without `oidc.issuer`, the provider";
            if oidc.client_id.is_some() {
                error("oidc.client_id", needs);
            }
            if !oidc.passwords {
                error("oidc.passwords", needs);
            }
        }
        if !oidc.scopes.iter().any(|scope| scope == "openid") {
            error("oidc.scopes", "`openid` must be among the scopes");
        }
        errors
    }
}

/// An `https` URL without query; `http` for this machine only, where nobody listens on the way.
pub(super) fn url(text: &str) -> Result<String, String> {
    let fault =
        || format!("{text:?} is not allowed; allowed: https://HOST[:PORT][/PATH], without query");
    let is_plain = |c: char| c.is_ascii_graphic() && !"?#@\"\\<>".contains(c);
    let (scheme, rest) = text.split_once("://").ok_or_else(fault)?;
    let host = rest.split('/').next().unwrap_or_default();
    let is_local = ["127.", "[::1]", "localhost"]
        .iter()
        .any(|local| host.starts_with(local));
    let is_known = scheme == "https" || (scheme == "http" && is_local);
    match is_known && !host.is_empty() && text.len() <= 512 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(fault()),
    }
}

/// A word as OAuth writes scopes and clients (RFC 6749 §3.3).
pub(super) fn word(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    match text.is_empty() || text.len() > 256 || !text.bytes().all(legal) {
        true => Err(format!(
            "{text:?} is not allowed; allowed: 1 to 256 ASCII characters without spaces and quotes"
        )),
        false => Ok(text.to_owned()),
    }
}

/// What a button says.
pub(super) fn label(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    match trimmed.is_empty() || trimmed.len() > 64 || trimmed.chars().any(char::is_control) {
        true => Err(format!("{text:?} is not allowed; allowed: 1 to 64 bytes")),
        false => Ok(trimmed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_reached_by_https_or_on_this_machine() {
        for good in [
            "https://login.example.com",
            "https://example.com:8443/realms/one",
            "http://127.0.0.1:9000",
            "http://localhost/x",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example.com",
            "login.example.com",
            "https://",
            "https://a@b",
            "https://a?x=1",
            "https://a b",
            "ftp://127.0.0.1",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let parse = |text: &str| {
            let parsed = Config::parse(std::path::Path::new("p.toml"), text, []);
            parsed.map(|_| ()).map_err(|errors| errors.to_string())
        };
        let whole = "[oidc]\nissuer = \"https://example.com\"\nclient_id = \"p\"\n";
        assert_eq!(parse(whole), Ok(()));
        for (text, key) in [
            ("[oidc]\nissuer = \"https://example.com\"\n", "oidc.issuer"),
            ("[oidc]\npasswords = false\n", "oidc.passwords"),
            ("[oidc]\nclient_id = \"p\"\n", "oidc.client_id"),
            ("[oidc]\nscopes = [\"profile\"]\n", "oidc.scopes"),
            (
                &format!("{whole}client_secret = \"a\"\nclient_secret_file = \"/b\"\n"),
                "oidc.client_secret_file",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }
}
