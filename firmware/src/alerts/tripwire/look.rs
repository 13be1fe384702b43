//! The second look: blocks that changed are read as they were and as they are. What was written where nothing was is a copy; what
//! held something that compresses and is noise now was encrypted, as far as anybody can tell without its key.
//!
//! Noise is told from compressed data by how evenly the 256 values of a byte occur: sealed bytes to within chance; gzip, zstd,
//! JPEG do not. Arithmetic coders (xz, newer video) do, so only that they lie where something else lay tells those apart.

use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::chain::Link;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::map::tree::some_differing;
use pipeline_vault::points::ChainView;
use pipeline_vault::reader::PointReader;

/// Blocks that are read of a disk, as they were and as they are.
const BLOCKS_MAX: usize = 96;
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Bits in a byte of what has structure; what is packed or sealed has nearly 8.
const STRUCTURED_BITS: f64 = 7.2;
/// Of noise the statistic is 255 on average, and above this once in ten thousand blocks. The middle of deflate's blocks has 370
/// to 840, of zstd's 440 to 2400 (measured over libraries and sources of Debian 12).
const NOISE_MOST: f64 = 345.0;
/// Fewer blocks of a kind say nothing.
const TURNED_LEAST: u64 = 8;
/// This much of what changed must have been turned into noise, of a hundred.
const TURNED_PERCENT: u64 = 25;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Blocks that were read.
    pub blocks: u64,
    /// Of those, how many had structure and are noise now.
    pub turned: u64,
    /// How many are noise now, whatever they were.
    pub noise: u64,
}

impl Look {
    /// Whether it is what encrypting files in their place leaves.
    #[must_use]
    pub fn is_encrypting(&self) -> bool {
        self.turned >= TURNED_LEAST && self.turned * 100 >= self.blocks * TURNED_PERCENT
    }
}

/// Compares two points of a chain. `below` gives a random number below another.
///
/// Errors: the vault fails, or is damaged.
pub fn look(
    access: &Access,
    view: &ChainView,
    (before, after): (&Link, &Link),
    below: &mut dyn FnMut(u64) -> u64,
) -> Result<Look, Error> {
    let mut look = Look::default();
    let (Some(old), Some(new)) = (before.record.point(), after.record.point()) else {
        return Ok(look);
    };
    let pages = FrameReader::new(access, view.server, &view.upkeep, CACHE_BYTES)?;
    for disk in &new.disks {
        // A disk that came, or was made larger, was not encrypted in its place.
        let Some(was) =
            old.disks.iter().find(|was| was.name == disk.name && was.bytes == disk.bytes)
        else {
            continue;
        };
        let (blocks, _) = some_differing(&pages, (&was.root, &disk.root), BLOCKS_MAX, below)?;
        let then = PointReader::open(access, view, before, &disk.name, CACHE_BYTES)?;
        let now = PointReader::open(access, view, after, &disk.name, CACHE_BYTES)?;
        for block in blocks {
            let block_bytes = u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
            let offset = block.saturating_mul(block_bytes);
            if offset.saturating_add(block_bytes) > disk.bytes
                || now.is_unread(offset, block_bytes)?
                || then.is_unread(offset, block_bytes)?
            {
                continue;
            }
            let mut content = [vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]];
            then.read_at(offset, &mut content[0])?;
            now.read_at(offset, &mut content[1])?;
            look.take(&content[0], &content[1]);
        }
    }
    Ok(look)
}

impl Look {
    fn take(&mut self, then: &[u8], now: &[u8]) {
        self.blocks += 1;
        if !is_noise(now) {
            return;
        }
        self.noise += 1;
        self.turned += u64::from(is_structured(then));
    }
}

fn counts(bytes: &[u8]) -> [u32; 256] {
    let mut counts = [0; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    counts
}

/// Whether its bytes occur as evenly as chance has it.
fn is_noise(bytes: &[u8]) -> bool {
    let expected = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX)) / 256.0;
    let off = |count: u32| (f64::from(count) - expected).powi(2) / expected;
    counts(bytes).into_iter().map(off).sum::<f64>() <= NOISE_MOST
}

/// Whether it holds something, and not something packed.
fn is_structured(bytes: &[u8]) -> bool {
    let all = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let bits = |count: u32| {
        let share = f64::from(count) / all;
        if count == 0 { 0.0 } else { -share * share.log2() }
    };
    let counts = counts(bytes);
    let bits: f64 = counts.into_iter().map(bits).sum();
    // All zeros hold nothing.
    bits < STRUCTURED_BITS && counts[0] < u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hal_sim::random::Random;

    fn noise(seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        Random::new(seed).fill(&mut bytes);
        bytes
    }

    fn text() -> Vec<u8> {
        include_str!("look.rs").bytes().cycle().take(BLOCK_BYTES).collect()
    }

    #[test]
    fn noise_is_told_from_what_is_packed_and_from_text() {
        assert!((0..2000).filter(|seed| !is_noise(&noise(*seed))).count() <= 4);
        assert!(!is_noise(&text()) && !is_noise(&vec![0; BLOCK_BYTES]));
        assert!(
            is_structured(&text())
                && !is_structured(&noise(1))
                && !is_structured(&vec![0; BLOCK_BYTES])
        );
        // A program of ours, packed as gzip packs it.
        let program = std::fs::read("/proc/self/exe").unwrap();
        let deflated = |bytes: &[u8]| miniz_oxide::deflate::compress_to_vec(bytes, 6);
        let packed = deflated(&program[..program.len().min(16 << 20)]);
        let blocks: Vec<&[u8]> = packed.chunks_exact(BLOCK_BYTES).collect();
        let noisy = blocks.iter().filter(|block| is_noise(block)).count();
        assert!(blocks.len() >= 8 && noisy * 5 <= blocks.len(), "{noisy} of {}", blocks.len());
        assert!(blocks.iter().filter(|block| is_structured(block)).count() * 5 <= blocks.len());
    }

    #[test]
    fn only_structure_that_became_noise_is_encrypting() {
        let all = |then: &[u8], now: &[u8]| {
            let mut look = Look::default();
            (0..16).for_each(|_| look.take(then, now));
            look.is_encrypting()
        };
        assert!(all(&text(), &noise(1)));
        assert!(!all(&vec![0; BLOCK_BYTES], &noise(1)), "a film copied to where nothing was");
        assert!(!all(&noise(2), &noise(1)), "an encrypted backup written over the last one");
        assert!(!all(&text(), &text()));
        assert!(!Look { blocks: 100, turned: 20, noise: 90 }.is_encrypting());
        assert!(!Look { blocks: 7, turned: 7, noise: 7 }.is_encrypting());
    }
}
