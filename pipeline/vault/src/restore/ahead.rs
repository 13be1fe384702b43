//! What a restore must know before it fetches the first block, learnt in as few round trips as the order of things allows:
//! far away, each costs as much as a megabyte.
//!
//! What can be asked before a key is at hand is asked while the ring is read, by a store with a head start. The chain is read
//! while segments are listed. The map is read while the point is pinned, and so are the first segments that were made for this
//! point; all other content is fetched while the point is looked at again. What is fetched opens and is what the map says or it
//! does not, whatever a collector does meanwhile. Nothing is written before that look.

use std::sync::Arc;

use pipeline::ids::ServerId;

use super::early::Early;
use super::gate::Gate;
use super::{Objects, Options, check_point};
use crate::access::Access;
use crate::chain::Link;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::parallel;
use crate::pins::{Pin, pin_only, still_there};
use crate::points::{ChainView, LookAgain, read_chain};
use crate::record::DiskState;

/// What is known of a server's objects beside its chain.
pub struct Ahead {
    objects: Objects,
    /// The store's clock before that.
    now: u64,
}

/// A disk of a point that is pinned for as long as this is kept, and whose map was read.
pub struct Prepared {
    /// The pin; dropping it ends it.
    pub pin: Option<Pin>,
    /// Why there is no pin: the store or the keys let this reader only read.
    pub unpinned: Option<Error>,
    pub(super) frames: Arc<FrameReader>,
    pub(super) objects: Objects,
    pub(super) disk: DiskState,
    pub(super) gate: Arc<Gate>,
    pub(super) early: Arc<Early>,
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

/// Pins the point and reads the map of its disk, with so many bytes of memory for pages. `reader` says who reads. Whether the
/// point is still there behind the pin is found out meanwhile: a restore writes nothing before.
///
/// Errors: what `restore_disk` says before it writes.
pub fn prepare(
    access: &Access,
    view: &ChainView,
    ahead: Ahead,
    (point, disk): (Link, &DiskState),
    (reader, cache_bytes): (&str, usize),
    options: &Options,
) -> Result<Prepared, Error> {
    let frames = Arc::new(FrameReader::new(access, view.server, &view.upkeep, cache_bytes)?);
    let Ahead { objects, now } = ahead;
    let early = Early::begin(access, &frames, &point, &objects, options);
    let threads = access.store.parallel();
    let pinned_and_looked = || {
        let pinned = pin_only(access, view.server, &point, reader, now)?;
        let look = Look {
            access: access.clone(),
            before: view.look_again(),
            point: point.clone(),
            frames: Arc::clone(&frames),
            disk: disk.clone(),
            options: options.clone(),
        };
        Ok::<_, Error>((pinned, look.begin(threads)?))
    };
    let (pinned, checked) = parallel::both(threads, pinned_and_looked, || {
        check_point(&frames, disk, options, &objects)
    });
    let ((pin, unpinned), gate) = pinned?;
    let objects = match checked {
        // Perhaps only since something was moved, which the look has found out by itself.
        Err(_) if gate.moved()?.is_some() => objects,
        // Or since they were listed before this point was there.
        Err(_) => {
            let objects = Objects::list(access, view.server)?;
            check_point(&frames, disk, options, &objects)?;
            objects
        }
        Ok(()) => objects,
    };
    Ok(Prepared { pin, unpinned, frames, objects, disk: disk.clone(), gate, early })
}

/// A look at a chain behind a pin.
struct Look {
    access: Access,
    before: LookAgain,
    point: Link,
    frames: Arc<FrameReader>,
    disk: DiskState,
    options: Options,
}

impl Look {
    /// Begins it, beside what else is asked where the store takes several calls at once.
    fn begin(self, threads: usize) -> Result<Arc<Gate>, Error> {
        let gate = Arc::new(Gate::default());
        if threads <= 1 {
            gate.settle(self.found());
            return Ok(gate);
        }
        let theirs = Arc::clone(&gate);
        std::thread::Builder::new()
            .name("look".to_owned())
            .spawn(move || {
                let keeper = theirs.keeper();
                keeper.settle(self.found());
            })
            .map_err(|error| Error::device("this machine", format!("starts no thread: {error}")))?;
        Ok(gate)
    }

    /// The server's objects, where upkeep came in between: what it moved lies elsewhere, in objects that were not listed yet.
    fn found(self) -> Result<Option<Objects>, Error> {
        let upkeep = self.before.upkeep_now(&self.access)?;
        still_there(&self.point, &upkeep)?;
        if upkeep == self.before.upkeep {
            return Ok(None);
        }
        self.frames.relocate(&upkeep);
        let objects = Objects::list(&self.access, self.frames.server())?;
        check_point(&self.frames, &self.disk, &self.options, &objects)?;
        Ok(Some(objects))
    }
}
