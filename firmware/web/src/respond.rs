//! Which answer a request gets.

use crate::page;
use crate::status::Status;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// `GET` and its relatives.
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// The client takes what is packed: its `accept-encoding` names `deflate`.
    pub unpacks: bool,
}

/// What is answered. For `HEAD` too the body is what `GET` would give: who sends it leaves it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code of HTTP.
    pub code: u16,
    /// Names in small letters.
    pub headers: Vec<(&'static str, &'static str)>,
    /// UTF-8, packed where a header says so.
    pub body: Vec<u8>,
}

/// What browsers are told beside every answer: nothing is kept, framed, guessed or loaded from elsewhere.
pub const ALWAYS: [(&str, &str); 7] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// Answers.
#[must_use]
pub fn respond(request: Request<'_>, status: &Status) -> Response {
    if !matches!(request.method, "GET" | "HEAD") {
        let mut refused = plain(405, "only GET and HEAD are answered here\n");
        refused.headers.push(("allow", "GET, HEAD"));
        return refused;
    }
    match request.path {
        "/" => answer(200, "text/html; charset=utf-8", page::render(status).into_bytes()),
        "/status.json" => match serde_json::to_string_pretty(status) {
            Ok(text) => answer(200, "application/json", (text + "\n").into_bytes()),
            Err(_) => plain(500, "the status cannot be written down\n"),
        },
        "/health" => match status.trouble() {
            None => plain(200, "ok\n"),
            Some(why) => plain(503, why),
        },
        path => match page::asset(path) {
            Some(asset) if request.unpacks => {
                let mut packed = answer(200, asset.kind, asset.packed.clone());
                packed.headers.push(("content-encoding", "deflate"));
                packed.headers.push(("vary", "accept-encoding"));
                packed
            }
            Some(asset) => answer(200, asset.kind, asset.text.as_bytes().to_vec()),
            None => {
                plain(404, "there is nothing here: / is the page, /status.json is for scripts\n")
            }
        },
    }
}

fn plain(code: u16, text: &str) -> Response {
    answer(code, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

fn answer(code: u16, kind: &'static str, body: Vec<u8>) -> Response {
    let headers = core::iter::once(("content-type", kind)).chain(ALWAYS).collect();
    Response { code, headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Vault, VaultState};

    fn get(path: &str, status: &Status) -> Response {
        respond(Request { method: "GET", path, unpacks: false }, status)
    }

    #[test]
    fn what_is_not_there_is_not_found_and_nothing_can_be_changed() {
        let status = Status::default();
        assert_eq!(get("/", &status).code, 200);
        for path in ["", "/.", "/../etc/passwd", "/status", "//", "/\u{0}"] {
            assert_eq!(get(path, &status).code, 404, "{path:?}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", ""] {
            let refused = respond(Request { method, path: "/", unpacks: false }, &status);
            assert_eq!(refused.code, 405);
            assert!(refused.headers.contains(&("allow", "GET, HEAD")));
        }
    }

    #[test]
    fn every_answer_forbids_browsers_what_it_does_not_need() {
        let status = Status::default();
        for path in ["/", "/style.css", "/app.js", "/status.json", "/health", "/nowhere"] {
            let headers = get(path, &status).headers;
            for wanted in ALWAYS {
                assert!(headers.contains(&wanted), "{path} lacks {}", wanted.0);
            }
        }
    }

    #[test]
    fn whoever_unpacks_gets_the_same_packed() {
        let status = Status::default();
        let plain = get("/app.js", &status);
        let packed = respond(Request { method: "GET", path: "/app.js", unpacks: true }, &status);
        assert!(packed.headers.contains(&("content-encoding", "deflate")));
        assert!(packed.body.len() * 2 < plain.body.len());
        let unpacked = miniz_oxide::inflate::decompress_to_vec_zlib(&packed.body).unwrap();
        assert_eq!(unpacked, plain.body);
    }

    #[test]
    fn health_is_a_code_that_monitoring_understands() {
        let mut status = Status { ready: true, ..Status::default() };
        assert_eq!(get("/health", &status).code, 200);
        status.vault = Vault { state: VaultState::Trouble, ..Vault::default() };
        assert_eq!(get("/health", &status).code, 503);
        status = Status::default();
        assert_eq!(get("/health", &status).body, b"not ready: see its console");
    }

    #[test]
    fn scripts_get_every_field() {
        let text = get("/status.json", &Status::default()).body;
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for field in ["product", "name", "version", "role", "status", "ready", "uptime_seconds"] {
            assert!(!value[field].is_null(), "{field}");
        }
        assert_eq!(value["vault"]["state"], "none");
        assert_eq!(value["job"], serde_json::Value::Null);
    }
}
