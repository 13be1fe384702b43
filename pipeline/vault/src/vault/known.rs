//! What this machine remembers of a vault: the newest key ring and the newest slot of every chain that it saw.
//!
//! A whole vault put back to an older state is whole in itself; only somebody who saw a newer one can tell. Nothing
//! secret is in it, and losing it loses nothing but that knowledge.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..8 | magic `LIFEBKNW` |
//! | 8..10 | format version, 1 |
//! | 10..42 | BLAKE3 of the rest |
//! | 42.. | postcard of `State` |

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pipeline::ids::{Digest, PointId, ServerId, VaultId};
use pipeline::seal::digest;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::Error;

const MAGIC: [u8; 8] = *b"LIFEBKNW";
const FORMAT_VERSION: u16 = 1;
const HEADER_BYTES: usize = 42;
/// Largest file: ten thousand servers take less than one megabyte.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest wait for another process that saves, in steps of 20 ms.
const LOCK_TRIES_MAX: u32 = 250;

/// What this machine knows of one vault.
pub struct Known {
    folder: PathBuf,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    vault: VaultId,
    ring_version: u64,
    heads: Vec<Head>,
}

/// The newest slot of a chain that this machine saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose chain.
    pub server: ServerId,
    /// The slot.
    pub slot: u64,
    /// BLAKE3 of its object's bytes.
    pub digest: Digest,
    /// The newest point up to this slot, and when it was made in milliseconds since 1970.
    pub point: Option<(PointId, u64)>,
}

/// Where the knowledge is kept: `$LIFEBOAT_STATE`, or `/var/lib/lifeboat` for root, or `$XDG_STATE_HOME/lifeboat`, or
/// `~/.local/state/lifeboat`. `None` where even that has no home.
#[must_use]
pub fn folder(variable: &dyn Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || {
        let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
        Some(state.or_else(|| Some(set("HOME")?.join(".local/state")))?.join("lifeboat"))
    };
    let system = || Some(PathBuf::from("/var/lib/lifeboat"));
    set("LIFEBOAT_STATE").or_else(|| if is_root { system() } else { user() })
}

impl Known {
    /// Reads what is known of a vault. A damaged file is set aside and told of beside an empty knowledge.
    pub fn load(folder: &Path, vault: VaultId) -> Result<(Self, Option<Error>), Error> {
        let folder = folder.to_path_buf();
        let empty = State { vault, ring_version: 0, heads: Vec::new() };
        let path = file_path(&folder, vault);
        match read(&path, vault) {
            Ok(Some(state)) => Ok((Self { folder, state }, None)),
            Ok(None) => Ok((Self { folder, state: empty }, None)),
            Err(Unread::Damaged) => {
                let aside = path.with_extension("damaged");
                let what = match fs::rename(&path, &aside) {
                    Ok(()) => format!("was damaged and is now {}", aside.display()),
                    Err(error) => format!("is damaged and cannot be set aside: {error}"),
                };
                let told = Error::device(named(&path), what).remedy(
                    "check the disk; until this machine has seen the vault again, it cannot notice that it was rolled back",
                );
                Ok((Self { folder, state: empty }, Some(told)))
            }
            Err(Unread::Newer(version)) => {
                Err(Error::misuse(named(&path), format!("is of format {version}"))
                    .remedy("use the newer Lifeboat that wrote it"))
            }
            Err(Unread::Io(error)) => Err(failed(&path, "cannot be read", &error)),
        }
    }

    /// The same for whoever only guesses by it: what does not read is left where it is, and untold.
    #[must_use]
    pub fn peek(folder: &Path, vault: VaultId) -> Option<Self> {
        let state = read(&file_path(folder, vault), vault).ok()??;
        Some(Self { folder: folder.to_path_buf(), state })
    }

    /// The version of the newest key ring that was seen; 0 where none was.
    #[must_use]
    pub fn ring_version(&self) -> u64 {
        self.state.ring_version
    }

    /// The newest slot known of a server's chain.
    #[must_use]
    pub fn head(&self, server: &ServerId) -> Option<&Head> {
        let at = self.state.heads.binary_search_by_key(server, |head| head.server).ok()?;
        self.state.heads.get(at)
    }

    /// All heads, by server.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.state.heads
    }

    /// Fails where a newer key ring was seen before.
    pub fn check_ring(&self, version: u64) -> Result<(), Error> {
        if version >= self.state.ring_version {
            return Ok(());
        }
        let what = format!(
            "was rolled back: its key ring is version {version}, and this machine saw version {}",
            self.state.ring_version
        );
        Err(self.rolled_back(what))
    }

    /// Fails where this machine saw a newer slot of the chain, or another object in this one. A newer slot passes: that the
    /// chain leads to it from the known one is the chain's to check, with `head`.
    pub fn check_head(&self, server: &ServerId, slot: u64, found: &Digest) -> Result<(), Error> {
        let Some(known) = self.head(server) else { return Ok(()) };
        if slot < known.slot {
            let point =
                known.point.map_or_else(String::new, |(point, _)| format!(", point {point}"));
            let what = format!(
                "was rolled back: the chain of server {server} ends with record {slot}, and this machine saw record {}{point}",
                known.slot
            );
            return Err(self.rolled_back(what));
        }
        if slot == known.slot && *found != known.digest {
            let what = format!(
                "was replaced: record {slot} of server {server} is not the one that this machine saw"
            );
            return Err(self.rolled_back(what));
        }
        Ok(())
    }

    /// Remembers a ring's version. True where that is news.
    pub fn note_ring(&mut self, version: u64) -> bool {
        let is_news = version > self.state.ring_version;
        self.state.ring_version = self.state.ring_version.max(version);
        is_news
    }

    /// Remembers a chain's slot, unless a newer one is known.
    pub fn note_head(&mut self, head: Head) {
        match self.state.heads.binary_search_by_key(&head.server, |known| known.server) {
            Ok(at) if self.state.heads[at].slot <= head.slot => {
                let point = head.point.or(self.state.heads[at].point);
                self.state.heads[at] = Head { point, ..head };
            }
            Ok(_) => {}
            Err(at) => self.state.heads.insert(at, head),
        }
    }

    /// Forgets everything: for a vault that was put back to an older state on purpose.
    pub fn forget(&mut self) -> Result<(), Error> {
        let path = file_path(&self.folder, self.state.vault);
        self.state.ring_version = 0;
        self.state.heads.clear();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&path, "cannot be removed", &error))
            }
            _ => Ok(()),
        }
    }

    /// Writes what is known, together with what other processes of this machine learnt meanwhile. A power cut leaves
    /// the old file or the new one.
    pub fn save(&mut self) -> Result<(), Error> {
        let path = file_path(&self.folder, self.state.vault);
        let failed = |what: &'static str| {
            let path = path.clone();
            move |error: io::Error| failed(&path, what, &error)
        };
        let known = path.parent().unwrap_or(&path).to_path_buf();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&known);
        made.map_err(failed("cannot be written"))?;
        let _lock = lock(&path.with_extension("lock")).map_err(failed("cannot be locked"))?;
        if let Ok(Some(theirs)) = read(&path, self.state.vault) {
            self.note_ring(theirs.ring_version);
            theirs.heads.into_iter().for_each(|head| self.learn(head));
        }
        let bytes = encode(&self.state)
            .map_err(|error| Error::misuse(named(&path), format!("cannot be encoded ({error})")))?;
        let next = path.with_extension("next");
        let written = write_synced(&next, &bytes)
            .and_then(|()| fs::rename(&next, &path))
            .and_then(|()| File::open(&known)?.sync_all());
        written.map_err(failed("cannot be written"))
    }

    /// What another process of this machine noted: newer slots count, and the same slot tells nothing new.
    fn learn(&mut self, head: Head) {
        if self.head(&head.server).is_none_or(|known| known.slot < head.slot) {
            self.note_head(head);
        }
    }

    fn rolled_back(&self, what: String) -> Error {
        Error::corrupt(format!("vault {}", self.state.vault), what).remedy(
            "find out who put an older state in its place; if it was you, remove this machine's memory of it first",
        )
    }
}

/// Why a file gave no state.
enum Unread {
    Damaged,
    Newer(u16),
    Io(io::Error),
}

fn read(path: &Path, vault: VaultId) -> Result<Option<State>, Unread> {
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unread::Io(error)),
    };
    if !facts.is_file() || facts.len() > FILE_BYTES_MAX {
        return Err(Unread::Damaged);
    }
    let bytes = fs::read(path).map_err(Unread::Io)?;
    let state = decode(&bytes)?;
    if state.vault == vault { Ok(Some(state)) } else { Err(Unread::Damaged) }
}

fn decode(bytes: &[u8]) -> Result<State, Unread> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Unread::Damaged)?;
    let whole = header[..8] == MAGIC && digest(&[&header[..10], rest]).0 == header[10..];
    let version = u16::from_le_bytes([header[8], header[9]]);
    if !whole || version == 0 {
        return Err(Unread::Damaged);
    }
    if version > FORMAT_VERSION {
        return Err(Unread::Newer(version));
    }
    let state: State = postcard::from_bytes(rest).map_err(|_| Unread::Damaged)?;
    let ascending = state.heads.windows(2).all(|pair| pair[0].server < pair[1].server);
    if ascending { Ok(state) } else { Err(Unread::Damaged) }
}

fn encode(state: &State) -> Result<Vec<u8>, postcard::Error> {
    let mut start = [0; 10];
    start[..8].copy_from_slice(&MAGIC);
    start[8..].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let rest = postcard::to_allocvec(state)?;
    let sum = digest(&[&start, &rest]);
    Ok([&start[..], &sum.0, &rest].concat())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits a few seconds for other processes; the lock goes with the file handle, and with the process.
fn lock(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    for _ in 0..LOCK_TRIES_MAX {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(20)),
            locked => return locked.map(|()| file).map_err(io::Error::from),
        }
    }
    Err(io::Error::from(io::ErrorKind::TimedOut))
}

fn file_path(folder: &Path, vault: VaultId) -> PathBuf {
    folder.join("known").join(format!("{vault}.state"))
}

fn named(path: &Path) -> String {
    format!("this machine's memory {}", path.display())
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Error {
    Error::device(named(path), format!("{what}: {error}"))
        .remedy("set LIFEBOAT_STATE to a folder that this user may write to")
}
