//! The files of `[tls]`.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

use super::identity::Reading;
use super::{CertificateFacts, Material};
use crate::config::{Config, ConfigError};

/// A pair of files and the keys that name them.
struct Pair<'a> {
    use_: &'static str,
    certificate: (&'static str, &'a Path),
    private_key: (&'static str, &'a Path),
}

/// Reads all files that are configured.
pub(super) fn read(
    config: &Config,
    provider: &CryptoProvider,
    now_unix_s: i64,
) -> Result<Material, Vec<ConfigError>> {
    let tls = &config.tls;
    let pair = |use_, certificate, private_key| Pair {
        use_,
        certificate,
        private_key,
    };
    let server = pair(
        "server",
        (
            "tls.certificate",
            tls.certificate.as_deref().unwrap_or(Path::new("")),
        ),
        (
            "tls.private_key",
            tls.private_key.as_deref().unwrap_or(Path::new("")),
        ),
    );
    let client = tls
        .client_certificate
        .as_deref()
        .zip(tls.client_key.as_deref());
    let client = client.map(|(certificate, key)| {
        let certificate = ("tls.client_certificate", certificate);
        pair("client", certificate, ("tls.client_key", key))
    });
    let mut errors = Vec::new();
    let mut keep = |error: ConfigError| errors.push(error);
    let mut reader = Reader {
        config,
        provider,
        now_unix_s,
    };
    let server = reader.pair(&server).map_err(&mut keep).ok();
    let client = client.map(|pair| reader.pair(&pair).map_err(&mut keep).ok());
    let client_roots = tls.client_ca.as_deref();
    let client_roots = client_roots.map(|path| {
        let roots = reader.add_roots("tls.client_ca", path, RootCertStore::empty());
        roots.map_err(&mut keep).ok()
    });
    let server_roots = reader.server_roots().map_err(&mut keep).ok();
    let (Some((server, facts)), Some(server_roots), true) =
        (server, server_roots, errors.is_empty())
    else {
        return Err(errors);
    };
    let (client, of_client) = match client.flatten() {
        Some((key, facts)) => (key, Some(facts)),
        None => (Arc::clone(&server), None),
    };
    Ok(Material {
        server,
        client,
        client_roots: client_roots.flatten(),
        server_roots,
        certificates: std::iter::once(facts).chain(of_client).collect(),
    })
}

/// Reads files and says which key named one that cannot be used.
struct Reader<'a> {
    config: &'a Config,
    provider: &'a CryptoProvider,
    now_unix_s: i64,
}

impl Reader<'_> {
    fn pair(
        &mut self,
        pair: &Pair<'_>,
    ) -> Result<(Arc<CertifiedKey>, CertificateFacts), ConfigError> {
        let (key, file) = pair.certificate;
        let refused = |text: String| {
            let text = format!("{}: {text}", file.display());
            self.config.error(key, text)
        };
        let chain = self.certificates(key, file)?;
        let reading = chain.first().and_then(Reading::of);
        let reading = reading.ok_or_else(|| refused("this is no certificate".to_owned()))?;
        if reading.not_after_unix_s <= self.now_unix_s {
            return Err(refused(format!(
                "the certificate ended on {}",
                day(reading.not_after_unix_s)
            )));
        }
        if reading.not_before_unix_s > self.now_unix_s {
            return Err(refused(format!(
                "the certificate begins on {}",
                day(reading.not_before_unix_s)
            )));
        }
        let certified = self.certified(chain, pair)?;
        let facts = CertificateFacts {
            use_: pair.use_,
            names: reading.identities(),
            subject: reading.subject,
            issuer: reading.issuer,
            not_before_unix_s: reading.not_before_unix_s,
            not_after_unix_s: reading.not_after_unix_s,
            file: file.to_owned(),
        };
        Ok((Arc::new(certified), facts))
    }

    fn certified(
        &self,
        chain: Vec<CertificateDer<'static>>,
        pair: &Pair<'_>,
    ) -> Result<CertifiedKey, ConfigError> {
        let (key, file) = pair.private_key;
        let refused = |text: &dyn std::fmt::Display| {
            let text = format!("{}: {text}", file.display());
            self.config.error(key, text)
        };
        let private = PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
            PemError::NoItemsFound => refused(&"the file holds no private key"),
            error => refused(&reason(error)),
        })?;
        CertifiedKey::from_der(chain, private, self.provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let certificate = pair.certificate.1.display();
                refused(&format!(
                    "this is not the key of the certificate in {certificate}"
                ))
            }
            error => refused(&error),
        })
    }

    fn certificates(
        &self,
        key: &str,
        file: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let refused = |text: String| {
            let text = format!("{}: {text}", file.display());
            self.config.error(key, text)
        };
        let read = CertificateDer::pem_file_iter(file);
        let read = read.map_err(|error| refused(reason(error)))?;
        let chain: Result<Vec<_>, _> = read.collect();
        match chain.map_err(|error| refused(reason(error)))? {
            chain if chain.is_empty() => Err(refused("the file holds no certificate".to_owned())),
            chain => Ok(chain),
        }
    }

    fn add_roots(
        &self,
        key: &str,
        file: &Path,
        mut roots: RootCertStore,
    ) -> Result<RootCertStore, ConfigError> {
        for certificate in self.certificates(key, file)? {
            roots.add(certificate).map_err(|error| {
                let text = format!("{}: {error}", file.display());
                self.config.error(key, text)
            })?;
        }
        Ok(roots)
    }

    /// The system's roots, and those of the configuration.
    fn server_roots(&self) -> Result<RootCertStore, ConfigError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        match self.config.tls.server_ca.as_deref() {
            Some(file) => self.add_roots("tls.server_ca", file, roots),
            None => Ok(roots),
        }
    }
}

fn reason(error: PemError) -> String {
    match error {
        PemError::Io(error) => format!("cannot read the file: {error}"),
        error => format!("this is not PEM: {error}"),
    }
}

fn day(unix_s: i64) -> String {
    let at = jiff::Timestamp::from_second(unix_s);
    at.map_or_else(|_| unix_s.to_string(), |at| at.to_string())
}
