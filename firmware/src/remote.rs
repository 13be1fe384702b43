//! The command line against an appliance elsewhere: `lifeboat --remote https://HOST VERB ...`.
//!
//! The verb runs on the appliance as a process of its own, with the appliance's vault and key; what it prints comes back as it is
//! printed, and so does its exit code. Options that name the vault, its key or files of the appliance are the appliance's own:
//! they are refused there, whoever asks. Files of the person go along or come back.

/// Sends the verb, and prints what comes back.
pub mod client;
/// The words of the command line, before the verb is known.
pub mod line;
/// Runs it, on the appliance.
pub mod run;
/// Verbs that are calls of the API.
pub mod straight;
/// Which verbs there are elsewhere.
mod table;
/// What a verb may, and what it weighs.
mod weigh;
