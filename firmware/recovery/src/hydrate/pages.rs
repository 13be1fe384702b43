//! What a page blob can do, as far as a disk needs it; and a page blob whose address is renewed when it expires.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use pipeline_vault::Error;

/// The unit of a page blob.
pub const PAGE_BYTES: u64 = 512;
/// Longest Put Page.
pub const PUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a request to a page blob failed.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a new address helps, or it does not")]
pub enum Trouble {
    /// The signature in its address is not good any more: with a new one the same may work.
    Expired(Error),
    /// Trying again was of no use, or cannot be.
    Failed(Error),
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let (Trouble::Expired(error) | Trouble::Failed(error)) = trouble;
        error
    }
}

/// A page blob. Calls block, try again what may pass, and are safe from many threads at once.
pub trait Pages: Send + Sync {
    /// Its length.
    fn bytes(&self) -> Result<u64, Trouble>;

    /// Puts whole pages, at most `PUT_BYTES_MAX` of them.
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble>;

    /// Whole pages read as zeros afterwards, and hold nothing.
    fn clear(&self, offset: u64, bytes: u64) -> Result<(), Trouble>;

    /// Fills all of `into`.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Trouble>;

    /// Ranges of pages that hold something between two bytes, as (start, end), in order.
    fn ranges(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Trouble>;
}

/// Gives the blob at a fresh address; told which number of address this is, from 1.
pub type Renew = dyn Fn(u64) -> Result<Arc<dyn Pages>, Error> + Send + Sync;

/// How often the address may be renewed without one request in between that worked.
const RENEWALS_MAX: u32 = 3;

/// A page blob behind addresses that expire.
pub struct Renewing {
    now: RwLock<(u64, Arc<dyn Pages>)>,
    renew: Box<Renew>,
    /// Held by the one who renews; how often in a row it was of no use.
    vain: Mutex<u32>,
}

impl Renewing {
    /// The blob at its first address.
    pub fn new(first: Arc<dyn Pages>, renew: Box<Renew>) -> Self {
        Self { now: RwLock::new((0, first)), renew, vain: Mutex::new(0) }
    }

    fn now(&self) -> (u64, Arc<dyn Pages>) {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        (now.0, Arc::clone(&now.1))
    }

    fn with<T>(&self, mut act: impl FnMut(&dyn Pages) -> Result<T, Trouble>) -> Result<T, Trouble> {
        loop {
            let (number, pages) = self.now();
            match act(&*pages) {
                Err(Trouble::Expired(error)) => self.replace(number, error)?,
                Err(trouble) => return Err(trouble),
                Ok(done) => {
                    let mut vain = self.vain.lock().unwrap_or_else(PoisonError::into_inner);
                    *vain = 0;
                    return Ok(done);
                }
            }
        }
    }

    /// Many requests find out at once that an address has expired: one of them renews it.
    fn replace(&self, number: u64, error: Error) -> Result<(), Trouble> {
        let mut vain = self.vain.lock().unwrap_or_else(PoisonError::into_inner);
        if self.now().0 != number {
            return Ok(());
        }
        if *vain == RENEWALS_MAX {
            return Err(Trouble::Failed(error));
        }
        *vain += 1;
        let fresh = (self.renew)(number + 1).map_err(Trouble::Failed)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (number + 1, fresh);
        Ok(())
    }
}

impl Pages for Renewing {
    fn bytes(&self) -> Result<u64, Trouble> {
        self.with(|pages| pages.bytes())
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        self.with(|pages| pages.put(offset, bytes))
    }

    fn clear(&self, offset: u64, bytes: u64) -> Result<(), Trouble> {
        self.with(|pages| pages.clear(offset, bytes))
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Trouble> {
        self.with(|pages| pages.read(offset, into))
    }

    fn ranges(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Trouble> {
        self.with(|pages| pages.ranges(from, to))
    }
}
