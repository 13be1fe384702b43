//! DER as signatures need it, written: each value is a tag, a length and the parts inside.
//!
//! It reads nothing: certificates are read by a library.

/// A whole number.
pub(crate) const INTEGER: u8 = 0x02;
/// Bytes.
pub(crate) const OCTETS: u8 = 0x04;
/// A number for a kind of thing.
pub(crate) const OBJECT: u8 = 0x06;
/// Values in order.
pub(crate) const SEQUENCE: u8 = 0x30;
/// Values in the order of their bytes.
pub(crate) const SET: u8 = 0x31;
/// Nothing.
pub(crate) const NULL: [u8; 2] = [0x05, 0x00];

/// SHA-256.
pub(crate) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// RSA, as signatures of PKCS #7 name it.
pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// A value with these parts inside.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let digits: Vec<u8> =
                length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // Eight digits at most: a length is a usize.
            bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            bytes.extend(digits);
        }
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// A kind of thing.
pub(crate) fn object(number: &[u8]) -> Vec<u8> {
    value(OBJECT, &[number])
}

/// An algorithm without parameters.
pub(crate) fn algorithm(number: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&object(number), &NULL])
}

/// A value under a number of its own, in the place of an optional one.
pub(crate) fn tagged(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    value(0xa0 | number, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, head) in [
            (0, vec![4, 0]),
            (127, vec![4, 127]),
            (128, vec![4, 0x81, 128]),
            (255, vec![4, 0x81, 255]),
            (256, vec![4, 0x82, 1, 0]),
            (65_536, vec![4, 0x83, 1, 0, 0]),
        ] {
            let bytes = value(OCTETS, &[&vec![7; length]]);
            assert_eq!(&bytes[..head.len()], head);
            assert_eq!(bytes.len(), head.len() + length);
        }
        assert_eq!(algorithm(&[42]), [0x30, 5, 6, 1, 42, 5, 0]);
    }
}
