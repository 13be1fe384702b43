//! Chains made of pieces, as an appliance makes them of what agents send: checkpoints are bases, and upkeep beside them takes
//! nothing that the next point needs.

use super::*;
use crate::writer::{DiskJob, Publish, Run, Since, Writer};

fn options() -> writer::Options {
    writer::Options { workers: 1, ..writer::Options::default() }
}

fn open(bed: &mut Bed) -> Writer {
    let access = bed.access();
    Writer::open(&access, SERVER, options()).expect("a writer")
}

/// Changes some blocks of the disk.
fn change(bed: &mut Bed, changed: &mut Vec<(u64, u64)>) {
    for _ in 0..=bed.random.below(12) {
        let at = bed.random.below(BLOCKS) * BLOCK;
        let mut bytes = vec![0; 65_536];
        if bed.random.below(4) > 0 {
            bed.random.fill(&mut bytes[..4096]);
        }
        bed.disk.load(at, &bytes);
        changed.push((at, BLOCK));
    }
}

/// Sends what changed as one piece, which may be a point.
fn piece(
    bed: &mut Bed,
    writer: &mut Writer,
    changed: &mut Vec<(u64, u64)>,
    publish: Publish,
) -> Result<PointId, Error> {
    changed.sort_unstable();
    changed.dedup();
    let disk = bed.disk.another().expect("a handle");
    let (name, identity) = ("sda".to_owned(), String::new());
    let job = DiskJob { name, identity, disk, changed: Some(changed.clone()) };
    let run = Run { since: Since::Newest, publish, retry_unread: false, ..Run::from(&options()) };
    let made = writer.run(vec![job], &run, &writer::Silent)?;
    changed.clear();
    if publish == Publish::Point {
        bed.contents.insert(made.id, content(&bed.disk));
    }
    Ok(made.id)
}

#[test]
fn upkeep_between_any_two_pieces_takes_nothing_that_a_point_needs() {
    let (mut removed, mut moved, mut condemned, mut deleted) = (0, 0, 0, 0);
    for seed in 0..6 {
        println!("seed {seed}");
        let mut bed = Bed::new(0x91EC_E500 + seed);
        let mut writer = open(&mut bed);
        let mut changed = Vec::new();
        for _ in 0..50 {
            let publish =
                if bed.random.below(3) == 0 { Publish::Point } else { Publish::Checkpoint };
            change(&mut bed, &mut changed);
            piece(&mut bed, &mut writer, &mut changed, publish).expect("a piece");
            let rest = bed.random.below(DAY);
            bed.pass(rest);
            match bed.random.below(4) {
                // As after a restart of the appliance.
                0 => writer = open(&mut bed),
                1 | 2 => {
                    let options =
                        Options { merge_count_min: 2, confirmed: true, ..Options::default() };
                    let report = bed.upkeep("2d", &options).expect("upkeep");
                    removed += report.points_removed;
                    moved += report.segments_moved;
                    condemned += report.segments_condemned;
                    deleted += report.objects_deleted;
                    bed.assert_points_whole();
                }
                _ => {}
            }
        }
        change(&mut bed, &mut changed);
        piece(&mut bed, &mut writer, &mut changed, Publish::Point).expect("the last point");
        bed.assert_points_whole();
        bed.assert_verified();
        bed.assert_settles("2d");
    }
    let all = [removed, moved, condemned, deleted];
    assert!(all.iter().all(|count| *count > 10), "the histories say too little: {all:?}");
}

#[test]
fn upkeep_in_the_middle_of_a_piece_takes_nothing_that_a_point_needs() {
    for seed in 0..6 {
        println!("seed {seed}");
        let mut bed = Bed::new(0x91EC_E600 + seed);
        let mut writer = open(&mut bed);
        let mut changed = Vec::new();
        for number in 0..8 {
            change(&mut bed, &mut changed);
            let publish = if number % 2 == 0 { Publish::Point } else { Publish::Checkpoint };
            piece(&mut bed, &mut writer, &mut changed, publish).expect("a piece");
            bed.pass(HOUR);
        }
        // Between what a piece sent and its record, with no mercy for orphans.
        let merciless =
            Options { orphan_grace: 0, merge_count_min: 2, confirmed: true, ..Options::default() };
        let mut other = bed.fork();
        other.store = Arc::clone(&bed.store);
        other.clock = bed.clock.clone();
        // The first record is the writer's own epoch, the second is the piece's.
        let seen = Mutex::new(0);
        let hook = Hook::new(
            Arc::clone(&bed.store) as Arc<dyn BlobStore>,
            move |name| {
                let mut seen = seen.lock().expect("no panic");
                *seen += u64::from(name.starts_with("chain/"));
                *seen == 2
            },
            move || {
                for _ in 0..2 {
                    other.pass(HOUR);
                    other.upkeep("1d", &merciless).expect("upkeep");
                }
            },
        );
        drop(writer);
        let access = bed.access_to(hook.store());
        let mut writer = Writer::open(&access, SERVER, options()).expect("a writer");
        for publish in [Publish::Checkpoint, Publish::Point] {
            change(&mut bed, &mut changed);
            if let Err(error) = piece(&mut bed, &mut writer, &mut changed, publish) {
                // What was sent and not yet named was condemned as an orphan without any grace: it must notice.
                assert!(error.what.contains("condemned"), "{error}");
                writer = open(&mut bed);
                piece(&mut bed, &mut writer, &mut changed, publish).expect("a piece");
            }
        }
        assert!(hook.is_done());
        bed.assert_points_whole();
        bed.assert_verified();
    }
}

/// A point of ours, and behind it one of somebody else.
fn overtaken(bed: &mut Bed) -> (PointId, Vec<(u64, u64)>) {
    let mut changed = Vec::new();
    for _ in 0..6 {
        change(bed, &mut changed);
    }
    let mut writer = open(bed);
    let ours = piece(bed, &mut writer, &mut changed, Publish::Point).expect("a point");
    let foreign = SimDisk::new(BYTES);
    foreign.load(0, &vec![0xEE; 20 * 65_536]);
    bed.pass(DAY);
    let access = bed.access();
    let made = point(&access, &foreign, &writer::Options::default()).expect("a point");
    bed.contents.insert(made.id, content(&foreign));
    change(bed, &mut changed);
    (ours, changed)
}

fn link_of(bed: &mut Bed, id: PointId) -> Option<crate::chain::Link> {
    let access = bed.access();
    let view = read_chain(&access, SERVER).expect("a chain");
    view.points().find(|link| link.record.point().is_some_and(|point| point.id == id)).cloned()
}

#[test]
fn a_piece_goes_on_from_the_point_that_its_sender_knows_whatever_others_put_behind_it() {
    for publish in [Publish::Point, Publish::Checkpoint] {
        let mut bed = Bed::new(0x91EC_E700);
        let (ours, mut changed) = overtaken(&mut bed);
        let link = link_of(&mut bed, ours).expect("it is not pruned");
        let mut writer = open(&mut bed);
        writer.go_on_from(Some(link));
        piece(&mut bed, &mut writer, &mut changed, publish).expect("a piece");
        change(&mut bed, &mut changed);
        piece(&mut bed, &mut writer, &mut changed, Publish::Point).expect("a point");
        assert_eq!(bed.points().len(), if publish == Publish::Point { 4 } else { 3 });
        bed.assert_points_whole();
        bed.assert_verified();
    }
}

#[test]
fn a_piece_whose_older_base_is_pruned_under_it_is_not_published() {
    let mut bed = Bed::new(0x91EC_E800);
    let (ours, mut changed) = overtaken(&mut bed);
    let link = link_of(&mut bed, ours).expect("it is not pruned");
    let mut writer = open(&mut bed);
    writer.go_on_from(Some(link));
    bed.pass(3 * DAY);
    let confirmed = Options { confirmed: true, ..plain() };
    bed.upkeep("last=1", &confirmed).expect("upkeep");
    assert!(link_of(&mut bed, ours).is_none(), "the test prunes it");
    let before = bed.points();
    let error = piece(&mut bed, &mut writer, &mut changed, Publish::Point).unwrap_err();
    assert!(error.what.contains("older point"), "{error}");
    assert_eq!(bed.points(), before);
    bed.assert_points_whole();
}
