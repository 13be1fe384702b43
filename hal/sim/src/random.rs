//! Seeded numbers: the same seed gives the same run on every machine. It refuses to be good enough
//! for keys.

/// `SplitMix64`, after Steele, Lea and Flood: tiny, and every seed is as good as any other.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A stream of numbers that the seed fixes.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The bias of a remainder is below 2^-40 for any limit a test uses.
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// True this often in a million.
    pub fn happens(&mut self, per_million: u32) -> bool {
        // A fault that cannot happen takes no number, so that adding one kind leaves the others'
        // run alone.
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// Fills all of `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let word = self.number().to_le_bytes();
            for (byte, from) in part.iter_mut().zip(word) {
                *byte = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_the_published_one() {
        // The first outputs of SplitMix64 for seed 1234567, as Vigna's reference program prints
        // them.
        let mut random = Random::new(1_234_567);
        let first = [random.number(), random.number(), random.number()];
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn odds_are_kept() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.happens(250_000)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!random.happens(0));
        assert!(random.happens(1_000_000));
        assert_eq!(random.below(0), 0);
    }
}
