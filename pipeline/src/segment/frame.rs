//! Keys, nonces and associated data of a segment's frames, and how one frame is opened.

use aes_gcm::aead::inout::InOutBuf;
use zeroize::Zeroize;

use super::layout::{self, TABLE_ORDINAL, associated, put};
use super::table::SegmentTable;
use super::{FrameKind, SegmentIdentity};
use crate::compress::{Codec, Decompressor};
use crate::error::Error;
use crate::ids::{Fingerprint, FrameAddress, SegmentId, ServerId, VaultId};
use crate::seal::{NONCE_BYTES, Sealer, SecretKey, derive, keyed_digest};

/// The key of one segment: what a recovery ticket carries instead of the server's epoch key.
#[must_use]
pub fn derive_segment_key(epoch_key: &SecretKey, identity: &SegmentIdentity) -> SecretKey {
    let SegmentIdentity { vault, server, segment, salt, .. } = identity;
    derive(epoch_key, salt, &[b"lifeboat segment 1", &vault.0, &server.0, &segment.0])
}

/// What a segment key unfolds into: one key that seals, one that makes nonces.
#[derive(Clone)]
pub(super) struct FrameKeys {
    pub(super) sealer: Sealer,
    nonce_key: SecretKey,
}

impl FrameKeys {
    pub(super) fn new(segment_key: &SecretKey) -> Self {
        Self { sealer: sealer(segment_key), nonce_key: derive(segment_key, &[], &[b"nonce"]) }
    }

    /// The nonce of a frame: its ordinal, and a digest of exactly what is about to be sealed.
    ///
    /// The ordinal alone is unique while memory is not copied. The digest keeps two copies of one running
    /// machine, which go on with the same salt and the same ordinal, from sealing different bytes alike.
    /// `compressed` is empty for a stored frame: the fingerprints are keyed digests of those same bytes, and
    /// a second one would halve the speed of data that does not compress.
    pub(super) fn frame_nonce(
        &self,
        facts: &FrameFacts,
        fingerprints: &[Fingerprint],
        compressed: &[u8],
    ) -> Nonce {
        debug_assert_eq!(compressed.is_empty(), facts.codec == Codec::Stored, "hashed once each");
        let mut fixed = [0; 16];
        put(&mut fixed, 0..1, &[facts.kind as u8]);
        put(&mut fixed, 1..2, &[facts.codec as u8]);
        put(&mut fixed, 4..8, &facts.plain_bytes.to_le_bytes());
        put(&mut fixed, 8..12, &facts.sealed_bytes.to_le_bytes());
        put(&mut fixed, 12..16, &layout::u32_of(fingerprints.len()).to_le_bytes());
        let mut hasher = blake3::Hasher::new_keyed(self.nonce_key.as_bytes());
        hasher.update(b"frame").update(&fixed);
        for fingerprint in fingerprints {
            hasher.update(&fingerprint.0);
        }
        let digest = hasher.update(compressed).finalize();
        hasher.zeroize();
        Nonce::new(facts.ordinal, digest.as_bytes())
    }

    /// The nonce of the table: an ordinal that no frame has, and a digest of the header and all entries.
    pub(super) fn table_nonce(&self, header: &[u8], table: &[u8]) -> Nonce {
        Nonce::new(TABLE_ORDINAL, &keyed_digest(&self.nonce_key, &[b"table", header, table]))
    }
}

pub(super) fn sealer(segment_key: &SecretKey) -> Sealer {
    Sealer::new(&derive(segment_key, &[], &[b"seal"]))
}

/// Twelve bytes: ordinal, then eight of a digest, which the table keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Nonce(pub(super) [u8; NONCE_BYTES]);

impl Nonce {
    fn new(ordinal: u32, digest: &[u8; 32]) -> Self {
        let mut tail = [0; 8];
        tail.copy_from_slice(&digest[..8]);
        Self::from_parts(ordinal, tail)
    }

    pub(super) fn from_parts(ordinal: u32, tail: [u8; 8]) -> Self {
        let mut nonce = [0; NONCE_BYTES];
        put(&mut nonce, 0..4, &ordinal.to_le_bytes());
        put(&mut nonce, 4..12, &tail);
        Self(nonce)
    }

    pub(super) fn tail(&self) -> [u8; 8] {
        layout::take(&self.0, 4..12)
    }
}

/// What a frame's seal binds besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameFacts {
    pub(super) kind: FrameKind,
    pub(super) codec: Codec,
    pub(super) ordinal: u32,
    pub(super) plain_bytes: u32,
    pub(super) sealed_bytes: u32,
}

impl FrameFacts {
    /// The associated data, for the segment that the frame was first sealed in.
    pub(super) fn associated(
        &self,
        version: u16,
        vault: VaultId,
        server: ServerId,
        segment: SegmentId,
    ) -> [u8; associated::BYTES] {
        let mut bytes = [0; associated::BYTES];
        put(&mut bytes, associated::VERSION, &version.to_le_bytes());
        put(&mut bytes, associated::KIND, &[self.kind as u8]);
        put(&mut bytes, associated::CODEC, &[self.codec as u8]);
        put(&mut bytes, associated::ORDINAL, &self.ordinal.to_le_bytes());
        put(&mut bytes, associated::PLAIN_BYTES, &self.plain_bytes.to_le_bytes());
        put(&mut bytes, associated::SEALED_BYTES, &self.sealed_bytes.to_le_bytes());
        put(&mut bytes, associated::VAULT, &vault.0);
        put(&mut bytes, associated::SERVER, &server.0);
        put(&mut bytes, associated::SEGMENT, &segment.0);
        bytes
    }
}

/// Opens one frame: `sealed` are its bytes as the table places them, `out` gets its content from the start.
/// Gives the content's length. `sealed` is decrypted where it lies, or straight into `out` where it was
/// stored uncompressed; after an error its content is undefined, and `out` holds nothing that can be trusted.
pub fn open_frame(
    table: &SegmentTable,
    address: FrameAddress,
    sealed: &mut [u8],
    out: &mut [u8],
    decompressor: &mut Decompressor,
) -> Result<usize, Error> {
    let opening = table.opening(address)?;
    let plain_bytes = opening.facts.plain_bytes as usize;
    if sealed.len() != opening.facts.sealed_bytes as usize {
        return Err(Error::Malformed("a frame shorter or longer than its table says"));
    }
    let Some(out) = out.get_mut(..plain_bytes) else {
        return Err(Error::Misuse("open_frame needs room for the frame's whole content"));
    };
    let nonce = opening.nonce.0;
    let unauthentic = |_| Error::NotAuthentic("frame");
    if opening.facts.codec == Codec::Stored {
        let buffer = InOutBuf::new(sealed, out)
            .map_err(|_| Error::Malformed("a stored frame of another length than its content"))?;
        opening
            .sealer
            .open(&nonce, &opening.associated, buffer, &opening.tag)
            .map_err(unauthentic)?;
    } else {
        let buffer = InOutBuf::from(&mut *sealed);
        opening
            .sealer
            .open(&nonce, &opening.associated, buffer, &opening.tag)
            .map_err(unauthentic)?;
        decompressor.decompress(opening.facts.codec, sealed, out)?;
    }
    Ok(plain_bytes)
}
