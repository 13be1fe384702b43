//! The image of a whole disk: partition table, EFI system partition with the boot manager and one slot, empty state.

use image_layout::disk::{ESP_BYTES, ESP_OFFSET, IMAGE_BYTES, SLOT_BYTES};
use image_layout::esp::{self, Slot, SlotFile};

use crate::error::Error;
use crate::fat;
use crate::identity::Identity;
use crate::table;

/// What the boot manager is told: start the newest slot that has tries left, at once; nobody may change a command line.
const BOOT_MANAGER_CONFIGURATION: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\nconsole-mode keep\nsecure-boot-enroll ";

/// When the boot manager gives the keys on the medium to a firmware that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are what the boot manager knows")]
pub enum Enrolment {
    /// When somebody chooses it in its menu.
    #[default]
    Asked,
    /// By itself, whatever the machine is.
    Always,
}

impl Enrolment {
    fn word(self) -> &'static str {
        match self {
            Self::Asked => "manual",
            Self::Always => "force",
        }
    }
}

/// What goes onto the ESP.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The boot manager.
    pub manager: &'a [u8],
    /// What it starts where neither slot can be.
    pub help: &'a [u8],
    /// The program of the first slot.
    pub slot: &'a [u8],
    /// `lifeboat.toml`, where the stick is to work by itself.
    pub configuration: Option<&'a [u8]>,
    /// Keys for firmware: their paths, and what is in them.
    pub keys: &'a [(String, Vec<u8>)],
    /// When firmware gets them.
    pub enrolment: Enrolment,
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
    let manager = format!("{BOOT_MANAGER_CONFIGURATION}{}\n", contents.enrolment.word());
    // Without a key to be sorted by it comes behind both slots, and before what gives keys to firmware.
    let entry = format!("title What to do where nothing starts\nefi /{}\n", esp::HELP);
    // The room of the other slot is taken from the first day on: an update allocates nothing.
    let room = vec![0; usize::try_from(SLOT_BYTES).unwrap_or(usize::MAX)];
    let mut files: Vec<(String, &[u8])> = vec![
        (esp::BOOT_MANAGER.to_owned(), contents.manager),
        (esp::BOOT_MANAGER_CONFIGURATION.to_owned(), manager.as_bytes()),
        (esp::HELP.to_owned(), contents.help),
        (esp::HELP_ENTRY.to_owned(), entry.as_bytes()),
        (SlotFile::proven(Slot::A).path(), contents.slot),
        (format!("{}/{}", esp::SLOTS_FOLDER, esp::unfinished(Slot::B)), &room),
    ];
    files.extend(contents.keys.iter().map(|(path, bytes)| (path.clone(), bytes.as_slice())));
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
