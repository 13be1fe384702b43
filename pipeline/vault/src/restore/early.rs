//! Segments that are fetched before it is known what is wanted of them.
//!
//! A segment that a point's own record names was made for that point: its map wants what is in it. So the first of them are on
//! their way while the point is pinned and its map is read, a round trip earlier than the map could ask for them. What comes
//! is bytes that mean nothing until a worker takes them: he opens them, and checks them by the map, as if he had asked himself.
//! What does not come, he asks for himself, and says why it fails.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use pipeline::ids::{SegmentId, ServerId};
use pipeline::limits::SEGMENT_BYTES_MAX;

use super::fetch::read_whole;
use super::{Objects, Options};
use crate::access::Access;
use crate::chain::Link;
use crate::frames::FrameReader;
use crate::names;

/// So many, of at most 8 MiB each: what a link of 150 ms and some gigabits brings in a round trip.
const SEGMENTS_MAX: usize = 4;

/// What is fetched early: nothing where it is on its way.
#[derive(Default)]
pub(super) struct Early {
    segments: Mutex<HashMap<SegmentId, Option<Object>>>,
    came: Condvar,
}

/// A segment's object: its length, and a buffer with room for any segment.
pub(crate) type Object = (usize, Vec<u8>);

impl Early {
    /// Begins to fetch what a point is sure to want of a store far away. Onto a target that holds something already nobody
    /// knows that, nor what of it one disk of several wants.
    pub(super) fn begin(
        access: &Access,
        frames: &FrameReader,
        point: &Link,
        objects: &Objects,
        options: &Options,
    ) -> Arc<Self> {
        let early = Arc::new(Self::default());
        let disks = point.record.point().map_or(0, |manifest| manifest.disks.len());
        if options.compare || disks != 1 || access.store.is_near() || access.store.parallel() <= 1 {
            return early;
        }
        let named = point.record.segments().iter().map(|named| named.segment);
        let here = named.filter_map(|segment| {
            let bytes = *objects.0.get(&segment)?;
            let unmoved = frames.holders(&segment) == [segment];
            (unmoved && bytes <= SEGMENT_BYTES_MAX).then_some((segment, bytes))
        });
        for (segment, bytes) in here.take(SEGMENTS_MAX) {
            early.lock().insert(segment, None);
            let coming = Coming { early: Arc::clone(&early), segment };
            let (access, server) = (access.clone(), frames.server());
            let spawned = std::thread::Builder::new().name("early".to_owned());
            // Who cannot start a thread, lets go of it.
            drop(spawned.spawn(move || coming.fetch(&access, server, bytes)));
        }
        early
    }

    /// Takes a segment, waiting where it is on its way; nothing where it was not fetched early.
    pub(super) fn take(&self, segment: &SegmentId) -> Option<Object> {
        let on_its_way = |segments: &mut HashMap<SegmentId, Option<Object>>| {
            segments.get(segment).is_some_and(Option::is_none)
        };
        let waited = self.came.wait_while(self.lock(), on_its_way);
        waited.unwrap_or_else(PoisonError::into_inner).remove(segment).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SegmentId, Option<Object>>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One segment on its way; where it ends without coming, nobody waits for it.
struct Coming {
    early: Arc<Early>,
    segment: SegmentId,
}

impl Coming {
    fn fetch(self, access: &Access, server: ServerId, bytes: usize) {
        // Room for any: it takes the place of a worker's own buffer. What is not written to takes no memory.
        let mut object = vec![0; SEGMENT_BYTES_MAX];
        let name = names::segment(&server, &self.segment);
        if read_whole(&*access.store, &name, &mut object[..bytes]).is_ok() {
            self.early.lock().insert(self.segment, Some((bytes, object)));
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut segments = self.early.lock();
        if segments.get(&self.segment).is_some_and(Option::is_none) {
            segments.remove(&self.segment);
        }
        drop(segments);
        self.early.came.notify_all();
    }
}
