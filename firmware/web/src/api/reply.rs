//! What is answered: bytes, a file that is read while it is sent, or a stream that goes on.

use core::fmt;

use serde::Serialize;

use super::site::{Answer, Refusal};
use super::verbs::Running;
use super::views::files::FilePlace;

/// What a refusal's content is called.
pub const PROBLEM: &str = "application/problem+json";
/// What everything else is.
pub const JSON: &str = "application/json";

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// HTTP's status.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(&'static str, String)>,
    /// What is in it.
    pub body: Body,
}

/// What is in an answer.
#[non_exhaustive]
pub enum Body {
    /// All of it, in memory.
    Bytes(Vec<u8>),
    /// A file of a point: these bytes of it, then what [`super::Site::read`] gives from there on.
    File(FilePart),
    /// What happens, until the client goes.
    Events {
        /// The last event that the client has, where it says so.
        after: Option<u64>,
    },
    /// What a verb tells, a line each, until its end.
    Lines(Box<dyn Running>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(part) => part.fmt(f),
            Self::Events { after } => write!(f, "Events({after:?})"),
            Self::Lines(_) => f.write_str("Lines(…)"),
        }
    }
}

/// A part of a file, which may be all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// Which file.
    pub place: FilePlace,
    /// The first bytes of the part, which were read to know that there is such a file.
    pub first: Vec<u8>,
    /// Where the part begins.
    pub begin: u64,
    /// Where it ends.
    pub end: u64,
}

impl Reply {
    /// Bytes of a kind of content.
    #[must_use]
    pub fn bytes(status: u16, kind: &str, bytes: Vec<u8>) -> Self {
        let headers = vec![("content-type", kind.to_owned())];
        Self { status, headers, body: Body::Bytes(bytes) }
    }

    /// Nothing, and that is well so.
    #[must_use]
    pub fn nothing() -> Self {
        Self { status: 204, headers: Vec::new(), body: Body::Bytes(Vec::new()) }
    }

    /// The same with a header more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// JSON of what was answered.
pub fn json<T: Serialize>(answer: Answer<T>) -> Answer<Reply> {
    json_of(200, &answer?)
}

/// JSON with a status of its own.
pub fn json_of<T: Serialize>(status: u16, value: &T) -> Answer<Reply> {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        let detail = format!("cannot be written as JSON: {error}");
        Refusal { status: 500, title: "the answer".into(), detail, ..Refusal::default() }
    })?;
    Ok(Reply::bytes(status, JSON, bytes))
}

/// A refusal, as it is told.
#[must_use]
pub fn problem(refusal: &Refusal) -> Reply {
    let refusal = Refusal { status: told_status(refusal.status), ..refusal.clone() };
    let bytes = serde_json::to_vec(&refusal).unwrap_or_default();
    let reply = Reply::bytes(refusal.status, PROBLEM, bytes);
    match refusal.retry_seconds {
        Some(seconds) => reply.with("retry-after", seconds.to_string()),
        None => reply,
    }
}

/// What a refusal may be. Any other number is a mistake of ours.
pub const REFUSED: [u16; 14] =
    [400, 401, 403, 404, 405, 408, 409, 413, 415, 416, 421, 422, 429, 503];

fn told_status(status: u16) -> u16 {
    if REFUSED.contains(&status) { status } else { 500 }
}

impl Refusal {
    /// A refusal of this status.
    #[must_use]
    pub fn new(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status, title: title.into(), detail: detail.into(), ..Self::default() }
    }

    /// With what to do now.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// To be tried again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_seconds = Some(seconds);
        self
    }

    /// About this field, a JSON pointer.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}
