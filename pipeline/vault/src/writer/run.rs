//! One run of a writer, from looking at the disks to publishing the point or the checkpoint.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::HashSet;

use hal::disk::Disk;
use pipeline::compress::Compressor;
use pipeline::ids::{PointId, SegmentId, ServerId};

use super::disks::{DiskRun, open_disks};
use super::job::{DiskJob, Options, Outcome, Progress, Publish, Run};
use super::lanes::Lane;
use super::open::{Course, Means, PUBLISH_TRIES, Writer, fenced};
use super::preload;
use super::rounds::{Crew, Tools, round};
use super::upload::Uploader;
use crate::access::Access;
use crate::chain::Published;
use crate::error::{Error, Retry};
use crate::fork;
use crate::record::{Body, DiskState, Manifest, Upkeep, Work};

/// Runs of at most so many blocks use one lane, so that a small point is one segment and one record.
const SMALL_RUN_BLOCKS: u64 = 256;

/// Makes one recovery point of all disks given; returns once it is durable.
///
/// Errors: a disk that fails, the store, another writer (`Blame::Refused`). Whatever happens, points that
/// exist are untouched, and what was sent is found again by the next run.
pub fn protect<D: Disk>(
    access: &Access,
    server: ServerId,
    jobs: Vec<DiskJob<D>>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Outcome, Error> {
    Writer::open(access, server, options.clone())?.run(jobs, &Run::from(options), progress)
}

/// What the workers of all rounds add up.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) read_bytes: AtomicU64,
    pub(super) new_blocks: AtomicU64,
    pub(super) known_blocks: AtomicU64,
    pub(super) stopped: AtomicBool,
}

/// How a run ended.
pub(super) enum Ended {
    Published(Outcome),
    /// It was stopped from outside and has published a checkpoint; the error says so.
    Stopped(Error),
}

/// The disks of a run, and what is known of its record before anything is read.
pub(super) struct Tasks<D: Disk> {
    disks: Vec<DiskRun<D>>,
    id: PointId,
    started: u64,
    began: u64,
}

impl<D: Disk> Tasks<D> {
    /// Looks at the disks; after an error nothing has happened.
    pub(super) fn open(
        means: &Means,
        course: &Course,
        jobs: Vec<DiskJob<D>>,
        run: &Run,
    ) -> Result<Self, Error> {
        let access = &means.access;
        let [checkpoint, point] = course.bases();
        let disks = open_disks(access, jobs, run.since, point, checkpoint)?;
        let id = match (run.id, checkpoint.and_then(|link| link.record.manifest())) {
            (Some(id), _) => id,
            (None, Some(manifest)) => manifest.id,
            (None, None) => PointId(access.random_id()?),
        };
        let started = run.started.unwrap_or_else(|| access.clock.now().0);
        Ok(Self { disks, id, started, began: access.clock.monotonic_nanos() })
    }

    /// Reads, sends, publishes.
    pub(super) fn work(
        self,
        means: &Means,
        course: &mut Course,
        run: &Run,
        progress: &dyn Progress,
    ) -> Result<Ended, Error> {
        let options = &means.options;
        let lanes = options.workers.max(1) + 1;
        let (bytes_max, levels) = (options.buffer_bytes_max, options.levels);
        let uploader = Uploader::new(&means.access, means.server, bytes_max, lanes, levels);
        let Self { mut disks, id, started, began } = self;
        let mut work = Running {
            means,
            course,
            run,
            progress,
            uploader: &uploader,
            id,
            started,
            began,
            named: HashSet::new(),
            counters: Counters::default(),
        };
        std::thread::scope(|scope| {
            for _ in 0..uploader.threads() {
                scope.spawn(|| uploader.send_until_closed());
            }
            let result = work.all(&mut disks);
            uploader.close();
            result
        })
    }
}

struct Running<'run> {
    means: &'run Means,
    course: &'run mut Course,
    run: &'run Run,
    progress: &'run dyn Progress,
    uploader: &'run Uploader,
    id: PointId,
    started: u64,
    began: u64,
    /// Segments of this run that a record names.
    named: HashSet<SegmentId>,
    counters: Counters,
}

impl<'run> Running<'run> {
    fn all<D: Disk>(&mut self, disks: &mut [DiskRun<D>]) -> Result<Ended, Error> {
        let means = self.means;
        disks.iter_mut().try_for_each(|disk| disk.complete_plan(&means.frames, self.run))?;
        let blocks: u64 = disks.iter().map(|disk| disk.plan.blocks(disk.bytes)).sum();
        self.progress.total(disks.iter().map(DiskRun::planned_bytes).sum());
        let small = blocks <= SMALL_RUN_BLOCKS;
        let workers = if small { 1 } else { means.options.workers.max(1) };
        let lanes = (0..workers).map(|_| self.lane()).collect::<Result<Vec<_>, _>>()?;
        let pages = if small { None } else { Some(self.lane()?) };
        let mut crew = Crew::new(lanes, pages);
        self.fit_roots(disks, &mut crew)?;
        preload::preload(&means.frames, &means.known, disks)?;
        for at in 0..disks.len() {
            if let Some(stopped) = self.one_disk(disks, at, &mut crew, workers)? {
                return Ok(Ended::Stopped(stopped));
            }
        }
        for disk in &mut *disks {
            disk.check_size()?;
        }
        self.flush(&mut crew)?;
        let manifest = self.manifest(disks);
        let (work, resumed) = (manifest.work, self.course.resumes);
        let slot = self.publish(match self.run.publish {
            Publish::Point => Body::Point(manifest),
            Publish::Checkpoint => Body::Checkpoint(self.with_others(manifest)),
        })?;
        self.course.resumes = false;
        Ok(Ended::Published(self.outcome(slot, work, resumed, disks)))
    }

    /// Makes the maps fit the disks' sizes of today.
    fn fit_roots<D: Disk>(
        &mut self,
        disks: &mut [DiskRun<D>],
        crew: &mut Crew<'run>,
    ) -> Result<(), Error> {
        let frames = &self.means.frames;
        let shrank: Vec<bool> = disks.iter().map(DiskRun::shrank).collect();
        for disk in &mut *disks {
            disk.fit_root(frames, crew.page_sink())?;
        }
        // What resizing wrote is read again by the first update: it must be durable by then.
        self.flush(crew)?;
        let mut trimmed = false;
        for (disk, shrank) in disks.iter_mut().zip(&shrank) {
            trimmed |= disk.trim_root(frames, crew.page_sink(), *shrank)?;
        }
        // What a disk lost with its end is reached from nowhere after this run.
        self.course.is_stale |= shrank.contains(&true);
        if trimmed { self.flush(crew) } else { Ok(()) }
    }

    fn lane(&self) -> Result<Lane<'run>, Error> {
        let means = self.means;
        let compressor = Compressor::new(means.options.codec, self.uploader.level())
            .map_err(|error| Error::misuse("codec", error.to_string()))?;
        let (uploader, fingerprinter) = (self.uploader, &means.fingerprinter);
        Ok(Lane::new(&means.access, means.server, uploader, compressor, fingerprinter))
    }

    /// Rounds until the disk is done, a checkpoint between two of them; what is said where it was stopped.
    fn one_disk<D: Disk>(
        &mut self,
        disks: &mut [DiskRun<D>],
        at: usize,
        crew: &mut Crew<'run>,
        workers: usize,
    ) -> Result<Option<Error>, Error> {
        disks[at].open_readers(workers)?;
        loop {
            let tools = Tools {
                frames: &self.means.frames,
                fingerprinter: &self.means.fingerprinter,
                known: &self.means.known,
                uploader: self.uploader,
                progress: self.progress,
                options: &self.means.options,
                counters: &self.counters,
            };
            if round(&mut disks[at], crew, &tools)? {
                return Ok(None);
            }
            self.flush(crew)?;
            let manifest = self.with_others(self.manifest(disks));
            self.publish(Body::Checkpoint(manifest))?;
            if self.counters.stopped.load(Ordering::Relaxed) {
                let stopped = Error::misuse("protect", "was stopped").retry(Retry::Now);
                return Ok(Some(
                    stopped.remedy("what was read so far is kept: run again to go on from here"),
                ));
            }
        }
    }

    /// Sends every open segment and waits until all are durable.
    fn flush(&mut self, crew: &mut Crew<'run>) -> Result<(), Error> {
        crew.flush()?;
        self.course.unnamed.extend(self.uploader.drain()?);
        Ok(())
    }

    fn manifest<D: Disk>(&self, disks: &[DiskRun<D>]) -> Manifest {
        let elapsed = self.means.access.clock.monotonic_nanos().saturating_sub(self.began);
        Manifest {
            id: self.id,
            consistency: self.run.consistency,
            started: self.started,
            disks: disks.iter().map(DiskRun::state).collect(),
            segments: self.course.unnamed.clone(),
            heads: self.run.heads.clone(),
            ring_version: self.run.ring_version,
            work: Work {
                read_bytes: self.counters.read_bytes.load(Ordering::Relaxed),
                new_blocks: self.counters.new_blocks.load(Ordering::Relaxed),
                known_blocks: self.counters.known_blocks.load(Ordering::Relaxed),
                stored_bytes: self.uploader.totals().1,
                took_millis: elapsed / 1_000_000,
            },
            told: self.run.told.clone(),
        }
    }

    /// A checkpoint's manifest with what the checkpoint before it has of other disks: they wait for their point too.
    fn with_others(&self, mut manifest: Manifest) -> Manifest {
        let [checkpoint, _] = self.course.bases();
        let before = checkpoint.and_then(|link| link.record.manifest());
        for other in before.iter().flat_map(|before| &before.disks) {
            let is_there = |disk: &DiskState| disk.id == other.id || disk.name == other.name;
            if !manifest.disks.iter().any(is_there) {
                manifest.disks.push(other.clone());
            }
        }
        manifest
    }

    /// Publishes a record; upkeep that came in between is looked at, another writer ends the run.
    fn publish(&mut self, body: Body) -> Result<u64, Error> {
        for _ in 0..PUBLISH_TRIES {
            match self.course.chain.publish(body.clone())? {
                Published::Slot(slot) => {
                    let sent = self.course.unnamed.drain(..).map(|sent| sent.segment);
                    self.named.extend(sent);
                    self.course.published(self.means);
                    return Ok(slot);
                }
                Published::Moved(record) => match &record.body {
                    Body::Upkeep(upkeep) => self.respect(upkeep)?,
                    Body::EpochOpen(open) => return Err(fenced(&self.course.chain, &open.host)),
                    Body::Fork(fork) => return Err(fork::stands(self.means.server, fork)),
                    Body::ForkEnded(_) => {
                        return Err(fenced(&self.course.chain, "a failover that has ended since"));
                    }
                    Body::Point(_) | Body::Checkpoint(_) => {
                        return Err(fenced(&self.course.chain, "a copy of this very run"));
                    }
                },
            }
        }
        Err(Error::refused(self.means.server.to_string(), "its chain moves on without end")
            .retry(Retry::Later)
            .remedy("stop other programs that prune this server, then run again"))
    }

    /// A record after a condemning may not name what was condemned: the collector may delete it.
    fn respect(&self, upkeep: &Upkeep) -> Result<(), Error> {
        // Pages of the base may have been moved: their old segments go when the grace is over.
        self.means.frames.relocate(upkeep);
        self.course.check_base(self.means)?;
        let unnamed = self.course.unnamed.iter().map(|sent| &sent.segment);
        match unnamed.chain(&self.named).find(|segment| upkeep.condemns(segment)) {
            None => Ok(()),
            Some(segment) => Err(Error::refused(
                format!("segment {segment}"),
                "was condemned as an orphan before this run could publish it",
            )
            .retry(Retry::Now)
            .remedy("nothing was published; run again")),
        }
    }

    fn outcome<D: Disk>(
        &self,
        slot: u64,
        work: Work,
        resumed: bool,
        disks: &[DiskRun<D>],
    ) -> Outcome {
        let unread = disks
            .iter()
            .flat_map(|disk| disk.unread.iter().map(|offset| (disk.name.clone(), *offset)));
        let named = |which: fn(&DiskRun<D>) -> bool| {
            disks.iter().filter(|disk| which(disk)).map(|disk| disk.name.clone()).collect()
        };
        Outcome {
            id: self.id,
            slot,
            work,
            unread: unread.take(1000).collect(),
            unread_blocks: disks.iter().map(|disk| disk.unread_blocks).sum(),
            resumed,
            read_whole: named(|disk| disk.read_whole),
            from_zeros: named(|disk| disk.from_zeros),
        }
    }
}
