//! Vaults that are whole, and vaults that are not: every kind of damage is named, with what it costs.

use std::sync::Arc;

use hal::disk::Disk;
use hal_sim::SimDisk;
use hal_sim::random::Random;
use pipeline::ids::{Digest, SegmentId};

use super::*;
use crate::chain::Chain;
use crate::names;
use crate::points::read_chain;
use crate::reader::PointReader;
use crate::record::Body;
use crate::store::count::CountingStore;
use crate::store::memory::MemoryStore;
use crate::store::{BlobStore, Tier};
use crate::test_bed::{BLOCK, SERVER, access, point, scribble};
use crate::writer::{DiskJob, Options as Protect, Silent, protect};

const OTHER: ServerId = ServerId([6; 16]);

/// Three points of one disk of 300 blocks.
fn vault(seed: u64) -> (Arc<MemoryStore>, Access) {
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), seed);
    let bytes = 300 * BLOCK + 512;
    let disk = SimDisk::new(bytes);
    let mut random = Random::new(seed);
    for blocks in [200, 20, 3] {
        scribble(&disk, bytes, &mut random, blocks);
        point(&access, &disk, &Protect::default()).expect("a point");
    }
    (store, access)
}

fn verified(access: &Access, depth: Depth) -> Report {
    run(access, &[SERVER], &Options::new(depth), &Silent).expect("a report")
}

/// The report blames this object, and says so in a line that names it.
fn blames(report: &Report, name: &str) -> bool {
    !report.ok
        && report
            .all_problems()
            .any(|problem| problem.object.contains(name) && problem.to_string().contains(name))
}

#[test]
fn a_whole_vault_is_whole_at_every_depth() {
    let (store, access) = vault(1);
    for depth in [Depth::Shallow, Depth::Deep] {
        let report = verified(&access, depth);
        assert!(report.ok, "{report:?}");
        let server = &report.servers[0];
        assert_eq!((server.points, server.whole_points), (3, 3));
        assert_eq!((server.orphans.objects, server.condemned.objects), (0, 0));
        assert_eq!(report.objects, store.names().len() as u64);
        assert_eq!(report.bytes, store.bytes());
        let segments: u64 = store
            .names()
            .iter()
            .filter(|name| name.starts_with("seg/"))
            .map(|name| store.facts(name).expect("facts").expect("it is there").bytes)
            .sum();
        assert_eq!(server.read_bytes, if depth == Depth::Deep { segments } else { 0 });
    }
}

#[test]
fn any_damage_to_any_object_is_found_and_named() {
    let (store, access) = vault(2);
    let whole = store.snapshot();
    let names = store.names();
    let mut random = Random::new(3);
    for name in &names {
        let body = store.read_all(name, 16 << 20).expect("an object");
        for kind in 0..6 {
            let mut bad = body.clone();
            let at = usize::try_from(random.below(body.len() as u64)).expect("inside");
            match kind {
                0 | 1 => bad[at] ^= 1 << random.below(8),
                2 => bad.truncate(at),
                3 => bad.push(7),
                4 => {
                    let other = names.iter().find(|other| {
                        *other != name && other.split('/').next() == name.split('/').next()
                    });
                    bad = store.read_all(other.expect("another"), 16 << 20).expect("an object");
                }
                _ => bad.clear(),
            }
            store.overwrite(name, &bad);
            let report = verified(&access, Depth::Deep);
            assert!(blames(&report, name), "damage {kind} of {name} at {at}: {report:#?}");
            store.roll_back(&whole);
        }
        store.lose(name);
        let newest = *name == names::chain_slot(&SERVER, 5);
        // A chain that lost its end is whole in itself; only a witness knows better.
        assert_eq!(blames(&verified(&access, Depth::Deep), name), !newest, "{name} is missing");
        store.roll_back(&whole);
    }
}

#[test]
fn shallow_finds_what_is_missing_cut_short_or_unreadable_in_maps_and_chains() {
    let (store, access) = vault(4);
    let whole = store.snapshot();
    for name in store.names() {
        let body = store.read_all(&name, 16 << 20).expect("an object");
        store.overwrite(&name, &body[..body.len() - 1]);
        assert!(blames(&verified(&access, Depth::Shallow), &name), "{name} is cut short");
        store.roll_back(&whole);
        if name.starts_with("seg/") {
            store.lose(&name);
            assert!(blames(&verified(&access, Depth::Shallow), &name), "{name} is missing");
            store.roll_back(&whole);
        }
    }
}

#[test]
fn what_a_problem_costs_is_exactly_what_cannot_be_read() {
    let (store, access) = vault(5);
    let whole = store.snapshot();
    let mut random = Random::new(6);
    let segments: Vec<_> =
        store.names().into_iter().filter(|name| name.starts_with("seg/")).collect();
    let mut hurt = 0;
    for name in &segments {
        for _ in 0..3 {
            let mut body = store.read_all(name, 16 << 20).expect("a segment");
            let at = usize::try_from(random.below(body.len() as u64)).expect("inside");
            body[at] ^= 0x40;
            store.overwrite(name, &body);
            let report = verified(&access, Depth::Deep);
            assert!(blames(&report, name));
            let view = read_chain(&access, SERVER).expect("a chain");
            for link in view.points() {
                let id = link.record.point().expect("a point").id.to_string();
                let reader = PointReader::open(&access, &view, link, "sda", 0).expect("a reader");
                let costs: Vec<(u64, u64)> = report
                    .all_problems()
                    .flat_map(|problem| &problem.concerns)
                    .filter(|concern| concern.point == id)
                    .flat_map(|concern| concern.ranges.clone())
                    .collect();
                for start in (0..reader.bytes()).step_by(65_536) {
                    let length = (reader.bytes() - start).min(BLOCK);
                    let mut bytes = vec![0; usize::try_from(length).expect("a block")];
                    let unreadable = reader.read_at(start, &mut bytes).is_err();
                    let told = costs.iter().any(|(first, end)| (*first..*end).contains(&start));
                    // Only the first ranges are named, so a long list may end early.
                    let named = costs.len() < 16 || unreadable == told;
                    assert!(!named || unreadable == told, "{name} byte {at}: block at {start}");
                    hurt += u64::from(unreadable);
                }
            }
            store.roll_back(&whole);
        }
    }
    assert!(hurt > 0, "some damage cost something");
}

#[test]
fn what_points_share_is_read_once() {
    let counting = Arc::new(CountingStore::new(Arc::new(MemoryStore::new())));
    let access = access(counting.clone(), 7);
    let bytes = 400 * BLOCK;
    let disk = SimDisk::new(bytes);
    let mut random = Random::new(8);
    scribble(&disk, bytes, &mut random, 400);
    for _ in 0..6 {
        scribble(&disk, bytes, &mut random, 2);
        point(&access, &disk, &Protect::default()).expect("a point");
    }
    let before = counting.counts();
    assert!(verified(&access, Depth::Deep).ok);
    let after = counting.counts();
    let (read, stored) = (after.read_bytes - before.read_bytes, after.created_bytes);
    assert!(read < stored + stored / 4 + (1 << 20), "{read} bytes read of {stored}");
}

#[test]
fn a_chain_older_than_anybody_saw_it_was_rolled_back() {
    let (store, access) = vault(9);
    let before = store.snapshot();
    let disk = SimDisk::new(64 * BLOCK);
    scribble(&disk, 64 * BLOCK, &mut Random::new(1), 64);
    point(&access, &disk, &Protect::default()).expect("a point");
    let head = Chain::open(&access, SERVER).expect("a chain").head().cloned().expect("a head");
    let head = KnownHead { server: SERVER, slot: head.record.slot, digest: head.digest };
    // Another server's point that names the head; its objects survive the roll back.
    let job = DiskJob {
        name: "sdb".to_owned(),
        identity: String::new(),
        disk: disk.another().expect("a handle"),
        changed: None,
    };
    let options = Protect { heads: vec![head], ..Protect::default() };
    protect(&access, OTHER, vec![job], &options, &Silent).expect("a point");
    let both = [SERVER, OTHER];
    assert!(run(&access, &both, &Options::new(Depth::Shallow), &Silent).expect("a report").ok);
    let others: Vec<_> = store
        .names()
        .into_iter()
        .filter(|name| name.contains(&OTHER.to_string()))
        .map(|name| (store.read_all(&name, 16 << 20).expect("an object"), name))
        .collect();
    store.roll_back(&before);
    let known = Options { heads: vec![head], ..Options::new(Depth::Shallow) };
    let report = run(&access, &[SERVER], &known, &Silent).expect("a report");
    assert!(blames(&report, &names::chain_prefix(&SERVER)), "this machine knows: {report:?}");
    assert!(verified(&access, Depth::Deep).ok, "nobody knows");
    for (body, name) in &others {
        store.overwrite(name, body);
    }
    let report = run(&access, &both, &Options::new(Depth::Shallow), &Silent).expect("a report");
    let told = report.all_problems().find(|problem| problem.what.contains("rolled back"));
    assert!(told.is_some_and(|told| told.what.contains(&OTHER.to_string())), "{report:?}");
    let forged = KnownHead { slot: 1, digest: Digest([1; 32]), ..head };
    let known = Options { heads: vec![forged], ..Options::new(Depth::Shallow) };
    let report = run(&access, &[SERVER], &known, &Silent).expect("a report");
    assert!(blames(&report, &names::chain_slot(&SERVER, 1)), "{report:?}");
}

#[test]
fn what_nothing_names_is_told_and_is_no_error() {
    let (store, access) = vault(10);
    let segment =
        store.names().iter().find_map(|name| names::segment_of(&SERVER, name)).expect("a segment");
    let body = store.read_all(&names::segment(&SERVER, &segment), 16 << 20).expect("a segment");
    let orphan = names::segment(&SERVER, &SegmentId([0xEE; 16]));
    store.overwrite(&orphan, &body);
    store.overwrite("holiday.jpg", b"a beach");
    store.overwrite(&format!("seg/{SERVER}/zz/nonsense"), b"?");
    let report = verified(&access, Depth::Deep);
    assert!(report.ok, "{report:?}");
    assert!(report.servers[0].orphans.names.iter().eq([&orphan]));
    assert_eq!(report.unknown_objects, 2);
    for name in [orphan.as_str(), "holiday.jpg", "zz/nonsense"] {
        assert!(report.all_notices().any(|notice| notice.object.contains(name)), "{name}");
    }
}

#[test]
fn archived_segments_are_told_and_leave_a_deep_run_incomplete() {
    let (store, access) = vault(11);
    let names = store.names();
    let name = names.iter().rfind(|name| name.starts_with("seg/")).expect("a segment");
    store.set_tier(name, Tier::Archive);
    let report = verified(&access, Depth::Deep);
    assert!(!report.ok && report.all_problems().count() == 0, "{report:?}");
    assert_eq!(report.servers[0].archived.objects, 1);
    assert!(verified(&access, Depth::Shallow).ok);
}

#[test]
fn an_interrupted_first_copy_is_verified_by_its_checkpoint() {
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), 12);
    let bytes = 3000 * BLOCK;
    let disk = SimDisk::new(bytes);
    let mut random = Random::new(13);
    let mut noise = vec![0; 65_536];
    for block in 0..1500 {
        random.fill(&mut noise);
        disk.load(block * BLOCK, &noise);
    }
    let faults = hal_sim::Faults { vanish_after_requests: Some(80), ..Default::default() };
    disk.set_faults(faults);
    let options = Protect { checkpoint_segments: 2, ..Protect::default() };
    assert!(point(&access, &disk, &options).is_err());
    let chain = Chain::open(&access, SERVER).expect("a chain");
    let checkpoint = chain.newest_checkpoint().expect("a chain").expect("a checkpoint");
    let report = verified(&access, Depth::Deep);
    assert!(report.ok && report.servers[0].points == 0, "{report:?}");
    let Body::Checkpoint(manifest) = &checkpoint.record.body else { panic!("a checkpoint") };
    let lost = names::segment(&SERVER, &manifest.segments[0].segment);
    assert!(store.lose(&lost));
    assert!(blames(&verified(&access, Depth::Shallow), &lost));
}

#[test]
fn a_store_that_is_down_ends_the_run_with_its_error() {
    use crate::store::fault::{FaultStore, Faults};
    let (store, mut access) = vault(14);
    access.store = Arc::new(FaultStore::new(store, Faults::stop_after(4), 1));
    let error = run(&access, &[SERVER], &Options::new(Depth::Deep), &Silent).expect_err("down");
    assert_eq!(error.blame, Blame::Device, "{error}");
}

#[test]
fn a_run_that_is_told_to_stop_stops() {
    let (_, access) = vault(15);
    let options = Options::new(Depth::Deep);
    options.stop.store(true, core::sync::atomic::Ordering::Relaxed);
    let error = run(&access, &[SERVER], &options, &Silent).expect_err("stopped");
    assert!(error.to_string().contains("stopped"), "{error}");
}
