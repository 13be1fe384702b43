//! Somebody who restores a point: finds it, pins it, looks again, reads.

use super::act::Act;
use super::bounds::Rule;
use super::record::{RecordId, Set, numbers};
use super::state::{State, World};

/// What it does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Has not begun.
    #[default]
    Idle,
    /// Listed the chain and chose a point.
    Chosen,
    /// Has done the first of pinning and looking again.
    Between,
    /// Restores.
    Reading,
    /// Went away. Its pin may still lie about.
    Gone,
}

/// A reader and its pin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reader {
    /// What it does next.
    pub step: Step,
    /// The chain as it listed it last.
    pub head: RecordId,
    /// Whether no time passed since it listed the chain.
    pub fresh: bool,
    /// The slot that it chose.
    pub slot: u8,
    /// Graces that may still pass until its pin expires; 0 where there is none.
    pub pin: u8,
    /// Slots that it had seen when it wrote its pin.
    pub seen: u8,
}

/// A pin outlives two graces.
const PIN: u8 = 3;

impl Reader {
    /// Time passes.
    pub fn tick(&mut self) {
        self.fresh = false;
        let had = self.pin > 0;
        self.pin = self.pin.saturating_sub(1);
        if had && self.pin == 0 {
            // What an expired pin's reader finds is nobody's promise.
            *self = Self { step: Step::Gone, ..Self::default() };
        }
    }

    /// What its pin says: the slot, as a set, and how much of the chain it had seen.
    #[must_use]
    pub fn pin_facts(&self) -> (Set, u8) {
        (self.pinned(), self.seen)
    }

    /// The slot that is pinned, as a set.
    #[must_use]
    pub fn pinned(&self) -> Set {
        if self.pin > 0 { 1 << self.slot } else { 0 }
    }
}

/// What the reader can do next.
pub fn steps(world: &World, state: &State, emit: &mut dyn FnMut(State, Act)) {
    let mut next = *state;
    let reader = &mut next.reader;
    let newest = world.newest(state);
    match reader.step {
        Step::Idle => {
            for slot in numbers(world.arena.view(newest).points) {
                let (step, head) = (Step::Chosen, newest);
                next.reader = Reader { step, head, fresh: true, slot, ..Reader::default() };
                emit(next, Act::Chooses(slot));
            }
        }
        Step::Chosen if world.has(Rule::PinFirst) => pin(world, &mut next, Step::Between, emit),
        Step::Chosen => look_again(world, &mut next, Step::Between, emit),
        Step::Between if world.has(Rule::PinFirst) => {
            look_again(world, &mut next, Step::Reading, emit);
        }
        Step::Between => pin(world, &mut next, Step::Reading, emit),
        Step::Reading => {
            *reader = Reader { step: Step::Gone, ..Reader::default() };
            emit(next, Act::Restores);
        }
        Step::Gone => {}
    }
}

fn pin(world: &World, next: &mut State, step: Step, emit: &mut dyn FnMut(State, Act)) {
    next.reader.pin = PIN;
    next.reader.seen = world.arena.view(next.reader.head).slots;
    next.reader.step = step;
    next.reader.fresh = false;
    emit(*next, Act::Pins);
}

fn look_again(world: &World, next: &mut State, step: Step, emit: &mut dyn FnMut(State, Act)) {
    let newest = world.newest(next);
    let there = world.arena.view(newest).points & (1 << next.reader.slot) != 0;
    next.reader.head = newest;
    next.reader.fresh = false;
    // One that goes away at once may leave its pin behind.
    next.reader.step = if there { step } else { Step::Gone };
    emit(*next, if there { Act::FindsPoint } else { Act::MissesPoint });
}
