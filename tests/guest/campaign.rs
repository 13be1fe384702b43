//! Rounds of tracking as the agent does them: everything is copied once, then what was marked, then what is left while
//! the file system is frozen. At each freeze the host holds the replicas against the disks.

use std::fs;
use std::path::Path;
use std::thread;

use core::time::Duration;

use hal_linux::freeze::StillHandle;
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::devices::{Leaf, file_systems};
use pipeline_agent::tracker::{Attached, KernelTracker, Options, Tracker as _, attach, trial};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::replica::Replica;
use crate::stacks;
use crate::work::Work;
use crate::{Answer, Host, heard, say};

/// Where the file system is mounted.
const AT: &str = "/mnt";
/// Between two freezes.
const GAP: Duration = Duration::from_millis(700);
/// Takes under a freeze: a trim runs through it, and what it changes is free.
const TAKES_MAX: u32 = 5;

/// Runs the campaign.
pub(crate) fn run(
    stack: &str,
    kind: &str,
    letters: &str,
    rounds: u64,
    seed: u64,
    host: &mut Host,
) -> Answer {
    let (serials, node) = stacks::build(stack)?;
    let options = if letters.contains('D') { Some(c"discard") } else { None };
    mount(&node, AT, kind, MountFlags::empty(), options)
        .map_err(|error| format!("mounting {}: {error}", node.display()))?;
    let mut replicas =
        serials.iter().map(|serial| Replica::of(serial)).collect::<Result<Vec<_>, _>>()?;
    let leaves: Vec<Leaf> = replicas.iter().map(|replica| replica.leaf.clone()).collect();
    check_devices(&leaves)?;
    let work = Work::start(AT, &letters.replace('D', ""), seed)?;
    thread::sleep(GAP);
    let Attached { mut tracker, continued, remarks } = attach(&leaves, &Options::default())?;
    let tried = trial(&tracker, &leaves, Path::new(AT))?;
    say(
        "attached",
        &[
            ("continued", &continued.iter().any(|continued| *continued)),
            ("trial", &tried),
            ("pinned", &tracker.is_pinned()),
            ("remarks", &remarks.join("; ")),
        ],
    );
    for replica in &mut replicas {
        replica.copy_all()?;
    }
    let still = StillHandle::open(Path::new(AT)).map_err(|error| error.to_string())?;
    let mut held = Held::default();
    for round in 1..=rounds {
        thread::sleep(GAP);
        if round == 2 {
            tracker = die_and_return(tracker, &leaves, &mut replicas, &held)?;
        }
        for _ in 0..2 {
            take(&mut tracker, &mut replicas)?;
        }
        still.sync().map_err(|error| error.to_string())?;
        still.freeze().map_err(|refusal| format!("freezing: {refusal:?}"))?;
        let answer = frozen(round, &mut tracker, &mut replicas, host);
        let thawed = still.thaw().map_err(|error| error.to_string());
        answer?;
        if !thawed? {
            return Err("it was not frozen any more".to_owned());
        }
        tracker.cut(round);
        held.last_cut = round;
        if round >= 2 {
            tracker.vaulted(round - 1);
        }
    }
    drop(still);
    let operations = work.finish()?;
    unmount(AT, UnmountFlags::empty()).map_err(|error| format!("unmounting: {error}"))?;
    summary(&tracker, &leaves, operations);
    tracker.remove()
}

#[derive(Default)]
struct Held {
    last_cut: u64,
}

/// What is mounted is found on the disks that it is on.
fn check_devices(leaves: &[Leaf]) -> Answer {
    let systems = file_systems();
    let ours = systems.iter().find(|system| system.at == Path::new(AT));
    let ours = ours.ok_or("the file system is not among those on disks")?;
    let mut names: Vec<&str> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
    names.sort_unstable();
    if ours.leaves == names {
        Ok(())
    } else {
        Err(format!("{:?} instead of {names:?}", ours.leaves))
    }
}

/// Takes what is marked and copies it; how many blocks there were.
fn take(tracker: &mut KernelTracker, replicas: &mut [Replica]) -> Result<u64, String> {
    let mut taken = 0;
    for (place, replica) in replicas.iter_mut().enumerate() {
        let mut blocks = replica.set();
        tracker.take(place, &mut blocks)?;
        taken += blocks.count();
        replica.copy(&blocks)?;
    }
    Ok(taken)
}

/// The last blocks, the audit, and the host's look.
fn frozen(
    round: u64,
    tracker: &mut KernelTracker,
    replicas: &mut [Replica],
    host: &mut Host,
) -> Answer {
    let (mut residual, mut takes) = (0, 0);
    while takes < TAKES_MAX {
        let taken = take(tracker, replicas)?;
        residual += taken;
        takes += 1;
        if taken == 0 {
            break;
        }
    }
    let audit = tracker.audit();
    say(
        "frozen",
        &[
            ("round", &round),
            ("residual", &residual),
            ("takes", &takes),
            ("incomplete", &audit.incomplete.len()),
            ("audit", &audit.words.join("; ")),
        ],
    );
    judge(tracker, replicas, host)
}

/// The host says which blocks differ, `disk:block` each: those that are marked by now are late, the others are lost.
pub(crate) fn judge(
    tracker: &mut KernelTracker,
    replicas: &mut [Replica],
    host: &mut Host,
) -> Answer {
    let words = heard(host)?;
    let differing: Vec<(usize, u64)> = words
        .split_whitespace()
        .filter_map(|word| {
            let (disk, block) = word.split_once(':')?;
            Some((disk.parse().ok()?, block.parse().ok()?))
        })
        .collect();
    let marked: Vec<BlockSet> = replicas
        .iter()
        .enumerate()
        .map(|(place, replica)| {
            let mut blocks = replica.set();
            tracker.take(place, &mut blocks).map(|()| blocks)
        })
        .collect::<Result<_, _>>()?;
    let is_marked = |(disk, block): &&(usize, u64)| {
        marked.get(*disk).is_some_and(|marked| marked.contains(*block))
    };
    let late = differing.iter().filter(is_marked).count();
    let lost: Vec<&(usize, u64)> = differing.iter().filter(|block| !is_marked(block)).collect();
    let some: Vec<String> =
        lost.iter().take(8).map(|(disk, block)| format!("{disk}:{block}")).collect();
    say("judged", &[("late", &late), ("lost", &lost.len()), ("blocks", &some.join(" "))]);
    for ((place, replica), marked) in (0..).zip(replicas.iter_mut()).zip(&marked) {
        let mut again = marked.clone();
        // So that the next round begins right, whatever this one was.
        for (disk, block) in &differing {
            if *disk == place {
                again.insert(*block);
            }
        }
        replica.copy(&again)?;
    }
    Ok(())
}

/// The agent is killed while it had taken blocks and copied none of them, and starts again.
fn die_and_return(
    mut tracker: KernelTracker,
    leaves: &[Leaf],
    replicas: &mut [Replica],
    held: &Held,
) -> Result<KernelTracker, String> {
    for (place, replica) in replicas.iter().enumerate() {
        let mut lost = replica.set();
        tracker.take(place, &mut lost)?;
    }
    drop(tracker);
    thread::sleep(GAP);
    let Attached { mut tracker, continued, remarks } = attach(leaves, &Options::default())?;
    say(
        "returned",
        &[("continued", &continued.iter().all(|one| *one)), ("remarks", &remarks.join("; "))],
    );
    tracker.resend(held.last_cut + 1);
    for (place, replica) in replicas.iter_mut().enumerate() {
        let mut blocks = replica.set();
        tracker.held(place, &mut blocks);
        replica.copy(&blocks)?;
    }
    Ok(tracker)
}

fn summary(tracker: &KernelTracker, leaves: &[Leaf], operations: u64) {
    let places = 0..leaves.len();
    let sum = |of: &dyn Fn(usize) -> u64| places.clone().map(of).sum::<u64>();
    let learned: Vec<String> = places
        .clone()
        .flat_map(|place| tracker.learned(place))
        .map(|(major, minor)| format!("{major}:{minor}"))
        .collect();
    let misses: Vec<String> = tracker.misses().iter().map(u64::to_string).collect();
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    say(
        "summary",
        &[
            ("operations", &operations),
            ("writes", &sum(&|place| tracker.writes(place))),
            ("ranges", &sum(&|place| tracker.many_ranges(place))),
            ("misses", &misses.join(",")),
            ("learned", &learned.join(",")),
            ("seconds", &uptime.split(' ').next().unwrap_or_default()),
        ],
    );
}
