//! Where a vault's objects are kept. Objects are only ever created, read and deleted: nothing is overwritten.
//!
//! The trait blocks; callers bring their own threads. Every implementation passes `conformance`.
//! It refuses to know what the objects mean.

use crate::error::Error;

/// The suite that every store passes: a factory goes in, a panic with the broken rule comes out.
pub mod conformance;
/// A wrapper over any store that counts calls and bytes.
pub mod count;
/// A folder of a local or network file system.
pub mod directory;
/// A wrapper over any store that fails by a seed.
pub mod fault;
/// A wrapper over any store that asks before anything changes.
pub mod guard;
/// A wrapper over a store far away that asks early for what a reader wants first.
pub mod head_start;
/// Objects in memory, with a clock that can be set and states that can be rolled back.
pub mod memory;

/// Longest name of an object, in bytes: what Azure takes (1024), less room for a container's own path.
pub const NAME_BYTES_MAX: usize = 900;
/// Longest part of a name between two slashes, in bytes: a file name with room for a suffix.
pub const NAME_PART_BYTES_MAX: usize = 200;
/// Most objects in one page of a listing.
pub const LIST_PAGE_MAX: usize = 5000;

/// What a create-if-absent found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object did not exist; it does now, durably, with exactly these bytes.
    New,
    /// An object of this name with exactly these bytes exists, durably: a lost reply was ours.
    Same,
    /// An object of this name with other bytes exists; nothing was changed.
    Taken,
}

/// Where the store keeps an object, as far as it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// Readable at once.
    Online,
    /// Takes hours to come back before it can be read.
    Archive,
}

/// One object as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its name: slash-separated ASCII, no leading slash.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was made, by the store's clock, in milliseconds since 1970.
    pub modified: u64,
    /// Whether it can be read at once.
    pub tier: Tier,
}

/// One page of a listing, in ascending order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects.
    pub objects: Vec<ObjectFacts>,
    /// Hand this to the next call to go on; `None` when this page is the last.
    pub next: Option<String>,
}

/// A place that keeps named, immutable objects.
///
/// Errors: a missing object is `Blame::Corrupt` with `is_missing` true for `read` and `facts`; refusals by
/// the store are `Blame::Refused`; I/O and network failures that outlast the store's own retries are
/// `Blame::Device` with `Retry::Later`; a full disk is `Blame::Exhausted`.
pub trait BlobStore: Send + Sync {
    /// Makes the container or folder where it is missing and may. Fails where the place holds something
    /// that is no vault (an ordinary file, a folder with other content).
    fn prepare(&self) -> Result<(), Error>;

    /// Creates `name` with `body` if it is absent; durable when it returns. All or nothing: a reader never sees a part.
    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error>;

    /// Fills all of `into` from `offset` of the object. Shorter objects are `Blame::Corrupt`.
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error>;

    /// The whole object; refuses one larger than `bytes_max` before reading it.
    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error>;

    /// Length, time and tier; `None` where there is no such object.
    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error>;

    /// Objects whose names start with `prefix`, ascending, from `next` of the page before; at most
    /// `limit` of them (at most 5000; a store may give fewer and still have more).
    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error>;

    /// Deletes objects; the answers are in the order of the names: true where it existed. A refusal
    /// (permission, immutability) is that name's answer and leaves the others' alone.
    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>>;

    /// The store's own clock in milliseconds since 1970: Azure's `Date`, or this machine's for a directory.
    fn now(&self) -> Result<u64, Error>;

    /// How a person would name the store: `dir:/srv/vault`, `azure://account/container`.
    fn place(&self) -> String;

    /// How many calls are usefully in flight at once now; adaptive stores answer differently over time.
    fn parallel(&self) -> usize {
        4
    }

    /// Whether a call costs next to nothing beside the bytes that it moves. Little is then read at a time, so that what came
    /// is still in the processor's cache when it is opened.
    fn is_near(&self) -> bool {
        false
    }
}

/// Fails unless `name` can be an object's on every store: lower-case letters, digits, `-`, `_`, `.` and slashes
/// between parts; no part is empty, starts or ends with a dot, or is too long. Upper case would meet itself on a
/// file system that ignores case, a leading dot is the stores' own, and a trailing one vanishes on some.
pub fn check_name(name: &str) -> Result<(), Error> {
    let good = name.len() <= NAME_BYTES_MAX && name.split('/').all(is_name_part);
    if good {
        Ok(())
    } else {
        Err(Error::misuse(format!("«{name}»"), "cannot be an object's name"))
    }
}

/// True where `part` may stand between two slashes of a name.
pub(crate) fn is_name_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !part.is_empty()
        && part.len() <= NAME_PART_BYTES_MAX
        && !part.starts_with('.')
        && !part.ends_with('.')
        && part.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

/// Every object under a prefix, page by page.
pub fn list_all(store: &dyn BlobStore, prefix: &str) -> Result<Vec<ObjectFacts>, Error> {
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = store.list(prefix, next.as_deref(), LIST_PAGE_MAX)?;
        all.extend(page.objects);
        match page.next {
            Some(more) => next = Some(more),
            None => return Ok(all),
        }
    }
}
