//! How the agent fares, for `lifeboat-agent status`, the appliance and the journal.

use core::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use pipeline_wire::message::Instant;
use serde::{Deserialize, Serialize};

/// Where a running agent tells how it fares.
pub const SOCKET: &str = "/run/lifeboat-agent.sock";

/// Everything a person may want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The server's name.
    pub name: String,
    /// Its identity.
    pub server: String,
    /// What is said of the appliance: whether it is reached, or why not.
    pub appliance: String,
    /// What the agent does now, in words.
    pub doing: String,
    /// The disks.
    pub disks: Vec<DiskReport>,
    /// The newest points, the oldest first.
    pub points: Vec<PointReport>,
    /// The newest epoch that is in the vault.
    pub vaulted_epoch: u64,
    /// Bytes that were sent and are not yet spooled.
    pub unacknowledged_bytes: u64,
    /// Bytes that the server wrote since the agent began, as the kernel counts them.
    pub written_bytes: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// What a person should know now.
    pub troubles: Vec<String>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// Its label.
    pub name: String,
    /// What the kernel calls it now.
    pub kernel_name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether changes of it are tracked.
    pub tracked: bool,
    /// Blocks that changed and were not sent, as far as they were taken.
    pub changed_blocks: u64,
    /// Of a run through everything: why, or nothing.
    pub compare: Option<String>,
    /// Blocks of it that are done.
    pub compare_done: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that could not be read.
    pub unread_blocks: u64,
}

/// A point that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointReport {
    /// Its epoch.
    pub epoch: u64,
    /// When, milliseconds since 1970.
    pub at_millis: u64,
    /// How clean it is.
    pub instant: String,
    /// How long file systems were frozen, microseconds.
    pub frozen_micros: u64,
    /// Blocks that were sent for it.
    pub blocks: u64,
    /// What a person should know of it.
    pub remarks: Vec<String>,
}

/// How clean an instant is, in words.
#[must_use]
pub fn instant_words(instant: Instant) -> &'static str {
    match instant {
        Instant::Crash => "crash-consistent",
        Instant::Application => "application-consistent",
        _ => "fuzzy",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        writeln!(f, "{}: {}", self.name, self.doing)?;
        writeln!(f, "appliance: {}", self.appliance)?;
        for disk in &self.disks {
            let DiskReport { name, kernel_name, bytes, .. } = disk;
            let tracked = if disk.tracked { "tracked" } else { "not tracked" };
            write!(f, "{name} ({kernel_name}): {} MiB, {tracked}", bytes / MIB)?;
            if let Some(compare) = &disk.compare {
                write!(f, "; {compare}: {} of {} blocks", disk.compare_done, disk.blocks)?;
            }
            writeln!(f)?;
        }
        for point in self.points.iter().rev().take(5) {
            let kept =
                if point.epoch <= self.vaulted_epoch { "in the vault" } else { "on its way" };
            let seconds = point.at_millis / 1000;
            writeln!(
                f,
                "point {} (second {seconds} since 1970): {}, frozen for {} ms, {kept}",
                point.epoch,
                point.instant,
                point.frozen_micros / 1000
            )?;
            point.remarks.iter().try_for_each(|remark| writeln!(f, "  {remark}"))?;
        }
        writeln!(
            f,
            "{} MiB written by the server, {} MiB of memory in use",
            self.written_bytes / MIB,
            self.memory_bytes / MIB
        )?;
        self.troubles.iter().try_for_each(|trouble| writeln!(f, "to be looked at: {trouble}"))
    }
}

/// The newest report, shared.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Report>>);

impl Board {
    /// Puts a new one up.
    pub fn put(&self, report: Report) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// The newest.
    #[must_use]
    pub fn read(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whoever asks at a socket, as JSON, until the program ends. Only root may ask.
    ///
    /// Errors: the socket cannot be made, or another agent has it.
    pub fn serve(&self, path: &Path) -> io::Result<()> {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::other("another lifeboat-agent runs already"));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let board = self.clone();
        thread::Builder::new().name("status".to_owned()).spawn(move || {
            for asker in listener.incoming() {
                let Ok(mut asker) = asker else { continue };
                let json = serde_json::to_vec(&board.read()).unwrap_or_default();
                // Whoever does not listen is not told.
                let _ = asker.set_write_timeout(Some(core::time::Duration::from_secs(5)));
                let _ = asker.write_all(&json);
            }
        })?;
        Ok(())
    }
}
