//! Records of a chain, and what the chain says as of each of them.
//!
//! A record is known by its content and its predecessor, as a digest would know it: two records are the same one
//! exactly when somebody could not tell their bytes apart.

use core::fmt;
use std::collections::HashMap;

use super::bounds::SLOTS_MAX;

/// A set of small numbers: slots, segments or frames.
pub type Set = u16;

/// A record, and so the digest of it; 0 is the predecessor of slot 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u32);

impl RecordId {
    /// No record.
    pub const NONE: Self = Self(0);
}

/// The state of upkeep as a record of it says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Upkeep {
    /// Slots that are no longer part of the chain.
    pub gaps: Set,
    /// Segments that nothing may name any more.
    pub condemned: Set,
    /// Segments whose live frames are elsewhere.
    pub moved: Set,
    /// Where: the moved segment's number, then the one that holds its frames, four bits each.
    pub into: u32,
    /// Frames that were carried.
    pub carried: Set,
}

impl Upkeep {
    /// The segment that holds a segment's frames now.
    #[must_use]
    pub fn holder(&self, segment: u8) -> u8 {
        if self.moved & (1 << segment) == 0 {
            return segment;
        }
        u8::try_from((self.into >> (4 * u32::from(segment))) & 15).unwrap_or(segment)
    }

    /// Notes that a segment's frames are in another one.
    pub fn relocate(&mut self, from: u8, into: u8, frames: Set) {
        self.moved |= 1 << from;
        let place = 4 * u32::from(from);
        self.into = (self.into & !(15 << place)) | (u32::from(into) << place);
        self.carried |= frames;
    }

    /// Forgets where a segment's frames are.
    pub fn forget(&mut self, from: u8) {
        self.moved &= !(1 << from);
        self.into &= !(15 << (4 * u32::from(from)));
        self.carried &= !(3 << (2 * from));
    }
}

/// What a record says. Points and checkpoints say which frames their maps reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// A writer takes the chain over.
    Epoch,
    /// A point in progress.
    Checkpoint(Set),
    /// A recovery point.
    Point(Set),
    /// Pruned, condemned, relocated, collected.
    Upkeep(Upkeep),
    /// The server was failed over to the point in this slot: the chain is taken over from every writer.
    Fork(u8),
    /// It stands no more.
    ForkEnded,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its slot.
    pub slot: u8,
    /// The record that it links to.
    pub previous: RecordId,
    /// The run that wrote it.
    pub run: u8,
    /// What it says.
    pub body: Body,
}

/// The run of everybody who is no writer.
pub const UPKEEP_RUN: u8 = 15;

/// What a chain says as of one record of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// The records, by slot.
    pub path: [RecordId; SLOTS_MAX],
    /// How many.
    pub slots: u8,
    /// Slots of points that are not pruned.
    pub points: Set,
    /// Slots of checkpoints after the newest point, not covered.
    pub checkpoints: Set,
    /// Slots of upkeep records, not covered.
    pub upkeeps: Set,
    /// Slots of epoch-opens, forks and ends of forks, not covered.
    pub epochs: Set,
    /// Slots of checkpoints before the newest point, not covered.
    pub superseded: Set,
    /// Which run opened the newest epoch; none behind a fork.
    pub epoch_run: Option<u8>,
    /// The slot of the point of the fork that stands.
    pub fork: Option<u8>,
    /// The state of upkeep.
    pub upkeep: Upkeep,
}

/// The highest number of a set.
#[must_use]
pub fn highest(set: Set) -> Option<u8> {
    u8::try_from(set.checked_ilog2()?).ok()
}

/// The numbers of a set, ascending.
pub fn numbers(mut set: Set) -> impl Iterator<Item = u8> {
    core::iter::from_fn(move || {
        let lowest = u8::try_from(set.trailing_zeros()).ok().filter(|_| set != 0)?;
        set &= set - 1;
        Some(lowest)
    })
}

impl View {
    /// The view of the record after this one.
    fn after(&self, id: RecordId, record: &Record) -> Self {
        let mut view = *self;
        let bit = 1 << record.slot;
        view.path[usize::from(record.slot)] = id;
        view.slots = record.slot + 1;
        match record.body {
            Body::Epoch => {
                view.epochs |= bit;
                view.epoch_run = Some(record.run);
            }
            Body::Fork(_) | Body::ForkEnded => {
                view.epochs |= bit;
                view.epoch_run = None;
                view.fork = match record.body {
                    Body::Fork(point) => Some(point),
                    _ => None,
                };
            }
            Body::Checkpoint(_) => view.checkpoints |= bit,
            Body::Point(_) => {
                view.points |= bit;
                view.superseded |= view.checkpoints;
                view.checkpoints = 0;
            }
            Body::Upkeep(upkeep) => {
                view.upkeeps |= bit;
                view.upkeep = upkeep;
                let kept = !upkeep.gaps;
                view.points &= kept;
                view.checkpoints &= kept;
                view.superseded &= kept;
                view.upkeeps &= kept;
                view.epochs &= kept;
            }
        }
        view
    }

    /// Whether a writer died, or still runs, since the newest point.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        highest(self.epochs) > highest(self.points)
    }
}

/// All records that any history made.
pub struct Arena {
    records: Vec<(Record, View)>,
    known: HashMap<Record, RecordId>,
}

impl Default for Arena {
    fn default() -> Self {
        let nothing =
            Record { slot: 0, previous: RecordId::NONE, run: UPKEEP_RUN, body: Body::Epoch };
        Self { records: vec![(nothing, View::default())], known: HashMap::new() }
    }
}

impl Arena {
    /// The record with this content.
    pub fn record(&mut self, previous: RecordId, run: u8, body: Body) -> RecordId {
        let slot = self.view(previous).slots;
        let record = Record { slot, previous, run, body };
        if let Some(known) = self.known.get(&record) {
            return *known;
        }
        let id =
            RecordId(u32::try_from(self.records.len()).expect("far fewer records than states"));
        let view = self.view(previous).after(id, &record);
        self.records.push((record, view));
        self.known.insert(record, id);
        id
    }

    /// What it says.
    #[must_use]
    pub fn get(&self, id: RecordId) -> &Record {
        &self.records[id.0 as usize].0
    }

    /// What the chain says as of it.
    #[must_use]
    pub fn view(&self, id: RecordId) -> &View {
        &self.records[id.0 as usize].1
    }

    /// The frames that the record in a slot of a chain reaches.
    #[must_use]
    pub fn reach(&self, view: &View, slot: u8) -> Set {
        match self.get(view.path[usize::from(slot)]).body {
            Body::Point(reach) | Body::Checkpoint(reach) => reach,
            Body::Epoch | Body::Upkeep(_) | Body::Fork(_) | Body::ForkEnded => 0,
        }
    }

    /// The frames that the records in these slots of a chain reach.
    #[must_use]
    pub fn reach_all(&self, view: &View, slots: Set) -> Set {
        numbers(slots).fold(0, |all, slot| all | self.reach(view, slot))
    }

    /// Whether a record is part of the chain that ends with `head`.
    #[must_use]
    pub fn is_in(&self, id: RecordId, head: RecordId) -> bool {
        self.view(head).path[usize::from(self.get(id).slot)] == id
    }
}

/// The name of a segment: its run's letter and its number.
#[must_use]
pub fn segment_name(segment: u8) -> String {
    let run = char::from(b"abcy"[usize::from(segment / 2).min(3)]);
    format!("{run}{}", segment % 2)
}

/// The names of segments.
#[must_use]
pub fn segment_names(segments: Set) -> String {
    numbers(segments).map(segment_name).collect::<Vec<_>>().join(" ")
}

/// The names of frames: their segment's, with an apostrophe for the second one.
#[must_use]
pub fn frame_names(frames: Set) -> String {
    let name = |frame: u8| {
        let second = if frame % 2 == 1 { "'" } else { "" };
        format!("{}{second}", segment_name(frame / 2))
    };
    numbers(frames).map(name).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = char::from(b"ABC"[usize::from(self.run).min(2)]);
        match self.body {
            Body::Epoch => write!(f, "{}:Epoch({run})", self.slot),
            Body::Fork(point) => write!(f, "{}:Fork(at {point})", self.slot),
            Body::ForkEnded => write!(f, "{}:ForkEnded", self.slot),
            Body::Checkpoint(reach) => {
                write!(f, "{}:Checkpoint({run}: {})", self.slot, frame_names(reach))
            }
            Body::Point(reach) => write!(f, "{}:Point({run}: {})", self.slot, frame_names(reach)),
            Body::Upkeep(upkeep) => {
                let gaps: Vec<_> = numbers(upkeep.gaps).map(|slot| slot.to_string()).collect();
                write!(f, "{}:Upkeep(gaps {}", self.slot, gaps.join(" "))?;
                if upkeep.condemned != 0 {
                    write!(f, ", condemned {}", segment_names(upkeep.condemned))?;
                }
                if upkeep.moved != 0 {
                    let carried = frame_names(upkeep.carried);
                    write!(f, ", moved {} with {carried}", segment_names(upkeep.moved))?;
                }
                f.write_str(")")
            }
        }
    }
}
