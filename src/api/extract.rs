//! Reading requests: bodies, parameters and paths whose faults are problem details.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::{Failure, Kind};
use crate::presence::read_object;

/// A JSON body.
#[derive(Debug)]
pub(super) struct Body(pub Value);

/// The parameters of the query, `?limit=10`.
#[derive(Debug)]
pub(super) struct Query<T>(pub T);

/// The variable parts of the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub T);

/// A body whose type says by itself what is wrong with it; the failure names the field.
pub(super) fn read_as<T: DeserializeOwned>(body: &Value) -> Result<T, Failure> {
    read_object(body).map_err(|problem| match problem.field.is_empty() {
        true => Failure::new(Kind::Invalid, problem.text),
        false => Failure::field(Kind::Invalid, &problem.field, problem.text),
    })
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        require_type(request.headers(), &["application/json"])?;
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| body_failure(&rejection))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Failure::new(Kind::Malformed, format!("the body is no JSON: {error}")))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| Failure::new(Kind::Malformed, source_text(&rejection)))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| Failure::new(Kind::Malformed, rejection.body_text()))
    }
}

/// Refuses a body whose Content-Type is none of `allowed`. The check also keeps web pages of
/// others out: a browser asks before it sends these types to a foreign server.
///
/// # Errors
/// [`Kind::UnsupportedMediaType`].
pub(super) fn require_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Failure> {
    let given = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = given.unwrap_or("").split(';').next().unwrap_or("").trim();
    if allowed.iter().any(|a| a.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let found = if essence.is_empty() { "none" } else { essence };
    Err(Failure::new(
        Kind::UnsupportedMediaType,
        format!(
            "Content-Type must be {}, found {found}",
            allowed.join(" or ")
        ),
    ))
}

/// The version that `If-Match` demands (RFC 9110 §13.1.1); `None` without the header or with `*`.
///
/// # Errors
/// An entity tag that is not one of ours never matches: [`Kind::VersionMismatch`].
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|digits| digits.parse().ok());
    version.map(Some).ok_or_else(|| {
        Failure::new(
            Kind::VersionMismatch,
            format!("If-Match: {text} is no ETag of this server; use the one of a GET, as \"7\""),
        )
    })
}

/// The problem behind a body that could not be read.
pub(super) fn body_failure(rejection: &BytesRejection) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Failure::new(
            Kind::TooLarge,
            format!("a document has at most {} bytes", super::BODY_LIMIT_BYTES),
        )
    } else {
        Failure::new(Kind::Malformed, rejection.body_text())
    }
}

/// The innermost text of an error: serde's message that names the parameter.
fn source_text(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("a query parameter cannot be read: {innermost}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn if_match_reads_our_entity_tags_only() {
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        assert_eq!(if_match(&headers(IF_MATCH, "*")).unwrap(), None);
        assert_eq!(if_match(&headers(IF_MATCH, "\"17\"")).unwrap(), Some(17));
        for bad in ["17", "\"x\"", "W/\"17\"", "\"1\", \"2\""] {
            let failure = if_match(&headers(IF_MATCH, bad)).unwrap_err();
            assert_eq!(failure.kind, Kind::VersionMismatch);
        }
    }

    #[test]
    fn the_type_of_a_body_is_checked_without_its_parameters() {
        let json = &["application/json"];
        let with_charset = headers(CONTENT_TYPE, "Application/JSON; charset=utf-8");
        assert!(require_type(&with_charset, json).is_ok());
        assert!(require_type(&headers(CONTENT_TYPE, "text/plain"), json).is_err());
        assert!(require_type(&HeaderMap::new(), json).is_err());
    }
}
