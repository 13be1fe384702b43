//! The answers inside a batch: multipart, each part a small HTTP answer with the number of its request.

use super::{Head, Malformed, Refusal};

/// Largest batch answer that is read: 256 parts of a few hundred bytes each, with much room.
pub const BATCH_BYTES_MAX: u64 = 1024 * 1024;

/// One answer of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of the request that it answers.
    pub number: usize,
    /// What it says.
    pub refusal: Refusal,
}

/// Reads the parts; `content_type` is the header of the batch's answer and names their boundary.
pub fn parse(content_type: &str, body: &[u8]) -> Result<Vec<Part>, Malformed> {
    let boundary = content_type
        .split(';')
        .find_map(|field| field.trim().strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"'))
        .filter(|boundary| !boundary.is_empty())
        .ok_or(Malformed("it names no boundary"))?;
    let text = core::str::from_utf8(body).map_err(|_| Malformed("it is not UTF-8"))?;
    let marker = format!("--{boundary}");
    let mut parts = Vec::new();
    for part in text.split(marker.as_str()).skip(1) {
        if part.starts_with("--") {
            return Ok(parts);
        }
        parts.push(parse_part(part.trim_start_matches(['\r', '\n']))?);
    }
    Err(Malformed("it ends early"))
}

/// One part: its own headers, an empty line, then an HTTP answer.
fn parse_part(part: &str) -> Result<Part, Malformed> {
    let (outer, inner) = split_head(part).ok_or(Malformed("a part has no answer in it"))?;
    let number = headers(outer)
        .into_iter()
        .find(|(name, _)| name == "content-id")
        .and_then(|(_, value)| value.parse().ok());
    let (status_line, rest) = inner.split_once('\n').unwrap_or((inner, ""));
    let status = status_line
        .trim()
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or(Malformed("a part has no status"))?;
    let (inner_headers, body) = split_head(rest).unwrap_or((rest, ""));
    let head = Head { status, headers: headers(inner_headers) };
    // A batch that is refused as a whole answers with one part without a number.
    let number = number.unwrap_or(usize::MAX);
    Ok(Part { number, refusal: Refusal::new(&head, body.trim().as_bytes()) })
}

/// Headers and what follows their empty line.
fn split_head(text: &str) -> Option<(&str, &str)> {
    text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n"))
}

fn headers(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
