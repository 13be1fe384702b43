//! Whatever is written, in whatever pieces and from whatever threads: the overlay reads as a plain array would, the base stays.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use hal_sim::random::Random;

use super::*;

/// Not a whole number of blocks, as disks are not always.
const BYTES: usize = 20 * BLOCK_BYTES + 1536;

fn base(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    random.fill(&mut bytes[..8 * BLOCK_BYTES]);
    bytes
}

/// A file that is gone when it is closed.
fn scratch_file() -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("lifeboat-overlay-{}-{next}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn range(random: &mut Random) -> (u64, usize) {
    let offset = random.below(BYTES as u64 - 1);
    let most = if random.below(4) == 0 { 5 * BLOCK_BYTES as u64 } else { 5000 };
    let length = 1 + random.below(most.min(BYTES as u64 - offset));
    (offset, usize::try_from(length).unwrap())
}

fn reads_as_an_array(scratch: Scratch, seed: u64) {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let base = base(&mut random);
    let mut model = base.clone();
    let mut touched = vec![false; BYTES.div_ceil(BLOCK_BYTES)];
    let overlay = Overlay::new(base.clone(), scratch);
    for _ in 0..600 {
        let (offset, length) = range(&mut random);
        let at = usize::try_from(offset).unwrap();
        let mut touch = || {
            touched[at / BLOCK_BYTES..=(at + length - 1) / BLOCK_BYTES].fill(true);
        };
        match random.below(4) {
            0 => {
                touch();
                random.fill(&mut model[at..at + length]);
                overlay.write_at(offset, &model[at..at + length]).unwrap();
            }
            1 => {
                touch();
                model[at..at + length].fill(0);
                overlay.zero_at(offset, length as u64).unwrap();
            }
            _ => {
                let mut read = vec![0xAA; length];
                overlay.read_at(offset, &mut read).unwrap();
                assert!(read == model[at..at + length], "{length} bytes at {offset}");
            }
        }
    }
    let mut read = vec![0; BYTES];
    overlay.read_at(0, &mut read).unwrap();
    assert!(read == model);
    assert!(*overlay.base() == base, "the base is as it was");
    let changed: Vec<u64> =
        (0..).zip(&touched).filter_map(|(number, touched)| touched.then_some(number)).collect();
    assert_eq!(overlay.changed(), changed);
    overlay.flush().unwrap();
}

#[test]
fn an_overlay_reads_as_an_array_that_was_written_to() {
    for seed in 1..=8 {
        reads_as_an_array(Scratch::Memory { bytes_max: u64::MAX }, seed);
        reads_as_an_array(Scratch::File(scratch_file()), seed);
    }
}

#[test]
fn writers_of_parts_of_one_block_lose_nothing_of_each_other() {
    for scratch in [Scratch::Memory { bytes_max: u64::MAX }, Scratch::File(scratch_file())] {
        let overlay = Arc::new(Overlay::new(vec![0xFF; 2 * BLOCK_BYTES], scratch));
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let overlay = Arc::clone(&overlay);
                scope.spawn(move || {
                    for at in (usize::from(writer)..2 * BLOCK_BYTES / 64).step_by(8) {
                        overlay.write_at(at as u64 * 64, &[writer; 64]).unwrap();
                    }
                });
            }
        });
        let mut read = vec![0; 2 * BLOCK_BYTES];
        overlay.read_at(0, &mut read).unwrap();
        for (at, piece) in read.chunks(64).enumerate() {
            assert_eq!(piece, [u8::try_from(at % 8).unwrap(); 64], "piece {at}");
        }
    }
}

#[test]
fn memory_has_a_limit_and_zeros_cost_nothing_of_it() {
    let limit = Scratch::Memory { bytes_max: 2 * BLOCK };
    let overlay = Overlay::new(vec![7; 100 * BLOCK_BYTES], limit);
    overlay.zero_at(0, 100 * BLOCK).unwrap();
    overlay.write_at(5, b"one").unwrap();
    overlay.write_at(BLOCK, b"two").unwrap();
    overlay.write_at(7, b"one again").unwrap();
    assert!(!overlay.was_full());
    let error = overlay.write_at(9 * BLOCK, b"three").unwrap_err();
    assert!(overlay.was_full(), "whatever becomes of the error");
    assert!(error.to_string().contains("--overlay FILE"), "{error}");
    let mut read = [1; 3];
    overlay.read_at(9 * BLOCK, &mut read).unwrap();
    assert_eq!(read, [0; 3], "what was refused was not written");
    overlay.zero_at(0, BLOCK).unwrap();
    overlay.write_at(9 * BLOCK, b"three").unwrap();
}

#[test]
fn nothing_past_the_end_and_a_full_scratch_is_said() {
    let overlay = Overlay::new(vec![0; 1000], Scratch::Memory { bytes_max: BLOCK });
    assert!(overlay.write_at(999, b"ab").is_err());
    assert!(overlay.write_at(u64::MAX, b"ab").is_err());
    assert!(overlay.zero_at(1, 1000).is_err());
    assert!(overlay.read_at(1000, &mut [0]).is_err());
    overlay.write_at(1000, b"").unwrap();
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    let overlay = Overlay::new(vec![0; 1000], Scratch::File(full));
    let error = overlay.write_at(0, b"a").unwrap_err();
    assert!(error.to_string().contains("is full"), "{error}");
    assert!(overlay.was_full(), "whatever becomes of the error");
}
