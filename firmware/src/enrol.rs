//! Servers enrolled: the appliance's side of a token, a request and a certificate.
//!
//! It refuses to know where tokens and servers are remembered: that is the [`Registry`]'s, which must have written what
//! it says before it says it.

use core::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hal::time::Clock;
use pipeline::ids::ServerId;
use pipeline_wire::certificate::RequestedKey;
use pipeline_wire::enrol::{
    Answer, BYTES_MAX, Denied, Enrolled, PATH, Request, VERSION, Why, emit, parse, secret_hash,
    version_of,
};

use crate::serve::listen::{Asked, Branch, Reply};

/// The agent and its installer, given to whoever asks.
pub mod delivery;
/// Tokens made.
pub mod issue;
/// How often strangers may try.
mod limit;
/// Which tokens there are.
pub mod tokens;

use limit::Tries;

/// Where tokens and servers are remembered.
pub trait Registry: Send + Sync {
    /// Uses a token up, remembers what the server told of itself and makes its certificate, all in one change that is kept
    /// when this returns: a token is never good for two servers. The same server asking again, whose answer got lost, gets
    /// another certificate and changes nothing; one that was revoked or enrolled anew since gets none.
    ///
    /// Errors: what the server is told.
    fn enrol(&self, attempt: &Attempt, request: &Request) -> Result<Enrolled, Denied>;
}

/// Somebody with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Of the token.
    pub secret_hash: [u8; 32],
    /// Of the key that a certificate is wanted for; its holder signed the request.
    pub key_fingerprint: [u8; 32],
    /// What the server calls itself.
    pub host: String,
}

/// Who a server is from now on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grant {
    /// Its identity.
    pub server: ServerId,
    /// Its name in the vault.
    pub name: String,
}

/// The branch of the page's door that enrols.
pub struct Enrolment {
    registry: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
    tries: Mutex<Tries>,
}

impl Enrolment {
    /// Enrols what the registry grants.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, clock: Arc<dyn Clock>) -> Self {
        Self { registry, clock, tries: Mutex::default() }
    }

    /// The answer to a request's bytes from `peer`.
    #[must_use]
    pub fn respond(&self, bytes: &[u8], peer: IpAddr) -> Answer {
        let now = self.clock.monotonic_nanos();
        let tries = || self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if !tries().may(peer, now) {
            return Answer::Denied(Denied {
                words: "this address tried too often with wrong tokens".to_owned(),
                ..Denied::of(Why::Later)
            });
        }
        match self.enrolled(bytes) {
            Ok(enrolled) => {
                log::info!("{} is enrolled, from {peer}", enrolled.name);
                Answer::Enrolled(Box::new(enrolled))
            }
            Err(denied) => {
                log::warn!("a server at {peer} is not enrolled: {}", denied.words);
                if denied.why != Why::Later {
                    tries().failed(peer, now);
                }
                Answer::Denied(denied)
            }
        }
    }

    fn enrolled(&self, bytes: &[u8]) -> Result<Enrolled, Denied> {
        let nonsense = |words: String| Denied { words, ..Denied::of(Why::Nonsense) };
        match version_of(bytes) {
            Some(VERSION) => {}
            Some(other) => {
                let words = format!(
                    "the agent speaks version {other} of enrolment, this appliance version {VERSION}"
                );
                return Err(nonsense(words));
            }
            None => return Err(Denied::of(Why::Nonsense)),
        }
        let request: Request = parse(bytes).ok_or_else(|| Denied::of(Why::Nonsense))?;
        // Before the token is used up.
        let key =
            RequestedKey::of(&request.request).map_err(|error| nonsense(error.to_string()))?;
        let attempt = Attempt {
            secret_hash: secret_hash(&request.secret),
            key_fingerprint: key.fingerprint(),
            host: request.host.clone(),
        };
        self.registry.enrol(&attempt, &request)
    }
}

impl Branch for Enrolment {
    fn takes(&self, method: &str, path: &str) -> Option<usize> {
        (method == "POST" && path == PATH).then_some(BYTES_MAX)
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let answer = self.respond(&asked.body, asked.peer.ip().to_canonical());
        let status = match &answer {
            Answer::Denied(denied) => denied.why.status(),
            _ => 200,
        };
        match emit(&answer) {
            Ok(bytes) => Reply::new(status, "application/octet-stream", bytes),
            Err(error) => Reply::text(500, &format!("{error}\n")),
        }
    }
}

#[cfg(test)]
mod tests;
