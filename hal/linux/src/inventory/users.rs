//! What stands on top of a device: its partitions, what LVM, crypt, multipath and md made of it,
//! loop devices on it, and what of all that is mounted or swap.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::mounts::{Mount, Mounts};
use super::sysfs::{Device, entries};

/// Where anything on top of the device is mounted, and `[swap]`; in order, each once.
pub(super) fn mounted_at(root: &Path, name: &str, mounts: &Mounts) -> Vec<String> {
    let names = on_top(root, name);
    let numbers: BTreeSet<String> =
        names.iter().filter_map(|name| Device::named(root, name)?.numbers()).collect();
    // A file system on several devices is mounted by the name of any one of them.
    let sources = with_btrfs_members(root, &names);
    let is_ours = |mount: &&Mount| {
        numbers.contains(&mount.numbers)
            || (mount.numbers.starts_with("0:")
                && kernel_name(root, &mount.source).is_some_and(|name| sources.contains(&name)))
    };
    let mut found: BTreeSet<String> =
        mounts.mounts.iter().filter(is_ours).map(|mount| mount.at.clone()).collect();
    let is_swap = |path: &String| kernel_name(root, path).is_some_and(|name| names.contains(&name));
    if mounts.swaps.iter().any(is_swap) {
        found.insert("[swap]".to_owned());
    }
    found.into_iter().collect()
}

/// Kernel names of the loop devices on a file or device.
pub(super) fn loop_devices_on(root: &Path, path: &Path) -> Vec<String> {
    let Ok(wanted) = fs::canonicalize(path) else { return Vec::new() };
    Device::all_disks(root)
        .into_iter()
        .filter(|device| {
            // The kernel names the file as it was opened, which is without symbolic links but under
            // the real root.
            device.backing_file().is_some_and(|file| {
                let file = root.join(file.trim_start_matches('/'));
                fs::canonicalize(file).is_ok_and(|file| file == wanted)
            })
        })
        .map(|device| device.name().to_owned())
        .collect()
}

/// Kernel names of the device itself and of everything on top of it, through any number of layers.
fn on_top(root: &Path, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        let Some(device) = Device::named(root, &name) else { continue };
        if found.insert(name) {
            open.extend(device.holders());
            open.extend(device.partition_names());
            open.extend(loop_devices_on(root, &root.join("dev").join(device.node())));
        }
    }
    found
}

/// The devices and, for every btrfs that has one of them, all its other devices.
fn with_btrfs_members(root: &Path, names: &BTreeSet<String>) -> BTreeSet<String> {
    let systems = root.join("sys/fs/btrfs");
    let mut found = names.clone();
    for system in entries(&systems) {
        let members = entries(&systems.join(system).join("devices"));
        if members.iter().any(|member| names.contains(member)) {
            found.extend(members);
        }
    }
    found
}

/// The kernel's name of a device node, through symbolic links and device mapper's names.
fn kernel_name(root: &Path, node: &str) -> Option<String> {
    let node = node.strip_prefix("/dev/")?;
    let resolved = fs::canonicalize(root.join("dev").join(node)).ok();
    let dev = fs::canonicalize(root.join("dev")).ok()?;
    let within = resolved.as_deref().and_then(|path| path.strip_prefix(&dev).ok());
    let name = within.map_or_else(|| node.to_owned(), |path| path.to_string_lossy().into_owned());
    let mapper = name.strip_prefix("mapper/").and_then(|wanted| {
        let mut devices = Device::all_disks(root).into_iter();
        devices.find(|device| device.mapper_name().is_some_and(|name| name == wanted))
    });
    Some(mapper.map_or_else(|| name.replace('/', "!"), |device| device.name().to_owned()))
}
