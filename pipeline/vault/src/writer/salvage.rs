//! Finds what an interrupted run had sent after its last checkpoint: finished segments that no record names.
//!
//! Their sealed tables carry the fingerprints of their blocks, so that the next run finds the blocks as known
//! and does not send them again. A segment that does not open is nobody's loss: it is left to the collector.

use std::collections::HashSet;

use pipeline::segment::FrameKind;

use super::known_blocks::KnownBlocks;
use crate::chain::Link;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::BlockRef;
use crate::names;
use crate::record::{SegmentRef, Upkeep};
use crate::store::list_all;

/// Clocks of a store's machines may differ by so much, milliseconds.
const CLOCK_SLACK: u64 = 10 * 60 * 1000;

/// Learns the blocks of every segment made since `since` (the store's clock) that no record names.
pub(super) fn salvage(
    frames: &FrameReader,
    known: &KnownBlocks,
    since: u64,
    upkeep: &Upkeep,
    checkpoint: Option<&Link>,
) -> Result<Vec<SegmentRef>, Error> {
    let server = frames.server();
    let named: HashSet<_> = checkpoint
        .and_then(|link| link.record.manifest())
        .map(|manifest| manifest.segments.iter().map(|sent| sent.segment).collect())
        .unwrap_or_default();
    let mut found = Vec::new();
    for facts in list_all(&*frames.access().store, &names::segment_prefix(&server))? {
        let Some(segment) = names::segment_of(&server, &facts.name) else { continue };
        let old = facts.modified.saturating_add(CLOCK_SLACK) < since;
        if old || named.contains(&segment) || upkeep.condemns(&segment) {
            continue;
        }
        let opened = match frames.table(&segment) {
            Ok(opened) if opened.object_bytes == facts.bytes => opened,
            Ok(_) => continue,
            Err(error) => {
                log::warn!("{error}: left to the collector");
                continue;
            }
        };
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
