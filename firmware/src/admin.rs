//! Who may manage the appliance, and what they did: users, sessions, tokens, approvals, the audit log, and the small
//! documents that all of it is kept in.

/// Small documents that must not be forgotten.
pub mod keep;
