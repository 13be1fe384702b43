//! Passwords: what may be one, and what is kept of it. A guess costs the same whether there is somebody of that name or not.

use core::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use firmware_web::api::{Answer, Refusal};
use hal::time::Entropy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Fewest letters.
pub const LETTERS_MIN: usize = 10;
/// Most bytes: what is longer costs more to send than to guess.
pub const BYTES_MAX: usize = 1024;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// What a guess costs: OWASP's least memory for Argon2id. The vault's 64 MiB would be a third of the smallest appliance, for whoever
/// knocks; guesses are made one at a time and held up besides.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    hash: String,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(…)")
    }
}

/// Whether this may be the password of a user of this name.
pub fn check(name: &str, password: &str) -> Answer<()> {
    let refused = |words: String| Err(Refusal::new(422, "the password", words).at("/password"));
    if password.chars().count() < LETTERS_MIN {
        return refused(format!("has fewer than {LETTERS_MIN} letters"));
    }
    if password.len() > BYTES_MAX {
        return refused(format!("is longer than {BYTES_MAX} bytes"));
    }
    let first = password.chars().next();
    if password.chars().all(|letter| Some(letter) == first) {
        return refused("is one letter again and again".to_owned());
    }
    if password.to_lowercase().contains(&name.to_lowercase()) && password.len() < name.len() + 8 {
        return refused("is little more than the user's name".to_owned());
    }
    Ok(())
}

impl Kept {
    /// What is kept of a password, with a salt of its own.
    pub fn new(password: &str, entropy: &dyn Entropy) -> Answer<Self> {
        let mut salt = [0; SALT_BYTES];
        entropy
            .fill(&mut salt)
            .map_err(|error| Refusal::new(503, "this machine", error.to_string()))?;
        let mut kept = Self {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: STANDARD_NO_PAD.encode(salt),
            hash: String::new(),
        };
        let hash = kept
            .stretched(password)
            .ok_or_else(|| Refusal::new(503, "the password", "cannot be kept now"))?;
        kept.hash = STANDARD_NO_PAD.encode(&*hash);
        Ok(kept)
    }

    /// One that no password is of: a guess against it costs what any guess does.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: STANDARD_NO_PAD.encode([0x5a; SALT_BYTES]),
            hash: String::new(),
        }
    }

    /// Whether this is the password.
    #[must_use]
    pub fn is(&self, password: &str) -> bool {
        let hash = self.stretched(password);
        let kept = STANDARD_NO_PAD.decode(&self.hash).unwrap_or_default();
        hash.is_some_and(|hash| same(&*hash, &kept))
    }

    fn stretched(&self, password: &str) -> Option<Zeroizing<[u8; HASH_BYTES]>> {
        // A document that somebody changed may ask for neither all memory nor all patience.
        if self.memory_kib > 4 * MEMORY_KIB || self.passes > 16 || self.lanes > 4 {
            return None;
        }
        let salt = STANDARD_NO_PAD.decode(&self.salt).ok()?;
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES)).ok()?;
        let mut hash = Zeroizing::new([0; HASH_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.as_bytes(), &salt, &mut *hash)
            .ok()?;
        Some(hash)
    }
}

/// Whether two secrets are the same, in a time that does not say where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use hal_sim::entropy::SimEntropy;

    use super::*;

    #[test]
    fn a_password_is_known_again_and_nothing_else_is() {
        let entropy = SimEntropy::new(1);
        let kept = Kept::new("correct horse", &entropy).unwrap();
        assert!(kept.is("correct horse"));
        for wrong in ["", "correct hors", "Correct horse", "correct horse "] {
            assert!(!kept.is(wrong), "{wrong:?}");
        }
        let again = Kept::new("correct horse", &entropy).unwrap();
        assert_ne!(kept, again, "each has a salt of its own");
        assert!(!Kept::of_nobody().is(""));
        assert!(!format!("{kept:?}").contains(&kept.hash));
    }

    #[test]
    fn a_changed_document_costs_no_more_than_it_may() {
        let mut kept = Kept::new("correct horse", &SimEntropy::new(2)).unwrap();
        kept.memory_kib = u32::MAX;
        assert!(!kept.is("correct horse"));
        kept.memory_kib = 1;
        assert!(!kept.is("correct horse"));
    }

    #[test]
    fn what_is_no_password_is_said_beside_the_field() {
        for wrong in ["", "short", "aaaaaaaaaaaaaaa", "anna123456", &"x y".repeat(400)] {
            let refused = check("anna", wrong).unwrap_err();
            assert_eq!((refused.status, refused.field.as_deref()), (422, Some("/password")));
        }
        check("anna", "correct horse").unwrap();
        check("anna", "пароль-пароль").unwrap();
    }
}
