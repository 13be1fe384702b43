//! The kernel's random generator: waits until it is seeded, then never falls short.

use hal::time::{Entropy, EntropyUnavailable};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// `getrandom(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        let mut left = bytes;
        while !left.is_empty() {
            match getrandom(&mut *left, GetRandomFlags::empty()) {
                Ok(0) => return Err(EntropyUnavailable),
                Ok(filled) => left = left.get_mut(filled..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => return Err(EntropyUnavailable),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fills_differ_and_no_part_stays_empty() {
        let (mut one, mut two) = (vec![0_u8; 100_000], vec![0_u8; 100_000]);
        SystemEntropy.fill(&mut one).unwrap();
        SystemEntropy.fill(&mut two).unwrap();
        assert_ne!(one, two);
        for part in one.chunks(64) {
            assert!(part.iter().any(|byte| *byte != 0), "64 zero bytes in a row");
        }
        SystemEntropy.fill(&mut []).unwrap();
    }
}
