//! Which files surely kept their content between two points, without being read: those that lie in the same places of the same
//! disks, none of which differs, as the vault's own maps say.
//!
//! It refuses to conclude anything where a file system does not say where a file lies, or a journal was replayed over it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock};

use firmware_recovery::guest::tree::Tree;
use firmware_recovery::guest::view::View;
use firmware_recovery::guest::volumes::GuestDisk;
use firmware_recovery::hydrate::overlay::Overlay;
use hal_linux::extents::written_extents_of;
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::map::tree::differing;
use pipeline_vault::points::ChainView;
use pipeline_vault::reader::PointReader;
use pipeline_vault::record::DiskState;

use super::Both;
use crate::session::Session;

/// Bytes of map pages kept in memory.
const CACHE_BYTES: usize = 16 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// The blocks in which two points differ, disk by disk.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Runs of blocks, first and one past the last, ascending; none where the two disks cannot be compared. By the place of the
    /// disk in the later point.
    disks: Vec<Option<Vec<(u64, u64)>>>,
}

impl Blocks {
    /// Reads what the maps of two points of one chain do not agree on.
    pub fn between(
        session: &Session,
        view: &ChainView,
        [from, to]: [&Link; 2],
    ) -> Result<Self, Error> {
        let frames = FrameReader::new(&session.access(), view.server, &view.upkeep, CACHE_BYTES)?;
        let disks = disks_of(to).iter().map(|disk| {
            let before = disks_of(from).iter().find(|before| before.name == disk.name);
            let alike = |before: &&DiskState| {
                before.bytes == disk.bytes && before.root.height == disk.root.height
            };
            let Some(before) = before.filter(alike) else { return Ok(None) };
            differing(&frames, &before.root, &disk.root).map(Some)
        });
        Ok(Self { disks: disks.collect::<Result<_, Error>>()? })
    }

    /// Whether any byte of a part of a disk may differ.
    fn differs(&self, disk: usize, from: u64, bytes: u64) -> bool {
        let Some(Some(runs)) = self.disks.get(disk) else { return true };
        let (first, end) = (from / BLOCK, from.saturating_add(bytes).div_ceil(BLOCK));
        let at = runs.partition_point(|(_, run_end)| *run_end <= first);
        runs.get(at).is_some_and(|(run_first, _)| *run_first < end)
    }

    /// Whether a file surely kept its content: `None` where nobody can say, without reading it.
    ///
    /// Errors: the file cannot be opened.
    pub fn are_same(&self, both: &Both, path: &str) -> io::Result<Option<bool>> {
        let mut lie = Vec::new();
        for (tree, view) in both.trees.iter().zip(&both.views) {
            let Some(places) = places_of(tree.as_ref(), view.as_ref(), path)? else {
                return Ok(None);
            };
            lie.push(places);
        }
        let [old, new] = lie.as_slice() else { return Ok(None) };
        let moved = old != new;
        let differs = new.iter().any(|place| self.differs(place.disk, place.from, place.bytes));
        Ok(Some(!moved && !differs))
    }
}

fn disks_of(point: &Link) -> &[DiskState] {
    point.record.point().map(|point| point.disks.as_slice()).unwrap_or_default()
}

/// A part of a file, and where it lies.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    in_file: u64,
    disk: usize,
    from: u64,
    bytes: u64,
}

/// Where a file lies on the server's disks.
fn places_of(tree: &dyn Tree, view: &dyn View, path: &str) -> io::Result<Option<Vec<Place>>> {
    let Some(file) = tree.file(path)? else { return Ok(None) };
    // A file system that does not tell is no error.
    let Ok(extents) = written_extents_of(&file) else { return Ok(None) };
    let mut places = Vec::new();
    for extent in extents {
        let mut in_file = extent.in_file;
        let known = view.lies(extent.on_device, extent.bytes, &mut |disk, from, bytes| {
            places.push(Place { in_file, disk, from, bytes });
            in_file += bytes;
        });
        if !known {
            return Ok(None);
        }
    }
    Ok(Some(places))
}

/// A disk of a point that knows which of the server's it is.
pub struct Numbered {
    number: usize,
    overlay: Arc<Overlay<PointReader>>,
    /// What a journal changed when it was mounted.
    replayed: OnceLock<BTreeSet<u64>>,
}

impl Numbered {
    /// A disk by its place in the later point.
    #[must_use]
    pub fn disk(name: &str, number: usize, overlay: Arc<Overlay<PointReader>>) -> GuestDisk {
        let view = Arc::new(Self { number, overlay, replayed: OnceLock::new() });
        GuestDisk { name: name.to_owned(), view }
    }
}

impl View for Numbered {
    fn bytes(&self) -> u64 {
        self.overlay.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        View::read_at(self.overlay.as_ref(), offset, into)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        View::write_at(self.overlay.as_ref(), offset, from)
    }

    /// Asked only once the file system is mounted, which writes nothing from then on.
    fn lies(&self, offset: u64, bytes: u64, each: &mut dyn FnMut(usize, u64, u64)) -> bool {
        let replayed = self.replayed.get_or_init(|| self.overlay.changed().into_iter().collect());
        let blocks = offset / BLOCK..offset.saturating_add(bytes).div_ceil(BLOCK);
        if replayed.range(blocks).next().is_some() {
            return false;
        }
        each(self.number, offset, bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_differs_where_any_of_its_blocks_does_or_nobody_knows() {
        let blocks = Blocks { disks: vec![Some(vec![(2, 4), (9, 10)]), None] };
        let cases = [
            (0, 0, 2 * BLOCK, false),
            (0, 2 * BLOCK - 1, 2, true),
            (0, 3 * BLOCK + 5, 1, true),
            (0, 4 * BLOCK, 5 * BLOCK, false),
            (0, 4 * BLOCK, 5 * BLOCK + 1, true),
            (0, 10 * BLOCK, u64::MAX, false),
            (1, 0, 1, true),
            (2, 0, 1, true),
        ];
        for (disk, from, bytes, differs) in cases {
            assert_eq!(blocks.differs(disk, from, bytes), differs, "{disk} {from} {bytes}");
        }
    }
}
