//! What is on disks and media: updates, tables, file systems, hives, archives, programs.

use std::sync::Arc;

use firmware_recovery::guest::fat::FatTree;
use firmware_recovery::guest::hive::{Hive, Key};
use firmware_recovery::guest::initramfs::Contents;
use firmware_recovery::guest::ntfs::NtfsTree;
use firmware_recovery::guest::tree::{Kind, Tree};
use firmware_recovery::guest::view::View;
use firmware_recovery::guest::volumes::{GuestDisk, Volumes};
use image_layout::update::Unverified;
use pipeline_azure::vhd::{FOOTER_BYTES, Footer};

use super::sparse::Sparse;

/// Names that are looked at in a file system at most.
const NAMES_MAX: usize = 50;

/// The head of an update, as if its signature were right.
pub(super) fn update(bytes: &[u8]) {
    let Some(head) = bytes.first_chunk() else { return };
    if let Ok(Ok(head)) = Unverified::new(head).map(|read| read.verified()) {
        assert_eq!(head.signed(), bytes[..head.signed().len()], "what it says is what was signed");
    }
}

/// A VHD's footer.
pub(super) fn vhd(bytes: &[u8]) {
    let Some(sector) = bytes.first_chunk::<FOOTER_BYTES>() else { return };
    if let Some(footer) = Footer::read(sector) {
        assert!(Footer::read(&footer.sector()).is_some());
    }
}

/// Partition tables, LVM, mirrors, and what is on them.
pub(super) fn partitions(bytes: &[u8]) {
    let view: Arc<dyn View> = Arc::new(Sparse::read(bytes));
    let Ok(found) = Volumes::find(&[GuestDisk { name: "sda".to_owned(), view }]) else { return };
    for volume in &found.volumes {
        let mut head = [0; 16];
        // A volume that was found can be read at its ends.
        if volume.view.bytes() >= 16 {
            volume.view.read_at(0, &mut head).expect("its beginning");
            volume.view.read_at(volume.view.bytes() - 16, &mut head).expect("its end");
        }
    }
}

/// Lists and reads some of a file system; errors are fine.
fn wander(tree: &dyn Tree, folder: &str, left: &mut usize) {
    for name in tree.list(folder).unwrap_or_default() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = firmware_recovery::guest::tree::join(folder, &name);
        match tree.kind(&path) {
            Ok(Some(Kind::Folder)) if path.matches('/').count() < 4 => wander(tree, &path, left),
            Ok(Some(Kind::File(_))) => drop(tree.read(&path, 1 << 16)),
            _ => {}
        }
        let _ = (tree.link(&path), tree.modified(&path));
    }
}

/// A FAT file system, read and written.
pub(super) fn fat(bytes: &[u8]) {
    let Ok(tree) = FatTree::open(Arc::new(Sparse::read(bytes))) else { return };
    wander(&tree, "", &mut NAMES_MAX.clone());
    let _ = tree.write("EFI/BOOT/BOOTX64.EFI", b"x", None);
}

/// NTFS.
pub(super) fn ntfs(bytes: &[u8]) {
    let Ok(tree) = NtfsTree::open(Arc::new(Sparse::read(bytes))) else { return };
    wander(&tree, "", &mut NAMES_MAX.clone());
    let _ = tree.kind("Windows/System32/config/SYSTEM");
}

/// A registry hive.
pub(super) fn hive(bytes: &[u8]) {
    let Ok(hive) = Hive::new(bytes.to_vec()) else { return };
    let Some(root) = hive.root() else { return };
    descend(&hive, root, 0, &mut NAMES_MAX.clone());
    let _ = hive.key(root, &["Select"]).and_then(|key| hive.number(key, "Current"));
}

fn descend(hive: &Hive, key: Key, depth: usize, left: &mut usize) {
    let _ = hive.number(key, "Start");
    for (_, below) in hive.keys(key) {
        if depth > 8 || *left == 0 {
            return;
        }
        *left -= 1;
        descend(hive, below, depth + 1, left);
    }
}

/// An initramfs, packed or not.
pub(super) fn initramfs(bytes: &[u8]) {
    if let Ok(contents) = Contents::read(bytes) {
        let _ = (contents.module_folders(), contents.library(), contents.maker());
    }
}

/// A program of Linux or UEFI, a kernel's module, and what is inside.
pub(super) fn program(bytes: &[u8]) {
    let _ = image::program::bare("program", bytes);
    let _ = image::modinfo::ModuleInfo::read("module", bytes);
    let _ = (image::pe::is_signed(bytes), image::pe::sections(bytes));
    let section = image::pe::Section { name: ".x", bytes: b"x" };
    let _ = image::pe::append("program", bytes, &[section]);
    let digest = image::authenticode::digest(bytes);
    if let Some(without) = image::authenticode::without(bytes) {
        assert!(digest.is_some() && without.len() <= bytes.len());
    }
}

/// A package of Debian.
pub(super) fn package(bytes: &[u8]) {
    let _ = image::deb::unpack("package", bytes, &|_| true, &mut |_, _| Ok(()));
}
