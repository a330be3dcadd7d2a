//! Long documents packed for readers who unpack them.

use std::io::Write as _;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Shorter documents go as they are: packing them would save no packet.
const LEAST_BYTES: u64 = 2 * 1024;
/// Longer ones go as they are, too, so that nobody keeps the server busy with packing.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Packs JSON of a known length; streams stay as they are.
pub(super) async fn pack_documents(request: Request, next: Next) -> Response {
    let is_wanted = takes_gzip(request.headers());
    let mut answer = next.run(request).await;
    let length = answer.body().size_hint().exact().unwrap_or(0);
    if !(LEAST_BYTES..=MOST_BYTES).contains(&length) || !is_document(answer.headers()) {
        return answer;
    }
    let vary = HeaderValue::from_static("accept-encoding");
    answer.headers_mut().insert(VARY, vary);
    if !is_wanted {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let limit = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    let plain = to_bytes(body, limit).await.unwrap_or_default();
    let packed = pack(&plain, Compression::fast());
    if packed.is_empty() {
        return Response::from_parts(parts, Body::from(plain));
    }
    parts.headers.remove(CONTENT_LENGTH);
    let gzip = HeaderValue::from_static("gzip");
    parts.headers.insert(CONTENT_ENCODING, gzip);
    Response::from_parts(parts, Body::from(packed))
}

fn is_document(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind == Some("application/json") && !headers.contains_key(CONTENT_ENCODING)
}

/// The bytes in fewer; none where that fails.
pub(super) fn pack(plain: &[u8], level: Compression) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), level);
    let written = packer.write_all(plain);
    written.and_then(|()| packer.finish()).unwrap_or_default()
}

/// Whether the reader unpacks gzip (RFC 9110 §12.5.3); one that gives weights is not asked for more.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).into_iter();
    let mut names = accepted.filter_map(|value| value.to_str().ok());
    names.any(|list| list.split(',').any(|name| name.trim() == "gzip"))
}
