//! Which parts of a write have to be sent: zeros need not be where nothing is, and are cleared where something may be.

use core::ops::Range;

use pipeline::zero::is_zero;

use crate::hydrate::pages::{PAGE_BYTES, PUT_BYTES_MAX};

/// Zeros between two parts are worth a request of their own from so many on: at Azure's rates for one blob, 500 requests and
/// 60 MiB in a second, a request costs as much as 120 KiB, and a block that the vault has is not all zeros.
const GAP_BYTES: usize = 65_536;
const PAGE: usize = 512;
const _: () = assert!(PAGE as u64 == PAGE_BYTES, "one page, in two types");

/// A part of a write, by its bytes in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// To be put.
    Put(Range<usize>),
    /// All zeros where something may be.
    Clear(Range<usize>),
}

/// The parts of whole pages, in order; `held` says that something else may be there.
pub(super) fn split(bytes: &[u8], held: bool) -> Vec<Part> {
    debug_assert!(bytes.len().is_multiple_of(PAGE), "whole pages only");
    let mut parts: Vec<Part> = Vec::new();
    let mut at = 0;
    for mut data in data(bytes) {
        if held && data.start - at >= GAP_BYTES {
            parts.push(Part::Clear(at..data.start));
        } else if held {
            data.start = at;
        }
        at = data.end;
        parts.push(Part::Put(data));
    }
    let zeros = at..bytes.len();
    match parts.last_mut() {
        _ if !held || zeros.is_empty() => {}
        Some(Part::Put(last)) if zeros.len() < GAP_BYTES => last.end = zeros.end,
        _ => parts.push(Part::Clear(zeros)),
    }
    parts.into_iter().flat_map(cut).collect()
}

/// What is not zero, with the short zeros between.
fn data(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        let start = number * PAGE;
        match found.last_mut() {
            _ if is_zero(page) => {}
            Some(last) if start - last.end < GAP_BYTES => last.end = start + page.len(),
            _ => found.push(start..start + page.len()),
        }
    }
    found
}

/// Puts of more than Azure takes at once are several.
fn cut(part: Part) -> Vec<Part> {
    match part {
        Part::Put(range) => {
            let starts = range.clone().step_by(PUT_BYTES_MAX);
            starts.map(|start| Part::Put(start..range.end.min(start + PUT_BYTES_MAX))).collect()
        }
        clear @ Part::Clear(_) => vec![clear],
    }
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    fn content(pieces: &[(usize, u8)]) -> Vec<u8> {
        pieces.iter().flat_map(|(length, byte)| vec![*byte; *length]).collect()
    }

    #[test]
    fn zeros_at_the_edges_and_long_ones_between_are_not_sent() {
        let bytes =
            content(&[(1024, 0), (512, 1), (512, 0), (512, 1), (65_536, 0), (512, 1), (512, 0)]);
        assert_eq!(split(&bytes, false), [Part::Put(1024..2560), Part::Put(68_096..68_608)]);
        assert_eq!(
            split(&bytes, true),
            [Part::Put(0..2560), Part::Clear(2560..68_096), Part::Put(68_096..69_120)]
        );
        assert_eq!(split(&[0; 4096], false), []);
        assert_eq!(split(&[0; 131_072], true), [Part::Clear(0..131_072)]);
        assert_eq!(split(&[0; 4096], true), [Part::Clear(0..4096)]);
        let long = vec![1; PUT_BYTES_MAX + 512];
        let cut = [Part::Put(0..PUT_BYTES_MAX), Part::Put(PUT_BYTES_MAX..PUT_BYTES_MAX + 512)];
        assert_eq!(split(&long, false), cut);
    }

    #[test]
    fn whatever_is_split_reads_the_same() {
        for seed in 1..200 {
            let mut random = Random::new(seed);
            let mut bytes = Vec::new();
            for _ in 0..random.below(12) {
                let pages = 1 + usize::try_from(random.below(200)).unwrap();
                let byte = u8::from(random.below(2) == 0);
                bytes.extend(vec![byte; pages * PAGE]);
            }
            for held in [false, true] {
                let mut there = vec![if held { 9 } else { 0 }; bytes.len()];
                let mut end = 0;
                for part in split(&bytes, held) {
                    let (Part::Put(range) | Part::Clear(range)) = part.clone();
                    assert!(end <= range.start && range.start < range.end, "seed {seed}");
                    end = range.end;
                    match part {
                        Part::Put(range) => there[range.clone()].copy_from_slice(&bytes[range]),
                        Part::Clear(range) => there[range].fill(0),
                    }
                }
                assert!(there == bytes, "seed {seed}, held {held}");
            }
        }
    }
}
