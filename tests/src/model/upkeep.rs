//! What upkeep computes from a chain: what may go, what must stay. One pass over what a collector has read.

use super::bounds::Rule;
use super::record::{Body, Set, Upkeep, View, highest, numbers};
use super::state::{State, World};

/// Segments of these frames, by the names that maps use.
fn named(frames: Set) -> Set {
    numbers(frames).fold(0, |all, frame| all | 1 << (frame / 2))
}

/// Segments that hold these frames now.
#[must_use]
pub fn holders(upkeep: &Upkeep, frames: Set) -> Set {
    numbers(named(frames)).fold(0, |all, segment| all | 1 << upkeep.holder(segment))
}

/// Checkpoints whose frames are kept.
fn kept_checkpoints(world: &World, view: &View) -> Set {
    if world.has(Rule::KeepCheckpoints) {
        view.checkpoints
    } else {
        highest(view.checkpoints).map_or(0, |slot| 1 << slot)
    }
}

/// Frames that the records of a chain keep, without these slots.
#[must_use]
pub fn kept_frames(world: &World, view: &View, without: Set) -> Set {
    world.arena.reach_all(view, (view.points | kept_checkpoints(world, view)) & !without)
}

/// Frames that the pinned point reaches, where its record is there to tell.
fn pinned_frames(world: &World, state: &State) -> Set {
    let counts = world.has(Rule::PinnedIsLive);
    let there = state.reader.pinned() & world.objects(state);
    if counts { world.arena.reach_all(world.arena.view(state.head), there) } else { 0 }
}

/// Points that may be pruned.
#[must_use]
pub fn prunable(world: &World, view: &View) -> Set {
    let fork = view.fork.filter(|_| world.has(Rule::ForkPointStays));
    let points = view.points & !fork.map_or(0, |point| 1 << point);
    match highest(view.points) {
        Some(newest) if world.has(Rule::KeepNewestPoint) => points & !(1 << newest),
        _ => points,
    }
}

/// Slots whose records nobody needs any more once another upkeep record is published.
#[must_use]
pub fn superseded(world: &World, view: &View) -> Set {
    let newest = highest(view.epochs).filter(|_| world.has(Rule::KeepNewestEpoch));
    let epochs = view.epochs & !newest.map_or(0, |slot| 1 << slot);
    let own = if world.has(Rule::KeepHead) { 0 } else { 1 << view.slots };
    view.superseded | view.upkeeps | epochs | own
}

/// The state of upkeep with a point taken out of the chain.
#[must_use]
pub fn prune(world: &World, state: &State, view: &View, point: u8) -> Upkeep {
    let mut upkeep = if world.has(Rule::PruneApart) {
        view.upkeep
    } else {
        condemn(world, state, view, 1 << point)
    };
    upkeep.gaps |= 1 << point | superseded(world, view);
    upkeep
}

/// The state of upkeep after condemning all that may be condemned, and forgetting what is deleted.
#[must_use]
pub fn condemn(world: &World, state: &State, view: &View, without: Set) -> Upkeep {
    let mut upkeep = view.upkeep;
    upkeep.gaps |= superseded(world, view);
    let live = kept_frames(world, view, without) | pinned_frames(world, state);
    for from in numbers(upkeep.moved & !named(live)) {
        upkeep.forget(from);
    }
    let needed = holders(&upkeep, live);
    let aged = if world.has(Rule::OrphanAge) {
        state.segments_old | finished(world, view)
    } else {
        Set::MAX
    };
    upkeep.condemned = state.segments & (upkeep.condemned | (aged & !needed));
    upkeep
}

/// Segments that finished runs and relocations published: nobody is about to name them.
fn finished(world: &World, view: &View) -> Set {
    let mut all = 0;
    for id in &view.path[..usize::from(view.slots)] {
        match world.arena.get(*id).body {
            Body::Point(reach) => all |= named(reach),
            Body::Upkeep(upkeep) => {
                all |= upkeep.moved;
                numbers(upkeep.moved).for_each(|from| all |= 1 << upkeep.holder(from));
            }
            Body::Epoch | Body::Checkpoint(_) | Body::Fork(_) | Body::ForkEnded => {}
        }
    }
    all & !named(world.arena.reach_all(view, view.checkpoints))
}

/// Whether a plan is worth a record: covering the upkeep record before it alone is not.
#[must_use]
pub fn changes(view: &View, plan: &Upkeep) -> bool {
    let gaps = plan.gaps & !view.upkeep.gaps & !view.upkeeps;
    gaps != 0 || Upkeep { gaps: 0, ..*plan } != Upkeep { gaps: 0, ..view.upkeep }
}

/// Segments whose live frames may be carried elsewhere, each with those frames.
#[must_use]
pub fn relocatable(world: &World, state: &State, view: &View) -> Vec<(u8, Set)> {
    let live = kept_frames(world, view, 0) | pinned_frames(world, state);
    let taken = view.upkeep.moved | view.upkeep.condemned;
    let mut victims = named(live) & state.segments & !taken & 0x3f;
    if world.has(Rule::RelocateFinished) {
        victims &= finished(world, view);
    }
    numbers(victims).map(|victim| (victim, live & (3 << (2 * victim)))).collect()
}

/// What may be deleted as the newest record has it: segments, and slots. Pins are not looked at.
#[must_use]
pub fn deletable(world: &World, state: &State, view: &View) -> (Set, Set) {
    let upkeep = &view.upkeep;
    let grace = |rule: Rule, old: Set| if world.has(rule) { old } else { Set::MAX };
    let mut segments =
        upkeep.condemned & state.segments & grace(Rule::SegmentGrace, state.condemned_old);
    if world.has(Rule::ReadChainAgain) {
        segments &= !holders(upkeep, kept_frames(world, view, 0));
    }
    let mut slots = upkeep.gaps & grace(Rule::SlotGrace, state.gaps_old);
    if !world.has(Rule::CoverFirst) {
        slots |= superseded(world, view);
    }
    (segments, slots & world.objects(state))
}

/// Takes what a pin protects out of what may be deleted: the slot that it names, and everything that was condemned
/// or covered by a record that its reader had not seen when it wrote the pin.
#[must_use]
pub fn spare_pinned(
    world: &World,
    view: &View,
    (mut segments, mut slots): (Set, Set),
    (pinned, seen): (Set, u8),
) -> (Set, Set) {
    if pinned == 0 {
        return (segments, slots);
    }
    slots &= !pinned;
    for id in &view.path[usize::from(seen).min(usize::from(view.slots))..usize::from(view.slots)] {
        let record = world.arena.get(*id);
        if let Body::Upkeep(upkeep) = record.body {
            let before = world.arena.view(record.previous).upkeep;
            segments &= !(upkeep.condemned & !before.condemned);
            slots &= !(upkeep.gaps & !before.gaps);
        }
    }
    (segments, slots)
}
