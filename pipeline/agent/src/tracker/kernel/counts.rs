//! What programs counted, for people and tests: nothing is decided by it.

use hal_linux::bpf::Program;

use super::{KernelTracker, held};

impl KernelTracker {
    /// How often a program did not run because it was running already; the other copies did.
    #[must_use]
    pub fn misses(&self) -> Vec<u64> {
        let of = |program: &Program| program.misses().ok().flatten().unwrap_or(0);
        self.programs.iter().map(of).collect()
    }

    /// How many writes of a disk were seen.
    #[must_use]
    pub fn writes(&self, disk: usize) -> u64 {
        self.slot(disk).map_or(0, |at| self.maps.counters(at).writes)
    }

    /// How many discards of a disk had several ranges.
    #[must_use]
    pub fn many_ranges(&self, disk: usize) -> u64 {
        self.slot(disk).map_or(0, |at| self.maps.counters(at).ranges)
    }

    /// Numbers of paths that were learned for a disk, beside its own.
    #[must_use]
    pub fn learned(&self, disk: usize) -> Vec<(u32, u32)> {
        let Ok(at) = self.slot(disk) else { return Vec::new() };
        let own = self.slots.get(at).map(|slot| slot.record.key);
        let keys = self.maps.keys_of(at).into_iter().filter(|key| Some(*key) != own);
        keys.map(|key| (key >> 20, key & 0xF_FFFF)).collect()
    }

    /// Bytes of memory that marks, and what is held, take in the kernel.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let held =
            held::words_for(&self.slots.iter().map(|slot| slot.place.blocks).collect::<Vec<_>>());
        u64::try_from(self.maps.marks.len()).unwrap_or(u64::MAX).saturating_add(held) * 8
    }
}
