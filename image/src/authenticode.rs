//! Programs of UEFI signed for Secure Boot: their digest, and the signature at their end.

use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::pe::{self, Place};
use crate::pkcs7;
use crate::signing::Signatory;

/// Signatures, and so files, end at multiples of this.
const ALIGN: usize = 8;
/// Length, version and kind before a signature.
const HEAD_BYTES: usize = 8;
const VERSION: u16 = 0x0200;
const KIND_PKCS7: u16 = 2;

/// The program with its signature. It must not have one yet.
pub fn sign(name: &str, program: &[u8], signatory: &Signatory) -> Result<Vec<u8>, Error> {
    let broken = || Error::corrupt(name, "is no program for UEFI that can be signed");
    let mut bytes = program.to_vec();
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    let place = pe::place(&bytes).filter(|place| place.signature.is_none()).ok_or_else(broken)?;
    let digest = digest_of(&bytes, &place).ok_or_else(broken)?;
    let signature = pkcs7::of_program(&digest, signatory, &|bytes| signatory.sign(bytes))?;
    let at = u32::try_from(bytes.len()).ok().ok_or_else(broken)?;
    let table = table(&signature);
    let length = u32::try_from(table.len()).ok().ok_or_else(broken)?;
    bytes.extend_from_slice(&table);
    pe::point(&mut bytes, &place, at, length);
    Ok(bytes)
}

/// How much longer a program becomes by the signature of this signatory, where its length is a multiple of 8.
pub fn signature_bytes(signatory: &Signatory) -> Result<usize, Error> {
    let blank = |_: &[u8]| Ok(vec![0; signatory.signature_bytes()]);
    Ok(table(&pkcs7::of_program(&[0; 32], signatory, &blank)?).len())
}

/// SHA-256 of a program without what a signature changes; `None` for what is no program of UEFI. A signature at its end is left
/// out.
#[must_use]
pub fn digest(program: &[u8]) -> Option<[u8; 32]> {
    let place = pe::place(program)?;
    let end = place.signature.map_or(program.len(), |(at, _)| at);
    digest_of(program.get(..end)?, &place)
}

/// The program as it was before it was signed; `None` where it bears no signature.
#[must_use]
pub fn without(program: &[u8]) -> Option<Vec<u8>> {
    let place = pe::place(program)?;
    let (at, _) = place.signature?;
    let mut bytes = program.get(..at)?.to_vec();
    pe::point(&mut bytes, &place, 0, 0);
    Some(bytes)
}

fn digest_of(program: &[u8], place: &Place) -> Option<[u8; 32]> {
    let mut sum = Sha256::new();
    sum.update(program.get(..place.checksum)?);
    sum.update(program.get(place.checksum + 4..place.directory)?);
    sum.update(program.get(place.directory + 8..)?);
    Some(sum.finalize().into())
}

fn table(signature: &[u8]) -> Vec<u8> {
    let length = (HEAD_BYTES + signature.len()).next_multiple_of(ALIGN);
    let mut table = Vec::with_capacity(length);
    table.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    table.extend(VERSION.to_le_bytes());
    table.extend(KIND_PKCS7.to_le_bytes());
    table.extend_from_slice(signature);
    table.resize(length, 0);
    table
}

#[cfg(test)]
mod tests;
