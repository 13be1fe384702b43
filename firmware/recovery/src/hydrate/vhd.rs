//! The last sector of a fixed VHD, which says that the bytes before it are a disk, and which. Azure takes disks in no other form.

use pipeline::ids::{DiskId, PointId};
use pipeline_vault::Error;

/// Bytes of the last sector.
pub const FOOTER_BYTES: usize = 512;
/// Azure takes disks of whole mebibytes only.
pub const ROUND_BYTES: u64 = 1024 * 1024;
/// Smallest disk that Azure takes.
pub const DISK_BYTES_MIN: u64 = 20 * 1024 * 1024;
/// Largest disk that Azure takes: 32 767 GiB.
pub const DISK_BYTES_MAX: u64 = 32_767 << 30;
/// The format counts from the beginning of 2000.
const EPOCH_MS: u64 = 946_684_800_000;

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
        let bare: u32 = sector.iter().map(|byte| u32::from(*byte)).sum::<u32>()
            - sector[64..68].iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let fits = sector.starts_with(b"conectix") && sector[64..68] == (!bare).to_be_bytes();
        let owner = sector[68..84].try_into().expect("sixteen bytes");
        fits.then_some(Self(owner))
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
    let stamp = u32::try_from(time.saturating_sub(EPOCH_MS) / 1000).unwrap_or(u32::MAX);
    let mut sector = [0; FOOTER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"conectix");
    put(8, &2_u32.to_be_bytes());
    put(12, &0x0001_0000_u32.to_be_bytes());
    put(16, &u64::MAX.to_be_bytes());
    put(24, &stamp.to_be_bytes());
    // By this name readers know that the size below counts, and not what cylinders, heads and sectors make.
    put(28, b"win ");
    put(32, &0x000a_0000_u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &bytes.to_be_bytes());
    put(48, &bytes.to_be_bytes());
    // The most that they can say, as qemu-img's `force_size` does; Azure goes by the size.
    put(56, &[0xFF, 0xFF, 16, 255]);
    put(60, &2_u32.to_be_bytes());
    put(68, &owner.0);
    let sum = sector.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sector[64..68].copy_from_slice(&(!sum).to_be_bytes());
    Ok(sector)
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
    fn an_owner_is_read_back_and_damage_is_noticed() {
        let owner = Owner::of(PointId([0x5A; 16]), DiskId([3; 16]));
        let sector = footer(64 << 20, owner, EPOCH_MS + 5999).unwrap();
        assert_eq!(sector[24..28], [0, 0, 0, 5]);
        assert_eq!(Owner::read(&sector), Some(owner));
        for at in 0..FOOTER_BYTES {
            let mut damaged = sector;
            damaged[at] ^= 0x10;
            assert_eq!(Owner::read(&damaged), None, "byte {at}");
        }
        assert_eq!(Owner::read(&[0; FOOTER_BYTES]), None);
        assert_eq!(Owner::read(&[0xFF; FOOTER_BYTES]), None);
        assert!(footer(512, owner, 0).is_err());
    }
}
