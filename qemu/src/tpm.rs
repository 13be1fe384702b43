//! A TPM 2.0 by swtpm.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use core::time::Duration;

use crate::error::Error;
use crate::folder::Folder;
use crate::process::Process;

/// swtpm listens a few milliseconds after its start; a machine under load may take longer.
const START_WAIT: Duration = Duration::from_secs(20);

/// A TPM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tpm {
    /// A folder that keeps its state from one start to the next; without it every start has a new TPM.
    pub state: Option<PathBuf>,
}

impl Tpm {
    /// Starts it; QEMU connects to the path.
    pub(crate) fn start(&self, folder: &Folder) -> Result<(Process, PathBuf), Error> {
        let state = self.state.clone().unwrap_or_else(|| folder.file("tpm"));
        fs::create_dir_all(&state).map_err(|error| Error::file("making", &state, error))?;
        let socket = folder.file("tpm.socket");
        let path = |prefix: &str, path: &Path| format!("{prefix}{}", path.display());
        let arguments = [
            "socket".to_owned(),
            "--tpm2".to_owned(),
            "--tpmstate".to_owned(),
            path("dir=", &state),
            "--ctrl".to_owned(),
            path("type=unixio,path=", &socket),
        ];
        let process = Process::start("swtpm", &arguments, folder.file("tpm.log"))?;
        let deadline = Instant::now() + START_WAIT;
        // The socket has a file before swtpm listens at it, and a connection to try it would be the only one it takes.
        while !listens(&socket) {
            if process.ended().is_some() || Instant::now() > deadline {
                return Err(process.failure("the TPM does not start"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok((process, socket))
    }
}

/// Whether somebody listens at a Unix socket, by the kernel's own table, so that no connection is spent.
fn listens(socket: &Path) -> bool {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let name = socket.display().to_string();
    // The flags of a listening socket have the bit 0x10000.
    let mut lines = table.lines().filter(|line| line.ends_with(&name));
    lines.any(|line| line.split_whitespace().nth(3) == Some("00010000"))
}
