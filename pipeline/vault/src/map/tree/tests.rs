//! The tree against a plain array of leaves.

use core::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use pipeline::ids::{Fingerprint, FrameAddress, SegmentId};

use super::*;
use crate::map::{BlockRef, Entry};

/// Pages in memory; every store is a new address, as in a vault.
#[derive(Default)]
struct Pages {
    pages: RefCell<HashMap<FrameAddress, Vec<u8>>>,
    next: u32,
}

impl PageSource for Pages {
    fn leaf(&self, page: &PageRef) -> Result<Arc<Leaf>, Error> {
        Ok(Arc::new(Leaf::decode(&self.pages.borrow()[&page.address]).expect("a stored leaf")))
    }

    fn inner(&self, page: &PageRef, level: u8) -> Result<Arc<Inner>, Error> {
        let pages = self.pages.borrow();
        Ok(Arc::new(Inner::decode(&pages[&page.address], level).expect("a stored inner page")))
    }
}

impl Pages {
    fn put(&mut self, plain: &[u8]) -> PageRef {
        self.next += 1;
        let address = FrameAddress { segment: SegmentId([7; 16]), ordinal: self.next };
        self.pages.borrow_mut().insert(address, plain.to_vec());
        PageRef { address, fingerprint: Fingerprint([0; 16]) }
    }
}

/// New pages of an update, merged into the source afterwards.
struct Collected {
    new: Vec<(FrameAddress, Vec<u8>)>,
    next: u32,
}

impl PageSink for Collected {
    fn store(&mut self, plain: &[u8]) -> Result<PageRef, Error> {
        self.next += 1;
        let address = FrameAddress { segment: SegmentId([9; 16]), ordinal: self.next };
        self.new.push((address, plain.to_vec()));
        Ok(PageRef { address, fingerprint: Fingerprint([0; 16]) })
    }
}

fn leaf_with(mark: u8) -> Leaf {
    let mut leaf = Leaf::default();
    leaf.entries[usize::from(mark)] = Entry::Data(BlockRef {
        address: FrameAddress { segment: SegmentId([mark; 16]), ordinal: u32::from(mark) },
        index: mark % 16,
        fingerprint: Fingerprint([mark; 16]),
    });
    leaf.entries[0] = if mark.is_multiple_of(2) { Entry::Unread } else { Entry::Discarded };
    leaf
}

fn apply(pages: &mut Pages, sink: &mut Collected, root: &Root, changes: &[(u64, Child)]) -> Root {
    let next = update(pages, sink, root, changes).expect("an update in memory");
    pages.pages.borrow_mut().extend(sink.new.drain(..));
    next
}

#[test]
fn updates_of_any_shape_equal_a_plain_array() {
    let seed = 0x51EE_D001_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let leaves = 256 * 256 * 3 + 17;
    let bytes = leaves * LEAF_BLOCKS * 65_536;
    let (mut pages, mut sink) = (Pages::default(), Collected { new: Vec::new(), next: 0 });
    let mut root = Root::empty(bytes);
    assert_eq!(root.height, 3);
    let mut model: BTreeMap<u64, u8> = BTreeMap::new();
    for _ in 0..40 {
        let mut changes = BTreeMap::new();
        for _ in 0..1 + random() % 20 {
            let leaf = random() % leaves;
            let mark = (random() % 255) as u8 + 1;
            if random() % 4 == 0 {
                changes.insert(leaf, Child::Zero);
                model.remove(&leaf);
            } else {
                changes.insert(leaf, Child::Page(pages.put(&leaf_with(mark).encode())));
                model.insert(leaf, mark);
            }
        }
        let changes: Vec<_> = changes.into_iter().collect();
        root = apply(&mut pages, &mut sink, &root, &changes);
    }
    let mut seen = BTreeMap::new();
    walk_leaves(&pages, &root, &mut |visited| {
        if visited.level == 0 {
            seen.insert(visited.first_leaf, pages.leaf(&visited.page)?);
        }
        Ok(true)
    })
    .expect("a walk in memory");
    assert_eq!(seen.len(), model.len());
    for (leaf, mark) in &model {
        assert_eq!(*seen[leaf], leaf_with(*mark));
        assert_eq!(*load_leaf(&pages, &root, *leaf).expect("present"), leaf_with(*mark));
    }
}

#[test]
fn an_update_writes_one_page_per_level_and_nothing_when_nothing_changed() {
    let (mut pages, mut sink) = (Pages::default(), Collected { new: Vec::new(), next: 0 });
    let bytes = 256 * 256 * LEAF_BLOCKS * 65_536;
    let root = Root::empty(bytes);
    let page = Child::Page(pages.put(&leaf_with(3).encode()));
    let root = apply(&mut pages, &mut sink, &root, &[(70_000 % 65_536, page)]);
    assert_eq!(sink.next, 2);
    let same = apply(&mut pages, &mut sink, &root, &[(70_000 % 65_536, page)]);
    assert_eq!((same, sink.next), (root, 2));
    let none = apply(&mut pages, &mut sink, &root, &[(70_000 % 65_536, Child::Zero)]);
    assert_eq!(none, Root { height: 2, top: Child::Zero });
}

#[test]
fn a_disk_that_grows_and_shrinks_keeps_what_is_inside() {
    let small = 300 * LEAF_BLOCKS * 65_536;
    let large = 70_000 * LEAF_BLOCKS * 65_536;
    let (mut pages, mut sink) = (Pages::default(), Collected { new: Vec::new(), next: 0 });
    let first = Child::Page(pages.put(&leaf_with(1).encode()));
    let edge = Child::Page(pages.put(&leaf_with(2).encode()));
    let last = Child::Page(pages.put(&leaf_with(3).encode()));
    let root = Root::empty(large);
    let root = apply(&mut pages, &mut sink, &root, &[(0, first), (299, edge), (300, last)]);
    let mut staged = Collected { new: Vec::new(), next: 1_000 };
    let cut = resize(&pages, &mut staged, &root, small).expect("in memory");
    pages.pages.borrow_mut().extend(staged.new.drain(..));
    assert_eq!(cut.height, 2);
    assert_eq!(find_leaf(&pages, &cut, 299).expect("in memory"), edge);
    assert_eq!(find_leaf(&pages, &cut, 300).expect("in memory"), Child::Zero);
    let grown = resize(&pages, &mut staged, &cut, large).expect("in memory");
    pages.pages.borrow_mut().extend(staged.new.drain(..));
    assert_eq!(grown.height, 3);
    assert_eq!(find_leaf(&pages, &grown, 0).expect("in memory"), first);
    assert_eq!(find_leaf(&pages, &grown, 69_999).expect("in memory"), Child::Zero);
}

#[test]
fn damaged_pages_end_in_an_error() {
    let good = leaf_with(9).encode();
    assert!(Leaf::decode(&good).is_ok());
    for cut in 0..good.len() {
        assert!(Leaf::decode(&good[..cut]).is_err());
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(Leaf::decode(&longer).is_err());
    assert!(Inner::decode(&good, 1).is_err());
    for at in 0..good.len() {
        for flip in [1_u8, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            let _ = Leaf::decode(&bad);
            let _ = Inner::decode(&bad, 1);
        }
    }
}
