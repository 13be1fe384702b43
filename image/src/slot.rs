//! A slot: stub, command line, kernel and first file system as one program of UEFI, a "unified kernel image".

use image_layout::disk::SLOT_BYTES_MAX;

use crate::base::Base;
use crate::error::{Blame, Error};
use crate::initrd::VERSION;
use crate::pe::{self, Section};

/// Joins the parts of a slot.
pub fn join(base: &Base, initrd: &[u8], command_line: &[String]) -> Result<Vec<u8>, Error> {
    let release = release();
    let command_line = format!("{}\0", command_line.join(" "));
    let whole = pe::append(
        "the stub",
        &base.stub,
        &[
            Section { name: ".osrel", bytes: release.as_bytes() },
            Section { name: ".cmdline", bytes: command_line.as_bytes() },
            Section { name: ".uname", bytes: base.facts.release.as_bytes() },
            Section { name: ".initrd", bytes: initrd },
            Section { name: ".linux", bytes: &base.kernel },
        ],
    )?;
    if whole.len() as u64 > SLOT_BYTES_MAX {
        return Err(Error::new(
            Blame::Limit,
            "the slot",
            format!("{} bytes, and a slot has room for {SLOT_BYTES_MAX}", whole.len()),
            "build without --fast, or take modules or firmware out of the recipe",
        ));
    }
    Ok(whole)
}

/// What the boot manager shows, and by which it finds the newer of two slots.
fn release() -> String {
    format!(
        "ID=lifeboat\nNAME=Lifeboat\nPRETTY_NAME=\"Lifeboat {VERSION}\"\nVERSION_ID={VERSION}\n\
         IMAGE_ID=lifeboat\nIMAGE_VERSION={VERSION}\n"
    )
}
