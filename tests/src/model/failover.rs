//! A failover: it chooses a point, publishes a fork that takes the chain over from every writer, and may end it again.

use super::act::Act;
use super::bounds::Rule;
use super::record::{Body, RecordId, UPKEEP_RUN, View, numbers};
use super::state::{Created, State, World};

/// What it does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Has not begun.
    #[default]
    Idle,
    /// Lists the chain, to publish its fork behind it.
    Look,
    /// Publishes the fork.
    Publish,
    /// Looks whether that is in a part that is gone.
    Confirm,
    /// The fork stands; it may list the chain to end it.
    Standing,
    /// Publishes the end.
    End,
    /// Looks whether that is in a part that is gone.
    ConfirmEnd,
    /// The fork stands no more.
    Ended,
    /// Its point was pruned before.
    Refused,
}

/// A failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Failover {
    /// What it does next.
    pub step: Step,
    /// The slot of its point.
    pub point: u8,
    /// The newest record that it knows.
    pub head: RecordId,
    /// What it published last.
    pub own: RecordId,
}

/// What a failover can do next.
pub fn steps(world: &mut World, state: &State, emit: &mut dyn FnMut(State, Act)) {
    let failover = state.failover;
    let mut go = |step: Step, head: RecordId, act: Act| {
        let mut next = *state;
        next.failover = Failover { step, head, ..failover };
        emit(next, act);
    };
    match failover.step {
        Step::Idle => {
            for point in numbers(world.arena.view(world.newest(state)).points) {
                let mut next = *state;
                next.failover = Failover { step: Step::Look, point, ..failover };
                emit(next, Act::Chooses(point));
            }
        }
        Step::Look => {
            let head = world.newest(state);
            let is_pruned = world.arena.view(head).upkeep.gaps & (1 << failover.point) != 0;
            if is_pruned && world.has(Rule::ForkLooksAgain) {
                go(Step::Refused, RecordId::NONE, Act::MissesPoint);
            } else {
                go(Step::Publish, head, Act::FindsPoint);
            }
        }
        Step::Publish => {
            let body = Body::Fork(failover.point);
            publish(world, state, body, [Step::Standing, Step::Confirm, Step::Look], emit);
        }
        Step::Standing => go(Step::End, world.newest(state), Act::Opens),
        Step::End => {
            let body = Body::ForkEnded;
            publish(world, state, body, [Step::Ended, Step::ConfirmEnd, Step::Standing], emit);
        }
        Step::Confirm | Step::ConfirmEnd => {
            let believes = world.believes(state, failover.own);
            let step = match (failover.step, believes) {
                (Step::Confirm, true) => Step::Standing,
                (Step::Confirm, false) => Step::Look,
                (_, true) => Step::Ended,
                (_, false) => Step::Standing,
            };
            go(step, RecordId::NONE, if believes { Act::Believes } else { Act::Doubts });
        }
        Step::Ended | Step::Refused => {}
    }
}

/// Publishes behind the newest record that it knows: what it does once that is there, may be in a part that is gone, or
/// another record is.
fn publish(
    world: &mut World,
    state: &State,
    body: Body,
    [done, confirm, again]: [Step; 3],
    emit: &mut dyn FnMut(State, Act),
) {
    let failover = state.failover;
    let id = world.arena.record(failover.head, UPKEEP_RUN, body);
    let mut next = *state;
    let (step, own, act) = match world.create(&mut next, id) {
        Created::NoRoom => return,
        Created::Published => (done, RecordId::NONE, Act::Creates(id)),
        Created::Stray => (confirm, id, Act::Creates(id)),
        Created::Taken(other) => (again, RecordId::NONE, Act::Finds(other)),
    };
    next.failover = Failover { step, own, head: RecordId::NONE, ..failover };
    emit(next, act);
}

/// The first promise of a failover that a state breaks.
#[must_use]
pub fn broken(world: &World, state: &State, view: &View) -> Option<String> {
    let mut stands = false;
    for id in &view.path[..usize::from(view.slots)] {
        match world.arena.get(*id).body {
            Body::Fork(_) => stands = true,
            Body::ForkEnded => stands = false,
            Body::Upkeep(_) => {}
            Body::Epoch | Body::Checkpoint(_) | Body::Point(_) if stands => {
                return Some(
                    "the original wrote into its chain while it was failed over".to_owned(),
                );
            }
            Body::Epoch | Body::Checkpoint(_) | Body::Point(_) => {}
        }
    }
    if view.fork.is_some_and(|point| view.upkeep.gaps & (1 << point) != 0) {
        return Some("the point that was failed over to was pruned".to_owned());
    }
    if state.failover.step == Step::Standing && view.fork != Some(state.failover.point) {
        return Some("a failover believes that its fork stands, and it does not".to_owned());
    }
    let wrote = |writer: &super::writer::Writer| {
        writer.copy && writer.step == super::writer::Step::Acknowledged
    };
    let wrote = state.writers.iter().any(wrote);
    wrote.then(|| "what a failed over copy wrote is in the original's chain".to_owned())
}
