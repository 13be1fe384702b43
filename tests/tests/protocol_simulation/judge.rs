//! What must be true of what actors say, and of the vault at any moment.

use pipeline::ids::PointId;
use pipeline_vault::points::read_chain;
use pipeline_vault::store::BlobStore;
use pipeline_vault::{Blame, Error};

use crate::actors::{Done, Restored, restored};
use crate::driver::Simulation;
use crate::keys::SERVER;

impl Simulation {
    /// What ended actors say must be true.
    pub(crate) fn judge_ended(&mut self) -> Result<(), String> {
        for at in 0..self.actors.len() {
            if !self.gate.has_ended(at) {
                continue;
            }
            let Some(thread) = self.actors[at].thread.take() else { continue };
            let done = match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            match done {
                Done::Protected(Ok(outcome)) => {
                    self.note(at, &format!("made the point of slot {}", outcome.slot));
                    self.acknowledged(at, outcome.slot, outcome.id)?;
                }
                Done::Protected(Err(error)) => self.failed(at, &error)?,
                Done::Kept(Ok(report)) => {
                    self.note(at, &format!("is done: {report:?}"));
                    self.stats.pruned += report.points_removed;
                    self.stats.moved += report.segments_moved;
                    // Only a pin may reach what was condemned, if it came too late for its point.
                    let rescued = report.segments_rescued > 0 && !self.stale_pin;
                    if rescued || report.segments_damaged > 0 {
                        return Err(format!("upkeep met what cannot be: {report:?}"));
                    }
                }
                Done::Kept(Err(error)) => self.failed(at, &error)?,
                Done::Restored(Ok(read)) => self.read(at, &read)?,
                Done::Restored(Err(error)) => self.failed(at, &error)?,
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, at: usize, slot: u64, id: PointId) -> Result<(), String> {
        self.stats.acknowledged += 1;
        let published = usize::try_from(slot).ok().and_then(|slot| self.ghost.slots.get(slot));
        let point = published.and_then(|published| published.link.record.point());
        let Some((published, point)) = published.zip(point) else {
            return Err(format!("slot {slot} was acknowledged and is no point"));
        };
        if point.id != id || published.content.as_ref() != self.actors[at].job.content() {
            return Err(format!("slot {slot} was acknowledged and is another point"));
        }
        if self.ghost.owner(slot) != Some(published.link.record.writer) {
            return Err(format!("slot {slot} was acknowledged by a writer that was replaced"));
        }
        Ok(())
    }

    /// An actor may fail for what was done to it, and not for what it found.
    fn failed(&mut self, at: usize, error: &Error) -> Result<(), String> {
        self.note(at, &format!("fails: {error}"));
        let actor = &self.actors[at];
        let copies = self.stats.copies > 0;
        let excused = actor.slept || actor.is_copy || copies;
        if error.blame == Blame::Corrupt && !excused {
            return Err(format!("{} found something wrong: {error}", actor.label));
        }
        Ok(())
    }

    fn read(&mut self, at: usize, read: &Restored) -> Result<(), String> {
        let now = self.store.now().expect("a memory store");
        let held = read.pinned_until.is_some_and(|until| now <= until);
        match &read.disk {
            Ok(disk) => {
                let slot = usize::try_from(read.slot).unwrap_or(usize::MAX);
                let content = self.ghost.slots.get(slot).and_then(|slot| slot.content.as_ref());
                let content = content.ok_or("a reader restored what was never published")?;
                if let Some(block) = content.differs(disk) {
                    return Err(format!("a reader got another block {block} of slot {slot}"));
                }
                self.stats.restored += 1;
                self.note(at, "restored its point");
            }
            Err(error) if error.blame == Blame::Corrupt && held => {
                return Err(format!("a pinned point did not restore: {error}"));
            }
            Err(error) => self.note(at, &format!("fails: {error}")),
        }
        Ok(())
    }

    /// Everything that is promised of the vault as it is right now, one point for all.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let points = self.check_chain()?;
        if points.is_empty() {
            return Ok(());
        }
        let pick = usize::try_from(self.random.below(points.len() as u64)).unwrap_or(0);
        self.check_point(points[pick])
    }

    /// The chain is what was published, without what was pruned; gives the slots of its points.
    pub(crate) fn check_chain(&mut self) -> Result<Vec<u64>, String> {
        let view = read_chain(&self.healthy, SERVER).map_err(|error| error.to_string())?;
        let kept: Vec<u64> =
            (0..self.ghost.slots.len() as u64).filter(|slot| self.ghost.is_kept(*slot)).collect();
        let found: Vec<u64> = view.links.iter().map(|link| link.record.slot).collect();
        if kept != found {
            return Err(format!("slots {kept:?} were published and kept, {found:?} are there"));
        }
        for link in &view.links {
            let slot = usize::try_from(link.record.slot).unwrap_or(usize::MAX);
            if self.ghost.slots[slot].link.digest != link.digest {
                return Err(format!("slot {slot} holds another record than was published"));
            }
        }
        Ok(view.points().map(|link| link.record.slot).collect())
    }

    /// A point restores bit for bit.
    pub(crate) fn check_point(&mut self, slot: u64) -> Result<(), String> {
        let published = &self.ghost.slots[usize::try_from(slot).unwrap_or(usize::MAX)];
        let content = published.content.as_ref().ok_or("a point of no disk")?;
        let upkeep = self.ghost.upkeep().cloned().unwrap_or_default();
        let disk = restored(&self.healthy, &published.link, &upkeep)
            .map_err(|error| format!("the point of slot {slot} does not restore: {error}"))?;
        match content.differs(&disk) {
            None => Ok(()),
            Some(block) => Err(format!("block {block} of the point of slot {slot} differs")),
        }
    }
}
