//! `push`

use core::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// `push`
#[derive(Debug, Args)]
pub struct Push {
    /// The servers, as ssh names them
    #[arg(value_name = "HOST", required = true)]
    pub hosts: Vec<String>,

    /// File with tokens from the appliance's page, one a line, one for each server; - is standard input
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,

    /// Where servers reach the appliance's page: ADDRESS:PORT (default: what the tokens say)
    #[arg(long, value_name = "ADDR")]
    pub appliance: Option<SocketAddr>,

    /// Settings for ssh, instead of your own
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// Servers at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub at_once: u16,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}
