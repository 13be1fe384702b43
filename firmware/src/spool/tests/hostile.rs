//! Any bytes in place of superblocks, checkpoints and records: an error, never a panic, and nothing believed that was
//! changed. The bytes of each, pinned.

use super::*;
use crate::spool::record::Headed;

fn keys() -> (Superblock, Identified) {
    let superblock = Superblock::for_disk([3; 16], owner(1).appliance, DISK).unwrap();
    (superblock, superblock.identify(&owner(1)))
}

fn record(keys: &Identified) -> Vec<u8> {
    let header =
        Header { kind: Kind::Record, position: 8192, number: 7, durable: 4096, opening: [9; 16] };
    let record = Record { header, span: 8192, parts: &[&[5; 4000], &[], &[5; 1000]] };
    let mut bytes = vec![0; 8192];
    record.write(keys, &keys.seal_key(&[9; 16]), &mut bytes);
    bytes
}

fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = usize::try_from(random.below(changed.len() as u64)).unwrap();
        changed[at] = u8::try_from(random.below(256)).unwrap();
    }
    if random.below(8) == 0 {
        changed.truncate(usize::try_from(random.below(changed.len() as u64)).unwrap());
    }
    changed
}

#[test]
fn no_changed_bytes_are_believed() {
    let (superblock, keys) = keys();
    let checkpoint = Checkpoint {
        sequence: 9,
        opening: [1; 16],
        head: Mark { position: 4096, number: 1 },
        tail: Mark { position: 40960, number: 5 },
    };
    let (first, second) = (superblock.write(&owner(1)), checkpoint.write(&keys));
    let third = record(&keys);
    assert_eq!(Checkpoint::read(&second, &keys), Some(checkpoint));
    let headed = Headed::read(&third, 8192, &keys).unwrap();
    assert_eq!((headed.span, headed.length, headed.header.number), (8192, 5000, 7));
    assert_eq!(headed.open(&third, &keys, Vec::new()), Some(vec![5; 5000]));
    assert_eq!(Headed::read(&third, 4096, &keys), None, "a record in another's place");
    let mut random = Random::new(2026);
    for _ in 0..20_000 {
        let changed = mutate(&first, &mut random);
        if changed != first {
            assert!(!matches!(Superblock::read(&changed), superblock::Read::Whole(..)));
        }
        let changed = mutate(&second, &mut random);
        if changed != second {
            assert_eq!(Checkpoint::read(&changed, &keys), None);
        }
        let changed = mutate(&third[..5096], &mut random);
        if changed != third[..5096] {
            let read = Headed::read(&changed, 8192, &keys);
            assert_eq!(read.and_then(|headed| headed.open(&changed, &keys, Vec::new())), None);
        }
    }
}

#[test]
fn sound_sums_over_nonsense_are_refused() {
    let (_, keys) = keys();
    let mut random = Random::new(6);
    let good = record(&keys);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        let at = 8 + usize::try_from(random.below(48)).unwrap();
        bytes[at] = u8::try_from(random.below(256)).unwrap();
        let sum = keys.sum(&bytes[..80]);
        bytes[80..96].copy_from_slice(&sum[..16]);
        if let Some(headed) = Headed::read(&bytes, 8192, &keys) {
            assert!(headed.span <= RECORD_BYTES_MAX || headed.header.kind == Kind::Skip);
            assert!(headed.open(&bytes, &keys, Vec::new()).is_none() || bytes == good);
        }
    }
    let checkpoint = Checkpoint::default().write(&keys);
    for _ in 0..20_000 {
        let mut bytes = checkpoint;
        for _ in 0..=random.below(3) {
            bytes[8 + usize::try_from(random.below(56)).unwrap()] =
                u8::try_from(random.below(256)).unwrap();
        }
        let sum = keys.sum(&bytes[..64]);
        bytes[64..].copy_from_slice(&sum);
        if let Some(read) = Checkpoint::read(&bytes, &keys) {
            assert!(
                read.head <= read.tail
                    && read.tail.position - read.head.position <= keys.log_bytes()
            );
        }
    }
}

#[test]
fn a_disk_of_rubbish_is_no_spool_and_rubbish_between_is_no_record() {
    let mut random = Random::new(12);
    for seed in 0..30 {
        let disk = SimDisk::new(DISK);
        if seed % 2 == 0 {
            let mut spool = made(&disk);
            (0..9).for_each(|number| drop(spool.append(&payload(number, 3000))));
            spool.sync().unwrap();
        }
        for _ in 0..20 {
            let mut rubbish = vec![0; 8192];
            random.fill(&mut rubbish);
            let most = if seed % 3 == 0 { 20 } else { 400 };
            disk.load(random.below(most) * 4096, &rubbish);
        }
        match Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(seed)) {
            Ok((mut spool, _)) => assert!(all(&mut spool).0.len() <= 9),
            Err(error) => assert!(error.wants_format(), "{error}"),
        }
    }
}

#[test]
fn the_bytes_do_not_change_by_accident() {
    let (superblock, keys) = keys();
    let checkpoint = Checkpoint { sequence: 9, ..Checkpoint::default() };
    let bytes: [&[u8]; 3] =
        [&superblock.write(&owner(1)), &checkpoint.write(&keys), &record(&keys)];
    let digests = bytes.map(|bytes| pipeline::seal::digest(&[bytes]).to_string());
    let pinned = [
        "809d506fab7d20421d4ce7ef42419c364fc044b77f9890d9fcebb70cf8d9638b",
        "942720ba413636b6861425751e25425815ee3520598fa84430aed8c171628c79",
        "5e7f6a9586967ddf6c18623dc89339d13fc4a99eb69bb41d272cb6689a779677",
    ];
    assert_eq!(digests, pinned);
}
