//! Writers, upkeep and readers at once: the slot decides, whoever comes second looks again.

use std::thread;

use super::*;
use crate::error::Blame;
use crate::store::fault::{FaultStore, Faults};

/// Another machine on the same vault at the same time.
fn another(bed: &mut Bed) -> Bed {
    let mut other = bed.fork();
    other.store = Arc::clone(&bed.store);
    other.clock = bed.clock.clone();
    other
}

fn is_chain(name: &str) -> bool {
    name.starts_with("chain/")
}

#[test]
fn a_point_that_comes_between_is_looked_at_before_anything_is_condemned() {
    let mut bed = Bed::new(80);
    for _ in 0..8 {
        bed.point(20);
        bed.pass(DAY);
    }
    // At each record that this upkeep wants to publish, a writer is faster.
    let mut writer = another(&mut bed);
    let made = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&made);
    let mut store: Arc<dyn BlobStore> = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
    for _ in 0..2 {
        let mut this = another(&mut writer);
        let log = Arc::clone(&log);
        let hook = Hook::new(store, is_chain, move || {
            let id = this.point(10);
            log.lock().expect("no panic").push((id, this.contents[&id]));
        });
        store = hook.store();
    }
    let access = bed.access_to(store);
    let policy = Policy::parse("5d").expect("a policy");
    let options = Options { orphan_grace: 0, ..Options::default() };
    let report = run(&access, SERVER, &policy, &options).expect("upkeep");
    assert!(report.points_removed > 0 && report.segments_condemned > 0, "{report:?}");
    bed.contents.extend(made.lock().expect("no panic").drain(..));
    bed.assert_points_whole();
    bed.assert_verified();
    bed.assert_settles("5d");
}

#[test]
fn a_writer_that_salvaged_what_is_condemned_meanwhile_does_not_publish() {
    let mut bed = Bed::new(81);
    bed.point(20);
    // A run is stopped right before it publishes its point: its segment is durable and nobody names it.
    let mut noise = vec![0; 65_536];
    for block in 40..60 {
        bed.random.fill(&mut noise);
        bed.disk.load(block * BLOCK, &noise);
    }
    let orphaned = (5..100).find(|calls| {
        let mut crashed = bed.fork();
        let inner = Arc::clone(&crashed.store) as Arc<dyn BlobStore>;
        let faulty = Arc::new(FaultStore::new(inner, Faults::stop_after(*calls), 1));
        let access = crashed.access_to(faulty);
        let before = crashed.segments().len();
        let failed = point(&access, &crashed.disk, &writer::Options::default()).is_err();
        if failed && crashed.segments().len() > before {
            bed.store = crashed.store;
            return true;
        }
        false
    });
    assert!(orphaned.is_some());
    bed.pass(8 * DAY);
    let mut collector = another(&mut bed);
    // The writer found the orphan and uses it; before it publishes, the collector condemns it for its age.
    let count = Arc::new(Mutex::new(0));
    let hook = Hook::new(
        Arc::clone(&bed.store) as Arc<dyn BlobStore>,
        move |name| {
            let mut count = count.lock().expect("no panic");
            *count += u64::from(is_chain(name));
            *count == 2
        },
        move || {
            let report = collector.upkeep("99d", &plain()).expect("upkeep");
            assert_eq!(report.segments_condemned, 1, "{report:?}");
        },
    );
    let access = bed.access_to(hook.store());
    let error = point(&access, &bed.disk, &writer::Options::default()).expect_err("R4");
    assert!(hook.is_done() && error.what.contains("condemned"), "{error}");
    assert_eq!((error.blame, error.retry), (Blame::Refused, Retry::Now));
    let again = bed.point_unchanged();
    bed.pass(2 * DAY);
    bed.upkeep("99d", &plain()).expect("upkeep");
    assert_eq!(bed.points().last(), Some(&again));
    bed.assert_points_whole();
    bed.assert_settles("99d");
}

#[test]
fn a_writer_that_slept_longer_than_the_grace_does_not_publish_into_a_gap() {
    let mut bed = Bed::new(82);
    bed.point(20);
    scribble(&bed.disk, BYTES, &mut bed.random, 20);
    let mut others = another(&mut bed);
    others.disk = {
        let disk = SimDisk::new(BYTES);
        for block in 0..BLOCKS {
            disk.load(block * BLOCK, &bed.disk.content(block * BLOCK, 65_536));
        }
        disk
    };
    let kept = Arc::new(Mutex::new(None));
    let result = Arc::clone(&kept);
    let count = Arc::new(Mutex::new(0));
    let hook = Hook::new(
        Arc::clone(&bed.store) as Arc<dyn BlobStore>,
        move |name| {
            let mut count = count.lock().expect("no panic");
            *count += u64::from(is_chain(name));
            *count == 2
        },
        move || {
            // While it sleeps, another takes over, and all that it wrote first is pruned and deleted.
            for _ in 0..6 {
                others.point(8);
                others.pass(DAY);
            }
            let confirmed = Options { confirmed: true, ..Options::default() };
            for _ in 0..4 {
                others.upkeep("2d", &confirmed).expect("upkeep");
                others.pass(2 * DAY);
                others.point(8);
            }
            *result.lock().expect("no panic") = Some(others);
        },
    );
    let access = bed.access_to(hook.store());
    let error = point(&access, &bed.disk, &writer::Options::default()).expect_err("R10");
    assert!(error.what.contains("long pruned"), "{error}");
    let mut others = kept.lock().expect("no panic").take().expect("it happened");
    let stray = names::chain_slot(&SERVER, 3);
    assert!(others.store.names().contains(&stray), "the zombie's record lies in a gap");
    others.assert_points_whole();
    others.assert_verified();
    others.assert_settles("2d");
    assert!(!others.store.names().contains(&stray));
}

#[test]
fn a_collector_that_slept_longer_than_the_grace_does_not_publish_into_a_gap() {
    let mut bed = Bed::new(83);
    for _ in 0..6 {
        bed.point(10);
        bed.pass(DAY);
    }
    let mut others = another(&mut bed);
    let kept = Arc::new(Mutex::new(None));
    let result = Arc::clone(&kept);
    let hook = Hook::new(Arc::clone(&bed.store) as Arc<dyn BlobStore>, is_chain, move || {
        let confirmed = Options { confirmed: true, ..Options::default() };
        for _ in 0..6 {
            others.point(8);
            others.pass(DAY);
            others.upkeep("2d", &confirmed).expect("upkeep");
            others.pass(DAY);
        }
        *result.lock().expect("no panic") = Some(others);
    });
    let access = bed.access_to(hook.store());
    let policy = Policy::parse("5d").expect("a policy");
    let error = run(&access, SERVER, &policy, &Options::default()).expect_err("R10");
    assert!(error.what.contains("long pruned"), "{error}");
    let mut others = kept.lock().expect("no panic").take().expect("it happened");
    others.assert_points_whole();
    others.assert_verified();
    others.assert_settles("2d");
}

#[test]
fn two_runs_of_upkeep_at_every_record_of_each_other_agree() {
    for record in 1..6 {
        let mut bed = Bed::new(84);
        for _ in 0..6 {
            bed.point(14);
            bed.pass(DAY);
        }
        bed.upkeep("4d", &plain()).expect("upkeep");
        for _ in 0..9 {
            bed.small_point();
            bed.pass(HOUR);
        }
        bed.pass(2 * DAY);
        bed.point(5);
        let mut second = another(&mut bed);
        let confirmed = Options { confirmed: true, ..Options::default() };
        let theirs = confirmed.clone();
        let count = Arc::new(Mutex::new(0));
        let hook = Hook::new(
            Arc::clone(&bed.store) as Arc<dyn BlobStore>,
            move |name| {
                let mut count = count.lock().expect("no panic");
                *count += u64::from(is_chain(name));
                *count == record
            },
            move || drop(second.upkeep("50h,daily=4d", &theirs).expect("upkeep")),
        );
        let access = bed.access_to(hook.store());
        let policy = Policy::parse("50h,daily=4d").expect("a policy");
        run(&access, SERVER, &policy, &confirmed).expect("upkeep");
        bed.assert_points_whole();
        bed.assert_verified();
        bed.assert_settles("50h,daily=4d");
    }
}

/// One round of a fuzzed life: two of everything, on a store with every fault.
fn round(bed: &mut Bed, faulty: &Arc<FaultStore>, attempts: &Mutex<HashSet<[u8; 32]>>) {
    let policy = Policy::parse("40h,daily=5d").expect("a policy");
    let options = Options { confirmed: true, merge_count_min: 3, ..Options::default() };
    let mut machines: Vec<Access> = (0..4).map(|_| bed.access_to(faulty.clone())).collect();
    let disk = bed.disk.another().expect("a handle");
    attempts.lock().expect("no panic").insert(content(&disk));
    let writers = machines.split_off(2);
    thread::scope(|scope| {
        for access in &machines {
            let (policy, options) = (&policy, &options);
            scope.spawn(move || {
                if let Err(error) = run(access, SERVER, policy, options) {
                    assert!(matches!(error.blame, Blame::Device | Blame::Refused), "{error}");
                }
            });
        }
        for access in &writers {
            let disk = &disk;
            scope.spawn(move || {
                let options = writer::Options { workers: 1, ..writer::Options::default() };
                if let Err(error) = point(access, disk, &options) {
                    assert!(matches!(error.blame, Blame::Device | Blame::Refused), "{error}");
                }
            });
        }
    });
}

#[test]
fn two_writers_and_two_upkeeps_on_a_failing_store_lose_no_point() {
    for seed in 0..6 {
        let mut bed = Bed::new(90 + seed);
        bed.point(20);
        let attempts = Mutex::new(HashSet::from([content(&bed.disk)]));
        let inner = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
        let faults = Faults {
            fails_before: 10,
            reply_lost: 10,
            lands_later: 10,
            lands_later_calls_max: 40,
            ..Faults::default()
        };
        let faulty = Arc::new(FaultStore::new(inner, faults, seed));
        for _ in 0..14 {
            scribble(&bed.disk, BYTES, &mut bed.random, 4);
            round(&mut bed, &faulty, &attempts);
            bed.pass(9 * HOUR);
        }
        faulty.land_all();
        let attempts = attempts.into_inner().expect("no panic");
        let points = bed.restored_points();
        assert!(points.len() > 2, "seed {seed}: hardly anything was made");
        for (id, back) in points {
            assert!(attempts.contains(&back), "seed {seed}: point {id} is of no disk");
            bed.contents.insert(id, back);
        }
        bed.assert_verified();
        bed.point_unchanged();
        bed.assert_settles("40h,daily=5d");
    }
}

fn eight_days(seed: u64) -> (Bed, u64, PointId) {
    let mut bed = Bed::new(seed);
    for _ in 0..8 {
        bed.point(20);
        bed.pass(DAY);
    }
    let view = read_chain(&bed.access(), SERVER).expect("a chain");
    let slot = view.points().nth(1).expect("a point").record.slot;
    let id = bed.points()[1];
    (bed, slot, id)
}

#[test]
fn a_hold_that_was_acknowledged_is_kept_by_a_run_that_looked_for_holds_just_before() {
    let (mut bed, slot, held) = eight_days(83);
    let access = another(&mut bed).access();
    let hook = Hook::new(Arc::clone(&bed.store) as Arc<dyn BlobStore>, is_chain, move || {
        crate::pins::hold(&access, SERVER, slot, "a person", 30 * DAY).expect("a hold");
    });
    let (policy, pruner) = (Policy::parse("5d").expect("a policy"), bed.access_to(hook.store()));
    let report = run(&pruner, SERVER, &policy, &Options::default()).expect("upkeep");
    assert!(hook.is_done() && report.points_removed > 0, "{report:?}");
    assert!(bed.points().contains(&held), "it was acknowledged");
    bed.upkeep("5d", &Options::default()).expect("upkeep");
    assert!(bed.points().contains(&held));
    bed.assert_points_whole();
    bed.assert_verified();
}

#[test]
fn a_hold_that_comes_just_behind_a_run_of_pruning_is_refused_and_leaves_nothing() {
    let (mut bed, slot, gone) = eight_days(84);
    let pruner = another(&mut bed).access();
    let is_pin = |name: &str| name.starts_with("pin/");
    let hook = Hook::new(Arc::clone(&bed.store) as Arc<dyn BlobStore>, is_pin, move || {
        let policy = Policy::parse("5d").expect("a policy");
        run(&pruner, SERVER, &policy, &Options::default()).expect("upkeep");
    });
    let access = bed.access_to(hook.store());
    let refused = crate::pins::hold(&access, SERVER, slot, "a person", 30 * DAY);
    assert!(refused.is_err_and(|error| error.what.contains("was pruned")));
    assert!(!bed.points().contains(&gone));
    assert_eq!(crate::pins::list(&bed.access(), &SERVER).expect("pins"), []);
}
