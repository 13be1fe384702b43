//! What can go wrong with a disk: named odds and exact ranges. The seed fixes what happens when.

use core::ops::Range;

/// Faults of a simulated disk; the default is none. Odds are per million requests of their kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Fixes everything that chance decides.
    pub seed: u64,
    /// A read fails, saying so.
    pub read_error_per_million: u32,
    /// A write fails, saying so; nothing of it is on the disk.
    pub write_error_per_million: u32,
    /// A write fails, saying so; some of its sectors are on the disk.
    pub torn_write_per_million: u32,
    /// A write lands elsewhere and reports success.
    pub misdirected_write_per_million: u32,
    /// A write reports success and is nowhere.
    pub lost_write_per_million: u32,
    /// A read gives back one wrong bit and reports success.
    pub flipped_read_per_million: u32,
    /// A flush fails, saying so; what it should have made durable no longer will be.
    pub flush_error_per_million: u32,
    /// A completion overtakes earlier ones.
    pub reorder_per_million: u32,
    /// Reads that touch one of these ranges fail.
    pub read_error_ranges: Vec<Range<u64>>,
    /// Writes that touch one of these ranges fail.
    pub write_error_ranges: Vec<Range<u64>>,
    /// The disk is gone after this many requests.
    pub vanish_after_requests: Option<u64>,
    /// The disk shrinks after a number of requests.
    pub shrink: Option<Shrink>,
    /// Writes fail for want of space after this many bytes.
    pub full_after_bytes: Option<u64>,
}

/// A disk that shrinks in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// After this many requests.
    pub after_requests: u64,
    /// To this size.
    pub bytes: u64,
}

/// Whether a transfer touches one of the ranges; the first byte where it does.
pub(crate) fn touched(ranges: &[Range<u64>], offset: u64, length: u64) -> Option<u64> {
    let end = offset.saturating_add(length);
    ranges
        .iter()
        .filter(|range| range.start < end && offset < range.end)
        .map(|range| range.start.max(offset))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open_and_the_first_touched_byte_is_named() {
        let ranges = [100..200, 50..60];
        assert_eq!(touched(&ranges, 0, 50), None);
        assert_eq!(touched(&ranges, 0, 51), Some(50));
        assert_eq!(touched(&ranges, 60, 40), None);
        assert_eq!(touched(&ranges, 55, 100), Some(55));
        assert_eq!(touched(&ranges, 199, 1), Some(199));
        assert_eq!(touched(&ranges, 200, u64::MAX), None);
        assert_eq!(touched(&[], 0, u64::MAX), None);
    }
}
