//! Proves that what a vault says it holds is there: shallow by structure and presence, deep by every seal.
//!
//! Shallow reads the chains and the maps and looks every segment up in the listing. Deep reads every segment
//! whole, once, however many points share it. Nothing is written. What is wrong is reported with the object,
//! the points and the ranges of disks that it costs; only a store that cannot be asked ends a run early.

mod chain;
mod concerns;
mod findings;
mod heads;
mod maps;
mod objects;
mod pages;
pub(crate) mod parallel;
/// What a run found, as plain values.
pub mod report;
mod segments;

#[cfg(test)]
mod tests;

use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use pipeline::ids::ServerId;

use crate::access::Access;
use crate::document;
use crate::error::{Blame, Error};
use crate::frames::FrameReader;
use crate::record::KnownHead;
use crate::writer::Progress;

pub use report::{Concern, Notice, Problem, Report, ServerReport};

pub(crate) use findings::Findings;
pub(crate) use maps::{Walk, jobs};
pub(crate) use objects::{Inventory, server_of};
pub(crate) use segments::{check_presence, live, open_tables, read_all};

use chain::ChainState;
use objects::VaultInventory;
use segments::check_segments;

/// Memory for map pages and frame tables.
pub(crate) const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Chains, maps and listings.
    Shallow,
    /// Every byte.
    Deep,
}

/// How a vault is verified.
#[derive(Clone)]
pub struct Options {
    /// How much is read.
    pub depth: Depth,
    /// Threads; each of a deep run holds one segment (8 MiB) and one frame (1 MiB).
    pub workers: usize,
    /// Newest slots that somebody saw before: this machine, a drill report, the recovery kit.
    pub heads: Vec<KnownHead>,
    /// What was found wrong before, for the same report: `Vault::troubles`.
    pub troubles: Vec<Error>,
    /// Set from outside to stop; the run then ends with an error.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// Nothing known from before, as many threads as cores.
    #[must_use]
    pub fn new(depth: Depth) -> Self {
        Self {
            depth,
            workers: crate::parallel::processors().min(8),
            heads: Vec::new(),
            troubles: Vec::new(),
            stop: Arc::default(),
        }
    }
}

/// Verifies the servers given and the objects that belong to no server.
///
/// Errors: the store cannot be asked, a server's key is missing, the run was stopped. Whatever is wrong with
/// objects is in the report.
pub fn run(
    access: &Access,
    servers: &[ServerId],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    let began = access.clock.monotonic_nanos();
    let mut vault = VaultInventory::list(access, servers)?;
    let mut report = Report::new(access, options, &vault);
    for (name, version) in core::mem::take(&mut vault.documents) {
        match document::open(access, name, version) {
            Ok(_) => {}
            // Replaced and deleted while this ran.
            Err(error) if error.is_missing() => {}
            Err(error) if error.blame == Blame::Device => return Err(error),
            Err(error) => report.trouble(&error),
        }
    }
    let mut chains = Vec::with_capacity(servers.len());
    for server in servers {
        let findings = Findings::new(*server);
        let inventory = vault.take(server);
        let chain = chain::check(access, *server, &inventory, &findings, options)?;
        chains.push((inventory, chain, findings));
    }
    heads::check(&chains, &options.heads);
    heads::check_indexes(access, &chains)?;
    if options.depth == Depth::Deep {
        progress.total(chains.iter().map(|(inventory, ..)| inventory.segment_bytes()).sum());
    }
    for (inventory, chain, findings) in chains {
        let server = verify_server(access, &inventory, &chain, findings, options, progress)?;
        report.add(server);
    }
    let took = access.clock.monotonic_nanos().saturating_sub(began) / 1_000_000;
    report.finish(took);
    Ok(report)
}

fn verify_server(
    access: &Access,
    inventory: &Inventory,
    chain: &ChainState,
    findings: Findings,
    options: &Options,
    progress: &dyn Progress,
) -> Result<ServerReport, Error> {
    let server = inventory.server;
    let frames = FrameReader::new(access, server, &chain.upkeep, CACHE_BYTES)?;
    objects::check_small(access, inventory, &findings)?;
    let jobs = chain.jobs();
    let walk = Walk::new(&frames, inventory, &findings, options);
    let found = walk.run(&jobs)?;
    let checked = check_segments(&frames, inventory, chain, &found, &findings, options, progress)?;
    let costs = concerns::of(access, &frames, chain, &findings, options)?;
    Ok(report::server(inventory, chain, &found, &checked, findings, costs))
}
