//! What is on a disk, by its first and last bytes: what a person is told before anything is written over.
//!
//! It takes any bytes, knows what is common, and says of the rest that there is something. It never writes.

use hal::disk::{Disk, DiskError, Operation, Request};

use crate::spool::superblock::MAGIC as SPOOL;

/// What is looked at, at either end.
const END_BYTES: u64 = 1024 * 1024;

/// Where something is known by which bytes, the more telling first.
const HEAD: [(usize, &[u8], &str); 16] = [
    (0, &SPOOL, "a spool"),
    (512, b"EFI PART", "a partition table"),
    (4096, b"EFI PART", "a partition table"),
    (0, b"LUKS\xba\xbe", "LUKS, encrypted"),
    (512, b"LABELONE", "LVM"),
    (1080, b"\x53\xef", "a file system (ext)"),
    (0, b"XFSB", "a file system (XFS)"),
    (65_600, b"_BHRfS_M", "a file system (btrfs)"),
    (3, b"NTFS    ", "a file system (NTFS)"),
    (82, b"FAT32   ", "a file system (FAT)"),
    (54, b"FAT", "a file system (FAT)"),
    (4086, b"SWAPSPACE2", "swap"),
    (4096, b"\xfc\x4e\x2b\xa9", "a part of an md array"),
    (0, b"\xfc\x4e\x2b\xa9", "a part of an md array"),
    (32_769, b"CD001", "a CD image"),
    (510, b"\x55\xaa", "a partition table"),
];

/// What is on a disk, in words for a person; `None` where there are only zeros at both its ends.
pub fn look<D: Disk>(disk: &mut D) -> Result<Option<&'static str>, DiskError> {
    let geometry = disk.geometry()?;
    let length = END_BYTES.min(geometry.bytes);
    let align = u64::from(geometry.request_align_bytes.max(1));
    let head = read(disk, 0, length)?;
    let start = (geometry.bytes - length).div_ceil(align) * align;
    let end = read(disk, start, geometry.bytes - start)?;
    Ok(name(&head, &end))
}

/// The same of the bytes at both ends.
#[must_use]
pub fn name(head: &[u8], end: &[u8]) -> Option<&'static str> {
    let is = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let known = HEAD.iter().find(|(at, magic, _)| is(*at, magic)).map(|(_, _, words)| *words);
    // Members of older md arrays say so at their end, and a table may have lost its first copy.
    let places = end.chunks(512).map(|sector| sector.get(..8).unwrap_or_default());
    let at_end = places.into_iter().find_map(|first| match first {
        b"EFI PART" => Some("what is left of a partition table"),
        [0xfc, 0x4e, 0x2b, 0xa9, ..] => Some("a part of an md array"),
        _ => None,
    });
    let blank = [head, end].iter().all(|bytes| bytes.iter().all(|byte| *byte == 0));
    known.or(at_end).or(if blank { None } else { Some("something that Lifeboat does not know") })
}

fn read<D: Disk>(disk: &mut D, offset: u64, length: u64) -> Result<Vec<u8>, DiskError> {
    let bytes = usize::try_from(length).unwrap_or(0);
    let Ok(short) = u32::try_from(length) else { return Ok(Vec::new()) };
    if bytes == 0 {
        return Ok(Vec::new());
    }
    // Room for an end that is not aligned.
    let buffer = Some(disk.buffer(bytes.next_multiple_of(4096))?);
    let request = Request { token: 0, operation: Operation::Read, offset, length: short, buffer };
    let done = disk.run(request)?;
    done.result?;
    let read = done.buffer.as_ref().and_then(|buffer| buffer.as_ref().get(..bytes));
    Ok(read.unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use hal_sim::SimDisk;
    use hal_sim::random::Random;

    use super::*;

    fn seen(at: u64, magic: &[u8]) -> Option<&'static str> {
        let disk = SimDisk::new(8 << 20);
        disk.load(at, magic);
        look(&mut disk.reopen()).unwrap()
    }

    #[test]
    fn what_is_common_is_named_and_zeros_are_nothing() {
        assert_eq!(look(&mut SimDisk::new(8 << 20)).unwrap(), None);
        assert_eq!(look(&mut SimDisk::new(512)).unwrap(), None, "a tiny one");
        for (at, magic, words) in HEAD {
            assert_eq!(seen(at as u64, magic), Some(words));
        }
        assert_eq!(seen((8 << 20) - 512, b"EFI PART"), Some("what is left of a partition table"));
        assert_eq!(seen((8 << 20) - 65_536, b"\xfc\x4e\x2b\xa9"), Some("a part of an md array"));
        assert_eq!(seen(700_000, b"x"), Some("something that Lifeboat does not know"));
        assert_eq!(seen((8 << 20) - 1, b"x"), Some("something that Lifeboat does not know"));
        assert_eq!(seen(4 << 20, b"x"), None, "the middle is not looked at");
    }

    #[test]
    fn any_bytes_have_a_name_or_are_zeros() {
        let mut random = Random::new(4);
        for _ in 0..2000 {
            let mut bytes = vec![0; usize::try_from(random.below(70_000)).unwrap()];
            let blank = random.below(4) == 0;
            if !blank {
                random.fill(&mut bytes);
            }
            let found = name(&bytes, &bytes[bytes.len() / 2..]);
            assert!(found.is_none() == bytes.iter().all(|byte| *byte == 0));
        }
    }
}
