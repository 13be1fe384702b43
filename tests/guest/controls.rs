//! What must go wrong: trackers that are made as they must not be, in the situations that tell. Where these lose
//! nothing, the tests that find nothing lost prove nothing.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use hal_linux::AlignedBuffer;
use hal_linux::freeze::StillHandle;
use hal_sim::random::Random;
use pipeline_agent::devices::Leaf;
use pipeline_agent::tracker::{KernelTracker, Making, Moment, Options, Tracker as _, attach};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::campaign::judge;
use crate::replica::{Replica, open};
use crate::{Answer, Host, say};

const BLOCK: u64 = 64 * 1024;
/// Writers at a time.
const WRITERS: u64 = 4;
/// Rounds of writes that are held up in the disk.
const RACES: u64 = 6;
/// Time in which a write has reached the slow disk, and is not done.
const IN_FLIGHT: Duration = Duration::from_millis(60);
/// Another word at each reading.
const UUID: &str = "/proc/sys/kernel/random/uuid";
/// Files that are written, and every other of which is removed.
const FILES: u32 = 1000;

/// Copies blocks while writes to them are on their way, of a disk that takes its time.
pub(crate) fn race(moment: &str, order: &str, host: &mut Host) -> Answer {
    let mut replicas = vec![Replica::of("slow0")?];
    let moment = if moment == "issue" { Moment::Issue } else { Moment::Completion };
    let mut tracker = made(&replicas, Making { moment, ..Making::default() })?;
    replicas[0].copy_all()?;
    let leaf = replicas[0].leaf.clone();
    for race in 0..RACES {
        let first = 16 + race * WRITERS;
        thread::scope(|scope| {
            let writers: Vec<_> = (first..first + WRITERS)
                .map(|block| {
                    scope.spawn({
                        let leaf = &leaf;
                        move || write(leaf, block, race)
                    })
                })
                .collect();
            thread::sleep(IN_FLIGHT);
            if order == "clear-first" {
                copy(&mut tracker, &mut replicas)?;
            } else {
                let mut blocks = replicas[0].set();
                blocks.insert_range(first, first + WRITERS);
                replicas[0].copy(&blocks)?;
            }
            for writer in writers {
                writer.join().map_err(|_| "a writer panicked".to_owned())??;
            }
            if order == "clear-first" {
                copy(&mut tracker, &mut replicas)
            } else {
                let mut cleared = replicas[0].set();
                tracker.take(0, &mut cleared)
            }
        })?;
    }
    ready(&mut tracker);
    judge(&mut tracker, &mut replicas, host)?;
    tracker.remove()
}

/// Writes every block of two disks once: one says in a soft interrupt that a write is done, the other in a hard one,
/// which may come in between.
pub(crate) fn nested(copies: u8, delay: u16, host: &mut Host) -> Answer {
    let mut replicas = vec![Replica::of("one0")?, Replica::of("many0")?];
    let mut tracker = made(&replicas, Making { copies, delay, ..Making::default() })?;
    for replica in &mut replicas {
        replica.copy_all()?;
    }
    let leaves: Vec<Leaf> = replicas.iter().map(|replica| replica.leaf.clone()).collect();
    let next: Vec<AtomicU64> = leaves.iter().map(|_| AtomicU64::new(0)).collect();
    let next = &next;
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for (place, leaf) in leaves.iter().enumerate() {
            for _ in 0..WRITERS {
                writers.push(scope.spawn(move || write_once(leaf, &next[place])));
            }
        }
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked".to_owned())??;
        }
        Ok::<(), String>(())
    })?;
    copy(&mut tracker, &mut replicas)?;
    ready(&mut tracker);
    judge(&mut tracker, &mut replicas, host)?;
    tracker.remove()
}

/// Many small discards, which drivers take as one request of many ranges.
pub(crate) fn discards(walk: bool, host: &mut Host) -> Answer {
    let at = Path::new("/mnt");
    let mut replicas = vec![Replica::of("trim0")?];
    let mounted = mount(&replicas[0].leaf.path, at, "xfs", MountFlags::empty(), Some(c"discard"));
    mounted.map_err(|error| format!("mounting: {error}"))?;
    let file = |number: u32| at.join(format!("file-{walk}-{number}"));
    let content = vec![0x77; usize::try_from(BLOCK).unwrap_or(0)];
    for number in 0..FILES {
        fs::write(file(number), &content).map_err(|error| error.to_string())?;
    }
    let still = StillHandle::open(at).map_err(|error| error.to_string())?;
    still.sync().map_err(|error| error.to_string())?;
    let mut tracker = made(&replicas, Making { walk, ..Making::default() })?;
    replicas[0].copy_all()?;
    for number in (0..FILES).step_by(2) {
        fs::remove_file(file(number)).map_err(|error| error.to_string())?;
    }
    still.sync().map_err(|error| error.to_string())?;
    // Discards follow when the log is.
    thread::sleep(Duration::from_millis(1500));
    drop(still);
    unmount(at, UnmountFlags::empty()).map_err(|error| error.to_string())?;
    thread::sleep(Duration::from_millis(500));
    copy(&mut tracker, &mut replicas)?;
    ready(&mut tracker);
    judge(&mut tracker, &mut replicas, host)?;
    tracker.remove()
}

fn made(replicas: &[Replica], making: Making) -> Result<KernelTracker, String> {
    let leaves: Vec<Leaf> = replicas.iter().map(|replica| replica.leaf.clone()).collect();
    let tracker = attach(&leaves, &Options { making, ..Options::default() })?.tracker;
    Ok(tracker)
}

fn copy(tracker: &mut KernelTracker, replicas: &mut [Replica]) -> Answer {
    for (place, replica) in replicas.iter_mut().enumerate() {
        let mut blocks = replica.set();
        tracker.take(place, &mut blocks)?;
        replica.copy(&blocks)?;
    }
    Ok(())
}

/// Says that the host may look.
fn ready(tracker: &mut KernelTracker) {
    let audit = tracker.audit();
    let misses: Vec<String> = tracker.misses().iter().map(u64::to_string).collect();
    say(
        "ready",
        &[
            ("incomplete", &audit.incomplete.len()),
            ("audit", &audit.words.join("; ")),
            ("misses", &misses.join(",")),
            ("ranges", &tracker.many_ranges(0)),
        ],
    );
}

fn write(leaf: &Leaf, block: u64, seed: u64) -> Answer {
    let mut buffer = AlignedBuffer::zeroed(usize::try_from(BLOCK).unwrap_or(0))
        .map_err(|error| error.to_string())?;
    // Other content each time: what was lost must not be the same as what was there.
    let uuid = fs::read_to_string(UUID).map_err(|error| error.to_string())?;
    let salt = uuid.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Random::new(salt.wrapping_add(block)).fill(buffer.as_mut());
    let file = open(leaf, true)?;
    file.write_all_at(buffer.as_ref(), block * BLOCK).map_err(|error| error.to_string())
}

/// Writes the first page of each block once, in an order that no driver merges.
fn write_once(leaf: &Leaf, next: &AtomicU64) -> Answer {
    const STRIDE: u64 = 7919;
    let blocks = leaf.bytes / BLOCK;
    let file = open(leaf, true)?;
    let mut page = AlignedBuffer::zeroed(4096).map_err(|error| error.to_string())?;
    let salt = fs::read_to_string(UUID).map_err(|error| error.to_string())?;
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        if turn >= blocks {
            return Ok(());
        }
        let block = turn * STRIDE % blocks;
        let stamp = format!("{salt} {block}");
        page.as_mut().get_mut(..stamp.len()).unwrap_or_default().copy_from_slice(stamp.as_bytes());
        let bytes = page.as_ref().get(..4096).unwrap_or_default();
        file.write_all_at(bytes, block * BLOCK).map_err(|error| error.to_string())?;
    }
}
