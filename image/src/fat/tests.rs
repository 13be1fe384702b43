//! A file system is read back by a reader written here after the standard, and by fsck.fat where it is installed.

use std::process::Command;

use super::*;

const MIB: u64 = 1024 * 1024;
const LABEL: &[u8; 11] = b"LIFEBOAT   ";

/// A reader of the plainest kind.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn half(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap()))
    }

    fn word(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    fn chain(&self, mut cluster: usize) -> Vec<u8> {
        let (reserved, table) = (self.half(14), self.word(36));
        let mut bytes = Vec::new();
        while (2..0x0fff_fff0).contains(&cluster) {
            let at = (reserved + 2 * table) * 512 + (cluster - 2) * 512;
            bytes.extend_from_slice(&self.0[at..at + 512]);
            let [one, two] =
                [0, 1].map(|copy| self.word((reserved + copy * table) * 512 + 4 * cluster));
            assert_eq!(one, two, "both tables say the same");
            cluster = one & 0x0fff_ffff;
        }
        bytes
    }

    /// Path and contents of every file below a folder.
    fn walk(&self, cluster: usize, path: &str, found: &mut Vec<(String, Vec<u8>)>) {
        let mut long: Vec<u16> = Vec::new();
        for entry in self.chain(cluster).chunks(32) {
            match (entry[0], entry[11]) {
                (0, _) => break,
                (b'.', _) | (_, 8) => continue,
                (_, 0x0f) => {
                    let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
                    let piece = places.map(|at| u16::from_le_bytes([entry[at], entry[at + 1]]));
                    long.splice(
                        0..0,
                        piece.into_iter().take_while(|&letter| letter != 0 && letter != 0xffff),
                    );
                    continue;
                }
                _ => {}
            }
            let short = String::from_utf8(entry[..11].to_vec()).unwrap();
            let name = match String::from_utf16(&core::mem::take(&mut long)).unwrap() {
                name if !name.is_empty() => name,
                _ => format!("{}.{}", short[..8].trim_end(), &short[8..])
                    .trim_end_matches(['.', ' '])
                    .to_owned(),
            };
            let half = |at: usize| usize::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
            let cluster = half(26) | half(20) << 16;
            let path = format!("{path}/{name}");
            if entry[11] == 0x10 {
                self.walk(cluster, &path, found);
            } else {
                let size = half(28) | half(30) << 16;
                found.push((path, self.chain(cluster)[..size].to_vec()));
            }
        }
    }
}

fn sample() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("EFI/BOOT/BOOTX64.EFI".into(), vec![1; 5000]),
        ("EFI/Linux/lifeboat-a.efi".into(), (0..200_000_u32).flat_map(u32::to_le_bytes).collect()),
        ("loader/loader.conf".into(), b"timeout 0\n".to_vec()),
        ("empty".into(), Vec::new()),
        ("a name with blanks and more letters than two entries hold.config".into(), b"x".to_vec()),
    ];
    // More than one cluster of entries.
    files.extend((0..40).map(|n| (format!("many/file number {n}"), vec![n; 10])));
    files
}

fn made(files: &[(String, Vec<u8>)]) -> Fat {
    let files: Vec<(String, &[u8])> =
        files.iter().map(|(path, bytes)| (path.clone(), bytes.as_slice())).collect();
    make(40 * MIB, MIB, 7, LABEL, &files).unwrap()
}

#[test]
fn every_file_is_read_back() {
    let mut files = sample();
    let fat = made(&files);
    for ((path, bytes), &place) in files.iter().zip(&fat.places) {
        assert_eq!(&fat.bytes[place..place + bytes.len()], bytes, "{path}");
        assert!(place.is_multiple_of(ALIGN), "{path}");
    }
    let mut found = Vec::new();
    Reader(&fat.bytes).walk(2, "", &mut found);
    files.iter_mut().for_each(|(path, _)| path.insert(0, '/'));
    files.sort();
    found.sort();
    assert_eq!(found, files);
}

#[test]
fn the_same_files_make_the_same_bytes() {
    assert_eq!(made(&sample()).bytes, made(&sample()).bytes);
}

#[test]
fn what_does_not_fit_is_refused() {
    let big = vec![1; 41 * 1024 * 1024];
    let error = make(40 * MIB, 0, 7, LABEL, &[("big".into(), &big)]).unwrap_err();
    assert_eq!(error.blame(), Blame::Limit);
    assert!(make(30 * MIB, 0, 7, LABEL, &[]).is_err(), "too few clusters for FAT32");
}

#[test]
fn the_systems_own_checker_finds_nothing() {
    let path = std::env::temp_dir().join(format!("lifeboat-fat-{}.img", std::process::id()));
    std::fs::write(&path, made(&sample()).bytes).unwrap();
    let checked = ["fsck.fat", "/usr/sbin/fsck.fat"]
        .iter()
        .find_map(|program| Command::new(program).arg("-vn").arg(&path).output().ok());
    std::fs::remove_file(&path).unwrap();
    match checked {
        Some(output) => {
            // Every folder counts as a file, the root too.
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("51 files"), "{said}");
        }
        None => eprintln!("SKIPPED: fsck.fat is not installed (dosfstools)"),
    }
}
