//! Block devices as sysfs has them: what is below what. Nothing is written, and what is not told is not guessed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The kernel gives no attribute more than a page.
const ATTRIBUTE_BYTES_MAX: u64 = 4096;
/// Names of drivers whose disks are no data of a server's own.
const NO_DISKS: [&str; 8] = ["loop", "ram", "zram", "sr", "fd", "nbd", "md", "dm-"];
/// How the devices of dm-multipath begin their identifier.
const MULTIPATH: &str = "mpath-";

/// A block device that is no partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    folder: PathBuf,
}

/// sysfs, of this server or recorded.
#[derive(Debug)]
pub(super) struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// All of them, sdb before sdaa.
    pub(super) fn disks(&self) -> Vec<Device> {
        let mut names = entries(&self.root.join("sys/block"));
        names.sort_by(|one, two| (one.len(), one).cmp(&(two.len(), two)));
        names.iter().filter_map(|name| self.named(name)).collect()
    }

    /// Whether it holds data of its own, in the sense of `leaves`.
    pub(super) fn is_leaf(&self, device: &Device) -> bool {
        let has_data = number(&device.folder.join("size")).is_some_and(|units| units > 0);
        if !has_data || text(&device.folder.join("hidden")).is_some_and(|flag| flag != "0") {
            return false;
        }
        if self.is_multipath(device) {
            return true;
        }
        let is_disk = !NO_DISKS.iter().any(|driver| is_of_driver(&device.name, driver));
        let below = entries(&device.folder.join("slaves"));
        is_disk && below.is_empty() && !self.is_path_of_multipath(device)
    }

    /// Why its changes cannot be tracked.
    pub(super) fn untracked(&self, device: &Device) -> Option<String> {
        let paths = self.paths_of(&device.name);
        if !device.folder.join("mq").is_dir() && paths.is_empty() {
            let words =
                "its driver completes no requests that could be seen: everything of it is compared";
            return Some(words.to_owned());
        }
        if text(&device.folder.join("queue/zoned")).as_deref() == Some("host-managed") {
            let words =
                "its zones are emptied by commands without a range: everything of it is compared";
            return Some(words.to_owned());
        }
        // Requests of NVMe's multipath are counted on its paths; the disk itself counts nothing on older kernels.
        let counting = if paths.is_empty() { vec![device.name.clone()] } else { paths };
        let silent = counting.into_iter().find(|name| {
            let counts = self.root.join("sys/block").join(name).join("queue/iostats");
            text(&counts).as_deref() == Some("0")
        });
        silent.map(|name| {
            format!(
                "the kernel does not count what is written to it, so nothing would tell that a write was missed: \
                 echo 1 >/sys/block/{name}/queue/iostats"
            )
        })
    }

    pub(super) fn number(&self, device: &Device) -> Option<(u32, u32)> {
        parse_number(&text(&device.folder.join("dev"))?)
    }

    /// Hidden paths of an NVMe head: of nvme0n1 those that are called nvme0c0n1, nvme0c1n1 and so on.
    pub(super) fn paths_of(&self, name: &str) -> Vec<String> {
        let Some((subsystem, space)) =
            name.strip_prefix("nvme").and_then(|rest| rest.split_once('n'))
        else {
            return Vec::new();
        };
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_path = |name: &String| {
            let rest = name.strip_prefix("nvme").and_then(|rest| rest.strip_prefix(subsystem));
            let controller = rest
                .and_then(|rest| rest.strip_prefix('c')?.strip_suffix(space)?.strip_suffix('n'));
            controller.is_some_and(is_number)
        };
        if !is_number(subsystem) || !is_number(space) {
            return Vec::new();
        }
        entries(&self.root.join("sys/block")).into_iter().filter(is_path).collect()
    }

    /// Names of the leaves below a device, through partitions, device mapper, md and, by what `file` makes of the path
    /// behind a loop device, other file systems.
    pub(super) fn leaves_below(
        &self,
        number: (u32, u32),
        file: &mut dyn FnMut(&Path) -> Option<(u32, u32)>,
    ) -> Vec<String> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<Device> = self.numbered(number).into_iter().collect();
        while let Some(device) = open.pop() {
            if !seen.insert(device.name.clone()) {
                continue;
            }
            if self.is_leaf(&device) {
                found.insert(device.name);
                continue;
            }
            let below = entries(&device.folder.join("slaves"));
            open.extend(below.iter().filter_map(|name| self.whole(name)));
            if let Some(backing) = text(&device.folder.join("loop/backing_file")) {
                open.extend(file(Path::new(&backing)).and_then(|number| self.numbered(number)));
            }
        }
        found.into_iter().collect()
    }

    /// Files behind the loop devices that a device stands on, nearest first.
    pub(super) fn loop_file(&self, number: (u32, u32)) -> Option<PathBuf> {
        let mut open: Vec<Device> = self.numbered(number).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(device) = open.pop() {
            if !seen.insert(device.name.clone()) {
                continue;
            }
            if let Some(file) = text(&device.folder.join("loop/backing_file")) {
                return Some(PathBuf::from(file));
            }
            let below = entries(&device.folder.join("slaves"));
            open.extend(below.iter().filter_map(|name| self.whole(name)));
        }
        None
    }

    /// Members of the btrfs that a device is one of, by name.
    pub(super) fn btrfs_members(&self, node: &str) -> Vec<String> {
        let Some(name) = self.name_of_node(node) else { return Vec::new() };
        let systems = self.root.join("sys/fs/btrfs");
        let members = entries(&systems)
            .into_iter()
            .map(|system| entries(&systems.join(system).join("devices")));
        members.into_iter().find(|members| members.contains(&name)).unwrap_or_else(|| vec![name])
    }

    /// The number of a device or partition by name.
    pub(super) fn number_of(&self, name: &str) -> Option<(u32, u32)> {
        parse_number(&text(&self.root.join("sys/class/block").join(name).join("dev"))?)
    }

    fn name_of_node(&self, node: &str) -> Option<String> {
        let below = node.strip_prefix("/dev/")?;
        let dev = fs::canonicalize(self.root.join("dev")).ok()?;
        let full = fs::canonicalize(dev.join(below)).unwrap_or_else(|_| dev.join(below));
        let name = full.strip_prefix(&dev).ok()?.to_str()?.replace('/', "!");
        if let Some(wanted) = name.strip_prefix("mapper!") {
            let is_it =
                |device: &&Device| text(&device.folder.join("dm/name")).as_deref() == Some(wanted);
            return self.disks().iter().find(is_it).map(|device| device.name.clone());
        }
        Some(name)
    }

    fn is_multipath(&self, device: &Device) -> bool {
        text(&device.folder.join("dm/uuid")).is_some_and(|uuid| uuid.starts_with(MULTIPATH))
    }

    fn is_path_of_multipath(&self, device: &Device) -> bool {
        let above = entries(&device.folder.join("holders"));
        above.iter().filter_map(|name| self.named(name)).any(|above| self.is_multipath(&above))
    }

    fn named(&self, name: &str) -> Option<Device> {
        let folder = fs::canonicalize(self.root.join("sys/class/block").join(name)).ok()?;
        Some(Device { name: name.to_owned(), folder })
    }

    /// The device of this name, or the disk that it is a partition of.
    fn whole(&self, name: &str) -> Option<Device> {
        self.named(name).and_then(whole)
    }

    fn numbered(&self, (major, minor): (u32, u32)) -> Option<Device> {
        let place = self.root.join(format!("sys/dev/block/{major}:{minor}"));
        let folder = fs::canonicalize(place).ok()?;
        let name = folder.file_name()?.to_str()?.to_owned();
        whole(Device { name, folder })
    }
}

fn whole(device: Device) -> Option<Device> {
    if !device.folder.join("partition").is_file() {
        return Some(device);
    }
    let folder = device.folder.parent()?.to_owned();
    let name = folder.file_name()?.to_str()?.to_owned();
    Some(Device { name, folder })
}

/// Whether a name is of a driver: its prefix, and a number behind.
fn is_of_driver(name: &str, driver: &str) -> bool {
    let rest = name.strip_prefix(driver);
    rest.is_some_and(|rest| {
        rest.starts_with(|letter: char| letter.is_ascii_digit() || letter == '_')
    })
}

/// `major:minor`.
pub(super) fn parse_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// An attribute as text; nothing where it is missing or empty.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(ATTRIBUTE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let kept = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0');
    if kept.is_empty() { None } else { Some(kept.to_owned()) }
}

/// Names in a folder, in order; none where there is no folder.
fn entries(folder: &Path) -> Vec<String> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        found.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
