//! The object `vault`: what makes a place a vault, in clear.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..8 | magic `LIFEBVLT` |
//! | 8..10 | format version, 1 |
//! | 10..12 | 0 |
//! | 12..28 | vault |
//! | 28..36 | made, milliseconds since 1970 |
//! | 36..68 | random, so that two makers never write the same bytes |
//! | 68..100 | BLAKE3 of bytes 0..68 |
//!
//! In every format the version stands where it does here and the last 32 bytes are BLAKE3 of all before, so that damage
//! is not taken for a newer format. No key depends on it: a vault whose marker is lost still opens, with the identity
//! that its key ring names.

use core::ops::Range;

use pipeline::ids::VaultId;
use pipeline::seal::digest;

use crate::error::Error;
use crate::store::BlobStore;

/// The object's name.
pub(super) const NAME: &str = "vault";

const MAGIC: [u8; 8] = *b"LIFEBVLT";
const FORMAT_VERSION: u16 = 1;
const BYTES: usize = 100;
/// Largest marker that is looked at: a newer format may have more to say.
const BYTES_MAX: u64 = 4096;

const VERSION: Range<usize> = 8..10;
const RESERVED: Range<usize> = 10..12;
const VAULT: Range<usize> = 12..28;
const MADE: Range<usize> = 28..36;
const RANDOM: Range<usize> = 36..68;
const DIGEST: Range<usize> = 68..100;

/// What the marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) vault: VaultId,
    made: u64,
    random: [u8; 32],
}

/// What was found under the marker's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MarkerState {
    Whole(Marker),
    Missing,
    /// It starts as a marker does and its digest does not hold.
    Damaged,
    /// It is of a newer format.
    Newer(u16),
    /// Something else has this name.
    Foreign,
}

impl Marker {
    /// A marker for a new vault: its identity and the rest are random.
    pub(super) fn new(random: &[u8; 48], made: u64) -> Self {
        let (mut id, mut rest) = ([0; 16], [0; 32]);
        id.copy_from_slice(&random[..16]);
        rest.copy_from_slice(&random[16..]);
        Self { vault: VaultId(id), made, random: rest }
    }

    pub(super) fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[VERSION].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[VAULT].copy_from_slice(&self.vault.0);
        bytes[MADE].copy_from_slice(&self.made.to_le_bytes());
        bytes[RANDOM].copy_from_slice(&self.random);
        let sum = digest(&[&bytes[..DIGEST.start]]);
        bytes[DIGEST].copy_from_slice(&sum.0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> MarkerState {
        let Some(version) = bytes.get(VERSION).filter(|_| bytes.starts_with(&MAGIC)) else {
            return MarkerState::Foreign;
        };
        let version = u16::from_le_bytes([version[0], version[1]]);
        let whole = bytes.split_last_chunk().is_some_and(|(rest, sum)| digest(&[rest]).0 == *sum);
        if whole && version > FORMAT_VERSION {
            return MarkerState::Newer(version);
        }
        let known = version == FORMAT_VERSION && bytes.len() == BYTES && bytes[RESERVED] == [0; 2];
        if !whole || !known {
            return MarkerState::Damaged;
        }
        let (mut vault, mut made, mut random) = ([0; 16], [0; 8], [0; 32]);
        vault.copy_from_slice(&bytes[VAULT]);
        made.copy_from_slice(&bytes[MADE]);
        random.copy_from_slice(&bytes[RANDOM]);
        MarkerState::Whole(Self { vault: VaultId(vault), made: u64::from_le_bytes(made), random })
    }
}

/// Reads the marker of a store.
pub(super) fn read(store: &dyn BlobStore) -> Result<MarkerState, Error> {
    // Asking for its length first would be one more round trip for every verb.
    match store.read_all(NAME, BYTES_MAX) {
        Ok(bytes) => Ok(Marker::decode(&bytes)),
        Err(error) if error.is_missing() => Ok(MarkerState::Missing),
        Err(error) => match store.facts(NAME)? {
            Some(facts) if facts.bytes > BYTES_MAX => Ok(MarkerState::Foreign),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::mutations;

    #[test]
    fn markers_survive_their_bytes_and_every_other_byte_shows() {
        let marker = Marker::new(&[5; 48], 77);
        let bytes = marker.encode();
        assert_eq!(Marker::decode(&bytes), MarkerState::Whole(marker));
        for position in 0..BYTES {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[position] ^= 1 << bit;
                assert!(!matches!(Marker::decode(&changed), MarkerState::Whole(_)), "{position}");
            }
        }
    }

    #[test]
    fn other_objects_and_newer_formats_are_told_apart() {
        assert_eq!(Marker::decode(b""), MarkerState::Foreign);
        assert_eq!(Marker::decode(b"a holiday film"), MarkerState::Foreign);
        let mut newer = Marker::new(&[5; 48], 77).encode()[..DIGEST.start].to_vec();
        newer[VERSION.start] = 2;
        newer.extend(b"and more to say");
        newer.extend(digest(&[&newer]).0);
        assert_eq!(Marker::decode(&newer), MarkerState::Newer(2));
        newer[20] ^= 1;
        assert_eq!(Marker::decode(&newer), MarkerState::Damaged);
        assert_eq!(Marker::decode(&Marker::new(&[5; 48], 77).encode()[..99]), MarkerState::Damaged);
    }

    #[test]
    fn mutated_markers_never_pass_and_never_panic() {
        let bytes = Marker::new(&[5; 48], 77).encode();
        mutations(&bytes, 20_000, |changed| {
            let whole = matches!(Marker::decode(changed), MarkerState::Whole(_));
            assert!(!whole || changed == bytes);
        });
    }
}
