//! Recognises noise (encrypted or already compressed data) from a few samples, before a codec wastes time on it.
//!
//! It errs on the side of trying: one sample with any structure is enough.

/// Frames shorter than this are cheaper to try than to judge.
const JUDGED_BYTES_MIN: usize = 32 * 1024;
/// One sample in each block of a full extent, so that one compressible block is seen.
const SAMPLES: usize = 16;
const SAMPLE_BYTES: usize = 1024;
/// For n uniformly random bytes the sum of squared counts is n + n(n-1)/256 = 5116, give or take 90.
/// Text is above 40 000, machine code above 20 000, base64 about 17 000. An eighth over the mean is seven
/// deviations away from noise, and what lies below it shrinks by two percent at most.
const SQUARES_MAX: u32 = 5116 * 9 / 8;
/// Repeats of four bytes within a sample, allowed by chance: noise has one in 8000 samples.
const REPEATS_MAX: u32 = 2;
const SLOTS: usize = 1024;

pub(super) struct Probe {
    counts: [u16; 256],
    words: [u32; SLOTS],
}

impl Default for Probe {
    fn default() -> Self {
        Self { counts: [0; 256], words: [0; SLOTS] }
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
        (0..SAMPLES)
            .filter_map(|sample| at(runs, sample * step + step / 2))
            .all(|sample| self.looks_uniform(sample) && self.repeats(sample) <= REPEATS_MAX)
    }

    fn looks_uniform(&mut self, sample: &[u8; SAMPLE_BYTES]) -> bool {
        self.counts.fill(0);
        for &byte in sample {
            self.counts[usize::from(byte)] += 1;
        }
        let square = |&count: &u16| u32::from(count) * u32::from(count);
        self.counts.iter().map(square).sum::<u32>() <= SQUARES_MAX
    }

    /// A tiny LZ trial: how often four bytes were seen before, by a table that keeps the last of each hash.
    fn repeats(&mut self, sample: &[u8; SAMPLE_BYTES]) -> u32 {
        // An empty slot equals a word of zeros; noise has none of those either.
        self.words.fill(0);
        let mut word = 0_u32;
        let mut repeats = 0;
        for &byte in sample {
            word = (word << 8) | u32::from(byte);
            let slot = (word.wrapping_mul(2_654_435_761) >> 22) as usize % SLOTS;
            repeats += u32::from(self.words[slot] == word);
            self.words[slot] = word;
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
