//! What recovery keeps in a vault: plain values as sealed documents, each replaced by whoever read its newest version.

use std::sync::{Mutex, PoisonError};

use pipeline_vault::Error;
use pipeline_vault::document::{self, Class, Name, Replaced};
use pipeline_vault::vault::Vault;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a change is tried again because somebody else was faster.
const TRIES: u32 = 16;

/// A vault's documents, by whoever has it open.
pub trait Documents: Send + Sync {
    /// The newest version and its number; `None` where there never was one.
    fn read(&self, name: Name) -> Result<Option<(u64, Vec<u8>)>, Error>;
    /// Replaces the version of that number, 0 where there is none.
    fn replace(&self, name: Name, version: u64, bytes: &[u8]) -> Result<Replaced, Error>;
    /// All documents of a class.
    fn list(&self, class: Class) -> Result<Vec<Name>, Error>;
    /// Takes one away with all its versions.
    fn remove(&self, name: Name) -> Result<(), Error>;
}

impl Documents for Mutex<Vault> {
    fn read(&self, name: Name) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let mut vault = self.lock().unwrap_or_else(PoisonError::into_inner);
        read_from(&mut vault, name)
    }

    fn replace(&self, name: Name, version: u64, bytes: &[u8]) -> Result<Replaced, Error> {
        let mut vault = self.lock().unwrap_or_else(PoisonError::into_inner);
        document::replace(&mut vault, name, version, bytes)
    }

    fn list(&self, class: Class) -> Result<Vec<Name>, Error> {
        let vault = self.lock().unwrap_or_else(PoisonError::into_inner);
        document::list(&vault.access(), class)
    }

    fn remove(&self, name: Name) -> Result<(), Error> {
        let vault = self.lock().unwrap_or_else(PoisonError::into_inner);
        document::remove(&vault.access(), name)
    }
}

/// The newest version out of an opened vault; what had to stand in for a damaged one is told.
pub fn read_from(vault: &mut Vault, name: Name) -> Result<Option<(u64, Vec<u8>)>, Error> {
    let Some(found) = document::read(vault, name)? else { return Ok(None) };
    if let Some(trouble) = found.trouble {
        log::warn!("{trouble}; the version before stands in");
    }
    Ok(Some((found.version, found.bytes.to_vec())))
}

/// A value that is kept as a document.
pub trait Kept: Serialize + DeserializeOwned {
    /// The form in which this program writes it; later ones are refused.
    const FORMAT: u16;
}

#[derive(serde::Deserialize)]
struct Head {
    format: u16,
}

/// Takes any bytes.
///
/// Errors: they are no document of this kind, or a later Lifeboat wrote them.
pub fn parse<T: Kept>(name: Name, bytes: &[u8]) -> Result<T, Error> {
    let unreadable = |error: serde_json::Error| {
        Error::corrupt(name.to_string(), format!("cannot be read: {error}"))
            .remedy("bring its object back from a copy of the vault")
    };
    let head: Head = serde_json::from_slice(bytes).map_err(unreadable)?;
    if head.format > T::FORMAT {
        let what = format!("is of form {}, which a later Lifeboat wrote", head.format);
        return Err(Error::refused(name.to_string(), what).remedy("update this one"));
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

/// Its bytes.
pub fn bytes_of<T: Kept>(name: Name, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::misuse(name.to_string(), error.to_string()))
}

/// Reads one; its version is 0 where there is none yet.
pub fn load<T: Kept>(documents: &dyn Documents, name: Name) -> Result<(u64, Option<T>), Error> {
    match documents.read(name)? {
        None => Ok((0, None)),
        Some((version, bytes)) => Ok((version, Some(parse(name, &bytes)?))),
    }
}

/// Changes one by compare-and-swap: `change` is called again with what is there now, until nobody was faster.
///
/// Errors: what `change` says; nothing was changed then.
pub fn change<T: Kept, R>(
    documents: &dyn Documents,
    name: Name,
    fresh: &dyn Fn() -> T,
    change: &mut dyn FnMut(&mut T) -> Result<R, Error>,
) -> Result<R, Error> {
    for _ in 0..TRIES {
        let (version, found) = load::<T>(documents, name)?;
        let mut value = found.unwrap_or_else(fresh);
        let answer = change(&mut value)?;
        match documents.replace(name, version, &bytes_of(name, &value)?)? {
            Replaced::Done(_) => return Ok(answer),
            Replaced::Moved => {}
        }
    }
    Err(Error::refused(name.to_string(), "is changed by others all the time")
        .retry(pipeline_vault::Retry::Later)
        .remedy("try again in a minute"))
}
