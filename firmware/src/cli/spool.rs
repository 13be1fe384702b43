//! The verbs of `spool`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::help::{SPOOL_FORMAT, SPOOL_SHOW};

/// Verbs about the disk that holds what the vault does not have yet.
#[derive(Debug, Subcommand)]
pub enum SpoolVerb {
    /// Show what is on a disk, and whose spool
    #[command(after_long_help = SPOOL_SHOW)]
    Show(SpoolShow),
    /// Make a spool of a disk: everything on it is lost
    #[command(after_long_help = SPOOL_FORMAT)]
    Format(SpoolFormat),
}

/// `spool show`
#[derive(Debug, Args)]
pub struct SpoolShow {
    /// A block device or an image file
    #[arg(value_name = "DISK")]
    pub disk: PathBuf,

    /// Folder with the key of this machine's spools (default: as for serve)
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `spool format`
#[derive(Debug, Args)]
pub struct SpoolFormat {
    /// A block device or an image file
    #[arg(value_name = "DISK")]
    pub disk: PathBuf,

    /// The disk's serial number or WWN, or its path where it has neither
    #[arg(long, value_name = "SERIAL")]
    pub confirm: Option<String>,

    /// Folder with the key of this machine's spools (default: as for serve)
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}
