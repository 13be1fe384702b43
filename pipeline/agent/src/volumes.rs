//! Logical volumes of LVM: which lie on protected disks, and a snapshot of one, by LVM's own programs.
//!
//! What they are told is short of everything that would wait for a frozen file system: no backups and archives in `/etc`, no waiting
//! for udev, none for locks. Whatever is killed: a snapshot of ours is known by its name and its tag, and removed by the next start,
//! and a volume that was left suspended goes on.

use core::fmt;
use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use hal_linux::{Access, Direct, LinuxDisk, OpenOptions};

use crate::cut::{Snapshots, Volume, Volumes};
use crate::devices::{Leaf, partitions};
use crate::note::Note;

/// LVM's programs, run for no longer than they may take.
mod programs;
/// What LVM's programs report, put together; pure.
mod report;

use programs::Programs;
use report::{Groups, Place};

/// What our snapshots are called: one of a volume group at most.
const NAME: &str = "lifeboat_point";
/// What they are tagged with, so that nobody else's is taken for ours.
const TAG: &str = "lifeboat_agent";
/// How long a program may take where nothing stands still for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// A snapshot may be looked at by others for a moment, as udev does with every new device.
const REMOVALS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Takes snapshots of logical volumes.
pub struct LogicalVolumes {
    leaves: Vec<Leaf>,
    note: Note,
    programs: Option<Programs>,
    /// What was reported when volumes were looked at.
    seen: String,
    taken: Option<Taken>,
}

/// What a snapshot was taken of, or is about to be.
struct Taken {
    group: String,
    number: (u32, u32),
}

impl fmt::Debug for LogicalVolumes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogicalVolumes").field("leaves", &self.leaves).finish_non_exhaustive()
    }
}

impl LogicalVolumes {
    /// Of these disks, in the order in which a cut has them; what a snapshot is taken of is noted in this file, which a restart of
    /// the machine must not keep.
    #[must_use]
    pub fn new(leaves: Vec<Leaf>, note: &Path) -> Self {
        let (programs, note) = (Programs::find(), Note::new(note));
        Self { leaves, note, programs, seen: String::new(), taken: None }
    }

    /// Removes what an agent that is no more left; what, in words.
    pub fn remove_left(&self) -> Vec<String> {
        let Some(programs) = &self.programs else { return Vec::new() };
        let mut told = Vec::new();
        for folder in self.note.read() {
            told.extend(let_go(programs, &folder));
        }
        let Ok(volumes) = programs.volumes() else { return told };
        for group in report::ours(&volumes, NAME, TAG) {
            told.push(match remove(programs, &group) {
                Ok(()) => format!("a snapshot of group {group} was left, and is removed"),
                Err(words) => words,
            });
        }
        self.note.clear();
        told
    }

    /// On which disk a block device lies, and from which byte on.
    fn place(&self, number: (u32, u32)) -> Option<Place> {
        self.leaves.iter().enumerate().find_map(|(disk, leaf)| {
            if leaf.number == number {
                return Some(Place { disk, start: 0, bytes: leaf.bytes });
            }
            let parts = partitions(leaf).into_iter();
            let part = { parts }.find(|part| part.number == number)?;
            Some(Place { disk, start: part.start, bytes: part.bytes })
        })
    }

    fn look(&mut self, programs: &Programs) -> Result<Volumes, String> {
        let mut volumes = programs.volumes()?;
        // One that could not be removed when its point was made.
        for group in report::ours(&volumes, NAME, TAG) {
            remove(programs, &group)?;
            volumes = programs.volumes()?;
        }
        let extents = programs.extents()?;
        let sizes: Vec<u64> = self.leaves.iter().map(|leaf| leaf.bytes).collect();
        let groups =
            Groups::new(&extents, &sizes, &|device| self.place(number_of_node(Path::new(device))?));
        let mut found = Volumes::default();
        for volume in report::plain(&volumes) {
            let table = programs.table(volume.number)?;
            match groups.volume(&volume, &table, &|number| self.place(number)) {
                Ok(volume) if has_btrfs(volume.number) => found.others.push(format!(
                    "no snapshot of volume {}: btrfs holds its devices in a way of its own",
                    volume.name
                )),
                Ok(volume) => found.found.push(volume),
                Err(words) => found.others.push(words),
            }
        }
        found.others.extend(report::others(&volumes));
        self.seen = report::without(&volumes, NAME);
        Ok(found)
    }

    /// What was done to a volume is undone, as far as it was.
    fn undo(&mut self) -> Result<(), String> {
        let (Some(programs), Some(taken)) = (&self.programs, self.taken.take()) else {
            return Ok(());
        };
        for words in let_go(programs, &folder_of(taken.number)) {
            log::warn!("{words}");
        }
        let volumes = programs.volumes()?;
        if report::ours(&volumes, NAME, TAG).contains(&taken.group) {
            remove(programs, &taken.group)?;
        }
        self.note.clear();
        Ok(())
    }
}

impl Snapshots<LinuxDisk> for LogicalVolumes {
    fn volumes(&mut self) -> Volumes {
        let missing = |words: String| Volumes { found: Vec::new(), others: vec![words] };
        if !has_volumes() {
            return Volumes::default();
        }
        let Some(programs) = self.programs.take() else {
            return missing("no snapshot: LVM's programs are not here; install lvm2".to_owned());
        };
        let found = self.look(&programs);
        self.programs = Some(programs);
        found.unwrap_or_else(|words| missing(format!("no snapshot: {words}")))
    }

    fn take(&mut self, volume: &Volume, blocks: u64, patience: Duration) -> Result<(), String> {
        let programs = self.programs.as_ref().ok_or("LVM's programs are gone")?;
        let (group, _) = volume.name.split_once('/').ok_or("a volume without a group")?;
        let folder = folder_of(volume.number);
        self.note.write([folder.as_path()].into_iter()).map_err(|error| {
            format!("what it is taken of cannot be written down ({error}): look at /run")
        })?;
        self.taken = Some(Taken { group: group.to_owned(), number: volume.number });
        programs.snapshot(&volume.name, NAME, TAG, blocks, patience)
    }

    fn open(&mut self) -> Result<LinuxDisk, String> {
        let taken = self.taken.as_ref().ok_or("there is none")?;
        let device = device_of(&taken.group).ok_or("the kernel does not have it")?;
        let options = OpenOptions { access: Access::Read, direct: Direct::Always };
        let path = Path::new("/dev").join(device);
        LinuxDisk::open(&path, options).map_err(|error| error.to_string())
    }

    fn is_same(&mut self) -> bool {
        let programs = self.programs.as_ref();
        let now = programs.and_then(|programs| programs.volumes().ok());
        now.is_some_and(|now| report::without(&now, NAME) == self.seen)
    }

    fn is_whole(&mut self) -> bool {
        let device = self.taken.as_ref().and_then(|taken| device_of(&taken.group));
        let number = device.and_then(|device| number_of_node(&Path::new("/dev").join(device)));
        let status =
            self.programs.as_ref().zip(number).map(|(programs, number)| programs.status(number));
        status.is_some_and(|status| status.is_ok_and(|status| report::is_whole(&status)))
    }

    fn remove(&mut self) -> Result<(), String> {
        self.undo()
    }
}

impl Drop for LogicalVolumes {
    fn drop(&mut self) {
        if let Err(words) = self.undo() {
            log::error!("{words}");
        }
    }
}

/// Removes our snapshot of a group.
fn remove(programs: &Programs, group: &str) -> Result<(), String> {
    let name = format!("{group}/{NAME}");
    let mut words = String::new();
    for _ in 0..REMOVALS {
        match programs.remove(&name) {
            Ok(()) => return Ok(()),
            Err(said) => words = said,
        }
        thread::sleep(PAUSE);
    }
    Err(format!("snapshot {name} is left: {words}; it is removed later, or by: lvremove {name}"))
}

/// A volume that was left suspended goes on, with all that it stands on; what did, in words.
fn let_go(programs: &Programs, folder: &Path) -> Vec<String> {
    let Some(uuid) = text(&folder.join("dm/uuid")) else { return Vec::new() };
    let mut told = Vec::new();
    for (device, other) in mapped() {
        // What LVM puts below a volume for a snapshot begins with the volume's own.
        if !other.starts_with(&uuid) {
            continue;
        }
        let folder = Path::new("/sys/block").join(&device);
        if text(&folder.join("dm/suspended")).as_deref() != Some("1") {
            continue;
        }
        let Some(name) = text(&folder.join("dm/name")) else { continue };
        told.push(match programs.resume(&name) {
            Ok(()) => format!("volume {name} was left suspended, and goes on"),
            Err(words) => format!("volume {name} is suspended: {words}; dmsetup resume {name}"),
        });
    }
    told
}

/// Whether the kernel has a volume of LVM's.
fn has_volumes() -> bool {
    mapped().iter().any(|(_, uuid)| uuid.starts_with("LVM-"))
}

/// Devices of the device mapper, with what they are known by.
fn mapped() -> Vec<(String, String)> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let uuid = text(&entry.path().join("dm/uuid"))?;
        Some((entry.file_name().into_string().ok()?, uuid))
    });
    named.collect()
}

/// The kernel's name of our snapshot of a group.
fn device_of(group: &str) -> Option<String> {
    let name = format!("{}-{NAME}", group.replace('-', "--"));
    let is_it =
        |device: &String| text(&folder_named(device).join("dm/name")).as_ref() == Some(&name);
    mapped().into_iter().map(|(device, _)| device).find(is_it)
}

fn folder_named(device: &str) -> PathBuf {
    Path::new("/sys/block").join(device)
}

fn folder_of((major, minor): (u32, u32)) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{major}:{minor}"))
}

fn has_btrfs((major, minor): (u32, u32)) -> bool {
    let device = fs::canonicalize(folder_of((major, minor))).ok();
    let Some(name) = device.as_deref().and_then(Path::file_name) else { return false };
    let systems = fs::read_dir("/sys/fs/btrfs").into_iter().flatten().flatten();
    systems.into_iter().any(|system| system.path().join("devices").join(name).exists())
}

fn number_of_node(node: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let number = fs::metadata(node).ok()?.rdev();
    Some((rustix::fs::major(number), rustix::fs::minor(number)))
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}
