//! A machine made of files: its sysfs, its /proc and its device nodes.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::{env, fs, process};

use hal::disk::Geometry;
use hal::inventory::PartitionFacts;

use super::*;

/// A root folder with the kernel's files in it.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let root = env::temp_dir().join(format!("hal-machine-{}-{name}", process::id()));
        fs::create_dir_all(&root).unwrap();
        let machine = Self { root: fs::canonicalize(root).unwrap() };
        for folder in ["sys/block", "sys/class/block", "sys/dev/block", "proc/self", "dev/mapper"] {
            fs::create_dir_all(machine.root.join(folder)).unwrap();
        }
        machine
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A device in `folder` under sys/devices, its links, and its node.
    fn device(&self, folder: &str, numbers: &str, units: u64) -> String {
        let place = format!("sys/devices/{folder}");
        self.write(&format!("{place}/dev"), numbers);
        self.write(&format!("{place}/size"), format!("{units}\n"));
        self.write(&format!("{place}/ro"), "0\n");
        let name = folder.rsplit('/').next().unwrap();
        let target = self.root.join(&place);
        symlink(&target, self.root.join("sys/class/block").join(name)).unwrap();
        symlink(&target, self.root.join("sys/dev/block").join(numbers)).unwrap();
        self.write(&format!("dev/{}", name.replace('!', "/")), "");
        place
    }

    fn disk(&self, folder: &str, numbers: &str, units: u64) -> String {
        let place = self.device(folder, numbers, units);
        let name = folder.rsplit('/').next().unwrap();
        symlink(self.root.join(&place), self.root.join("sys/block").join(name)).unwrap();
        for (attribute, value) in [
            ("logical_block_size", "512"),
            ("physical_block_size", "4096"),
            ("rotational", "1"),
            ("discard_granularity", "0"),
            ("discard_max_bytes", "0"),
        ] {
            self.write(&format!("{place}/queue/{attribute}"), format!("{value}\n"));
        }
        fs::create_dir_all(self.root.join(&place).join("device")).unwrap();
        place
    }

    fn partition(&self, disk: &str, name: &str, numbers: &str, start: u64, units: u64) -> String {
        let place = self.device(&format!("{disk}/{name}"), numbers, units);
        let number = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        self.write(&format!("{place}/partition"), number);
        self.write(&format!("{place}/start"), format!("{start}\n"));
        place
    }

    /// Says that `holder` is made of the device in `place`.
    fn holds(&self, place: &str, holder: &str) {
        fs::create_dir_all(self.root.join(place).join("holders").join(holder)).unwrap();
    }

    fn mountinfo(&self, lines: &[&str]) {
        self.write("proc/self/mountinfo", lines.join("\n"));
    }

    fn file(&self, path: &str) -> DiskFacts {
        let path = self.root.join(path);
        facts_of_file(&self.root, &path, &rustix::fs::stat(&path).unwrap())
    }

    fn inventory(&self) -> Vec<DiskFacts> {
        inventory_under(&self.root)
    }

    fn mounted_at(&self, name: &str) -> Vec<String> {
        users::mounted_at(&self.root, name, &mounts::read(&self.root))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn a_disk_says_who_it_is() {
    let machine = Machine::new("identity");
    let sda = machine.disk("pci/ata1/block/sda", "8:0", 3_907_029_168);
    machine.write(&format!("{sda}/device/model"), "WDC WD2003FYYS-0\n");
    machine.write(&format!("{sda}/device/wwid"), "naa.50014ee2b0a1b2c3\n");
    machine.write(&format!("{sda}/device/vpd_pg80"), b"\x00\x80\x00\x0c   WD-WMAY12");
    machine.partition("pci/ata1/block/sda", "sda2", "8:2", 1_050_624, 2048);
    machine.partition("pci/ata1/block/sda", "sda1", "8:1", 2048, 1_048_576);
    let nvme = machine.disk("pci/nvme-subsys0/nvme10n1", "259:0", 1001);
    machine.write(&format!("{nvme}/queue/rotational"), "0\n");
    machine.write(&format!("{nvme}/queue/logical_block_size"), "4096\n");
    machine.write(&format!("{nvme}/queue/discard_granularity"), "4096\n");
    machine.write(&format!("{nvme}/queue/discard_max_bytes"), "2199023255040\n");
    machine.write(&format!("{nvme}/wwid"), "eui.0025388b91b0c7f1\n");
    machine.write(&format!("{nvme}/device/serial"), "S4EWNX0N123456      \n");
    machine.write(&format!("{nvme}/ro"), "1\n");

    let found = machine.inventory();
    let [disk, flash] = found.as_slice() else { panic!("{found:#?}") };
    assert!(disk.path.ends_with("/dev/sda"), "{}", disk.path);
    assert_eq!(disk.model.as_deref(), Some("WDC WD2003FYYS-0"));
    assert_eq!(disk.serial.as_deref(), Some("WD-WMAY12"));
    assert_eq!(disk.wwn.as_deref(), Some("naa.50014ee2b0a1b2c3"));
    assert_eq!(disk.geometry.bytes, 2_000_398_934_016);
    assert_eq!(disk.geometry.logical_sector_bytes, 512);
    assert_eq!(disk.geometry.physical_sector_bytes, 4096);
    assert_eq!(disk.geometry.discard_bytes, 0);
    assert_eq!(disk.rotational, Some(true));
    assert_eq!(disk.mounted_at, [""; 0]);
    let first = PartitionFacts { number: 1, start: 1 << 20, bytes: 1 << 29 };
    let second = PartitionFacts { number: 2, start: 1_050_624 * 512, bytes: 1 << 20 };
    assert_eq!(disk.partitions, [first, second], "in order of their start");

    assert_eq!(flash.serial.as_deref(), Some("S4EWNX0N123456"));
    assert_eq!(flash.wwn.as_deref(), Some("eui.0025388b91b0c7f1"));
    assert_eq!((flash.model.as_deref(), flash.rotational), (None, Some(false)));
    assert_eq!(flash.geometry.logical_sector_bytes, 4096);
    assert_eq!(flash.geometry.bytes, 1000 * 512, "whole sectors");
    assert_eq!(flash.geometry.discard_bytes, 4096);
    assert!(flash.geometry.read_only);
}

#[test]
fn only_hardware_with_a_medium_is_in_the_inventory() {
    let machine = Machine::new("hardware");
    machine.disk("virtio1/block/vda", "254:0", 100);
    machine.disk("pci/block/cciss!c0d0", "104:0", 100);
    let drive = machine.disk("pci/ata2/block/sr0", "11:0", 100);
    machine.write(&format!("{drive}/device/type"), "5\n");
    machine.disk("usb/block/sdb", "8:16", 0);
    let path = machine.disk("pci/nvme0/nvme0c0n1", "259:9", 100);
    machine.write(&format!("{path}/hidden"), "1\n");
    for (name, numbers) in [("loop0", "7:0"), ("dm-0", "253:0"), ("md127", "9:127")] {
        let place = machine.disk(&format!("virtual/block/{name}"), numbers, 100);
        fs::remove_dir(machine.root.join(place).join("device")).unwrap();
    }
    let paths: Vec<String> = machine.inventory().into_iter().map(|disk| disk.path).collect();
    let [one, two] = paths.as_slice() else { panic!("{paths:?}") };
    assert!(one.ends_with("/dev/vda"), "{one}");
    assert!(two.ends_with("/dev/cciss/c0d0"), "{two}");
}

#[test]
fn what_is_mounted_is_found_through_every_layer() {
    let machine = Machine::new("layers");
    // Two disks, a partition each, an array of both, a crypt device on it, a logical volume on
    // that.
    machine.disk("pci/block/sda", "8:0", 100);
    machine.disk("pci/block/sdb", "8:16", 100);
    machine.disk("pci/block/sdc", "8:32", 100);
    let sda1 = machine.partition("pci/block/sda", "sda1", "8:1", 1, 90);
    let sdb1 = machine.partition("pci/block/sdb", "sdb1", "8:17", 1, 90);
    let md = machine.disk("virtual/block/md0", "9:0", 80);
    let crypt = machine.disk("virtual/block/dm-0", "253:0", 70);
    let volume = machine.disk("virtual/block/dm-1", "253:1", 60);
    machine.write(&format!("{volume}/dm/name"), "vg-root");
    for (place, holder) in [(&sda1, "md0"), (&sdb1, "md0"), (&md, "dm-0"), (&crypt, "dm-1")] {
        machine.holds(place, holder);
    }
    // A loop of holders cannot be, and must not hang us.
    machine.holds(&volume, "md0");
    machine.mountinfo(&[
        "20 1 0:5 / /dev rw - devtmpfs udev rw",
        "22 1 253:1 / / rw - ext4 /dev/mapper/vg-root rw",
        "23 22 253:1 /home /home\\040two rw shared:1 - ext4 /dev/mapper/vg-root rw",
        "24 22 8:32 / /data rw - xfs /dev/sdc rw",
    ]);
    for name in ["sda", "sdb", "sda1", "md0", "dm-0", "dm-1"] {
        assert_eq!(machine.mounted_at(name), ["/", "/home two"], "{name}");
    }
    assert_eq!(machine.mounted_at("sdc"), ["/data"]);
}

#[test]
fn swap_is_found_by_its_node_and_by_its_mapper_name() {
    let machine = Machine::new("swap");
    machine.disk("pci/block/sda", "8:0", 100);
    let sda2 = machine.partition("pci/block/sda", "sda2", "8:2", 1, 90);
    machine.disk("pci/block/sdb", "8:16", 100);
    machine.disk("pci/block/sdc", "8:32", 100);
    let mapped = machine.disk("virtual/block/dm-3", "253:3", 100);
    machine.write(&format!("{mapped}/dm/name"), "swap vol");
    machine.holds(&sda2, "dm-3");
    machine.write(
        "proc/swaps",
        "Filename Type Size Used Priority\n\
        /dev/mapper/swap\\040vol partition 1 0 -2\n/dev/sdb partition 1 0 -3\n\
        /swapfile file 1 0 -4\n",
    );
    assert_eq!(machine.mounted_at("sda"), ["[swap]"]);
    assert_eq!(machine.mounted_at("sdb"), ["[swap]"]);
    assert_eq!(machine.mounted_at("sdc"), [""; 0]);
}

#[test]
fn file_systems_on_several_devices_count_for_each() {
    let machine = Machine::new("btrfs");
    for (name, numbers) in [("sda", "8:0"), ("sdb", "8:16"), ("sdc", "8:32")] {
        machine.disk(&format!("pci/block/{name}"), numbers, 100);
    }
    let devices = machine.root.join("sys/fs/btrfs/6d2c-uuid/devices");
    for name in ["sda", "sdb"] {
        fs::create_dir_all(devices.join(name)).unwrap();
    }
    fs::create_dir_all(machine.root.join("sys/fs/btrfs/features")).unwrap();
    fs::create_dir_all(machine.root.join("dev/disk/by-uuid")).unwrap();
    symlink("../../sda", machine.root.join("dev/disk/by-uuid/6d2c")).unwrap();
    machine.mountinfo(&["22 1 0:33 / /pool rw - btrfs /dev/disk/by-uuid/6d2c rw"]);
    assert_eq!(machine.mounted_at("sda"), ["/pool"]);
    assert_eq!(machine.mounted_at("sdb"), ["/pool"]);
    assert_eq!(machine.mounted_at("sdc"), [""; 0]);
}

#[test]
fn image_files_and_disks_under_loop_devices_are_in_use() {
    let machine = Machine::new("loop");
    machine.disk("pci/block/sda", "8:0", 100);
    machine.write("images/disk.img", "x");
    symlink("disk.img", machine.root.join("images/link.img")).unwrap();
    for (name, numbers, file) in [
        ("loop0", "7:0", "/images/disk.img"),
        ("loop1", "7:1", "/dev/sda"),
        ("loop2", "7:2", "/gone"),
    ] {
        let place = machine.disk(&format!("virtual/block/{name}"), numbers, 10);
        machine.write(&format!("{place}/loop/backing_file"), format!("{file}\n"));
    }
    machine.mountinfo(&[
        "30 1 7:0 / /image rw - ext4 /dev/loop0 rw",
        "31 1 7:1 / /disk ro - ext4 /dev/loop1 ro",
    ]);
    for name in ["disk.img", "link.img"] {
        let facts = machine.file(&format!("images/{name}"));
        assert_eq!(facts.mounted_at, ["/image"]);
        assert_eq!(facts.geometry.bytes, 1);
    }
    assert_eq!(machine.mounted_at("sda"), ["/disk"]);
}

/// A GPT header for this sector, with a checksum.
fn header(lba: u64, guid: [u8; 16]) -> Vec<u8> {
    let mut header = vec![0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&lba.to_le_bytes());
    header[56..72].copy_from_slice(&guid);
    let mut crc = u32::MAX;
    for byte in &header {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    header[16..20].copy_from_slice(&(!crc).to_le_bytes());
    header
}

#[test]
fn the_spare_table_names_a_disk_whose_first_is_damaged() {
    let machine = Machine::new("table");
    for (sector_bytes, bytes) in [(512_usize, 1_000_448_usize), (4096, 1_003_520)] {
        let last = (bytes / sector_bytes - 1) as u64;
        let mut image = vec![0; bytes];
        image[sector_bytes..sector_bytes + 92].copy_from_slice(&header(1, [7; 16]));
        image[bytes - sector_bytes..][..92].copy_from_slice(&header(last, [7; 16]));
        machine.write("disk.img", &image);
        assert_eq!(machine.file("disk.img").table_guid, Some([7; 16]));
        image[sector_bytes + 60] ^= 1;
        machine.write("disk.img", &image);
        assert_eq!(machine.file("disk.img").table_guid, Some([7; 16]));
        image[bytes - sector_bytes + 60] ^= 1;
        machine.write("disk.img", &image);
        assert_eq!(machine.file("disk.img").table_guid, None);
    }
}

fn nameless() -> DiskFacts {
    let geometry = Geometry {
        bytes: 0,
        logical_sector_bytes: 512,
        physical_sector_bytes: 512,
        request_align_bytes: 1,
        discard_bytes: 0,
        read_only: false,
    };
    DiskFacts::of("/nowhere/x.img", geometry)
}

#[test]
fn hardware_is_known_by_what_it_says_and_files_by_their_path() {
    assert_eq!(identity(&nameless()), "path=/nowhere/x.img");
    let disk = DiskFacts {
        wwn: Some("naa.5000".into()),
        serial: Some("S1".into()),
        table_guid: Some([0xAB; 16]),
        ..nameless()
    };
    assert_eq!(identity(&disk), format!("wwn=naa.5000 serial=S1 gpt={}", "ab".repeat(16)));
}

#[test]
fn nonsense_in_attributes_ends_in_an_answer() {
    let machine = Machine::new("nonsense");
    let sda = machine.disk("pci/block/sda", "8:0", 100);
    machine.write(&format!("{sda}/size"), "18446744073709551615");
    machine.write(&format!("{sda}/queue/logical_block_size"), "-1");
    machine.write(&format!("{sda}/queue/physical_block_size"), b"\xff\xfe");
    machine.write(&format!("{sda}/device/vpd_pg80"), b"\x00\x80\xff\xff");
    machine.write(&format!("{sda}/device/wwid"), "x".repeat(100_000));
    machine.partition("pci/block/sda", "sda1", "8:1", u64::MAX, u64::MAX);
    let found = machine.inventory();
    let [disk] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(disk.geometry.bytes, u64::MAX / 512 * 512);
    assert_eq!(disk.geometry.logical_sector_bytes, 512);
    assert_eq!((disk.serial.as_deref(), disk.partitions.len()), (None, 0));
    assert_eq!(disk.wwn.as_ref().map(String::len), Some(4096));
    for sector_bytes in ["0", "1", "4294967296", "2147483648", ""] {
        machine.write(&format!("{sda}/queue/logical_block_size"), sector_bytes);
        assert_eq!(machine.inventory()[0].geometry.logical_sector_bytes, 512);
    }
    // A machine without any of it.
    assert_eq!(inventory_under(&machine.root.join("nowhere")), []);
}

#[test]
fn this_machine_is_described() {
    for disk in inventory() {
        assert!(disk.geometry.bytes > 0, "{disk:?}");
        assert_eq!(facts_of(&disk.path).unwrap(), disk);
    }
    let numbers =
        fs::metadata("/").map(|found| std::os::unix::fs::MetadataExt::dev(&found)).unwrap();
    let (major, minor) = (rustix::fs::major(numbers), rustix::fs::minor(numbers));
    match Device::numbered(Path::new("/"), major, minor) {
        Some(device) => {
            let facts = facts_of(Path::new("/dev").join(device.node())).unwrap();
            assert!(facts.mounted_at.contains(&"/".to_owned()), "{facts:?}");
        }
        None => eprintln!("SKIPPED, not tested on this machine: / is on no block device"),
    }
    assert_eq!(facts_of("/").unwrap_err().kind, ErrorKind::Refused);
    assert_eq!(facts_of("/dev/null").unwrap_err().kind, ErrorKind::Refused);
    assert_eq!(facts_of("/nowhere").unwrap_err().kind, ErrorKind::Gone);
}
