//! Requests and responses as values, and how they are on the wire. One request at a time; bodies have a length.

use std::io::{self, BufRead, Read, Write};

use serde_json::{Value, json};

use super::refusal::Refusal;

/// No head is longer.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// No body is longer: four mebibytes are the most that the control plane takes.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A request of the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// Names and values of the query, decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What an answer's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What the machine of this key has said on its serial line.
    Console(String),
    /// What the machine's screen shows.
    Screen(String),
    /// A port of the host's loopback that leads to this port of the machine.
    Forward(String, u16),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// It was done, and nobody is to hear of it: the connection ends instead.
    pub lost: bool,
}

impl Request {
    /// A request without a body. The target is path and query.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_owned(),
            path: decode(path, false),
            query: pairs(query),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// With this body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    /// With one more header; its name in lower case.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }

    /// A value of the query, whatever the case of its name.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(has, _)| has.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as an object.
    pub(crate) fn object(&self) -> Result<Value, Refusal> {
        if self.body.is_empty() {
            return Ok(json!({}));
        }
        let parsed: Result<Value, _> = serde_json::from_slice(&self.body);
        match parsed {
            Ok(value) if value.is_object() => Ok(value),
            _ => Err(Refusal::new(
                400,
                "InvalidRequestContent",
                "The request content was invalid and could not be deserialized: an object was expected.",
            )),
        }
    }

    /// Scheme and host that the client knows us by, for addresses that we give it.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.header("host").unwrap_or("localhost"))
    }

    /// Reads one; `None` at the end of the connection.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some((first, headers)) = read_head(reader)? else { return Ok(None) };
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        // A proxy's form of the target names the host once more.
        let target = target.split_once("://").map_or(target, |(_, rest)| {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        });
        let mut request = Self { headers, ..Self::new(method, target) };
        let chunked = request.header("transfer-encoding").is_some();
        if chunked {
            return Err(io::Error::other("bodies have a length here"));
        }
        let length: usize = match request.header("content-length") {
            Some(length) => length.parse().map_err(io::Error::other)?,
            None => 0,
        };
        if length > BODY_BYTES_MAX {
            return Err(io::Error::other("the body is too large"));
        }
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        Ok(Some(request))
    }
}

impl Response {
    /// An answer with JSON.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let headers =
            vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: Body::Bytes(body.to_string().into_bytes()), lost: false }
    }

    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Bytes(Vec::new()), lost: false }
    }

    /// An answer whose bytes only the machine has.
    pub(crate) fn of_machine(body: Body) -> Self {
        Self { status: 200, headers: Vec::new(), body, lost: false }
    }

    /// With one more header.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(has, _)| has.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body's JSON; `Null` where it is none.
    pub fn value(&self) -> Value {
        serde_json::from_slice(self.bytes()).unwrap_or_default()
    }

    /// The body's bytes, as far as they are here.
    pub fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// Writes it. To a request of `HEAD` goes no body.
    pub(crate) fn write(&self, writer: &mut impl Write, head_only: bool) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        if self.status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", self.bytes().len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut all = head.into_bytes();
        if !head_only && self.status != 204 {
            all.extend_from_slice(self.bytes());
        }
        writer.write_all(&all)
    }
}

/// First line, and headers with their names in lower case.
pub(crate) type Head = (String, Vec<(String, String)>);

/// Reads everything before a body; `None` at the end of the connection.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut limited = reader.take(HEAD_BYTES_MAX);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = limited.read_until(b'\n', &mut line)?;
        if read == 0 {
            let clean = lines.is_empty() && limited.limit() > 0;
            return if clean { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let text = String::from_utf8(line).map_err(io::Error::other)?;
        let text = text.trim_end().to_owned();
        if text.is_empty() {
            break;
        }
        lines.push(text);
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let header = |line: String| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok(Some((first, lines.filter_map(header).collect())))
}

/// Names and values of a query or a form.
#[must_use]
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let split = text.split('&').filter(|pair| !pair.is_empty());
    split
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        })
        .collect()
}

fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let digits = rest.get(..2).and_then(|digits| core::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = rest.get(2..).unwrap_or_default();
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text as it stands in a query.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut encoded = String::new();
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}
