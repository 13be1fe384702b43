//! Updates: a signed file becomes the other slot of a medium, which the boot manager tries and PID 1 judges.
//!
//! Nothing of a file is believed before its signature is; nothing of the running system is touched; and until the new slot
//! is whole on the medium, no boot manager sees it. `image/UPDATE.md` has the bytes and the order.

/// From a file to a slot that is tried at the next start.
pub mod install;
/// The slots on a medium.
pub mod slots;
/// Where an update's bytes come from.
pub mod source;
/// Whose word is believed, and what of it is allowed.
pub mod trust;
