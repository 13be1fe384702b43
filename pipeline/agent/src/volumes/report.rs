//! What LVM's programs report, put together. Pure.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use pipeline::limits::BLOCK_BYTES;

use crate::blocks::BlockSet;
use crate::cut::{Piece, Volume};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// What LVM and the device mapper count in.
const SECTOR: u64 = 512;

/// Where a block device lies on a protected disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The disk, by its place.
    pub(super) disk: usize,
    /// Its first byte there.
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// A volume of one kind, linear, that is active and that no snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) number: (u32, u32),
}

/// A line of the report of volumes.
struct Line<'a> {
    group: &'a str,
    name: &'a str,
    kind: &'a str,
    tags: &'a str,
    number: Option<(u32, u32)>,
    attributes: &'a str,
    origin: &'a str,
}

fn line(text: &str) -> Option<Line<'_>> {
    let mut fields = text.trim().split('|');
    let mut next = || fields.next();
    let (group, name, _uuid, kind) = (next()?, next()?, next()?, next()?);
    let (_start, _ranges, tags) = (next()?, next()?, next()?);
    let number = next()?.parse().ok().zip(next()?.parse().ok());
    let (attributes, origin) = (next()?, next()?);
    Some(Line { group, name, kind, tags, number, attributes, origin })
}

fn lines(report: &str) -> impl Iterator<Item = Line<'_>> {
    report.lines().filter_map(line)
}

/// Volumes that a snapshot may be taken of.
pub(super) fn plain(report: &str) -> Vec<Plain> {
    let mut found: Vec<Plain> = Vec::new();
    for line in lines(report).filter(is_plain) {
        let Some(number) = line.number else { continue };
        if !found.iter().any(|known| known.number == number) {
            let (group, name) = (line.group.to_owned(), line.name.to_owned());
            found.push(Plain { group, name, number });
        }
    }
    found
}

fn is_plain(line: &Line<'_>) -> bool {
    // Of what is hidden in another, the name stands in brackets; of what has a snapshot, the first letter is an o.
    line.kind == "linear" && line.attributes.starts_with("-w") && !line.name.starts_with('[')
}

/// Why of others none may be.
pub(super) fn others(report: &str) -> Vec<String> {
    let of_another_kind = lines(report)
        .filter(|line| !is_plain(line) && line.number.is_some() && !line.name.starts_with('['));
    let mut words: Vec<String> = of_another_kind
        .map(|line| {
            let why = match line.attributes.chars().next() {
                Some('o' | 'O') => "there is one of it already",
                Some('s' | 'S') => "it is one itself",
                _ => line.kind,
            };
            format!("no snapshot of volume {}/{}: {why}", line.group, line.name)
        })
        .collect();
    words.dedup();
    words
}

/// Groups in which a snapshot of ours lies: of this name, with this tag, and a snapshot.
pub(super) fn ours(report: &str, name: &str, tag: &str) -> Vec<String> {
    let is_ours = |line: &Line<'_>| {
        let snapshot = !line.origin.is_empty() || line.attributes.starts_with(['s', 'S', '-']);
        line.name == name && line.tags.split(',').any(|own| own == tag) && snapshot
    };
    let mut groups: Vec<String> =
        lines(report).filter(is_ours).map(|line| line.group.to_owned()).collect();
    groups.dedup();
    groups
}

/// What must be the same before and behind a snapshot of this name: where each volume lies, and what it is called.
pub(super) fn without(report: &str, name: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    for text in report.lines() {
        if line(text).is_some_and(|line| line.name != name) {
            // A volume that has a snapshot has other attributes.
            let fields: Vec<&str> = text.trim().split('|').take(7).collect();
            kept.push(fields.join("|"));
        }
    }
    kept.sort();
    kept.join("\n")
}

/// Whether a snapshot holds all, by the kernel's words for it.
pub(super) fn is_whole(status: &str) -> bool {
    let mut words = status.split_whitespace().skip(2);
    words.next() == Some("snapshot") && words.next().is_some_and(|used| used.contains('/'))
}

/// What is known of groups, by the disks of a cut.
pub(super) struct Groups {
    groups: BTreeMap<String, Result<Group, String>>,
    blocks: Vec<u64>,
}

#[derive(Clone)]
struct Group {
    metadata: Vec<BlockSet>,
    free: Vec<BlockSet>,
    free_blocks: u64,
}

impl Groups {
    /// By LVM's report of physical volumes; disks are so large, and `place` says where a node lies.
    pub(super) fn new(report: &str, sizes: &[u64], place: &dyn Fn(&str) -> Option<Place>) -> Self {
        let blocks: Vec<u64> = sizes.iter().map(|bytes| bytes.div_ceil(BLOCK)).collect();
        let mut groups = BTreeMap::new();
        for text in report.lines() {
            let fields: Vec<&str> = text.trim().split('|').collect();
            let [group, node, rest @ ..] = fields.as_slice() else { continue };
            if group.is_empty() {
                continue;
            }
            let empty = || blocks.iter().map(|blocks| BlockSet::new(*blocks)).collect::<Vec<_>>();
            let known = groups
                .entry((*group).to_owned())
                .or_insert_with(|| Ok(Group { metadata: empty(), free: empty(), free_blocks: 0 }));
            let Ok(sets) = known else { continue };
            let added = match place(node) {
                Some(place) => sets.add(place, rest),
                None => Err(format!("{node} is not a protected disk or a partition of one")),
            };
            if let Err(words) = added {
                *known = Err(format!("no snapshot in group {group}: {words}"));
            }
        }
        Self { groups, blocks }
    }

    /// A volume by the kernel's table of it.
    ///
    /// Errors: why no snapshot can be taken of it.
    pub(super) fn volume(
        &self,
        plain: &Plain,
        table: &str,
        place: &dyn Fn((u32, u32)) -> Option<Place>,
    ) -> Result<Volume, String> {
        let name = format!("{}/{}", plain.group, plain.name);
        let no = |words: &str| format!("no snapshot of volume {name}: {words}");
        let group = self.groups.get(&plain.group).ok_or_else(|| no("its group is not known"))?;
        let group = group.as_ref().map_err(Clone::clone)?;
        let pieces = pieces(table, place).map_err(|words| no(&words))?;
        let within = |piece: &Piece| {
            let blocks = self.blocks.get(piece.disk).copied().unwrap_or(0);
            piece.first.checked_add(piece.blocks).is_some_and(|end| end <= blocks)
        };
        if pieces.is_empty() || !pieces.iter().all(within) {
            return Err(no("it reaches beyond its disk"));
        }
        let Group { metadata, free, free_blocks } = group.clone();
        Ok(Volume { name, number: plain.number, pieces, metadata, free, room: free_blocks })
    }
}

impl Group {
    /// Adds one run of extents of a physical volume, and what is around all of them.
    fn add(&mut self, place: Place, fields: &[&str]) -> Result<(), String> {
        let [start, extent, count, first, length, kind] = fields else {
            return Err("LVM reports something unknown".to_owned());
        };
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| format!("LVM reports «{text}» in place of a number"))
        };
        let sectors = |text: &str| Ok::<_, String>(number(text)?.saturating_mul(SECTOR));
        let (start, extent) = (sectors(start)?, sectors(extent)?);
        let (count, first, length) = (number(count)?, number(first)?, number(length)?);
        let extents = place.start.saturating_add(start);
        let at = |extent_number: u64| extents.saturating_add(extent_number.saturating_mul(extent));
        let whole = |bytes: u64| bytes.is_multiple_of(BLOCK);
        if !(whole(place.start) && whole(extents) && whole(extent)) {
            return Err("its extents do not begin at whole blocks of 64 KiB".to_owned());
        }
        let (end, last) = (at(count), place.start.saturating_add(place.bytes));
        if end > last {
            return Err("its extents reach beyond the disk".to_owned());
        }
        let Some(metadata) = self.metadata.get_mut(place.disk) else {
            return Err("its disk is not known".to_owned());
        };
        insert(metadata, place.start, extents);
        // The block in which it ends is another's too.
        insert(metadata, end, last / BLOCK * BLOCK);
        if *kind == "free"
            && let Some(free) = self.free.get_mut(place.disk)
        {
            insert(free, at(first), at(first.saturating_add(length)).min(end));
            self.free_blocks =
                self.free_blocks.saturating_add(length.saturating_mul(extent / BLOCK));
        }
        Ok(())
    }
}

fn insert(set: &mut BlockSet, from: u64, to: u64) {
    let (first, end) = (from / BLOCK, (to / BLOCK).min(set.size()));
    if first < end {
        set.insert_range(first, end);
    }
}

/// Where a device lies, by a table of linear targets and nothing else.
fn pieces(table: &str, place: &dyn Fn((u32, u32)) -> Option<Place>) -> Result<Vec<Piece>, String> {
    let mut found = Vec::new();
    let mut next = 0;
    for text in table.lines().filter(|text| !text.trim().is_empty()) {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [start, length, "linear", device, offset] = fields.as_slice() else {
            let mut words = "it is not linear in the kernel: ".to_owned();
            let _ = write!(words, "{}", fields.get(2).unwrap_or(&"nothing"));
            return Err(words);
        };
        let number = |text: &str| text.parse::<u64>().ok()?.checked_mul(SECTOR);
        let numbers = number(start).zip(number(length)).zip(number(offset));
        let Some(((start, length), offset)) = numbers else {
            return Err("the kernel's table has something else in place of numbers".to_owned());
        };
        let device = device
            .split_once(':')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let Some(on) = device.and_then(place) else {
            return Err("it lies on something that is not a protected disk or a partition of one"
                .to_owned());
        };
        let first = on.start.saturating_add(offset);
        if offset.checked_add(length).is_none_or(|end| end > on.bytes) {
            return Err("it reaches beyond its disk".to_owned());
        }
        if start != next || ![start, length, first].iter().all(|bytes| bytes.is_multiple_of(BLOCK))
        {
            return Err("it does not lie at whole blocks of 64 KiB".to_owned());
        }
        next = start.saturating_add(length);
        found.push(Piece { disk: on.disk, first: first / BLOCK, blocks: length / BLOCK });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
