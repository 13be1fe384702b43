//! Disks that cannot be read, vanish, shrink, fill up or fail to flush in the middle of it.

use hal_sim::{Faults, Shrink};

use crate::access::Access;
use crate::error::Error;

use super::*;

/// A disk with content, a vault with one point of it.
fn bed(seed: u64) -> (Access, SimDisk, u64, Random) {
    let mut random = Random::new(seed);
    let bytes = 600 * BLOCK;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut random, 500);
    let access = access(Arc::new(MemoryStore::new()), seed);
    point(&access, &disk, &Options::default()).expect("a point");
    (access, disk, bytes, random)
}

fn points(access: &Access) -> usize {
    read_chain(access, SERVER).expect("a chain").points().count()
}

fn onto(access: &Access, target: &SimDisk, accept_unread: bool) -> Result<u64, Error> {
    let view = read_chain(access, SERVER).expect("a chain");
    let link = view.find("latest").expect("a point");
    let state = &link.record.point().expect("a point").disks[0];
    let frames = FrameReader::new(access, SERVER, &view.upkeep, 4 << 20).expect("a reader");
    let options = restore::Options { workers: 2, accept_unread, ..Default::default() };
    let another = target.another()?;
    restore::restore_disk(&frames, state, another, "target", &options, &Silent)
        .map(|done| done.written_bytes)
}

#[test]
fn unreadable_blocks_are_told_restored_only_when_accepted_and_read_again_next_time() {
    let (access, disk, bytes, mut random) = bed(31);
    scribble(&disk, bytes, &mut random, 300);
    let bad = [17_u64, 18, 400];
    for block in bad {
        disk.load(block * BLOCK, &[9; 65_536]);
    }
    let one_sector = |block: u64| block * BLOCK + 4096..block * BLOCK + 4608;
    let ranges = bad.iter().map(|block| one_sector(*block)).collect();
    disk.set_faults(Faults { read_error_ranges: ranges, ..Faults::default() });
    let outcome = point(&access, &disk, &Options::default()).expect("a point with gaps");
    assert_eq!(outcome.unread_blocks, 3);
    let told: Vec<u64> = outcome.unread.iter().map(|(_, offset)| offset / BLOCK).collect();
    assert_eq!(told, bad);

    let target = SimDisk::new(bytes);
    let refused = onto(&access, &target, false).expect_err("nobody said that gaps are fine");
    assert!(refused.what.contains("3 blocks"), "{refused}");
    assert_eq!(target.counts().writes, 0);
    onto(&access, &target, true).expect("accepted");
    for block in 0..600 {
        let (was, is) =
            (disk.content(block * BLOCK, 65_536), target.content(block * BLOCK, 65_536));
        let expected = if bad.contains(&block) { vec![0; 65_536] } else { was };
        assert!(is == expected, "block {block}");
    }

    disk.set_faults(Faults::default());
    // Nothing changed meanwhile: the tracker has nothing to say, and the gaps are closed all the same.
    let mended = changed_point(&access, &disk, Some(Vec::new()), &Options::default());
    assert_eq!(mended.expect("a point").unread_blocks, 0);
    assert_same(&disk, &restored(&access, "latest").expect("a restore"), bytes);
}

#[test]
fn a_disk_that_vanishes_at_any_request_costs_no_point_and_the_next_run_makes_one() {
    let (access, disk, bytes, mut random) = bed(32);
    for requests in [0_u64, 1, 7, 20, 33] {
        scribble(&disk, bytes, &mut random, 100);
        let before = points(&access);
        let vanish_after_requests = Some(requests);
        disk.set_faults(Faults { vanish_after_requests, ..Faults::default() });
        let error = point(&access, &disk, &Options::default()).expect_err("no disk, no point");
        assert!(error.to_string().contains("sda"), "{error}");
        assert_eq!(points(&access), before);
        disk.set_faults(Faults::default());
        point(&access, &disk.reopen(), &Options::default()).expect("it is back");
        assert_same(&disk, &restored(&access, "latest").expect("a restore"), bytes);
    }
}

#[test]
fn what_an_interrupted_run_saw_is_not_taken_for_what_is_there_now() {
    let (access, disk, bytes, mut random) = bed(36);
    let was = disk.content(0, usize::try_from(bytes).expect("a small disk"));
    scribble(&disk, bytes, &mut random, 400);
    let options = Options { workers: 1, buffer_bytes_max: 1, ..Options::default() };
    disk.set_faults(Faults { vanish_after_requests: Some(34), ..Faults::default() });
    point(&access, &disk, &options).expect_err("stopped, and what was sent is in a checkpoint");
    disk.set_faults(Faults::default());
    // Somebody puts the disk back to what it was at the point: since then, a tracker says, nothing changed.
    let disk = disk.reopen();
    disk.load(0, &was);
    changed_point(&access, &disk, Some(Vec::new()), &Options::default()).expect("a point");
    assert_same(&disk, &restored(&access, "latest").expect("a restore"), bytes);
}

#[test]
fn another_disk_under_the_same_name_is_read_whole_whatever_a_tracker_says() {
    let mut random = Random::new(35);
    let bytes = 300 * BLOCK;
    let access = access(Arc::new(MemoryStore::new()), 35);
    let protect_as = |disk: &SimDisk, identity: &str, changed: Option<Vec<(u64, u64)>>| {
        let (name, identity) = ("sda".to_owned(), identity.to_owned());
        let job = DiskJob { name, identity, disk: disk.reopen(), changed };
        protect(&access, SERVER, vec![job], &Options::default(), &Silent).expect("a point")
    };
    let old = SimDisk::new(bytes);
    scribble(&old, bytes, &mut random, 200);
    protect_as(&old, "wwn=1 serial=A gpt=77", None);
    let kept = protect_as(&old, "wwn=1 serial=A gpt=78", Some(Vec::new()));
    assert!(kept.read_whole.is_empty(), "a new partition table is no new disk");
    let new = SimDisk::new(bytes);
    scribble(&new, bytes, &mut random, 200);
    let replaced = protect_as(&new, "wwn=2 serial=B gpt=79", Some(Vec::new()));
    assert_eq!(replaced.read_whole, ["sda"]);
    assert_same(&new, &restored(&access, "latest").expect("a restore"), bytes);
}

#[test]
fn a_disk_that_shrinks_midway_ends_the_run_and_says_so() {
    let (access, disk, bytes, mut random) = bed(33);
    scribble(&disk, bytes, &mut random, 300);
    let shrink = Some(Shrink { after_requests: 5, bytes: 200 * BLOCK });
    disk.set_faults(Faults { shrink, ..Faults::default() });
    let error = point(&access, &disk, &Options::default()).expect_err("half a disk is no point");
    assert!(error.to_string().contains("sda"), "{error}");
    assert_eq!(points(&access), 1);
}

#[test]
fn a_target_that_fills_up_fails_to_write_or_to_flush_is_never_called_done() {
    let (access, disk, bytes, _) = bed(34);
    let target = SimDisk::new(bytes);
    let broken = [
        Faults { full_after_bytes: Some(40 * BLOCK), ..Faults::default() },
        Faults {
            write_error_ranges: vec![500 * BLOCK..530 * BLOCK, 540 * BLOCK..560 * BLOCK],
            ..Faults::default()
        },
        Faults { flush_error_per_million: 1_000_000, ..Faults::default() },
        Faults { vanish_after_requests: Some(30), ..Faults::default() },
    ];
    for faults in broken {
        let target = target.reopen();
        target.set_faults(faults.clone());
        let error = onto(&access, &target, false).expect_err("it did not get everything");
        assert!(error.to_string().contains("target"), "{faults:?}: {error}");
    }
    target.set_faults(Faults::default());
    let target = target.reopen();
    let written = onto(&access, &target, false).expect("the same again, on a good disk");
    assert!(written < bytes / 2, "what was there was not written again: {written}");
    assert_same(&disk, &target, bytes);
}
