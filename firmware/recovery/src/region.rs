//! What an order needs of Azure: its control plane, disks to write to, and a look at what was started.

use core::time::Duration;

use pipeline_azure::Secret;
use pipeline_azure::arm::client::ControlPlane;
use pipeline_azure::arm::{Answer, Call, Operation, Progress, Refused};

/// A place where servers are brought back: Azure, or what stands in for it in a test.
///
/// Calls come back at once; what takes longer is an operation, which can be stored and looked at after a restart.
pub trait Region: Send + Sync {
    /// Sends a call. Errors: the region's refusal, in words that say what to change.
    fn call(&self, call: &Call) -> Result<Answer, Refused>;

    /// How far an operation is. Errors: it could not be asked for; one that failed is an answer.
    fn look(&self, operation: &Operation) -> Result<Progress, Refused>;

    /// What stands at an address that the region gave out, such as a console log or a screenshot, at most `bytes_max` of it.
    fn read(&self, address: &Secret, bytes_max: u64) -> Result<Vec<u8>, Refused>;

    /// Waits, so that simulated time is possible.
    fn pause(&self, time: Duration);
}

impl Region for ControlPlane {
    fn call(&self, call: &Call) -> Result<Answer, Refused> {
        ControlPlane::call(self, call)
    }

    fn look(&self, operation: &Operation) -> Result<Progress, Refused> {
        ControlPlane::look(self, operation)
    }

    fn read(&self, address: &Secret, bytes_max: u64) -> Result<Vec<u8>, Refused> {
        ControlPlane::read(self, address, bytes_max)
    }

    fn pause(&self, time: Duration) {
        ControlPlane::pause(self, time);
    }
}
