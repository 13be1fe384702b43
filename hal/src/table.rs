//! The GUID of a partition table, read from one sector: what names a disk when its cables have been
//! swapped.
//!
//! It reads no more of a GPT than that, and takes any bytes: what is not a sound header is `None`.

/// The only header size there has ever been; later ones may be longer.
const HEADER_BYTES_MIN: usize = 92;
const SIGNATURE: &[u8] = b"EFI PART";

/// The disk GUID, as the bytes stand on the disk, of a GPT header that is sound and says that it
/// belongs at `lba`. The main header is at 1, the spare one in the disk's last sector.
pub fn table_guid(sector: &[u8], lba: u64) -> Option<[u8; 16]> {
    if !sector.starts_with(SIGNATURE) {
        return None;
    }
    let length = usize::try_from(word(sector, 12)?).ok()?;
    if length < HEADER_BYTES_MIN {
        return None;
    }
    let header = sector.get(..length)?;
    let checksum = word(header, 16)?;
    // The checksum is made with its own place held at zero.
    let mut crc = Crc32::default();
    crc.update(header.get(..16)?);
    crc.update(&[0; 4]);
    crc.update(header.get(20..)?);
    if crc.value() != checksum {
        return None;
    }
    if u64::from_le_bytes(header.get(24..32)?.try_into().ok()?) != lba {
        return None;
    }
    header.get(56..72)?.try_into().ok()
}

/// A GUID as people write it: the first three groups are little-endian on the disk.
pub fn guid_text(guid: &[u8; 16]) -> heapless::String<36> {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = heapless::String::new();
    for (place, index) in ORDER.into_iter().enumerate() {
        let byte = guid[index];
        let dash = matches!(place, 4 | 6 | 8 | 10).then_some('-');
        let digits = [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
        for letter in dash.into_iter().chain(digits) {
            // 32 digits and 4 dashes are what the string holds, so nothing is ever refused.
            let _ = text.push(letter);
        }
    }
    text
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The CRC of Ethernet and zlib, a bit at a time: one sector has no need of tables.
struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32 {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..8 {
                let carry = self.0 & 1;
                self.0 = (self.0 >> 1) ^ (0xEDB8_8320 & carry.wrapping_neg());
            }
        }
    }

    fn value(&self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's struct, uuid and zlib: LBA 1, disk 1b2c3d4e-5f60-4718-92a3-b4c5d6e7f809.
    const HEADER: &str = "4546492050415254000001005c0000001bb8abb6000000000100000000000000\
        ff3f0000000000002200000000000000de3f0000000000004e3d2c1b605f184792a3b4c5d6e7f809\
        02000000000000008000000080000000efbeadde";

    fn sector() -> [u8; 512] {
        let mut sector = [0; 512];
        for (byte, digits) in sector.iter_mut().zip(HEADER.as_bytes().chunks(2)) {
            let text = core::str::from_utf8(digits).unwrap();
            *byte = u8::from_str_radix(text, 16).unwrap();
        }
        sector
    }

    #[test]
    fn a_header_made_elsewhere_is_read() {
        let guid = table_guid(&sector(), 1).unwrap();
        assert_eq!(guid_text(&guid).as_str(), "1b2c3d4e-5f60-4718-92a3-b4c5d6e7f809");
        assert_eq!(table_guid(&sector(), 2), None, "a header that belongs elsewhere");
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let good = sector();
        for bit in 0..HEADER_BYTES_MIN * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(table_guid(&bad, 1), None, "bit {bit}");
        }
        for length in 0..HEADER_BYTES_MIN {
            assert_eq!(table_guid(&good[..length], 1), None, "{length} bytes");
        }
        for size in [0_u32, 91, 513, u32::MAX] {
            let mut bad = good;
            bad[12..16].copy_from_slice(&size.to_le_bytes());
            assert_eq!(table_guid(&bad, 1), None, "a header that claims {size} bytes");
        }
    }

    #[test]
    fn checksum_is_the_published_one() {
        let mut crc = Crc32::default();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0xCBF4_3926);
    }
}
