//! From the command line to the files: which step comes after which.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::base::{Base, Wish};
use crate::cli::{Build, Common, What};
use crate::error::{Blame, Error};
use crate::files;
use crate::initrd;
use crate::packages::{Packages, Resolve};
use crate::progress::Progress;
use crate::recipe::{Recipe, lock_path};

/// Does what the command line says.
pub fn run(what: &What) -> Result<(), Error> {
    match what {
        What::Fetch(common) => {
            let progress = Progress::start(common.quiet);
            let recipe = Recipe::read(&common.recipe)?;
            packages(common, &recipe, &progress)?;
            progress.say("every package is there");
            Ok(())
        }
        What::Initrd(build) => {
            let progress = Progress::start(build.common.quiet);
            let parts = Parts::make(build, &progress)?;
            let out = out_folder(build);
            files::write(&out.join("vmlinuz"), &parts.base.kernel)?;
            files::write(&out.join("initrd.zst"), &parts.initrd)?;
            progress.say(&format!("{}: vmlinuz and initrd.zst", out.display()));
            Ok(())
        }
    }
}

/// What every form of the image is made of.
#[derive(Debug)]
pub struct Parts {
    /// Kernel, stub, boot manager, modules.
    pub base: Base,
    /// The first file system.
    pub initrd: Vec<u8>,
}

impl Parts {
    /// Makes them.
    pub fn make(build: &Build, progress: &Progress) -> Result<Self, Error> {
        let recipe = Recipe::read(&build.common.recipe)?;
        let level = match build.fast {
            true => recipe.compression.fast_level,
            false => recipe.compression.level,
        };
        let packages = packages(&build.common, &recipe, progress)?;
        let wish = Wish { recipe: &recipe, level, no_firmware: build.no_firmware };
        let base = Base::obtain(&wish, &packages, &cache_folder(&build.common), progress)?;
        let program = match &build.init {
            Some(program) => program.clone(),
            None => lifeboat(progress)?,
        };
        progress.say(&format!("packing {}", program.display()));
        let name = program.display().to_string();
        let bytes = files::read(&program)?;
        let initrd = initrd::join(&base, &name, &bytes, packages.lock.resolved, level)?;
        Ok(Self { base, initrd })
    }
}

fn packages(common: &Common, recipe: &Recipe, progress: &Progress) -> Result<Packages, Error> {
    let resolve = match (common.locked, common.newest) {
        (true, _) => Resolve::Locked,
        (false, true) => Resolve::Newest,
        (false, false) => Resolve::AsNeeded,
    };
    let lock = lock_path(&common.recipe);
    Packages::obtain(recipe, &lock, &cache_folder(common), resolve, progress)
}

/// Builds our program, and says where it is.
fn lifeboat(progress: &Progress) -> Result<PathBuf, Error> {
    progress.say("building lifeboat");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "firmware"])
        .current_dir(workspace())
        .status();
    let problem = match status {
        Ok(status) if status.success() => {
            return Ok(target_folder().join("x86_64-unknown-linux-gnu/release/lifeboat"));
        }
        Ok(status) => format!("the build ended with {status}"),
        Err(error) => error.to_string(),
    };
    Err(Error::new(
        Blame::Machine,
        "cargo build --release -p firmware",
        problem,
        "look above for the reason, or name a program by --init",
    ))
}

fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(named) => workspace().join(named),
        None => workspace().join("target"),
    }
}

/// Where downloads are kept.
fn cache_folder(common: &Common) -> PathBuf {
    let named = common.cache.clone();
    named
        .or_else(|| std::env::var_os("LIFEBOAT_IMAGE_CACHE").map(PathBuf::from))
        .unwrap_or_else(|| target_folder().join("image/cache"))
}

/// Where results go.
fn out_folder(build: &Build) -> PathBuf {
    build.out.clone().unwrap_or_else(|| target_folder().join("image"))
}
