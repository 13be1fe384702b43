//! Sends a verb to an appliance and prints what comes back, as it comes; ends as the verb ended there.
//!
//! The appliance is known by its certificate: by the fingerprint that the person gave, or by an authority. Nothing is said to
//! anybody else, the token least of all.

use core::time::Duration;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use firmware_web::api::verbs::VerbTold;
use pipeline_azure::encode::base64_decode;
use pipeline_azure::request::{Method, Request};
use pipeline_azure::transport::failure::{Failure, Kind};
use pipeline_azure::transport::pin::{Fingerprint, Pin};
use pipeline_azure::transport::{Reply, Transport, TransportOptions, carrier};
use pipeline_vault::Error;

use super::line::Line;
use super::straight::Straight;
use crate::report::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, printable};

/// A drill may take hours, and a first hydration days.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// It beats each ten seconds; longer silence is a broken way.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest line: a file in base64, and what is around it.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest answer of a call.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest refusal.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;

/// Runs it; the exit code is the verb's. `out` and `err` are what a verb prints to.
///
/// Errors: it was not begun, or nobody knows how it ended.
pub fn run(line: &Line, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Ended> {
    let pin = Pin::new(line.fingerprint);
    let options = TransportOptions {
        kept_connections: 1,
        answer: SILENCE,
        pin: Some(std::sync::Arc::clone(&pin)),
        ..TransportOptions::from_env()
    };
    let transport = carrier::open(&options)?;
    if let Some(straight) = &line.straight {
        return call(line, straight, &*transport, &pin, out);
    }
    let body = serde_json::to_vec(&line.asked)
        .map_err(|error| Error::misuse("the verb", format!("cannot be written down: {error}")))?;
    let request = Request::new(Method::Post, "/api/v1/verbs")
        .with_header("authorization", format!("Bearer {}", line.token.expose()))
        .with_header("content-type", "application/json")
        .with_header("accept", "application/x-ndjson")
        .with_body(&body[..]);
    let sent = transport.send(&line.origin, &request, PATIENCE);
    let mut reply = sent.map_err(|failure| match failure.kind {
        Kind::Timeout | Kind::Broken => cut(line, &failure.what),
        _ => unreached(line, &pin, &failure),
    })?;
    match reply.head.status {
        200 => follow(line, &mut reply, out, err),
        202 => Err(waits(
            &mut reply,
            "once another administrator has agreed, on the page or by approval grant, within the hour, run the same command again",
        )),
        status => Err(refused(line, status, &mut reply)),
    }
}

/// A call of the API: it answers at once, or is handed on as it comes.
fn call(
    line: &Line,
    straight: &Straight,
    transport: &dyn Transport,
    pin: &Pin,
    out: &mut dyn Write,
) -> Result<u8, Ended> {
    let (accept, patience) =
        if straight.is_raw() { ("*/*", PATIENCE) } else { ("application/json", SILENCE) };
    let mut request = Request::new(straight.method, straight.path.clone())
        .with_header("authorization", format!("Bearer {}", line.token.expose()))
        .with_header("accept", accept);
    if let Some((kind, body)) = &straight.body {
        request = request.with_header("content-type", *kind).with_body(&body[..]);
    }
    let sent = transport.send(&line.origin, &request, patience);
    let mut reply = sent.map_err(|failure| match failure.kind {
        Kind::Timeout | Kind::Broken if straight.method != Method::Get => Ended::from(
            Error::refused(line.origin.authority.clone(), failure.what)
                .remedy("whether it was done is not known: look, and try again"),
        ),
        _ => unreached(line, pin, &failure),
    })?;
    match reply.head.status {
        202 => Err(waits(
            &mut reply,
            "it is done once another administrator has agreed, on the page or by approval grant, within the hour",
        )),
        200..=299 if straight.is_raw() => hand_on(line, &mut reply, out),
        200..=299 => {
            let answer = reply.read_all(ANSWER_BYTES_MAX).map_err(|failure| {
                Error::refused(line.origin.authority.clone(), failure.what)
                    .remedy("whether it was done is not known: look, and try again")
            })?;
            straight.print(&answer, out)?;
            Ok(EXIT_DONE)
        }
        status => Err(refused(line, status, &mut reply)),
    }
}

/// Prints what comes; JSON ends its line.
fn hand_on(line: &Line, reply: &mut Reply, out: &mut dyn Write) -> Result<u8, Ended> {
    let kind = reply.head.header("content-type").unwrap_or_default();
    let is_json = kind.starts_with("application/json");
    let printed = |error| Error::device("standard output", format!("takes no more: {error}"));
    let mut piece = vec![0; 64 * 1024];
    loop {
        let more = reply.read_some(&mut piece).map_err(|failure| {
            let what = format!("the answer was cut: {}", failure.what);
            Error::refused(line.origin.authority.clone(), what)
                .remedy("what was printed is not all of it: look, and ask again")
        })?;
        if more == 0 {
            break;
        }
        out.write_all(&piece[..more]).and_then(|()| out.flush()).map_err(printed)?;
    }
    if is_json {
        out.write_all(b"\n").and_then(|()| out.flush()).map_err(printed)?;
    }
    Ok(EXIT_DONE)
}

/// How it ended where it is not the verb that says so.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended {
    /// In a line.
    pub error: Error,
    /// The exit code.
    pub code: u8,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self { error, code: EXIT_FAILED }
    }
}

fn unreached(line: &Line, pin: &Pin, failure: &Failure) -> Ended {
    let host = line.origin.authority.clone();
    let shown = pin.shown().filter(|_| failure.kind == Kind::Tls).map(|shown| written(&shown));
    match (shown, line.fingerprint) {
        (Some(shown), Some(_)) => Error::refused(host, format!("shows another certificate than was named: SHA-256 {shown}"))
            .remedy("nothing was sent. Compare it with what the appliance's console shows: it may have a new one, or somebody is in between"),
        (Some(shown), None) => Error::refused(host, format!("shows a certificate that nobody vouches for: SHA-256 {shown}"))
            .remedy(format!("nothing was sent. Compare it with what the appliance's console shows, then give --fingerprint {shown}")),
        (None, _) => Error::refused(host, failure.what.clone())
            .remedy("see whether the appliance runs and its address is right"),
    }
    .into()
}

/// As the console writes it.
fn written(fingerprint: &Fingerprint) -> String {
    let pairs: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// A second person must agree first.
fn waits(reply: &mut Reply, remedy: &str) -> Ended {
    let told = json(reply);
    let id = text(&told, "id");
    let words = format!(
        "waits for a second person{}",
        if id.is_empty() { String::new() } else { format!(": approval {id}") }
    );
    Error::refused("the verb", words).remedy(remedy).into()
}

fn refused(line: &Line, status: u16, reply: &mut Reply) -> Ended {
    let told = json(reply);
    let (title, detail, remedy) =
        (text(&told, "title"), text(&told, "detail"), text(&told, "remedy"));
    let object = if title.is_empty() { line.origin.authority.clone() } else { title };
    let field = text(&told, "field");
    let mut what = if detail.is_empty() { format!("answered {status}") } else { detail };
    if !field.is_empty() {
        what = format!("{what} ({field})");
    }
    let remedy = match status {
        _ if !remedy.is_empty() => remedy,
        401 => {
            "the token is not known any more, or never was: make another on the appliance's page"
                .to_owned()
        }
        403 => "ask an administrator for a token with the role that it wants".to_owned(),
        404 | 405 if told.is_null() => {
            "that is no appliance of Lifeboat, or an older one".to_owned()
        }
        429 | 503 => "try again in a moment".to_owned(),
        _ => "the appliance's events say more".to_owned(),
    };
    let code = if matches!(status, 400 | 422) { EXIT_USAGE } else { EXIT_FAILED };
    Ended { error: Error::refused(object, what).remedy(remedy), code }
}

fn json(reply: &mut Reply) -> serde_json::Value {
    let body = reply.read_all(REFUSAL_BYTES_MAX).unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_default()
}

/// From elsewhere: nothing in it moves a cursor.
fn text(value: &serde_json::Value, field: &str) -> String {
    value[field].as_str().map(printable).unwrap_or_default()
}

/// The verb may have begun: the connection breaks before its first word as well as behind it.
fn cut(line: &Line, why: &str) -> Ended {
    let what = format!("the connection was cut before the verb ended: {why}");
    let remedy = "whether it was done is not known: the appliance asks a verb to end in order whose listener is gone. See whether the appliance runs and its address is right, and run the same again: it goes on";
    Error::refused(line.origin.authority.clone(), what).remedy(remedy).into()
}

/// Prints what is told until the verb has ended.
fn follow(
    line: &Line,
    reply: &mut Reply,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Ended> {
    let cut = |why: &str| cut(line, why);
    let (mut come, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let more = reply.read_some(&mut piece).map_err(|failure| cut(&failure.what))?;
        if more == 0 {
            return Err(cut("nothing more came"));
        }
        come.extend_from_slice(&piece[..more]);
        while let Some(end) = come.iter().position(|byte| *byte == b'\n') {
            let told: VerbTold = serde_json::from_slice(&come[..end])
                .map_err(|_| cut("what came is no word of an appliance"))?;
            come.drain(..=end);
            if let Some(code) = take(line, &told, out, err)? {
                return Ok(code);
            }
        }
        if come.len() > LINE_BYTES_MAX {
            return Err(cut("what came has no end"));
        }
    }
}

fn take(
    line: &Line,
    told: &VerbTold,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Option<u8>, Ended> {
    let bytes = |text: &str| base64_decode(text).unwrap_or_default();
    let printed = |printed: std::io::Result<()>| {
        printed.map_err(|error| Error::device("standard output", format!("takes no more: {error}")))
    };
    match told {
        VerbTold::Out(text) => printed(out.write_all(&bytes(text)).and_then(|()| out.flush()))?,
        // Nobody may read it: no reason to end what is being done.
        VerbTold::Err(text) => drop(err.write_all(&bytes(text)).and_then(|()| err.flush())),
        VerbTold::Beat(_) => {}
        VerbTold::File(text) => {
            let path = line.output.as_deref().ok_or_else(|| {
                Error::corrupt(line.origin.authority.clone(), "sends a file that nobody asked for")
            })?;
            write(path, line.asked.output.as_deref() == Some("--out"), &bytes(text))?;
        }
        VerbTold::Ended(code) => return Ok(Some(*code)),
    }
    Ok(None)
}

/// What comes back is written here; a new file only, where the option says so.
fn write(path: &Path, is_new: bool, bytes: &[u8]) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if is_new {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| {
        Error::device(path.display().to_string(), format!("cannot be written: {error}"))
            .remedy("name a new file in a folder that can be written")
    })
}
