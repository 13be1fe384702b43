//! Second handles, other threads, and handles dropped in flight.

use std::thread;

use hal::disk::{Disk, Operation};

use super::Bench;

pub(super) fn another_handle_sees_what_was_written<D: Disk>(mut bench: Bench<D>) {
    let mut other = Bench::new(bench.disk.another().expect("a second handle can be had"));
    assert_eq!(other.geometry, bench.geometry);
    let noise = bench.noise(100 * 1024);
    let length = noise.len() / 4096 * 4096;
    bench.write(65_536, &noise[..length]);
    assert!(other.read(65_536, length) == noise[..length], "the second sees the first");
    other.write(0, &noise[..8192]);
    assert!(bench.read(0, 8192) == noise[..8192], "the first sees the second");
    // The queues are apart.
    let request = bench.request(Operation::Read, 0, 4096);
    bench.submit(request);
    assert!(other.disk.complete().expect("completing nothing works").is_none());
    bench.complete().result.expect("a read works");
    // One handle outlives the other, and a third comes of the second.
    drop(bench);
    let third = other.disk.another().expect("a third handle can be had");
    drop(other);
    let mut third = Bench::new(third);
    assert!(third.read(65_536, length) == noise[..length]);
}

pub(super) fn a_handle_moves_between_threads<D: Disk>(mut bench: Bench<D>) {
    let noise = bench.noise(65_536);
    bench.write(0, &noise);
    let depth = bench.disk.depth();
    let mut submitted = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            for _ in 0..depth {
                let request = bench.request(Operation::Read, 0, 65_536);
                bench.submit(request);
            }
            bench
        });
        worker.join().expect("the thread ends well")
    });
    // The thread that submitted is gone; its requests are not.
    for _ in 0..depth {
        let completion = submitted.complete();
        completion.result.expect("a read works");
        let buffer = completion.buffer.expect("the buffer comes back");
        assert!(buffer.as_ref()[..65_536] == noise);
    }
}

pub(super) fn a_handle_may_be_dropped_in_flight<D: Disk>(mut bench: Bench<D>) {
    let noise = bench.noise(65_536);
    bench.write(0, &noise);
    for _ in 0..20 {
        let mut doomed = Bench::new(bench.disk.another().expect("another handle can be had"));
        for index in 0..doomed.disk.depth() {
            let operation = if index % 2 == 0 { Operation::Read } else { Operation::Write };
            let request = doomed.request(operation, 65_536 * (1 + index as u64 % 8), 65_536);
            doomed.submit(request);
        }
        drop(doomed);
        // Memory that the kernel still wrote to would be handed out here again.
        let fresh = bench.disk.buffer(65_536).expect("a buffer can be had");
        assert!(fresh.as_ref().iter().all(|byte| *byte == 0));
    }
    assert!(bench.read(0, 65_536) == noise, "the other handle goes on");
}
