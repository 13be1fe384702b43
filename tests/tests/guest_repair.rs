//! Promise: a server that does not boot on the platform is judged so, is repaired on its disks alone, and boots; what
//! was repaired is taken back to the bit.
//!
//! The server is a real Debian whose initramfs lacks the drivers of the machine that it is started on, as one made by
//! `MODULES=dep` on other hardware does.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use firmware::guest_disks::{judge_disks, repair, undo};
use firmware_recovery::guest::repair::{Lineage, LineageKind, REPLICA};
use firmware_recovery::guest::undo::Undone;
use firmware_recovery::guest::volumes::GuestDisk;
use firmware_recovery::guest::{Generation, Platform, Remedy, Severity, What, Wish};
use firmware_recovery::hydrate::overlay::{Overlay, Scratch as Scratches};
use qemu::{Disk, Machine, PATIENT};
use serde_json::Value;
use tests::azurite::{Scratch, run};
use tests::debian::{ROOT_AT, ROOT_MIB, debian_disk, debian_disk_of_dracut};
use tests::guest::BOOT;
use tests::media::{copy_disk, first_difference};
use tests::recovering::Bed;
use tests::servers::Server;

const MIB: u64 = 1 << 20;
/// Where its last partition ends.
const END: u64 = ROOT_AT + ROOT_MIB * MIB;

fn sh(script: &str, arguments: &[&Path]) -> String {
    run(Command::new("sh").args(["-ec", script, "sh"]).args(arguments))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The boot loader's entry, to be put onto the disk.
fn entry(folder: &Path, options: &str) {
    let text = format!("title Debian\nlinux /vmlinuz\ninitrd /initrd\noptions {options}\n");
    fs::write(folder.join("entry"), text).unwrap();
}

/// A Debian on a disk of its own whose initramfs has none of virtio.
fn stripped(folder: &Path) -> PathBuf {
    let disk = folder.join("server.img");
    copy_disk(&debian_disk().unwrap_or_else(|error| panic!("{error}")), &disk);
    let unpacked = folder.join("unpacked");
    let options = format!("root=PARTLABEL=debian-root rw console=ttyS0 quiet {PATIENT}");
    entry(folder, &options);
    fs::create_dir_all(&unpacked).unwrap();
    sh(
        r#"cd "$2"; mcopy -o -i "$1@@1M" ../entry ::/loader/entries/debian.conf
        mcopy -n -i "$1@@1M" ::/initrd ../initrd; gzip -dc ../initrd | cpio -idm --quiet
        find . -name '*virtio*.ko' -delete
        find . | cpio -o -H newc --quiet | gzip -1 >../initrd; mcopy -o -i "$1@@1M" ../initrd ::/initrd"#,
        &[&disk, &unpacked],
    );
    fs::remove_dir_all(unpacked).unwrap();
    disk
}

/// Everything else that holds a server to the machine it ran on.
fn bind_to_its_machine(disk: &Path, folder: &Path) {
    let texts = [
        ("fstab", "/dev/sda2 / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot/efi vfat nofail 0 2\n"),
        ("net.rules", "SUBSYSTEM==\"net\", ATTR{address}==\"00:11:22:33:44:55\", NAME=\"eth0\"\n"),
    ];
    for (name, text) in texts {
        fs::write(folder.join(name), text).unwrap();
    }
    entry(folder, &format!("root=/dev/sda2 rw resume=/dev/sda3 quiet {PATIENT}"));
    sh(
        r#"cd "$2"; root="$1?offset=51380224"
        debugfs -w -R 'rm etc/fstab' "$root"; debugfs -w -R 'write fstab etc/fstab' "$root"
        debugfs -w -R 'write net.rules etc/udev/rules.d/70-persistent-net.rules' "$root"
        mcopy -o -i "$1@@1M" entry ::/loader/entries/debian.conf
        mmd -i "$1@@1M" ::/EFI/systemd
        mmove -i "$1@@1M" ::/EFI/BOOT/BOOTX64.EFI ::/EFI/systemd/systemd-bootx64.efi
        mrd -i "$1@@1M" ::/EFI/BOOT"#,
        &[disk, folder],
    );
}

fn guest_disk(disk: &Path) -> Vec<GuestDisk> {
    let file = File::options().read(true).write(true).open(disk).unwrap();
    vec![GuestDisk { name: "sda".to_owned(), view: Arc::new(file) }]
}

fn machine(disk: &Path) -> Machine {
    Machine::uefi().disk(Disk::new(disk).snapshot().boot_order(0)).processors(1)
}

fn file_systems_are_clean(disk: &Path, folder: &Path) {
    sh(
        r#"dd if="$1" of="$2/esp" bs=1M skip=1 count=48 status=none; fsck.fat -n "$2/esp"
        dd if="$1" of="$2/root" bs=1M skip=49 count="$3" status=none; e2fsck -f -n "$2/root""#,
        &[disk, folder, Path::new(&ROOT_MIB.to_string())],
    );
}

/// Every file of both file systems with its checksum, mode and owner.
fn files(disk: &Path, folder: &Path) -> String {
    let into = folder.join("files");
    fs::create_dir_all(&into).unwrap();
    let listed = sh(
        r#"cd "$2"; rm -rf esp root; mkdir root; mcopy -s -n -i "$1@@1M" ::/ esp
        debugfs -R 'rdump / root' "$1?offset=51380224" 2>/dev/null
        find esp -type f -exec sha256sum {} +
        find root -path root/var/log -prune -o -type f -exec sha256sum {} + -exec stat -c '%n %a %u %g' {} +
        find root esp -type d; find root -type l -printf '%p %l\n'"#,
        &[disk, &into],
    );
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What a drill wishes.
fn drilled() -> Wish {
    let lineage = Lineage {
        order: "drill-7".to_owned(),
        kind: LineageKind::Drill,
        point: "0198-point".to_owned(),
        time: 1_796_000_000,
    };
    Wish { lineage: Some(lineage), ..Wish::default() }
}

#[test]
fn the_mark_of_a_copy_is_where_its_agent_looks_for_it() {
    assert_eq!(format!("/{REPLICA}"), pipeline_agent::lineage::MARK);
}

#[test]
fn a_server_without_the_drivers_does_not_boot_unrepaired_and_boots_repaired() {
    let scratch = Scratch::new("guest-repair").unwrap();
    let folder = scratch.path();
    let disk = stripped(folder);
    {
        let running = machine(&disk).start().unwrap();
        let gave_up = running.console().line("PARTLABEL=debian-root does not exist", BOOT);
        gave_up.unwrap_or_else(|error| {
            panic!("it should find no root: {error}\n{}", running.console().tail())
        });
    }
    bind_to_its_machine(&disk, folder);
    let pristine = folder.join("pristine.img");
    copy_disk(&disk, &pristine);

    let platform = Platform::stand_in();
    let readiness = judge_disks(&guest_disk(&disk), &platform).unwrap();
    println!("{}", serde_json::to_string_pretty(&readiness).unwrap());
    assert_eq!(readiness.generation, Some(Generation::Two));
    assert!(readiness.system.as_ref().unwrap().name.contains("Debian GNU/Linux 12"));
    assert!(!readiness.boots_as_it_is() && readiness.boots_after_repair());
    for what in [What::InitramfsDriver, What::RootDevice, What::Fstab, What::FallbackLoader] {
        let found =
            readiness.about(what).next().unwrap_or_else(|| panic!("{what:?} was not found"));
        assert_eq!(
            (found.severity, &found.repair),
            (Severity::Blocks, &Remedy::Offline),
            "{found:?}"
        );
    }
    for what in [What::NetworkRules, What::Console, What::Resume] {
        assert!(readiness.is_to_repair(what), "{what:?}");
    }
    assert_eq!(first_difference(&pristine, &disk, 0..END), None, "judging changes nothing here");

    let (_, changes) = repair(&guest_disk(&disk), &platform, &drilled()).unwrap();
    println!("{}", serde_json::to_string_pretty(&changes).unwrap());
    file_systems_are_clean(&disk, folder);
    let again = judge_disks(&guest_disk(&disk), &platform).unwrap();
    assert!(again.boots_as_it_is(), "{again:#?}");
    let (_, more) = repair(&guest_disk(&disk), &platform, &drilled()).unwrap();
    assert_eq!(more, [], "what was repaired is so");
    {
        let running = machine(&disk).start().unwrap();
        let said = running.console().event("debian", BOOT);
        let said = said.unwrap_or_else(|error| panic!("{error}\n{}", running.console().tail()));
        assert_eq!((said.field("root"), said.field("mode")), (Some("/dev/vda2"), Some("rw")));
    }
    let replica = sh(
        r#"debugfs -R 'cat var/lib/lifeboat/replica' "$1?offset=51380224" 2>/dev/null"#,
        &[&disk],
    );
    assert!(
        replica.contains("order = \"drill-7\"\nkind = \"drill\"\npoint = \"0198-point\""),
        "{replica}"
    );

    let undone = undo(&guest_disk(&disk), &[]).unwrap();
    assert!(undone.iter().all(|undone| matches!(undone, Undone::Done(_))), "{undone:?}");
    assert_eq!(undone.len(), 6, "{undone:?}");
    is_as_it_was(&pristine, &disk, folder);
}

/// Takes Hyper-V's drivers out of the initramfs on an EFI system partition, which is one gzip.
fn without_hyper_v(disk: &Path, folder: &Path) {
    let unpacked = folder.join("unpacked");
    fs::create_dir_all(&unpacked).unwrap();
    sh(
        r#"cd "$2"; mcopy -n -i "$1@@1M" ::/initrd ../initrd; gzip -dc ../initrd | cpio -idm --quiet
        find . -name 'hv_*.ko*' -delete
        find . | cpio -o -H newc --quiet | gzip -1 >../initrd; mcopy -o -i "$1@@1M" ../initrd ::/initrd"#,
        &[disk, &unpacked],
    );
    fs::remove_dir_all(unpacked).unwrap();
}

/// The names of the drivers that an initramfs lacks for Azure.
fn lacks(disk: &Path) -> Vec<String> {
    let readiness = judge_disks(&guest_disk(disk), &Platform::azure()).unwrap();
    let found = readiness.about(What::InitramfsDriver);
    found.map(|finding| format!("{:?} {finding:?}", finding.repair)).collect()
}

/// Two releases and both packers: initramfs-tools with plain modules, and dracut with compressed ones; one server whose
/// initramfs drives SATA alone, as it was installed. Azure itself is not at hand: what starts there is judged by content.
#[test]
fn real_debians_are_judged_by_what_their_initramfs_holds_for_hyper_v_and_get_what_is_missing() {
    let scratch = Scratch::new("guest-hyper-v").unwrap();
    let cases = [
        ("12", debian_disk(), true),
        ("13", debian_disk_of_dracut(), true),
        ("12 of SATA", Server::SataOnly.disk(), false),
    ];
    for (name, made, has) in cases {
        let folder = scratch.path().join(name);
        fs::create_dir(&folder).unwrap();
        let disk = folder.join("server.img");
        copy_disk(&made.unwrap_or_else(|error| panic!("{error}")), &disk);
        if has {
            assert_eq!(lacks(&disk), [""; 0], "{name} has them as it was installed");
            without_hyper_v(&disk, &folder);
        }
        let found = lacks(&disk);
        println!("{name}: {found:#?}");
        for driver in ["hv_vmbus", "hv_storvsc"] {
            let named = found.iter().find(|finding| finding.contains(driver));
            let named = named.unwrap_or_else(|| panic!("{name} lacks {driver}: {found:?}"));
            assert!(named.starts_with("Offline"), "{name}: {named}");
        }
        let (_, changes) =
            repair(&guest_disk(&disk), &Platform::azure(), &Wish::default()).unwrap();
        println!("{name}: {:?}", changes.iter().map(|change| &change.path).collect::<Vec<_>>());
        assert_eq!(lacks(&disk), [""; 0], "{name} has them after its repair");
        let again = judge_disks(&guest_disk(&disk), &Platform::azure()).unwrap();
        assert!(again.boots_as_it_is(), "{name}: {again:#?}");
        let undone = undo(&guest_disk(&disk), &[]).unwrap();
        assert!(undone.iter().all(|undone| matches!(undone, Undone::Done(_))), "{undone:?}");
        assert_eq!(lacks(&disk), found, "{name} is what it was");
        fs::remove_dir_all(folder).unwrap();
    }
}

/// A block device over a file; it is gone when it is dropped.
struct Loop(PathBuf);

impl Loop {
    fn of(file: &Path) -> Self {
        let said = run(Command::new("losetup").args(["--find", "--show"]).arg(file)).unwrap();
        Self(PathBuf::from(said.trim()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// Brings the newest point of the copy back; what the program says.
fn brought_back(bed: &Bed, to: &Path, more: &[&str]) -> Value {
    let mut command = bed.verbs(&["restore"]);
    command.args(["--server", "web1-azure", "--disk", "sda", "--json"]).args(more);
    tests::cli::run(command.arg("--to").arg(to)).succeeds().json()
}

#[test]
fn a_copy_that_runs_in_azure_comes_back_onto_bare_metal_as_it_was_before_its_failover() {
    let bed = Bed::new("as-before", &["web1"]);
    let pristine = bed.path("pristine.img");
    copy_disk(&debian_disk().unwrap_or_else(|error| panic!("{error}")), &pristine);
    bind_to_its_machine(&pristine, bed.scratch.path());
    let copy = bed.path("copy.img");
    copy_disk(&pristine, &copy);
    let (_, changes) = repair(&guest_disk(&copy), &Platform::stand_in(), &drilled()).unwrap();
    assert!(changes.len() > 4, "{changes:?}");
    // Its agent made it a server of its own, and its points have what was changed on it.
    bed.protect("web1-azure", &copy);
    let metal = bed.path("metal.img");
    File::create(&metal).unwrap().set_len(fs::metadata(&copy).unwrap().len()).unwrap();
    let onto = |more: &[&str]| {
        let device = Loop::of(&metal);
        let name = device.0.display().to_string();
        brought_back(&bed, &device.0, &[&["--confirm", &name], more].concat())
    };
    // In a vault that knows of no failover nobody looks for one.
    let said = onto(&[]);
    assert_eq!(said["taken_back"].as_array().map(Vec::len), Some(0), "{said}");
    assert_eq!(first_difference(&copy, &metal, 0..END), None);

    assert_eq!(bed.order("failover", "web1", &[]).succeeds().json()["state"], "up");
    bed.protect("web1-azure", &copy);
    let said = onto(&["--as-it-is"]);
    assert_eq!(said["taken_back"].as_array().map(Vec::len), Some(0), "{said}");
    assert_eq!(first_difference(&copy, &metal, 0..END), None);
    // Twice: what was taken back is so, and what another run finds is mended.
    for _ in 0..2 {
        let said = onto(&[]);
        println!("{said}");
        assert!(said["taken_back"].as_array().is_some_and(|all| all.len() >= changes.len() - 4));
        assert_eq!(said["left"].as_array().map(Vec::len), Some(0), "{said}");
        is_as_it_was(&pristine, &metal, bed.scratch.path());
    }
    // A file is the point, to the last byte, unless it is asked for otherwise.
    let file = bed.path("file.img");
    brought_back(&bed, &file, &[]);
    assert_eq!(first_difference(&copy, &file, 0..END), None);
    let said = brought_back(&bed, &file, &["--as-before-failover"]);
    assert!(!said["taken_back"].as_array().unwrap().is_empty());
    is_as_it_was(&pristine, &file, bed.scratch.path());
}

/// Every file is what it was, and both file systems are whole.
fn is_as_it_was(pristine: &Path, disk: &Path, folder: &Path) {
    file_systems_are_clean(disk, folder);
    let (before, after) = (files(pristine, folder), files(disk, folder));
    assert!(before.lines().count() > 5000, "{} lines", before.lines().count());
    let known: std::collections::HashSet<&str> = before.lines().collect();
    let differ: Vec<&str> = after.lines().filter(|line| !known.contains(line)).collect();
    assert!(before == after, "{differ:#?}");
}

/// A disk with an EFI system partition and a root of this kind that lost its power with things left in its journal.
fn unclean(folder: &Path, kind: &str) -> PathBuf {
    let texts = [
        ("tree/etc/os-release", "PRETTY_NAME=\"Some Linux\"\n"),
        ("tree/etc/fstab", "/dev/sda2 / auto defaults 0 0\n"),
        ("tree/boot/grub/grub.cfg", "linux /vmlinuz root=/dev/sda2 ro\n"),
    ];
    for (name, text) in texts {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let script = r#"cd "$1"; truncate -s 320M root.img
        if [ "$2" = xfs ]; then
            mkfs.xfs -q root.img; mkdir mnt
            unshare -m sh -ec 'mount -o loop root.img mnt; cp -a tree/. mnt; sync -f mnt; touch mnt/etc/late
                xfs_io -x -c "shutdown -f" mnt; umount mnt'
        else
            mkdir top; mv tree top/@; mkfs.btrfs -q --rootdir top root.img
        fi
        truncate -s 400M disk.img
        sgdisk --new=1:1M:+40M --typecode=1:ef00 --new=2:64M:+320M disk.img
        truncate -s 40M esp.img; mkfs.fat -F 32 -s 1 esp.img; mmd -i esp.img ::/EFI ::/EFI/BOOT
        echo loader >f; mcopy -i esp.img f ::/EFI/BOOT/BOOTX64.EFI
        dd if=esp.img of=disk.img bs=1M seek=1 conv=notrunc status=none
        dd if=root.img of=disk.img bs=1M seek=64 conv=notrunc status=none"#;
    sh(script, &[folder, Path::new(kind)]);
    folder.join("disk.img")
}

#[test]
fn an_unclean_root_is_judged_on_an_overlay_and_clean_after_its_repair() {
    for (kind, check) in [("xfs", "xfs_repair -n"), ("btrfs", "btrfs check")] {
        let scratch = Scratch::new("guest-unclean").unwrap();
        let disk = unclean(scratch.path(), kind);
        let before = fs::read(&disk).unwrap();
        let overlay =
            Arc::new(Overlay::new(before.clone(), Scratches::Memory { bytes_max: 64 * MIB }));
        let view = Arc::clone(&overlay);
        let disks = [GuestDisk { name: "sda".to_owned(), view }];
        let platform = Platform::azure();
        let readiness = judge_disks(&disks, &platform).unwrap();
        assert_eq!(readiness.system.as_ref().unwrap().name, "Some Linux", "{readiness:#?}");
        for what in [What::Fstab, What::RootDevice, What::Console] {
            assert!(readiness.is_to_repair(what), "{kind} {what:?}: {readiness:#?}");
        }
        // What its journal held is on the overlay, and the disk is what it was.
        assert_eq!(kind == "xfs", !overlay.changed().is_empty());
        assert!(fs::read(&disk).unwrap() == before);

        let (_, changes) = repair(&guest_disk(&disk), &platform, &Wish::default()).unwrap();
        assert!(changes.iter().any(|change| change.path == "etc/fstab"), "{changes:?}");
        let part = r#"dd if="$1" of="$1.root" bs=1M skip=64 count=320 status=none; $2 "$1.root""#;
        sh(part, &[&disk, Path::new(check)]);
        let again = judge_disks(&guest_disk(&disk), &platform).unwrap();
        assert!(again.boots_as_it_is(), "{again:#?}");
        undo(&guest_disk(&disk), &[]).unwrap();
        sh(part, &[&disk, Path::new(check)]);
        let last = judge_disks(&guest_disk(&disk), &platform).unwrap();
        assert_eq!(last, readiness, "{kind} is what it was");
    }
}
