//! Sealing with a passphrase: Argon2id makes the key, the envelope of every sealed object does the rest.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..8 | magic `LIFEBPAS` |
//! | 8..10 | format version, 1 |
//! | 10..12 | 0 |
//! | 12..16 | memory in KiB |
//! | 16..20 | passes |
//! | 20..24 | lanes |
//! | 24..40 | salt |
//! | 40.. | a sealed object (see `sealed`), key epoch 0 |
//!
//! It refuses costs above its caps when reading, so a hostile file can exhaust neither memory nor patience.

use argon2::{Algorithm, Argon2, Params, Version};
use core::ops::RangeInclusive;
use hal::time::Entropy;
use pipeline::ids::{KeyEpoch, VaultId};
use pipeline::seal::SecretKey;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::sealed::{self, Failure, ObjectKey, ObjectKind};

const MAGIC: [u8; 8] = *b"LIFEBPAS";
const FORMAT_VERSION: u16 = 1;
const HEADER_BYTES: usize = 40;
/// Shortest passphrase that is taken for sealing, in letters. Opening takes any.
const LETTERS_MIN: usize = 8;

const MEMORY_KIB: RangeInclusive<u32> = 8..=128 * 1024;
const PASSES: RangeInclusive<u32> = 1..=16;
const LANES: RangeInclusive<u32> = 1..=4;

/// What one guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB, at most 128 MiB.
    pub memory_kib: u32,
    /// Passes over it, at most 16.
    pub passes: u32,
    /// Lanes, at most 4.
    pub lanes: u32,
}

impl Cost {
    /// RFC 9106's second recommendation, with one lane for machines with few cores: 64 MiB, three passes.
    pub const USUAL: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    fn is_bearable(&self) -> bool {
        MEMORY_KIB.contains(&self.memory_kib)
            && PASSES.contains(&self.passes)
            && LANES.contains(&self.lanes)
            && self.memory_kib >= 8 * self.lanes
    }
}

/// Seals `plain` with a passphrase.
pub fn seal(
    kind: ObjectKind,
    vault: VaultId,
    plain: &[u8],
    passphrase: &str,
    cost: Cost,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let name = kind.to_string();
    if passphrase.chars().count() < LETTERS_MIN {
        return Err(Error::misuse("passphrase", format!("has fewer than {LETTERS_MIN} letters"))
            .remedy("take a longer one, or none and keep the file safe"));
    }
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&cost.memory_kib.to_le_bytes());
    header[16..20].copy_from_slice(&cost.passes.to_le_bytes());
    header[20..24].copy_from_slice(&cost.lanes.to_le_bytes());
    entropy
        .fill(&mut header[24..])
        .map_err(|error| Error::device("this machine", error.to_string()))?;
    let key = stretch(passphrase, &header[24..], cost)
        .ok_or_else(|| Error::misuse("passphrase", "cannot be used at this cost"))?;
    let object = sealed::seal(kind, vault, KeyEpoch(0), &key, &name, plain, entropy)?;
    Ok([&header[..], &object].concat())
}

/// Opens what `seal` made; `file` is what errors name. Gives the vault that it was made for, too.
pub fn open(
    kind: ObjectKind,
    bytes: &[u8],
    passphrase: &str,
    file: &str,
) -> Result<(VaultId, Zeroizing<Vec<u8>>), Error> {
    let name = kind.to_string();
    let damaged = || Failure::NotSealed.into_error(kind, file);
    let (header, object) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(damaged)?;
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let version = u16::from_le_bytes([header[8], header[9]]);
    if header[..8] != MAGIC
        || version == 0
        || (version == FORMAT_VERSION && header[10..12] != [0; 2])
    {
        return Err(damaged());
    }
    if version > FORMAT_VERSION {
        return Err(Failure::Newer(version).into_error(kind, file));
    }
    let cost = Cost { memory_kib: word(12), passes: word(16), lanes: word(20) };
    if !cost.is_bearable() {
        let what = format!(
            "asks for {} KiB, {} passes and {} lanes to open, more than any that Lifeboat wrote",
            cost.memory_kib, cost.passes, cost.lanes
        );
        return Err(Error::corrupt(file, what).remedy("find out who changed it; use another copy"));
    }
    let vault = sealed::claimed_vault(object).ok_or_else(damaged)?;
    let key = stretch(passphrase, &header[24..], cost).ok_or_else(damaged)?;
    let opened =
        sealed::try_open(kind, vault, &name, object, &|_| Some(ObjectKey::Epoch(key.clone())));
    match opened {
        Ok(plain) => Ok((vault, plain)),
        Err(Failure::OtherKey) => Err(Error::misuse(file, "does not open with this passphrase")
            .remedy("type it again: capitals and spaces count")),
        Err(failure) => Err(failure.into_error(kind, file)),
    }
}

/// `None` where the cost is outside what Argon2 or we allow.
fn stretch(passphrase: &str, salt: &[u8], cost: Cost) -> Option<SecretKey> {
    if !cost.is_bearable() {
        return None;
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .ok()?;
    Some(SecretKey::from_bytes(*key))
}

#[cfg(test)]
mod tests {
    use hal_sim::entropy::SimEntropy;

    use super::*;
    use crate::error::Blame;
    use crate::scratch::mutations;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    const VAULT: VaultId = VaultId([4; 16]);
    const KIND: ObjectKind = ObjectKind::Ticket;

    fn sealed() -> Vec<u8> {
        seal(KIND, VAULT, b"secret", "correct horse", CHEAP, &SimEntropy::new(1)).expect("small")
    }

    #[test]
    fn the_passphrase_opens_it_and_no_other_does() {
        for cost in [CHEAP, Cost::USUAL] {
            let bytes = seal(KIND, VAULT, b"secret", "correct horse", cost, &SimEntropy::new(1));
            let (vault, plain) = open(KIND, &bytes.expect("small"), "correct horse", "file")
                .expect("the right passphrase");
            assert_eq!((vault, plain.as_slice()), (VAULT, &b"secret"[..]));
        }
        let error = open(KIND, &sealed(), "Correct horse", "file").expect_err("another passphrase");
        assert_eq!(error.blame, Blame::Misuse);
        assert!(error.what.contains("passphrase"), "{error}");
    }

    #[test]
    fn a_hostile_cost_is_refused_before_it_is_paid() {
        for (at, value) in [(12, u32::MAX), (12, 129 * 1024), (16, 17), (20, 5), (16, 0), (12, 0)] {
            let mut bytes = sealed();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let error = open(KIND, &bytes, "correct horse", "file").expect_err("a hostile cost");
            assert_eq!(error.blame, Blame::Corrupt);
            assert!(error.what.contains("KiB"), "{error}");
        }
    }

    #[test]
    fn short_passphrases_are_refused_when_sealing() {
        assert!(seal(KIND, VAULT, b"", "1234567", CHEAP, &SimEntropy::new(1)).is_err());
        assert!(seal(KIND, VAULT, b"", "äöüßäöüß", CHEAP, &SimEntropy::new(1)).is_ok());
    }

    #[test]
    fn a_newer_format_is_told() {
        let mut bytes = sealed();
        bytes[8] = 2;
        let error = open(KIND, &bytes, "correct horse", "file").expect_err("a newer format");
        assert!(error.what.contains("format 2"), "{error}");
    }

    #[test]
    fn mutated_bytes_never_open_and_never_panic() {
        let bytes = sealed();
        mutations(&bytes, 5000, |changed| {
            // Costs within the caps are honest work; the test has no time for it.
            let dear = changed.get(12..24) != bytes.get(12..24);
            if changed != bytes && !dear {
                assert!(open(KIND, changed, "correct horse", "file").is_err());
            }
        });
    }
}
