//! Which file system lies on which: a loop device's file, and so everything on it, lies on another file system.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::devices::FileSystem;

/// Device mappers upon each other, before something is wrong.
const DEPTH_MAX: usize = 16;

/// For each file system, when it is frozen: 0 first, with everything that lies on a file system before it.
#[must_use]
pub(super) fn levels(file_systems: &[FileSystem]) -> Vec<usize> {
    let below: Vec<Vec<usize>> = file_systems
        .iter()
        .map(|inner| {
            let files = backing_files(Path::new("/sys"), inner.number);
            files.iter().filter_map(|file| home_of(file, file_systems)).collect()
        })
        .collect();
    from_edges(&below)
}

/// The same of who lies on whom, by their places. A circle, which cannot be, comes to an end too.
fn from_edges(below: &[Vec<usize>]) -> Vec<usize> {
    let mut levels = vec![0; below.len()];
    for _ in 0..below.len() {
        let mut moved = false;
        for (inner, outers) in below.iter().enumerate() {
            let next = levels.get(inner).map_or(1, |level| level + 1);
            for outer in outers.iter().filter(|outer| **outer != inner) {
                if let Some(level) = levels.get_mut(*outer).filter(|level| **level < next) {
                    *level = next;
                    moved = true;
                }
            }
        }
        if !moved {
            break;
        }
    }
    levels
}

/// Files that a block device lies in, through partitions, device mappers and loop devices.
fn backing_files(sys: &Path, (major, minor): (u32, u32)) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let start = sys.join(format!("dev/block/{major}:{minor}"));
    let mut devices: Vec<(PathBuf, usize)> =
        fs::canonicalize(start).map(|device| (device, 0)).into_iter().collect();
    while let Some((mut device, depth)) = devices.pop() {
        if device.join("partition").exists() {
            device.pop();
        }
        if let Ok(name) = fs::read_to_string(device.join("loop/backing_file")) {
            files.push(PathBuf::from(name.trim_end_matches('\n')));
        }
        let slaves = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
        if depth < DEPTH_MAX {
            let slaves = slaves.filter_map(|slave| fs::canonicalize(slave.path()).ok());
            devices.extend(slaves.map(|slave| (slave, depth + 1)));
        }
    }
    files
}

/// The file system that a file is on: by its number, else (btrfs has one for each subvolume) by its path.
fn home_of(file: &Path, file_systems: &[FileSystem]) -> Option<usize> {
    let number = fs::metadata(file)
        .ok()
        .map(|found| (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev())));
    let by_number = file_systems.iter().position(|system| Some(system.number) == number);
    by_number.or_else(|| {
        let above =
            file_systems.iter().enumerate().filter(|(_, system)| file.starts_with(&system.at));
        above.max_by_key(|(_, system)| system.at.as_os_str().len()).map(|(place, _)| place)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_lies_on_another_is_frozen_before_it() {
        assert_eq!(from_edges(&[vec![], vec![0], vec![1], vec![]]), [2, 1, 0, 0]);
        assert_eq!(from_edges(&[vec![2], vec![2], vec![]]), [0, 0, 1]);
        let circle = from_edges(&[vec![1], vec![0]]);
        assert_eq!(circle.len(), 2, "it came to an end");
        assert_eq!(from_edges(&[vec![0, 7]]), [0], "itself, and nobody");
    }

    #[test]
    fn a_partition_of_a_loop_device_below_a_mapper_leads_to_its_file() {
        let sys = std::env::temp_dir().join(format!("lifeboat-order-{}", std::process::id()));
        let devices = sys.join("devices/block");
        fs::create_dir_all(devices.join("dm-0/slaves")).unwrap();
        fs::create_dir_all(devices.join("loop3/loop3p1")).unwrap();
        fs::create_dir_all(devices.join("loop3/loop")).unwrap();
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        fs::write(devices.join("loop3/loop3p1/partition"), "1\n").unwrap();
        fs::write(devices.join("loop3/loop/backing_file"), "/srv/disk.img\n").unwrap();
        symlink(devices.join("loop3/loop3p1"), devices.join("dm-0/slaves/loop3p1")).unwrap();
        symlink(devices.join("dm-0"), sys.join("dev/block/254:0")).unwrap();
        assert_eq!(backing_files(&sys, (254, 0)), [PathBuf::from("/srv/disk.img")]);
        assert!(backing_files(&sys, (8, 0)).is_empty());
        fs::remove_dir_all(sys).unwrap();
    }
}
