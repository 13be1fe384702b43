//! Logical volumes of LVM, mapped to byte ranges by the text that every physical volume carries.
//!
//! It maps what is linear, or striped over one, which is what installers make; of mirrors, stripes, snapshots, caches
//! and thin pools it says what they are. It never writes the text.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::guest::view::{Joined, Piece, View, read_some};

/// The text as sections and values.
mod text;

use text::Section;

/// Longest text that is read.
const TEXT_BYTES_MAX: u64 = 16 << 20;
const MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// Where the text goes on when it has reached the end of its area: behind the header.
const HEADER_BYTES: u64 = 512;
const SECTOR: u64 = 512;
/// Volumes and their segments that are looked at.
const PARTS_MAX: usize = 4096;

/// A physical volume.
pub(super) struct Physical {
    /// Its identity, without the dashes.
    pub(super) id: String,
    view: Arc<dyn View>,
    text: String,
}

/// Logical volumes by name, and what cannot be mapped, a sentence each.
#[derive(Default)]
pub(super) struct Mapped {
    pub(super) volumes: Vec<(String, Arc<dyn View>)>,
    pub(super) unmapped: Vec<String>,
}

/// Reads what a volume that says it is LVM's tells of itself; the inner error is a sentence.
pub(super) fn read(view: &Arc<dyn View>) -> io::Result<Result<Physical, String>> {
    let head = read_some(view.as_ref(), 0, 2048)?;
    let Some((id, areas)) = header(&head) else {
        return Ok(Err("its LVM label cannot be read".to_owned()));
    };
    for (start, size) in areas {
        if let Some(text) = area(view.as_ref(), start, size)? {
            return Ok(Ok(Physical { id, view: Arc::clone(view), text }));
        }
    }
    // Its text may be on another physical volume of the group.
    Ok(Ok(Physical { id, view: Arc::clone(view), text: String::new() }))
}

/// Identity and the areas of text.
fn header(head: &[u8]) -> Option<(String, Vec<(u64, u64)>)> {
    let label = (0..4)
        .map(|sector| sector * 512)
        .find(|at| head.get(*at..).is_some_and(|rest| rest.starts_with(b"LABELONE")))?;
    let at = label + usize::try_from(word(head, label + 20)?).ok()?;
    let id = String::from_utf8(head.get(at..at.checked_add(32)?)?.to_vec()).ok()?;
    // Behind identity and size two lists, each ended by zeros: where data is, and where text is.
    let mut place = at + 40;
    let mut list = || {
        let mut areas = Vec::new();
        loop {
            let pair = (long(head, place)?, long(head, place + 8)?);
            place += 16;
            if pair == (0, 0) {
                return Some(areas);
            }
            areas.push(pair);
        }
    };
    list()?;
    Some((id, list()?))
}

/// The text of an area, which goes round in it.
fn area(view: &dyn View, start: u64, size: u64) -> io::Result<Option<String>> {
    let header = read_some(view, start, 512)?;
    if header.get(4..20) != Some(MAGIC) {
        return Ok(None);
    }
    let (Some(offset), Some(length)) = (long(&header, 40), long(&header, 48)) else {
        return Ok(None);
    };
    if length == 0 || length > TEXT_BYTES_MAX || length > size || offset >= size {
        return Ok(None);
    }
    let first = length.min(size - offset);
    let mut bytes = some(view, start.saturating_add(offset), first)?;
    bytes.extend(some(view, start.saturating_add(HEADER_BYTES), length - first)?);
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(String::from_utf8(bytes).ok())
}

fn some(view: &dyn View, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    read_some(view, offset, usize::try_from(bytes).unwrap_or(0))
}

/// The logical volumes of these, by the newest text of each group.
pub(super) fn map(physical: &[Physical]) -> Mapped {
    let Mapped { mut volumes, mut unmapped } = Mapped::default();
    let mut groups: BTreeMap<String, (u64, Section)> = BTreeMap::new();
    for volume in physical {
        let Some(root) = Section::parse(&volume.text) else {
            unmapped.push(format!("the description of LVM volume {} cannot be read", volume.id));
            continue;
        };
        for (name, group) in root.sections() {
            let age = group.number("seqno").unwrap_or(0);
            if groups.get(name).is_none_or(|(known, _)| *known < age) {
                groups.insert(name.to_owned(), (age, group.clone()));
            }
        }
    }
    for (group_name, (_, group)) in &groups {
        let Some(extent) = group.number("extent_size").and_then(|size| size.checked_mul(SECTOR))
        else {
            continue;
        };
        let members = group.section("physical_volumes");
        let logical = group.section("logical_volumes");
        for (name, volume) in logical.iter().flat_map(|section| section.sections()).take(PARTS_MAX)
        {
            if volume.list("status").iter().all(|status| status != "VISIBLE") {
                continue;
            }
            let name = format!("{group_name}/{name}");
            match pieces(volume, members, extent, physical) {
                Ok(joined) => volumes.push((name, Arc::new(joined))),
                Err(words) => unmapped.push(format!("{name}: {words}")),
            }
        }
    }
    Mapped { volumes, unmapped }
}

fn pieces(
    volume: &Section,
    members: Option<&Section>,
    extent: u64,
    physical: &[Physical],
) -> Result<Joined, String> {
    let mut segments: Vec<(u64, Piece)> = Vec::new();
    for (_, segment) in volume.sections().take(PARTS_MAX) {
        let kind = segment.text("type").unwrap_or_default();
        let stripes = segment.list("stripes");
        let plain =
            ["striped", "linear"].contains(&kind) && segment.number("stripe_count") == Some(1);
        if !plain || stripes.len() != 2 {
            return Err(format!("is of a kind that is not mapped here: {kind}"));
        }
        let damaged = || "its description does not hold together".to_owned();
        let member =
            members.and_then(|members| members.section(&stripes[0])).ok_or_else(damaged)?;
        let id: String = member.text("id").unwrap_or_default().replace('-', "");
        let owner = physical.iter().find(|known| known.id == id).ok_or_else(|| {
            format!("a part of it is on a disk that is not in the point ({})", stripes[0])
        })?;
        let piece = (|| {
            let first: u64 = stripes[1].parse().ok()?;
            let start = member.number("pe_start")?.checked_mul(SECTOR)?;
            let start = start.checked_add(first.checked_mul(extent)?)?;
            let bytes = segment.number("extent_count")?.checked_mul(extent)?;
            Some(Piece { view: Arc::clone(&owner.view), start, bytes })
        })();
        let order = segment.number("start_extent").ok_or_else(damaged)?;
        segments.push((order, piece.ok_or_else(damaged)?));
    }
    segments.sort_by_key(|(order, _)| *order);
    let pieces = segments.into_iter().map(|(_, piece)| piece).collect();
    Joined::new(pieces).ok_or_else(|| "reaches past the end of its disk".to_owned())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
