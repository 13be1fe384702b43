//! Whole cuts on the kernel that the tests run on: tracker, freezer with its dead-man, direct reads, on an ext4 on a loop
//! device that others write to all the time. Each point is, byte for byte, the disk as it was while it was frozen.
//!
//! Needs root and a kernel that tracks; says loudly where it cannot be had.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use core::time::Duration;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use hal_linux::{AlignedBuffer, LinuxDisk, OpenOptions, SystemClock};
use pipeline::limits::BLOCK_BYTES;
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::capture::{Arena, Source, Unread};
use pipeline_agent::cut::{Cutter, Gate, Limits, Outcome, Server, Sink, Throttle};
use pipeline_agent::devices::{FileSystem, Leaf};
use pipeline_agent::freeze::LinuxFreezer;
use pipeline_agent::manners::control_groups;
use pipeline_agent::slow::Slower;
use pipeline_agent::swap::Swap;
use pipeline_agent::tracker::{Attached, Options, attach, probe, remove};
use pipeline_wire::message::Instant;

const BYTES: u64 = 96 << 20;
const CUTS: u32 = 6;
const CUTS_MAX: u32 = 60;
const LIMIT: Duration = Duration::from_secs(30);
const AGENT: &str = env!("CARGO_BIN_EXE_lifeboat-agent");

/// The device with its file system and its writers, taken apart at the end.
struct Bed {
    folder: PathBuf,
    device: PathBuf,
    at: PathBuf,
    pins: PathBuf,
    writers: Vec<Child>,
}

fn ran(command: &mut Command) -> Option<String> {
    let output = command.output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        eprintln!("SKIPPED, not tested on this machine: {command:?}: {said}");
        return None;
    }
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

impl Bed {
    fn new() -> Option<Self> {
        if let Err(error) = probe() {
            eprintln!("SKIPPED, not tested on this machine: {error}");
            return None;
        }
        let label = format!("lifeboat-point-{}", std::process::id());
        let folder = std::env::temp_dir().join(&label);
        let (image, at) = (folder.join("disk.img"), folder.join("mounted"));
        fs::create_dir_all(&at).unwrap();
        File::create(&image).unwrap().set_len(BYTES).unwrap();
        ran(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        let device = ran(Command::new("losetup").args(["--find", "--show"]).arg(&image))?;
        let (device, pins) = (PathBuf::from(device), Path::new("/sys/fs/bpf").join(label));
        let bed = Self { folder, device, at, pins, writers: Vec::new() };
        ran(Command::new("mount").arg(&bed.device).arg(&bed.at))?;
        Some(bed)
    }

    /// Writers that are faster than can be copied, in a control group of this name; its folder.
    fn write_fast(&mut self, name: &str) -> PathBuf {
        let root = control_groups().expect("this system has control groups of version 2");
        let group = root.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&group).unwrap();
        let script = "echo $$ >$GROUP/cgroup.procs; while :; do dd if=/dev/zero of=fast bs=1M count=48 \
                      conv=notrunc,fsync status=none; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).env("GROUP", &group).current_dir(&self.at);
        self.writers.push(shell.spawn().unwrap());
        group
    }

    /// Writers as applications are: small synced files, a large one that is rewritten here and there, files that go.
    fn write(&mut self) {
        let small = "i=0; while :; do i=$((i + 1)); head -c $((i % 50000)) /dev/urandom >s$((i % 40)); \
                     [ $((i % 7)) = 0 ] && sync s$((i % 40)); [ $((i % 11)) = 0 ] && rm -f s$((i % 13)); sleep 0.003; done";
        let large = "i=0; while :; do i=$((i + 1)); dd if=/dev/urandom of=large bs=4096 count=3 seek=$((i * 7919 % 5000)) \
                     conv=notrunc,fsync status=none; sleep 0.005; done";
        for script in [small, large] {
            let mut shell = Command::new("sh");
            self.writers.push(shell.args(["-c", script]).current_dir(&self.at).spawn().unwrap());
        }
    }

    fn leaf(&self) -> Leaf {
        let number = fs::metadata(&self.device).unwrap().rdev();
        Leaf {
            name: self.device.file_name().unwrap().to_str().unwrap().to_owned(),
            path: self.device.clone(),
            number: (rustix::fs::major(number), rustix::fs::minor(number)),
            bytes: BYTES,
            sector_bytes: 512,
            identity: String::new(),
            untracked: None,
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for writer in &mut self.writers {
            let _ = writer.kill();
            let _ = writer.wait();
        }
        let _ = remove(&self.pins);
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whoever receives.
struct Replica(Vec<u8>);

impl Replica {
    fn put(&mut self, first: u64, bytes: &[u8]) {
        let at = usize::try_from(first).unwrap() * BLOCK_BYTES;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Sink for Replica {
    fn blocks(&mut self, _: usize, first: u64, bytes: &[u8]) -> Result<(), String> {
        self.put(first, bytes);
        Ok(())
    }

    fn zeros(&mut self, _: usize, _: u64, _: u32) -> Result<(), String> {
        Err("nothing here is swap".to_owned())
    }

    fn unread(&mut self, unread: Unread) -> Result<(), String> {
        Err(format!("{unread:?}"))
    }

    fn pace(&mut self, _: usize) {}
}

/// Reads the whole disk while it is frozen, by itself.
struct Onlooker {
    source: [Source<LinuxDisk>; 1],
    arena: Arena<AlignedBuffer>,
    seen: Replica,
}

impl Gate for Onlooker {
    fn wait(&mut self, still: &mut dyn FnMut() -> bool) -> bool {
        let mut all = BlockSet::new(self.source[0].blocks());
        all.insert_range(0, all.size());
        self.arena.read(&mut self.source, &[all], &mut || true).unwrap();
        for held in self.arena.held() {
            self.seen.put(held.first, held.bytes());
        }
        self.arena.clear();
        still()
    }
}

fn opened(bed: &Bed) -> Source<LinuxDisk> {
    Source::new(LinuxDisk::open(&bed.device, OpenOptions::default()).unwrap()).unwrap()
}

/// Makes cuts of the disk, each of which has to be the disk while it was frozen; `each` says whether there is another.
fn cut(
    bed: &Bed,
    mut slower: Option<Slower>,
    limits: Limits,
    each: &mut dyn FnMut(&Outcome) -> bool,
) {
    let leaves = [bed.leaf()];
    let options = Options { pins: bed.pins.clone(), ..Options::default() };
    let Attached { mut tracker, .. } = attach(&leaves, &options).unwrap();
    let mut freezer = LinuxFreezer::new(Path::new(AGENT));
    freezer.set_file_systems(vec![FileSystem {
        at: bed.at.clone(),
        kind: "ext4".to_owned(),
        number: leaves[0].number,
        leaves: vec![leaves[0].name.clone()],
        read_only: false,
    }]);
    let mut sources = [opened(bed)];
    let mut onlooker = [opened(bed)];
    let mut arena = Arena::new(&mut sources[0].disk, 96 << 20).unwrap();
    let whole = Arena::new(&mut onlooker[0].disk, 256 << 20).unwrap();
    let empty = || Replica(vec![0; usize::try_from(BYTES).unwrap()]);
    let mut gate = Onlooker { source: onlooker, arena: whole, seen: empty() };
    let mut replica = empty();
    let mut changed = [BlockSet::new(sources[0].blocks())];
    changed[0].insert_range(0, changed[0].size());
    let (blank, swap) = ([BlockSet::new(sources[0].blocks())], Swap::default());
    let mut cutter = Cutter::default();
    loop {
        let mut server = Server {
            tracker: &mut tracker,
            freezer: &mut freezer,
            sources: &mut sources,
            blank: &blank,
            swap: &swap,
            arena: &mut arena,
            sink: &mut replica,
            hooks: None,
            throttle: slower.as_mut().map(|slower| slower as &mut dyn Throttle),
            snapshots: None,
            gate: Some(&mut gate),
            clock: &SystemClock,
        };
        let outcome = cutter.cut(&mut server, &mut changed, limits).unwrap();
        println!("{outcome:?}, {} pieces in the arena", arena.held().count());
        assert_eq!((outcome.instant, outcome.group), (Instant::Crash, Some(true)));
        assert_eq!(outcome.incomplete, [0_usize; 0], "{:?}", outcome.remarks);
        arena.held().for_each(|held| replica.put(held.first, held.bytes()));
        for (block, (ours, seen)) in
            replica.0.chunks(BLOCK_BYTES).zip(gate.seen.0.chunks(BLOCK_BYTES)).enumerate()
        {
            assert!(ours == seen, "block {block} is not the disk's");
        }
        if !each(&outcome) {
            break;
        }
    }
    let image = bed.folder.join("point.img");
    fs::write(&image, &replica.0).unwrap();
    // A frozen file system is clean: not even its log is to be replayed.
    let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&image).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn a_point_is_the_disk_while_it_was_frozen_whoever_writes() {
    let Some(mut bed) = Bed::new() else { return };
    bed.write();
    let mut left = CUTS;
    cut(&bed, None, Limits { budget: LIMIT, limit: LIMIT }, &mut |_| {
        left -= 1;
        left > 0
    });
}

#[test]
fn who_writes_too_fast_is_found_slowed_down_and_named_in_the_point() {
    let Some(mut bed) = Bed::new() else { return };
    let group = bed.write_fast("lifeboat-fast");
    let switch = group.join("cgroup.freeze");
    let slower = Slower::new(Path::new(AGENT), &bed.folder.join("slowed"));
    // No freeze keeps such a budget.
    let limits = Limits { budget: Duration::from_nanos(1), limit: LIMIT };
    let (mut named, mut left) = (false, CUTS_MAX);
    cut(&bed, Some(slower), limits, &mut |outcome| {
        let words = outcome.remarks.join("; ");
        named |= words.contains("slowed down") && words.contains("lifeboat-fast");
        assert_eq!(fs::read_to_string(&switch).unwrap().trim(), "0", "{words}");
        left -= 1;
        // Where others write more at the moment, slowing this one down is of no use, and left out.
        !named && left > 0
    });
    drop(bed);
    let gone = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        fs::remove_dir(&group).is_ok()
    });
    assert!(named && gone, "named: {named}; gone: {gone}");
}
