//! A vault as a whole: making one, opening one, its servers and their keys.
//!
//! Write order. Making: the marker, then the first key ring; a crash between leaves a marker alone, which making the
//! vault again takes over. Changing keys: the next ring by create-if-absent, then its copy, then, where keys were
//! meant to be forgotten, the old rings are deleted. Whoever reads takes the newest ring; nothing else decides.
//! It refuses to print or keep a recovery key: whoever asks for one gets it before anything depends on it.

mod audit;
/// What this machine remembers of vaults, so that one rolled back is noticed.
pub mod known;
mod marker;
mod read_only;
mod rings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use hal::time::{Clock, Entropy};
use pipeline::ids::{KeyEpoch, ServerId, VaultId};
use pipeline::seal::SecretKey;

use crate::access::Access;
use crate::error::{Blame, Error, Retry};
use crate::keys::recovery_key::RecoveryKey;
use crate::keys::ring::{self, EpochKey, KeyRing, ServerKeys, check_server_name};
use crate::store::{BlobStore, Created};

use self::marker::{Marker, MarkerState};
use self::read_only::ReadOnly;
use self::rings::{Opened, Replaced, Rings};

/// Attempts to publish a ring while others publish theirs.
const ATTEMPTS_MAX: u32 = 16;

/// An opened vault: its store, its keys, and what was found wrong on the way.
pub struct Vault {
    store: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    id: VaultId,
    ring: Arc<KeyRing>,
    key_encryption_key: SecretKey,
    standing: Standing,
    troubles: Vec<Error>,
}

/// What the ring at hand is among those in the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The newest.
    Newest,
    /// The newest, without a copy: the next change makes it first.
    Uncopied,
    /// An older one: it stands in for one that does not open.
    Older,
}

impl Standing {
    fn of(is_newest: bool, is_uncopied: bool) -> Self {
        match (is_newest, is_uncopied) {
            (true, false) => Self::Newest,
            (true, true) => Self::Uncopied,
            (false, _) => Self::Older,
        }
    }
}

/// A vault that is about to be made: its identity and key exist before anything is written, so that the key can be
/// kept safe first.
pub struct Plan {
    marker: Marker,
    key: RecoveryKey,
}

/// What became of rings whose keys were meant to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldRings {
    /// How many objects are gone.
    pub deleted: usize,
    /// Which are not, and why: they still open with the key of their time, and hold the keys of their time.
    pub kept: Vec<Error>,
}

/// What a rekey did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekeyed {
    /// The ring's version now.
    pub ring_version: u64,
    /// Servers that have a new key.
    pub servers: usize,
    /// What became of the rings that the old recovery key opens; nothing where the recovery key stayed.
    pub old_rings: OldRings,
}

impl Plan {
    /// The vault's identity: goes into the key file.
    #[must_use]
    pub fn vault(&self) -> VaultId {
        self.marker.vault
    }

    /// The recovery key: to be kept safe before `build`.
    #[must_use]
    pub fn key(&self) -> &RecoveryKey {
        &self.key
    }

    /// Makes the vault. After a failure the same plan can be built again.
    pub fn build(
        &self,
        store: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Vault, Error> {
        let id = self.marker.vault;
        match store.create(marker::NAME, &self.marker.encode())? {
            Created::New | Created::Same => {}
            Created::Taken => return Err(already_a_vault(&*store)),
        }
        let key_encryption_key = self.key.key_encryption_key(id);
        let ring = KeyRing::first(id);
        let rings = Rings { store: &*store, vault: id, entropy: &*entropy };
        match rings.publish(&ring, &key_encryption_key) {
            Ok(Created::New | Created::Same) => {}
            // The reply to this try or to an earlier one of this plan was lost.
            Ok(Created::Taken) if rings.holds(&ring, &key_encryption_key) => {}
            Err(_) if rings.holds(&ring, &key_encryption_key) => {}
            Ok(Created::Taken) => return Err(already_a_vault(&*store)),
            Err(error) => return Err(error),
        }
        let ring = Arc::new(ring);
        let troubles = Vec::new();
        let standing = Standing::Newest;
        Ok(Vault { store, clock, entropy, id, ring, key_encryption_key, standing, troubles })
    }
}

impl Vault {
    /// Looks whether a vault can be made in this place, and chooses its identity and key. Makes the container or
    /// folder, and writes nothing into it.
    pub fn plan(
        store: &dyn BlobStore,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Plan, Error> {
        store.prepare()?;
        let key = RecoveryKey::generate(entropy)?;
        let first = store.list("", None, 2)?.objects;
        let marker = match (marker::read(store)?, first.as_slice()) {
            (MarkerState::Missing, []) => {
                let mut random = [0; 48];
                entropy
                    .fill(&mut random)
                    .map_err(|error| Error::device("this machine", error.to_string()))?;
                Marker::new(&random, clock.now().0)
            }
            // Somebody was stopped between the marker and the first ring; nothing was ever put in.
            (MarkerState::Whole(marker), [only]) if only.name == marker::NAME => marker,
            (MarkerState::Whole(_) | MarkerState::Newer(_), _) => {
                return Err(already_a_vault(store));
            }
            _ => {
                return Err(Error::misuse(store.place(), "holds other things, and is no vault")
                    .remedy("name an empty place or a new one"));
            }
        };
        let key = key.of(marker.vault);
        Ok(Plan { marker, key })
    }

    /// Makes a vault and its recovery key at once. Where a crash must not lose the key, `plan` it, keep the key
    /// safe, then `build`.
    pub fn create(
        store: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, RecoveryKey), Error> {
        let plan = Self::plan(&*store, &*clock, &*entropy)?;
        let vault = plan.build(store, clock, entropy)?;
        Ok((vault, plan.key))
    }

    /// Opens the vault in this place.
    pub fn open(
        store: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        key: &RecoveryKey,
    ) -> Result<Self, Error> {
        Self::open_with(store, clock, entropy, key, Replaced::Refuse)
    }

    /// Opens the vault with the newest ring that this key opens, whatever newer ones there are: for when somebody put
    /// a ring of their own over ours, or the newer recovery key is lost. The keys read and do not write.
    pub fn salvage(
        store: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        key: &RecoveryKey,
    ) -> Result<Self, Error> {
        Self::open_with(store, clock, entropy, key, Replaced::Accept)
    }

    fn open_with(
        store: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        key: &RecoveryKey,
        replaced: Replaced,
    ) -> Result<Self, Error> {
        let found = rings::find(&*store)?;
        let id = found.vault;
        if let Some(named) = key.vault()
            && named != id
        {
            let what = format!("is of the vault {named}, and {} is the vault {id}", store.place());
            return Err(Error::misuse("recovery key", what).remedy("use that vault's key"));
        }
        let key_encryption_key = key.key_encryption_key(id);
        let rings = Rings { store: &*store, vault: id, entropy: &*entropy };
        let mut troubles = found.troubles;
        let (ring, is_newest) =
            rings.newest(&found.versions, &key_encryption_key, replaced, &mut troubles)?;
        troubles.iter().for_each(|trouble| log::warn!("{trouble}"));
        let ring = Arc::new(ring);
        let standing = Standing::of(is_newest, found.is_uncopied);
        Ok(Self { store, clock, entropy, id, ring, key_encryption_key, standing, troubles })
    }

    /// The vault's identity.
    #[must_use]
    pub fn id(&self) -> VaultId {
        self.id
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// The keys as last read.
    #[must_use]
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// What was found wrong while opening, none of which kept it from opening.
    #[must_use]
    pub fn troubles(&self) -> &[Error] {
        &self.troubles
    }

    /// What operations are handed. Where the newest ring is damaged and an older one stands in, its keys read and do
    /// not write: a key that was replaced must not seal anything new.
    #[must_use]
    pub fn access(&self) -> Access {
        let ring = Arc::clone(&self.ring);
        Access {
            store: Arc::clone(&self.store),
            vault: self.id,
            keys: if self.is_newest() { ring } else { Arc::new(ReadOnly(ring)) },
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        }
    }

    /// All servers, in the order of their enrolment.
    #[must_use]
    pub fn servers(&self) -> &[ServerKeys] {
        self.ring.servers()
    }

    /// A server by its name.
    pub fn server(&self, name: &str) -> Result<&ServerKeys, Error> {
        self.ring.named(name).ok_or_else(|| {
            let unknown = |what: &str| Error::misuse(format!("server {name}"), what);
            if self.ring.shredded().iter().any(|server| server.name == name) {
                return unknown("was shredded: its history cannot be read any more");
            }
            let names: Vec<&str> =
                self.servers().iter().take(20).map(|server| server.name.as_str()).collect();
            let remedy = match names.as_slice() {
                [] => String::from("no server was ever protected here"),
                names => format!("the vault knows {}", names.join(", ")),
            };
            unknown("is not in this vault").remedy(remedy)
        })
    }

    /// Reads the newest ring again: others may have changed it.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let found = rings::find(&*self.store)?;
        let mut troubles = Vec::new();
        let rings = self.rings();
        let key = &self.key_encryption_key;
        let (ring, is_newest) =
            rings.newest(&found.versions, key, Replaced::Refuse, &mut troubles)?;
        if found.vault != self.id {
            return Err(Error::corrupt(self.place(), "has become another vault"));
        }
        self.standing = Standing::of(is_newest, found.is_uncopied);
        (self.ring, self.troubles) = (Arc::new(ring), troubles);
        Ok(())
    }

    /// Gives a server an identity and keys, or finds those that it has: two machines that enrol one name at once end
    /// with one server.
    pub fn enrol(&mut self, name: &str) -> Result<ServerKeys, Error> {
        check_server_name(name)?;
        let mut id = [0; 16];
        self.fill(&mut id)?;
        let (fingerprint, key) = (self.new_key()?, self.new_key()?);
        let now = self.clock.now().0;
        let server = ServerKeys {
            id: ServerId(id),
            name: name.to_owned(),
            enrolled: now,
            fingerprint,
            epochs: vec![EpochKey { epoch: KeyEpoch(0), key, made: now }],
        };
        self.change(None, &mut |ring| match ring.named(name) {
            Some(_) => Ok(None),
            None => ring.with_server(server.clone()).map(Some),
        })?;
        self.server(name).cloned()
    }

    /// Puts a server with an identity of its own into the ring, or finds it there.
    ///
    /// Errors: its name is another's.
    pub(crate) fn adopt(&mut self, server: &ServerKeys) -> Result<ServerKeys, Error> {
        self.change(None, &mut |ring| match ring.named(&server.name) {
            Some(known) if known.id == server.id => Ok(None),
            Some(_) => {
                let what = "is the name of another server than it should be";
                Err(Error::refused(format!("server {}", server.name), what))
            }
            None => ring.with_server(server.clone()).map(Some),
        })?;
        self.server(&server.name).cloned()
    }

    /// New keys for the servers named, or for all where none is; and, where one is given, a new recovery key.
    ///
    /// What is stored stays readable. A new recovery key must be kept safe before this is called, and the old one
    /// until this succeeds: a request whose reply was lost may still take effect.
    pub fn rekey(
        &mut self,
        servers: &[&str],
        new_key: Option<&RecoveryKey>,
    ) -> Result<Rekeyed, Error> {
        let mut ids = Vec::new();
        for name in servers {
            ids.push(self.server(name)?.id);
        }
        let now = self.clock.now().0;
        let new_key = new_key.map(|key| key.key_encryption_key(self.id));
        let entropy = Arc::clone(&self.entropy);
        self.change(new_key.as_ref(), &mut |ring| {
            ring.with_new_keys(&ids, now, || random_key(&*entropy)).map(Some)
        })
        .map_err(|error| match new_key {
            Some(_) if error.retry == Retry::Later => error
                .remedy("keep the old and the new recovery key until a rekey succeeds; try again"),
            _ => error,
        })?;
        let count = if ids.is_empty() { self.servers().len() } else { ids.len() };
        let old_rings = match new_key {
            Some(_) => self.forget_old_rings()?,
            None => OldRings::default(),
        };
        Ok(Rekeyed { ring_version: self.ring.version(), servers: count, old_rings })
    }

    /// Destroys a server's keys: its history can never be read again, whatever is still stored of it.
    pub fn shred(&mut self, name: &str) -> Result<OldRings, Error> {
        let id = self.server(name)?.id;
        let now = self.clock.now().0;
        self.change(None, &mut |ring| Ok(ring.server(&id).map(|_| ring.without_server(&id, now))))?;
        self.forget_old_rings()
    }

    /// Makes sure that there is a key for the catalogue, which rings from before have not; it is the newest ring's.
    pub(crate) fn catalogue_key(&mut self) -> Result<EpochKey, Error> {
        self.complete();
        if !self.is_newest() || self.ring.newest_catalogue_key().is_none() {
            let (key, now) = (self.new_key()?, self.clock.now().0);
            self.change(None, &mut |ring| match ring.newest_catalogue_key() {
                Some(_) => Ok(None),
                None => ring.with_catalogue_key(key.clone(), now).map(Some),
            })?;
        }
        self.ring.newest_catalogue_key().cloned().ok_or_else(|| {
            Error::refused(self.place(), "has no key for its catalogue").retry(Retry::Now)
        })
    }

    /// Deletes every ring but the newest, as far as this identity may. A rekey or shred that said some were kept is
    /// finished by calling this with an identity that may delete.
    pub fn forget_old_rings(&self) -> Result<OldRings, Error> {
        let mut old_rings = OldRings::default();
        let names = rings::names_before(&*self.store, self.ring.version())?;
        if !self.is_newest() || names.is_empty() {
            return Ok(old_rings);
        }
        for answer in self.store.delete(&names) {
            match answer {
                Ok(_) => old_rings.deleted += 1,
                Err(error) => old_rings.kept.push(error.remedy(
                    "it still holds the keys of its time: delete it with an identity that may",
                )),
            }
        }
        Ok(old_rings)
    }

    /// Finishes what an interrupted or refused rekey or shred left: deletes rings that still open with another recovery
    /// key, or still hold keys of a server that was shredded. Other old rings stay, to stand in for a damaged one.
    pub fn forget_outdated_rings(&self) -> Result<OldRings, Error> {
        let old = rings::names_before(&*self.store, self.ring.version())?;
        let versions: BTreeSet<u64> = old
            .iter()
            .filter_map(|name| ring::version_of(name))
            .map(|(version, _)| version)
            .collect();
        for version in versions {
            let outdated = match self.rings().load(version, &self.key_encryption_key)? {
                Opened::OtherKey => true,
                Opened::Ring { ring, .. } => {
                    self.ring.shredded().iter().any(|gone| ring.server(&gone.id).is_some())
                }
                Opened::Damaged(_) => false,
            };
            if outdated {
                return self.forget_old_rings();
            }
        }
        Ok(OldRings::default())
    }

    /// Publishes what `step` makes of the newest ring, until nobody was faster; `None` from it means that nothing is
    /// left to do.
    fn change(
        &mut self,
        new_key: Option<&SecretKey>,
        step: &mut dyn FnMut(&KeyRing) -> Result<Option<KeyRing>, Error>,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            self.complete();
            if !self.is_newest() {
                return Err(Error::corrupt(format!("{} key ring", self.place()), "is damaged")
                    .remedy(
                        "bring its object back from a copy; until then keys cannot be changed",
                    ));
            }
            let Some(next) = step(&self.ring)? else { return Ok(()) };
            let key = new_key.unwrap_or(&self.key_encryption_key).clone();
            let published = self.rings().publish(&next, &key);
            // Where the reply was lost it may be ours all the same: only our ring has these keys.
            let is_ours = match published {
                Ok(Created::New | Created::Same) => true,
                Ok(Created::Taken) => self.rings().holds(&next, &key),
                Err(error) if error.blame == Blame::Device && self.rings().holds(&next, &key) => {
                    true
                }
                Err(error) => return Err(error),
            };
            if is_ours {
                self.key_encryption_key = key;
                self.ring = Arc::new(next);
                return Ok(());
            }
            self.refresh()?;
        }
        Err(Error::refused(self.place(), "others keep changing its keys").retry(Retry::Now))
    }

    /// Makes the copy that a writer was killed before it could make. Whoever only reads may lack the right.
    fn complete(&mut self) {
        if self.standing == Standing::Uncopied {
            self.rings().complete(self.ring.version());
            self.standing = Standing::Newest;
        }
    }

    fn is_newest(&self) -> bool {
        self.standing != Standing::Older
    }

    fn rings(&self) -> Rings<'_> {
        Rings { store: &*self.store, vault: self.id, entropy: &*self.entropy }
    }

    pub(crate) fn new_key(&self) -> Result<SecretKey, Error> {
        random_key(&*self.entropy)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        self.entropy.fill(bytes).map_err(|error| Error::device("this machine", error.to_string()))
    }
}

fn random_key(entropy: &dyn Entropy) -> Result<SecretKey, Error> {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    entropy.fill(&mut *bytes).map_err(|error| Error::device("this machine", error.to_string()))?;
    Ok(SecretKey::from_bytes(*bytes))
}

fn already_a_vault(store: &dyn BlobStore) -> Error {
    Error::misuse(store.place(), "is a vault already")
        .remedy("use it with its recovery key, or name an empty place")
}
