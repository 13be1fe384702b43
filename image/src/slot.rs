//! A slot: stub, command line, kernel and first file system in one program of UEFI, a "unified kernel image", signed. Every
//! slot is equally long, so that an update writes over one in its place.

use image_layout::disk::SLOT_BYTES;
use image_layout::version::Version;

use crate::authenticode;
use crate::base::Base;
use crate::error::{Blame, Error};
use crate::measured;
use crate::pe::{self, Section};
use crate::signing::Keys;

/// Joins the parts of a slot.
pub fn join(
    base: &Base,
    initrd: &[u8],
    command_line: &[String],
    version: Version,
    keys: &Keys,
) -> Result<Vec<u8>, Error> {
    let release = release(version, keys.trusted().mark());
    let command_line = format!("{}\0", command_line.join(" "));
    let key = measured::public_key(&keys.boot);
    let whole = pe::append(
        "the stub",
        &base.stub,
        &[
            Section { name: ".osrel", bytes: release.as_bytes() },
            Section { name: ".cmdline", bytes: command_line.as_bytes() },
            Section { name: ".uname", bytes: base.facts.release.as_bytes() },
            Section { name: measured::KEY_SECTION, bytes: key.as_bytes() },
            Section { name: ".initrd", bytes: initrd },
            Section { name: ".linux", bytes: &base.kernel },
        ],
    )?;
    // Of the sections as they stand in the program: the stub brings some of its own.
    let sections =
        pe::sections(&whole).ok_or_else(|| Error::corrupt("the slot", "cannot be read again"))?;
    let word = measured::signature(&keys.boot, &measured::register(&sections))?;
    let word = Section { name: measured::SIGNATURE_SECTION, bytes: word.as_bytes() };
    let mut whole = pe::append("the slot", &whole, &[word])?;
    let signature = authenticode::signature_bytes(&keys.boot)?;
    let room = usize::try_from(SLOT_BYTES).unwrap_or(usize::MAX).saturating_sub(signature);
    if whole.len() > room {
        return Err(Error::new(
            Blame::Limit,
            "the slot",
            format!("{} bytes, and a slot has room for {room} and a signature", whole.len()),
            "build without --fast, or take modules or firmware out of the recipe",
        ));
    }
    // The zeros are signed too: they stand before the signature.
    whole.resize(room, 0);
    authenticode::sign("the slot", &whole, &keys.boot)
}

/// What the boot manager shows, and by which it finds the newer of two slots.
fn release(version: Version, mark: &str) -> String {
    format!(
        "ID=lifeboat\nNAME=Lifeboat\nPRETTY_NAME=\"Lifeboat {version}{mark}\"\nVERSION_ID={version}\n\
         IMAGE_ID=lifeboat\nIMAGE_VERSION={version}\n"
    )
}
