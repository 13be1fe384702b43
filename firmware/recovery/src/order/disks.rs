//! The content of an order's disks: made to be uploaded into, filled, closed.

use core::time::Duration;

use pipeline_azure::arm::disk::{self, DiskState};
use pipeline_azure::arm::{Answer, Refused, Why};
use pipeline_vault::Error;

use super::Doing;
use super::calls::{self, Thing};
use super::hands::{Filled, Unfilled};
use super::run::{Stop, Work};

/// How often a signature that counts no more is asked for anew while one disk is filled.
const GRANTS_MAX: u32 = 50;
/// How often in a row without one that served: two minutes, four times as long as Azure takes to spread one.
const VAIN_MAX: u32 = 6;

impl Work<'_> {
    /// A disk to upload into for each disk of the point.
    pub(crate) fn make_disks(&mut self) -> Result<(), Stop> {
        for place in 0..self.order().disks.len() {
            // One that is made of a seed comes with its content.
            if self.order().disks.get(place).is_some_and(|disk| disk.import.is_none()) {
                self.make_disk(place)?;
            }
        }
        Ok(())
    }

    fn make_disk(&mut self, place: usize) -> Result<(), Stop> {
        let Some(plan) = self.order().disks.get(place).cloned() else { return Ok(()) };
        let thing = Thing::Resource(self.order().disk(place)?);
        let call = self.order().create_disk(place, &plan)?;
        let found = self.make(&thing, &call)?;
        let writable =
            matches!(DiskState::of(&found), DiskState::ReadyToUpload | DiskState::ActiveUpload);
        if !writable && !plan.filled {
            // Somebody gave its signature back before it was full: only a new one can be written to.
            self.remove(&thing)?;
            self.make(&thing, &call)?;
        }
        Ok(())
    }

    /// What will go on top of the point is written down before it does: a later try may change other blocks, and must
    /// put back what this one changed.
    fn prepare(&mut self) -> Result<(), Stop> {
        if self.order().disks.iter().all(|disk| disk.filled) {
            return Ok(());
        }
        let (hands, order) = (self.world.hands, self.order().clone());
        let prepared = self.signing(move || hands.prepare(&order))??;
        self.order_mut().changes = prepared.changes;
        for (disk, blocks) in self.order_mut().disks.iter_mut().zip(prepared.on_top) {
            disk.on_top.extend(blocks);
            disk.on_top.sort_unstable();
            disk.on_top.dedup();
        }
        self.save()
    }

    /// The point into the disks.
    pub(crate) fn fill_disks(&mut self) -> Result<(), Stop> {
        self.prepare()?;
        for place in 0..self.order().disks.len() {
            let waits = self.order().disks.get(place).is_some_and(|disk| !disk.filled);
            if waits && !self.import_disk(place)? {
                self.make_disk(place)?;
                let filled = self.fill_disk(place)?;
                if let Some(disk) = self.order_mut().disks.get_mut(place) {
                    disk.filled = true;
                    disk.filled_bytes = disk.filled_bytes.max(filled.written_bytes);
                }
                self.save()?;
            }
            self.close_disk(place)?;
            self.forget_copy(place)?;
        }
        Ok(())
    }

    fn fill_disk(&mut self, place: usize) -> Result<Filled, Stop> {
        let id = self.order().disk(place)?;
        let thing = Thing::Resource(id.clone());
        let mut vain = 0;
        for _ in 0..GRANTS_MAX {
            let answer = self.call(&calls::grant(&id)?)?;
            let granted = self.settle(&thing, Doing::Granting, answer)?;
            let signature = disk::signature(&granted).ok_or_else(|| {
                Stop::Refused(Refused {
                    why: Why::Invalid,
                    code: String::new(),
                    act: format!("asking for access to {thing}"),
                    words: "Azure granted it and sent no signature along".to_owned(),
                    retry_after: None,
                })
            })?;
            let (hands, order) = (self.world.hands, self.order().clone());
            match self.signing(move || hands.fill(&order, place, &signature))? {
                Ok(filled) => return Ok(filled),
                Err(Unfilled::Expired) => {
                    vain = 0;
                    self.tell(format!(
                        "the signature of {thing} counts no more: another one is asked for"
                    ))?;
                }
                Err(Unfilled::Unusable(_)) if vain < VAIN_MAX => {
                    vain += 1;
                    self.wait(Duration::from_secs(1 << vain))?;
                }
                Err(Unfilled::Unusable(error)) => return Err(never_served(&thing, &error)),
                Err(Unfilled::Failed(error)) => return Err(Stop::Failed(error)),
            }
        }
        let what = format!("was given {GRANTS_MAX} signatures, and each ended before it was full");
        Err(Stop::Failed(Error::refused(thing.to_string(), what).remedy(
            "a faster way to Azure, or a policy that lets access stand for longer, is needed; the order goes on from there",
        )))
    }

    /// Gives the signature back: from then on it is a disk that can be attached.
    fn close_disk(&mut self, place: usize) -> Result<(), Stop> {
        if self.order().disks.get(place).is_none_or(|disk| disk.closed) {
            return Ok(());
        }
        let id = self.order().disk(place)?;
        let thing = Thing::Resource(id.clone());
        let state = match self.call(&calls::get(&thing))? {
            Answer::Done(value) => DiskState::of(&value),
            Answer::Begun(_) => DiskState::Other(String::new()),
        };
        if matches!(state, DiskState::ReadyToUpload | DiskState::ActiveUpload) {
            let answer = self.call(&disk::end_access(&id)?)?;
            self.settle(&thing, Doing::Granting, answer)?;
        }
        if let Some(disk) = self.order_mut().disks.get_mut(place) {
            disk.closed = true;
        }
        self.save()
    }
}

fn never_served(thing: &Thing, error: &Error) -> Stop {
    let what = format!("takes no signature, though Azure gives them: {}", error.what);
    Stop::Failed(Error::refused(thing.to_string(), what).remedy(
        "look at the clocks of this machine and at policies that keep disks from being uploaded into",
    ))
}
