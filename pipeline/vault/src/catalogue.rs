//! The catalogue: one sealed document of a vault, replaced whole; what is in it is its users' affair.
//!
//! Its objects are named by versions, made by create-if-absent: whoever replaces a version that is not the newest any
//! more is told so. The newest that opens wins. The version before it stays, to stand in for a damaged one; older ones
//! are deleted where this identity may. Only the key ring has its keys: no ticket opens it.

use pipeline::ids::KeyEpoch;
use zeroize::Zeroizing;

use crate::access::Access;
use crate::error::{Blame, Error};
use crate::names::{self, CATALOGUE_PREFIX};
use crate::sealed::{self, Failure, OVERHEAD_BYTES, ObjectKey, ObjectKind};
use crate::store::{Created, list_all};
use crate::vault::Vault;

/// Longest catalogue, in bytes.
pub const CATALOGUE_BYTES_MAX: usize = 1024 * 1024;
/// Versions that are tried, newest first, before giving up.
const TRIED_MAX: usize = 8;

/// How often it is listed anew while others replace it.
const LOOKS_MAX: u32 = 32;

/// A catalogue as it was found.
#[derive(Debug)]
pub struct Catalogue {
    /// The newest version that is listed: what `replace` wants to hear.
    pub version: u64,
    /// The document.
    pub bytes: Zeroizing<Vec<u8>>,
    /// What is wrong with the newest version, where an older one had to stand in.
    pub trouble: Option<Error>,
}

/// What became of an attempt to replace the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is replaced, durably; this is its version now.
    Done(u64),
    /// Somebody else was faster: read it again, then try again.
    Moved,
}

/// The newest catalogue; `None` where there never was one. Reads newer keys where it was sealed with them.
pub fn read(vault: &mut Vault) -> Result<Option<Catalogue>, Error> {
    let mut tries = 1;
    loop {
        // What was listed and is gone was replaced in the meantime, or stolen: a new look tells.
        let found = read_once(vault, tries < LOOKS_MAX)?;
        match found {
            Found::Gone => tries += 1,
            Found::Nothing => return Ok(None),
            Found::Catalogue(catalogue) => return Ok(Some(catalogue)),
        }
    }
}

enum Found {
    Catalogue(Catalogue),
    Nothing,
    Gone,
}

fn read_once(vault: &mut Vault, looks_again: bool) -> Result<Found, Error> {
    let versions = versions(&vault.access())?;
    let Some(newest) = versions.first().copied() else { return Ok(Found::Nothing) };
    let mut trouble = None;
    for version in versions.into_iter().take(TRIED_MAX) {
        let opened = match load(&vault.access(), version) {
            Ok(Err(Failure::NoKey(_))) => {
                vault.refresh()?;
                open(&vault.access(), version)
            }
            Ok(opened) => told(version, opened),
            Err(error) => Err(error),
        };
        match opened {
            Ok(bytes) => {
                return Ok(Found::Catalogue(Catalogue { version: newest, bytes, trouble }));
            }
            Err(error) if error.is_missing() && looks_again => return Ok(Found::Gone),
            Err(error) if error.blame == Blame::Device => return Err(error),
            Err(error) => {
                trouble.get_or_insert(error);
            }
        }
    }
    Err(trouble.unwrap_or_else(|| Error::missing(names::catalogue(newest))))
}

/// Replaces the catalogue whose newest version is `version`, 0 where there is none.
pub fn replace(vault: &mut Vault, version: u64, bytes: &[u8]) -> Result<Replaced, Error> {
    if bytes.len() > CATALOGUE_BYTES_MAX {
        let what = format!("would be {} bytes long, more than the 1 MiB it may be", bytes.len());
        return Err(Error::exhausted("catalogue", what));
    }
    let key = vault.catalogue_key()?;
    let access = vault.access();
    if newest(&access)? != version {
        return Ok(Replaced::Moved);
    }
    let next = version
        .checked_add(1)
        .ok_or_else(|| Error::exhausted("catalogue", "has no versions left"))?;
    let name = names::catalogue(next);
    let (kind, entropy) = (ObjectKind::Catalogue, &*access.entropy);
    let object = sealed::seal(kind, access.vault, key.epoch, &key.key, &name, bytes, entropy)?;
    match access.store.create(&name, &object)? {
        Created::New | Created::Same => {}
        Created::Taken => return Ok(Replaced::Moved),
    }
    // Old versions are deleted: a machine that slept after its look above may have filled an old place.
    if newest(&access)? != next {
        return Ok(Replaced::Moved);
    }
    forget_before(&access, version);
    Ok(Replaced::Done(next))
}

/// Opens one version.
pub(crate) fn open(access: &Access, version: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    told(version, load(access, version)?)
}

type Opened = Result<Zeroizing<Vec<u8>>, Failure>;

fn load(access: &Access, version: u64) -> Result<Opened, Error> {
    let name = names::catalogue(version);
    let limit = CATALOGUE_BYTES_MAX + OVERHEAD_BYTES;
    let object = access.store.read_all(&name, limit as u64)?;
    let key_for = |epoch: KeyEpoch| access.keys.catalogue_key(epoch).map(ObjectKey::Epoch);
    Ok(sealed::try_open(ObjectKind::Catalogue, access.vault, &name, &object, &key_for))
}

fn told(version: u64, opened: Opened) -> Result<Zeroizing<Vec<u8>>, Error> {
    opened.map_err(|why| why.into_error(ObjectKind::Catalogue, &names::catalogue(version)))
}

/// The version that an object's name means; `None` for what Lifeboat does not write.
pub(crate) fn version_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(CATALOGUE_PREFIX)?;
    let version = u64::MAX - u64::from_str_radix(digits, 16).ok()?;
    (version > 0 && names::catalogue(version) == name).then_some(version)
}

/// Versions that are listed, newest first.
fn versions(access: &Access) -> Result<Vec<u64>, Error> {
    let objects = list_all(&*access.store, CATALOGUE_PREFIX)?;
    Ok(objects.iter().filter_map(|facts| version_of(&facts.name)).collect())
}

fn newest(access: &Access) -> Result<u64, Error> {
    Ok(versions(access)?.first().copied().unwrap_or(0))
}

/// Deletes what is older than the one that may have to stand in. An identity that may not delete leaves it to another.
fn forget_before(access: &Access, version: u64) {
    let old = versions(access).unwrap_or_default().into_iter().filter(|old| *old < version);
    let old: Vec<String> = old.map(names::catalogue).collect();
    if old.is_empty() {
        return;
    }
    for failed in access.store.delete(&old).into_iter().filter_map(Result::err) {
        log::debug!("{failed}: an old catalogue stays");
    }
}

#[cfg(test)]
mod tests;
