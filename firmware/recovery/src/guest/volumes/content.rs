//! What is on a volume, by its superblock: kind, `UUID` and `LABEL` as Linux writes them.

use core::fmt;
use std::io;

use crate::guest::view::{View, read_some};

/// The first bytes that are looked at: Btrfs has its superblock at 64 KiB.
const HEAD_BYTES: usize = 68 * 1024;

/// What is on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A file system.
    FileSystem {
        /// As the kernel calls it: `ext4`, `xfs`, `btrfs`, `vfat`, `ntfs`.
        kind: &'static str,
        /// `UUID`, as Linux has it.
        uuid: String,
        /// `LABEL`.
        label: String,
    },
    /// Swap space.
    Swap {
        /// `UUID`.
        uuid: String,
        /// `LABEL`.
        label: String,
    },
    /// A physical volume of LVM.
    Physical,
    /// A member of an md array.
    Array {
        /// As md counts: 1 is a mirror.
        level: i32,
        /// Which array it is of.
        set: String,
        /// As the server calls it: `md0`.
        name: String,
        /// Start and length of the array's bytes, where a member has all of them in one piece.
        data: Option<(u64, u64)>,
        /// How often the array had changed when this member was last part of it.
        events: u64,
    },
    /// Encrypted, by what.
    Encrypted(&'static str),
    /// Nothing that is known.
    Unknown,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileSystem { kind, .. } => write!(f, "{kind}"),
            Self::Swap { .. } => f.write_str("swap"),
            Self::Physical => f.write_str("a physical volume of LVM"),
            Self::Array { name, level, .. } => write!(f, "a member of array {name}, level {level}"),
            Self::Encrypted(by) => write!(f, "encrypted by {by}"),
            Self::Unknown => f.write_str("nothing that is known"),
        }
    }
}

/// What is on a volume.
pub fn look(view: &dyn View) -> io::Result<Content> {
    // Arrays of version 1.0 and 0.90 have their superblock at the end, and before it the data lies as if there were
    // none.
    let sectors = view.bytes() / 512;
    for place in [sectors.saturating_sub(16) & !7, (sectors & !127).saturating_sub(128)] {
        if let Some(mut content) = array(&read_some(view, place * 512, 4096)?) {
            if let Content::Array { data: Some((start, bytes)), .. } = &mut content {
                *bytes = (*bytes).min((place * 512).saturating_sub(*start));
            }
            return Ok(content);
        }
    }
    look_inside(view)
}

/// The same of what is inside of an array already: what is behind its end is not looked at.
pub(super) fn look_inside(view: &dyn View) -> io::Result<Content> {
    Ok(of_head(&read_some(view, 0, HEAD_BYTES)?).unwrap_or(Content::Unknown))
}

fn of_head(head: &[u8]) -> Option<Content> {
    let is = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    if is(0, b"LUKS\xba\xbe") {
        return Some(Content::Encrypted("LUKS"));
    }
    if is(3, b"-FVE-FS-") {
        return Some(Content::Encrypted("BitLocker"));
    }
    if is(4096, b"\xfc\x4e\x2b\xa9") {
        return array(&head[4096..]);
    }
    if is(0, b"\xfc\x4e\x2b\xa9") {
        return array(head);
    }
    if (0..4).any(|sector| is(sector * 512, b"LABELONE") && is(sector * 512 + 24, b"LVM2 001")) {
        return Some(Content::Physical);
    }
    if is(0, b"XFSB") {
        return file_system("xfs", guid(head, 32)?, text(head, 108, 12)?);
    }
    if is(65_600, b"_BHRfS_M") {
        return file_system("btrfs", guid(head, 65_568)?, text(head, 65_536 + 299, 256)?);
    }
    if is(1080, b"\x53\xef") {
        return file_system(ext(head)?, guid(head, 1128)?, text(head, 1144, 16)?);
    }
    if is(4086, b"SWAPSPACE2") {
        return Some(Content::Swap { uuid: guid(head, 1036)?, label: text(head, 1052, 16)? });
    }
    if is(3, b"NTFS    ") {
        let serial: [u8; 8] = head.get(72..80)?.try_into().ok()?;
        return file_system("ntfs", format!("{:016X}", u64::from_le_bytes(serial)), String::new());
    }
    fat(head)
}

fn file_system(kind: &'static str, uuid: String, label: String) -> Option<Content> {
    Some(Content::FileSystem { kind, uuid, label })
}

/// By what the superblock says it needs: a journal makes an ext3, extents and their kin an ext4.
fn ext(head: &[u8]) -> Option<&'static str> {
    const JOURNAL: u32 = 4;
    const OF_EXT3: u32 = 0x0002 | 0x0004 | 0x0010;
    const READ_ONLY_OF_EXT3: u32 = 0x0001 | 0x0002 | 0x0004;
    let (compatible, needed, to_write) = (word(head, 1116)?, word(head, 1120)?, word(head, 1124)?);
    let later = needed & !OF_EXT3 != 0 || to_write & !READ_ONLY_OF_EXT3 != 0;
    Some(match (later, compatible & JOURNAL != 0) {
        (true, _) => "ext4",
        (false, true) => "ext3",
        (false, false) => "ext2",
    })
}

fn fat(head: &[u8]) -> Option<Content> {
    let is = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let jumps = is(0, &[0xEB]) || is(0, &[0xE9]);
    let serial = match (is(82, b"FAT32   "), is(54, b"FAT1")) {
        (true, _) => 67,
        (_, true) => 39,
        _ => return None,
    };
    let label = text(head, serial + 4, 11)?;
    let label = label.trim_end();
    let label = if label == "NO NAME" { "" } else { label };
    let number = word(head, serial)?;
    let uuid = format!("{:04X}-{:04X}", number >> 16, number & 0xFFFF);
    jumps.then(|| Content::FileSystem { kind: "vfat", uuid, label: label.to_owned() })
}

/// By an md superblock: the data of a mirror lies in one piece on each member.
fn array(superblock: &[u8]) -> Option<Content> {
    if word(superblock, 0)? != 0xa92b_4efc {
        return None;
    }
    let is_new = word(superblock, 4)? == 1;
    let level = if is_new { word(superblock, 72)? } else { word(superblock, 28)? }.cast_signed();
    // A spare, and what is still being filled from the others, has not what the others have.
    let whole = if is_new {
        const FILLING: u32 = 2;
        const NO_ROLE: u16 = 0xFFF0;
        let number = usize::try_from(word(superblock, 160)?).ok()?;
        let is_counted = u32::try_from(number).ok()? < word(superblock, 220)?;
        let role = number.checked_mul(2).and_then(|at| half(superblock, at.checked_add(256)?));
        let is_spare = is_counted && role.is_some_and(|role| role >= NO_ROLE);
        word(superblock, 8)? & FILLING == 0 && !is_spare
    } else {
        const IN_SYNC: u32 = 4;
        word(superblock, 3984).is_none_or(|state| state & IN_SYNC != 0)
    };
    let events = long(superblock, if is_new { 200 } else { 156 })?;
    let (set, name, data) = if is_new {
        let data = (|| {
            let (start, sectors) = (long(superblock, 128)?, long(superblock, 136)?);
            let size = long(superblock, 80)?.min(sectors);
            Some((start.checked_mul(512)?, size.checked_mul(512)?))
        })();
        // The name has the server's before it, where it is of this server.
        let name = text(superblock, 32, 32)?;
        let name = name.rsplit(':').next().unwrap_or_default().to_owned();
        let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        (guid(superblock, 16)?, format!("md{}{name}", if is_number { "" } else { "/" }), data)
    } else {
        // Its size is in kibibytes; its identity is in four places.
        let set = [20, 52, 56, 60].map(|at| word(superblock, at).unwrap_or(0));
        let name = format!("md{}", word(superblock, 36)?);
        let bytes = u64::from(word(superblock, 32)?).checked_mul(1024)?;
        (format!("{set:08x?}"), name, Some((0, bytes)))
    };
    let data = data.filter(|_| level == 1 && whole);
    Some(Content::Array { level, set, name, data, events })
}

/// A UUID whose bytes stand in the order in which they are written.
fn guid(bytes: &[u8], at: usize) -> Option<String> {
    let raw = bytes.get(at..at.checked_add(16)?)?;
    let mut written = String::with_capacity(36);
    for (place, byte) in raw.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            written.push('-');
        }
        written.push_str(&format!("{byte:02x}"));
    }
    Some(written)
}

fn text(bytes: &[u8], at: usize, length: usize) -> Option<String> {
    let raw = bytes.get(at..at.checked_add(length)?)?;
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(length);
    Some(String::from_utf8_lossy(&raw[..end]).into_owned())
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
