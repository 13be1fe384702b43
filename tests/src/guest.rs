//! Kernels with a first process, for machines that start without a disk: made once for each first process, and kept.

use core::hash::{Hash as _, Hasher as _};
use std::hash::DefaultHasher;
use std::path::{Path, PathBuf};
use std::process::Command;

use core::time::Duration;

use image::signing::Keys;

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
    let [stick, cd] = ["img", "iso"].map(|end| folder.join(format!("lifeboat-development.{end}")));
    Ok(Image { stick, cd })
}

/// An image that says what it does to machines by its own command line: where Secure Boot is on, nobody else can have it say
/// so. Its keys lie beside it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// A stick's bytes.
    pub stick: PathBuf,
    /// The same, which gives its keys to a firmware that has none.
    pub enrolling: PathBuf,
    /// The folder of keys.
    pub keys: PathBuf,
    /// Variables of a firmware that has taken these keys, made by somebody else's program.
    pub variables: PathBuf,
}

/// Words that an image of a test has on its command line.
pub const SIGNED_WORDS: &str = "no_timer_check lifeboat.test=1 panic=-1";

/// The image.
pub fn signed() -> Result<Signed, String> {
    let folder = made_of("signed", &built("lifeboat"), &|program, folder| {
        let keys = folder.join("keys");
        Keys::development(&keys).map_err(|error| error.to_string())?;
        for (name, more) in [("stick", &[][..]), ("enrolling", &["--enrol"])] {
            let mut command = Command::new(built("image"));
            command.args([
                "--fast",
                "--quiet",
                "--form",
                "raw",
                "--append",
                SIGNED_WORDS,
                "--init",
            ]);
            command.arg(program).arg("--keys").arg(&keys).args(more);
            run(command.arg("--out").arg(folder.join(name)))?;
        }
        enrolled(&keys, &folder.join("variables.fd"))
    })?;
    let image = |name: &str| folder.join(name).join("lifeboat-development.img");
    Ok(Signed {
        stick: image("stick"),
        enrolling: image("enrolling"),
        keys: folder.join("keys"),
        variables: folder.join("variables.fd"),
    })
}

/// Three releases of the same program: an image, an update that works from its second try on, and one that never does.
#[derive(Clone, Debug)]
pub struct Releases {
    /// Version 0.1.0, a stick's bytes.
    pub first: PathBuf,
    /// The update to 0.2.0, after which nothing older is let in.
    pub second: PathBuf,
    /// The same as a stick.
    pub second_stick: PathBuf,
    /// The update to 0.3.0, which hangs on its first try, has a service fail on its second, and is itself well on its third.
    pub third: PathBuf,
}

/// The releases.
pub fn releases() -> Result<Releases, String> {
    let folder = made_of("releases", &built("lifeboat"), &|program, folder| {
        let keys = folder.join("keys");
        Keys::development(&keys).map_err(|error| error.to_string())?;
        for (version, kind, more) in [
            ("0.1.0", &["--form", "raw"][..], ""),
            ("0.2.0", &["update", "--least", "0.2.0"], " lifeboat.exercise=panic"),
            ("0.2.0", &["--form", "raw", "--least", "0.2.0"], ""),
            ("0.3.0", &["update", "--least", "0.2.0"], " lifeboat.exercise=trial"),
        ] {
            let mut command = Command::new(built("image"));
            command.args(kind).args(["--fast", "--quiet", "--numbered", version, "--append"]);
            command.arg(format!("{SIGNED_WORDS}{more}")).arg("--init").arg(program);
            let out = folder.join(version);
            run(command.arg("--keys").arg(&keys).arg("--out").arg(out))?;
        }
        Ok(())
    })?;
    let file = |name: &str| folder.join(name);
    Ok(Releases {
        first: file("0.1.0/lifeboat-development.img"),
        second: file("0.2.0/lifeboat-0.2.0-development.update"),
        second_stick: file("0.2.0/lifeboat-development.img"),
        third: file("0.3.0/lifeboat-0.3.0-development.update"),
    })
}

/// Somebody else's program for variables of firmware, and certificates that firmware has.
pub fn virt_firmware() -> Result<PathBuf, String> {
    install_once("virt-firmware-26.10", &|folder| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(command.arg("--target").arg(folder).arg("virt-firmware==26.10")).map(drop)
    })
}

/// Variables of a firmware that has taken these keys, by virt-firmware.
fn enrolled(keys: &Path, variables: &Path) -> Result<(), String> {
    const OWNER: &str = "6c696665-626f-4174-8000-6b6579730001";
    let python = virt_firmware()?;
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", python).args(["-m", "virt.firmware.vars"]);
    command.args(["--input", "/usr/share/OVMF/OVMF_VARS_4M.fd", "--output"]).arg(variables);
    for (option, key) in
        [("--set-pk-cert", "platform"), ("--add-kek", "exchange"), ("--add-db", "boot")]
    {
        command.args([option, OWNER]).arg(keys.join(format!("{key}.crt")));
    }
    run(command.arg("--secure-boot")).map(drop)
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
