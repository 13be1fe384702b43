//! The state under power cuts, damage, lost keys and full slots.

use hal_sim::random::Random;
use hal_sim::{Faults, SimDisk, SimEntropy};
use serde::Deserialize;

use super::keys::InTheOpen;
use super::*;

const PARTITION: u64 = image_layout::disk::STATE_BYTES;
const SECTOR: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    number: u64,
    text: String,
}

fn kept(number: u64, length: usize) -> Kept {
    Kept { number, text: "x".repeat(length) }
}

fn open(disk: &SimDisk) -> (Store<SimDisk>, Found<Kept>) {
    Store::open(disk.reopen(), &mut InTheOpen, &SimEntropy::new(disk.counts().writes)).unwrap()
}

/// What a person has done with a partition that does not open.
fn begin(disk: &SimDisk) -> (Store<SimDisk>, Found<Kept>) {
    let entropy = SimEntropy::new(disk.counts().writes + 5000);
    Store::begin(disk.reopen(), &mut InTheOpen, &entropy).unwrap()
}

/// A partition with a few states written.
fn used() -> (SimDisk, SimEntropy) {
    let disk = SimDisk::new(PARTITION);
    let entropy = SimEntropy::new(1);
    let (mut store, found) = open(&disk);
    assert_eq!(found, Found { state: None, troubles: Vec::new() });
    for number in 1..=6 {
        store.write(&kept(number, 9000), &entropy).unwrap();
    }
    (disk, entropy)
}

#[test]
fn the_newest_state_is_found_again() {
    let (disk, _) = used();
    let (store, found) = open(&disk);
    assert_eq!((found.state, store.sequence), (Some(kept(6, 9000)), 6));
    assert!(found.troubles.is_empty());
    let content = disk.content(0, usize::try_from(PARTITION).unwrap());
    assert!(!content.windows(20).any(|part| part.iter().all(|byte| *byte == b'x')), "sealed");
}

/// The bytes that the next write would put on the disk, and where.
fn next_write(disk: &SimDisk, entropy: &SimEntropy) -> (u64, Vec<u8>) {
    let (store, _) = open(disk);
    let place = store.next_place();
    let header = Header { kind: Kind::State, sequence: store.sequence + 1 };
    let payload = postcard::to_allocvec(&kept(7, 9000)).unwrap();
    let bytes = slot::write(header, &payload, Some(&store.key), SLOT_BYTES, entropy).unwrap();
    (slot_offset(place), bytes)
}

#[test]
fn no_torn_write_loses_a_state() {
    let (disk, entropy) = used();
    let (offset, bytes) = next_write(&disk, &entropy);
    let sectors = bytes.len() / SECTOR;
    let before = disk.content(offset, bytes.len());
    let (mut old, mut new) = (0_u32, 0_u32);
    let mut try_with = |arrived: &dyn Fn(usize) -> bool| {
        let mut torn = before.clone();
        for sector in (0..sectors).filter(|sector| arrived(*sector)) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            torn[range.clone()].copy_from_slice(&bytes[range]);
        }
        disk.load(offset, &torn);
        match open(&disk).1.state {
            Some(state) if state == kept(6, 9000) => old += 1,
            Some(state) if state == kept(7, 9000) => new += 1,
            other => panic!("lost: {other:?}"),
        }
    };
    for cut in 0..=sectors {
        try_with(&|sector| sector < cut);
        try_with(&|sector| sector != cut);
    }
    let mut random = Random::new(2026);
    for _ in 0..5000 {
        let arrived: Vec<bool> = (0..sectors).map(|_| random.below(2) == 1).collect();
        try_with(&|sector| arrived[sector]);
    }
    assert!(old > 5000 && new >= 2, "{old} old, {new} new");
}

#[test]
fn after_any_power_cut_what_was_acknowledged_is_there() {
    let mut cuts = 0;
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(PARTITION);
        let entropy = SimEntropy::new(seed);
        let mut acknowledged = 0;
        for number in 1..=12_u64 {
            let Ok((mut store, found)) =
                Store::<SimDisk>::open::<Kept>(disk.reopen(), &mut InTheOpen, &entropy)
            else {
                panic!("seed {seed}: the partition does not open");
            };
            let read = found.state.map_or(0, |state| state.number);
            assert!(read >= acknowledged, "seed {seed}: {read} after {acknowledged}");
            let length = usize::try_from(random.below(40_000)).unwrap();
            let vanish = random.below(3) == 0;
            if vanish {
                // Gone between writing and flushing, or before both.
                let after = Some(random.below(3));
                disk.set_faults(Faults { seed, vanish_after_requests: after, ..Faults::default() });
            }
            if store.write(&kept(number, length), &entropy).is_ok() {
                acknowledged = number;
            }
            if vanish || random.below(2) == 0 {
                cuts += 1;
                disk.set_faults(Faults::default());
                disk.cut_power(seed.wrapping_mul(31) + number);
            }
        }
    }
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_damaged_slot_stays_as_evidence_until_two_good_writes() {
    let (disk, entropy) = used();
    // The newest state: what a person would want to rescue.
    let newest = slot_offset(1);
    disk.load(newest + 200, &[0xEE; 100]);
    let evidence = disk.content(newest, 4096);
    let (mut store, found) = open(&disk);
    assert_eq!(found.state, Some(kept(5, 9000)), "the one before");
    for number in 10..12 {
        store.write(&kept(number, 10), &entropy).unwrap();
        assert_eq!(disk.content(newest, 4096), evidence);
    }
    for number in 12..14 {
        store.write(&kept(number, 10), &entropy).unwrap();
    }
    assert_ne!(disk.content(newest, 4096), evidence, "its room is used again");
    assert_eq!(open(&disk).1.state, Some(kept(13, 10)));
}

#[test]
fn a_partition_of_rubbish_is_told_and_kept_aside() {
    let disk = SimDisk::new(PARTITION);
    let mut random = Random::new(4);
    let rubbish: Vec<u8> =
        (0..PARTITION).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    disk.load(0, &rubbish);
    let refused = open_with(&disk, SEALS).unwrap_err().to_string();
    assert!(refused.contains("both copies of its key are damaged"), "{refused}");
    assert!(disk.content(0, rubbish.len()) == rubbish, "not a byte was written");
    let (mut store, found) = begin(&disk);
    assert_eq!(found.state, None);
    assert!(found.troubles.iter().any(|line| line.contains("name the vault again")), "{found:?}");
    store.write(&kept(1, 5), &SimEntropy::new(8)).unwrap();
    let (_, found) = open(&disk);
    assert_eq!(found.state, Some(kept(1, 5)));
    let kept_aside = (0..SLOTS).filter(|place| {
        let offset = slot_offset(*place);
        let at = usize::try_from(offset).unwrap();
        disk.content(offset, 4096) == rubbish[at..at + 4096]
    });
    assert_eq!(kept_aside.count(), SLOTS - 1);
}

#[test]
fn one_copy_of_the_key_is_enough_and_without_both_it_is_told() {
    let (disk, entropy) = used();
    disk.load(layout::key_offset(0) + 100, &[1; 64]);
    let (_, found) = open(&disk);
    assert_eq!(found.state, Some(kept(6, 9000)));
    assert!(found.troubles[0].contains("copy 1"), "{found:?}");
    assert!(open(&disk).1.troubles.is_empty(), "it was written anew");
    disk.load(layout::key_offset(1) + 100, &[1; 64]);
    let (_, found) = open(&disk);
    assert!(found.troubles[0].contains("copy 2"), "{found:?}");
    assert_eq!((found.state, open(&disk).1.troubles.len()), (Some(kept(6, 9000)), 0));
    // A damaged first copy, and a key that is to be replaced: the new one goes over the second.
    disk.load(layout::key_offset(0) + 100, &[1; 64]);
    let before = disk.content(0, 8192);
    for moment in 0..40 {
        let disk_then = SimDisk::new(PARTITION);
        disk_then.load(0, &disk.content(0, usize::try_from(PARTITION).unwrap()));
        disk_then.set_faults(Faults { vanish_after_requests: Some(moment), ..Faults::default() });
        let _ = open_with(&disk_then, SEALS);
        disk_then.cut_power(moment);
        disk_then.set_faults(Faults::default());
        assert_eq!(open_with(&disk_then, SEALS).unwrap().state, Some(kept(6, 9000)), "{moment}");
    }
    assert!(disk.content(0, 8192) == before);
    disk.load(layout::key_offset(0) + 100, &[1; 64]);
    disk.load(layout::key_offset(1) + 100, &[1; 64]);
    assert!(matches!(open_with(&disk, SEALS), Err(StateError::Locked(_))));
    let (mut store, found) = begin(&disk);
    assert_eq!(found.state, None);
    assert!(found.troubles[0].contains("kept aside"), "{found:?}");
    store.write(&kept(9, 9), &entropy).unwrap();
    assert_eq!(open(&disk).1.state, Some(kept(9, 9)), "it goes on with a new key");
}

#[test]
fn what_is_too_much_is_refused_and_the_state_before_stays() {
    let (disk, entropy) = used();
    let (mut store, _) = open(&disk);
    let error = store.write(&kept(7, 1 << 20), &entropy).unwrap_err();
    assert!(error.to_string().contains("the state before stays in force"), "{error}");
    assert_eq!(open(&disk).1.state, Some(kept(6, 9000)));
    let small = SimDisk::new(1 << 20);
    let error =
        Store::<SimDisk>::open::<Kept>(small.reopen(), &mut InTheOpen, &entropy).err().unwrap();
    assert!(matches!(error, StateError::Small(_)), "{error}");
}

#[test]
fn a_medium_that_fails_is_told_and_costs_no_older_state() {
    let (disk, entropy) = used();
    let (mut store, _) = open(&disk);
    disk.set_faults(Faults { write_error_per_million: 1_000_000, ..Faults::default() });
    let error = store.write(&kept(7, 9), &entropy).unwrap_err();
    assert!(error.to_string().contains("plug the medium in again"), "{error}");
    disk.set_faults(Faults::default());
    assert_eq!(open(&disk).1.state, Some(kept(6, 9000)));
    store.write(&kept(8, 9), &entropy).unwrap();
    assert_eq!(open(&disk).1.state, Some(kept(8, 9)));
    // A sector that cannot be read is as good as damaged.
    let bad = slot_offset(0)..slot_offset(0) + 512;
    disk.set_faults(Faults { read_error_ranges: vec![bad], ..Faults::default() });
    assert!(open(&disk).1.state.is_some());
}

#[test]
fn last_words_are_kept_apart_from_the_state() {
    let (disk, entropy) = used();
    let (mut store, _) = open(&disk);
    assert_eq!(store.last_words().unwrap(), None);
    store.keep_words("the power button was pressed", &entropy).unwrap();
    store.keep_words(&"é".repeat(40_000), &entropy).unwrap();
    let (mut store, found) = open(&disk);
    assert_eq!(found.state, Some(kept(6, 9000)));
    let words = store.last_words().unwrap().unwrap();
    assert!(words.len() <= layout::WORDS_TEXT_MAX && words.starts_with("éé"));
    disk.load(WORDS_OFFSET + 300, &[0; 10]);
    assert_eq!(store.last_words().unwrap(), None, "torn words are none");
}

#[test]
fn a_partition_that_comes_back_is_known_and_any_other_is_left_alone() {
    let (disk, entropy) = used();
    let (store, _) = open(&disk);
    let (known, sequence) = (store.known(), store.sequence);
    drop(store);
    let reopen = |disk: &SimDisk, sequence| {
        Store::<SimDisk>::reopen::<Kept>(disk.reopen(), &Known { sequence, ..known.clone() })
    };
    let mut back = reopen(&disk, sequence).unwrap();
    back.write(&kept(7, 9), &entropy).unwrap();
    assert_eq!(open(&disk).1.state, Some(kept(7, 9)), "what was kept in memory is written");
    assert!(reopen(&disk, sequence).is_ok(), "a write that failed may have arrived");
    assert_eq!(reopen(&disk, sequence - 1).err(), Some(StateError::Ahead));
    // A copy of the image, a stick of another machine, a small one: not a byte is written.
    let blank = SimDisk::new(PARTITION);
    assert_eq!(reopen(&blank, sequence).err(), Some(StateError::Other));
    let other = SimDisk::new(PARTITION);
    drop(
        Store::<SimDisk>::open::<Kept>(other.reopen(), &mut InTheOpen, &SimEntropy::new(77))
            .unwrap(),
    );
    assert_eq!(reopen(&other, sequence).err(), Some(StateError::Other));
    assert_eq!(reopen(&SimDisk::new(4096), sequence).err(), Some(StateError::Other));
    assert_eq!((blank.counts().writes, other.counts().writes), (0, 2), "the key's two copies");
}

/// Opens what it sealed, by turning it round; or has no chip any more.
struct Chip {
    works: bool,
    seals: bool,
}

/// Sealed keys of its own are what it opens; it replaces those of the other.
struct Second {
    opens_older: bool,
    opens_newer: bool,
}

impl Keyring for Second {
    fn open(&mut self, ways: &[Way]) -> Result<SecretKey, String> {
        match ways.first() {
            Some(Way::Chip(_)) if self.opens_older => { SEALS }.open(ways),
            Some(Way::Passphrase(bytes)) if self.opens_newer => {
                { SEALS }.open(&[Way::Chip(bytes.clone())])
            }
            _ => Err("not here".to_owned()),
        }
    }

    fn keep(&mut self, key: &SecretKey) -> Result<Vec<Way>, String> {
        Ok(vec![Way::Passphrase(key.as_bytes().iter().map(|byte| !byte).collect())])
    }

    fn outgrown(&mut self, ways: &[Way]) -> bool {
        matches!(ways, [Way::Chip(_)])
    }
}

impl Keyring for Chip {
    fn open(&mut self, ways: &[Way]) -> Result<SecretKey, String> {
        let Some(Way::Chip(bytes)) = ways.first().filter(|_| self.works) else {
            return Err("another machine".to_owned());
        };
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| "no key".to_owned())?;
        Ok(SecretKey::from_bytes(key.map(|byte| !byte)))
    }

    fn keep(&mut self, key: &SecretKey) -> Result<Vec<Way>, String> {
        let turned = key.as_bytes().iter().map(|byte| !byte).collect();
        Ok(if self.seals { vec![Way::Chip(turned)] } else { Vec::new() })
    }

    fn outgrown(&mut self, ways: &[Way]) -> bool {
        self.seals && ways.is_empty()
    }
}

const SEALS: Chip = Chip { works: true, seals: true };

fn open_with(disk: &SimDisk, mut chip: Chip) -> Result<Found<Kept>, StateError> {
    let entropy = SimEntropy::new(disk.counts().writes);
    Store::open(disk.reopen(), &mut chip, &entropy).map(|(_, found)| found)
}

/// Whether these bytes lie anywhere on the partition.
fn holds(disk: &SimDisk, bytes: &[u8]) -> bool {
    let all = disk.content(0, usize::try_from(PARTITION).unwrap());
    all.windows(bytes.len()).any(|part| part == bytes)
}

#[test]
fn a_key_that_lay_in_the_open_is_replaced_and_a_cut_at_any_moment_costs_nothing() {
    let (whole, _) = used();
    let before = whole.content(0, usize::try_from(PARTITION).unwrap());
    let (store, _) = open(&whole);
    let (old, none) = (*store.key.as_bytes(), Vec::<String>::new());
    drop(store);
    let counts = whole.counts();
    let found = open_with(&whole, SEALS).unwrap();
    assert_eq!((found.state, found.troubles), (Some(kept(6, 9000)), none));
    let after = whole.counts();
    assert!(!holds(&whole, &old), "the old key is gone from the partition");
    let requests = (after.reads + after.writes + after.flushes)
        - (counts.reads + counts.writes + counts.flushes);
    for moment in 0..requests {
        for seed in 0..4 {
            let disk = SimDisk::new(PARTITION);
            disk.load(0, &before);
            let faults = Faults { vanish_after_requests: Some(moment), ..Faults::default() };
            disk.set_faults(faults);
            // What could be read in time is worked with, and it is told that the key is not replaced.
            if let Ok(found) = open_with(&disk, SEALS) {
                assert_eq!(found.state, Some(kept(6, 9000)), "moment {moment}");
                assert!(!found.troubles.is_empty(), "moment {moment}");
            }
            disk.cut_power(seed);
            disk.set_faults(Faults::default());
            let found = open_with(&disk, SEALS).unwrap();
            assert_eq!(found.state, Some(kept(6, 9000)), "moment {moment}, seed {seed}");
            let found = open_with(&disk, SEALS).unwrap();
            assert_eq!(found.state, Some(kept(6, 9000)), "moment {moment}, seed {seed}, again");
            assert!(found.troubles.is_empty(), "moment {moment}, seed {seed}: {found:?}");
            assert!(
                !holds(&disk, &old),
                "moment {moment}, seed {seed}: the old key is still there"
            );
        }
    }
}

/// Seen to fail where the work is finished although the older key does not open, and where the newer one alone is tried.
#[test]
fn a_replacement_that_was_cut_is_never_finished_over_what_does_not_open() {
    let (whole, _) = used();
    open_with(&whole, SEALS).unwrap();
    let size = usize::try_from(PARTITION).unwrap();
    let before = whole.content(0, size);
    let open = |disk: &SimDisk, opens_older, opens_newer| {
        let mut keyring = Second { opens_older, opens_newer };
        let entropy = SimEntropy::new(disk.counts().writes + 1000);
        Store::<SimDisk>::open::<Kept>(disk.reopen(), &mut keyring, &entropy)
            .map(|(_, found)| found)
    };
    let counts = whole.counts();
    assert_eq!(open(&whole, true, true).unwrap().state, Some(kept(6, 9000)));
    let after = whole.counts();
    let requests = (after.reads + after.writes + after.flushes)
        - (counts.reads + counts.writes + counts.flushes);
    let (mut locked, mut by_older, mut by_newer) = (0_u32, 0_u32, 0_u32);
    for moment in 0..requests {
        let disk = SimDisk::new(PARTITION);
        disk.load(0, &before);
        let faults = Faults { vanish_after_requests: Some(moment), ..Faults::default() };
        disk.set_faults(faults);
        let _ = open(&disk, true, true);
        disk.cut_power(moment);
        disk.set_faults(Faults::default());
        let cut = disk.content(0, size);
        match open(&disk, false, true) {
            Ok(found) => {
                by_newer += 1;
                assert_eq!(found.state, Some(kept(6, 9000)), "moment {moment}, the newer alone");
            }
            Err(StateError::Locked(_)) => {
                locked += 1;
                assert!(disk.content(0, size) == cut, "moment {moment}: it was written to");
            }
            Err(error) => panic!("moment {moment}: {error}"),
        }
        disk.load(0, &cut);
        match open(&disk, true, false) {
            Ok(found) => {
                let told = |line: &String| line.contains("the newer one does not open: not here");
                by_older += u32::from(found.troubles.iter().any(told));
                assert_eq!(found.state, Some(kept(6, 9000)), "moment {moment}, the older alone");
            }
            Err(StateError::Locked(_)) => {
                assert!(disk.content(0, size) == cut, "moment {moment}: it was written to");
            }
            Err(error) => panic!("moment {moment}: {error}"),
        }
        disk.load(0, &cut);
        assert_eq!(open(&disk, true, true).unwrap().state, Some(kept(6, 9000)), "moment {moment}");
    }
    let counted = (locked > 4, by_older > 4, by_newer > 4);
    assert_eq!(counted, (true, true, true), "{locked} {by_older} {by_newer} of {requests}");
}

/// Seen to fail where `Store::open` begins anew instead of telling.
#[test]
fn what_does_not_open_is_not_touched_until_a_person_says_so() {
    let (disk, entropy) = used();
    open_with(&disk, SEALS).unwrap();
    let all = disk.content(0, usize::try_from(PARTITION).unwrap());
    for seals in [true, false] {
        let refused = open_with(&disk, Chip { works: false, seals });
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("kept aside, unopened: another machine"), "{words}");
    }
    assert!(disk.content(0, all.len()) == all, "not a byte was written");
    assert_eq!(open_with(&disk, SEALS).unwrap().state, Some(kept(6, 9000)), "it opens again");
    let mut chip = Chip { works: false, seals: false };
    let (mut store, found) =
        Store::<SimDisk>::begin::<Kept>(disk.reopen(), &mut chip, &entropy).unwrap();
    assert_eq!(found.state, None);
    store.write(&kept(9, 9), &entropy).unwrap();
    assert_eq!(open(&disk).1.state, Some(kept(9, 9)));
}

/// Whom a person told how the key is to be kept.
struct Told(Result<Vec<Way>, String>);

impl Keyring for Told {
    fn open(&mut self, _: &[Way]) -> Result<SecretKey, String> {
        Err("never asked".to_owned())
    }

    fn keep(&mut self, _: &SecretKey) -> Result<Vec<Way>, String> {
        self.0.clone()
    }

    fn open_by_choice(&self) -> bool {
        self.0 == Ok(Vec::new())
    }

    fn outgrown(&mut self, _: &[Way]) -> bool {
        false
    }
}

#[test]
fn what_a_person_chose_for_the_key_is_kept_or_refused_and_nothing_weaker_takes_its_place() {
    let (disk, entropy) = used();
    open_with(&disk, SEALS).unwrap();
    let (mut store, found) =
        Store::<SimDisk>::open::<Kept>(disk.reopen(), &mut { SEALS }, &entropy).unwrap();
    let before = disk.content(0, 8192);
    let mut refuses = Told(Err("the chip is full".to_owned()));
    let error = store.replace_key(found.state.as_ref(), &mut refuses, &entropy).unwrap_err();
    assert!(error.to_string().contains("as you chose: the chip is full"), "{error}");
    assert!(disk.content(0, 8192) == before, "it was written to");
    assert!(matches!(store.ways(), [Way::Chip(_)]));
    // The open by choice: the chip, which would seal a key that lies there by itself, lets it be.
    store.replace_key(found.state.as_ref(), &mut Told(Ok(Vec::new())), &entropy).unwrap();
    drop(store);
    for _ in 0..2 {
        let (store, found) =
            Store::<SimDisk>::open::<Kept>(disk.reopen(), &mut { SEALS }, &entropy).unwrap();
        assert_eq!((store.ways().len(), found.state), (0, Some(kept(6, 9000))));
    }
}

#[test]
fn a_partition_is_known_by_what_lies_on_it() {
    let (disk, entropy) = used();
    let known = mark(&mut disk.reopen()).unwrap();
    assert_eq!(mark(&mut disk.reopen()), Ok(known));
    assert_ne!(mark(&mut SimDisk::new(PARTITION)), Ok(known));
    open(&disk).0.write(&kept(7, 1), &entropy).unwrap();
    assert_ne!(mark(&mut disk.reopen()), Ok(known));
}

#[test]
fn what_a_newer_version_wrote_is_told_and_kept_aside() {
    let (disk, entropy) = used();
    let (store, _) = open(&disk);
    let key = store.key.clone();
    drop(store);
    // A state of one more field; ways of a kind that comes later; a slot of a later format.
    let header = Header { kind: Kind::State, sequence: 9 };
    let newer = slot::write(header, &[0xFF; 40], Some(&key), SLOT_BYTES, &entropy).unwrap();
    let state = SimDisk::new(PARTITION);
    state.load(0, &disk.content(0, 8192));
    state.load(slot_offset(2), &newer);
    let header = Header { kind: Kind::Ways, sequence: 1 };
    let ways = slot::write(header, &[1, 77, 0], None, layout::KEY_BYTES, &entropy).unwrap();
    let mut later = slot::write(header, &[0; 32], None, layout::KEY_BYTES, &entropy).unwrap();
    later[..8].copy_from_slice(b"LBSTKEY3");
    let sum = digest(&[&later[..64], &later[96..128]]).0;
    later[64..96].copy_from_slice(&sum);
    for record in [&ways, &later] {
        for copy in 0..layout::KEY_COPIES {
            disk.load(layout::key_offset(copy), record);
        }
        let before = disk.content(0, 8192);
        assert_eq!(open_with(&disk, SEALS), Err(StateError::Newer));
        assert!(disk.content(0, 8192) == before);
    }
    assert_eq!(open_with(&state, SEALS), Err(StateError::Newer));
    assert!(state.content(slot_offset(2), newer.len()) == newer);
}
