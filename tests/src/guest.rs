//! Kernels with a first process, for machines that start without a disk: made once for each first process, and kept.

use core::hash::{Hash as _, Hasher as _};
use std::hash::DefaultHasher;
use std::path::{Path, PathBuf};
use std::process::Command;

use core::time::Duration;

use crate::azurite::{install_once, run};
use crate::program::built;

/// Longest wait for a guest to be up, translated, beside others.
pub const BOOT: Duration = Duration::from_secs(240);

/// A kernel and its first file system.
#[derive(Clone, Debug)]
pub struct Files {
    /// The kernel.
    pub kernel: PathBuf,
    /// The first file system.
    pub initrd: PathBuf,
}

/// A guest of any kind: its PID 1 says what hardware it sees, and does what it is told.
pub fn guest() -> Result<Files, String> {
    with_init(&built("qemu-guest"))
}

/// The appliance: its PID 1 is the program lifeboat.
pub fn appliance() -> Result<Files, String> {
    with_init(&built("lifeboat"))
}

/// The image as it is given away, with this program as its only one: built once for each program, and kept.
#[derive(Clone, Debug)]
pub struct Image {
    /// A stick's bytes.
    pub stick: PathBuf,
    /// A CD's. What is on it cannot be changed any more, so its `lifeboat.toml` names it `on-the-cd`.
    pub cd: PathBuf,
}

/// The image.
pub fn image() -> Result<Image, String> {
    let folder = made_of("image", &built("lifeboat"), &|program, folder| {
        let settings = folder.join("settings.toml");
        std::fs::write(&settings, "role = \"capture\"\nname = \"on-the-cd\"\n")
            .map_err(|error| error.to_string())?;
        let mut command = Command::new(built("image"));
        command
            .args(["--fast", "--quiet", "--form", "raw", "--form", "iso", "--init"])
            .arg(program);
        command.arg("--configuration").arg(&settings);
        run(command.arg("--out").arg(folder)).map(drop)
    })?;
    Ok(Image { stick: folder.join("lifeboat.img"), cd: folder.join("lifeboat.iso") })
}

fn with_init(init: &Path) -> Result<Files, String> {
    let folder = made_of("initrd", init, &|init, folder| {
        let mut command = Command::new(built("image"));
        command.args(["initrd", "--fast", "--quiet", "--init"]).arg(init);
        run(command.arg("--out").arg(folder)).map(drop)
    })?;
    Ok(Files { kernel: folder.join("vmlinuz"), initrd: folder.join("initrd.zst") })
}

/// A folder of things made by the builder of a program, once for each of both.
fn made_of(
    what: &str,
    program: &Path,
    make: &dyn Fn(&Path, &Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/recipe.toml");
    for file in [program, &built("image"), &recipe, &recipe.with_extension("lock")] {
        let bytes = std::fs::read(file);
        bytes.map_err(|error| format!("{}: {error}", file.display()))?.hash(&mut hasher);
    }
    let stem = program.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{what}-{stem}-");
    install_once(&format!("{prefix}{:016x}", hasher.finish()), &|folder| {
        forget_old(folder, &prefix);
        make(program, folder)
    })
}

/// Removes what was made of earlier builds and has not been made anew for a day.
fn forget_old(folder: &Path, prefix: &str) {
    let Some(cache) = folder.parent() else { return };
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(prefix);
        let changed = entry.metadata().and_then(|facts| facts.modified());
        let old = changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > 86_400));
        if ours && old && entry.path().is_dir() {
            // What stays is removed by a later build.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
