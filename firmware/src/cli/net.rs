//! The verbs of `net`.

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::help::{NET_KEEP, NET_SHOW, NET_TEST};
use crate::cli::values::length_of_time;
use crate::vault_uri::VaultUri;

/// Verbs about the network.
#[derive(Debug, Subcommand)]
pub enum NetVerb {
    /// Show links, addresses, routes and name servers as they are
    #[command(after_long_help = NET_SHOW)]
    Show(NetShow),
    /// Test the way to Azure step by step: names, routes, connections, certificates, speed
    #[command(after_long_help = NET_TEST)]
    Test(NetTest),
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

/// `net test`
#[derive(Debug, Args)]
pub struct NetTest {
    /// Test the way to this vault: `azure://ACCOUNT/CONTAINER` (default: what every vault of a cloud needs)
    #[arg(long, value_name = "VAULT")]
    pub vault: Option<VaultUri>,

    /// Only this cloud: public, usgov or china
    #[arg(long, value_name = "CLOUD", conflicts_with = "vault")]
    pub cloud: Option<String>,

    /// One more host to test, with its port if that is not 443
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    pub hosts: Vec<String>,

    /// Read host table, name servers and proxies from this file's [network]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The vault, and each host named, must have a private address: a private endpoint
    #[arg(long)]
    pub private: bool,

    /// Longest wait for each step
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = length_of_time)]
    pub patience: Duration,

    /// Measure up- and download with the vault's credentials: 16 MiB are written, read and deleted again
    #[arg(long, requires = "vault")]
    pub speed: bool,

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
