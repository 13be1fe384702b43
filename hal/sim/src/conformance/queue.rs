//! Many requests at once.

use std::collections::BTreeMap;

use hal::disk::{Disk, ErrorKind, Operation};

use super::{Bench, facts, place};

/// More than any disk should take at once.
const SUBMISSIONS_MAX: usize = 4096;

pub(super) fn every_token_comes_back_once<D: Disk>(mut bench: Bench<D>) {
    const LENGTH: usize = 16 * 1024;
    let places = (bench.geometry.bytes / LENGTH as u64).min(64);
    let content: Vec<Vec<u8>> = (0..places).map(|_| bench.noise(LENGTH)).collect();
    for (index, bytes) in content.iter().enumerate() {
        bench.write((index * LENGTH) as u64, bytes);
    }
    let depth = bench.disk.depth();
    let mut flying = BTreeMap::new();
    let mut left: Vec<usize> = (0..content.len()).collect();
    while !left.is_empty() || !flying.is_empty() {
        while flying.len() < depth
            && let Some(index) = left.pop()
        {
            let mut request = bench.request(Operation::Read, (index * LENGTH) as u64, LENGTH);
            request.token = u64::MAX - index as u64;
            let at = place(request.buffer.as_ref().expect("a read has a buffer"));
            assert!(flying.insert(request.token, (index, at)).is_none());
            bench.submit(request);
        }
        let completion = bench.complete();
        let (index, at) = flying.remove(&completion.token).expect("a token that is in flight");
        completion.result.expect("a read works");
        let buffer = completion.buffer.expect("the buffer comes back");
        assert_eq!(place(&buffer), at, "a request's own buffer");
        assert!(buffer.as_ref()[..LENGTH] == content[index], "the data of its own offset");
    }
    assert!(bench.disk.complete().expect("completing nothing works").is_none());
}

pub(super) fn a_full_queue_says_so<D: Disk>(mut bench: Bench<D>) {
    let depth = bench.disk.depth();
    let mut taken = 0;
    loop {
        let request = bench.request(Operation::Read, 0, 4096);
        let sent = facts(&request);
        match bench.disk.submit(request) {
            Ok(()) => taken += 1,
            Err(rejected) => {
                assert_eq!(rejected.error.kind, ErrorKind::Busy, "{}", rejected.error);
                assert_eq!(facts(&rejected.request), sent, "the request comes back untouched");
                break;
            }
        }
        assert!(taken < SUBMISSIONS_MAX, "a queue has an end");
    }
    assert!(taken >= depth, "{taken} taken with a depth of {depth}");
    // One out, one in.
    bench.complete().result.expect("a read works");
    let request = bench.request(Operation::Read, 0, 4096);
    bench.submit(request);
    for _ in 0..taken {
        bench.complete().result.expect("a read works");
    }
    assert!(bench.disk.complete().expect("completing nothing works").is_none());
}

pub(super) fn mixed_requests_fly_together<D: Disk>(mut bench: Bench<D>) {
    const LENGTH: usize = 64 * 1024;
    let noise = bench.noise(LENGTH);
    let slots = bench.geometry.bytes / LENGTH as u64;
    for round in 0..40 {
        // Four requests that do not overlap, of four kinds, as many at once as fit.
        let base = (round * 4) % (slots - 3) * LENGTH as u64;
        let kinds = [Operation::Write, Operation::Zero, Operation::Flush, Operation::Write];
        let mut flying = 0;
        for (index, operation) in kinds.into_iter().enumerate() {
            let flush = operation == Operation::Flush;
            let offset = if flush { 0 } else { base + (index * LENGTH) as u64 };
            let mut request = bench.request(operation, offset, if flush { 0 } else { LENGTH });
            if let Some(buffer) = &mut request.buffer {
                buffer.as_mut()[..LENGTH].copy_from_slice(&noise);
            }
            while let Err(rejected) = bench.disk.submit(request) {
                assert_eq!(rejected.error.kind, ErrorKind::Busy, "{}", rejected.error);
                request = rejected.request;
                bench.complete().result.expect("it works");
                flying -= 1;
            }
            flying += 1;
        }
        for _ in 0..flying {
            bench.complete().result.expect("it works");
        }
        assert!(bench.read(base, LENGTH) == noise);
        assert!(bench.read(base + LENGTH as u64, LENGTH).iter().all(|byte| *byte == 0));
        assert!(bench.read(base + 3 * LENGTH as u64, LENGTH) == noise);
    }
}
