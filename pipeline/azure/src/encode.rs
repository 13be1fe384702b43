//! Percent encoding, base64 and hexadecimal, as URLs and headers want them.

use core::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Percent-encodes everything but unreserved characters and slashes: the path of a URL.
pub fn percent_path(text: &str) -> String {
    percent(text, true)
}

/// Percent-encodes everything but unreserved characters: a name or value of a query or form.
pub fn percent_query(text: &str) -> String {
    percent(text, false)
}

fn percent(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if keep_slash => out.push('/'),
            _ => {
                let digits = write!(out, "%{byte:02X}");
                debug_assert!(digits.is_ok(), "a String takes everything");
            }
        }
    }
    out
}

/// Decodes `%XX`; `None` where a percent sign is not followed by two digits or the bytes are not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (hex_digit(bytes.next()?)?, hex_digit(bytes.next()?)?);
        out.push(high * 16 + low);
    }
    String::from_utf8(out).ok()
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard base64 with padding.
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

/// URL-safe base64 without padding, as tokens use it.
pub fn base64_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let digits = write!(out, "{byte:02x}");
        debug_assert!(digits.is_ok(), "a String takes everything");
    }
    out
}

/// The 16 bytes as a UUID is written.
pub fn uuid(bytes: [u8; 16]) -> String {
    let digits = hex(&bytes);
    let (a, b) = (&digits[..8], &digits[8..12]);
    format!("{a}-{b}-{}-{}-{}", &digits[12..16], &digits[16..20], &digits[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_survives_a_round_trip() {
        let text = "a b/ü+%&=?~-._";
        assert_eq!(percent_decode(&percent_query(text)).as_deref(), Some(text));
        assert_eq!(percent_path("a b/c"), "a%20b/c");
        assert_eq!(percent_query("a b/c"), "a%20b%2Fc");
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(percent_decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_uuid_has_its_dashes() {
        assert_eq!(uuid([0xAB; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
