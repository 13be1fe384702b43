//! Finding, reading and publishing key rings, and saying in words why one does not open.

use std::collections::BTreeSet;

use hal::time::Entropy;
use pipeline::ids::{KeyEpoch, VaultId};
use pipeline::seal::SecretKey;

use crate::error::{Blame, Error};
use crate::keys::ring::{self, KeyRing, copy_name, object_name};
use crate::parallel;
use crate::sealed::{self, Failure, ObjectKey, ObjectKind, SEALED_BYTES_MAX};
use crate::store::{BlobStore, Created, list_all};

use super::marker::{self, MarkerState};

/// Versions that are tried, newest first, before giving up.
const TRIED_MAX: usize = 32;

/// What a place turned out to hold.
pub(super) struct Found {
    pub(super) vault: VaultId,
    /// Versions of the ring, newest first; never empty.
    pub(super) versions: Vec<u64>,
    /// The newest one's object is there and its copy is not: whoever made it was killed in between.
    pub(super) is_uncopied: bool,
    pub(super) troubles: Vec<Error>,
}

/// What to do where the newest ring has another key than the one at hand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    /// Say so.
    Refuse,
    /// Take the newest one that opens.
    Accept,
}

/// One version of the ring, tried with one key.
pub(super) enum Opened {
    /// It opened; what was wrong with its first object where the copy had to stand in.
    Ring { ring: KeyRing, trouble: Option<Error> },
    /// It is sealed with another key.
    OtherKey,
    /// Neither the object nor its copy is whole.
    Damaged(Error),
}

pub(super) struct Rings<'a> {
    pub(super) store: &'a dyn BlobStore,
    pub(super) vault: VaultId,
    pub(super) entropy: &'a dyn Entropy,
}

/// Which vault a place holds, or in words why none.
pub(super) fn find(store: &dyn BlobStore) -> Result<Found, Error> {
    // Two round trips at once: over a long way every verb begins with them.
    let (state, listed) =
        parallel::both(store.parallel(), || marker::read(store), || listed(store));
    let (state, (versions, is_uncopied)) = (state?, listed?);
    let place = store.place();
    let (vault, trouble) = match state {
        MarkerState::Whole(marker) if versions.is_empty() => {
            return Err(Error::corrupt(place, format!("the vault {} has no key ring", marker.vault)).remedy(
                "if making it was interrupted, make it again; if it was in use, bring the objects keys/… back from a copy",
            ));
        }
        MarkerState::Newer(version) => {
            return Err(Error::misuse(place, format!("is a vault of format {version}"))
                .remedy("use the newer Lifeboat that made it"));
        }
        MarkerState::Whole(marker) => {
            return Ok(Found { vault: marker.vault, versions, is_uncopied, troubles: vec![] });
        }
        MarkerState::Missing if versions.is_empty() => return Err(no_vault(store)?),
        MarkerState::Foreign | MarkerState::Damaged if versions.is_empty() => {
            return Err(Error::misuse(place, "holds something called «vault» that is no vault")
                .remedy("check the address; a new vault wants an empty place"));
        }
        MarkerState::Missing => (claimed(store, &versions)?, "is missing"),
        MarkerState::Foreign | MarkerState::Damaged => (claimed(store, &versions)?, "is damaged"),
    };
    let trouble = Error::corrupt(format!("{place}/{}", marker::NAME), trouble)
        .remedy("bring it back from a copy of the vault; nothing else depends on it");
    Ok(Found { vault, versions, is_uncopied, troubles: vec![trouble] })
}

/// Objects of rings older than `version`.
pub(super) fn names_before(store: &dyn BlobStore, version: u64) -> Result<Vec<String>, Error> {
    let names = list_all(store, ring::PREFIX)?.into_iter().map(|facts| facts.name);
    let old = |name: &String| ring::version_of(name).is_some_and(|(found, _)| found < version);
    Ok(names.filter(old).collect())
}

impl Rings<'_> {
    /// Makes a ring's object, and its copy where that succeeded.
    pub(super) fn publish(&self, ring: &KeyRing, key: &SecretKey) -> Result<Created, Error> {
        let name = object_name(ring.version());
        let plain = ring.encode()?;
        let kind = ObjectKind::KeyRing;
        let bytes = sealed::seal(kind, self.vault, KeyEpoch(0), key, &name, &plain, self.entropy)?;
        let created = self.store.create(&name, &bytes)?;
        if created != Created::Taken {
            self.copy(ring.version(), &bytes);
        }
        Ok(created)
    }

    /// True where exactly this ring is published; makes its copy then, because whoever asks lost the first reply.
    pub(super) fn holds(&self, ring: &KeyRing, key: &SecretKey) -> bool {
        let version = ring.version();
        let name = object_name(version);
        let Ok(Ok(found)) = self.try_object(&name, &name, version, key) else { return false };
        if found != *ring {
            return false;
        }
        self.complete(version);
        true
    }

    /// Makes the copy of a ring that is published and has none.
    pub(super) fn complete(&self, version: u64) {
        match self.store.read_all(&object_name(version), SEALED_BYTES_MAX as u64) {
            Ok(bytes) => self.copy(version, &bytes),
            Err(error) => log::warn!("{error}; the key ring has no copy yet"),
        }
    }

    /// A copy is a second chance and nothing more: without it everything works.
    fn copy(&self, version: u64, bytes: &[u8]) {
        match self.store.create(&copy_name(version), bytes) {
            Ok(Created::New | Created::Same) => {}
            Ok(Created::Taken) => log::warn!("{} holds something else", copy_name(version)),
            Err(error) => log::warn!("{error}; the key ring has no copy yet"),
        }
    }

    /// The newest ring that opens, and whether it is the newest there is.
    pub(super) fn newest(
        &self,
        versions: &[u64],
        key: &SecretKey,
        replaced: Replaced,
        troubles: &mut Vec<Error>,
    ) -> Result<(KeyRing, bool), Error> {
        let mut newest_damage: Option<Error> = None;
        let mut other_key = false;
        for (index, version) in versions.iter().take(TRIED_MAX).enumerate() {
            match self.load(*version, key)? {
                Opened::Ring { ring, trouble } => {
                    troubles.extend(trouble);
                    // An older ring stands in for damaged ones only, not for one with another key.
                    if other_key && replaced == Replaced::Refuse {
                        return Err(self.replaced(*version));
                    }
                    return Ok((ring, index == 0));
                }
                Opened::OtherKey => other_key = true,
                Opened::Damaged(error) => {
                    if index == 0 {
                        newest_damage = Some(error.clone());
                    }
                    troubles.push(error);
                }
            }
        }
        Err(newest_damage.unwrap_or_else(|| self.wrong_key()))
    }

    /// Opens one version, from its copy if need be.
    pub(super) fn load(&self, version: u64, key: &SecretKey) -> Result<Opened, Error> {
        let name = object_name(version);
        let mut trouble: Option<Error> = None;
        let mut other_key = false;
        let mut newer: Option<Error> = None;
        for stored_as in [name.clone(), copy_name(version)] {
            let named = format!("{}/{stored_as}", self.store.place());
            match self.try_object(&stored_as, &name, version, key)? {
                Ok(ring) => return Ok(Opened::Ring { ring, trouble }),
                Err(Unopened::Sealed(Failure::OtherKey)) => other_key = true,
                Err(Unopened::Sealed(failure @ Failure::Newer(_))) => {
                    newer = Some(failure.into_error(ObjectKind::KeyRing, &named));
                }
                Err(Unopened::Sealed(failure)) => {
                    let told = failure.into_error(ObjectKind::KeyRing, &named);
                    let told = told.remedy("bring it back from a copy of the vault");
                    trouble.get_or_insert(told);
                }
                Err(Unopened::Content(error)) => {
                    trouble.get_or_insert(error);
                }
            }
        }
        if let Some(newer) = newer {
            return Err(newer);
        }
        match trouble {
            _ if other_key => Ok(Opened::OtherKey),
            Some(error) => Ok(Opened::Damaged(error)),
            None => Ok(Opened::Damaged(Error::missing(name))),
        }
    }

    pub(super) fn try_object(
        &self,
        stored_as: &str,
        name: &str,
        version: u64,
        key: &SecretKey,
    ) -> Result<Result<KeyRing, Unopened>, Error> {
        let bytes = match self.store.read_all(stored_as, SEALED_BYTES_MAX as u64) {
            Ok(bytes) => bytes,
            // Missing, too long, cut short: the other object may be whole.
            Err(error) if error.blame == Blame::Corrupt => {
                return Ok(Err(Unopened::Content(error)));
            }
            Err(error) => return Err(error),
        };
        let key_for = |_| Some(ObjectKey::Epoch(key.clone()));
        let opened = sealed::try_open(ObjectKind::KeyRing, self.vault, name, &bytes, &key_for);
        Ok(opened.map_err(Unopened::Sealed).and_then(|plain| {
            KeyRing::decode(&plain, self.vault, version, name).map_err(Unopened::Content)
        }))
    }

    fn wrong_key(&self) -> Error {
        let what = format!("does not open the vault {} in {}", self.vault, self.store.place());
        Error::misuse("recovery key", what)
            .remedy("use the key that was written down for this vault")
    }

    fn replaced(&self, version: u64) -> Error {
        let what = format!(
            "is an old one of the vault {}: it opens key ring {version}, and a newer ring has another key",
            self.vault
        );
        Error::misuse("recovery key", what)
            .remedy("use the key that `lifeboat vault rekey` gave out last; if it is lost, --older-key reads what this one opens")
    }
}

/// Why one object gave no ring.
pub(super) enum Unopened {
    Sealed(Failure),
    Content(Error),
}

/// Versions of which an object or a copy is listed, newest first, and whether the newest has an object and no copy.
fn listed(store: &dyn BlobStore) -> Result<(Vec<u64>, bool), Error> {
    let objects = list_all(store, ring::PREFIX)?;
    let found: BTreeSet<(u64, bool)> =
        objects.iter().filter_map(|facts| ring::version_of(&facts.name)).collect();
    let newest = found.last().map_or(0, |(version, _)| *version);
    let is_uncopied = found.contains(&(newest, false)) && !found.contains(&(newest, true));
    let versions: BTreeSet<u64> = found.into_iter().map(|(version, _)| version).collect();
    Ok((versions.into_iter().rev().collect(), is_uncopied))
}

/// The identity that the newest readable ring claims; opening it proves it.
fn claimed(store: &dyn BlobStore, versions: &[u64]) -> Result<VaultId, Error> {
    for version in versions.iter().take(TRIED_MAX) {
        for name in [object_name(*version), copy_name(*version)] {
            match store.read_all(&name, SEALED_BYTES_MAX as u64) {
                Ok(bytes) => {
                    if let Some(vault) = sealed::claimed_vault(&bytes) {
                        return Ok(vault);
                    }
                }
                Err(error) if error.blame == Blame::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
    }
    Err(Error::corrupt(store.place(), "has neither its marker nor a key ring that is whole")
        .remedy("bring the objects vault and keys/… back from a copy"))
}

fn no_vault(store: &dyn BlobStore) -> Result<Error, Error> {
    let is_empty = store.list("", None, 1)?.objects.is_empty();
    let what = if is_empty {
        "is empty: there is no vault"
    } else {
        "holds other things: there is no vault"
    };
    Ok(Error::misuse(store.place(), what)
        .remedy("check the address; `lifeboat vault create` makes a vault in an empty place"))
}

#[cfg(test)]
mod tests;
