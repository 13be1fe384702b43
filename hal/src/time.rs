//! Time and randomness as parameters: the rim of the program owns the real ones, everything else is
//! handed them.

/// Milliseconds since 1970-01-01 UTC, as the wall clock of this machine believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// Milliseconds of a clock that only runs forwards, since some start.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Moment(pub u64);

impl Moment {
    /// So many milliseconds later.
    #[must_use]
    pub fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this; 0 where it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A wall clock and a clock that only runs forwards.
pub trait Clock: Send + Sync {
    /// The wall clock: may jump either way.
    fn now(&self) -> UnixMillis;
    /// Nanoseconds since some start: never runs backwards.
    fn monotonic_nanos(&self) -> u64;
    /// The same in milliseconds.
    fn moment(&self) -> Moment {
        Moment(self.monotonic_nanos() / 1_000_000)
    }
}

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills all of `bytes` from the system's generator; a failure is fatal to whatever wanted a
    /// key.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable>;
}

/// The system gave no randomness; nothing that needs a key may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyUnavailable;

impl core::fmt::Display for EntropyUnavailable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(
            "the system's random generator gave no bytes: no key can be made on this machine now",
        )
    }
}

impl core::error::Error for EntropyUnavailable {}
