//! The agent and its installer, given to whoever asks: nothing in them is a secret.
//!
//! The appliance carries the agent as data and never starts it. It is in memory only while somebody fetches it. The script
//! names the key of the page's certificate and the agent's hash: who has the script unspoilt gets the agent unspoilt.

use core::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline_vault::Error;
use pipeline_wire::certificate::key_fingerprint_of;
use ring::digest::{SHA256, digest};

use crate::serve::identity::Identity;
use crate::serve::listen::{Asked, Branch, Reply};

const SCRIPT: &str = include_str!("../../../pipeline/agent/install/install.sh");
const UNIT: &str = include_str!("../../../pipeline/agent/install/lifeboat-agent.service");

/// Larger than any agent.
const AGENT_BYTES_MAX: u64 = 64 << 20;
const HOST_BYTES_MAX: usize = 255;
const NO_AGENT: &str = "this appliance carries no agent: on a server of yours, start lifeboat serve with --agent FILE\n";

/// The branch of the page's door that gives the agent.
#[derive(Debug)]
pub struct Delivery {
    agent: Option<PathBuf>,
    pin: String,
    held: Mutex<Weak<Vec<u8>>>,
}

impl Delivery {
    /// Gives what lies at `agent`, behind the certificate of `identity`.
    ///
    /// Errors: the certificate cannot be read.
    pub fn new(agent: Option<PathBuf>, identity: &Identity) -> Result<Self, Error> {
        Ok(Self { agent, pin: key_pin(identity)?, held: Mutex::default() })
    }

    /// The line that a person runs on a server, with the appliance reached at `address`.
    #[must_use]
    pub fn line(&self, address: &str, token: &str) -> String {
        let pin = &self.pin;
        format!(
            "curl -fsS --insecure --pinnedpubkey 'sha256//{pin}' https://{address}/install.sh | sudo sh -s {token}"
        )
    }

    /// The agent, read where nobody else is fetching it just now.
    fn agent(&self) -> io::Result<Option<Arc<Vec<u8>>>> {
        let Some(path) = &self.agent else { return Ok(None) };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = held.upgrade() {
            return Ok(Some(bytes));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(AGENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.is_empty() || bytes.len() as u64 > AGENT_BYTES_MAX {
            return Err(io::Error::other("is no agent: empty, or larger than any"));
        }
        let bytes = Arc::new(bytes);
        *held = Arc::downgrade(&bytes);
        Ok(Some(bytes))
    }

    fn script(&self, host: &str, sha256: &str) -> Option<String> {
        let plain = |sign: u8| sign.is_ascii_alphanumeric() || b".:-[]".contains(&sign);
        let fine = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(plain);
        let script = SCRIPT.replace("@ADDRESS@", host).replace("@PIN@", &self.pin);
        fine.then(|| script.replace("@SHA256@", sha256).replace("@UNIT@", UNIT.trim_end()))
    }
}

/// The key of the page's certificate as curl and wget pin it: SHA-256 of it, base 64.
///
/// Errors: the certificate cannot be read.
pub fn key_pin(identity: &Identity) -> Result<String, Error> {
    let fingerprint = key_fingerprint_of(identity.certificate())
        .map_err(|error| Error::corrupt("the page's certificate", error.to_string()))?;
    Ok(STANDARD.encode(fingerprint))
}

impl Branch for Delivery {
    fn takes(&self, method: &str, path: &str) -> Option<usize> {
        let ours = matches!(path, "/agent" | "/agent.sha256" | "/install.sh");
        (ours && matches!(method, "GET" | "HEAD")).then_some(0)
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let agent = match self.agent() {
            Ok(Some(agent)) => agent,
            Ok(None) => return Reply::text(404, NO_AGENT),
            Err(error) => {
                log::warn!("the agent that is given to servers cannot be read: {error}");
                return Reply::text(500, &format!("the agent cannot be read: {error}\n"));
            }
        };
        let mut sha256 = String::with_capacity(64);
        for byte in digest(&SHA256, &agent).as_ref() {
            let _ = write!(sha256, "{byte:02x}");
        }
        match asked.path.as_str() {
            "/agent" => Reply::new(200, "application/octet-stream", agent)
                .with("x-sha256", sha256)
                .with("content-disposition", "attachment; filename=lifeboat-agent".to_owned()),
            "/agent.sha256" => Reply::text(200, &format!("{sha256}  lifeboat-agent\n")),
            _ => match self.script(&asked.host, &sha256) {
                Some(script) => Reply::text(200, &script),
                None => Reply::text(400, "the request names no host that a script could\n"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
