//! Bit rot, sectors that cannot be read, writes that landed nowhere: told, passed over, and never wrong bytes.

use super::*;

const RECORDS: u64 = 60;

/// A spool with records of four pages, synced in threes, closed in order.
fn filled() -> SimDisk {
    let disk = SimDisk::new(DISK);
    let mut spool = made(&disk);
    for number in 0..RECORDS {
        spool.append(&payload(number, 15_000)).unwrap();
        if number % 3 == 2 {
            spool.sync().unwrap();
        }
    }
    disk
}

/// Numbers that are there must be right and in order; those that are not must have been counted as lost.
fn judge(disk: &SimDisk, what: &str) -> u64 {
    let (mut spool, found) =
        Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(11)).expect(what);
    let (numbers, missing) = all(&mut spool);
    assert!(numbers.is_sorted_by(|one, two| one < two), "{what}");
    assert_eq!(numbers.len() as u64 + missing, RECORDS, "{what}: {:?}", found.troubles);
    missing
}

#[test]
fn a_rotten_bit_in_any_page_costs_one_record_at_most_and_is_told() {
    let filled = filled();
    // What is written: no more has to be copied.
    let (content, spare) = (filled.content(0, 4 << 20), filled.content(DISK - 4096, 4096));
    let mut random = Random::new(8);
    let log = usize::try_from(layout::LOG_OFFSET).unwrap();
    let pages = (0..log / 4096 + 4 * 60 + 2).filter(|page| *page < 100 || page * 4096 >= log);
    let mut hurt = 0;
    for page in pages {
        let disk = SimDisk::new(DISK);
        let mut rotten = content.clone();
        let at = page * 4096 + usize::try_from(random.below(100)).unwrap();
        rotten[at] ^= 1 << random.below(8);
        disk.load(0, &rotten);
        disk.load(DISK - 4096, &spare);
        let missing = judge(&disk, &format!("byte {at}"));
        assert!(missing <= 1, "byte {at}: {missing}");
        hurt += missing;
    }
    assert!(hurt > 200, "{hurt}");
}

#[test]
fn a_sector_that_cannot_be_read_costs_its_record_only() {
    let disk = filled();
    let mut hurt = 0;
    for sector in 0..60 {
        let at = layout::LOG_OFFSET + sector * 9 * 512;
        let bad = at..at + 512;
        disk.set_faults(Faults { read_error_ranges: vec![bad], ..Faults::default() });
        hurt += judge(&disk, &format!("sector {sector}"));
    }
    assert!(hurt > 40, "{hurt}");
}

#[test]
fn damage_behind_an_old_checkpoint_is_told_from_the_end_of_the_log() {
    // All checkpoints but the first of this opening are lost, so that everything is found by scanning, and then one
    // record in the middle of what was acknowledged is damaged.
    let disk = SimDisk::new(DISK);
    let mut spool = made(&disk);
    let first = disk.content(layout::CHECKPOINT_OFFSET, 4 * 64 * 1024);
    for number in 0..RECORDS {
        spool.append(&payload(number, 15_000)).unwrap();
        spool.sync().unwrap();
    }
    disk.load(layout::CHECKPOINT_OFFSET, &first);
    assert_eq!(
        all(&mut Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(5)).unwrap().0).1,
        0
    );
    disk.load(layout::CHECKPOINT_OFFSET, &first);
    disk.load(layout::LOG_OFFSET + 30 * 4 * 4096 + 10, &[0xEE; 9]);
    let (mut spool, found) = Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(6)).unwrap();
    assert!(found.troubles[0].contains("1 records are lost"), "{:?}", found.troubles);
    let (numbers, missing) = all(&mut spool);
    assert_eq!((numbers.len() as u64, missing), (RECORDS - 1, 1));
}

#[test]
fn a_superblock_is_mended_from_the_other() {
    let disk = filled();
    for at in [0, DISK - 4096] {
        disk.load(at, &[0xEE; 4096]);
        let (_, found) = Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(6)).unwrap();
        assert!(found.troubles[0].contains("mended"), "{:?}", found.troubles);
        drop(open(&disk, 7));
    }
    disk.load(20, &[0xEE; 8]);
    disk.load(DISK - 4096 + 20, &[0xEE; 8]);
    assert!(matches!(refusal(&disk, &owner(1)), SpoolError::Damaged(_)));
    disk.load(0, &[0; 4096]);
    disk.load(DISK - 4096, &[0; 4096]);
    assert_eq!(refusal(&disk, &owner(1)), SpoolError::None);
}

#[test]
fn three_checkpoints_of_four_may_be_lost() {
    for left in 0..4 {
        let disk = filled();
        for place in (0..4).filter(|place| *place != left) {
            disk.load(layout::checkpoint_offset(place), &[0xEE; 96]);
        }
        assert_eq!(judge(&disk, &format!("checkpoint {left}")), 0);
    }
    let disk = filled();
    (0..4).for_each(|place| disk.load(layout::checkpoint_offset(place), &[0xEE; 96]));
    assert!(matches!(refusal(&disk, &owner(1)), SpoolError::Damaged("all checkpoints")));
}

#[test]
fn writes_that_land_nowhere_or_elsewhere_are_told_and_bytes_are_never_wrong() {
    let mut hurt = 0;
    for seed in 0..60 {
        let disk = SimDisk::new(DISK);
        let mut spool = made(&disk);
        disk.set_faults(Faults {
            seed,
            lost_write_per_million: 30_000,
            misdirected_write_per_million: 30_000,
            flipped_read_per_million: 10_000,
            ..Faults::default()
        });
        for number in 0..RECORDS {
            spool.append(&payload(number, 15_000)).unwrap();
            if number % 3 == 2 {
                spool.sync().unwrap();
            }
        }
        // `all` compares every byte of what it gets.
        let (numbers, missing) = all(&mut spool);
        assert!(numbers.is_sorted_by(|one, two| one < two));
        assert_eq!(numbers.len() as u64 + missing, RECORDS, "seed {seed}");
        hurt += missing;
        disk.set_faults(Faults::default());
        match Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(seed)) {
            Ok((mut spool, _)) => {
                let numbers = all(&mut spool).0;
                assert!(numbers.is_sorted_by(|one, two| one < two));
            }
            Err(error) => assert!(error.wants_format(), "seed {seed}: {error}"),
        }
    }
    assert!(hurt > 30, "{hurt}");
}
