//! The disks of a server at a recovery point, opened by this machine's kernel: judged, repaired, and repairs taken
//! back.
//!
//! File systems of a stranger are mounted where nobody sees them, from overlays that are thrown away after judging: a
//! journal is replayed there, and the point and the server stay as they are. It refuses to decide anything;
//! `firmware_recovery::guest` does that.

use core::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use firmware_recovery::guest::fat::FatTree;
use firmware_recovery::guest::ntfs::NtfsTree;
use firmware_recovery::guest::repair::{mark as mark_survey, repair as repair_survey};
use firmware_recovery::guest::tree::{FolderTree, Tree};
use firmware_recovery::guest::undo::{Undone, undo as undo_survey, undo_list};
use firmware_recovery::guest::view::View;
use firmware_recovery::guest::volumes::content::Content as Found;
use firmware_recovery::guest::volumes::{GuestDisk, Volume, Volumes};
use firmware_recovery::guest::{
    Change, Open, Platform, Readiness, Survey, Wish, judge as guest_judge,
};
use firmware_recovery::hydrate::overlay::{Overlay, Scratch};
use hal_linux::block_file::Content;
use hal_linux::mounted::{MountOptions, Mounted};
use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::points::ChainView;
use pipeline_vault::reader::PointReader;
use pipeline_vault::record::DiskState;

use crate::appliance::figures::available_bytes;
use crate::files::Both;
use crate::files::blocks::Numbered;
use crate::session::Session;

/// What a judgement may write for itself, for each disk: journals that are replayed.
const JUDGE_BYTES_MAX: u64 = 256 << 20;
/// Opened frames of each disk that are kept.
const CACHE_BYTES: usize = 16 << 20;

/// Loads a driver of the kernel by its name.
type Drivers = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// Where no other program loads drivers when the kernel asks for them, as on the appliance. Set once.
static DRIVERS: OnceLock<Box<Drivers>> = OnceLock::new();

/// Says who loads the drivers that file systems need.
pub(crate) fn drivers_by(load: Box<Drivers>) {
    // Whoever was first stays.
    let _ = DRIVERS.set(load);
}

/// Loads what mounting this kind of file system takes.
fn load_drivers(kind: &str) -> io::Result<()> {
    // ext4 asks for its checksums by what they do.
    let checksums: &[&str] = if kind == "ext4" { &["crc32c_generic"] } else { &[] };
    for name in ["fuse", "loop"].iter().chain(checksums).chain([&kind]) {
        let loaded = DRIVERS.get().map_or(Ok(()), |load| load(name));
        loaded.map_err(|words| io::Error::new(io::ErrorKind::Unsupported, words))?;
    }
    Ok(())
}

/// Loads what the file systems of any server take, for verbs that run as processes of their own and can load nothing. What is
/// missing is missed where it is needed.
pub(crate) fn load_all_drivers() {
    for kind in ["ext4", "xfs", "btrfs"] {
        load_drivers(kind).unwrap_or_else(|error| log::info!("{kind}: {error}"));
    }
}

/// Memory for the changes of one of so many disks: at most as much, and all together at most half of what the machine has
/// left, as it has no other that could be without.
pub(crate) fn scratch(disks: usize, bytes_max: u64) -> Scratch {
    Scratch::Memory { bytes_max: share(available_bytes(), disks, bytes_max) }
}

fn share(available: Option<u64>, disks: usize, bytes_max: u64) -> u64 {
    let disks = u64::try_from(disks.max(1)).unwrap_or(u64::MAX);
    available.map_or(bytes_max, |bytes| bytes_max.min(bytes / 2 / disks))
}

/// The disks of a point, each with an overlay in memory.
pub fn disks_of_point(
    session: &Session,
    view: &ChainView,
    point: &Link,
) -> Result<Vec<GuestDisk>, Error> {
    let access = session.access();
    let disks = point.record.point().map(|manifest| manifest.disks.as_slice()).unwrap_or_default();
    let opened = disks.iter().map(|disk| {
        let reader = PointReader::open(&access, view, point, &disk.name, CACHE_BYTES)?;
        let scratch = scratch(disks.len(), JUDGE_BYTES_MAX);
        let view: Arc<dyn View> = Arc::new(Overlay::new(reader, scratch));
        Ok(GuestDisk { name: disk.name.clone(), view })
    });
    opened.collect()
}

/// The same of a point that is compared with a later one: each disk knows which of the later one's it is.
pub fn numbered_disks(
    session: &Session,
    view: &ChainView,
    (point, later): (&Link, &Link),
) -> Result<Vec<GuestDisk>, Error> {
    let access = session.access();
    fn of(link: &Link) -> &[DiskState] {
        link.record.point().map(|point| point.disks.as_slice()).unwrap_or_default()
    }
    let opened = of(point).iter().map(|disk| {
        let reader = PointReader::open(&access, view, point, &disk.name, CACHE_BYTES)?;
        let scratch = scratch(of(point).len(), JUDGE_BYTES_MAX);
        // One that the later point does not have has no place there.
        let number = of(later).iter().position(|other| other.name == disk.name);
        let overlay = Arc::new(Overlay::new(reader, scratch));
        Ok(Numbered::disk(&disk.name, number.unwrap_or(usize::MAX), overlay))
    });
    opened.collect()
}

/// Whether a server's point boots on a platform. `point` is `latest` or an identity, as `points` shows it.
pub fn judge(
    session: &mut Session,
    server: &str,
    point: &str,
    platform: &Platform,
) -> Result<Readiness, Error> {
    let id = session.server(server)?;
    let view = session.chain(id)?;
    let link = view.find(point)?;
    let disks = disks_of_point(session, &view, link)?;
    judge_disks(&disks, platform).map_err(|error| named(server, &error))
}

/// The same of disks that are at hand. They are written to where a journal must be replayed: hand overlays.
pub fn judge_disks(disks: &[GuestDisk], platform: &Platform) -> io::Result<Readiness> {
    let kernel = Kernel::new(true);
    let survey = Survey::open(disks, &kernel)?;
    let readiness = guest_judge::judge(&survey, platform)?;
    drop(survey);
    kernel.close()?;
    Ok(readiness)
}

/// Judges a server's disks and makes them boot: what was found before, and what was changed. Errors leave disks that
/// are partly changed: hand overlays, and throw them away then.
pub fn repair(
    disks: &[GuestDisk],
    platform: &Platform,
    wish: &Wish,
) -> Result<(Readiness, Vec<Change>), Error> {
    let done = || {
        let kernel = Kernel::new(false);
        let survey = Survey::open(disks, &kernel)?;
        let readiness = guest_judge::judge(&survey, platform)?;
        let changes = repair_survey(&survey, &readiness, platform, wish)?;
        drop(survey);
        kernel.close()?;
        Ok((readiness, changes))
    };
    done().map_err(|error| named(&names(disks), &error))
}

/// Says on these disks what they are a copy of, and changes nothing else.
pub fn mark(disks: &[GuestDisk], wish: &Wish) -> Result<Vec<Change>, Error> {
    let done = || {
        let kernel = Kernel::new(false);
        let survey = Survey::open(disks, &kernel)?;
        let changes = mark_survey(&survey, wish)?;
        drop(survey);
        kernel.close()?;
        Ok(changes)
    };
    done().map_err(|error| named(&names(disks), &error))
}

/// Takes back what repairs changed on these disks, by the list on them; on a Windows, which has none, by these that were
/// kept, the oldest first.
pub fn undo(disks: &[GuestDisk], kept: &[Vec<Change>]) -> Result<Vec<Undone>, Error> {
    let done = || {
        let kernel = Kernel::new(false);
        let survey = Survey::open(disks, &kernel)?;
        let mut undone = undo_survey(&survey)?;
        if survey.windows.is_some() {
            for changes in kept.iter().rev() {
                undone.extend(undo_list(&survey, changes)?);
            }
        }
        drop(survey);
        kernel.close()?;
        Ok(undone)
    };
    done().map_err(|error| named(&names(disks), &error))
}

/// A file system as it was and as it is, or why not both are there.
pub type Pair = Result<Both, String>;

/// Opens every file system that a server has at two points and hands both to `each`, one pair after the other; where only
/// one has it, or it is not opened, the words say so. They are written to where a journal must be replayed: hand overlays.
pub fn each_file_system(
    before: &[GuestDisk],
    after: &[GuestDisk],
    each: &mut dyn FnMut(&str, Pair) -> Result<(), Error>,
) -> Result<(), Error> {
    let find =
        |disks: &[GuestDisk]| Volumes::find(disks).map_err(|error| named(&names(disks), &error));
    let (before, after) = (find(before)?.volumes, find(after)?.volumes);
    for volume in &after {
        let Found::FileSystem { kind, .. } = &volume.content else { continue };
        let other = before.iter().find(|other| other.name == volume.name);
        let same = |other: &&Volume| match &other.content {
            Found::FileSystem { kind: old, .. } => old == kind,
            _ => false,
        };
        let Some(other) = other.filter(same) else {
            each(&volume.name, Err("is new, or was another file system before".to_owned()))?;
            continue;
        };
        if *kind == "btrfs" {
            // The kernel takes two states of one for one file system on two devices.
            each(
                &volume.name,
                Err("is btrfs, of which two states cannot be open at once".to_owned()),
            )?;
            continue;
        }
        let kernel = Kernel::new(true);
        let trees = kernel.open(other, kind).and_then(|old| Ok([old, kernel.open(volume, kind)?]));
        let views = [Arc::clone(&other.view), Arc::clone(&volume.view)];
        let opened = trees.map(|trees| Both { trees, views });
        let done = each(&volume.name, opened.map_err(|error| error.to_string()));
        let closed = kernel.close().map_err(|error| named(&volume.name, &error));
        done.and(closed)?;
    }
    for gone in before.iter().filter(|old| after.iter().all(|new| new.name != old.name)) {
        if matches!(gone.content, Found::FileSystem { .. }) {
            each(&gone.name, Err("is not there any more".to_owned()))?;
        }
    }
    Ok(())
}

fn names(disks: &[GuestDisk]) -> String {
    disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn named(object: &str, error: &io::Error) -> Error {
    let object = format!("the disks of {object}");
    let failed = Error::device(object, error.to_string());
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            failed.remedy("file systems are mounted for this: run it as root, or on the appliance")
        }
        io::ErrorKind::NotFound if error.to_string().contains("/dev/") => failed
            .remedy("this kernel has no FUSE or no loop devices: load the modules fuse and loop"),
        _ => failed,
    }
}

/// The kernel as what opens file systems.
pub(crate) struct Kernel {
    read_only: bool,
    mounts: RefCell<Vec<Mounted>>,
}

impl Kernel {
    pub(crate) fn new(read_only: bool) -> Self {
        Self { read_only, mounts: RefCell::default() }
    }

    /// Unmounts everything. Whatever was opened must be gone.
    pub(crate) fn close(self) -> io::Result<()> {
        let mut done = Ok(());
        for mount in self.mounts.into_inner() {
            let unmounted = mount.unmount();
            if done.is_ok() {
                done = unmounted;
            }
        }
        done
    }

    fn options(&self, kind: &str) -> MountOptions {
        // Another file system of the same identity may be mounted on this machine: a copy of the same server.
        let names: &[&str] = if kind == "xfs" { &["nouuid"] } else { &[] };
        let options = names.iter().map(|name| ((*name).to_owned(), None)).collect();
        MountOptions { kind: kind.to_owned(), read_only: self.read_only, options }
    }
}

impl Open for Kernel {
    fn open(&self, volume: &Volume, kind: &str) -> io::Result<Rc<dyn Tree>> {
        match kind {
            "vfat" => Ok(Rc::new(FatTree::open(Arc::clone(&volume.view))?)),
            "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" => {
                let shown = Arc::new(Shown(Arc::clone(&volume.view)));
                // One driver has all three.
                let kind = if kind.starts_with("ext") { "ext4" } else { kind };
                load_drivers(kind)?;
                let mount = Mounted::mount(shown, &self.options(kind))?;
                let tree = FolderTree::new(mount.root()?)?;
                self.mounts.borrow_mut().push(mount);
                Ok(Rc::new(tree))
            }
            "ntfs" => Ok(Rc::new(NtfsTree::open(Arc::clone(&volume.view))?)),
            other => {
                let words = format!("a file system of the kind {other} is not read here");
                Err(io::Error::new(io::ErrorKind::Unsupported, words))
            }
        }
    }
}

/// A view as the content of a file of the kernel's.
struct Shown(Arc<dyn View>);

impl Content for Shown {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, from)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn changes_of_all_disks_together_leave_half_of_the_memory() {
        assert_eq!(share(Some(400 << 20), 2, 1 << 30), 100 << 20);
        assert_eq!(share(Some(64 << 30), 4, 1 << 30), 1 << 30);
        assert_eq!(share(Some(0), 0, 1 << 30), 0);
        assert_eq!(share(None, 3, 1 << 30), 1 << 30);
    }
}
