//! Disks that tests plug into machines: the stick with its settings, a disk for a vault, copies, and how they are read.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::disk::{Contents, Enrolment, make};

use crate::azurite::run;

/// The unit in which files are copied and compared.
const PIECE: usize = 1 << 20;

/// A stick of the image's own layout, with `lifeboat.toml` and an empty state, and nothing to start: for machines that start
/// the appliance without firmware.
///
/// # Panics
/// Where it cannot be made: nothing can be tested then.
pub fn stick(path: &Path, configuration: &str) -> PathBuf {
    let contents = Contents {
        manager: b"none",
        help: b"none",
        slot: b"none",
        configuration: Some(configuration.as_bytes()),
        keys: &[],
        enrolment: Enrolment::Asked,
    };
    let disk = make(&contents).unwrap_or_else(|error| panic!("{error}"));
    fs::write(path, disk.bytes).expect("room for a stick");
    path.to_owned()
}

/// An empty disk.
///
/// # Panics
/// Where there is no room for it.
pub fn empty(path: &Path, bytes: u64) -> PathBuf {
    let made = File::create(path).and_then(|file| file.set_len(bytes));
    made.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.to_owned()
}

/// A disk of so many MiB that is one ext4 file system with this label, holding what `folder` holds.
///
/// # Panics
/// Where it cannot be made.
pub fn ext4(path: &Path, label: &str, folder: &Path, mib: u64) -> PathBuf {
    empty(path, mib << 20);
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-L", label, "-d"]).arg(folder).arg(path);
    run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    path.to_owned()
}

/// Gives the folder that holds what is on such a disk: as after a start that replays its journal. The disk stays as it is.
///
/// # Panics
/// Where the file system is damaged beyond its journal.
pub fn read_ext4(disk: &Path, into: &Path) -> PathBuf {
    let (copy, folder) = (into.join("mended.img"), into.join("read"));
    copy_disk(disk, &copy);
    let mended = Command::new("e2fsck").args(["-f", "-p"]).arg(&copy).output();
    let mended = mended.expect("e2fsck comes with mke2fs");
    // 1: mended, which after a power cut is the journal's normal work. More would be damage.
    let words = String::from_utf8_lossy(&mended.stdout).into_owned();
    assert!(mended.status.code().is_some_and(|code| code <= 1), "{words}");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a scratch folder");
    let request = format!("rdump / {}", folder.display());
    let mut command = Command::new("debugfs");
    run(command.arg("-R").arg(request).arg(&copy)).unwrap_or_else(|error| panic!("{error}"));
    fs::remove_file(&copy).expect("a file of ours");
    folder
}

/// Copies a disk, holes and all.
///
/// # Panics
/// Where there is no room for it.
pub fn copy_disk(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    run(command.arg("--sparse=always").arg(from).arg(to)).unwrap_or_else(|error| panic!("{error}"));
}

/// Writes a file into another from a byte on, leaving holes where it holds nothing.
pub(crate) fn put(from: &Path, into: &Path, at: u64) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", into.display());
    let target = File::options().write(true).open(into).map_err(failed)?;
    each_piece(from, &mut |offset, piece| {
        if piece.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        target.write_all_at(piece, at + offset)
    })
    .map_err(failed)
}

/// The first byte within `from..to` at which two disks differ.
///
/// # Panics
/// Where one of them cannot be read that far.
pub fn first_difference(one: &Path, two: &Path, range: core::ops::Range<u64>) -> Option<u64> {
    let (one, two) = (File::open(one).expect("a disk"), File::open(two).expect("a disk"));
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).map_or(PIECE, |rest| rest.min(PIECE));
        let (left, right) = (&mut left[..length], &mut right[..length]);
        one.read_exact_at(left, at).expect("a disk is read to its end");
        two.read_exact_at(right, at).expect("a disk is read to its end");
        if left != right {
            let place = left.iter().zip(&*right).position(|(one, two)| one != two);
            return place.map(|place| at + place as u64);
        }
        at += length as u64;
    }
    None
}

fn each_piece(
    path: &Path,
    take: &mut dyn FnMut(u64, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        match file.read_at(&mut piece, at)? {
            0 => return Ok(()),
            read => {
                take(at, piece.get(..read).unwrap_or_default())?;
                at += read as u64;
            }
        }
    }
}
