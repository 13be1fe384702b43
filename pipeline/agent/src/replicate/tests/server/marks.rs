//! The marks of a machine in memory: set by its writers, cleared and audited as a tracker does it.

use super::*;

pub(super) struct SimTracker(pub(super) Shared);

impl Tracker for SimTracker {
    fn take(&mut self, disk: usize, into: &mut BlockSet) -> Result<(), String> {
        let machine = &mut *self.0.lock().unwrap();
        into.union(&machine.marks[disk]);
        machine.open[disk].union(&machine.marks[disk]);
        machine.marks[disk].clear();
        if machine.frozen {
            // What is read before a take that finds nothing is what the disk is at that take.
            machine.still[disk] = machine.truth().swap_remove(disk);
        }
        Ok(())
    }

    fn audit(&mut self) -> Audit {
        let machine = &mut *self.0.lock().unwrap();
        let mut incomplete = Vec::new();
        for (disk, [all, found, obeyed]) in machine.misses.iter_mut().enumerate() {
            if all != obeyed {
                incomplete.push(disk);
            }
            *found = *all;
            if machine.fault == Fault::MissesOnce {
                *obeyed = *all;
            }
        }
        if machine.fault == Fault::Doubts && machine.random.below(4) == 0 {
            incomplete.push(1);
        }
        Audit { incomplete, words: Vec::new() }
    }

    fn doubted(&mut self, disk: usize) {
        let [_, found, obeyed] = &mut self.0.lock().unwrap().misses[disk];
        *obeyed = *found;
    }

    fn goes_on_from(&self, disk: usize) -> Option<u64> {
        self.0.lock().unwrap().goes_on_from[disk]
    }

    fn settled(&mut self, disk: usize) {
        self.0.lock().unwrap().goes_on_from[disk] = None;
    }

    fn set_whole(&mut self, disk: usize, whole: bool) {
        self.0.lock().unwrap().marked_whole[disk] = whole;
    }

    fn is_whole(&self, disk: usize) -> bool {
        self.0.lock().unwrap().marked_whole[disk]
    }

    fn written_bytes(&mut self) -> u64 {
        self.0.lock().unwrap().written
    }

    fn written_blocks(&self) -> u64 {
        self.0.lock().unwrap().changed
    }

    fn outgrown(&mut self) -> Vec<usize> {
        let grows = self.0.lock().unwrap().fault == Fault::Grows;
        if grows { vec![0] } else { Vec::new() }
    }

    fn hold(&mut self, disk: usize, first: u64, end: u64) {
        self.0.lock().unwrap().open[disk].insert_range(first, end);
    }

    fn held(&mut self, disk: usize, into: &mut BlockSet) {
        let machine = self.0.lock().unwrap();
        into.union(&machine.open[disk]);
        machine.held.iter().for_each(|(_, sets)| into.union(&sets[disk]));
    }

    fn cut(&mut self, epoch: u64) {
        let machine = &mut *self.0.lock().unwrap();
        let still = machine.still.clone();
        machine.instants.insert(epoch, still);
        let open = machine.open.clone();
        machine.open.iter_mut().for_each(BlockSet::clear);
        machine.held.push((epoch, open));
    }

    fn vaulted(&mut self, epoch: u64) {
        self.0.lock().unwrap().held.retain(|(until, _)| *until > epoch);
    }

    fn resend(&mut self, epoch: u64) {
        self.0.lock().unwrap().held.iter_mut().for_each(|(until, _)| *until = epoch);
    }
}
