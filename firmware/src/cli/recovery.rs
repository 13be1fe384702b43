//! The verbs of recovery into Azure.

use core::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Opening;
use crate::cli::help::recovery::{
    CLEANUP, DRILL, FAILOVER, PLAN_CREATE, PLAN_RUN, PLAN_SHOW, READY, TARGET_ROLE, TARGET_SET,
    TARGET_SHOW,
};
use crate::cli::here::HereOptions;
use crate::cli::values::server_name;

/// What all orders take.
#[derive(Debug, Args)]
pub struct OrderOptions {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The server
    #[arg(long, value_name = "NAME", value_parser = server_name, required_unless_present = "resume")]
    pub server: Option<String>,

    /// Go on with this order: its identity or its first letters
    #[arg(long, value_name = "ID", conflicts_with = "server")]
    pub resume: Option<String>,

    /// Do not read every byte of the point before anything is made; damage is then found while it is brought over
    #[arg(long)]
    pub fast: bool,

    /// Go on although something on its disks would keep it from starting in Azure
    #[arg(long)]
    pub despite_obstacles: bool,

    /// Go on with an order that another machine carries out, where that machine is dead for certain
    #[arg(long)]
    pub take_over: bool,

    /// Say what would be made and how long it would take; make and keep nothing
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,

    /// Write the report as a page to print to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `drill`
#[derive(Debug, Args)]
#[command(after_long_help = DRILL)]
pub struct Drill {
    /// What all orders take.
    #[command(flatten)]
    pub order: OrderOptions,

    /// The point: latest, latest-app (the newest application-consistent one), or an ID
    #[arg(long, value_name = "latest|latest-app|ID", default_value = "latest")]
    pub point: String,

    /// Leave what it made until lifeboat cleanup takes it away
    #[arg(long)]
    pub keep: bool,

    /// What it takes on this machine.
    #[command(flatten)]
    pub here: HereOptions,
}

/// `failover`
#[derive(Debug, Args)]
#[command(after_long_help = FAILOVER)]
pub struct Failover {
    /// What all orders take.
    #[command(flatten)]
    pub order: OrderOptions,

    /// The point: latest, latest-app (the newest application-consistent one), or an ID; of a failover that is open,
    /// another point
    #[arg(long, value_name = "latest|latest-app|ID")]
    pub point: Option<String>,

    /// The server still runs: stop it in order and lose nothing
    #[arg(long, conflicts_with = "point")]
    pub planned: bool,

    /// Take the open failover back: nothing stays, and the original is the server again
    #[arg(long, conflicts_with_all = ["point", "planned", "dry_run"])]
    pub cancel: bool,
}

/// One server of a vault: `commit`, `target show`
#[derive(Debug, Args)]
pub struct OneServer {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The server
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: String,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `cleanup`
#[derive(Debug, Args)]
#[command(after_long_help = CLEANUP)]
pub struct Cleanup {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Take this order back: its identity or its first letters
    #[arg(long, value_name = "ID", conflicts_with = "orphans")]
    pub order: Option<String>,

    /// Take away what orders left that are over
    #[arg(long)]
    pub orphans: bool,

    /// Go on with an order that another machine carries out, where that machine is dead for certain
    #[arg(long)]
    pub take_over: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The verbs of `plan`.
#[derive(Debug, Subcommand)]
pub enum PlanVerb {
    /// Keep a plan in the vault; one of the same name is replaced
    #[command(after_long_help = PLAN_CREATE)]
    Create(PlanCreate),
    /// Show a plan, or all of them
    #[command(after_long_help = PLAN_SHOW)]
    Show(PlanShow),
    /// Carry a plan out, or go on with its open run
    #[command(after_long_help = PLAN_RUN)]
    Run(PlanRun),
    /// Say that the step for a person is done, or that what failed is mended, and go on
    #[command(after_long_help = PLAN_RUN)]
    Continue(PlanName),
    /// Keep what the failovers of a plan's last run made: all of them, once all are up
    #[command(after_long_help = PLAN_RUN)]
    Commit(PlanCommit),
    /// The report of a plan's last run
    #[command(after_long_help = PLAN_SHOW)]
    Report(PlanReport),
}

/// `plan create`
#[derive(Debug, Args)]
pub struct PlanCreate {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The plan as TOML
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plan show`
#[derive(Debug, Args)]
pub struct PlanShow {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Its name (default: all)
    #[arg(value_name = "PLAN")]
    pub plan: Option<String>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plan run`
#[derive(Debug, Args)]
pub struct PlanRun {
    /// Which plan.
    #[command(flatten)]
    pub name: PlanName,

    /// Drill it: in a network of its own, taken back at the end
    #[arg(long)]
    pub drill: bool,

    /// The point of every server: latest, or latest-app
    #[arg(long, value_name = "latest|latest-app", default_value = "latest")]
    pub point: String,

    /// Go on although something on a server's disks would keep it from starting in Azure
    #[arg(long)]
    pub despite_obstacles: bool,

    /// Say what would be made and how long it would take; make and keep nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which plan.
#[derive(Debug, Args)]
pub struct PlanName {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Its name
    #[arg(value_name = "PLAN")]
    pub plan: String,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plan commit`
#[derive(Debug, Args)]
pub struct PlanCommit {
    /// Which plan.
    #[command(flatten)]
    pub name: PlanName,

    /// Go on with orders that another machine carries out, where that machine is dead for certain
    #[arg(long)]
    pub take_over: bool,
}

/// `plan report`
#[derive(Debug, Args)]
pub struct PlanReport {
    /// Which plan.
    #[command(flatten)]
    pub name: PlanName,

    /// Write it as a page to print to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `ready`
#[derive(Debug, Args)]
#[command(after_long_help = READY)]
pub struct Ready {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Only this server
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: Option<String>,

    /// Ask Azure too: sizes, quota, network, names
    #[arg(long)]
    pub azure: bool,

    /// Read every byte of the newest point
    #[arg(long)]
    pub deep: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The verbs of `target`.
#[derive(Debug, Subcommand)]
pub enum TargetVerb {
    /// Show where a server is recovered to
    #[command(after_long_help = TARGET_SHOW)]
    Show(OneServer),
    /// Say where a server is recovered to
    #[command(after_long_help = TARGET_SET)]
    Set(Box<TargetSet>),
    /// Print the least role that recovery needs, as az role definition create takes it
    #[command(after_long_help = TARGET_ROLE)]
    Role(TargetRole),
}

/// `target role`
#[derive(Debug, Args)]
pub struct TargetRole {
    /// The subscription that is recovered into
    #[arg(long, value_name = "ID")]
    pub subscription: String,

    /// Only in this resource group; drills need drill_group in the target profile then [repeatable]
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
}

/// `target set`
#[derive(Debug, Args)]
pub struct TargetSet {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The server
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: String,

    /// The whole profile as TOML; options below change what it says
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Subscription
    #[arg(long, value_name = "ID")]
    pub subscription: Option<String>,

    /// Azure's region
    #[arg(long, value_name = "REGION")]
    pub location: Option<String>,

    /// Resource group
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,

    /// Virtual network
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,

    /// Subnet
    #[arg(long, value_name = "NAME")]
    pub subnet: Option<String>,

    /// Address: dynamic, retained (the one of the subnet that the server's own settings fix at home), or one of the subnet
    #[arg(long, value_name = "dynamic|retained|ADDRESS", value_parser = address)]
    pub address: Option<AddressChoice>,

    /// Zone; none for none
    #[arg(long, value_name = "ZONE|none")]
    pub zone: Option<String>,

    /// Size of the virtual machine; may be given again, the best first. Replaces what was there
    #[arg(long, value_name = "SIZE")]
    pub size: Vec<String>,

    /// Text on the serial console that says that it is up; may be given again. Replaces what was there
    #[arg(long, value_name = "TEXT")]
    pub console: Vec<String>,

    /// Print the profile as JSON
    #[arg(long)]
    pub json: bool,
}

/// An address as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChoice {
    /// Azure gives one.
    Dynamic,
    /// The one that it has at home.
    Retained,
    /// This one.
    Given(IpAddr),
}

fn address(text: &str) -> Result<AddressChoice, String> {
    match text {
        "dynamic" => Ok(AddressChoice::Dynamic),
        "retained" => Ok(AddressChoice::Retained),
        _ => {
            let parsed = text.parse().map(AddressChoice::Given);
            parsed.map_err(|_| "give dynamic, retained, or an address such as 10.1.0.4".to_owned())
        }
    }
}
