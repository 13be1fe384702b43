//! A pruner and collector: condemns and covers in a record, deletes after the grace, relocates.

use super::act::Act;
use super::bounds::Rule;
use super::record::{Body, RecordId, Set, UPKEEP_RUN, Upkeep, View, numbers};
use super::state::{Created, State, World, create_segment, delete_segment};
use super::upkeep::{
    changes, condemn, deletable, kept_frames, prunable, prune, relocatable, spare_pinned,
};

/// What it does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Between two rounds.
    #[default]
    Idle,
    /// Copies frames into a new segment.
    Copy,
    /// Publishes what it planned.
    Publish,
    /// Has read pins before the chain: only without `PinsAfterChain`.
    HasPins,
    /// Has read the chain and knows what may be deleted but for pins.
    HasChain,
    /// Deletes.
    Delete,
}

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collector {
    /// What it does next.
    pub step: Step,
    /// The record that it is about to publish, or the newest one that it read.
    pub plan: RecordId,
    /// Segments that it is about to delete.
    pub segments: Set,
    /// Slots that it is about to delete, or pinned slots while it has only read those.
    pub slots: Set,
    /// Slots that the reader of a pin had seen.
    pub seen: u8,
    /// Whether it made a segment already: a second one would have another name.
    pub made: bool,
    /// Records that it may still publish.
    pub publishes_left: u8,
}

impl Collector {
    fn idle(self) -> Self {
        Self { publishes_left: self.publishes_left, made: self.made, ..Self::default() }
    }
}

/// The segment that this collector's relocation makes.
fn target(at: usize) -> u8 {
    if at == 0 { 6 } else { 7 }
}

/// What a collector can do next.
pub fn steps(
    world: &mut World,
    state: &State,
    at: usize,
    emit: &mut dyn FnMut(State, Act),
    loses: bool,
) {
    let collector = state.collectors[at];
    match collector.step {
        Step::Idle => {
            if collector.publishes_left > 0 {
                plans(world, state, at, emit);
            }
            begin_sweep(world, state, at, emit);
        }
        Step::Copy => {
            let mut next = *state;
            create_segment(&mut next, target(at));
            next.collectors[at] = Collector { step: Step::Publish, made: true, ..collector };
            emit(next, Act::Sends(target(at)));
        }
        Step::Publish => publish(world, state, at, emit, loses),
        Step::HasPins => {
            let view = world.arena.view(world.newest(state));
            let may = deletable(world, state, view);
            let pins = (collector.slots, collector.seen);
            sweep(state, at, spare_pinned(world, view, may, pins), emit);
        }
        Step::HasChain => {
            let view = world.arena.view(collector.plan);
            let pins = if world.has(Rule::ReadPins) { state.reader.pin_facts() } else { (0, 0) };
            let may = (collector.segments, collector.slots);
            sweep(state, at, spare_pinned(world, view, may, pins), emit);
        }
        Step::Delete => delete(world, state, at, emit, loses),
    }
}

/// Reads the chain, the segments and the pins, and plans a record.
fn plans(world: &mut World, state: &State, at: usize, emit: &mut dyn FnMut(State, Act)) {
    let head = world.newest(state);
    let view = *world.arena.view(head);
    let mut planned: Vec<(Upkeep, Step)> = Vec::new();
    if state.pruned < world.bounds.prunes {
        let points = prunable(world, &view);
        planned.extend(
            numbers(points).map(|point| (prune(world, state, &view, point), Step::Publish)),
        );
    }
    let condemning = condemn(world, state, &view, 0);
    if changes(&view, &condemning) {
        planned.push((condemning, Step::Publish));
    }
    // A copy of its machine would draw the same name again, were names not bound to the record that it stands on.
    let fresh = !state.collectors[at].made || !world.has(Rule::NamesBound);
    let absent = (state.segments | view.upkeep.condemned) & (1 << target(at)) == 0;
    if world.bounds.relocate && fresh && absent {
        for (victim, frames) in relocatable(world, state, &view) {
            let mut relocating = view.upkeep;
            relocating.relocate(victim, target(at), frames);
            relocating.condemned |= 1 << victim;
            planned.push((relocating, Step::Copy));
        }
    }
    for (upkeep, step) in planned {
        let mut next = *state;
        let plan = world.arena.record(head, UPKEEP_RUN, Body::Upkeep(upkeep));
        next.collectors[at] = Collector { step, plan, ..next.collectors[at] };
        emit(next, Act::Plans(plan));
    }
}

fn begin_sweep(world: &World, state: &State, at: usize, emit: &mut dyn FnMut(State, Act)) {
    let newest = world.newest(state);
    let (segments, slots) = deletable(world, state, world.arena.view(newest));
    if world.has(Rule::PinsAfterChain) {
        if segments | slots != 0 {
            let mut next = *state;
            let collector = &mut next.collectors[at];
            *collector =
                Collector { step: Step::HasChain, plan: newest, segments, slots, ..*collector };
            emit(next, Act::ReadsChain);
        }
        return;
    }
    let mut next = *state;
    let (slots, seen) = state.reader.pin_facts();
    next.collectors[at] = Collector { step: Step::HasPins, slots, seen, ..next.collectors[at] };
    emit(next, Act::ReadsPins);
}

fn sweep(
    state: &State,
    at: usize,
    (segments, slots): (Set, Set),
    emit: &mut dyn FnMut(State, Act),
) {
    let mut next = *state;
    let collector = state.collectors[at];
    next.collectors[at] = if segments | slots == 0 {
        collector.idle()
    } else {
        Collector { step: Step::Delete, segments, slots, ..collector.idle() }
    };
    let had_pins = collector.step == Step::HasPins;
    emit(next, if had_pins { Act::ReadsChain } else { Act::ReadsPins });
}

fn publish(
    world: &mut World,
    state: &State,
    at: usize,
    emit: &mut dyn FnMut(State, Act),
    loses: bool,
) {
    let mut next = *state;
    let collector = state.collectors[at];
    let id = collector.plan;
    match world.create(&mut next, id) {
        Created::NoRoom => return,
        Created::Published | Created::Stray => {
            let left = collector.publishes_left.saturating_sub(1);
            next.collectors[at] = Collector { publishes_left: left, ..collector }.idle();
            next.pruned += pruned_by(world, id);
        }
        Created::Taken(other) => {
            next.collectors[at] = again(world, collector, other);
            emit(next, Act::Finds(other));
            return;
        }
    }
    emit(next, Act::Creates(id));
    if loses {
        next.collectors[at] = collector;
        next.lost += 1;
        emit(next, Act::CreatesUnknowingly(id));
    }
}

/// How many points a record takes out of the chain.
fn pruned_by(world: &World, id: RecordId) -> u8 {
    let record = world.arena.get(id);
    let Body::Upkeep(upkeep) = record.body else { return 0 };
    let gone = world.arena.view(record.previous).points & upkeep.gaps;
    u8::try_from(gone.count_ones()).unwrap_or(u8::MAX)
}

/// Its slot is taken: it starts over, or puts a relocation that still holds on top of what it found; or (without the
/// rules) puts whatever it planned there.
fn again(world: &mut World, collector: Collector, other: RecordId) -> Collector {
    let record = world.arena.get(collector.plan);
    let Body::Upkeep(planned) = record.body else { return collector.idle() };
    let before = *world.arena.view(record.previous);
    let moves = planned.moved & !before.upkeep.moved;
    let found = *world.arena.view(other);
    let fits = if moves == 0 {
        !world.has(Rule::Recompute)
    } else {
        let upkeep_came = matches!(world.arena.get(other).body, Body::Upkeep(_));
        !world.has(Rule::RelocationYields)
            || !upkeep_came && !reaches_more(world, &before, &found, moves)
    };
    if !fits {
        return collector.idle();
    }
    let mut merged: Upkeep = found.upkeep;
    for from in numbers(moves) {
        merged.relocate(from, planned.holder(from), planned.carried & (3 << (2 * from)));
    }
    merged.gaps |= planned.gaps;
    merged.condemned |= planned.condemned;
    let plan = world.arena.record(other, UPKEEP_RUN, Body::Upkeep(merged));
    Collector { plan, ..collector }
}

/// Whether a chain reaches more frames of these segments than it did before.
fn reaches_more(world: &World, before: &View, found: &View, segments: Set) -> bool {
    let mask = numbers(segments).fold(0, |all, segment| all | 3 << (2 * segment));
    let old = kept_frames(world, before, 0) & mask;
    kept_frames(world, found, 0) & mask & !old != 0
}

fn delete(world: &World, state: &State, at: usize, emit: &mut dyn FnMut(State, Act), loses: bool) {
    let mut next = *state;
    let mut collector = state.collectors[at];
    let act;
    if let Some(segment) = numbers(collector.segments).next() {
        delete_segment(&mut next, segment);
        collector.segments &= !(1 << segment);
        act = Act::Deletes(segment);
    } else if let Some(slot) = numbers(collector.slots).next() {
        world.delete_slot(&mut next, slot);
        collector.slots &= !(1 << slot);
        act = Act::DeletesSlot(slot);
    } else {
        return;
    }
    if loses {
        emit(State { lost: state.lost + 1, ..next }, Act::DeletesUnknowingly);
    }
    let done = collector.segments | collector.slots == 0;
    next.collectors[at] = if done { collector.idle() } else { collector };
    emit(next, act);
}

/// Lets one collector do all it can, alone, with time passing, until nothing changes.
#[must_use]
pub fn tidy_up(world: &mut World, state: &State) -> State {
    let mut now = *state;
    now.reader = super::reader::Reader::default();
    for _ in 0..4 {
        let before = now;
        world.tick(&mut now);
        let view = *world.arena.view(now.head);
        let planned = condemn(world, &now, &view, 0);
        if changes(&view, &planned) {
            let id = world.arena.record(now.head, UPKEEP_RUN, Body::Upkeep(planned));
            world.append(&mut now, id);
        }
        world.tick(&mut now);
        let view = *world.arena.view(now.head);
        let (segments, slots) = deletable(world, &now, &view);
        numbers(segments).for_each(|segment| delete_segment(&mut now, segment));
        numbers(slots).for_each(|slot| world.delete_slot(&mut now, slot));
        if now == before {
            break;
        }
    }
    now
}
