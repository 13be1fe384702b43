//! The store and its actors at one instant, and the calls that change it.

use super::bounds::{Bounds, COLLECTORS, Rule, Rules, WRITERS};
use super::collector::Collector;
use super::failover::Failover;
use super::reader::Reader;
use super::record::{Arena, Body, RecordId, Set, highest};
use super::writer::Writer;

/// Objects in slots that are not the chain's own, at most. More make the check give up rather than miss one.
pub const STRAYS: usize = 3;

/// Everything that decides what can happen next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The newest record that was published, whether its object still exists or not.
    pub head: RecordId,
    /// Slots whose object is the chain's own record.
    pub present: Set,
    /// Other objects in slots, ascending.
    pub strays: [RecordId; STRAYS],
    /// Segments that exist.
    pub segments: Set,
    /// Those that are older than the orphans' grace.
    pub segments_old: Set,
    /// Condemned segments whose grace is over.
    pub condemned_old: Set,
    /// Covered slots whose grace is over.
    pub gaps_old: Set,
    /// Records that time has passed over.
    pub records_old: Set,
    /// Replies that were lost.
    pub lost: u8,
    /// Points that were pruned.
    pub pruned: u8,
    /// The runs.
    pub writers: [Writer; WRITERS],
    /// Pruners and collectors.
    pub collectors: [Collector; COLLECTORS],
    /// Somebody who restores.
    pub reader: Reader,
    /// Somebody who fails the server over.
    pub failover: Failover,
}

/// What became of creating a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The record is in the chain.
    Published,
    /// The object was made, in a part of the chain that is gone: only looking again would tell.
    Stray,
    /// Another record is there.
    Taken(RecordId),
    /// The world has no such slot.
    NoRoom,
}

/// Rules, bounds and records: what does not change along a history.
pub struct World {
    /// The rules that hold.
    pub rules: Rules,
    /// How large it is.
    pub bounds: Bounds,
    /// All records.
    pub arena: Arena,
}

impl World {
    /// A world without any history yet.
    #[must_use]
    pub fn new(rules: Rules, bounds: Bounds) -> Self {
        Self { rules, bounds, arena: Arena::default() }
    }

    /// Whether a rule holds.
    #[must_use]
    pub fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    /// The state before anything happened.
    #[must_use]
    pub fn first(&self) -> State {
        let mut state = State::default();
        for (collector, left) in state.collectors.iter_mut().zip(self.bounds.publishes) {
            collector.publishes_left = left;
        }
        state
    }

    /// Every frame of these segments.
    #[must_use]
    pub fn frames_of(&self, segments: Set) -> Set {
        let each = if self.bounds.frames > 1 { 3 } else { 1 };
        super::record::numbers(segments).fold(0, |all, segment| all | each << (2 * segment))
    }

    /// The object in a slot.
    #[must_use]
    pub fn object(&self, state: &State, slot: u8) -> Option<RecordId> {
        let strays = state.strays.iter().filter(|stray| **stray != RecordId::NONE);
        let mut here = strays.filter(|stray| self.arena.get(**stray).slot == slot);
        here.next().copied().or_else(|| {
            let own = state.present & (1 << slot) != 0;
            own.then(|| self.arena.view(state.head).path[usize::from(slot)])
        })
    }

    /// Slots that hold any object.
    #[must_use]
    pub fn objects(&self, state: &State) -> Set {
        let strays = state.strays.iter().filter(|stray| **stray != RecordId::NONE);
        strays.fold(state.present, |all, stray| all | 1 << self.arena.get(*stray).slot)
    }

    /// The newest object of the chain, as listing it shows.
    #[must_use]
    pub fn newest(&self, state: &State) -> RecordId {
        let slot = highest(self.objects(state));
        slot.and_then(|slot| self.object(state, slot)).unwrap_or(RecordId::NONE)
    }

    /// Creates the slot of a record, and moves the chain's head when that publishes it.
    pub fn create(&self, state: &mut State, id: RecordId) -> Created {
        let record = *self.arena.get(id);
        if record.slot >= self.bounds.slots {
            return Created::NoRoom;
        }
        let there = self.object(state, record.slot);
        if let Some(other) = there
            && other != id
        {
            if self.has(Rule::CreateIfAbsent) {
                return Created::Taken(other);
            }
            add_stray(&mut state.strays, id);
            return Created::Stray;
        }
        let next = self.arena.view(state.head).slots;
        if record.slot == next && record.previous == state.head {
            self.append(state, id);
            return Created::Published;
        }
        if self.arena.is_in(id, state.head) {
            state.present |= 1 << record.slot;
            return Created::Published;
        }
        if there.is_none() {
            add_stray(&mut state.strays, id);
        }
        Created::Stray
    }

    /// A record becomes the chain's head.
    pub fn append(&self, state: &mut State, id: RecordId) {
        let record = *self.arena.get(id);
        state.head = id;
        state.present |= 1 << record.slot;
        if let Body::Upkeep(upkeep) = record.body {
            state.condemned_old &= upkeep.condemned;
            state.gaps_old &= upkeep.gaps;
        }
    }

    /// Whether a publisher that finds its object in a part that is gone believes that it published.
    #[must_use]
    pub fn believes(&self, state: &State, id: RecordId) -> bool {
        let slot = self.arena.get(id).slot;
        let newest = self.newest(state);
        if !self.has(Rule::Confirm) || newest == id {
            return true;
        }
        if self.has(Rule::ConfirmByGaps) {
            return self.arena.view(newest).upkeep.gaps & (1 << slot) == 0;
        }
        let next = self.object(state, slot + 1);
        next.is_some_and(|next| self.arena.get(next).previous == id)
    }

    /// Deletes the object of a slot.
    pub fn delete_slot(&self, state: &mut State, slot: u8) {
        match self.object(state, slot) {
            Some(stray) if state.strays.contains(&stray) => {
                for place in &mut state.strays {
                    if *place == stray {
                        *place = RecordId::NONE;
                    }
                }
                state.strays.sort_unstable();
            }
            _ => state.present &= !(1 << slot),
        }
    }

    /// Time passes for everything that exists: a grace, or the time that makes an orphan old.
    pub fn tick(&self, state: &mut State) {
        let view = self.arena.view(state.head);
        state.segments_old = state.segments;
        state.condemned_old = view.upkeep.condemned;
        state.gaps_old = view.upkeep.gaps;
        state.records_old = (1 << view.slots) - 1;
        state.reader.tick();
    }
}

/// Creates a segment if it is absent.
pub fn create_segment(state: &mut State, segment: u8) {
    if state.segments & (1 << segment) == 0 {
        state.segments |= 1 << segment;
        state.segments_old &= !(1 << segment);
    }
}

/// Deletes a segment.
pub fn delete_segment(state: &mut State, segment: u8) {
    state.segments &= !(1 << segment);
    state.segments_old &= !(1 << segment);
}

fn add_stray(strays: &mut [RecordId; STRAYS], id: RecordId) {
    if strays.contains(&id) {
        return;
    }
    assert_eq!(strays[0], RecordId::NONE, "more strays than the model has room for");
    strays[0] = id;
    strays.sort_unstable();
}
