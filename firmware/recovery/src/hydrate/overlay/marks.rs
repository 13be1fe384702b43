//! Which blocks are kept, and how: two bits for each block of a leaf in which anything changed.

use std::collections::BTreeMap;

/// Blocks that one entry covers: a leaf of a map, 16 MiB of disk.
const SPAN: u64 = 256;

/// How a changed block is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// By its number alone: it is all zeros.
    Zero,
    /// With its content.
    Content,
}

/// Numbers of blocks, each with how it is kept.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<u64, Span>);

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    changed: [u64; 4],
    zero: [u64; 4],
}

impl Marks {
    pub(super) fn mark(&mut self, number: u64, kept: Kept) {
        let span = self.0.entry(number / SPAN).or_default();
        let (word, bit) = place(number);
        span.changed[word] |= bit;
        match kept {
            Kept::Zero => span.zero[word] |= bit,
            Kept::Content => span.zero[word] &= !bit,
        }
    }

    pub(super) fn find(&self, number: u64) -> Option<Kept> {
        let span = self.0.get(&(number / SPAN))?;
        let (word, bit) = place(number);
        if span.changed[word] & bit == 0 {
            return None;
        }
        Some(if span.zero[word] & bit == 0 { Kept::Content } else { Kept::Zero })
    }

    pub(super) fn all(&self) -> Vec<u64> {
        let of_span = |(first, span): (&u64, &Span)| {
            let (first, changed) = (first * SPAN, span.changed);
            (first..first + SPAN).filter(move |number| {
                let (word, bit) = place(*number);
                changed[word] & bit != 0
            })
        };
        self.0.iter().flat_map(of_span).collect()
    }
}

fn place(number: u64) -> (usize, u64) {
    let word = usize::try_from(number % SPAN / 64).expect("one of four");
    (word, 1 << (number % 64))
}
