//! A piece into the chain of its server: by the writer that is kept open for it, or another one.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use pipeline::ids::{PointId, ServerId};
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::Retry;
use pipeline_vault::chain::Chain;
use pipeline_vault::error::Blame;
use pipeline_vault::record::{Body, Consistency, Told};
use pipeline_vault::writer::{DiskJob, Options, Outcome, Publish, Run, Silent, Since, Writer};
use pipeline_wire::message::Instant;

use super::trouble::Trouble;
use super::{Drain, WRITERS_MAX};
use crate::ingest::backlog::Job;
use crate::ingest::base::Base;
use crate::ingest::extents::Extents;
use crate::ingest::journal;
use crate::ingest::spooled_disk::{Place, SpooledDisk};

/// A writer between two pieces, and how often in a row a piece failed.
#[derive(Default)]
pub(super) struct Open {
    writer: Option<Box<Writer>>,
    pub(super) failures: u32,
    /// When the first of these was, by a clock that only runs forwards.
    pub(super) failing_since: Option<u64>,
    used: u64,
}

impl Drain {
    /// The writer of a server: the one that is open, or a new one.
    fn writer(&self, job: &Job) -> Result<(Box<Writer>, Option<PointId>), Trouble> {
        let server = job.life.server;
        let kept = self.writers().get_mut(&server).and_then(|open| open.writer.take());
        let kept = kept.filter(|writer| !writer.has_failed());
        let known = self.hub.base_point(server);
        let chain = match &kept {
            // A fork is met in the slot of the next record; its end nobody meets who writes beside.
            Some(writer) if writer.server() == server => server,
            _ => (self.chains)(server, known)?,
        };
        if let Some(writer) = kept.filter(|writer| writer.server() == chain) {
            return Ok((writer, None));
        }
        let access = (self.access)(server);
        let mut writer = Box::new(Writer::open(&access, chain, self.options.clone())?);
        let chain = Chain::open(&access, chain)?;
        let newest = chain.newest_point()?;
        if let Some(manifest) = newest.as_ref().and_then(|link| link.record.point()) {
            // The end came after this very point was published, and before that was noted.
            let same = job.cut.as_ref().is_some_and(|kept| {
                known != Some(manifest.id)
                    && manifest.told.source_time == Some(kept.cut.at_millis)
                    && manifest.told.frozen_micros == frozen(kept.cut.frozen_micros)
            });
            if same {
                return Ok((writer, Some(manifest.id)));
            }
        }
        let base = Base::of(&chain, known, &self.options.host)?;
        let Some(words) = base.foreign else { return Ok((writer, None)) };
        let gone = base.is_gone().then(|| base.point_id());
        // What is sent again is what changed since the point that the agent knows of, whatever others put behind it.
        writer.go_on_from(base.point);
        self.writers().entry(server).or_default().writer = Some(writer);
        Err(gone.map_or_else(|| Trouble::Lost(words.to_owned()), Trouble::Gone))
    }

    pub(super) fn put(&self, job: &Job) -> Result<Option<PointId>, Trouble> {
        let server = job.life.server;
        let (mut writer, published) = self.writer(job)?;
        let result = match published {
            Some(point) => Ok(Some(point)),
            None => self.make(job, &mut writer),
        };
        if result.is_ok() {
            let mut writers = self.writers();
            let used = writers.values().map(|open| open.used).max().unwrap_or(0) + 1;
            writers.insert(
                server,
                Open { writer: Some(writer), failures: 0, failing_since: None, used },
            );
            self.succeeded.fetch_max(self.now(), Ordering::Relaxed);
            if writers.values().filter(|open| open.writer.is_some()).count() > WRITERS_MAX
                && let Some(open) = writers.values_mut().min_by_key(|open| open.used)
            {
                open.writer = None;
            }
        }
        result
    }

    fn make(&self, job: &Job, writer: &mut Writer) -> Result<Option<PointId>, Trouble> {
        let mut run = run_of(job, &self.options);
        for (disk, extents) in job.disks.iter().zip(&job.extents) {
            let hello = &disk.hello;
            let is_missing = writer.disk(&hello.name, &hello.identity).is_none();
            // A checkpoint claims nothing: the disk may be sent behind it.
            if job.cut.is_some() && extents.is_empty() && is_missing {
                let words =
                    format!("nothing of {} was ever sent: it is all zeros here", hello.name);
                log::warn!("server {}: {words}", job.life.server);
                run.told.remark(&words);
            }
        }
        match writer.run(self.disks(job), &run, &Silent) {
            Ok(outcome) => {
                self.note(job, &outcome);
                Ok(job.cut.as_ref().map(|_| outcome.id))
            }
            Err(_) if self.hub.is_stopping() => Err(Trouble::End),
            Err(_) if self.shelf.take_damage() => {
                Err(Trouble::Lost("records of the spool are damaged".to_owned()))
            }
            Err(error) if error.blame == Blame::Refused && error.retry == Retry::Never => {
                let is_forked = self.is_forked(job.life.server, writer);
                Err(if is_forked { Trouble::Forked(error) } else { Trouble::Fenced(error) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a failover, or the end of one, is what a writer of a server's own chain met. Nobody else wrote behind it: what
    /// is on its way goes on from what it went on from.
    fn is_forked(&self, server: ServerId, writer: &Writer) -> bool {
        let met = || {
            let chain = Chain::open(&(self.access)(server), server).ok()?;
            let newest = chain.read(chain.trail().epoch?).ok()?;
            Some(matches!(newest.record.body, Body::Fork(_) | Body::ForkEnded(_)))
        };
        writer.server() == server && met() == Some(true)
    }

    fn note(&self, job: &Job, outcome: &Outcome) {
        let work = outcome.work;
        self.hub.stored(job.life.server, work.read_bytes, work.stored_bytes);
    }

    fn disks(&self, job: &Job) -> Vec<DiskJob<SpooledDisk>> {
        let disk = |(disk, extents): (&journal::SentDisk, &Arc<_>)| {
            let hello = &disk.hello;
            let (shelf, sectors) = (Arc::clone(&self.shelf), hello.sector_bytes);
            let ranges = ranges(extents, hello.bytes);
            DiskJob {
                name: hello.name.clone(),
                identity: hello.identity.clone(),
                disk: SpooledDisk::new(shelf, Arc::clone(extents), hello.bytes, sectors),
                changed: Some(ranges),
            }
        };
        job.disks.iter().zip(&job.extents).map(disk).collect()
    }
}

/// What changed, as byte ranges inside the disk.
fn ranges(extents: &Extents<Place>, bytes: u64) -> Vec<(u64, u64)> {
    let block = BLOCK_BYTES as u64;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for (run, _) in extents.iter() {
        let (from, to) =
            (run.start.saturating_mul(block), run.end.saturating_mul(block).min(bytes));
        match ranges.last_mut() {
            Some((first, length)) if *first + *length == from => *length = to - *first,
            _ if from < to => ranges.push((from, to - from)),
            _ => {}
        }
    }
    ranges
}

fn frozen(micros: u64) -> Option<u64> {
    Some(micros).filter(|micros| *micros > 0)
}

fn run_of(job: &Job, options: &Options) -> Run {
    let mut run = Run {
        since: Since::Newest,
        publish: Publish::Checkpoint,
        retry_unread: false,
        ..Run::from(options)
    };
    if let Some(kept) = &job.cut {
        run.publish = Publish::Point;
        run.started = Some(kept.came_millis);
        run.consistency = match kept.cut.instant {
            Instant::Crash => Consistency::Crash,
            Instant::Application => Consistency::Application,
            _ => Consistency::Fuzzy,
        };
        run.told = Told::new(frozen(kept.cut.frozen_micros), Some(kept.cut.at_millis));
        kept.cut.remarks.iter().for_each(|remark| run.told.remark(remark));
    }
    run
}
