//! What an appliance tells an agent to do; changed live, without a new first copy.

use serde::{Deserialize, Serialize};

/// How a server is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How old the newest point in the vault may become before the next one is there too, seconds, 10 to 86 400.
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

/// No point need be younger than so many seconds.
pub const INTERVAL_SECONDS_MIN: u32 = 10;
/// Longest freeze that any policy may ask for, milliseconds: a server that is still for longer counts as down.
pub const FREEZE_LIMIT_MILLIS_MAX: u32 = 30_000;

impl Policy {
    /// The same within what an agent does, whoever asks for more.
    #[must_use]
    pub fn bounded(self) -> Self {
        let freeze_limit_millis = self.freeze_limit_millis.min(FREEZE_LIMIT_MILLIS_MAX);
        Self {
            interval_seconds: self.interval_seconds.max(INTERVAL_SECONDS_MIN),
            freeze_limit_millis,
            freeze_budget_millis: self.freeze_budget_millis.min(freeze_limit_millis),
            ..self
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_policy_stops_a_server_for_long_or_without_pause() {
        let asked = Policy {
            interval_seconds: 0,
            freeze_budget_millis: u32::MAX,
            freeze_limit_millis: u32::MAX,
            ..Policy::default()
        };
        let bounded = asked.bounded();
        assert_eq!(bounded.interval_seconds, INTERVAL_SECONDS_MIN);
        assert_eq!(bounded.freeze_limit_millis, FREEZE_LIMIT_MILLIS_MAX);
        assert_eq!(bounded.freeze_budget_millis, FREEZE_LIMIT_MILLIS_MAX);
        assert_eq!(Policy::default().bounded(), Policy::default());
    }
}
