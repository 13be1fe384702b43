//! Finds what an interrupted run had sent after its last checkpoint: finished segments that no record names.
//!
//! Their sealed tables carry the fingerprints of their blocks, so that the next run finds the blocks as known
//! and does not send them again. A segment that does not open is nobody's loss: it is left to the collector.

use std::collections::HashSet;

use pipeline::ids::SegmentId;
use pipeline::segment::FrameKind;

use super::known_blocks::KnownBlocks;
use crate::chain::{Link, read_slot};
use crate::error::{Blame, Error};
use crate::frames::FrameReader;
use crate::map::BlockRef;
use crate::names;
use crate::record::{SegmentRef, Upkeep};
use crate::store::list_all;

/// Clocks of a store's machines may differ by so much, milliseconds.
const CLOCK_SLACK: u64 = 10 * 60 * 1000;

/// Learns the blocks of every segment made since `since` (the store's clock) that no record names.
///
/// What is condemned is the collector's, what was moved lies elsewhere by now, and what compaction wrote holds frames
/// that may be dead: none of these is an interrupted run's.
pub(super) fn salvage(
    frames: &FrameReader,
    known: &KnownBlocks,
    since: u64,
    upkeep: &Upkeep,
    newest: [Option<&Link>; 2],
) -> Result<Vec<SegmentRef>, Error> {
    let server = frames.server();
    let named = named_since(frames, since, newest)?;
    let moved: HashSet<SegmentId> = upkeep.relocations.iter().map(|moved| moved.from).collect();
    let mut found = Vec::new();
    for facts in list_all(&*frames.access().store, &names::segment_prefix(&server))? {
        let Some(segment) = names::segment_of(&server, &facts.name) else { continue };
        let old = facts.modified.saturating_add(CLOCK_SLACK) < since;
        let taken = named.contains(&segment) || moved.contains(&segment);
        if old || taken || upkeep.condemns(&segment) {
            continue;
        }
        let opened = match frames.table(&segment) {
            Ok(opened) if opened.object_bytes == facts.bytes => opened,
            Ok(_) => continue,
            Err(error) if error.blame == Blame::Device => return Err(error),
            Err(error) => {
                log::warn!("{error}: left to the collector");
                continue;
            }
        };
        if opened.table.origins().next().is_some() {
            continue;
        }
        for entry in opened.table.entries().filter(|entry| entry.kind == FrameKind::Data) {
            for (index, fingerprint) in (0_u8..).zip(entry.fingerprints) {
                known.learn(&BlockRef { address: entry.address, index, fingerprint: *fingerprint });
            }
        }
        let bytes = u32::try_from(facts.bytes)
            .map_err(|_| Error::corrupt(&facts.name, "is larger than any segment"))?;
        found.push(SegmentRef { segment, bytes, digest: opened.table.digest() });
    }
    Ok(found)
}

/// Segments that records name which were published since then or a little before: every record names only its own,
/// so the newest point and the newest checkpoint are followed back.
fn named_since(
    frames: &FrameReader,
    since: u64,
    newest: [Option<&Link>; 2],
) -> Result<HashSet<SegmentId>, Error> {
    let mut named = HashSet::new();
    let mut seen = HashSet::new();
    let mut links: Vec<Link> = newest.into_iter().flatten().cloned().collect();
    while let Some(link) = links.pop() {
        let segments = link.record.manifest().map(|manifest| &manifest.segments);
        named.extend(segments.into_iter().flatten().map(|sent| sent.segment));
        if link.record.store_time.saturating_add(2 * CLOCK_SLACK) < since {
            continue;
        }
        let before = [link.record.trail.point, link.record.trail.checkpoint];
        for slot in before.into_iter().flatten().filter(|slot| seen.insert(*slot)) {
            match read_slot(frames.access(), &frames.server(), slot) {
                Ok(link) => links.push(link),
                // Pruned and deleted: whatever it named is older than the collector's grace.
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(named)
}
