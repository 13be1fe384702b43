//! The command line: its verbs, their options, and help good enough to need no manual.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use pipeline_vault::retain::Policy;

use crate::cli::help::recovery::COMMIT;
use crate::cli::help::update::UPDATE;
use crate::cli::help::user::CALL;
use crate::cli::help::{
    CREATE, FILES, HYDRATE, INFO, KIT, OVERVIEW, POINTS, PROTECT, PRUNE, PUSH, REKEY, RESTORE,
    SEND, SERVE, SERVE_PAGE, TICKET, VERIFY,
};
use crate::cli::values::{length_of_time, level, policy, server_name};
use crate::disk_argument::{self, DiskArgument};
use crate::vault_uri::VaultUri;

pub use crate::cli::call::Call;
pub use crate::cli::hydrate::{Hydrate, Starts};
pub use crate::cli::net::{NetKeep, NetShow, NetTest, NetVerb};
pub use crate::cli::push::Push;
pub use crate::cli::recovery::{
    AddressChoice, Cleanup, Drill, Failover, OneServer, OrderOptions, PlanCommit, PlanCreate,
    PlanName, PlanReport, PlanRun, PlanShow, PlanVerb, Ready, TargetRole, TargetSet, TargetVerb,
};
pub use crate::cli::send::Send;
pub use crate::cli::serve_nbd::ServeNbd;
pub use crate::cli::server::{
    ServerAccept, ServerDrain, ServerList, ServerName, ServerPolicy, ServerToken, ServerVerb,
};
pub use crate::cli::spool::{SpoolFormat, SpoolShow, SpoolVerb};
pub use crate::cli::update::{SlotChoice, Update};
pub use crate::cli::user::{
    ApprovalList, ApprovalName, ApprovalVerb, UserAdd, UserList, UserName, UserRole, UserVerb,
};
pub use crate::cli::values::{CodecChoice, PointChoice};

/// `call`
mod call;
/// The long texts.
mod help;
/// `drill --here`
pub mod here;
/// `hydrate`
mod hydrate;
/// The verbs of `net`.
mod net;
/// `push`
mod push;
/// `drill`, `failover`, `commit`, `cleanup`, `plan`, `ready`, `target`
mod recovery;
/// `send`
mod send;
/// `serve-nbd`
mod serve_nbd;
/// The verbs of `server`.
mod server;
/// The verbs of `spool`.
mod spool;
/// `update`
mod update;
/// The verbs of `user` and `approval`.
mod user;
/// Values of options.
mod values;

/// Takes real disks, makes encrypted, compressed, tamper-evident recovery points of them in a vault, and brings any
/// point back bit for bit. A vault is a folder or a container of Azure Blob Storage.
#[derive(Debug, Parser)]
#[command(
    name = "lifeboat",
    version,
    max_term_width = 100,
    after_long_help = OVERVIEW,
    after_help = "lifeboat --help shows examples, environment variables and exit codes.",
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs"
)]
pub struct CommandLine {
    /// Say more on standard error; -vv and -vvv say still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Show no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Show progress as one line of JSON a second on standard error, for programs
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub progress_json: bool,

    /// Run the verb on this appliance, with its vault and key: https://HOST or https://HOST:PORT (else LIFEBOAT_REMOTE);
    /// stands before the verb, as the next two do
    #[arg(long, value_name = "URL")]
    pub remote: Option<String>,

    /// File that holds a token of that appliance (else LIFEBOAT_TOKEN)
    #[arg(long, value_name = "FILE", requires = "remote")]
    pub token_file: Option<PathBuf>,

    /// The certificate that it shows, as its console has it; without it, one that an authority vouches for
    #[arg(long, value_name = "SHA256", requires = "remote")]
    pub fingerprint: Option<String>,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a vault, look at it, and look after its keys
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Vault(VaultVerb),
    /// Make one recovery point of all disks named
    #[command(after_long_help = PROTECT)]
    Protect(Protect),
    /// Make one recovery point of all disks named through an appliance, which has the vault
    #[command(after_long_help = SEND)]
    Send(Send),
    /// List recovery points
    #[command(after_long_help = POINTS)]
    Points(Points),
    /// List files that differ between two recovery points
    #[command(after_long_help = FILES)]
    Files(Files),
    /// Bring a disk of a point back to a file or a device
    #[command(after_long_help = RESTORE)]
    Restore(Restore),
    /// Make a disk in Azure, a VHD, a file or a device of a disk of a point
    #[command(after_long_help = HYDRATE)]
    Hydrate(Hydrate),
    /// Check that everything in the vault is there and whole
    #[command(after_long_help = VERIFY)]
    Verify(Verify),
    /// Remove points by a retention policy, and what only they used
    #[command(after_long_help = PRUNE)]
    Prune(Prune),
    /// Serve a disk of a point as an NBD export, at once
    #[command(after_long_help = SERVE)]
    ServeNbd(ServeNbd),
    /// Serve the machine's page over HTTPS and watch a vault
    #[command(after_long_help = SERVE_PAGE)]
    Serve(Serve),
    /// Install the agent on servers over SSH, many at once
    #[command(after_long_help = PUSH)]
    Push(Push),
    /// Look at the network, test the way to Azure, keep a network as the appliance does
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Net(NetVerb),
    /// The servers that agents protect: list them, and say how
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Server(ServerVerb),
    /// Bring a server up in Azure where nothing reaches it, prove that it starts, and take it all back
    Drill(Drill),
    /// Bring a server up in Azure in the place of one that is lost
    Failover(Failover),
    /// Keep a failover
    #[command(after_long_help = COMMIT)]
    Commit(OneServer),
    /// List open orders and what is in Azure of them; take it away
    Cleanup(Cleanup),
    /// Recover several servers by a plan
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Plan(PlanVerb),
    /// Whether each server could be recovered now
    Ready(Ready),
    /// Where a server is recovered to
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Target(TargetVerb),
    /// Look at the disk that holds what the vault does not have yet, or make one
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Spool(SpoolVerb),
    /// Who may manage an appliance: list them, let them in or no more
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    User(UserVerb),
    /// What waits for a second person at an appliance: list it, agree or refuse
    #[command(subcommand, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Approval(ApprovalVerb),
    /// Ask anything of an appliance's API
    #[command(after_long_help = CALL)]
    Call(Call),
    /// Put a new version of Lifeboat onto a medium, beside the one that runs
    #[command(after_long_help = UPDATE)]
    Update(Update),
}

/// Verbs about the vault itself.
#[derive(Debug, Subcommand)]
pub enum VaultVerb {
    /// Make a vault and its recovery key
    #[command(after_long_help = CREATE)]
    Create(Create),
    /// Size, objects, servers and cost
    #[command(after_long_help = INFO)]
    Info(Info),
    /// New keys: for what is written from now on, or a new recovery key
    #[command(after_long_help = REKEY)]
    Rekey(Rekey),
    /// The recovery kit: a page to print and keep off site
    #[command(after_long_help = KIT)]
    Kit(Kit),
    /// A key for one server and point only
    #[command(after_long_help = TICKET)]
    Ticket(Ticket),
}

/// Which vault, and what opens it.
#[derive(Clone, Debug, Args)]
pub struct Opening {
    /// The vault: dir:PATH or `azure://ACCOUNT/CONTAINER`
    #[arg(long, value_name = "VAULT")]
    pub vault: VaultUri,

    /// File that holds the recovery key, or a recovery ticket
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,

    /// File that holds the passphrase of a sealed key file (else LIFEBOAT_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// Read with an older recovery key although the vault has newer key rings: the newer key is lost, or somebody put
    /// a key ring of their own over yours
    #[arg(long)]
    pub older_key: bool,
}

/// The same where a vault need not be named.
#[derive(Clone, Debug, Args)]
pub struct MaybeOpening {
    /// The vault: dir:PATH or `azure://ACCOUNT/CONTAINER`; without one the page asks for it
    #[arg(long, value_name = "VAULT", requires = "key_file")]
    pub vault: Option<VaultUri>,

    /// File that holds the recovery key
    #[arg(long, value_name = "FILE", requires = "vault")]
    pub key_file: Option<PathBuf>,

    /// File that holds the passphrase of a sealed key file (else LIFEBOAT_PASSPHRASE)
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub passphrase_file: Option<PathBuf>,

    /// Read with an older recovery key although the vault has newer key rings: the newer key is lost, or somebody put
    /// a key ring of their own over yours
    #[arg(long, requires = "key_file")]
    pub older_key: bool,
}

impl MaybeOpening {
    /// Which vault, and what opens it, where one is named.
    #[must_use]
    pub fn opening(&self) -> Option<Opening> {
        let (vault, key_file) = (self.vault.clone()?, self.key_file.clone()?);
        let (passphrase_file, older_key) = (self.passphrase_file.clone(), self.older_key);
        Some(Opening { vault, key_file, passphrase_file, older_key })
    }
}

/// The same for the verbs of `vault`, which take the vault's place without its option's name too.
#[derive(Clone, Debug, Args)]
pub struct VaultOpening {
    /// The vault: dir:PATH or `azure://ACCOUNT/CONTAINER`
    #[arg(value_name = "VAULT", required_unless_present = "named")]
    place: Option<VaultUri>,

    /// The vault, as the other verbs name it
    #[arg(id = "named", long = "vault", value_name = "VAULT", conflicts_with = "place")]
    named: Option<VaultUri>,

    /// File that holds the recovery key
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,

    /// File that holds the passphrase of a sealed key file (else LIFEBOAT_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl VaultOpening {
    /// Which vault, and what opens it.
    #[must_use]
    pub fn opening(self) -> Opening {
        let vault = self.place.or(self.named).expect("the parser demands one of the two");
        let (key_file, passphrase_file) = (self.key_file, self.passphrase_file);
        Opening { vault, key_file, passphrase_file, older_key: false }
    }
}

/// `vault create`
#[derive(Debug, Args)]
pub struct Create {
    /// The vault: dir:PATH or `azure://ACCOUNT/CONTAINER`
    #[arg(value_name = "VAULT")]
    pub vault: VaultUri,

    /// Write the recovery key to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub key_out: Option<PathBuf>,

    /// Seal the key file with the passphrase that this file holds
    #[arg(long, value_name = "FILE", requires = "key_out")]
    pub passphrase_file: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long, requires = "key_out")]
    pub json: bool,
}

/// `vault info`
#[derive(Debug, Args)]
pub struct Info {
    /// Which vault.
    #[command(flatten)]
    pub opening: VaultOpening,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `vault rekey`
#[derive(Debug, Args)]
pub struct Rekey {
    /// Which vault.
    #[command(flatten)]
    pub opening: VaultOpening,

    /// Only this server gets new keys (default: every server)
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: Option<String>,

    /// Make a new recovery key too; the old one opens the vault no more
    #[arg(long)]
    pub recovery_key: bool,

    /// Write the new recovery key to this new file instead of printing it
    #[arg(long, value_name = "FILE", requires = "recovery_key")]
    pub key_out: Option<PathBuf>,

    /// Destroy the keys of this server: its points can never be read again
    #[arg(long, value_name = "NAME", requires = "confirm", conflicts_with_all = ["server", "recovery_key"])]
    pub shred: Option<String>,

    /// Shredding needs the server's name a second time
    #[arg(long, value_name = "NAME", requires = "shred")]
    pub confirm: Option<String>,

    /// Print the result as JSON; a new recovery key then wants --key-out
    #[arg(long)]
    pub json: bool,
}

/// `vault kit`
#[derive(Debug, Args)]
pub struct Kit {
    /// Which vault.
    #[command(flatten)]
    pub opening: VaultOpening,

    /// As a web page instead of text
    #[arg(long)]
    pub html: bool,

    /// Print the recovery key on the page; otherwise there is room to write it by hand
    #[arg(long)]
    pub with_key: bool,

    /// Print server names on the page too
    #[arg(long)]
    pub with_names: bool,

    /// Write the page to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `vault ticket`
#[derive(Debug, Args)]
pub struct Ticket {
    /// Which vault.
    #[command(flatten)]
    pub opening: VaultOpening,

    /// The server
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: String,

    /// The point: an ID of `lifeboat points`, or its first letters, or latest
    #[arg(long, value_name = "latest|ID", default_value = "latest")]
    pub point: PointChoice,

    /// After this time the ticket is refused (30d, 12h)
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    pub expires: Option<Duration>,

    /// Write the ticket to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `protect`
#[derive(Debug, Args)]
pub struct Protect {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The server that the disks belong to; a new name enrols a new server
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: String,

    /// Read only what this file says may have changed: lines "DISK OFFSET LENGTH" in bytes (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub changed: Option<PathBuf>,

    /// Read image files past the page cache too, as block devices always are
    #[arg(long)]
    pub direct: bool,

    /// What compresses
    #[arg(long, value_name = "CODEC", default_value = "zstd")]
    pub codec: CodecChoice,

    /// A fixed level of zstd, -7 to 19 (default: what the slower of processor and link allows, from 1 to 9)
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true, value_parser = level)]
    pub level: Option<i32>,

    /// Worker threads (default: one per processor, at most 8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Block devices or image files, each with its name if it shall not be the file name
    #[arg(value_name = "[NAME=]DISK", required = true, value_parser = disk_argument::Parser)]
    pub disks: Vec<DiskArgument>,
}

/// `points`
#[derive(Debug, Args)]
pub struct Points {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Only this server's points
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: Option<String>,

    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// `files`
#[derive(Debug, Args)]
pub struct Files {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// The server; NAME~ORDER for what an original wrote after a failover
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: String,

    /// The point before (default: its first, which of a branch is what it begins with)
    #[arg(long, value_name = "ID")]
    pub from: Option<PointChoice>,

    /// The point after
    #[arg(long, value_name = "latest|ID", default_value = "latest")]
    pub to: PointChoice,

    /// Read every file of the same size whose blocks are not known, also where its time of the last change is the same
    #[arg(long)]
    pub content: bool,

    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which disk of which point.
#[derive(Clone, Debug, Args)]
pub struct Chosen {
    /// The server
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: String,

    /// The point: an ID of `lifeboat points`, or its first letters, or latest
    #[arg(long, value_name = "latest|ID", default_value = "latest")]
    pub point: PointChoice,

    /// Refuse unless the vault still knows this point: a vault rolled back to an older copy is noticed
    #[arg(long, value_name = "ID")]
    pub expect_point: Option<String>,

    /// The disk, by the name it was protected under
    #[arg(long, value_name = "NAME")]
    pub disk: String,
}

/// `restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Which disk.
    #[command(flatten)]
    pub chosen: Chosen,

    /// Where to: a file, made where it is missing, or a block device; blocks that are the same already are not written
    #[arg(long, value_name = "FILE|DEVICE")]
    pub to: PathBuf,

    /// Writing to a block device needs its name a second time
    #[arg(long, value_name = "DEVICE")]
    pub confirm: Option<PathBuf>,

    /// Restore although blocks could not be read when the point was made; they become zeros, exit code 3
    #[arg(long)]
    pub accept_unread: bool,

    /// Take back what was changed for a failover to Azure: by itself onto a device, where the vault shows one
    #[arg(long)]
    pub as_before_failover: bool,

    /// The point to the last byte, also where it is of a copy that was changed for Azure
    #[arg(long, conflicts_with = "as_before_failover")]
    pub as_it_is: bool,

    /// The vault is a geo-redundant copy without order: take the newest point that is there whole
    #[arg(long)]
    pub secondary: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Open every seal, not only the structure: reads the whole vault
    #[arg(long)]
    pub deep: bool,

    /// Complain unless the vault still knows this point: a vault rolled back to an older copy is noticed
    #[arg(long, value_name = "ID")]
    pub expect_point: Option<String>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `prune`
#[derive(Debug, Args)]
pub struct Prune {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// What to keep: all of the last hours or days, then one an hour, a day, a week, a month for as long
    #[arg(long, value_name = "POLICY", value_parser = policy, required_unless_present = "as_kept")]
    pub keep: Option<Policy>,

    /// Keep of each server what its own policy says, or what is said for all; nothing of others is touched
    #[arg(long, conflicts_with = "keep")]
    pub as_kept: bool,

    /// Only this server's points
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub server: Option<String>,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Go on although more than half of the points would go, or a clock jumped
    #[arg(long)]
    pub confirm: bool,

    /// How long after it was condemned an object is deleted
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = length_of_time)]
    pub grace: Duration,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Which vault; without one a browser is asked.
    #[command(flatten)]
    pub named: MaybeOpening,

    /// Where to listen: ADDRESS:PORT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,

    /// Folder for the certificate
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,

    /// What the page calls this machine; its host name unless given
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Take what agents send, on ADDRESS:PORT (0.0.0.0:9443)
    #[arg(long, value_name = "ADDR")]
    pub agents: Option<SocketAddr>,

    /// Where agents are told to connect, if that is not the address of --agents; may be given again
    #[arg(long, value_name = "ADDR", requires = "agents")]
    pub advertise: Vec<SocketAddr>,

    /// The agent's program, given to servers that install it
    #[arg(long, value_name = "FILE", requires = "agents")]
    pub agent: Option<PathBuf>,

    /// The disk or file for what the vault does not have yet, made by lifeboat spool format; without one nothing is
    /// acknowledged before the vault has it
    #[arg(long, value_name = "FILE|DEVICE", requires = "agents")]
    pub spool: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
