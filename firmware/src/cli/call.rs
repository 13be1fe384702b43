//! `call`: whatever an appliance's API has, from the command line.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

const METHODS: [&str; 4] = ["GET", "PUT", "POST", "DELETE"];

/// `call`
#[derive(Debug, Args)]
pub struct Call {
    /// How
    #[arg(value_name = "METHOD", value_parser = PossibleValuesParser::new(METHODS))]
    pub method: String,

    /// What, below /api/v1, with its query: /servers/web1/points?limit=10
    #[arg(value_name = "PATH")]
    pub path: String,

    /// What is sent: JSON, text or an update, whichever is taken there; - is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}
