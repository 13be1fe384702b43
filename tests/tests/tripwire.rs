//! Promise: a server whose files are encrypted in their place is noticed within few points, and its last good points outlive any
//! retention; what servers write otherwise is no alarm.
//!
//! Real disk contents in a real vault in a folder, whose points are a quarter of an hour apart by their own word; the tripwire with
//! its own hands reads that vault, and the real `prune` runs over it. What is written is what is written: text and records for a
//! database, logs, gzip, and AES output for the attacker.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use firmware::admin::keep::MemoryKeep;
use firmware::alerts::rules::{Kind, Reading};
use firmware::alerts::tripwire::{Hands as _, Tripwire, VaultHands};
use firmware::cli::Opening;
use firmware::session::{Machine, Session};
use firmware::setup::in_use::Way;
use firmware::site::facts::Vaulted;
use firmware_web::api::views::alerts::AlertRules;
use firmware_web::api::views::servers::PointView;
use hal::disk::Disk as _;
use hal::time::{Clock, UnixMillis};
use hal_linux::SystemClock;
use hal_sim::SimDisk;
use hal_sim::random::Random;
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::pins;
use pipeline_vault::writer::{DiskJob, Options, Run, Silent, Writer};
use tests::azurite::Scratch;
use tests::program::{Place, checked};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Three hundred megabytes of files, and as much free space.
const FILES: u64 = 4800;
const BLOCKS: u64 = 2 * FILES;
const QUARTER: u64 = 15 * 60_000;
/// Two days of points.
const POINTS: u64 = 192;

/// A wall clock that stands where it is put.
struct Put(AtomicU64);

impl Clock for Put {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_nanos(&self) -> u64 {
        SystemClock.monotonic_nanos()
    }
}

/// A server whose disk is written on, and its vault.
struct Server {
    place: Place,
    machine: Machine,
    opening: Opening,
    disk: SimDisk,
    random: Random,
    /// Blocks that changed since the last point.
    changed: Vec<u64>,
    now: u64,
    clock: Arc<Put>,
    written: u64,
    writer: Option<Writer>,
}

impl Server {
    fn new(scratch: &Scratch, seed: u64) -> Self {
        println!("seed {seed}");
        let place = Place::in_folder(scratch.path());
        let opening = Opening {
            vault: place.vault.parse().expect("a vault"),
            key_file: place.key.clone(),
            passphrase_file: None,
            older_key: false,
        };
        let state = place.state.display().to_string();
        let machine = Machine::with_table(vec![("LIFEBOAT_STATE".to_owned(), state)]);
        let now = SystemClock.now().0 - (POINTS + 40) * QUARTER;
        let mut server = Self {
            place,
            machine,
            opening,
            disk: SimDisk::new(BLOCKS * BLOCK),
            random: Random::new(seed),
            changed: Vec::new(),
            now,
            clock: Arc::new(Put(AtomicU64::new(now))),
            written: 0,
            writer: None,
        };
        (0..FILES).for_each(|block| server.text(block));
        server.enrol();
        server
    }

    fn write(&mut self, block: u64, content: &[u8]) {
        self.disk.load(block * BLOCK, content);
        self.changed.push(block);
    }

    /// Records as a database has them: much the same, and never twice the same.
    fn text(&mut self, block: u64) {
        let mut content = Vec::with_capacity(BLOCK_BYTES + 128);
        while content.len() < BLOCK_BYTES {
            self.written += 1;
            let (id, amount) = (self.written, self.random.below(100_000));
            content.extend_from_slice(
                format!(
                    "record {id:012}; customer {:06}; amount {amount:05}; state open; note none\n",
                    id % 4096
                )
                .as_bytes(),
            );
        }
        content.truncate(BLOCK_BYTES);
        self.write(block, &content);
    }

    /// What a cipher gives, or a film.
    fn noise(&mut self, block: u64) {
        let mut content = vec![0; BLOCK_BYTES];
        self.random.fill(&mut content);
        self.write(block, &content);
    }

    /// The server is put on the vault's list by the program, with a point of nothing.
    fn enrol(&self) {
        let image = self.place.key.with_file_name("nothing");
        std::fs::write(&image, vec![0; BLOCK_BYTES]).expect("an image");
        let mut command = self.place.verb("protect");
        command.args(["--server", "web1"]).arg(format!("nothing={}", image.display()));
        checked(command.output().expect("it starts"), "protect");
    }

    /// A point of what changed, a quarter of an hour later.
    fn point(&mut self) {
        self.now += QUARTER;
        self.clock.0.store(self.now, Ordering::Relaxed);
        let options = Options { host: "a test".to_owned(), ..Options::default() };
        let run = Run { started: Some(self.now), ..Run::from(&options) };
        if self.writer.is_none() {
            let session = Session::open(&self.opening, &self.machine).expect("the vault");
            let server = session.server("web1").expect("the server");
            let writer = Writer::open(&session.access(), server, options);
            self.writer = Some(writer.expect("a writer"));
        }
        self.changed.sort_unstable();
        self.changed.dedup();
        let changed = self.changed.drain(..).map(|block| (block * BLOCK, BLOCK)).collect();
        let job = DiskJob {
            name: "sda".to_owned(),
            identity: "sim".to_owned(),
            disk: self.disk.another().expect("a handle"),
            changed: Some(changed),
        };
        let writer = self.writer.as_mut().expect("it was opened");
        writer.run(vec![job], &run, &Silent).expect("a point");
    }

    /// As the API tells them: none newer than an instant, the newest first.
    fn points(&self) -> Vec<PointView> {
        let mut session = Session::open(&self.opening, &self.machine).expect("the vault");
        let server = session.server("web1").expect("the server");
        let view = session.chain(server).expect("a chain");
        let points = view.points().rev().filter_map(|link| link.record.point());
        points
            .map(|point| PointView {
                id: point.id.to_string(),
                at_millis: point.started,
                new_blocks: point.work.new_blocks,
                stored_bytes: point.work.stored_bytes,
                consistency: "crash".to_owned(),
                ..PointView::default()
            })
            .collect()
    }

    /// What a database does in a quarter of an hour, more or less of it.
    fn ordinary(&mut self) {
        let writes = 20 + self.random.below(100);
        for _ in 0..writes {
            let block = self.random.below(FILES);
            self.text(block);
        }
        self.point();
    }

    fn tripwire(&self) -> Tripwire {
        let way = Way::of(&self.opening, &self.machine);
        let vault = Arc::new(move || Some(Vaulted::of(way.clone(), &[])));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Tripwire::open(Box::new(VaultHands(vault)), Arc::new(MemoryKeep::default()), clock)
    }

    fn look(&self, tripwire: &mut Tripwire) -> Vec<Reading> {
        let all = self.points();
        let give = |before: Option<u64>, limit: usize| -> Vec<PointView> {
            let good =
                all.iter().filter(|point| before.is_none_or(|before| point.at_millis <= before));
            good.take(limit).cloned().collect()
        };
        tripwire.look_at("web1", &give, &AlertRules::default());
        tripwire.readings()
    }
}

#[test]
fn files_encrypted_in_their_place_are_noticed_and_the_last_good_points_survive_prune() {
    let scratch = Scratch::new("tripwire").expect("a folder");
    let mut server = Server::new(&scratch, 6);
    (0..POINTS).for_each(|_| server.ordinary());
    let mut tripwire = server.tripwire();
    assert!(server.look(&mut tripwire).is_empty());
    let good = server.points()[0].clone();
    // A point that is not there keeps no other from being held.
    let way = Way::of(&server.opening, &server.machine);
    let mut hands = VaultHands(Arc::new(move || Some(Vaulted::of(way.clone(), &[]))));
    let (gone, other) = ("0".repeat(32), server.points()[90].id.clone());
    let failed = hands.hold("web1", &[gone.clone(), other.clone()], "a test", 3_600_000_000);
    assert_eq!(failed.iter().map(|(point, _)| point).collect::<Vec<_>>(), [&gone]);
    // A third of the files, a tenth of that in each point.
    let victims: Vec<u64> = (0..FILES).filter(|block| block % 3 == 1).collect();
    let mut raised = None;
    for (number, part) in victims.chunks(victims.len() / 10).enumerate() {
        part.iter().for_each(|block| server.noise(*block));
        server.ordinary();
        let told = server.look(&mut tripwire);
        if raised.is_none() && !told.is_empty() {
            raised = Some((number + 1, told));
        }
    }
    let (points, told) = raised.expect("an alarm");
    assert!(points <= 4, "only after {points} points");
    assert_eq!(told[0].kind, Kind::Tripwire);
    assert!(told[0].words.contains(&good.id[..8]), "{} lacks {}", told[0].words, good.id);
    let mut session = Session::open(&server.opening, &server.machine).expect("the vault");
    let id = session.server("web1").expect("the server");
    let held = pins::holds(&session.access(), &id).expect("holds");
    assert!(held.iter().any(|hold| hold.point.to_string() == good.id), "{held:?}");
    assert!(held.iter().any(|hold| hold.point.to_string() == other), "{held:?}");
    assert!(held.len() >= 4, "one an hour and one a day older too: {held:?}");
    // Whatever the retention says.
    let mut prune = server.place.verb("prune");
    prune.args(["--keep", "last=1", "--server", "web1", "--confirm", "--grace", "1h"]);
    checked(prune.output().expect("it starts"), "prune");
    let view = session.chain(id).expect("a chain");
    let left: Vec<String> =
        view.points().filter_map(|link| Some(link.record.point()?.id.to_string())).collect();
    assert_eq!(left.len(), held.len() + 1, "{left:?}");
    assert!(left.contains(&good.id));
    let to = scratch.path().join("back");
    let mut restore = server.place.verb("restore");
    restore.args(["--server", "web1", "--disk", "sda", "--point", &good.id, "--to"]).arg(&to);
    checked(restore.output().expect("it starts"), "restore");
    let back = std::fs::read(&to).expect("a disk");
    let victim = usize::try_from(victims[0] * BLOCK).expect("a place");
    assert!(
        back[victim..victim + 40].starts_with(b"record ")
            || back[victim..victim + 200].windows(7).any(|part| part == b"record ")
    );
}

#[test]
fn a_film_that_is_copied_logs_that_are_packed_and_an_upgrade_are_no_alarm() {
    for seed in 0..4 {
        let scratch = Scratch::new("tripwire").expect("a folder");
        let mut server = Server::new(&scratch, seed);
        (0..POINTS).for_each(|_| server.ordinary());
        let mut tripwire = server.tripwire();
        assert!(server.look(&mut tripwire).is_empty());
        // A film is copied to where nothing was.
        for part in 0..4 {
            (0..500).for_each(|block| server.noise(FILES + part * 500 + block));
            server.ordinary();
            assert!(server.look(&mut tripwire).is_empty(), "a film, seed {seed}");
        }
        // An upgrade writes over much of what there is, and it compresses.
        for part in 0..3 {
            (0..900).for_each(|block| server.text(part * 900 + block));
            server.ordinary();
            assert!(server.look(&mut tripwire).is_empty(), "an upgrade, seed {seed}");
        }
        // An encrypted backup is written over the film, which is deleted.
        for part in 0..4 {
            (0..500).for_each(|block| server.noise(FILES + part * 500 + block));
            server.ordinary();
            assert!(server.look(&mut tripwire).is_empty(), "a backup, seed {seed}");
        }
    }
}
