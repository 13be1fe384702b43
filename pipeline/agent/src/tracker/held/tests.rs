//! What is held, against a model that keeps every block with the cut that it is part of.

use std::collections::BTreeMap;

use hal_sim::random::Random;

use super::*;
use crate::tracker::layout::blocks_of;

type Memory = Vec<AtomicU64>;

fn memory(blocks: &[u64]) -> Memory {
    (0..words_for(blocks)).map(|_| AtomicU64::new(0)).collect()
}

fn copied(held: &Held<Memory>) -> Memory {
    held.words.iter().map(|word| AtomicU64::new(word.load(Ordering::SeqCst))).collect()
}

fn record(key: u32, blocks: u64) -> DiskRecord {
    DiskRecord {
        key,
        bytes: blocks << 16,
        identity: 7,
        sequence: 9,
        surplus: Some(3),
        troubles: [1, 2, 3],
    }
}

fn held(blocks: &[u64]) -> Held<Memory> {
    let records: Vec<DiskRecord> =
        (1..).zip(blocks).map(|(key, blocks)| record(key, *blocks)).collect();
    Held::begin(memory(blocks), &records, blocks.to_vec()).unwrap()
}

fn all(held: &Held<Memory>, disk: usize) -> BlockSet {
    let mut all = BlockSet::new(held.blocks[disk]);
    held.all(disk, &mut all);
    all
}

#[test]
fn what_is_taken_is_held_until_its_cut_is_in_the_vault() {
    let held = held(&[100, 1000]);
    held.note(0, 3, 4);
    held.note(1, 3, 900);
    held.cut(1);
    held.note(0, 50, 51);
    held.vaulted(1);
    assert_eq!(all(&held, 0).iter().collect::<Vec<_>>(), [50, 51], "two blocks share a bit");
    assert!(all(&held, 1).is_empty());
    held.vaulted(1);
    held.cut(2);
    assert!(!all(&held, 0).is_empty());
    held.vaulted(2);
    assert!(all(&held, 0).is_empty());
}

#[test]
fn another_life_finds_what_this_one_held() {
    let first = held(&[100, 77]);
    first.note(1, 10, 20);
    first.cut(5);
    first.note(1, 70, 90);
    assert!(!first.is_sent_whole(1), "nobody said so");
    first.set_sent_whole(1, true);
    first.set_record(1, &record(2, 77));
    let second = Held::adopt(copied(&first)).unwrap();
    assert_eq!(second.blocks, [100, 77]);
    assert_eq!(second.record(1), record(2, 77));
    assert_eq!([0, 1, 2].map(|disk| second.is_sent_whole(disk)), [false, true, false]);
    assert_eq!(
        all(&second, 1).iter().collect::<Vec<_>>(),
        [(10..20).collect::<Vec<_>>(), (70..77).collect()].concat()
    );
    assert!(!second.is_whole());
    second.set_whole();
    assert!(second.is_whole());
    let larger = held(&[10, 200]);
    assert!(!larger.is_sent_whole(1), "of other marks");
    larger.continue_from(1, &second, 1);
    assert_eq!([0, 1].map(|disk| larger.is_sent_whole(disk)), [false, true]);
    assert_eq!(all(&larger, 1).count(), 18, "the last bit of the smaller disk was for two blocks");
    larger.vaulted(5);
    assert_eq!(all(&larger, 1).count(), 8);
}

#[test]
fn any_words_end_in_an_answer() {
    let seed = 5;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..2000 {
        let whole = held(&[random.below(300), random.below(300)]);
        whole.note(0, 0, 10);
        let mut words = copied(&whole);
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(words.len().min(24) as u64)).unwrap();
            words[at] = AtomicU64::new(random.number() >> random.below(64));
        }
        words.truncate(usize::try_from(random.below(words.len() as u64 + 1)).unwrap());
        if let Ok(adopted) = Held::adopt(words) {
            for disk in 0..adopted.disks() {
                let mut set = BlockSet::new(10);
                adopted.note(disk, random.number() >> 8, u64::MAX);
                adopted.all(disk, &mut set);
            }
            adopted.set_sent_whole(usize::try_from(random.below(9)).unwrap(), true);
            adopted.cut(random.number());
            adopted.vaulted(random.number());
            adopted.resend(random.number());
        }
    }
}

/// Nothing is forgotten before its cut is in the vault, whatever the order, and after kills too.
#[test]
fn no_history_loses_a_block() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let blocks = 256;
        let mut held = held(&[blocks]);
        // Each block with the first cut that it is part of.
        let mut owed: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut last_cut, mut vaulted) = (0, 0);
        for step in 0..200 {
            match random.below(10) {
                0..=4 => {
                    let first = random.below(blocks);
                    let end = (first + 1 + random.below(20)).min(blocks);
                    held.note(0, first, end);
                    owed.extend((first..end).map(|block| (block, last_cut + 1)));
                }
                5 | 6 => {
                    last_cut += 1;
                    held.cut(last_cut);
                }
                7 | 8 => {
                    vaulted += random.below(last_cut - vaulted + 1);
                    held.vaulted(vaulted);
                    owed.retain(|_, cut| *cut > vaulted);
                }
                _ => {
                    // The agent is killed, or the spool is lost: all is sent again with the next cut.
                    held = Held::adopt(copied(&held)).unwrap();
                    held.resend(last_cut + 1);
                    owed.values_mut().for_each(|cut| *cut = last_cut + 1);
                }
            }
            let all = all(&held, 0);
            let lost: Vec<&u64> = owed.keys().filter(|block| !all.contains(**block)).collect();
            assert!(lost.is_empty(), "seed {seed}, step {step}: {lost:?}");
        }
        // And it does not keep them for ever.
        for _ in 0..3 {
            last_cut += 1;
            held.cut(last_cut);
            held.vaulted(last_cut);
        }
        assert!(all(&held, 0).is_empty(), "seed {seed}");
    }
    assert_eq!(blocks_of(1 << 40) / 8 / 1024 / 1024, 2);
    assert!(words_for(&[1 << 24]) * 8 < (2 << 20) + 4096, "2 MiB for 1 TiB");
}

#[test]
fn what_is_known_of_a_start_goes_over_to_larger_maps_and_no_further() {
    let old = held(&[100, 200]);
    assert_eq!((old.face(0), old.goes_on_from(0), old.has_ended()), (None, None, false));
    let face: [u8; 32] = core::array::from_fn(|at| u8::try_from(at * 7).unwrap());
    old.set_face(1, Some(&face));
    old.set_goes_on_from(1, Some(0));
    old.set_ended(true);
    assert_eq!((old.face(0), old.face(1), old.face(2)), (None, Some(face), None));
    assert_eq!(
        (old.goes_on_from(0), old.goes_on_from(1), old.goes_on_from(2)),
        (None, Some(0), None)
    );
    let new = held(&[400]);
    new.continue_from(0, &old, 1);
    assert_eq!((new.face(0), new.goes_on_from(0)), (Some(face), Some(0)));
    assert!(!new.has_ended(), "whoever goes on has not ended");
    new.set_face(0, None);
    new.set_goes_on_from(0, None);
    assert_eq!((new.face(0), new.goes_on_from(0)), (None, None));
    assert_eq!(Held::adopt(copied(&old)).unwrap().face(1), Some(face));
}
