//! The hybrid ISO: the same disk, with the descriptors of ISO 9660 in the gap before the first partition.
//!
//! As a CD, firmware finds the EFI system partition through El Torito; on a stick it finds it in the partition table.
//! The CD's folders name the very bytes of the ESP's files, so that everything is there once. Names are there twice: in
//! eight and three capital letters as the standard wants them, and in full ("Joliet").

use image_layout::disk::{ESP_OFFSET, IMAGE_BYTES, ISO_LABEL, ISO_OFFSET};

use crate::disk::Disk;
use crate::error::{Blame, Error};

/// Folders and path tables, once for each way of writing names.
mod tree;

use tree::{Names, Tree};

pub(crate) const SECTOR: u64 = 2048;
/// Descriptors, in their order: the first is at the place that the standard fixes, the second where El Torito does.
const PRIMARY: u32 = 16;
const BOOT: u32 = 17;
const JOLIET: u32 = 18;
const END: u32 = 19;
const CATALOG: u32 = 20;
/// Where the tables and folders of the first tree begin.
const TREES: u32 = 21;

/// Puts the descriptors into a copy of the disk.
pub fn make(disk: &Disk, built: u64) -> Result<Vec<u8>, Error> {
    let full = || {
        Error::new(
            Blame::Limit,
            "the CD's folders",
            "too many files for the room before the first partition",
            "leave files out of the image",
        )
    };
    let mut image = disk.bytes.clone();
    let sectors = u32::try_from(IMAGE_BYTES / SECTOR).map_err(|_| full())?;
    let plain = Tree::new(&disk.files, TREES, Names::Plain).ok_or_else(full)?;
    let joliet = Tree::new(&disk.files, plain.end(), Names::Full).ok_or_else(full)?;
    if u64::from(joliet.end()) * SECTOR > ESP_OFFSET || u64::from(PRIMARY) * SECTOR != ISO_OFFSET {
        return Err(full());
    }
    let boot_place = u32::try_from(ESP_OFFSET / SECTOR).map_err(|_| full())?;
    let mut put = |sector: u32, bytes: &[u8]| {
        let start = usize::try_from(u64::from(sector) * SECTOR).unwrap_or(usize::MAX);
        image[start..start + bytes.len()].copy_from_slice(bytes);
    };
    let date = date(built);
    put(PRIMARY, &volume(&plain, sectors, &date, Names::Plain));
    put(BOOT, &boot_record());
    put(JOLIET, &volume(&joliet, sectors, &date, Names::Full));
    put(END, b"\xffCD001\x01");
    put(CATALOG, &catalog(boot_place));
    for tree in [&plain, &joliet] {
        for (sector, bytes) in tree.sectors() {
            put(sector, &bytes);
        }
    }
    Ok(image)
}

fn volume(tree: &Tree, sectors: u32, date: &[u8; 17], names: Names) -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    let (kind, escape): (u8, &[u8]) = match names {
        Names::Plain => (1, b""),
        Names::Full => (2, b"%/E"),
    };
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    let text = |text: &str, length: usize| names.padded(text, length);
    put(0, &[kind]);
    put(1, b"CD001\x01");
    put(8, &text("", 32));
    put(40, &text(ISO_LABEL, 32));
    put(80, &both32(sectors));
    put(88, escape);
    put(120, &both16(1));
    put(124, &both16(1));
    put(128, &both16(2048));
    put(132, &both32(tree.table_bytes()));
    put(140, &tree.table_place().to_le_bytes());
    put(148, &(tree.table_place() + 1).to_be_bytes());
    put(156, &tree.root());
    for (at, length) in
        [(190, 128), (318, 128), (446, 128), (574, 128), (702, 37), (739, 37), (776, 37)]
    {
        put(at, &text("", length));
    }
    put(574, &text("LIFEBOAT", 128));
    put(813, date);
    put(830, date);
    put(847, b"0000000000000000\0");
    put(864, b"0000000000000000\0");
    put(881, &[1]);
    bytes
}

fn boot_record() -> Vec<u8> {
    let mut bytes = vec![0; 75];
    bytes[..7].copy_from_slice(b"\0CD001\x01");
    bytes[7..30].copy_from_slice(b"EL TORITO SPECIFICATION");
    bytes[71..75].copy_from_slice(&CATALOG.to_le_bytes());
    bytes
}

/// One entry, for UEFI. A length of 0 means to the end of the medium: the field could not hold the ESP's.
fn catalog(boot_place: u32) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..2].copy_from_slice(&[1, 0xef]);
    bytes[4..12].copy_from_slice(b"LIFEBOAT");
    bytes[30..32].copy_from_slice(&[0x55, 0xaa]);
    let sum = bytes[..32]
        .chunks(2)
        .fold(0_u16, |sum, pair| sum.wrapping_add(u16::from_le_bytes([pair[0], pair[1]])));
    bytes[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    bytes[32] = 0x88;
    bytes[40..44].copy_from_slice(&boot_place.to_le_bytes());
    bytes
}

/// A number in both orders, as the standard wants it.
fn both32(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

/// `YYYYMMDDhhmmsscc` and no offset from UTC.
fn date(seconds: u64) -> [u8; 17] {
    let time = crate::time::Utc::of(seconds);
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}00\0",
        time.year.min(9999),
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second
    );
    let mut bytes = [0; 17];
    bytes.iter_mut().zip(text.bytes()).for_each(|(place, letter)| *place = letter);
    bytes
}
