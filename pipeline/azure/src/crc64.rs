//! CRC-64/NVME, the checksum that Azure keeps with a body: `x-ms-content-crc64`.

use crate::encode::base64;

/// The checksum of the bytes.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = crc64fast_nvme::Digest::new();
    digest.write(bytes);
    digest.sum64()
}

/// The checksum as the header carries it: base64 of its eight bytes, lowest first.
pub fn header_value(checksum: u64) -> String {
    base64(&checksum.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogued_check_value_comes_out() {
        assert_eq!(crc64(b"123456789"), 0xAE8B_1486_0A79_9888);
        assert_eq!(header_value(crc64(b"123456789")), "iJh5CoYUi64=");
        assert_eq!(crc64(b""), 0);
    }

    #[test]
    fn every_length_agrees_with_the_definition() {
        let bytes: Vec<u8> = (0..700_u32).map(|n| n.wrapping_mul(197).to_le_bytes()[1]).collect();
        for length in 0..bytes.len() {
            assert_eq!(crc64(&bytes[..length]), bit_by_bit(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn every_vector_of_the_official_sdk_is_met() {
        let Some(vectors) = crate::test_vectors::shared("crc64_vectors.json") else { return };
        let inputs = [
            vec![],
            b"123456789".to_vec(),
            vec![0; 512],
            vec![0; 4 << 20],
            (0..17).flat_map(|_| 0..=255).collect(),
        ];
        let cases = vectors["vectors"].as_array().unwrap();
        assert_eq!(cases.len(), inputs.len());
        for (case, input) in cases.iter().zip(&inputs) {
            assert_eq!(case["len"], input.len(), "{case}");
            assert_eq!(format!("{:016x}", crc64(input)), case["crc64_hex"], "{case}");
            assert_eq!(header_value(crc64(input)), case["x-ms-content-crc64"], "{case}");
        }
    }

    fn bit_by_bit(bytes: &[u8]) -> u64 {
        let mut crc = u64::MAX;
        for byte in bytes {
            crc ^= u64::from(*byte);
            for _ in 0..8 {
                let carry = if crc & 1 == 1 { 0x9A6C_9329_AC4B_C9B5 } else { 0 };
                crc = crc >> 1 ^ carry;
            }
        }
        !crc
    }
}
