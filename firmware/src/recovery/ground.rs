//! This machine as the place of a drill: the order's disks, repaired as for Azure, under a machine of QEMU's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_recovery::hydrate::overlay::Overlay;
use firmware_recovery::order::Order;
use firmware_recovery::order::estimate::Piece;
use firmware_recovery::order::here::{Ground, Seen};
use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;

use super::hands::Program;
use crate::here::Place;
use crate::here::copies::{Copies, Job};
use crate::here::machine::{MachineDisk, Running};
use crate::here::qemu::{Shape, Tools};

/// Bytes of map pages and frame tables kept in memory for each disk that is brought elsewhere.
const CACHE_BYTES: usize = 32 << 20;

impl Program {
    fn here(&self) -> Result<&Place, Error> {
        self.place.as_ref().ok_or_else(|| Error::misuse("this machine", "is no place of a drill"))
    }

    fn jobs(&self, order: &Order, place: &Place) -> Result<Vec<Job>, Error> {
        let mut jobs = Vec::new();
        for (number, plan) in order.disks.iter().enumerate() {
            let Some(to) = place.wish.copy_of(&plan.name) else { continue };
            let confirmed = place.wish.confirmed.contains(&to);
            let (frames, disk) = self.with_disk(order, number, |at| {
                let access = self.vault.session().access();
                let frames = FrameReader::new(&access, order.server, &at.view.upkeep, CACHE_BYTES);
                frames.map(|frames| (frames, at.disk.clone()))
            })??;
            jobs.push(Job { frames, disk, to, confirmed });
        }
        Ok(jobs)
    }
}

impl Ground for Program {
    fn makes(&self, order: &Order) -> Result<Vec<Piece>, Error> {
        let place = self.here()?;
        let names: Vec<&str> = order.disks.iter().map(|disk| disk.name.as_str()).collect();
        place.wish.check(&names)?;
        let tools = Tools::find(std::env::var_os("PATH").as_deref(), order.generation)?;
        let mut pieces: Vec<Piece> = Vec::new();
        for disk in &order.disks {
            let kept = match &place.wish.overlay {
                Some(folder) => format!("in a file without a name in {}", folder.display()),
                None => "in memory".to_owned(),
            };
            let detail = format!("{} bytes, what is written to it is kept {kept}", disk.bytes);
            pieces.push(Piece { what: "export", name: disk.name.clone(), detail });
        }
        let name = tools.program.display().to_string();
        let detail = format!("{}, starts by {}", place.wish.words(), order.begins_by());
        pieces.push(Piece { what: "machine", name, detail });
        for disk in &order.disks {
            let Some(to) = place.wish.copy_of(&disk.name) else { continue };
            let name = to.display().to_string();
            let detail = format!("{} as it is at the point, stays", disk.name);
            pieces.push(Piece { what: "copy", name, detail });
        }
        Ok(pieces)
    }

    fn start(&self, order: &Order) -> Result<(), Error> {
        let place = self.here()?;
        let tools = Tools::find(std::env::var_os("PATH").as_deref(), order.generation)?;
        let prepared = self.prepared(order)?;
        let count = prepared.disks.len();
        let disks = prepared.disks.iter().zip(&order.disks).map(|(disk, plan)| {
            let scratch = place.wish.scratch(count, disk.bytes())?;
            let source = Box::new(Overlay::new(Arc::clone(disk), scratch));
            Ok(MachineDisk { name: plan.name.clone(), source })
        });
        let disks = disks.collect::<Result<Vec<_>, Error>>()?;
        let shape = Shape {
            memory_mib: place.wish.memory_mib,
            cpus: place.wish.cpus,
            accelerated: place.wish.accelerated,
            starts_from: order.disks.iter().position(|disk| disk.starts).unwrap_or(0),
        };
        let jobs = self.jobs(order, place)?;
        *lock(&place.machine) = Some(Running::start(&tools, &shape, disks)?);
        if !jobs.is_empty() {
            let workers = self.vault.session().place().readers();
            let copies = Copies::start(jobs, workers, place.wish.pace, Arc::clone(&self.counters));
            *lock(&place.copies) = Some(copies);
        }
        Ok(())
    }

    fn look(&self) -> Seen {
        let seen =
            self.place.as_ref().and_then(|place| Some(lock(&place.machine).as_mut()?.look()));
        seen.unwrap_or_else(|| Seen {
            ended: Some("it was not started".to_owned()),
            ..Seen::default()
        })
    }

    fn picture(&self) -> Option<Vec<u8>> {
        lock(&self.place.as_ref()?.machine).as_mut()?.picture()
    }

    fn switch_off(&self) {
        if let Some(place) = &self.place {
            drop(lock(&place.machine).take());
            lock(&place.copies).iter().for_each(Copies::hurry);
        }
    }

    fn copied(&self) -> Result<Option<Vec<u64>>, Error> {
        match lock(&self.here()?.copies).as_mut() {
            Some(copies) => copies.done(),
            None => Ok(Some(Vec::new())),
        }
    }

    fn end(&self) {
        if let Some(place) = &self.place {
            drop(lock(&place.machine).take());
            drop(lock(&place.copies).take());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
