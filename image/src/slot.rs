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
    command_line: &str,
    version: Version,
    keys: &Keys,
) -> Result<Vec<u8>, Error> {
    let release = release(version, keys.trusted().mark());
    let command_line = format!("{command_line}\0");
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
            "build without --fast; cargo bench -p tests --bench appliance says what takes the room",
        ));
    }
    // The zeros are signed too: they stand before the signature.
    whole.resize(room, 0);
    authenticode::sign("the slot", &whole, &keys.boot)
}

/// What is in a slot, with the bytes that each part takes, and what is free; `None` for what is no slot of ours.
#[must_use]
pub fn room(slot: &[u8]) -> Option<Vec<(&'static str, u64)>> {
    let sections = pe::sections(slot)?;
    let part = |name: &str| sections.iter().find(|(has, _)| has == name).map(|(_, bytes)| *bytes);
    let (initrd, kernel) = (part(".initrd")?, part(".linux")?);
    // Nothing but zeros stands between the last section and the signature.
    let unsigned = authenticode::without(slot)?;
    let free = unsigned.iter().rev().take_while(|&&byte| byte == 0).count();
    let modules = stream_end(initrd)?;
    let programs = initrd.len().checked_sub(modules)?;
    let rest = slot.len().checked_sub(kernel.len() + modules + programs + free)?;
    let parts = [
        ("kernel", kernel.len()),
        ("modules and firmware", modules),
        ("programs", programs),
        ("stub, words, signature", rest),
        ("free", free),
    ];
    Some(parts.map(|(name, bytes)| (name, bytes as u64)).to_vec())
}

/// Where the first stream of xz ends and the next begins.
fn stream_end(streams: &[u8]) -> Option<usize> {
    const SEAM: &[u8] = b"YZ\xfd7zXZ\0";
    streams.windows(SEAM.len()).position(|bytes| bytes == SEAM).map(|at| at + 2)
}

/// What the boot manager shows, and by which it finds the newer of two slots.
fn release(version: Version, mark: &str) -> String {
    format!(
        "ID=lifeboat\nNAME=Lifeboat\nPRETTY_NAME=\"Lifeboat {version}{mark}\"\nVERSION_ID={version}\n\
         IMAGE_ID=lifeboat\nIMAGE_VERSION={version}\n"
    )
}
