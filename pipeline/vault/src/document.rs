//! Documents: what appliances and operators keep in a vault, each sealed and replaced whole; what is in one is its users'
//! affair. The catalogue is one; each recovery order, recovery plan and target profile is one of its own.
//!
//! A document's objects are named by versions, made by create-if-absent: whoever replaces a version that is not the newest any
//! more is told so. The newest that opens wins. The version before it stays, to stand in for a damaged one; older ones
//! are deleted where this identity may. Only the key ring has their keys: no ticket opens one.

use core::fmt;

use pipeline::ids::{KeyEpoch, OrderId, PlanId, ServerId};
use zeroize::Zeroizing;

use crate::access::Access;
use crate::error::{Blame, Error};
use crate::names;
use crate::sealed::{self, Failure, OVERHEAD_BYTES, ObjectKey, ObjectKind};
use crate::store::{Created, list_all};
use crate::vault::Vault;

/// Longest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Versions that are tried, newest first, before giving up.
const TRIED_MAX: usize = 8;

/// How often one is listed anew while others replace it.
const LOOKS_MAX: u32 = 32;

/// Which document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// What appliances know of a site.
    Catalogue,
    /// How far a recovery order is.
    Order(OrderId),
    /// A recovery plan and its runs.
    Plan(PlanId),
    /// Where a server is recovered to.
    Profile(ServerId),
}

/// The kinds of documents of which there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Recovery orders.
    Orders,
    /// Recovery plans.
    Plans,
    /// Target profiles.
    Profiles,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalogue => f.write_str("catalogue"),
            Self::Order(order) => write!(f, "order {order}"),
            Self::Plan(plan) => write!(f, "plan {plan}"),
            Self::Profile(server) => write!(f, "target profile of server {server}"),
        }
    }
}

impl Name {
    /// What all of its versions' names begin with.
    fn prefix(&self) -> String {
        match self {
            Self::Catalogue => names::CATALOGUE_PREFIX.to_owned(),
            Self::Order(order) => format!("{}{order}/", Class::Orders.prefix()),
            Self::Plan(plan) => format!("{}{plan}/", Class::Plans.prefix()),
            Self::Profile(server) => format!("{}{server}/", Class::Profiles.prefix()),
        }
    }

    fn kind(&self) -> ObjectKind {
        match self {
            Self::Catalogue => ObjectKind::Catalogue,
            Self::Order(_) | Self::Plan(_) | Self::Profile(_) => ObjectKind::Document,
        }
    }

    /// The object of one version.
    pub(crate) fn object(&self, version: u64) -> String {
        names::document(&self.prefix(), version)
    }
}

impl Class {
    fn prefix(self) -> &'static str {
        match self {
            Self::Orders => names::ORDER_PREFIX,
            Self::Plans => names::PLAN_PREFIX,
            Self::Profiles => names::PROFILE_PREFIX,
        }
    }

    fn name(self, id: &str) -> Option<Name> {
        match self {
            Self::Orders => id.parse().ok().map(Name::Order),
            Self::Plans => id.parse().ok().map(Name::Plan),
            Self::Profiles => id.parse().ok().map(Name::Profile),
        }
    }
}

/// A document as it was found.
#[derive(Debug)]
pub struct Document {
    /// The newest version that is listed: what `replace` wants to hear.
    pub version: u64,
    /// The document.
    pub bytes: Zeroizing<Vec<u8>>,
    /// What is wrong with the newest version, where an older one had to stand in.
    pub trouble: Option<Error>,
}

/// What became of an attempt to replace a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is replaced, durably; this is its version now.
    Done(u64),
    /// Somebody else was faster: read it again, then try again.
    Moved,
}

/// The newest version; `None` where there never was one. Reads newer keys where it was sealed with them.
pub fn read(vault: &mut Vault, name: Name) -> Result<Option<Document>, Error> {
    let mut tries = 1;
    loop {
        // What was listed and is gone was replaced in the meantime, or stolen: a new look tells.
        let found = read_once(vault, name, tries < LOOKS_MAX)?;
        match found {
            Found::Gone => tries += 1,
            Found::Nothing => return Ok(None),
            Found::Document(document) => return Ok(Some(document)),
        }
    }
}

enum Found {
    Document(Document),
    Nothing,
    Gone,
}

fn read_once(vault: &mut Vault, name: Name, looks_again: bool) -> Result<Found, Error> {
    let versions = versions(&vault.access(), name)?;
    let Some(newest) = versions.first().copied() else { return Ok(Found::Nothing) };
    let mut trouble = None;
    for version in versions.into_iter().take(TRIED_MAX) {
        let opened = match load(&vault.access(), name, version) {
            Ok(Err(Failure::NoKey(_))) => {
                vault.refresh()?;
                open(&vault.access(), name, version)
            }
            Ok(opened) => told(name, version, opened),
            Err(error) => Err(error),
        };
        match opened {
            Ok(bytes) => {
                return Ok(Found::Document(Document { version: newest, bytes, trouble }));
            }
            Err(error) if error.is_missing() && looks_again => return Ok(Found::Gone),
            Err(error) if error.blame == Blame::Device => return Err(error),
            Err(error) => {
                trouble.get_or_insert(error);
            }
        }
    }
    Err(trouble.unwrap_or_else(|| Error::missing(name.object(newest))))
}

/// Replaces the document whose newest version is `version`, 0 where there is none.
pub fn replace(
    vault: &mut Vault,
    name: Name,
    version: u64,
    bytes: &[u8],
) -> Result<Replaced, Error> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let what = format!("would be {} bytes long, more than the 1 MiB it may be", bytes.len());
        return Err(Error::exhausted(name.to_string(), what));
    }
    let key = vault.catalogue_key()?;
    let access = vault.access();
    if newest(&access, name)? != version {
        return Ok(Replaced::Moved);
    }
    let next = version
        .checked_add(1)
        .ok_or_else(|| Error::exhausted(name.to_string(), "has no versions left"))?;
    let (object, entropy) = (name.object(next), &*access.entropy);
    let sealed =
        sealed::seal(name.kind(), access.vault, key.epoch, &key.key, &object, bytes, entropy)?;
    match access.store.create(&object, &sealed)? {
        Created::New | Created::Same => {}
        Created::Taken => return Ok(Replaced::Moved),
    }
    // Old versions are deleted: a machine that slept after its look above may have filled an old place.
    if newest(&access, name)? != next {
        return Ok(Replaced::Moved);
    }
    forget_before(&access, name, version);
    Ok(Replaced::Done(next))
}

/// Opens one version.
pub(crate) fn open(access: &Access, name: Name, version: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    told(name, version, load(access, name, version)?)
}

type Opened = Result<Zeroizing<Vec<u8>>, Failure>;

fn load(access: &Access, name: Name, version: u64) -> Result<Opened, Error> {
    let object = name.object(version);
    let limit = DOCUMENT_BYTES_MAX + OVERHEAD_BYTES;
    let sealed = access.store.read_all(&object, limit as u64)?;
    let key_for = |epoch: KeyEpoch| access.keys.catalogue_key(epoch).map(ObjectKey::Epoch);
    Ok(sealed::try_open(name.kind(), access.vault, &object, &sealed, &key_for))
}

fn told(name: Name, version: u64, opened: Opened) -> Result<Zeroizing<Vec<u8>>, Error> {
    opened.map_err(|why| why.into_error(name.kind(), &name.object(version)))
}

/// The document and the version that an object's name means; `None` for what Lifeboat does not write.
pub(crate) fn version_of(object: &str) -> Option<(Name, u64)> {
    let (prefix, digits) = object.rsplit_once('/')?;
    let name = match prefix.split_once('/') {
        None => (format!("{prefix}/") == names::CATALOGUE_PREFIX).then_some(Name::Catalogue)?,
        Some((class, id)) => {
            let classes = [Class::Orders, Class::Plans, Class::Profiles];
            let of = |known: &Class| known.prefix().strip_suffix('/') == Some(class);
            classes.into_iter().find(of)?.name(id)?
        }
    };
    let version = u64::MAX - u64::from_str_radix(digits, 16).ok()?;
    (version > 0 && name.object(version) == object).then_some((name, version))
}

/// The documents of a class, in the order of their identities.
pub fn list(access: &Access, class: Class) -> Result<Vec<Name>, Error> {
    let objects = list_all(&*access.store, class.prefix())?;
    let mut found: Vec<Name> =
        objects.iter().filter_map(|facts| version_of(&facts.name)).map(|(name, _)| name).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Takes a document out of the vault, where this identity may. Whoever replaces it at the same moment may bring it back.
pub fn remove(access: &Access, name: Name) -> Result<(), Error> {
    let objects: Vec<String> =
        versions(access, name)?.into_iter().map(|version| name.object(version)).collect();
    access.store.delete(&objects).into_iter().collect::<Result<Vec<bool>, Error>>().map(drop)
}

/// Versions that are listed, newest first.
fn versions(access: &Access, name: Name) -> Result<Vec<u64>, Error> {
    let objects = list_all(&*access.store, &name.prefix())?;
    let versions = objects.iter().filter_map(|facts| version_of(&facts.name));
    Ok(versions.filter(|(of, _)| *of == name).map(|(_, version)| version).collect())
}

fn newest(access: &Access, name: Name) -> Result<u64, Error> {
    Ok(versions(access, name)?.first().copied().unwrap_or(0))
}

/// Deletes what is older than the one that may have to stand in. An identity that may not delete leaves it to another.
fn forget_before(access: &Access, name: Name, version: u64) {
    let old = versions(access, name).unwrap_or_default().into_iter();
    let old: Vec<String> = old.filter(|old| *old < version).map(|old| name.object(old)).collect();
    if old.is_empty() {
        return;
    }
    for failed in access.store.delete(&old).into_iter().filter_map(Result::err) {
        log::debug!("{failed}: an old version of a document stays");
    }
}

#[cfg(test)]
mod tests;
