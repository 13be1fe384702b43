//! How warm a disk is by its own sensor, as the kernel's drivers nvme and drivetemp tell it in sysfs.
//!
//! What is no temperature that a disk could have is taken for none: a figure that is wrong is worse than a dash.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Where the kernel has its disks.
pub(super) const DISKS: &str = "/sys/block";
/// What a disk may have and live, in degrees Celsius.
const LIVED_THROUGH: core::ops::RangeInclusive<i32> = -60..=150;
/// A sign, seven digits and an end of line; more is no number of thousandths.
const TEXT_BYTES_MAX: u64 = 10;
/// Sensors that are asked; a disk has one.
const SENSORS_MAX: usize = 16;

/// What the sensor of the disk of this name tells, rounded; none where there is none, or it tells nothing that could be.
pub(super) fn celsius(disks: &Path, name: &str) -> Option<i16> {
    let device = disks.join(name).join("device");
    // A disk with several controllers hangs under what they have in common.
    let controllers = entries(&device, "nvme");
    let around = [device.join("hwmon"), device].into_iter().chain(controllers);
    let sensors = around.flat_map(|folder| entries(&folder, "hwmon")).take(SENSORS_MAX);
    sensors.into_iter().find_map(|sensor| degrees(&sensor.join("temp1_input")))
}

/// What is in a folder under names that begin so, in their order: a folder that is read twice is read the same.
fn entries(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(begin.as_bytes()))
    };
    let mut all: Vec<PathBuf> = all.filter(is_one).collect();
    all.sort();
    all
}

fn degrees(file: &Path) -> Option<i16> {
    // A pipe that stands there would hold up whoever opens it.
    let mut text = String::new();
    fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    File::open(file).ok()?.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text).ok()?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return None;
    }
    let thousandths = text.trim_end().parse::<i32>().ok()?;
    let degrees = (thousandths + 500 * thousandths.signum()) / 1000;
    i16::try_from(degrees).ok().filter(|_| LIVED_THROUGH.contains(&degrees))
}

#[cfg(test)]
mod tests;
