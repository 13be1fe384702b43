//! Time and chance as parameters, so that a test can hold the clock and throw the dice.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use core::time::Duration;

use pipeline_vault::Error;
use ring::rand::SecureRandom as _;

/// What a store needs of the world besides its network.
pub trait Surroundings: Send + Sync {
    /// This machine's date, in milliseconds since 1970; it may jump.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed moment; it never jumps.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn pause(&self, time: Duration);

    /// Fills the bytes with chance that nobody can guess.
    fn random(&self, into: &mut [u8]) -> Result<(), Error>;
}

/// This machine.
#[derive(Debug)]
pub struct Machine {
    started: Instant,
}

impl Machine {
    /// This machine, its stopwatch starting now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Surroundings for Machine {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self, into: &mut [u8]) -> Result<(), Error> {
        let filled = ring::rand::SystemRandom::new().fill(into);
        filled.map_err(|_| Error::device("random numbers", "cannot be had from the kernel"))
    }
}

/// A random number below `limit`, as evenly spread as waiting times need.
pub(crate) fn random_below(surroundings: &dyn Surroundings, limit: u64) -> Result<u64, Error> {
    let mut bytes = [0_u8; 8];
    surroundings.random(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes) % limit.max(1))
}

/// Sixteen random bytes: names of leases, uploads and requests.
pub(crate) fn random_name(surroundings: &dyn Surroundings) -> Result<[u8; 16], Error> {
    let mut bytes = [0_u8; 16];
    surroundings.random(&mut bytes)?;
    Ok(bytes)
}
