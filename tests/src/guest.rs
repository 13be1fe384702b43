//! A guest of any kind for tests of machines: a kernel, its modules, and a PID 1 that says what it sees.

use std::path::PathBuf;

use core::time::Duration;

/// Longest wait for a guest to be up, translated, beside others.
pub const BOOT: Duration = Duration::from_secs(180);

/// The kernel and the first file system.
pub fn files() -> Result<(PathBuf, PathBuf), String> {
    let folder = PathBuf::from(std::env::var("LIFEBOAT_GUEST").map_err(|e| e.to_string())?);
    Ok((folder.join("vmlinuz"), folder.join("initrd.cpio")))
}
