//! No write to a protected disk is missed, on any kernel, and what might have been missed is noticed.
//!
//! A guest tracks its disks with the agent's tracker while another process of it writes in every way, and builds
//! replicas of nothing but what was tracked. Whenever it has frozen its file system it says so, and the host stops the
//! machine and holds the disks' files against the replicas' itself. Trackers that are made wrong must be caught by the
//! same look: where they are not, the look proves nothing.
//!
//! `LIFEBOAT_TRACKER=long cargo nextest run --release -p tests --test tracker --no-capture` runs all kernels and stacks;
//! words in place of `long`, as `Trixie,raid1`, those that all of them name.

#![allow(clippy::unwrap_used, reason = "a test that cannot make its own disks has failed")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use core::time::Duration;

use qemu::{Accel, Bus, Disk, Event, Machine, Pace, Running};
use tests::azurite::{Scratch, run};
use tests::guest::BOOT;
use tests::kernels::{Debian, tracked};

/// Longest wait for a step of a guest: looking over its programs may take a translated one half a minute.
const STEP: Duration = Duration::from_secs(240);
const LIFETIME: Duration = Duration::from_secs(900);
const MIB: u64 = 1 << 20;
const BLOCK: usize = 64 * 1024;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// Blocks that are named to the guest: its terminal takes lines of 4096 letters.
const NAMED_MAX: usize = 300;
/// Turns of an empty loop that make a program slow enough to be come in upon.
const DELAY: u16 = 20_000;
/// Turns until a program has been come in upon.
const TURNS_MAX: u32 = 12;

/// Disks and their replicas.
struct Bed {
    scratch: Scratch,
    machine: Machine,
}

impl Bed {
    fn new(debian: Debian, words: &str) -> Self {
        Self::on(Scratch::new("tracker").unwrap(), debian, words)
    }

    /// With the disks that an earlier one left.
    fn on(scratch: Scratch, debian: Debian, words: &str) -> Self {
        let (files, release) = tracked(debian, &scratch).unwrap();
        println!("{debian:?}: kernel {release} {words}");
        let line = format!("console=ttyS0 panic=-1 quiet {words}");
        let machine = Machine::kernel(&files.kernel, &files.initrd, &line).headless();
        Self { scratch, machine: machine.memory_mib(1024).lifetime(LIFETIME) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.img"))
    }

    /// A disk and its replica, of this size.
    fn disk(self, serial: &str, mib: u64, bus: Bus, pace: Pace) -> Self {
        self.disk_like(serial, mib, &|disk| disk.on(bus).slow(pace))
    }

    fn disk_like(mut self, serial: &str, mib: u64, like: &dyn Fn(Disk) -> Disk) -> Self {
        let copy = format!("copy-{serial}");
        for name in [serial, &copy] {
            let path = self.path(name);
            if !path.exists() {
                File::create(&path).unwrap();
            }
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(mib * MIB).unwrap();
        }
        let (disk, replica) = (self.path(serial), self.path(&copy));
        self.machine = self
            .machine
            .disk(like(Disk::new(disk)).serial(serial))
            .disk(Disk::new(replica).serial(&copy));
        self
    }

    fn start(self) -> Guest {
        let running = self.machine.start().unwrap();
        let up = running.console().event("up", BOOT).unwrap_or_else(|error| panic!("{error}"));
        println!(
            "  up: {} lockdown {}",
            up.field("release").unwrap(),
            up.field("lockdown").unwrap()
        );
        Guest { scratch: self.scratch, running }
    }
}

/// A running guest.
struct Guest {
    scratch: Scratch,
    running: Running,
}

/// What was found at one look.
struct Look {
    event: Event,
    lost: u64,
}

impl Guest {
    /// Ends the machine; its disks stay.
    fn stop(self) -> Scratch {
        self.running.power_cut();
        self.scratch
    }

    /// Stops the machine, and names the blocks in which disks and replicas differ.
    fn differing(&self, serials: &[&str]) -> Vec<(usize, u64)> {
        self.running.pause().unwrap();
        let mut found = Vec::new();
        for (disk, serial) in serials.iter().enumerate() {
            let path = |name: &str| self.scratch.path().join(format!("{name}.img"));
            let blocks = differences(&path(serial), &path(&format!("copy-{serial}")));
            found.extend(blocks.into_iter().map(|block| (disk, block)));
        }
        self.running.resume().unwrap();
        found
    }

    /// Waits for the guest to be ready for a look, looks, and has it say what of that was lost.
    fn look(&self, at: &str, serials: &[&str]) -> Look {
        let event = self.wait(at);
        let differing = self.differing(serials);
        let named: Vec<String> = differing
            .iter()
            .take(NAMED_MAX)
            .map(|(disk, block)| format!("{disk}:{block}"))
            .collect();
        self.running.console().type_line(&format!("differ {}", named.join(" "))).unwrap();
        let judged = self.wait("judged");
        let late = judged.number("late").unwrap();
        let lost = judged.number("lost").unwrap();
        println!("  {at} {:?}: {} differ, {late} late, {lost} lost", event.fields, differing.len());
        assert!(usize::try_from(late + lost).unwrap() == named.len());
        Look { event, lost }
    }

    #[track_caller]
    fn wait(&self, name: &str) -> Event {
        let wanted = |event: &Event| event.name == name || event.name == "failed";
        let event = self.running.console().any_event(name, STEP, wanted);
        let event = event.unwrap_or_else(|error| panic!("{error}"));
        assert!(event.name == name, "{:?}", event.fields);
        event
    }

    fn tell(&self, command: &str) {
        println!("  {command}");
        self.running.console().type_line(command).unwrap();
    }

    /// A campaign, of which nothing may be lost.
    fn campaign(&self, plan: &Plan) {
        let Plan { stack, kind, letters, rounds, serials, .. } = plan;
        let seed = std::process::id();
        self.tell(&format!("campaign {stack} {kind} {letters} {rounds} {seed}"));
        let attached = self.wait("attached");
        println!("  attached {:?}", attached.fields);
        assert_eq!(attached.field("pinned"), Some("true"));
        assert_eq!(attached.field("trial"), Some("true"));
        for round in 1..=*rounds {
            if round == 2 {
                assert_eq!(self.wait("returned").field("continued"), Some("true"));
            }
            let look = self.look("frozen", serials);
            assert_eq!(look.lost, 0, "{stack}, round {round}");
            assert_eq!(look.event.number("incomplete"), Some(0), "{:?}", look.event.fields);
        }
        let summary = self.wait("summary");
        println!("  {:?}", summary.fields);
        assert!(
            summary.number("operations").unwrap() > 100 && summary.number("writes").unwrap() > 100
        );
        if *stack == "multipath" {
            assert_ne!(summary.field("learned"), Some(""), "no path was learned");
        }
        self.wait("done");
    }

    /// One look at what a tracker does that is made in this way; how many blocks it lost, and whether that was noticed.
    fn control(&self, command: &str, serials: &[&str]) -> Look {
        self.tell(command);
        let look = self.look("ready", serials);
        self.wait("done");
        look
    }
}

/// One campaign.
struct Plan {
    stack: &'static str,
    kind: &'static str,
    letters: &'static str,
    rounds: u32,
    bus: Bus,
    mib: u64,
    serials: &'static [&'static str],
}

const PLAIN: Plan = Plan {
    stack: "plain",
    kind: "ext4",
    letters: "all",
    rounds: 3,
    bus: Bus::VirtioBlk,
    mib: 160,
    serials: &["data0"],
};

/// Every stack.
const STACKS: [Plan; 6] = [
    PLAIN,
    Plan { stack: "partition", bus: Bus::VirtioScsi, ..PLAIN },
    Plan { stack: "linear", serials: &["data0", "data1"], ..PLAIN },
    Plan { stack: "raid1", serials: &["data0", "data1"], ..PLAIN },
    Plan { stack: "multipath", bus: Bus::NvmeTwoPaths, ..PLAIN },
    Plan { kind: "xfs", letters: "bdczsD", bus: Bus::Nvme, mib: 400, ..PLAIN },
];

impl Plan {
    /// The machine with its disks, as the host lays them out.
    fn bed(&self, debian: Debian, words: &str) -> Bed {
        let mut bed = Bed::new(debian, words);
        self.lay_out(bed.scratch.path());
        for serial in self.serials {
            bed = bed.disk(serial, self.mib, self.bus, Pace::default());
        }
        bed
    }

    fn lay_out(&self, folder: &Path) {
        let disk = |number: usize| folder.join(format!("data{number}.img"));
        let system = folder.join("system.img");
        let make = |bytes: u64| {
            File::create(&system).unwrap().set_len(bytes).unwrap();
            let mut command = match self.kind {
                "xfs" => Command::new("mkfs.xfs"),
                _ => Command::new("mke2fs"),
            };
            match self.kind {
                "xfs" => command.arg("-q"),
                _ => command.args([
                    "-q",
                    "-t",
                    "ext4",
                    "-E",
                    "lazy_itable_init=0,lazy_journal_init=0",
                ]),
            };
            run(command.arg(&system)).unwrap();
        };
        let half = self.mib * MIB / 2;
        match self.stack {
            "partition" => {
                File::create(disk(0)).unwrap().set_len(self.mib * MIB).unwrap();
                let parts = ["--new=1:1M:+8M", "--new=2:9M:0"];
                run(Command::new("sgdisk").args(parts).arg(disk(0))).unwrap();
                make((self.mib - 12) * MIB);
                put(&system, 0, u64::MAX, &disk(0), 9 * MIB);
            }
            "linear" => {
                make(2 * half);
                put(&system, 0, half, &disk(0), 2048 * 512);
                put(&system, half, half, &disk(1), 4096 * 512);
            }
            "raid1" => {
                make((self.mib - 16) * MIB);
                put(&system, 0, u64::MAX, &disk(0), MIB);
                put(&system, 0, u64::MAX, &disk(1), MIB);
            }
            _ => {
                make(self.mib * MIB);
                put(&system, 0, u64::MAX, &disk(0), 0);
            }
        }
        fs::remove_file(&system).unwrap();
    }
}

/// Copies bytes of a file to a place in another.
fn put(from: &Path, start: u64, bytes: u64, to: &Path, at: u64) {
    let from = File::open(from).unwrap();
    let to = File::options().create(true).truncate(false).write(true).open(to).unwrap();
    let end = start.saturating_add(bytes).min(from.metadata().unwrap().len());
    let mut buffer = vec![0; PIECE];
    let mut next = start;
    while next < end {
        let length = usize::try_from((end - next).min(MIB)).unwrap();
        from.read_exact_at(&mut buffer[..length], next).unwrap();
        to.write_all_at(&buffer[..length], at + next - start).unwrap();
        next += length as u64;
    }
}

/// Blocks in which two files differ.
fn differences(one: &Path, other: &Path) -> Vec<u64> {
    let (one, other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let bytes = one.metadata().unwrap().len();
    assert_eq!(bytes, other.metadata().unwrap().len());
    let mut buffers = [vec![0; PIECE], vec![0; PIECE]];
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes {
        let length = usize::try_from((bytes - at).min(MIB)).unwrap();
        let [left, right] = &mut buffers;
        one.read_exact_at(&mut left[..length], at).unwrap();
        other.read_exact_at(&mut right[..length], at).unwrap();
        if left[..length] != right[..length] {
            let blocks =
                left[..length].chunks(BLOCK).zip(right[..length].chunks(BLOCK)).enumerate();
            let differing = blocks.filter(|(_, (left, right))| left != right);
            found.extend(differing.map(|(block, _)| at / BLOCK as u64 + block as u64));
        }
        at += length as u64;
    }
    found
}

fn is_long() -> bool {
    std::env::var_os("LIFEBOAT_TRACKER").is_some()
}

/// Whether a campaign of this name is asked for.
fn is_asked(name: &str) -> bool {
    let words = std::env::var("LIFEBOAT_TRACKER").unwrap_or_default();
    words == "long" || words.split(',').all(|word| name.contains(word))
}

#[test]
fn nothing_is_lost_and_wrong_trackers_are_caught() {
    let slow = Pace { requests_per_second: 10, bytes_per_second: 0 };
    let guest = PLAIN.bed(Debian::Bookworm, "").disk("slow0", 16, Bus::VirtioBlk, slow).start();
    guest.campaign(&PLAIN);
    // A write that is marked when it is issued may be cleared, and the old content read, before it is done.
    assert!(guest.control("race issue clear-first", &["slow0"]).lost > 0);
    // One that is cleared after the read was written in between.
    assert!(guest.control("race completion read-first", &["slow0"]).lost > 0);
    assert_eq!(guest.control("race completion clear-first", &["slow0"]).lost, 0);
}

/// A program that is come in upon by itself does not run. A disk of one queue completes in a soft interrupt, one of many
/// in a hard one.
#[test]
fn one_copy_of_the_program_is_too_few_and_three_are_enough() {
    let nested = ["one0", "many0"];
    let guest = Bed::new(Debian::Bookworm, "")
        .disk_like("one0", 128, &|disk| disk.queues(1))
        .disk_like("many0", 128, &|disk| disk.queues(2))
        .start();
    let mut turns = 0;
    loop {
        turns += 1;
        let one = guest.control(&format!("nested 1 {DELAY}"), &nested);
        let noticed = one.event.number("incomplete").unwrap() > 0;
        assert_eq!(one.lost > 0, noticed, "{:?}", one.event.fields);
        if one.lost > 0 {
            break;
        }
        assert!(turns < TURNS_MAX, "one copy never lost a write: this proves nothing of three");
    }
    for _ in 0..=turns {
        let three = guest.control(&format!("nested 3 {DELAY}"), &nested);
        assert_eq!(three.lost, 0);
        let alarm = three.event.number("incomplete");
        assert_eq!(alarm, Some(0), "a false alarm: {:?}", three.event.fields);
    }
}

/// What is saved is believed where nothing was written behind it and everything is seen that is written after it. In every
/// other start it is not believed; and if it were, blocks would be lost.
#[test]
fn marks_go_over_to_the_next_start_or_are_refused_for_a_reason() {
    let plan = Plan { mib: 96, ..PLAIN };
    let mut scratch = Scratch::new("starts").unwrap();
    plan.lay_out(scratch.path());
    // How a start begins, how it ends, whether it goes on from the one before.
    let starts = [
        ("first", "still", false),
        ("early", "still", true),
        ("early", "soon", true),
        ("early", "still", false),
        ("late", "still", false),
    ];
    for (number, (begin, end, goes_on)) in starts.into_iter().enumerate() {
        let bed = Bed::on(scratch, Debian::Bookworm, "");
        let guest = bed.disk("data0", plan.mib, plan.bus, Pace::default()).start();
        guest.tell(&format!("start {begin} {end}"));
        println!("  {:?}", guest.wait("began").fields);
        println!("  {:?}", guest.wait("words").fields);
        let look = guest.look("ready", &["data0"]);
        assert_eq!(look.event.field("on"), Some(if goes_on { "true" } else { "false" }));
        let is_right = goes_on || number == 0;
        assert_eq!(look.lost == 0, is_right, "{begin}: {} lost", look.lost);
        println!("  {:?}", guest.wait("saved").fields);
        guest.wait("done");
        scratch = guest.stop();
    }
}

#[test]
fn every_range_of_a_discard_is_marked() {
    if !is_long() {
        println!("SKIPPED: LIFEBOAT_TRACKER=long runs it");
        return;
    }
    let plan = Plan { kind: "xfs", mib: 400, ..PLAIN };
    for debian in [Debian::Bookworm, Debian::Experimental] {
        let bed = Bed::new(debian, "");
        plan.lay_out(bed.scratch.path());
        fs::rename(bed.path("data0"), bed.path("trim0")).unwrap();
        let guest = bed.disk("trim0", plan.mib, Bus::Nvme, Pace::default()).start();
        assert!(guest.control("discards first-only", &["trim0"]).lost > 0);
        let walked = guest.control("discards walk", &["trim0"]);
        assert_eq!(walked.lost, 0);
        assert!(walked.event.number("ranges").unwrap() > 0, "no request had several ranges");
    }
}

#[test]
fn every_kernel_and_every_stack() {
    if !is_long() {
        println!("SKIPPED: LIFEBOAT_TRACKER=long runs it");
        return;
    }
    let all = STACKS.iter().flat_map(|plan| Debian::ALL.map(|debian| (debian, plan, "")));
    each(all);
}

/// Every one of these, whatever becomes of the others.
fn each<'a>(campaigns: impl Iterator<Item = (Debian, &'a Plan, &'a str)>) {
    let mut failed = Vec::new();
    for (debian, plan, words) in campaigns {
        let name = format!("{debian:?} {} {} {words}", plan.stack, plan.kind);
        if !is_asked(&name) {
            continue;
        }
        let campaign = || plan.bed(debian, words).start().campaign(plan);
        if std::panic::catch_unwind(campaign).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_locked_down_kernel_lets_it_track() {
    if !is_long() {
        println!("SKIPPED: LIFEBOAT_TRACKER=long runs it");
        return;
    }
    let plan = Plan { stack: "partition", bus: Bus::VirtioScsi, rounds: 2, ..PLAIN };
    let kinds = ["lockdown=integrity", "lockdown=confidentiality"];
    let all = kinds.iter().flat_map(|kind| Debian::ALL.map(|debian| (debian, &plan, *kind)));
    each(all);
}

#[test]
fn a_write_costs_little() {
    if !is_long() {
        println!("SKIPPED: LIFEBOAT_TRACKER=long runs it");
        return;
    }
    let mut bed = PLAIN.bed(Debian::Bookworm, "");
    bed.machine = bed.machine.accel(Accel::Counted).processors(1);
    let guest = bed.start();
    for copies in [1, 3] {
        guest.tell(&format!("cost {copies} 3000"));
        for _ in 0..3 {
            let cost = guest.wait("cost");
            let (without, with) = (cost.number("without").unwrap(), cost.number("with").unwrap());
            println!("  {copies} copies: {without} instructions a write, {with} with tracking");
            assert!(cost.number("seen").unwrap() >= 3000);
            // Instructions, not time: they are the same on a busy machine.
            assert!(with * 100 <= without * 109, "{with} of {without}");
        }
        guest.wait("done");
    }
}
