//! Disks of an order that are made of warm seeds: a copy of the seed is brought to the point, what goes on top is laid on it,
//! and Azure makes the disk of that. The seed stays as it is.
//!
//! Whatever is wrong with a seed is no reason to fail: the disk is uploaded then, and the order says so.

use pipeline_vault::Error;

use super::calls::Thing;
use super::run::{Stop, Work, from_refused};
use super::thing::{Found, passes};
use crate::hydrate::seed_place::takes;

impl Work<'_> {
    /// Which disks are made of seeds, and why the others are not.
    pub(crate) fn look_for_seeds(&mut self) -> Result<(), Stop> {
        if !self.order().profile.seed {
            return Ok(());
        }
        for place in 0..self.order().disks.len() {
            let Some(plan) = self.order().disks.get(place).cloned() else { continue };
            let (hands, order) = (self.world.hands, self.order().clone());
            let name = &plan.name;
            let (import, words) = if takes(plan.bytes) {
                match self.signing(move || hands.seeded(&order, place))? {
                    Ok(None) => continue,
                    Ok(Some(seeded)) if seeded.import.is_some() => (
                        seeded.import,
                        format!("disk {name} is made of its seed, which {}", seeded.words),
                    ),
                    Ok(Some(seeded)) => {
                        (None, format!("disk {name} is uploaded: its seed {}", seeded.words))
                    }
                    Err(error) => (None, format!("disk {name} is uploaded: {error}")),
                }
            } else {
                (None, format!("disk {name} is uploaded: a seed holds 8 TiB at most"))
            };
            if let Some(disk) = self.order_mut().disks.get_mut(place) {
                disk.import = import;
                disk.seed = Some(words.clone());
            }
            let wall = self.world.hands.wall_millis();
            self.order_mut().note(wall, words);
        }
        Ok(())
    }

    /// The disk by way of its seed; `false` where it has none, or where that came to nothing.
    pub(crate) fn import_disk(&mut self, place: usize) -> Result<bool, Stop> {
        let Some(plan) = self.order().disks.get(place).cloned() else { return Ok(false) };
        if plan.import.is_none() {
            return Ok(false);
        }
        let thing = Thing::Resource(self.order().disk(place)?);
        match self.finish_pending(&thing) {
            Err(Stop::Refused(refused)) if !passes(&refused) => {
                return self.upload_instead(place, &thing, &from_refused(&refused));
            }
            finished => finished?,
        }
        // While Azure reads the copy, nobody writes to it.
        let begun = matches!(self.find(&thing)?, Found::Whole(_) | Found::OnItsWay);
        let written = if begun {
            plan.filled_bytes
        } else {
            if let Some(disk) = self.order_mut().disks.get_mut(place) {
                disk.copied = true;
            }
            self.save()?;
            let (hands, order) = (self.world.hands, self.order().clone());
            match self.signing(move || hands.dress(&order, place))? {
                Ok(filled) => filled.written_bytes,
                Err(error) => {
                    self.may_go_on()?;
                    return self.upload_instead(place, &thing, &error);
                }
            }
        };
        if let Some(disk) = self.order_mut().disks.get_mut(place) {
            disk.filled_bytes = disk.filled_bytes.max(written);
        }
        let call = self.order().create_disk(place, &plan)?;
        match self.make(&thing, &call) {
            Err(Stop::Refused(refused)) if !passes(&refused) => {
                self.upload_instead(place, &thing, &from_refused(&refused))
            }
            made => {
                made?;
                if let Some(disk) = self.order_mut().disks.get_mut(place) {
                    disk.filled = true;
                }
                self.save()?;
                Ok(true)
            }
        }
    }

    fn upload_instead(&mut self, place: usize, thing: &Thing, why: &Error) -> Result<bool, Stop> {
        self.remove(thing)?;
        let name = match self.order_mut().disks.get_mut(place) {
            Some(disk) => {
                disk.import = None;
                disk.filled_bytes = 0;
                disk.name.clone()
            }
            None => String::new(),
        };
        self.tell(format!("disk {name} is uploaded, as its seed is of no use: {why}"))?;
        Ok(false)
    }

    /// The copy of a disk's seed goes once the disk is there. That it cannot be taken away holds up no server: it is tried
    /// again at the order's end.
    pub(crate) fn forget_copy(&mut self, place: usize) -> Result<(), Stop> {
        match self.take_copy_away(place) {
            Err(Stop::Failed(error)) => {
                self.may_go_on()?;
                self.tell(format!("the copy of a seed is still there: {error}"))
            }
            taken => taken,
        }
    }

    fn take_copy_away(&mut self, place: usize) -> Result<(), Stop> {
        if self.order().disks.get(place).is_none_or(|disk| !disk.copied) {
            return Ok(());
        }
        let (hands, order) = (self.world.hands, self.order().clone());
        self.signing(move || hands.undress(&order, place))??;
        if let Some(disk) = self.order_mut().disks.get_mut(place) {
            disk.copied = false;
        }
        self.save()
    }

    /// All copies of this round's seeds.
    ///
    /// Errors: one is still there.
    pub(crate) fn take_copies_away(&mut self) -> Result<(), Stop> {
        (0..self.order().disks.len()).try_for_each(|place| self.take_copy_away(place))
    }
}
