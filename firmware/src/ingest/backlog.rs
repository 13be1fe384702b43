//! What the journal still has for the vault, as pieces: for each server what is open, and what is closed and waits its turn.
//! Pure.
//!
//! A piece is what a server sent between two cuts, or a part of that where it grew too large: then it is closed as it is
//! and becomes a checkpoint. Pieces of a server go to the vault in their order; servers take turns by bytes. Memory goes with the
//! runs that are named in pieces, which is bounded, whatever is in the spool.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pipeline::ids::ServerId;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{Blocks, Content};

use super::extents::Extents;
use super::journal::{Entry, KeptCut, Life, SentDisk, Standing, Verdict};
use super::ledger::{answers, outlives_runs};
use super::spooled_disk::Place;
use crate::spool::Mark;

/// Runs that are named in all pieces together; where there are more, nothing more is read until some are in the vault.
const RUNS_MAX: usize = 262_144;
/// As many runs of memory as a piece takes beside its runs, its disks and its remarks.
const PIECE_RUNS: usize = 16;
/// Bytes of memory that are reckoned as a run.
const RUN_BYTES: usize = 64;
/// Pieces of paced servers that are on their way at once: each holds a worker for as long as its pace wants.
const PACED_MAX: usize = super::drain::WORKERS - 1;
/// A piece that is larger becomes a checkpoint.
const PIECE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// What a server sent, disk by disk.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// The oldest record that it needs.
    pub oldest: Option<Mark>,
    /// What is said of each disk of the run.
    pub disks: Vec<Extents<Place>>,
    /// Bytes of blocks.
    pub bytes: u64,
}

impl Piece {
    fn for_disks(disks: usize) -> Self {
        Self { disks: vec![Extents::default(); disks], ..Self::default() }
    }

    fn runs(&self) -> usize {
        self.disks.iter().map(Extents::len).sum()
    }
}

/// A piece that goes to the vault.
#[derive(Clone, Debug)]
pub struct Job {
    /// Of which run.
    pub life: Life,
    /// The disks of that run.
    pub disks: Arc<[SentDisk]>,
    /// What changed.
    pub extents: Vec<Arc<Extents<Place>>>,
    /// The cut that closed it; none where it becomes a checkpoint.
    pub cut: Option<KeptCut>,
    /// Everything of the run up to here is in the vault when it is.
    pub sequence: u64,
    oldest: Option<Mark>,
    bytes: u64,
}

impl Job {
    /// As many runs of memory as the remarks of its cut take.
    fn remarks(&self) -> usize {
        let remarks = self.cut.iter().flat_map(|kept| &kept.cut.remarks);
        remarks.map(|remark| 1 + remark.len() / RUN_BYTES).sum()
    }
}

/// One server.
#[derive(Debug)]
struct Line {
    life: Life,
    disks: Arc<[SentDisk]>,
    sequence: u64,
    open: Piece,
    jobs: VecDeque<Job>,
    /// The first job is being worked on.
    busy: bool,
    /// And goes no faster than somebody said.
    paced: bool,
    /// Something was lost: no cut holds until one answers to this.
    lost: Option<u64>,
    /// The newest epoch in the vault.
    vaulted: u64,
    /// Bytes that had their turn.
    served: u64,
    /// Nothing before this moment, after a failure.
    not_before: u64,
    /// Told that nothing waits, up to here.
    settled: Option<u64>,
    /// Runs before this one of which something waits, each with where the next one began.
    former: Vec<(Mark, Life, Arc<[SentDisk]>)>,
}

/// All servers.
#[derive(Debug, Default)]
pub struct Backlog {
    lines: BTreeMap<ServerId, Line>,
    cursor: Mark,
    lost: Option<u64>,
    /// The disks of runs that began before the oldest record.
    lives: BTreeMap<Life, Vec<SentDisk>>,
}

impl Backlog {
    /// Begins at the oldest record that was not released. Where servers stand, and the disks of runs, are known from a first
    /// reading.
    pub fn new<'a>(
        head: Mark,
        standings: impl Iterator<Item = &'a Standing>,
        lives: BTreeMap<Life, Vec<SentDisk>>,
    ) -> Self {
        let mut backlog = Self { cursor: head, lives, ..Self::default() };
        for standing in standings {
            // Which run it is comes from the journal, entry by entry; what the vault has is known already.
            let life = Life { server: standing.life.server, run: [0; 16] };
            let line = backlog.line(life, Vec::new());
            line.vaulted = standing.vaulted.map_or(0, |(epoch, _)| epoch);
            line.lost = standing.lost;
        }
        backlog
    }

    /// Where the next record is to be read.
    #[must_use]
    pub fn cursor(&self) -> Mark {
        self.cursor
    }

    /// Whether more should be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.runs() < RUNS_MAX
    }

    fn runs(&self) -> usize {
        // A piece without blocks takes memory too.
        let of = |line: &Line| {
            let waiting = line.jobs.iter().flat_map(|job| &job.extents);
            let beside = line.jobs.iter().map(|job| PIECE_RUNS + job.extents.len() + job.remarks());
            let former = line.former.iter().map(|(_, _, disks)| PIECE_RUNS + disks.len());
            line.open.runs()
                + waiting.map(|extents| extents.len()).sum::<usize>()
                + beside.chain(former).sum::<usize>()
        };
        self.lines.values().map(of).sum()
    }

    fn line(&mut self, life: Life, disks: Vec<SentDisk>) -> &mut Line {
        let lost = self.lost;
        self.lines.entry(life.server).or_insert_with(|| Line {
            open: Piece::for_disks(disks.len()),
            life,
            disks: disks.into(),
            sequence: 0,
            jobs: VecDeque::new(),
            busy: false,
            paced: false,
            lost,
            vaulted: 0,
            served: 0,
            not_before: 0,
            settled: None,
            former: Vec::new(),
        })
    }

    /// The line of a run that is known.
    fn of(&mut self, life: Life) -> Option<&mut Line> {
        let goes_on = self.lines.get(&life.server).is_some_and(|line| line.life == life);
        if !goes_on {
            let disks = self.lives.get(&life)?.clone();
            let at = self.cursor;
            self.line(life, Vec::new()).become_run(at, life, disks);
        }
        self.lines.get_mut(&life.server)
    }

    /// Goes on by a record at the cursor. The answer is a server that speaks of a run that nobody began: its beginning was
    /// lost.
    pub fn take(&mut self, after: Mark, entry: Entry) -> Option<ServerId> {
        let at = core::mem::replace(&mut self.cursor, after);
        match entry {
            Entry::Begin(life, disks) => {
                let line = self.line(life, Vec::new());
                line.become_run(at, life, disks);
                (line.sequence, line.settled) = (0, None);
                line.lost = outlives_runs(line.lost);
            }
            Entry::Blocks(life, blocks) => match self.of(life) {
                Some(line) => line.take(at, &blocks),
                None => return Some(life.server),
            },
            Entry::Cuts(cuts) => {
                let mut unknown = None;
                for kept in cuts {
                    match self.of(kept.life) {
                        Some(line) => line.cut(at, kept),
                        None => unknown = Some(kept.life.server),
                    }
                }
                return unknown;
            }
            Entry::Standings(all) => {
                for standing in all {
                    let Some(line) = self.lines.get_mut(&standing.life.server) else {
                        let (life, disks) = (standing.life, standing.disks);
                        let line = self.line(life, disks);
                        line.sequence = standing.sequence;
                        line.vaulted = standing.vaulted.map_or(0, |(epoch, _)| epoch);
                        continue;
                    };
                    if line.life != standing.life && line.oldest().is_none() {
                        (line.life, line.disks) = (standing.life, standing.disks.into());
                        line.open = Piece::for_disks(line.disks.len());
                        (line.sequence, line.settled) = (standing.sequence, None);
                        line.lost = line.lost.or(standing.lost);
                    }
                    if line.life == standing.life {
                        line.sequence = line.sequence.max(standing.sequence);
                    }
                    line.vaulted = line.vaulted.max(standing.vaulted.map_or(0, |(epoch, _)| epoch));
                }
            }
        }
        None
    }

    /// Runs that something waits of although newer ones began: their disks must be known after another start too.
    pub fn former(&mut self) -> Vec<Standing> {
        let mut all = Vec::new();
        for line in self.lines.values_mut() {
            line.forget_former();
            let standing = |(_, life, disks): &(Mark, Life, Arc<[SentDisk]>)| {
                Standing::begin(*life, disks.to_vec())
            };
            all.extend(line.former.iter().map(standing));
        }
        all
    }

    /// Records are lost; nobody knows whose. The answer is the servers that must send again.
    pub fn lose(&mut self, after: Mark, token: u64) -> Vec<ServerId> {
        self.cursor = after;
        self.lost = Some(token);
        self.lines.values_mut().for_each(|line| line.lost = Some(token));
        self.lines.keys().copied().collect()
    }

    /// What a server has here is worth nothing: it sends again.
    pub fn drop_server(&mut self, server: ServerId, token: u64) {
        if let Some(line) = self.lines.get_mut(&server) {
            line.open = Piece::for_disks(line.disks.len());
            line.jobs.clear();
            (line.busy, line.lost) = (false, Some(token));
        }
    }

    /// Closes the oldest open piece of at least so many bytes, to make room.
    pub fn squeeze(&mut self, least: u64) -> bool {
        let open = self.lines.values_mut().filter(|line| line.open.bytes >= least);
        let oldest =
            open.filter(|line| line.open.oldest.is_some()).min_by_key(|line| line.open.oldest);
        oldest.is_some_and(|line| {
            line.close(None);
            true
        })
    }

    /// The next piece for the vault, if one may go now. `now` in milliseconds of a clock that only runs forwards. Servers that
    /// are paced leave a worker to the others.
    pub fn next(&mut self, now: u64, is_paced: &dyn Fn(ServerId) -> bool) -> Option<Job> {
        let slow = self.lines.values().filter(|line| line.busy && line.paced).count();
        let ready = |line: &&mut Line| {
            !line.busy
                && !line.jobs.is_empty()
                && line.not_before <= now
                && (slow < PACED_MAX || !is_paced(line.life.server))
        };
        let line = self.lines.values_mut().filter(ready).min_by_key(|line| line.served)?;
        (line.busy, line.paced) = (true, is_paced(line.life.server));
        line.jobs.front().cloned()
    }

    /// A piece is in the vault; the next one of its server waits until `free`. From where records are needed now.
    pub fn finish(&mut self, server: ServerId) -> Mark {
        self.done(server);
        self.needed_from()
    }

    /// The next piece of a server may go.
    pub fn free(&mut self, server: ServerId) {
        if let Some(line) = self.lines.get_mut(&server) {
            line.busy = false;
        }
    }

    fn done(&mut self, server: ServerId) {
        let Some(line) = self.lines.get_mut(&server).filter(|line| line.busy) else { return };
        if let Some(job) = line.jobs.pop_front() {
            // A piece without blocks had its turn too.
            line.served += job.bytes.max(BLOCK_BYTES as u64);
            if let Some(kept) = job.cut {
                line.vaulted = line.vaulted.max(kept.cut.epoch);
            }
        }
        // Who was idle does not have all turns after that.
        let least =
            self.lines.values().filter(|line| !line.jobs.is_empty()).map(|line| line.served);
        if let Some(least) = least.min() {
            let idle = self.lines.values_mut().filter(|line| line.jobs.is_empty());
            idle.for_each(|line| line.served = line.served.max(least));
        }
    }

    /// A piece could not go; it is tried again at a moment.
    pub fn failed(&mut self, server: ServerId, not_before: u64) {
        if let Some(line) = self.lines.get_mut(&server) {
            (line.busy, line.not_before) = (false, not_before);
        }
    }

    /// Nothing before this is needed by anybody.
    #[must_use]
    pub fn needed_from(&self) -> Mark {
        self.lines.values().filter_map(Line::oldest).min().unwrap_or(self.cursor)
    }

    /// Whether anything waits that a cut closed.
    #[must_use]
    pub fn has_jobs(&self) -> bool {
        self.lines.values().any(|line| !line.jobs.is_empty())
    }

    /// Bytes that wait, by server.
    pub fn waiting(&self) -> impl Iterator<Item = (ServerId, u64)> + '_ {
        self.lines.iter().map(|(server, line)| {
            (*server, line.open.bytes + line.jobs.iter().map(|job| job.bytes).sum::<u64>())
        })
    }

    /// Runs of which nothing waits up to a sequence, when everything was read: each once for each sequence. Up to 0 means
    /// that the vault has everything of the runs before.
    pub fn settled(&mut self) -> Vec<(Life, u64)> {
        let mut settled = Vec::new();
        for line in self.lines.values_mut().filter(|line| !line.disks.is_empty()) {
            let empty = line.jobs.is_empty() && line.open.oldest.is_none();
            let alone = line.jobs.iter().all(|job| job.life == line.life);
            let up_to = if empty { line.sequence } else { 0 };
            let is_news = if empty { line.settled != Some(up_to) } else { line.settled.is_none() };
            if alone && is_news {
                line.settled = Some(up_to);
                settled.push((line.life, up_to));
            }
        }
        settled
    }
}

impl Line {
    /// The oldest record that something needs which waits.
    fn oldest(&self) -> Option<Mark> {
        let jobs = self.jobs.iter().filter_map(|job| job.oldest).min();
        [jobs, self.open.oldest].into_iter().flatten().min()
    }

    /// Another run begins. What is open is the base that it writes over, and becomes a checkpoint: once the vault has that,
    /// it is known again of every block whether the agent has to send it.
    fn become_run(&mut self, at: Mark, life: Life, disks: Vec<SentDisk>) {
        self.forget_former();
        if self.open.oldest.is_some() {
            self.close(None);
        }
        if self.jobs.iter().any(|job| job.life == self.life) {
            self.former.push((at, self.life, Arc::clone(&self.disks)));
        }
        (self.life, self.open) = (life, Piece::for_disks(disks.len()));
        self.disks = disks.into();
    }

    fn forget_former(&mut self) {
        let oldest = self.oldest();
        self.former.retain(|(until, _, _)| oldest.is_some_and(|oldest| oldest < *until));
    }

    fn take(&mut self, at: Mark, blocks: &Blocks) {
        self.sequence = self.sequence.max(blocks.sequence);
        let Some(extents) = self.open.disks.get_mut(usize::from(blocks.disk)) else { return };
        let mut place = 0;
        for run in &blocks.runs {
            let Some(end) = run.end() else { continue };
            let what = match blocks.content {
                Content::Data => Place::Record(at, place),
                Content::Unread => Place::Unread,
                _ => Place::Zeros,
            };
            extents.say(run.first..end, what);
            place += u64::from(run.blocks);
        }
        if blocks.content == Content::Data {
            self.open.bytes += place * BLOCK_BYTES as u64;
        }
        self.open.oldest.get_or_insert(at);
        if self.open.bytes >= PIECE_BYTES_MAX {
            self.close(None);
        }
    }

    fn cut(&mut self, at: Mark, kept: KeptCut) {
        self.sequence = self.sequence.max(kept.cut.sequence);
        self.lost = self.lost.filter(|token| !answers(kept.cut.group, *token));
        if kept.cut.epoch <= self.vaulted {
            // It went to the vault before the end came in between: so did everything before it.
            self.open = Piece::for_disks(self.disks.len());
        } else if kept.verdict == Verdict::Point && self.lost.is_none() {
            // A point without blocks still needs its cut.
            self.open.oldest.get_or_insert(at);
            self.close(Some(kept));
        }
    }

    fn close(&mut self, cut: Option<KeptCut>) {
        let piece = core::mem::replace(&mut self.open, Piece::for_disks(self.disks.len()));
        self.jobs.push_back(Job {
            life: self.life,
            disks: Arc::clone(&self.disks),
            extents: piece.disks.into_iter().map(Arc::new).collect(),
            cut,
            sequence: self.sequence,
            oldest: piece.oldest,
            bytes: piece.bytes,
        });
    }
}

#[cfg(test)]
mod tests;
