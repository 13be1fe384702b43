//! What is live and what is there: the pins, the listed segments, and a walk from everything that is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pipeline::ids::SegmentId;

use super::session::{Session, Stop};
use super::{Report, Scope};
use crate::chain::read_slot;
use crate::error::{Blame, Error};
use crate::frames::FrameReader;
use crate::index::Summary;
use crate::live::{Class, Live};
use crate::map::Root;
use crate::names;
use crate::parallel;
use crate::pins::{self, Found};
use crate::record::Upkeep;
use crate::store::{ObjectFacts, list_all};

/// A point that stays longer than this is for the class of frames that live long, milliseconds.
const LONG: u64 = 7 * 24 * 3_600_000;

/// What is live and what is there.
pub(super) struct Survey {
    pub(super) frames: FrameReader,
    pub(super) live: Live,
    /// Segments that are there, by name of their objects.
    pub(super) objects: HashMap<SegmentId, ObjectFacts>,
    /// Pins that count.
    pub(super) pins: Vec<Found>,
    /// Names of pins that do not count any more.
    pub(super) expired: Vec<String>,
    /// Objects whose tables were looked at.
    tables: HashMap<SegmentId, Seen>,
    /// Slots whose maps were walked.
    walked: BTreeSet<u64>,
    /// Only segments made since then by the store's clock are known, 0 where all are.
    since: u64,
}

/// What an object's table said.
struct Seen {
    /// How many frames of its residents were live then, wherever they are.
    live: u64,
    /// Whether one of them is in it.
    holds: bool,
}

impl Seen {
    /// Live frames only become more while a run looks: what held one still does, and nothing new is nothing new.
    fn is_sure(&self, live: u64) -> bool {
        self.holds || self.live == live
    }
}

impl Session<'_> {
    /// Looks at the pins after the chain, lists the segments, walks what is kept.
    pub(super) fn survey(&self, report: &mut Report) -> Result<Survey, Stop> {
        let now = self.access.store.now()?;
        let upkeep = &self.roster.upkeep;
        let cache_bytes = self.options.cache_bytes_max;
        let frames = FrameReader::new(&self.access, self.server, upkeep, cache_bytes)?;
        let (live, since) = match self.options.scope {
            Scope::Whole => (Live::new(), 0),
            Scope::Recent(length) => {
                let entries = self.roster.entries.values().filter_map(|entry| entry.summary());
                let segments = entries.flat_map(|summary| summary.segments.iter().copied());
                (Live::within(segments.collect()), now.saturating_sub(length).max(1))
            }
        };
        let mut survey = Survey {
            frames,
            live,
            objects: HashMap::new(),
            pins: Vec::new(),
            expired: Vec::new(),
            tables: HashMap::new(),
            walked: BTreeSet::new(),
            since,
        };
        survey.look_at_pins(self)?;
        for facts in list_all(&*self.access.store, &names::segment_prefix(&self.server))? {
            if let Some(segment) = names::segment_of(&self.server, &facts.name) {
                survey.objects.insert(segment, facts);
            }
        }
        report.segments = survey.objects.len() as u64;
        report.segment_bytes = survey.objects.values().map(|facts| facts.bytes).sum();
        survey.walk_all(self)?;
        Ok(survey)
    }
}

impl Survey {
    /// Reads the pins anew.
    pub(super) fn look_at_pins(&mut self, session: &Session<'_>) -> Result<(), Error> {
        let now = session.access.store.now()?;
        let found = pins::list(&session.access, &session.server)?;
        let (pins, expired): (Vec<_>, Vec<_>) = found.into_iter().partition(|pin| pin.is_live(now));
        self.pins = pins;
        self.expired = expired.into_iter().map(|pin| pin.name).collect();
        Ok(())
    }

    /// Walks what lives longest first, so that every frame gets its class.
    fn walk_all(&mut self, session: &Session<'_>) -> Result<(), Stop> {
        let plan = session.plan()?;
        let newest = session.roster.newest_point();
        let mut classes: Vec<(u64, Class)> = Vec::new();
        for point in &plan.points {
            if session.options.dry_run && !point.fate.is_kept() {
                self.walked.insert(point.slot);
                continue;
            }
            let long = point.fate.until > plan.now.saturating_add(LONG);
            let class = match Some(point.slot) == newest {
                true => Class::Newest,
                false if long => Class::Long,
                false => Class::Soon,
            };
            classes.push((point.slot, class));
        }
        classes
            .extend(session.roster.checkpoints().next_back().map(|(e, _)| (e.slot, Class::Newest)));
        for class in Class::ALL {
            let slots: Vec<u64> =
                classes.iter().filter(|(_, of)| *of == class).map(|(slot, _)| *slot).collect();
            self.walk_slots(session, &slots, class)?;
        }
        self.walk_pinned(session)?;
        Ok(())
    }

    /// Walks what was published since.
    pub(super) fn extend(&mut self, session: &Session<'_>) -> Result<(), Error> {
        self.frames.relocate(&session.roster.upkeep);
        let points = session.roster.points().map(|(entry, _)| entry.slot);
        let checkpoint = session.roster.checkpoints().next_back().map(|(entry, _)| entry.slot);
        let new: Vec<u64> =
            points.chain(checkpoint).filter(|slot| !self.walked.contains(slot)).collect();
        for slot in &new {
            let summary = session.roster.entries.get(slot).and_then(|entry| entry.summary());
            for segment in summary.iter().flat_map(|summary| &summary.segments) {
                self.live.widen(*segment);
            }
        }
        self.walk_slots(session, &new, Class::Newest)?;
        self.walk_pinned(session)
    }

    fn walk_slots(
        &mut self,
        session: &Session<'_>,
        slots: &[u64],
        class: Class,
    ) -> Result<(), Error> {
        let summaries = slots.iter().filter_map(|slot| session.roster.entries.get(slot)?.summary());
        let roots: Vec<Root> = summaries.flat_map(roots_of).collect();
        let threads = session.access.store.parallel();
        self.live.walk(&self.frames, roots, class, threads)?;
        self.walked.extend(slots);
        Ok(())
    }

    /// Pinned points that were pruned are as good as kept ones.
    fn walk_pinned(&mut self, session: &Session<'_>) -> Result<(), Error> {
        let pinned: Vec<(u64, pipeline::ids::PointId)> = self
            .pins
            .iter()
            .filter_map(|pin| pin.pin.as_ref().map(|pin| (pin.slot, pin.point)))
            .filter(|(slot, _)| !self.walked.contains(slot))
            .filter(|(slot, _)| session.roster.upkeep.gap_of(*slot).is_some())
            .collect();
        for (slot, id) in pinned {
            let link = match read_slot(&session.access, &session.server, slot) {
                Ok(link) => link,
                Err(error) if error.blame == Blame::Device => return Err(error),
                Err(error) => {
                    // Its reader looked at the chain after pinning and was told that the point is gone.
                    log::warn!("{error}: the pin on it came too late");
                    self.walked.insert(slot);
                    continue;
                }
            };
            if let Some(manifest) = link.record.point().filter(|manifest| manifest.id == id) {
                let roots: Vec<Root> = manifest.disks.iter().map(|disk| disk.root).collect();
                let threads = session.access.store.parallel();
                self.live.walk(&self.frames, roots, Class::Soon, threads)?;
            }
            self.walked.insert(slot);
        }
        Ok(())
    }

    /// The objects that hold live frames now. Where the frames of a segment are in one object, its live frames are
    /// there; where they were spread over several, the tables tell which of these hold live ones.
    pub(super) fn needed(&mut self, upkeep: &Upkeep) -> Result<HashSet<SegmentId>, Error> {
        let moved = moved(upkeep);
        let mut needed = HashSet::new();
        let mut spread: BTreeMap<SegmentId, u64> = BTreeMap::new();
        for segment in self.live.segments() {
            match moved.get(segment).map(|into| &into[..]) {
                None => drop(needed.insert(*segment)),
                Some([holder]) => drop(needed.insert(*holder)),
                Some(holders) => {
                    let live = u64::from(self.live.count(segment));
                    holders.iter().for_each(|holder| *spread.entry(*holder).or_default() += live);
                }
            }
        }
        let unseen: Vec<(SegmentId, u64)> = spread
            .into_iter()
            .filter(|(holder, live)| {
                !self.tables.get(holder).is_some_and(|seen| seen.is_sure(*live))
            })
            .collect();
        let threads = self.frames.access().store.parallel();
        let holds =
            parallel::each(&unseen, threads, |(holder, _)| self.holds_live(&moved, holder))?;
        for ((holder, live), holds) in unseen.into_iter().zip(holds) {
            self.tables.insert(holder, Seen { live, holds });
        }
        for segment in self.live.segments() {
            let Some(holders) = moved.get(segment).filter(|into| into.len() > 1) else { continue };
            let holds =
                |holder: &&SegmentId| self.tables.get(holder).is_some_and(|seen| seen.holds);
            let before = needed.len();
            needed.extend(holders.iter().filter(holds));
            if needed.len() == before && !holders.iter().any(|holder| needed.contains(holder)) {
                // Its live frames are in none of them: that is damage, and no reason to delete any.
                needed.extend(holders.iter());
            }
        }
        Ok(needed)
    }

    /// Whether a live frame is at home in an object; in doubt it is.
    fn holds_live(
        &self,
        moved: &HashMap<SegmentId, &Vec<SegmentId>>,
        holder: &SegmentId,
    ) -> Result<bool, Error> {
        let opened = match self.frames.table(holder) {
            Ok(opened) => opened,
            Err(error) if error.blame == Blame::Device => return Err(error),
            Err(error) => {
                log::warn!("{error}: it is kept");
                return Ok(true);
            }
        };
        Ok(opened.table.entries().any(|entry| {
            let home = moved.get(&entry.address.segment).is_some_and(|into| into.contains(holder));
            home && self.live.class(entry.address).is_some()
        }))
    }

    /// Whether everything is known of who names the frames of a segment.
    pub(super) fn is_exact(&self, segment: &SegmentId) -> bool {
        let young = || self.objects.get(segment).is_some_and(|facts| facts.modified >= self.since);
        self.live.knows(segment) && (self.since == 0 || young())
    }

    /// When the first reader began that may still count on what was condemned since.
    pub(super) fn oldest_reader(&self) -> Option<u64> {
        self.pins.iter().map(Found::since).min()
    }
}

/// Where the frames of moved segments are, by the name that maps use.
pub(super) fn moved(upkeep: &Upkeep) -> HashMap<SegmentId, &Vec<SegmentId>> {
    upkeep.relocations.iter().map(|moved| (moved.from, &moved.into)).collect()
}

fn roots_of(summary: &Summary) -> impl Iterator<Item = Root> {
    summary.disks.iter().map(|disk| disk.root)
}
