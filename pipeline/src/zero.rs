//! Whether a block holds nothing but zeros, at memory speed.

/// Bytes looked at before asking whether to go on: a few registers' worth, so that the compiler uses vectors.
const STRIDE_BYTES: usize = 256;

/// True where every byte is zero (and for no bytes at all). Stops at the first stride that is not.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Most blocks that are not zero show it at once.
    if bytes.first().is_some_and(|&byte| byte != 0) || bytes.last().is_some_and(|&byte| byte != 0) {
        return false;
    }
    let (strides, rest) = bytes.as_chunks::<STRIDE_BYTES>();
    strides.iter().all(stride_is_zero) && rest.iter().all(|&byte| byte == 0)
}

fn stride_is_zero(stride: &[u8; STRIDE_BYTES]) -> bool {
    stride.as_chunks::<8>().0.iter().fold(0_u64, |seen, &word| seen | u64::from_ne_bytes(word)) == 0
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_single_bit_anywhere_is_seen() {
        for length in [0, 1, 7, 255, 256, 257, 511, 4096, 4099] {
            let mut bytes = vec![0_u8; length];
            assert!(is_zero(&bytes));
            for at in 0..length {
                bytes[at] = 1 << (at % 8);
                assert!(!is_zero(&bytes), "byte {at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn unaligned_slices_are_fine() {
        let mut bytes = vec![0_u8; 1025];
        bytes[0] = 9;
        assert!(is_zero(&bytes[1..]));
    }
}
