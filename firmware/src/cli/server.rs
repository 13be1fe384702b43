//! The verbs of `server`.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Opening;
use crate::cli::help::{SERVER_DRAIN, SERVER_LIST, SERVER_NAME, SERVER_POLICY, SERVER_TOKEN};
use crate::cli::values::{interval, keep, length_of_time, server_name};

/// Verbs about servers that agents protect.
#[derive(Debug, Subcommand)]
pub enum ServerVerb {
    /// List the servers on the vault's roll, and how they fare
    #[command(after_long_help = SERVER_LIST)]
    List(ServerList),
    /// Make a token that lets one server in, once
    #[command(after_long_help = SERVER_TOKEN)]
    Token(ServerToken),
    /// Say how a server is protected; without options it shows that
    #[command(after_long_help = SERVER_POLICY)]
    Policy(ServerPolicy),
    /// Let nobody come in as this server any more
    #[command(after_long_help = SERVER_NAME)]
    Revoke(ServerName),
    /// Accept the next machine that shows up as this server: it moved to other hardware. Or, after a failover, the original
    #[command(after_long_help = SERVER_NAME)]
    Accept(ServerAccept),
    /// Stop a server for a planned failover: applications, then every write; its last point is its disks
    #[command(after_long_help = SERVER_DRAIN)]
    Drain(ServerDrain),
}

/// `server drain`
#[derive(Debug, Args)]
pub struct ServerDrain {
    /// The server
    #[arg(value_name = "NAME", value_parser = server_name)]
    pub name: String,

    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The order that it is drained for
    #[arg(long, value_name = "ORDER", default_value = "drain")]
    pub order: String,

    /// Switch the machine off once it is drained
    #[arg(long)]
    pub power_off: bool,

    /// Call it off: applications start, and the server goes on as before
    #[arg(long, conflicts_with = "power_off")]
    pub abort: bool,

    /// How long its answer is waited for
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = length_of_time)]
    pub wait: Duration,

    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `server list`
#[derive(Debug, Args)]
pub struct ServerList {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Folder where a running serve notes what it measures (default: as for serve)
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,

    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// `server token`
#[derive(Debug, Args)]
pub struct ServerToken {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Where the server reaches the appliance's page, ADDRESS:PORT; may be given again
    #[arg(long, value_name = "ADDR", required = true)]
    pub page: Vec<SocketAddr>,

    /// Which server it is for, if not a new one named after its host
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: Option<String>,

    /// That server was revoked, and is let in again
    #[arg(long, requires = "server")]
    pub readmit: bool,

    /// How long it is good
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = length_of_time)]
    pub expires: Duration,

    /// Folder with the page's certificate (default: as for serve)
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,

    /// Print the token as JSON
    #[arg(long)]
    pub json: bool,
}

/// `server accept`
#[derive(Debug, Args)]
pub struct ServerAccept {
    /// The server
    #[arg(value_name = "NAME", value_parser = server_name)]
    pub name: String,

    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The server was failed over, and the original is the server again: its points are taken from now on
    #[arg(long)]
    pub after_failover: bool,
}

/// `server revoke`
#[derive(Debug, Args)]
pub struct ServerName {
    /// The server
    #[arg(value_name = "NAME", value_parser = server_name)]
    pub name: String,

    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,
}

/// `server policy`
#[derive(Debug, Args)]
pub struct ServerPolicy {
    /// The server
    #[arg(value_name = "NAME", value_parser = server_name)]
    pub name: String,

    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// How old the newest point in the vault may become, 10s to 24h
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub interval: Option<Duration>,

    /// How long file systems may be frozen for a point (250ms)
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub freeze_budget: Option<u32>,

    /// Every so many-th point runs the hooks; 0 for never
    #[arg(long, value_name = "N")]
    pub application_every: Option<u32>,

    /// How long points are kept, as for prune; "forever" for ever
    #[arg(long, value_name = "POLICY", value_parser = keep)]
    pub keep: Option<String>,

    /// The group of servers that it is cut with at one instant; "none" for none
    #[arg(long, value_name = "GROUP", value_parser = server_name)]
    pub group: Option<String>,

    /// Leave this disk out; may be given again. The first replaces what was left out before; "none" for none
    #[arg(long, value_name = "DISK")]
    pub leave_out: Vec<String>,

    /// MiB a second that the agent may send; 0 for no limit
    #[arg(long, value_name = "MIB")]
    pub send_rate: Option<u32>,

    /// MiB a second that comparing may read from its disks; 0 for no limit
    #[arg(long, value_name = "MIB")]
    pub compare_rate: Option<u32>,

    /// MiB a second that may be sent to the vault for it; 0 for no limit
    #[arg(long, value_name = "MIB")]
    pub vault_rate: Option<u32>,

    /// The same within hours of the week, by UTC: DAYS:FROM-TO=MIB, as mon-fri:8-18=5; may be given again
    #[arg(long, value_name = "SPAN", value_parser = crate::cli::values::span)]
    pub vault_rate_at: Vec<crate::ingest::calendar::Span>,

    /// Make no points until --resume; changes are tracked all the same
    #[arg(long, conflicts_with = "resume")]
    pub pause: bool,

    /// Make points again
    #[arg(long)]
    pub resume: bool,

    /// Print the policy as JSON
    #[arg(long)]
    pub json: bool,
}
