//! A server in memory: each block is a stamp, written to by chance whenever nothing is frozen.

use std::collections::BTreeMap;

use hal::time::UnixMillis;
use pipeline_wire::message::Binding;

use super::*;
use crate::blocks::BlockSet;
use crate::content::BlockReader;
use crate::cut::{Failed, Outcome};
use crate::devices::Leaf;
use crate::freeze::{Freezer, Thawed};
use crate::replicate::maker::{DiskMaker, Order, Piece};
use crate::session::exchange::Introduction;
use crate::standstill::Standstill;
use crate::tracker::Audit;

/// What is marked.
mod marks;
/// Its disks, as the agent reads them.
mod restless;

use marks::SimTracker;
use restless::Restless;

/// What is wrong with it on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Marks that were made while blocks were read are cleared.
    ClearsLate,
    /// What was taken is forgotten when the agent is killed.
    HoldsNothing,
    /// One audit in four finds that a write may have been missed.
    Doubts,
    /// Somebody writes past the file systems, also while they are frozen.
    Raw,
    /// Blocks cannot be read for a while.
    Bad,
    /// Whatever is read while file systems are frozen fails.
    Breaks,
    /// A disk is larger than its marks.
    Grows,
    /// Now and then a write is not marked, which the audit finds, and a freeze is thawed too late.
    Misses,
    /// The same, and what an audit found is not found again by the next.
    MissesOnce,
    /// Whether a disk was sent whole is believed of marks that were not there then.
    WholeForEver,
    /// The second disk says its size, and reads nothing while it is told to.
    Refuses,
}

/// What is nobody's is whatever it is.
pub(super) const NOBODYS: u64 = u64::MAX;

/// Everything that outlives the agent.
struct Machine {
    random: Random,
    fault: Fault,
    millis: u64,
    blocks: Vec<Vec<u64>>,
    marks: Vec<BlockSet>,
    /// Taken, and not part of a cut yet.
    open: Vec<BlockSet>,
    /// Taken, until a cut is in the vault.
    held: Vec<(u64, Vec<BlockSet>)>,
    /// Whether each disk was sent whole, as it is kept with the marks.
    marked_whole: Vec<bool>,
    /// Of each disk, that no life of the agent found its marks yet.
    new_marks: Vec<bool>,
    /// As [`Tracker::goes_on_from`] has it.
    goes_on_from: Vec<Option<u64>>,
    /// When each disk was compared.
    compared: BTreeMap<String, UnixMillis>,
    /// Disks that are not introduced.
    omitted: Vec<String>,
    /// Nobody writes.
    resting: bool,
    /// Somebody does all the same, past read-only file systems.
    stubborn: bool,
    /// Applications are stopped, and the machine is off.
    stopped: bool,
    off: bool,
    /// Nobody writes while something is read.
    calm: bool,
    refuses: bool,
    /// Of each disk, writes that were not marked: all, those that an audit found, and those that were obeyed.
    misses: Vec<[u64; 3]>,
    frozen: bool,
    /// Freezes until now.
    freezes: u32,
    raw: bool,
    /// The same, of a single block, and without an end.
    raw_one: bool,
    written: u64,
    /// Blocks written to by anybody.
    changed: u64,
    /// Of the first disk, what cannot be read.
    bad: BlockSet,
    /// What is swap now of the first disk, and whether that was told.
    swap: BlockSet,
    swap_told: bool,
    /// What was swap, and that nobody wrote to since.
    nobodys: BlockSet,
    still: Vec<Vec<u64>>,
    /// What the disks were at each cut.
    instants: BTreeMap<u64, Vec<Vec<u64>>>,
}

impl Machine {
    fn write_while_read(&mut self) {
        if !self.calm || self.frozen {
            self.write(1);
        }
    }

    fn write(&mut self, most: u64) {
        if self.resting && !self.frozen {
            if self.stubborn {
                self.blocks[1][3] = self.random.number();
                self.marks[1].insert(3);
                self.written += 1;
            }
            return;
        }
        if self.frozen {
            let every = self.raw && self.random.below(4) > 0;
            if every || self.raw_one {
                let blocks = if self.raw_one { 1 } else { self.blocks[1].len() as u64 };
                let block = self.random.below(blocks);
                self.blocks[1][usize::try_from(block).unwrap()] = self.random.number();
                self.marks[1].insert(block);
                self.written += 1;
            }
            return;
        }
        for _ in 0..self.random.below(most + 1) {
            let disk = usize::try_from(self.random.below(self.blocks.len() as u64)).unwrap();
            let size = self.blocks[disk].len() as u64;
            // Mostly the same few blocks, so that they change between any two steps.
            let few = self.random.below(3) > 0;
            let block = self.random.below(if few { 12 } else { size });
            let stamp = if self.random.below(5) == 0 { 0 } else { self.random.number() };
            self.blocks[disk][usize::try_from(block).unwrap()] = stamp;
            self.written += 1;
            self.changed += 1;
            let misses = matches!(self.fault, Fault::Misses | Fault::MissesOnce);
            if misses && self.random.below(300) == 0 {
                self.misses[disk][0] += 1;
            } else {
                self.marks[disk].insert(block);
            }
            if disk == 0 && !self.swap.contains(block) {
                self.nobodys.remove(block);
            }
        }
    }

    /// The disks as they are now, as far as they are anybody's.
    fn truth(&self) -> Vec<Vec<u64>> {
        let mut truth = self.blocks.clone();
        let swap = self.nobodys.iter().map(|block| usize::try_from(block).unwrap());
        swap.for_each(|block| truth[0][block] = NOBODYS);
        truth
    }
}

type Shared = Arc<Mutex<Machine>>;

pub(super) struct Server {
    machine: Shared,
}

impl Server {
    pub(super) fn new(seed: u64, fault: Fault) -> Self {
        let sizes = [300_usize, 40];
        let sets = || sizes.iter().map(|size| BlockSet::new(*size as u64)).collect::<Vec<_>>();
        let mut random = Random::new(seed ^ 0x5e72);
        let blocks = sizes
            .iter()
            .map(|size| {
                (0..*size).map(|_| if random.below(2) == 0 { 0 } else { random.number() }).collect()
            })
            .collect();
        let machine = Machine {
            random,
            fault,
            millis: 1_000_000,
            blocks,
            marks: sets(),
            open: sets(),
            held: Vec::new(),
            marked_whole: vec![false; sizes.len()],
            new_marks: vec![true; sizes.len()],
            goes_on_from: vec![None; sizes.len()],
            compared: BTreeMap::new(),
            omitted: Vec::new(),
            resting: false,
            stubborn: false,
            stopped: false,
            off: false,
            calm: false,
            refuses: false,
            misses: vec![[0; 3]; sizes.len()],
            frozen: false,
            freezes: 0,
            raw: false,
            raw_one: false,
            written: 0,
            changed: 0,
            bad: BlockSet::new(300),
            swap: BlockSet::new(300),
            swap_told: false,
            nobodys: BlockSet::new(300),
            still: Vec::new(),
            instants: BTreeMap::new(),
        };
        Self { machine: Arc::new(Mutex::new(machine)) }
    }

    pub(super) fn blocks(&self) -> Vec<usize> {
        self.machine.lock().unwrap().blocks.iter().map(Vec::len).collect()
    }

    pub(super) fn write(&self, most: u64) {
        self.machine.lock().unwrap().write(most);
    }

    pub(super) fn pass_millis(&self, millis: u64) {
        self.machine.lock().unwrap().millis += millis;
    }

    pub(super) fn millis(&self) -> u64 {
        self.machine.lock().unwrap().millis
    }

    /// What goes on beside the writes changes now and then.
    pub(super) fn turn(&self) {
        let machine = &mut *self.machine.lock().unwrap();
        machine.raw = machine.fault == Fault::Raw && machine.random.below(3) == 0;
        if machine.fault == Fault::Bad && machine.random.below(20) == 0 {
            machine.bad.clear();
            for _ in 0..machine.random.below(4) {
                let block = machine.random.below(300);
                machine.bad.insert(block);
            }
        }
    }

    /// Nobody writes past file systems any more, and all can be read.
    pub(super) fn heal(&self) {
        let machine = &mut *self.machine.lock().unwrap();
        (machine.raw, machine.raw_one) = (false, false);
        machine.bad.clear();
    }

    /// Somebody writes a block past the file systems from now on, again and again while they are frozen.
    pub(super) fn write_raw(&self) {
        self.machine.lock().unwrap().raw_one = true;
    }

    /// Somebody writes although every file system is read-only.
    pub(super) fn write_past_all(&self) {
        self.machine.lock().unwrap().stubborn = true;
    }

    /// Whether applications are stopped, nothing is written, and the machine is off.
    pub(super) fn standing(&self) -> [bool; 3] {
        let machine = self.machine.lock().unwrap();
        [machine.stopped, machine.resting, machine.off]
    }

    /// The disks as they are now.
    pub(super) fn now(&self) -> Vec<Vec<u64>> {
        self.machine.lock().unwrap().blocks.clone()
    }

    /// Nobody writes any more but past the file systems.
    pub(super) fn rest(&self) {
        self.machine.lock().unwrap().resting = true;
    }

    /// Reading takes no time from now on, so that nobody writes meanwhile: where only time is looked at, a session that takes
    /// nothing within it would fill up.
    pub(super) fn calm(&self) {
        self.machine.lock().unwrap().calm = true;
    }

    /// Everything is written once more, and is what it was.
    pub(super) fn rewrite(&self) {
        self.machine.lock().unwrap().marks.iter_mut().for_each(|marks| {
            marks.insert_range(0, marks.size());
        });
    }

    /// A block of each disk changes, and nobody will ever know.
    pub(super) fn change_unseen(&self) {
        let machine = &mut *self.machine.lock().unwrap();
        machine.blocks.iter_mut().for_each(|blocks| blocks[30] ^= 1);
    }

    /// The second disk reads nothing from now on.
    pub(super) fn refuse(&self) {
        self.machine.lock().unwrap().refuses = true;
    }

    /// Disks that are there and take no part, by their labels.
    pub(super) fn omitted(&self) -> Vec<String> {
        self.machine.lock().unwrap().omitted.clone()
    }

    /// A run of other disks begins.
    pub(super) fn start_without(&self, labels: &[String]) -> Replicator {
        let mut machine = self.machine.lock().unwrap();
        labels.clone_into(&mut machine.omitted);
        drop(machine);
        self.start()
    }

    pub(super) fn freezes(&self) -> u32 {
        self.machine.lock().unwrap().freezes
    }

    /// All of the first disk is swap.
    pub(super) fn swap_on(&self) {
        let machine = &mut *self.machine.lock().unwrap();
        machine.swap.insert_range(0, 300);
        machine.nobodys.insert_range(0, 300);
        machine.swap_told = false;
    }

    /// None is, and all of it is written to.
    pub(super) fn swap_off(&self) {
        let machine = &mut *self.machine.lock().unwrap();
        machine.swap.clear();
        machine.nobodys.clear();
        machine.swap_told = false;
        for block in 0..300 {
            machine.blocks[0][block] = machine.random.number();
        }
        machine.marks[0].insert_range(0, 300);
    }

    pub(super) fn frozen_as(&self, epoch: u64) -> Vec<Vec<u64>> {
        self.machine.lock().unwrap().instants[&epoch].clone()
    }

    /// An agent begins, with what the kernel and the disk kept.
    pub(super) fn start(&self) -> Replicator {
        let mut machine = self.machine.lock().unwrap();
        machine.frozen = false;
        machine.swap_told = false;
        let run = machine.random.number().to_le_bytes();
        let (mut disks, mut sources) = (Vec::new(), Vec::new());
        for place in 0..machine.blocks.len() {
            let name = format!("sd{place}");
            if machine.omitted.contains(&name) {
                // Its marks are gone, and what comes later are others.
                (machine.new_marks[place], machine.marked_whole[place]) = (true, false);
                continue;
            }
            if machine.new_marks[place] {
                machine.marks[place].clear();
            }
            let leaf = Leaf {
                name,
                path: format!("/dev/sd{place}").into(),
                number: (8, u32::try_from(place).unwrap()),
                bytes: machine.blocks[place].len() as u64 * BLOCK_BYTES as u64,
                sector_bytes: 512,
                identity: format!("wwn={place}"),
                untracked: None,
            };
            let label = leaf.name.clone();
            let disk = || Restless::new(Arc::clone(&self.machine), place);
            let content = Box::new(BlockReader::new(disk()));
            sources.push((leaf.clone(), disk()));
            let whole = machine.marked_whole[place] || machine.fault == Fault::WholeForEver;
            let continued = !core::mem::take(&mut machine.new_marks[place]);
            disks.push(Disk { continued, whole, ..Disk::new(leaf, label, content) });
        }
        drop(machine);
        let exchange = Arc::new(Exchange::default());
        exchange.begin(Introduction {
            run: [run, run].concat().try_into().unwrap(),
            binding: Binding::default(),
            disks: disks.iter().map(Disk::hello).collect(),
        });
        let shared = || Arc::clone(&self.machine);
        let clock = Arc::new(SimClock(shared()));
        let freezer = Box::new(SimFreezer(shared()));
        let maker = DiskMaker::new(sources, 2 << 20, freezer, clock.clone()).unwrap();
        let means = Means {
            exchange,
            tracker: Some(Box::new(SimTracker(shared()))),
            maker: Box::new(SimMaker { maker, machine: shared() }),
            patience: Duration::ZERO,
            clock,
            memory: Box::new(SimMemory(shared())),
            standstill: Box::new(SimStandstill(shared())),
            board: Board::default(),
        };
        Replicator::new(means, disks, "web1".to_owned(), String::new())
    }

    pub(super) fn kill_and_start(&self) -> Replicator {
        let mut machine = self.machine.lock().unwrap();
        if machine.fault == Fault::HoldsNothing {
            machine.held.clear();
            machine.open.iter_mut().for_each(BlockSet::clear);
        }
        drop(machine);
        self.start()
    }

    /// The machine starts again, and writes before the agent does: the kernel knows nothing of before.
    pub(super) fn reboot(&self) -> Replicator {
        let mut machine = self.machine.lock().unwrap();
        machine.frozen = false;
        machine.write(20);
        machine.held.clear();
        machine.open.iter_mut().for_each(BlockSet::clear);
        machine.marks.iter_mut().for_each(BlockSet::clear);
        machine.misses.fill([0; 3]);
        machine.marked_whole.fill(false);
        machine.new_marks.fill(true);
        drop(machine);
        self.start()
    }
}

/// What there is of a server when it has ended in order.
pub(super) struct Ended {
    blocks: Vec<Vec<u64>>,
    unsent: Vec<BlockSet>,
}

impl Server {
    pub(super) fn end(&self) -> Ended {
        let machine = self.machine.lock().unwrap();
        let mut unsent = machine.open.clone();
        let sets = machine.held.iter().map(|(_, sets)| sets).chain([&machine.marks]);
        for sets in sets {
            unsent.iter_mut().zip(sets).for_each(|(unsent, set)| unsent.union(set));
        }
        Ended { blocks: machine.blocks.clone(), unsent }
    }

    /// It starts from there, whatever was since; of what it goes on from, the newest cut was this.
    pub(super) fn start_from(&self, ended: &Ended, newest: u64) -> Replicator {
        let mut machine = self.machine.lock().unwrap();
        machine.frozen = false;
        machine.blocks.clone_from(&ended.blocks);
        machine.open.clone_from(&ended.unsent);
        machine.held.clear();
        machine.marks.iter_mut().for_each(BlockSet::clear);
        machine.marked_whole.fill(true);
        machine.goes_on_from.fill(Some(newest));
        machine.write(20);
        drop(machine);
        self.start()
    }
}

struct SimFreezer(Shared);

impl Freezer for SimFreezer {
    fn freeze(&mut self, _limit: Duration) -> Result<(), String> {
        let machine = &mut *self.0.lock().unwrap();
        if machine.refuses {
            // Nobody could have read that before.
            machine.blocks[1][7] = machine.random.number();
            machine.marks[1].insert(7);
        }
        machine.frozen = true;
        machine.freezes += 1;
        machine.still = machine.truth();
        Ok(())
    }

    fn freeze_beside(&mut self, _: (u32, u32), limit: Duration) -> Result<(), String> {
        self.freeze(limit)
    }

    fn is_frozen(&mut self) -> bool {
        self.0.lock().unwrap().frozen
    }

    fn thaw(&mut self) -> Thawed {
        let machine = &mut *self.0.lock().unwrap();
        machine.frozen = false;
        let misses = matches!(machine.fault, Fault::Misses | Fault::MissesOnce);
        let too_late = misses && machine.random.below(3) == 0;
        Thawed { micros: 1000, too_late, ..Thawed::default() }
    }
}

/// Makes instants as on a real server, and knows of the machine's own swap.
struct SimMaker {
    maker: DiskMaker<Restless>,
    machine: Shared,
}

impl Maker for SimMaker {
    fn make(
        &mut self,
        order: &Order,
        tracker: &mut dyn Tracker,
        changed: &mut [BlockSet],
        exchange: &Arc<Exchange>,
    ) -> Result<Outcome, Failed> {
        self.maker.make(order, tracker, changed, exchange)
    }

    fn piece(&self, at: usize) -> Option<Piece<'_>> {
        self.maker.piece(at)
    }

    fn forget(&mut self) {
        self.maker.forget();
    }

    fn unread(&mut self, disk: usize, into: &mut BlockSet) {
        self.maker.unread(disk, into);
    }

    fn changed_blank(&mut self) -> Option<Vec<(BlockSet, Vec<u64>)>> {
        let machine = &mut *self.machine.lock().unwrap();
        let told = core::mem::replace(&mut machine.swap_told, true);
        let blank = || vec![(machine.swap.clone(), Vec::new()), (BlockSet::new(40), Vec::new())];
        (!told).then(blank)
    }
}

struct SimStandstill(Shared);

impl Standstill for SimStandstill {
    fn stop(&mut self) -> Vec<String> {
        self.0.lock().unwrap().stopped = true;
        vec!["hook 10-app stop failed".to_owned()]
    }

    fn read_only(&mut self) -> Result<(), String> {
        let machine = &mut *self.0.lock().unwrap();
        // What was on its way is written first.
        machine.write(9);
        machine.resting = true;
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        self.0.lock().unwrap().resting
    }

    fn go_on(&mut self) -> Vec<String> {
        let machine = &mut *self.0.lock().unwrap();
        (machine.resting, machine.stopped) = (false, false);
        Vec::new()
    }

    fn power_off(&mut self) -> Result<(), String> {
        self.0.lock().unwrap().off = true;
        Ok(())
    }
}

struct SimClock(Shared);

impl Clock for SimClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.lock().unwrap().millis)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.lock().unwrap().millis * 1_000_000
    }
}

struct SimMemory(Shared);

impl Memory for SimMemory {
    fn compared_at(&self, label: &str) -> Option<UnixMillis> {
        self.0.lock().unwrap().compared.get(label).copied()
    }

    fn set_compared(&mut self, label: &str, at: UnixMillis) -> Result<(), String> {
        self.0.lock().unwrap().compared.insert(label.to_owned(), at);
        Ok(())
    }
}
