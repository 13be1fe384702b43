//! The roll: which servers are enrolled, by which certificates and machines they are known, and how each is protected.
//!
//! One document in the vault's catalogue, so that every appliance of a vault has the same. It is changed by compare-and-swap:
//! a person's command and a running appliance never undo each other. The site authority's key and the hashes of tokens
//! that nobody used yet are in it too.

use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_wire::authority::Authority;
use pipeline_wire::message::Binding;
use pipeline_wire::policy::Policy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::calendar::Pace;
use crate::enrol::tokens::Tokens;

/// The roll in the vault, as a running appliance and the verbs use it.
pub mod kept;
/// Servers that come with a token.
pub mod registrar;

const VERSION: u16 = 1;
/// Certificates that are remembered of one server.
const KEYS_MAX: usize = 8;

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roll {
    version: u16,
    /// The site authority, with its key.
    pub authority: Vec<u8>,
    /// The servers.
    pub servers: Vec<Listed>,
    /// Tokens that wait to be used, or were used not long ago.
    pub tokens: Tokens,
    /// How much may be sent to the vault by all servers together.
    pub pace: Pace,
}

/// A server on the roll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Which.
    pub server: ServerId,
    /// Its name in the vault.
    pub name: String,
    /// What machine it runs on.
    pub binding: Binding,
    /// Keys of its agents that were certified, by fingerprint, the newest last.
    pub keys: Vec<[u8; 32]>,
    /// Nobody comes in as this server any more.
    pub revoked: bool,
    /// The next machine that shows up as this server is accepted.
    pub accepts: bool,
    /// How it is protected.
    pub policy: Policy,
    /// How long its points are kept, as `prune --keep` has it; none: for ever.
    pub keep: Option<String>,
    /// The group that it is cut with.
    pub group: Option<String>,
    /// How much may be sent to the vault of this server.
    pub pace: Pace,
}

impl Roll {
    /// An empty one with a new authority.
    pub fn new() -> Result<Self, Error> {
        let failed = |error: pipeline_wire::authority::AuthorityError| {
            Error::device("site authority", error.to_string())
        };
        let authority = Authority::generate().map_err(failed)?;
        let authority = authority.to_bytes().map_err(failed)?.to_vec();
        Ok(Self {
            version: VERSION,
            authority,
            servers: Vec::new(),
            tokens: Tokens::default(),
            pace: Pace::default(),
        })
    }

    /// The bytes of it.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let bytes = postcard::to_allocvec(self);
        bytes.map(Zeroizing::new).map_err(|error| Error::misuse("roll", error.to_string()))
    }

    /// Takes any bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let version = postcard::take_from_bytes::<u16>(bytes).map(|(version, _)| version);
        if let Ok(later) = version
            && later != VERSION
        {
            let what = format!("is of version {later}, which a later Lifeboat wrote");
            return Err(
                Error::refused("the vault's roll of servers", what).remedy("update this one")
            );
        }
        match postcard::take_from_bytes(bytes) {
            Ok((roll, [])) => Ok(roll),
            _ => Err(Error::corrupt("the vault's roll of servers", "cannot be read")
                .remedy("bring its object back from a copy of the vault")),
        }
    }

    /// A server by its identity.
    #[must_use]
    pub fn server(&self, server: ServerId) -> Option<&Listed> {
        self.servers.iter().find(|listed| listed.server == server)
    }

    /// A server by its name, to be changed.
    ///
    /// Errors: nobody of that name is enrolled.
    pub fn named(&mut self, name: &str) -> Result<&mut Listed, Error> {
        let names: Vec<&str> = self.servers.iter().map(|listed| listed.name.as_str()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        self.servers.iter_mut().find(|listed| listed.name == name).ok_or_else(|| {
            Error::misuse(format!("server {name}"), "is not enrolled").remedy(format!(
                "enrolled are: {known}; lifeboat server token makes a token for another"
            ))
        })
    }

    /// Remembers that a server is enrolled on a machine with a key; one that was enrolled before keeps its policy.
    pub fn enrol(&mut self, server: ServerId, name: &str, binding: &Binding, key: [u8; 32]) {
        match self.servers.iter_mut().find(|listed| listed.server == server) {
            Some(listed) => {
                listed.binding = binding.clone();
                listed.revoked = false;
                listed.accepts = false;
                listed.certify(key);
            }
            None => self.servers.push(Listed {
                server,
                name: name.to_owned(),
                binding: binding.clone(),
                keys: vec![key],
                revoked: false,
                accepts: false,
                policy: Policy::default(),
                keep: None,
                group: None,
                pace: Pace::default(),
            }),
        }
    }
}

impl Listed {
    /// Remembers the key of another certificate.
    pub fn certify(&mut self, key: [u8; 32]) {
        self.keys.retain(|known| *known != key);
        self.keys.push(key);
        while self.keys.len() > KEYS_MAX {
            self.keys.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    fn binding() -> Binding {
        Binding { machine: [1; 16], disks: vec![[2; 16]] }
    }

    #[test]
    fn a_roll_survives_its_bytes_and_no_others_make_it_panic() {
        let mut roll = Roll::new().unwrap();
        roll.enrol(ServerId([5; 16]), "web", &binding(), [6; 32]);
        let bytes = roll.to_bytes().unwrap();
        assert_eq!(Roll::parse(&bytes), Ok(roll));
        let mut later = bytes.to_vec();
        later[0] = 2;
        assert!(Roll::parse(&later).unwrap_err().to_string().contains("later Lifeboat"));
        for seed in 0..5000 {
            let mut random = Random::new(seed);
            let mut bytes = bytes.to_vec();
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << random.below(8);
            bytes.truncate(usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap());
            let _ = Roll::parse(&bytes);
        }
    }

    #[test]
    fn who_is_enrolled_again_keeps_his_policy_and_the_newest_keys() {
        let mut roll = Roll::new().unwrap();
        let server = ServerId([5; 16]);
        roll.enrol(server, "web", &binding(), [0; 32]);
        let listed = roll.named("web").unwrap();
        listed.policy.interval_seconds = 10;
        listed.revoked = true;
        for key in 1..=9 {
            roll.enrol(server, "web", &binding(), [key; 32]);
        }
        let listed = roll.server(server).unwrap();
        assert_eq!(
            (listed.policy.interval_seconds, listed.revoked, listed.keys.len()),
            (10, false, KEYS_MAX)
        );
        assert!(listed.keys.contains(&[9; 32]) && !listed.keys.contains(&[1; 32]));
        assert!(roll.named("db").unwrap_err().to_string().contains("enrolled are: web"));
    }
}
