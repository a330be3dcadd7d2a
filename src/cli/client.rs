//! The HTTP client behind the commands.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use super::exit::{CliError, Exit};

/// The longest answer that is read whole.
const ANSWER_LIMIT_BYTES: u64 = 256 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the server is and who asks.
#[derive(Debug, Clone, Args)]
pub(super) struct Connection {
    /// Address of the server's API
    #[arg(
        long,
        global = true,
        env = "POINTSMAN_API",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        help_heading = "Connection"
    )]
    pub api: String,
    /// Token of the administrator or of a subscriber
    #[arg(
        long,
        global = true,
        env = "POINTSMAN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = "Connection"
    )]
    pub token: Option<String>,
    /// File that holds the token
    #[arg(
        long,
        global = true,
        env = "POINTSMAN_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub token_file: Option<PathBuf>,
}

/// A connection to the server's API.
pub(super) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// A token file that cannot be read, an address that is no `http://` URL.
    pub(super) fn new(connection: &Connection) -> Result<Self, CliError> {
        let token = match (&connection.token, &connection.token_file) {
            (Some(token), _) => Some(token.trim().to_owned()),
            (None, Some(path)) => Some(
                fs::read_to_string(path)
                    .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?
                    .trim()
                    .to_owned(),
            ),
            (None, None) => None,
        };
        let is_encrypted = connection.api.starts_with("https://");
        if !is_encrypted && !connection.api.starts_with("http://") {
            return Err(CliError::usage(format!(
                "{}: must begin with http:// or https://",
                connection.api
            )));
        }
        let roots = match is_encrypted {
            true => crate::net::system_roots(),
            false => RootCerts::new_with_certs(&[]),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            base: connection.api.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// The address that is asked.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Whether a token goes to another machine for everybody on the way to read.
    pub(super) fn has_open_token(&self) -> bool {
        let host = self.base.strip_prefix("http://").unwrap_or_default();
        let is_local = ["127.", "[::1]", "localhost"]
            .iter()
            .any(|local| host.starts_with(local));
        self.token.is_some() && !host.is_empty() && !is_local
    }

    /// Reads a document.
    ///
    /// # Errors
    /// As for every request: [`Exit::Unreachable`], [`Exit::NotFound`], [`Exit::Refused`],
    /// [`Exit::Failed`].
    pub(super) fn get(&self, path: &str) -> Result<Value, CliError> {
        self.json(Method::GET, path, None)
    }

    /// Sends a document, or none, and reads the answer; `Null` where it has no body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let response = self.send(method, path, "application/json", body.into_bytes())?;
        let bytes = self.read(response)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.nonsense(&error))
    }

    /// Sends JSON Lines and reads the JSON Lines of the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn lines(&self, path: &str, body: Vec<u8>) -> Result<Vec<Value>, CliError> {
        let response = self.send(Method::POST, path, "application/x-ndjson", body)?;
        let bytes = self.read(response)?;
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(|error| self.nonsense(&error)))
            .collect()
    }

    /// Opens an answer that is read while it comes. `last` is the id of the last event seen.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn stream(
        &self,
        path: &str,
        last: Option<&str>,
    ) -> Result<impl Read + Send + use<>, CliError> {
        let mut request = self.request(Method::GET, path, "");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let request = request
            .body(Vec::new())
            .map_err(|error| CliError::failed(error.to_string()))?;
        let response = self.agent.run(request).map_err(|e| self.unreachable(&e))?;
        Ok(self.refused(response)?.into_body().into_reader())
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Response<Body>, CliError> {
        let request = self
            .request(method, path, content_type)
            .body(body)
            .map_err(|error| CliError::failed(error.to_string()))?;
        let response = self.agent.run(request).map_err(|e| self.unreachable(&e))?;
        self.refused(response)
    }

    fn request(&self, method: Method, path: &str, content_type: &str) -> RequestBuilder {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if !content_type.is_empty() {
            request = request.header("Content-Type", content_type);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request
    }

    fn read(&self, response: Response<Body>) -> Result<Vec<u8>, CliError> {
        response
            .into_body()
            .into_with_config()
            .limit(ANSWER_LIMIT_BYTES)
            .read_to_vec()
            .map_err(|error| self.unreachable(&error))
    }

    /// Turns an error's problem details into the command's end.
    fn refused(&self, response: Response<Body>) -> Result<Response<Body>, CliError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.read(response)?;
        let exit = match status {
            StatusCode::NOT_FOUND => Exit::NotFound,
            _ if status.is_client_error() => Exit::Refused,
            _ => Exit::Failed,
        };
        Err(CliError::new(exit, problem_text(status, &body)))
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        if let ureq::Error::BadUri(_) | ureq::Error::Http(_) = error {
            return CliError::usage(format!("--api {}: {error}", self.base));
        }
        let reason = match error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::Timeout(Timeout::Connect) => "no answer within 5 seconds".to_owned(),
            other => other.to_string(),
        };
        CliError::new(
            Exit::Unreachable,
            format!(
                "no pointsman server answers at {}: {reason}\n\
                 Start one with `pointsman serve --config FILE`, or name another with --api URL \
                 or POINTSMAN_API.",
                self.base
            ),
        )
    }

    fn nonsense(&self, error: &serde_json::Error) -> CliError {
        CliError::failed(format!(
            "{} answers, but not like a pointsman server: {error}",
            self.base
        ))
    }
}

type RequestBuilder = ureq::http::request::Builder;

/// What the server said is wrong: the detail, or the problems one by one.
fn problem_text(status: StatusCode, body: &[u8]) -> String {
    let details: Value = serde_json::from_slice(body).unwrap_or_default();
    let problems = details.get("problems").and_then(Value::as_array);
    if let Some(problems) = problems.filter(|problems| problems.len() > 1) {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("  {}: {}", text(problem, "field"), text(problem, "text")))
            .collect();
        return format!("{}:\n{}", text(&details, "title"), lines.join("\n"));
    }
    match details.get("detail").and_then(Value::as_str) {
        Some(detail) => detail.to_owned(),
        None => format!("the server answered {status}"),
    }
}

/// The text of a key; empty where it is absent.
pub(super) fn text<'v>(document: &'v Value, key: &str) -> &'v str {
    document.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The value of a key; `Null` where it is absent.
pub(super) fn field<'v>(document: &'v Value, key: &str) -> &'v Value {
    document.get(key).unwrap_or(&Value::Null)
}

/// Takes the value of a key out; `Null` where it is absent.
pub(super) fn take(document: &mut Value, key: &str) -> Value {
    document.get_mut(key).map(Value::take).unwrap_or_default()
}

/// Sets a key of an object.
pub(super) fn set(document: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = document.as_object_mut() {
        map.insert(key.to_owned(), value.into());
    }
}

/// A text fit for one segment of a path or one value of a query (RFC 3986 §2.3).
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_escaped_for_urls() {
        assert_eq!(escape("+49 30/1?ä"), "%2B49%2030%2F1%3F%C3%A4");
        assert_eq!(escape("a.b_c~d-e"), "a.b_c~d-e");
    }

    #[test]
    fn one_problem_is_its_detail_and_several_are_listed() {
        let one = br#"{"title":"T","detail":"until: is over","problems":[{"field":"until","text":"is over"}]}"#;
        assert_eq!(problem_text(StatusCode::CONFLICT, one), "until: is over");
        let two = br#"{"title":"T","detail":"d","problems":[{"field":"a","text":"1"},{"field":"b","text":"2"}]}"#;
        assert_eq!(
            problem_text(StatusCode::CONFLICT, two),
            "T:\n  a: 1\n  b: 2"
        );
        assert_eq!(
            problem_text(StatusCode::BAD_GATEWAY, b"<html>"),
            "the server answered 502 Bad Gateway"
        );
    }

    #[test]
    fn a_closed_port_is_named_with_what_to_do() {
        let api = String::from("http://127.0.0.1:9");
        let client = Client::new(&Connection {
            api: api.clone(),
            token: None,
            token_file: None,
        })
        .unwrap();
        let error = client.get("/api/v1/calls").unwrap_err();
        assert_eq!(error.exit, Exit::Unreachable);
        assert!(error.message.contains(&api), "{}", error.message);
        assert!(error.message.contains("pointsman serve"));
    }
}
