//! The page at `/`: what there is, for people who come with a browser.

use std::fmt::Write;

use axum::response::Html;

use super::problem::Kind;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>pointsman</title>\
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code{white-space:nowrap}td{padding:.2rem 1rem .2rem 0;vertical-align:top}</style>\
<h1>pointsman</h1><p>The HTTP interface. For programs: \
<a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>. Health: <a href=\"/healthz\">/healthz</a>, \
<a href=\"/readyz\">/readyz</a>.</p><h2>Operations</h2><table>";

/// Lists every operation and explains every problem.
pub(super) async fn page() -> Html<String> {
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
