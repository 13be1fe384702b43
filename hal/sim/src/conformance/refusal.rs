//! What must be refused, as the caller's mistake, with the request given back and nothing changed.

use hal::disk::{Disk, ErrorKind, Operation, Request};

use super::Bench;

pub(super) fn unaligned_requests_are_refused<D: Disk>(mut bench: Bench<D>) {
    let align = bench.align();
    let length = 8192;
    let noise = bench.noise(3 * length);
    bench.write(0, &noise);
    if align > 1 {
        let bad = [1, align / 2, align - 1, align + 1];
        for operation in [Operation::Read, Operation::Write, Operation::Zero] {
            for off in bad {
                let request = bench.request(operation, off, length);
                bench.refused(request, ErrorKind::Misuse, "its offset is not aligned");
                let mut request = bench.request(operation, 0, length);
                request.length = u32::try_from(off).expect("an alignment is small");
                bench.refused(request, ErrorKind::Misuse, "its length is not aligned");
            }
        }
    }
    assert!(bench.read(0, noise.len()) == noise, "nothing has changed");
}

pub(super) fn requests_past_the_end_are_refused<D: Disk>(mut bench: Bench<D>) {
    let (bytes, align) = (bench.geometry.bytes, bench.align());
    let length = 65_536;
    let top = u64::MAX / align * align;
    for operation in [Operation::Read, Operation::Write, Operation::Zero, Operation::Discard] {
        for offset in [bench.aligned(bytes - 1), bench.aligned(bytes + align), 1 << 60, top] {
            let request = bench.request(operation, offset, length);
            bench.refused(request, ErrorKind::Misuse, "it ends past the end of the disk");
        }
    }
    assert_eq!(bench.disk.geometry().expect("asking again works").bytes, bytes, "nothing grew");
}

pub(super) fn malformed_requests_are_refused<D: Disk>(mut bench: Bench<D>) {
    for operation in [Operation::Read, Operation::Write] {
        let request = Request { buffer: None, ..bench.request(operation, 0, 4096) };
        bench.refused(request, ErrorKind::Misuse, "it has no buffer");
        let mut request = bench.request(operation, 0, 4096);
        request.length = 1 << 20;
        bench.refused(request, ErrorKind::Misuse, "its buffer is too short");
    }
    for operation in [Operation::Read, Operation::Write, Operation::Zero, Operation::Discard] {
        let request = bench.request(operation, 0, 0);
        bench.refused(request, ErrorKind::Misuse, "it is about no bytes");
    }
    let request = bench.request(Operation::Flush, 4096, 0);
    bench.refused(request, ErrorKind::Misuse, "a flush has no offset");
    let request = bench.request(Operation::Flush, 0, 4096);
    bench.refused(request, ErrorKind::Misuse, "a flush has no length");
}
