//! Names on the EFI system partition: the two slots with their boot counting, and the boot manager.
//!
//! A slot's file name says how often it may still be tried: `lifeboat-b+3.efi` has three tries left,
//! `lifeboat-b+2-1.efi` two after one failure, `lifeboat-b.efi` has proven itself. The boot manager counts down by
//! renaming; PID 1 renames to the plain name once it is healthy.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// Folder of the slots.
pub const SLOTS_FOLDER: &str = "EFI/Linux";
/// What firmware starts from a removable medium: the boot manager.
pub const BOOT_MANAGER: &str = "EFI/BOOT/BOOTX64.EFI";
/// Its configuration.
pub const BOOT_MANAGER_CONFIGURATION: &str = "loader/loader.conf";
/// What it starts where neither slot is a program any more, and the entry by which it does.
pub const HELP: &str = "EFI/BOOT/HELP.EFI";
/// See [`HELP`].
pub const HELP_ENTRY: &str = "loader/entries/help.conf";
/// The keys that the boot manager gives to a firmware that has none yet, once somebody chooses that in its menu.
pub const KEYS_FOLDER: &str = "loader/keys/auto";
/// The same, with Microsoft's beside ours.
pub const KEYS_WITH_MICROSOFT_FOLDER: &str = "loader/keys/with-microsoft";
/// The optional file of the person who made the stick, in the root.
pub const CONFIGURATION: &str = "lifeboat.toml";
/// Label of the file system: eleven characters, padded.
pub const LABEL: &str = "LIFEBOAT   ";
/// Tries that a freshly written slot gets.
pub const TRIES: u8 = 3;

/// One of the two places for a whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there are two slots, and the room on the disk says so"
)]
pub enum Slot {
    /// The one that a new image has.
    A,
    /// The one that the first update goes to.
    B,
}

impl Slot {
    /// The other one: where an update goes.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Self::A => "lifeboat-a",
            Self::B => "lifeboat-b",
        }
    }
}

/// A slot's file, with what its name says of tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotFile {
    /// Which slot.
    pub slot: Slot,
    /// Tries left and failures so far; `None` once the slot has proven itself.
    pub tries: Option<Tries>,
}

/// Boot counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// How often it may still be tried.
    pub left: u8,
    /// How often it was tried and not found healthy.
    pub failed: u8,
}

impl SlotFile {
    /// A slot that has proven itself.
    #[must_use]
    pub fn proven(slot: Slot) -> Self {
        Self { slot, tries: None }
    }

    /// A slot as an update writes it.
    #[must_use]
    pub fn fresh(slot: Slot) -> Self {
        Self { slot, tries: Some(Tries { left: TRIES, failed: 0 }) }
    }

    /// Reads a file name without its folder, in any case, as FAT does not keep case apart. `None` for a file that is
    /// no slot of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let stem = name.strip_suffix(".efi")?;
        let (stem, counters) = match stem.split_once('+') {
            Some((stem, counters)) => (stem, Some(counters)),
            None => (stem, None),
        };
        let slot = [Slot::A, Slot::B].into_iter().find(|slot| slot.stem() == stem)?;
        let tries = match counters {
            None => None,
            Some(counters) => {
                let (left, failed) = counters.split_once('-').unwrap_or((counters, "0"));
                Some(Tries { left: digits(left)?, failed: digits(failed)? })
            }
        };
        Some(Self { slot, tries })
    }

    /// Its path on the ESP.
    #[must_use]
    pub fn path(self) -> String {
        format!("{SLOTS_FOLDER}/{self}")
    }
}

/// The file name of a slot that holds nothing whole: what an update writes into. No boot manager looks at it.
#[must_use]
pub fn unfinished(slot: Slot) -> String {
    format!("{}.new", slot.stem())
}

impl fmt::Display for SlotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slot.stem())?;
        match self.tries {
            None => {}
            Some(Tries { left, failed: 0 }) => write!(f, "+{left}")?,
            Some(Tries { left, failed }) => write!(f, "+{left}-{failed}")?,
        }
        f.write_str(".efi")
    }
}

/// Decimal digits and nothing else: `parse` would take a sign.
fn digits(text: &str) -> Option<u8> {
    let only = text.bytes().all(|byte| byte.is_ascii_digit());
    let value: u8 = text.parse().ok().filter(|_| only)?;
    // The boot manager writes no zeros in front; another spelling would not be found again under its name.
    (value.to_string() == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_count_and_are_read_back() {
        assert_eq!(SlotFile::proven(Slot::A).path(), "EFI/Linux/lifeboat-a.efi");
        assert_eq!(SlotFile::fresh(Slot::B).path(), "EFI/Linux/lifeboat-b+3.efi");
        for slot in [Slot::A, Slot::B] {
            for tries in [None, Some((3, 0)), Some((2, 1)), Some((0, 3)), Some((255, 255))] {
                let tries = tries.map(|(left, failed)| Tries { left, failed });
                let file = SlotFile { slot, tries };
                assert_eq!(SlotFile::parse(&file.to_string()), Some(file));
                assert_eq!(SlotFile::parse(&file.to_string().to_ascii_uppercase()), Some(file));
            }
        }
        assert_eq!(Slot::A.other().other(), Slot::A);
        assert_eq!(SlotFile::parse(&unfinished(Slot::B)), None, "nobody starts it");
    }

    #[test]
    fn other_files_are_no_slots() {
        for name in [
            "",
            ".efi",
            "lifeboat-c.efi",
            "lifeboat-a.efi.bak",
            "lifeboat-a",
            "lifeboat-a+.efi",
            "lifeboat-a++3.efi",
            "lifeboat-a+03.efi",
            "lifeboat-a+3-.efi",
            "lifeboat-a+-1.efi",
            "lifeboat-a+3-1-1.efi",
            "lifeboat-a+256.efi",
        ] {
            assert_eq!(SlotFile::parse(name), None, "{name}");
        }
    }
}
