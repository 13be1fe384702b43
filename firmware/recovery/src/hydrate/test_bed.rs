//! What tests of hydration share: a vault in memory, with points of a disk that changes between them.

use std::sync::Arc;

use hal::disk::Disk;
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};
use pipeline::ids::{PointId, ServerId};
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::access::Access;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::points::read_chain;
use pipeline_vault::store::memory::MemoryStore;
use pipeline_vault::vault::Vault;
use pipeline_vault::writer::{DiskJob, Options, Silent, protect};

use super::fill::Source;
use super::page_disk::tests::MemoryPages;
use super::seed::Stop;
use super::vhd::{FOOTER_BYTES, padded, whole};

/// 24 MiB, a block and a sector.
pub(super) const BYTES: u64 = 24 * 1024 * 1024 + 65_536 + 512;

/// A vault and the disk that is protected in it.
pub(super) struct Bed {
    pub(super) access: Access,
    pub(super) server: ServerId,
    pub(super) disk: SimDisk,
    pub(super) random: Random,
    /// Each point with the disk's content at it.
    pub(super) points: Vec<(PointId, Vec<u8>)>,
    pub(super) store: Arc<MemoryStore>,
}

impl Bed {
    pub(super) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let store = Arc::new(MemoryStore::new());
        let clock = SimClock::at(hal::time::UnixMillis(1_790_000_000_000));
        let entropy = Arc::new(SimEntropy::new(seed));
        let (mut vault, _) = Vault::create(store.clone(), Arc::new(clock), entropy).unwrap();
        let server = vault.enrol("web1").unwrap().id;
        let (disk, random) = (SimDisk::new(BYTES), Random::new(seed));
        Self { access: vault.access(), server, disk, random, points: Vec::new(), store }
    }

    /// Changes so many blocks and makes a point.
    pub(super) fn point(&mut self, blocks: u64) -> PointId {
        for _ in 0..blocks {
            let at = self.random.below(BYTES / BLOCK_BYTES as u64) * BLOCK_BYTES as u64;
            let mut content = vec![0; BLOCK_BYTES];
            match self.random.below(4) {
                0 => {}
                1 => self.random.fill(&mut content[20 * 512..25 * 512]),
                _ => self.random.fill(&mut content),
            }
            self.disk.load(at, &content);
        }
        let disk = self.disk.another().unwrap();
        let (name, identity) = ("sda".to_owned(), "wwn-1".to_owned());
        let job = DiskJob { name, identity, disk, changed: None };
        let options = Options { workers: 2, ..Options::default() };
        let made = protect(&self.access, self.server, vec![job], &options, &Silent).unwrap();
        let content = self.disk.content(0, usize::try_from(BYTES).unwrap());
        self.points.push((made.id, content));
        made.id
    }

    pub(super) fn frames(&self) -> FrameReader {
        let view = read_chain(&self.access, self.server).unwrap();
        FrameReader::new(&self.access, self.server, &view.upkeep, 4 << 20).unwrap()
    }

    pub(super) fn stops(&self) -> Vec<Stop> {
        let view = read_chain(&self.access, self.server).unwrap();
        let stop = |point: PointId| {
            let link = view.find(&point.to_string()).unwrap();
            let manifest = link.record.point().unwrap();
            Stop { point, time: manifest.started, disk: manifest.disks[0].clone() }
        };
        self.points.iter().map(|(point, _)| stop(*point)).collect()
    }

    /// Panics where the blob is not the VHD of the point, with zeros behind its disk.
    pub(super) fn assert_is(&self, pages: &MemoryPages, number: usize) {
        let content = pages.content();
        let disk = usize::try_from(BYTES).unwrap();
        let end = usize::try_from(padded(BYTES)).unwrap();
        let at = self.points[number].1.iter().zip(&content).position(|pair| pair.0 != pair.1);
        assert_eq!(at, None, "the first byte that differs");
        assert!(content[disk..end].iter().all(|byte| *byte == 0), "padding is zeros");
        assert_eq!(&content[end..end + 8], b"conectix");
    }
}

impl Stop {
    pub(super) fn source<'a>(&'a self, frames: &'a FrameReader) -> Source<'a> {
        Source { frames, disk: &self.disk, point: self.point, time: self.time }
    }
}

/// An empty blob of the right length.
pub(super) fn blob() -> Arc<MemoryPages> {
    assert_eq!(whole(BYTES), padded(BYTES) + FOOTER_BYTES as u64);
    Arc::new(MemoryPages::new(whole(BYTES)))
}
