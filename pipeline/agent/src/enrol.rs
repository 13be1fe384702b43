//! A token becomes a certificate: one request to the appliance that the token names, over its pinned certificate.
//!
//! The private key is made here and never leaves. Nothing that was remembered changes unless the appliance said yes.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpStream;
use std::sync::Arc;

use pipeline_wire::authority::agent_request;
use pipeline_wire::certificate::Peer;
use pipeline_wire::enrol::http::{NoAnswer, ask};
use pipeline_wire::enrol::{Answer, Enrolled, NotAToken, Request, Token, VERSION};
use pipeline_wire::message::{Binding, DiskHello};
use pipeline_wire::tls;
use rustls::{ClientConnection, StreamOwned};
use serde::{Deserialize, Serialize};

use crate::state::{Enrolment, State};

/// How long an address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the appliance may take to enrol: it writes to its vault, which may be far away.
const PATIENCE: Duration = Duration::from_secs(55);
const NOTHING_CHANGED: &str = "nothing was changed";

/// What is told of the server.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What machine it is.
    pub binding: Binding,
    /// Its name.
    pub host: String,
    /// Its kernel's release.
    pub kernel: String,
    /// Its disks.
    pub disks: Vec<DiskHello>,
}

/// Why a server is not enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotEnrolled {
    /// What and why.
    pub words: String,
    /// What to do now.
    pub remedy: String,
}

impl fmt::Display for NotEnrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.words, self.remedy)
    }
}

impl core::error::Error for NotEnrolled {}

/// A key that was made for a token. Kept before the token is shown: whoever is cut off in between asks again with the same
/// key, and gets an answer again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// Which token: what an appliance keeps of it.
    token: [u8; 32],
    /// PKCS #8 DER.
    key: Vec<u8>,
    /// PKCS #10 DER.
    request: Vec<u8>,
    /// The answer is remembered.
    used: bool,
}

impl fmt::Debug for Asking {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}

impl Asking {
    fn new(token: &Token) -> Result<Self, NotEnrolled> {
        let (key, request) =
            agent_request().map_err(|error| failed(error.to_string(), NOTHING_CHANGED))?;
        Ok(Self { token: token.secret_hash(), key: key.to_vec(), request, used: false })
    }
}

/// Enrols this server with the token of this text. Its addresses are tried in their order, with one and the same key, so
/// that an answer that got lost costs nothing.
///
/// Errors: in words, with what to do.
pub fn enrol(token: &str, facts: Facts) -> Result<Enrolment, NotEnrolled> {
    let token = read(token)?;
    let asking = Asking::new(&token)?;
    ask_all(&token, asking, facts)
}

/// Makes the key for the token of this text and keeps it, where it was not made before. Whether the token was used up
/// here already: then there is nothing to ask.
///
/// Errors: in words, with what to do.
pub fn prepare(state: &State, token: &str) -> Result<bool, NotEnrolled> {
    let token = read(token)?;
    let unwritten = |words: String| failed(words, NOTHING_CHANGED);
    match state.asking().filter(|asking| asking.token == token.secret_hash()) {
        Some(asking) if asking.used => Ok(true),
        Some(asking) => {
            // The end may have come between the answer and the note of it.
            let enrolled = state.enrolment().ok().flatten();
            let used = enrolled.is_some_and(|enrolment| enrolment.key == asking.key);
            if used {
                state.ask(&Asking { used, ..asking }).map_err(unwritten)?;
            }
            Ok(used)
        }
        None => state.ask(&Asking::new(&token)?).map_err(unwritten).map(|()| false),
    }
}

/// Enrols this server with the token of this text, and remembers it; where that was done before, it is what is remembered.
/// A kill at any moment costs nothing: the same again goes on.
///
/// Errors: in words, with what to do; what was remembered is still there.
pub fn enrol_once(state: &State, token: &str, facts: Facts) -> Result<Enrolment, NotEnrolled> {
    let unwritten = |words: String| failed(words, "see that there is room, then ask again");
    if prepare(state, token)?
        && let Some(enrolment) = state.enrolment().map_err(unwritten)?
    {
        return Ok(enrolment);
    }
    let asking = state.asking().ok_or_else(|| unwritten("what was written is gone".to_owned()))?;
    let enrolment = ask_all(&read(token)?, asking.clone(), facts)?;
    state.remember(&enrolment).map_err(unwritten)?;
    state.ask(&Asking { used: true, ..asking }).map_err(unwritten)?;
    Ok(enrolment)
}

fn failed(words: String, remedy: &str) -> NotEnrolled {
    NotEnrolled { words, remedy: remedy.to_owned() }
}

fn read(token: &str) -> Result<Token, NotEnrolled> {
    token.parse().map_err(|error: NotAToken| failed(error.to_string(), NOTHING_CHANGED))
}

fn ask_all(token: &Token, asking: Asking, facts: Facts) -> Result<Enrolment, NotEnrolled> {
    let request = Request {
        version: VERSION,
        secret: token.secret,
        request: asking.request,
        binding: facts.binding,
        host: facts.host,
        kernel: facts.kernel,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        disks: facts.disks,
    };
    let mut unreached = Vec::new();
    for address in &token.addresses {
        match ask_at(address, token.pin, &request) {
            Ok(Answer::Enrolled(enrolled)) => return kept(*enrolled, &asking.key),
            Ok(Answer::Denied(denied)) => return Err(failed(denied.words, &denied.remedy)),
            Ok(_) => unreached.push(format!("{address}: an answer of a newer Lifeboat")),
            Err(words) => unreached.push(format!("{address}: {words}")),
        }
    }
    Err(failed(
        format!("the appliance cannot be asked ({})", unreached.join("; ")),
        "see that this server reaches its HTTPS port, and that the token is of the appliance that runs now",
    ))
}

fn kept(enrolled: Enrolled, key: &[u8]) -> Result<Enrolment, NotEnrolled> {
    let Enrolled { server, name, certificate, authority, addresses } = enrolled;
    // What cannot be used later is better noticed now.
    let named = Peer::of(&certificate).map(|peer| peer.server);
    if named != Ok(server) || addresses.iter().any(|address| address.parse::<SocketAddr>().is_err())
    {
        return Err(NotEnrolled {
            words: "the appliance's answer makes no sense".to_owned(),
            remedy: "install the agent from that appliance, and report this".to_owned(),
        });
    }
    Ok(Enrolment { server, name, addresses, authority, certificate, key: key.to_vec() })
}

fn ask_at(address: &str, pin: [u8; 32], request: &Request) -> Result<Answer, String> {
    let said = |error: std::io::Error| error.to_string();
    let socket: SocketAddr = address.parse().map_err(|_| "is no address".to_owned())?;
    let stream = TcpStream::connect_timeout(&socket, CONNECT).map_err(said)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(said)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(said)?;
    let tls = |error: rustls::Error| error.to_string();
    let config = tls::pinned(pin).map_err(tls)?;
    let name = tls::appliance_name().map_err(tls)?;
    let session = ClientConnection::new(Arc::clone(&config), name).map_err(tls)?;
    ask(&mut StreamOwned::new(session, stream), address, request).map_err(|error| in_words(&error))
}

/// What TLS says is about the token here.
fn in_words(error: &NoAnswer) -> String {
    let NoAnswer::Network(network) = error else { return error.to_string() };
    let tls = network.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "shows another certificate than the token names: it is another machine, or was set up anew since".to_owned()
        }
        Some(tls) => format!("TLS: {tls}"),
        None => error.to_string(),
    }
}
