//! The disk of a spool: which one a person means, what speaks against it, and its formatting, which wants its name twice.
//!
//! A disk is never formatted because a file names it: somebody types what it is called.

use std::path::Path;

use hal::inventory::DiskFacts;
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions, SystemEntropy};
use pipeline_vault::Error;

use crate::disk_contents;
use crate::disk_facts::disk_error;
use crate::spool::superblock::Superblock;
use crate::spool::{self, Found, Owner, Spool, SpoolError};

/// Who a program on any Linux is to its spools.
pub mod owner;

/// What a disk may be called: its serial number, its WWN, the kernel's name, its path.
#[must_use]
pub fn names(facts: &DiskFacts) -> Vec<&str> {
    let (serial, wwn) = (facts.serial.as_deref(), facts.wwn.as_deref());
    let own = [serial, wwn, Some(facts.kernel_name()), Some(facts.path.as_str())];
    own.into_iter().flatten().map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// What it is remembered by: what stays the same in another slot, where there is such a thing.
#[must_use]
pub fn lasting_name(facts: &DiskFacts) -> &str {
    names(facts).first().copied().unwrap_or_default()
}

/// The one disk of this name. Two of the same name are none.
pub fn find<'a>(disks: &'a [DiskFacts], name: &str) -> Result<Option<&'a DiskFacts>, String> {
    let mut fitting = disks.iter().filter(|disk| names(disk).contains(&name.trim()));
    match (fitting.next(), fitting.next()) {
        (Some(_), Some(_)) => Err(format!("several disks are called {name}: name it otherwise")),
        (one, _) => Ok(one),
    }
}

/// Why this disk must not become a spool, whatever anybody types. `own` are disks that Lifeboat stands on, by the kernel's
/// names, and what they are.
#[must_use]
pub fn refusal(facts: &DiskFacts, own: &[(String, &'static str)]) -> Option<String> {
    if let Some((_, what)) = own.iter().find(|(name, _)| name == facts.kernel_name()) {
        return Some(format!("it is {what}"));
    }
    if !facts.mounted_at.is_empty() {
        return Some(format!("it is in use at {}", facts.mounted_at.join(", ")));
    }
    if facts.geometry.read_only {
        return Some("it is write-protected".to_owned());
    }
    let least = spool::layout::DISK_BYTES_MIN;
    (facts.geometry.bytes < least)
        .then(|| format!("it is smaller than {}", crate::report::Size(least)))
}

/// What is on it, in words; `None` where it is empty.
pub fn contents(path: &Path) -> Result<Option<&'static str>, Error> {
    let mut disk =
        LinuxDisk::open(path, OpenOptions::default()).map_err(|error| disk_error(error, path))?;
    disk_contents::look(&mut disk).map_err(|error| disk_error(error, path))
}

/// Opens the spool on a disk, which nobody else may have open for writing.
pub fn open(path: &Path, owner: &Owner) -> Result<(Spool<LinuxDisk>, Found), SpoolError> {
    Spool::open(claim(path)?, owner, &SystemEntropy)
}

/// What the spool on a disk says of itself, whoever's it is.
pub fn look(path: &Path) -> Result<Superblock, SpoolError> {
    spool::look(LinuxDisk::open(path, OpenOptions::default())?)
}

/// Formats a disk. `typed` must be one of its names.
pub fn format(
    facts: &DiskFacts,
    typed: &str,
    own: &[(String, &'static str)],
    owner: &Owner,
) -> Result<Superblock, Error> {
    let object = || facts.path.clone();
    if let Some(why) = refusal(facts, own) {
        return Err(Error::refused(object(), format!("{why}; nothing was written"))
            .remedy("choose another disk"));
    }
    if !names(facts).contains(&typed.trim()) {
        let called = lasting_name(facts);
        return Err(Error::misuse(
            object(),
            format!("is not called {typed}, but {called}; nothing was written"),
        )
        .remedy(format!("if it is the right one, confirm with {called}")));
    }
    let failed =
        |error: SpoolError| Error::device(object(), format!("cannot be formatted: {error}"));
    let disk = claim(Path::new(&facts.path)).map_err(failed)?;
    spool::format(disk, owner, &SystemEntropy).map_err(failed)
}

fn claim(path: &Path) -> Result<LinuxDisk, SpoolError> {
    let options = OpenOptions { access: Access::Write, direct: Direct::Auto };
    Ok(LinuxDisk::open(path, options)?)
}

#[cfg(test)]
mod tests {
    use hal::disk::Geometry;

    use super::*;

    fn disk(path: &str, serial: Option<&str>) -> DiskFacts {
        let geometry = Geometry {
            bytes: 1 << 30,
            logical_sector_bytes: 512,
            physical_sector_bytes: 512,
            request_align_bytes: 512,
            discard_bytes: 0,
            read_only: false,
        };
        DiskFacts { serial: serial.map(str::to_owned), ..DiskFacts::of(path, geometry) }
    }

    #[test]
    fn a_disk_is_found_by_any_of_its_names_and_never_one_of_two() {
        let disks = [
            disk("/dev/sda", Some("A1 ")),
            disk("/dev/sdb", Some("B2")),
            disk("/dev/sdc", Some("B2")),
        ];
        for name in ["A1", "sda", "/dev/sda", " A1"] {
            assert_eq!(find(&disks, name).unwrap(), Some(&disks[0]), "{name}");
        }
        assert_eq!(find(&disks, "A").unwrap(), None);
        assert_eq!(find(&disks, "").unwrap(), None);
        assert!(find(&disks, "B2").unwrap_err().contains("several"));
        assert_eq!((lasting_name(&disks[0]), lasting_name(&disk("/dev/vda", None))), ("A1", "vda"));
    }

    #[test]
    fn what_lifeboat_stands_on_and_what_is_in_use_is_refused_whatever_is_typed() {
        let own = [("sda".to_owned(), "what this machine was booted from")];
        let good = disk("/dev/sdb", None);
        assert_eq!(refusal(&good, &own), None);
        let told = |facts: &DiskFacts| refusal(facts, &own).unwrap();
        assert!(told(&disk("/dev/sda", None)).contains("booted from"));
        let mounted = DiskFacts { mounted_at: vec!["/srv".into()], ..good.clone() };
        assert!(told(&mounted).contains("/srv"));
        let mut small = good.clone();
        small.geometry.bytes = 1 << 20;
        assert!(told(&small).contains("64.0 MiB"));
        let mut locked = good;
        locked.geometry.read_only = true;
        assert!(told(&locked).contains("write-protected"));
    }

    #[test]
    fn a_file_is_formatted_only_when_it_is_named_twice_and_is_opened_again() {
        let path = std::env::temp_dir().join(format!("lifeboat-spool-{}", std::process::id()));
        std::fs::write(&path, b"somebody's data").unwrap();
        let size = |bytes| std::fs::File::options().write(true).open(&path).unwrap().set_len(bytes);
        size(spool::layout::DISK_BYTES_MIN).unwrap();
        let owner = Owner::new(&SystemEntropy).unwrap();
        let facts = hal_linux::facts_of(&path).unwrap();
        assert_eq!(contents(&path).unwrap(), Some("something that Lifeboat does not know"));
        let error = format(&facts, "other", &[], &owner).unwrap_err().to_string();
        assert!(error.contains("nothing was written"), "{error}");
        assert!(std::fs::read(&path).unwrap().starts_with(b"somebody's data"));
        format(&facts, &facts.path, &[], &owner).unwrap();
        let (mut spool, _) = open(&path, &owner).unwrap();
        spool.append(b"record").unwrap();
        spool.sync().unwrap();
        drop(spool);
        let (mut spool, found) = open(&path, &owner).unwrap();
        assert_eq!((found, spool.usage().records), (Found::default(), 1));
        let head = spool.head();
        assert!(
            matches!(spool.read(head), Ok(spool::Read::Record { payload, .. }) if payload == b"record")
        );
        assert_eq!(contents(&path).unwrap(), Some("a spool"));
        assert_eq!(look(&path).unwrap().appliance, owner.appliance);
        std::fs::remove_file(&path).unwrap();
    }
}
