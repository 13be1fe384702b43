//! The stream-optimised VMDK that VMware imports: compressed grains in their order, each with its place in front, and
//! the tables behind them.

use miniz_oxide::deflate::compress_to_vec_zlib;

use crate::error::{Blame, Error};

const SECTOR: usize = 512;
/// Sectors of a grain: 64 KiB.
const GRAIN_SECTORS: usize = 128;
const GRAIN: usize = GRAIN_SECTORS * SECTOR;
/// Grains of one table.
const TABLE_ENTRIES: usize = 512;
/// Sectors before the first grain.
const OVERHEAD: u64 = 128;
const DESCRIPTOR_SECTORS: u64 = 20;
/// Line ends can be checked, grains are compressed, and markers stand between them.
const FLAGS: u32 = 0x0003_0001;
/// The directory's place, where it stands at the end.
const AT_END: u64 = u64::MAX;
const LEVEL: u8 = 6;

const TABLE: u32 = 1;
const DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;

/// The disk as VMDK.
pub fn make(name: &str, disk: &[u8], content: u32) -> Result<Vec<u8>, Error> {
    let capacity = (disk.len() / SECTOR) as u64;
    let mut out = Stream { bytes: header(capacity, AT_END).to_vec() };
    let descriptor = descriptor(name, capacity, content);
    out.bytes.extend_from_slice(descriptor.as_bytes());
    out.bytes.resize(usize::try_from(OVERHEAD).unwrap_or(usize::MAX) * SECTOR, 0);
    let mut directory = Vec::new();
    for (place, part) in disk.chunks(TABLE_ENTRIES * GRAIN).enumerate() {
        let mut table = Vec::new();
        for (inner, grain) in part.chunks(GRAIN).enumerate() {
            let lba = ((place * TABLE_ENTRIES + inner) * GRAIN_SECTORS) as u64;
            table.push(out.grain(lba, grain)?);
        }
        directory.push(out.table(TABLE, &table)?);
    }
    let directory = u64::from(out.table(DIRECTORY, &directory)?);
    out.marker(1, FOOTER);
    out.bytes.extend_from_slice(&header(capacity, directory));
    // A marker of nothing: the end of the stream.
    out.marker(0, 0);
    Ok(out.bytes)
}

struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    fn sector(&self) -> Result<u32, Error> {
        u32::try_from(self.bytes.len() / SECTOR).map_err(|_| {
            Error::new(Blame::Limit, "VMDK", "larger than the format allows", "take another format")
        })
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR), 0);
    }

    /// Writes a grain where there is anything in it; the sector where it begins, or 0.
    fn grain(&mut self, lba: u64, grain: &[u8]) -> Result<u32, Error> {
        if grain.iter().all(|&byte| byte == 0) {
            return Ok(0);
        }
        let sector = self.sector()?;
        let mut whole = grain.to_vec();
        whole.resize(GRAIN, 0);
        let squeezed = compress_to_vec_zlib(&whole, LEVEL);
        self.bytes.extend_from_slice(&lba.to_le_bytes());
        self.bytes
            .extend_from_slice(&u32::try_from(squeezed.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(&squeezed);
        self.pad();
        Ok(sector)
    }

    /// Writes a table of sectors behind its marker; the sector where the table begins, or 0 for one of nothing.
    fn table(&mut self, kind: u32, entries: &[u32]) -> Result<u32, Error> {
        if kind == TABLE && entries.iter().all(|&entry| entry == 0) {
            return Ok(0);
        }
        let mut bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let length = if kind == TABLE { TABLE_ENTRIES * 4 } else { bytes.len() };
        bytes.resize(length.next_multiple_of(SECTOR), 0);
        self.marker((bytes.len() / SECTOR) as u64, kind);
        let sector = self.sector()?;
        self.bytes.extend_from_slice(&bytes);
        Ok(sector)
    }

    fn marker(&mut self, sectors: u64, kind: u32) {
        self.bytes.extend_from_slice(&sectors.to_le_bytes());
        self.bytes.extend_from_slice(&0_u32.to_le_bytes());
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.pad();
    }
}

fn header(capacity: u64, directory: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, b"KDMV");
    put(4, &3_u32.to_le_bytes());
    put(8, &FLAGS.to_le_bytes());
    put(12, &capacity.to_le_bytes());
    put(20, &(GRAIN_SECTORS as u64).to_le_bytes());
    put(28, &1_u64.to_le_bytes());
    put(36, &DESCRIPTOR_SECTORS.to_le_bytes());
    put(44, &512_u32.to_le_bytes());
    put(56, &directory.to_le_bytes());
    put(64, &OVERHEAD.to_le_bytes());
    put(73, b"\n \r\n");
    put(77, &1_u16.to_le_bytes());
    bytes
}

fn descriptor(name: &str, capacity: u64, content: u32) -> String {
    let cylinders = capacity / (255 * 63);
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={content:08x}\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\
         # Extent description\nRW {capacity} SPARSE \"{name}\"\n# The Disk Data Base\n#DDB\n\
         ddb.virtualHWVersion = \"13\"\nddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grains_are_found_by_their_tables_and_hold_what_they_held() {
        let mut disk = vec![0; 3 * GRAIN];
        disk[GRAIN..2 * GRAIN].fill(9);
        let image = make("x.vmdk", &disk, 1).unwrap();
        assert!(image.len().is_multiple_of(SECTOR));
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
        let footer = image.len() - 2 * SECTOR;
        assert_eq!(&image[footer..footer + 4], b"KDMV");
        let table = word(word(footer + 56) * SECTOR) * SECTOR;
        assert_eq!((word(table), word(table + 8)), (0, 0), "empty grains are left out");
        let grain = word(table + 4) * SECTOR;
        assert_eq!(word(grain), GRAIN_SECTORS);
        let squeezed = &image[grain + 12..grain + 12 + word(grain + 8)];
        let plain = miniz_oxide::inflate::decompress_to_vec_zlib(squeezed).unwrap();
        assert_eq!(plain, vec![9; GRAIN]);
    }
}
