//! What identifies a block's content within one server, so that a re-read never re-sends.

use crate::ids::Fingerprint;
use crate::seal::SecretKey;

/// Makes fingerprints with one server's fingerprint key: BLAKE3 keyed, its first 128 bits.
#[derive(Clone, Debug)]
pub struct Fingerprinter(SecretKey);

impl Fingerprinter {
    /// With the server's fingerprint key, which outlives the key epochs: fingerprints must stay comparable.
    #[must_use]
    pub fn new(server_fingerprint_key: &SecretKey) -> Self {
        Self(server_fingerprint_key.clone())
    }

    /// The fingerprint of one whole block (padded with zeros at the end of a disk) or one map page.
    #[must_use]
    pub fn of(&self, bytes: &[u8]) -> Fingerprint {
        let digest = blake3::keyed_hash(self.0.as_bytes(), bytes);
        let mut first = [0; 16];
        first.copy_from_slice(&digest.as_bytes()[..16]);
        Fingerprint(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_depend_on_content_and_key() {
        let one = Fingerprinter::new(&SecretKey::from_bytes([1; 32]));
        let two = Fingerprinter::new(&SecretKey::from_bytes([2; 32]));
        assert_eq!(one.of(b"block"), one.of(b"block"));
        assert_ne!(one.of(b"block"), one.of(b"black"));
        assert_ne!(one.of(b"block"), two.of(b"block"));
    }

    #[test]
    fn a_fingerprint_is_the_head_of_keyed_blake3() {
        let key = SecretKey::from_bytes([7; 32]);
        let whole = crate::seal::keyed_digest(&key, &[b"bl", b"ock"]);
        assert_eq!(Fingerprinter::new(&key).of(b"block").0, whole[..16]);
    }
}
