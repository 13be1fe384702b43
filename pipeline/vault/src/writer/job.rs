//! What a point is made of and how, and what came of it.

use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use pipeline::compress::Codec;
use pipeline::flow::LevelPolicy;
use pipeline::ids::PointId;

use crate::record::{Consistency, KnownHead, Told, Work};

/// One disk to protect.
pub struct DiskJob<D> {
    /// Its label: the name that a restore asks for.
    pub name: String,
    /// What the hardware says of it, kept beside the label; empty where nothing is known.
    pub identity: String,
    /// The disk, opened for reading.
    pub disk: D,
    /// Byte ranges (offset, length) that changed since what `Run::since` says; `None` reads everything.
    pub changed: Option<Vec<(u64, u64)>>,
}

/// How a writer works. What it says of a point is `Run`'s where it makes several.
#[derive(Clone)]
pub struct Options {
    /// What the manifest says of the instant.
    pub consistency: Consistency,
    /// Which codec compresses.
    pub codec: Codec,
    /// Which compression levels the flow control may choose.
    pub levels: LevelPolicy,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Segments sent between two checkpoints.
    pub checkpoint_segments: u64,
    /// Bytes for segment buffers; bounds how many are in flight.
    pub buffer_bytes_max: usize,
    /// Bytes for the table of known blocks.
    pub known_bytes_max: usize,
    /// Bytes for map pages kept in memory.
    pub page_cache_bytes_max: usize,
    /// Host name and process, for the message that a fenced writer prints.
    pub host: String,
    /// Newest known heads of other chains.
    pub heads: Vec<KnownHead>,
    /// The key ring's version.
    pub ring_version: u64,
    /// Set from outside to stop at the next span: a checkpoint is published and the run ends with an error.
    pub stop: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            consistency: Consistency::Crash,
            codec: Codec::Zstd,
            levels: LevelPolicy::default(),
            workers: crate::parallel::processors().min(8),
            checkpoint_segments: 64,
            buffer_bytes_max: 128 * 1024 * 1024,
            known_bytes_max: 32 * 1024 * 1024,
            page_cache_bytes_max: 16 * 1024 * 1024,
            host: String::new(),
            heads: Vec::new(),
            ring_version: 0,
            stop: Arc::default(),
        }
    }
}

/// What the changed ranges of a run's disks are relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// The newest point. What a checkpoint has otherwise is read again, and so are blocks that could not be read and the
    /// end of a disk whose size changed; a disk without a point is read whole.
    #[default]
    Point,
    /// The newest record with maps, checkpoint or point, whoever wrote it (`Writer::newest`); of a disk that is not in it,
    /// a disk of zeros. Exactly the ranges are read. A disk that shrank loses its end, one that grew has zeros there.
    Newest,
}

/// What a run ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// A recovery point.
    #[default]
    Point,
    /// A piece of one: durable, kept from the collector, the base of the next run, and nothing that can be restored.
    Checkpoint,
}

/// One run of a writer.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the changed ranges are relative to.
    pub since: Since,
    /// What it ends with.
    pub publish: Publish,
    /// The point's identity where it is a copy of a point of another chain; `None` makes a new one.
    pub id: Option<PointId>,
    /// With `Since::Newest`: blocks that could not be read before are read too, whether or not a range names them.
    pub retry_unread: bool,
    /// What the manifest says of the instant.
    pub consistency: Consistency,
    /// What the source told of the instant.
    pub told: Told,
    /// The instant, milliseconds since 1970; `None` is when the run begins.
    pub started: Option<u64>,
    /// Newest known heads of other chains.
    pub heads: Vec<KnownHead>,
    /// The key ring's version.
    pub ring_version: u64,
}

impl From<&Options> for Run {
    /// A point of what changed since the newest point: what `protect` makes.
    fn from(options: &Options) -> Self {
        Self {
            since: Since::Point,
            publish: Publish::Point,
            id: None,
            retry_unread: true,
            consistency: options.consistency,
            told: Told::default(),
            started: None,
            heads: options.heads.clone(),
            ring_version: options.ring_version,
        }
    }
}

/// A published point or checkpoint.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The point's identity; a checkpoint has that of the point to come.
    pub id: PointId,
    /// The slot of its record.
    pub slot: u64,
    /// What making it cost, this run alone.
    pub work: Work,
    /// Blocks that could not be read, by disk and byte offset; at most the first thousand.
    pub unread: Vec<(String, u64)>,
    /// All blocks that could not be read.
    pub unread_blocks: u64,
    /// The run went on where an interrupted one had stopped.
    pub resumed: bool,
    /// Disks whose `changed` ranges could not be used because no point of them exists: they were read whole.
    pub read_whole: Vec<String>,
    /// With `Since::Newest`: disks of which the vault had nothing, so that what no range named is zero.
    pub from_zeros: Vec<String>,
}

/// Told how a run goes; called from several threads, a few hundred times a second at most.
pub trait Progress: Sync {
    /// The run will cover so many bytes of disk.
    fn total(&self, bytes: u64);
    /// So many more bytes of disk are covered, so many more bytes of segments were sent.
    fn advance(&self, covered_bytes: u64, sent_bytes: u64);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
}
