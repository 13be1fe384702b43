//! What is mounted, and on which leaves it lies.

use std::path::{Path, PathBuf};

use hal_linux::inventory::mounts::{self, Mount};

use super::FileSystem;
use super::sysfs::{Sysfs, parse_number};

/// Loop devices on files on loop devices: more are taken for a circle.
const DEPTH_MAX: usize = 8;

/// File systems with a part on a leaf, innermost first.
pub(super) fn under(root: &Path) -> Vec<FileSystem> {
    let sysfs = Sysfs::new(root);
    let mounts = mounts::read(root).mounts;
    let mut found: Vec<(usize, usize, FileSystem)> = Vec::new();
    for (order, mount) in mounts.iter().enumerate() {
        let Some(number) = parse_number(&mount.numbers) else { continue };
        if let Some((_, _, known)) = found.iter_mut().find(|(_, _, known)| known.number == number) {
            // Mounted once more: the file system is one.
            known.read_only &= mount.read_only;
            continue;
        }
        let leaves = leaves(&sysfs, &mounts, mount, number);
        if !leaves.is_empty() {
            let system = FileSystem {
                at: PathBuf::from(&mount.at),
                kind: mount.kind.clone(),
                number,
                leaves,
                read_only: mount.read_only,
            };
            found.push((depth(&sysfs, &mounts, number), order, system));
        }
    }
    // What lies in a file of another is inner to it, and so is what was mounted later.
    found.sort_by_key(|(depth, order, _)| (*depth, *order));
    found.into_iter().rev().map(|(_, _, system)| system).collect()
}

fn leaves(sysfs: &Sysfs, mounts: &[Mount], mount: &Mount, number: (u32, u32)) -> Vec<String> {
    // A file system on several devices has a number of its own.
    let numbers = if number.0 == 0 {
        let members = sysfs.btrfs_members(&mount.source);
        members.iter().filter_map(|name| sysfs.number_of(name)).collect()
    } else {
        vec![number]
    };
    let mut leaves: Vec<String> = numbers
        .into_iter()
        .flat_map(|number| {
            sysfs.leaves_below(number, &mut |file| number_of_file(sysfs, mounts, file))
        })
        .collect();
    leaves.sort();
    leaves.dedup();
    leaves
}

/// How many files of other file systems it lies in.
fn depth(sysfs: &Sysfs, mounts: &[Mount], mut number: (u32, u32)) -> usize {
    for depth in 0..DEPTH_MAX {
        let file = sysfs.loop_file(number);
        match file.and_then(|file| number_of_file(sysfs, mounts, &file)) {
            Some(below) => number = below,
            None => return depth,
        }
    }
    DEPTH_MAX
}

/// The device of the file system that a file lies in: that of the longest mount point above it.
fn number_of_file(sysfs: &Sysfs, mounts: &[Mount], file: &Path) -> Option<(u32, u32)> {
    let above = mounts.iter().filter(|mount| file.starts_with(&mount.at));
    let nearest = above.max_by_key(|mount| mount.at.len())?;
    let number = parse_number(&nearest.numbers)?;
    if number.0 != 0 {
        return Some(number);
    }
    sysfs.btrfs_members(&nearest.source).iter().find_map(|name| sysfs.number_of(name))
}
