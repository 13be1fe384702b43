//! The footer of a fixed VHD: the sector behind a disk's bytes by which Azure knows what it is.
//!
//! `image` writes one too and may name nothing of this crate: the builder stands alone.

/// Length of the footer.
pub const FOOTER_BYTES: usize = 512;
/// The format counts seconds from the beginning of 2000.
const EPOCH: u64 = 946_684_800;

/// What a footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The disk's length, without the footer.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub unix_seconds: u64,
    /// The disk's own name.
    pub uuid: [u8; 16],
    /// Who made it; readers decide by it what to believe, so it is one that they know.
    pub creator: [u8; 4],
    /// The maker's version.
    pub creator_version: u32,
}

impl Footer {
    /// A footer of ours.
    pub fn new(bytes: u64, unix_seconds: u64, uuid: [u8; 16]) -> Self {
        // By this name readers know that the length counts, and not what cylinders, heads and sectors make.
        Self { bytes, unix_seconds, uuid, creator: *b"win ", creator_version: 0x000a_0000 }
    }

    /// The sector.
    pub fn sector(&self) -> [u8; FOOTER_BYTES] {
        let stamp = u32::try_from(self.unix_seconds.saturating_sub(EPOCH)).unwrap_or(u32::MAX);
        let size = self.bytes.to_be_bytes();
        let mut sector = [0; FOOTER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"conectix");
        put(8, &2_u32.to_be_bytes());
        put(12, &0x0001_0000_u32.to_be_bytes());
        put(16, &u64::MAX.to_be_bytes());
        put(24, &stamp.to_be_bytes());
        put(28, &self.creator);
        put(32, &self.creator_version.to_be_bytes());
        put(36, b"Wi2k");
        put(40, &size);
        put(48, &size);
        // The most that cylinders, heads and sectors can say: whoever computes with them gets no disk cut short.
        put(56, &[0xff, 0xff, 16, 255]);
        put(60, &2_u32.to_be_bytes());
        put(68, &self.uuid);
        let sum = sector.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        sector[64..68].copy_from_slice(&(!sum).to_be_bytes());
        sector
    }

    /// Reads a footer; `None` where it is none of a fixed disk, or its checksum is wrong.
    pub fn read(sector: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let four = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&sector[at..at + 4]);
            bytes
        };
        let mut bare = *sector;
        bare[64..68].fill(0);
        let sum = bare.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sound = sector.starts_with(b"conectix")
            && u32::from_be_bytes(four(60)) == 2
            && four(64) == (!sum).to_be_bytes();
        if !sound {
            return None;
        }
        let (mut size, mut uuid) = ([0; 8], [0; 16]);
        size.copy_from_slice(&sector[48..56]);
        uuid.copy_from_slice(&sector[68..84]);
        Some(Self {
            bytes: u64::from_be_bytes(size),
            unix_seconds: u64::from(u32::from_be_bytes(four(24))) + EPOCH,
            uuid,
            creator: four(28),
            creator_version: u32::from_be_bytes(four(32)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::hex;

    #[test]
    fn a_footer_is_read_back_and_a_damaged_one_is_not() {
        let footer = Footer::new(40 << 40, EPOCH + 5, [7; 16]);
        let sector = footer.sector();
        assert_eq!(Footer::read(&sector), Some(footer));
        for at in 0..FOOTER_BYTES {
            let mut damaged = sector;
            damaged[at] ^= 1;
            assert_eq!(Footer::read(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn footers_of_qemu_come_out_byte_for_byte() {
        let Some(vectors) = crate::test_vectors::shared("vhd_footer_vectors.json") else { return };
        let cases = vectors["vectors"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let text = case["footer_hex"].as_str().unwrap();
            let uuid: Vec<u8> = (0..16)
                .map(|at| u8::from_str_radix(&text[136 + at * 2..138 + at * 2], 16).unwrap())
                .collect();
            let ours = Footer {
                bytes: case["virtual_size"].as_u64().unwrap(),
                unix_seconds: case["timestamp"].as_u64().unwrap() + EPOCH,
                uuid: uuid.try_into().unwrap(),
                creator: *b"qem2",
                creator_version: 0x0005_0003,
            };
            assert_eq!(hex(&ours.sector()), text, "{}", case["virtual_size"]);
            assert_eq!(Footer::read(&ours.sector()), Some(ours));
        }
    }
}
