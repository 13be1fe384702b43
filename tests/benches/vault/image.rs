//! The disk image that everything is measured on: an ext4 file system of a fixed list of folders of /usr/lib.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of /usr/lib, in this order, until about three fifths of the image are full.
const FOLDERS: [&str; 10] = [
    "x86_64-linux-gnu",
    "jvm",
    "llvm-14",
    "gcc",
    "python3.11",
    "python3",
    "postgresql",
    "git-core",
    "node_modules",
    "modules",
];
/// 1 % of the image is changed in pieces of a block, at places that follow from this seed.
const SEED: u64 = 0x11FE_B0A7;
const BLOCK: u64 = 65_536;

/// The image, made where it is missing and read once so that it is in the page cache.
pub(crate) fn prepared(bytes: u64) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = target.join(format!("bench-{}.img", bytes >> 20));
    if !path.exists() {
        make(&path, bytes).expect("the benchmark's image can be made");
    }
    warm(&path);
    path
}

fn make(path: &Path, bytes: u64) -> Result<(), String> {
    let root = path.with_extension("root");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let mut held = 0;
    for folder in FOLDERS {
        let source = Path::new("/usr/lib").join(folder);
        let size = if source.is_dir() { crate::run::bytes_below(&source) } else { 0 };
        if size == 0 || held + size > bytes * 2 / 3 {
            eprintln!("image: /usr/lib/{folder} left out ({size} bytes)");
            continue;
        }
        held += size;
        crate::run::run(Command::new("cp").arg("-a").arg(&source).arg(&root))?;
    }
    let part = path.with_extension("part");
    let mut mke2fs = Command::new("/sbin/mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-U", "6c696665-626f-6174-0000-000000000002", "-d"]);
    crate::run::run(mke2fs.arg(&root).arg(&part).arg(format!("{}M", bytes >> 20)))?;
    println!("image: {} MiB of /usr/lib in {} MiB of ext4", held >> 20, bytes >> 20);
    std::fs::remove_dir_all(&root).map_err(|error| error.to_string())?;
    std::fs::rename(&part, path).map_err(|error| error.to_string())
}

/// Reads a file once.
pub(crate) fn warm(path: &Path) {
    let mut file = std::fs::File::open(path).expect("the image opens");
    let read = std::io::copy(&mut file, &mut std::io::sink()).expect("the image reads");
    assert!(read > 0, "the image is empty");
}

/// Changes 1 % of a copy of the image and gives the changed ranges (offset, length).
pub(crate) fn change(path: &Path, bytes: u64) -> Vec<(u64, u64)> {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the copy opens");
    let mut state = SEED;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let blocks = bytes / BLOCK;
    let mut places: Vec<u64> = (0..blocks / 100).map(|_| random() % blocks).collect();
    places.sort_unstable();
    places.dedup();
    let mut content = vec![0_u8; 65_536];
    for place in &places {
        // Half noise, half text: neither all compressible nor none of it.
        for (at, word) in content.chunks_exact_mut(8).enumerate() {
            let value = if at % 2 == 0 { random() } else { 0x6C69_6665_626F_6174 };
            word.copy_from_slice(&value.to_le_bytes());
        }
        file.write_all_at(&content, place * BLOCK).expect("the copy takes writes");
    }
    places.iter().map(|place| (place * BLOCK, BLOCK)).collect()
}
