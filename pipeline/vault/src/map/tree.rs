//! Looking up, walking, resizing and updating a tree of pages. Recursion is at most six levels deep.

use std::sync::Arc;

use super::{Child, Inner, PageRef, PageSink, PageSource, Root, blocks_of, height_of, leaves_of};
use super::{LEAF_BLOCKS, leaves_per_child};
use crate::error::Error;
use crate::map::{Entry, Leaf};
use pipeline::limits::PAGE_ENTRIES;

/// A page met on a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visited {
    /// The page.
    pub page: PageRef,
    /// 0 for a leaf.
    pub level: u8,
    /// The first leaf that it covers.
    pub first_leaf: u64,
}

/// The subtree of one leaf: a page, or zero.
pub fn find_leaf(source: &dyn PageSource, root: &Root, leaf: u64) -> Result<Child, Error> {
    let mut child = root.top;
    for level in (1..=root.height).rev() {
        let Child::Page(page) = child else { return Ok(Child::Zero) };
        let below = leaves_per_child(level);
        let slot = (leaf / below) % (PAGE_ENTRIES as u64);
        child = source.inner(&page, level)?.children[index(slot)];
    }
    Ok(child)
}

/// The entries of one leaf, all zero where it has no page.
pub fn load_leaf(source: &dyn PageSource, root: &Root, leaf: u64) -> Result<Arc<Leaf>, Error> {
    match find_leaf(source, root, leaf)? {
        Child::Zero => Ok(Arc::new(Leaf::default())),
        Child::Page(page) => source.leaf(&page),
    }
}

/// Meets every page from the top down, in the order of the disk; `visit` says whether to go below an inner page.
pub fn walk_leaves(
    source: &dyn PageSource,
    root: &Root,
    visit: &mut dyn FnMut(Visited) -> Result<bool, Error>,
) -> Result<(), Error> {
    walk(source, root.top, root.height, 0, visit)
}

fn walk(
    source: &dyn PageSource,
    child: Child,
    level: u8,
    first_leaf: u64,
    visit: &mut dyn FnMut(Visited) -> Result<bool, Error>,
) -> Result<(), Error> {
    let Child::Page(page) = child else { return Ok(()) };
    if !visit(Visited { page, level, first_leaf })? || level == 0 {
        return Ok(());
    }
    let inner = source.inner(&page, level)?;
    let mut first = first_leaf;
    for child in inner.children {
        walk(source, child, level - 1, first, visit)?;
        first = first.saturating_add(leaves_per_child(level));
    }
    Ok(())
}

/// Runs of blocks (first, one past the last) whose content two maps of the same height do not agree on.
pub fn differing(
    source: &dyn PageSource,
    one: &Root,
    other: &Root,
) -> Result<Vec<(u64, u64)>, Error> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let same = |pair: (&Entry, &Entry)| match pair {
        (Entry::Data(one), Entry::Data(other)) => one.fingerprint == other.fingerprint,
        (one, other) => one == other,
    };
    walk_differing(source, (one, other), &mut |block, one, other| match runs.last_mut() {
        _ if same((one, other)) => {}
        Some(last) if last.1 == block => last.1 += 1,
        _ => runs.push((block, block + 1)),
    })?;
    Ok(runs)
}

/// At most `most` of the blocks whose content two maps of the same height do not agree on, each as likely as any other, and how
/// many there are. `below` gives a random number below another.
pub fn some_differing(
    source: &dyn PageSource,
    (one, other): (&Root, &Root),
    most: usize,
    below: &mut dyn FnMut(u64) -> u64,
) -> Result<(Vec<u64>, u64), Error> {
    let (mut some, mut seen) = (Vec::new(), 0_u64);
    walk_differing(source, (one, other), &mut |block, one, other| {
        if one.reads_as(other) {
            return;
        }
        seen += 1;
        if some.len() < most {
            some.push(block);
            return;
        }
        let place = usize::try_from(below(seen)).unwrap_or(usize::MAX);
        if let Some(chosen) = some.get_mut(place) {
            *chosen = block;
        }
    })?;
    some.sort_unstable();
    Ok((some, seen))
}

/// Meets every block of the leaves whose pages differ between two maps of the same height, in the order of the disk: its
/// number, and what each says of it. Pages that are the same are not read.
pub(crate) fn walk_differing(
    source: &dyn PageSource,
    (one, other): (&Root, &Root),
    visit: &mut dyn FnMut(u64, &Entry, &Entry),
) -> Result<(), Error> {
    debug_assert_eq!(one.height, other.height, "maps of disks of one size");
    compare(source, [one.top, other.top], one.height, 0, visit)
}

fn compare(
    source: &dyn PageSource,
    pair: [Child; 2],
    level: u8,
    first_leaf: u64,
    visit: &mut dyn FnMut(u64, &Entry, &Entry),
) -> Result<(), Error> {
    if pair[0].has_bytes_of(&pair[1]) {
        return Ok(());
    }
    if level > 0 {
        let children = |child: Child| match child {
            Child::Zero => Ok(Arc::new(Inner::empty(level))),
            Child::Page(page) => source.inner(&page, level),
        };
        let (one, other) = (children(pair[0])?, children(pair[1])?);
        let mut first = first_leaf;
        for pair in one.children.iter().zip(&other.children) {
            compare(source, [*pair.0, *pair.1], level - 1, first, visit)?;
            first = first.saturating_add(leaves_per_child(level));
        }
        return Ok(());
    }
    let entries = |child: Child| match child {
        Child::Zero => Ok(Arc::new(Leaf::default())),
        Child::Page(page) => source.leaf(&page),
    };
    let (one, other) = (entries(pair[0])?, entries(pair[1])?);
    let first = first_leaf.saturating_mul(LEAF_BLOCKS);
    for (block, (one, other)) in (first..).zip(one.entries.iter().zip(&other.entries)) {
        visit(block, one, other);
    }
    Ok(())
}

/// The map after some leaves changed: only pages on the way to them are written again.
/// `changes` is ascending by leaf, each leaf once.
pub fn update(
    source: &dyn PageSource,
    sink: &mut dyn PageSink,
    root: &Root,
    changes: &[(u64, Child)],
) -> Result<Root, Error> {
    debug_assert!(changes.windows(2).all(|pair| pair[0].0 < pair[1].0), "ascending, each once");
    let top = patch(source, sink, root.top, root.height, changes)?;
    Ok(Root { height: root.height, top })
}

fn patch(
    source: &dyn PageSource,
    sink: &mut dyn PageSink,
    child: Child,
    level: u8,
    changes: &[(u64, Child)],
) -> Result<Child, Error> {
    let Some((leaf, changed)) = changes.first() else { return Ok(child) };
    if level == 0 {
        return Ok(*changed);
    }
    let below = leaves_per_child(level);
    let mut inner = match child {
        Child::Zero => Inner::empty(level),
        Child::Page(page) => Inner::clone(&*source.inner(&page, level)?),
    };
    let before = inner.children;
    let first = leaf - leaf % below.saturating_mul(PAGE_ENTRIES as u64);
    let mut rest = changes;
    while let Some((leaf, _)) = rest.first() {
        let slot = (leaf - first) / below;
        let end = first + (slot + 1) * below;
        let (here, later) = rest.split_at(rest.partition_point(|(leaf, _)| *leaf < end));
        let place = &mut inner.children[index(slot)];
        *place = patch(source, sink, *place, level - 1, here)?;
        rest = later;
    }
    if inner.children == before {
        return Ok(child);
    }
    store_inner(sink, &inner)
}

fn store_inner(sink: &mut dyn PageSink, inner: &Inner) -> Result<Child, Error> {
    if inner.is_zero() { Ok(Child::Zero) } else { sink.store(&inner.encode()).map(Child::Page) }
}

/// The map of the same content on a disk of another size: higher or lower, cut after the last leaf.
/// Entries of that last leaf beyond the disk's end are the caller's to clear.
pub fn resize(
    source: &dyn PageSource,
    sink: &mut dyn PageSink,
    root: &Root,
    bytes: u64,
) -> Result<Root, Error> {
    let height = height_of(blocks_of(bytes));
    let mut root = *root;
    while root.height > height {
        if let Child::Page(page) = root.top {
            root.top = source.inner(&page, root.height)?.children[0];
        }
        root.height -= 1;
    }
    if root.height >= height {
        root.top = cut(source, sink, root.top, root.height, leaves_of(bytes))?;
        return Ok(root);
    }
    // Higher now: nothing lies beyond the end, and pages just stored cannot be read back yet.
    while root.height < height {
        root.height += 1;
        if root.top != Child::Zero {
            let mut inner = Inner::empty(root.height);
            inner.children[0] = root.top;
            root.top = store_inner(sink, &inner)?;
        }
    }
    Ok(root)
}

/// Clears everything at or after leaf `leaves` of a subtree.
fn cut(
    source: &dyn PageSource,
    sink: &mut dyn PageSink,
    child: Child,
    level: u8,
    leaves: u64,
) -> Result<Child, Error> {
    let Child::Page(page) = child else { return Ok(child) };
    if leaves == 0 {
        return Ok(Child::Zero);
    }
    let below = leaves_per_child(level);
    if level == 0 || leaves >= below.saturating_mul(PAGE_ENTRIES as u64) {
        return Ok(child);
    }
    let mut inner = Inner::clone(&*source.inner(&page, level)?);
    let before = inner.children;
    let edge = index(leaves / below);
    inner.children[edge] = cut(source, sink, inner.children[edge], level - 1, leaves % below)?;
    inner.children[edge + 1..].fill(Child::Zero);
    if inner.children == before { Ok(child) } else { store_inner(sink, &inner) }
}

/// The leaf that holds a block, and the block's place in it.
pub fn leaf_of(block: u64) -> (u64, usize) {
    (block / LEAF_BLOCKS, index(block % LEAF_BLOCKS))
}

fn index(slot: u64) -> usize {
    usize::try_from(slot).expect("a remainder by 256 fits any usize")
}

#[cfg(test)]
mod tests;
