//! An 8 TiB sparse disk in the memory of a small one.

use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::ours::Vault;
use crate::run::{Bench, run};

const DISK_BYTES: u64 = 8 << 40;
/// Written pieces: as many as make the map deep and wide.
const PIECES: u64 = 2_000;

/// Prints time and peak memory of protecting and restoring it.
pub(crate) fn measure(bench: &Bench) -> Result<(), String> {
    // tmpfs keeps holes as holes and takes files of this size.
    let folder = bench.fresh("sparse");
    let (disk, target) = (folder.join("disk.img"), folder.join("restored.img"));
    let file = std::fs::File::create(&disk).map_err(|error| error.to_string())?;
    file.set_len(DISK_BYTES).map_err(|error| error.to_string())?;
    for piece in 0..PIECES {
        let at = piece * (DISK_BYTES / PIECES) + piece * 4096;
        file.write_all_at(&piece.to_le_bytes(), at).map_err(|error| error.to_string())?;
    }
    let vault = Vault::directory(&folder)?;
    let (first, _) = vault.protect(&disk, None, &[])?;
    let (again, _) = vault.protect(&disk, None, &[])?;
    let (back, _) = vault.restore(&target)?;
    for piece in 0..PIECES {
        let at = piece * (DISK_BYTES / PIECES) + piece * 4096;
        let file = std::fs::File::open(&target).map_err(|error| error.to_string())?;
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at).map_err(|error| error.to_string())?;
        if word != piece.to_le_bytes() {
            return Err(format!("piece {piece} of the restored disk differs"));
        }
    }
    println!(
        "| 8 TiB sparse disk | first {:.1} s, {} MiB | again {:.1} s, {} MiB | restore {:.1} s, {} MiB |",
        first.wall.as_secs_f64(),
        first.peak_kib / 1024,
        again.wall.as_secs_f64(),
        again.peak_kib / 1024,
        back.wall.as_secs_f64(),
        back.peak_kib / 1024
    );
    run(Command::new("rm").arg("-rf").arg(&folder)).map(|_| ())
}
