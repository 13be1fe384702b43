//! Promise: a kill at any instant costs nothing that was published, and the next run goes on where it was.
//!
//! The program is killed from outside (SIGKILL) at random moments of `protect` and `prune`, on a directory and on
//! Azurite behind the fault proxy. Afterwards `verify --deep` is clean and every published point restores
//! bit for bit, compared with copies that this test made of the disk, not the program.
//! `LIFEBOAT_KILLS` (default 20) sets the kills per store, `LIFEBOAT_SEED` repeats a run:
//! `LIFEBOAT_KILLS=200 cargo nextest run --release -p tests --test kill_campaign --no-capture`

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use hal_sim::random::Random;
use tests::program::{Place, checked};

#[path = "kill_campaign/stores.rs"]
mod stores;

const BLOCK: u64 = 65_536;
const DISK_BLOCKS: u64 = 1200;

/// One server with one disk, and what the host knows of it.
struct Campaign {
    place: Place,
    folder: PathBuf,
    random: Random,
    /// Copies of the disk by the identity of the point that was made of it.
    copies: BTreeMap<String, PathBuf>,
    /// Copies of the disk at protects whose point, if any, was not seen yet.
    candidates: Vec<PathBuf>,
    made: u64,
    kills: u64,
    finished: u64,
}

#[test]
fn a_killed_program_on_a_directory_loses_nothing() {
    let folder = stores::scratch("kill-dir");
    let place = Place::in_folder(&folder);
    campaign(place, &folder, 1);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_killed_program_on_azurite_behind_faults_loses_nothing() {
    let folder = stores::scratch("kill-azure");
    let azure = stores::FaultyAzurite::start();
    let place = Place::create(azure.vault(), &folder, &azure.environment());
    azure.inject();
    campaign(place, &folder, 2);
    drop(azure);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_killed_first_copy_does_not_send_finished_segments_again() {
    let folder = stores::scratch("kill-resume");
    let place = Place::in_folder(&folder);
    let disk = folder.join("disk.img");
    let mut random = Random::new(3);
    let file = File::create(&disk).expect("a disk");
    file.set_len(1600 * BLOCK).expect("a size");
    for block in 0..1600 {
        file.write_all_at(&noise(&mut random), block * BLOCK).expect("room for a disk");
    }
    let mut child = spawn(&place, &disk);
    let segments = folder.join("vault/seg");
    let deadline = Instant::now() + Duration::from_secs(120);
    // Noise does not compress: 100 MiB of it are at least twelve segments; half of them are enough.
    while stores::files_below(&segments).len() < 6 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("the program is ours");
    child.wait().expect("the program is ours");
    let before = stores::files_below(&segments);
    assert!(before.len() >= 6, "the program sent nothing to be killed over");
    protect(&place, &disk);
    let after = stores::files_below(&segments);
    let bytes: u64 = after.values().sum();
    let least = 1600 * BLOCK;
    assert!(before.iter().all(|(name, length)| after.get(name) == Some(length)));
    // What was in unfinished segments is sent again; what was finished is not.
    assert!(bytes < least + least / 50, "{bytes} bytes are kept of {least} that are there");
    verify_deep(&place);
    let _ = std::fs::remove_dir_all(&folder);
}

fn campaign(place: Place, folder: &Path, stream: u64) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let seed = number("LIFEBOAT_SEED", stores::seed()) ^ stream;
    let kills = number("LIFEBOAT_KILLS", 20);
    println!("seed {} (LIFEBOAT_SEED={} repeats it), {kills} kills", seed, seed ^ stream);
    let mut campaign = Campaign {
        place,
        folder: folder.to_owned(),
        random: Random::new(seed),
        copies: BTreeMap::new(),
        candidates: Vec::new(),
        made: 0,
        kills: 0,
        finished: 0,
    };
    let disk = folder.join("disk.img");
    File::create(&disk).expect("a disk").set_len(DISK_BLOCKS * BLOCK + 512).expect("a size");
    while campaign.kills < kills {
        campaign.round(&disk);
    }
    campaign.one_more_point(&disk);
    println!("{} kills, {} runs that ended before", campaign.kills, campaign.finished);
    verify_deep(&campaign.place);
    campaign.everything_restores();
}

impl Campaign {
    fn round(&mut self, disk: &Path) {
        if self.random.below(4) == 0 {
            self.prune_and_kill();
        } else {
            self.protect_and_kill(disk);
        }
        self.look();
        if self.kills.is_multiple_of(20) {
            self.everything_restores();
        }
    }

    fn protect_and_kill(&mut self, disk: &Path) {
        self.write_some(disk);
        let copy = self.copy_of(disk);
        self.candidates.push(copy);
        let child = spawn(&self.place, disk);
        self.kill_later(child);
    }

    fn prune_and_kill(&mut self) {
        let mut command = self.place.verb("prune");
        command.args(["--keep", "last=3", "--grace", "0s", "--confirm"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.kill_later(child.expect("the program starts"));
    }

    /// Kills the program from outside at a moment that it does not know.
    fn kill_later(&mut self, mut child: Child) {
        let longest = if self.random.below(3) == 0 { 60_000 } else { 1_200_000 };
        std::thread::sleep(Duration::from_micros(self.random.below(longest)));
        if child.try_wait().expect("the program is ours").is_some() {
            self.finished += 1;
            return;
        }
        child.kill().expect("the program is ours");
        child.wait().expect("the program is ours");
        self.kills += 1;
    }

    /// Which points exist now. A new one must be bit for bit what the disk was at one of the protects whose point
    /// was not seen yet: a request that was under way at the kill may have arrived after the last look.
    fn look(&mut self) {
        let listed = stores::point_ids(&self.place);
        self.copies.retain(|id, copy| {
            let kept = listed.contains(id);
            if !kept {
                let _ = std::fs::remove_file(copy);
            }
            kept
        });
        for id in &listed {
            if self.copies.contains_key(id) {
                continue;
            }
            let target = self.restored(id);
            let made_of = self.candidates.iter().position(|copy| stores::same(copy, &target));
            let made_of = made_of.unwrap_or_else(|| panic!("point {id} is of no disk that was"));
            self.copies.insert(id.clone(), self.candidates.remove(made_of));
        }
        while self.candidates.len() > 4 {
            let _ = std::fs::remove_file(self.candidates.remove(0));
        }
    }

    fn one_more_point(&mut self, disk: &Path) {
        self.write_some(disk);
        let copy = self.copy_of(disk);
        self.candidates.push(copy);
        protect(&self.place, disk);
        let newest = self.candidates.last().cloned();
        self.look();
        assert!(
            self.copies.values().any(|copy| Some(copy) == newest.as_ref()),
            "the last point is not listed"
        );
    }

    fn everything_restores(&self) {
        for (id, copy) in &self.copies {
            assert!(stores::same(copy, &self.restored(id)), "point {id} came back different");
        }
    }

    fn restored(&self, id: &str) -> PathBuf {
        let target = self.folder.join("restored.img");
        let _ = std::fs::remove_file(&target);
        let mut command = self.place.verb("restore");
        command.args(["--server", "s", "--point", id, "--disk", "disk", "--to"]).arg(&target);
        checked(command.output().expect("the program starts"), "restore");
        target
    }

    /// The host's own copy of the disk.
    fn copy_of(&mut self, disk: &Path) -> PathBuf {
        self.made += 1;
        let copy = self.folder.join(format!("copy-{}", self.made));
        std::fs::copy(disk, &copy).expect("room for a copy");
        copy
    }

    fn write_some(&mut self, disk: &Path) {
        let file = File::options().write(true).open(disk).expect("the disk opens");
        for _ in 0..20 + self.random.below(200) {
            let block = self.random.below(DISK_BLOCKS);
            let content = match self.random.below(3) {
                0 => vec![0; 65_536],
                1 => noise(&mut self.random),
                _ => vec![self.random.number().to_le_bytes()[0]; 65_536],
            };
            file.write_all_at(&content, block * BLOCK).expect("the disk takes writes");
        }
    }
}

fn noise(random: &mut Random) -> Vec<u8> {
    let mut content = vec![0; 65_536];
    random.fill(&mut content);
    content
}

fn spawn(place: &Place, disk: &Path) -> Child {
    let mut command = place.verb("protect");
    command.args(["--server", "s"]).arg(named(disk));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

fn named(disk: &Path) -> String {
    format!("disk={}", disk.display())
}

fn protect(place: &Place, disk: &Path) {
    let mut command = place.verb("protect");
    command.args(["--server", "s"]).arg(named(disk));
    checked(command.output().expect("the program starts"), "protect");
}

fn verify_deep(place: &Place) {
    let mut command = place.verb("verify");
    checked(command.arg("--deep").output().expect("the program starts"), "verify --deep");
}
