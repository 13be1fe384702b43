//! A volume in two pieces on the first disk, and snapshots of it as LVM makes them: they change what says where volumes lie, and
//! write to what is no volume's.

use core::time::Duration;

use hal_sim::SimDisk;
use hal_sim::random::Random;
use pipeline::limits::BLOCK_BYTES;

use super::{BLOCK, SIZES, Shared, State, Stirred};
use crate::blocks::BlockSet;
use crate::cut::{Piece, Snapshots, Volume, Volumes};

/// Its pieces, first block and how many; the second lies before the first.
const PIECES: [(u64, u64); 2] = [(21, 10), (8, 9)];
const METADATA: core::ops::Range<u64> = 5..8;
const FREE: core::ops::Range<u64> = 33..38;
const BLOCKS: u64 = PIECES[0].1 + PIECES[1].1;

pub(super) fn is_inside(disk: usize, block: u64) -> bool {
    disk == 0 && PIECES.iter().any(|(first, blocks)| (*first..first + blocks).contains(&block))
}

pub(super) fn is_free(disk: usize, block: u64) -> bool {
    disk == 0 && FREE.contains(&block)
}

pub(super) fn somewhere(random: &mut Random) -> (usize, u64) {
    let at = random.below(BLOCKS);
    let (first, blocks) = PIECES[0];
    (0, if at < blocks { first + at } else { PIECES[1].0 + at - blocks })
}

impl State {
    /// A first write behind the snapshot moves what was there.
    pub(super) fn copy_on_write(&mut self, disk: usize, block: u64) {
        if !self.snapshot_is_there || !is_inside(disk, block) {
            return;
        }
        let overflows = self.choice.overflows;
        self.overflowed |= self.random.happens(overflows);
        let place = FREE.start + self.random.below(FREE.end - FREE.start);
        self.put(0, place);
        self.marks[0].insert(place);
    }
}

impl Snapshots<Stirred> for Shared {
    fn volumes(&mut self) -> Volumes {
        self.step();
        // Somebody made a volume a moment ago.
        let mut state = self.lock();
        for block in METADATA {
            state.put(0, block);
            state.marks[0].insert(block);
        }
        drop(state);
        let empty = || SIZES.map(BlockSet::new).to_vec();
        let (mut metadata, mut free) = (empty(), empty());
        metadata[0].insert_range(METADATA.start, METADATA.end);
        free[0].insert_range(FREE.start, FREE.end);
        let pieces = PIECES.map(|(first, blocks)| Piece { disk: 0, first, blocks }).to_vec();
        let (name, number, room) = ("group/volume".to_owned(), (253, 0), 1000);
        let found = vec![Volume { name, number, pieces, metadata, free, room }];
        Volumes { found, others: Vec::new() }
    }

    fn take(&mut self, _: &Volume, _: u64, _: Duration) -> Result<(), String> {
        self.step();
        let mut state = self.lock();
        let before = state.image();
        for _ in 0..2 {
            for block in METADATA {
                state.put(0, block);
                state.marks[0].insert(block);
            }
            drop(state);
            self.step();
            state = self.lock();
        }
        // What is under way is waited for, and then nothing is until the snapshot is there.
        while !state.flying.is_empty() {
            state.complete_one();
        }
        let mut instant = state.image();
        for block in METADATA {
            let at = usize::try_from(block * BLOCK).unwrap();
            let range = at..at + BLOCK_BYTES;
            instant[0][range.clone()].copy_from_slice(&before[0][range]);
        }
        (state.instant, state.snapshot_is_there) = (Some(instant), true);
        let trouble = state.choice.trouble;
        if state.random.happens(trouble) {
            return Err("it failed".to_owned());
        }
        drop(state);
        self.step();
        Ok(())
    }

    fn open(&mut self) -> Result<Stirred, String> {
        self.step();
        let state = self.lock();
        let disk = SimDisk::new(BLOCKS * BLOCK);
        let shown =
            if state.choice.shows_now { state.image() } else { state.instant.clone().unwrap() };
        let mut at = 0;
        for (first, blocks) in PIECES {
            let [from, to] = [first, first + blocks].map(|at| usize::try_from(at * BLOCK).unwrap());
            disk.load(at, &shown[0][from..to]);
            at += blocks * BLOCK;
        }
        drop(state);
        Ok(Stirred(disk, self.clone()))
    }

    fn is_same(&mut self) -> bool {
        self.step();
        true
    }

    fn is_whole(&mut self) -> bool {
        self.step();
        !self.lock().overflowed
    }

    fn remove(&mut self) -> Result<(), String> {
        self.step();
        let mut state = self.lock();
        if state.snapshot_is_there {
            state.snapshot_is_there = false;
            for block in METADATA {
                state.put(0, block);
                state.marks[0].insert(block);
            }
        }
        Ok(())
    }
}
