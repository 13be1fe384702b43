//! What a tracker says of the start of the machine, and keeps for the next: whether it saw the first write of this one, and
//! what nobody has when this one ends.

use std::path::Path;

use super::{KernelTracker, Slot, audit, maps, marks, same_disk, wanted};
use crate::blocks::BlockSet;
use crate::devices::Leaf;

impl KernelTracker {
    /// The tracker of an earlier life as it is, for who only looks at it: nothing is made anew, and nothing taken away.
    ///
    /// # Errors
    /// There is none.
    pub fn take_up(leaves: &[Leaf], pins: &Path) -> Result<Self, String> {
        let mut all = maps::sets(pins).into_iter().filter_map(|set| Self::adopt(&set).ok());
        let found = all.find(|old| old.held.is_whole());
        let mut tracker = found.ok_or("nothing tracks the disks")?;
        for leaf in leaves {
            let wanted = wanted(core::slice::from_ref(leaf)).pop();
            let is_it = |slot: &Slot| {
                wanted.is_some_and(|wanted| {
                    same_disk(&slot.record, &wanted) && slot.record.bytes == wanted.bytes
                })
            };
            let at = tracker.slots.iter().position(is_it);
            let at = at.filter(|at| !tracker.maps.keys_of(*at).is_empty());
            if let Some(slot) = at.and_then(|at| tracker.slots.get_mut(at)) {
                slot.name.clone_from(&leaf.name);
            }
            tracker.leaves.push(at.ok_or_else(|| format!("{} is not tracked", leaf.name)));
        }
        Ok(tracker)
    }

    /// Notes what a disk looked like, if it was never written to since it appeared: then this is of before the first
    /// write, and all writes are marked. Whether that is so.
    pub fn note_face(&mut self, disk: usize, face: &[u8; 32]) -> bool {
        let Ok(at) = self.slot(disk) else { return false };
        let Some(slot) = self.slots.get(at) else { return false };
        // Behind the reading of the face: what is written from now on is marked, and was not in it.
        let untouched = self.held.record(at).surplus == Some(0)
            && audit::is_untouched(&slot.name, &self.maps, at);
        if untouched {
            self.held.set_face(at, Some(face));
        }
        untouched
    }

    /// What a disk looked like before the first write of this start of the machine, where all its writes are marked.
    #[must_use]
    pub fn face(&self, disk: usize) -> Option<[u8; 32]> {
        self.held.face(self.slot(disk).ok()?)
    }

    /// Holds what an earlier start of the machine left, of which the newest cut was `epoch`: from now on these marks go on
    /// from those. Only once in a start, and only where every write since was marked.
    ///
    /// # Errors
    /// That is not so: nothing goes on.
    pub fn go_on_from(&mut self, disk: usize, blocks: &BlockSet, epoch: u64) -> Result<(), String> {
        let at = self.slot(disk)?;
        if self.held.face(at).is_none() {
            return Err("its first writes were not seen".to_owned());
        }
        let mut from = 0;
        while let Some((first, blocks)) = blocks.next_run(from, u32::MAX) {
            from = first + u64::from(blocks);
            self.held.note(at, first, from);
        }
        self.held.set_goes_on_from(at, Some(epoch));
        self.held.set_face(at, None);
        // Last: until here a kill leads to a compare.
        self.held.set_sent_whole(at, true);
        Ok(())
    }

    /// The agent begins to use it: until it ends in order, it knows more than is written here.
    pub fn begun(&mut self) {
        self.held.set_ended(false);
    }

    /// Whether the agent that used it last ended in order.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.held.has_ended()
    }

    /// The newest cut that was made.
    #[must_use]
    pub fn last_cut(&self) -> u64 {
        self.held.last_cut()
    }

    /// Adds what of a disk is marked or held to a set, and leaves it so.
    ///
    /// # Errors
    /// The marks cannot be read.
    pub fn look(&self, disk: usize, into: &mut BlockSet) -> Result<(), String> {
        let at = self.slot(disk)?;
        let slot = self.slots.get(at).ok_or("it is not tracked")?;
        self.held.all(at, into);
        marks::look(&self.maps.marks, &slot.place, into)
    }

    /// What of a disk may have been missed until now, in words. For the end: nothing is noted.
    #[must_use]
    pub fn missed(&self, disk: usize) -> Option<String> {
        match self.slot(disk) {
            Ok(at) => {
                let name = self.slots.get(at).map_or("", |slot| &slot.name);
                audit::at_parting(name, &self.maps, at, self.held.record(at))
            }
            Err(why) => Some(why),
        }
    }

    /// Blocks of a disk, as marks count them.
    #[must_use]
    pub fn blocks(&self, disk: usize) -> u64 {
        let slot = self.slot(disk).ok().and_then(|at| self.slots.get(at));
        slot.map_or(0, |slot| slot.place.blocks)
    }
}
