//! The fixed VHD that Azure takes: the disk, and one sector that describes it behind it.

use crate::error::{Blame, Error};
use crate::identity::Identity;

/// Azure takes disks of whole mebibytes only.
const ROUND: usize = 1024 * 1024;
/// The format counts from the beginning of 2000.
const EPOCH: u64 = 946_684_800;

/// The disk with its description.
pub fn make(mut disk: Vec<u8>, identity: &Identity, built: u64) -> Result<Vec<u8>, Error> {
    if !disk.len().is_multiple_of(ROUND) {
        return Err(Error::new(
            Blame::Limit,
            "the VHD",
            format!("{} bytes are no whole mebibytes, and Azure would refuse it", disk.len()),
            "this is a mistake of the builder: report it",
        ));
    }
    let size = (disk.len() as u64).to_be_bytes();
    let (cylinders, heads, sectors) = geometry(disk.len() as u64 / 512);
    let stamp = u32::try_from(built.saturating_sub(EPOCH)).unwrap_or(u32::MAX);
    let mut footer = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| footer[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"conectix");
    put(8, &2_u32.to_be_bytes());
    put(12, &0x0001_0000_u32.to_be_bytes());
    put(16, &u64::MAX.to_be_bytes());
    put(24, &stamp.to_be_bytes());
    // By this name readers know that the size below counts, and not what cylinders, heads and sectors make.
    put(28, b"win ");
    put(32, &0x000a_0000_u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &size);
    put(48, &size);
    put(56, &cylinders.to_be_bytes());
    put(58, &[heads, sectors]);
    put(60, &2_u32.to_be_bytes());
    put(68, identity.uuid("vhd").as_bytes());
    let sum = footer.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    disk.extend_from_slice(&footer);
    Ok(disk)
}

/// Cylinders, heads and sectors, as the format's description computes them.
fn geometry(sectors: u64) -> (u16, u8, u8) {
    let sectors = sectors.min(65_535 * 16 * 255);
    let (per_track, heads, tracks) = if sectors >= 65_535 * 16 * 63 {
        (255, 16, sectors / 255)
    } else {
        let tracks = sectors / 17;
        let heads = tracks.div_ceil(1024).max(4);
        if tracks < heads * 1024 && heads <= 16 {
            (17, heads, tracks)
        } else if sectors / 31 < 16 * 1024 {
            (31, 16, sectors / 31)
        } else {
            (63, 16, sectors / 63)
        }
    };
    let byte = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
    (u16::try_from(tracks / heads).unwrap_or(u16::MAX), byte(heads), byte(per_track))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sector_describes_the_disk() {
        let disk = vec![7; 3 * ROUND];
        let vhd = make(disk.clone(), &Identity::of(&[]), EPOCH + 5).unwrap();
        assert_eq!(vhd[..disk.len()], disk);
        let footer = &vhd[disk.len()..];
        assert_eq!((footer.len(), &footer[..8]), (512, &b"conectix"[..]));
        assert_eq!(footer[24..28], [0, 0, 0, 5]);
        assert_eq!(footer[48..56], (3_u64 << 20).to_be_bytes());
        let mut bare = footer.to_vec();
        bare[64..68].fill(0);
        let sum: u32 = bare.iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(footer[64..68], (!sum).to_be_bytes());
        assert!(make(vec![0; ROUND + 512], &Identity::of(&[]), 0).is_err());
    }

    #[test]
    fn geometries_are_those_of_the_formats_description() {
        assert_eq!(geometry(78 * 2048), (939, 10, 17));
        assert_eq!(geometry(2 * 1024 * 2048), (4161, 16, 63));
        assert_eq!(geometry(u64::MAX), (65535, 16, 255));
    }
}
