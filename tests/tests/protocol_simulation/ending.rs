//! How a history ends: everybody is gone, time passes, upkeep runs alone; what is promised must hold to the last object.

use std::collections::HashSet;

use pipeline::ids::SegmentId;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::map::{Entry, PageSource, walk_leaves};
use pipeline_vault::points::read_chain;
use pipeline_vault::retain::Policy;
use pipeline_vault::store::list_all;
use pipeline_vault::writer::Silent;
use pipeline_vault::{names, upkeep, verify};

use crate::actors::make_point;
use crate::driver::Simulation;
use crate::keys::SERVER;
use crate::rates::Stats;

const DAY: u64 = 24 * 3_600_000;
/// Rounds of upkeep that tidy up whatever a history left.
const ROUNDS: usize = 6;

impl Simulation {
    /// Checks everything, tidies up, and checks everything again.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        self.check_all()?;
        if self.ghost.slots.is_empty() {
            return Ok(());
        }
        self.stats.points = self.ghost.slots.iter().filter(|slot| slot.is_point()).count() as u64;
        let policy = Policy::parse("last=1000").expect("a policy");
        let options = upkeep::Options { compact: false, ..upkeep::Options::default() };
        for _ in 0..ROUNDS {
            self.advance(8 * DAY);
            let report = upkeep::run(&self.healthy, SERVER, &policy, &options)
                .map_err(|error| format!("the last upkeep fails: {error}"))?;
            self.trace.push(format!("the last upkeep: {report:?}"));
            if report.segments_rescued > 0 && !self.stale_pin {
                return Err("the last upkeep rescues what was condemned".to_owned());
            }
            self.learn_chain()?;
        }
        self.check_all()?;
        self.check_litter()?;
        self.verify()?;
        self.protect_once_more()
    }

    fn check_all(&mut self) -> Result<(), String> {
        self.check_chain()?.into_iter().try_for_each(|slot| self.check_point(slot))
    }

    /// What healthy upkeep published since.
    fn learn_chain(&mut self) -> Result<(), String> {
        let first = self.ghost.slots.len() as u64;
        for slot in first.. {
            let name = names::chain_slot(&SERVER, slot);
            let Ok(bytes) = self.healthy.store.read_all(&name, u64::MAX) else { break };
            self.ghost.take(&self.healthy, (&name, &bytes), None)?;
        }
        Ok(())
    }

    /// Every object is needed by something that is kept.
    fn check_litter(&mut self) -> Result<(), String> {
        let view = read_chain(&self.healthy, SERVER).map_err(|error| error.to_string())?;
        let frames = FrameReader::new(&self.healthy, SERVER, &view.upkeep, 1 << 20)
            .map_err(|error| error.to_string())?;
        let newest = view.points().next_back().map(|link| link.record.slot);
        let mut needed: HashSet<SegmentId> = HashSet::new();
        for link in &view.links {
            let Some(manifest) = link.record.manifest() else { continue };
            if link.record.point().is_none() {
                // Checkpoints after the newest point keep what they introduced, reached or not.
                if Some(link.record.slot) > newest {
                    needed.extend(manifest.segments.iter().map(|sent| sent.segment));
                }
            }
            for disk in &manifest.disks {
                walk_leaves(&frames, &disk.root, &mut |visited| {
                    needed.extend(frames.holders(&visited.page.address.segment));
                    if visited.level == 0 {
                        for entry in &frames.leaf(&visited.page)?.entries {
                            if let Entry::Data(block) = entry {
                                needed.extend(frames.holders(&block.address.segment));
                            }
                        }
                    }
                    Ok(true)
                })
                .map_err(|error| error.to_string())?;
            }
        }
        for facts in list_all(&*self.store, "").map_err(|error| error.to_string())? {
            let slot = names::slot_of(&SERVER, &facts.name).ok();
            let segment = names::segment_of(&SERVER, &facts.name);
            let wanted = match (slot, segment) {
                (Some(slot), _) => self.ghost.is_kept(slot),
                (_, Some(segment)) => needed.contains(&segment),
                _ => facts.name.starts_with(&names::day_index_prefix(&SERVER)),
            };
            if !wanted {
                return Err(format!("{} stays for ever although nothing needs it", facts.name));
            }
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), String> {
        let options = verify::Options { workers: 1, ..verify::Options::new(verify::Depth::Deep) };
        let report = verify::run(&self.healthy, &[SERVER], &options, &Silent)
            .map_err(|error| error.to_string())?;
        let mut problems = report.all_problems().map(|problem| format!("{problem:?}"));
        problems.next().map_or(Ok(()), |problem| Err(format!("verifying finds {problem}")))
    }

    /// Whatever happened, the next run makes a point.
    fn protect_once_more(&mut self) -> Result<(), String> {
        let mut content = crate::content::Content::default();
        content.change(&mut self.random);
        let outcome = make_point(&self.healthy, &content, 0)
            .map_err(|error| format!("no point can be made any more: {error}"))?;
        self.learn_chain()?;
        let slot = usize::try_from(outcome.slot).unwrap_or(usize::MAX);
        let published = self.ghost.slots.get_mut(slot).ok_or("the last point is nowhere")?;
        published.content = Some(content);
        self.check_point(outcome.slot)
    }
}

impl crate::ghost::Published {
    pub(crate) fn is_point(&self) -> bool {
        self.link.record.point().is_some()
    }
}

impl Stats {
    /// Adds another history's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.points += other.points;
        self.acknowledged += other.acknowledged;
        self.pruned += other.pruned;
        self.restored += other.restored;
        self.copies += other.copies;
        self.seals += other.seals;
        self.deleted += other.deleted;
        self.moved += other.moved;
    }
}
