//! What tests of writer and reader share: a vault in memory, keys, a disk with content, comparison.

use std::sync::Arc;

use hal::disk::Disk;
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};
use pipeline::ids::{KeyEpoch, SegmentId, ServerId, VaultId};
use pipeline::limits::SEGMENT_BYTES_MAX;
use pipeline::seal::SecretKey;
use pipeline::segment::{SegmentIdentity, SegmentWriter, derive_segment_key};

use crate::access::Access;
use crate::chain::Chain;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::keys::KeySource;
use crate::names;
use crate::points::read_chain;
use crate::record::{Action, Body, Relocation, SegmentRef};
use crate::restore;
use crate::sealed::{ObjectKey, ObjectKind};
use crate::store::BlobStore;
use crate::writer::{DiskJob, Options, Outcome, Silent, protect};

pub(crate) const BLOCK: u64 = 65_536;
pub(crate) const SERVER: ServerId = ServerId([5; 16]);

/// One key for everything.
pub(crate) struct OneKey;

impl KeySource for OneKey {
    fn newest_record_key(&self, _: &ServerId) -> Option<(KeyEpoch, SecretKey)> {
        Some((KeyEpoch(1), SecretKey::from_bytes([1; 32])))
    }

    fn object_key(&self, _: &ServerId, _: ObjectKind, _: &str, _: KeyEpoch) -> Option<ObjectKey> {
        Some(ObjectKey::Epoch(SecretKey::from_bytes([1; 32])))
    }

    fn segment_key(&self, identity: &SegmentIdentity) -> Option<SecretKey> {
        Some(derive_segment_key(&SecretKey::from_bytes([1; 32]), identity))
    }

    fn fingerprint_key(&self, _: &ServerId) -> Option<SecretKey> {
        Some(SecretKey::from_bytes([2; 32]))
    }
}

/// Access to a store with simulated clock and randomness.
pub(crate) fn access(store: Arc<dyn BlobStore>, seed: u64) -> Access {
    Access {
        store,
        vault: VaultId([9; 16]),
        keys: Arc::new(OneKey),
        clock: Arc::new(SimClock::at(hal::time::UnixMillis(1_700_000_000_000))),
        entropy: Arc::new(SimEntropy::new(seed)),
    }
}

/// Fills some blocks of a disk with compressible, random and zero content.
pub(crate) fn scribble(disk: &SimDisk, bytes: u64, random: &mut Random, blocks: u64) {
    for _ in 0..blocks {
        let at = random.below(bytes.div_ceil(BLOCK)) * BLOCK;
        let length = usize::try_from(BLOCK.min(bytes - at)).expect("a block");
        let mut content = vec![0_u8; length];
        match random.below(4) {
            0 => {}
            1 => random.fill(&mut content),
            _ => {
                let word = random.number().to_le_bytes();
                content
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, byte)| *byte = word[i % 7] ^ (i >> 9).to_le_bytes()[0]);
            }
        }
        disk.load(at, &content);
    }
}

/// One point of one disk.
pub(crate) fn point(access: &Access, disk: &SimDisk, options: &Options) -> Result<Outcome, Error> {
    changed_point(access, disk, None, options)
}

pub(crate) fn changed_point(
    access: &Access,
    disk: &SimDisk,
    changed: Option<Vec<(u64, u64)>>,
    options: &Options,
) -> Result<Outcome, Error> {
    let disk = disk.another()?;
    let job = DiskJob { name: "sda".to_owned(), identity: "wwn-1".to_owned(), disk, changed };
    protect(access, SERVER, vec![job], options, &Silent)
}

/// Restores a point onto a fresh disk and gives the disk.
pub(crate) fn restored(access: &Access, text: &str) -> Result<SimDisk, Error> {
    let view = read_chain(access, SERVER)?;
    let link = view.find(text)?;
    let state = &link.record.point().expect("a point").disks[0];
    let frames = FrameReader::new(access, SERVER, &view.upkeep, 4 << 20)?;
    let target = SimDisk::new(state.bytes);
    let options = restore::Options { workers: 2, compare: false, ..Default::default() };
    restore::restore_disk(&frames, state, target.another()?, "target", &options, &Silent)?;
    Ok(target)
}

/// Carries every frame of a segment into a new one and publishes where they are; the old segment stays.
pub(crate) fn relocate(access: &Access, server: ServerId, from: SegmentId) -> SegmentId {
    let mut chain = Chain::open(access, server).expect("a chain");
    let mut upkeep = chain.upkeep().expect("a chain");
    let frames = FrameReader::new(access, server, &upkeep, 4 << 20).expect("a reader");
    let opened = frames.table(&from).expect("a segment");
    let (key_epoch, key) = access.keys.newest_record_key(&server).expect("a key");
    let into = SegmentId(access.random_id().expect("randomness"));
    let vault = access.vault;
    let identity = SegmentIdentity { vault, server, segment: into, key_epoch, salt: [7; 32] };
    let mut writer = SegmentWriter::new(vec![0; SEGMENT_BYTES_MAX], identity, &key);
    for entry in opened.table.entries() {
        let mut bytes = vec![0; entry.sealed_bytes];
        let name = names::segment(&server, &from);
        access.store.read(&name, entry.offset, &mut bytes).expect("a frame");
        let frame = opened.table.sealed_frame(entry.address, &bytes).expect("a frame");
        writer.append_sealed(&frame).expect("room");
    }
    let done = writer.finish();
    access.store.create(&names::segment(&server, &into), done.bytes()).expect("a new name");
    let bytes = u32::try_from(done.length).expect("at most 8 MiB");
    let segments = vec![SegmentRef { segment: into, bytes, digest: done.digest }];
    upkeep.action = Action::Relocate { segments };
    upkeep.relocations.push(Relocation { from, into: vec![into] });
    chain.publish(Body::Upkeep(upkeep)).expect("a record");
    into
}

/// Panics at the first block that differs.
pub(crate) fn assert_same(left: &SimDisk, right: &SimDisk, bytes: u64) {
    for block in 0..bytes.div_ceil(BLOCK) {
        let length = usize::try_from(BLOCK.min(bytes - block * BLOCK)).expect("a block");
        let same = left.content(block * BLOCK, length) == right.content(block * BLOCK, length);
        assert!(same, "block {block} differs");
    }
}
