//! Answers as pure values: status, headers, and what their bodies mean. It never trusts a length.

/// The answers inside a batch.
pub mod batch;
/// Pages of a listing.
pub mod listing;
/// Which parts of a page blob were written.
pub mod pages;

use pipeline_vault::store::{ObjectFacts, Tier};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::date::parse_http_date;

/// Status and headers of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }

    /// The length that the body claims to have.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The sender's clock, in milliseconds since 1970.
    pub fn date(&self) -> Option<u64> {
        parse_http_date(self.header("date")?)
    }

    /// Whether Azure's storage sent it, and not something in between.
    pub fn is_from_storage(&self) -> bool {
        self.header("x-ms-request-id").is_some() || self.header("x-ms-version").is_some()
    }

    /// For how many seconds the sender wants to be left alone: a number, or a date by its own clock.
    pub fn retry_after(&self) -> Option<u64> {
        let text = self.header("retry-after")?.trim();
        text.parse().ok().or_else(|| {
            let until = parse_http_date(text)?;
            Some(until.saturating_sub(self.date()?).div_ceil(1000))
        })
    }
}

/// A body that is not what its kind should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Why a request was refused, as the answer tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Azure's own code, such as `BlobAlreadyExists`; empty where it gave none.
    pub code: String,
    /// Azure's own words, cut to one line.
    pub message: String,
    /// The number under which Microsoft finds the request.
    pub request_id: String,
    /// The sender's clock.
    pub date: Option<u64>,
    /// For how many seconds the sender wants to be left alone.
    pub retry_after: Option<u64>,
    /// Whether Azure's storage sent it, and not something in between.
    pub from_storage: bool,
}

impl Refusal {
    /// Reads a refusal from an answer; `body` may be empty or foreign.
    pub fn new(head: &Head, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let (code, message) = error_body(&text);
        let header_code = head.header("x-ms-error-code").map(str::to_owned);
        Self {
            status: head.status,
            code: header_code.or(code).unwrap_or_default(),
            message: one_line(&message.unwrap_or_default()),
            request_id: head.header("x-ms-request-id").unwrap_or_default().to_owned(),
            date: head.date(),
            retry_after: head.retry_after(),
            from_storage: head.is_from_storage(),
        }
    }
}

/// What the headers of an object say about it.
pub fn facts(name: &str, head: &Head) -> Result<ObjectFacts, Malformed> {
    let bytes = head.content_length().ok_or(Malformed("it has no length"))?;
    let modified = head.header("last-modified").and_then(parse_http_date);
    Ok(ObjectFacts {
        name: name.to_owned(),
        bytes,
        modified: modified.ok_or(Malformed("it has no date"))?,
        tier: tier(head.header("x-ms-access-tier")),
    })
}

/// What an answer to a ranged read covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, inclusive.
    pub last: u64,
    /// The length of the whole object.
    pub total: u64,
}

/// Reads `bytes 0-9/100`. Whether the numbers fit together is for the reader to judge: Azurite answers
/// `bytes 10-9/10` to who asks for the byte after the last.
pub fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(ContentRange {
        first: first.parse().ok()?,
        last: last.parse().ok()?,
        total: total.parse().ok()?,
    })
}

pub(crate) fn tier(name: Option<&str>) -> Tier {
    match name {
        Some(name) if name.eq_ignore_ascii_case("archive") => Tier::Archive,
        _ => Tier::Online,
    }
}

/// Code and message of an error's XML; nothing where the body is something else.
fn error_body(text: &str) -> (Option<String>, Option<String>) {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
    let (mut code, mut message, mut inside) = (None, None, String::new());
    let mut depth = 0_u32;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                depth += 1;
                inside = start.name().as_ref().to_owned();
                if depth == 1 && inside != "Error" {
                    return (None, None);
                }
            }
            Ok(Event::End(_)) => {
                depth = depth.saturating_sub(1);
                inside.clear();
            }
            Ok(Event::Text(text)) if depth == 2 => {
                let text = text.xml10_content().into_owned();
                match inside.as_str() {
                    "Code" => code = Some(text),
                    // Entities split the message; the parts before the first suffice for a person.
                    "Message" if message.is_none() => message = Some(text),
                    _ => {}
                }
            }
            Ok(Event::Eof) | Err(_) => return (code, message),
            Ok(_) => {}
        }
    }
}

/// The first line, of at most 200 characters.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().filter(|char| !char.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
