//! Makes the instant of a point, whatever the disks are behind it.

use core::time::Duration;
use std::sync::Arc;

use hal::disk::{Disk, DiskError};
use hal::time::Clock;
use pipeline::zero::is_zero;
use pipeline_wire::message::{BLOCKS_MAX, Content, FromAgent, Instant};
use pipeline_wire::runs::Run;

use super::send::batch_bytes;
use crate::blocks::BlockSet;
use crate::capture::{Arena, Source, Unread};
use crate::cut::{Cutter, Failed, Gate, Hooks, Limits, Outcome, Server, Sink, Snapshots, Throttle};
use crate::devices::Leaf;
use crate::freeze::Freezer;
use crate::outbox::{NotTaken, Parcel};
use crate::session::exchange::Exchange;
use crate::swap::{self, Swap};
use crate::tracker::{Audit, Tracker};

/// Memory for what is read under a freeze.
pub const ARENA_BYTES: usize = 12 << 20;
/// How long a group's members may look at the other side between two looks at their file systems.
const GLANCE: Duration = Duration::from_millis(10);

/// What a point is to be.
#[derive(Clone, Debug)]
pub struct Order {
    /// How long a freeze may be.
    pub limits: Limits,
    /// With hooks.
    pub application: bool,
    /// Of a group: its token, and how long the others may take.
    pub group: Option<(u64, Duration)>,
    /// Which disks take part, by their place.
    pub chosen: Vec<bool>,
    /// How long to wait for room in the outbox before this point is given up.
    pub patience: Duration,
}

/// What an instant left in memory, a piece at a time.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "read, or not")]
pub enum Piece<'a> {
    /// Blocks of a disk from the first on.
    Blocks(usize, u64, &'a [u8]),
    /// A block of a disk that cannot be read.
    Unread(usize, u64),
}

/// Makes instants.
pub trait Maker: Send {
    /// Makes one: what is read before it goes to the exchange, what is read in it stays here.
    ///
    /// Errors: there is none; `changed` has what was not sent.
    fn make(
        &mut self,
        order: &Order,
        tracker: &mut dyn Tracker,
        changed: &mut [BlockSet],
        exchange: &Arc<Exchange>,
    ) -> Result<Outcome, Failed>;

    /// What of the last instant stands at this place.
    fn piece(&self, at: usize) -> Option<Piece<'_>>;

    /// Everything of the last instant was sent.
    fn forget(&mut self);

    /// Adds what of a disk could not be read when the last instant was made or failed, and was said to be so.
    fn unread(&mut self, disk: usize, into: &mut BlockSet);

    /// What is nobody's on each disk now, and where headers of hibernated systems are, in bytes; nothing where that cannot
    /// have changed since it was asked the last time.
    fn changed_blank(&mut self) -> Option<Vec<(BlockSet, Vec<u64>)>>;
}

/// Makes instants of disks of one kind.
pub struct DiskMaker<D: Disk> {
    leaves: Vec<Leaf>,
    sources: Vec<Source<D>>,
    /// There from the first instant on: a first copy needs none.
    arena: Option<Arena<D::Buffer>>,
    arena_bytes: usize,
    cutter: Cutter,
    freezer: Box<dyn Freezer>,
    hooks: Option<Box<dyn Hooks + Send>>,
    throttle: Option<Box<dyn Throttle + Send>>,
    snapshots: Option<Box<dyn Snapshots<D> + Send>>,
    clock: Arc<dyn Clock>,
    /// Of each disk, what could not be read for the last instant.
    unread: Vec<BlockSet>,
    /// Swap when it was last looked at.
    areas: Option<String>,
}

impl<D: Disk> DiskMaker<D> {
    /// Of these disks, the first of which says how memory is to be aligned; with so much memory for a freeze, once there is one.
    ///
    /// Errors: there is no disk, or one does not answer.
    pub fn new(
        disks: Vec<(Leaf, D)>,
        arena_bytes: usize,
        freezer: Box<dyn Freezer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DiskError> {
        let (leaves, disks): (Vec<Leaf>, Vec<D>) = disks.into_iter().unzip();
        let sources = disks.into_iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() {
            return Err(no_disk());
        }
        let cutter = Cutter::default();
        let unread = sources.iter().map(|source| BlockSet::new(source.blocks())).collect();
        let (arena, hooks, throttle, snapshots, areas) = (None, None, None, None, None);
        Ok(Self {
            leaves,
            sources,
            arena,
            arena_bytes,
            cutter,
            freezer,
            hooks,
            throttle,
            snapshots,
            clock,
            unread,
            areas,
        })
    }

    /// Memory for an instant, before anything is still.
    fn ready(&mut self) -> Result<(), DiskError> {
        if self.arena.is_none() {
            let first = self.sources.first_mut().ok_or_else(no_disk)?;
            self.arena = Some(Arena::new(&mut first.disk, self.arena_bytes)?);
        }
        Ok(())
    }

    /// With hooks for application-consistent points, and a way to slow writers down.
    #[must_use]
    pub fn with(
        self,
        hooks: Option<Box<dyn Hooks + Send>>,
        throttle: Option<Box<dyn Throttle + Send>>,
    ) -> Self {
        Self { hooks, throttle, ..self }
    }

    /// With snapshots of what lies on these disks.
    #[must_use]
    pub fn with_snapshots(self, snapshots: Box<dyn Snapshots<D> + Send>) -> Self {
        Self { snapshots: Some(snapshots), ..self }
    }
}

fn no_disk() -> DiskError {
    DiskError::new(hal::disk::ErrorKind::Gone, "this server has no disk")
}

impl<D: Disk> Maker for DiskMaker<D> {
    fn make(
        &mut self,
        order: &Order,
        tracker: &mut dyn Tracker,
        changed: &mut [BlockSet],
        exchange: &Arc<Exchange>,
    ) -> Result<Outcome, Failed> {
        let mut gate = match order.group {
            Some((token, patience)) => Some(GroupGate::new(token, patience, exchange)?),
            None => None,
        };
        self.ready().map_err(|error| error.to_string())?;
        let Some(arena) = &mut self.arena else { return Err(no_disk().to_string().into()) };
        self.unread.iter_mut().for_each(BlockSet::clear);
        let unread = &mut self.unread;
        let mut sink = Outgoing { exchange, patience: order.patience, unread };
        let mut tracker = Chosen { tracker, chosen: &order.chosen };
        let swap = Swap::find(&self.leaves, &mut self.sources);
        let blank = blank_of(&swap, &self.sources);
        let hooks = self.hooks.as_mut().filter(|_| order.application);
        let mut server = Server {
            tracker: &mut tracker,
            freezer: &mut *self.freezer,
            sources: &mut self.sources,
            blank: &blank,
            swap: &swap,
            arena: &mut *arena,
            sink: &mut sink,
            hooks: hooks.map(|hooks| &mut **hooks as &mut dyn Hooks),
            snapshots: self
                .snapshots
                .as_mut()
                .map(|snapshots| &mut **snapshots as &mut dyn Snapshots<D>),
            throttle: self.throttle.as_mut().map(|throttle| &mut **throttle as &mut dyn Throttle),
            gate: gate.as_mut().map(|gate| gate as &mut dyn Gate),
            clock: &*self.clock,
        };
        let mut outcome = self.cutter.cut(&mut server, changed, order.limits)?;
        for unread in arena.unread() {
            self.unread
                .iter_mut()
                .skip(unread.disk)
                .take(1)
                .for_each(|set| set.insert(unread.block));
        }
        let now = Swap::find(&self.leaves, &mut self.sources);
        if !swap.is_within(&now) {
            // What was nobody's is somebody's now, and went as zeros.
            let still = blank_of(&now, &self.sources);
            for ((changed, mut blank), still) in changed.iter_mut().zip(blank).zip(&still) {
                blank.subtract(still);
                changed.union(&blank);
            }
            outcome.instant = Instant::Fuzzy;
            let words = "swap was turned off while the point was made: what is there now is in the next point";
            outcome.remarks.push(words.to_owned());
        }
        Ok(outcome)
    }

    fn piece(&self, at: usize) -> Option<Piece<'_>> {
        let arena = self.arena.as_ref()?;
        let held = arena.held().nth(at);
        let read = held.map(|held| Piece::Blocks(held.disk, held.first, held.bytes()));
        read.or_else(|| {
            let unread = arena.unread().get(at.checked_sub(arena.held().count())?)?;
            Some(Piece::Unread(unread.disk, unread.block))
        })
    }

    fn forget(&mut self) {
        self.arena.iter_mut().for_each(Arena::clear);
    }

    fn unread(&mut self, disk: usize, into: &mut BlockSet) {
        self.unread.get(disk).into_iter().for_each(|set| into.union(set));
    }

    fn changed_blank(&mut self) -> Option<Vec<(BlockSet, Vec<u64>)>> {
        // Looked at first: what changes from here on is seen the next time.
        let areas = swap::areas();
        if self.areas.as_ref() == Some(&areas) {
            return None;
        }
        self.areas = Some(areas);
        let swap = Swap::find(&self.leaves, &mut self.sources);
        let blank = blank_of(&swap, &self.sources).into_iter().enumerate();
        Some(blank.map(|(place, blank)| (blank, swap.armed(place))).collect())
    }
}

fn blank_of<D: Disk>(swap: &Swap, sources: &[Source<D>]) -> Vec<BlockSet> {
    let places = sources.iter().enumerate();
    places.map(|(place, source)| swap.blank(place, source.blocks())).collect()
}

/// The marks of the disks that take part; those of others stay where they are.
struct Chosen<'a> {
    tracker: &'a mut dyn Tracker,
    chosen: &'a [bool],
}

impl Chosen<'_> {
    fn is_in(&self, disk: usize) -> bool {
        self.chosen.get(disk).copied().unwrap_or(false)
    }
}

impl Tracker for Chosen<'_> {
    fn take(&mut self, disk: usize, into: &mut BlockSet) -> Result<(), String> {
        if self.is_in(disk) { self.tracker.take(disk, into) } else { Ok(()) }
    }

    fn audit(&mut self) -> Audit {
        let mut audit = self.tracker.audit();
        audit.incomplete.retain(|disk| self.is_in(*disk));
        audit
    }

    fn written_bytes(&mut self) -> u64 {
        self.tracker.written_bytes()
    }
}

/// What is read while the server writes goes out at once.
struct Outgoing<'a> {
    exchange: &'a Arc<Exchange>,
    patience: Duration,
    unread: &'a mut [BlockSet],
}

impl Outgoing<'_> {
    fn say(&self, disk: usize, kind: Content, run: Run, payload: Vec<u8>) -> Result<(), String> {
        if !self.exchange.room_for(batch_bytes(), self.patience) {
            return Err("the appliance takes nothing now; the point is tried again".to_owned());
        }
        let disk = u16::try_from(disk).map_err(|_| "there are too many disks".to_owned())?;
        match self.exchange.blocks(disk, kind, vec![run], payload) {
            Ok(_) => Ok(()),
            Err(NotTaken::Full(_)) => Err("there was no room where there had been".to_owned()),
            Err(NotTaken::Frame(error)) => Err(error.to_string()),
        }
    }
}

impl Sink for Outgoing<'_> {
    fn blocks(&mut self, disk: usize, first: u64, bytes: &[u8]) -> Result<(), String> {
        let blocks = u32::try_from(bytes.len() / pipeline::limits::BLOCK_BYTES).unwrap_or(u32::MAX);
        debug_assert!(blocks as usize <= BLOCKS_MAX, "one message");
        let run = Run { first, blocks };
        if is_zero(bytes) {
            self.say(disk, Content::Zeros, run, Vec::new())
        } else {
            self.say(disk, Content::Data, run, bytes.to_vec())
        }
    }

    fn zeros(&mut self, disk: usize, first: u64, blocks: u32) -> Result<(), String> {
        self.say(disk, Content::Zeros, Run { first, blocks }, Vec::new())
    }

    fn unread(&mut self, unread: Unread) -> Result<(), String> {
        let run = Run { first: unread.block, blocks: 1 };
        self.say(unread.disk, Content::Unread, run, Vec::new())?;
        self.unread.iter_mut().skip(unread.disk).take(1).for_each(|set| set.insert(unread.block));
        Ok(())
    }

    // What may be sent is paced where it is sent, and so this is, by the room that there is.
    fn pace(&mut self, _bytes: usize) {}
}

/// Says that this server is frozen, and waits until all of its group are.
struct GroupGate<'a> {
    token: u64,
    patience: Duration,
    exchange: &'a Arc<Exchange>,
    /// Made before, since nothing may be allocated then.
    frozen: Arc<Parcel>,
}

impl<'a> GroupGate<'a> {
    fn new(token: u64, patience: Duration, exchange: &'a Arc<Exchange>) -> Result<Self, String> {
        let frozen = Parcel::new(&FromAgent::Frozen { token }, Vec::new());
        let frozen = Arc::new(frozen.map_err(|error| error.to_string())?);
        Ok(Self { token, patience, exchange, frozen })
    }
}

impl Gate for GroupGate<'_> {
    fn wait(&mut self, still: &mut dyn FnMut() -> bool) -> bool {
        self.exchange.say_made(&self.frozen);
        let began = std::time::Instant::now();
        loop {
            if self.exchange.all_frozen(self.token, GLANCE.min(self.patience)) {
                return true;
            }
            if began.elapsed() >= self.patience || !still() || !self.exchange.is_welcomed() {
                return false;
            }
        }
    }
}
