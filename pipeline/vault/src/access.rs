//! What every operation on a vault is handed: where the objects are, the keys, the clocks, the randomness.

use std::sync::Arc;

use hal::time::{Clock, Entropy};
use pipeline::ids::VaultId;

use crate::error::Error;
use crate::keys::KeySource;
use crate::store::BlobStore;

/// An opened vault, as far as one operation needs it. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    /// Where the objects are.
    pub store: Arc<dyn BlobStore>,
    /// Which vault.
    pub vault: VaultId,
    /// What opens its objects: the key ring, or a ticket.
    pub keys: Arc<dyn KeySource>,
    /// This machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// This machine's randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Access {
    /// Sixteen unpredictable bytes: a new identity.
    pub fn random_id(&self) -> Result<[u8; 16], Error> {
        let mut id = [0; 16];
        self.fill(&mut id)?;
        Ok(id)
    }

    /// Fills bytes with randomness.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        self.entropy.fill(bytes).map_err(|error| Error::device("this machine", error.to_string()))
    }
}
