//! Which of the machine's own disks fail, by what its kernel tells: its log, the commands that SCSI counts as failed, and the
//! states of controllers.
//!
//! It reads and never writes. Where the kernel's log may not be read, what sysfs shows has to do. Records that programs wrote into
//! the log are passed over: anybody may write there that a disk failed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// An error is forgotten once there was none for so long.
const QUIET_MILLIS: u64 = 3_600_000;
/// Failed commands of SCSI until they count: now and then one is asked for what the disk cannot do.
const FAILED_COMMANDS: u64 = 3;
/// Records of the log that are read at one look.
const RECORDS_MAX: usize = 4096;
/// Disks that are remembered.
const DISKS_MAX: usize = 512;
/// Longest record, as the kernel has it.
const RECORD_BYTES: usize = 8192;
/// What the kernel says of a disk that works: it cannot do what it was asked for, or is not allowed to.
const NO_FAILURES: [&str; 3] =
    ["operation not supported", "reservation conflict", "kernel resource"];
/// States of controllers and disks that answer.
const STATES_WELL: [&str; 7] =
    ["running", "live", "created", "new", "connecting", "resetting", "quiesce"];

/// What is known of the disks.
pub(super) struct Ailing {
    root: PathBuf,
    log: Option<File>,
    disks: BTreeMap<String, Ailment>,
    /// How many commands of each had failed when nothing was wrong.
    counted: BTreeMap<String, u64>,
}

/// What is wrong with one of them.
#[derive(Clone, Debug, Default)]
struct Ailment {
    /// The number that no other block device ever has.
    sequence: String,
    errors: u64,
    last_millis: u64,
    words: String,
}

impl Ailing {
    /// With `sys`, `proc` and `dev` under this root.
    pub(super) fn open(root: &Path) -> Self {
        let log = OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0))
            .open(root.join("dev/kmsg"))
            .inspect_err(|error| log::debug!("the kernel's log is not read: {error}"))
            .ok();
        let (disks, counted) = (BTreeMap::new(), BTreeMap::new());
        Self { root: root.to_path_buf(), log, disks, counted }
    }

    /// Looks at what was told since. `now` is in milliseconds since the kernel started.
    pub(super) fn look(&mut self, now: u64) {
        for record in self.records() {
            if let Some((at, name, words)) = failure(&record)
                && now.saturating_sub(at) < QUIET_MILLIS
            {
                self.note(name, 1, at, words);
            }
        }
        for name in self.names() {
            self.count_commands(&name, now);
        }
        let root = self.root.clone();
        self.disks.retain(|name, ailment| {
            let is_same = sequence(&root, name).is_some_and(|found| found == ailment.sequence);
            is_same && now.saturating_sub(ailment.last_millis) < QUIET_MILLIS
        });
    }

    /// Each disk that fails, by the kernel's name, with what is wrong.
    pub(super) fn troubles(&self) -> BTreeMap<String, String> {
        let told = |(name, ailment): (&String, &Ailment)| {
            let times = if ailment.errors == 1 { "once" } else { "several times" };
            (name.clone(), format!("it failed {times}, the last time with: {}", ailment.words))
        };
        let mut troubles: BTreeMap<String, String> = self.disks.iter().map(told).collect();
        for name in self.names() {
            let state = fs::read_to_string(self.block(&name).join("device/state"));
            let state = state.unwrap_or_default().trim().to_owned();
            if !state.is_empty() && !STATES_WELL.contains(&state.as_str()) {
                troubles.insert(name, format!("it does not answer: the kernel calls it {state}"));
            }
        }
        troubles
    }

    fn note(&mut self, name: &str, errors: u64, at: u64, words: String) {
        let Some(sequence) = sequence(&self.root, name) else { return };
        if self.disks.len() >= DISKS_MAX && !self.disks.contains_key(name) {
            return;
        }
        let ailment = self.disks.entry(name.to_owned()).or_default();
        if ailment.sequence != sequence {
            *ailment = Ailment { sequence, ..Ailment::default() };
        }
        ailment.errors = ailment.errors.saturating_add(errors);
        ailment.last_millis = ailment.last_millis.max(at);
        ailment.words = words;
    }

    fn count_commands(&mut self, name: &str, now: u64) {
        let text = fs::read_to_string(self.block(name).join("device/ioerr_cnt"));
        let text = text.unwrap_or_default();
        let Ok(failed) = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16) else {
            return;
        };
        // What failed before was looked at by nobody, and most disks refuse something when they are found.
        let known = *self.counted.entry(name.to_owned()).or_insert(failed);
        if failed < known {
            self.counted.insert(name.to_owned(), failed);
        } else if failed - known >= FAILED_COMMANDS {
            self.counted.insert(name.to_owned(), failed);
            self.note(name, failed - known, now, format!("{} commands failed", failed - known));
        }
    }

    /// New records of the log, as far as they are taken at once.
    fn records(&mut self) -> Vec<String> {
        let Some(log) = &mut self.log else { return Vec::new() };
        let mut records = Vec::new();
        let mut bytes = vec![0; RECORD_BYTES];
        for _ in 0..RECORDS_MAX {
            match log.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => {
                    let record = bytes.get(..length).unwrap_or_default();
                    records.push(String::from_utf8_lossy(record).into_owned());
                }
                // Records were written over before they were read: it goes on with the oldest that is there.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        records
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("sys/block")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn block(&self, name: &str) -> PathBuf {
        self.root.join("sys/block").join(name)
    }
}

/// The number of the block device that is called so now; nothing where none is.
fn sequence(root: &Path, name: &str) -> Option<String> {
    let folder = root.join("sys/block").join(name);
    // Kernels before 5.15 give no numbers: the name has to do.
    folder.exists().then(|| fs::read_to_string(folder.join("diskseq")).unwrap_or_default())
}

/// A record of the kernel's own that says that a disk failed: when, in milliseconds since it started, which, and what.
fn failure(record: &str) -> Option<(u64, &str, String)> {
    let (head, text) = record.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let micros: u64 = fields.nth(1)?.parse().ok()?;
    // The lowest three bits are how bad it is, the others who wrote it; the kernel is 0.
    if priority >> 3 != 0 {
        return None;
    }
    let text = text.lines().next()?;
    let (kind, rest) = text.split_once(" error, dev ")?;
    let kind = kind.rsplit(": ").next()?;
    let (name, place) = rest.split_once(',')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'!';
    if NO_FAILURES.contains(&kind) || name.is_empty() || !name.bytes().all(is_plain) {
        return None;
    }
    // `sector 12345 op 0x0:(READ) flags …`: the place and whether it was read.
    let place = place.split(" flags").next().unwrap_or_default().trim();
    let words: String = format!("{kind} error, {place}").chars().take(120).collect();
    Some((micros / 1000, name, words))
}

#[cfg(test)]
mod tests;
