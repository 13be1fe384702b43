//! What a crashed kernel left behind: read from the firmware's memory, told, and removed, as that memory is small.

use std::fs;
use std::path::Path;

/// Where the kernel shows it.
const FOLDER: &str = "/sys/fs/pstore";
/// More than the firmware ever keeps.
const BYTES_MAX: usize = 256 * 1024;

/// Reads and removes everything; the line that says most, where there was something.
pub(crate) fn collect() -> Result<String, String> {
    match collect_from(Path::new(FOLDER)) {
        Some(line) => {
            log::warn!("the kernel crashed the last time: {line}");
            Ok(format!("the kernel crashed the last time: {line}"))
        }
        None => Ok("no crash was kept".to_owned()),
    }
}

fn collect_from(folder: &Path) -> Option<String> {
    let mut files: Vec<_> =
        fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut best: Option<(u8, String)> = None;
    for path in files {
        let bytes = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(..BYTES_MAX).unwrap_or(&bytes)).into_owned();
        for line in text.lines() {
            let rank = worth(line);
            if rank > best.as_ref().map_or(0, |(rank, _)| *rank) {
                best = Some((rank, without_stamp(line).to_owned()));
            }
        }
        if let Err(error) = fs::remove_file(&path) {
            log::info!("{}: {error}", path.display());
        }
    }
    best.map(|(_, line)| line)
}

/// How much a line says of the reason.
fn worth(line: &str) -> u8 {
    let ranks =
        [("Kernel panic", 4), ("BUG:", 3), ("Oops", 3), ("Out of memory", 3), ("lifeboat:", 1)];
    ranks.iter().filter(|(word, _)| line.contains(word)).map(|(_, rank)| *rank).max().unwrap_or(0)
}

/// A line of the kernel's log without its level and time.
fn without_stamp(line: &str) -> &str {
    let line = line.trim();
    let line = match line.split_once('>') {
        Some((level, rest)) if level.starts_with('<') => rest,
        _ => line,
    };
    match line.split_once("] ") {
        Some((stamp, rest)) if stamp.starts_with('[') => rest.trim(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_and_the_memory_is_cleared() {
        let folder = std::env::temp_dir().join(format!("lifeboat-pstore-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(collect_from(&folder), None);
        let text = "Panic#2 Part1\n<6>[    9.1] lifeboat: modules: 20\n\
            <1>[   10.5] BUG: kernel NULL pointer dereference\n\
            <0>[   10.9] Kernel panic - not syncing: Fatal exception\n<6>[ 11.0] lifeboat: x\n";
        fs::write(folder.join("dmesg-efi-1"), text).unwrap();
        fs::write(folder.join("dmesg-efi-2"), b"\xff\xfe\n[ 1.0] Oops: 0002").unwrap();
        let line = collect_from(&folder).unwrap();
        assert_eq!(line, "Kernel panic - not syncing: Fatal exception");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(collect_from(&folder), None);
    }
}
