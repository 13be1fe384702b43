//! Faults, power cuts and books of the simulated disk; the conformance suite is in
//! `tests/conformance.rs`.

use super::*;
use crate::fault::Shrink;
use crate::random::Random;

const BYTES: u64 = 4 * 1024 * 1024;
const BLOCK: u32 = 65_536;
const ALWAYS: u32 = 1_000_000;

fn request(disk: &mut SimDisk, operation: Operation, offset: u64, fill: u8) -> Request<HeapBuffer> {
    let flush = operation == Operation::Flush;
    let mut buffer = disk.buffer(BLOCK as usize).unwrap();
    buffer.as_mut().fill(fill);
    let length = if flush { 0 } else { BLOCK };
    Request { token: offset, operation, offset, length, buffer: Some(buffer) }
}

fn perform(
    disk: &mut SimDisk,
    operation: Operation,
    offset: u64,
    fill: u8,
) -> Result<Vec<u8>, DiskError> {
    let request = request(disk, operation, offset, fill);
    let done = disk.run(request)?;
    let buffer = done.buffer.expect("the buffer always comes back");
    done.result.map(|()| buffer.as_ref()[..BLOCK as usize].to_vec())
}

fn write(disk: &mut SimDisk, offset: u64, fill: u8) -> Result<(), DiskError> {
    perform(disk, Operation::Write, offset, fill).map(drop)
}

fn read(disk: &mut SimDisk, offset: u64) -> Result<Vec<u8>, DiskError> {
    perform(disk, Operation::Read, offset, 0)
}

fn flush(disk: &mut SimDisk) -> Result<(), DiskError> {
    perform(disk, Operation::Flush, 0, 0).map(drop)
}

fn with(faults: Faults) -> SimDisk {
    let disk = SimDisk::new(BYTES);
    disk.set_faults(faults);
    disk
}

#[test]
fn eight_tebibytes_cost_what_is_written() {
    let mut disk = SimDisk::new(8 << 40);
    write(&mut disk, 7 << 40, 1).unwrap();
    assert_eq!(disk.held_bytes(), u64::from(BLOCK));
    let data = (7 << 40, (7 << 40) + u64::from(BLOCK));
    assert_eq!(disk.data_after(0).unwrap(), Some(data));
    assert_eq!(disk.data_after(data.1).unwrap(), None);
    perform(&mut disk, Operation::Zero, 7 << 40, 0).unwrap();
    assert_eq!((disk.held_bytes(), disk.data_after(0).unwrap()), (0, None));
}

#[test]
fn books_are_kept_for_all_handles() {
    let disk = SimDisk::new(BYTES);
    let (mut one, mut two) = (disk.another().unwrap(), disk.another().unwrap());
    write(&mut one, 0, 3).unwrap();
    let request = request(&mut two, Operation::Read, 0, 0);
    let address = request.buffer.as_ref().unwrap().as_ref().as_ptr().addr();
    let done = two.run(request).unwrap();
    done.result.unwrap();
    assert_eq!(disk.dma_log(), [(0, address, BLOCK as usize)]);
    assert_eq!(done.buffer.unwrap().as_ref().as_ptr().addr(), address);
    perform(&mut one, Operation::Zero, 0, 0).unwrap();
    perform(&mut one, Operation::Discard, 0, 0).unwrap();
    flush(&mut two).unwrap();
    let bytes = u64::from(BLOCK);
    let expected = Counts {
        reads: 1,
        read_bytes: bytes,
        writes: 1,
        written_bytes: bytes,
        zeros: 1,
        zeroed_bytes: bytes,
        discards: 1,
        flushes: 1,
    };
    assert_eq!(disk.counts(), expected);
    disk.clear_dma_log();
    assert_eq!(disk.dma_log(), []);
}

#[test]
fn broken_ranges_fail_and_spare_the_rest() {
    let (bad_read, bad_write) = (100_000..100_001, 300_000..400_000);
    let mut disk = with(Faults {
        read_error_ranges: vec![bad_read],
        write_error_ranges: vec![bad_write],
        ..Faults::default()
    });
    write(&mut disk, 65_536, 1).unwrap();
    let error = read(&mut disk, 65_536).unwrap_err();
    assert_eq!((error.kind, error.offset), (ErrorKind::Medium, Some(100_000)));
    read(&mut disk, 131_072).unwrap();
    let error = write(&mut disk, 262_144, 1).unwrap_err();
    assert_eq!((error.kind, error.offset), (ErrorKind::Medium, Some(300_000)));
    let error = perform(&mut disk, Operation::Zero, 327_680, 0).unwrap_err();
    assert_eq!((error.kind, error.offset), (ErrorKind::Medium, Some(327_680)));
    assert_eq!(disk.content(262_144, 65_536), [0; 65_536], "a failed write is nowhere");
}

#[test]
fn silent_faults_report_success() {
    let mut lost = with(Faults { lost_write_per_million: ALWAYS, ..Faults::default() });
    write(&mut lost, 0, 1).unwrap();
    assert_eq!(lost.held_bytes(), 0);

    let mut stray =
        with(Faults { seed: 2, misdirected_write_per_million: ALWAYS, ..Faults::default() });
    write(&mut stray, 0, 1).unwrap();
    let (start, end) = stray.data_after(0).unwrap().unwrap();
    assert_ne!(start, 0);
    let length = usize::try_from(end - start).unwrap();
    let ones = stray.content(start, length).iter().filter(|byte| **byte == 1).count();
    assert_eq!(ones, BLOCK as usize, "all of it is somewhere");

    let mut flipped = with(Faults { flipped_read_per_million: ALWAYS, ..Faults::default() });
    let bits: u32 = read(&mut flipped, 0).unwrap().iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(bits, 1);
    assert_eq!(flipped.held_bytes(), 0, "the medium is sound");
}

#[test]
fn a_torn_write_fails_and_leaves_whole_sectors() {
    let mut disk = with(Faults { seed: 4, torn_write_per_million: ALWAYS, ..Faults::default() });
    assert_eq!(write(&mut disk, 0, 1).unwrap_err().kind, ErrorKind::Medium);
    let content = disk.content(0, BLOCK as usize);
    let sectors: Vec<bool> = content.chunks(512).map(|sector| sector[0] == 1).collect();
    for (sector, whole) in content.chunks(512).zip(&sectors) {
        assert!(sector.iter().all(|byte| *byte == u8::from(*whole)));
    }
    assert!(sectors.contains(&true) && sectors.contains(&false));
}

#[test]
fn the_same_seed_breaks_the_same_requests() {
    let run = |seed| {
        let mut disk = with(Faults {
            seed,
            read_error_per_million: 200_000,
            write_error_per_million: 200_000,
            ..Faults::default()
        });
        (0..200_u64)
            .map(|index| match index % 2 {
                0 => write(&mut disk, index * 512, 1).is_ok(),
                _ => read(&mut disk, index * 512).is_ok(),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let failed = run(1).iter().filter(|fine| !**fine).count();
    assert!((20..60).contains(&failed), "{failed} of 200");
}

#[test]
fn a_disk_vanishes_shrinks_or_fills_up_when_told() {
    let mut disk = with(Faults { vanish_after_requests: Some(3), ..Faults::default() });
    for _ in 0..3 {
        read(&mut disk, 0).unwrap();
    }
    assert_eq!(read(&mut disk, 0).unwrap_err().kind, ErrorKind::Gone);
    assert_eq!(disk.geometry().unwrap_err().kind, ErrorKind::Gone);
    assert_eq!(disk.data_after(0).unwrap_err().kind, ErrorKind::Gone);
    assert_eq!(disk.another().unwrap_err().kind, ErrorKind::Gone);

    let shrink = Shrink { after_requests: 1, bytes: BYTES / 2 };
    let mut disk = with(Faults { shrink: Some(shrink), ..Faults::default() });
    read(&mut disk, BYTES - 65_536).unwrap();
    let error = read(&mut disk, BYTES - 65_536).unwrap_err();
    assert_eq!((error.kind, error.offset), (ErrorKind::Gone, Some(BYTES - 65_536)));
    read(&mut disk, 0).unwrap();
    assert_eq!(disk.geometry().unwrap().bytes, BYTES / 2);

    let mut disk = with(Faults { full_after_bytes: Some(100_000), ..Faults::default() });
    write(&mut disk, 0, 1).unwrap();
    assert_eq!(write(&mut disk, 65_536, 1).unwrap_err().kind, ErrorKind::Full);
    read(&mut disk, 65_536).unwrap();
}

#[test]
fn completions_overtake_each_other_and_none_is_lost() {
    let mut disk = with(Faults { seed: 6, reorder_per_million: ALWAYS, ..Faults::default() });
    for index in 0..16 {
        let request = request(&mut disk, Operation::Read, index * 65_536, 0);
        disk.submit(request).unwrap();
    }
    let mut tokens = Vec::new();
    while let Some(done) = disk.complete().unwrap() {
        tokens.push(done.token / 65_536);
    }
    assert!(!tokens.is_sorted(), "{tokens:?}");
    tokens.sort_unstable();
    assert_eq!(tokens, (0..16).collect::<Vec<_>>());
}

#[test]
fn a_power_cut_spares_what_was_flushed_and_rolls_dice_for_the_rest() {
    let (mut lost, mut whole, mut torn) = (0, 0, 0);
    for seed in 0..60 {
        let mut disk = SimDisk::new(BYTES);
        write(&mut disk, 0, 1).unwrap();
        write(&mut disk, 65_536, 1).unwrap();
        flush(&mut disk).unwrap();
        write(&mut disk, 65_536, 2).unwrap();
        perform(&mut disk, Operation::Zero, 131_072, 0).unwrap();
        disk.cut_power(seed);
        assert_eq!(read(&mut disk, 0).unwrap_err().kind, ErrorKind::Gone, "the old handle is dead");
        let mut disk = disk.reopen();
        assert_eq!(read(&mut disk, 0).unwrap(), [1; 65_536], "what was flushed is there");
        let content = read(&mut disk, 65_536).unwrap();
        for sector in content.chunks(512) {
            let first = sector[0];
            assert!([1, 2].contains(&first) && sector.iter().all(|byte| *byte == first));
        }
        match content.iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            65_536 => whole += 1,
            _ => torn += 1,
        }
        // What survived is on the medium now: a second cut takes nothing more.
        disk.cut_power(seed + 1);
        assert_eq!(read(&mut disk.reopen(), 65_536).unwrap(), content);
    }
    assert!(lost > 5 && whole > 5 && torn > 5, "{lost} lost, {whole} whole, {torn} torn");
}

#[test]
fn later_writes_may_survive_earlier_ones() {
    let survived = |seed| {
        let mut disk = SimDisk::new(BYTES);
        write(&mut disk, 0, 1).unwrap();
        write(&mut disk, 65_536, 1).unwrap();
        disk.cut_power(seed);
        let disk = disk.reopen();
        [0, 65_536].map(|offset| disk.content(offset, 65_536) == [1; 65_536])
    };
    let outcomes: Vec<[bool; 2]> = (0..60).map(survived).collect();
    for outcome in [[false, false], [false, true], [true, false], [true, true]] {
        assert!(outcomes.contains(&outcome), "{outcome:?} never happened");
    }
}

#[test]
fn what_a_failed_flush_held_does_not_survive() {
    let mut disk = with(Faults { flush_error_per_million: ALWAYS, ..Faults::default() });
    write(&mut disk, 0, 1).unwrap();
    assert_eq!(flush(&mut disk).unwrap_err().kind, ErrorKind::Medium);
    disk.set_faults(Faults::default());
    flush(&mut disk).unwrap();
    assert_eq!(read(&mut disk, 0).unwrap(), [1; 65_536], "a reader sees it, as from a page cache");
    disk.cut_power(0);
    assert_eq!(disk.reopen().content(0, 65_536), [0; 65_536]);
}

#[test]
fn the_cache_is_bounded_and_writes_its_oldest_back() {
    let mut disk = SimDisk::new(256 << 20);
    for index in 0..2048_u64 {
        write(&mut disk, index * 65_536, 1).unwrap();
    }
    let mut survivors = 0;
    disk.cut_power(1);
    let disk = disk.reopen();
    for index in 0..1024_u64 {
        survivors += usize::from(disk.content(index * 65_536, 65_536) == [1; 65_536]);
    }
    assert_eq!(survivors, 1024, "the first half had left the cache");
}

#[test]
fn content_put_in_from_outside_is_durable_and_free() {
    let disk = SimDisk::new(BYTES);
    let mut bytes = vec![0; 10_000];
    Random::new(1).fill(&mut bytes);
    disk.load(12_345, &bytes);
    assert_eq!(disk.counts(), Counts::default());
    disk.cut_power(3);
    assert_eq!(disk.reopen().content(12_345, bytes.len()), bytes);
}
