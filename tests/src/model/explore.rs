//! Tries every order of steps, shortest histories first, and gives the first one that breaks a promise.

use core::fmt::Write;
use core::hash::{BuildHasherDefault, Hash, Hasher};
use std::collections::{HashSet, VecDeque};

use super::act::Act;
use super::bounds::{Bounds, Rules};
use super::check::{broken, litter};
use super::record::{RecordId, numbers, segment_names};
use super::state::{State, World};
use super::{collector, failover, reader, writer};

/// What the search found.
pub struct Found {
    /// Different states that were looked at.
    pub states: usize,
    /// Steps of the longest of the shortest histories that reach each state.
    pub depth: u16,
    /// The promise that was broken first, and the history that broke it.
    pub broken: Option<String>,
}

/// How a state was reached first.
#[derive(Clone, Copy)]
struct Origin {
    before: u32,
    choice: u16,
    depth: u16,
}

struct Search {
    world: World,
    first: State,
    /// Digests of states: 64 bits, so that two of ten million states are taken for one with odds of 1 in 300,000.
    seen: HashSet<u64, BuildHasherDefault<Passed>>,
    origins: Vec<Origin>,
    waiting: VecDeque<(State, u32)>,
}

/// Tries everything within the bounds.
///
/// # Panics
/// When there are more states than `Bounds::states_max`: then nothing is proven.
#[must_use]
pub fn explore(rules: Rules, bounds: Bounds) -> Found {
    explore_after(rules, bounds, &[])
}

/// Tries everything that can happen after these steps, each given by how its words begin.
///
/// # Panics
/// Like `explore`, and where a step cannot be taken.
#[must_use]
pub fn explore_after(rules: Rules, bounds: Bounds, steps: &[&str]) -> Found {
    let mut world = World::new(rules, bounds);
    let mut first = world.first();
    let mut begun = String::new();
    for step in steps {
        let mut open = Vec::new();
        successors(&mut world, &first, &mut |who, next, act| open.push((who, next, act)));
        let mut lines = open.iter().map(|(who, next, act)| (line(&world, who, *act), next));
        let (words, next) =
            lines.find(|(words, _)| words.starts_with(step)).expect("a step that can be taken");
        note(&mut begun, &world, "first", &words, next);
        first = *next;
    }
    let mut search = Search {
        world,
        first,
        seen: HashSet::default(),
        origins: vec![Origin { before: 0, choice: 0, depth: 0 }],
        waiting: VecDeque::from([(first, 0)]),
    };
    search.seen.insert(digest(&first));
    let mut open = Vec::new();
    while let Some((state, at)) = search.waiting.pop_front() {
        let depth = search.origins[at as usize].depth;
        open.clear();
        successors(&mut search.world, &state, &mut |_, next, _| open.push(next));
        for (choice, next) in (0..).zip(&open) {
            let origin = Origin { before: at, choice, depth: depth + 1 };
            if let Some(broken) = search.add(next, origin) {
                let broken = format!("{broken}\n{begun}{}", search.history());
                let (states, depth) = (search.origins.len(), depth + 1);
                return Found { states, depth, broken: Some(broken) };
            }
        }
    }
    let depth = search.origins.iter().map(|origin| origin.depth).max().unwrap_or(0);
    Found { states: search.origins.len(), depth, broken: None }
}

/// Everything that can happen next: who, the state after it, what.
fn successors(world: &mut World, state: &State, emit: &mut dyn FnMut(&'static str, State, Act)) {
    let loses = state.lost < world.bounds.lost_replies;
    // Two states that differ only in which of two equal collectors is which are one.
    let equal = world.bounds.collectors == 2 && !world.bounds.relocate;
    let mut out = |who: &'static str, mut next: State, act: Act| {
        if equal {
            next.collectors.sort_unstable();
        }
        emit(who, next, act);
    };
    for at in 0..usize::from(world.bounds.writers) {
        let who = ["writer 1", "writer 2", "writer 3"][at];
        writer::steps(world, state, at, &mut |next, act| out(who, next, act), loses);
    }
    for at in 0..world.bounds.collectors {
        // Which of two equal collectors is which changes along a history, so the words do not number them.
        collector::steps(world, state, at, &mut |next, act| out("a collector", next, act), loses);
    }
    if world.bounds.failover {
        failover::steps(world, state, &mut |next, act| out("the failover", next, act));
    }
    if world.bounds.reader {
        reader::steps(world, state, &mut |next, act| out("the reader", next, act));
    }
    let mut later = *state;
    world.tick(&mut later);
    out("time", later, Act::Passes);
}

impl Search {
    /// Notes a state, and gives the promise that it breaks.
    fn add(&mut self, next: &State, origin: Origin) -> Option<String> {
        let digest = digest(next);
        if !self.seen.insert(digest) {
            return None;
        }
        self.origins.push(origin);
        let most = self.world.bounds.states_max;
        assert!(self.origins.len() <= most, "more than {most} states: nothing is proven");
        let at = u32::try_from(self.origins.len() - 1).expect("states_max is far below 2^32");
        self.waiting.push_back((*next, at));
        broken(&self.world, next).or_else(|| {
            let one_of = self.world.bounds.tidy_one_of;
            let looked_at = one_of > 0 && digest.is_multiple_of(one_of);
            looked_at.then(|| litter(&mut self.world, next)).flatten()
        })
    }

    /// The steps to the newest state, each with what the store holds after it.
    fn history(&mut self) -> String {
        let mut choices = Vec::new();
        let mut at = self.origins.len() - 1;
        while at > 0 {
            let origin = self.origins[at];
            choices.push(origin.choice);
            at = origin.before as usize;
        }
        let mut text = String::new();
        let mut state = self.first;
        for (number, choice) in (1..).zip(choices.iter().rev()) {
            let mut taken = None;
            let mut count = 0;
            successors(&mut self.world, &state, &mut |who, next, act| {
                if count == *choice {
                    taken = Some((who, next, act));
                }
                count += 1;
            });
            let (who, next, act) = taken.expect("the same state has the same successors");
            let words = line(&self.world, who, act);
            note(&mut text, &self.world, &format!("{number:3}."), &words, &next);
            state = next;
        }
        text
    }
}

fn line(world: &World, who: &str, act: Act) -> String {
    format!("{who} {}", act.words(&world.arena))
}

/// One step and what the store holds after it.
fn note(text: &mut String, world: &World, number: &str, words: &str, state: &State) {
    let step = format!("{number:>5} {words}");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{step:<104} {}", describe(world, state));
}

/// What the store holds, in one line.
fn describe(world: &World, state: &State) -> String {
    let objects = world.objects(state);
    let slots: Vec<String> = numbers(objects)
        .filter_map(|slot| world.object(state, slot))
        .map(|id| {
            let stray = if state.strays.contains(&id) { "!" } else { "" };
            format!("{stray}{}", short(world, id))
        })
        .collect();
    let condemned = world.arena.view(state.head).upkeep.condemned;
    let doomed = if condemned == 0 {
        String::new()
    } else {
        format!(" condemned {}", segment_names(condemned))
    };
    format!("[{} | {}{doomed}]", slots.join(" "), segment_names(state.segments))
}

fn short(world: &World, id: RecordId) -> String {
    let record = world.arena.get(id);
    let letter = match record.body {
        super::record::Body::Epoch => 'E',
        super::record::Body::Checkpoint(_) => 'C',
        super::record::Body::Point(_) => 'P',
        super::record::Body::Upkeep(_) => 'U',
        super::record::Body::Fork(_) => 'F',
        super::record::Body::ForkEnded => 'N',
    };
    format!("{}{letter}", record.slot)
}

fn digest(state: &State) -> u64 {
    let mut hasher = Folded { mixed: 0x243F_6A88_85A3_08D3, waiting: 0, bits: 0 };
    state.hash(&mut hasher);
    hasher.finish()
}

/// Packs numbers into words, multiplies each to 128 bits and folds. A state always hashes the same fields in the same
/// widths, so no two states give the same words.
struct Folded {
    mixed: u64,
    waiting: u64,
    bits: u32,
}

impl Folded {
    fn pack(&mut self, number: u64, bits: u32) {
        if self.bits + bits > 64 {
            self.mixed = fold(self.mixed, self.waiting);
            (self.waiting, self.bits) = (0, 0);
        }
        self.waiting |= number << self.bits;
        self.bits += bits;
    }
}

fn fold(mixed: u64, word: u64) -> u64 {
    let left = (mixed ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let wide = u128::from(left) * u128::from(left.rotate_left(32) ^ 0xD1B5_4A32_D192_ED03);
    let [low, high] = [wide, wide >> 64].map(|half| half & u128::from(u64::MAX));
    u64::try_from(low ^ high).expect("both are below 2^64")
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, number: u8) {
        self.pack(u64::from(number), 8);
    }

    fn write_u16(&mut self, number: u16) {
        self.pack(u64::from(number), 16);
    }

    fn write_u32(&mut self, number: u32) {
        self.pack(u64::from(number), 32);
    }

    fn write_usize(&mut self, _: usize) {
        // The length of an array, always the same.
    }

    fn write_isize(&mut self, number: isize) {
        // Which of a few variants.
        self.pack(number.unsigned_abs() as u64 & 0xff, 8);
    }

    fn finish(&self) -> u64 {
        fold(fold(self.mixed, self.waiting), u64::from(self.bits))
    }
}

/// A digest needs no hashing.
#[derive(Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
