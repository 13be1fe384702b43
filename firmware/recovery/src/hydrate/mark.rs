//! What the last sector of an unfinished disk says: which point it is on its way to, and from which. While it stands there
//! the disk is no VHD, so that nobody takes it for whole.

use pipeline::ids::{DiskId, PointId};
use pipeline_vault::Error;

use super::pages::Pages;
use super::vhd::{FOOTER_BYTES, Owner};

const BEGINNING: &[u8; 16] = b"lifeboat, on way";

/// What a last sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever looks must know all")]
pub enum Mark {
    /// Zeros.
    Nothing,
    /// A whole disk.
    Whole(Owner),
    /// On its way.
    Moving {
        /// The point that it was at; `None` where it was zeros.
        from: Option<PointId>,
        /// The point that it is on its way to.
        to: PointId,
        /// The disk.
        disk: DiskId,
    },
    /// Something of somebody else's.
    Foreign,
}

impl Mark {
    /// Reads the last sector of a page blob of so many bytes.
    pub fn read(pages: &dyn Pages, blob_bytes: u64) -> Result<Self, Error> {
        let mut sector = [0; FOOTER_BYTES];
        let at = blob_bytes.saturating_sub(FOOTER_BYTES as u64);
        pages.read(at, &mut sector).map_err(Error::from)?;
        Ok(Self::decode(&sector))
    }

    fn decode(sector: &[u8; FOOTER_BYTES]) -> Self {
        if *sector == [0; FOOTER_BYTES] {
            return Self::Nothing;
        }
        if let Some(owner) = Owner::read(sector) {
            return Self::Whole(owner);
        }
        let field = |at: usize| sector[at..at + 16].try_into().expect("sixteen bytes");
        let (from, to, disk) = (PointId(field(16)), PointId(field(32)), DiskId(field(48)));
        let from = (from.0 != [0; 16]).then_some(from);
        let read = Self::Moving { from, to, disk };
        if read.encode() == Some(*sector) { read } else { Self::Foreign }
    }

    /// The sector of a disk that is on its way.
    fn encode(&self) -> Option<[u8; FOOTER_BYTES]> {
        let Self::Moving { from, to, disk } = self else { return None };
        let mut sector = [0; FOOTER_BYTES];
        sector[..16].copy_from_slice(BEGINNING);
        sector[16..32].copy_from_slice(&from.map_or([0; 16], |from| from.0));
        sector[32..48].copy_from_slice(&to.0);
        sector[48..64].copy_from_slice(&disk.0);
        // Not against anybody's will, only against a sector that looks like one.
        let sum = sector.iter().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
        sector[508..].copy_from_slice(&sum.to_le_bytes());
        Some(sector)
    }

    /// Puts the mark of a disk on its way behind it.
    pub(super) fn put(&self, pages: &dyn Pages, blob_bytes: u64) -> Result<(), Error> {
        let Some(sector) = self.encode() else {
            return Err(Error::misuse("disk", "is not on its way, and so has no mark"));
        };
        Ok(pages.put(blob_bytes - FOOTER_BYTES as u64, &sector)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hydrate::vhd::footer;

    #[test]
    fn marks_are_read_back_and_nothing_else_is_one() {
        let (to, disk) = (PointId([7; 16]), DiskId([8; 16]));
        for from in [None, Some(PointId([9; 16]))] {
            let mark = Mark::Moving { from, to, disk };
            let sector = mark.encode().unwrap();
            assert_eq!(Mark::decode(&sector), mark);
            for at in 0..FOOTER_BYTES {
                let mut damaged = sector;
                damaged[at] ^= 1;
                assert_ne!(Mark::decode(&damaged), mark, "byte {at}");
            }
        }
        assert_eq!(Mark::decode(&[0; FOOTER_BYTES]), Mark::Nothing);
        assert_eq!(Mark::decode(&[1; FOOTER_BYTES]), Mark::Foreign);
        let owner = Owner::of(to, disk);
        assert_eq!(Mark::decode(&footer(1 << 20, owner, 0).unwrap()), Mark::Whole(owner));
    }
}
