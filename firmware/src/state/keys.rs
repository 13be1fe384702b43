//! How the key of the state is kept, and whether it can be had on this machine now.
//!
//! Each copy of the key is a slot (see `slot`) of one of two kinds:
//!
//! | magic | payload |
//! | --- | --- |
//! | `LBSTKEY1` | the key itself, 32 bytes: whoever has the medium has the state |
//! | `LBSTKEY2` | `postcard` of a list of [`Way`]s, each of which alone opens the key; at least one |
//!
//! The slot's number is 2 where a person chose that the key lies in the open, so that it is not sealed by itself; else 1. Versions that
//! do not know that read the key all the same.
//!
//! **A key is never made safer, it is replaced.** When another way is chosen (and when a key that lay in the open is sealed to the
//! chip for the first time) a new key is made: what lay on a medium once may be found on it for ever. The order, each step flushed:
//! the second copy becomes the new key's; the state is written into all four slots under it; the first copy follows. So where the
//! copies differ, the second is the newer, and a slot may be under either: a cut at any moment costs nothing, and the next
//! start finishes the work. It does so only where what is in the slots opens: where the older key does not open and the newer
//! opens nothing, all is kept aside; where only the older opens, it is worked with, and both stay. A copy that is damaged is
//! written anew from the other before anything else is done.
//!
//! **What cannot be opened is never written over** until a person says so: the partition stays as it is, and the machine works with
//! settings in memory.

use core::fmt;

use hal::disk::Disk;
use hal::time::Entropy;
use pipeline::seal::SecretKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::slot::{self, Header, Kind, Read};
use super::{StateError, layout, read, write};

/// The slot's number where a person chose the open.
const CHOSEN: u64 = 2;

/// One way to a key. What is in it is known by whoever goes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Way {
    /// The machine's security chip gives it out: `crate::chip` has the bytes.
    Chip(Vec<u8>),
    /// A passphrase opens it: sealed as the vault's key files are.
    Passphrase(Vec<u8>),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chip(_) => "Chip(…)",
            Self::Passphrase(_) => "Passphrase(…)",
        })
    }
}

/// Who goes these ways: the machine, with its chip and the person at its console.
pub trait Keyring {
    /// Opens a key by one of its ways; the words say why none can be gone.
    fn open(&mut self, ways: &[Way]) -> Result<SecretKey, String>;
    /// How a key that is made now is kept; none where it lies in the open. The words say why it cannot be as a person chose.
    fn keep(&mut self, key: &SecretKey) -> Result<Vec<Way>, String>;
    /// Whether a person chose that it lies in the open.
    fn open_by_choice(&self) -> bool {
        false
    }
    /// Whether a key that is kept so should be replaced by one that is kept otherwise; none where it lies in the open.
    fn outgrown(&mut self, ways: &[Way]) -> bool;
}

/// For whom there is nothing but keys in the open: programs and tests.
#[derive(Clone, Copy, Debug)]
pub struct InTheOpen;

impl Keyring for InTheOpen {
    fn open(&mut self, _: &[Way]) -> Result<SecretKey, String> {
        Err("it is sealed, and there is nobody here to open it".to_owned())
    }

    fn keep(&mut self, _: &SecretKey) -> Result<Vec<Way>, String> {
        Ok(Vec::new())
    }

    fn outgrown(&mut self, _: &[Way]) -> bool {
        false
    }
}

/// A copy of the key as it lies on the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// By a person's choice, or because nothing else was there.
    Open(SecretKey, bool),
    Sealed(Vec<Way>),
    /// Of a version that is not known here.
    Newer,
}

impl Record {
    /// How this key is to be kept.
    pub(super) fn of(key: &SecretKey, keyring: &mut dyn Keyring) -> Result<Self, StateError> {
        let ways = keyring.keep(key).map_err(StateError::Choice)?;
        let chosen = keyring.open_by_choice();
        Ok(if ways.is_empty() { Self::Open(key.clone(), chosen) } else { Self::Sealed(ways) })
    }

    /// Whether it should be kept otherwise.
    pub(super) fn is_outgrown(&self, keyring: &mut dyn Keyring) -> bool {
        !matches!(self, Self::Open(_, true)) && keyring.outgrown(self.ways())
    }

    pub(super) fn ways(&self) -> &[Way] {
        match self {
            Self::Sealed(ways) => ways,
            Self::Open(..) | Self::Newer => &[],
        }
    }

    pub(super) fn open(&self, keyring: &mut dyn Keyring) -> Result<SecretKey, StateError> {
        match self {
            Self::Open(key, _) => Ok(key.clone()),
            Self::Sealed(ways) => keyring.open(ways).map_err(StateError::Locked),
            Self::Newer => Err(StateError::Newer),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        match slot::read(bytes, Kind::Key, None) {
            Read::Whole(header, mut payload) => {
                let key = <[u8; 32]>::try_from(payload.as_slice()).ok();
                payload.zeroize();
                let chosen = header.sequence == CHOSEN;
                return key.map(|key| Self::Open(SecretKey::from_bytes(key), chosen));
            }
            Read::Other => {}
            _ => return None,
        }
        match slot::read(bytes, Kind::Ways, None) {
            Read::Whole(_, payload) => Some(match postcard::from_bytes::<Vec<Way>>(&payload) {
                Ok(ways) if !ways.is_empty() => Self::Sealed(ways),
                _ => Self::Newer,
            }),
            Read::Other => Some(Self::Newer),
            _ => None,
        }
    }

    /// Writes it as one copy.
    pub(super) fn write<D: Disk>(
        &self,
        disk: &mut D,
        copy: u64,
        entropy: &dyn Entropy,
    ) -> Result<(), StateError> {
        let (kind, payload) = match self {
            Self::Open(key, _) => (Kind::Key, Zeroizing::new(key.as_bytes().to_vec())),
            Self::Sealed(ways) => {
                let bytes =
                    postcard::to_allocvec(ways).map_err(|_| StateError::Full(usize::MAX))?;
                (Kind::Ways, Zeroizing::new(bytes))
            }
            Self::Newer => return Err(StateError::Newer),
        };
        let sequence = if matches!(self, Self::Open(_, true)) { CHOSEN } else { 1 };
        let header = Header { kind, sequence };
        let bytes = slot::write(header, &payload, None, layout::KEY_BYTES, entropy)?;
        // All of its room, so that nothing of what was there before stays behind it.
        let mut bytes = Zeroizing::new(bytes);
        let room = usize::try_from(layout::KEY_BYTES).unwrap_or_default();
        bytes.resize(room, 0);
        write(disk, layout::key_offset(copy), &bytes)
    }
}

/// The copies, the first first; what is damaged is left out.
pub(super) fn records<D: Disk>(disk: &mut D) -> Result<Vec<(u64, Record)>, StateError> {
    // Twice, so that one bad sector does not cost the state.
    let mut found = Vec::new();
    for copy in 0..layout::KEY_COPIES {
        let bytes = Zeroizing::new(read(disk, layout::key_offset(copy), layout::KEY_BYTES)?);
        found.extend(Record::parse(&bytes).map(|record| (copy, record)));
    }
    Ok(found)
}
