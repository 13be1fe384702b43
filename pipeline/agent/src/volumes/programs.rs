//! LVM's programs, run for no longer than they may take.

use core::time::Duration;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use pipeline::limits::BLOCK_BYTES;

use super::PATIENCE;

/// Where systems have them.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// What would wait for a frozen file system, for udev or for another program.
const SETTINGS: &str = "backup{backup=0 archive=0} activation{udev_sync=0 udev_rules=0 monitoring=0 \
                        verify_udev_operations=0} global{wait_for_locks=0} log{syslog=0}";
/// Of every report: the columns are parted by what no name of LVM's has, and sizes are in sectors.
const PLAIN: [&str; 8] =
    ["--noheadings", "--nosuffix", "--units", "s", "--separator", "|", "--segments", "--options"];
/// Columns of volumes, `report::Line` has their order.
const VOLUMES: &str = "vg_name,lv_name,lv_uuid,segtype,seg_start_pe,seg_pe_ranges,lv_tags,lv_kernel_major,\
                       lv_kernel_minor,lv_attr,origin";
/// Columns of physical volumes and what of them is whose.
const EXTENTS: &str =
    "vg_name,pv_name,pe_start,vg_extent_size,pv_pe_count,pvseg_start,pvseg_size,segtype";
/// Between two looks at one that runs.
const LOOK: Duration = Duration::from_millis(5);

/// The programs.
#[derive(Debug)]
pub(super) struct Programs {
    lvm: PathBuf,
    dmsetup: PathBuf,
}

impl Programs {
    pub(super) fn find() -> Option<Self> {
        let find = |name: &str| {
            let mut places = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
            places.find(|path| path.exists())
        };
        Some(Self { lvm: find("lvm")?, dmsetup: find("dmsetup")? })
    }

    /// All volumes, a line for each segment.
    pub(super) fn volumes(&self) -> Result<String, String> {
        self.report(&["lvs", "--all"], VOLUMES)
    }

    /// All physical volumes, a line for each run of extents.
    pub(super) fn extents(&self) -> Result<String, String> {
        self.report(&["pvs"], EXTENTS)
    }

    fn report(&self, verb: &[&str], columns: &str) -> Result<String, String> {
        let words: Vec<&str> = verb.iter().chain(&PLAIN).copied().chain([columns]).collect();
        self.lvm(&words, PATIENCE)
    }

    /// Takes a snapshot of a volume that holds so many blocks.
    pub(super) fn snapshot(
        &self,
        volume: &str,
        name: &str,
        tag: &str,
        blocks: u64,
        patience: Duration,
    ) -> Result<(), String> {
        let kibibytes = blocks.saturating_mul(BLOCK_BYTES as u64) >> 10;
        let size = format!("{kibibytes}k");
        let words = ["lvcreate", "--quiet", "--yes", "--snapshot", "--permission", "r"];
        let more = ["--name", name, "--addtag", tag, "--size", &size, volume];
        let words: Vec<&str> = words.into_iter().chain(more).collect();
        self.lvm(&words, patience).map(drop)
    }

    /// Removes a volume.
    pub(super) fn remove(&self, name: &str) -> Result<(), String> {
        self.lvm(&["lvremove", "--quiet", "--yes", "--force", name], PATIENCE).map(drop)
    }

    /// The kernel's table of a device.
    pub(super) fn table(&self, number: (u32, u32)) -> Result<String, String> {
        self.mapper("table", number)
    }

    /// What the kernel says of a device's parts.
    pub(super) fn status(&self, number: (u32, u32)) -> Result<String, String> {
        self.mapper("status", number)
    }

    /// What is suspended goes on.
    pub(super) fn resume(&self, name: &str) -> Result<(), String> {
        run(Command::new(&self.dmsetup).args(["resume", "--noudevsync", name]), PATIENCE).map(drop)
    }

    fn mapper(&self, verb: &str, (major, minor): (u32, u32)) -> Result<String, String> {
        let (major, minor) = (major.to_string(), minor.to_string());
        run(
            Command::new(&self.dmsetup).args([verb, "--major", &major, "--minor", &minor]),
            PATIENCE,
        )
    }

    fn lvm(&self, words: &[&str], patience: Duration) -> Result<String, String> {
        run(Command::new(&self.lvm).args(words).args(["--config", SETTINGS]), patience)
    }
}

/// What a program says; it is killed where it takes longer.
///
/// Errors: it did not end well, with its last words.
fn run(command: &mut Command, patience: Duration) -> Result<String, String> {
    let name = command.get_args().next().map(|verb| verb.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    command.env_clear().env("LC_ALL", "C").env("PATH", FOLDERS.join(":"));
    command.env("LVM_SUPPRESS_FD_WARNINGS", "1").current_dir("/").stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("{name} does not start: {error}"))?;
    let (out, err) = (listen(child.stdout.take()), listen(child.stderr.take()));
    let until = Instant::now() + patience;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            _ => {
                // Not waited for: one that waits for a disk ends when that answers.
                let _ = child.kill();
                return Err(format!("{name} took longer than {} ms", patience.as_millis()));
            }
        }
    };
    if status.success() {
        return out.recv().map_err(|_| format!("{name} said nothing"));
    }
    let said = err.recv().unwrap_or_default();
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(format!("{name}: {}", lines.join("; ")))
}

/// What comes, when it is at its end.
fn listen(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut bytes = Vec::new();
        let read = pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes));
        if read.is_ok() {
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        }
    };
    let started: io::Result<_> = thread::Builder::new().name("volumes".to_owned()).spawn(read);
    if let Err(error) = started {
        log::warn!("what LVM says is not heard: {error}");
    }
    receiver
}
