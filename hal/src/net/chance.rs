//! Numbers that spread waiting times and name exchanges: a seed goes in, so that a test repeats. No key is made of them.

/// `SplitMix64`, after Steele, Lea and Flood.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Numbers that the seed fixes.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number of 32 bits.
    pub fn word(&mut self) -> u32 {
        // The upper half, which a shift by 32 leaves alone in the lower one.
        u32::try_from(self.number() >> 32).unwrap_or(u32::MAX)
    }

    /// `millis`, a quarter of it more or less.
    pub fn around(&mut self, millis: u64) -> u64 {
        let quarter = millis / 4;
        millis - quarter + self.number() % (2 * quarter + 1)
    }
}
