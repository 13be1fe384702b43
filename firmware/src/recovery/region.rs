//! Azure's control plane, and the page blobs behind its signatures, as orders want them.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use firmware_recovery::hydrate::pages::{Pages, Trouble};
use firmware_recovery::region::Region;
use pipeline_azure::Secret;
use pipeline_azure::arm::client::ControlPlane;
use pipeline_azure::arm::{Answer, Call, Operation, Progress, Refused};
use pipeline_azure::cloud::{COMMERCIAL, Cloud};
use pipeline_azure::pages::{PageBlob, PageError, PageOptions};
use pipeline_vault::Error;

use crate::session::Machine;
use crate::vault_uri::VaultUri;

/// Azure.
pub struct Azure(ControlPlane);

impl Azure {
    /// The control plane of the vault's cloud, or of the one that `LIFEBOAT_AZURE_CLOUD` names.
    ///
    /// Errors: no such cloud; credentials that cannot be read.
    pub fn open(vault: &VaultUri, machine: &Machine) -> Result<Self, Error> {
        let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
        let cloud = match (lookup("LIFEBOAT_AZURE_CLOUD"), vault) {
            (Some(name), _) => Cloud::named(&name).ok_or_else(|| {
                Error::misuse(format!("LIFEBOAT_AZURE_CLOUD «{name}»"), "is no cloud")
                    .remedy("give public, usgov or china")
            })?,
            (None, VaultUri::Azure(address)) => address.cloud(),
            (None, VaultUri::Directory(_)) => COMMERCIAL,
        };
        Ok(Self(ControlPlane::from_lookup(cloud, &lookup)?))
    }
}

impl Region for Azure {
    fn call(&self, call: &Call) -> Result<Answer, Refused> {
        self.0.call(call)
    }

    fn look(&self, operation: &Operation) -> Result<Progress, Refused> {
        self.0.look(operation)
    }

    fn read(&self, address: &Secret, bytes_max: u64) -> Result<Vec<u8>, Refused> {
        self.0.read(address, bytes_max)
    }

    fn pause(&self, time: Duration) {
        self.0.pause(time);
    }
}

/// A disk that is uploaded into. It remembers whether its signature ended.
pub struct SignedDisk {
    blob: PageBlob,
    expired: AtomicBool,
}

impl SignedDisk {
    /// The disk where a signature leads.
    pub fn open(signature: &Secret, options: &PageOptions) -> Result<Self, Error> {
        let blob = PageBlob::signed(signature, options)?;
        Ok(Self { blob, expired: AtomicBool::new(false) })
    }

    /// Whether the signature ended meanwhile.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    fn told(&self, error: PageError) -> Trouble {
        match error {
            PageError::Expired(error) => {
                self.expired.store(true, Ordering::Relaxed);
                Trouble::Expired(error)
            }
            PageError::Other(error) => Trouble::Failed(error),
        }
    }
}

impl Pages for SignedDisk {
    fn bytes(&self) -> Result<u64, Trouble> {
        self.blob.bytes().map_err(|error| self.told(error))
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        self.blob.write(offset, bytes).map_err(|error| self.told(error))
    }

    fn clear(&self, offset: u64, bytes: u64) -> Result<(), Trouble> {
        self.blob.clear(offset, bytes).map_err(|error| self.told(error))
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Trouble> {
        self.blob.read(offset, into).map_err(|error| self.told(error))
    }

    fn ranges(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Trouble> {
        let ranges = self.blob.ranges(from, to.saturating_sub(from));
        let ranges = ranges.map_err(|error| self.told(error))?;
        Ok(ranges.into_iter().map(|range| (range.offset, range.offset + range.bytes)).collect())
    }
}
