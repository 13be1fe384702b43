//! Whether nothing writes to a disk any more, nor will until the machine is off: no file system of it takes writes, nothing
//! stands on it, and no swap is in use.

use hal_linux::inventory::mounts;

use crate::devices::{self, Leaf};

/// Looks whether that is so.
///
/// # Errors
/// What still may write.
pub(super) fn check(leaf: &Leaf) -> Result<(), String> {
    let systems = devices::file_systems();
    let writing =
        systems.iter().find(|system| !system.read_only && system.leaves.contains(&leaf.name));
    if let Some(system) = writing {
        return Err(format!("{} takes writes still", system.at.display()));
    }
    if let Some(swap) = mounts::read(std::path::Path::new("/")).swaps.first() {
        return Err(format!("{swap} is still swap"));
    }
    // md writes when the machine ends, others when they like; what stands on a disk is not looked through.
    let mut above = devices::holders(leaf);
    above.extend(devices::partitions(leaf).into_iter().flat_map(|part| part.holders));
    match above.first() {
        Some(above) => Err(format!("{above} stands on it, and may write when the machine ends")),
        None => Ok(()),
    }
}
