//! The disks that the guest's kernel sees, and their sectors.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use crate::{Answer, fact, say};

const SECTOR: u64 = 4096;

/// One event for each disk.
pub(crate) fn list() -> Answer {
    let entries = fs::read_dir("/sys/block").map_err(|error| format!("/sys/block: {error}"))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let at = format!("/sys/block/{name}");
        let place = fs::read_link(&at).unwrap_or_default().display().to_string();
        say(
            "disk",
            &[
                ("name", &name),
                ("place", &place),
                ("sectors", &fact(&format!("{at}/size"))),
                ("logical", &fact(&format!("{at}/queue/logical_block_size"))),
                ("physical", &fact(&format!("{at}/queue/physical_block_size"))),
                ("fixed", &fact(&format!("{at}/ro"))),
                ("serial", &serial(&at)),
                ("wwid", &fact(&format!("{at}/device/wwid"))),
            ],
        );
    }
    Ok(())
}

/// A serial number: the disk's own, a SCSI disk's from its vital product data (four bytes of header, then the number), or
/// that of the USB device that it hangs on.
fn serial(at: &str) -> String {
    let page = fs::read(format!("{at}/device/vpd_pg80")).unwrap_or_default();
    let text = String::from_utf8_lossy(page.get(4..).unwrap_or_default()).into_owned();
    let own = text.trim().trim_matches('\0').to_owned();
    if !own.is_empty() {
        return own;
    }
    let mut place = fs::canonicalize(at).unwrap_or_default();
    while place.starts_with("/sys/devices/") {
        let above = fact(&place.join("serial").display().to_string());
        if !above.is_empty() {
            return above;
        }
        place.pop();
    }
    String::new()
}

fn open(disk: &str) -> Result<File, String> {
    let path = format!("/dev/{disk}");
    let file = File::options().read(true).write(true).open(&path);
    let file = file.or_else(|_| File::open(&path));
    file.map_err(|error| format!("{path}: {error}"))
}

/// The text at the start of a sector of 4096 bytes.
pub(crate) fn read(disk: &str, sector: u64) -> Answer {
    let text = text_at(disk, sector)?;
    say("sector", &[("disk", &disk), ("text", &text)]);
    Ok(())
}

fn text_at(disk: &str, sector: u64) -> Result<String, String> {
    let mut bytes = [0_u8; 64];
    let file = open(disk)?;
    file.read_exact_at(&mut bytes, sector * SECTOR).map_err(|error| error.to_string())?;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Writes text at the start of a sector, and flushes.
pub(crate) fn write(disk: &str, sector: u64, text: &str) -> Answer {
    let mut bytes = vec![0_u8; 4096];
    for (to, from) in bytes.iter_mut().zip(text.bytes().take(63)) {
        *to = from;
    }
    let file = open(disk)?;
    file.write_all_at(&bytes, sector * SECTOR).map_err(|error| error.to_string())?;
    file.sync_all().map_err(|error| error.to_string())
}

/// Counts on the disk until the power is cut: every number that is said was flushed before.
pub(crate) fn count(disk: &str) -> Answer {
    let start: u64 = text_at(disk, 0)?.parse().unwrap_or(0);
    for number in start + 1.. {
        write(disk, 0, &number.to_string())?;
        say("counted", &[("n", &number)]);
    }
    Ok(())
}
