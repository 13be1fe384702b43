//! The image of a whole disk: partition table, EFI system partition with the boot manager and one slot, empty state.

use image_layout::disk::{ESP_BYTES, ESP_OFFSET, IMAGE_BYTES};
use image_layout::esp::{self, Slot, SlotFile};

use crate::error::Error;
use crate::fat;
use crate::identity::Identity;
use crate::table;

/// What the boot manager is told: start the newest slot that has tries left, at once; nobody may change a command line.
const BOOT_MANAGER_CONFIGURATION: &[u8] =
    b"timeout 0\neditor no\nauto-entries no\nauto-firmware no\nconsole-mode keep\n";

/// What goes onto the ESP.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The boot manager.
    pub manager: &'a [u8],
    /// The program of the first slot.
    pub slot: &'a [u8],
    /// `lifeboat.toml`, where the stick is to work by itself.
    pub configuration: Option<&'a [u8]>,
}

/// A disk, and what the CD's own folders say of it.
#[derive(Debug)]
pub struct Disk {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The files of the ESP: path, offset on the disk, length.
    pub files: Vec<(String, u64, u64)>,
    /// Its numbers.
    pub identity: Identity,
}

/// Makes the disk.
pub fn make(contents: &Contents<'_>) -> Result<Disk, Error> {
    let mut files: Vec<(String, &[u8])> = vec![
        (esp::BOOT_MANAGER.to_owned(), contents.manager),
        (esp::BOOT_MANAGER_CONFIGURATION.to_owned(), BOOT_MANAGER_CONFIGURATION),
        (SlotFile::proven(Slot::A).path(), contents.slot),
    ];
    if let Some(configuration) = contents.configuration {
        files.push((esp::CONFIGURATION.to_owned(), configuration));
    }
    let parts: Vec<&[u8]> =
        files.iter().flat_map(|(path, bytes)| [path.as_bytes(), bytes]).collect();
    let identity = Identity::of(&parts);
    let mut label = [b' '; 11];
    label.iter_mut().zip(esp::LABEL.bytes()).for_each(|(place, letter)| *place = letter);
    let fat = fat::make(ESP_BYTES, ESP_OFFSET, identity.serial("esp"), &label, &files)?;

    let mut bytes = vec![0; usize::try_from(IMAGE_BYTES).unwrap_or(usize::MAX)];
    let start = usize::try_from(ESP_OFFSET).unwrap_or(usize::MAX);
    bytes[start..start + fat.bytes.len()].copy_from_slice(&fat.bytes);
    table::write(&mut bytes, &identity)?;
    let files = files.into_iter().zip(fat.places);
    let files =
        files.map(|((path, bytes), place)| (path, ESP_OFFSET + place as u64, bytes.len() as u64));
    Ok(Disk { bytes, files: files.collect(), identity })
}
