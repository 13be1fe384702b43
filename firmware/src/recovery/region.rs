//! Azure's control plane as orders want it.

use core::time::Duration;

use firmware_recovery::region::Region;
use pipeline_azure::Secret;
use pipeline_azure::arm::client::ControlPlane;
use pipeline_azure::arm::{Answer, Call, Operation, Progress, Refused, Why};
use pipeline_azure::cloud::{COMMERCIAL, Cloud};
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

/// No Azure at all: what is done on this machine asks nothing of it, and whatever would is refused.
pub struct Nowhere;

impl Nowhere {
    fn refused(act: &str) -> Refused {
        let words = "is nothing that a drill on this machine may do".to_owned();
        let code = String::new();
        Refused { why: Why::Denied, code, act: act.to_owned(), words, retry_after: None }
    }
}

impl Region for Nowhere {
    fn call(&self, call: &Call) -> Result<Answer, Refused> {
        Err(Self::refused(&call.act))
    }

    fn look(&self, _: &Operation) -> Result<Progress, Refused> {
        Err(Self::refused("an operation of Azure's"))
    }

    fn read(&self, _: &Secret, _: u64) -> Result<Vec<u8>, Refused> {
        Err(Self::refused("an address of Azure's"))
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
