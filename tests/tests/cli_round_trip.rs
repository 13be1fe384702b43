//! The verbs as a person types them, on a folder and with real files: what comes back is what went in.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::azurite::Scratch;
use tests::cli::{change, image, number, run, run_with_input};
use tests::program::{Place, lifeboat};

const BYTES: usize = 12 * 1024 * 1024 + 512;

struct Bed {
    scratch: Scratch,
    place: Place,
}

impl Bed {
    fn new(label: &str) -> Self {
        let scratch = Scratch::new(label).unwrap();
        let place = Place::in_folder(scratch.path());
        Self { scratch, place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn protect(&self, server: &str, more: &[&str], disks: &[&Path]) -> Value {
        let mut command = self.place.verb("protect");
        command.args(["--server", server, "--json"]).args(more).args(disks);
        run(&mut command).succeeds().json()
    }

    fn restore(&self, server: &str, disk: &str, to: &Path, more: &[&str]) -> Value {
        let mut command = self.place.verb("restore");
        command.args(["--server", server, "--disk", disk, "--json", "--to"]).arg(to).args(more);
        run(&mut command).succeeds().json()
    }
}

fn same(one: &Path, other: &Path) {
    assert!(
        fs::read(one).unwrap() == fs::read(other).unwrap(),
        "{} differs from {}",
        one.display(),
        other.display()
    );
}

#[test]
fn a_file_that_ends_within_a_sector_comes_back_as_it_was() {
    let bed = Bed::new("odd");
    let disk = image(&bed.path("notes.img"), 3_000_001, 7);
    bed.protect("web1", &[], &[&disk]);
    let back = bed.path("back.img");
    bed.restore("web1", "notes.img", &back, &[]);
    same(&back, &disk);
    change(&back, "notes.img", 2, 8);
    bed.restore("web1", "notes.img", &back, &[]);
    same(&back, &disk);
}

#[test]
fn every_point_comes_back_bit_for_bit() {
    let bed = Bed::new("round");
    let disk = image(&bed.path("sda.img"), BYTES, 1);
    let first = bed.protect("web1", &[], &[&disk]);
    fs::copy(&disk, bed.path("first.img")).unwrap();
    change(&disk, "sda.img", 20, 2);
    let second = bed.protect("web1", &[], &[&disk]);
    assert!(number(&second, "stored_bytes") < number(&first, "stored_bytes") / 2);
    assert!(number(&second, "new_blocks") <= 20);

    let latest = bed.path("latest.img");
    bed.restore("web1", "sda.img", &latest, &[]);
    same(&latest, &disk);
    let id = first["point"].as_str().unwrap();
    let old = bed.path("old.img");
    bed.restore("web1", "sda.img", &old, &["--point", &id[..8], "--expect-point", id]);
    same(&old, &bed.path("first.img"));
    // Onto a disk that holds nearly all of it, only the difference is written.
    let mended = bed.restore("web1", "sda.img", &old, &[]);
    same(&old, &disk);
    assert!(number(&mended, "written_bytes") <= 20 * 65_536, "{mended}");
}

#[test]
fn changed_ranges_are_all_that_is_read() {
    let bed = Bed::new("changed");
    let disk = image(&bed.path("a.img"), BYTES, 3);
    let named = format!("root={}", disk.display());
    let protect = |more: &[&str], input: &[u8]| {
        let mut command = bed.place.verb("protect");
        command.args(["--server", "db", "--json"]).args(more).arg(&named);
        run_with_input(&mut command, input).succeeds().json()
    };
    // Without a point there is nothing to build on: all of it is read, and the answer says so.
    let first = protect(&["--changed", "-"], b"");
    assert_eq!(first["read_whole"], serde_json::json!(["root"]));
    let lines = change(&disk, "root", 5, 4);
    let second = protect(&["--changed", "-"], lines.as_bytes());
    assert!(number(&second, "read_bytes") <= 5 * 65_536, "{second}");
    assert_eq!(second["read_whole"], serde_json::json!([]));
    let back = bed.path("back.img");
    bed.restore("db", "root", &back, &[]);
    same(&back, &disk);
}

#[test]
fn several_disks_and_servers_keep_apart() {
    let bed = Bed::new("several");
    let (one, two) = (image(&bed.path("1.img"), BYTES, 5), image(&bed.path("2.img"), 1 << 20, 6));
    bed.protect("web1", &[], &[&one, &two]);
    bed.protect("web2", &["--codec", "deflate"], &[&two]);
    bed.protect("web2", &["--codec", "none", "--workers", "1"], &[&one]);
    let list = run(bed.place.verb("points").arg("--json")).succeeds().json();
    let points = list["points"].as_array().unwrap();
    let servers: Vec<&str> = points.iter().map(|point| point["server"].as_str().unwrap()).collect();
    assert_eq!(servers, ["web1", "web2", "web2"]);
    assert_eq!(points[0]["disks"].as_array().unwrap().len(), 2);
    for (server, disk, original) in
        [("web1", "1.img", &one), ("web1", "2.img", &two), ("web2", "1.img", &one)]
    {
        let back = bed.path(&format!("back-{server}-{disk}"));
        bed.restore(server, disk, &back, &[]);
        same(&back, original);
    }
    run(bed.place.verb("verify").arg("--deep")).succeeds();
    let only = run(bed.place.verb("points").args(["--server", "web1", "--json"])).succeeds().json();
    assert_eq!(only["points"].as_array().unwrap().len(), 1);
}

#[test]
fn a_machine_that_never_saw_the_site_recovers_it_from_vault_and_key() {
    let bed = Bed::new("elsewhere");
    let disk = image(&bed.path("sda.img"), BYTES, 7);
    bed.protect("web1", &[], &[&disk]);
    // Typed from paper: nothing but the letters, in small ones and with spaces.
    let text = fs::read_to_string(&bed.place.key).unwrap();
    let letters = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let paper = bed.path("paper");
    fs::write(&paper, letters.to_lowercase().replace('-', " ")).unwrap();
    let elsewhere = Place { key: paper, state: bed.path("other-state"), ..bed.place.clone() };
    let back = bed.path("back.img");
    let mut command = elsewhere.verb("restore");
    command.args(["--server", "web1", "--disk", "sda.img", "--to"]).arg(&back);
    run(&mut command).succeeds();
    same(&back, &disk);
}

#[test]
fn the_recovery_key_is_shown_or_written_once_and_for_its_owner_only() {
    let scratch = Scratch::new("create").unwrap();
    let vault = |name: &str| format!("dir:{}", scratch.path().join(name).display());
    let create = |more: &[&str]| {
        let mut command = std::process::Command::new(lifeboat());
        command.env("LIFEBOAT_STATE", scratch.path().join("state"));
        command.args(["vault", "create"]).args(more);
        run(&mut command)
    };
    let shown = create(&[&vault("a")]).succeeds();
    let key = shown.output.lines().map(str::trim).find(|line| line.len() == 44).unwrap();
    assert_eq!(key.split('-').count(), 5, "{key}");
    let file = scratch.path().join("key");
    let quiet = create(&[&vault("b"), "--key-out", file.to_str().unwrap()]).succeeds();
    assert!(
        !quiet.output.lines().any(|line| line.trim().len() == 44),
        "the key is not printed as well"
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    create(&[&vault("c"), "--key-out", file.to_str().unwrap()]).fails(1, &["exists already"]);
    assert!(!scratch.path().join("c/vault").exists(), "no vault without its key");
    create(&[&vault("b"), "--key-out", &format!("{}2", file.display())]).fails(1, &["already"]);
    assert!(!scratch.path().join("key2").exists(), "no key of no vault");
}

#[test]
fn a_sealed_key_file_wants_its_passphrase() {
    let scratch = Scratch::new("passphrase").unwrap();
    let words = scratch.path().join("words");
    fs::write(&words, "correct horse battery\n").unwrap();
    let place = Place {
        vault: format!("dir:{}", scratch.path().join("vault").display()),
        key: scratch.path().join("key"),
        state: scratch.path().join("state"),
        environment: Vec::new(),
    };
    let mut create = place.bare();
    create.args(["vault", "create", &place.vault, "--key-out"]).arg(&place.key);
    run(create.arg("--passphrase-file").arg(&words)).succeeds();
    run(&mut place.verb("points")).fails(1, &["passphrase"]);
    run(place.verb("points").arg("--passphrase-file").arg(&words)).succeeds();
    run(place.verb("points").env("LIFEBOAT_PASSPHRASE", "correct horse battery")).succeeds();
    run(place.verb("points").env("LIFEBOAT_PASSPHRASE", "wrong horse")).fails(1, &["passphrase"]);
}

#[test]
fn new_keys_keep_old_points_readable() {
    let bed = Bed::new("rekey");
    let disk = image(&bed.path("sda.img"), BYTES, 8);
    bed.protect("web1", &[], &[&disk]);
    let rekey = |more: &[&str], key: &Path| {
        let mut command = bed.place.bare();
        command
            .args(["vault", "rekey", "--vault", &bed.place.vault, "--key-file"])
            .arg(key)
            .args(more);
        run(&mut command)
    };
    rekey(&[], &bed.place.key).succeeds();
    change(&disk, "sda.img", 3, 9);
    bed.protect("web1", &[], &[&disk]);
    let new_key = bed.path("new-key");
    let rings = bed.path("vault").join("keys");
    let kept = bed.path("old-rings");
    run(std::process::Command::new("cp").arg("-a").arg(&rings).arg(&kept)).succeeds();
    rekey(&["--recovery-key", "--json"], &bed.place.key).is_misuse("--key-out");
    rekey(&["--recovery-key", "--key-out", new_key.to_str().unwrap()], &bed.place.key).succeeds();
    run(&mut bed.place.verb("points")).fails(1, &["key"]);
    let place = Place { key: new_key.clone(), ..bed.place.clone() };
    let list = run(place.verb("points").arg("--json")).succeeds().json();
    assert_eq!(list["points"].as_array().unwrap().len(), 2);
    run(place.verb("verify").arg("--deep")).succeeds();
    // Somebody who could write put old rings back, or kept them from being deleted: the old key reads, and is told.
    run(std::process::Command::new("cp").arg("-a").arg(kept.join(".")).arg(&rings)).succeeds();
    run(&mut bed.place.verb("points")).fails(1, &["is an old one", "--older-key"]);
    let old = run(bed.place.verb("points").args(["--older-key", "--json"])).succeeds().json();
    assert_eq!(old["points"].as_array().unwrap().len(), 2);
    let mut protect = bed.place.verb("protect");
    run(protect.args(["--older-key", "--server", "web1"]).arg(&disk)).fails(1, &[]);
    run(place.verb("prune").args(["--keep", "72h"])).succeeds();
    run(bed.place.verb("points").arg("--older-key")).fails(1, &["key"]);
    rekey(&["--shred", "web1", "--confirm", "web2"], &new_key).is_misuse("--confirm");
    rekey(&["--shred", "web1", "--confirm", "web1"], &new_key).succeeds();
    let mut restore = place.verb("restore");
    restore.args(["--server", "web1", "--disk", "sda.img", "--to"]).arg(bed.path("x.img"));
    run(&mut restore).fails(1, &["web1", "shredded"]);
}
