//! Bytes as letters and digits that survive being read aloud: Crockford's base 32, in groups of eight.

const SIGNS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUP: usize = 8;

/// The text of bytes.
pub(super) fn write(bytes: &[u8]) -> String {
    let (mut text, mut held, mut bits, mut signs) = (String::new(), 0_u32, 0_u32, 0_usize);
    let mut push = |value: u32| {
        if signs > 0 && signs.is_multiple_of(GROUP) {
            text.push('-');
        }
        signs += 1;
        let place = usize::try_from(value & 31).unwrap_or_default();
        text.push(SIGNS.get(place).copied().map_or('0', char::from));
    };
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(held >> bits);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        push(held << (5 - bits));
    }
    text
}

/// The bytes of a text, or the first sign that has no place in one. Bits left over at the end are dropped.
pub(super) fn read(text: &str) -> Result<Vec<u8>, char> {
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() * 5 / 8), 0_u32, 0_u32);
    for sign in text.chars().filter(|sign| !sign.is_whitespace() && *sign != '-') {
        let plain = match sign.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            plain => plain,
        };
        let value = SIGNS.iter().zip(0_u32..).find(|(known, _)| char::from(**known) == plain);
        held = held << 5 | value.ok_or(sign)?.1;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).unwrap_or_default());
        }
        held &= (1 << bits) - 1;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_survive() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(151) ^ 0x5a).collect();
            let text = write(&bytes);
            assert_eq!(read(&text).as_deref(), Ok(bytes.as_slice()), "{text}");
            let spoken =
                text.to_lowercase().replace('0', "o").replace('1', "l").replace('-', " \n");
            assert_eq!(read(&spoken).as_deref(), Ok(bytes.as_slice()), "{spoken}");
        }
        assert_eq!(write(&[0xff; 10]), "ZZZZZZZZ-ZZZZZZZZ");
        assert_eq!(read("AB*"), Err('*'));
        assert_eq!(read("ABU"), Err('U'));
    }
}
