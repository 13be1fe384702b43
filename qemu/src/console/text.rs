//! Bytes of a serial line into lines, and lines into events. Total: a guest prints what it likes.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::console::Line;

/// What begins an event's line.
const MARK: &str = "@lifeboat ";
/// A line longer than this is cut: a guest gone wild must not take our memory a line at a time.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// A line for machines: `@lifeboat NAME KEY=VALUE ...`; in a value `%` and two hexadecimal digits are a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub name: String,
    /// What it says of it.
    pub fields: BTreeMap<String, String>,
    /// When, counted from the machine's start.
    pub at: Duration,
}

impl Event {
    /// The event of a line, if it is one. Other words may stand before it: a kernel prints when it likes.
    pub(crate) fn parse(line: &Line) -> Option<Self> {
        let (_, rest) = line.text.split_once(MARK)?;
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let name = words.next()?.to_owned();
        let pair = |word: &str| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), decoded(value)))
        };
        Some(Self { name, fields: words.filter_map(pair).collect(), at: line.at })
    }

    /// A field, or nothing.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    /// A field that is a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.field(key)?.parse().ok()
    }
}

/// A value as it was before it was made one word: `%` and two hexadecimal digits are a byte.
fn decoded(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let byte = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where in a control sequence the splitter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sequence {
    #[default]
    None,
    /// After an escape.
    Escape,
    /// In `ESC [ ...`: ends with a letter or the like.
    Control,
    /// In `ESC ] ...`: ends with a bell or `ESC \`.
    Command,
}

/// Cuts bytes into lines and leaves out control sequences.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    pending: Vec<u8>,
    shown: String,
    sequence: Sequence,
}

impl Splitter {
    /// Takes bytes and gives the lines that they complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            self.sequence = match (self.sequence, byte) {
                (Sequence::None, 0x1b) => Sequence::Escape,
                (Sequence::None, byte) => {
                    if let Some(line) = self.plain(*byte) {
                        lines.push(line);
                    }
                    Sequence::None
                }
                (Sequence::Escape, b'[') => Sequence::Control,
                (Sequence::Escape, b']') => Sequence::Command,
                // `ESC ( B` and the like: the letter that follows ends it.
                (Sequence::Escape, 0x20..=0x2f) => Sequence::Escape,
                (Sequence::Control, 0x40..=0x7e) => {
                    // A cursor that moves elsewhere begins a new piece of text.
                    if matches!(byte, b'H' | b'f' | b'J') {
                        lines.extend(self.cut());
                    }
                    Sequence::None
                }
                (Sequence::Command, 0x07) | (Sequence::Escape, _) => Sequence::None,
                (Sequence::Command, 0x1b) => Sequence::Escape,
                // A line's end ends every sequence: what was begun was no sequence.
                (_, b'\n') => {
                    lines.extend(self.cut());
                    Sequence::None
                }
                (within, _) => within,
            };
        }
        self.shown = String::from_utf8_lossy(&self.pending).into_owned();
        lines
    }

    /// What is printed of the line that is not complete.
    pub(crate) fn pending(&self) -> &str {
        &self.shown
    }

    /// The last line, where none ends it.
    pub(crate) fn finish(&mut self) -> Option<String> {
        self.shown.clear();
        self.cut()
    }

    fn plain(&mut self, byte: u8) -> Option<String> {
        match byte {
            b'\n' => {
                // An empty line is a line.
                let line = self.cut();
                return Some(line.unwrap_or_default());
            }
            b'\r' | 0x07 | 0 => (),
            0x08 => {
                self.pending.pop();
            }
            other => self.pending.push(other),
        }
        if self.pending.len() >= LINE_BYTES_MAX { self.cut() } else { None }
    }

    fn cut(&mut self) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let bytes = core::mem::take(&mut self.pending);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
