//! Holes, zeros and discards.

use hal::disk::{Disk, ErrorKind, Operation};

use super::{Bench, size};

pub(super) fn zeroed_ranges_read_as_zeros<D: Disk>(mut bench: Bench<D>) {
    let unit = size(bench.align().max(512));
    // The whole first half MiB is noise; holes of one unit, of odd length, and of many blocks are
    // cut into it.
    let mut expected = bench.noise(512 * 1024);
    bench.write(0, &expected);
    for (start, length) in
        [(unit, unit), (5 * unit, 7 * unit), (65_536, 65_536), (131_072 + unit, 200 * unit)]
    {
        let end = (start + length).min(expected.len());
        bench.perform(Operation::Zero, start as u64, end - start).expect("zeroing works");
        expected[start..end].fill(0);
        assert!(bench.read(0, expected.len()) == expected, "{start}, {length}");
    }
    // Zeroing what is zero, and a hole up to the end of the disk.
    bench.perform(Operation::Zero, 65_536, 65_536).expect("zeroing zeros works");
    let align = bench.align();
    let bytes = bench.aligned(bench.geometry.bytes);
    let last = bench.aligned(bytes - 300_000);
    let noise = bench.noise(size(bytes - last));
    bench.write(last, &noise);
    bench
        .perform(Operation::Zero, last + align, size(bytes - last - align))
        .expect("zeroing works");
    let read = bench.read(last, noise.len());
    assert_eq!(read[..size(align)], noise[..size(align)]);
    assert!(read[size(align)..].iter().all(|byte| *byte == 0));
    assert_eq!(bench.disk.geometry().expect("asking again works"), bench.geometry);
}

pub(super) fn discard_spares_its_neighbours<D: Disk>(mut bench: Bench<D>) {
    let noise = bench.noise(512 * 1024);
    bench.write(0, &noise);
    let (start, end) = (128 * 1024, 384 * 1024);
    match bench.perform(Operation::Discard, start as u64, end - start) {
        Ok(()) => assert_ne!(bench.geometry.discard_bytes, 0, "a disk that discards says so"),
        Err(error) => assert_eq!(error.kind, ErrorKind::Unsupported, "{error}"),
    }
    let read = bench.read(0, noise.len());
    assert!(read[..start] == noise[..start] && read[end..] == noise[end..]);
    // What was discarded can be written again.
    bench.write(start as u64, &noise[..end - start]);
    assert!(bench.read(start as u64, end - start) == noise[..end - start]);
}

pub(super) fn data_is_never_in_a_hole<D: Disk>(mut bench: Bench<D>) {
    let bytes = bench.geometry.bytes;
    let align = bench.align();
    let spots =
        [0, bench.aligned(bytes / 3), bench.aligned(bytes / 2), bench.aligned(bytes - 9000)];
    for spot in spots {
        let noise = bench.noise(size(bench.align().max(512)));
        bench.write(spot, &noise);
    }
    let content = bench.everything();
    let (mut offset, mut ranges) = (0, 0);
    while let Some((start, end)) = bench.disk.data_after(offset).expect("asking for data works") {
        assert!(offset <= start && start < end && end <= bytes, "{offset}: {start} to {end}");
        let hole = &content[size(offset)..size(start)];
        assert!(hole.iter().all(|byte| *byte == 0), "data in a hole before {start}");
        offset = end;
        ranges += 1;
        assert!(ranges < 100_000, "data has an end");
    }
    assert!(content[size(offset)..].iter().all(|byte| *byte == 0), "data behind the last range");
    assert!(ranges >= 1, "a disk with data has data");
    // From the middle of data: data from there on, not from where it began.
    let middle = spots[1] + align.min(256);
    let (start, _) =
        bench.disk.data_after(middle).expect("asking for data works").expect("more data");
    assert!(start >= middle);
    for past in [bytes, bytes + 1, u64::MAX] {
        assert_eq!(bench.disk.data_after(past).expect("asking past the end works"), None);
    }
}
