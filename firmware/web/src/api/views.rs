//! What the API tells and takes. Fields are only ever added. Sizes are bytes; `_millis` is milliseconds since 1970, or of duration
//! for `took_millis`; `_seconds` a duration; identities are hexadecimal.

/// Users, sessions, tokens, approvals, the audit log.
pub mod admin;
/// Alerts.
pub mod alerts;
/// The machine.
pub mod appliance;
/// What happened.
pub mod events;
/// Files of points.
pub mod files;
/// Orders and plans.
pub mod recovery;
/// Servers, points, figures.
pub mod servers;
/// The vault and long work.
pub mod vault;
