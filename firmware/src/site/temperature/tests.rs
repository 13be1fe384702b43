//! A sysfs that was made for it, with what a kernel writes and what none would.
//!
//! Seen to fail where the file is read to its end (the endless one never ended), where nothing asks what a disk can live
//! through (2147483 degrees), and where only the folder beside the disk is looked into (the disk of two controllers).

use std::os::unix::ffi::OsStrExt as _;

use super::*;

/// A folder as the kernel's of disks; it goes with the test.
struct Sysfs(PathBuf);

impl Sysfs {
    fn new(label: &str) -> Self {
        let name = format!("lifeboat-temperature-{label}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A sensor of this disk, at this place beside it, that tells this.
    fn sensor(&self, place: &str, told: &[u8]) -> PathBuf {
        let folder = self.0.join(place);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("temp1_input");
        fs::write(&file, told).unwrap();
        file
    }

    fn told(&self, disk: &str) -> Option<i16> {
        celsius(&self.0, disk)
    }
}

impl Drop for Sysfs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_disk_is_as_warm_as_its_own_sensor_says_wherever_the_kernel_puts_it() {
    let sysfs = Sysfs::new("places");
    sysfs.sensor("nvme0n1/device/hwmon3", b"41850\n");
    sysfs.sensor("sda/device/hwmon/hwmon0", b"36000\n");
    sysfs.sensor("sdb/device/hwmon/hwmon1", b"-4499\n");
    sysfs.sensor("nvme1n1/device/nvme1/hwmon2", b"50000\n");
    fs::create_dir_all(sysfs.0.join("vda/device")).unwrap();
    let told = ["nvme0n1", "sda", "sdb", "nvme1n1", "vda", "sdz", ""].map(|disk| sysfs.told(disk));
    assert_eq!(told, [Some(42), Some(36), Some(-4), Some(50), None, None, None]);
}

#[test]
fn what_no_sensor_says_is_no_temperature_and_holds_up_nobody() {
    let sysfs = Sysfs::new("hostile");
    for told in [
        &b""[..],
        b"\n",
        b"warm\n",
        b"0x1f\n",
        b"41.8\n",
        b"41850 C\n",
        b" 41850\n",
        b"2147483647\n",
        b"-2147483648\n",
        b"99999999999999999999\n",
        b"150501\n",
        b"-60501\n",
        b"\xff\xfe\n",
        b"41850\0\n",
        b"\xe2\x88\x92 5\n",
        &[b'4'; 70_000],
    ] {
        sysfs.sensor("sda/device/hwmon/hwmon0", told);
        assert_eq!(sysfs.told("sda"), None, "{}", String::from_utf8_lossy(told));
    }
    // One that does not tell does not hide one that does.
    sysfs.sensor("sda/device/hwmon/hwmon1", b"38000\n");
    assert_eq!(sysfs.told("sda"), Some(38));
    let file = sysfs.sensor("sdb/device/hwmon0", b"");
    for target in ["/dev/zero", "temp1_input", "/nowhere", "/proc/self"] {
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(target, &file).unwrap();
        assert_eq!(sysfs.told("sdb"), None, "{target}");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(sysfs.told("sdb"), None, "a folder");
    let odd = std::ffi::OsStr::from_bytes(b"hwmon\xff");
    fs::create_dir_all(sysfs.0.join("sdc/device").join(odd)).unwrap();
    fs::write(sysfs.0.join("sdc/device/hwmon0"), b"41850\n").unwrap();
    assert_eq!(sysfs.told("sdc"), None, "a sensor that is a file");
    let pipe = sysfs.0.join("sdd/device/hwmon/hwmon0");
    fs::create_dir_all(&pipe).unwrap();
    let made = std::process::Command::new("mkfifo").arg(pipe.join("temp1_input")).status();
    assert!(made.unwrap().success());
    assert_eq!(sysfs.told("sdd"), None, "a pipe that nobody writes into");
}
