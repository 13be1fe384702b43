//! How a Linux server starts: its boot loaders' files, the kernels' command lines in them, and its initramfs files.

use std::io;

use super::survey::{ESP, Survey};
use super::tree::{Kind, Tree, join, parent};

/// Command lines in the files of boot loaders.
pub(super) mod command_line;

/// Longest initramfs that is read.
const INITRAMFS_BYTES_MAX: u64 = 2 << 30;
/// What is shorter is none.
const INITRAMFS_BYTES_MIN: u64 = 1024;
/// Folders below which boot loaders keep files.
const PLACES: [&str; 2] = ["boot", ESP];
/// Where a firmware without entries of its own looks.
pub(super) const FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";

/// A file with command lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoaderFile {
    pub(super) path: String,
    pub(super) form: command_line::Form,
}

/// Files in which kernels get their command lines, and those from which these are made anew.
pub(super) fn loader_files(survey: &Survey) -> io::Result<Vec<LoaderFile>> {
    use command_line::Form;
    let mut found = Vec::new();
    let tree: &dyn Tree = survey;
    let mut add = |path: String, form: Form| -> io::Result<()> {
        if tree.has(&path)? {
            found.push(LoaderFile { path, form });
        }
        Ok(())
    };
    for place in PLACES {
        for folder in ["grub", "grub2"] {
            add(format!("{place}/{folder}/grub.cfg"), Form::Grub)?;
            add(format!("{place}/{folder}/grubenv"), Form::GrubEnvironment)?;
            add(format!("{place}/{folder}/menu.lst"), Form::GrubLegacy)?;
        }
        for path in
            ["extlinux/extlinux.conf", "extlinux.conf", "syslinux/syslinux.cfg", "syslinux.cfg"]
        {
            add(format!("{place}/{path}"), Form::Extlinux)?;
        }
        for path in tree.files(&format!("{place}/loader/entries"))? {
            if path.ends_with(".conf") {
                add(path, Form::Entry)?;
            }
        }
    }
    for vendor in tree.list(&join(ESP, "EFI"))? {
        add(format!("{ESP}/EFI/{vendor}/grub.cfg"), Form::Grub)?;
        add(format!("{ESP}/EFI/{vendor}/grubenv"), Form::GrubEnvironment)?;
    }
    add("etc/default/grub".to_owned(), Form::GrubDefaults)?;
    add("etc/kernel/cmdline".to_owned(), Form::Bare)?;
    Ok(found)
}

/// The initramfs files, those that rescue or collect dumps left out.
pub(super) fn initramfs_files(survey: &Survey) -> io::Result<Vec<String>> {
    let tree: &dyn Tree = survey;
    let mut folders: Vec<String> = PLACES.iter().map(|place| (*place).to_owned()).collect();
    // Boot loaders by specification keep each kernel in a folder of its own: machine and version, or the machine's
    // alone.
    for place in PLACES {
        for name in tree.list(place)? {
            let folder = join(place, &name);
            if tree.kind(&folder)? == Some(Kind::Folder) && name.len() == 32 {
                folders.extend(tree.list(&folder)?.iter().map(|name| join(&folder, name)));
            }
        }
    }
    let mut found: Vec<String> = Vec::new();
    for folder in folders {
        for name in tree.list(&folder)? {
            let is_one = name.starts_with("initrd") || name.starts_with("initramfs");
            let others = ["rescue", "kdump", "fallback", ".old", ".bak", ".dpkg", ".lifeboat"];
            if !is_one || others.iter().any(|other| name.contains(other)) {
                continue;
            }
            let path = join(&folder, &name);
            // Links such as /initrd.img lead to one that is found by its own name.
            if tree.link(&path)?.is_some() {
                continue;
            }
            if let Some(Kind::File(bytes)) = tree.kind(&path)?
                && (INITRAMFS_BYTES_MIN..INITRAMFS_BYTES_MAX).contains(&bytes)
            {
                found.push(path);
            }
        }
    }
    // An ESP that the server mounts below /boot is there twice.
    if let Some(at) = survey.esp_at() {
        let known = found.clone();
        found.retain(|path| !path.starts_with(ESP) || !known.contains(&path.replacen(ESP, at, 1)));
    }
    Ok(found)
}

/// The files with which the loader that stands elsewhere is put where every firmware looks: from, to.
pub(super) fn fallback_sources(survey: &Survey) -> io::Result<Vec<(String, String)>> {
    let tree: &dyn Tree = survey;
    let fallback = parent(FALLBACK);
    let vendors = tree.list(&join(ESP, "EFI"))?;
    let vendors = vendors.iter().filter(|vendor| !vendor.eq_ignore_ascii_case("BOOT"));
    let vendors: Vec<String> = vendors.map(|vendor| format!("{ESP}/EFI/{vendor}")).collect();
    for first in ["shimx64.efi", "grubx64.efi", "systemd-bootx64.efi", "bootmgfw.efi"] {
        for vendor in &vendors {
            // Windows has a folder between.
            for folder in [vendor.clone(), join(vendor, "Boot")] {
                let loader = join(&folder, first);
                if !tree.has(&loader)? {
                    continue;
                }
                let mut files = vec![(loader, format!("{ESP}/{FALLBACK}"))];
                for beside in ["grubx64.efi", "mmx64.efi", "grub.cfg"] {
                    let from = join(&folder, beside);
                    if beside != first && tree.has(&from)? && first != "systemd-bootx64.efi" {
                        files.push((from, format!("{ESP}/{fallback}/{beside}")));
                    }
                }
                return Ok(files);
            }
        }
    }
    Ok(Vec::new())
}

/// Whether a UEFI firmware would find anything to start on the ESP.
pub(super) fn has_efi_loader(survey: &Survey) -> io::Result<bool> {
    let tree: &dyn Tree = survey;
    Ok(tree.has(&join(ESP, FALLBACK))? || !fallback_sources(survey)?.is_empty())
}
