//! Programs of UEFI (PE32+): sections are put behind those that are there.
//!
//! Of the file only the headers are read, all of them checked; nothing is trusted to be in its place.

use core::ops::Range;

use crate::error::{Blame, Error};

/// Place of the offset of the PE header.
const PE_OFFSET: usize = 0x3c;
const OPTIONAL_MAGIC_64: u16 = 0x20b;
/// Where in the optional header the directory of signatures stands.
const SIGNATURE_DIRECTORY: usize = 112 + 4 * 8;
/// Length of one entry in the table of sections.
const SECTION_BYTES: usize = 40;
/// Contents that are there from the start, and only read.
const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Sections begin on pages, whatever the file asks for.
const PAGE: u32 = 4096;

/// A section to put in.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// At most eight letters.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// Fields of the headers that change, by place.
struct Headers {
    /// Number of sections.
    count: usize,
    /// Table of symbols: offset and count.
    symbols: Range<usize>,
    /// Where the optional header begins.
    optional: usize,
    /// Where the table of sections begins.
    table: usize,
    sections: u16,
    file_align: u32,
    memory_align: u32,
    /// End of all headers.
    end: u32,
}

/// The program with these sections behind its own, and what a linker left behind those cut off.
pub fn append(name: &str, program: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, Error> {
    let broken = || Error::corrupt(name, "is no program for UEFI that sections can be put into");
    // Whatever followed a signature would no longer be what was signed.
    let headers = headers(program).filter(|_| !is_signed(program)).ok_or_else(broken)?;
    let added = u16::try_from(sections.len()).ok().ok_or_else(broken)?;
    let count = headers.sections.checked_add(added).ok_or_else(broken)?;
    let table_end = headers.table + SECTION_BYTES * usize::from(count);
    if u32::try_from(table_end).ok().is_none_or(|end| end > headers.end) {
        return Err(Error::new(
            Blame::Limit,
            name,
            format!("no room in its headers for {added} more sections"),
            "use another version of the stub",
        ));
    }
    let (mut memory, file_end) = extent(program, &headers).ok_or_else(broken)?;
    let mut bytes = program.get(..file_end).ok_or_else(broken)?.to_vec();
    // What stood behind the last section was a table of symbols; without this it would point at our bytes.
    bytes.get_mut(headers.symbols.clone()).ok_or_else(broken)?.fill(0);
    let mut initialised = word(&bytes, headers.optional + 8).ok_or_else(broken)?;
    for (place, section) in (usize::from(headers.sections)..).zip(sections) {
        let start = u32::try_from(bytes.len()).ok().ok_or_else(broken)?;
        let start = start.checked_next_multiple_of(headers.file_align).ok_or_else(broken)?;
        let length = u32::try_from(section.bytes.len()).ok().ok_or_else(broken)?;
        let stored = length.checked_next_multiple_of(headers.file_align).ok_or_else(broken)?;
        memory = memory.checked_next_multiple_of(headers.memory_align).ok_or_else(broken)?;
        let end = start.checked_add(stored).ok_or_else(broken)?;
        bytes.resize(index(start), 0);
        bytes.extend_from_slice(section.bytes);
        bytes.resize(index(end), 0);
        let entry = headers.table + SECTION_BYTES * place;
        let entry = bytes.get_mut(entry..entry + SECTION_BYTES).ok_or_else(broken)?;
        entry.fill(0);
        let label = entry.get_mut(..section.name.len()).filter(|_| section.name.len() <= 8);
        label.ok_or_else(broken)?.copy_from_slice(section.name.as_bytes());
        for (at, value) in
            [(8, length), (12, memory), (16, stored), (20, start), (36, READ_ONLY_DATA)]
        {
            entry[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        memory = memory.checked_add(length).ok_or_else(broken)?;
        initialised = initialised.wrapping_add(stored);
    }
    let memory = memory.checked_next_multiple_of(headers.memory_align).ok_or_else(broken)?;
    bytes[headers.count..headers.count + 2].copy_from_slice(&count.to_le_bytes());
    put(&mut bytes, headers.optional + 8, initialised);
    put(&mut bytes, headers.optional + 56, memory);
    put(&mut bytes, headers.optional + 64, 0);
    let sum = checksum(&bytes);
    put(&mut bytes, headers.optional + 64, sum);
    Ok(bytes)
}

/// Whether it bears a signature, whatever that is worth.
#[must_use]
pub fn is_signed(program: &[u8]) -> bool {
    place(program).is_none_or(|place| place.signature.is_some())
}

/// Names and contents of all sections; `None` for what is no program of UEFI.
#[must_use]
pub fn sections(program: &[u8]) -> Option<Vec<(String, &[u8])>> {
    let headers = headers(program)?;
    let mut found = Vec::new();
    for place in 0..usize::from(headers.sections) {
        let entry = headers.table + SECTION_BYTES * place;
        let name = program.get(entry..entry.checked_add(8)?)?;
        let name: Vec<u8> = name.iter().copied().take_while(|&byte| byte != 0).collect();
        let stored = index(word(program, entry + 16)?);
        let length = index(word(program, entry + 8)?).min(stored);
        let start = index(word(program, entry + 20)?);
        let bytes = program.get(start..start.checked_add(length)?)?;
        found.push((String::from_utf8_lossy(&name).into_owned(), bytes));
    }
    Some(found)
}

/// Where a program keeps what its signature changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The checksum, four bytes.
    pub(crate) checksum: usize,
    /// Where the signature is and how long, four bytes each.
    pub(crate) directory: usize,
    /// What stands there.
    pub(crate) signature: Option<(usize, usize)>,
}

/// Where that is; `None` for what is no program of UEFI.
pub(crate) fn place(program: &[u8]) -> Option<Place> {
    let optional = optional_header(program)?;
    let directory = optional.checked_add(SIGNATURE_DIRECTORY)?;
    let (at, length) = (index(word(program, directory)?), index(word(program, directory + 4)?));
    let end = at.checked_add(length)?;
    let signature = if at == 0 { None } else { Some((at, length)) };
    let sound = signature.is_none() || (end == program.len() && at > directory + 8);
    sound.then_some(Place { checksum: optional + 64, directory, signature })
}

/// Says where the signature is, and sums up anew.
pub(crate) fn point(program: &mut [u8], place: &Place, at: u32, length: u32) {
    put(program, place.directory, at);
    put(program, place.directory + 4, length);
    put(program, place.checksum, 0);
    let sum = checksum(program);
    put(program, place.checksum, sum);
}

fn optional_header(program: &[u8]) -> Option<usize> {
    if !program.starts_with(b"MZ") {
        return None;
    }
    let pe = index(word(program, PE_OFFSET)?);
    if program.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let optional = pe.checked_add(24)?;
    (half(program, optional)? == OPTIONAL_MAGIC_64).then_some(optional)
}

fn headers(program: &[u8]) -> Option<Headers> {
    let optional = optional_header(program)?;
    let pe = optional - 24;
    let table = optional.checked_add(usize::from(half(program, pe + 20)?))?;
    let power = |value: u32| Some(value).filter(|value| value.is_power_of_two() && *value <= 65536);
    Some(Headers {
        count: pe + 6,
        symbols: pe + 12..pe + 20,
        optional,
        table,
        sections: half(program, pe + 6)?,
        memory_align: power(word(program, optional + 32)?)?.max(PAGE),
        file_align: power(word(program, optional + 36)?)?,
        end: word(program, optional + 60)?,
    })
}

/// Where the last section ends in memory, and in the file.
fn extent(program: &[u8], headers: &Headers) -> Option<(u32, usize)> {
    let (mut memory, mut file) = (headers.end, headers.end);
    for place in 0..usize::from(headers.sections) {
        let entry = headers.table + SECTION_BYTES * place;
        let [length, address, stored, start] =
            [8, 12, 16, 20].map(|field| word(program, entry + field));
        memory = memory.max(address?.checked_add(length?.max(stored?))?);
        file = file.max(start?.checked_add(stored?)?);
    }
    Some((memory, index(file)))
}

/// The sum of all halves of words, folded, and the length.
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let low = u32::from(pair[0]);
        let high = pair.get(1).map_or(0, |byte| u32::from(*byte) << 8);
        sum += low | high;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum & 0xffff).wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// An offset of 32 bits as an index; the builder runs on 64.
fn index(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
