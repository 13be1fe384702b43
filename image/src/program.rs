//! The program that goes into the image: what of its file is loaded, and nothing else.
//!
//! Symbols and line tables stand behind that in the file; they would make it three times as large.

use object::LittleEndian;
use object::elf::{EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::error::{Blame, Error};

/// Where in an ELF header the place, the number and the name table of the sections stand.
const SECTIONS_OFFSET: core::ops::Range<usize> = 0x28..0x30;
const SECTIONS_COUNT: core::ops::Range<usize> = 0x3c..0x40;

/// The file without what is not loaded. Refuses what the kernel could not start without another program.
pub fn bare(name: &str, file: &[u8]) -> Result<Vec<u8>, Error> {
    let wrong = |what: &str| {
        Error::new(
            Blame::Misuse,
            name,
            what,
            "name a static program for this image, such as what cargo build --release -p firmware makes",
        )
    };
    let not_elf = |_: object::Error| wrong("is no program of Linux");
    let header = FileHeader64::<LittleEndian>::parse(file).map_err(not_elf)?;
    let endian = LittleEndian;
    if header.e_machine(endian) != EM_X86_64 || ![ET_DYN, ET_EXEC].contains(&header.e_type(endian))
    {
        return Err(wrong("is no program for x86-64"));
    }
    let mut end = 0;
    for segment in header.program_headers(endian, file).map_err(not_elf)? {
        if segment.p_type(endian) == PT_INTERP {
            return Err(wrong("wants a dynamic loader, and the image has none"));
        }
        end = end.max(segment.p_offset(endian).saturating_add(segment.p_filesz(endian)));
    }
    let mut bytes = usize::try_from(end)
        .ok()
        .and_then(|end| file.get(..end))
        .ok_or_else(|| wrong("is broken off"))?
        .to_vec();
    if bytes.len() < SECTIONS_COUNT.end {
        return Err(wrong("has nothing to load"));
    }
    bytes[SECTIONS_OFFSET].fill(0);
    bytes[SECTIONS_COUNT].fill(0);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
