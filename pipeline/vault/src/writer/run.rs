//! One run of the writer from taking the chain over to publishing the point.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::HashSet;

use hal::disk::Disk;
use pipeline::compress::Compressor;
use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::{PointId, SegmentId, ServerId};

use super::disks::{DiskRun, open_disks};
use super::job::{DiskJob, Options, Outcome, Progress};
use super::known_blocks::KnownBlocks;
use super::lanes::Lane;
use super::rounds::{Crew, round};
use super::upload::Uploader;
use super::{preload, salvage};
use crate::access::Access;
use crate::chain::{Chain, Link, Published};
use crate::error::{Error, Retry};
use crate::frames::FrameReader;
use crate::record::{Body, EpochOpen, Manifest, SegmentRef, Upkeep, Work};

/// Runs of at most so many blocks use one lane, so that a small point is one segment and one record.
const SMALL_RUN_BLOCKS: u64 = 256;
/// How often a record that found its slot taken is tried again.
const PUBLISH_TRIES: u32 = 50;

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
    let mut chain = Chain::open(access, server)?;
    let before = chain.trail();
    let interrupted = before.epoch > before.point;
    let since = match before.epoch {
        Some(slot) if interrupted => chain.read(slot)?.record.store_time,
        _ => 0,
    };
    open_epoch(&mut chain, &options.host)?;
    let upkeep = chain.upkeep()?;
    let (point, checkpoint) = (chain.newest_point()?, chain.newest_checkpoint()?);
    let key = access
        .keys
        .fingerprint_key(&server)
        .ok_or_else(|| Error::misuse(server.to_string(), "no key for this server is at hand"))?;
    let fingerprinter = Fingerprinter::new(&key);
    let frames = FrameReader::new(access, server, &upkeep, options.page_cache_bytes_max)?;
    let known = KnownBlocks::new(options.known_bytes_max);
    let uploader = Uploader::new(
        access,
        server,
        options.buffer_bytes_max,
        options.workers.max(1) + 1,
        options.levels,
    );
    let mut run = Run {
        chain,
        options,
        progress,
        frames: &frames,
        fingerprinter: &fingerprinter,
        known: &known,
        uploader: &uploader,
        id: checkpoint_id(checkpoint.as_ref())
            .map_or_else(|| access.random_id().map(PointId), Ok)?,
        started: access.clock.now().0,
        began: access.clock.monotonic_nanos(),
        unnamed: Vec::new(),
        named: HashSet::new(),
        outcome: Counters::default(),
    };
    if interrupted {
        let newest = [checkpoint.as_ref(), point.as_ref()];
        run.unnamed = salvage::salvage(&frames, &known, since, &upkeep, newest)?;
    }
    std::thread::scope(|scope| {
        for _ in 0..uploader.threads() {
            scope.spawn(|| uploader.send_until_closed());
        }
        let result = run.all(access, jobs, point.as_ref(), checkpoint.as_ref());
        uploader.close();
        result.map(|outcome| Outcome { resumed: interrupted, ..outcome })
    })
}

fn checkpoint_id(checkpoint: Option<&Link>) -> Option<PointId> {
    checkpoint.and_then(|link| link.record.manifest()).map(|manifest| manifest.id)
}

/// What the workers of all rounds add up.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) read_bytes: AtomicU64,
    pub(super) new_blocks: AtomicU64,
    pub(super) known_blocks: AtomicU64,
    pub(super) stopped: AtomicBool,
}

struct Run<'run> {
    chain: Chain,
    options: &'run Options,
    progress: &'run dyn Progress,
    frames: &'run FrameReader,
    fingerprinter: &'run Fingerprinter,
    known: &'run KnownBlocks,
    uploader: &'run Uploader,
    id: PointId,
    started: u64,
    began: u64,
    /// Segments that are durable and that no record names yet.
    unnamed: Vec<SegmentRef>,
    /// Segments of this run that a record names.
    named: HashSet<SegmentId>,
    outcome: Counters,
}

impl<'run> Run<'run> {
    fn all<D: Disk>(
        &mut self,
        access: &'run Access,
        jobs: Vec<DiskJob<D>>,
        point: Option<&Link>,
        checkpoint: Option<&Link>,
    ) -> Result<Outcome, Error> {
        let mut disks = open_disks(access, jobs, point, checkpoint)?;
        disks.iter_mut().try_for_each(|disk| disk.complete_plan(self.frames))?;
        let blocks: u64 = disks.iter().map(|disk| disk.plan.blocks(disk.bytes)).sum();
        self.progress.total(disks.iter().map(DiskRun::planned_bytes).sum());
        let small = blocks <= SMALL_RUN_BLOCKS;
        let workers = if small { 1 } else { self.options.workers.max(1) };
        let lane = || self.lane(access);
        let lanes = (0..workers).map(|_| lane()).collect::<Result<Vec<_>, _>>()?;
        let pages = if small { None } else { Some(lane()?) };
        let mut crew = Crew::new(lanes, pages);
        for disk in &mut disks {
            disk.fit_root(self.frames, crew.page_sink())?;
        }
        // What resizing wrote is read again by the first update: it must be durable by then.
        self.flush(&mut crew)?;
        preload::preload(self.frames, self.known, &disks)?;
        for at in 0..disks.len() {
            self.one_disk(&mut disks, at, &mut crew, workers)?;
        }
        for disk in &mut disks {
            disk.check_size()?;
        }
        self.flush(&mut crew)?;
        let manifest = self.manifest(&disks);
        let work = manifest.work;
        let slot = self.publish(Body::Point(manifest))?;
        Ok(self.outcome(slot, work, &disks))
    }

    fn lane(&self, access: &'run Access) -> Result<Lane<'run>, Error> {
        let compressor = Compressor::new(self.options.codec, self.uploader.level())
            .map_err(|error| Error::misuse("codec", error.to_string()))?;
        Ok(Lane::new(access, self.chain.server(), self.uploader, compressor, self.fingerprinter))
    }

    /// Rounds until the disk is done, a checkpoint between two of them.
    fn one_disk<D: Disk>(
        &mut self,
        disks: &mut [DiskRun<D>],
        at: usize,
        crew: &mut Crew<'run>,
        workers: usize,
    ) -> Result<(), Error> {
        disks[at].open_readers(workers)?;
        loop {
            let finished = round(
                &mut disks[at],
                crew,
                &super::rounds::Tools {
                    frames: self.frames,
                    fingerprinter: self.fingerprinter,
                    known: self.known,
                    uploader: self.uploader,
                    progress: self.progress,
                    options: self.options,
                    counters: &self.outcome,
                },
            )?;
            if finished {
                return Ok(());
            }
            self.flush(crew)?;
            let manifest = self.manifest(disks);
            self.publish(Body::Checkpoint(manifest))?;
            if self.outcome.stopped.load(Ordering::Relaxed) {
                return Err(Error::new(crate::Blame::Misuse, "protect", "was stopped")
                    .retry(Retry::Now)
                    .remedy("what was read so far is kept: run again to go on from here"));
            }
        }
    }

    /// Sends every open segment and waits until all are durable.
    fn flush(&mut self, crew: &mut Crew<'run>) -> Result<(), Error> {
        crew.flush()?;
        self.unnamed.extend(self.uploader.drain()?);
        Ok(())
    }

    fn manifest<D: Disk>(&self, disks: &[DiskRun<D>]) -> Manifest {
        let elapsed = self.chain.access().clock.monotonic_nanos().saturating_sub(self.began);
        Manifest {
            id: self.id,
            consistency: self.options.consistency,
            started: self.started,
            disks: disks.iter().map(DiskRun::state).collect(),
            segments: self.unnamed.clone(),
            heads: self.options.heads.clone(),
            ring_version: self.options.ring_version,
            work: Work {
                read_bytes: self.outcome.read_bytes.load(Ordering::Relaxed),
                new_blocks: self.outcome.new_blocks.load(Ordering::Relaxed),
                known_blocks: self.outcome.known_blocks.load(Ordering::Relaxed),
                stored_bytes: self.uploader.totals().1,
                took_millis: elapsed / 1_000_000,
            },
        }
    }

    /// Publishes a record; upkeep that came in between is looked at, another writer ends the run.
    fn publish(&mut self, body: Body) -> Result<u64, Error> {
        for _ in 0..PUBLISH_TRIES {
            match self.chain.publish(body.clone())? {
                Published::Slot(slot) => {
                    self.named.extend(self.unnamed.drain(..).map(|sent| sent.segment));
                    return Ok(slot);
                }
                Published::Moved(record) => match &record.body {
                    Body::Upkeep(upkeep) => self.respect(upkeep)?,
                    Body::EpochOpen(open) => return Err(fenced(&self.chain, &open.host)),
                    Body::Point(_) | Body::Checkpoint(_) => {
                        return Err(fenced(&self.chain, "a copy of this very run"));
                    }
                },
            }
        }
        Err(Error::refused(self.chain.server().to_string(), "its chain moves on without end")
            .retry(Retry::Later)
            .remedy("stop other programs that prune this server, then run again"))
    }

    /// A record after a condemning may not name what was condemned: the collector may delete it.
    fn respect(&self, upkeep: &Upkeep) -> Result<(), Error> {
        // Pages of the base may have been moved: their old segments go when the grace is over.
        self.frames.relocate(upkeep);
        let ours = self.unnamed.iter().map(|sent| &sent.segment).chain(&self.named);
        match ours.into_iter().find(|segment| upkeep.condemns(segment)) {
            None => Ok(()),
            Some(segment) => Err(Error::refused(
                format!("segment {segment}"),
                "was condemned as an orphan before this run could publish it",
            )
            .retry(Retry::Now)
            .remedy("nothing was published; run again")),
        }
    }

    fn outcome<D: Disk>(&self, slot: u64, work: Work, disks: &[DiskRun<D>]) -> Outcome {
        let unread = disks
            .iter()
            .flat_map(|disk| disk.unread.iter().map(|offset| (disk.name.clone(), *offset)));
        Outcome {
            id: self.id,
            slot,
            work,
            unread: unread.take(1000).collect(),
            unread_blocks: disks.iter().map(|disk| disk.unread_blocks).sum(),
            resumed: false,
            read_whole: disks
                .iter()
                .filter(|disk| disk.read_whole)
                .map(|disk| disk.name.clone())
                .collect(),
        }
    }
}

/// Takes the chain over: from this record on every other writer is fenced.
fn open_epoch(chain: &mut Chain, host: &str) -> Result<(), Error> {
    for _ in 0..PUBLISH_TRIES {
        let epoch = chain.newest_epoch()? + 1;
        chain.set_writer_epoch(epoch);
        let open = EpochOpen { epoch, host: host.to_owned() };
        if let Published::Slot(_) = chain.publish(Body::EpochOpen(open))? {
            return Ok(());
        }
    }
    Err(Error::refused(chain.server().to_string(), "its chain moves on without end")
        .retry(Retry::Later)
        .remedy("stop other programs that protect or prune this server, then run again"))
}

fn fenced(chain: &Chain, by: &str) -> Error {
    Error::refused(
        format!("server {}", chain.server()),
        format!("another writer has taken over ({by})"),
    )
    .retry(Retry::Never)
    .remedy("only one machine may protect a server: stop one of the two; nothing was published by this one")
}
