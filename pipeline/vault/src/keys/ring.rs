//! The keys of all servers: one sealed object per version, under the key-encryption key.
//!
//! | object | holds |
//! | --- | --- |
//! | `keys/<16 hex digits of 2^64-1 - version>` | the ring of that version; the newest is listed first |
//! | `keys/<the same>.copy` | the same bytes again, for when the first is damaged |
//!
//! The content is postcard of `KeyRing`, and behind it the keys of the catalogue where there are any.
//! A version is published by create-if-absent, so two writers cannot both make
//! the next one. It refuses to read or write objects; `Vault` does.

#[cfg(test)]
mod tests;

use pipeline::ids::{KeyEpoch, ServerId, VaultId};
use pipeline::seal::SecretKey;
use pipeline::segment::{SegmentIdentity, derive_segment_key};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::KeySource;
use crate::sealed::{ObjectKey, ObjectKind};

/// Most servers of one vault, shredded ones included: the ring stays far below a record's 16 MiB.
pub const SERVERS_MAX: usize = 10_000;
/// Most key epochs of one server.
pub const EPOCHS_MAX: usize = 1000;
/// Longest name of a server, in bytes.
pub const SERVER_NAME_BYTES_MAX: usize = 128;

/// All key rings.
pub const PREFIX: &str = "keys/";
const COPY: &str = ".copy";

/// The object of a ring's version.
#[must_use]
pub fn object_name(version: u64) -> String {
    format!("{PREFIX}{:016x}", u64::MAX - version)
}

/// The object of its copy.
#[must_use]
pub fn copy_name(version: u64) -> String {
    format!("{}{COPY}", object_name(version))
}

/// The version that an object's name means, and whether it is the copy; `None` for what Lifeboat does not write.
#[must_use]
pub fn version_of(name: &str) -> Option<(u64, bool)> {
    let digits = name.strip_prefix(PREFIX)?;
    let (digits, copy) = match digits.strip_suffix(COPY) {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    let version = u64::MAX - u64::from_str_radix(digits, 16).ok()?;
    let wanted = if copy { copy_name(version) } else { object_name(version) };
    (wanted == name).then_some((version, copy))
}

/// One version of the keys of all servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    vault: VaultId,
    version: u64,
    servers: Vec<ServerKeys>,
    shredded: Vec<Shredded>,
    /// The catalogue's keys, oldest first. They stand behind the rest, because rings from before have none.
    #[serde(skip)]
    catalogue: Vec<EpochKey>,
}

/// One server's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerKeys {
    /// Its identity, for ever.
    pub id: ServerId,
    /// Its name: a label.
    pub name: String,
    /// When it was enrolled, milliseconds since 1970.
    pub enrolled: u64,
    /// What its fingerprints are keyed with: the same in all epochs, so that a rekey needs no resync.
    pub fingerprint: SecretKey,
    /// Its keys, oldest first; never empty.
    pub epochs: Vec<EpochKey>,
}

/// A server's key of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochKey {
    /// Its number, from 0.
    pub epoch: KeyEpoch,
    /// The key.
    pub key: SecretKey,
    /// When it was made, milliseconds since 1970.
    pub made: u64,
}

/// A server whose keys were destroyed: its history cannot be read any more, on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shredded {
    /// Its identity.
    pub id: ServerId,
    /// The name that it had.
    pub name: String,
    /// When, milliseconds since 1970.
    pub when: u64,
}

impl ServerKeys {
    /// The newest key: what everything new is sealed with.
    #[must_use]
    pub fn newest(&self) -> Option<&EpochKey> {
        self.epochs.last()
    }

    /// The key of an epoch.
    #[must_use]
    pub fn epoch(&self, epoch: KeyEpoch) -> Option<&SecretKey> {
        self.epochs.iter().find(|key| key.epoch == epoch).map(|key| &key.key)
    }
}

impl KeyRing {
    /// The first ring of a vault.
    #[must_use]
    pub fn first(vault: VaultId) -> Self {
        Self { vault, version: 1, servers: Vec::new(), shredded: Vec::new(), catalogue: Vec::new() }
    }

    /// Reads a ring's content, which is of `vault` and `version`; `name` is what errors call it.
    pub fn decode(plain: &[u8], vault: VaultId, version: u64, name: &str) -> Result<Self, Error> {
        let newer = |what: String| {
            Error::corrupt(name, what).remedy("if a newer Lifeboat wrote it, use that version")
        };
        let ring = Self::from_plain(plain)
            .map_err(|error| newer(format!("opens but does not decode ({error})")))?;
        if ring.vault != vault || ring.version != version {
            return Err(newer(format!(
                "says that it is version {} of {}",
                ring.version, ring.vault
            )));
        }
        match ring.flaw() {
            Some(flaw) => Err(newer(format!("opens but {flaw}"))),
            None => Ok(ring),
        }
    }

    fn from_plain(plain: &[u8]) -> Result<Self, postcard::Error> {
        let (mut ring, behind): (Self, _) = postcard::take_from_bytes(plain)?;
        if !behind.is_empty() {
            ring.catalogue = postcard::from_bytes(behind)?;
        }
        Ok(ring)
    }

    /// The ring's content.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = |error| Error::misuse("key ring", format!("cannot be encoded ({error})"));
        let size = postcard::experimental::serialized_size(self).map_err(failed)?;
        let keys = match &self.catalogue[..] {
            [] => 0,
            _ => postcard::experimental::serialized_size(&self.catalogue).map_err(failed)?,
        };
        // All at once: a vector that grows leaves copies of keys behind.
        let mut plain = Zeroizing::new(vec![0; size + keys]);
        let (ring, behind) = plain.split_at_mut(size);
        postcard::to_slice(self, ring).map_err(failed)?;
        if keys > 0 {
            postcard::to_slice(&self.catalogue, behind).map_err(failed)?;
        }
        Ok(plain)
    }

    /// Which vault's.
    #[must_use]
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Which version, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All servers that can be read, in the order of their enrolment.
    #[must_use]
    pub fn servers(&self) -> &[ServerKeys] {
        &self.servers
    }

    /// The servers that were shredded.
    #[must_use]
    pub fn shredded(&self) -> &[Shredded] {
        &self.shredded
    }

    /// A server by its name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&ServerKeys> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// A server by its identity.
    #[must_use]
    pub fn server(&self, id: &ServerId) -> Option<&ServerKeys> {
        self.servers.iter().find(|server| server.id == *id)
    }

    /// The next version with one server more.
    pub fn with_server(&self, server: ServerKeys) -> Result<Self, Error> {
        check_server_name(&server.name)?;
        if self.servers.len() + self.shredded.len() >= SERVERS_MAX {
            return Err(Error::exhausted(
                "vault",
                format!("holds {SERVERS_MAX} servers, its most"),
            )
            .remedy("make another vault"));
        }
        let mut next = self.next();
        next.servers.push(server);
        Ok(next)
    }

    /// The key that a new catalogue is sealed with; `None` where there never was one.
    #[must_use]
    pub fn newest_catalogue_key(&self) -> Option<&EpochKey> {
        self.catalogue.last()
    }

    /// The next version with a new key for the catalogue.
    pub fn with_catalogue_key(&self, key: SecretKey, now: u64) -> Result<Self, Error> {
        if self.catalogue.len() >= EPOCHS_MAX {
            let what = format!("has had {EPOCHS_MAX} keys, its most");
            return Err(Error::exhausted("catalogue", what));
        }
        let mut next = self.next();
        let epoch =
            KeyEpoch(next.catalogue.last().map_or(0, |last| last.epoch.0.saturating_add(1)));
        next.catalogue.push(EpochKey { epoch, key, made: now });
        Ok(next)
    }

    /// The next version with a new key for each server named, or for all and the catalogue where none is.
    pub fn with_new_keys(
        &self,
        servers: &[ServerId],
        now: u64,
        mut new_key: impl FnMut() -> Result<SecretKey, Error>,
    ) -> Result<Self, Error> {
        let mut next = self.next();
        for server in &mut next.servers {
            if !servers.is_empty() && !servers.contains(&server.id) {
                continue;
            }
            if server.epochs.len() >= EPOCHS_MAX {
                let what = format!("has had {EPOCHS_MAX} keys, its most");
                return Err(Error::exhausted(&server.name, what));
            }
            let last = server.newest().map_or(0, |newest| newest.epoch.0);
            let epoch = KeyEpoch(last.saturating_add(1));
            server.epochs.push(EpochKey { epoch, key: new_key()?, made: now });
        }
        if servers.is_empty() && !next.catalogue.is_empty() {
            let renewed = self.with_catalogue_key(new_key()?, now)?;
            next.catalogue = renewed.catalogue;
        }
        Ok(next)
    }

    /// The next version without a server's keys.
    #[must_use]
    pub fn without_server(&self, id: &ServerId, now: u64) -> Self {
        let mut next = self.next();
        if let Some(at) = next.servers.iter().position(|server| server.id == *id) {
            let gone = next.servers.remove(at);
            next.shredded.push(Shredded { id: gone.id, name: gone.name, when: now });
        }
        next
    }

    /// The next version with the same keys: for sealing them under another recovery key.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { version: self.version.saturating_add(1), ..self.clone() }
    }

    /// What no ring that Lifeboat wrote has.
    fn flaw(&self) -> Option<String> {
        let ascending = self.catalogue.windows(2).all(|pair| pair[0].epoch < pair[1].epoch);
        if self.catalogue.len() > EPOCHS_MAX || !ascending {
            return Some(String::from("the keys of the catalogue are not in order"));
        }
        if self.servers.len() + self.shredded.len() > SERVERS_MAX {
            return Some(format!("holds more than {SERVERS_MAX} servers"));
        }
        let mut ids: Vec<&ServerId> = self.servers.iter().map(|server| &server.id).collect();
        ids.extend(self.shredded.iter().map(|server| &server.id));
        let mut names: Vec<&str> = self.servers.iter().map(|server| server.name.as_str()).collect();
        ids.sort_unstable();
        names.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1])
            || names.windows(2).any(|pair| pair[0] == pair[1])
        {
            return Some(String::from("holds one server twice"));
        }
        for server in &self.servers {
            let ascending = server.epochs.windows(2).all(|pair| pair[0].epoch < pair[1].epoch);
            if server.epochs.is_empty() || server.epochs.len() > EPOCHS_MAX || !ascending {
                return Some(format!("the keys of {} are not in order", server.id));
            }
            if check_server_name(&server.name).is_err() {
                return Some(format!("the name of {} is none", server.id));
            }
        }
        None
    }
}

impl KeySource for KeyRing {
    fn newest_record_key(&self, server: &ServerId) -> Option<(KeyEpoch, SecretKey)> {
        self.server(server)?.newest().map(|newest| (newest.epoch, newest.key.clone()))
    }

    fn object_key(
        &self,
        server: &ServerId,
        _kind: ObjectKind,
        _name: &str,
        epoch: KeyEpoch,
    ) -> Option<ObjectKey> {
        self.server(server)?.epoch(epoch).cloned().map(ObjectKey::Epoch)
    }

    fn segment_key(&self, identity: &SegmentIdentity) -> Option<SecretKey> {
        let keys = self.server(&identity.server).filter(|_| identity.vault == self.vault)?;
        keys.epoch(identity.key_epoch).map(|key| derive_segment_key(key, identity))
    }

    fn fingerprint_key(&self, server: &ServerId) -> Option<SecretKey> {
        Some(self.server(server)?.fingerprint.clone())
    }

    fn catalogue_key(&self, epoch: KeyEpoch) -> Option<SecretKey> {
        self.catalogue.iter().find(|key| key.epoch == epoch).map(|key| key.key.clone())
    }
}

/// Fails unless `name` can be a server's: something a person can read, type and see the ends of.
pub fn check_server_name(name: &str) -> Result<(), Error> {
    let good = !name.is_empty()
        && name.len() <= SERVER_NAME_BYTES_MAX
        && name.trim() == name
        && !name.starts_with('-')
        && !name.chars().any(char::is_control);
    if good {
        return Ok(());
    }
    Err(Error::misuse(format!("server name {name:?}"), "cannot be used").remedy(
        "take up to 128 bytes without control characters, without spaces at the ends or a dash in front",
    ))
}
