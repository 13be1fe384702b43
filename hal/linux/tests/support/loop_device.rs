//! A loop device over a file for as long as the value lives; needs root, and says loudly when it
//! cannot be had.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An attached loop device.
pub(crate) struct LoopDevice {
    node: PathBuf,
}

impl LoopDevice {
    /// Attaches a file; `None`, loudly, where this machine does not let us.
    pub(crate) fn attach(file: &Path, sector_bytes: u32, read_only: bool) -> Option<Self> {
        let mut command = Command::new("losetup");
        command.args(["--find", "--show", "--sector-size", &sector_bytes.to_string()]);
        if read_only {
            command.arg("--read-only");
        }
        let skipped = |why: &str| {
            eprintln!("SKIPPED, not tested on this machine: no loop device ({why})");
            None
        };
        match command.arg(file).output() {
            Err(error) => skipped(&format!("losetup: {error}")),
            Ok(output) if !output.status.success() => {
                skipped(String::from_utf8_lossy(&output.stderr).trim())
            }
            Ok(output) => {
                let node = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                Some(Self { node: PathBuf::from(node) })
            }
        }
    }

    /// The device node.
    pub(crate) fn node(&self) -> &Path {
        &self.node
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("--detach").arg(&self.node).status();
        if !detached.is_ok_and(|status| status.success()) {
            eprintln!("loop device {} is still attached", self.node.display());
        }
    }
}
