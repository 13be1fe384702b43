//! Bytes in, the same bytes out.

use hal::disk::{Disk, Operation};

use super::{Bench, place, size};

pub(super) fn fresh_disk_reads_as_zeros<D: Disk>(mut bench: Bench<D>) {
    assert!(bench.everything().iter().all(|byte| *byte == 0));
}

pub(super) fn random_work_equals_a_flat_copy<D: Disk>(mut bench: Bench<D>) {
    let mut flat = vec![0_u8; size(bench.geometry.bytes)];
    for _ in 0..300 {
        let (offset, length) = bench.range(192 * 1024);
        let range = size(offset)..size(offset) + length;
        match bench.random.below(4) {
            0 => {
                bench.perform(Operation::Zero, offset, length).expect("zeroing works");
                flat[range].fill(0);
            }
            1 | 2 => {
                let bytes = bench.noise(length);
                bench.write(offset, &bytes);
                flat[range].copy_from_slice(&bytes);
            }
            _ => assert!(bench.read(offset, length) == flat[range], "at {offset}, {length}"),
        }
        if bench.random.below(20) == 0 {
            bench.perform(Operation::Flush, 0, 0).expect("flushing works");
        }
    }
    assert!(bench.everything() == flat, "the whole disk in the end");
}

pub(super) fn the_tail_is_readable_and_writable<D: Disk>(mut bench: Bench<D>) {
    let (bytes, align) = (bench.geometry.bytes, bench.align());
    // The last sector, whole and aligned; then the same as the end of a longer read.
    let last = bench.aligned(bytes - 1);
    let tail = size(bytes - last);
    let noise = bench.noise(tail);
    if (tail as u64).is_multiple_of(align) {
        bench.write(last, &noise);
        assert_eq!(bench.read(last, tail), noise);
        let from = bench.aligned(bytes - 100_000);
        let read = bench.read(from, size(bytes - from));
        assert!(read[..size(last - from)].iter().all(|byte| *byte == 0));
        assert_eq!(read[size(last - from)..], noise);
    }
    // The odd rest behind the last whole block of 64 KiB, as a backup reads it.
    let rest = bytes / 65_536 * 65_536;
    if rest < bytes {
        assert_eq!(bench.read(rest, size(bytes - rest)).len() as u64, bytes - rest);
    }
}

pub(super) fn data_moves_at_the_buffers_own_address<D: Disk>(mut bench: Bench<D>) {
    let length = 128 * 1024;
    let offset = bench.aligned(70_000);
    let noise = bench.noise(length);
    let mut buffer = bench.disk.buffer(length).expect("a buffer can be had");
    buffer.as_mut()[..length].copy_from_slice(&noise);
    let at = place(&buffer);
    for operation in [Operation::Write, Operation::Read, Operation::Read] {
        let mut request = bench.request(operation, offset, length);
        request.buffer = Some(buffer);
        let completion = bench.done(request);
        completion.result.expect("the transfer works");
        buffer = completion.buffer.expect("the buffer comes back");
        assert_eq!(place(&buffer), at, "the same memory, not a copy");
        assert!(buffer.as_ref()[..length] == noise);
        if operation == Operation::Read {
            buffer.as_mut().fill(0);
        } else {
            buffer.as_mut().fill(0xEE);
        }
    }
}

pub(super) fn a_read_leaves_the_rest_alone<D: Disk>(mut bench: Bench<D>) {
    let length = size(bench.align().max(512));
    let mut request = bench.request(Operation::Read, 0, 16 * 1024);
    request.length = u32::try_from(length).expect("a sector is small");
    request.buffer.as_mut().expect("a read has a buffer").as_mut().fill(0xA5);
    let completion = bench.done(request);
    completion.result.expect("a read works");
    let buffer = completion.buffer.expect("the buffer comes back");
    assert!(buffer.as_ref()[..length].iter().all(|byte| *byte == 0));
    assert!(buffer.as_ref()[length..].iter().all(|byte| *byte == 0xA5));
}

pub(super) fn large_requests_are_done_in_full<D: Disk>(mut bench: Bench<D>) {
    let length = size(bench.aligned(bench.geometry.bytes.min(8 << 20)));
    let noise = bench.noise(length);
    bench.write(0, &noise);
    assert!(bench.read(0, length) == noise);
}

pub(super) fn flush_always_has_an_answer<D: Disk>(mut bench: Bench<D>) {
    bench.perform(Operation::Flush, 0, 0).expect("flushing nothing works");
    let noise = bench.noise(65_536);
    bench.write(0, &noise);
    bench.perform(Operation::Flush, 0, 0).expect("flushing a write works");
    bench.perform(Operation::Flush, 0, 0).expect("flushing again works");
    assert_eq!(bench.read(0, 65_536), noise);
}
