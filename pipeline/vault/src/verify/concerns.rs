//! What damage costs: which points, which disks, which ranges. Walked only where something is wrong.

use core::sync::atomic::Ordering;
use std::collections::BTreeMap;

use pipeline::ids::{FrameAddress, SegmentId};
use pipeline::limits::BLOCK_BYTES;

use super::chain::ChainState;
use super::findings::{Finding, Findings};
use super::pages::PageSet;
use super::report::Concern;
use super::{Options, parallel};
use crate::access::Access;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{Child, Entry, LEAF_BLOCKS, PageSource, blocks_of, height_of, leaves_per_child};
use crate::points::read_chain_leniently;
use crate::record::{DiskState, Manifest};

/// Ranges that are named one by one for one object, point and disk.
const RANGES_MAX: usize = 16;

/// What each bad segment costs.
pub(crate) type Costs = BTreeMap<SegmentId, Vec<Concern>>;

/// Walks the points that are still kept and notes where they need something bad.
pub(crate) fn of(
    access: &Access,
    frames: &FrameReader,
    chain: &ChainState,
    findings: &Findings,
    options: &Options,
) -> Result<Costs, Error> {
    let bad = findings.segments();
    let mut walk = Walk { frames, bad, clean: PageSet::default(), costs: Costs::new(), options };
    if walk.bad.is_empty() {
        return Ok(walk.costs);
    }
    // Hours may have passed: what was pruned or moved meanwhile is nobody's loss.
    let (now, _) = read_chain_leniently(access, frames.server())?;
    frames.relocate(&now.upkeep);
    for (link, manifest) in chain.manifests() {
        if now.upkeep.gap_of(link.record.slot).is_some() {
            continue;
        }
        for disk in &manifest.disks {
            walk.disk(manifest, disk)?;
        }
    }
    Ok(walk.costs)
}

struct Walk<'a> {
    frames: &'a FrameReader,
    bad: BTreeMap<SegmentId, Finding>,
    /// Pages below which nothing is wrong.
    clean: PageSet,
    costs: Costs,
    options: &'a Options,
}

/// The disk that is being walked.
struct Place<'a> {
    point: &'a Manifest,
    disk: &'a DiskState,
}

impl Walk<'_> {
    fn disk(&mut self, point: &Manifest, disk: &DiskState) -> Result<(), Error> {
        if disk.root.height != height_of(blocks_of(disk.bytes)) {
            return Ok(());
        }
        self.child(&Place { point, disk }, disk.root.top, disk.root.height, 0).map(|_| ())
    }

    /// True where nothing is wrong with the subtree.
    fn child(
        &mut self,
        place: &Place<'_>,
        child: Child,
        level: u8,
        first_leaf: u64,
    ) -> Result<bool, Error> {
        let Child::Page(page) = child else { return Ok(true) };
        if self.clean.contains(&page, level) {
            return Ok(true);
        }
        if self.options.stop.load(Ordering::Relaxed) {
            return Err(parallel::stopped());
        }
        let blocks = leaves_per_child(level.saturating_add(1)).saturating_mul(LEAF_BLOCKS);
        let first = first_leaf.saturating_mul(LEAF_BLOCKS);
        if let Some(segment) = self.culprit(page.address) {
            self.note(segment, place, first, blocks);
            return Ok(false);
        }
        let mut clean = true;
        if level == 0 {
            // A page that went bad only now is the next run's finding.
            let Ok(leaf) = self.frames.leaf(&page) else { return Ok(false) };
            for (block, entry) in (first..).zip(&leaf.entries) {
                if let Entry::Data(data) = entry
                    && let Some(segment) = self.culprit(data.address)
                {
                    self.note(segment, place, block, 1);
                    clean = false;
                }
            }
        } else {
            let Ok(inner) = self.frames.inner(&page, level) else { return Ok(false) };
            let mut leaf = first_leaf;
            for child in inner.children {
                clean &= self.child(place, child, level - 1, leaf)?;
                leaf = leaf.saturating_add(leaves_per_child(level));
            }
        }
        if clean {
            self.clean.insert(&page, level);
        }
        Ok(clean)
    }

    /// The bad segment that a frame would have to come from.
    fn culprit(&self, address: FrameAddress) -> Option<SegmentId> {
        let mut suspect = None;
        if let Some(finding) = self.bad.get(&address.segment)
            && finding.frames.contains(&address)
        {
            return Some(address.segment);
        }
        let holders = self.frames.holders(&address.segment);
        if holders.iter().all(|holder| !self.bad.contains_key(holder)) {
            return None;
        }
        for holder in holders {
            let finding = self.bad.get(&holder);
            if finding.is_some_and(|finding| finding.whole) {
                suspect = suspect.or(Some(holder));
            } else if self
                .frames
                .table(&holder)
                .is_ok_and(|opened| opened.table.find(address).is_some())
            {
                let bad = finding.is_some_and(|finding| finding.frames.contains(&address));
                return bad.then_some(holder);
            }
        }
        suspect
    }

    fn note(&mut self, segment: SegmentId, place: &Place<'_>, first: u64, blocks: u64) {
        let block = BLOCK_BYTES as u64;
        let start = first.saturating_mul(block).min(place.disk.bytes);
        let end = first.saturating_add(blocks).saturating_mul(block).min(place.disk.bytes);
        if start == end {
            return;
        }
        let concerns = self.costs.entry(segment).or_default();
        let point = place.point.id.to_string();
        let known = concerns
            .iter_mut()
            .rposition(|known| known.point == point && known.disk == place.disk.name);
        let at = known.unwrap_or_else(|| {
            concerns.push(Concern {
                point,
                started: place.point.started,
                disk: place.disk.name.clone(),
                bytes: 0,
                ranges: Vec::new(),
            });
            concerns.len() - 1
        });
        let concern = &mut concerns[at];
        concern.bytes = concern.bytes.saturating_add(end - start);
        let room = concern.ranges.len() < RANGES_MAX;
        match concern.ranges.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ if room => concern.ranges.push((start, end)),
            _ => {}
        }
    }
}
