//! Whose updates an image takes, as a file inside it: lines of `release HEX`, and `development` where nobody guards these keys.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

/// Public keys at most.
const KEYS_MAX: usize = 8;
const BYTES_MAX: usize = 4096;

/// What an image trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Public keys of Ed25519 by which releases are signed; the one in use and the next.
    pub release: Vec<[u8; 32]>,
    /// Whether the image was signed by a key that nobody guards.
    pub development: bool,
}

impl Keys {
    /// Reads the file; what is not understood is passed over, since a newer builder may say more.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut keys = Self::default();
        let text = text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or(text);
        for line in text.lines() {
            match line.split_once(' ') {
                None if line == "development" => keys.development = true,
                Some(("release", digits)) if keys.release.len() < KEYS_MAX => {
                    keys.release.extend(key(digits));
                }
                _ => {}
            }
        }
        keys
    }

    /// The words for a person where the keys are for development only, else nothing.
    #[must_use]
    pub fn mark(&self) -> &'static str {
        if self.development { " (development key)" } else { "" }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.release {
            let mut digits = String::new();
            for byte in key {
                write!(digits, "{byte:02x}")?;
            }
            writeln!(f, "release {digits}")?;
        }
        if self.development { writeln!(f, "development") } else { Ok(()) }
    }
}

fn key(digits: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    let digits = digits.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn keys_are_read_back_and_strange_lines_passed_over() {
        let keys = Keys { release: [[1; 32], [0xfe; 32]].to_vec(), development: true };
        assert_eq!(Keys::parse(&keys.to_string()), keys);
        let text = "release 12\nnew words\nrelease\ndevelopment yes\n+\nrelease \u{e4}\n";
        assert_eq!(Keys::parse(text), Keys::default());
        let many = Keys { release: [[7; 32]; 20].to_vec(), development: false };
        assert_eq!(Keys::parse(&many.to_string()).release.len(), KEYS_MAX);
    }
}
