//! The program region: a stand-in for a region of Azure on a port of this machine, until it is ended.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use core::net::SocketAddr;

use clap::{Parser, ValueEnum};

use qemu::region::{Account, Application, Server, Settings};

/// Azurite's own account and its well-known key: no secret.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// What is asked for.
#[derive(Debug, Parser)]
#[command(
    about = "A stand-in for a region of Azure: its control plane, and machines that boot from what was uploaded."
)]
struct CommandLine {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where Azurite's blob service is; without it, disks are only said to exist.
    #[arg(long, value_name = "URL")]
    azurite: Option<String>,
    /// Where the disks of machines lie while those run.
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// Whether machines run.
    #[arg(long, value_enum, default_value_t = Machines::Qemu)]
    machines: Machines,
    /// Seeds everything that is drawn.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Least time that operations take, in milliseconds.
    #[arg(long, default_value_t = 200, value_name = "MS")]
    operation_ms: u64,
    /// What clients are asked to wait between two looks, in seconds.
    #[arg(long, default_value_t = 1, value_name = "S")]
    retry_after: u32,
    /// An application that may have tokens; without any, whoever has any token may do all.
    #[arg(long, value_name = "TENANT:CLIENT:SECRET", value_parser = application)]
    application: Vec<Application>,
    /// What machines that do not run have on their consoles, by a part of their names.
    #[arg(long, value_name = "NAME=WORDS", value_parser = console)]
    console: Vec<(String, String)>,
}

/// Whether machines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Machines {
    /// They are only said to.
    None,
    /// In QEMU.
    Qemu,
}

fn application(text: &str) -> Result<Application, String> {
    let mut parts = text.splitn(3, ':').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(tenant), Some(client), Some(secret)) => Ok(Application { tenant, client, secret }),
        _ => Err("wanted: TENANT:CLIENT:SECRET".to_owned()),
    }
}

fn console(text: &str) -> Result<(String, String), String> {
    let (name, words) = text.split_once('=').ok_or_else(|| "wanted: NAME=WORDS".to_owned())?;
    Ok((name.to_owned(), words.to_owned()))
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let storage = line.azurite.as_ref().map(|url| Account {
        name: ACCOUNT.to_owned(),
        key: KEY.to_owned(),
        endpoint: format!("{}/{ACCOUNT}", url.trim_end_matches('/')),
    });
    let settings = Settings {
        operation_ms: line.operation_ms,
        retry_after_s: line.retry_after,
        seed: line.seed,
        storage,
        machines: line.machines == Machines::Qemu,
        applications: line.application,
        consoles: line.console,
        ..Settings::default()
    };
    match Server::start(line.listen, settings, &line.folder) {
        Ok(server) => {
            println!("Region stand-in at {}, seed {}", server.url(), line.seed);
            loop {
                thread::park();
            }
        }
        Err(error) => {
            eprintln!("region: {error}");
            ExitCode::FAILURE
        }
    }
}
