//! What was asked and answered, in the form that Microsoft's published descriptions are held against.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::http::{Request, Response, encode};

/// More are not kept.
const ENTRIES_MAX: usize = 20_000;

/// Requests with their answers, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Value>,
}

impl Log {
    /// Notes a request. Credentials are left out.
    pub(crate) fn note(&mut self, request: &Request, response: &Response) {
        if !request.path.starts_with("/subscriptions") {
            return;
        }
        let query: Vec<String> =
            request.query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let entry = json!({
            "method": request.method, "path": request.path, "query": query.join("&"), "body": body,
            "auth": request.header("authorization").and_then(|value| value.split(' ').next()),
            "status": response.status, "answer": response.value(), "lost": response.lost,
        });
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// All of them.
    pub(crate) fn shown(&self) -> Value {
        Value::Array(self.entries.iter().cloned().collect())
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
