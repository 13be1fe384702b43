//! Requests as pure values: what to send, before anybody signs or sends it.

/// Many deletes in one call.
pub mod batch;
/// Requests about one object: create, read, look at, delete, tier.
pub mod blob;
/// Requests about the container: make it, look at it, list it.
pub mod container;
/// Leases: taking, keeping, giving back.
pub mod lease;
/// Page blobs: created, written, cleared, looked at.
pub mod page;

use std::borrow::Cow;

use core::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::encode::percent_query;
use crate::secret::Secret;

/// The version of Azure's storage API that every request names.
pub const API_VERSION: &str = "2024-11-04";

/// What an HTTP request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the headers only.
    Head,
    /// Writes.
    Put,
    /// Asks for something to be done.
    Post,
    /// Removes.
    Delete,
}

impl Method {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// One request. The body is borrowed wherever the caller has it: nothing copies it on the way to the transport.
#[derive(Clone)]
pub struct Request<'a> {
    /// What it does.
    pub method: Method,
    /// The path, percent-encoded as on the wire.
    pub path: String,
    /// Names and values of the query, not encoded.
    pub query: Vec<(String, String)>,
    /// Names and values of the headers.
    pub headers: Vec<(String, String)>,
    /// The body; `None` for requests that have none.
    pub body: Option<Cow<'a, [u8]>>,
    /// A shared access signature to append to the query as it is.
    pub signature: Option<Secret>,
}

impl<'a> Request<'a> {
    /// A request with nothing but its method and path.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            signature: None,
        }
    }

    /// A request to Azure's storage, which names the version of its API.
    pub fn storage(method: Method, path: impl Into<String>) -> Self {
        Self::new(method, path).with_header("x-ms-version", API_VERSION)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with one more name and value in the query.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Cow<'a, [u8]>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(has, _)| has.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The length of the body; 0 without one.
    pub fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.len())
    }

    /// Path and query as on the wire. Holds the signature where there is one: for the transport only.
    pub fn target(&self) -> Secret {
        let mut target = self.path.clone();
        let mut separator = '?';
        for (name, value) in &self.query {
            target.push(separator);
            target.push_str(&percent_query(name));
            target.push('=');
            target.push_str(&percent_query(value));
            separator = '&';
        }
        if let Some(signature) = &self.signature {
            target.push(separator);
            target.push_str(signature.expose());
        }
        Secret::new(target)
    }
}

impl Drop for Request<'_> {
    /// Overwrites what was secret: the authorization, and bodies of our own making, which may be a form
    /// with a password or a batch with signatures. Borrowed bodies are their owner's.
    fn drop(&mut self) {
        for (name, value) in &mut self.headers {
            if name.eq_ignore_ascii_case("authorization") {
                value.zeroize();
            }
        }
        if let Some(Cow::Owned(body)) = &mut self.body {
            body.zeroize();
        }
    }
}

impl fmt::Debug for Request<'_> {
    /// Method, path and query; never the authorization, the signature or the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &self.query)
            .field("body_bytes", &self.body_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
