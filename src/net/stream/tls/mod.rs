//! TLS as configured: certificates, keys and roots from files, put in force as a whole.

mod files;
mod identity;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::link::Link;
use crate::config::{Config, ConfigError, ConfigErrors, TlsVersion};
use identity::Reading;
use verify::SipServerVerifier;

/// A certificate that ends within so many seconds is warned of.
const SOON_S: i64 = 14 * 86_400;
const DAY_S: i64 = 86_400;

/// Everything about TLS that is in force.
pub(in crate::net) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    certificates: Vec<CertificateFacts>,
    /// Whether the names of those whom we connect to are verified.
    verifies_servers: bool,
}

/// What is told of one of our certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// What it is shown for: `server` or `client`.
    pub use_: &'static str,
    /// Its holder, as written in it.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The SIP domains and addresses that it is for.
    pub names: Vec<Box<str>>,
    /// When it begins, seconds since 1970.
    pub not_before_unix_s: i64,
    /// When it ends.
    pub not_after_unix_s: i64,
    /// Where it was read.
    pub file: PathBuf,
}

/// What is read from the files of `[tls]`.
struct Material {
    server: Arc<CertifiedKey>,
    client: Arc<CertifiedKey>,
    /// The roots of those who connect to us.
    client_roots: Option<RootCertStore>,
    /// The roots of those whom we connect to.
    server_roots: RootCertStore,
    certificates: Vec<CertificateFacts>,
}

impl Tls {
    /// Reads all files; `None` where no certificate is configured.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(in crate::net) fn load(
        config: &Config,
        now_unix_s: i64,
    ) -> Result<Option<Self>, ConfigErrors> {
        if config.tls.certificate.is_none() {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let material = files::read(config, &provider, now_unix_s).map_err(ConfigErrors)?;
        let server = server_config(config, &material, &provider);
        let server = server.map_err(|error| ConfigErrors(vec![error]))?;
        let client = client_config(config, &material, &provider);
        let client = client.map_err(|error| ConfigErrors(vec![error]))?;
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            certificates: material.certificates,
            verifies_servers: config.tls.verify_server,
        }))
    }

    /// Our certificates.
    pub(in crate::net) fn certificates(&self) -> &[CertificateFacts] {
        &self.certificates
    }

    /// Logs which certificates end soon.
    pub(in crate::net) fn warn(&self, now_unix_s: i64) {
        for warning in self
            .certificates
            .iter()
            .filter_map(|c| c.warning(now_unix_s))
        {
            tracing::warn!("{warning}");
        }
    }

    /// Speaks TLS with somebody who has connected, who may have shown a certificate.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(server::TlsStream<TcpStream>, Vec<Box<str>>)> {
        let stream = self.acceptor.accept(stream).await?;
        let identities = identities(stream.get_ref().1.peer_certificates());
        Ok((stream, identities))
    }

    /// Speaks TLS with somebody whom we have connected to; their certificate must have the name
    /// under which we looked for them, else their address.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        link: &Link,
    ) -> std::io::Result<(client::TlsStream<TcpStream>, Vec<Box<str>>)> {
        let name = match &link.name {
            Some(name) => ServerName::try_from(name.to_string()).map_err(std::io::Error::other)?,
            None => ServerName::from(link.peer.ip().to_canonical()),
        };
        let stream = self.connector.connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let identities = identities(chain.filter(|_| self.verifies_servers));
        Ok((stream, identities))
    }
}

impl CertificateFacts {
    /// What an administrator should hear of it, if anything.
    pub fn warning(&self, now_unix_s: i64) -> Option<String> {
        let left_s = self.not_after_unix_s.saturating_sub(now_unix_s);
        let file = self.file.display();
        let days = left_s / DAY_S;
        (left_s < SOON_S).then(|| match days {
            0 => format!("the certificate in {file} ends within a day"),
            days if left_s > 0 => format!("the certificate in {file} ends in {days} days"),
            _ => format!("the certificate in {file} has ended"),
        })
    }
}

/// The names of a verified certificate.
fn identities(chain: Option<&[CertificateDer<'_>]>) -> Vec<Box<str>> {
    let reading = chain.and_then(|chain| Reading::of(chain.first()?));
    reading
        .map(|reading| reading.identities())
        .unwrap_or_default()
}

static ALL_VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
static NEWEST: [&SupportedProtocolVersion; 1] = [&version::TLS13];

fn versions(config: &Config) -> &'static [&'static SupportedProtocolVersion] {
    match config.tls.min_version {
        TlsVersion::V1_2 => &ALL_VERSIONS,
        TlsVersion::V1_3 => &NEWEST,
    }
}

fn server_config(
    config: &Config,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, ConfigError> {
    let failed = |error: &dyn std::fmt::Display| config.error("tls.certificate", error.to_string());
    let verifier = client_verifier(config, material, provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(config))
        .map_err(|error| failed(&error))?;
    let builder = builder.with_client_cert_verifier(verifier);
    let key = Arc::clone(&material.server);
    Ok(builder.with_cert_resolver(Arc::new(
        tokio_rustls::rustls::sign::SingleCertAndKey::from(key),
    )))
}

fn client_verifier(
    config: &Config,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let Some(roots) = &material.client_roots else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let roots = Arc::new(roots.clone());
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = match config.tls.require_client_certificate {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    let built = builder.build();
    built.map_err(|error| config.error("tls.client_ca", error.to_string()))
}

fn client_config(
    config: &Config,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, ConfigError> {
    let verifier = SipServerVerifier {
        roots: material.server_roots.clone(),
        provider: Arc::clone(provider),
        allow_wildcards: config.tls.allow_wildcards,
        is_strict: config.tls.verify_server,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(config))
        .map_err(|error| config.error("tls.client_certificate", error.to_string()))?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let key = Arc::clone(&material.client);
    Ok(builder.with_client_cert_resolver(Arc::new(
        tokio_rustls::rustls::sign::SingleCertAndKey::from(key),
    )))
}
