//! Bytes of a keyboard or a serial line into keys.
//!
//! It takes any bytes; what no key sends is dropped. A lone Escape is told from the start of an arrow key by the pause
//! after it, which the reader reports.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A letter, digit or sign.
    Letter(char),
    /// Enter.
    Enter,
    /// Backspace or delete.
    Backspace,
    /// Escape, or Ctrl-C.
    Escape,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Ctrl-L: draw everything again.
    Redraw,
}

/// What has come of a sequence so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    /// Escape was the last.
    Escape,
    /// Escape and `[` or `O`, and perhaps more.
    Sequence,
}

/// The reader's memory.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    within: Within,
    /// A carriage return may be followed by a line feed that means the same.
    returned: bool,
    /// The first bytes of a letter beyond ASCII, and how many are still to come.
    wide: (Vec<u8>, usize),
}

impl Keys {
    /// Takes a byte.
    pub(crate) fn take(&mut self, byte: u8) -> Option<Key> {
        let after_return = core::mem::replace(&mut self.returned, byte == b'\r');
        match self.within {
            Within::Nothing => self.plain(byte, after_return),
            Within::Escape if byte == b'[' || byte == b'O' => {
                self.within = Within::Sequence;
                None
            }
            Within::Escape if byte == 0x1b => Some(Key::Escape),
            Within::Escape => {
                self.within = Within::Nothing;
                None
            }
            Within::Sequence => {
                // Parameters go on; a letter or ~ ends the sequence.
                if (0x40..=0x7e).contains(&byte) {
                    self.within = Within::Nothing;
                }
                match byte {
                    b'A' => Some(Key::Up),
                    b'B' => Some(Key::Down),
                    _ => None,
                }
            }
        }
    }

    /// Nothing came for a while.
    pub(crate) fn pause(&mut self) -> Option<Key> {
        self.wide = (Vec::new(), 0);
        match core::mem::take(&mut self.within) {
            Within::Escape => Some(Key::Escape),
            _ => None,
        }
    }

    fn plain(&mut self, byte: u8, after_return: bool) -> Option<Key> {
        match byte {
            0x1b => {
                self.within = Within::Escape;
                None
            }
            0x03 => Some(Key::Escape),
            0x0c => Some(Key::Redraw),
            b'\n' if after_return => None,
            b'\r' | b'\n' => Some(Key::Enter),
            0x08 | 0x7f => Some(Key::Backspace),
            0x20..=0x7e => Some(Key::Letter(char::from(byte))),
            0x80.. => self.beyond_ascii(byte),
            _ => None,
        }
    }

    fn beyond_ascii(&mut self, byte: u8) -> Option<Key> {
        let (bytes, missing) = &mut self.wide;
        match byte {
            0xc2..=0xdf => (*bytes, *missing) = (vec![byte], 1),
            0xe0..=0xef => (*bytes, *missing) = (vec![byte], 2),
            0xf0..=0xf4 => (*bytes, *missing) = (vec![byte], 3),
            0x80..=0xbf if *missing > 0 => {
                bytes.push(byte);
                *missing -= 1;
                if *missing == 0 {
                    let text = String::from_utf8(core::mem::take(bytes)).ok()?;
                    return text.chars().next().map(Key::Letter);
                }
            }
            _ => self.wide = (Vec::new(), 0),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        let mut found: Vec<Key> = bytes.iter().filter_map(|byte| keys.take(*byte)).collect();
        found.extend(keys.pause());
        found
    }

    #[test]
    fn keys_of_terminals_are_known() {
        assert_eq!(read(b"aZ~"), [Key::Letter('a'), Key::Letter('Z'), Key::Letter('~')]);
        assert_eq!(read(b"\x1b[A\x1bOB\x1b[1;5A"), [Key::Up, Key::Down, Key::Up]);
        assert_eq!(read(b"\r\n\n\r"), [Key::Enter, Key::Enter, Key::Enter]);
        assert_eq!(
            read(b"\x7f\x08\x0c\x03"),
            [Key::Backspace, Key::Backspace, Key::Redraw, Key::Escape]
        );
        assert_eq!(read(b"\x1b"), [Key::Escape]);
        assert_eq!(read(b"\x1b\x1b"), [Key::Escape, Key::Escape]);
        assert_eq!(read(b"\x1b[3~x"), [Key::Letter('x')], "a key that means nothing here");
        assert_eq!(read("ü€".as_bytes()), [Key::Letter('ü'), Key::Letter('€')]);
        assert_eq!(read(b"\xc3x"), [Key::Letter('x')]);
    }

    #[test]
    fn any_bytes_end_in_keys_or_nothing() {
        let mut random = Random::new(31);
        for _ in 0..20_000 {
            let bytes: Vec<u8> =
                (0..random.below(20)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            let found = read(&bytes);
            assert!(found.len() <= bytes.len() + 1, "{bytes:?}");
            for key in found {
                assert!(!matches!(key, Key::Letter(letter) if letter.is_ascii_control()));
            }
        }
    }
}
