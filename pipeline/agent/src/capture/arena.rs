//! What was read under a freeze stays in memory until file systems are thawed: a fixed amount, and no byte more.

use hal::disk::{Disk, DiskError};

use super::{Filled, Pool, Source, Taker, Trouble, Unread};
use crate::blocks::BlockSet;

/// Blocks that cannot be read, of one freeze.
const UNREAD_MAX: usize = 4096;

/// Memory for what is read under a freeze.
#[derive(Debug)]
pub struct Arena<B> {
    pool: Pool<B>,
    held: Vec<Filled<B>>,
    unread: Vec<Unread>,
    capacity: usize,
}

/// Blocks in the order in which they were read: where one is there twice, the later is the right one.
pub type Held<B> = Filled<B>;

impl<B: AsRef<[u8]> + AsMut<[u8]> + Send> Arena<B> {
    /// An arena of so many bytes, for disks like this one.
    pub fn new<D: Disk<Buffer = B>>(disk: &mut D, bytes: usize) -> Result<Self, DiskError> {
        let pool = Pool::new(disk, bytes)?;
        let capacity = pool.free();
        let (held, unread) = (Vec::with_capacity(capacity), Vec::with_capacity(UNREAD_MAX));
        Ok(Self { pool, held, unread, capacity })
    }

    /// Blocks that surely fit, wherever they lie.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        u64::try_from(self.capacity).unwrap_or(u64::MAX)
    }

    /// Whether nothing is held and all memory is free.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.pool.free() == self.capacity
    }

    /// What was read, in its order.
    pub fn held(&self) -> impl Iterator<Item = &Held<B>> {
        self.held.iter()
    }

    /// What could not be read.
    #[must_use]
    pub fn unread(&self) -> &[Unread] {
        &self.unread
    }

    /// The bytes of everything that was read, to be changed before it is sent.
    pub fn held_mut(&mut self) -> impl Iterator<Item = &mut Held<B>> {
        self.held.iter_mut()
    }

    /// Forgets everything; its memory is free again.
    pub fn clear(&mut self) {
        for filled in self.held.drain(..) {
            self.pool.give(filled.buffer);
        }
        self.unread.clear();
        self.pool.failed.clear();
    }

    /// Reads the blocks of these sets into the arena, behind what is there. Before every request `go_on` is asked.
    pub fn read<D: Disk<Buffer = B>>(
        &mut self,
        sources: &mut [Source<D>],
        sets: &[BlockSet],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Trouble> {
        let Self { pool, held, unread, .. } = self;
        super::read(sources, sets, pool, &mut Keeper { held, unread, go_on })
    }

    /// Its memory, for reading while nothing is held.
    pub fn pool(&mut self) -> &mut Pool<B> {
        self.clear();
        &mut self.pool
    }
}

impl<B: AsMut<[u8]>> Filled<B> {
    /// What the blocks hold, to be changed before it is sent.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let length = super::block_bytes(self.blocks);
        self.buffer.as_mut().get_mut(..length).unwrap_or_default()
    }
}

/// Keeps what is read.
struct Keeper<'a, B> {
    held: &'a mut Vec<Filled<B>>,
    unread: &'a mut Vec<Unread>,
    go_on: &'a mut dyn FnMut() -> bool,
}

impl<B> Taker<B> for Keeper<'_, B> {
    fn take(&mut self, filled: Filled<B>) -> (Option<B>, Result<(), Trouble>) {
        // There is a place for every buffer, so that this asks for no memory.
        self.held.push(filled);
        (None, Ok(()))
    }

    fn unread(&mut self, unread: Unread) -> Result<(), Trouble> {
        if self.unread.len() == UNREAD_MAX {
            return Err(Trouble::Full);
        }
        self.unread.push(unread);
        Ok(())
    }

    fn before(&mut self, _: usize) -> Result<(), Trouble> {
        if (self.go_on)() { Ok(()) } else { Err(Trouble::Stopped) }
    }
}
