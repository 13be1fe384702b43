//! The request over HTTP/1.1, and its answer: one of each on a connection, both bounded.
//!
//! It knows no redirect, no proxy and no chunks: an appliance sends none, and nobody else is believed anyway.

use core::fmt;
use std::io::{self, Read, Write};

use super::{Answer, BYTES_MAX, PATH, Request, TooLarge, emit, parse};

/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The network, or TLS as its source.
    Network(io::Error),
    /// What came is no answer of an appliance that enrols; its status, where it had one.
    Foreign(Option<u16>),
    /// The request is too large.
    Large,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => write!(f, "the connection failed: {error}"),
            Self::Foreign(Some(status)) => {
                write!(
                    f,
                    "the appliance enrols no servers (HTTP {status}): it is older, or has no vault yet"
                )
            }
            Self::Foreign(None) => f.write_str("what answers is no appliance"),
            Self::Large => TooLarge.fmt(f),
        }
    }
}

impl core::error::Error for NoAnswer {}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        Self::Network(error)
    }
}

/// Asks the appliance at `host` over `stream`, which is TLS with its certificate pinned, and closed after this.
///
/// Errors: no answer, whatever the reason; an answer that denies is one.
pub fn ask(
    stream: &mut (impl Read + Write),
    host: &str,
    request: &Request,
) -> Result<Answer, NoAnswer> {
    let body = emit(request).map_err(|TooLarge| NoAnswer::Large)?;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/octet-stream\r\n\
        content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat())?;
    stream.flush()?;
    let (status, body) = reply(stream)?;
    parse(&body).ok_or(NoAnswer::Foreign(Some(status)))
}

/// Gets what the appliance at `host` has at `path`, at most [`BYTES_MAX`] of it: status and body.
///
/// Errors: no answer, whatever the reason.
pub fn get(
    stream: &mut (impl Read + Write),
    host: &str,
    path: &str,
) -> Result<(u16, Vec<u8>), NoAnswer> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    reply(stream)
}

/// Status and body of a reply.
fn reply(stream: &mut impl Read) -> Result<(u16, Vec<u8>), NoAnswer> {
    const FOREIGN: NoAnswer = NoAnswer::Foreign(None);
    let mut bytes = Vec::new();
    let (end, begin) = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break (at, at + 4);
        }
        if bytes.len() > HEAD_BYTES_MAX || !more(stream, &mut bytes)? {
            return Err(FOREIGN);
        }
    };
    let head = bytes.get(..end).and_then(|head| core::str::from_utf8(head).ok()).ok_or(FOREIGN)?;
    let (status, length) = status_and_length(head).ok_or(FOREIGN)?;
    if length.is_some_and(|length| length > BYTES_MAX) {
        return Err(NoAnswer::Foreign(Some(status)));
    }
    bytes.drain(..begin);
    // Without a length the end of the connection is the end of the body.
    while bytes.len() < length.unwrap_or(BYTES_MAX + 1) {
        if !more(stream, &mut bytes)? {
            break;
        }
    }
    match length {
        Some(length) if bytes.len() < length => {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
        Some(length) => {
            bytes.truncate(length);
            Ok((status, bytes))
        }
        None if bytes.len() > BYTES_MAX => Err(NoAnswer::Foreign(Some(status))),
        None => Ok((status, bytes)),
    }
}

/// Reads what there is, at most 4 KiB; whether there was anything.
fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 4096];
    let read = loop {
        match stream.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    bytes.extend(piece.get(..read).unwrap_or_default());
    Ok(read > 0)
}

/// The status of a head, and how long the body is where it says so; `None` where it is none that is understood.
fn status_and_length(head: &str) -> Option<(u16, Option<usize>)> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let is_http = matches!(first.next()?, "HTTP/1.1" | "HTTP/1.0");
    let status = first.next()?.parse().ok().filter(|status| (100..600).contains(status))?;
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
    }
    is_http.then_some((status, length))
}
