//! Frames carried from segment to segment: nothing is lost, little is kept, and readers find everything.

use super::*;
use crate::live::{Class, Live};
use crate::record::Action;
use crate::store::fault::{FaultStore, Faults};

/// Many small points, an hour apart.
fn many_small(seed: u64, count: u64) -> Bed {
    let mut bed = Bed::new(seed);
    bed.point(30);
    for _ in 0..count {
        bed.pass(HOUR);
        bed.small_point();
    }
    bed
}

#[test]
fn many_small_segments_become_few_and_every_point_comes_back() {
    let mut bed = many_small(50, 40);
    let before = bed.segments().len();
    assert!(before >= 41);
    let report = bed.upkeep("99d", &Options::default()).expect("upkeep");
    assert!(report.segments_moved >= 40 && report.segments_written <= 3, "{report:?}");
    bed.assert_points_whole();
    bed.pass(2 * DAY);
    bed.upkeep("99d", &Options::default()).expect("upkeep");
    assert!(bed.segments().len() <= 6, "{}", bed.segments().len());
    bed.assert_points_whole();
    let report = bed.assert_verified();
    assert_eq!((report.points, report.orphans.objects), (41, 0));
    bed.assert_settles("99d");
}

#[test]
fn seven_small_segments_are_left_alone() {
    let mut bed = Bed::new(51);
    // The first point is two segments.
    for _ in 0..6 {
        bed.small_point();
        bed.pass(HOUR);
    }
    assert_eq!(bed.segments().len(), 7);
    let before = bed.store.names();
    bed.upkeep("99d", &Options::default()).expect("upkeep");
    assert_eq!(bed.store.names(), before);
}

#[test]
fn sparse_segments_are_rewritten_and_dense_ones_are_not() {
    let mut bed = Bed::new(52);
    let options = Options { small_bytes_max: 0, ..Options::default() };
    let mut noise = vec![0; 65_536];
    for block in 0..250 {
        bed.random.fill(&mut noise);
        bed.disk.load(block * BLOCK, &noise);
    }
    bed.point_unchanged();
    // Three of four frames of the first half change: its segments become sparse, the others stay dense.
    for block in (0..128).filter(|block| block / 16 % 4 != 3) {
        bed.random.fill(&mut noise);
        bed.disk.load(block * BLOCK, &noise);
    }
    bed.pass(DAY);
    bed.point_unchanged();
    let nothing = bed.upkeep("99d", &options).expect("upkeep");
    assert_eq!(nothing.segments_moved, 0, "both points are kept: everything is live");
    bed.pass(DAY);
    let before = bed.store.bytes();
    let report = bed.upkeep("1d", &options).expect("upkeep");
    assert!(report.points_removed == 1 && report.segments_moved > 0, "{report:?}");
    assert!(report.segments_moved < bed.segments().len() as u64 / 2, "{report:?}");
    bed.assert_points_whole();
    bed.pass(2 * DAY);
    bed.upkeep("1d", &options).expect("upkeep");
    assert!(bed.store.bytes() < before, "{} of {before}", bed.store.bytes());
    bed.assert_points_whole();
    bed.assert_verified();
    bed.assert_settles("1d");
}

#[test]
fn segments_moved_again_and_again_are_found_by_one_step() {
    let mut bed = many_small(53, 10);
    for round in 0..6 {
        for _ in 0..10 {
            bed.pass(HOUR);
            bed.small_point();
        }
        let report = bed.upkeep("99d", &Options::default()).expect("upkeep");
        assert!(report.segments_moved >= 8, "round {round}: {report:?}");
        let upkeep = bed.state();
        let moved: HashSet<SegmentId> = upkeep.relocations.iter().map(|moved| moved.from).collect();
        let here = bed.segments();
        for relocation in &upkeep.relocations {
            assert!(!relocation.into.is_empty());
            for holder in &relocation.into {
                assert!(here.contains(holder) && !moved.contains(holder));
                assert!(!upkeep.condemns(holder));
            }
        }
        bed.pass(2 * DAY);
        bed.assert_points_whole();
    }
    bed.assert_verified();
    bed.assert_settles("99d");
}

#[test]
fn a_relocation_goes_when_no_kept_map_names_its_segment() {
    let mut bed = many_small(54, 20);
    bed.upkeep("99d", &Options::default()).expect("upkeep");
    assert!(bed.state().relocations.len() >= 20);
    let confirmed = Options { confirmed: true, ..plain() };
    for block in 0..BLOCKS {
        bed.disk.load(block * BLOCK, &[0; 65_536]);
    }
    bed.disk.load(BLOCKS * BLOCK, &[0; 512]);
    bed.pass(DAY);
    bed.point(40);
    bed.pass(HOUR);
    bed.upkeep("1h", &confirmed).expect("upkeep");
    assert_eq!(bed.state().relocations, []);
    bed.assert_points_whole();
    bed.assert_settles("1h");
}

#[test]
fn a_damaged_frame_is_not_carried_and_the_others_are() {
    let mut bed = many_small(55, 20);
    let victim = *bed.segments().iter().next().expect("a segment");
    let name = names::segment(&SERVER, &victim);
    let mut bytes = bed.store.read_all(&name, 1 << 23).expect("a segment");
    bytes[300] ^= 1;
    bed.store.overwrite(&name, &bytes);
    match bed.upkeep("99d", &Options::default()) {
        // Its first frame is of blocks: the segment stays where it is.
        Ok(report) => {
            assert_eq!(report.segments_damaged, 1, "{report:?}");
            assert!(report.troubles[0].contains(&victim.to_string()), "{report:?}");
            assert!(report.segments_moved >= 19);
            assert!(!bed.state().condemns(&victim));
        }
        // Its first frame is a page: what lies below is unknown, so nothing may be concluded.
        Err(error) => {
            assert_eq!(error.object, name);
            assert!(bed.state().condemned.is_empty());
        }
    }
    bed.pass(2 * DAY);
    assert!(bed.segments().contains(&victim));
}

#[test]
fn frames_that_only_old_points_need_are_kept_apart_and_die_whole() {
    let mut bed = Bed::new(56);
    for _ in 0..30 {
        bed.small_point();
        bed.pass(HOUR);
    }
    // The points stay for three days and each changed another block: most frames are the newest point's too.
    let report = bed.upkeep("3d", &Options::default()).expect("upkeep");
    assert_eq!(report.segments_written, 2, "{report:?}");
    let upkeep = bed.state();
    let Action::Relocate { segments } = &upkeep.action else { panic!("{:?}", upkeep.action) };
    let access = bed.access();
    let view = read_chain(&access, SERVER).expect("a chain");
    let frames = FrameReader::new(&access, SERVER, &upkeep, 1 << 20).expect("a reader");
    let newest = view.points().next_back().expect("a point").record.clone();
    let roots = newest.point().expect("a point").disks.iter().map(|disk| disk.root);
    let mut live = Live::new();
    live.walk(&frames, roots, Class::Newest, 2).expect("a walk");
    let mut sides = Vec::new();
    for made in segments {
        let opened = frames.table(&made.segment).expect("a table");
        let needed: Vec<bool> =
            opened.table.entries().map(|entry| live.class(entry.address).is_some()).collect();
        assert!(needed.iter().all(|side| *side == needed[0]), "classes are mixed");
        sides.push(needed[0]);
    }
    sides.sort_unstable();
    assert_eq!(sides, [false, true]);
    // When the old points go, what only they needed goes whole, and nothing is rewritten for it.
    bed.pass(4 * DAY);
    bed.point_unchanged();
    let report =
        bed.upkeep("3d", &Options { confirmed: true, ..Options::default() }).expect("upkeep");
    assert!(report.segments_condemned > 0 && report.segments_moved == 0, "{report:?}");
    bed.assert_settles("3d");
}

#[test]
fn one_run_rewrites_no_more_than_it_may() {
    let mut bed = many_small(57, 30);
    let options = Options { compact_bytes_max: 50_000, ..Options::default() };
    let report = bed.upkeep("99d", &options).expect("upkeep");
    assert!((2..20).contains(&report.segments_moved), "{report:?}");
    assert!(report.written_bytes < 60_000, "{report:?}");
    bed.assert_points_whole();
}

#[test]
fn a_writer_goes_on_while_its_base_is_moved_and_deleted() {
    let mut bed = many_small(58, 30);
    scribble(&bed.disk, BYTES, &mut bed.random, 20);
    let expected = content(&bed.disk);
    let mut other = bed.fork();
    other.store = Arc::clone(&bed.store);
    other.clock = bed.clock.clone();
    let hook = Hook::new(
        Arc::clone(&bed.store) as Arc<dyn BlobStore>,
        |name| name.starts_with("seg/"),
        move || {
            let report = other.upkeep("99d", &Options::default()).expect("upkeep");
            assert!(report.segments_moved >= 30, "{report:?}");
            other.pass(2 * DAY);
            let report = other.upkeep("99d", &plain()).expect("upkeep");
            assert!(report.objects_deleted >= 30, "{report:?}");
        },
    );
    let access = bed.access_to(hook.store());
    let made = point(&access, &bed.disk, &writer::Options::default()).expect("a point");
    assert!(hook.is_done());
    bed.contents.insert(made.id, expected);
    bed.assert_points_whole();
    bed.assert_verified();
    bed.assert_settles("99d");
}

#[test]
fn segments_of_a_run_that_goes_on_are_neither_moved_nor_condemned() {
    let mut bed = Bed::new(59);
    // Three leaves, and so few buffers that the third cannot begin before a segment was sent: a checkpoint is due.
    let blocks = 3 * 256;
    bed.disk = SimDisk::new(blocks * BLOCK);
    bed.point(10);
    for block in 0..blocks {
        let mut noise = vec![0; 65_536];
        bed.random.fill(&mut noise);
        bed.disk.load(block * BLOCK, &noise);
    }
    let expected = content(&bed.disk);
    let mut other = bed.fork();
    other.store = Arc::clone(&bed.store);
    other.clock = bed.clock.clone();
    // A checkpoint after every segment; upkeep runs before the point is published, with no mercy for orphans.
    let merciless = Options { orphan_grace: 0, merge_count_min: 2, ..Options::default() };
    let slots = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&slots);
    let hook = Hook::new(
        Arc::clone(&bed.store) as Arc<dyn BlobStore>,
        move |name| {
            let mut seen = seen.lock().expect("no panic");
            *seen += u64::from(name.starts_with("chain/"));
            *seen == 3
        },
        move || {
            other.pass(HOUR);
            other.upkeep("99d", &merciless).expect("upkeep");
        },
    );
    let access = bed.access_to(hook.store());
    let options = writer::Options {
        checkpoint_segments: 1,
        workers: 1,
        buffer_bytes_max: 0,
        ..writer::Options::default()
    };
    let made = point(&access, &bed.disk, &options);
    assert!(hook.is_done());
    match made {
        Ok(made) => drop(bed.contents.insert(made.id, expected)),
        // What was sent and not yet named was condemned as an orphan without any grace: it must notice.
        Err(error) => {
            assert!(error.what.contains("condemned"), "{error}");
            bed.point_unchanged();
        }
    }
    bed.assert_points_whole();
    bed.assert_verified();
}

#[test]
fn merging_hourly_reads_only_what_is_new() {
    let mut bed = Bed::new(60);
    bed.point(200);
    for _ in 0..30 {
        bed.pass(DAY / 24);
        bed.small_point();
    }
    bed.pass(10 * DAY);
    for _ in 0..20 {
        bed.pass(60_000);
        bed.small_point();
    }
    let options = Options { scope: Scope::Recent(6 * HOUR), ..Options::default() };
    let report = bed.upkeep("99d", &options).expect("upkeep");
    assert_eq!((report.points_removed, report.segments_condemned), (0, 0));
    // Twenty of the last hour, none of the thirty before: what names those was not looked at.
    assert_eq!(report.segments_moved, 20, "{report:?}");
    bed.assert_points_whole();
    bed.assert_verified();
    for _ in 0..5 {
        bed.pass(HOUR);
        for _ in 0..10 {
            bed.pass(60_000);
            bed.small_point();
        }
        bed.upkeep("99d", &options).expect("upkeep");
        bed.assert_points_whole();
    }
    let whole = bed.upkeep("99d", &Options::default()).expect("upkeep");
    assert!(whole.segments_moved >= 30, "{whole:?}");
    bed.assert_points_whole();
    bed.assert_verified();
    bed.assert_settles("99d");
}

#[test]
fn merging_hourly_never_touches_what_an_interrupted_run_may_have_salvaged() {
    for calls in [9, 11, 13, 15] {
        let mut bed = Bed::new(61);
        let options =
            Options { scope: Scope::Recent(6 * HOUR), merge_count_min: 2, ..Options::default() };
        bed.point(30);
        for _ in 0..12 {
            bed.pass(10_000);
            bed.point(1);
            let inner = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
            let faults = FaultStore::new(inner, Faults::stop_after(calls), 1);
            let access = bed.access_to(Arc::new(faults));
            scribble(&bed.disk, BYTES, &mut bed.random, 2);
            // It may stop before or after it sent something, or not at all.
            if let Ok(made) = point(&access, &bed.disk, &writer::Options::default()) {
                bed.contents.insert(made.id, content(&bed.disk));
            }
        }
        bed.point(1);
        bed.upkeep("99d", &options).expect("upkeep");
        for (id, back) in bed.restored_points() {
            // A point whose reply was lost is none that this test knows.
            assert!(
                bed.contents.get(&id).is_none_or(|content| *content == back),
                "point {id} differs"
            );
        }
        bed.assert_verified();
    }
}
