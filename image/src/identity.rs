//! The numbers that tell one disk from another, made from what is on it: the same image has the same, another has not.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Numbers made from contents.
#[derive(Clone, Debug)]
pub struct Identity([u8; 32]);

impl Identity {
    /// From everything that makes one image another.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut sum = Sha256::new();
        for part in parts {
            sum.update((part.len() as u64).to_le_bytes());
            sum.update(part);
        }
        Self(sum.finalize().into())
    }

    /// The UUID of something of that name.
    #[must_use]
    pub fn uuid(&self, name: &str) -> Uuid {
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = self.sum(name);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// A number of 32 bits for something of that name.
    #[must_use]
    pub fn serial(&self, name: &str) -> u32 {
        let [a, b, c, d, ..] = self.sum(name);
        u32::from_le_bytes([a, b, c, d])
    }

    fn sum(&self, name: &str) -> [u8; 32] {
        let mut sum = Sha256::new();
        sum.update(self.0);
        sum.update(name);
        sum.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_contents_have_the_same_numbers_and_others_have_not() {
        let one = Identity::of(&[b"ab", b"c"]);
        assert_eq!(one.uuid("disk"), Identity::of(&[b"ab", b"c"]).uuid("disk"));
        assert_ne!(one.uuid("disk"), one.uuid("esp"));
        assert_ne!(one.uuid("disk"), Identity::of(&[b"a", b"bc"]).uuid("disk"));
        assert_ne!(one.serial("esp"), Identity::of(&[]).serial("esp"));
        assert_eq!(one.uuid("disk").get_version_num(), 8);
    }
}
