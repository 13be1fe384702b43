//! NTFS made by mkntfs and filled by ntfscp, read here, and bytes changed here read by ntfscat.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::guest::view::memory::Memory;

/// A volume of Windows' own file system with these files; `None`, loudly, where the programs for it are missing.
pub(crate) fn volume(path: &Path, mib: u64, files: &[(&str, &Path)]) -> Option<()> {
    File::create(path).unwrap().set_len(mib << 20).unwrap();
    let made = Command::new("mkntfs").args(["-Q", "-q", "-F"]).arg(path).output();
    match made {
        Ok(output) if output.status.success() => (),
        other => {
            eprintln!("SKIPPED, not tested on this machine: mkntfs: {other:?}");
            return None;
        }
    }
    for (name, from) in files {
        let output = Command::new("ntfscp")
            .args(["-q", "-f"])
            .arg(path)
            .arg(from)
            .arg(name)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
    Some(())
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lifeboat-ntfs-{name}-{}", std::process::id()))
}

fn open(path: &Path) -> NtfsTree {
    NtfsTree::open(Arc::new(File::options().read(true).write(true).open(path).unwrap())).unwrap()
}

#[test]
fn files_are_read_by_name_and_changed_in_their_place() {
    let (image, large, small) = (path("files"), path("large"), path("small"));
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&large, &text).unwrap();
    fs::write(&small, "in its record").unwrap();
    let Some(()) = volume(&image, 32, &[("Large.File", &large), ("small", &small)]) else { return };
    let tree = open(&image);
    let tree: &dyn Tree = &tree;
    let names = tree.list("").unwrap();
    assert!(
        ["$MFT", "Large.File", "small"].iter().all(|name| names.contains(&(*name).to_owned())),
        "{names:?}"
    );
    assert_eq!(tree.kind("LARGE.file").unwrap(), Some(Kind::File(1_200_000)));
    assert_eq!(
        (tree.kind("$Extend").unwrap(), tree.kind("nothing/x").unwrap()),
        (Some(Kind::Folder), None)
    );
    assert!(tree.read("large.file", 1 << 21).unwrap().unwrap() == text);
    assert_eq!(tree.text("SMALL").unwrap().as_deref(), Some("in its record"));
    tree.patch("large.file", 999_999, b"changed").unwrap();
    assert!(tree.patch("large.file", 1_199_999, b"past").is_err());
    assert!(tree.write("large.file", b"", None).is_err() && tree.patch("small", 0, b"x").is_err());
    let told =
        Command::new("ntfscat").arg("-f").arg(&image).arg("Large.File").output().unwrap().stdout;
    let mut wanted = text;
    wanted[999_999..1_000_006].copy_from_slice(b"changed");
    assert!(told == wanted, "{} bytes", told.len());
    for file in [image, large, small] {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn hostile_bytes_end_in_errors() {
    use hal_sim::random::Random;
    let (image, file) = (path("hostile"), path("hostile-file"));
    fs::write(&file, vec![7; 100_000]).unwrap();
    let Some(()) = volume(&image, 8, &[("file", &file)]) else { return };
    let view = Arc::new(Memory::new(fs::read(&image).unwrap()));
    fs::remove_file(image).unwrap();
    fs::remove_file(file).unwrap();
    let records =
        usize::try_from(u64::from_le_bytes(view.0.lock().unwrap()[48..56].try_into().unwrap()))
            .unwrap()
            * 4096;
    let seed = 20_261_130;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let mut below = |limit: u64| usize::try_from(random.below(limit)).unwrap();
    for round in 0..2000 {
        // The boot sector, the records of all records and of the uppermost folder, and those of files.
        let base = [0, records, records + 5 * 1024, records + 64 * 1024][round % 4];
        let limit = if base == 0 { 80 } else { 1024 };
        let places: Vec<usize> = (0..2).map(|_| base + below(limit)).collect();
        let old: Vec<u8> = places.iter().map(|place| view.0.lock().unwrap()[*place]).collect();
        for place in &places {
            view.0.lock().unwrap()[*place] = u8::try_from(below(256)).unwrap();
        }
        if let Ok(tree) = NtfsTree::open(Arc::clone(&view) as Arc<dyn View>) {
            let tree: &dyn Tree = &tree;
            let _ = tree.list("");
            let _ = tree.read("file", 1 << 20);
        }
        for (place, old) in places.iter().zip(old).rev() {
            view.0.lock().unwrap()[*place] = old;
        }
    }
}
