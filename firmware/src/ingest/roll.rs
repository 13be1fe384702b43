//! The roll: which servers are enrolled, by which certificates and machines they are known, and how each is protected.
//!
//! One document in the vault's catalogue, so that every appliance of a vault has the same. It is changed by compare-and-swap:
//! a person's command and a running appliance never undo each other. The site authority's key and the hashes of tokens
//! that nobody used yet are in it too.

use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_vault::document::{self, Name};
use pipeline_vault::vault::Vault;
use pipeline_wire::authority::Authority;
use pipeline_wire::enrol::Why;
use pipeline_wire::message::{Binding, Drained};
use pipeline_wire::policy::Policy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::calendar::Pace;
use crate::enrol::tokens::{Redeemed, Tokens};
use crate::enrol::{Attempt, Grant};

pub use drains::DrainOrder;
pub use rules::Rules;
pub use wakes::Wake;

/// Servers that are drained for a planned failover.
pub mod drains;
/// The roll in the vault, as a running appliance and the verbs use it.
pub mod kept;
/// Servers that come with a token.
pub mod registrar;
/// What is kept beside each server's own policy.
pub mod rules;
/// Servers that were switched off, and are to be switched on again.
pub mod wakes;

const VERSION: u16 = 1;
/// With drains behind it whose answers were bound to nothing: they are to be ordered again.
const VERSION_DRAINS_BEFORE: u16 = 2;
/// With such drains, and rules behind them.
const VERSION_RULES_BEFORE: u16 = 3;
/// With drains behind it: a program that knows nothing of them must not undo one by writing its own.
const VERSION_DRAINS: u16 = 4;
/// With rules behind them: a program that knows nothing of second persons must not undo one by writing its own.
const VERSION_RULES: u16 = 5;
/// With servers behind those that are to be switched on again.
const VERSION_WAKES: u16 = 6;
/// A drain as it was kept before: server, order, whether it is switched off, when, and what was answered.
type DrainBefore = (ServerId, String, bool, u64, Option<Result<Drained, String>>);
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
    /// Servers that are drained. Stand behind everything else, and only where there are any.
    #[serde(skip)]
    pub drains: Vec<DrainOrder>,
    /// What is kept beside each server's own policy. Stands behind the drains, and only where there is any.
    #[serde(skip)]
    pub rules: Rules,
    /// Servers that were switched off for a planned failover. Stand behind the rules, and only where there are any.
    #[serde(skip)]
    pub wakes: Vec<Wake>,
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
            drains: Vec::new(),
            rules: Rules::default(),
            wakes: Vec::new(),
        })
    }

    /// The one in a vault, where there is one.
    ///
    /// Errors: there is one, and it cannot be read.
    pub fn of(vault: &mut Vault) -> Result<Option<Self>, Error> {
        let found = document::read(vault, Name::Catalogue)?;
        found.map(|found| Self::parse(&found.bytes)).transpose()
    }

    /// The bytes of it.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = |error: postcard::Error| Error::misuse("roll", error.to_string());
        let first =
            |version: u16| (version, &self.authority, &self.servers, &self.tokens, &self.pace);
        let no_rules = self.rules == Rules::default();
        let bytes = match (self.drains.is_empty(), no_rules) {
            _ if !self.wakes.is_empty() => {
                let behind = (&self.drains, &self.rules, &self.wakes);
                postcard::to_allocvec(&(first(VERSION_WAKES), behind))
            }
            (true, true) => postcard::to_allocvec(&first(VERSION)),
            (false, true) => postcard::to_allocvec(&(first(VERSION_DRAINS), &self.drains)),
            (_, false) => postcard::to_allocvec(&(first(VERSION_RULES), &self.drains, &self.rules)),
        };
        bytes.map(Zeroizing::new).map_err(failed)
    }

    /// Takes any bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let version = postcard::take_from_bytes::<u16>(bytes).map(|(version, _)| version);
        if let Ok(later) = version
            && !(VERSION..=VERSION_WAKES).contains(&later)
        {
            let what = format!("is of version {later}, which a later Lifeboat wrote");
            return Err(
                Error::refused("the vault's roll of servers", what).remedy("update this one")
            );
        }
        let parsed =
            postcard::take_from_bytes::<Self>(bytes).ok().and_then(|(mut roll, behind)| {
                let mut rest = behind;
                match roll.version {
                    VERSION_DRAINS_BEFORE | VERSION_RULES_BEFORE => {
                        let drains: Vec<DrainBefore>;
                        (drains, rest) = postcard::take_from_bytes(rest).ok()?;
                        drop(drains);
                    }
                    VERSION_DRAINS | VERSION_RULES | VERSION_WAKES => {
                        (roll.drains, rest) = postcard::take_from_bytes(rest).ok()?;
                    }
                    _ => {}
                }
                if matches!(roll.version, VERSION_RULES_BEFORE | VERSION_RULES | VERSION_WAKES) {
                    (roll.rules, rest) = postcard::take_from_bytes(rest).ok()?;
                }
                if roll.version == VERSION_WAKES {
                    (roll.wakes, rest) = postcard::take_from_bytes(rest).ok()?;
                }
                // In memory it has no version: what it holds says which one it is written as.
                roll.version = VERSION;
                rest.is_empty().then_some(roll)
            });
        match parsed {
            Some(roll) => Ok(roll),
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

    /// Turns a server away from now on: none of its keys and tokens is good any more.
    ///
    /// Errors: nobody of that name is enrolled.
    pub fn revoke(&mut self, name: &str) -> Result<(), Error> {
        let listed = self.named(name)?;
        listed.revoked = true;
        listed.keys.clear();
        let server = listed.server;
        self.tokens.forget(server);
        Ok(())
    }

    /// Who comes with a token, and is on the roll when this returns.
    ///
    /// Errors: why not; nothing was changed then.
    pub fn redeem(
        &mut self,
        attempt: &Attempt,
        now: Option<u64>,
        fresh: Grant,
        binding: &Binding,
    ) -> Result<Grant, Why> {
        let key = attempt.key_fingerprint;
        match self.tokens.redeem(attempt, now, fresh)? {
            Redeemed::Now(grant) => {
                self.enrol(grant.server, &grant.name, binding, key);
                Ok(grant)
            }
            Redeemed::Before(grant) => {
                // It asks for no more than it has: whoever was revoked or enrolled anew since has nothing.
                let holds = |listed: &Listed| !listed.revoked && listed.keys.contains(&key);
                let listed = self.server(grant.server);
                if listed.is_some_and(holds) { Ok(grant) } else { Err(Why::Used) }
            }
        }
    }

    /// Remembers that a server is enrolled on a machine with a key; one that was enrolled before keeps its policy, and none
    /// of the keys that it had.
    pub fn enrol(&mut self, server: ServerId, name: &str, binding: &Binding, key: [u8; 32]) {
        match self.servers.iter_mut().find(|listed| listed.server == server) {
            Some(listed) => {
                listed.binding = binding.clone();
                listed.revoked = false;
                listed.accepts = false;
                listed.keys = vec![key];
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
        assert_eq!(Roll::parse(&bytes), Ok(roll.clone()));
        let mut later = bytes.to_vec();
        // Drains of before are to be ordered again.
        let drain: DrainBefore = (ServerId([5; 16]), "f-1".to_owned(), true, 1, None);
        later[0] = 2;
        later.extend(postcard::to_allocvec(&vec![drain]).unwrap());
        assert_eq!(Roll::parse(&later), Ok(roll));
        later[0] = 7;
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
    fn who_is_enrolled_again_keeps_his_policy_and_none_of_his_keys() {
        let mut roll = Roll::new().unwrap();
        let server = ServerId([5; 16]);
        roll.enrol(server, "web", &binding(), [0; 32]);
        let listed = roll.named("web").unwrap();
        listed.policy.interval_seconds = 10;
        listed.revoked = true;
        roll.enrol(server, "web", &binding(), [1; 32]);
        assert_eq!(roll.server(server).unwrap().keys, [[1; 32]]);
        for key in 2..=9 {
            roll.named("web").unwrap().certify([key; 32]);
        }
        let listed = roll.server(server).unwrap();
        assert_eq!(
            (listed.policy.interval_seconds, listed.revoked, listed.keys.len()),
            (10, false, KEYS_MAX)
        );
        assert!(listed.keys.contains(&[9; 32]) && !listed.keys.contains(&[1; 32]));
        assert!(roll.named("db").unwrap_err().to_string().contains("enrolled are: web"));
    }

    fn attempt(secret: u8, key: u8) -> Attempt {
        let host = "web".to_owned();
        Attempt { secret_hash: [secret; 32], key_fingerprint: [key; 32], host }
    }

    #[test]
    fn a_revoked_server_comes_back_by_a_new_token_only_and_its_old_keys_never() {
        let mut roll = Roll::new().unwrap();
        let web = Grant { server: ServerId([5; 16]), name: "web".to_owned() };
        let stolen = attempt(1, 1);
        roll.tokens.add([1; 32], 100, None, 0).unwrap();
        roll.tokens.add([2; 32], 100, Some(web.clone()), 0).unwrap();
        assert_eq!(roll.redeem(&stolen, Some(5), web.clone(), &binding()), Ok(web.clone()));
        // The answer got lost; the machine of whoever asks again is not believed.
        let before = roll.clone();
        let other = Binding { machine: [9; 16], disks: Vec::new() };
        assert_eq!(roll.redeem(&stolen, Some(5), web.clone(), &other), Ok(web.clone()));
        assert_eq!(roll, before);
        roll.revoke("web").unwrap();
        for attempt in [&stolen, &attempt(2, 1)] {
            let denied = roll.redeem(attempt, Some(5), web.clone(), &binding());
            assert_eq!(denied, Err(Why::Unknown));
        }
        let listed = roll.server(web.server).unwrap();
        assert!(listed.revoked && listed.keys.is_empty());
        roll.tokens.add([3; 32], 100, Some(web.clone()), 0).unwrap();
        let back = roll.redeem(&attempt(3, 2), Some(5), web.clone(), &binding());
        assert_eq!(back, Ok(web.clone()));
        let listed = roll.server(web.server).unwrap();
        assert!(!listed.revoked && listed.keys == [[2; 32]]);
    }

    #[test]
    fn a_used_token_brings_no_key_back_that_a_newer_enrolment_replaced() {
        let mut roll = Roll::new().unwrap();
        let web = Grant { server: ServerId([5; 16]), name: "web".to_owned() };
        roll.tokens.add([1; 32], 100, None, 0).unwrap();
        roll.tokens.add([2; 32], 100, Some(web.clone()), 0).unwrap();
        roll.redeem(&attempt(1, 1), Some(5), web.clone(), &binding()).unwrap();
        roll.redeem(&attempt(2, 2), Some(5), web.clone(), &binding()).unwrap();
        let denied = roll.redeem(&attempt(1, 1), Some(5), web.clone(), &binding());
        assert_eq!(denied, Err(Why::Used));
        assert_eq!(roll.server(web.server).unwrap().keys, [[2; 32]]);
    }
}
