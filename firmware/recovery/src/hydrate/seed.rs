//! A warm seed: a page blob that follows the vault, point by point, so that a disk is made of it in minutes.
//!
//! Only blocks that two points do not agree on are moved. Its last sector says which point it is at, or between which two it
//! is, and in that case nobody can take it for a disk. It may be killed at any moment. It refuses to guess: where it is at a
//! point that the vault does not know any more, it begins anew.

use std::sync::Arc;

use hal::disk::Disk;
use pipeline::ids::PointId;
use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::record::DiskState;
use pipeline_vault::restore;
use pipeline_vault::writer::Progress;

use super::fill::{
    How, Hydrated, OnTop, Source, check_length, fill, finish, in_full, lay_on, make_room,
};
use super::mark::Mark;
use super::page_disk::{Holds, PageDisk};
use super::pages::Pages;
use super::vhd::{FOOTER_BYTES, Owner, whole};

#[cfg(test)]
mod tests;

/// One point that a seed may be at.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The point.
    pub point: PointId,
    /// When it was made.
    pub time: u64,
    /// The disk as it has it.
    pub disk: DiskState,
}

/// The points of a disk that the vault has, oldest first.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// What opens their frames.
    pub frames: &'a FrameReader,
    /// The points.
    pub stops: &'a [Stop],
}

/// How a seed came to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are no more ways")]
pub enum Moved {
    /// It was there already.
    There,
    /// By what differs from this point.
    From(PointId),
    /// By all of the point.
    Whole,
}

impl<'a> Line<'a> {
    fn source(&self, stop: &'a Stop) -> Source<'a> {
        let Stop { point, time, disk } = stop;
        Source { frames: self.frames, disk, point: *point, time: *time }
    }

    fn find(&self, point: PointId, like: &DiskState) -> Option<&'a Stop> {
        // A disk that has grown since is another disk to a seed.
        let fits = |stop: &&Stop| stop.disk.id == like.id && stop.disk.bytes == like.bytes;
        self.stops.iter().filter(fits).find(|stop| stop.point == point)
    }

    fn owned(&self, owner: Owner, like: &DiskState) -> Option<&'a Stop> {
        let owns = |stop: &&Stop| Owner::of(stop.point, stop.disk.id) == owner;
        self.stops.iter().find(owns).and_then(|stop| self.find(stop.point, like))
    }

    /// Brings a seed to one of the points. What was done is added up where it takes several steps.
    ///
    /// Errors: the point is none of the line; those of `fill`.
    pub fn bring(
        &self,
        pages: &Arc<dyn Pages>,
        to: PointId,
        how: &How,
        progress: &dyn Progress,
    ) -> Result<(Moved, Hydrated), Error> {
        let known = self.stops.iter().find(|stop| stop.point == to);
        let to = known.ok_or_else(|| {
            Error::misuse(format!("point {to}"), "is none that this seed can be brought to")
        })?;
        let bytes = check_length(&**pages, &to.disk, how)?;
        match Mark::read(&**pages, bytes)? {
            Mark::Whole(owner) => match self.owned(owner, &to.disk) {
                Some(at) if at.point == to.point => Ok((Moved::There, Hydrated::default())),
                Some(at) => {
                    let done = self.step(pages, at, to, bytes, how, progress)?;
                    Ok((Moved::From(at.point), done))
                }
                None => self.anew(pages, to, bytes, how, progress),
            },
            Mark::Moving { from, to: half, disk } if disk == to.disk.id => {
                self.go_on(pages, (from, half), to, bytes, how, progress)
            }
            Mark::Nothing => Ok((Moved::Whole, self.whole(pages, to, how, progress)?)),
            Mark::Moving { .. } | Mark::Foreign => self.anew(pages, to, bytes, how, progress),
        }
    }

    /// Every block is as one of two points has it: it is brought to the second, and from there on.
    fn go_on(
        &self,
        pages: &Arc<dyn Pages>,
        (from, half): (Option<PointId>, PointId),
        to: &'a Stop,
        bytes: u64,
        how: &How,
        progress: &dyn Progress,
    ) -> Result<(Moved, Hydrated), Error> {
        let half = self.find(half, &to.disk);
        let (mut done, at, moved) = match (from, half) {
            (None, Some(half)) => (self.whole(pages, half, how, progress)?, half, Moved::Whole),
            (Some(from), Some(half)) => match self.find(from, &to.disk) {
                Some(from) => {
                    let done = self.step(pages, from, half, bytes, how, progress)?;
                    (done, half, Moved::From(from.point))
                }
                None => return self.anew(pages, to, bytes, how, progress),
            },
            (_, None) => return self.anew(pages, to, bytes, how, progress),
        };
        if at.point != to.point {
            done.add(&self.step(pages, at, to, bytes, how, progress)?);
        }
        done.resumed = true;
        Ok((moved, done))
    }

    fn whole(
        &self,
        pages: &Arc<dyn Pages>,
        to: &'a Stop,
        how: &How,
        progress: &dyn Progress,
    ) -> Result<Hydrated, Error> {
        fill(&self.source(to), None, pages, how, progress)
    }

    fn anew(
        &self,
        pages: &Arc<dyn Pages>,
        to: &'a Stop,
        bytes: u64,
        how: &How,
        progress: &dyn Progress,
    ) -> Result<(Moved, Hydrated), Error> {
        log::warn!("{}: is at no point that the vault knows, and is made anew", how.name);
        make_room(&**pages, bytes, how)?;
        Ok((Moved::Whole, self.whole(pages, to, how, progress)?))
    }

    /// From one point to another, by what differs.
    fn step(
        &self,
        pages: &Arc<dyn Pages>,
        from: &'a Stop,
        to: &'a Stop,
        bytes: u64,
        how: &How,
        progress: &dyn Progress,
    ) -> Result<Hydrated, Error> {
        let mark = Mark::Moving { from: Some(from.point), to: to.point, disk: to.disk.id };
        mark.put(&**pages, bytes)?;
        let length = bytes - FOOTER_BYTES as u64;
        let blob = PageDisk::new(Arc::clone(pages), length, Holds::Anything, how.in_flight)?;
        let handle = blob.another().map_err(|error| Error::from(error).on(&how.name))?;
        let pair = (&from.disk, &to.disk);
        let moved =
            restore::advance_disk(self.frames, pair, handle, &how.name, &how.options(), progress);
        let restored = moved.map_err(|error| in_full(error, &blob, how))?;
        let source = self.source(to);
        finish(&**pages, &source, source.owner(), bytes)?;
        Ok(Hydrated { restored, sent: blob.sent(), ..Hydrated::default() })
    }
}

/// Where a seed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever looks must know all")]
pub enum Standing {
    /// Nothing was brought to it, or not all of its first point.
    Empty,
    /// At a point.
    At {
        /// Which.
        point: PointId,
        /// When that was made, in milliseconds since 1970.
        time: u64,
    },
    /// On its way to this point, from one before it.
    Moving {
        /// The one that it was at.
        from: PointId,
        /// The one that it will be at.
        to: PointId,
    },
    /// At a point that the vault does not have any more, with something on top of one, or with somebody else's bytes.
    Lost,
}

impl Line<'_> {
    /// Where a seed of this disk is, by its last sector.
    pub fn standing(&self, pages: &dyn Pages, like: &DiskState) -> Result<Standing, Error> {
        let mark = Mark::read(pages, whole(like.bytes))?;
        Ok(match mark {
            Mark::Nothing | Mark::Moving { from: None, .. } => Standing::Empty,
            Mark::Whole(owner) => match self.owned(owner, like) {
                Some(stop) => Standing::At { point: stop.point, time: stop.time },
                None => Standing::Lost,
            },
            Mark::Moving { from: Some(from), to, disk } => {
                let knows = |point| self.find(point, like).is_some();
                if disk == like.id && knows(from) && knows(to) {
                    Standing::Moving { from, to }
                } else {
                    Standing::Lost
                }
            }
            Mark::Foreign => Standing::Lost,
        })
    }
}

/// Brings a copy of a seed to a point and writes what goes on top of it; a copy that was dressed before is dressed anew.
///
/// Errors: the copy is at no point that the line knows: all of the disk would have to be moved, for which a disk is the
/// better place.
pub fn dress_copy(
    pages: &Arc<dyn Pages>,
    line: &Line<'_>,
    source: &Source<'_>,
    on_top: &OnTop<'_>,
    how: &How,
    progress: &dyn Progress,
) -> Result<Hydrated, Error> {
    let bytes = check_length(&**pages, source.disk, how)?;
    let mut done = Hydrated::default();
    if Mark::read(&**pages, bytes)? != Mark::Whole(source.owner().dressed()) {
        let standing = line.standing(&**pages, source.disk)?;
        if matches!(standing, Standing::Empty | Standing::Lost) {
            let what = "is at no point that the vault has";
            return Err(Error::refused(&how.name, what));
        }
        done = line.bring(pages, source.point, how, progress)?.1;
    }
    done.on_top_blocks = dress(pages, source, on_top, how)?;
    Ok(done)
}

/// Writes blocks on top of a copy of a seed that is at a point. It is a disk of its own from then on, and says so: whoever
/// took it for a seed would begin anew.
pub fn dress(
    pages: &Arc<dyn Pages>,
    source: &Source<'_>,
    on_top: &OnTop<'_>,
    how: &How,
) -> Result<u64, Error> {
    let bytes = check_length(&**pages, source.disk, how)?;
    let dressed = source.owner().dressed();
    let mark = Mark::read(&**pages, bytes)?;
    if mark != Mark::Whole(source.owner()) && mark != Mark::Whole(dressed) {
        let what = format!("is not at point {}, and nothing was changed", source.point);
        return Err(Error::refused(&how.name, what).remedy("bring it there first"));
    }
    finish(&**pages, source, dressed, bytes)?;
    let length = bytes - FOOTER_BYTES as u64;
    let blob = PageDisk::new(Arc::clone(pages), length, Holds::Anything, how.in_flight)?;
    let laid = lay_on(&mut blob.exact(), on_top, &how.name);
    laid.map_err(|error| in_full(error, &blob, how))
}
