//! Points by snapshots of real logical volumes, while programs write to them: the agent's own steps, and the host's copies of the
//! disk at the instant.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;

use core::time::Duration;

use hal_linux::{LinuxDisk, OpenOptions, SystemClock};
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::capture::{Arena, Source, Unread};
use pipeline_agent::cut::{Cutter, Limits, Outcome, Server, Sink, Snapshots, Volume, Volumes};
use pipeline_agent::devices::{Leaf, file_systems};
use pipeline_agent::freeze::LinuxFreezer;
use pipeline_agent::swap::Swap;
use pipeline_agent::tracker::{Attached, KernelTracker, Options, Tracker as _, attach};
use pipeline_agent::volumes::LogicalVolumes;
use pipeline_wire::message::Instant;
use rustix::mount::{MountFlags, mount};

use crate::replica::Replica;
use crate::work::Work;
use crate::{Answer, Host, heard, say};

const SERIAL: &str = "data0";
const NOTE: &str = "/run/lifeboat-agent.snapshot";
const LIMIT: Duration = Duration::from_secs(300);
const SETTINGS: &str = "activation{udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0} backup{backup=0 archive=0}";
/// What changes beside the volume fits in, and what changes in it while a round goes this slow way does not.
const ARENA_BYTES: usize = 2 << 20;
const SLOW: Duration = Duration::from_millis(20);
/// Written before each point.
const WRITTEN_BYTES: u64 = 16 << 20;
/// Until what was under way when its writers were stopped is done.
const GAP: Duration = Duration::from_millis(500);

/// What a snapshot is made to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// Not read: the volume itself is.
    Now,
    /// Too small for what is written.
    Small,
}

/// Makes volumes, then so many points of them.
pub(crate) fn run(kind: &str, cuts: u64, host: &mut Host) -> Answer {
    let kind = match kind {
        "now" => Kind::Now,
        "small" => Kind::Small,
        _ => Kind::Good,
    };
    let mut replica = Replica::of(SERIAL)?;
    lay_out(&replica.leaf)?;
    let leaf = replica.leaf.clone();
    let leaves = [leaf.clone()];
    let Attached { mut tracker, .. } = attach(&leaves, &Options::default())?;
    replica.copy_all()?;
    let hot = Work::start("/mnt", "ddddb", 7)?;
    let calm = Work::start("/calm", "s", 8)?;
    let mut freezer = LinuxFreezer::new(Path::new("/proc/self/exe"));
    freezer.set_file_systems(file_systems());
    let opened = LinuxDisk::open(&leaf.path, OpenOptions::default()).map_err(words)?;
    let changed = [replica.set()];
    let mut bed = Bed {
        sources: [Source::new(opened).map_err(words)?],
        replica,
        freezer,
        cutter: Cutter::default(),
        changed,
    };
    let mut volumes = Watched {
        volumes: LogicalVolumes::new(leaves.to_vec(), Path::new(NOTE)),
        host,
        writers: [hot.id(), calm.id()],
        kind,
        number: (0, 0),
    };
    for _ in 0..cuts {
        // Writers take a while to begin.
        let since = tracker.written_bytes();
        while tracker.written_bytes().saturating_sub(since) < WRITTEN_BYTES {
            thread::sleep(GAP);
        }
        let outcome = bed.cut(&mut tracker, &mut volumes)?;
        say(
            "point",
            &[
                ("clean", &(outcome.instant == Instant::Crash)),
                ("incomplete", &outcome.incomplete.len()),
                ("left", &bed.changed[0].count()),
                ("frozen", &outcome.frozen.as_millis()),
                ("remarks", &outcome.remarks.join("; ")),
                (
                    "snapshots",
                    &lvm(&["lvs", "--noheadings", "-o", "name", "-S", "origin!=''"])?.trim(),
                ),
            ],
        );
        heard(volumes.host)?;
    }
    hot.finish()?;
    calm.finish()?;
    Ok(())
}

/// An agent was killed with a snapshot, and LVM's program with a volume suspended.
pub(crate) fn left() -> Answer {
    let replica = Replica::of(SERIAL)?;
    lay_out(&replica.leaf)?;
    let mut ours = LogicalVolumes::new(vec![replica.leaf.clone()], Path::new(NOTE));
    let volumes = ours.volumes();
    let hot = volumes.found.into_iter().find(|volume| volume.name == "vg/hot");
    let hot = hot.ok_or_else(|| volumes.others.join("; "))?;
    ours.take(&hot, 256, LIMIT)?;
    core::mem::forget(ours);
    // Others' snapshots: with the tag alone, and of the name alone in the other group.
    lvm(&[
        "lvcreate",
        "-y",
        "-s",
        "-n",
        "theirs",
        "--addtag",
        "lifeboat_agent",
        "-l",
        "1",
        "vg/calm",
    ])?;
    ran("dmsetup", &["suspend", "--noudevsync", "vg-hot"])?;
    let next = LogicalVolumes::new(vec![replica.leaf], Path::new(NOTE));
    let told = next.remove_left();
    let goes_on =
        fs::write("/mnt/afterwards", "x").and_then(|()| File::open("/mnt/afterwards")?.sync_all());
    say(
        "removed",
        &[
            ("told", &told.join("; ")),
            ("goes_on", &goes_on.is_ok()),
            ("snapshots", &lvm(&["lvs", "--noheadings", "-o", "name", "-S", "origin!=''"])?.trim()),
            ("note", &Path::new(NOTE).exists()),
            ("again", &next.remove_left().len()),
        ],
    );
    Ok(())
}

/// One volume that is written to all the time, one that is written to now and then, and free extents.
fn lay_out(leaf: &Leaf) -> Answer {
    let disk = leaf.path.display().to_string();
    // The replica is the same physical volume: LVM is to know the first alone.
    fs::create_dir_all("/etc/lvm").map_err(words)?;
    let filter = format!("devices {{ global_filter = [ \"a|^{disk}$|\", \"r|.*|\" ] }}\n");
    fs::write("/etc/lvm/lvm.conf", filter).map_err(words)?;
    lvm(&["pvcreate", "-q", "-y", "-ff", &disk])?;
    lvm(&["vgcreate", "-q", "vg", &disk])?;
    for (name, size, at) in [("calm", "32M", "/calm"), ("hot", "96M", "/mnt")] {
        lvm(&["lvcreate", "-q", "-y", "-Wn", "-Zn", "-n", name, "-L", size, "vg"])?;
        let node = format!("/dev/mapper/vg-{name}");
        ran(
            "mke2fs",
            &["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", &node],
        )?;
        fs::create_dir_all(at).map_err(words)?;
        mount(&node, at, "ext4", MountFlags::empty(), None).map_err(words)?;
    }
    Ok(())
}

struct Bed {
    sources: [Source<LinuxDisk>; 1],
    replica: Replica,
    freezer: LinuxFreezer,
    cutter: Cutter,
    changed: [BlockSet; 1],
}

impl Bed {
    fn cut(
        &mut self,
        tracker: &mut KernelTracker,
        volumes: &mut Watched<'_>,
    ) -> Result<Outcome, String> {
        let mut arena = Arena::new(&mut self.sources[0].disk, ARENA_BYTES).map_err(words)?;
        let mut server = Server {
            tracker,
            freezer: &mut self.freezer,
            sources: &mut self.sources,
            blank: &[self.replica.set()],
            swap: &Swap::default(),
            arena: &mut arena,
            sink: &mut Sent(&mut self.replica),
            hooks: None,
            snapshots: Some(volumes),
            throttle: None,
            gate: None,
            clock: &SystemClock,
        };
        let limits = Limits { budget: Duration::from_secs(10), limit: LIMIT };
        let outcome = self.cutter.cut(&mut server, &mut self.changed, limits).map_err(words)?;
        for held in arena.held() {
            self.replica.put(held.first, held.bytes())?;
        }
        Ok(outcome)
    }
}

/// What is sent goes to the replica.
struct Sent<'a>(&'a mut Replica);

impl Sink for Sent<'_> {
    fn blocks(&mut self, _: usize, first: u64, bytes: &[u8]) -> Result<(), String> {
        self.0.put(first, bytes)
    }

    fn zeros(&mut self, _: usize, _: u64, _: u32) -> Result<(), String> {
        Err("nothing here is swap".to_owned())
    }

    fn unread(&mut self, unread: Unread) -> Result<(), String> {
        Err(format!("{unread:?}"))
    }

    fn pace(&mut self, _: usize) {
        thread::sleep(SLOW);
    }
}

/// Real snapshots, at whose instant nobody writes, so that the host can copy the disk.
struct Watched<'a> {
    volumes: LogicalVolumes,
    host: &'a mut Host,
    writers: [u32; 2],
    kind: Kind,
    number: (u32, u32),
}

impl Watched<'_> {
    fn signal(&self, signal: rustix::process::Signal) -> Answer {
        for process in self.writers {
            let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
            let process = process.ok_or("no process")?;
            rustix::process::kill_process(process, signal).map_err(words)?;
        }
        Ok(())
    }
}

impl Snapshots<LinuxDisk> for Watched<'_> {
    fn volumes(&mut self) -> Volumes {
        self.volumes.volumes()
    }

    fn take(&mut self, volume: &Volume, blocks: u64, patience: Duration) -> Result<(), String> {
        self.number = volume.number;
        self.signal(rustix::process::Signal::STOP)?;
        thread::sleep(GAP);
        say("before", &[("volume", &volume.name)]);
        heard(self.host)?;
        let blocks = if self.kind == Kind::Small { 1 } else { blocks };
        self.volumes.take(volume, blocks, patience)?;
        say(
            "instant",
            &[
                ("blocks", &blocks),
                ("metadata", &listed(&volume.metadata)),
                ("free", &listed(&volume.free)),
                ("first", &volume.pieces.first().map_or(0, |piece| piece.first)),
                ("length", &volume.pieces.first().map_or(0, |piece| piece.blocks)),
            ],
        );
        heard(self.host)?;
        self.signal(rustix::process::Signal::CONT)?;
        // They write on while the snapshot is read.
        thread::sleep(if self.kind == Kind::Small { 8 * GAP } else { GAP });
        Ok(())
    }

    fn open(&mut self) -> Result<LinuxDisk, String> {
        if self.kind != Kind::Now {
            return self.volumes.open();
        }
        let path = format!("/dev/dm-{}", self.number.1);
        LinuxDisk::open(Path::new(&path), OpenOptions::default()).map_err(words)
    }

    fn is_same(&mut self) -> bool {
        self.volumes.is_same()
    }

    fn is_whole(&mut self) -> bool {
        self.volumes.is_whole()
    }

    fn remove(&mut self) -> Result<(), String> {
        self.volumes.remove()
    }
}

/// Runs of blocks, first and end of each.
fn listed(sets: &[BlockSet]) -> String {
    let (mut runs, mut from) = (Vec::new(), 0);
    let Some(set) = sets.first() else { return String::new() };
    while let Some((first, blocks)) = set.next_run(from, u32::MAX) {
        from = first + u64::from(blocks);
        runs.push(format!("{first}-{from}"));
    }
    runs.join(",")
}

fn lvm(arguments: &[&str]) -> Result<String, String> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--config", SETTINGS]).collect();
    ran("lvm", &arguments)
}

fn ran(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(format!("/sbin/{program}")).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn words(error: impl core::fmt::Display) -> String {
    error.to_string()
}
