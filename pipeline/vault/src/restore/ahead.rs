//! What a restore must know before it fetches the first block, learnt in as few round trips as the order of things allows:
//! far away, each costs as much as a megabyte.
//!
//! What can be asked before a key is at hand is asked while the ring is read, by a store with a head start. The chain is read
//! while segments are listed. The map is read while the point is pinned and looked at again: a page
//! opens or it does not, whatever a collector does meanwhile, and nothing else is fetched before the pin holds.

use pipeline::ids::ServerId;

use super::{Objects, Options, check_point};
use crate::access::Access;
use crate::chain::Link;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::parallel;
use crate::pins::{Pinned, pin_of_view};
use crate::points::{ChainView, read_chain};
use crate::record::DiskState;

/// What is known of a server's objects beside its chain.
pub struct Ahead {
    objects: Objects,
    /// The store's clock before that.
    now: u64,
}

/// A disk of a point that is safe to read for as long as this is kept, and whose map was read.
pub struct Prepared {
    /// The point and its pin.
    pub pinned: Pinned,
    pub(super) frames: FrameReader,
    pub(super) objects: Objects,
    pub(super) disk: DiskState,
}

impl Prepared {
    /// The disk as the point has it.
    #[must_use]
    pub fn disk(&self) -> &DiskState {
        &self.disk
    }

    /// What opens its frames.
    #[must_use]
    pub fn frames(&self) -> &FrameReader {
        &self.frames
    }
}

/// Reads a chain, and lists the server's segments meanwhile.
pub fn read_chain_ahead(access: &Access, server: ServerId) -> Result<(ChainView, Ahead), Error> {
    let threads = access.store.parallel();
    let (chain, ahead) = parallel::both(
        threads,
        || read_chain(access, server),
        || parallel::both(threads, || access.store.now(), || Objects::list(access, server)),
    );
    let (now, objects) = ahead;
    Ok((chain?, Ahead { objects: objects?, now: now? }))
}

/// Pins the point and reads the map of its disk, with so many bytes of memory for pages. `reader` says who reads.
///
/// Errors: the point was pruned in the meantime; what `restore_disk` says before it writes.
pub fn prepare(
    access: &Access,
    view: &ChainView,
    ahead: Ahead,
    (point, disk): (Link, &DiskState),
    (reader, cache_bytes): (&str, usize),
    options: &Options,
) -> Result<Prepared, Error> {
    let frames = FrameReader::new(access, view.server, &view.upkeep, cache_bytes)?;
    let Ahead { mut objects, now } = ahead;
    let (pinned, checked) = parallel::both(
        access.store.parallel(),
        || pin_of_view(access, view, point, reader, now),
        || check_point(&frames, disk, options, &objects),
    );
    let pinned = pinned?;
    if pinned.upkeep == view.upkeep {
        checked?;
    } else {
        // Upkeep came in between: what it moved lies elsewhere, in objects that were not listed yet.
        frames.relocate(&pinned.upkeep);
        objects = Objects::list(access, view.server)?;
        check_point(&frames, disk, options, &objects)?;
    }
    Ok(Prepared { pinned, frames, objects, disk: disk.clone() })
}
