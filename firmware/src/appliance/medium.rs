//! What the machine was booted from: a disk with two partitions that are found by name, or a CD; and the file
//! `lifeboat.toml` on it.
//!
//! Nothing stays mounted, so that a stick may be pulled. The firmware's word on which partition it booted decides; where
//! two copies of the same image are plugged in, which bear the same identifiers, it is no help, and nothing is taken.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hal::table::guid_text;
use image_layout::configuration::BYTES_MAX;
use image_layout::{disk, esp};

use super::modules::Loader;
use super::mounts;

/// Where the ESP is looked at.
const AT: &str = "/run/esp";
/// Whose variables systemd's stub and boot manager tell by.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// That systemd's stub was there at all.
const STUB: &str = "/sys/firmware/efi/efivars/StubInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Where the name of a CD's volume stands in its first descriptor.
const LABEL_AT: core::ops::Range<usize> = 40..72;

/// What the firmware says of where the kernel came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Booted {
    /// From the partition with this identifier, in small letters.
    Partition(String),
    /// From something without a partition table: a CD, or the network.
    Elsewhere,
    /// It says nothing: the kernel was handed over by somebody else.
    Unknown,
}

impl Booted {
    fn partition(&self) -> Option<&str> {
        match self {
            Self::Partition(uuid) => Some(uuid),
            Self::Elsewhere | Self::Unknown => None,
        }
    }
}

/// A partition that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its node.
    pub(crate) device: PathBuf,
    /// The kernel's name of the disk that it is on.
    pub(crate) disk: String,
    /// Its name in the partition table.
    pub(crate) name: String,
    /// Its identifier, in small letters; empty where nothing tells.
    pub(crate) uuid: String,
}

/// All partitions with names, under `root`.
pub(crate) fn partitions(root: &Path) -> Vec<Partition> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/block")) else { return Vec::new() };
    let mut found: Vec<Partition> = entries
        .flatten()
        .filter_map(|entry| {
            let facts = fs::read_to_string(entry.path().join("uevent")).ok()?;
            let real = fs::canonicalize(entry.path()).ok()?;
            let parent = real.parent()?.file_name()?.to_str()?;
            partition(root, &facts, parent)
        })
        .collect();
    found.sort_by(|one, two| one.device.cmp(&two.device));
    found
}

fn partition(root: &Path, facts: &str, disk: &str) -> Option<Partition> {
    let value =
        |key: &str| facts.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    (value("DEVTYPE")? == "partition").then_some(())?;
    let name = value("PARTNAME").unwrap_or_default().to_owned();
    // Kernels before 6.13 do not tell; only that of an ESP of ours is ever asked for.
    let told = value("PARTUUID").map(str::to_ascii_lowercase);
    let read = || {
        let number = value("PARTN")?.parse().ok()?;
        let table = File::open(root.join("dev").join(disk)).ok()?;
        partition_uuid(&table, number)
    };
    let uuid = told.or_else(|| if name == disk::ESP_NAME { read() } else { None });
    Some(Partition {
        device: root.join("dev").join(value("DEVNAME")?),
        disk: disk.to_owned(),
        name,
        uuid: uuid.unwrap_or_default(),
    })
}

/// The identifier of a partition, counted from 1, from the disk's own table.
fn partition_uuid(table: &File, number: u64) -> Option<String> {
    let mut header = [0; 512];
    table.read_exact_at(&mut header, disk::SECTOR_BYTES).ok()?;
    let word = |at: usize| header.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let half = |at: usize| header.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let (first, count, bytes) = (word(72)?, u64::from(half(80)?), u64::from(half(84)?));
    if !header.starts_with(b"EFI PART") || number == 0 || number > count || bytes < 128 {
        return None;
    }
    let start = first.checked_mul(disk::SECTOR_BYTES)?;
    let place = start.checked_add((number - 1).checked_mul(bytes)?)?;
    let mut entry = [0; 32];
    table.read_exact_at(&mut entry, place).ok()?;
    Some(guid_text(entry.last_chunk()?).as_str().to_owned())
}

/// What was booted from, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Medium {
    /// The partition with the programs and `lifeboat.toml`.
    pub(crate) esp: Option<Partition>,
    /// The partition with the state.
    pub(crate) state: Option<Partition>,
    /// The CD, where that was booted.
    pub(crate) cd: Option<PathBuf>,
}

impl Medium {
    /// The kernel's name of the disk that was booted from, or that has the state of a machine that was booted from a CD.
    pub(crate) fn disk(&self) -> Option<&str> {
        self.esp.as_ref().or(self.state.as_ref()).map(|partition| partition.disk.as_str())
    }

    /// Whether it is what the firmware named: other disks with Lifeboat on them may be found sooner.
    pub(crate) fn is(&self, booted: &Booted) -> bool {
        match booted {
            Booted::Partition(uuid) => self.esp.as_ref().is_some_and(|esp| esp.uuid == *uuid),
            Booted::Elsewhere => self.cd.is_some(),
            Booted::Unknown => true,
        }
    }
}

/// What was booted, as far as it is to be seen by now.
pub(crate) fn find(root: &Path, booted: &Booted) -> Result<Medium, String> {
    let cd = cds(root).into_iter().next();
    let mut all = partitions(root);
    if *booted == Booted::Elsewhere && cd.is_some() {
        // What lies on disks is not what runs; only what it remembers is of use.
        all.retain(|partition| partition.name != disk::ESP_NAME);
    }
    let medium = choose(&all, booted.partition())?;
    let cd = if medium.esp.is_none() { cd } else { None };
    Ok(Medium { cd, ..medium })
}

/// Drives with a CD of ours in them.
fn cds(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/block")) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let drives = names.filter(|name| name.starts_with("sr"));
    let mut found: Vec<PathBuf> = drives.map(|name| root.join("dev").join(name)).collect();
    found.retain(|drive| is_ours(drive));
    found.sort();
    found
}

/// Whether the first descriptor of ISO 9660 names our volume. An empty drive fails to be read.
fn is_ours(drive: &Path) -> bool {
    let mut descriptor = [0; 2048];
    let read =
        File::open(drive).and_then(|file| file.read_exact_at(&mut descriptor, disk::ISO_OFFSET));
    let label = descriptor.get(LABEL_AT).unwrap_or_default().trim_ascii_end();
    read.is_ok() && descriptor.starts_with(b"\x01CD001\x01") && label == disk::ISO_LABEL.as_bytes()
}

/// Chooses among partitions. `booted` is the firmware's word.
pub(crate) fn choose(partitions: &[Partition], booted: Option<&str>) -> Result<Medium, String> {
    let named = |name: &str| -> Vec<&Partition> {
        partitions.iter().filter(|partition| partition.name == name).collect()
    };
    let (esps, states) = (named(disk::ESP_NAME), named(disk::STATE_NAME));
    let booted_esps: Vec<&Partition> = match booted {
        Some(uuid) => esps.iter().copied().filter(|esp| esp.uuid == uuid).collect(),
        None => Vec::new(),
    };
    let esp = match (booted_esps.as_slice(), esps.as_slice()) {
        ([one], _) | ([], [one]) => Some((*one).clone()),
        ([], []) => None,
        _ => {
            let places: Vec<&str> = esps.iter().map(|esp| esp.disk.as_str()).collect();
            return Err(format!(
                "several disks bear Lifeboat ({}), and the firmware does not say which was booted; pull the others out",
                places.join(", ")
            ));
        }
    };
    let mut fitting =
        states.iter().filter(|state| esp.as_ref().is_none_or(|esp| esp.disk == state.disk));
    let state = match (fitting.next(), fitting.next()) {
        (Some(one), None) => Some((*one).clone()),
        (Some(_), Some(_)) => return Err("there are several state partitions".to_owned()),
        _ => None,
    };
    Ok(Medium { esp, state, cd: None })
}

/// What the firmware says of where it booted from.
pub(crate) fn booted() -> Booted {
    match loader_text("LoaderDevicePartUUID") {
        Some(uuid) => Booted::Partition(uuid),
        None if Path::new(STUB).exists() => Booted::Elsewhere,
        None => Booted::Unknown,
    }
}

/// What systemd's stub or boot manager tell under this name, in small letters.
pub(crate) fn loader_text(name: &str) -> Option<String> {
    let path = format!("/sys/firmware/efi/efivars/{name}-{LOADER}");
    variable_text(&fs::read(path).ok()?)
}

/// The text in a variable of the firmware, in small letters.
fn variable_text(bytes: &[u8]) -> Option<String> {
    // Four bytes of attributes, then UTF-16.
    let units = bytes.get(4..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text = String::from_utf16(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>()).ok()?;
    Some(text.to_ascii_lowercase()).filter(|text| !text.is_empty())
}

/// The bytes of `lifeboat.toml`, where the medium has one.
pub(crate) fn configuration(medium: &Medium, loader: &Loader) -> Result<Option<Vec<u8>>, String> {
    let (device, kind, modules): (_, _, &[&str]) = match (&medium.esp, &medium.cd) {
        (Some(esp), _) => {
            (&esp.device, "vfat", &["vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1"])
        }
        (None, Some(cd)) => (cd, "iso9660", &["isofs", "nls_iso8859-1"]),
        (None, None) => return Ok(None),
    };
    for module in modules {
        // Which of the character sets this kernel wants shows when it is mounted.
        let _ = loader.need(module);
    }
    let at = Path::new(AT);
    mounts::disk(device, at, kind, false)?;
    let read = read_limited(&at.join(esp::CONFIGURATION));
    mounts::release(at)?;
    read
}

fn read_limited(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", esp::CONFIGURATION)),
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{}: {error}", esp::CONFIGURATION))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition_of(disk: &str, number: u8, name: &str, uuid: &str) -> Partition {
        Partition {
            device: PathBuf::from(format!("/dev/{disk}{number}")),
            disk: disk.into(),
            name: name.into(),
            uuid: uuid.into(),
        }
    }

    fn stick(disk: &str, uuid: &str) -> Vec<Partition> {
        vec![
            partition_of(disk, 1, disk::ESP_NAME, uuid),
            partition_of(disk, 2, disk::STATE_NAME, "5"),
        ]
    }

    #[test]
    fn facts_of_the_kernel_are_read() {
        let facts = "MAJOR=8\nMINOR=1\nDEVNAME=sda1\nDEVTYPE=partition\nDISKSEQ=9\nPARTN=1\nPARTNAME=lifeboat-esp\nPARTUUID=AB-01\n";
        let found = partition(Path::new("/"), facts, "sda").unwrap();
        assert_eq!(found, partition_of("sda", 1, "lifeboat-esp", "ab-01"));
        for other in ["", "DEVNAME=sda\nDEVTYPE=disk\n", "DEVTYPE=partition\n", "PARTNAME"] {
            assert_eq!(partition(Path::new("/"), other, "sda"), None);
        }
    }

    #[test]
    fn an_identifier_is_read_from_the_table_whatever_is_there() {
        let path = std::env::temp_dir().join(format!("lifeboat-table-{}", std::process::id()));
        let mut bytes = vec![0; 2048];
        bytes[512..520].copy_from_slice(b"EFI PART");
        bytes[512 + 72] = 2;
        bytes[512 + 80] = 4;
        bytes[512 + 84] = 128;
        bytes[1024 + 128 + 16..1024 + 128 + 32].copy_from_slice(&[
            0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD,
            0xEE, 0xFF,
        ]);
        let read = |bytes: &[u8], number| {
            fs::write(&path, bytes).unwrap();
            partition_uuid(&File::open(&path).unwrap(), number)
        };
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        assert_eq!(read(&bytes, 2).as_deref(), Some(uuid));
        for number in [0, 5, u64::MAX] {
            assert_eq!(read(&bytes, number), None);
        }
        let mut random = hal_sim::random::Random::new(5);
        for _ in 0..2000 {
            let mut changed = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = 512 + usize::try_from(random.below(100)).unwrap();
                changed[at] = u8::try_from(random.below(256)).unwrap();
            }
            let found = read(&changed, 2);
            assert!(found.is_none_or(|uuid| uuid.len() == 36));
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn one_stick_is_the_medium_whatever_else_is_there() {
        let mut all = stick("sdb", "1");
        all.push(partition_of("sda", 1, "EFI system partition", "9"));
        let medium = choose(&all, None).unwrap();
        assert_eq!(medium.disk(), Some("sdb"));
        assert_eq!(medium.state.unwrap().device, Path::new("/dev/sdb2"));
        assert_eq!(choose(&all[2..], Some("9")), Ok(Medium::default()));
    }

    #[test]
    fn the_medium_that_the_firmware_named_is_waited_for() {
        let booted = Booted::Partition("2".to_owned());
        let other = choose(&stick("sda", "1"), booted.partition()).unwrap();
        assert!(!other.is(&booted) && other.is(&Booted::Unknown));
        assert!(choose(&stick("sda", "2"), booted.partition()).unwrap().is(&booted));
        assert!(!other.is(&Booted::Elsewhere));
    }

    #[test]
    fn a_cd_is_told_by_its_first_descriptor() {
        let root = std::env::temp_dir().join(format!("lifeboat-cd-{}", std::process::id()));
        fs::create_dir_all(root.join("sys/class/block/sr0")).unwrap();
        fs::create_dir_all(root.join("dev")).unwrap();
        let mut bytes = vec![0; 40 * 1024];
        bytes[32 * 1024..32 * 1024 + 7].copy_from_slice(b"\x01CD001\x01");
        bytes[32 * 1024 + 40..32 * 1024 + 72].fill(b' ');
        bytes[32 * 1024 + 40..32 * 1024 + 48].copy_from_slice(b"LIFEBOAT");
        fs::write(root.join("dev/sr0"), &bytes).unwrap();
        let drive = root.join("dev/sr0");
        assert_eq!(find(&root, &Booted::Elsewhere).unwrap().cd, Some(drive.clone()));
        assert!(find(&root, &Booted::Elsewhere).unwrap().is(&Booted::Elsewhere));
        bytes[32 * 1024 + 48] = b'2';
        fs::write(&drive, &bytes).unwrap();
        assert_eq!(find(&root, &Booted::Elsewhere).unwrap().cd, None);
        fs::write(&drive, &bytes[..100]).unwrap();
        assert_eq!(find(&root, &Booted::Elsewhere).unwrap().cd, None, "a short one");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_firmwares_variable_is_read_whatever_it_holds() {
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend("AB-1\0x".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(variable_text(&bytes).as_deref(), Some("ab-1"));
        let mut random = hal_sim::random::Random::new(3);
        for length in 0..bytes.len() {
            let mut changed = bytes[..length].to_vec();
            if let Some(byte) = changed.last_mut() {
                *byte = u8::try_from(random.below(256)).unwrap();
            }
            assert_ne!(variable_text(&changed).as_deref(), Some(""));
        }
    }

    #[test]
    fn two_sticks_are_told_apart_by_the_firmware_or_not_at_all() {
        let mut all = stick("sda", "1");
        all.extend(stick("sdb", "2"));
        assert_eq!(choose(&all, Some("2")).unwrap().disk(), Some("sdb"));
        assert_eq!(choose(&all, Some("2")).unwrap().state.unwrap().disk, "sdb");
        for booted in [None, Some("3")] {
            assert!(choose(&all, booted).unwrap_err().contains("sda, sdb"));
        }
        let mut twins = stick("sda", "1");
        twins.extend(stick("sdb", "1"));
        assert!(choose(&twins, Some("1")).unwrap_err().contains("pull the others out"));
    }

    #[test]
    fn a_state_partition_alone_is_taken_where_no_medium_is_known() {
        let states = [partition_of("vda", 1, disk::STATE_NAME, "")];
        assert_eq!(choose(&states, None).unwrap().disk(), Some("vda"));
        assert_eq!(choose(&[], Some("1")), Ok(Medium::default()));
    }
}
