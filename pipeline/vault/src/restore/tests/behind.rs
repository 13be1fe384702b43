//! Promise: beside and behind a pin content is fetched at once, and not a byte of it is written before the point was looked at
//! again.
//!
//! Seen to fail: where the gate lets everybody pass, the target is written during the look; where a failed read is not tried
//! once more, what was moved away is reported as missing.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::time::Instant;

use super::*;
use crate::access::Access;
use crate::names;
use crate::retain::Policy;
use crate::store::{BlobStore, Created, Listing, ObjectFacts};
use crate::test_bed::relocate;
use crate::upkeep;

const BYTES: u64 = 400 * BLOCK + 512;
/// Longer than any machine takes to come so far.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest read of a map.
const MAP_READ_MAX: usize = 1 << 20;

/// What happens in the middle of a look.
type Act = Box<dyn Fn() + Send + Sync>;

/// A store in which something happens between a pin and the look behind it.
struct Between {
    inner: Arc<MemoryStore>,
    act: Act,
    marks: Arc<Marks>,
}

#[derive(Default)]
struct Marks {
    pinned: AtomicBool,
    /// The map was read: from here on content is.
    prepared: AtomicBool,
    /// Content was read.
    fetched: AtomicBool,
    acted: AtomicBool,
    /// Content is read only behind what happens.
    reads_wait: AtomicBool,
}

fn wait_for(mark: &AtomicBool) {
    let began = Instant::now();
    while !mark.load(Ordering::SeqCst) {
        assert!(began.elapsed() < PATIENCE, "that never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Between {
    /// Reads of the map are short; what is long is content, also where it is fetched early.
    fn content<T>(
        &self,
        bytes: usize,
        read: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let late = self.marks.prepared.load(Ordering::SeqCst);
        if late && self.marks.reads_wait.load(Ordering::SeqCst) {
            wait_for(&self.marks.acted);
        }
        let answer = read();
        self.marks.fetched.fetch_or(late || bytes > MAP_READ_MAX, Ordering::SeqCst);
        answer
    }
}

impl BlobStore for Between {
    fn prepare(&self) -> Result<(), Error> {
        self.inner.prepare()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        let created = self.inner.create(name, body)?;
        self.marks.pinned.fetch_or(name.starts_with("pin/"), Ordering::SeqCst);
        Ok(created)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.content(into.len(), || self.inner.read(name, offset, into))
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.content(0, || self.inner.read_all(name, bytes_max))
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.inner.facts(name)
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        let looks = prefix.starts_with("chain/") && self.marks.pinned.load(Ordering::SeqCst);
        if looks && !self.marks.acted.load(Ordering::SeqCst) {
            (self.act)();
            self.marks.acted.store(true, Ordering::SeqCst);
        }
        self.inner.list(prefix, next, limit)
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        self.inner.delete(names)
    }

    fn now(&self) -> Result<u64, Error> {
        self.inner.now()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn parallel(&self) -> usize {
        16
    }
}

/// A vault of one server with two points, the target of a restore of the first, and what is seen of it on the way.
struct Bed {
    inner: Arc<MemoryStore>,
    access: Access,
    first: SimDisk,
    target: SimDisk,
    marks: Arc<Marks>,
}

impl Bed {
    fn new(seed: u64) -> Self {
        let inner = Arc::new(MemoryStore::new());
        let access = access(inner.clone(), seed);
        let (disk, mut random) = (SimDisk::new(BYTES), Random::new(seed));
        scribble(&disk, BYTES, &mut random, 200);
        point(&access, &disk, &writer::Options::default()).expect("a point");
        let first = SimDisk::new(BYTES);
        (0..BYTES.div_ceil(BLOCK)).for_each(|block| {
            let length = usize::try_from(BLOCK.min(BYTES - block * BLOCK)).expect("a block");
            first.load(block * BLOCK, &disk.content(block * BLOCK, length));
        });
        scribble(&disk, BYTES, &mut random, 20);
        point(&access, &disk, &writer::Options::default()).expect("a point");
        Self { inner, access, first, target: SimDisk::new(BYTES), marks: Arc::default() }
    }

    fn assert_untouched(target: &SimDisk) {
        assert_same(&SimDisk::new(BYTES), target, BYTES);
    }

    /// Restores the first point while `act` happens.
    fn restore(&self, seed: u64, act: Act) -> Result<Restored, Error> {
        let (inner, marks) = (Arc::clone(&self.inner), Arc::clone(&self.marks));
        let access = access(Arc::new(Between { inner, act, marks }), seed);
        let (view, ahead) = read_chain_ahead(&access, SERVER)?;
        let link = view.points().next().expect("two points").clone();
        let disk = link.record.point().expect("a point").disks[0].clone();
        // Of what is compared nothing is fetched early: whatever is read then is read behind the pin.
        let compare = self.marks.reads_wait.load(Ordering::SeqCst);
        let options = Options { workers: 3, compare, ..Options::default() };
        let prepared = prepare(&access, &view, ahead, (link, &disk), ("me", 8 << 20), &options)?;
        self.marks.prepared.store(true, Ordering::SeqCst);
        restore_prepared(&prepared, self.target.another()?, "target", &options, &Silent)
    }
}

#[test]
fn content_is_fetched_while_the_point_is_looked_at_and_nothing_is_written() {
    let bed = Bed::new(70);
    let (seen, marks) = (bed.target.another().expect("a handle"), Arc::clone(&bed.marks));
    let act = move || {
        wait_for(&marks.prepared);
        wait_for(&marks.fetched);
        // Whoever has content would write it now.
        std::thread::sleep(Duration::from_millis(100));
        // Where this fails the look ends without a word, and so does the restore.
        Bed::assert_untouched(&seen);
    };
    bed.restore(71, Box::new(act)).expect("a restore");
    assert!(
        bed.marks.acted.load(Ordering::SeqCst),
        "what was there during the look was not as it must be"
    );
    assert_same(&bed.first, &bed.target, BYTES);
}

#[test]
fn a_point_that_is_pruned_before_the_look_is_not_written() {
    let bed = Bed::new(72);
    let (access, marks) = (bed.access.clone(), Arc::clone(&bed.marks));
    let act = move || {
        wait_for(&marks.fetched);
        let policy = Policy::parse("last=1").expect("a policy");
        let options = upkeep::Options { confirmed: true, ..upkeep::Options::default() };
        upkeep::run(&access, SERVER, &policy, &options).expect("upkeep");
    };
    let error = bed.restore(73, Box::new(act)).expect_err("it is gone").to_string();
    assert!(error.contains("was pruned a moment ago"), "{error}");
    Bed::assert_untouched(&bed.target);
}

#[test]
fn what_is_moved_away_before_the_look_is_fetched_from_where_it_is_then() {
    for (seed, of_content) in [(74, true), (76, false)] {
        let bed = Bed::new(seed);
        bed.marks.reads_wait.store(of_content, Ordering::SeqCst);
        let (access, inner) = (bed.access.clone(), Arc::clone(&bed.inner));
        let marks = Arc::clone(&bed.marks);
        let act = move || {
            if of_content {
                wait_for(&marks.prepared);
            }
            let names = inner.names();
            let segments = names.iter().filter_map(|name| names::segment_of(&SERVER, name));
            for segment in segments {
                relocate(&access, SERVER, segment);
                assert!(inner.lose(&names::segment(&SERVER, &segment)));
            }
        };
        bed.restore(seed + 1, Box::new(act)).expect("a restore");
        assert_same(&bed.first, &bed.target, BYTES);
    }
}

#[test]
fn what_is_missing_and_was_not_moved_is_missing() {
    let bed = Bed::new(78);
    bed.marks.reads_wait.store(true, Ordering::SeqCst);
    let (inner, marks) = (Arc::clone(&bed.inner), Arc::clone(&bed.marks));
    let act = move || {
        wait_for(&marks.prepared);
        let names = inner.names();
        let segments = names.iter().filter(|name| names::segment_of(&SERVER, name).is_some());
        segments.for_each(|name| assert!(inner.lose(name)));
    };
    let error = bed.restore(79, Box::new(act)).expect_err("they are gone");
    assert!(error.is_missing(), "{error}");
    Bed::assert_untouched(&bed.target);
}
