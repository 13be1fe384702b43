//! How servers fare, as `serve` tells it: to everybody without names, and to this machine's `server list` by a file that only
//! its owner reads.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::{fs, io};

use firmware_web::Replication;

use crate::ingest::measures::Told;
use crate::ingest::service::View;

const FILE: &str = "servers.json";
/// A longer file is none of ours.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What everybody may know.
#[must_use]
pub fn public(view: &View) -> Replication {
    let (told, usage) = (view.told(), view.usage());
    let oldest = told.iter().filter_map(|(_, told)| told.vaulted_age_seconds).max();
    Replication {
        servers: told.len() as u64,
        connected: view.connected() as u64,
        oldest_point_age_seconds: oldest,
        backlog_bytes: told.iter().map(|(_, told)| told.backlog_bytes).sum(),
        spool_bytes: usage.bytes,
        spool_used_bytes: usage.used,
    }
}

/// Writes it, whole or not at all.
pub fn write(folder: &Path, told: &[(String, Told)]) -> io::Result<()> {
    let (path, new) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    // What a killed program left is in the way of nobody.
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(told).map_err(io::Error::other)?)?;
    fs::rename(new, path)
}

/// What a `serve` wrote within the last minute; nothing where none did.
#[must_use]
pub fn read(folder: &Path) -> Vec<(String, Told)> {
    let path = folder.join(FILE);
    let fresh = fs::metadata(&path).is_ok_and(|facts| {
        let age = facts.modified().ok().and_then(|at| at.elapsed().ok());
        facts.len() <= BYTES_MAX && age.is_some_and(|age| age.as_secs() < 60)
    });
    if !fresh {
        return Vec::new();
    }
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
