//! Requests of ours to other servers over HTTP: one at a time, bounded in time and size.

use std::sync::OnceLock;
use std::time::Duration;

use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How long another server has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How large an answer may be.
const SIZE_LIMIT_BYTES: u64 = 1 << 20;

/// The authorities that this system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. Those
/// of the web where the system has none.
pub fn system_roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates: Vec<_> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    RootCerts::new_with_certs(&certificates)
}

/// Sends a request and waits for the answer, whatever its status. Redirects are not followed: who
/// answers could lead us anywhere.
///
/// # Errors
/// Nobody answers in time, or with too much; in words.
pub fn ask(request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, String> {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    let agent = AGENT.get_or_init(|| {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .tls_config(TlsConfig::builder().root_certs(system_roots()).build())
            .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent()
    });
    let response = agent.run(request).map_err(|error| error.to_string())?;
    let (parts, body) = response.into_parts();
    let limited = body.into_with_config().limit(SIZE_LIMIT_BYTES);
    let body = limited.read_to_vec().map_err(|error| error.to_string())?;
    Ok(Response::from_parts(parts, body))
}
