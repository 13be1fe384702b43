//! What a source told of the instant of its point: how long it stood still, its own clock, remarks for a person.
//!
//! It stands behind a record that has a manifest, where a program from before it looks no further; a record without it
//! is as it always was.

use serde::{Deserialize, Serialize};

/// Most remarks of one point.
pub const REMARKS_MAX: usize = 32;
/// Longest remark, in bytes.
pub const REMARK_BYTES_MAX: usize = 200;

/// What a source told of the instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How long its file systems were frozen, in microseconds; `None` where nothing was.
    pub frozen_micros: Option<u64>,
    /// Its own clock at the instant, milliseconds since 1970.
    pub source_time: Option<u64>,
    remarks: Vec<String>,
}

impl Told {
    /// How long file systems were frozen and the source's clock, as far as it said; no remarks yet.
    #[must_use]
    pub fn new(frozen_micros: Option<u64>, source_time: Option<u64>) -> Self {
        Self { frozen_micros, source_time, remarks: Vec::new() }
    }

    /// Whether it told nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Remarks for a person, one line each.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Adds a remark: control characters become blanks, what is too long loses its end, what is too many is left out.
    pub fn remark(&mut self, text: &str) {
        if self.remarks.len() == REMARKS_MAX {
            return;
        }
        let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
        let mut line: String = text.chars().map(plain).collect();
        line.truncate(line.floor_char_boundary(REMARK_BYTES_MAX));
        self.remarks.push(line);
    }

    /// Whether it is what `remark` could have made.
    pub(super) fn is_bounded(&self) -> bool {
        let short = |remark: &String| remark.len() <= REMARK_BYTES_MAX;
        self.remarks.len() <= REMARKS_MAX && self.remarks.iter().all(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_few_short_and_one_line_each() {
        let mut told = Told::default();
        assert!(told.is_empty());
        told.remark("two\nlines");
        told.remark(&"ä".repeat(150));
        (0..100).for_each(|number| told.remark(&format!("remark {number}")));
        assert_eq!(told.remarks()[0], "two lines");
        assert_eq!(told.remarks()[1], "ä".repeat(100));
        assert!(told.is_bounded() && told.remarks().len() == REMARKS_MAX);
        assert!(!told.is_empty());
    }
}
