//! A write of our own, seen by the programs: whether they truly run, tried once after they were attached.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Attached, KernelTracker};
use crate::devices::{Leaf, leaves_of};

/// As much as is surely written by itself.
const BYTES: usize = 256 * 1024;
const NAME: &str = "tracker-trial";

/// Tries a tracker that was just attached, where it can be tried.
///
/// # Errors
/// It does not see what is written: it is given up, and nothing of it is left in the kernel.
pub fn tried(attached: Attached, leaves: &[Leaf], folder: &Path) -> Result<Attached, String> {
    let Err(why) = trial(&attached.tracker, leaves, folder) else { return Ok(attached) };
    match attached.tracker.remove() {
        Ok(()) => Err(why),
        Err(error) => Err(format!("{why}; and it is still in the kernel: {error}")),
    }
}

/// Writes a file in a folder of the agent's own, syncs and removes it: the disks below must be seen to be written to.
///
/// # Errors
/// They were not: nothing that these programs mark or do not mark can be relied on. `Ok(false)` where nothing could be
/// tried: the folder lies on another disk too than tracked ones, or takes no writes.
pub fn trial(tracker: &KernelTracker, leaves: &[Leaf], folder: &Path) -> Result<bool, String> {
    let Ok(device) = fs::metadata(folder).map(|folder| folder.dev()) else { return Ok(false) };
    let below = leaves_of((major(device), minor(device)));
    let place = |name: &String| {
        leaves.iter().position(|leaf| leaf.name == *name && leaf.untracked.is_none())
    };
    match below.iter().map(place).collect::<Option<Vec<usize>>>() {
        Some(places) if !places.is_empty() => is_seen(tracker, &places, folder),
        _ => Ok(false),
    }
}

/// Whether a file that is written shows on any of these disks, which are all that are below the folder.
fn is_seen(tracker: &KernelTracker, places: &[usize], folder: &Path) -> Result<bool, String> {
    let seen: Vec<u64> = places.iter().map(|place| tracker.writes(*place)).collect();
    let path = folder.join(NAME);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0xA5; BYTES])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    if let Err(error) = written.and(removed) {
        // A full file system, or one that may only be read, says nothing about the tracker.
        log::info!("{}: {error}; whether writes are seen is not tried", path.display());
        return Ok(false);
    }
    if places.iter().zip(&seen).any(|(place, seen)| tracker.writes(*place) > *seen) {
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
