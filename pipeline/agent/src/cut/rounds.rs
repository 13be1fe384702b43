//! While the server writes: take, read, send.

use hal::disk::Disk;
use hal::time::Clock;
use pipeline::limits::BLOCK_BYTES;

use super::{Cutter, Failed, Server, Sink, failed};
use crate::blocks::BlockSet;
use crate::capture::{self, Filled, Taker, Trouble, Unread};
use crate::swap::Swap;

/// Takes the marks of all disks.
pub(super) fn take_all<D: Disk>(
    server: &mut Server<'_, D>,
    into: &mut [BlockSet],
) -> Result<(), String> {
    into.iter_mut().enumerate().try_for_each(|(disk, set)| server.tracker.take(disk, set))
}

/// How many blocks of these are to be read.
pub(super) fn to_read(changed: &[BlockSet], blank: &[BlockSet]) -> u64 {
    let of_one = |(set, blank): (&BlockSet, &BlockSet)| set.count() - set.count_of_both(blank);
    changed.iter().zip(blank).map(of_one).sum()
}

impl Cutter {
    /// Reads and sends what changed, then takes what changed meanwhile.
    pub(super) fn round<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
    ) -> Result<(), Failed> {
        self.send_all(server, changed)?;
        Ok(take_all(server, changed)?)
    }

    /// Reads and sends what changed.
    pub(super) fn send_all<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
    ) -> Result<(), Failed> {
        send_blank(server, changed)?;
        let wanted = changed.to_vec();
        let began = server.clock.monotonic_nanos();
        let (sink, clock, swap) = (&mut *server.sink, server.clock, server.swap);
        let mut sender = Sender { sink, clock, changed, swap, away_nanos: 0, bytes: 0 };
        let result = capture::read(server.sources, &wanted, server.arena.pool(), &mut sender);
        let (bytes, away) = (sender.bytes, sender.away_nanos);
        let nanos = clock.monotonic_nanos().saturating_sub(began).saturating_sub(away);
        self.measured(bytes, nanos);
        result.map_err(|trouble| failed(trouble, server.sources))
    }
}

/// What changed and is blank goes as zeros, of all disks.
pub(super) fn send_blank<D: Disk>(
    server: &mut Server<'_, D>,
    changed: &mut [BlockSet],
) -> Result<(), String> {
    let disks = changed.iter_mut().zip(server.blank).enumerate();
    disks.into_iter().try_for_each(|(disk, (set, blank))| send_zeros(disk, set, blank, server.sink))
}

fn send_zeros(
    disk: usize,
    set: &mut BlockSet,
    blank: &BlockSet,
    sink: &mut dyn Sink,
) -> Result<(), String> {
    let mut both = set.clone();
    both.intersect(blank);
    let mut from = 0;
    while let Some((first, blocks)) = both.next_run(from, u32::MAX) {
        sink.zeros(disk, first, blocks)?;
        from = first + u64::from(blocks);
        (first..from).for_each(|block| set.remove(block));
    }
    Ok(())
}

/// Hands on what was read, and notes that it was.
struct Sender<'a> {
    sink: &'a mut dyn Sink,
    clock: &'a dyn Clock,
    changed: &'a mut [BlockSet],
    swap: &'a Swap,
    /// Time that reading is not to blame for.
    away_nanos: u64,
    bytes: u64,
}

impl Sender<'_> {
    fn timed<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> T {
        let began = self.clock.monotonic_nanos();
        let result = what(self);
        self.away_nanos += self.clock.monotonic_nanos().saturating_sub(began);
        result
    }

    fn done(&mut self, disk: usize, first: u64, blocks: u32) {
        if let Some(set) = self.changed.get_mut(disk) {
            (first..first + u64::from(blocks)).for_each(|block| set.remove(block));
        }
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Taker<B> for Sender<'_> {
    fn take(&mut self, mut filled: Filled<B>) -> (Option<B>, Result<(), Trouble>) {
        let (disk, first, blocks) = (filled.disk, filled.first, filled.blocks);
        self.swap.disarm(&mut filled);
        let sent = self.timed(|sender| sender.sink.blocks(disk, first, filled.bytes()));
        if sent.is_ok() {
            self.done(disk, first, blocks);
            self.bytes += u64::from(blocks) * BLOCK_BYTES as u64;
        }
        (Some(filled.into_buffer()), sent.map_err(Trouble::Taker))
    }

    fn unread(&mut self, unread: Unread) -> Result<(), Trouble> {
        let (disk, block) = (unread.disk, unread.block);
        self.sink.unread(unread).map_err(Trouble::Taker)?;
        self.done(disk, block, 1);
        Ok(())
    }

    fn before(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.timed(|sender| sender.sink.pace(bytes));
        Ok(())
    }
}
