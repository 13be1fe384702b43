//! Upkeep of a server's part of a vault: prune, condemn, collect, compact, index.
//!
//! Every step is a record in the server's chain, published in the next slot like a point, so it and every point are in
//! one order and no clock is needed to be safe:
//!
//! - *Prune* takes points out of the chain; they stay readable for the grace.
//! - *Condemn* lists segments that nothing reaches: no kept point, not the newest checkpoint, no pinned point, as of the
//!   record that it follows. If another record came first, the set is computed again. A writer that finds a condemning
//!   in its way and holds a condemned segment does not publish.
//! - *Collect* deletes what was condemned longer than the grace ago, after looking at chain and pins again, and the
//!   objects of slots that left the chain longer than the grace ago.
//! - *Compact* carries the live frames of sparse and of small segments into new ones, durable first, and publishes where
//!   they are now, together with the condemning of the old ones.
//! - *Index* writes down what the slots of hours and days that are over hold. It is no record.
//!
//! Each can be killed at any call and run any number of times at once: what is not published did not happen, and what
//! lies about then is an orphan that a later run condemns.

/// Deletes what the grace is over for.
mod collect;
/// Carries live frames into new segments.
mod compact;
/// Lists segments that nothing reaches.
mod condemn;
/// Writes and removes indexes.
mod indexes;
/// Takes points out of the chain.
mod prune;
/// A chain, what is known of it, and how a step is published.
mod session;
/// What is live and what is there.
mod survey;

use pipeline::ids::{PointId, ServerId};
use serde::Serialize;

use crate::access::Access;
use crate::error::{Error, Retry};
use crate::retain::{Fate, Policy};
use session::{Session, Stop};

const HOUR: u64 = 3_600_000;
/// How often a run begins anew because another run of upkeep published in between.
const TRIES: u32 = 8;

/// How upkeep is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Milliseconds between condemning and deleting, by the store's clock.
    pub grace: u64,
    /// Milliseconds that a segment which no record names must be old: a writer may be about to name it.
    pub orphan_grace: u64,
    /// Only says what would be done.
    pub dry_run: bool,
    /// Somebody looked and means it: more than half of the points, or in spite of a clock that jumped.
    pub confirmed: bool,
    /// Whether to carry frames of sparse and small segments into new ones.
    pub compact: bool,
    /// What to look at.
    pub scope: Scope,
    /// Segments with a smaller share of live bytes are rewritten, in percent.
    pub live_percent_min: u32,
    /// Segments with fewer bytes are small and are merged.
    pub small_bytes_max: u64,
    /// So many small segments must be there before they are merged.
    pub merge_count_min: usize,
    /// Bytes of segments that one run rewrites at most.
    pub compact_bytes_max: u64,
    /// Headers that one run reads at most to find sparse segments; the next run goes on at a random place.
    pub header_reads_max: usize,
    /// Bytes for map pages and frame tables kept in memory.
    pub cache_bytes_max: usize,
}

/// What one run of upkeep looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Everything: reads the whole map of every kept point once. Daily.
    Whole,
    /// Only merges small segments made in the last so many milliseconds, and writes indexes: reads only pages made
    /// since. Hourly. Should not be longer than the grace.
    Recent(u64),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grace: 24 * HOUR,
            orphan_grace: 7 * 24 * HOUR,
            dry_run: false,
            confirmed: false,
            compact: true,
            scope: Scope::Whole,
            live_percent_min: 50,
            small_bytes_max: 1024 * 1024,
            merge_count_min: 8,
            compact_bytes_max: 1024 * 1024 * 1024,
            header_reads_max: 20_000,
            cache_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// What one run of upkeep did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Points that stay.
    pub points_kept: u64,
    /// Points taken out of the chain.
    pub points_removed: u64,
    /// Superseded records taken out of the chain: checkpoints, epoch-opens, earlier upkeep.
    pub records_covered: u64,
    /// Segments that are there.
    pub segments: u64,
    /// Bytes of them.
    pub segment_bytes: u64,
    /// Segments condemned.
    pub segments_condemned: u64,
    /// Bytes of them: freed when the grace is over.
    pub condemned_bytes: u64,
    /// Segments taken off the condemned list because something reaches them after all.
    pub segments_rescued: u64,
    /// Segments whose deletion waits because a reader began before they were condemned.
    pub segments_pinned: u64,
    /// Segments whose live frames were carried into others.
    pub segments_moved: u64,
    /// Segments that they were carried into.
    pub segments_written: u64,
    /// Bytes of the segments written.
    pub written_bytes: u64,
    /// Segments with frames that do not open: left where they are.
    pub segments_damaged: u64,
    /// The moved-frames list is full: small and sparse segments stay until points that name moved ones are pruned.
    pub relocations_full: bool,
    /// Objects deleted: segments, records, pins, indexes.
    pub objects_deleted: u64,
    /// Bytes of the segments and records deleted.
    pub deleted_bytes: u64,
    /// Objects that the store refused to delete: this identity may not, or they are immutable still.
    pub deletes_refused: u64,
    /// The first of these refusals and of the damaged segments, a line each.
    pub troubles: Vec<String>,
    /// Indexes written.
    pub indexes_written: u64,
}

/// The most lines of trouble that a report carries.
const TROUBLES_MAX: usize = 20;

impl Report {
    fn trouble(&mut self, error: &Error) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(error.to_string());
        }
    }
}

/// One point in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its slot.
    pub slot: u64,
    /// Its identity.
    pub id: PointId,
    /// When it was made, the later of the two clocks, milliseconds since 1970.
    pub time: u64,
    /// Why it is kept; not kept where there is no reason.
    pub fate: Fate,
}

/// What pruning would do, point by point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The earlier of the two clocks, by which ages are reckoned, milliseconds since 1970.
    pub now: u64,
    /// The points, oldest first.
    pub points: Vec<Planned>,
    /// Why it would be refused unless it is confirmed.
    pub refusal: Option<Error>,
}

impl Plan {
    /// The points that would go.
    pub fn removed(&self) -> impl Iterator<Item = &Planned> {
        self.points.iter().filter(|point| !point.fate.is_kept())
    }
}

/// What pruning by this policy would do now; nothing is changed.
pub fn plan(access: &Access, server: ServerId, policy: &Policy) -> Result<Plan, Error> {
    let options = Options::default();
    Session::open(access, server, policy, &options)?.plan()
}

/// Does all upkeep of one server once.
///
/// Errors: pruning that needs a confirmation (nothing was changed); a record or a map page that is missing or damaged
/// (nothing is condemned then); the store. Refused deletes are no error: the report counts them.
pub fn run(
    access: &Access,
    server: ServerId,
    policy: &Policy,
    options: &Options,
) -> Result<Report, Error> {
    let mut report = Report::default();
    for _ in 0..TRIES {
        let session = Session::open(access, server, policy, options)?;
        match once(session, &mut report) {
            Ok(()) => return Ok(report),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Overtaken) => {}
        }
    }
    Err(Error::refused(format!("server {server}"), "upkeep of it goes on elsewhere")
        .retry(Retry::Later)
        .remedy("let that end, or stop it; what was done so far is consistent"))
}

fn once(mut session: Session<'_>, report: &mut Report) -> Result<(), Stop> {
    if session.chain.head().is_none() {
        return Ok(());
    }
    let whole = session.options.scope == Scope::Whole;
    if whole {
        session.prune(report)?;
    }
    let mut survey = session.survey(report)?;
    if session.options.dry_run {
        session.condemn(&mut survey, report)?;
        return Ok(());
    }
    if whole {
        session.collect(&mut survey, report)?;
        session.condemn(&mut survey, report)?;
    }
    if session.options.compact {
        session.compact(&mut survey, report)?;
    }
    session.indexes(report)?;
    Ok(())
}

#[cfg(test)]
mod tests;
