//! How fast a disk or image file is read, through each backend, beside a bare pread of the same
//! bytes: `cargo run --release -p hal-linux --example read_rate -- PATH [MIB]`. It only reads.

use core::error::Error;
use std::env;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use hal::disk::{Disk, Operation, Request};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions};

/// The largest frame, and so what the pipeline asks for.
const REQUEST_BYTES: u32 = 1024 * 1024;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("which disk or image file?")?;
    let limit = match arguments.next() {
        Some(mib) => mib.parse::<u64>()?.saturating_mul(1024 * 1024),
        None => u64::MAX,
    };
    let cached = OpenOptions { access: Access::Read, direct: Direct::Never };
    let direct = OpenOptions { access: Access::Read, direct: Direct::Always };
    for round in 1..=ROUNDS {
        println!("round {round}");
        report("pread alone, page cache", || bare(&path, limit));
        report("disk, page cache", || through(LinuxDisk::open(&path, cached)?, limit));
        report("disk, direct, plain", || {
            through(LinuxDisk::open_without_ring(&path, direct)?, limit)
        });
        report("disk, direct, io_uring", || {
            let disk = LinuxDisk::open(&path, direct)?;
            if !disk.has_ring() {
                return Err("the kernel has no io_uring for us".into());
            }
            through(disk, limit)
        });
    }
    Ok(())
}

fn report(name: &str, read: impl FnOnce() -> Result<u64, Box<dyn Error>>) {
    let start = Instant::now();
    match read() {
        Ok(bytes) => {
            let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
            println!("  {name:<24} {rate:>8.0} MB/s");
        }
        Err(error) => println!("  {name:<24} {error}"),
    }
}

fn bare(path: &str, limit: u64) -> Result<u64, Box<dyn Error>> {
    let file = File::open(path)?;
    let mut buffer = vec![0; REQUEST_BYTES as usize];
    let mut done = 0;
    while done < limit {
        let read = file.read_at(&mut buffer, done)?;
        if read == 0 {
            break;
        }
        done += read as u64;
    }
    Ok(done)
}

/// Keeps the queue full from the first byte to the last.
fn through(mut disk: LinuxDisk, limit: u64) -> Result<u64, Box<dyn Error>> {
    let end = disk.geometry()?.bytes.min(limit);
    let mut free = Vec::new();
    for _ in 0..disk.depth() {
        free.push(disk.buffer(REQUEST_BYTES as usize)?);
    }
    let (mut next, mut done) = (0, 0);
    loop {
        while next < end
            && let Some(buffer) = free.pop()
        {
            let length = u32::try_from((end - next).min(u64::from(REQUEST_BYTES)))?;
            let token = u64::from(length);
            let request = Request {
                token,
                operation: Operation::Read,
                offset: next,
                length,
                buffer: Some(buffer),
            };
            disk.submit(request).map_err(|rejected| rejected.error)?;
            next += u64::from(length);
        }
        let Some(completion) = disk.complete()? else { return Ok(done) };
        completion.result?;
        done += completion.token;
        free.extend(completion.buffer);
    }
}
