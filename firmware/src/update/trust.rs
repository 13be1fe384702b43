//! Whose word on an update is believed, and which updates a machine takes. Pure.

use image_layout::keys::Keys;
use image_layout::update::{HEAD_BYTES, Head, Unverified, Wrong};
use image_layout::version::Version;
use pipeline_vault::Error;
use ring::signature::{ED25519, UnparsedPublicKey};

/// What a machine takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whose signatures.
    pub keys: Keys,
    /// What runs: only what is newer is worth a slot.
    pub running: Version,
    /// The oldest version that is let in: what proved itself here may have raised it.
    pub least: Version,
}

/// Reads a head, its signature before anything else.
///
/// Errors: it is no update, nobody vouches for it, or it is for other machines.
pub fn believe(bytes: &[u8; HEAD_BYTES], named: &str, keys: &Keys) -> Result<Head, Error> {
    let wrong = |wrong: Wrong| {
        Error::refused(named, wrong.to_string()).remedy("get the update for this machine again")
    };
    let read = Unverified::new(bytes).map_err(wrong)?;
    if keys.release.is_empty() {
        return Err(Error::refused(
            named,
            "cannot be believed: this program trusts no release key",
        )
        .remedy("run it from an image, or name the file of keys by --keys"));
    }
    let vouched = keys.release.iter().find(|key| {
        UnparsedPublicKey::new(&ED25519, key).verify(read.signed(), read.signature()).is_ok()
    });
    let Some(key) = vouched else {
        let whose = if keys.development {
            "the development key of this image"
        } else {
            "a release key that this image trusts"
        };
        return Err(Error::refused(
            named,
            format!("is not signed by {whose}: nothing of it was used"),
        )
        .remedy(
            "get it from where Lifeboat is released; a damaged download is told this way too",
        ));
    };
    let head = read.verified().map_err(wrong)?;
    if head.key != *key {
        return Err(wrong(Wrong::Senseless));
    }
    Ok(head)
}

/// Whether a machine with these rules takes it.
///
/// Errors: it is older than what is allowed here, or no newer than what runs.
pub fn allow(head: &Head, named: &str, rules: &Rules) -> Result<(), Error> {
    if head.version < rules.least {
        let what = format!(
            "brings {}, and nothing older than {} is let in here any more",
            head.version, rules.least
        );
        return Err(Error::refused(named, what)
            .remedy("take a newer one: the older one has a hole that was closed"));
    }
    if head.version <= rules.running {
        let what = format!("brings {}, and {} runs already", head.version, rules.running);
        return Err(Error::refused(named, what).remedy(
            "nothing is to be done; to go back, write the medium anew with the older image",
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use image_layout::update::{Kind, SIGNED_BYTES};
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    pub(crate) fn pair(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, public)
    }

    pub(crate) fn signed(head: &Head, pair: &Ed25519KeyPair) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..SIGNED_BYTES].copy_from_slice(&head.signed());
        bytes[SIGNED_BYTES..].copy_from_slice(pair.sign(&head.signed()).as_ref());
        bytes
    }

    pub(crate) fn head(version: [u32; 3], key: [u8; 32], sha256: [u8; 32]) -> Head {
        let version = Version(version);
        Head { kind: Kind::Uefi64, version, least: Version([0; 3]), built: 1, sha256, key }
    }

    #[test]
    fn only_who_is_trusted_is_believed_and_every_byte_counts() {
        let ((ours, public), (other, foreign)) = (pair(1), pair(2));
        let keys = Keys { release: vec![[9; 32], public], development: false };
        let right = signed(&head([1, 0, 0], public, [5; 32]), &ours);
        assert_eq!(believe(&right, "x", &keys).unwrap().version, Version([1, 0, 0]));
        for at in 0..HEAD_BYTES {
            let mut changed = right;
            changed[at] ^= 1;
            let error = believe(&changed, "x", &keys).map(drop).unwrap_err().to_string();
            let words = if at < 8 { "no update" } else { "is not signed by a release key" };
            assert!(error.contains(words), "{at}: {error}");
        }
        for (by, says) in [(&other, foreign), (&other, public), (&ours, foreign)] {
            let bytes = signed(&head([1, 0, 0], says, [5; 32]), by);
            assert!(believe(&bytes, "x", &keys).is_err());
        }
        assert!(
            believe(&right, "x", &Keys::default())
                .unwrap_err()
                .to_string()
                .contains("trusts no release key")
        );
    }

    #[test]
    fn what_is_older_than_allowed_or_runs_already_is_refused_with_words() {
        let rules =
            Rules { running: Version([1, 1, 0]), least: Version([1, 0, 5]), ..Rules::default() };
        let judged = |version| {
            allow(&head(version, [0; 32], [0; 32]), "x.update", &rules)
                .map_err(|error| error.to_string())
        };
        assert_eq!(judged([1, 1, 1]), Ok(()));
        assert!(judged([1, 0, 4]).unwrap_err().contains("nothing older than 1.0.5 is let in"));
        assert!(judged([1, 1, 0]).unwrap_err().contains("1.1.0 runs already"));
        assert!(judged([1, 0, 9]).unwrap_err().contains("1.1.0 runs already"));
    }
}
