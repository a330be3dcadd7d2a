//! What went wrong, as RFC 9457 problem details: one form for every error of the API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::presence::{Problem, Problems};

/// The body of every error, `application/problem+json` (RFC 9457 §3).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemDetails {
    /// Names the kind of problem; a link into the page at `/`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words; the same for each problem of the kind.
    pub title: &'static str,
    /// The HTTP status once more.
    pub status: u16,
    /// What is wrong with this request, and what to do about it.
    pub detail: String,
    /// The keys or parameters that are wrong, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub problems: Vec<Problem>,
}

/// The kinds of problem a request can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The body is no JSON, or a parameter cannot be read.
    Malformed,
    /// The document can be read, and says something that is not allowed.
    Invalid,
    /// No token, or one that is not known.
    Unauthenticated,
    /// The token does not reach that far.
    Forbidden,
    /// Passwords were wrong too often.
    TooManyAttempts,
    /// Nothing is there.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The request took too long.
    Timeout,
    /// The change contradicts what is there.
    Conflict,
    /// Somebody else changed it since it was read.
    VersionMismatch,
    /// The body or a line of it is over its limit.
    TooLarge,
    /// The body is of a type that is not read here.
    UnsupportedMediaType,
    /// The request names a host that is not this server (DNS rebinding).
    Misdirected,
    /// The server is ending, or at a limit.
    Unavailable,
    /// The store refused.
    Storage,
    /// A fault of the server.
    Internal,
}

impl Kind {
    /// Every kind, for the page that explains them.
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TooManyAttempts,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Conflict,
        Self::VersionMismatch,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Misdirected,
        Self::Unavailable,
        Self::Storage,
        Self::Internal,
    ];

    /// The name in `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::TooManyAttempts => "too-many-attempts",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::VersionMismatch => "version-mismatch",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Misdirected => "misdirected",
            Self::Unavailable => "unavailable",
            Self::Storage => "storage",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::VersionMismatch => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Storage => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The kind in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Invalid => "The document is not valid",
            Self::Unauthenticated => "A token is needed",
            Self::Forbidden => "The token does not allow this",
            Self::TooManyAttempts => "Too many attempts",
            Self::NotFound => "Nothing is there",
            Self::MethodNotAllowed => "The path has no such method",
            Self::Timeout => "The request took too long",
            Self::Conflict => "The change contradicts what is there",
            Self::VersionMismatch => "It was changed since it was read",
            Self::TooLarge => "The body is over its limit",
            Self::UnsupportedMediaType => "The body is of another type",
            Self::Misdirected => "The request is for another host",
            Self::Unavailable => "The server cannot do this now",
            Self::Storage => "The store refused the change",
            Self::Internal => "The server has a fault",
        }
    }
}

/// A request that was not carried out, and why.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind of problem it is.
    pub kind: Kind,
    /// What is wrong, in a sentence for people.
    pub detail: String,
    /// Which keys are wrong.
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure without key problems.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            problems: Vec::new(),
        }
    }

    /// A subscriber that is not there.
    pub fn no_subscriber(id: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no subscriber `{id}`"))
    }

    /// A single wrong key or parameter.
    pub fn field(kind: Kind, field: &str, text: impl Into<String>) -> Self {
        Self::from((kind, Problems(vec![Problem::new(field, text)])))
    }

    /// The body of the answer.
    pub fn details(&self) -> ProblemDetails {
        let kind = self.kind;
        ProblemDetails {
            kind: format!("/#problem-{}", kind.name()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: self.detail.clone(),
            problems: self.problems.clone(),
        }
    }
}

impl From<(Kind, Problems)> for Failure {
    fn from((kind, problems): (Kind, Problems)) -> Self {
        Self {
            kind,
            detail: problems.to_string(),
            problems: problems.0,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        (Kind::Invalid, problems).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.details())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.kind {
            Kind::Unauthenticated => headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"pointsman\""),
            ),
            Kind::Unavailable => headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5")),
            _ => None,
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_name_and_an_error_status() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let status = kind.status();
            assert!(status.is_client_error() || status.is_server_error());
        }
    }

    #[test]
    fn a_failure_is_problem_json_with_the_fields() {
        let failure = Failure::field(Kind::Invalid, "until", "lies in the past");
        let response = failure.clone().into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let details = serde_json::to_value(failure.details()).unwrap();
        assert_eq!(
            details,
            serde_json::json!({
                "type": "/#problem-invalid", "title": "The document is not valid", "status": 422,
                "detail": "until: lies in the past",
                "problems": [{"field": "until", "text": "lies in the past"}]
            })
        );
    }
}
