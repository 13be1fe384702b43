//! `hydrate`

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::interval;
use super::{Chosen, Opening};
use crate::sink::Sink;

/// How a machine starts from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Starts {
    /// By UEFI: a machine of generation 2
    Uefi,
    /// By a BIOS: a machine of generation 1
    Bios,
}

/// `hydrate`
#[derive(Debug, Args)]
pub struct Hydrate {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Which disk.
    #[command(flatten)]
    pub chosen: Chosen,

    /// Where to: a managed disk that waits for its content (the address that Azure gives out for it, or sas:@FILE), a fixed
    /// VHD, a file or device, or a page blob that is brought from point to point
    #[arg(long, value_name = "sas:URL|vhd:FILE|raw:FILE|DEVICE|pageblob:URL")]
    pub to: Sink,

    /// Writing to a block device needs its name a second time
    #[arg(long, value_name = "DEVICE")]
    pub confirm: Option<PathBuf>,

    /// A machine starts from this disk, so: refuse what is too large for that
    #[arg(long, value_name = "HOW")]
    pub starts: Option<Starts>,

    /// Go on although blocks could not be read when the point was made; they become zeros, exit code 3
    #[arg(long)]
    pub accept_unread: bool,

    /// Take back what was changed for a failover to Azure: by itself onto a device, where the vault shows one
    #[arg(long)]
    pub as_before_failover: bool,

    /// The point to the last byte, also where it is of a copy that was changed for Azure
    #[arg(long, conflicts_with = "as_before_failover")]
    pub as_it_is: bool,

    /// Look for a newer point so often, and bring a page blob to it, until stopped
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub follow: Option<Duration>,

    /// Whatever is in the disk or blob may go
    #[arg(long)]
    pub overwrite: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}
