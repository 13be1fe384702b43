//! Codecs there and back, the probe on noise and on what only looks like it, and hostile input.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::extent;
use crate::limits::{BLOCK_BYTES, EXTENT_BYTES_MAX};

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Compresses about as machine code does: phrases of a few hundred that come back, and numbers between them.
fn code(seed: u64, length: usize) -> Vec<u8> {
    let phrases = noise(1, 16 * 256);
    let dice = noise(seed, length);
    let phrase = |pick: &[u8]| {
        let start = usize::from(pick[0]) * 16;
        let end = start + 6 + usize::from(pick[1] % 10);
        [&phrases[start..end], &pick[2..4]].concat()
    };
    dice.chunks_exact(4).flat_map(phrase).take(length).collect()
}

fn codecs() -> impl Iterator<Item = Codec> {
    [Codec::Zstd, Codec::Deflate].into_iter().filter(|codec| codec.is_present())
}

fn levels(codec: Codec) -> &'static [i32] {
    match codec {
        Codec::Zstd => &[-7, -3, 1, 2, 3, 6, 9, 13],
        _ => &[1, 4, 9],
    }
}

#[test]
fn every_codec_and_level_comes_back_from_one_run_and_from_many() {
    let extent = code(1, EXTENT_BYTES_MAX);
    for codec in codecs() {
        let mut compressor = Compressor::new(codec, 1).unwrap();
        for &level in levels(codec) {
            compressor.set_level(level);
            assert_eq!(compressor.level(), level);
            for keep in [u16::MAX, 0b1011_0111_0101_1101, 0b1000_0000_0000_0001] {
                let runs = extent::runs(&extent, keep);
                let plain = runs.concat();
                let mut out = vec![0; plain.len()];
                let Outcome::Compressed { codec: used, len } = compressor.compress(&runs, &mut out)
                else {
                    panic!("{codec:?} {level} gave up")
                };
                assert_eq!(used, codec);
                let mut back = vec![0xEE; plain.len()];
                Decompressor::new().decompress(codec, &out[..len], &mut back).unwrap();
                assert!(back == plain, "{codec:?} {level} {keep:b}");
            }
        }
    }
}

#[test]
fn levels_are_taken_to_the_nearest_known_and_zero_to_one() {
    let mut compressor = Compressor::new(Codec::Deflate, 0).unwrap();
    assert_eq!(compressor.level(), 1);
    compressor.set_level(99);
    assert_eq!(compressor.level(), 9);
    if let Ok(mut compressor) = Compressor::new(Codec::Zstd, 0) {
        assert_eq!(compressor.level(), 1);
        compressor.set_level(-100);
        assert_eq!(compressor.level(), -7);
        compressor.set_level(i32::MAX);
        assert_eq!(compressor.level(), 19);
    }
    assert_eq!(Compressor::new(Codec::Stored, 5).unwrap().level(), 0);
}

#[test]
fn a_higher_level_is_really_used() {
    let extent = code(3, EXTENT_BYTES_MAX);
    for codec in codecs() {
        let mut sizes = Vec::new();
        let mut compressor = Compressor::new(codec, 1).unwrap();
        for level in [1, 9] {
            compressor.set_level(level);
            let mut out = vec![0; EXTENT_BYTES_MAX];
            let Outcome::Compressed { len, .. } = compressor.compress(&[&extent], &mut out) else {
                panic!("{codec:?} gave up")
            };
            sizes.push(len);
        }
        assert!(sizes[1] < sizes[0], "{codec:?} {sizes:?}");
    }
}

#[test]
fn what_does_not_fit_is_incompressible_and_the_next_frame_is_not_harmed() {
    let extent = code(1, EXTENT_BYTES_MAX);
    let mixed = [code(2, BLOCK_BYTES), noise(2, EXTENT_BYTES_MAX - BLOCK_BYTES)].concat();
    for codec in codecs() {
        let mut compressor = Compressor::new(codec, 1).unwrap();
        let mut out = vec![0; EXTENT_BYTES_MAX];
        for (plain, room) in [(&extent, 1000), (&extent, 0), (&mixed, mixed.len() / 2)] {
            let halves = plain.split_at(plain.len() / 2);
            assert_eq!(compressor.compress(&[plain], &mut out[..room]), Outcome::Incompressible);
            let pieces = [halves.0, halves.1];
            assert_eq!(compressor.compress(&pieces, &mut out[..room]), Outcome::Incompressible);
            compressor.set_level(2);
            let Outcome::Compressed { len, .. } = compressor.compress(&[&extent], &mut out) else {
                panic!("{codec:?} is stuck")
            };
            let mut back = vec![0; EXTENT_BYTES_MAX];
            Decompressor::new().decompress(codec, &out[..len], &mut back).unwrap();
            assert!(back == extent);
        }
    }
}

#[test]
fn noise_is_recognised_before_a_codec_sees_it() {
    for seed in 0..200 {
        let noise = noise(seed, EXTENT_BYTES_MAX);
        assert!(probe::Probe::default().is_noise(&[&noise]), "seed {seed}");
        let runs = extent::runs(&noise, 0x6B5D);
        assert!(probe::Probe::default().is_noise(&runs), "seed {seed}");
    }
}

#[test]
fn structure_anywhere_is_given_a_try() {
    let mut probe = probe::Probe::default();
    for block in 0..16 {
        let mut extent = noise(block, EXTENT_BYTES_MAX);
        let start = usize::try_from(block).unwrap() * BLOCK_BYTES;
        extent[start..start + BLOCK_BYTES].copy_from_slice(&code(block, BLOCK_BYTES));
        assert!(!probe.is_noise(&[&extent]), "one compressible block of sixteen");
    }
    let period = noise(1, 512).repeat(EXTENT_BYTES_MAX / 512);
    assert!(!probe.is_noise(&[&period]), "uniform counts, but it repeats");
    let base64: Vec<u8> = noise(2, EXTENT_BYTES_MAX).iter().map(|byte| b'0' + byte % 64).collect();
    assert!(!probe.is_noise(&[&base64]));
    let seven_bits: Vec<u8> = noise(3, EXTENT_BYTES_MAX).iter().map(|byte| byte & 0x7F).collect();
    assert!(!probe.is_noise(&[&seven_bits]));
    assert!(!probe.is_noise(&[&noise(4, 1000)]), "too short to judge");
    assert!(!probe.is_noise(&[]));
}

#[test]
fn hostile_input_is_an_error_or_other_bytes_but_never_a_panic() {
    let plain = code(5, 2 * BLOCK_BYTES);
    for codec in codecs() {
        let mut out = vec![0; plain.len()];
        let outcome = Compressor::new(codec, 1).unwrap().compress(&[&plain], &mut out);
        let Outcome::Compressed { len, .. } = outcome else { panic!("{codec:?} gave up") };
        let good = &out[..len];
        let mut decompressor = Decompressor::new();
        let mut back = vec![0; plain.len()];
        for length in (0..len).step_by(97) {
            assert!(decompressor.decompress(codec, &good[..length], &mut back).is_err());
        }
        let longer = [good, &[0; 3]].concat();
        assert!(decompressor.decompress(codec, &longer, &mut back).is_err());
        assert!(decompressor.decompress(codec, good, &mut back[1..]).is_err(), "too little room");
        let mut wide = vec![0; plain.len() + 1];
        assert!(decompressor.decompress(codec, good, &mut wide).is_err(), "shorter than asked for");
        for round in 0..1000_u64 {
            let dice = noise(round, 16);
            let at = usize::from(u16::from_le_bytes([dice[0], dice[1]])) % len;
            let mut bad = good.to_vec();
            bad[at] ^= dice[2] | 1;
            let _ = decompressor.decompress(codec, &bad, &mut back);
            let _ = decompressor.decompress(codec, &noise(round, at % 500), &mut back);
        }
        decompressor.decompress(codec, good, &mut back).unwrap();
        assert!(back == plain, "damage before does not harm what comes after");
    }
}

#[test]
fn a_stored_frame_is_its_content() {
    let mut decompressor = Decompressor::default();
    let mut out = [0; 3];
    decompressor.decompress(Codec::Stored, b"abc", &mut out).unwrap();
    assert_eq!(&out, b"abc");
    assert!(decompressor.decompress(Codec::Stored, b"ab", &mut out).is_err());
    assert!(decompressor.decompress(Codec::Stored, b"abcd", &mut out).is_err());
    let noise = noise(1, BLOCK_BYTES);
    let mut stored = Compressor::new(Codec::Stored, 1).unwrap();
    assert_eq!(stored.compress(&[&[0; 4096]], &mut vec![0; 4096]), Outcome::Incompressible);
    assert_eq!(stored.compress(&[&noise], &mut vec![0; BLOCK_BYTES]), Outcome::Incompressible);
}

#[test]
fn codec_numbers_are_those_on_disk() {
    for (byte, codec) in [(0, Codec::Stored), (1, Codec::Zstd), (2, Codec::Deflate)] {
        assert_eq!((codec as u8, Codec::from_byte(byte)), (byte, Some(codec)));
    }
    assert!((3..=u8::MAX).all(|byte| Codec::from_byte(byte).is_none()));
}

#[cfg(not(feature = "zstd"))]
#[test]
fn a_build_without_zstd_says_so() {
    assert_eq!(Compressor::new(Codec::Zstd, 1).err(), Some(Error::CodecMissing(Codec::Zstd)));
    let answer = Decompressor::new().decompress(Codec::Zstd, &[1], &mut [0]);
    assert_eq!(answer, Err(Error::CodecMissing(Codec::Zstd)));
}
