//! What every state must satisfy: the promises of the vault.

use super::bounds::Rule;
use super::collector::tidy_up;
use super::record::{Body, Set, Upkeep, View, highest, numbers, segment_names};
use super::state::{State, World};
use super::upkeep::{holders, kept_frames};
use super::{failover, reader, writer};

/// Frames that cannot be read: their segment, or the one that they were carried to, is not there.
fn missing(state: &State, upkeep: &Upkeep, frames: Set) -> Set {
    let gone = |frame: &u8| {
        let segment = frame / 2;
        let moved = upkeep.moved & (1 << segment) != 0;
        let carried = !moved || upkeep.carried & (1 << frame) != 0;
        !carried || state.segments & (1 << upkeep.holder(segment)) == 0
    };
    numbers(frames).filter(gone).fold(0, |all, frame| all | 1 << frame)
}

/// The first promise that a state breaks.
#[must_use]
pub fn broken(world: &World, state: &State) -> Option<String> {
    let view = world.arena.view(state.head);
    chain(world, state, view)
        .or_else(|| points(world, state, view))
        .or_else(|| failover::broken(world, state, view))
        .or_else(|| writers(world, state, view))
        .or_else(|| reading(world, state))
}

/// Every slot outside the gaps holds the record that was published there, and no other.
fn chain(world: &World, state: &State, view: &View) -> Option<String> {
    for slot in 0..view.slots {
        let covered = view.upkeep.gaps & (1 << slot) != 0;
        if !covered && world.object(state, slot) != Some(view.path[usize::from(slot)]) {
            return Some(format!(
                "slot {slot} is missing or holds another record than was published"
            ));
        }
    }
    // What opening a chain reads of its newest record's trail.
    let interrupted = view.epoch_run.is_some() && view.epochs == 0;
    interrupted.then(|| "the newest epoch-open is gone".to_owned())
}

/// Every point that is not pruned restores, and so does what the next writer begins from.
fn points(world: &World, state: &State, view: &View) -> Option<String> {
    let newest = highest(view.checkpoints).map_or(0, |slot| 1 << slot);
    for slot in numbers(view.points | newest) {
        let gone = missing(state, &view.upkeep, world.arena.reach(view, slot));
        if gone != 0 {
            let segments = segment_names(holders(&view.upkeep, gone));
            return Some(format!("the record of slot {slot} needs {segments}, which is not there"));
        }
    }
    None
}

/// What a writer told its caller is so, and a writer that was replaced told nothing.
fn writers(world: &World, state: &State, view: &View) -> Option<String> {
    for writer in &state.writers {
        if writer.step == writer::Step::RefusedYoung {
            return Some(
                "a writer is refused because of a segment that it has just sent".to_owned(),
            );
        }
        if writer.step != writer::Step::Acknowledged {
            continue;
        }
        if !world.arena.is_in(writer.own, state.head) {
            return Some("a writer acknowledged a point that is not in the chain".to_owned());
        }
        let slot = world.arena.get(writer.own).slot;
        let before = view.path[..usize::from(slot)].iter().rev();
        let mut epochs = before.filter_map(|id| {
            let record = world.arena.get(*id);
            matches!(record.body, Body::Epoch | Body::Fork(_) | Body::ForkEnded)
                .then_some(record.run)
        });
        if epochs.next() != Some(writer.run) {
            return Some("a writer acknowledged a point after another one took over".to_owned());
        }
    }
    None
}

/// A reader finds what it listed a moment ago, and what its pin holds.
fn reading(world: &World, state: &State) -> Option<String> {
    let reader = &state.reader;
    let seen = world.arena.view(reader.head);
    let gone = missing(state, &seen.upkeep, world.arena.reach(seen, reader.slot));
    match reader.step {
        reader::Step::Reading if reader.pin > 0 && gone != 0 => {
            Some("a segment of a pinned point is not there".to_owned())
        }
        reader::Step::Chosen if reader.fresh => {
            let kept = ((1_u32 << seen.slots) - 1) & !u32::from(seen.upkeep.gaps);
            let lost = kept & !u32::from(world.objects(state));
            if gone != 0 || lost != 0 {
                return Some("what a reader listed a moment ago is not there any more".to_owned());
            }
            None
        }
        _ => None,
    }
}

/// What stays for ever although nothing names it, once everybody is gone but a collector and time.
#[must_use]
pub fn litter(world: &mut World, state: &State) -> Option<String> {
    let end = tidy_up(world, state);
    if let Some(broken) = broken(world, &State { writers: [writer::Writer::default(); 3], ..end }) {
        return Some(format!("tidying up breaks a promise: {broken}"));
    }
    let view = world.arena.view(end.head);
    let segments = end.segments & !holders(&view.upkeep, kept_frames(world, view, 0));
    if segments != 0 {
        return Some(format!("segments that nothing names stay: {}", segment_names(segments)));
    }
    let slots = world.objects(&end) & view.upkeep.gaps;
    if slots != 0 && world.has(Rule::KeepHead) {
        return Some("objects of covered slots stay".to_owned());
    }
    None
}
