//! A writer that has taken a chain over, for as many runs as it likes: what it learnt in one is at hand in the next.
//!
//! A run that fails may leave it believing what is not so (blocks that were sealed and never sent): it then refuses to
//! run and must be opened anew, which also finds again what was sent. It refuses to take a chain back by itself.

use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::{Fingerprint, ServerId};
use pipeline::limits::{BLOCK_BYTES, PAGE_ENTRIES};

use hal::disk::Disk;

use super::disks::newest_of;
use super::job::{DiskJob, Options, Outcome, Progress, Run};
use super::known_blocks::KnownBlocks;
use super::run::{Ended, Tasks};
use super::salvage;
use crate::access::Access;
use crate::chain::{Chain, Link, Published};
use crate::error::{Error, Retry};
use crate::fork;
use crate::frames::FrameReader;
use crate::map::{Entry, leaves_of, tree};
use crate::record::{Body, DiskState, EpochOpen, Record, SegmentRef};

/// How often a record that found its slot taken is tried again.
pub(super) const PUBLISH_TRIES: u32 = 50;
/// The chain is looked at anew before a run if nothing was heard of it for so long: far below the grace after which
/// pruned slots are deleted, because until then a slot that was taken is found taken. Nanoseconds.
const LOOK_NANOS: u64 = 600 * 1_000_000_000;

/// A writer of one server's chain. Every earlier writer is fenced from when it was opened, and it from when the next is.
pub struct Writer {
    means: Means,
    course: Course,
    failed: Option<Error>,
    zeros: Fingerprint,
}

/// What runs work with.
pub(super) struct Means {
    pub(super) access: Access,
    pub(super) server: ServerId,
    pub(super) options: Options,
    pub(super) frames: FrameReader,
    pub(super) fingerprinter: Fingerprinter,
    pub(super) known: KnownBlocks,
}

/// What a run goes on from.
pub(super) enum Base {
    /// The newest record with maps.
    Newest,
    /// This point, or nothing at all, although the chain has newer records with maps.
    Older(Option<Link>),
}

/// Where the chain is.
pub(super) struct Course {
    pub(super) chain: Chain,
    /// The newest point, and the newest checkpoint after it.
    pub(super) point: Option<Link>,
    pub(super) checkpoint: Option<Link>,
    /// What the next run goes on from.
    pub(super) base: Base,
    /// Segments that are durable and that no record names yet.
    pub(super) unnamed: Vec<SegmentRef>,
    /// Something was salvaged since the newest point.
    pub(super) has_salvaged: bool,
    /// The table of known blocks holds some that the newest record does not reach.
    pub(super) is_stale: bool,
    /// An interrupted run was found, and no run of this writer has ended yet.
    pub(super) resumes: bool,
    /// The slots of the epoch-open and of the newest upkeep known here.
    epoch: Option<u64>,
    upkeep: Option<u64>,
    looked: u64,
}

impl Writer {
    /// Takes the chain over and finds what an interrupted run had sent.
    ///
    /// New keys (`vault rekey`) count for writers that are opened after them.
    pub fn open(access: &Access, server: ServerId, options: Options) -> Result<Self, Error> {
        let mut chain = Chain::open(access, server)?;
        let before = chain.trail();
        let newest = before.epoch.max(before.checkpoint).max(before.point);
        let resumes = newest > before.point;
        let since = match newest {
            Some(slot) if resumes => chain.read(slot)?.record.store_time,
            _ => 0,
        };
        open_epoch(&mut chain, &options.host)?;
        let upkeep = chain.upkeep()?;
        let (point, checkpoint) = (chain.newest_point()?, chain.newest_checkpoint()?);
        let key = access.keys.fingerprint_key(&server).ok_or_else(|| {
            Error::misuse(server.to_string(), "no key for this server is at hand")
        })?;
        let fingerprinter = Fingerprinter::new(&key);
        let frames = FrameReader::new(access, server, &upkeep, options.page_cache_bytes_max)?;
        let known = KnownBlocks::new(options.known_bytes_max);
        let unnamed = if resumes {
            let newest = [checkpoint.as_ref(), point.as_ref()];
            salvage::salvage(&frames, &known, since, &upkeep, newest)?
        } else {
            Vec::new()
        };
        let trail = chain.trail();
        let course = Course {
            chain,
            point,
            checkpoint,
            base: Base::Newest,
            has_salvaged: !unnamed.is_empty(),
            unnamed,
            is_stale: false,
            resumes,
            epoch: trail.epoch,
            upkeep: trail.upkeep,
            looked: access.clock.monotonic_nanos(),
        };
        let zeros = fingerprinter.of(&[0; BLOCK_BYTES]);
        let access = access.clone();
        let means = Means { access, server, options, frames, fingerprinter, known };
        Ok(Self { means, course, failed: None, zeros })
    }

    /// Makes a point or a checkpoint of the disks given; returns once it is durable. The server's disks that a checkpoint's
    /// run does not name keep the state that the checkpoint before has of them; a point is of the disks named, and no
    /// others.
    ///
    /// Errors: a disk that fails, the store, another writer (`Blame::Refused`). Whatever happens, points that exist are
    /// untouched. After a run that failed with its work begun every further one fails too: open the writer anew. A
    /// run that was stopped has published what it had, and the writer goes on.
    pub fn run<D: Disk>(
        &mut self,
        jobs: Vec<DiskJob<D>>,
        run: &Run,
        progress: &dyn Progress,
    ) -> Result<Outcome, Error> {
        if let Some(failed) = &self.failed {
            return Err(again(failed));
        }
        self.course.look(&self.means)?;
        if self.course.is_stale || self.means.known.is_worn() {
            self.means.known = KnownBlocks::new(self.means.options.known_bytes_max);
            self.course.is_stale = false;
        }
        let tasks = Tasks::open(&self.means, &self.course, jobs, run)?;
        match tasks.work(&self.means, &mut self.course, run, progress) {
            Ok(Ended::Published(outcome)) => Ok(outcome),
            Ok(Ended::Stopped(error)) => Err(error),
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The newest record with maps, or what the next run goes on from instead: what `Since::Newest` is relative to.
    #[must_use]
    pub fn newest(&self) -> Option<&Link> {
        self.course.bases().into_iter().flatten().next()
    }

    /// Has the next run go on from this point of the chain, or from nothing, whatever others put behind it. It is for who
    /// knows what changed since that point, and nothing of what others wrote. Where the point is pruned before the run has
    /// published anything, the run fails.
    pub fn go_on_from(&mut self, point: Option<Link>) {
        self.course.base = Base::Older(point);
    }

    /// The state of a disk that `Since::Newest` is relative to; `None` where that is a disk of zeros.
    #[must_use]
    pub fn disk(&self, name: &str, identity: &str) -> Option<DiskState> {
        newest_of(self.course.bases(), name, identity)
    }

    /// The fingerprints of the 256 blocks of a leaf as the newest record has them, `None` where a block is unknown or lies
    /// beyond the disk's end; `None` where the record does not have the disk. Neighbours come from memory.
    pub fn fingerprints(
        &self,
        name: &str,
        identity: &str,
        leaf: u64,
    ) -> Result<Option<[Option<Fingerprint>; PAGE_ENTRIES]>, Error> {
        let Some(disk) = self.disk(name, identity) else { return Ok(None) };
        let mut found = [None; PAGE_ENTRIES];
        if leaf >= leaves_of(disk.bytes) {
            return Ok(Some(found));
        }
        let entries = tree::load_leaf(&self.means.frames, &disk.root, leaf)?;
        let first = leaf * PAGE_ENTRIES as u64;
        let inside = crate::map::blocks_of(disk.bytes) - first;
        for ((place, entry), _) in found.iter_mut().zip(&entries.entries).zip(0..inside) {
            *place = match entry {
                Entry::Data(block) => Some(block.fingerprint),
                Entry::Zero | Entry::Discarded => Some(self.zeros),
                Entry::Unread => None,
            };
        }
        Ok(Some(found))
    }

    #[cfg(test)]
    pub(super) fn known_blocks(&self) -> Vec<crate::map::BlockRef> {
        self.means.known.all()
    }

    /// Whose chain it writes.
    #[must_use]
    pub fn server(&self) -> ServerId {
        self.means.server
    }

    /// Whether a run failed, so that this writer must be opened anew.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}

impl Course {
    /// The records with maps that a run goes on from, the newest first.
    pub(super) fn bases(&self) -> [Option<&Link>; 2] {
        match &self.base {
            Base::Newest => [self.checkpoint.as_ref(), self.point.as_ref()],
            Base::Older(point) => [None, point.as_ref()],
        }
    }

    /// Upkeep came in between: nothing but what the newest records reach is sure to be there still.
    pub(super) fn check_base(&self, means: &Means) -> Result<(), Error> {
        let Base::Older(Some(_)) = self.base else { return Ok(()) };
        let what = "was pruned or moved while a run went on from an older point than the newest";
        Err(Error::refused(format!("server {}", means.server), what)
            .retry(Retry::Now)
            .remedy("nothing was published; run again"))
    }

    /// What happened to the chain while nothing was published: upkeep is taken into account, another writer ends this one.
    fn look(&mut self, means: &Means) -> Result<(), Error> {
        let now = means.access.clock.monotonic_nanos();
        if now.saturating_sub(self.looked) < LOOK_NANOS {
            return Ok(());
        }
        self.chain.look_again()?;
        let trail = self.chain.trail();
        let ours = |link: &Option<Link>| link.as_ref().map(|link| link.record.slot);
        if trail.epoch != self.epoch {
            if let Some(fork) = self.chain.fork()? {
                return Err(fork::stands(means.server, &fork));
            }
            let host = match trail.epoch.map(|slot| self.chain.read(slot)).transpose()? {
                Some(Link { record, .. }) => match &record.body {
                    Body::EpochOpen(open) => open.host.clone(),
                    _ => String::new(),
                },
                None => String::new(),
            };
            return Err(fenced(&self.chain, &host));
        }
        if trail.point != ours(&self.point) || trail.checkpoint != ours(&self.checkpoint) {
            return Err(fenced(&self.chain, "a copy of this very writer"));
        }
        if trail.upkeep != self.upkeep {
            self.check_base(means)?;
            means.frames.relocate(&self.chain.upkeep()?);
            self.upkeep = trail.upkeep;
        }
        self.looked = now;
        Ok(())
    }

    /// Takes over what a record that was just published says.
    pub(super) fn published(&mut self, means: &Means) {
        let Some(link) = self.chain.head().cloned() else { return };
        // What newer records reached is not what this one reaches.
        self.is_stale |= self.loses(&link.record) || matches!(self.base, Base::Older(_));
        self.looked = means.access.clock.monotonic_nanos();
        self.upkeep = self.chain.trail().upkeep;
        match &link.record.body {
            Body::Point(_) => {
                self.has_salvaged = false;
                (self.point, self.checkpoint, self.base) = (Some(link), None, Base::Newest);
            }
            Body::Checkpoint(_) => (self.checkpoint, self.base) = (Some(link), Base::Newest),
            Body::EpochOpen(_) | Body::Fork(_) | Body::ForkEnded(_) | Body::Upkeep(_) => {}
        }
    }

    /// Whether a new record ends the reach of anything that was salvaged or that the records before it reach.
    fn loses(&self, new: &Record) -> bool {
        let Some(manifest) = new.manifest() else { return false };
        let is_point = new.point().is_some();
        let point = self.point.as_ref().filter(|_| is_point);
        let before = [self.checkpoint.as_ref(), point].into_iter().flatten();
        let mut disks = before.filter_map(|link| link.record.manifest()).flat_map(|of| &of.disks);
        let keeps = |old: &DiskState| {
            manifest.disks.iter().any(|disk| disk.id == old.id && disk.bytes >= old.bytes)
        };
        (is_point && self.has_salvaged) || disks.any(|old| !keeps(old))
    }
}

/// What a writer says that failed before.
fn again(failed: &Error) -> Error {
    if failed.retry == Retry::Never {
        return failed.clone();
    }
    Error::new(failed.blame, &failed.object, format!("failed before: {}", failed.what))
        .retry(failed.retry)
        .remedy("open the writer anew: what was sent is found again")
}

/// Takes the chain over: from this record on every other writer is fenced.
fn open_epoch(chain: &mut Chain, host: &str) -> Result<(), Error> {
    for _ in 0..PUBLISH_TRIES {
        // Whoever finds the slot taken by a fork meanwhile looks here again.
        if let Some(fork) = chain.fork()? {
            return Err(fork::stands(chain.server(), &fork));
        }
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

pub(super) fn fenced(chain: &Chain, by: &str) -> Error {
    Error::refused(
        format!("server {}", chain.server()),
        format!("another writer has taken over ({by})"),
    )
    .retry(Retry::Never)
    .remedy("only one machine may protect a server: stop one of the two; nothing was published by this one")
}
