//! `send`

use std::path::PathBuf;

use clap::Args;

use crate::cli::values::server_name;
use crate::disk_argument::{self, DiskArgument};

/// `send`
#[derive(Debug, Args)]
pub struct Send {
    /// A token of the appliance (lifeboat server token): with it this machine becomes a server of the appliance, once
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,

    /// Folder that remembers as whom this machine was enrolled (default: enrolment in the state folder)
    #[arg(long, value_name = "FOLDER")]
    pub enrolment: Option<PathBuf>,

    /// What this machine is to be called, unless the token says so (default: its host name)
    #[arg(long, value_name = "NAME", value_parser = server_name, requires = "token")]
    pub server: Option<String>,

    /// Read image files past the page cache too, as block devices always are
    #[arg(long)]
    pub direct: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Block devices or image files, each with its name if it shall not be the file name
    #[arg(value_name = "[NAME=]DISK", required = true, value_parser = disk_argument::Parser)]
    pub disks: Vec<DiskArgument>,
}
