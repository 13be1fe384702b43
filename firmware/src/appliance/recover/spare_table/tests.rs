//! The spare table goes to the end of every disk that has one, and nothing else is touched, whatever the bytes.

use std::io::Cursor;

use hal_sim::random::Random;

use super::*;

const OLD: u64 = 1 << 20;
const NEW: u64 = OLD + (64 << 10);

/// A disk as an installer leaves it, in so large a file.
fn disk(file_bytes: u64, sector: u64) -> Cursor<Vec<u8>> {
    let mut disk = Cursor::new(vec![0; usize::try_from(file_bytes).unwrap()]);
    let last = OLD / sector - 1;
    let mut entries = vec![0; 128 * 128];
    entries
        .iter_mut()
        .take(200)
        .enumerate()
        .for_each(|(at, byte)| *byte = u8::try_from(at).unwrap());
    let room = 128 * 128 / sector;
    let mut header = Header(vec![0; usize::try_from(sector).unwrap()]);
    header.0[..8].copy_from_slice(SIGNATURE);
    header.0[10] = 1;
    header.0[HEADER_BYTES_AT] = 92;
    header.0[56..72].copy_from_slice(b"the disk's GUID!");
    header.0[ENTRY_COUNT_AT] = 128;
    header.0[ENTRY_BYTES_AT] = 128;
    header.0[ENTRIES_CHECKSUM_AT..92].copy_from_slice(&CRC.checksum(&entries).to_le_bytes());
    header.set(FIRST_USABLE_AT, 2 + room);
    header.set(LAST_USABLE_AT, last - room - 1);
    for (own, other, start) in [(1, last, 2), (last, 1, last - room)] {
        header.set(OWN_AT, own);
        header.set(OTHER_AT, other);
        header.set(ENTRIES_AT, start);
        header.seal();
        write(&mut disk, own * sector, &header.0).unwrap();
        write(&mut disk, start * sector, &entries).unwrap();
    }
    let size = u32::try_from(last).unwrap().to_le_bytes();
    write(&mut disk, 446 + 12, &size).unwrap();
    write(&mut disk, 446 + 4, &[0xEE]).unwrap();
    disk
}

fn moved(disk: &mut Cursor<Vec<u8>>, sector: u64) -> Moved {
    let new = disk.get_ref().len() as u64;
    relocate(disk, OLD, new, sector, &|_| Ok(())).unwrap()
}

#[test]
fn the_spare_goes_to_the_end_and_everything_else_stays() {
    for sector in [512, 4096] {
        let before = disk(NEW, sector);
        let mut after = before.clone();
        assert_eq!(moved(&mut after, sector), Moved::Yes);
        let new_last = NEW / sector - 1;
        let (first, entries) = read_whole(&mut after, new_last, sector).unwrap().unwrap();
        assert_eq!(
            entries,
            read_whole(&mut before.clone(), OLD / sector - 1, sector).unwrap().unwrap().1
        );
        assert_eq!(&first.0[56..72], b"the disk's GUID!");
        assert_eq!(first.number(LAST_USABLE_AT), new_last - 128 * 128 / sector - 1);
        let size = read(&mut after, 446 + 12, 4).unwrap();
        assert_eq!(size, u32::try_from(new_last).unwrap().to_le_bytes());
        // The old spare is no table any more, so that nobody takes it for one.
        assert_eq!(moved(&mut after, sector), Moved::No);
        let s = usize::try_from(sector).unwrap();
        let (old, new) = (before.get_ref(), after.get_ref());
        let untouched = 2 * s..usize::try_from(OLD).unwrap() - s;
        assert_eq!(old[untouched.clone()], new[untouched]);
    }
}

#[test]
fn what_is_no_whole_table_of_the_old_size_is_left_alone() {
    let mut same_size = disk(OLD, 512);
    assert_eq!(moved(&mut same_size, 512), Moved::No);
    let mut empty = Cursor::new(vec![0; usize::try_from(NEW).unwrap()]);
    assert_eq!(moved(&mut empty, 512), Moved::No);
    let mut other_sectors = disk(NEW, 512);
    assert_eq!(moved(&mut other_sectors, 4096), Moved::No);
    // Each byte of the headers and one of the entries of either table counts.
    let ends = [512..604, 1024..1025, OLD - 512..OLD - 420, OLD - 512 - 16384..OLD - 512 - 16383];
    for at in ends.into_iter().flatten() {
        let mut hurt = disk(NEW, 512);
        hurt.get_mut()[usize::try_from(at).unwrap()] ^= 0x40;
        let before = hurt.get_ref().clone();
        assert_eq!(moved(&mut hurt, 512), Moved::No, "byte {at}");
        assert!(before == *hurt.get_ref(), "byte {at}");
    }
}

#[test]
fn any_bytes_end_in_an_answer() {
    let mut random = Random::new(41);
    for round in 0..3000 {
        let mut hurt = disk(NEW, 512);
        for _ in 0..=random.below(4) {
            let base = if random.below(2) == 0 { 512 } else { OLD - 512 };
            let at = usize::try_from(base + random.below(92)).unwrap();
            hurt.get_mut()[at] = u8::try_from(random.below(256)).unwrap();
        }
        for at in [512, OLD - 512] {
            // With a good checksum too: then the numbers themselves are hostile.
            let mut header = Header(read(&mut hurt, at, 512).unwrap());
            if round % 2 == 0 {
                header.seal();
                write(&mut hurt, at, &header.0).unwrap();
            }
        }
        let sizes = [OLD, NEW, random.below(NEW), u64::MAX];
        for old in sizes {
            // An error of reading past the end is an answer too.
            let _ = relocate(&mut hurt.clone(), old, NEW, 512, &|_| Ok(()));
        }
    }
}

#[test]
fn a_cut_between_any_two_writes_leaves_a_whole_table() {
    /// A disk that takes so many writes and loses the rest.
    struct Cut(Cursor<Vec<u8>>, usize);
    impl Read for Cut {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Seek for Cut {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    impl Write for Cut {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1 == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.1 -= 1;
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for writes in 0..6 {
        let mut cut = Cut(disk(NEW, 512), writes);
        let done = relocate(&mut cut, OLD, NEW, 512, &|_| Ok(()));
        assert_eq!(done.is_ok(), writes >= 5, "after {writes} writes");
        let mut whole = |last: u64| read_whole(&mut cut.0, last, 512).unwrap().is_some();
        let (old, new) = (whole(OLD / 512 - 1), whole(NEW / 512 - 1));
        assert!(old || new, "after {writes} writes");
    }
}
