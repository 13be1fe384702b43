//! Who may manage the appliance, and what they did: users, sessions, tokens, approvals, the audit log, and the small
//! documents that all of it is kept in.

/// All of it together, as the API asks.
pub mod accounts;
/// What waits for a second person.
pub mod approvals;
/// The audit log.
pub mod audit;
/// Names by which browsers may ask.
pub mod hosts;
/// Small documents that must not be forgotten.
pub mod keep;
/// Passwords.
pub mod passwords;
/// Sessions of browsers.
pub mod sessions;
/// Whoever guesses waits.
pub mod throttle;
/// Tokens for scripts.
pub mod tokens;
/// Users.
pub mod users;
