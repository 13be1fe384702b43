//! A branch begins with what its original has, whatever stops it on the way.

use hal::disk::Disk;
use hal::time::{Entropy, UnixMillis};
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};

use super::*;
use crate::points::{ChainView, read_chain};
use crate::restore;
use crate::store::BlobStore;
use crate::store::fault::{FaultStore, Faults};
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, assert_same, scribble};
use crate::verify;
use crate::writer::{Silent, protect};

const BYTES: u64 = 300 * BLOCK + 4096;

fn options() -> Options {
    Options { workers: 1, checkpoint_segments: 1, host: "here".to_owned(), ..Options::default() }
}

fn job(disk: &SimDisk) -> DiskJob<SimDisk> {
    let disk = disk.another().expect("a disk");
    DiskJob { name: "sda".to_owned(), identity: "wwn-1".to_owned(), disk, changed: None }
}

struct World {
    memory: Arc<MemoryStore>,
    vault: Vault,
    server: ServerId,
    disk: SimDisk,
    random: Random,
}

/// A vault with a server that has one point.
fn world(seed: u64) -> World {
    let memory = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimClock::at(UnixMillis(1_700_000_000_000)));
    let entropy: Arc<dyn Entropy> = Arc::new(SimEntropy::new(seed));
    let store = Arc::clone(&memory) as Arc<dyn BlobStore>;
    let (mut vault, _) = Vault::create(store, clock, entropy).expect("a vault");
    let server = vault.enrol("web1").expect("a server").id;
    let (disk, mut random) = (SimDisk::new(BYTES), Random::new(seed));
    scribble(&disk, BYTES, &mut random, 200);
    protect(&vault.access(), server, vec![job(&disk)], &options(), &Silent).expect("a point");
    World { memory, vault, server, disk, random }
}

fn base(access: &Access, server: ServerId) -> Base {
    let chain = Chain::open(access, server).expect("a chain");
    let point = chain.newest_point().expect("a chain").expect("a point");
    Base { point, checkpoint: chain.newest_checkpoint().expect("a chain") }
}

fn restored(access: &Access, view: &ChainView, link: &Link) -> SimDisk {
    let state = &link.record.manifest().expect("maps").disks[0];
    let frames = FrameReader::new(access, view.server, &view.upkeep, 4 << 20).expect("a reader");
    let target = SimDisk::new(state.bytes);
    let options = restore::Options { workers: 1, compare: false, ..Default::default() };
    let disk = target.another().expect("a disk");
    restore::restore_disk(&frames, state, disk, "target", &options, &Silent).expect("a disk");
    target
}

#[test]
fn a_branch_has_the_same_name_and_identity_whoever_makes_it() {
    let mut world = world(1);
    let first = enrol(&mut world.vault, world.server, "o-1").expect("a branch");
    assert_eq!((first.name.as_str(), first.id), ("web1~o-1", identity(&world.server, "o-1")));
    assert_eq!(enrol(&mut world.vault, world.server, "o-1").expect("once more"), first);
    assert_ne!(identity(&world.server, "o-2"), first.id);
    // An agent compares with either.
    let keys = world.vault.access().keys;
    assert!(keys.fingerprint_key(&first.id) == keys.fingerprint_key(&world.server));
    assert!(world.vault.enrol("web1~o-2").is_ok());
    assert!(enrol(&mut world.vault, world.server, "o-2").is_err());
    let long = name(&"ä".repeat(64), "order-1");
    assert!(long.len() <= SERVER_NAME_BYTES_MAX && long.ends_with("ä~order-1"), "{long}");
}

#[test]
fn a_branch_begins_with_the_point_and_goes_on_without_its_original() {
    let mut world = world(2);
    let access = world.vault.access();
    let branch = enrol(&mut world.vault, world.server, "o-1").expect("a branch").id;
    let access = Access { keys: world.vault.access().keys, ..access };
    let base = base(&access, world.server);
    let before = read_chain(&access, world.server).expect("a chain").links.len();
    let ids = (world.server, branch);
    assert!(begin(&access, ids, &base, &options(), &Silent).expect("a beginning"));
    assert!(!begin(&access, ids, &base, &options(), &Silent).expect("it has begun"));
    let old = world.disk.content(0, usize::try_from(BYTES).unwrap());
    scribble(&world.disk, BYTES, &mut world.random, 9);
    let new = protect(&access, branch, vec![job(&world.disk)], &options(), &Silent).unwrap();
    assert!(new.work.new_blocks + new.work.known_blocks <= 9, "nothing twice: {:?}", new.work);
    assert!(!begin(&access, ids, &base, &options(), &Silent).expect("it went on"));
    let view = read_chain(&access, branch).expect("a chain");
    let points: Vec<&Link> = view.points().collect();
    let first = points[0].record.point().expect("a point");
    let original = base.point.record.point().expect("a point");
    assert_eq!((first.id, first.started), (original.id, original.started));
    assert!(restored(&access, &view, points[0]).content(0, old.len()) == old);
    assert_same(&restored(&access, &view, points[1]), &world.disk, BYTES);
    assert_eq!(read_chain(&access, world.server).expect("a chain").links.len(), before);
    let servers = [world.server, branch];
    let deep = verify::Options::new(verify::Depth::Deep);
    let report = verify::run(&access, &servers, &deep, &Silent).expect("a report");
    assert!(report.ok, "{report:?}");
}

#[test]
fn a_piece_of_the_next_point_comes_with_it() {
    let mut world = world(3);
    enrol(&mut world.vault, world.server, "o-1").expect("a branch");
    let access = world.vault.access();
    scribble(&world.disk, BYTES, &mut world.random, 40);
    let mut writer = Writer::open(&access, world.server, options()).expect("a writer");
    let piece = Run { since: Since::Newest, publish: Publish::Checkpoint, ..Run::from(&options()) };
    writer.run(vec![job(&world.disk)], &piece, &Silent).expect("a piece");
    let branch = identity(&world.server, "o-1");
    let base = base(&access, world.server);
    assert!(base.checkpoint.is_some());
    assert!(begin(&access, (world.server, branch), &base, &options(), &Silent).unwrap());
    assert!(!begin(&access, (world.server, branch), &base, &options(), &Silent).unwrap());
    let view = read_chain(&access, branch).expect("a chain");
    let piece = Chain::open(&access, branch).unwrap().newest_checkpoint().unwrap();
    assert_same(&restored(&access, &view, &piece.expect("a piece")), &world.disk, BYTES);
}

#[test]
fn killed_at_any_call_it_goes_on_and_ends_as_it_would_have() {
    let whole = {
        let mut world = world(4);
        enrol(&mut world.vault, world.server, "o-1").expect("a branch");
        let access = world.vault.access();
        let counted = Arc::new(FaultStore::new(Arc::clone(&access.store), Faults::default(), 1));
        let store = Arc::clone(&counted) as Arc<dyn BlobStore>;
        let access = Access { store, ..access };
        let ids = (world.server, identity(&world.server, "o-1"));
        let base = base(&access, world.server);
        begin(&access, ids, &base, &options(), &Silent).expect("a beginning");
        counted.calls()
    };
    assert!(whole > 10, "{whole} calls");
    let mut killed = 0;
    for calls in (1..whole).step_by(2) {
        let mut world = world(4);
        let branch = enrol(&mut world.vault, world.server, "o-1").expect("a branch").id;
        let access = world.vault.access();
        scribble(&world.disk, BYTES, &mut world.random, 20);
        let mut writer = Writer::open(&access, world.server, options()).expect("a writer");
        let publish = Publish::Checkpoint;
        let piece = Run { since: Since::Newest, publish, ..Run::from(&options()) };
        writer.run(vec![job(&world.disk)], &piece, &Silent).expect("a piece");
        let base = base(&access, world.server);
        let shared = Arc::clone(&world.memory) as Arc<dyn BlobStore>;
        let dying = FaultStore::new(shared, Faults::stop_after(calls), calls);
        let dies = Access { store: Arc::new(dying), ..access.clone() };
        let ids = (world.server, branch);
        killed += u32::from(begin(&dies, ids, &base, &options(), &Silent).is_err());
        begin(&access, ids, &base, &options(), &Silent).expect("it goes on");
        let view = read_chain(&access, branch).expect("a chain");
        let piece = Chain::open(&access, branch).unwrap().newest_checkpoint().unwrap();
        assert_same(&restored(&access, &view, &piece.expect("a piece")), &world.disk, BYTES);
        assert_eq!(view.points().count(), 1, "after {calls} calls");
    }
    assert!(killed > 5, "{killed} kills");
}
