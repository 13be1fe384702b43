//! Reads the live frames of segments, opens each to see that it is whole, and appends them, sealed as they are, to a new
//! segment of their class.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use pipeline::compress::Decompressor;
use pipeline::flow::LevelPolicy;
use pipeline::ids::{FrameAddress, SegmentId};
use pipeline::limits::EXTENT_BYTES_MAX;
use pipeline::segment::{SegmentIdentity, SegmentWriter};

use super::choose::Chosen;
use crate::error::{Blame, Error};
use crate::frames::{Located, OpenedTable};
use crate::live::Class;
use crate::names;
use crate::parallel;
use crate::record::SegmentRef;
use crate::upkeep::Report;
use crate::upkeep::session::Session;
use crate::upkeep::survey::{Survey, moved};
use crate::writer::upload::Uploader;

/// Segments held in memory at once, bytes.
const BATCH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Buffers for new segments, bytes: one per class, and some on their way.
const BUFFER_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Bytes between two wanted frames that are cheaper to read over than to ask twice.
const RANGE_SLACK: u64 = 128 * 1024;

/// What was carried where; nothing of it is published yet.
#[derive(Default)]
pub(super) struct Carried {
    /// Segments that nobody needs once this is published.
    pub(super) moved: Vec<SegmentId>,
    /// The new segments, durable.
    pub(super) written: Vec<SegmentRef>,
    /// Where frames are now: by the segment that maps name, the lowest ordinal that each new segment has of it.
    places: BTreeMap<SegmentId, BTreeMap<SegmentId, u32>>,
    /// Segments with frames in a moved one, even if none of these is live.
    touched: BTreeSet<SegmentId>,
    frames: HashSet<FrameAddress>,
}

/// The live frames of one segment, read and checked.
struct Staged {
    segment: SegmentId,
    opened: Arc<OpenedTable>,
    frames: Vec<(FrameAddress, Class, Vec<u8>)>,
    touched: Vec<SegmentId>,
}

/// What looking at one segment gave.
enum Look {
    Staged(Staged),
    /// More of it is live than it seemed.
    Dense,
    Damaged(Error),
}

impl Carried {
    /// Live frames of every segment that is concerned: what must not have grown when this is published.
    pub(super) fn counts(&self, survey: &Survey) -> Vec<u32> {
        self.touched.iter().map(|segment| survey.live.count(segment)).collect()
    }

    /// Segments, as maps name them, whose frames are elsewhere now.
    pub(super) fn origins(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.touched.iter().copied()
    }

    /// The new segments that hold frames of one, in ascending order of the ordinals.
    pub(super) fn holders_of(&self, from: &SegmentId) -> Vec<SegmentId> {
        let Some(places) = self.places.get(from) else { return Vec::new() };
        let mut into: Vec<(u32, SegmentId)> =
            places.iter().map(|(into, first)| (*first, *into)).collect();
        into.sort_unstable();
        into.into_iter().map(|(_, into)| into).collect()
    }
}

impl Session<'_> {
    /// Carries what is live of the chosen segments; everything that was written is durable afterwards.
    pub(super) fn carry(
        &self,
        survey: &Survey,
        chosen: &[Chosen],
        report: &mut Report,
    ) -> Result<Carried, Error> {
        let policy = LevelPolicy::default();
        let uploader = Uploader::new(&self.access, self.server, BUFFER_BYTES_MAX, 1, policy);
        std::thread::scope(|scope| {
            for _ in 0..uploader.threads().min(4) {
                scope.spawn(|| uploader.send_until_closed());
            }
            let carried = self.carry_with(survey, chosen, &uploader, report);
            uploader.close();
            carried
        })
    }

    fn carry_with(
        &self,
        survey: &Survey,
        chosen: &[Chosen],
        uploader: &Uploader,
        report: &mut Report,
    ) -> Result<Carried, Error> {
        let mut carried = Carried::default();
        let mut lanes: HashMap<Class, SegmentWriter<Vec<u8>>> = HashMap::new();
        let mut rest = chosen;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |chosen: &&Chosen| {
                bytes += chosen.bytes;
                bytes <= BATCH_BYTES_MAX
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (batch, later) = rest.split_at(count);
            rest = later;
            let threads = self.access.store.parallel();
            for look in parallel::each(batch, threads, |chosen| self.look(survey, chosen))? {
                match look {
                    Look::Staged(staged) => {
                        self.append(staged, uploader, &mut lanes, &mut carried)?;
                    }
                    Look::Dense => {}
                    Look::Damaged(error) => {
                        report.segments_damaged += 1;
                        report.trouble(&error);
                    }
                }
            }
        }
        for (_, lane) in lanes {
            uploader.send(lane.finish())?;
        }
        carried.written = uploader.drain()?;
        Ok(carried)
    }

    /// Reads and opens the live frames of one segment.
    fn look(&self, survey: &Survey, chosen: &Chosen) -> Result<Look, Error> {
        match self.stage(survey, chosen) {
            Ok(Some(staged)) => Ok(Look::Staged(staged)),
            Ok(None) => Ok(Look::Dense),
            Err(error) if error.blame == Blame::Corrupt => Ok(Look::Damaged(error)),
            Err(error) => Err(error),
        }
    }

    fn stage(&self, survey: &Survey, chosen: &Chosen) -> Result<Option<Staged>, Error> {
        let opened = survey.frames.table(&chosen.segment)?;
        let moved = moved(&self.roster.upkeep);
        let is_home = |segment: &SegmentId| match moved.get(segment) {
            Some(into) => into.contains(&chosen.segment),
            None => *segment == chosen.segment,
        };
        let mut wanted: Vec<(Located, Class)> = Vec::new();
        let mut touched = BTreeSet::new();
        let (mut live_bytes, mut all_bytes) = (0, 0);
        for entry in opened.table.entries() {
            all_bytes += entry.sealed_bytes as u64;
            if !is_home(&entry.address.segment) {
                continue;
            }
            touched.insert(entry.address.segment);
            if let Some(class) = survey.live.class(entry.address) {
                live_bytes += entry.sealed_bytes as u64;
                wanted.push((survey.frames.located(&chosen.segment, &opened, &entry), class));
            }
        }
        let percent = u64::from(self.options.live_percent_min);
        if !chosen.small && live_bytes * 100 >= all_bytes * percent {
            return Ok(None);
        }
        let frames = self.fetch(survey, &chosen.segment, wanted)?;
        let touched = touched.into_iter().collect();
        Ok(Some(Staged { segment: chosen.segment, opened, frames, touched }))
    }

    /// Reads frames in few ranges and opens each.
    fn fetch(
        &self,
        survey: &Survey,
        segment: &SegmentId,
        mut wanted: Vec<(Located, Class)>,
    ) -> Result<Vec<(FrameAddress, Class, Vec<u8>)>, Error> {
        let name = names::segment(&self.server, segment);
        wanted.sort_unstable_by_key(|(located, _)| located.offset);
        let mut frames = Vec::with_capacity(wanted.len());
        let mut decompressor = Decompressor::new();
        let mut plain = vec![0; EXTENT_BYTES_MAX];
        let mut rest = &wanted[..];
        while let Some((first, _)) = rest.first() {
            let start = first.offset;
            let mut end = start;
            let near = |(located, _): &&(Located, Class)| {
                let near = located.offset <= end.max(start) + RANGE_SLACK;
                end = located.offset + located.sealed_bytes as u64;
                near
            };
            let count = rest.iter().take_while(near).count();
            let last = &rest[count - 1].0;
            let length = last.offset + last.sealed_bytes as u64 - start;
            let length = usize::try_from(length)
                .map_err(|_| Error::corrupt(&name, "is larger than any segment"))?;
            let mut bytes = vec![0; length];
            self.access.store.read(&name, start, &mut bytes)?;
            for (located, class) in &rest[..count] {
                let at = usize::try_from(located.offset - start).expect("inside the range read");
                let sealed = bytes[at..at + located.sealed_bytes].to_vec();
                // Opening decrypts in place: the bytes to carry are a copy.
                let mut scratch = sealed.clone();
                survey.frames.open(located, &mut scratch, &mut plain, &mut decompressor)?;
                frames.push((located.address, *class, sealed));
            }
            rest = &rest[count..];
        }
        Ok(frames)
    }

    fn append(
        &self,
        staged: Staged,
        uploader: &Uploader,
        lanes: &mut HashMap<Class, SegmentWriter<Vec<u8>>>,
        carried: &mut Carried,
    ) -> Result<(), Error> {
        for (address, class, bytes) in staged.frames {
            if !carried.frames.insert(address) {
                continue;
            }
            let full = lanes.get(&class).is_some_and(|lane| !lane.has_room(bytes.len()));
            if full && let Some(lane) = lanes.remove(&class) {
                uploader.send(lane.finish())?;
            }
            let lane = match lanes.entry(class) {
                std::collections::hash_map::Entry::Occupied(lane) => lane.into_mut(),
                std::collections::hash_map::Entry::Vacant(lane) => {
                    lane.insert(self.begin(uploader)?)
                }
            };
            let bad = |error: pipeline::error::Error| {
                Error::corrupt(names::segment(&self.server, &staged.segment), error.to_string())
            };
            let frame = staged.opened.table.sealed_frame(address, &bytes).map_err(bad)?;
            lane.append_sealed(&frame).map_err(bad)?;
            let into = lane.identity().segment;
            let first = carried.places.entry(address.segment).or_default().entry(into);
            let lowest = first.or_insert(address.ordinal);
            *lowest = address.ordinal.min(*lowest);
        }
        carried.touched.extend(staged.touched);
        carried.moved.push(staged.segment);
        Ok(())
    }

    fn begin(&self, uploader: &Uploader) -> Result<SegmentWriter<Vec<u8>>, Error> {
        let (key_epoch, key) =
            self.access.keys.newest_record_key(&self.server).ok_or_else(|| {
                Error::misuse(self.server.to_string(), "the keys at hand cannot write for it")
            })?;
        let mut salt = [0; 32];
        self.access.fill(&mut salt)?;
        let identity = SegmentIdentity {
            vault: self.access.vault,
            server: self.server,
            segment: SegmentId(self.access.random_id()?),
            key_epoch,
            salt,
        };
        Ok(SegmentWriter::new(uploader.buffer()?, identity, &key))
    }
}
