//! All file systems of a server as one tree, put together as the server does it by its table of file systems.
//!
//! Only what starting needs is opened: the root, what is below `/boot`, `/usr` and `/var`, and the EFI system
//! partition, which is found as `@esp` whether the server mounts it or not.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use super::tree::{Kind, Rights, Tree, join};
use super::volumes::content::Content;
use super::volumes::table::Role;
use super::volumes::{GuestDisk, Volume, Volumes};

/// The table of file systems.
pub mod fstab;

use fstab::Line;

/// The EFI system partition's place.
pub const ESP: &str = "@esp";
/// Where file systems are opened that the server mounts.
const WANTED: [&str; 7] = ["boot", "boot/efi", "efi", "usr", "var", "var/lib", "var/lib/lifeboat"];
/// Subvolumes of Btrfs in which installers put the root.
const SUBVOLUMES: [&str; 4] = ["", "@", "root", "@rootfs"];

/// Opens the file system of a volume: the kernel, where there is one.
pub trait Open {
    /// What is on the volume. `kind` is what its content says; errors say why it cannot be looked into.
    fn open(&self, volume: &Volume, kind: &str) -> io::Result<Rc<dyn Tree>>;
}

/// A file system in its place.
struct Mount {
    at: String,
    /// The folder of the file system that is there: a subvolume.
    below: String,
    tree: Rc<dyn Tree>,
}

/// A server's disks, opened.
pub struct Survey {
    /// Partitions and the like.
    pub volumes: Volumes,
    /// The disks, in order: name and size.
    pub disks: Vec<(String, u64)>,
    /// Which volume has the root file system.
    pub root: Option<usize>,
    /// Which volume has an installation of Windows.
    pub windows: Option<usize>,
    /// The table of file systems.
    pub fstab: Vec<Line>,
    /// Volumes that could not be opened and why.
    pub unopened: Vec<(String, String)>,
    /// Longest path first.
    mounts: Vec<Mount>,
}

impl Survey {
    /// Looks at disks. Errors: a disk that cannot be read.
    pub fn open(disks: &[GuestDisk], opener: &dyn Open) -> io::Result<Self> {
        let volumes = Volumes::find(disks)?;
        let disks = disks.iter().map(|disk| (disk.name.clone(), disk.view.bytes())).collect();
        let mut survey = Self {
            volumes,
            disks,
            root: None,
            windows: None,
            fstab: Vec::new(),
            unopened: Vec::new(),
            mounts: Vec::new(),
        };
        let mut opened: BTreeMap<usize, Rc<dyn Tree>> = BTreeMap::new();
        survey.find_root(opener, &mut opened)?;
        if survey.root.is_some() {
            survey.fstab =
                fstab::parse(&(&survey as &dyn Tree).text("etc/fstab")?.unwrap_or_default());
            survey.mount_wanted(opener, &mut opened);
        }
        survey.mount_esp(opener, &mut opened);
        survey.mounts.sort_by_key(|mount| core::cmp::Reverse(mount.at.len()));
        Ok(survey)
    }

    fn find_root(
        &mut self,
        opener: &dyn Open,
        opened: &mut BTreeMap<usize, Rc<dyn Tree>>,
    ) -> io::Result<()> {
        for place in 0..self.volumes.volumes.len() {
            // What starting does not need is not opened: each would have its journal replayed.
            if self.root.is_some() {
                break;
            }
            let kind = match &self.volumes.volumes[place].content {
                Content::FileSystem { kind, .. } if *kind != "vfat" => *kind,
                _ => continue,
            };
            let Some(tree) = self.opened(place, opener, opened) else { continue };
            if kind == "ntfs" {
                if tree.kind("Windows/System32/config/SYSTEM")?.is_some() && self.windows.is_none()
                {
                    self.windows = Some(place);
                    self.mounts.push(Mount { at: String::new(), below: String::new(), tree });
                }
                continue;
            }
            for below in SUBVOLUMES {
                let there = |path: &str| tree.kind(&join(below, path)).map(|kind| kind.is_some());
                let named = there("etc/os-release")? || there("usr/lib/os-release")?;
                if self.root.is_none() && (named || there("etc/fstab")?) && there("etc")? {
                    self.root = Some(place);
                    // A Windows beside it is not what is started, and none of its files are this root's.
                    self.windows = None;
                    self.mounts.clear();
                    let tree = Rc::clone(&tree);
                    self.mounts.push(Mount { at: String::new(), below: below.to_owned(), tree });
                }
            }
        }
        Ok(())
    }

    /// A volume is opened once: the kernel would write it twice otherwise.
    fn opened(
        &mut self,
        place: usize,
        opener: &dyn Open,
        opened: &mut BTreeMap<usize, Rc<dyn Tree>>,
    ) -> Option<Rc<dyn Tree>> {
        if let Some(tree) = opened.get(&place) {
            return Some(Rc::clone(tree));
        }
        let volume = &self.volumes.volumes[place];
        let Content::FileSystem { kind, .. } = volume.content else { return None };
        match opener.open(volume, kind) {
            Ok(tree) => {
                opened.insert(place, Rc::clone(&tree));
                Some(tree)
            }
            Err(error) => {
                let known = self.unopened.iter().any(|(name, _)| *name == volume.name);
                if !known {
                    self.unopened.push((volume.name.clone(), error.to_string()));
                }
                None
            }
        }
    }

    fn mount_wanted(&mut self, opener: &dyn Open, opened: &mut BTreeMap<usize, Rc<dyn Tree>>) {
        for line in self.fstab.clone() {
            let at = line.at.trim_matches('/').to_owned();
            if !WANTED.contains(&at.as_str()) || self.mounts.iter().any(|mount| mount.at == at) {
                continue;
            }
            let Some(place) = self.resolve(&line.what) else { continue };
            let below = line.option("subvol").unwrap_or_default().trim_matches('/').to_owned();
            let Some(tree) = self.opened(place, opener, opened) else { continue };
            if matches!(tree.kind(&below), Ok(Some(Kind::Folder))) || below.is_empty() {
                self.mounts.push(Mount { at, below, tree });
            } else {
                let words = format!("it has no subvolume {below}, which is mounted on /{at}");
                self.unopened.push((self.volumes.volumes[place].name.clone(), words));
            }
        }
    }

    /// What the server mounts over a path and could not be opened here: what is written to that path is hidden there.
    #[must_use]
    pub fn hidden(&self, path: &str) -> Option<&Line> {
        let covers = |line: &&Line| {
            let at = line.at.trim_matches('/');
            let below = path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
            below && !at.is_empty() && !line.is_optional() && !self.is_mounted(at)
        };
        self.fstab.iter().find(covers)
    }

    fn mount_esp(&mut self, opener: &dyn Open, opened: &mut BTreeMap<usize, Rc<dyn Tree>>) {
        let is_esp = |volume: &Volume| {
            volume.partition.as_ref().is_some_and(|partition| partition.role == Role::Esp)
        };
        let esps = self.volumes.volumes.iter().enumerate().filter(|(_, volume)| is_esp(volume));
        let esps: Vec<usize> = esps.map(|(place, _)| place).collect();
        for place in esps {
            if let Some(tree) = self.opened(place, opener, opened) {
                self.mounts.push(Mount { at: ESP.to_owned(), below: String::new(), tree });
                return;
            }
        }
    }

    /// Where the server itself mounts its EFI system partition.
    #[must_use]
    pub fn esp_at(&self) -> Option<&str> {
        let esp = &self.mounts.iter().find(|mount| mount.at == ESP)?.tree;
        let twin =
            self.mounts.iter().find(|mount| mount.at != ESP && Rc::ptr_eq(&mount.tree, esp))?;
        Some(&twin.at)
    }

    /// Whether a file system is in this place.
    #[must_use]
    pub fn is_mounted(&self, at: &str) -> bool {
        self.mounts.iter().any(|mount| mount.at == at)
    }

    /// The volume that a table of file systems or a command line means.
    #[must_use]
    pub fn resolve(&self, what: &str) -> Option<usize> {
        let what = what.trim_matches('"');
        let volumes = &self.volumes.volumes;
        let find = |test: &dyn Fn(&Volume) -> bool| volumes.iter().position(test);
        let tag = |name: &str| {
            let by = format!("/dev/disk/by-{}/", name.to_lowercase());
            let value = what.strip_prefix(&format!("{name}="));
            value.or_else(|| what.strip_prefix(&by)).map(|value| value.trim_matches('"').to_owned())
        };
        if let Some(uuid) = tag("UUID") {
            return find(&|volume| {
                volume.uuid().is_some_and(|known| known.eq_ignore_ascii_case(&uuid))
            });
        }
        if let Some(label) = tag("LABEL") {
            return find(&|volume| volume.label().is_some_and(|known| known == label));
        }
        let part = |test: &dyn Fn(&super::volumes::Partition) -> bool| {
            find(&|volume| volume.partition.as_ref().is_some_and(test))
        };
        if let Some(uuid) = tag("PARTUUID") {
            return part(&|partition| partition.uuid.eq_ignore_ascii_case(&uuid));
        }
        if let Some(label) = tag("PARTLABEL") {
            return part(&|partition| partition.label == label);
        }
        let name = what.strip_prefix("/dev/")?;
        if let Some(name) = name.strip_prefix("mapper/") {
            // LVM writes a dash in a name as two, and one between group and volume.
            let written = |volume: &Volume| {
                let (group, volume) = volume.name.split_once('/')?;
                Some(format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--")))
            };
            return find(&|volume| written(volume).is_some_and(|known| known == name));
        }
        find(&|volume| volume.name == name).or_else(|| self.by_number(name))
    }

    /// A device name of a server of one disk: whatever its driver calls it, the number is the partition's.
    ///
    /// Only where the name is a first disk's and the server calls none of its volumes as the point does. Otherwise the
    /// name may be that of a disk that is not in the point, in whose place no other may be mounted.
    fn by_number(&self, name: &str) -> Option<usize> {
        let known = |line: &Line| {
            let name = line.what.strip_prefix("/dev/");
            name.is_some_and(|name| self.volumes.volumes.iter().any(|volume| volume.name == name))
        };
        let first = ["sda", "hda", "vda", "xvda", "nvme0n1p", "cciss/c0d0p"];
        let number = first.iter().find_map(|disk| name.strip_prefix(disk))?;
        if self.disks.len() != 1 || self.fstab.iter().any(known) {
            return None;
        }
        let number: u32 = number.parse().ok()?;
        self.volumes.volumes.iter().position(|volume| {
            volume.partition.as_ref().is_some_and(|partition| partition.number == number)
        })
    }

    /// The file system that has a path, and the path there.
    fn route(&self, path: &str) -> io::Result<(&dyn Tree, String)> {
        let path = path.trim_matches('/');
        for mount in &self.mounts {
            let within = if mount.at.is_empty() {
                Some(path)
            } else {
                path.strip_prefix(&mount.at)
                    .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                    .map(|rest| rest.trim_start_matches('/'))
            };
            if let Some(within) = within {
                let within = match (mount.below.is_empty(), within.is_empty()) {
                    (true, _) => within.to_owned(),
                    (false, true) => mount.below.clone(),
                    (false, false) => join(&mount.below, within),
                };
                return Ok((mount.tree.as_ref(), within));
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("/{path}: no file system has it")))
    }
}

impl Volume {
    /// `UUID`.
    #[must_use]
    pub fn uuid(&self) -> Option<&str> {
        match &self.content {
            Content::FileSystem { uuid, .. } | Content::Swap { uuid, .. } => Some(uuid),
            _ => None,
        }
    }

    /// `LABEL`; none where it is empty.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        match &self.content {
            Content::FileSystem { label, .. } | Content::Swap { label, .. } => {
                Some(label.as_str()).filter(|label| !label.is_empty())
            }
            _ => None,
        }
    }
}

impl Tree for Survey {
    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        let Ok((tree, path)) = self.route(path) else { return Ok(None) };
        tree.kind(&path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let Ok((tree, path)) = self.route(path) else { return Ok(Vec::new()) };
        tree.list(&path)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        let (tree, path) = self.route(path)?;
        tree.open(&path)
    }

    fn rights(&self, path: &str) -> io::Result<Option<Rights>> {
        let Ok((tree, path)) = self.route(path) else { return Ok(None) };
        tree.rights(&path)
    }

    fn write(&self, path: &str, bytes: &[u8], rights: Option<Rights>) -> io::Result<()> {
        let (tree, path) = self.route(path)?;
        tree.write(&path, bytes, rights)
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (tree, path) = self.route(path)?;
        tree.append(&path, bytes)
    }

    fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (tree, path) = self.route(path)?;
        tree.patch(&path, offset, bytes)
    }

    fn truncate(&self, path: &str, bytes: u64) -> io::Result<()> {
        let (tree, path) = self.route(path)?;
        tree.truncate(&path, bytes)
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        let (tree, path) = self.route(path)?;
        tree.make_folder(&path)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let (tree, path) = self.route(path)?;
        tree.remove(&path)
    }

    fn link(&self, path: &str) -> io::Result<Option<String>> {
        let (tree, path) = self.route(path)?;
        tree.link(&path)
    }
}
