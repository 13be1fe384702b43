//! The roll in the vault, as a running appliance and the verbs use it: read again when it changed, changed by
//! compare-and-swap. Who comes in is decided here.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hal::time::Clock;
use pipeline_vault::access::Access;
use pipeline_vault::document::{self, Name, Replaced};
use pipeline_vault::{Error, Retry};
use pipeline_wire::authority::{Authority, Credentials};
use pipeline_wire::binding::judge;
use pipeline_wire::certificate::{Peer, RequestedKey};
use pipeline_wire::message::{Hello, Refused, Why};

use super::{Listed, Roll};
use crate::ingest::listen::{Admitted, Doorman};
use crate::session::Session;

/// How often a change is tried again because somebody else was faster.
const TRIES: u32 = 16;

/// The roll of an opened vault.
pub struct KeptRoll {
    session: Mutex<Session>,
    seen: RwLock<(u64, Arc<Roll>)>,
    authority: Authority,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for KeptRoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptRoll(…)")
    }
}

impl KeptRoll {
    /// Reads the roll; a vault without one gets an empty one, with a site authority of its own.
    pub fn open(mut session: Session, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let vault = session.vault()?;
        let mut tries = 0;
        let (version, roll) = loop {
            match document::read(vault, Name::Catalogue)? {
                Some(found) => {
                    if let Some(trouble) = &found.trouble {
                        log::warn!("{trouble}; the one before it is used");
                    }
                    break (found.version, Roll::parse(&found.bytes)?);
                }
                None => {
                    let roll = Roll::new()?;
                    if let Replaced::Done(version) =
                        document::replace(vault, Name::Catalogue, 0, &roll.to_bytes()?)?
                    {
                        break (version, roll);
                    }
                }
            }
            tries += 1;
            if tries > TRIES {
                return Err(moves_on());
            }
        };
        let authority = Authority::from_bytes(&roll.authority)
            .map_err(|error| Error::corrupt("site authority", error.to_string()))?;
        let seen = RwLock::new((version, Arc::new(roll)));
        Ok(Self { session: Mutex::new(session), seen, authority, clock })
    }

    /// The roll as it was last seen.
    #[must_use]
    pub fn roll(&self) -> Arc<Roll> {
        Arc::clone(&self.seen.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// The vault.
    #[must_use]
    pub fn access(&self) -> Access {
        self.session().access()
    }

    /// The opened vault, for as long as the answer is held.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this appliance shows to agents: made anew at each start, of the same authority.
    pub fn appliance(&self) -> Result<Credentials, Error> {
        let made = self.authority.appliance();
        made.map_err(|error| Error::device("this appliance's certificate", error.to_string()))
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Reads it again.
    pub fn refresh(&self) -> Result<(), Error> {
        let mut session = self.session();
        let Some(found) = document::read(session.vault()?, Name::Catalogue)? else {
            return Err(Error::corrupt("the vault's roll of servers", "is gone"));
        };
        self.note(found.version, Roll::parse(&found.bytes)?);
        Ok(())
    }

    fn note(&self, version: u64, roll: Roll) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        *seen = (version, Arc::new(roll));
    }

    /// Changes it: `step` is done on the newest one, and again where somebody else was faster. It must not lock this.
    pub fn change<T>(
        &self,
        step: &mut dyn FnMut(&mut Roll) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut session = self.session();
        let vault = session.vault()?;
        for _ in 0..TRIES {
            let Some(found) = document::read(vault, Name::Catalogue)? else {
                return Err(Error::corrupt("the vault's roll of servers", "is gone"));
            };
            let before = Roll::parse(&found.bytes)?;
            let mut roll = before.clone();
            let done = step(&mut roll)?;
            if roll == before {
                self.note(found.version, roll);
                return Ok(done);
            }
            match document::replace(vault, Name::Catalogue, found.version, &roll.to_bytes()?)? {
                Replaced::Done(version) => {
                    self.note(version, roll);
                    return Ok(done);
                }
                Replaced::Moved => {}
            }
        }
        Err(moves_on())
    }
}

fn moves_on() -> Error {
    Error::refused("the vault's roll of servers", "is changed by others without end")
        .retry(Retry::Now)
}

impl Doorman for KeptRoll {
    fn admit(&self, peer: &Peer, hello: &Hello) -> Result<Admitted, Refused> {
        let mut roll = self.roll();
        let certified = |roll: &Roll| {
            roll.server(peer.server)
                .is_some_and(|listed| listed.keys.contains(&peer.key_fingerprint))
        };
        if !certified(&roll) {
            // Enrolled a moment ago, by another appliance perhaps.
            self.refresh().map_err(|error| later(&error))?;
            roll = self.roll();
        }
        let listed = roll.server(peer.server);
        if listed.is_some_and(|listed| listed.revoked) {
            return Err(refused_unknown("this server was revoked"));
        }
        let listed = listed.filter(|_| certified(&roll));
        let listed = listed.ok_or_else(|| refused_unknown("this server is not enrolled here"))?;
        self.check_machine(listed, hello)?;
        let mut key = self.access().keys.fingerprint_key(&peer.server);
        if key.is_none() {
            // Another appliance enrolled it: its keys are in a newer ring.
            let refreshed = self.session().vault().and_then(|vault| vault.refresh());
            refreshed.map_err(|error| later(&error))?;
            key = self.access().keys.fingerprint_key(&peer.server);
        }
        let Some(fingerprint_key) = key else {
            return Err(refused_unknown("the vault has no key of this server"));
        };
        Ok(Admitted { fingerprint_key, policy: listed.policy.clone(), group: listed.group.clone() })
    }

    fn renew(&self, peer: &Peer, request: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let now = self.clock.now().0 / 1000;
        if !peer.is_to_renew(now) {
            return Ok(None);
        }
        let key = RequestedKey::of(request).map_err(|error| error.to_string())?.fingerprint();
        let certificate = self.authority.agent(request, peer.server, now);
        let certificate = certificate.map_err(|error| error.to_string())?;
        // First it is remembered, or its holder would be a stranger.
        let listed = self.change(&mut |roll| {
            let mut servers = roll.servers.iter_mut();
            // A session that is still open may be of a key that was revoked, or replaced, since.
            let listed = servers.find(|listed| {
                let holds = listed.keys.contains(&peer.key_fingerprint);
                listed.server == peer.server && !listed.revoked && holds
            });
            Ok(listed.map(|listed| listed.certify(key)).is_some())
        });
        match listed {
            Ok(true) => Ok(Some(certificate)),
            Ok(false) => Err("it is not enrolled here any more".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl KeptRoll {
    /// Whether it is the machine that was enrolled, or one that a person accepted.
    fn check_machine(&self, listed: &Listed, hello: &Hello) -> Result<(), Refused> {
        if listed.binding == hello.binding {
            return Ok(());
        }
        let is_copy = judge(&listed.binding, &hello.binding).is_copy();
        if is_copy && !listed.accepts {
            return Err(Refused {
                why: Why::Copy,
                words: format!(
                    "another machine than {} was enrolled on: a copy of its disks",
                    listed.name
                ),
                remedy: format!(
                    "remove the agent from a copy; if the server moved to this machine: lifeboat server accept {}",
                    listed.name
                ),
            });
        }
        let noted = self.change(&mut |roll| {
            let mut servers = roll.servers.iter_mut();
            if let Some(listed) = servers.find(|other| other.server == listed.server) {
                listed.binding = hello.binding.clone();
                listed.accepts = false;
            }
            Ok(())
        });
        match noted {
            Err(error) if is_copy => Err(later(&error)),
            // A disk more or less is noted another time.
            _ => Ok(()),
        }
    }
}

fn refused_unknown(words: &str) -> Refused {
    Refused {
        why: Why::Unknown,
        words: words.to_owned(),
        remedy: "make a token on the appliance (lifeboat server token), and enrol it with that"
            .to_owned(),
    }
}

fn later(error: &Error) -> Refused {
    log::warn!("{error}");
    Refused {
        why: Why::Later,
        words: "the appliance cannot read its vault now".to_owned(),
        remedy: "it is tried again".to_owned(),
    }
}
