//! Promise: a point becomes a disk in Azure bit for bit, whatever is killed, throttled or expires meanwhile; what is zero is
//! not sent, what was sent is not sent again, and nobody takes the disk for whole before it is.
//!
//! Azurite stands for the place that Azure gives out for a disk: a page blob behind a signature. What arrived is read back by
//! others: Azurite's own bytes over plain HTTP by Microsoft's SDK, and qemu-img, which must find a VHD in them.
//! `LIFEBOAT_KILLS` (default 6) sets the kills, `LIFEBOAT_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hal_sim::random::Random;
use rustix::process::{Pid, Signal, kill_process};
use tests::azurite::{Azurite, Scratch};
use tests::cli::{change, image, number, run};
use tests::fault_proxy::{Action, FOREVER, FaultProxy, Rule};
use tests::program::Place;

#[path = "hydrate/place.rs"]
mod place;

use place::Uploads;

/// 24 MiB, and no whole mebibytes.
const BYTES: usize = 24 * 1024 * 1024 + 3 * 512;

/// A vault with one point of one disk, and the disk.
struct Bed {
    scratch: Scratch,
    place: Place,
    disk: PathBuf,
}

impl Bed {
    fn new(label: &str, seed: u64) -> Self {
        let scratch = Scratch::new(label).unwrap();
        let place = Place::in_folder(scratch.path());
        let disk = image(&scratch.path().join("sda"), BYTES, seed);
        let bed = Self { scratch, place, disk };
        bed.protect();
        bed
    }

    fn protect(&self) -> String {
        let mut command = self.place.verb("protect");
        let made = run(command.args(["--server", "web1", "--json"]).arg(&self.disk)).succeeds();
        made.json()["point"].as_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn hydrate(&self, to: &str) -> Command {
        let mut command = self.place.verb("hydrate");
        command.args(["--server", "web1", "--disk", "sda", "--json", "--to", to]);
        command
    }

    /// Bytes of the disk's blocks that are not zero.
    fn content_bytes(&self) -> u64 {
        let disk = fs::read(&self.disk).unwrap();
        let blocks = disk.chunks(65_536).filter(|block| block.iter().any(|byte| *byte != 0));
        blocks.map(|block| block.len() as u64).sum()
    }

    /// Panics unless the file is the VHD of the disk by qemu-img's word, byte for byte.
    fn assert_vhd(&self, vhd: &Path) {
        let mut compare = Command::new("qemu-img");
        compare.args(["compare", "-f", "vpc", "-F", "raw"]).arg(vhd).arg(&self.disk);
        // Its own disk ends earlier; qemu-img says so and calls zeros behind it the same.
        let compared = compare.output().unwrap();
        let words = String::from_utf8_lossy(&compared.stdout).into_owned();
        assert!(compared.status.success() && words.contains("identical"), "{words}");
        let (vhd, disk) = (fs::read(vhd).unwrap(), fs::read(&self.disk).unwrap());
        assert_eq!(vhd.len(), (25 << 20) + 512);
        assert!(vhd[..disk.len()] == disk);
        assert!(vhd[disk.len()..25 << 20].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_vhd_and_a_raw_file_are_the_disk() {
    let bed = Bed::new("hydratefile", 31);
    let vhd = bed.path("sda.vhd");
    let done = run(&mut bed.hydrate(&format!("vhd:{}", vhd.display()))).succeeds().json();
    assert_eq!(number(&done, "disk_bytes"), BYTES as u64);
    bed.assert_vhd(&vhd);
    // Again, over what is there: nothing is written but what must be.
    change(&vhd, "sda", 3, 5);
    let again = run(&mut bed.hydrate(&format!("vhd:{}", vhd.display()))).succeeds().json();
    assert!(number(&again, "written_bytes") <= 3 * 65_536);
    bed.assert_vhd(&vhd);
    let raw = bed.path("raw");
    run(&mut bed.hydrate(&format!("raw:{}", raw.display()))).succeeds();
    assert!(fs::read(&raw).unwrap() == fs::read(&bed.disk).unwrap());
    let wrong = format!("vhd:{}", raw.display());
    run(&mut bed.hydrate(&wrong)).fails(1, &["not as long as the VHD", "name a new file"]);
    assert!(fs::read(&raw).unwrap() == fs::read(&bed.disk).unwrap(), "it is as it was");
}

#[test]
fn a_disk_in_azure_is_the_point_and_what_is_zero_is_not_sent() {
    let bed = Bed::new("hydratesas", 32);
    let azurite = Azurite::start().expect("Azurite starts");
    let proxy = FaultProxy::start(azurite.port()).unwrap();
    let uploads = Uploads::new(&azurite);
    let blob = uploads.make("disk", (25 << 20) + 512);
    let done = run(&mut bed.hydrate(&uploads.sas_at(&blob, &proxy.authority(), 3600))).succeeds();
    bed.assert_vhd(&uploads.fetch(&blob, &bed.path("fetched.vhd")));
    let sent: u64 = proxy.seen().iter().map(|seen| seen.bytes as u64).sum();
    let content = bed.content_bytes();
    assert!(sent <= content + 2 * 512, "{sent} bytes were sent of {content}");
    assert!(content < BYTES as u64 * 3 / 4, "the disk has blocks of zeros");
    assert_eq!(number(&done.json(), "sent_bytes"), sent - 2 * 512, "two last sectors aside");
    assert!(!done.output.contains("sig="), "the signature is nobody's business");
    // Once more: all of it is there.
    let again = run(&mut bed.hydrate(&uploads.sas(&blob, 3600))).succeeds().json();
    assert_eq!((number(&again, "sent_bytes"), &again["resumed"]), (0, &true.into()));
    assert_eq!(uploads.by_microsoft(&blob, &bed.path("sdk.vhd")), Ok(true));
}

#[test]
fn killed_at_any_moment_it_goes_on_where_it_was() {
    let bed = Bed::new("hydratekill", 33);
    let azurite = Azurite::start().expect("Azurite starts");
    let proxy = FaultProxy::start(azurite.port()).unwrap();
    let uploads = Uploads::new(&azurite);
    let set = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, kills) = (set("LIFEBOAT_SEED").unwrap_or(7), set("LIFEBOAT_KILLS").unwrap_or(6));
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    // Slow enough to be killed in the middle.
    let slow = Rule::new("PUT", "", FOREVER, Action::Delay(Duration::from_millis(40)));
    proxy.set_rules(vec![slow]);
    let (mut killed, mut blobs, mut kept) = (0, 0, 0);
    while killed < kills {
        blobs += 1;
        let blob = uploads.make(&format!("disk{blobs}"), (25 << 20) + 512);
        let address = uploads.sas_at(&blob, &proxy.authority(), 3600);
        while killed < kills {
            let puts = 1 + usize::try_from(random.below(40)).unwrap();
            if runs_to_its_end(bed.hydrate(&address), &proxy, puts) {
                break;
            }
            killed += 1;
            let half = fs::read(uploads.fetch(&blob, &bed.path("half.vhd"))).unwrap();
            // Nobody takes it for whole before it is.
            if half[half.len() - 512..].starts_with(b"conectix") {
                bed.assert_vhd(&bed.path("half.vhd"));
            }
        }
        let done = run(&mut bed.hydrate(&address)).succeeds().json();
        kept += number(&done, "kept_bytes");
        bed.assert_vhd(&uploads.fetch(&blob, &bed.path("whole.vhd")));
    }
    println!("{killed} kills on {blobs} disks, {kept} bytes not sent again at their ends");
    assert!(kept > 0);
}

/// Kills the program when so many more requests came by, unless it is done before.
fn runs_to_its_end(mut command: Command, proxy: &FaultProxy, requests: usize) -> bool {
    let before = proxy.seen().len();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return true;
        }
        if proxy.seen().len() >= before + requests {
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn throttling_resets_and_lost_replies_are_ridden_out() {
    let bed = Bed::new("hydratefaults", 34);
    let azurite = Azurite::start().expect("Azurite starts");
    let proxy = FaultProxy::start(azurite.port()).unwrap();
    let uploads = Uploads::new(&azurite);
    let blob = uploads.make("disk", (25 << 20) + 512);
    proxy.set_seed(9);
    proxy.set_rules(vec![
        Rule::new("PUT", "", 3, Action::busy(503, "ServerBusy", 1)),
        Rule::chance(60, Action::Reset),
        Rule::chance(60, Action::DropReply),
        Rule::chance(60, Action::status(500, "OperationTimedOut")),
    ]);
    let address = uploads.sas_at(&blob, &proxy.authority(), 3600);
    run(&mut bed.hydrate(&address)).succeeds();
    assert!(proxy.count("forward") < proxy.seen().len(), "something went wrong on the way");
    bed.assert_vhd(&uploads.fetch(&blob, &bed.path("whole.vhd")));
}

#[test]
fn an_address_that_expires_is_read_again_from_its_file() {
    let bed = Bed::new("hydrateexpired", 35);
    let azurite = Azurite::start().expect("Azurite starts");
    let proxy = FaultProxy::start(azurite.port()).unwrap();
    let uploads = Uploads::new(&azurite);
    let blob = uploads.make("disk", (25 << 20) + 512);
    let expired = uploads.sas_at(&blob, &proxy.authority(), -60);
    let file = bed.path("address");
    let bare = |address: &str| address.trim_start_matches("sas:").to_owned();
    fs::write(&file, bare(&expired)).unwrap();
    let to = format!("sas:@{}", file.display());
    run(&mut bed.hydrate(&to)).fails(1, &["signature", "run the same again"]);
    // It ends midway, by Azure's clock, which the proxy puts forward; the next one is in the file by then.
    let [first, second] =
        [3600, 7200].map(|seconds| uploads.sas_at(&blob, &proxy.authority(), seconds));
    let slow = Rule::new("PUT", "", FOREVER, Action::Delay(Duration::from_millis(60)));
    proxy.set_rules(vec![slow.clone()]);
    fs::write(&file, bare(&first)).unwrap();
    let mut child = bed.hydrate(&to).stdout(Stdio::null()).spawn().unwrap();
    while proxy.seen().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(&file, bare(&second)).unwrap();
    let signature = first.split("sig=").nth(1).unwrap();
    let ended = Action::Status {
        status: 403,
        code: "AuthenticationFailed".to_owned(),
        headers: vec![("Date".to_owned(), "Fri, 31 Dec 2100 00:00:00 GMT".to_owned())],
        body: None,
    };
    proxy.set_rules(vec![Rule::new("", signature, FOREVER, ended), slow]);
    assert!(child.wait().unwrap().success());
    assert!(proxy.count("status") > 0, "the first address ended while it was used");
    bed.assert_vhd(&uploads.fetch(&blob, &bed.path("whole.vhd")));
}

#[test]
fn a_seed_follows_the_vault_by_what_differs() {
    let bed = Bed::new("hydrateseed", 36);
    let azurite = Azurite::start().expect("Azurite starts");
    let uploads = Uploads::new(&azurite);
    let to = uploads.page_blob("seed.vhd");
    let hydrate = || {
        let mut command = bed.hydrate(&to);
        run(command.env("AZURE_STORAGE_KEY", tests::azurite::KEY)).succeeds().json()
    };
    let first = hydrate();
    assert!(first["from_point"].is_null(), "{first}");
    bed.assert_vhd(&uploads.fetch("seed.vhd", &bed.path("first.vhd")));
    change(&bed.disk, "sda", 7, 77);
    let point = bed.protect();
    let second = hydrate();
    assert_eq!((&second["from_point"], &second["point"]), (&first["point"], &point.into()));
    assert!(number(&second, "sent_bytes") <= 7 * 65_536, "{second}");
    bed.assert_vhd(&uploads.fetch("seed.vhd", &bed.path("second.vhd")));
    let third = hydrate();
    assert_eq!(number(&third, "sent_bytes"), 0);
}

#[test]
fn a_seed_that_follows_comes_to_each_new_point_until_it_is_stopped() {
    let bed = Bed::new("hydratefollow", 38);
    let azurite = Azurite::start().expect("Azurite starts");
    let uploads = Uploads::new(&azurite);
    let mut command = bed.hydrate(&uploads.page_blob("seed.vhd"));
    command.env("AZURE_STORAGE_KEY", tests::azurite::KEY).args(["--follow", "10s"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut points = lines.map_while(Result::ok).filter(|line| line.contains("\"point\""));
    points.next().expect("the first point");
    change(&bed.disk, "sda", 4, 99);
    let point = bed.protect();
    let second = points.next().expect("the second point");
    assert!(second.contains(&point), "{second}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    drop(points);
    let status = child.wait().unwrap();
    assert!(status.success(), "being told to stop is its good end: {status}");
    bed.assert_vhd(&uploads.fetch("seed.vhd", &bed.path("seed.vhd")));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let bed = Bed::new("hydraterefused", 37);
    let azurite = Azurite::start().expect("Azurite starts");
    let uploads = Uploads::new(&azurite);
    let wrong = uploads.make("short", 24 << 20);
    let words = ["has 25165824 bytes", "26214912", "nothing was written"];
    run(&mut bed.hydrate(&uploads.sas(&wrong, 3600))).fails(1, &words);
    let other = uploads.make("other", (25 << 20) + 512);
    uploads.put(&other, 1 << 20, &[7; 512]);
    run(&mut bed.hydrate(&uploads.sas(&other, 3600))).fails(1, &["--overwrite"]);
    let mut over = bed.hydrate(&uploads.sas(&other, 3600));
    run(over.arg("--overwrite")).succeeds();
    bed.assert_vhd(&uploads.fetch(&other, &bed.path("over.vhd")));
    let denied = "sas:https://md-x.blob.core.windows.net/a/b";
    run(&mut bed.hydrate(denied)).is_misuse("signature");
    let segments = bed.path("vault/seg");
    let mut command = Command::new("find");
    let found = command.arg(&segments).args(["-type", "f", "-size", "+64k"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    fs::remove_file(found.lines().next().unwrap()).unwrap();
    let empty = uploads.make("empty", (25 << 20) + 512);
    run(&mut bed.hydrate(&uploads.sas(&empty, 3600)))
        .fails(1, &["is missing", "nothing was written"]);
    let fetched = fs::read(uploads.fetch(&empty, &bed.path("empty.vhd"))).unwrap();
    assert!(fetched.iter().all(|byte| *byte == 0));
}
