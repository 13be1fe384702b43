//! Writes what the hub took into the spool, many entries to one flush, and says what is durable.
//!
//! A thread of its own owns the spool. Room is kept back for where servers stand, so that what the vault has can always be
//! let go. Where the spool fails, everything ends: it is opened again, and nobody was told what was not so.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::limits::BLOCK_BYTES;

use super::hub::{Hub, Release, Task};
use super::journal::{self, Entry, Life, SentDisk, Standing};
use super::ledger::Ledger;
use crate::spool::records::{Reading, Records};
use crate::spool::{Mark, Read, SpoolError};

/// Kept back for where servers stand.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// What a record takes beside what is in it, at most.
const BESIDE_BYTES: u64 = 2 * BLOCK_BYTES as u64;

/// The spool's owner.
pub struct Keeper {
    records: Box<dyn Records>,
    ledger: Ledger,
    reserve: u64,
    /// Behind what was appended last.
    tail: Mark,
}

/// What was found in a spool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Where every server stands.
    pub ledger: Ledger,
    /// Where it ends.
    pub end: Mark,
    /// Records that are lost.
    pub lost: u64,
    /// The disks of every run that is named.
    pub lives: BTreeMap<Life, Vec<SentDisk>>,
}

impl Found {
    fn take(&mut self, entry: &Entry) {
        self.ledger.apply(entry);
        match entry {
            Entry::Begin(life, disks) => {
                self.lives.insert(*life, disks.clone());
            }
            Entry::Standings(all) => {
                let named = all.iter().map(|standing| (standing.life, standing.disks.clone()));
                self.lives.extend(named);
            }
            Entry::Blocks(..) | Entry::Cuts(_) => {}
        }
    }
}

/// Reads a whole spool: where every server stands, and whether something is lost.
pub fn read_all(records: &mut dyn Records) -> Result<Found, SpoolError> {
    let mut reader: Box<dyn Reading> = records.reader()?;
    let durable = records.sync()?;
    let mut found = Found { end: records.head(), ..Found::default() };
    loop {
        match reader.read(found.end, durable)? {
            Read::Record { payload, after } => {
                match journal::parse(&payload) {
                    Some((_, entry)) => found.take(&entry),
                    None => found.lost += 1,
                }
                found.end = after;
            }
            Read::Lost { records, after, .. } => {
                found.lost += records;
                found.end = after;
            }
            Read::End => return Ok(found),
        }
    }
}

impl Keeper {
    /// Goes on behind what was found.
    #[must_use]
    pub fn new(records: Box<dyn Records>, ledger: Ledger, end: Mark) -> Self {
        let reserve = RESERVE_BYTES.min(records.usage().bytes / 8);
        Self { records, ledger, reserve, tail: end }
    }

    /// Works until the hub ends.
    ///
    /// Errors: the spool failed.
    pub fn run(mut self, hub: &Arc<Hub>) -> Result<(), SpoolError> {
        loop {
            match hub.next() {
                Task::Keep(batch) => self.keep(hub, batch)?,
                Task::Release(release) => self.release(hub, release)?,
                Task::Nothing => {}
                Task::Stop => return Ok(()),
            }
        }
    }

    fn keep(&mut self, hub: &Hub, mut batch: Vec<(Entry, Vec<u8>)>) -> Result<(), SpoolError> {
        let mut marks = Vec::with_capacity(batch.len());
        for (entry, payload) in &batch {
            let at = self.tail;
            match self.append(entry, payload, self.reserve) {
                Ok(()) => marks.push((at, self.tail)),
                Err(SpoolError::Full(..)) => break,
                Err(error) => return Err(error),
            }
        }
        let rest = batch.split_off(marks.len());
        if !rest.is_empty() {
            hub.put_back(rest);
        }
        let mark = self.records.sync()?;
        let told: Vec<(Life, u64)> = batch.iter().flat_map(|(entry, _)| sequences(entry)).collect();
        let kept = marks.into_iter().zip(batch).filter_map(|((at, after), (entry, payload))| {
            hub.give_back(payload);
            // What is seldom, or may be large, is read again.
            matches!(entry, Entry::Blocks(..)).then_some((at, after, entry))
        });
        hub.have_at_hand(kept.collect::<Vec<_>>().into_iter());
        hub.is_durable(&told, mark, self.records.usage());
        Ok(())
    }

    fn append(&mut self, entry: &Entry, payload: &[u8], reserve: u64) -> Result<(), SpoolError> {
        let bytes = journal::emit(entry);
        let wanted = payload.len() as u64 + bytes.len() as u64 + BESIDE_BYTES;
        let usage = self.records.usage();
        let free = usage.bytes.saturating_sub(usage.used);
        if free < wanted + reserve {
            return Err(SpoolError::Full(wanted, free.saturating_sub(reserve)));
        }
        self.tail = self.records.append(&[payload, &bytes])?;
        self.ledger.apply(entry);
        Ok(())
    }

    fn append_standings(&mut self, former: Vec<Standing>) -> Result<(), SpoolError> {
        let all = former.into_iter().chain(self.ledger.standings().cloned());
        let entries = journal::standings(all);
        entries.iter().try_for_each(|entry| self.append(entry, &[], 0))
    }

    /// First where everybody stands, durably; then what is before that may go.
    fn release(&mut self, hub: &Hub, release: Release) -> Result<(), SpoolError> {
        for (server, epoch, point) in &release.vaulted {
            self.ledger.vaulted(*server, *epoch, *point);
        }
        self.ledger.lost(&release.lost);
        match self.append_standings(release.former.clone()) {
            Ok(()) => {
                self.records.sync()?;
                self.records.release(release.up_to)?;
            }
            // Even what was kept back is full. What is let go first makes room; a cut of the power in between costs no more
            // than sending again.
            Err(SpoolError::Full(..)) => {
                self.records.release(release.up_to)?;
                self.records.sync()?;
                if let Err(error) = self.append_standings(release.former) {
                    log::warn!("where servers stand is not noted: {error}");
                }
            }
            Err(error) => return Err(error),
        }
        let mark = self.records.sync()?;
        hub.is_durable(&[], mark, self.records.usage());
        // Nobody waits any more where everything ends.
        let _ = release.done.send(());
        Ok(())
    }
}

/// What an entry makes durable.
fn sequences(entry: &Entry) -> Vec<(Life, u64)> {
    match entry {
        Entry::Blocks(life, blocks) => vec![(*life, blocks.sequence)],
        Entry::Cuts(cuts) => cuts.iter().map(|kept| (kept.life, kept.cut.sequence)).collect(),
        Entry::Begin(..) | Entry::Standings(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
