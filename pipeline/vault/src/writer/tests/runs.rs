//! A writer that goes on: many runs on one epoch, ranges since the newest record, points in pieces, failures between.

use std::collections::HashSet;

use hal::disk::Disk;

use super::*;
use crate::chain::Chain;
use crate::map::{BlockRef, Entry, PageSource, walk_leaves};
use crate::record::Body;
use crate::store::BlobStore;
use crate::store::fault::{FaultStore, Faults};
use crate::verify;
use crate::{Error, access::Access};

const BYTES: u64 = 700 * BLOCK + 512;

fn opened(access: &Access) -> Writer {
    Writer::open(access, SERVER, Options::default()).expect("a writer")
}

fn job(disk: &SimDisk, changed: Option<Vec<(u64, u64)>>) -> DiskJob<SimDisk> {
    let disk = disk.another().expect("a handle");
    DiskJob { name: "sda".to_owned(), identity: "wwn-1".to_owned(), disk, changed }
}

fn newest(publish: Publish) -> Run {
    let since = Since::Newest;
    Run { since, publish, retry_unread: false, ..Run::from(&Options::default()) }
}

/// Writes noise into some blocks and says where, as ranges.
fn write(disk: &SimDisk, random: &mut Random, blocks: u64) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    for _ in 0..blocks {
        let at = random.below(700);
        let mut content = vec![0; 4096];
        random.fill(&mut content);
        disk.load(at * BLOCK, &content);
        ranges.push((at * BLOCK, BLOCK));
    }
    ranges
}

fn run(
    writer: &mut Writer,
    disk: &SimDisk,
    changed: Vec<(u64, u64)>,
    publish: Publish,
) -> Result<Outcome, Error> {
    writer.run(vec![job(disk, Some(changed))], &newest(publish), &Silent)
}

fn copy_of(disk: &SimDisk) -> SimDisk {
    let copy = SimDisk::new(BYTES);
    for block in 0..BYTES.div_ceil(BLOCK) {
        let length = usize::try_from(BLOCK.min(BYTES - block * BLOCK)).expect("a block");
        copy.load(block * BLOCK, &disk.content(block * BLOCK, length));
    }
    copy
}

/// Every block that the newest record reaches.
fn reached(access: &Access) -> HashSet<(BlockRefKey, u8)> {
    let chain = Chain::open(access, SERVER).expect("a chain");
    let links = [chain.newest_point(), chain.newest_checkpoint()].map(|link| link.expect("it"));
    let frames = FrameReader::new(access, SERVER, &chain.upkeep().expect("upkeep"), 4 << 20);
    let frames = frames.expect("a reader");
    let mut found = HashSet::new();
    for link in links.into_iter().flatten() {
        for disk in &link.record.manifest().expect("a manifest").disks {
            walk_leaves(&frames, &disk.root, &mut |visited| {
                if visited.level == 0 {
                    for entry in &frames.leaf(&visited.page)?.entries {
                        if let Entry::Data(block) = entry {
                            found.insert(key(block));
                        }
                    }
                }
                Ok(true)
            })
            .expect("a map");
        }
    }
    found
}

type BlockRefKey = (pipeline::ids::SegmentId, u32);

fn key(block: &BlockRef) -> (BlockRefKey, u8) {
    ((block.address.segment, block.address.ordinal), block.index)
}

fn assert_verified(access: &Access) {
    let options = verify::Options::new(verify::Depth::Deep);
    let report = verify::run(access, &[SERVER], &options, &Silent).expect("a report");
    assert!(report.ok, "{report:?}");
}

#[test]
fn many_points_cost_one_epoch_and_three_calls_each() {
    let mut random = Random::new(40);
    let disk = SimDisk::new(BYTES);
    scribble(&disk, BYTES, &mut random, 300);
    let counting = Arc::new(CountingStore::tracing(Arc::new(MemoryStore::new())));
    let access = access(counting.clone(), 40);
    let mut writer = opened(&access);
    let whole = writer.run(vec![job(&disk, None)], &newest(Publish::Point), &Silent);
    whole.expect("a point");
    let mut kept = Vec::new();
    for _ in 0..6 {
        let ranges = write(&disk, &mut random, 5);
        counting.take_trace();
        let before = counting.counts();
        let made = run(&mut writer, &disk, ranges, Publish::Point).expect("a point");
        let after = counting.counts();
        let calls = (
            after.creates - before.creates,
            after.reads - before.reads,
            after.lists - before.lists,
            after.others - before.others,
        );
        // A segment, a record, and the look whether the record stands. Nothing is read again.
        assert_eq!(calls, (2, 0, 1, 0), "{:?}", counting.take_trace());
        assert!(made.work.read_bytes <= 5 * BLOCK);
        kept.push((made.id, copy_of(&disk)));
    }
    let view = read_chain(&access, SERVER).expect("a chain");
    let epochs = view.links.iter().filter(|link| matches!(link.record.body, Body::EpochOpen(_)));
    assert_eq!(epochs.count(), 1);
    for (id, copy) in &kept {
        assert_same(copy, &restored(&access, &id.to_string()).expect("a restore"), BYTES);
    }
    assert_verified(&access);
}

#[test]
fn a_first_copy_in_pieces_reads_exactly_the_ranges_and_is_a_point_only_at_its_end() {
    let mut random = Random::new(41);
    let disk = SimDisk::new(BYTES);
    scribble(&disk, BYTES, &mut random, 500);
    let access = access(Arc::new(MemoryStore::new()), 41);
    let mut writer = opened(&access);
    assert!(writer.newest().is_none() && writer.disk("sda", "wwn-1").is_none());
    let mut slots = Vec::new();
    for piece in 0..7 {
        let length = (100 * BLOCK).min(BYTES - piece * 100 * BLOCK);
        let ranges = vec![(piece * 100 * BLOCK, length)];
        let made = run(&mut writer, &disk, ranges, Publish::Checkpoint).expect("a piece");
        assert!(made.work.read_bytes <= 100 * BLOCK);
        assert_eq!(made.from_zeros.len(), usize::from(piece == 0));
        assert!(restored(&access, "latest").is_err(), "no point yet");
        slots.push(made.slot);
        // Written to meanwhile: a later range says so again.
    }
    assert_eq!(writer.newest().map(|link| link.record.slot), slots.last().copied());
    let last = write(&disk, &mut random, 9);
    let tail = vec![(700 * BLOCK, 512)];
    let made = run(&mut writer, &disk, [last, tail].concat(), Publish::Point).expect("a point");
    assert!(made.work.read_bytes <= 10 * BLOCK, "{:?}", made.work);
    assert_same(&disk, &restored(&access, "latest").expect("a restore"), BYTES);
    assert_verified(&access);
    // The whole first copy has one identity.
    let view = read_chain(&access, SERVER).expect("a chain");
    let ids: HashSet<_> = view
        .links
        .iter()
        .filter_map(|link| link.record.manifest())
        .collect::<Vec<_>>()
        .iter()
        .map(|manifest| manifest.id)
        .collect();
    assert_eq!(ids, HashSet::from([made.id]));
}

#[test]
fn an_offline_run_ends_what_pieces_began_whether_it_reads_all_or_changes() {
    for changes in [false, true] {
        let mut random = Random::new(42);
        let disk = SimDisk::new(BYTES);
        scribble(&disk, BYTES, &mut random, 500);
        let access = access(Arc::new(MemoryStore::new()), 42);
        point(&access, &disk, &Options::default()).expect("a point");
        let at_point = write(&disk, &mut random, 60);
        let mut writer = opened(&access);
        run(&mut writer, &disk, at_point[..30].to_vec(), Publish::Checkpoint).expect("a piece");
        run(&mut writer, &disk, at_point[30..40].to_vec(), Publish::Checkpoint).expect("a piece");
        // The appliance dies here. A few of the blocks change once more, some back to what they were.
        let more = write(&disk, &mut random, 10);
        let ranges = changes.then(|| [&at_point[40..], &more].concat());
        let made = changed_point(&access, &disk, ranges, &Options::default()).expect("a point");
        assert!(made.resumed);
        assert!(!changes || made.work.read_bytes <= 71 * BLOCK, "{:?}", made.work);
        assert_same(&disk, &restored(&access, "latest").expect("a restore"), BYTES);
        assert_verified(&access);
        // And the writer from before is told.
        let late = run(&mut writer, &disk, more, Publish::Point).expect_err("fenced");
        assert!(late.what.contains("another writer"), "{late}");
        assert!(writer.has_failed());
    }
}

#[test]
fn what_a_writer_knows_is_what_the_newest_record_reaches() {
    let mut random = Random::new(43);
    let access = access(Arc::new(MemoryStore::new()), 43);
    let mut writer = opened(&access);
    let disk = SimDisk::new(BYTES);
    let contents: Vec<Vec<u8>> = (0..12)
        .map(|_| {
            let mut content = vec![0; 4096];
            random.fill(&mut content);
            content
        })
        .collect();
    let mut shared = 0;
    for round in 0..60 {
        // The same few contents again and again in other places, so that much is known and much is let go.
        let mut ranges = Vec::new();
        for _ in 0..1 + random.below(12) {
            let at = random.below(700) * BLOCK;
            let pick = usize::try_from(random.below(12)).expect("a place");
            disk.load(at, &contents[pick]);
            ranges.push((at, 4096));
        }
        let ends = if random.below(3) == 0 { Publish::Checkpoint } else { Publish::Point };
        let made = run(&mut writer, &disk, ranges, ends).expect("a run");
        shared += made.work.known_blocks;
        let reached = reached(&access);
        for known in writer.known_blocks() {
            assert!(reached.contains(&key(&known)), "round {round}: {known:?}");
        }
        if ends == Publish::Point {
            assert_same(&disk, &restored(&access, "latest").expect("a restore"), BYTES);
        }
    }
    assert!(shared > 100, "{shared} blocks were known");
    assert_verified(&access);
}

#[test]
fn a_run_that_failed_ends_its_writer_and_the_next_writer_goes_on() {
    let mut random = Random::new(44);
    let memory = Arc::new(MemoryStore::new());
    let faulty = Arc::new(FaultStore::new(memory.clone(), Faults::default(), 1));
    let disk = SimDisk::new(BYTES);
    let first = access(faulty.clone(), 44);
    let mut writer = opened(&first);
    let ranges = write(&disk, &mut random, 20);
    run(&mut writer, &disk, ranges, Publish::Point).expect("a point");
    // What is wrong before anything is done costs nothing.
    let twice =
        writer.run(vec![job(&disk, None), job(&disk, None)], &newest(Publish::Point), &Silent);
    assert!(twice.is_err_and(|error| error.what.contains("named twice")));
    assert!(!writer.has_failed());
    faulty.set_faults(Faults { fails_before: 1000, ..Faults::default() });
    let ranges = write(&disk, &mut random, 20);
    run(&mut writer, &disk, ranges.clone(), Publish::Point).expect_err("the store is down");
    faulty.set_faults(Faults::default());
    let again = run(&mut writer, &disk, ranges.clone(), Publish::Point).expect_err("it failed");
    assert!(again.remedy.contains("open the writer anew") && writer.has_failed(), "{again}");
    let mut next = opened(&access(memory, 45));
    run(&mut next, &disk, ranges, Publish::Point).expect("a point");
    assert_same(&disk, &restored(&first, "latest").expect("a restore"), BYTES);
}

#[test]
fn a_stopped_run_keeps_what_it_had_and_its_writer_goes_on() {
    use core::sync::atomic::{AtomicU64, Ordering};
    struct StopAt(AtomicU64, Arc<core::sync::atomic::AtomicBool>);
    impl Progress for StopAt {
        fn total(&self, _: u64) {}
        fn advance(&self, _: u64, _: u64) {
            if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.1.store(true, Ordering::SeqCst);
            }
        }
    }
    let mut random = Random::new(46);
    let disk = SimDisk::new(BYTES);
    scribble(&disk, BYTES, &mut random, 400);
    let access = access(Arc::new(MemoryStore::new()), 46);
    let options = Options { workers: 1, ..Options::default() };
    let stop = Arc::clone(&options.stop);
    let mut writer = Writer::open(&access, SERVER, options).expect("a writer");
    let progress = StopAt(AtomicU64::new(1), Arc::clone(&stop));
    let whole = || vec![job(&disk, Some(vec![(0, BYTES)]))];
    let stopped = writer.run(whole(), &newest(Publish::Point), &progress).expect_err("stopped");
    assert!(stopped.what.contains("was stopped") && !writer.has_failed(), "{stopped}");
    stop.store(false, Ordering::SeqCst);
    let made = writer.run(whole(), &newest(Publish::Point), &Silent).expect("a point");
    assert!(made.work.new_blocks < 400);
    assert_same(&disk, &restored(&access, "latest").expect("a restore"), BYTES);
    assert_verified(&access);
}

#[test]
fn a_writer_that_slept_is_told_of_another_one_and_takes_upkeep_into_account() {
    let mut random = Random::new(47);
    let disk = SimDisk::new(BYTES);
    let store = Arc::new(MemoryStore::new());
    let clock = hal_sim::SimClock::at(hal::time::UnixMillis(1_700_000_000_000));
    let access = Access { clock: Arc::new(clock.clone()), ..access(store.clone(), 47) };
    let mut writer = opened(&access);
    let ranges = write(&disk, &mut random, 20);
    run(&mut writer, &disk, ranges, Publish::Point).expect("a point");
    // Upkeep moves what the map names, and the old object goes while nobody hears of it.
    let view = read_chain(&access, SERVER).expect("a chain");
    let old = view.links.iter().flat_map(|link| link.record.segments()).next().expect("it").segment;
    crate::test_bed::relocate(&access, SERVER, old);
    store.delete(&[crate::names::segment(&SERVER, &old)]);
    clock.advance(3_600_000);
    let ranges = write(&disk, &mut random, 20);
    run(&mut writer, &disk, ranges, Publish::Point).expect("a point");
    assert_same(&disk, &restored(&access, "latest").expect("a restore"), BYTES);
    let mut other = opened(&crate::test_bed::access(store, 48));
    clock.advance(3_600_000);
    let mut calls = write(&disk, &mut random, 3);
    let fenced = run(&mut writer, &disk, calls.clone(), Publish::Point).expect_err("fenced");
    assert!(fenced.what.contains("another writer"), "{fenced}");
    calls.truncate(2);
    run(&mut other, &disk, calls, Publish::Point).expect("the other goes on");
}

#[test]
fn disks_that_a_piece_does_not_name_wait_for_their_point() {
    let mut random = Random::new(49);
    let access = access(Arc::new(MemoryStore::new()), 49);
    let (one, two) = (SimDisk::new(BYTES), SimDisk::new(BYTES));
    let of = |name: &str, disk: &SimDisk, changed| DiskJob {
        name: name.to_owned(),
        identity: format!("wwn={name}"),
        disk: disk.another().expect("a handle"),
        changed: Some(changed),
    };
    let mut writer = opened(&access);
    let first = write(&one, &mut random, 9);
    writer
        .run(vec![of("sda", &one, first)], &newest(Publish::Checkpoint), &Silent)
        .expect("a piece");
    let second = write(&two, &mut random, 9);
    writer
        .run(vec![of("sdb", &two, second)], &newest(Publish::Checkpoint), &Silent)
        .expect("a piece");
    assert!(writer.disk("sda", "wwn=sda").is_some() && writer.disk("sdb", "wwn=sdb").is_some());
    // The names change at a start of the server; what the hardware says does not.
    let (a, b) = (write(&one, &mut random, 1), write(&two, &mut random, 1));
    let jobs = vec![
        DiskJob { identity: "wwn=sdb".to_owned(), ..of("sda", &two, b) },
        DiskJob { identity: "wwn=sda".to_owned(), ..of("sdb", &one, a) },
    ];
    let made = writer.run(jobs, &newest(Publish::Point), &Silent).expect("a point");
    assert!(made.from_zeros.is_empty());
    let view = read_chain(&access, SERVER).expect("a chain");
    let frames = FrameReader::new(&access, SERVER, &view.upkeep, 4 << 20).expect("a reader");
    let disks = &view.find("latest").expect("it").record.point().expect("a point").disks;
    for (state, disk) in disks.iter().zip([&two, &one]) {
        let target = SimDisk::new(BYTES);
        let handle = target.another().expect("a handle");
        restore::restore_disk(&frames, state, handle, "t", &Default::default(), &Silent)
            .expect("a restore");
        assert_same(disk, &target, BYTES);
    }
    // Another disk under an old name begins as zeros: nothing of the old one shows through.
    let fresh = SimDisk::new(BYTES);
    let ranges = write(&fresh, &mut random, 3);
    let job = DiskJob { identity: "wwn=other".to_owned(), ..of("sda", &fresh, ranges) };
    let made = writer.run(vec![job], &newest(Publish::Point), &Silent).expect("a point");
    assert_eq!(made.from_zeros, ["sda"]);
    assert_same(&fresh, &restored(&access, "latest").expect("a restore"), BYTES);
    assert_verified(&access);
}

#[test]
fn a_disk_that_grows_or_shrinks_between_pieces_reads_only_the_ranges() {
    let mut random = Random::new(50);
    let access = access(Arc::new(MemoryStore::new()), 50);
    let mut writer = opened(&access);
    let mut before = SimDisk::new(BLOCK);
    for blocks in [300_u64, 70_000, 290, 5, 66_000, 257, 256] {
        let bytes = blocks * BLOCK + 1024;
        let disk = SimDisk::new(bytes);
        let kept = bytes.min(before.another().expect("a handle").geometry().expect("it").bytes);
        for block in 0..kept.div_ceil(BLOCK).min(300) {
            let length = usize::try_from(BLOCK.min(kept - block * BLOCK)).expect("a block");
            disk.load(block * BLOCK, &before.content(block * BLOCK, length));
        }
        let at = random.below(blocks.min(300)) * BLOCK;
        disk.load(at, &[random.number().to_le_bytes()[0] | 1; 4096]);
        for publish in [Publish::Checkpoint, Publish::Point] {
            let made = run(&mut writer, &disk, vec![(at, 4096)], publish).expect("a run");
            assert!(made.work.read_bytes <= BLOCK, "{blocks}: {:?}", made.work);
        }
        assert_same(&disk, &restored(&access, "latest").expect("a restore"), bytes);
        assert_verified(&access);
        before = disk;
    }
}

#[test]
fn fingerprints_are_of_the_newest_record_and_neighbours_are_not_fetched_again() {
    let mut random = Random::new(51);
    let bytes = 20 * 256 * BLOCK + 512;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut random, 4000);
    disk.load(bytes - 512, &[9; 100]);
    let counting = Arc::new(CountingStore::new(Arc::new(MemoryStore::new())));
    let access = access(counting.clone(), 51);
    point(&access, &disk, &Options::default()).expect("a point");
    let mut writer = opened(&access);
    assert_eq!(writer.fingerprints("sdb", "wwn-2", 0), Ok(None));
    let key = access.keys.fingerprint_key(&SERVER).expect("a key");
    let of = pipeline::fingerprint::Fingerprinter::new(&key);
    let before = counting.counts().reads;
    let check = |writer: &Writer, leaf: u64| {
        let found = writer.fingerprints("sda", "wwn-1", leaf).expect("a map").expect("the disk");
        for (block, fingerprint) in (leaf * 256..).zip(found) {
            let at = block * BLOCK;
            let mut content = vec![0; 65_536];
            if at >= bytes {
                assert_eq!(fingerprint, None);
                continue;
            }
            let length = usize::try_from(BLOCK.min(bytes - at)).expect("a block");
            content[..length].copy_from_slice(&disk.content(at, length));
            assert_eq!(fingerprint, Some(of.of(&content)), "block {block}");
        }
    };
    (0..22).for_each(|leaf| check(&writer, leaf));
    let reads = counting.counts().reads - before;
    assert!(reads <= 6, "{reads} reads for 21 leaves");
    disk.load(3 * 256 * BLOCK, &[1; 4096]);
    run(&mut writer, &disk, vec![(3 * 256 * BLOCK, 1)], Publish::Checkpoint).expect("a piece");
    check(&writer, 3);
}

/// A point, pieces, a point, on a machine that stops after so many calls; true where it came to its end before.
fn life(
    access: &Access,
    disk: &SimDisk,
    random: &mut Random,
    behind: &mut Vec<(u64, u64)>,
) -> bool {
    let options = Options { workers: 1, ..Options::default() };
    let Ok(mut writer) = Writer::open(access, SERVER, options) else { return false };
    for publish in [Publish::Checkpoint, Publish::Point, Publish::Checkpoint, Publish::Point] {
        behind.extend(write(disk, random, 3));
        if run(&mut writer, disk, behind.clone(), publish).is_err() {
            return false;
        }
        behind.clear();
    }
    true
}

#[test]
fn stopped_at_any_call_the_next_writer_needs_only_what_was_not_acknowledged() {
    for does_last in [false, true] {
        for calls in 0.. {
            let mut random = Random::new(52);
            let disk = SimDisk::new(BYTES);
            let memory = Arc::new(MemoryStore::new());
            let mut behind = Vec::new();
            let faults = Faults { stop_does_last: does_last, ..Faults::stop_after(calls) };
            let faulty = Arc::new(FaultStore::new(memory.clone(), faults, 1));
            let ended = life(&access(faulty, 53), &disk, &mut random, &mut behind);
            // The spool still has what was not acknowledged, and more comes.
            let healthy = access(memory, 54);
            let finished = life(&healthy, &disk, &mut random, &mut behind);
            assert!(finished, "call {calls}");
            assert_same(&disk, &restored(&healthy, "latest").expect("a restore"), BYTES);
            assert_verified(&healthy);
            if ended {
                assert!(calls > 15, "{calls} calls");
                break;
            }
        }
    }
}
