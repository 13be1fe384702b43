//! Bad input of every kind: one clear line that names the object and the remedy, a code that is not zero, nothing lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::azurite::{Scratch, free_port};
use tests::cli::{Random, change, image, run, run_with_input};
use tests::program::{Place, checked, lifeboat};

const BYTES: usize = 6 * 1024 * 1024 + 512;

/// A vault with one server, two points, and what the disk held at each.
struct Bed {
    scratch: Scratch,
    place: Place,
    disk: PathBuf,
}

impl Bed {
    fn new(label: &str) -> Self {
        let scratch = Scratch::new(label).unwrap();
        let place = Place::in_folder(scratch.path());
        let disk = image(&scratch.path().join("sda.img"), BYTES, 11);
        let bed = Self { scratch, place, disk };
        run(&mut bed.protect()).succeeds();
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn protect(&self) -> Command {
        let mut command = self.place.verb("protect");
        command.args(["--server", "web1"]).arg(&self.disk);
        command
    }

    fn restore_from(&self, place: &Place, to: &Path) -> Command {
        let mut command = place.verb("restore");
        command.args(["--server", "web1", "--disk", "sda.img", "--to"]).arg(to);
        command
    }

    fn restore(&self, to: &Path) -> Command {
        self.restore_from(&self.place, to)
    }

    fn restores_whole(&self) {
        let to = self.path("whole.img");
        let _ = fs::remove_file(&to);
        run(&mut self.restore(&to)).succeeds();
        assert!(fs::read(&to).unwrap() == fs::read(&self.disk).unwrap(), "the point is whole");
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("vault")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

fn copy_tree(from: &Path, to: &Path) {
    checked(Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap(), "cp -a");
}

#[test]
fn keys_that_do_not_fit_are_told_apart() {
    let bed = Bed::new("keys");
    let other = Scratch::new("keys-other").unwrap();
    let stranger = Place::in_folder(other.path());
    let with_key = |key: &Path| Place { key: key.to_owned(), ..bed.place.clone() };
    let points = |key: &Path| run(&mut with_key(key).verb("points"));
    points(&bed.path("no-such-key")).fails(1, &["no-such-key", "does not exist"]);
    points(&stranger.key).fails(1, &["recovery key", "is of the vault", "use that vault's key"]);
    let typed = bed.path("typed");
    let text = fs::read_to_string(&bed.place.key).unwrap();
    let letters = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let first = if letters.starts_with('A') { "B" } else { "A" };
    fs::write(&typed, format!("{first}{}", &letters[1..])).unwrap();
    points(&typed).fails(1, &["typing mistake in group 1"]);
    let foreign = fs::read_to_string(&stranger.key).unwrap();
    fs::write(&typed, foreign.lines().find(|line| !line.starts_with('#')).unwrap()).unwrap();
    points(&typed).fails(1, &["key"]);
    fs::write(&typed, "").unwrap();
    points(&typed).fails(1, &["typed", "holds no recovery key"]);
    fs::write(&typed, vec![0xFF; 100_000]).unwrap();
    points(&typed).fails(1, &["typed"]);
    points(bed.scratch.path()).fails(1, &["cannot be read"]);
}

#[test]
fn a_path_that_is_no_vault_is_left_alone() {
    let bed = Bed::new("places");
    let at = |path: &Path| Place { vault: format!("dir:{}", path.display()), ..bed.place.clone() };
    run(&mut at(&bed.path("nowhere")).verb("points")).fails(1, &["nowhere"]);
    let full = bed.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter.txt"), "dear").unwrap();
    run(&mut at(&full).verb("points")).fails(1, &["full"]);
    let create = |place: &Place, key: &str| {
        let mut command = place.bare();
        command.args(["vault", "create", &place.vault, "--key-out"]).arg(bed.path(key));
        run(&mut command)
    };
    create(&at(&full), "k1").fails(1, &["letter.txt"]);
    create(&at(&bed.disk), "k2").fails(1, &["sda.img"]);
    create(&bed.place, "k3").fails(1, &["already"]);
    assert!(["k1", "k2", "k3"].iter().all(|key| !bed.path(key).exists()));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    bed.restores_whole();
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let bed = Bed::new("names");
    let to = bed.path("x.img");
    let restore = |server: &str, disk: &str, point: &str| {
        let mut command = bed.place.verb("restore");
        command.args(["--server", server, "--disk", disk, "--point", point, "--to"]).arg(&to);
        run(&mut command)
    };
    restore("web9", "sda.img", "latest").fails(1, &["web9", "web1"]);
    restore("web1", "sdb", "latest").fails(1, &["sdb", "sda.img"]);
    restore("web1", "sda.img", "0000000000").fails(1, &["0000000000", "lifeboat points"]);
    restore("web1", "sda.img", "newest").is_misuse("latest");
    run(bed.place.verb("points").args(["--server", "web9"])).fails(1, &["web9"]);
    run(bed.restore(&to).args(["--expect-point", "00000000"]))
        .fails(1, &["00000000", "rolled back"]);
    assert!(!to.exists() && !bed.path("x.img.lifeboat-part").exists());
}

#[test]
fn disks_that_cannot_be_protected_are_named() {
    let bed = Bed::new("disks");
    let protect = |disks: &[&str]| {
        let mut command = bed.place.verb("protect");
        run(command.args(["--server", "web2"]).args(disks))
    };
    let disk = bed.disk.to_str().unwrap();
    protect(&["/nowhere/sda"]).fails(1, &["/nowhere/sda", "no such"]);
    protect(&["/dev/null"]).fails(1, &["/dev/null"]);
    protect(&[bed.scratch.path().to_str().unwrap()]).fails(1, &["directory"]);
    protect(&[disk, disk]).fails(2, &["names both"]);
    protect(&[&format!("a={disk}"), "a=/dev/null"]).fails(2, &["disk a", "NAME=PATH"]);
    protect(&[&format!("a b={disk}")]).is_misuse("space");
    let loops = bed.path("loop");
    symlink(&loops, &loops).unwrap();
    protect(&[loops.to_str().unwrap()]).fails(1, &["loop"]);
    // None of it enrolled a server.
    let list = run(bed.place.verb("points").args(["--server", "web2"]));
    list.fails(1, &["web2", "is not in this vault"]);
}

#[test]
fn mistakes_in_the_changed_file_name_their_line() {
    let bed = Bed::new("changed");
    let protect =
        |lines: &str| run_with_input(bed.protect().args(["--changed", "-"]), lines.as_bytes());
    protect("sda.img 0 1\nsda.img 0\n").fails(1, &["line 2", "DISK OFFSET LENGTH"]);
    protect("sdb 0 1\n").fails(1, &["line 1", "sdb", "sda.img"]);
    protect("sda.img 6291968 1\n").fails(1, &["line 1", "end of sda.img"]);
    run(bed.protect().args(["--changed", "/nowhere/x"])).fails(1, &["/nowhere/x"]);
    let list = run(bed.place.verb("points").arg("--json")).succeeds().json();
    assert_eq!(list["points"].as_array().unwrap().len(), 1, "no point was made of it");
}

#[test]
fn targets_that_do_not_fit_are_left_as_they_were() {
    let bed = Bed::new("targets");
    let small = bed.path("small.img");
    fs::write(&small, vec![7; BYTES - 512]).unwrap();
    run(&mut bed.restore(&small)).fails(1, &["small.img", "bytes", "nothing was written"]);
    assert!(fs::read(&small).unwrap() == vec![7; BYTES - 512]);
    run(&mut bed.restore(&bed.path("none/x.img"))).fails(1, &["none/x.img"]);
    let neither = ["neither a block device nor an image file", "name an image file"];
    run(&mut bed.restore(bed.scratch.path())).fails(1, &neither);
    run(&mut bed.restore(Path::new("/dev/null"))).fails(1, &neither);
    let mut confirmed = bed.restore(&small);
    run(confirmed.args(["--confirm", "/dev/sdz"])).fails(1, &["--confirm", "nothing was written"]);
    // Larger is fine; what lies behind the disk stays.
    let large = bed.path("large.img");
    fs::write(&large, vec![7; BYTES + 1000]).unwrap();
    run(&mut bed.restore(&large)).succeeds();
    let content = fs::read(&large).unwrap();
    assert!(content[..BYTES] == fs::read(&bed.disk).unwrap()[..] && content[BYTES..] == [7; 1000]);
}

#[test]
fn an_image_that_is_mounted_is_not_written_over() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: attaching a loop device needs root");
        return;
    }
    let bed = Bed::new("mounted");
    let target = bed.path("target.img");
    fs::File::create(&target).unwrap().set_len(16 << 20).unwrap();
    checked(Command::new("mke2fs").arg("-q").arg(&target).output().unwrap(), "mke2fs");
    let folder = bed.path("mnt");
    fs::create_dir(&folder).unwrap();
    // A mount of its own namespace: nothing of it is left when the script ends.
    let script = r#"mount -o loop "$1" "$2" || exit 77; shift 2; "$@""#;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(&target).arg(&folder);
    let restore = bed.restore(&target);
    command.arg(restore.get_program()).args(restore.get_args());
    command.env("LIFEBOAT_STATE", &bed.place.state);
    let before = fs::read(&target).unwrap();
    let ran = run(&mut command);
    if ran.code == 77 {
        eprintln!("SKIPPED: no loop device can be mounted here: {}", ran.errors);
        return;
    }
    ran.fails(1, &["target.img", "in use", "nothing was written"]);
    assert!(before[65_536..] == fs::read(&target).unwrap()[65_536..], "its blocks are untouched");
}

#[test]
fn a_disk_becomes_a_spool_only_when_it_is_named_twice() {
    let scratch = Scratch::new("spool").unwrap();
    let (disk, state) = (scratch.path().join("disk.img"), scratch.path().join("state"));
    fs::write(&disk, b"somebody's data").unwrap();
    let file = fs::File::options().write(true).open(&disk).unwrap();
    file.set_len(80 << 20).unwrap();
    let before = fs::read(&disk).unwrap();
    let spool = |words: &[&str]| {
        let mut command = Command::new(lifeboat());
        command.arg("spool").args(words).arg("--state").arg(&state).arg(&disk);
        run(&mut command)
    };
    let words = ["does not know", "nothing was written", "--confirm disk.img"];
    spool(&["format"]).fails(1, &words);
    spool(&["format", "--confirm", "sdb"]).fails(1, &["not called sdb", "nothing was written"]);
    assert!(fs::read(&disk).unwrap() == before);
    let shown = spool(&["show", "--json"]).succeeds().json();
    assert!(shown["ours"].is_null() && shown["holds"].is_string(), "{shown}");
    let made = spool(&["format", "--confirm", "disk.img", "--json"]).succeeds().json();
    assert_eq!(made["capacity_bytes"], 78 << 20, "{made}");
    let shown = spool(&["show", "--json"]).succeeds().json();
    assert_eq!((&shown["ours"], &shown["holds"]), (&true.into(), &"a spool".into()), "{shown}");
    fs::remove_dir_all(&state).unwrap();
    let shown = spool(&["show"]).succeeds().output;
    assert!(shown.contains("the spool of another machine"), "{shown}");
    file.set_len(1 << 20).unwrap();
    spool(&["format", "--confirm", "disk.img"]).fails(1, &["smaller than 64.0 MiB"]);
}

/// Runs the program in a folder with so little room, at the end of `script`'s own commands.
fn in_little_room(
    bed: &Bed,
    megabytes: u32,
    script: &str,
    command: &Command,
) -> Option<tests::cli::Ran> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: mounting a small file system needs root");
        return None;
    }
    let folder = bed.path("little");
    fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m none \"$1\" || exit 77; cd \"$1\" || exit 77; shift; {script}"
    );
    let mut outer = Command::new("unshare");
    outer.args(["-m", "sh", "-c", &script, "sh"]).arg(&folder);
    outer.arg(command.get_program()).args(command.get_args());
    outer.env("LIFEBOAT_STATE", &bed.place.state);
    let ran = run(&mut outer);
    if ran.code == 77 {
        eprintln!("SKIPPED: no tmpfs can be mounted here: {}", ran.errors);
        return None;
    }
    Some(ran)
}

#[test]
fn a_full_target_says_so_and_can_be_gone_on_with() {
    let bed = Bed::new("full");
    let restore = bed.restore(Path::new("x.img"));
    // What an earlier run began has its room already, as far as anybody knows.
    let script =
        format!("truncate -s {BYTES} x.img.lifeboat-part; \"$@\"; code=$?; ls >&2; exit $code");
    let Some(ran) = in_little_room(&bed, 1, &script, &restore) else { return };
    assert_eq!(ran.code, 1, "{}", ran.errors);
    let mut lines = ran.errors.lines();
    let line = lines.next().unwrap();
    assert!(line.contains("no space left") && line.contains("run the same again"), "{line}");
    assert_eq!(
        lines.collect::<Vec<_>>(),
        ["x.img.lifeboat-part"],
        "nothing half-written has its name"
    );
}

#[test]
fn a_target_without_room_for_the_disk_is_told_before_anything_is_written() {
    let bed = Bed::new("room");
    let mut hydrate = bed.place.verb("hydrate");
    hydrate.args(["--server", "web1", "--disk", "sda.img", "--to", "vhd:x.img"]);
    for command in [bed.restore(Path::new("x.img")), hydrate] {
        let script = "\"$@\"; code=$?; ls >&2; exit $code";
        let Some(ran) = in_little_room(&bed, 2, script, &command) else { return };
        assert_eq!(ran.code, 1, "{}", ran.errors);
        let line = ran.errors.lines().next().unwrap();
        assert!(line.contains("x.img: has ") && line.contains(" bytes free"), "{line}");
        assert!(line.contains("nothing was written"), "{line}");
        assert_eq!(ran.errors.lines().count(), 1, "nothing is left: {}", ran.errors);
    }
}

#[test]
fn a_full_vault_says_so_and_keeps_what_it_has() {
    let bed = Bed::new("fullvault");
    image(&bed.disk, 3 * BYTES, 12);
    let vault = bed.path("vault");
    let at = Place { vault: "dir:vault".to_owned(), ..bed.place.clone() };
    let mut protect = at.verb("protect");
    protect.args(["--server", "web1"]).arg(&bed.disk);
    let script = format!(
        "cp -a '{0}' . && \"$@\"; code=$?; rm -rf '{0}'; cp -a vault '{0}'; exit $code",
        vault.display()
    );
    let Some(ran) = in_little_room(&bed, 6, &script, &protect) else { return };
    ran.fails(1, &["No space", "free"]);
    run(bed.place.verb("verify").arg("--deep")).succeeds();
    let list = run(bed.place.verb("points").arg("--json")).succeeds().json();
    assert_eq!(list["points"].as_array().unwrap().len(), 1);
    // With room it is made, and what was sent is not sent again.
    run(&mut bed.protect()).succeeds();
    bed.restores_whole();
}

#[test]
fn any_object_damaged_is_named_and_never_restored_wrong() {
    let bed = Bed::new("damage");
    change(&bed.disk, "sda.img", 10, 13);
    run(&mut bed.protect()).succeeds();
    let good = bed.path("good");
    copy_tree(&bed.path("vault"), &good);
    let original = fs::read(&bed.disk).unwrap();
    let mut random = Random(14);
    for object in bed.objects() {
        let content = fs::read(&object).unwrap();
        let place = usize::try_from(random.next() % content.len() as u64).unwrap();
        let mut flipped = content.clone();
        flipped[place] ^= 1 << (random.next() % 8);
        let name = object.strip_prefix(bed.path("vault")).unwrap().to_string_lossy().into_owned();
        let cut = content[..content.len() / 2].to_vec();
        for (kind, damaged) in [("flipped", Some(flipped)), ("cut", Some(cut)), ("missing", None)] {
            match &damaged {
                Some(bytes) => fs::write(&object, bytes).unwrap(),
                None => fs::remove_file(&object).unwrap(),
            }
            let verified = run(bed.place.verb("verify").arg("--deep"));
            assert!(!verified.errors.contains("panicked"), "{name} {kind}: {}", verified.errors);
            // The ring's copy is no more than that; all else is noticed.
            if !name.starts_with("keys/") && name != "vault" {
                assert_eq!(verified.code, 1, "{name} {kind} passes: {}", verified.output);
            }
            let to = bed.path("damaged.img");
            let restored = run(&mut bed.restore(&to));
            assert!(!restored.errors.contains("panicked"), "{name} {kind}: {}", restored.errors);
            if restored.code == 0 {
                assert!(fs::read(&to).unwrap() == original, "{name} {kind} was restored wrong");
                fs::remove_file(&to).unwrap();
            } else {
                restored.fails(1, &[]);
                assert!(!to.exists(), "{name} {kind}: half a disk under its good name");
                let _ = fs::remove_file(bed.path("damaged.img.lifeboat-part"));
            }
            fs::write(&object, &content).unwrap();
        }
    }
    run(bed.place.verb("verify").arg("--deep")).succeeds();
}

#[test]
fn objects_swapped_are_noticed() {
    let bed = Bed::new("swap");
    change(&bed.disk, "sda.img", 10, 15);
    run(&mut bed.protect()).succeeds();
    let folder_of = |path: &Path| path.parent().unwrap().to_owned();
    let objects = bed.objects();
    let mut swapped = 0;
    for (place, one) in objects.iter().enumerate() {
        let Some(other) =
            objects[place + 1..].iter().find(|other| folder_of(other) == folder_of(one))
        else {
            continue;
        };
        let (first, second) = (fs::read(one).unwrap(), fs::read(other).unwrap());
        if first == second {
            continue;
        }
        fs::write(one, &second).unwrap();
        fs::write(other, &first).unwrap();
        let verified = run(bed.place.verb("verify").arg("--deep"));
        assert_ne!(verified.code, 0, "{} and {}", one.display(), other.display());
        fs::write(one, &first).unwrap();
        fs::write(other, &second).unwrap();
        swapped += 1;
    }
    assert!(swapped > 0, "there is something to swap");
    run(bed.place.verb("verify").arg("--deep")).succeeds();
}

#[test]
fn a_vault_rolled_back_is_noticed_by_whoever_saw_more() {
    let bed = Bed::new("rollback");
    let older = bed.path("older");
    copy_tree(&bed.path("vault"), &older);
    change(&bed.disk, "sda.img", 4, 16);
    let made = run(bed.protect().arg("--json")).succeeds().json();
    let newest = made["point"].as_str().unwrap().to_owned();
    fs::remove_dir_all(bed.path("vault")).unwrap();
    copy_tree(&older, &bed.path("vault"));
    // This machine saw the newer point.
    let to = bed.path("x.img");
    run(&mut bed.restore(&to)).fails(1, &["rolled back"]);
    run(&mut bed.protect()).fails(1, &["rolled back"]);
    let verified = run(&mut bed.place.verb("verify"));
    assert_eq!(verified.code, 1, "{}", verified.output);
    run(&mut bed.place.verb("points")).fails(1, &["rolled back"]);
    // Another machine did not, unless somebody tells it.
    let stranger = Place { state: bed.path("elsewhere"), ..bed.place.clone() };
    let mut told = bed.restore_from(&stranger, &to);
    run(told.args(["--expect-point", &newest])).fails(1, &[&newest[..], "rolled back"]);
    assert!(!to.exists());
    run(&mut bed.restore_from(&stranger, &to)).succeeds();
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_named() {
    let scratch = Scratch::new("unreachable").unwrap();
    let port = free_port().unwrap();
    let key = "a2V5".to_owned();
    let place = Place {
        vault: format!(
            "azure://devstoreaccount1/vault?endpoint=http://127.0.0.1:{port}/devstoreaccount1"
        ),
        key: scratch.path().join("key"),
        state: scratch.path().join("state"),
        environment: vec![("AZURE_STORAGE_KEY".to_owned(), key)],
    };
    let mut command = place.bare();
    command.args(["vault", "create", &place.vault, "--key-out"]).arg(&place.key);
    run(&mut command).fails(1, &["127.0.0.1"]);
    assert!(!place.key.exists(), "no key of no vault");
    let mut nobody = Command::new(lifeboat());
    nobody.args(["vault", "create", "azure://ab/x"]);
    run(&mut nobody).is_misuse("azure://ACCOUNT/CONTAINER");
}
