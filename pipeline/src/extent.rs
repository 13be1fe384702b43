//! Which blocks of an extent go into a frame, as the fewest contiguous runs of the buffer that they were read into.

use heapless::Vec;

use crate::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX};

/// The runs of one frame, in order.
pub type Runs<'a> = Vec<&'a [u8], EXTENT_BLOCKS_MAX>;

/// The blocks whose bit is set in `keep` (bit 0 is the first block of `extent`), joined where they touch.
///
/// One run is compressed and sealed without being gathered first, so blocks are joined here, where they are
/// still one buffer: safe code cannot join two slices again. Bits past the extent's end are ignored, and so is
/// an incomplete last block.
#[must_use]
pub fn runs(extent: &[u8], keep: u16) -> Runs<'_> {
    let blocks = (extent.len() / BLOCK_BYTES).min(EXTENT_BLOCKS_MAX);
    let kept = |block: usize| block < blocks && keep & (1 << block) != 0;
    let mut runs = Runs::new();
    let mut block = 0;
    while block < blocks {
        let start = block;
        while kept(block) {
            block += 1;
        }
        if block > start {
            runs.push(&extent[start * BLOCK_BYTES..block * BLOCK_BYTES])
                .expect("there are no more runs than blocks");
        }
        block += 1;
    }
    runs
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn touching_blocks_are_one_run_of_the_buffer_itself() {
        let extent = vec![0_u8; EXTENT_BLOCKS_MAX * BLOCK_BYTES];
        let all = runs(&extent, u16::MAX);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].as_ptr_range(), extent.as_ptr_range());
        let some = runs(&extent, 0b1000_0000_0110_0001);
        let starts: vec::Vec<usize> =
            some.iter().map(|run| run.as_ptr() as usize - extent.as_ptr() as usize).collect();
        assert_eq!(starts, [0, 5 * BLOCK_BYTES, 15 * BLOCK_BYTES]);
        assert_eq!(some[1].len(), 2 * BLOCK_BYTES);
    }

    #[test]
    fn every_mask_keeps_exactly_its_blocks() {
        let mut extent = vec![0_u8; EXTENT_BLOCKS_MAX * BLOCK_BYTES];
        for (number, block) in (0_u8..).zip(extent.chunks_exact_mut(BLOCK_BYTES)) {
            block.fill(number);
        }
        for keep in 0..=u16::MAX {
            let kept = runs(&extent, keep)
                .iter()
                .flat_map(|run| run.chunks_exact(BLOCK_BYTES))
                .fold(0_u16, |mask, block| mask | (1 << block[0]));
            assert_eq!(kept, keep);
        }
    }

    #[test]
    fn bits_past_the_end_are_ignored() {
        let extent = vec![0_u8; 2 * BLOCK_BYTES + 5];
        assert_eq!(runs(&extent, u16::MAX)[0].len(), 2 * BLOCK_BYTES);
        assert!(runs(&[], u16::MAX).is_empty());
    }
}
