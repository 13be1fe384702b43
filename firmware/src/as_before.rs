//! A point brought back onto bare metal as it was before a failover: what was changed so that a copy starts in Azure is taken
//! back, on top of the point, and goes onto the disk behind what was restored.
//!
//! A copy that was failed over carries the list of what was changed on its own disks, and so does every point of it once it is
//! protected there; the list of a Windows is in the order that made it. It refuses to change a point, or anything that a
//! repair did not.

use std::sync::{Arc, Mutex};

use firmware_recovery::guest::Change;
use firmware_recovery::guest::undo::Undone;
use firmware_recovery::order::{Kind, Order, orders};
use hal::disk::{Disk, DiskError, Operation, Request};
use pipeline::ids::ServerId;
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::points::ChainView;

use crate::guest_disks::undo;
use crate::recovery::guest::{Layered, guests, has_room, layered};
use crate::recovery::source::readers;
use crate::recovery::vault::Borrowed;
use crate::session::Session;

/// Whether it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a person says yes, no, or nothing")]
pub enum Choice {
    /// Where the vault shows that the point may be of a copy that was failed over. What cannot be looked at is warned of.
    ByItself,
    /// It is, or it is an error.
    Always,
    /// The point is brought back to the last byte.
    Never,
}

impl Choice {
    /// What two options and the target come to: by itself onto a device, from which a machine starts, and onto no file.
    #[must_use]
    pub fn of(as_before: bool, as_it_is: bool, onto_device: bool) -> Self {
        match (as_before, as_it_is) {
            (true, _) => Self::Always,
            (false, false) if onto_device => Self::ByItself,
            (false, _) => Self::Never,
        }
    }
}

/// The disks of a point as they were before.
pub struct Before {
    disks: Vec<Arc<Layered>>,
    /// What became of each change.
    pub undone: Vec<Undone>,
}

impl Before {
    /// Takes back on top of a point what was changed for a failover; `None` where nothing was, or it was not to be.
    ///
    /// Errors: it was asked for, and cannot be done.
    pub fn of(
        session: &mut Session,
        server: ServerId,
        (view, link): (&ChainView, &Link),
        choice: Choice,
    ) -> Result<Option<Self>, Error> {
        let kept = match choice {
            Choice::Never => return Ok(None),
            Choice::Always => failovers(session, link)?,
            Choice::ByItself => match failovers(session, link) {
                Ok(none) if none.is_empty() => return Ok(None),
                Ok(kept) => kept,
                Err(error) => {
                    log::warn!("{error}: whether a failover changed this point was not looked at");
                    return Ok(None);
                }
            },
        };
        let lists = kept.into_iter().filter(|order| order.server == server);
        let lists: Vec<Vec<Change>> = lists.map(|order| order.changes).collect();
        match Self::taken_back(session, (view, link), &lists) {
            Err(error) if choice == Choice::ByItself => {
                let words = "whether a failover changed this point is not known, and what is written is the point as it is";
                log::warn!("{error}: {words}; --as-it-is says that this is wanted");
                Ok(None)
            }
            done => done,
        }
    }

    fn taken_back(
        session: &Session,
        (view, link): (&ChainView, &Link),
        lists: &[Vec<Change>],
    ) -> Result<Option<Self>, Error> {
        let disks = layered(readers(&session.access(), view, link)?);
        let undone = undo(&guests(&disks), lists);
        // What the kernel could not write it tells as an error of a device, or not at all.
        has_room(&disks)?;
        let undone = undone?;
        Ok(Some(Self { disks, undone }).filter(|before| !before.undone.is_empty()))
    }

    /// Writes what differs from the point onto a disk that has the point.
    pub fn lay_over<D: Disk>(&self, disk: &str, target: &mut D, name: &str) -> Result<(), Error> {
        let Some(disk) = self.disks.iter().find(|layered| layered.base().disk().name == disk)
        else {
            return Ok(());
        };
        let about = |error: DiskError| Error::from(error).on(name);
        for number in disk.changed() {
            let offset = number * BLOCK_BYTES as u64;
            let length = (disk.bytes() - offset).min(BLOCK_BYTES as u64);
            let length = u32::try_from(length).expect("a block or less");
            let mut buffer = target.buffer(BLOCK_BYTES).map_err(about)?;
            disk.read_at(offset, &mut buffer.as_mut()[..length as usize])?;
            let (operation, buffer) = (Operation::Write, Some(buffer));
            let done = target.run(Request { token: 0, operation, offset, length, buffer });
            done.and_then(|done| done.result).map_err(about)?;
        }
        let flush =
            Request { token: 0, operation: Operation::Flush, offset: 0, length: 0, buffer: None };
        target.run(flush).and_then(|done| done.result).map_err(about)
    }

    /// Paths of what is as it was.
    pub fn taken(&self) -> impl Iterator<Item = &str> {
        self.undone.iter().filter_map(|undone| match undone {
            Undone::Done(path) => Some(path.as_str()),
            Undone::Left(_) => None,
        })
    }

    /// Paths of what was changed since, and is left as it is.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.undone.iter().filter_map(|undone| match undone {
            Undone::Left(path) => Some(path.as_str()),
            Undone::Done(_) => None,
        })
    }

    /// For a person.
    #[must_use]
    pub fn words(&self) -> String {
        let taken = self.taken().count();
        let mut words =
            format!("Taken back as before the failover: {taken} changes, so it starts here.\n");
        for left in self.left() {
            words += &format!("  /{left} was changed since, and is left as it is\n");
        }
        words
    }
}

/// The failovers of a vault that a point may be a result of, the oldest first.
fn failovers(session: &mut Session, link: &Link) -> Result<Vec<Order>, Error> {
    let at = link.record.point().map_or(0, |point| point.started);
    let (all, troubles) = orders::all(&Borrowed(Mutex::new(session)))?;
    // What cannot be read may be one of them: its list may be on the disks all the same.
    troubles.iter().for_each(|trouble| log::warn!("{trouble}"));
    let before = |order: &Order| order.kind != Kind::Drill && order.ordered_millis <= at;
    let mut found: Vec<Order> = all.into_iter().filter(before).collect();
    found.reverse();
    Ok(found)
}
