//! What the machine was booted from: its two partitions, found by name, and the file `lifeboat.toml` on it.
//!
//! Nothing stays mounted, so that a stick may be pulled. Two sticks of the same image have the same identifiers: then the
//! firmware's word on which partition it booted decides, and where that is no help either, nothing is taken.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use image_layout::configuration::BYTES_MAX;
use image_layout::{disk, esp};

use super::modules::Loader;
use super::mounts;

/// Where the ESP is looked at.
const AT: &str = "/run/esp";
/// What systemd's stub and boot manager tell of where they came from.
const LOADER_PARTITION: &str =
    "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// A partition that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its node.
    pub(crate) device: PathBuf,
    /// The kernel's name of the disk that it is on.
    pub(crate) disk: String,
    /// Its name in the partition table.
    pub(crate) name: String,
    /// Its identifier, in small letters; empty where the kernel does not tell.
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
    Some(Partition {
        device: root.join("dev").join(value("DEVNAME")?),
        disk: disk.to_owned(),
        name: value("PARTNAME").unwrap_or_default().to_owned(),
        uuid: value("PARTUUID").unwrap_or_default().to_ascii_lowercase(),
    })
}

/// What was booted from, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Medium {
    /// The partition with the programs and `lifeboat.toml`.
    pub(crate) esp: Option<Partition>,
    /// The partition with the state.
    pub(crate) state: Option<Partition>,
}

impl Medium {
    /// The kernel's name of the disk that was booted from.
    pub(crate) fn disk(&self) -> Option<&str> {
        self.esp.as_ref().or(self.state.as_ref()).map(|partition| partition.disk.as_str())
    }
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
    Ok(Medium { esp, state })
}

/// What the firmware says of the partition that it booted.
pub(crate) fn booted() -> Option<String> {
    let bytes = fs::read(LOADER_PARTITION).ok()?;
    // Four bytes of attributes, then UTF-16.
    let units = bytes.get(4..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text = String::from_utf16(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>()).ok()?;
    Some(text.to_ascii_lowercase())
}

/// The bytes of `lifeboat.toml`, where the medium has one.
pub(crate) fn configuration(esp: &Partition, loader: &Loader) -> Result<Option<Vec<u8>>, String> {
    for module in ["vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1"] {
        // Which of the character sets this kernel wants shows when it is mounted.
        let _ = loader.need(module);
    }
    let at = Path::new(AT);
    mounts::disk(&esp.device, at, "vfat", false)?;
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
    fn one_stick_is_the_medium_whatever_else_is_there() {
        let mut all = stick("sdb", "1");
        all.push(partition_of("sda", 1, "EFI system partition", "9"));
        let medium = choose(&all, None).unwrap();
        assert_eq!(medium.disk(), Some("sdb"));
        assert_eq!(medium.state.unwrap().device, Path::new("/dev/sdb2"));
        assert_eq!(choose(&all[2..], Some("9")), Ok(Medium::default()));
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
