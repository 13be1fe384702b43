//! A disk as a stream of bytes says the same as the disk itself.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use embedded_io::{Read, Seek, SeekFrom, Write};
use hal::disk::{Disk, ErrorKind};
use hal::stream::DiskStream;
use hal_sim::disk::Sectors;
use hal_sim::random::Random;
use hal_sim::{Faults, SimDisk};

const BYTES: u64 = 300 * 1024;

fn sizes(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

#[test]
fn random_reads_and_writes_equal_a_flat_copy() {
    for (sectors, odd) in [(Sectors::Small, 512), (Sectors::Large, 4096), (Sectors::Unaligned, 77)]
    {
        let bytes = BYTES + odd;
        let disk = SimDisk::with_sectors(bytes, sectors);
        let mut stream = DiskStream::new(disk.another().unwrap()).unwrap();
        let mut flat = vec![0_u8; sizes(bytes)];
        let mut random = Random::new(odd);
        for _ in 0..400 {
            let start = random.below(bytes);
            let length = random.below((bytes - start).min(150_000) + 1);
            let range = sizes(start)..sizes(start + length);
            assert_eq!(stream.seek(SeekFrom::Start(start)).unwrap(), start);
            if random.below(2) == 0 {
                random.fill(&mut flat[range.clone()]);
                stream.write_all(&flat[range]).unwrap();
            } else {
                let mut read = vec![1; range.len()];
                stream.read_exact(&mut read).unwrap();
                assert!(read == flat[range]);
            }
        }
        stream.finish().unwrap();
        assert!(disk.content(0, flat.len()) == flat, "all of it is on the disk in the end");
        assert_eq!(disk.counts().flushes, 1);
    }
}

#[test]
fn the_end_is_the_end() {
    let mut stream = DiskStream::new(SimDisk::new(BYTES)).unwrap();
    assert_eq!(stream.seek(SeekFrom::End(-3)).unwrap(), BYTES - 3);
    let mut bytes = [9; 10];
    assert_eq!(stream.read(&mut bytes).unwrap(), 3);
    assert_eq!(stream.read(&mut bytes).unwrap(), 0);
    assert_eq!(stream.seek(SeekFrom::Current(-1)).unwrap(), BYTES - 1);
    assert_eq!(stream.write(&[1, 2, 3]).unwrap(), 1);
    assert_eq!(stream.write(&[2]).unwrap_err().kind, ErrorKind::Full);
    assert_eq!(stream.write(&[]).unwrap(), 0);
    assert_eq!(stream.seek(SeekFrom::End(1000)).unwrap(), BYTES + 1000);
    assert_eq!(stream.read(&mut bytes).unwrap(), 0);
    assert_eq!(stream.write(&[2]).unwrap_err().kind, ErrorKind::Full);
    let before = stream.seek(SeekFrom::End(-i64::MAX)).unwrap_err();
    assert_eq!(before.kind, ErrorKind::Misuse);
    assert_eq!(
        stream.seek(SeekFrom::Current(0)).unwrap(),
        BYTES + 1000,
        "a refused seek moves nothing"
    );
}

#[test]
fn a_failed_read_says_where_and_the_stream_goes_on() {
    let disk = SimDisk::new(BYTES);
    disk.load(0, &[7; 65_536]);
    let broken = 65_536..131_072;
    disk.set_faults(Faults { read_error_ranges: vec![broken], ..Faults::default() });
    let mut stream = DiskStream::new(disk).unwrap();
    let mut bytes = [0; 100];
    stream.read_exact(&mut bytes).unwrap();
    stream.seek(SeekFrom::Start(70_000)).unwrap();
    let error = stream.read(&mut bytes).unwrap_err();
    assert_eq!((error.kind, error.offset), (ErrorKind::Medium, Some(65_536)));
    stream.seek(SeekFrom::Start(5)).unwrap();
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, [7; 100]);
}

#[test]
fn a_failed_write_back_loses_nothing_that_is_held() {
    let disk = SimDisk::new(BYTES);
    let broken = 0..512;
    disk.set_faults(Faults { write_error_ranges: vec![broken], ..Faults::default() });
    let mut stream = DiskStream::new(disk.another().unwrap()).unwrap();
    stream.write_all(&[5; 100]).unwrap();
    assert_eq!(stream.flush().unwrap_err().kind, ErrorKind::Medium);
    stream.seek(SeekFrom::Start(200_000)).unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap_err().kind, ErrorKind::Medium);
    disk.set_faults(Faults::default());
    stream.finish().unwrap();
    assert_eq!(disk.content(0, 100), [5; 100]);
}
