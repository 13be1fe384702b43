//! Bytes in little room: small documents, and files for people (gzip, RFC 1952).

use crc::{CRC_32_ISO_HDLC, Crc};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

const LEVEL: u8 = 6;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Compressed, with a checksum in front.
pub(super) fn pack(plain: &[u8]) -> Vec<u8> {
    let mut packed = CRC.checksum(plain).to_le_bytes().to_vec();
    packed.extend(compress_to_vec(plain, LEVEL));
    packed
}

/// The bytes that were packed; `None` where these are others, or more than that.
pub(super) fn unpack(packed: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let (sum, rest) = packed.split_first_chunk::<4>()?;
    let plain = decompress_to_vec_with_limit(rest, bytes_max).ok()?;
    (CRC.checksum(&plain) == u32::from_le_bytes(*sum)).then_some(plain)
}

/// A gzip file.
pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    // Deflate, no flags, no time, any system.
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    file.extend(compress_to_vec(plain, LEVEL));
    file.extend(CRC.checksum(plain).to_le_bytes());
    let length = u32::try_from(plain.len() as u64 & u64::from(u32::MAX)).unwrap_or(0);
    file.extend(length.to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back_and_nothing_else() {
        let plain = b"the same again, the same again".repeat(50);
        let packed = pack(&plain);
        assert!(packed.len() < plain.len() / 4);
        assert_eq!(unpack(&packed, plain.len()), Some(plain.clone()));
        assert_eq!(unpack(&packed, plain.len() - 1), None);
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 4;
            assert_eq!(unpack(&damaged, 1 << 20), None, "{at}");
        }
        assert_eq!(unpack(&[], 9), None);
    }
}
