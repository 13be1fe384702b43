//! Promise: the power may fail at any moment of a capture: the machine starts again, nothing that was told is lost, and the
//! capture goes on where it was.
//!
//! The machine is killed from outside at seeded moments. What is right is known to the host alone: its own copies of the
//! disk, by the points that the console told of. `LIFEBOAT_CUTS` (default 5, shared by a vault on a disk of the machine and
//! one in Azurite) sets how often, `LIFEBOAT_SEED` repeats a run:
//! `LIFEBOAT_CUTS=50 cargo nextest run --release -p tests --test power_cut_capture --no-capture`

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use core::time::Duration;

use hal_sim::random::Random;
use qemu::{Disk, Event, Gateway, Machine, Nic, Pace};
use serde_json::Value;
use tests::appliance::{await_event, phase, start, vault_table};
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch};
use tests::guest::BOOT;
use tests::media::{copy_disk, ext4, first_difference, read_ext4, stick};
use tests::program::{Place, checked};

const MIB: u64 = 1 << 20;
const DISK_MIB: u64 = 80;
/// Slow enough to be cut in the middle, whatever the processor is: twelve seconds for the whole disk.
const PACE: Pace = Pace { requests_per_second: 0, bytes_per_second: 7 << 20 };
/// A capture and its cut are over by then, however many share the processor.
const CAPTURE: Duration = Duration::from_secs(240);
/// After so much was stored, some of it is finished segments.
const SURELY_KEPT: u64 = 24 * MIB;

/// One server, and what the host knows of it.
struct Campaign<'a> {
    place: Place,
    folder: &'a Path,
    random: Random,
    /// What the machine is made of besides the server's disk and the stick.
    dressed: &'a dyn Fn(Machine) -> Machine,
    /// Points that the console told of, and the disk as it was.
    told: Vec<(String, PathBuf)>,
    cuts: u64,
    resumed: u64,
    /// The most that a cut run of the present capture had stored.
    before: u64,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn random(stream: u64) -> Random {
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed = number("LIFEBOAT_SEED", u64::from(nanos));
    println!("LIFEBOAT_SEED={seed} repeats it");
    Random::new(seed ^ stream)
}

#[test]
fn a_vault_on_a_disk_of_the_machine_survives_power_cuts() {
    let scratch = Scratch::new("cut-disk").unwrap();
    let folder = scratch.path();
    fs::create_dir_all(folder.join("disk")).unwrap();
    let inside = format!("dir:{}", folder.join("disk/site").display());
    let mut place = Place::create(inside, folder, &[]);
    let vault = ext4(&folder.join("vault.img"), "backups", &folder.join("disk"), 4096);
    settings(folder, &vault_table(&place, "disk:backups/site", "server = \"web1\"\n"));
    let plugged = |machine: Machine| machine.disk(Disk::new(&vault));
    place.vault = format!("dir:{}", folder.join("read/site").display());
    let mut campaign = Campaign::new(place, folder, random(1), &plugged);
    let cuts = number("LIFEBOAT_CUTS", 5).div_ceil(2);
    campaign.run(cuts);
    read_ext4(&vault, folder);
    campaign.judge();
}

#[test]
fn a_vault_in_azurite_survives_power_cuts() {
    let scratch = Scratch::new("cut-azure").unwrap();
    let folder = scratch.path();
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let key = [("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned())];
    let place = Place::create(azurite.vault("site"), folder, &key);
    let endpoint = format!("http://10.0.2.2:{}/{ACCOUNT}", azurite.port());
    let more = format!("token = \"{KEY}\"\nserver = \"web1\"\n");
    let address = format!("azure://{ACCOUNT}/site?endpoint={endpoint}");
    settings(folder, &vault_table(&place, &address, &more));
    let plugged = |machine: Machine| machine.nic(Nic::new().gateway(Gateway::default()));
    let mut campaign = Campaign::new(place, folder, random(2), &plugged);
    campaign.run(number("LIFEBOAT_CUTS", 5) / 2);
    campaign.judge();
}

fn settings(folder: &Path, table: &str) {
    stick(&folder.join("stick.img"), &format!("role = \"capture\"\n{table}"));
}

impl<'a> Campaign<'a> {
    fn new(
        place: Place,
        folder: &'a Path,
        random: Random,
        dressed: &'a dyn Fn(Machine) -> Machine,
    ) -> Self {
        let disk = folder.join("server.img");
        File::create(&disk).unwrap().set_len(DISK_MIB * MIB).unwrap();
        Self { place, folder, random, dressed, told: Vec::new(), cuts: 0, resumed: 0, before: 0 }
    }

    /// Cuts so often; then once more without a cut.
    fn run(&mut self, cuts: u64) {
        while self.cuts < cuts {
            let fresh = self.write_some();
            // The same disk again until the capture was told to be done.
            while !self.capture(fresh, self.cuts < cuts) {}
        }
    }

    /// What the server wrote since its last point: noise, so that as much has to be stored.
    fn write_some(&mut self) -> u64 {
        let disk = File::options().write(true).open(self.folder.join("server.img")).unwrap();
        let all = self.told.is_empty();
        let mut fresh = 0;
        for piece in 0..DISK_MIB {
            if !all && self.random.below(2) == 0 {
                continue;
            }
            let words = (0..MIB / 8).flat_map(|_| self.random.below(u64::MAX).to_le_bytes());
            disk.write_all_at(&words.collect::<Vec<u8>>(), piece * MIB).unwrap();
            fresh += MIB;
        }
        fresh
    }

    /// One start of the machine; whether its capture was told to be done.
    fn capture(&mut self, fresh: u64, cut: bool) -> bool {
        let disk = self.folder.join("server.img");
        let running = start("", |machine| {
            let machine = machine.disk(Disk::new(&disk).slow(PACE));
            (self.dressed)(machine.disk(Disk::new(self.folder.join("stick.img"))))
        });
        // It may begin before the machine says that it is ready.
        let began = await_event(&running, "capture", BOOT);
        let events = running.console().events();
        for name in ["medium", "state", "settings"] {
            assert_eq!(phase(&events, name), Some("done"), "{events:#?}");
        }
        assert_eq!(began.field("state"), Some("started"), "{began:?}");
        // By what is read, since no processor is as fast as another; some cuts come too late.
        let cut_at = self.random.below((DISK_MIB + 8) * MIB);
        let reached = |event: &Event| {
            is_done(event) || (cut && event.number("done").is_some_and(|done| done >= cut_at))
        };
        let seen = running.console().event_where("capture", CAPTURE, reached);
        seen.unwrap_or_else(|error| panic!("{error}"));
        if cut {
            std::thread::sleep(Duration::from_millis(self.random.below(1500)));
        }
        let console = running.console().clone();
        running.power_cut();
        self.cuts += u64::from(cut);
        let said = console.events();
        let done = said.iter().find(|event| is_done(event));
        assert!(cut || done.is_some(), "the capture does not end: {}", console.tail());
        let stored = said.iter().filter(|event| event.name == "capture");
        let stored = stored.filter_map(|event| event.number("stored")).max().unwrap_or(0);
        println!(
            "{} cuts: {} of {} MiB stored, done: {}",
            self.cuts,
            stored / MIB,
            fresh / MIB,
            done.is_some()
        );
        match done {
            Some(done) => self.note(done, fresh),
            None => {
                self.before = self.before.max(stored);
                false
            }
        }
    }

    /// A capture was told to be done: the disk is kept as it is, and what the cut ones before it had sent is compared.
    fn note(&mut self, done: &Event, fresh: u64) -> bool {
        assert_eq!(done.field("state"), Some("done"), "{done:?}");
        let copy = self.folder.join(format!("copy-{}.img", self.told.len()));
        copy_disk(&self.folder.join("server.img"), &copy);
        self.told.push((done.field("point").unwrap().to_owned(), copy));
        let before = core::mem::take(&mut self.before);
        let stored = done.number("stored").unwrap();
        if done.field("resumed") == Some("true") {
            self.resumed += 1;
            println!(
                "resumed after {} MiB: {} of {} MiB stored",
                before / MIB,
                stored / MIB,
                fresh / MIB
            );
        }
        if before > SURELY_KEPT {
            assert_eq!(done.field("resumed"), Some("true"), "{done:?}");
            assert!(stored < fresh - 8 * MIB, "{stored} of {fresh} bytes are stored again");
        }
        true
    }

    /// Everything that was told is in the vault, whole, as the host knows it.
    fn judge(&self) {
        checked(self.place.verb("verify").arg("--deep").output().unwrap(), "verify");
        let points = checked(self.place.verb("points").arg("--json").output().unwrap(), "points");
        let points: Value = serde_json::from_str(&points).unwrap();
        let ids: Vec<&str> = points["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["id"].as_str().unwrap())
            .collect();
        for (point, copy) in &self.told {
            assert!(ids.contains(&point.as_str()), "{point} was told, and is not in {ids:?}");
            let to = self.folder.join("restored.img");
            let mut command = self.place.verb("restore");
            command.args(["--server", "web1", "--disk", "vda", "--point", point, "--to"]).arg(&to);
            checked(command.output().unwrap(), "restore");
            assert_eq!(first_difference(copy, &to, 0..DISK_MIB * MIB), None, "{point}");
            fs::remove_file(&to).unwrap();
        }
        println!("{} cuts, {} points told, {} resumed", self.cuts, self.told.len(), self.resumed);
    }
}

fn is_done(event: &Event) -> bool {
    let ends = ["done", "incomplete", "failed"];
    event.name == "capture" && event.field("state").is_some_and(|state| ends.contains(&state))
}
