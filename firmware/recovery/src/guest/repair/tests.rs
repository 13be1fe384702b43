//! Servers as folders: judged, repaired, judged again, and taken back to the bit.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::guest::fat::FatTree;
use crate::guest::hive::tests::{hivexsh, system_hive};
use crate::guest::initramfs::{Archive, Contents};
use crate::guest::judge::judge;
use crate::guest::ntfs::NtfsTree;
use crate::guest::readiness::{Finding, Generation, Remedy, Severity};
use crate::guest::survey::Open;
use crate::guest::tree::FolderTree;
use crate::guest::undo::{Undone, undo, undo_list};
use crate::guest::volumes::{GuestDisk, Volume};

/// Servers that mislead.
mod misleading;

const KERNEL: &str = "5.14.0-427.el9.x86_64";

/// A disk, and folders in place of what is on its partitions.
struct Server {
    folder: PathBuf,
    /// Each folder by its volume.
    folders: BTreeMap<String, PathBuf>,
}

impl Open for Server {
    fn open(&self, volume: &Volume, kind: &str) -> io::Result<Rc<dyn Tree>> {
        match (self.folders.get(&volume.name), kind) {
            (Some(folder), _) => Ok(Rc::new(FolderTree::new(File::open(folder)?)?)),
            (None, "vfat") => Ok(Rc::new(FatTree::open(Arc::clone(&volume.view))?)),
            (None, "ntfs") => Ok(Rc::new(NtfsTree::open(Arc::clone(&volume.view))?)),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn sh(script: &str, folder: &Path) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Server {
    /// `script` makes `disk`, in the server's folder.
    fn new(name: &str, script: &str, folders: &[&str]) -> Self {
        let folder =
            std::env::temp_dir().join(format!("lifeboat-repair-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        sh(script, &folder);
        let folders = folders.iter().map(|name| {
            let path = folder.join(name);
            fs::create_dir_all(&path).unwrap();
            ((*name).to_owned(), path)
        });
        Self { folders: folders.collect(), folder }
    }

    fn put(&self, volume: &str, path: &str, content: impl AsRef<[u8]>) {
        let path = self.folders[volume].join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn text(&self, volume: &str, path: &str) -> String {
        fs::read_to_string(self.folders[volume].join(path)).unwrap_or_default()
    }

    fn survey(&self) -> Survey {
        let disk = File::options().read(true).write(true).open(self.folder.join("disk")).unwrap();
        let disks = [GuestDisk { name: "sda".to_owned(), view: Arc::new(disk) }];
        Survey::open(&disks, self).unwrap()
    }

    fn judged(&self, platform: &Platform) -> Readiness {
        judge(&self.survey(), platform).unwrap()
    }

    fn repaired(&self, platform: &Platform, wish: &Wish) -> Vec<Change> {
        let survey = self.survey();
        let readiness = judge(&survey, platform).unwrap();
        repair(&survey, &readiness, platform, wish).unwrap()
    }

    /// Every file and folder of the server with content, mode and owner.
    fn everything(&self) -> String {
        let names: Vec<&str> = self.folders.keys().map(String::as_str).collect();
        let script = format!(
            "find {0} -type f -exec sha256sum {{}} + -exec stat -c '%n %a %u %g' {{}} + | sort; find {0} ! -type f | sort
            rm -rf esp; mcopy -s -n -i disk@@1M ::/ esp 2>/dev/null && find esp -type f -exec sha256sum {{}} + | sort; find esp -type d | sort || true",
            names.join(" ")
        );
        sh(&script, &self.folder)
    }
}

const GPT: &str = "truncate -s 200M disk
    sgdisk --new=1:1M:+64M --typecode=1:ef00 --new=2:66M:+32M --new=3:100M:+64M --partition-guid=3:33333333-2222-4444-8888-000000000000 disk
    truncate -s 64M esp.img; mkfs.fat -F 32 -n ESP esp.img >/dev/null
    mmd -i esp.img ::/EFI ::/EFI/redhat
    for name in shimx64 grubx64 mmx64; do echo $name >f; mcopy -i esp.img f ::/EFI/redhat/$name.efi; done
    echo 'configfile /grub2/grub.cfg' >f; mcopy -i esp.img f ::/EFI/redhat/grub.cfg
    truncate -s 32M boot.img; mke2fs -q -t ext4 -U 22222222-2222-4444-8888-000000000000 boot.img
    truncate -s 64M root.img; mke2fs -q -t ext4 -U 11111111-2222-4444-8888-000000000000 root.img
    dd if=esp.img of=disk bs=1M seek=1 conv=notrunc status=none
    dd if=boot.img of=disk bs=1M seek=66 conv=notrunc status=none
    dd if=root.img of=disk bs=1M seek=100 conv=notrunc status=none";

/// An initramfs as dracut makes one, with these modules, unpacked as some do it.
fn dracut_initramfs(modules: &[&str], unpacked: bool) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.file("usr/lib/dracut/hooks/cmdline/one.sh", b"#!/bin/sh\n").unwrap();
    for module in modules {
        let end = if unpacked { "ko" } else { "ko.xz" };
        let path = format!("usr/lib/modules/{KERNEL}/kernel/drivers/{module}.{end}");
        archive.file(&path, module.as_bytes()).unwrap();
    }
    for index in ["modules.dep", "modules.dep.bin", "modules.alias.bin"] {
        archive.file(&format!("usr/lib/modules/{KERNEL}/{index}"), b"its own\n").unwrap();
    }
    archive.file("etc/lvm/lvm.conf", b"devices {\n}\n").unwrap();
    archive.finish()
}

fn put_modules(server: &Server, volume: &str) {
    let folder = format!("usr/lib/modules/{KERNEL}");
    let index = "kernel/drivers/hv_vmbus.ko.xz:\n\
        kernel/drivers/hv_storvsc.ko.xz: kernel/drivers/scsi_transport_fc.ko.xz kernel/drivers/hv_vmbus.ko.xz\n\
        kernel/drivers/scsi_transport_fc.ko.xz:\nkernel/drivers/hv_netvsc.ko.xz: kernel/drivers/hv_vmbus.ko.xz\n\
        kernel/drivers/sd-mod.ko.xz:\nkernel/drivers/ahci.ko.xz: kernel/drivers/libata.ko.xz\nkernel/drivers/libata.ko.xz:\n";
    for module in
        ["hv_vmbus", "hv_storvsc", "scsi_transport_fc", "hv_netvsc", "sd-mod", "ahci", "libata"]
    {
        server.put(
            volume,
            &format!("{folder}/kernel/drivers/{module}.ko.xz"),
            format!("xz of {module}"),
        );
    }
    server.put(volume, &format!("{folder}/modules.dep"), index);
    server.put(volume, &format!("{folder}/modules.dep.bin"), "of the root");
    server.put(volume, &format!("{folder}/modules.symbols"), "of the root");
    server.put(volume, &format!("{folder}/modules.builtin"), "kernel/fs/ext4/ext4.ko\n");
}

fn red_hat_fstab() -> &'static str {
    "/dev/sda3 / ext4 defaults 0 0\nUUID=22222222-2222-4444-8888-000000000000 /boot ext4 defaults 0 0\n\
     /dev/sda1 /boot/efi vfat umask=0077 0 2\n/dev/sdz9 /old ext4 nofail 0 0\n"
}

/// A Red Hat on UEFI, bound to its hardware in every way.
fn red_hat(unpacked: bool) -> Server {
    let server = Server::new(if unpacked { "unpacked" } else { "packed" }, GPT, &["sda2", "sda3"]);
    server.put(
        "sda2",
        &format!("initramfs-{KERNEL}.img"),
        dracut_initramfs(&["ahci", "libata"], unpacked),
    );
    server.put(
        "sda2",
        &format!("initramfs-{KERNEL}kdump.img"),
        "not looked into, and long enough to be one".repeat(99),
    );
    server.put(
        "sda2",
        "loader/entries/one.conf",
        "title One\nlinux /vmlinuz\noptions $kernelopts\n",
    );
    let block = "# GRUB Environment Block\nkernelopts=root=/dev/sda3 ro rhgb resume=/dev/sda4\n";
    server.put("sda2", "grub2/grubenv", block.to_owned() + &"#".repeat(1024 - block.len()));
    put_modules(&server, "sda3");
    for (path, text) in [
        ("etc/os-release", "PRETTY_NAME=\"Red Hat Enterprise Linux 9.4 (Plow)\"\n"),
        ("etc/fstab", red_hat_fstab()),
        ("etc/default/grub", "GRUB_CMDLINE_LINUX=\"rhgb\"\n"),
        ("etc/udev/rules.d/70-persistent-net.rules", "NAME=\"eth0\"\n"),
        ("etc/modprobe.d/hardening.conf", "blacklist usb_storage\nblacklist hv_vmbus\n"),
        ("usr/sbin/NetworkManager", ""),
        (
            "etc/NetworkManager/system-connections/eno1.nmconnection",
            "[connection]\ninterface-name=eno1\n[ipv4]\nmethod=manual\n",
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-eno1",
            "DEVICE=eno1\nHWADDR=00:11:22:33:44:55\nBOOTPROTO=none\nIPADDR=192.0.2.5\n",
        ),
        ("opt/dell/srvadmin/bin/omreport", ""),
    ] {
        server.put("sda3", path, text);
    }
    let secret = server.folders["sda3"].join("etc/udev/rules.d/70-persistent-net.rules");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o640)).unwrap();
    server
}

fn found(readiness: &Readiness, what: What) -> Vec<(&str, Severity, &Remedy)> {
    let about = readiness.about(what);
    about
        .map(|finding: &Finding| (finding.object.as_str(), finding.severity, &finding.repair))
        .collect()
}

#[test]
fn a_server_bound_to_its_hardware_is_judged_repaired_and_taken_back_to_the_bit() {
    for unpacked in [false, true] {
        let server = red_hat(unpacked);
        let before = server.everything();
        let platform = Platform::azure();
        let readiness = server.judged(&platform);
        assert_eq!(readiness.generation, Some(Generation::Two));
        let system = readiness.system.as_ref().unwrap();
        assert_eq!(
            (system.name.as_str(), system.kernels.as_slice()),
            ("Red Hat Enterprise Linux 9.4 (Plow)", [KERNEL.to_owned()].as_slice())
        );
        let initramfs = format!("boot/initramfs-{KERNEL}.img");
        let blocks = |object| (object, Severity::Blocks, &Remedy::Offline);
        assert_eq!(
            found(&readiness, What::InitramfsDriver),
            [blocks(initramfs.as_str())],
            "{readiness:#?}"
        );
        assert_eq!(found(&readiness, What::RootDevice), [blocks("boot/grub2/grubenv")]);
        let fstab = found(&readiness, What::Fstab);
        assert_eq!(fstab[..2], [blocks("/dev/sda3"), blocks("/dev/sda1")]);
        assert!(
            matches!(fstab[2], ("/dev/sdz9", Severity::Hinders, Remedy::OnSource(_))),
            "{fstab:?}"
        );
        for what in [
            What::FallbackLoader,
            What::BlockedDriver,
            What::NetworkRules,
            What::Network,
            What::Console,
            What::Resume,
        ] {
            assert!(readiness.is_to_repair(what), "{what:?}");
        }
        assert_eq!(found(&readiness, What::ForeignAgent).len(), 1);
        assert!(!readiness.boots_as_it_is() && readiness.boots_after_repair());
        assert_eq!(server.everything(), before, "judging changes nothing");

        let lineage = Lineage {
            order: "o\"1".to_owned(),
            kind: LineageKind::Failover,
            point: "p".to_owned(),
            time: 7,
        };
        let wish = Wish { lineage: Some(lineage), ..Wish::default() };
        let changes = server.repaired(&platform, &wish);
        assert!(changes.len() > 10, "{changes:#?}");
        let again = server.judged(&platform);
        assert!(again.boots_as_it_is(), "{again:#?}");
        is_repaired(&server, unpacked);
        let undone = undo(&server.survey()).unwrap();
        assert!(undone.iter().all(|undone| matches!(undone, Undone::Done(_))), "{undone:?}");
        assert_eq!(server.everything(), before);
        assert!(undo(&server.survey()).unwrap().is_empty(), "once is enough");
    }
}

fn is_repaired(server: &Server, unpacked: bool) {
    let initramfs =
        fs::read(server.folders["sda2"].join(format!("initramfs-{KERNEL}.img"))).unwrap();
    let contents = Contents::read(initramfs.as_slice()).unwrap();
    let has =
        |name: &str| contents.entries.contains_key(&format!("usr/lib/modules/{KERNEL}/{name}"));
    for name in ["hv_vmbus", "hv_storvsc", "scsi_transport_fc", "hv_netvsc", "sd-mod"] {
        assert!(has(&format!("kernel/drivers/{name}.ko.xz")), "{name}");
    }
    // The index of the root names modules as the root has them: where the initramfs has them unpacked, they go in
    // again.
    assert!(has("kernel/drivers/ahci.ko.xz") && has("kernel/drivers/libata.ko.xz"));
    assert_eq!(has("kernel/drivers/ahci.ko"), unpacked);
    assert!(!has("modules.symbols"), "an index that it had no use for");
    assert!(contents.entries.contains_key("etc/cmdline.d/90-lifeboat.conf"));
    let environment = server.text("sda2", "grub2/grubenv");
    assert_eq!(environment.len(), 1024);
    assert!(environment.contains("kernelopts=root=UUID=11111111-2222-4444-8888-000000000000 ro rhgb console=tty0 console=ttyS0,115200 net.ifnames=0 noresume\n"), "{environment}");
    let fstab = server.text("sda3", "etc/fstab");
    assert!(
        fstab.starts_with("UUID=11111111-2222-4444-8888-000000000000 / ext4")
            && fstab.contains("\n/dev/sdz9 "),
        "{fstab}"
    );
    assert!(
        server
            .text("sda3", "etc/modprobe.d/hardening.conf")
            .ends_with("usb_storage\n# blacklist hv_vmbus\n")
    );
    assert_eq!(server.text("sda3", "etc/udev/rules.d/70-persistent-net.rules"), "");
    assert!(
        server.text("sda3", "etc/sysconfig/network-scripts/ifcfg-eth0").contains("BOOTPROTO=dhcp")
    );
    assert_eq!(server.text("sda3", "etc/sysconfig/network-scripts/ifcfg-eno1"), "");
    assert!(
        server
            .text("sda3", "etc/NetworkManager/system-connections/lifeboat.nmconnection")
            .contains("method=auto")
    );
    let replica = server.text("sda3", REPLICA);
    assert!(
        replica.contains("order = \"o1\"\nkind = \"failover\"\npoint = \"p\"\ntime = 7\n"),
        "{replica}"
    );
    let loader = sh(
        "mtype -i disk@@1M ::/EFI/BOOT/BOOTX64.EFI; mtype -i disk@@1M ::/EFI/BOOT/grubx64.efi",
        &server.folder,
    );
    assert_eq!(loader, "shimx64\ngrubx64\n");
}

/// A table that still says where the kernels are.
const MADE_ANEW: &str =
    "UUID=22222222-2222-4444-8888-000000000000 /boot ext4 defaults 0 0\n# by a person\n";

#[test]
fn what_the_system_changed_since_is_left() {
    let server = red_hat(false);
    server.repaired(&Platform::azure(), &Wish::default());
    server.put("sda3", "etc/fstab", MADE_ANEW);
    let undone = undo(&server.survey()).unwrap();
    let left: Vec<&Undone> =
        undone.iter().filter(|undone| matches!(undone, Undone::Left(_))).collect();
    assert_eq!(left, [&Undone::Left("etc/fstab".to_owned())]);
    assert_eq!(server.text("sda3", "etc/fstab"), MADE_ANEW);
}

/// What a failover by this order wishes.
fn failed_over_by(order: &str) -> Wish {
    let (order, point) = (order.to_owned(), "p".to_owned());
    let lineage = Lineage { order, kind: LineageKind::Failover, point, time: 7 };
    Wish { lineage: Some(lineage), ..Wish::default() }
}

#[test]
fn a_server_that_was_repaired_is_repaired_again_by_what_differs_and_taken_back_whole() {
    let server = red_hat(false);
    let before = server.everything();
    let platform = Platform::azure();
    server.repaired(&platform, &failed_over_by("o1"));
    let repaired = server.everything();
    // The same once more changes nothing.
    assert_eq!(server.repaired(&platform, &failed_over_by("o1")), []);
    assert_eq!(server.everything(), repaired);
    // It became a server of its own, was given a name of a device again, and is failed over again.
    let root = &server.folders["sda3"];
    fs::rename(root.join(REPLICA), root.join(ADOPTED)).unwrap();
    let fstab = server.text("sda3", "etc/fstab");
    server.put("sda3", "etc/fstab", fstab.clone() + "/dev/sda2 /again ext4 defaults 0 0\n");
    let changes = server.repaired(&platform, &failed_over_by("o2"));
    let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["etc/fstab", REPLICA]);
    assert!(server.judged(&platform).boots_as_it_is());
    assert!(server.text("sda3", REPLICA).contains("order = \"o2\""));
    // A person's own line is no repair: it is left, and what a repair did to the file with it.
    let undone = undo(&server.survey()).unwrap();
    let left = undone.iter().filter(|undone| matches!(undone, Undone::Left(_)));
    assert_eq!(left.collect::<Vec<_>>(), [&Undone::Left("etc/fstab".to_owned())]);
    let again = fstab + "/dev/sda2 /again ext4 defaults 0 0\n";
    assert_eq!(server.text("sda3", "etc/fstab"), again);
    // But for that, and what is kept of it for a person, it is as it was before the first.
    server.put("sda3", "etc/fstab", red_hat_fstab());
    fs::remove_dir_all(server.folders["sda3"].join("var")).unwrap();
    assert_eq!(server.everything(), before);
}

#[test]
fn a_list_of_changes_that_cannot_be_read_is_said_and_nothing_is_changed() {
    let server = red_hat(false);
    server.put("sda3", LIST, "[{");
    let before = server.everything();
    let survey = server.survey();
    let readiness = judge(&survey, &Platform::azure()).unwrap();
    let refused = repair(&survey, &readiness, &Platform::azure(), &Wish::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData);
    assert_eq!(undo(&survey).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(server.everything(), before);
}

#[test]
fn an_initramfs_that_cannot_be_read_is_told() {
    let server = red_hat(false);
    server.put("sda2", &format!("initramfs-{KERNEL}.img"), b"BZh91AY".repeat(1000));
    let readiness = server.judged(&Platform::azure());
    let told = readiness.about(What::Initramfs).next().unwrap();
    assert!(
        matches!(&told.repair, Remedy::OnSource(command) if command.contains("hv_vmbus")),
        "{told:?}"
    );
}

#[test]
fn a_bios_server_is_generation_one_and_every_program_gets_the_address() {
    let script = "truncate -s 100M disk; printf '\\353\\143' | dd of=disk conv=notrunc status=none
        truncate -s 64M root.img; mke2fs -q -t ext3 -U 11111111-2222-4444-8888-000000000000 root.img
        dd if=root.img of=disk bs=1M seek=1 conv=notrunc status=none
        printf '\\200\\0\\0\\0\\203\\0\\0\\0\\0\\010\\0\\0\\0\\0\\002\\0' | dd of=disk bs=1 seek=446 conv=notrunc status=none
        printf '\\125\\252' | dd of=disk bs=1 seek=510 conv=notrunc status=none";
    let server = Server::new("bios", script, &["sda1"]);
    for (path, text) in [
        ("etc/os-release", "PRETTY_NAME='Old'\n"),
        ("etc/fstab", "UUID=11111111-2222-4444-8888-000000000000 / ext3 defaults 0 1\n"),
        ("boot/grub/grub.cfg", "menuentry x {\n\tlinux /boot/vmlinuz root=/dev/hda1 ro\n}\n"),
        ("etc/network/interfaces", "iface eno1 inet static\n  address 192.0.2.5/24\n"),
        ("etc/netplan/01.yaml", "network: {ethernets: {eno1: {addresses: [192.0.2.5/24]}}}\n"),
    ] {
        server.put("sda1", path, text);
    }
    let readiness = server.judged(&Platform::azure());
    assert_eq!(readiness.generation, Some(Generation::One), "{readiness:#?}");
    assert!(readiness.about(What::FallbackLoader).next().is_none());
    let network = Network::Address {
        address: "10.1.2.3".parse().unwrap(),
        prefix: 16,
        gateway: Some("10.1.0.1".parse().unwrap()),
        names: vec!["10.1.0.2".parse().unwrap()],
    };
    server.repaired(&Platform::azure(), &Wish { network, lineage: None });
    let interfaces = server.text("sda1", "etc/network/interfaces");
    assert!(
        interfaces
            .contains("iface eth0 inet static\n    address 10.1.2.3/16\n    gateway 10.1.0.1\n"),
        "{interfaces}"
    );
    let plan = server.text("sda1", "etc/netplan/90-lifeboat.yaml");
    assert!(
        plan.contains(
            "addresses: [\"10.1.2.3/16\"]\n      routes: [{to: \"0.0.0.0/0\", via: \"10.1.0.1\"}]"
        ),
        "{plan}"
    );
    assert_eq!(server.text("sda1", "etc/netplan/01.yaml"), "");
    let menu = server.text("sda1", "boot/grub/grub.cfg");
    assert!(menu.contains("root=UUID=11111111-2222-4444-8888-000000000000 ro console="), "{menu}");
}

#[test]
fn what_cannot_be_looked_into_is_said() {
    let script = "truncate -s 20M disk; sgdisk --new=1:1M:+8M disk; printf 'LUKS\\272\\276' | dd of=disk bs=1M seek=1 conv=notrunc status=none";
    let server = Server::new("locked", script, &[]);
    let readiness = server.judged(&Platform::azure());
    let told = readiness.about(What::EncryptedRoot).next().unwrap();
    assert_eq!(told.severity, Severity::Blocks);
    assert!(
        matches!(&told.repair, Remedy::OnSource(command) if command.contains("hv_storvsc")),
        "{told:?}"
    );
    assert!(!readiness.boots_after_repair());
    let refused =
        repair(&server.survey(), &readiness, &Platform::azure(), &Wish::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let empty = Server::new("empty", "truncate -s 20M disk; mke2fs -q -t ext4 disk", &[]);
    let readiness = empty.judged(&Platform::azure());
    let words = &readiness.about(What::NoSystem).next().unwrap().words;
    assert!(
        words.contains("(ext4)") && readiness.generation.is_none(),
        "words for a person: {words}"
    );
}

/// A Windows on NTFS, its hive made by hivexsh; `None`, loudly, where the programs for it are missing.
fn windows() -> Option<Server> {
    let script = "truncate -s 100M disk
        sgdisk --new=1:1M:+36M --typecode=1:ef00 --new=2:40M:+48M --typecode=2:0700 disk
        truncate -s 36M esp.img; mkfs.fat -F 32 -s 1 esp.img >/dev/null; mmd -i esp.img ::/EFI ::/EFI/Microsoft ::/EFI/Microsoft/Boot
        echo bootmgfw >f; mcopy -i esp.img f ::/EFI/Microsoft/Boot/bootmgfw.efi
        dd if=esp.img of=disk bs=1M seek=1 conv=notrunc status=none";
    let server = Server::new("windows", script, &[]);
    system_hive(&server.folder.join("SYSTEM"))?;
    let fill = "truncate -s 48M c.img; mkntfs -Q -q -F c.img; mkdir mnt; ntfs-3g c.img mnt
        mkdir -p mnt/Windows/System32/config mnt/Windows/System32/drivers; cp SYSTEM mnt/Windows/System32/config/
        for name in vmbus storvsc; do echo x >mnt/Windows/System32/drivers/$name.sys; done
        umount mnt; dd if=c.img of=disk bs=1M seek=40 conv=notrunc status=none";
    let filled =
        Command::new("sh").args(["-ec", fill]).current_dir(&server.folder).output().unwrap();
    if !filled.status.success() {
        eprintln!("SKIPPED, not tested on this machine: {filled:?}");
        return None;
    }
    Some(server)
}

#[test]
fn a_windows_gets_its_services_started_and_its_loader_copied_and_is_taken_back() {
    let Some(server) = windows() else { return };
    let hive = || {
        sh(
            "dd if=disk of=c.img bs=1M skip=40 count=48 status=none; ntfscat -f c.img Windows/System32/config/SYSTEM >hive",
            &server.folder,
        );
        let script = "cd ControlSet002\\Services\\vmbus\nlsval Start\ncd \\ControlSet001\\Services\\storvsc\nlsval Start\n\
            cd \\ControlSet001\\Services\\partmgr\\Parameters\nlsval SanPolicy\n";
        hivexsh(&server.folder.join("hive"), false, script).unwrap()
    };
    assert_eq!(hive(), "3\n3\n3\n");
    let before = fs::read(server.folder.join("disk")).unwrap();
    let platform = Platform::azure();
    let readiness = server.judged(&platform);
    assert_eq!(readiness.generation, Some(Generation::Two), "{readiness:#?}");
    assert_eq!(readiness.system.as_ref().unwrap().family, Family::Windows);
    assert_eq!(readiness.about(What::WindowsService).count(), 6, "{readiness:#?}");
    assert!(
        readiness.is_to_repair(What::SanPolicy) && readiness.is_to_repair(What::FallbackLoader)
    );
    assert!(!readiness.boots_as_it_is() && readiness.boots_after_repair());
    assert!(!server.judged(&Platform::stand_in()).boots_after_repair());
    let changes = server.repaired(&platform, &Wish::default());
    assert_eq!(hive(), "0\n0\n1\n");
    assert!(server.judged(&platform).boots_as_it_is());
    let undone = undo_list(&server.survey(), &changes).unwrap();
    assert!(undone.iter().all(|undone| matches!(undone, Undone::Done(_))), "{undone:?}");
    let after = fs::read(server.folder.join("disk")).unwrap();
    assert!(before[40 << 20..] == after[40 << 20..], "the volume of Windows is as it was");
    assert!(!server.judged(&platform).boots_as_it_is());
}
