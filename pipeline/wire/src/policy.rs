//! What an appliance tells an agent to do; changed live, without a new first copy.

use serde::{Deserialize, Serialize};

/// How a server is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Seconds between two points, 10 to 86 400.
    pub interval_seconds: u32,
    /// How long file systems may be frozen for a point, milliseconds.
    pub freeze_budget_millis: u32,
    /// How long at the very most, milliseconds: then they are thawed whatever happens.
    pub freeze_limit_millis: u32,
    /// Every so many-th point runs the hooks; 0 never.
    pub application_every: u32,
    /// Names of disks that are left out.
    pub left_out: Vec<String>,
    /// Bytes a second that reading everything may take from the disks; 0 for no limit.
    pub compare_bytes_per_second: u64,
    /// Bytes a second that the agent may send; 0 for no limit.
    pub send_bytes_per_second: u64,
    /// No points are made while this is set; tracking goes on.
    pub paused: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            interval_seconds: 60,
            freeze_budget_millis: 250,
            freeze_limit_millis: 5000,
            application_every: 0,
            left_out: Vec::new(),
            compare_bytes_per_second: 0,
            send_bytes_per_second: 0,
            paused: false,
        }
    }
}
