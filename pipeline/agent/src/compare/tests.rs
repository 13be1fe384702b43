//! Runs through simulated disks whose sessions are lost at any moment.

use hal_sim::random::Random;
use pipeline::seal::SecretKey;

use super::*;

/// Which blocks differ, and what the run found.
fn run(seed: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let mut random = Random::new(seed);
    let blocks = 1 + random.below(9000);
    let differ: BTreeSet<u64> = (0..random.below(400)).map(|_| random.below(blocks)).collect();
    let mut compare = Compare::new(Reason::Lost, blocks);
    let (mut found, mut question) = (BTreeSet::new(), 0_u32);
    let mut open: Vec<(u32, u64, u64)> = Vec::new();
    let mut steps = 0_u32;
    while !compare.is_done() {
        steps += 1;
        assert!(steps < 100_000, "seed {seed}: it never ends");
        match random.below(12) {
            0 => {
                compare.session_lost();
                open.clear();
            }
            1 => {
                if compare.leaf().is_some() {
                    compare.put_back();
                }
            }
            2..6 if !open.is_empty() => {
                let at = usize::try_from(random.below(open.len() as u64)).unwrap();
                let (question, first, count) = open.swap_remove(at);
                let mut bits = vec![0_u8; 32];
                for block in differ.range(first..first + count) {
                    let bit = block - first;
                    bits[usize::try_from(bit / 8).unwrap()] |= 1 << (bit % 8);
                }
                found.extend(compare.answered(question, &bits).unwrap());
                assert_eq!(compare.answered(question, &bits), None, "answered twice");
            }
            _ => {
                if let Some((first, count)) = compare.leaf() {
                    assert!(first + count <= blocks && count <= LEAF_BLOCKS);
                    question += 1;
                    compare.asked(question);
                    open.push((question, first, count));
                    assert!(open.len() <= QUESTIONS_MAX);
                }
            }
        }
        let (done, all) = compare.progress();
        assert!(done <= all && all == blocks);
    }
    assert_eq!(compare.progress(), (blocks, blocks));
    (differ, found)
}

#[test]
fn every_block_that_differs_is_found_however_often_the_session_is_lost() {
    for seed in 0..300 {
        let (differ, found) = run(seed);
        assert!(differ == found, "seed {seed}");
    }
}

#[test]
fn an_answer_that_is_too_short_wants_what_it_does_not_say() {
    let mut compare = Compare::new(Reason::Lost, 20);
    compare.leaf();
    compare.asked(1);
    assert_eq!(compare.answered(1, &[1]), Some([0].into_iter().chain(8..20).collect()));
}

#[test]
fn a_leaf_holds_fingerprints_and_zeros_for_zeros() {
    let maker = Fingerprinter::new(&SecretKey::from_bytes([7; 32]));
    let mut leaf = Leaf::new(256, 3);
    let content = vec![5; BLOCK_BYTES];
    leaf.fill(257, &content, &maker);
    leaf.fill(258, &vec![0; BLOCK_BYTES], &maker);
    // Beyond the leaf, and before it: nothing happens.
    leaf.fill(259, &content, &maker);
    leaf.fill(255, &content, &maker);
    let payload = leaf.payload();
    assert_eq!(payload.len(), 48);
    assert_eq!(payload[16..32], maker.of(&content).0);
    assert!(is_zero(&payload[..16]) && is_zero(&payload[32..]));
}
