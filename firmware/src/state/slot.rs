//! One slot: header, payload, checksum, and the seal of a state. Every reader takes any bytes.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic, by kind, beginning with `LB` |
//! | 8 | 4 | version of the slot's format, 1 |
//! | 12 | 4 | length of the payload as it lies here |
//! | 16 | 8 | sequence number |
//! | 24 | 12 | nonce of the seal; zeros where there is none |
//! | 36 | 16 | tag of the seal; zeros where there is none |
//! | 52 | 12 | zeros |
//! | 64 | 32 | BLAKE3 of the first 64 bytes and the payload |
//! | 96 | | payload, then zeros up to a multiple of 4096 |
//!
//! Numbers are little-endian. The seal's associated data are the first 24 bytes, so that a state cannot be passed off as
//! another of a different number.

use hal::time::Entropy;
use pipeline::seal::{NONCE_BYTES, SecretKey, TAG_BYTES, digest, open_in_place, seal_in_place};

use super::StateError;

const HEAD_BYTES: usize = 64;
const SUM_BYTES: usize = 32;
const START: usize = HEAD_BYTES + SUM_BYTES;
const ASSOCIATED_BYTES: usize = 24;
const VERSION: u32 = 1;
/// What every magic begins with.
const FAMILY: &[u8] = b"LB";
const SECTOR_BYTES: usize = 4096;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key of the partition, in the open.
    Key,
    /// The ways to a key that is sealed.
    Ways,
    /// The state, sealed.
    State,
    /// Last words.
    Words,
}

impl Kind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Key => *b"LBSTKEY1",
            Self::Ways => *b"LBSTKEY2",
            Self::State => *b"LBSTATE1",
            Self::Words => *b"LBWORDS1",
        }
    }
}

/// What a slot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it holds.
    pub kind: Kind,
    /// Grows with every write.
    pub sequence: u64,
}

/// What a slot turned out to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing was ever written: zeros.
    Empty,
    /// What was written, whole.
    Whole(Header, Vec<u8>),
    /// Something that is not what was written: cut short, damaged, or somebody else's.
    Torn,
    /// Whole, but sealed with another key.
    Sealed,
    /// Whole, but of another kind, or written by a version that is not known here.
    Other,
}

/// The bytes of a slot: sealed where there is a key, padded to whole sectors.
pub fn write(
    header: Header,
    payload: &[u8],
    key: Option<&SecretKey>,
    room: u32,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StateError> {
    let full = || StateError::Full(payload.len());
    let room = usize::try_from(room).map_err(|_| full())?;
    let end = START.checked_add(payload.len()).filter(|end| *end <= room).ok_or_else(full)?;
    let length = u32::try_from(payload.len()).map_err(|_| full())?;
    let mut bytes = vec![0; end.next_multiple_of(SECTOR_BYTES)];
    let (head, rest) = bytes.split_at_mut(HEAD_BYTES);
    let (sum, rest) = rest.split_at_mut(SUM_BYTES);
    let (body, _) = rest.split_at_mut(payload.len());
    head[..8].copy_from_slice(&header.kind.magic());
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&length.to_le_bytes());
    head[16..24].copy_from_slice(&header.sequence.to_le_bytes());
    body.copy_from_slice(payload);
    if let Some(key) = key {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| StateError::Entropy)?;
        let tag = seal_in_place(key, &nonce, &head[..ASSOCIATED_BYTES], body);
        head[24..36].copy_from_slice(&nonce);
        head[36..52].copy_from_slice(&tag);
    }
    sum.copy_from_slice(&digest(&[head, body]).0);
    Ok(bytes)
}

/// Reads a slot of this kind.
#[must_use]
pub fn read(bytes: &[u8], kind: Kind, key: Option<&SecretKey>) -> Read {
    if bytes.iter().all(|byte| *byte == 0) {
        return Read::Empty;
    }
    let Some((header, nonce, tag, mut payload)) = take_apart(bytes, kind) else {
        return Read::Torn;
    };
    let known =
        bytes.starts_with(&kind.magic()) && bytes.get(8..12) == Some(&VERSION.to_le_bytes());
    if !known {
        return Read::Other;
    }
    if let Some(key) = key {
        let associated = bytes.get(..ASSOCIATED_BYTES).unwrap_or_default();
        if open_in_place(key, &nonce, associated, &mut payload, &tag).is_err() {
            return Read::Sealed;
        }
    }
    Read::Whole(header, payload)
}

type Parts = (Header, [u8; NONCE_BYTES], [u8; TAG_BYTES], Vec<u8>);

/// Whole by its checksum, and ours by its first letters; its kind is taken to be this.
fn take_apart(bytes: &[u8], kind: Kind) -> Option<Parts> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let (sum, rest) = rest.split_first_chunk::<SUM_BYTES>()?;
    let number = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let body = rest.get(..usize::try_from(number(12)?).ok()?)?;
    if !head.starts_with(FAMILY) || digest(&[head, body]).0 != *sum {
        return None;
    }
    let sequence = u64::from_le_bytes(*head.get(16..)?.first_chunk()?);
    let nonce = *head.get(24..)?.first_chunk()?;
    let tag = *head.get(36..)?.first_chunk()?;
    Some((Header { kind, sequence }, nonce, tag, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use hal_sim::SimEntropy;
    use hal_sim::random::Random;

    use super::*;

    fn written(payload: &[u8], key: Option<&SecretKey>) -> Vec<u8> {
        let header = Header { kind: Kind::State, sequence: 7 };
        write(header, payload, key, 16 * 4096, &SimEntropy::new(1)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_a_secret_does_not_show() {
        let key = SecretKey::from_bytes([7; 32]);
        let bytes = written(b"sesame open", Some(&key));
        assert_eq!(bytes.len(), 4096);
        assert!(!bytes.windows(6).any(|part| part == b"sesame"));
        let header = Header { kind: Kind::State, sequence: 7 };
        assert_eq!(
            read(&bytes, Kind::State, Some(&key)),
            Read::Whole(header, b"sesame open".to_vec())
        );
        let other = SecretKey::from_bytes([8; 32]);
        assert_eq!(read(&bytes, Kind::State, Some(&other)), Read::Sealed);
        assert_eq!(read(&bytes, Kind::Words, None), Read::Other, "another kind");
        assert_eq!(read(&[0; 4096], Kind::State, None), Read::Empty);
        assert_eq!(read(&[], Kind::State, None), Read::Empty);
    }

    #[test]
    fn more_than_a_slot_holds_is_refused() {
        let header = Header { kind: Kind::State, sequence: 1 };
        let most = 4096 - START;
        let fits = write(header, &vec![1; most], None, 4096, &SimEntropy::new(1)).unwrap();
        assert_eq!(fits.len(), 4096);
        let error = write(header, &vec![1; most + 1], None, 4096, &SimEntropy::new(1)).unwrap_err();
        assert_eq!(error, StateError::Full(most + 1));
    }

    #[test]
    fn any_change_is_noticed() {
        let key = SecretKey::from_bytes([7; 32]);
        let bytes = written(&[3; 500], Some(&key));
        let mut random = Random::new(9);
        for at in 0..START + 500 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << random.below(8);
            assert_eq!(read(&changed, Kind::State, Some(&key)), Read::Torn, "byte {at}");
        }
        for length in 0..bytes.len() {
            let read = read(&bytes[..length], Kind::State, Some(&key));
            assert!(matches!(read, Read::Torn | Read::Empty) == (length < START + 500), "{length}");
        }
    }
}
