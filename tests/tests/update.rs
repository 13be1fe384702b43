//! An update is taken only from whom this machine trusts, and whatever happens to it, the machine starts one of two whole
//! systems: the one that ran, or the new one; and it goes back by itself from one that does not prove itself.
//!
//! Seeds are printed. `LIFEBOAT_CUTS` says how often the power is cut on real machines; 5 where nothing is said.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use firmware::update::install::{install, standing};
use firmware::update::slots::Slots;
use firmware::update::source::Source;
use firmware::update::trust::Rules;
use hal_sim::disk::SimDisk;
use hal_sim::fault::Faults;
use hal_sim::random::Random;
use image::disk::{Contents, Enrolment, make};
use image::signing::Keys;
use image_layout::disk::{ESP_OFFSET, IMAGE_BYTES, SLOT_BYTES};
use image_layout::esp::{Slot, SlotFile};
use image_layout::update::HEAD_BYTES;
use image_layout::version::Version;
use pipeline_vault::Error;
use tests::azurite::Scratch;
use tests::program::lifeboat;

#[path = "update/machines.rs"]
mod machines;

/// A system that differs from others in every page.
fn system(number: u8) -> Vec<u8> {
    let length = usize::try_from(SLOT_BYTES).expect("a slot fits in memory");
    let mut bytes = vec![number; length];
    for (place, page) in bytes.chunks_mut(4096).enumerate() {
        page[..8].copy_from_slice(&(place as u64 ^ u64::from(number) << 32).to_le_bytes());
    }
    bytes
}

fn keys(scratch: &Scratch, name: &str) -> Keys {
    Keys::development(&scratch.path().join(name)).expect("keys can be made")
}

fn medium(slot: &[u8]) -> Vec<u8> {
    let contents = Contents {
        manager: b"manager",
        help: b"help",
        slot,
        configuration: Some(b"role = \"appliance\"\n"),
        keys: &[],
        enrolment: Enrolment::Asked,
    };
    make(&contents).unwrap_or_else(|error| panic!("{error}")).bytes
}

fn update(slot: &[u8], version: [u32; 3], keys: &Keys) -> Vec<u8> {
    let made = image::update::make(slot, Version(version), Version([0; 3]), 1, &keys.release);
    made.unwrap_or_else(|error| panic!("{error}"))
}

/// Bytes in memory as an update's source.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn name(&self) -> String {
        "bytes".to_owned()
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let count = into.len().min(self.0.len());
        let (now, later) = self.0.split_at(count);
        into[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

/// What a slot holds, and what its file is called; `None` where the boot manager sees none.
fn read(slots: &mut Slots<SimDisk>, slot: Slot) -> (Option<SlotFile>, Vec<u8>) {
    let found = slots.find(slot).unwrap_or_else(|error| panic!("{error}"));
    let pieces = slots.pieces(&found).unwrap_or_else(|error| panic!("{error}"));
    let read =
        pieces.iter().flat_map(|(at, length)| slots.read(*at, *length).expect("it can be read"));
    (found.file, read.collect())
}

#[test]
fn a_power_cut_at_any_write_leaves_one_of_two_whole_systems() {
    let scratch = Scratch::new("cut-slots").expect("a scratch folder");
    let keys = keys(&scratch, "keys");
    let (old, new) = (system(1), system(2));
    let before = medium(&old);
    let file = update(&new, [2, 0, 0], &keys);
    let rules = Rules { keys: keys.trusted(), running: Version([1, 0, 0]), least: Version([0; 3]) };
    let put_in = |disk: SimDisk| {
        let mut slots = Slots::open(disk)?;
        install(&mut Bytes(&file), &mut slots, Slot::A, &rules, &mut |_| Ok(()))
    };
    let disk = || {
        let disk = SimDisk::new(IMAGE_BYTES);
        disk.load(0, &before);
        disk
    };
    let whole = disk();
    put_in(whole.reopen()).unwrap_or_else(|error| panic!("{error}"));
    let counts = whole.counts();
    let requests = counts.reads + counts.writes + counts.flushes;
    assert!(counts.writes > 28, "{counts:?}");
    // All of the beginning and the end, where names change, and some of the middle.
    let mut random = Random::new(20_261_130);
    let mut moments: Vec<u64> = (0..24).chain(requests.saturating_sub(24)..=requests).collect();
    moments.extend((0..8).map(|_| random.below(requests)));
    let mut seen = [0, 0];
    for moment in moments {
        let disk = disk();
        disk.set_faults(Faults { vanish_after_requests: Some(moment), ..Faults::default() });
        let ended = put_in(disk.reopen());
        let seed = random.number();
        disk.cut_power(seed);
        disk.set_faults(Faults::default());
        let mut slots =
            Slots::open(disk.reopen()).unwrap_or_else(|error| panic!("moment {moment}: {error}"));
        assert_eq!(
            standing(&mut slots).map(|all| all.len()),
            Ok(2),
            "moment {moment}, seed {seed}"
        );
        let (name, held) = read(&mut slots, Slot::A);
        assert_eq!(name, Some(SlotFile::proven(Slot::A)), "moment {moment}, seed {seed}");
        assert!(held == old, "moment {moment}, seed {seed}: what runs was touched");
        let (name, held) = read(&mut slots, Slot::B);
        assert!(
            name.is_none() || held == new,
            "moment {moment}, seed {seed}: half a system is seen"
        );
        assert!(name.is_none_or(|name| name == SlotFile::fresh(Slot::B)), "{name:?}");
        assert!(
            ended.is_err() || name.is_some(),
            "moment {moment}, seed {seed}: it was told that it is done"
        );
        seen[usize::from(name.is_some())] += 1;
        // The tables of the file system are as they were, byte for byte: an update takes no cluster and gives none back.
        let tables = usize::try_from(ESP_OFFSET).expect("offsets fit");
        let now = disk.content(ESP_OFFSET, 1 << 20);
        assert!(now == before[tables..tables + (1 << 20)], "moment {moment}, seed {seed}");
        let mut slots = Slots::open(disk.reopen()).expect("it is a medium");
        let again = install(&mut Bytes(&file), &mut slots, Slot::A, &rules, &mut |_| Ok(()));
        assert!(again.is_ok(), "moment {moment}, seed {seed}: {again:?}");
        assert!(read(&mut slots, Slot::B).1 == new, "moment {moment}, seed {seed}");
    }
    println!("old alone {}, both {} of {requests} moments", seen[0], seen[1]);
    assert!(seen[0] > 0 && seen[1] > 0, "both ends were met: {seen:?}");
}

/// A medium and what is tried on it.
struct Bench {
    scratch: Scratch,
    keys: PathBuf,
    medium: PathBuf,
    before: Vec<u8>,
}

impl Bench {
    fn new(name: &str, trusted: &Keys) -> Self {
        let scratch = Scratch::new(name).expect("a scratch folder");
        let (keys, medium) = (scratch.path().join("trusted"), scratch.path().join("medium.img"));
        fs::write(&keys, trusted.trusted().to_string()).expect("a scratch file");
        let before = self::medium(&system(1));
        fs::write(&medium, &before).expect("room for a medium");
        Self { scratch, keys, medium, before }
    }

    fn file(&self, bytes: &[u8]) -> String {
        let path = self.scratch.path().join("x.update");
        fs::write(&path, bytes).expect("room for an update");
        path.display().to_string()
    }

    fn run(&self, from: &str) -> Output {
        let mut command = Command::new(lifeboat());
        command.args(["--quiet", "update", from, "--running", "a", "--newer-than", "1.0.0"]);
        command.args(["--least", "0.9.0", "--keys"]).arg(&self.keys);
        command.arg("--medium").arg(&self.medium).output().expect("the program starts")
    }

    /// It is refused with these words, and what runs is as it was; whether the medium is, too.
    #[track_caller]
    fn refuses(&self, from: &str, words: &str) -> bool {
        let output = self.run(from);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{words}: {said}");
        let after = fs::read(&self.medium).expect("it is there");
        assert_eq!(names(&self.medium), ["lifeboat-a.efi", "lifeboat-b.new"], "{words}");
        after == self.before
    }
}

/// Files of slots on a medium, as others read them.
fn names(medium: &Path) -> Vec<String> {
    let image = format!("{}@@{ESP_OFFSET}", medium.display());
    let output = Command::new("mdir").args(["-b", "-i", &image, "::EFI/Linux"]).output();
    let text = String::from_utf8(output.expect("mtools is there").stdout).expect("names are text");
    let mut names: Vec<String> =
        text.lines().filter_map(|line| line.rsplit('/').next()).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn what_is_not_for_this_machine_is_refused_in_a_sentence() {
    let scratch = Scratch::new("refused").expect("a scratch folder");
    let (ours, others) = (keys(&scratch, "ours"), keys(&scratch, "others"));
    let bench = Bench::new("refused-bench", &ours);
    let new = system(2);
    let right = update(&new, [1, 1, 0], &ours);
    let changed = |at: usize| {
        let mut bytes = right.clone();
        bytes[at] ^= 1;
        bytes
    };
    // Refused by its head: not a byte of the medium is written.
    for (bytes, words) in [
        (update(&new, [1, 1, 0], &others), "is not signed by the development key of this image"),
        (changed(20), "is not signed by"),
        (changed(HEAD_BYTES - 1), "is not signed by"),
        (changed(0), "is no update of Lifeboat"),
        (right[..300].to_vec(), "ends after 300 bytes"),
        (Vec::new(), "ends after 0 bytes"),
        (update(&new, [1, 0, 0], &ours), "1.0.0 runs already"),
        (update(&new, [0, 8, 9], &ours), "nothing older than 0.9.0 is let in here"),
        (for_another_kind(&ours, &new), "is for another kind of machine (kind 2)"),
    ] {
        assert!(bench.refuses(&bench.file(&bytes), words), "{words}: the medium was written");
    }
    // Found out while it is written: what runs is as it was, and no boot manager sees the rest.
    let mut longer = right.clone();
    longer.push(0);
    for (bytes, words) in [
        (right[..10_000_000].to_vec(), "it was cut off"),
        (longer, "it is larger than any system"),
        (changed(HEAD_BYTES + 5_000_000), "is damaged: its system is not the one that was signed"),
    ] {
        bench.refuses(&bench.file(&bytes), words);
    }
    assert!(bench.run("/nowhere.update").status.code() == Some(1));
    let output = bench.run(&bench.file(&right));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(&bench.medium), ["lifeboat-a.efi", "lifeboat-b+3.efi"]);
    let esp = bench.scratch.path().join("esp.img");
    let after = fs::read(&bench.medium).expect("it is there");
    let start = usize::try_from(ESP_OFFSET).expect("offsets fit");
    fs::write(&esp, &after[start..start + (72 << 20)]).expect("room");
    let said = Command::new("/usr/sbin/fsck.fat")
        .arg("-vn")
        .arg(&esp)
        .output()
        .expect("fsck.fat is there");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// An update whose head is signed, and says that it is for a kind of machine that does not exist yet.
fn for_another_kind(keys: &Keys, slot: &[u8]) -> Vec<u8> {
    let mut bytes = update(slot, [1, 1, 0], keys);
    bytes[10] = 2;
    let signed = HEAD_BYTES - 64;
    let signature = keys.release.sign(&bytes[..signed]).expect("it can be signed");
    bytes[signed..HEAD_BYTES].copy_from_slice(&signature);
    bytes
}

#[test]
fn an_update_comes_from_a_server_as_from_a_file() {
    let scratch = Scratch::new("served").expect("a scratch folder");
    let ours = keys(&scratch, "ours");
    let bench = Bench::new("served-bench", &ours);
    let right = update(&system(2), [1, 1, 0], &ours);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        // The first is sent on, the second gets all of it, the third is left in the middle.
        for turn in 0..3 {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let length = right.len();
            let head = match turn {
                0 => format!(
                    "HTTP/1.1 302 Found\r\nLocation: http://{place}/there.update\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                ),
                _ => format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                ),
            };
            let body = [&[][..], &right, &right[..9_000_000]][turn];
            // The other end may be gone: it says so.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    let output = bench.run(&format!("http://{place}/x.update"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(&bench.medium), ["lifeboat-a.efi", "lifeboat-b+3.efi"]);
    bench.refuses(&format!("http://{place}/x.update"), "x.update: ");
}
