//! The file of an update: a head that says what it is, signed by the release key, and a slot.

use image_layout::disk::SLOT_BYTES;
use image_layout::update::{Head, Kind};
use image_layout::version::Version;
use sha2::{Digest as _, Sha256};

use crate::error::{Blame, Error};
use crate::signing::ReleaseSignatory;

/// Makes it. `least` is the oldest version that machines take afterwards.
pub fn make(
    slot: &[u8],
    version: Version,
    least: Version,
    built: u64,
    signatory: &ReleaseSignatory,
) -> Result<Vec<u8>, Error> {
    let wrong = |what: String, remedy: &str| Error::new(Blame::Misuse, "the update", what, remedy);
    if least > version {
        let what = format!(
            "forbids itself: version {version}, and nothing older than {least} is to be taken"
        );
        return Err(wrong(what, "name an older version by --least"));
    }
    if slot.len() as u64 != SLOT_BYTES {
        return Err(wrong(format!("has a slot of {} bytes", slot.len()), "report it"));
    }
    let sha256 = Sha256::digest(slot).into();
    let head = Head { kind: Kind::Uefi64, version, least, built, sha256, key: signatory.public };
    let signed = head.signed();
    let mut bytes = signed.to_vec();
    bytes.extend(signatory.sign(&signed)?);
    bytes.extend_from_slice(slot);
    Ok(bytes)
}
