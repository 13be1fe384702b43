//! The disks of a run: what the map of each was, what must be read, what the map is by now.

use std::sync::Arc;

use hal::disk::Disk;
use pipeline::ids::DiskId;
use pipeline::limits::{BLOCK_BYTES, DISK_BLOCKS_MAX};

use super::job::{DiskJob, Run, Since};
use super::plan::Plan;
use super::span::{SpanReader, about, clear_beyond};
use crate::access::Access;
use crate::chain::Link;
use crate::error::Error;
use crate::map::{
    Child, Entry, LEAF_BLOCKS, PageSink, PageSource, Root, blocks_of, height_of, leaves_of, tree,
    update, walk_leaves,
};
use crate::record::DiskState;

/// One disk of a run.
///
/// A run that was interrupted left a checkpoint whose map is the base: it names what was sent. Where only changes are
/// read, they are changes since the *point*, so whatever the checkpoint has otherwise than the point is read again.
pub(super) struct DiskRun<D: Disk> {
    pub(super) id: DiskId,
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) bytes: u64,
    pub(super) sector_bytes: u32,
    pub(super) plan: Plan,
    /// The map so far: the base's, with every finished round's leaves in it.
    pub(super) root: Root,
    /// The size that `root` is for.
    root_bytes: u64,
    /// The newest point's map, where the base is a checkpoint's.
    point_root: Option<Root>,
    /// The next leaf to look at.
    pub(super) cursor: Option<u64>,
    pub(super) unread_blocks: u64,
    /// Byte offsets of unread blocks met in this run, the first thousand.
    pub(super) unread: Vec<u64>,
    pub(super) read_whole: bool,
    pub(super) from_zeros: bool,
    disk: Option<D>,
    pub(super) readers: Vec<SpanReader<D>>,
}

/// Finds each disk's base and decides what to read.
pub(super) fn open_disks<D: Disk>(
    access: &Access,
    jobs: Vec<DiskJob<D>>,
    since: Since,
    point: Option<&Link>,
    checkpoint: Option<&Link>,
) -> Result<Vec<DiskRun<D>>, Error> {
    let mut disks: Vec<DiskRun<D>> = Vec::with_capacity(jobs.len());
    for job in jobs {
        let disk = match since {
            Since::Point => open_since_point(access, job, point, checkpoint)?,
            Since::Newest => {
                let base = newest_of([checkpoint, point], &job.name, &job.identity);
                open_disk(access, job, base, since, false)?
            }
        };
        if disks.iter().any(|other| other.name == disk.name) {
            return Err(Error::misuse(disk.name, "is named twice")
                .remedy("give each disk a name of its own: NAME=PATH"));
        }
        if disks.iter().any(|other| other.id == disk.id) {
            return Err(Error::misuse(disk.name, "is the same disk as another one named"));
        }
        disks.push(disk);
    }
    if disks.is_empty() {
        return Err(Error::misuse("protect", "no disk is named"));
    }
    Ok(disks)
}

fn open_since_point<D: Disk>(
    access: &Access,
    job: DiskJob<D>,
    point: Option<&Link>,
    checkpoint: Option<&Link>,
) -> Result<DiskRun<D>, Error> {
    let in_point = base_of(point, &job);
    // What changed since another disk's point says nothing of this one.
    let same = in_point.as_ref().is_some_and(|base| !is_another(&base.identity, &job.identity));
    let sent = base_of(checkpoint, &job);
    let point_root = in_point.as_ref().map(|base| base.root).filter(|_| sent.is_some());
    let read_whole = job.changed.is_some() && !same;
    let disk = open_disk(access, job, sent.or(in_point), Since::Point, read_whole)?;
    Ok(DiskRun { point_root, ..disk })
}

/// The state of a disk in the first of these records that has it: by what the hardware says of it, or by its label
/// where that is not surely another disk's.
#[must_use]
pub fn newest_of(links: [Option<&Link>; 2], name: &str, identity: &str) -> Option<DiskState> {
    links.into_iter().flatten().find_map(|link| {
        let disks = &link.record.manifest()?.disks;
        let by_identity =
            disks.iter().find(|disk| !identity.is_empty() && disk.identity == identity);
        let by_name =
            || disks.iter().find(|disk| disk.name == name && !is_another(&disk.identity, identity));
        by_identity.or_else(by_name).cloned()
    })
}

/// The state of the job's disk in a record: by its label, or by its identity when it was renamed.
fn base_of<D>(link: Option<&Link>, job: &DiskJob<D>) -> Option<DiskState> {
    let disks = &link?.record.manifest()?.disks;
    let by_name = disks.iter().find(|disk| disk.name == job.name);
    let by_identity =
        || disks.iter().find(|disk| !job.identity.is_empty() && disk.identity == job.identity);
    by_name.or_else(by_identity).cloned()
}

/// Whether two identities are surely of two disks: each is words `kind=value`, and what hardware and partition table say
/// has nothing in common. A path tells nothing: images and snapshots move about.
fn is_another(old: &str, new: &str) -> bool {
    let words = |text: &'_ str| -> Vec<String> {
        let lasting = |word: &&str| !word.starts_with("path=");
        text.split(' ').filter(lasting).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (old, new) = (words(old), words(new));
    !old.is_empty() && !new.is_empty() && !old.iter().any(|word| new.contains(word))
}

fn open_disk<D: Disk>(
    access: &Access,
    mut job: DiskJob<D>,
    base: Option<DiskState>,
    since: Since,
    read_whole: bool,
) -> Result<DiskRun<D>, Error> {
    let geometry = job.disk.geometry().map_err(|error| about(&job.name, &error))?;
    let bytes = geometry.bytes;
    if bytes == 0 {
        return Err(Error::device(&job.name, "has no bytes (no medium, or an empty file)"));
    }
    if blocks_of(bytes) > DISK_BLOCKS_MAX {
        return Err(Error::exhausted(&job.name, "is larger than 64 PiB"));
    }
    let mut plan = match &job.changed {
        Some(ranges) => Plan::from_bytes(ranges, bytes, &job.name)?,
        None => Plan::Whole,
    };
    if read_whole {
        plan = Plan::Whole;
    }
    let from_zeros = since == Since::Newest && base.is_none() && plan != Plan::Whole;
    let (id, root, root_bytes, unread_blocks) = match base {
        Some(base) => {
            if base.bytes != bytes && since == Since::Point {
                plan = plan.with_tail(base.bytes.min(bytes) / BLOCK_BYTES as u64, bytes);
            }
            if base.root.height != height_of(blocks_of(base.bytes)) {
                return Err(Error::corrupt(&job.name, "its map's height does not fit its size"));
            }
            (base.id, base.root, base.bytes, base.unread_blocks)
        }
        None => (DiskId(access.random_id()?), Root::empty(bytes), bytes, 0),
    };
    Ok(DiskRun {
        id,
        cursor: plan.next_leaf(0, bytes),
        name: job.name,
        identity: job.identity,
        bytes,
        sector_bytes: geometry.logical_sector_bytes,
        plan,
        root,
        root_bytes,
        point_root: None,
        unread_blocks,
        unread: Vec::new(),
        read_whole,
        from_zeros,
        disk: Some(job.disk),
        readers: Vec::new(),
    })
}

impl<D: Disk> DiskRun<D> {
    /// Adds to a plan of changes what else must be read.
    pub(super) fn complete_plan(
        &mut self,
        source: &dyn PageSource,
        run: &Run,
    ) -> Result<(), Error> {
        let retry = run.retry_unread || run.since == Since::Point;
        if self.unread_blocks > 0 && (retry || self.bytes < self.root_bytes) {
            self.find_unread(source, retry)?;
        }
        let Some(point) = self.point_root.filter(|_| self.plan != Plan::Whole) else {
            return Ok(());
        };
        if point.height == self.root.height {
            let since = tree::differing(source, &point, &self.root)?;
            let plan = core::mem::replace(&mut self.plan, Plan::Whole);
            self.plan = plan.with_runs(since, self.bytes);
        } else {
            self.plan = Plan::Whole;
        }
        self.cursor = self.plan.next_leaf(0, self.bytes);
        Ok(())
    }

    /// Blocks that could not be read last time are tried again, changed or not: a tracker only tells of writes.
    fn find_unread(&mut self, source: &dyn PageSource, retry: bool) -> Result<(), Error> {
        let end = blocks_of(self.bytes);
        let mut unread = Vec::new();
        walk_leaves(source, &self.root, &mut |visited| {
            if visited.level == 0 {
                let leaf = source.leaf(&visited.page)?;
                let first = visited.first_leaf.saturating_mul(LEAF_BLOCKS);
                let blocks = (first..).zip(&leaf.entries);
                let failed =
                    blocks.filter(|(block, entry)| *block < end && **entry == Entry::Unread);
                unread.extend(failed.map(|(block, _)| (block, block + 1)));
            }
            Ok(true)
        })?;
        // What a disk that shrank lost with its end is no gap any more.
        self.unread_blocks = unread.len() as u64;
        if !retry {
            return Ok(());
        }
        let plan = core::mem::replace(&mut self.plan, Plan::Whole);
        self.plan = plan.with_runs(unread, self.bytes);
        self.cursor = self.plan.next_leaf(0, self.bytes);
        Ok(())
    }

    /// Makes the base's map fit the disk's size of today.
    pub(super) fn fit_root(
        &mut self,
        source: &dyn PageSource,
        sink: &mut dyn PageSink,
    ) -> Result<(), Error> {
        if self.root_bytes != self.bytes {
            self.root = tree::resize(source, sink, &self.root, self.bytes)?;
            self.root_bytes = self.bytes;
        }
        Ok(())
    }

    /// Clears what the map of a disk that shrank says of blocks beyond its end, where nothing of its last leaf is
    /// read; true where that wrote pages. What `fit_root` wrote must be durable by then.
    pub(super) fn trim_root(
        &mut self,
        source: &dyn PageSource,
        sink: &mut dyn PageSink,
        shrank: bool,
    ) -> Result<bool, Error> {
        let last = leaves_of(self.bytes).saturating_sub(1);
        if !shrank || self.plan.next_leaf(last, self.bytes) == Some(last) {
            return Ok(false);
        }
        let before = tree::load_leaf(source, &self.root, last)?;
        let mut after = Arc::clone(&before);
        clear_beyond(last, self.bytes, &mut after);
        if after == before {
            return Ok(false);
        }
        let child =
            if after.is_zero() { Child::Zero } else { Child::Page(sink.store(&after.encode())?) };
        self.root = update(source, sink, &self.root, &[(last, child)])?;
        Ok(true)
    }

    /// Whether the disk is smaller than its map is for.
    pub(super) fn shrank(&self) -> bool {
        self.bytes < self.root_bytes
    }

    /// One queue per worker.
    pub(super) fn open_readers(&mut self, workers: usize) -> Result<(), Error> {
        let Some(first) = self.disk.take() else { return Ok(()) };
        for _ in 1..workers {
            let another = first.another().map_err(|error| about(&self.name, &error))?;
            self.readers.push(SpanReader::new(another, &self.name, self.bytes)?);
        }
        self.readers.push(SpanReader::new(first, &self.name, self.bytes)?);
        Ok(())
    }

    /// The disk must still have the size that it was opened with.
    pub(super) fn check_size(&mut self) -> Result<(), Error> {
        self.readers.first_mut().map_or(Ok(()), SpanReader::check_size)
    }

    /// Bytes of disk that the plan covers.
    pub(super) fn planned_bytes(&self) -> u64 {
        (self.plan.blocks(self.bytes) * BLOCK_BYTES as u64).min(self.bytes)
    }

    /// The disk as a record states it.
    pub(super) fn state(&self) -> DiskState {
        DiskState {
            id: self.id,
            name: self.name.clone(),
            identity: self.identity.clone(),
            bytes: self.bytes,
            sector_bytes: self.sector_bytes,
            root: self.root,
            unread_blocks: self.unread_blocks,
            done_blocks: match self.cursor {
                Some(leaf) => leaf * LEAF_BLOCKS,
                None => blocks_of(self.bytes),
            },
        }
    }
}
