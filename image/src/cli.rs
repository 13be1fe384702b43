//! The command line of the builder: what to make, from what, and where to put it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Builds Lifeboat's bootable image: Debian's kernel and our one program, for sticks, CDs and virtual machines.
#[derive(Debug, Parser)]
#[command(name = "image", version, disable_help_subcommand = true)]
pub struct CommandLine {
    /// What to make.
    #[command(subcommand)]
    pub what: What,
}

/// What to make.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum What {
    /// Downloads the packages that the recipe names into the cache, and nothing else.
    Fetch(Common),
    /// Makes vmlinuz and initrd.zst, for a virtual machine that is given its kernel directly.
    Initrd(Build),
}

/// What everything takes.
#[derive(Args, Debug)]
pub struct Common {
    /// The recipe; its lock is beside it.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/recipe.toml"))]
    pub recipe: PathBuf,
    /// Folder for downloaded packages and what is made of them; the environment variable LIFEBOAT_IMAGE_CACHE names it too.
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Fail rather than take another version than the lock names.
    #[arg(long, conflicts_with = "newest")]
    pub locked: bool,
    /// Take the newest of everything, and write the lock.
    #[arg(long)]
    pub newest: bool,
    /// Say nothing but warnings.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What a build takes.
#[derive(Args, Debug)]
pub struct Build {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment for the help of the whole command")]
    pub common: Common,
    /// The program that becomes PID 1; lifeboat is built where none is named.
    #[arg(long, value_name = "ELF")]
    pub init: Option<PathBuf>,
    /// Folder for what is made.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Compress less: larger, done in a third of the time.
    #[arg(long)]
    pub fast: bool,
    /// Leave out the firmware files, which are not free software.
    #[arg(long)]
    pub no_firmware: bool,
}

/// The arguments as clap wants them: `cargo image -- initrd` leaves a `--` in front, which means nothing here.
pub fn arguments(given: impl Iterator<Item = std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let mut given: Vec<std::ffi::OsString> = given.collect();
    if given.get(1).is_some_and(|first| first == "--") {
        given.remove(1);
    }
    given
}
