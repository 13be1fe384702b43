//! The command line of the builder: what to make, from what, and where to put it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use image_layout::version::Version;

/// Builds Lifeboat's bootable image: Debian's kernel and our one program, for sticks, CDs and virtual machines.
#[derive(Debug, Parser)]
#[command(
    name = "image",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
pub struct CommandLine {
    /// What to make; everything where nothing is named.
    #[command(subcommand)]
    pub what: Option<What>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment for the help of the whole command")]
    pub disks: Disks,
}

/// What the making of disks takes.
#[derive(Args, Debug)]
pub struct Disks {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment for the help of the whole command")]
    pub build: Build,
    /// A form of the image; as often as wanted, and all of them where none is named.
    #[arg(long, value_name = "FORM")]
    pub form: Vec<Form>,
    /// A lifeboat.toml to put onto the stick, so that it works by itself.
    #[arg(long, value_name = "FILE")]
    pub configuration: Option<PathBuf>,
    /// Words to put behind the kernel's command line.
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub append: String,
    /// Folder of Microsoft's certificates: keys for firmware are made with them too.
    #[arg(long, value_name = "FOLDER")]
    pub microsoft: Option<PathBuf>,
    /// Give the keys to a firmware that has none without asking: for a medium that is made for that.
    #[arg(long)]
    pub enrol: bool,
}

/// A form of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[non_exhaustive]
pub enum Form {
    /// For a stick or a disk.
    Raw,
    /// For a CD drive, real or of a management controller; it also works on a stick.
    Iso,
    /// For Azure and Hyper-V.
    Vhd,
    /// For VMware.
    Ova,
    /// For QEMU and KVM.
    Qcow2,
}

impl Form {
    /// How the name of its file ends.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Raw => "img",
            Self::Iso => "iso",
            Self::Vhd => "vhd",
            Self::Ova => "ova",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// What to make.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum What {
    /// Downloads the packages that the recipe names into the cache, and nothing else.
    Fetch(Common),
    /// Makes the file of an update, for machines that run an older version.
    Update(Update),
    /// Makes vmlinuz and initrd.zst, for a virtual machine that is given its kernel directly.
    Initrd(Build),
}

/// What the making of an update takes.
#[derive(Args, Debug)]
pub struct Update {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment for the help of the whole command")]
    pub build: Build,
    /// Words to put behind the kernel's command line.
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub append: String,
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "a version is three numbers, such as 1.2.3".to_owned())
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
    /// The agent that the appliance gives to servers; lifeboat-agent is built where no program is named.
    #[arg(long, value_name = "ELF")]
    pub agent: Option<PathBuf>,
    /// Folder for what is made.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Compress less: larger, done in a third of the time.
    #[arg(long)]
    pub fast: bool,
    /// Leave out the firmware files, which are not free software.
    #[arg(long)]
    pub no_firmware: bool,
    /// Folder of keys and certificates that sign, or of programs that do; keys for development only are made where none is
    /// named.
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
    /// Another version than the program's: for an image that only its packages make newer.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub numbered: Option<Version>,
    /// The oldest version that machines take once this one has proven itself; a security update names itself.
    #[arg(long, value_name = "VERSION", default_value = "0.0.0", value_parser = version)]
    pub least: Version,
}

/// The arguments as clap wants them: `cargo image -- initrd` leaves a `--` in front, which means nothing here.
pub fn arguments(given: impl Iterator<Item = std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let mut given: Vec<std::ffi::OsString> = given.collect();
    if given.get(1).is_some_and(|first| first == "--") {
        given.remove(1);
    }
    given
}
