//! Bytes of a serial line into lines, and lines into events. Total: a guest prints what it likes.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::console::Line;

/// What begins an event's line.
const MARK: &str = "@lifeboat ";
/// A line longer than this is cut: a guest gone wild must not take our memory a line at a time.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// A line for machines: `@lifeboat NAME KEY=VALUE ...`; a value with spaces is in double quotes.
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
        let mut words = words(rest).into_iter();
        let name = words.next().filter(|name| !name.is_empty())?;
        let pair = |word: String| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
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

/// Words, kept together by double quotes, in which a backslash lets a quote or a backslash stand for itself.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '\\' if quoted => word.extend(letters.next()),
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(core::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
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
