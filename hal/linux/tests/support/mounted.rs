//! A mounted file system for as long as the value lives; needs root, and says loudly when it cannot
//! be had.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system.
pub(crate) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Mounts with these arguments of mount(8), at an existing folder; `None`, loudly, where we may
    /// not.
    pub(crate) fn mount(arguments: &[&str], at: &Path) -> Option<Self> {
        let output = Command::new("mount").args(arguments).arg(at).output();
        match output {
            Ok(output) if output.status.success() => Some(Self { at: at.to_path_buf() }),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                eprintln!("SKIPPED, not tested on this machine: no mount ({said})");
                None
            }
            Err(error) => {
                eprintln!("SKIPPED, not tested on this machine: no mount ({error})");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}
