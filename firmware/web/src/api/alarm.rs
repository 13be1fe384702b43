//! Who is told when something goes wrong: behind `GET` and `PUT alerts` and `POST alerts/test`.

use super::site::{Answer, Caller};
use super::views::alerts::{AlertsSet, AlertsView, ChannelTest};

/// What stands behind the alerts of the API. Calls may block, as those of a [`super::Site`].
pub trait Alarm: Send + Sync {
    /// Channels without their secrets, rules, and what stands.
    fn alerts(&self) -> Answer<AlertsView>;
    /// All of it is replaced.
    fn set_alerts(&self, by: &Caller, set: &AlertsSet) -> Answer<AlertsView>;
    /// A message is sent by every channel, now; answers what came of each.
    fn test(&self, by: &Caller) -> Answer<Vec<ChannelTest>>;
}
