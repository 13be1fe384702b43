//! `drill --here`

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::interval;
use crate::here::CopyTo;

/// Who runs the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// The host's processor
    Kvm,
    /// QEMU, translating: slow, and works everywhere
    Tcg,
}

/// What a drill on this machine takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "On this machine")]
pub struct HereOptions {
    /// Not in Azure but on this machine: QEMU starts at once from the point as it is exported, and reaches nothing
    #[arg(long, conflicts_with_all = ["keep", "resume"])]
    pub here: bool,

    /// Meanwhile bring the point here too, and leave it: a folder for all disks, or a file or device for one [repeatable]
    #[arg(long, value_name = "FOLDER|DISK=PATH", requires = "here")]
    pub to: Vec<CopyTo>,

    /// Writing to a block device needs its name a second time [repeatable]
    #[arg(long, value_name = "DEVICE", requires = "to")]
    pub confirm: Vec<PathBuf>,

    /// Until the machine is up, read at most so much a second of the vault for --to, so that the machine has the rest
    #[arg(long, value_name = "KIB", requires = "to", value_parser = clap::value_parser!(u32).range(1..))]
    pub pace: Option<u32>,

    /// Where what the machine writes is kept until its end: memory, or a folder with room
    #[arg(long, value_name = "memory|FOLDER", requires = "here")]
    pub overlay: Option<PathBuf>,

    /// Text on its console that says that it is up, instead of what the target profile says [repeatable]
    #[arg(long, value_name = "TEXT", requires = "here")]
    pub console: Vec<String>,

    /// Within which it must come, instead of what the target profile says
    #[arg(long, value_name = "TIME", value_parser = interval, requires = "here")]
    pub within: Option<Duration>,

    /// Memory of the machine, in MiB
    #[arg(long, value_name = "MIB", requires = "here", value_parser = clap::value_parser!(u32).range(128..))]
    pub memory: Option<u32>,

    /// Its processors
    #[arg(long, value_name = "NUMBER", requires = "here", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: Option<u32>,

    /// Who runs it (default: kvm where this user may use it)
    #[arg(long, value_name = "WHO", requires = "here")]
    pub accel: Option<Accel>,
}
