//! The platform's drivers into each initramfs that lacks them: one archive more behind the others, as the kernel
//! reads them.
//!
//! The modules come from the server's own root file system, with all that they need, and with the indexes that belong
//! to them. What an initramfs had stays as it is; a file of the new archive is read in place of one that had the same
//! name.

use std::collections::BTreeSet;
use std::io::{self, Error, ErrorKind};

use super::Bench;
use crate::guest::boot;
use crate::guest::initramfs::{Archive, Contents, Entry, Maker};
use crate::guest::judge::in_initramfs;
use crate::guest::modules::{INDEXES, Modules, module_name};
use crate::guest::platform::Platform;
use crate::guest::readiness::{Readiness, Remedy, What};
use crate::guest::tree::join;

/// Longest module or index.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// LVM's settings, which an initramfs has a copy of.
const LVM_SETTINGS: &str = "etc/lvm/lvm.conf";

pub(super) fn repair(
    bench: &mut Bench<'_>,
    readiness: &Readiness,
    platform: &Platform,
) -> io::Result<()> {
    let blocked = readiness.is_to_repair(What::BlockedDriver);
    let lvm = readiness.is_to_repair(What::LvmFilter);
    for path in boot::initramfs_files(bench.survey)? {
        let lacks = readiness
            .about(What::InitramfsDriver)
            .any(|finding| finding.object == path && finding.repair == Remedy::Offline);
        if !lacks && !blocked && !lvm {
            continue;
        }
        // What cannot be read was told when the server was judged.
        let Ok(contents) = Contents::read(bench.tree.open(&path)?) else { continue };
        let mut archive = Archive::default();
        let mut any = settings(bench, &contents, &mut archive)?;
        if lacks {
            for (version, base) in contents.module_folders() {
                any |= drivers(bench, &contents, &version, &base, platform, &mut archive)?;
            }
        }
        if any {
            // The next archive begins at a multiple of four, and zeros between the two say to every packer's reader
            // that the one before has ended.
            let length = contents_length(bench, &path)?;
            let gap = (length + 4).next_multiple_of(4) - length;
            let mut bytes = vec![0; usize::try_from(gap).unwrap_or(4)];
            bytes.extend(archive.finish());
            bench.append(What::InitramfsDriver, &path, &bytes)?;
        }
    }
    Ok(())
}

fn contents_length(bench: &Bench<'_>, path: &str) -> io::Result<u64> {
    match bench.tree.kind(path)? {
        Some(crate::guest::tree::Kind::File(length)) => Ok(length),
        _ => Ok(0),
    }
}

/// Settings of which an initramfs has a copy, as they were repaired on the root.
fn settings(bench: &Bench<'_>, contents: &Contents, archive: &mut Archive) -> io::Result<bool> {
    let changed = bench.changes.iter().filter(|change| change.after.is_some());
    let paths: BTreeSet<&str> = changed.map(|change| change.path.as_str()).collect();
    let mut any = false;
    for path in paths {
        let is_copied = path == LVM_SETTINGS || path.contains("/modprobe.d/");
        if !is_copied || !contents.entries.contains_key(path) {
            continue;
        }
        if let Some(bytes) = bench.tree.read(path, FILE_BYTES_MAX)? {
            put(archive, path, &bytes)?;
            any = true;
        }
    }
    Ok(any)
}

fn put(archive: &mut Archive, path: &str, bytes: &[u8]) -> io::Result<()> {
    archive.file(path, bytes).ok_or_else(|| Error::new(ErrorKind::FileTooLarge, path.to_owned()))
}

fn drivers(
    bench: &Bench<'_>,
    contents: &Contents,
    version: &str,
    base: &str,
    platform: &Platform,
    archive: &mut Archive,
) -> io::Result<bool> {
    let Some(modules) = Modules::read(bench.tree, version)? else { return Ok(false) };
    let inside = in_initramfs(contents, version);
    let wanted = platform.drivers.iter().map(|driver| driver.name.clone());
    let wanted: BTreeSet<String> =
        wanted.filter(|name| !inside.contains(name) && !modules.is_built_in(name)).collect();
    if wanted.is_empty() {
        return Ok(false);
    }
    let folder = format!("{base}{version}");
    let mut paths = modules.closure(&wanted);
    // The root's index names files as the root has them. Where the initramfs has a module under another name, such as
    // unpacked, the index would lead nowhere: the root's own goes in too, with all that it needs.
    let renamed = inside.iter().filter(|name| {
        modules.path(name).is_some_and(|path| !contents.entries.contains_key(&join(&folder, path)))
    });
    paths.extend(modules.closure(&renamed.cloned().collect()));
    for path in paths {
        let there = join(&folder, &path);
        if contents.entries.contains_key(&there) {
            continue;
        }
        let Some(bytes) = bench.tree.read(&join(&modules.folder, &path), FILE_BYTES_MAX)? else {
            let words = format!(
                "/{}/{path} is named by the index of its folder and is not there",
                modules.folder
            );
            return Err(Error::new(ErrorKind::NotFound, words));
        };
        put(archive, &there, &bytes)?;
    }
    let has_index = |name: &str| contents.entries.contains_key(&join(&folder, name));
    let none = !INDEXES.iter().any(|name| has_index(name));
    for name in INDEXES.iter().filter(|name| none || has_index(name)) {
        if let Some(bytes) = bench.tree.read(&join(&modules.folder, name), FILE_BYTES_MAX)? {
            put(archive, &join(&folder, name), &bytes)?;
        }
    }
    let names: Vec<&str> =
        wanted.iter().map(String::as_str).filter(|name| modules.path(name).is_some()).collect();
    say_which(contents, &names, archive)?;
    Ok(true)
}

/// Says which are loaded at once. Whoever asks for drivers by what the machine has finds them by the indexes in any
/// case.
fn say_which(contents: &Contents, names: &[&str], archive: &mut Archive) -> io::Result<()> {
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    match contents.maker() {
        Maker::InitramfsTools => {
            let before = contents.text("conf/modules").unwrap_or_default();
            let joint = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            let known: Vec<String> = before.lines().map(module_name).collect();
            let fresh = names.iter().filter(|name| !known.iter().any(|known| known == *name));
            let fresh: String = fresh.map(|name| format!("{name}\n")).collect();
            put(archive, "conf/modules", format!("{before}{joint}{fresh}").as_bytes())
        }
        Maker::Dracut => {
            let parameters: String =
                names.iter().map(|name| format!("rd.driver.pre={name} ")).collect();
            put(
                archive,
                "etc/cmdline.d/90-lifeboat.conf",
                format!("{}\n", parameters.trim_end()).as_bytes(),
            )
        }
        // systemd's own loader of modules, where it is in.
        Maker::Other if !matches!(contents.entries.get("etc"), Some(Entry::Link(_))) => {
            put(archive, "etc/modules-load.d/lifeboat.conf", lines.as_bytes())
        }
        Maker::Other => Ok(()),
    }
}
