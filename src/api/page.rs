//! The web page at `/` with all that belongs to it, and the list of operations at `/api`.
//!
//! The files of `web/` are part of the binary and are sent as they are, only packed: nothing builds
//! them. They load nothing from other hosts, and the policy that goes with them forbids it.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use sha2::{Digest, Sha256};

use super::auth::hex;
use super::pack::{pack, takes_gzip};
use super::problem::{Failure, Kind};
use super::state::ApiState;

/// What the page may do: nothing but what it brings itself.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'; object-src 'none'";
const PERMISSIONS: &str = "idle-detection=(self), camera=(), geolocation=(), microphone=()";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";

/// A file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

macro_rules! assets {
    ($($name:literal $kind:ident),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, content: include_str!(concat!("web/", $name)) }),*]
    };
}

/// Everything that the page is made of.
const ASSETS: &[Asset] = assets![
    "index.html" HTML,
    "style.css" CSS,
    "icon.svg" SVG,
    "app.js" SCRIPT,
    "api.js" SCRIPT,
    "ui.js" SCRIPT,
    "words.js" SCRIPT,
    "signin.js" SCRIPT,
    "password.js" SCRIPT,
    "status.js" SCRIPT,
    "menu.js" SCRIPT,
    "why.js" SCRIPT,
    "activity.js" SCRIPT,
    "settings.js" SCRIPT,
    "personal.js" SCRIPT,
    "exceptions.js" SCRIPT,
    "colleagues.js" SCRIPT,
    "choice.js" SCRIPT,
    "journal.js" SCRIPT,
    "digest.js" SCRIPT,
    "whatif.js" SCRIPT,
    "admin.js" SCRIPT,
    "house.js" SCRIPT,
    "people.js" SCRIPT,
    "said.js" SCRIPT,
    "de.json" JSON,
    "en.json" JSON,
];

/// Routes that anybody may ask: the page shows nothing before somebody has signed in.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route(
            "/assets/{name}",
            get(
                |super::extract::Path(name): super::extract::Path<String>, headers: HeaderMap| async move {
                    file(&name, &headers)
                },
            ),
        )
        .route("/api", get(operations))
}

/// A file of the page, or that the reader has it already.
fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        let text = format!("there is no `/assets/{name}`");
        return Failure::new(Kind::NotFound, text).into_response();
    };
    let content = asset.content();
    let packed = takes_gzip(headers).then(|| asset.packed(&content));
    let packed = packed.filter(|bytes| !bytes.is_empty());
    let tag = &hex(&Sha256::digest(content.as_bytes()))[..16];
    let tag = format!("\"{tag}{}\"", if packed.is_some() { "-gzip" } else { "" });
    let about = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (ETAG, &tag),
        (VARY, "accept-encoding"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.contains(&tag)) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    let Some(packed) = packed else {
        return (about, content.into_owned()).into_response();
    };
    let mut answer = (about, packed.into_owned()).into_response();
    let gzip = HeaderValue::from_static("gzip");
    answer.headers_mut().insert(CONTENT_ENCODING, gzip);
    answer
}

/// The files as they were built in, packed once.
static PACKED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let texts = ASSETS.iter().map(|asset| asset.content.as_bytes());
    texts.map(|text| pack(text, Compression::best())).collect()
});

impl Asset {
    /// The content of the file, packed.
    fn packed(&self, content: &str) -> Cow<'static, [u8]> {
        let at = ASSETS.iter().position(|asset| asset.name == self.name);
        match at.and_then(|at| PACKED.get(at)) {
            Some(bytes) if content == self.content => Cow::Borrowed(bytes),
            _ => Cow::Owned(pack(content.as_bytes(), Compression::best())),
        }
    }

    /// The file as it was built in; of a debug build, as it is in the folder that
    /// `POINTSMAN_WEB_DIR` names, for those who work on the page.
    fn content(&self) -> Cow<'static, str> {
        #[cfg(debug_assertions)]
        if let Some(folder) = std::env::var_os("POINTSMAN_WEB_DIR") {
            let path = std::path::Path::new(&folder).join(self.name);
            if let Ok(text) = std::fs::read_to_string(path) {
                return Cow::Owned(text);
            }
        }
        Cow::Borrowed(self.content)
    }
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>pointsman</title>\
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code{white-space:nowrap}td{padding:.2rem 1rem .2rem 0;vertical-align:top}</style>\
<h1>pointsman</h1><p>The HTTP interface. For people: <a href=\"/\">/</a>. For programs: \
<a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>. Health: <a href=\"/healthz\">/healthz</a>, \
<a href=\"/readyz\">/readyz</a>.</p><h2>Operations</h2><table>";

/// Lists every operation and explains every problem.
async fn operations() -> Html<String> {
    let mut html = HEAD.to_owned();
    for (path, item) in &super::openapi().paths.paths {
        let operations = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("DELETE", &item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let summary = operation.summary.as_deref().unwrap_or("");
            let row = "<tr><td><code>";
            let _ = write!(html, "{row}{method} {path}</code><td>{summary}</tr>");
        }
    }
    html.push_str("</table><h2>Problems</h2><table>");
    for kind in Kind::ALL {
        let (name, status, title) = (kind.name(), kind.status().as_u16(), kind.title());
        let row = "<tr id=\"problem-";
        let _ = write!(
            html,
            "{row}{name}\"><td>{status}<td><code>{name}</code><td>{title}</tr>"
        );
    }
    html.push_str("</table></html>\n");
    Html(html)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::header::ACCEPT_ENCODING;
    use serde_json::{Map, Value};

    use super::*;

    /// What is loaded until the first view is there; nothing is compressed.
    const FIRST_VIEW_LIMIT_BYTES: usize = 100_000;
    /// All views, in all languages.
    const LIMIT_BYTES: usize = 210_000;

    fn asset(name: &str) -> &'static str {
        let found = ASSETS.iter().find(|asset| asset.name == name);
        found.unwrap_or_else(|| panic!("no {name}")).content
    }

    fn words(language: &str) -> Map<String, Value> {
        serde_json::from_str(asset(&format!("{language}.json"))).unwrap()
    }

    fn scripts() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().filter(|asset| asset.kind == SCRIPT)
    }

    /// What a file loads before it runs.
    fn loads(name: &str) -> Vec<&'static str> {
        let text = asset(name);
        let named = |mark: &str, end: char| -> Vec<&'static str> {
            let parts = text.split(mark).skip(1);
            parts.filter_map(|part| part.split(end).next()).collect()
        };
        [named("from './", '\''), named("=\"/assets/", '"')].concat()
    }

    #[test]
    fn the_first_view_is_small() {
        // German is the longer one; what status.js needs is loaded for the first view, too.
        let mut files = vec!["index.html", "de.json", "status.js"];
        let mut sum = 0;
        let mut at = 0;
        while let Some(name) = files.get(at).copied() {
            sum += asset(name).len();
            for more in loads(name) {
                if !files.contains(&more) {
                    files.push(more);
                }
            }
            at += 1;
        }
        assert!(files.contains(&"style.css") && files.contains(&"api.js"));
        assert!(sum < FIRST_VIEW_LIMIT_BYTES, "{sum} bytes: {files:?}");
        let all: usize = ASSETS.iter().map(|asset| asset.content.len()).sum();
        assert!(all < LIMIT_BYTES, "{all} bytes");
    }

    #[tokio::test]
    async fn who_takes_it_packed_gets_the_same_in_fewer_bytes() {
        let ask = |accepted: &'static str| {
            let value = HeaderValue::from_static(accepted);
            file(
                "style.css",
                &HeaderMap::from_iter([(ACCEPT_ENCODING, value)]),
            )
        };
        let body = async |answer: Response| {
            let read = axum::body::to_bytes(answer.into_body(), LIMIT_BYTES);
            read.await.unwrap()
        };
        let (plain, packed) = (ask("br"), ask("gzip, deflate, br, zstd"));
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        assert_ne!(plain.headers()[ETAG], packed.headers()[ETAG]);
        let (plain, packed) = (body(plain).await, body(packed).await);
        assert!(packed.len() < plain.len() / 2, "{}", packed.len());
        let mut unpacked = String::new();
        let mut reader = flate2::read::GzDecoder::new(packed.as_ref());
        std::io::Read::read_to_string(&mut reader, &mut unpacked).unwrap();
        assert_eq!(unpacked.as_bytes(), plain);
    }

    #[test]
    fn every_text_is_there_in_both_languages() {
        let (german, english) = (words("de"), words("en"));
        let keys = |words: &Map<String, Value>| words.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&german), keys(&english));
        for (key, text) in german.iter().chain(&english) {
            assert!(
                text.as_str().is_some_and(|text| !text.trim().is_empty()),
                "{key}"
            );
        }
        for (key, text) in &german {
            let places = |text: &Value| {
                let parts = text.as_str().unwrap().split('{').skip(1);
                parts
                    .map(|part| part.split('}').next().unwrap().to_owned())
                    .collect::<BTreeSet<_>>()
            };
            assert_eq!(places(text), places(&english[key]), "{key}");
        }
    }

    #[test]
    fn every_text_that_a_script_names_is_there_and_none_is_left_over() {
        let german = words("de");
        let all: String = scripts().map(|asset| asset.content).collect();
        let mut named = BTreeSet::new();
        for (at, mark) in all.match_indices("t('") {
            if all[..at].ends_with(|c: char| c.is_ascii_alphanumeric()) {
                continue;
            }
            let key = all[at + mark.len()..].split('\'').next().unwrap();
            let is_word = key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
            let is_known = |known: &String| known == key || known.starts_with(&format!("{key}."));
            let begins = |known: &String| key.ends_with('.') && known.starts_with(key);
            if is_word && key.starts_with(|c: char| c.is_ascii_lowercase()) {
                assert!(
                    german.keys().any(|k| is_known(k) || begins(k)),
                    "no text for {key}"
                );
            }
        }
        for key in german.keys() {
            let base = key.trim_end_matches(".one").trim_end_matches(".many");
            let group = key.rsplit_once('.').map_or("", |(group, _)| group);
            let in_quotes = |text: &str| all.contains(&format!("'{text}'"));
            let is_hint = key
                .strip_prefix("condition.")
                .is_some_and(|rest| rest.ends_with(".hint"));
            if in_quotes(base) || in_quotes(&format!("{group}.")) || is_hint {
                named.insert(key);
            }
        }
        let unused: Vec<_> = german.keys().filter(|key| !named.contains(key)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn the_page_names_no_other_host_and_builds_no_markup_from_texts() {
        for asset in ASSETS {
            let text = asset.content.replace("http://www.w3.org/", "");
            for word in [
                "http://",
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "eval(",
            ] {
                assert!(!text.contains(word), "{}: {word}", asset.name);
            }
        }
        for word in ["<style", " style=", "onclick=", "<script>"] {
            assert!(!asset("index.html").contains(word), "{word}");
        }
    }

    #[test]
    fn every_module_that_is_loaded_is_there() {
        for asset in scripts() {
            for part in asset.content.split("from './").skip(1) {
                let name = part.split('\'').next().unwrap();
                assert!(
                    ASSETS.iter().any(|other| other.name == name),
                    "{}: {name}",
                    asset.name
                );
            }
        }
    }
}
