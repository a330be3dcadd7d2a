//! Many subscribers at once: import and export as JSON Lines.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::Refusals;
use super::auth::Caller;
use super::changes;
use super::extract::{Query, require_type};
use super::problem::Failure;
use super::state::ApiState;
use crate::auth::Credentials;
use crate::presence::{Problem, Problems, Subscriber};

/// How many lines are committed at once.
const BATCH_LINES: usize = 1_000;
/// The longest line.
const LINE_LIMIT_BYTES: usize = super::BODY_LIMIT_BYTES;
/// How long a client may pause within its body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many subscribers one part of an export has.
const EXPORT_PAGE: usize = 500;
/// How many parts of an answer wait for a slow reader.
const PARTS: usize = 4;
const JSON_LINES: &str = "application/x-ndjson";

/// What became of one line of an import.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImportedLine {
    /// The number of the line, from 1.
    pub line: u64,
    /// `created`, `changed`, `unchanged` or `failed`.
    pub result: &'static str,
    /// The subscriber, where the line names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Which keys are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub problems: Vec<Problem>,
}

/// A line as it was read: a document, or what is wrong with it.
pub type ReadLine = Result<Subscriber, Problems>;

/// Import subscribers
///
/// JSON Lines in, JSON Lines out: each line creates or replaces one subscriber and is answered by
/// one line, in order. A bad line changes nothing and disturbs no other. Blank lines are skipped.
#[utoipa::path(
    post, path = "/import", tag = "subscribers",
    request_body(content = String, content_type = "application/x-ndjson",
                 description = "One subscriber's document a line"),
    responses((status = 200, body = ImportedLine, content_type = "application/x-ndjson",
               description = "One result a line"), Refusals)
)]
pub(super) async fn import(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    caller.administers()?;
    require_type(&headers, &[JSON_LINES, "application/jsonl"])?;
    let (results, stream) = mpsc::channel(PARTS);
    tokio::spawn(import_lines(state, body.into_data_stream(), results));
    let body = Body::from_stream(ReceiverStream::new(stream));
    Ok(([(CONTENT_TYPE, JSON_LINES)], body).into_response())
}

type Part = Result<Bytes, Infallible>;

/// Reads the body line by line, stores it batch by batch, and answers each batch.
async fn import_lines(state: ApiState, mut body: BodyDataStream, results: mpsc::Sender<Part>) {
    let mut cutter = Cutter::default();
    let mut batch = Vec::with_capacity(BATCH_LINES);
    let mut is_whole = false;
    while let Ok(chunk) = tokio::time::timeout(IDLE_TIMEOUT, body.next()).await {
        let Some(chunk) = chunk else {
            is_whole = true;
            break;
        };
        let Ok(chunk) = chunk else { break };
        cutter.push(&chunk);
        while let Some(line) = cutter.cut() {
            batch.extend(line);
            if batch.len() == BATCH_LINES && !store(&state, &mut batch, &results).await {
                return;
            }
        }
    }
    // Of a body that broke off, the last line may be half of one.
    if is_whole {
        batch.extend(cutter.finish());
    }
    store(&state, &mut batch, &results).await;
}

/// Stores a batch and answers it; `false` when nobody wants the answer.
async fn store(
    state: &ApiState,
    batch: &mut Vec<(u64, ReadLine)>,
    results: &mpsc::Sender<Part>,
) -> bool {
    if batch.is_empty() {
        return true;
    }
    let lines = std::mem::take(batch);
    let answers = changes::import(state.roster(), state.directory(), lines).await;
    let mut text = Vec::with_capacity(answers.len() * 64);
    for answer in &answers {
        text.extend(serde_json::to_vec(answer).unwrap_or_default());
        text.push(b'\n');
    }
    results.send(Ok(text.into())).await.is_ok()
}

/// What an export tells.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// Also the digests of passwords
    #[serde(default)]
    credentials: bool,
}

/// One line of an export.
#[derive(Serialize)]
struct Exported<'a> {
    #[serde(flatten)]
    subscriber: &'a Subscriber,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a Credentials>,
}

/// Export subscribers
///
/// JSON Lines, one document a line, as `import` reads them; in the order of the ids. With
/// `credentials=true` the digests of passwords stand there too: whoever has them can authenticate.
#[utoipa::path(
    get, path = "/export", tag = "subscribers", params(ExportQuery),
    responses((status = 200, body = Subscriber, content_type = "application/x-ndjson",
               description = "One document a line"), Refusals)
)]
pub(super) async fn export(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Failure> {
    caller.administers()?;
    let (parts, stream) = mpsc::channel::<Part>(PARTS);
    tokio::task::spawn_blocking(move || export_lines(&state, query.credentials, &parts));
    let headers = [
        (CONTENT_TYPE, JSON_LINES),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"subscribers.jsonl\"",
        ),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(stream))).into_response())
}

/// Sends every subscriber, in the order of the ids, as the reader takes them.
fn export_lines(state: &ApiState, with_credentials: bool, parts: &mpsc::Sender<Part>) {
    let mut profiles: Vec<_> = state.directory().profiles().collect();
    profiles.sort_by_cached_key(|profile| profile.id().to_ascii_lowercase());
    for page in profiles.chunks(EXPORT_PAGE) {
        let mut text = Vec::with_capacity(page.len() * 256);
        for profile in page {
            let mut subscriber = profile.to_subscriber();
            subscriber.version = 0;
            let line = Exported {
                credentials: profile.credentials().filter(|_| with_credentials),
                subscriber: &subscriber,
            };
            text.extend(serde_json::to_vec(&line).unwrap_or_default());
            text.push(b'\n');
        }
        if parts.blocking_send(Ok(text.into())).is_err() {
            return;
        }
    }
}

/// Cuts what comes in into lines, and keeps no more than one line.
#[derive(Default)]
struct Cutter {
    rest: BytesMut,
    /// How much of `rest` is known to hold no line end.
    searched: usize,
    number: u64,
    is_skipping: bool,
}

impl Cutter {
    fn push(&mut self, chunk: &[u8]) {
        self.rest.extend_from_slice(chunk);
    }

    /// The next line: `Some(None)` for a blank one; `None` until more comes.
    fn cut(&mut self) -> Option<Option<(u64, ReadLine)>> {
        let fresh = self.rest.get(self.searched..).unwrap_or_default();
        match memchr::memchr(b'\n', fresh) {
            Some(at) => {
                let line = self.rest.split_to(self.searched + at + 1);
                self.searched = 0;
                Some(self.line(&line))
            }
            None if self.rest.len() > LINE_LIMIT_BYTES => {
                self.rest.clear();
                self.searched = 0;
                self.is_skipping = true;
                None
            }
            None => {
                self.searched = self.rest.len();
                None
            }
        }
    }

    /// What is left without a line end.
    fn finish(&mut self) -> Option<(u64, ReadLine)> {
        let line = self.rest.split();
        if line.is_empty() && !self.is_skipping {
            return None;
        }
        self.line(&line)
    }

    fn line(&mut self, line: &[u8]) -> Option<(u64, ReadLine)> {
        self.number += 1;
        if std::mem::take(&mut self.is_skipping) || line.len() > LINE_LIMIT_BYTES {
            let text = format!("the line is longer than {LINE_LIMIT_BYTES} bytes");
            return Some((self.number, Err(Problems(vec![Problem::new("", text)]))));
        }
        let text = line
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(line)
            .trim_ascii();
        (!text.is_empty()).then(|| (self.number, read(text)))
    }
}

fn read(text: &[u8]) -> ReadLine {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| Problems(vec![Problem::new("", format!("no JSON: {error}"))]))?;
    Subscriber::from_json(&value)
}

impl ImportedLine {
    /// A line that was stored.
    pub(super) const fn done(line: u64, id: String, result: &'static str) -> Self {
        Self {
            line,
            result,
            id: Some(id),
            detail: None,
            problems: Vec::new(),
        }
    }

    /// A line that failed.
    pub(super) fn failed(line: u64, id: Option<String>, failure: &Failure) -> Self {
        Self {
            line,
            result: "failed",
            id,
            detail: Some(failure.detail.clone()),
            problems: failure.problems.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Line numbers and whether each could be read, when the body comes in pieces.
    fn cut(body: &[u8], piece: usize) -> Vec<(u64, bool)> {
        let mut cutter = Cutter::default();
        let mut lines = Vec::new();
        for chunk in body.chunks(piece) {
            cutter.push(chunk);
            while let Some(line) = cutter.cut() {
                lines.extend(line);
            }
        }
        lines.extend(cutter.finish());
        lines
            .iter()
            .map(|(number, line)| (*number, line.is_ok()))
            .collect()
    }

    #[test]
    fn bad_and_blank_lines_disturb_no_other() {
        let body = b"\xef\xbb\xbf{\"id\":\"a\"}\r\n\n{\n \n{\"id\":\"b\"}";
        assert_eq!(cut(body, 1000), [(1, true), (3, false), (5, true)]);
    }

    #[test]
    fn a_line_over_the_limit_is_one_bad_line_and_is_not_kept() {
        let mut body = b"{\"id\":\"a\"}\n".to_vec();
        body.extend(vec![b'x'; 3 * LINE_LIMIT_BYTES]);
        body.extend(b"\n{\"id\":\"b\"}\n");
        for piece in [1_000, 65_536, body.len()] {
            assert_eq!(
                cut(&body, piece),
                [(1, true), (2, false), (3, true)],
                "{piece}"
            );
        }
        let mut cutter = Cutter::default();
        for _ in 0..100 {
            cutter.push(&[b'x'; 60_000]);
            assert!(cutter.cut().is_none());
            assert!(cutter.rest.len() <= LINE_LIMIT_BYTES);
        }
    }

    proptest! {
        #[test]
        fn how_a_body_is_cut_into_packets_changes_nothing(
            body in "(\\{\"id\":\"[a-z]\"\\}|x|\n|\r\n){0,20}", piece in 1usize..20,
        ) {
            let bytes = body.as_bytes();
            prop_assert_eq!(cut(bytes, piece), cut(bytes, bytes.len().max(1)));
        }
    }
}
