//! A run of a writer: takes the chain over, salvages, sends segments, publishes.

use super::act::Act;
use super::bounds::Rule;
use super::record::{Body, RecordId, Set, highest, numbers};
use super::state::{Created, State, World, create_segment};

/// What it does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Has not begun.
    #[default]
    Idle,
    /// Publishes its epoch-open.
    Open,
    /// Looks whether that is in a part that is gone.
    ConfirmOpen,
    /// Lists segments that nobody names.
    Salvage,
    /// Sends its first segment.
    SendFirst,
    /// Publishes a checkpoint.
    Checkpoint,
    /// Looks whether that is in a part that is gone.
    ConfirmCheckpoint,
    /// Sends its last segment.
    SendLast,
    /// Publishes its point.
    Publish,
    /// Looks whether that is in a part that is gone.
    ConfirmPublish,
    /// Sends its last segment although the point is published: only without `SegmentsFirst`.
    SendLate,
    /// Told its caller that the point exists.
    Acknowledged,
    /// Gave up, or was fenced.
    Stopped,
    /// Gave up because a segment that it had just sent was condemned.
    RefusedYoung,
}

/// One run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Writer {
    /// What it does next.
    pub step: Step,
    /// Its identity: a copy of a run has the same.
    pub run: u8,
    /// It is of a copy that was failed over.
    pub copy: bool,
    /// The newest record that it knows.
    pub head: RecordId,
    /// Frames that it may name although it did not send them.
    pub known: Set,
    /// Segments of others that it took up.
    pub salvaged: Set,
    /// Segments that it sent.
    pub sent: Set,
    /// The record that it published last.
    pub own: RecordId,
}

impl Writer {
    fn ends(self, step: Step) -> Self {
        let own = if step == Step::Acknowledged { self.own } else { RecordId::NONE };
        Self { step, run: self.run, copy: self.copy, own, ..Self::default() }
    }
}

/// What a writer can do next: each possibility with its words, and whether its reply may be lost.
pub fn steps(
    world: &mut World,
    state: &State,
    at: usize,
    emit: &mut dyn FnMut(State, Act),
    loses: bool,
) {
    let writer = state.writers[at];
    match writer.step {
        Step::Idle => start(world, state, at, emit),
        Step::Open => {
            let id = world.arena.record(writer.head, writer.run, Body::Epoch);
            publish(world, state, at, (id, Step::ConfirmOpen), emit, loses);
        }
        Step::Salvage => salvage(world, state, at, emit),
        Step::SendFirst => {
            let next = match (world.bounds.segments, world.bounds.checkpoints) {
                (1, _) => Step::Publish,
                (_, true) => Step::Checkpoint,
                (_, false) => Step::SendLast,
            };
            send(world, state, at, (0, next), emit, loses);
        }
        Step::SendLast => send(world, state, at, (1, Step::Publish), emit, loses),
        Step::Checkpoint => {
            for reach in choices(world, &writer) {
                let id = world.arena.record(writer.head, writer.run, Body::Checkpoint(reach));
                publish(world, state, at, (id, Step::ConfirmCheckpoint), emit, loses);
            }
        }
        Step::Publish => {
            for reach in choices(world, &writer) {
                let id = world.arena.record(writer.head, writer.run, Body::Point(reach));
                publish(world, state, at, (id, Step::ConfirmPublish), emit, loses);
            }
        }
        Step::ConfirmOpen | Step::ConfirmCheckpoint | Step::ConfirmPublish => {
            let mut next = *state;
            let believes = world.believes(state, writer.own);
            next.writers[at] = if believes {
                published(world, writer, writer.own)
            } else {
                writer.ends(Step::Stopped)
            };
            emit(next, if believes { Act::Believes } else { Act::Doubts });
        }
        Step::SendLate => {
            let mut next = *state;
            numbers(writer.sent).for_each(|segment| create_segment(&mut next, segment));
            next.writers[at] = writer.ends(Step::Acknowledged);
            emit(next, Act::Sends(highest(writer.sent).unwrap_or(0)));
        }
        Step::Acknowledged | Step::Stopped | Step::RefusedYoung => {}
    }
}

fn start(world: &World, state: &State, at: usize, emit: &mut dyn FnMut(State, Act)) {
    if at > 0 && state.writers[at - 1].step == Step::Idle {
        return;
    }
    let last = at + 1 == usize::from(world.bounds.writers);
    if last && world.bounds.forks {
        for original in &state.writers[..at] {
            if !matches!(original.step, Step::Acknowledged | Step::Stopped | Step::RefusedYoung) {
                let mut next = *state;
                next.writers[at] = *original;
                emit(next, Act::Forks);
            }
        }
    }
    let mut next = *state;
    let run = u8::try_from(at).unwrap_or(0);
    let head = world.newest(state);
    let view = world.arena.view(head);
    if view.fork.is_some() && world.has(Rule::ForkHolds) {
        return;
    }
    next.writers[at] = Writer { step: Step::Open, run, head, ..Writer::default() };
    emit(next, Act::Opens);
    let was_failed_over = state.failover.step > super::failover::Step::Publish;
    if was_failed_over && !world.has(Rule::CopyIsSilent) {
        next.writers[at].copy = true;
        emit(next, Act::OpensAsCopy);
    }
    if last && world.bounds.forks && !world.has(Rule::NamesBound) {
        // A copy of the first writer's machine from before it began: it draws the same names again.
        next.writers[at].copy = false;
        next.writers[at].run = state.writers[0].run;
        emit(next, Act::OpensAlike);
    }
}

/// Lists the segments and takes up those that the rules let it take.
fn salvage(world: &World, state: &State, at: usize, emit: &mut dyn FnMut(State, Act)) {
    let mut next = *state;
    let writer = &mut next.writers[at];
    let view = world.arena.view(writer.head);
    let before = world.arena.view(world.arena.get(writer.head).previous);
    let mut found = state.segments & !(3 << (2 * writer.run));
    if world.has(Rule::SalvageSpares) {
        found &= !view.upkeep.condemned;
    }
    if world.has(Rule::SalvageFollows) {
        found &= before.epoch_run.map_or(0, |run| 3 << (2 * run));
    }
    let followed = highest(before.epochs);
    let old = followed.is_none_or(|slot| state.records_old & (1 << slot) != 0);
    if world.has(Rule::SalvageSoon) && old {
        found = 0;
    }
    writer.salvaged = found;
    writer.known |= world.frames_of(found);
    writer.step = Step::SendFirst;
    emit(next, Act::Salvages);
}

fn send(
    world: &World,
    state: &State,
    at: usize,
    (number, next_step): (u8, Step),
    emit: &mut dyn FnMut(State, Act),
    loses: bool,
) {
    let mut next = *state;
    let writer = &mut next.writers[at];
    let segment = 2 * writer.run + number;
    writer.sent |= 1 << segment;
    writer.step = next_step;
    let last = next_step == Step::Publish;
    if !last || world.has(Rule::SegmentsFirst) {
        create_segment(&mut next, segment);
    }
    emit(next, Act::Sends(segment));
    if loses {
        next.writers[at] = state.writers[at];
        next.lost += 1;
        emit(next, Act::SendsUnknowingly(segment));
    }
}

/// What the next record may reach: only what this run sent, or what it knows too.
fn choices(world: &World, writer: &Writer) -> Vec<Set> {
    const EVEN: Set = 0x5555;
    let own = world.frames_of(writer.sent);
    let mut choices = vec![own];
    if world.bounds.reuse || writer.salvaged != 0 {
        for more in [writer.known & EVEN, writer.known] {
            if !choices.contains(&(own | more)) {
                choices.push(own | more);
            }
        }
    }
    choices
}

fn publish(
    world: &World,
    state: &State,
    at: usize,
    (id, confirm): (RecordId, Step),
    emit: &mut dyn FnMut(State, Act),
    loses: bool,
) {
    let mut next = *state;
    let writer = state.writers[at];
    match world.create(&mut next, id) {
        Created::NoRoom => return,
        Created::Published => next.writers[at] = published(world, writer, id),
        Created::Stray => next.writers[at] = Writer { step: confirm, own: id, ..writer },
        Created::Taken(other) => {
            next.writers[at] = taken(world, state, writer, other);
            emit(next, Act::Finds(other));
            return;
        }
    }
    emit(next, Act::Creates(id));
    if loses {
        next.writers[at] = writer;
        next.lost += 1;
        emit(next, Act::CreatesUnknowingly(id));
    }
}

fn published(world: &World, writer: Writer, id: RecordId) -> Writer {
    let mut writer = Writer { head: id, own: RecordId::NONE, ..writer };
    match world.arena.get(id).body {
        Body::Epoch => {
            let before = world.arena.view(world.arena.get(id).previous);
            let bases = highest(before.points).into_iter().chain(highest(before.checkpoints));
            let base = bases.fold(0, |all, slot| all | 1 << slot);
            writer.known = world.arena.reach_all(before, base);
            let salvages = world.bounds.salvage && before.interrupted();
            writer.step = if salvages { Step::Salvage } else { Step::SendFirst };
            writer
        }
        Body::Checkpoint(_) => Writer { step: Step::SendLast, ..writer },
        Body::Point(_) if world.has(Rule::SegmentsFirst) => {
            Writer { own: id, ..writer }.ends(Step::Acknowledged)
        }
        _ => Writer { step: Step::SendLate, own: id, ..writer },
    }
}

/// Somebody else's record is in the slot.
fn taken(world: &World, state: &State, writer: Writer, other: RecordId) -> Writer {
    let record = world.arena.get(other);
    if record.previous != writer.head {
        return writer.ends(Step::Stopped);
    }
    let goes_on = Writer { head: other, ..writer };
    if writer.step == Step::Open {
        let forked = world.arena.view(other).fork.is_some() && world.has(Rule::ForkHolds);
        return if forked { writer.ends(Step::Stopped) } else { goes_on };
    }
    let Body::Upkeep(upkeep) = record.body else {
        return if world.has(Rule::Fence) { writer.ends(Step::Stopped) } else { goes_on };
    };
    if !world.has(Rule::Respect) {
        return goes_on;
    }
    if upkeep.condemned & (writer.sent | writer.salvaged) == 0 {
        return goes_on;
    }
    // What was sent again after it was deleted is young and rightly refused.
    let young = upkeep.condemned & writer.sent & state.segments & !state.segments_old;
    let wrong = young != 0 && !world.bounds.forks && state.lost == 0;
    writer.ends(if wrong { Step::RefusedYoung } else { Step::Stopped })
}
