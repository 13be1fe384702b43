//! The last sector of a fixed VHD, which says that the bytes before it are a disk, and which. Azure takes disks in no other form.

use pipeline::ids::{DiskId, PointId};
pub use pipeline_azure::vhd::FOOTER_BYTES;
use pipeline_azure::vhd::Footer;
use pipeline_vault::Error;

/// Azure takes disks of whole mebibytes only.
pub const ROUND_BYTES: u64 = 1024 * 1024;
/// Smallest disk that Azure takes.
pub const DISK_BYTES_MIN: u64 = 20 * 1024 * 1024;
/// Largest disk that Azure takes: 32 767 GiB.
pub const DISK_BYTES_MAX: u64 = 32_767 << 30;

/// The size that a disk has in Azure: its own, and zeros up to the next whole mebibyte, or to the smallest that there is.
#[must_use]
pub fn padded(bytes: u64) -> u64 {
    bytes.max(DISK_BYTES_MIN).next_multiple_of(ROUND_BYTES)
}

/// The length of the whole VHD, which an upload must have.
#[must_use]
pub fn whole(bytes: u64) -> u64 {
    padded(bytes) + FOOTER_BYTES as u64
}

/// Whose disk a VHD is: what its last sector carries, so that whoever goes on with one knows what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner([u8; 16]);

impl Owner {
    /// The disk of a point.
    #[must_use]
    pub fn of(point: PointId, disk: DiskId) -> Self {
        let mut mixed = point.0;
        mixed.iter_mut().zip(disk.0).for_each(|(byte, other)| *byte ^= other);
        Self(mixed)
    }

    /// The same disk with something on top of the point.
    #[must_use]
    pub fn dressed(self) -> Self {
        Self(self.0.map(|byte| byte ^ 0xD5))
    }

    /// Whose the sector says it is; `None` where it is no last sector of a fixed VHD.
    #[must_use]
    pub fn read(sector: &[u8; FOOTER_BYTES]) -> Option<Self> {
        Footer::read(sector).map(|footer| Self(footer.uuid))
    }
}

/// The last sector of the VHD of a disk of so many bytes, made at `time` (milliseconds since 1970).
///
/// Errors: more than the format can say.
pub fn footer(bytes: u64, owner: Owner, time: u64) -> Result<[u8; FOOTER_BYTES], Error> {
    if !bytes.is_multiple_of(ROUND_BYTES) {
        let what = format!("{bytes} bytes are no whole mebibytes");
        return Err(Error::misuse("VHD", what));
    }
    Ok(Footer::new(bytes, time / 1000, owner.0).sector())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_mebibytes_and_no_less_than_azures_least() {
        assert_eq!(padded(1), 20 << 20);
        assert_eq!(padded(20 << 20), 20 << 20);
        assert_eq!(padded((20 << 20) + 512), 21 << 20);
        assert_eq!(whole(DISK_BYTES_MAX), 35_183_298_347_520, "Azure's own upper limit");
        assert_eq!(whole(0), 20_972_032, "Azure's own lower limit");
    }

    #[test]
    fn an_owner_is_read_back_from_whole_disks_only() {
        let owner = Owner::of(PointId([0x5A; 16]), DiskId([3; 16]));
        let sector = footer(64 << 20, owner, 1_790_000_000_000).unwrap();
        assert_eq!(Owner::read(&sector), Some(owner));
        assert_ne!(owner.dressed(), owner);
        assert_eq!(owner.dressed().dressed(), owner);
        assert_eq!(Owner::read(&[0; FOOTER_BYTES]), None);
        assert!(footer(512, owner, 0).is_err());
    }
}
