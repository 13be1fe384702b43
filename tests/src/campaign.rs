//! Seeded mutations of a corpus, for a number of rounds or for a time.

use hal::time::Clock;
use hal_linux::SystemClock;
use hal_sim::random::Random;

/// Says which mutation it was when a check panics.
struct Round<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: LIFEBOAT_FUZZ_SEED={} repeats this", self.name, self.seed);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Hands `check` mutations of the corpus: so many rounds in CI, or as long as the environment says.
pub fn mutate(
    name: &str,
    rounds: u64,
    corpus: &[Vec<u8>],
    mut check: impl FnMut(&[u8], &mut Random),
) {
    assert!(!corpus.is_empty(), "{name}: nothing to mutate");
    let began = SystemClock.monotonic_nanos();
    let limit = number("LIFEBOAT_FUZZ_SECONDS").map(|seconds| seconds * 1_000_000_000);
    let repeat = number("LIFEBOAT_FUZZ_SEED");
    let first = match (repeat, limit) {
        (Some(seed), _) => seed,
        (None, Some(_)) => SystemClock.now().0 << 20,
        (None, None) => 1,
    };
    let mut done = 0;
    for seed in first.. {
        let over = match limit {
            Some(nanos) => SystemClock.monotonic_nanos() - began > nanos,
            None => done >= rounds,
        };
        if done > 0 && (over || repeat.is_some()) {
            break;
        }
        let round = Round { name, seed };
        let mut random = Random::new(seed);
        let bytes = mutation(corpus, &mut random);
        check(&bytes, &mut random);
        drop(round);
        done += 1;
    }
    if limit.is_some() {
        eprintln!("{name}: {done} mutations from seed {first}");
    }
}

fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit.max(1) as u64)).expect("below a usize")
}

/// One object of the corpus with a few things done to it.
fn mutation(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[below(random, corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = below(random, bytes.len());
        match random.below(9) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => bytes[at] = random.number().to_le_bytes()[0],
            3 => bytes.truncate(at),
            4 => bytes.insert(at, random.number().to_le_bytes()[0]),
            5 => edge(&mut bytes, at, random),
            6 => {
                let end = (at + below(random, 40)).min(bytes.len());
                bytes.drain(at..end);
            }
            7 => {
                let end = (at + below(random, 64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let place = below(random, bytes.len() + 1);
                bytes.splice(place..place, part);
            }
            _ => {
                // The head of one object and the tail of another.
                let other = &corpus[below(random, corpus.len())];
                let cut = below(random, other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[cut..]);
            }
        }
    }
    bytes
}

/// A number at the edge of its range, where lengths and counts go wrong.
fn edge(bytes: &mut [u8], at: usize, random: &mut Random) {
    let values = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX >> 1, u64::MAX];
    let value = values[below(random, values.len())].to_le_bytes();
    let width = 1 << random.below(4);
    for (byte, value) in bytes.iter_mut().skip(at).take(width).zip(value) {
        *byte = value;
    }
}
