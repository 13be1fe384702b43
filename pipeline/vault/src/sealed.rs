//! The envelope of every small sealed object: key ring, chain records, indexes, pins, tickets and key files.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..8 | magic `LIFEBOBJ` |
//! | 8..10 | format version, 1 |
//! | 10..11 | kind of object |
//! | 11..12 | flags, 0 |
//! | 12..16 | key epoch |
//! | 16..32 | vault |
//! | 32..64 | salt, fresh random |
//! | 64..72 | key check: tells a wrong key from damage |
//! | 72..84 | nonce |
//! | 84..88 | length n of the content in bytes, at most 16 MiB |
//! | 88..88+n | content, AES-256-GCM |
//! | 88+n..104+n | tag; associated data are bytes 0..88 and the object's name |
//!
//! Numbers are little-endian. The keys, with HKDF(key, salt; info):
//!
//! ```text
//! name key   = HKDF(epoch key, -;    "lifeboat object 1" | vault | kind | name)
//! object key = HKDF(name key,  salt; "object")
//! seal key   = HKDF(object key, -;   "seal")
//! nonce key  = HKDF(object key, -;   "nonce")
//! nonce      = first 12 bytes of BLAKE3 keyed with the nonce key (bytes 0..72 | 84..88 | name | 0 | content)
//! key check  = first 8 bytes of HKDF(epoch key, -; "lifeboat key check 1" | vault)
//! ```
//!
//! The nonce follows from the content, so two copies of one running machine that draw the same salt still never
//! seal different bytes with one nonce. The name is in the key and in the seal, so an object moved to another
//! name does not open; a ticket carries name keys, each of which opens one name and nothing else.
//! It refuses to know what the content means.

#[cfg(test)]
mod tests;

use core::fmt;
use core::ops::Range;

use hal::time::Entropy;
use pipeline::ids::{KeyEpoch, VaultId};
use pipeline::limits::RECORD_BYTES_MAX;
use pipeline::seal::{
    NONCE_BYTES, SecretKey, TAG_BYTES, derive, keyed_digest, open_in_place, seal_in_place,
};
use zeroize::Zeroizing;

use crate::error::Error;

/// First bytes of every sealed object.
pub const MAGIC: [u8; 8] = *b"LIFEBOBJ";
/// The version of the table above.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes that the envelope adds to its content.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;
/// Largest sealed object: readers hand this to a store as the limit.
pub const SEALED_BYTES_MAX: usize = RECORD_BYTES_MAX + OVERHEAD_BYTES;

/// Where the header's fields lie; FORMAT.md repeats them and a test compares.
pub(crate) mod layout {
    use super::Range;

    pub(crate) const MAGIC: Range<usize> = 0..8;
    pub(crate) const VERSION: Range<usize> = 8..10;
    pub(crate) const KIND: Range<usize> = 10..11;
    pub(crate) const FLAGS: Range<usize> = 11..12;
    pub(crate) const KEY_EPOCH: Range<usize> = 12..16;
    pub(crate) const VAULT: Range<usize> = 16..32;
    pub(crate) const SALT: Range<usize> = 32..64;
    pub(crate) const KEY_CHECK: Range<usize> = 64..72;
    pub(crate) const NONCE: Range<usize> = 72..84;
    pub(crate) const PLAIN_BYTES: Range<usize> = 84..88;
}

const HEADER_BYTES: usize = 88;

const _: () = assert!(
    RECORD_BYTES_MAX <= u32::MAX as usize,
    "the header keeps the content's length in four bytes"
);

/// What a sealed object is. The numbers are on disk and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum ObjectKind {
    /// The keys of all servers.
    KeyRing = 1,
    /// One slot of a server's chain.
    Record = 2,
    /// An index of points.
    Index = 3,
    /// A reader's pin.
    Pin = 4,
    /// A recovery ticket sealed with a passphrase: a file, never in a vault.
    Ticket = 5,
    /// A recovery key sealed with a passphrase: a file, never in a vault.
    RecoveryKey = 6,
    /// What appliances know of a site.
    Catalogue = 7,
    /// A recovery order, a recovery plan, a target profile.
    Document = 8,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyRing => "key ring",
            Self::Record => "chain record",
            Self::Index => "index",
            Self::Pin => "pin",
            Self::Ticket => "recovery ticket",
            Self::RecoveryKey => "recovery key",
            Self::Catalogue => "catalogue",
            Self::Document => "document",
        })
    }
}

/// What opens an object: the key of an epoch, which opens every name, or the key of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectKey {
    /// A server's key of one epoch, or the key-encryption key.
    Epoch(SecretKey),
    /// What `name_key` made of one: it opens this name only.
    Name(SecretKey),
}

/// Why an object did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It does not start as a sealed object does, or is too short or too long to be one.
    NotSealed,
    /// A newer Lifeboat wrote it: format version.
    Newer(u16),
    /// It names another vault.
    OtherVault(VaultId),
    /// It is another kind of object.
    OtherKind(u8),
    /// Nobody holds the key of this epoch.
    NoKey(KeyEpoch),
    /// It was sealed with another key.
    OtherKey,
    /// Its bytes are not what was written, or are another object's under this name.
    Damaged,
}

impl Failure {
    /// The failure as a line about the object `name`.
    #[must_use]
    pub fn into_error(self, kind: ObjectKind, name: &str) -> Error {
        const FROM_COPY: &str = "take it from a copy of the vault, or use another point";
        match self {
            Self::NotSealed => Error::corrupt(name, format!("is no {kind}: damaged or cut short"))
                .remedy(FROM_COPY),
            Self::Newer(version) => Error::misuse(
                name,
                format!("is of format {version}, and this Lifeboat knows format {FORMAT_VERSION}"),
            )
            .remedy("use the newer Lifeboat that wrote it"),
            Self::OtherVault(vault) => {
                Error::corrupt(name, format!("belongs to the vault {vault}, not to this one"))
                    .remedy("find out who moved it here; the right one is in a copy of this vault")
            }
            Self::OtherKind(found) => {
                Error::corrupt(name, format!("holds an object of kind {found} instead of a {kind}"))
                    .remedy(FROM_COPY)
            }
            Self::NoKey(KeyEpoch(epoch)) => Error::corrupt(
                name,
                format!("is sealed with key {epoch}, which is not at hand"),
            )
            .remedy("open the vault again, its keys may be newer; what was shredded stays closed"),
            Self::OtherKey => Error::corrupt(name, "is sealed with another key")
                .remedy("find out who wrote it; the right one is in a copy of the vault"),
            Self::Damaged => {
                Error::corrupt(name, "is damaged, or another object was put in its place")
                    .remedy(FROM_COPY)
            }
        }
    }
}

/// The key that opens one name and nothing else.
#[must_use]
pub fn name_key(epoch_key: &SecretKey, vault: VaultId, kind: ObjectKind, name: &str) -> SecretKey {
    derive(epoch_key, &[], &[b"lifeboat object 1", &vault.0, &[kind as u8], name.as_bytes()])
}

/// Seals `plain` as the object `name`.
pub fn seal(
    kind: ObjectKind,
    vault: VaultId,
    key_epoch: KeyEpoch,
    key: &SecretKey,
    name: &str,
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let plain_bytes = u32::try_from(plain.len()).ok().filter(|_| plain.len() <= RECORD_BYTES_MAX);
    let Some(plain_bytes) = plain_bytes else {
        let what = format!("would be {} bytes long, more than the 16 MiB it may be", plain.len());
        return Err(Error::exhausted(name, what));
    };
    let mut header = Header([0; HEADER_BYTES]);
    let mut salt = [0; 32];
    entropy.fill(&mut salt).map_err(|error| Error::device("this machine", error.to_string()))?;
    header.put(layout::SALT, &salt);
    header.put_fixed(kind, vault, plain_bytes);
    header.put(layout::KEY_EPOCH, &key_epoch.0.to_le_bytes());
    header.put(layout::KEY_CHECK, &key_check(key, vault));
    let keys = Keys::new(&name_key(key, vault, kind, name), &salt);
    let nonce = keys.nonce(&header, name, plain);
    header.put(layout::NONCE, &nonce);

    let mut bytes = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
    bytes.extend_from_slice(&header.0);
    bytes.extend_from_slice(plain);
    let tag =
        seal_in_place(&keys.seal, &nonce, &header.associated(name), &mut bytes[HEADER_BYTES..]);
    bytes.extend_from_slice(&tag);
    Ok(bytes)
}

/// Opens the object `name`, and says in words why it does not.
pub fn open(
    kind: ObjectKind,
    vault: VaultId,
    name: &str,
    bytes: &[u8],
    key_for: &dyn Fn(KeyEpoch) -> Option<ObjectKey>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    try_open(kind, vault, name, bytes, key_for).map_err(|failure| failure.into_error(kind, name))
}

/// Opens the object `name`.
///
/// What the header claims of itself is never trusted: the seal is tried with the header that this object must
/// have, so whatever was changed, the explanation is of the object as it was sealed.
pub fn try_open(
    kind: ObjectKind,
    vault: VaultId,
    name: &str,
    bytes: &[u8],
    key_for: &dyn Fn(KeyEpoch) -> Option<ObjectKey>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let (stored, content, tag) = split(bytes)?;
    let epoch = KeyEpoch(u32::from_le_bytes(stored.take(layout::KEY_EPOCH)));
    let Some(key) = key_for(epoch) else {
        return Err(stored.differs(kind, vault, content.len()).unwrap_or(Failure::NoKey(epoch)));
    };
    let (name_key, check) = match key {
        ObjectKey::Epoch(key) => (name_key(&key, vault, kind, name), key_check(&key, vault)),
        ObjectKey::Name(key) => (key, stored.take(layout::KEY_CHECK)),
    };
    let mut wanted = stored;
    let content_bytes = u32::try_from(content.len()).map_err(|_| Failure::NotSealed)?;
    wanted.put_fixed(kind, vault, content_bytes);
    wanted.put(layout::KEY_CHECK, &check);
    let keys = Keys::new(&name_key, &stored.take(layout::SALT));
    let nonce: [u8; NONCE_BYTES] = stored.take(layout::NONCE);
    let mut plain = Zeroizing::new(content.to_vec());
    let opened = open_in_place(&keys.seal, &nonce, &wanted.associated(name), &mut plain, &tag);
    match opened {
        Ok(()) if wanted.0 == stored.0 => Ok(plain),
        // The seal holds, so only the header was changed.
        Ok(()) => Err(Failure::Damaged),
        Err(_) => {
            let same_key = stored.take(layout::KEY_CHECK) == check;
            let unseen = if same_key { Failure::Damaged } else { Failure::OtherKey };
            Err(stored.differs(kind, vault, content.len()).unwrap_or(unseen))
        }
    }
}

/// The vault that a sealed object claims to belong to; proof comes only with opening it.
#[must_use]
pub fn claimed_vault(bytes: &[u8]) -> Option<VaultId> {
    let (header, ..) = split(bytes).ok()?;
    let version = u16::from_le_bytes(header.take(layout::VERSION));
    (header.take(layout::MAGIC) == MAGIC && version == FORMAT_VERSION)
        .then(|| VaultId(header.take(layout::VAULT)))
}

/// Header, content and tag, where there is room for all and not too much of it.
fn split(bytes: &[u8]) -> Result<(Header, &[u8], [u8; TAG_BYTES]), Failure> {
    if bytes.len() > SEALED_BYTES_MAX {
        return Err(Failure::NotSealed);
    }
    let (header, rest) = bytes.split_first_chunk().ok_or(Failure::NotSealed)?;
    let (content, tag) = rest.split_last_chunk().ok_or(Failure::NotSealed)?;
    Ok((Header(*header), content, *tag))
}

fn key_check(key: &SecretKey, vault: VaultId) -> [u8; 8] {
    let check = derive(key, &[], &[b"lifeboat key check 1", &vault.0]);
    let mut short = [0; 8];
    short.copy_from_slice(&check.as_bytes()[..8]);
    short
}

struct Keys {
    seal: SecretKey,
    nonce: SecretKey,
}

impl Keys {
    fn new(name_key: &SecretKey, salt: &[u8; 32]) -> Self {
        let object_key = derive(name_key, salt, &[b"object"]);
        Self {
            seal: derive(&object_key, &[], &[b"seal"]),
            nonce: derive(&object_key, &[], &[b"nonce"]),
        }
    }

    /// A digest of everything that is sealed: the same bytes, or another nonce.
    fn nonce(&self, header: &Header, name: &str, plain: &[u8]) -> [u8; NONCE_BYTES] {
        let before = &header.0[..layout::NONCE.start];
        let after = &header.0[layout::NONCE.end..];
        let parts = [before, after, name.as_bytes(), &[0], plain];
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&keyed_digest(&self.nonce, &parts)[..NONCE_BYTES]);
        nonce
    }
}

#[derive(Clone, Copy)]
struct Header([u8; HEADER_BYTES]);

impl Header {
    fn put(&mut self, field: Range<usize>, bytes: &[u8]) {
        self.0[field].copy_from_slice(bytes);
    }

    /// The fields that do not depend on keys.
    fn put_fixed(&mut self, kind: ObjectKind, vault: VaultId, plain_bytes: u32) {
        self.put(layout::MAGIC, &MAGIC);
        self.put(layout::VERSION, &FORMAT_VERSION.to_le_bytes());
        self.put(layout::KIND, &[kind as u8]);
        self.put(layout::FLAGS, &[0]);
        self.put(layout::VAULT, &vault.0);
        self.put(layout::PLAIN_BYTES, &plain_bytes.to_le_bytes());
    }

    fn take<const BYTES: usize>(&self, field: Range<usize>) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&self.0[field]);
        bytes
    }

    fn associated(&self, name: &str) -> Vec<u8> {
        [&self.0, name.as_bytes()].concat()
    }

    /// What the header itself says against being this object.
    fn differs(&self, kind: ObjectKind, vault: VaultId, content_bytes: usize) -> Option<Failure> {
        let version = u16::from_le_bytes(self.take(layout::VERSION));
        let [found_kind] = self.take(layout::KIND);
        let found_vault = VaultId(self.take(layout::VAULT));
        let plain_bytes = u32::from_le_bytes(self.take(layout::PLAIN_BYTES));
        if self.take(layout::MAGIC) != MAGIC || version == 0 {
            Some(Failure::NotSealed)
        } else if version > FORMAT_VERSION {
            Some(Failure::Newer(version))
        } else if found_vault != vault {
            Some(Failure::OtherVault(found_vault))
        } else if found_kind != kind as u8 {
            Some(Failure::OtherKind(found_kind))
        } else if usize::try_from(plain_bytes) != Ok(content_bytes) {
            Some(Failure::NotSealed)
        } else {
            None
        }
    }
}
