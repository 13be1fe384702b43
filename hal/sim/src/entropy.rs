//! Seeded bytes behind the trait of the real generator: a clone gives the same stream as its
//! original from there on, as two machines do that were forked from one snapshot.

use std::sync::{Mutex, PoisonError};

use hal::time::{Entropy, EntropyUnavailable};

use crate::random::Random;

/// A generator that the seed fixes.
#[derive(Debug)]
pub struct SimEntropy {
    random: Mutex<Random>,
}

impl SimEntropy {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Mutex::new(Random::new(seed)) }
    }
}

impl Clone for SimEntropy {
    fn clone(&self) -> Self {
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { random: Mutex::new(random) }
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }
}

/// A machine whose generator gives nothing: whatever wants a key must stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyUnavailable> {
        Err(EntropyUnavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(entropy: &impl Entropy) -> [u8; 32] {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_fork_repeats_its_original_and_then_each_goes_on_alike() {
        let original = SimEntropy::new(7);
        let first = key(&original);
        let fork = original.clone();
        assert_eq!(key(&original), key(&fork));
        assert_eq!(key(&original), key(&fork));
        assert_ne!(key(&original), first);
        assert_eq!(key(&SimEntropy::new(7)), first);
        assert_ne!(key(&SimEntropy::new(8)), first);
        assert_eq!(NoEntropy.fill(&mut [0; 4]), Err(EntropyUnavailable));
    }
}
