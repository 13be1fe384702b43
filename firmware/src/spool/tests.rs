//! The spool under power cuts, damage, lost keys, other sizes, and when it is full.

use hal_sim::disk::Sectors;
use hal_sim::random::Random;
use hal_sim::{Faults, SimDisk, SimEntropy};

use super::*;

/// Histories with power cuts.
mod cuts;
/// What any bytes do to the parsers.
mod hostile;
/// Damage of every kind.
mod rot;

const DISK: u64 = layout::DISK_BYTES_MIN;

fn owner(seed: u64) -> Owner {
    Owner::new(&SimEntropy::new(seed)).unwrap()
}

fn made(disk: &SimDisk) -> Spool<SimDisk> {
    format(disk.reopen(), &owner(1), &SimEntropy::new(2)).unwrap();
    open(disk, 3)
}

fn open(disk: &SimDisk, seed: u64) -> Spool<SimDisk> {
    let (spool, found) = Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(seed)).unwrap();
    assert_eq!(found.troubles, [""; 0]);
    spool
}

fn refusal(disk: &SimDisk, owner: &Owner) -> SpoolError {
    Spool::open(disk.reopen(), owner, &SimEntropy::new(9)).err().unwrap()
}

/// A record that says which it is, all through.
fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    let mut random = Random::new(number);
    bytes.resize(length.max(8), 0);
    random.fill(&mut bytes[8..]);
    bytes
}

fn number_of(payload: &[u8]) -> u64 {
    let number = u64::from_le_bytes(*payload.first_chunk().unwrap());
    assert_eq!(payload, self::payload(number, payload.len()), "not what was appended");
    number
}

/// Everything from the head on: numbers of records, and how many were lost before each.
fn all(spool: &mut Spool<SimDisk>) -> (Vec<u64>, u64) {
    let (mut at, mut numbers, mut missing) = (spool.head(), Vec::new(), 0);
    loop {
        match spool.read(at).unwrap() {
            Read::Record { payload, after } => {
                assert!(after > at);
                numbers.push(number_of(&payload));
                at = after;
            }
            Read::Lost { records, after, .. } => {
                assert!(after > at && records > 0);
                missing += records;
                at = after;
            }
            Read::End => return (numbers, missing),
        }
    }
}

fn length(random: &mut Random) -> usize {
    let most = match random.below(10) {
        0 => usize::try_from(RECORD_BYTES_MAX).unwrap() - record::HEADER_BYTES,
        1..4 => 4096,
        _ => 100_000,
    };
    usize::try_from(random.below(most as u64 + 1)).unwrap()
}

#[test]
fn what_is_appended_is_read_in_order_and_sealed() {
    for sectors in [Sectors::Small, Sectors::Emulated, Sectors::Large] {
        let disk = SimDisk::with_sectors(DISK, sectors);
        let mut spool = made(&disk);
        assert_eq!(all(&mut spool), (vec![], 0));
        for number in 0..50 {
            let mark = spool.append(&payload(number, 5000)).unwrap();
            assert_eq!(mark.number(), number + 1);
        }
        assert!(spool.durable() < spool.tail, "nothing is durable before it is synced");
        let durable = spool.sync().unwrap();
        assert_eq!((durable, durable.number()), (spool.tail, 50));
        assert_eq!(all(&mut spool), ((0..50).collect(), 0));
        assert_eq!(spool.usage().records, 50);
        let mut again = open(&disk, 4);
        assert_eq!(all(&mut again), ((0..50).collect(), 0));
        let content = disk.content(0, usize::try_from(DISK).unwrap());
        let shown = payload(7, 5000);
        assert!(!content.windows(16).any(|part| part == &shown[100..116]), "sealed");
    }
}

#[test]
fn a_full_spool_says_so_and_takes_more_once_something_was_released() {
    let disk = SimDisk::new(DISK);
    let mut spool = made(&disk);
    let mut random = Random::new(5);
    let (mut appended, mut read, mut full) = (0, 0, 0);
    let mut at = spool.head();
    // Many times around.
    while appended < 3000 {
        match spool.append(&payload(appended, length(&mut random))) {
            Ok(_) => appended += 1,
            Err(error) => {
                assert!(matches!(error, SpoolError::Full(..)), "{error}");
                assert!(!error.wants_format());
                full += 1;
                for _ in 0..=random.below(60) {
                    match spool.read(at).unwrap() {
                        Read::Record { payload, after } => {
                            assert_eq!(number_of(&payload), read);
                            (read, at) = (read + 1, after);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                spool.release(at).unwrap();
            }
        }
        assert!(spool.usage().used <= spool.usage().bytes);
    }
    assert!(full > 20, "{full}");
    assert!(spool.tail.position > 3 * spool.usage().bytes);
    let mut rest = all(&mut spool);
    assert_eq!(rest, ((read..appended).collect(), 0));
    spool.sync().unwrap();
    rest = all(&mut open(&disk, 77));
    assert_eq!(rest, ((read..appended).collect(), 0));
    assert!(disk.counts().discards > 10, "what was released is given back");
}

#[test]
fn marks_of_what_is_gone_or_not_there_yet_are_refused() {
    let disk = SimDisk::new(DISK);
    let mut spool = made(&disk);
    let first = spool.head();
    let mark = spool.append(&payload(0, 10)).unwrap();
    assert_eq!(spool.read(mark), Ok(Read::End));
    spool.release(mark).unwrap();
    assert_eq!(spool.read(first), Err(SpoolError::Mark));
    let beyond = Mark { position: mark.position + 4096, number: 2 };
    assert_eq!(spool.read(beyond), Err(SpoolError::Mark));
    assert_eq!(spool.release(beyond), Err(SpoolError::Mark));
    let large = usize::try_from(RECORD_BYTES_MAX).unwrap() - record::HEADER_BYTES;
    assert_eq!(spool.append(&vec![1; large + 1]), Err(SpoolError::Large(large + 1)));
    assert!(spool.append(&payload(1, large)).is_ok());
    assert!(spool.append(&[]).is_ok(), "a record may be empty");
}

#[test]
fn other_keys_other_appliances_and_other_disks_are_refused_with_words() {
    let disk = SimDisk::new(DISK);
    assert_eq!(refusal(&disk, &owner(1)), SpoolError::None);
    drop(made(&disk));
    let before = disk.content(0, 1 << 20);
    let lost = Owner { key: SecretKey::from_bytes([7; 32]), ..owner(1) };
    assert_eq!(refusal(&disk, &lost), SpoolError::Key);
    assert_eq!(refusal(&disk, &owner(5)), SpoolError::Foreign);
    assert_eq!(disk.content(0, 1 << 20), before, "who is refused changes nothing");
    for error in [SpoolError::Key, SpoolError::Foreign, SpoolError::None] {
        assert!(error.wants_format() && error.to_string().contains("format"), "{error}");
    }
    let small = SimDisk::new(DISK - 512);
    let error = format(small.reopen(), &owner(1), &SimEntropy::new(1)).unwrap_err();
    assert_eq!(error, SpoolError::Small(DISK - 512));
    assert_eq!(refusal(&small, &owner(1)), SpoolError::None);
    let mut later = look(disk.reopen()).unwrap().write(&owner(1));
    later[8] = 2;
    let sum = pipeline::seal::digest(&[&later[..96]]).0;
    later[96..].copy_from_slice(&sum);
    disk.load(0, &later);
    disk.load(DISK - 4096, &later);
    assert_eq!(refusal(&disk, &owner(1)), SpoolError::Version(2));
}

#[test]
fn a_disk_that_grew_is_taken_and_one_that_shrank_is_not() {
    let content = |disk: &SimDisk, bytes: u64| disk.content(0, usize::try_from(bytes).unwrap());
    let disk = SimDisk::new(DISK + (8 << 20) + 512);
    let mut spool = made(&disk);
    spool.append(&payload(0, 9)).unwrap();
    spool.sync().unwrap();
    let grown = SimDisk::new(2 * DISK);
    grown.load(0, &content(&disk, DISK + (8 << 20) + 512));
    assert_eq!(all(&mut open(&grown, 4)), (vec![0], 0));
    let shrunk = SimDisk::new(DISK + (8 << 20));
    shrunk.load(0, &content(&disk, DISK + (8 << 20)));
    let error = refusal(&shrunk, &owner(1));
    assert_eq!(error, SpoolError::Shrunk(DISK + (8 << 20) + 512, DISK + (8 << 20)));
    assert!(error.wants_format());
}

#[test]
fn formatting_clears_what_others_find_at_both_ends() {
    let disk = SimDisk::new(DISK + 512);
    let bytes = usize::try_from(DISK + 512).unwrap();
    disk.load(0, &vec![0xAB; bytes]);
    let mut spool = made(&disk);
    let content = disk.content(0, bytes);
    assert!(content[4096..64 * 1024].iter().all(|byte| *byte == 0), "ext4, LVM, LUKS, GPT");
    let end = bytes - (1 << 20);
    assert!(content[end..bytes - 4608].iter().all(|byte| *byte == 0), "md, ZFS");
    assert!(content[bytes - 512..].iter().all(|byte| *byte == 0), "the spare GPT");
    assert_eq!(all(&mut spool), (vec![], 0), "what lay in the log is nothing");
}

#[test]
fn a_disk_of_eight_tebibytes_is_made_and_opened_with_few_requests() {
    let disk = SimDisk::with_sectors(8 << 40, Sectors::Large);
    drop(made(&disk));
    let before = disk.counts();
    let mut spool = open(&disk, 4);
    let after = disk.counts();
    assert!(after.read_bytes - before.read_bytes < 2 * layout::UNSYNCED_BYTES_MAX);
    assert!(disk.held_bytes() < 4 << 20);
    assert!(spool.append(&payload(1, 1 << 20)).is_ok());
    assert!(spool.usage().bytes > (8 << 40) - (4 << 20));
}

#[test]
fn after_a_failed_write_or_flush_nothing_is_taken_until_it_is_opened_again() {
    let broken = [
        Faults { write_error_per_million: 1_000_000, ..Faults::default() },
        Faults { flush_error_per_million: 1_000_000, ..Faults::default() },
        Faults { vanish_after_requests: Some(1), ..Faults::default() },
    ];
    for (seed, faults) in (10..).zip(broken) {
        let disk = SimDisk::new(DISK);
        let mut spool = made(&disk);
        spool.append(&payload(0, 9)).unwrap();
        spool.sync().unwrap();
        disk.set_faults(faults);
        let failed = spool.append(&payload(1, 9)).and_then(|_| spool.sync());
        assert!(matches!(failed, Err(SpoolError::Device(_))), "{failed:?}");
        disk.set_faults(Faults::default());
        assert!(matches!(spool.append(&payload(2, 9)), Err(SpoolError::Device(_))));
        assert!(matches!(spool.sync(), Err(SpoolError::Device(_))));
        let (numbers, missing) = all(&mut open(&disk, seed));
        assert!(numbers.starts_with(&[0]) && numbers.len() <= 2 && missing == 0, "{numbers:?}");
    }
}
