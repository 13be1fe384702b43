//! Keys, digests and seals: the only file that names AES-GCM, HKDF and BLAKE3's keyed mode for secrets.
//!
//! It refuses to make keys, salts or nonces out of nothing: randomness is the caller's.

use core::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::Error;
use crate::ids::Digest;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a seal's tag.
pub const TAG_BYTES: usize = 16;

/// 256 secret bits; wiped when dropped, never printed, compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// A key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for sealing them into something.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        // blake3::Hash compares in constant time.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    /// Only that it is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A seal did not open: other key, other nonce, other associated data, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAuthentic;

impl fmt::Display for NotAuthentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the seal does not open: damaged, or sealed with another key")
    }
}

impl core::error::Error for NotAuthentic {}

impl From<NotAuthentic> for Error {
    fn from(_: NotAuthentic) -> Self {
        Self::NotAuthentic("content")
    }
}

/// HKDF-SHA256. The parts of `info` are concatenated: each is of fixed length, or the last.
#[must_use]
pub fn derive(key: &SecretKey, salt: &[u8], info: &[&[u8]]) -> SecretKey {
    let mut derived = SecretKey([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), &key.0)
        .expand_multi_info(info, &mut derived.0)
        .expect("32 bytes are within HKDF-SHA256's 8160");
    derived
}

/// BLAKE3 of the concatenated parts.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> Digest {
    Digest(hash(blake3::Hasher::new(), parts))
}

/// BLAKE3, keyed, of the concatenated parts.
#[must_use]
pub fn keyed_digest(key: &SecretKey, parts: &[&[u8]]) -> [u8; 32] {
    hash(blake3::Hasher::new_keyed(&key.0), parts)
}

fn hash(mut hasher: blake3::Hasher, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        hasher.update(part);
    }
    let digest = *hasher.finalize().as_bytes();
    // The state of a keyed hasher holds the key.
    hasher.zeroize();
    digest
}

/// Seals `buffer` where it lies. The nonce must never have sealed other bytes under this key.
#[must_use]
pub fn seal_in_place(
    key: &SecretKey,
    nonce: &[u8; NONCE_BYTES],
    associated: &[u8],
    buffer: &mut [u8],
) -> [u8; TAG_BYTES] {
    Sealer::new(key).seal(nonce, associated, buffer.into())
}

/// Opens `buffer` where it lies. On failure nothing was decrypted.
pub fn open_in_place(
    key: &SecretKey,
    nonce: &[u8; NONCE_BYTES],
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), NotAuthentic> {
    Sealer::new(key).open(nonce, associated, buffer.into(), tag)
}

/// An expanded key, for many seals with one key.
#[derive(Clone)]
pub(crate) struct Sealer(Aes256Gcm);

impl Sealer {
    pub(crate) fn new(key: &SecretKey) -> Self {
        Self(Aes256Gcm::new(&key.0.into()))
    }

    /// Seals from one place into another, or in place.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        #[cfg(test)] mut buffer: InOutBuf<'_, '_, u8>,
        #[cfg(not(test))] buffer: InOutBuf<'_, '_, u8>,
    ) -> [u8; TAG_BYTES] {
        #[cfg(test)]
        crate::touched::record(
            "seal",
            buffer.get_in().as_ptr_range(),
            buffer.get_out().as_ptr_range(),
        );
        self.0
            .encrypt_inout_detached(&(*nonce).into(), associated, buffer)
            .expect("a frame or record is far below AES-GCM's 64 GiB")
            .into()
    }

    /// Opens from one place into another, or in place; checks the tag first.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        buffer: InOutBuf<'_, '_, u8>,
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), NotAuthentic> {
        self.0
            .decrypt_inout_detached(&(*nonce).into(), associated, buffer, &(*tag).into())
            .map_err(|_| NotAuthentic)
    }
}

#[cfg(test)]
mod tests;
