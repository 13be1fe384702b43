//! A write of our own, seen by the programs: whether they truly run, tried once after they were attached.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::KernelTracker;
use crate::devices::{Leaf, leaves_of};

/// As much as is surely written by itself.
const BYTES: usize = 256 * 1024;
const NAME: &str = "tracker-trial";

/// Writes a file in a folder of the agent's own, syncs and removes it: the disks below must be seen to be written to.
///
/// # Errors
/// They were not: nothing that these programs mark or do not mark can be relied on. `Ok(false)` where the folder lies
/// on no tracked disk, and nothing could be tried.
pub fn trial(tracker: &KernelTracker, leaves: &[Leaf], folder: &Path) -> Result<bool, String> {
    let on = |error: std::io::Error| format!("{}: {error}", folder.display());
    let device = fs::metadata(folder).map_err(on)?.dev();
    let below = leaves_of((major(device), minor(device)));
    let places: Vec<usize> = (0..leaves.len())
        .filter(|place| below.contains(&leaves[*place].name) && leaves[*place].untracked.is_none())
        .collect();
    if places.is_empty() {
        return Ok(false);
    }
    let seen: Vec<u64> = places.iter().map(|place| tracker.writes(*place)).collect();
    let path = folder.join(NAME);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0xA5; BYTES])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(on)?;
    let more = places.iter().zip(&seen).any(|(place, seen)| tracker.writes(*place) > *seen);
    if more {
        return Ok(true);
    }
    Err(format!(
        "a file of {} KiB was written in {} and the programs in the kernel did not see it: this kernel cannot be \
         relied on for tracking, and everything is compared; please report its version",
        BYTES / 1024,
        folder.display()
    ))
}

fn major(device: u64) -> u32 {
    u32::try_from((device >> 8 & 0xFFF) | (device >> 32 & 0xFFFF_F000)).unwrap_or(0)
}

fn minor(device: u64) -> u32 {
    u32::try_from((device & 0xFF) | (device >> 12 & 0xFFFF_FF00)).unwrap_or(0)
}
