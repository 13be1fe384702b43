//! Recognises noise (encrypted or already compressed data) from a few samples, before a codec wastes time on it.
//!
//! It errs on the side of trying: one sample with any structure is enough.

/// Frames shorter than this are cheaper to try than to judge.
const JUDGED_BYTES_MIN: usize = 32 * 1024;
/// One sample in each block of a full extent, so that one compressible block is seen.
const SAMPLES: usize = 16;
const SAMPLE_BYTES: usize = 1024;
/// For n uniformly random bytes the sum of squared counts is n + n(n-1)/256 = 5116, give or take 90.
/// Text is above 40 000, machine code above 20 000, base64 about 17 000; a quarter over the mean is
/// fourteen deviations away from noise and far below anything that entropy coding shrinks by 3 %.
const SQUARES_MAX: u32 = 5116 * 5 / 4;
/// Repeats of four bytes within a sample, allowed by chance: noise has one in 8000 samples.
const REPEATS_MAX: u32 = 2;
const SLOTS: usize = 1024;

pub(super) struct Probe {
    counts: [u32; 256],
    slots: [u16; SLOTS],
}

impl Default for Probe {
    fn default() -> Self {
        Self { counts: [0; 256], slots: [0; SLOTS] }
    }
}

impl Probe {
    /// Whether no sample of the runs shows any structure that a codec could use.
    pub(super) fn is_noise(&mut self, runs: &[&[u8]]) -> bool {
        let total: usize = runs.iter().map(|run| run.len()).sum();
        if total < JUDGED_BYTES_MIN {
            return false;
        }
        let step = total / SAMPLES;
        // The middle of each sixteenth: file headers sit at the starts of blocks.
        (0..SAMPLES).all(|sample| {
            at(runs, sample * step + step / 2).is_none_or(|bytes| self.sample_is_noise(bytes))
        })
    }

    fn sample_is_noise(&mut self, sample: &[u8; SAMPLE_BYTES]) -> bool {
        self.counts.fill(0);
        for &byte in sample {
            self.counts[usize::from(byte)] += 1;
        }
        let squares: u32 = self.counts.iter().map(|count| count * count).sum();
        squares <= SQUARES_MAX && self.repeats(sample) <= REPEATS_MAX
    }

    /// A tiny LZ trial: how often four bytes were seen before, by a table of last positions.
    fn repeats(&mut self, sample: &[u8; SAMPLE_BYTES]) -> u32 {
        self.slots.fill(0);
        let mut repeats = 0;
        for (position, word) in (0_u16..).zip(sample.windows(4)) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let slot = usize::try_from(word.wrapping_mul(2_654_435_761) >> 22).unwrap_or(0) % SLOTS;
            let earlier = usize::from(self.slots[slot]);
            repeats += u32::from(
                earlier < usize::from(position)
                    && sample.get(earlier..earlier + 4) == Some(&word.to_le_bytes()),
            );
            self.slots[slot] = position;
        }
        repeats
    }
}

/// The sample at `offset` of the concatenated runs, where one run holds it whole.
fn at<'a>(runs: &[&'a [u8]], mut offset: usize) -> Option<&'a [u8; SAMPLE_BYTES]> {
    for run in runs {
        if offset < run.len() {
            let start = offset.min(run.len().checked_sub(SAMPLE_BYTES)?);
            return run[start..].first_chunk();
        }
        offset -= run.len();
    }
    None
}
