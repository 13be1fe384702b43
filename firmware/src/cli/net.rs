//! The verbs of `net`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::help::{NET_KEEP, NET_SHOW};

/// Verbs about the network.
#[derive(Debug, Subcommand)]
pub enum NetVerb {
    /// Show links, addresses, routes and name servers as they are
    #[command(after_long_help = NET_SHOW)]
    Show(NetShow),
    /// Bring the network up as a file says, as the appliance does, and keep it so until stopped
    #[command(after_long_help = NET_KEEP)]
    Keep(NetKeep),
}

/// `net show`
#[derive(Debug, Args)]
pub struct NetShow {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `net keep`
#[derive(Debug, Args)]
pub struct NetKeep {
    /// The file with the table [network]; without one every NIC is brought up by DHCP
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Write resolv.conf and hosts to this folder
    #[arg(long, value_name = "FOLDER")]
    pub names: Option<PathBuf>,

    /// Print each new state as one line of JSON
    #[arg(long)]
    pub json: bool,
}
