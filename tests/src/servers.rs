//! Servers for recovery to be tried on: real Debians by mmdebstrap, each laid out as servers are in the field, with a disk of
//! data of its own. Made once, and kept. What they hold is a marker that a test can change; when they are up they tell it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::azurite::{Scratch, install_once, run};
use crate::debian::{LEFT_OUT, named, sized};
use crate::media::put;

const MIB: u64 = 1 << 20;
/// Names of file systems, fixed so that whoever reads a disk knows them.
const ROOT_UUID: &str = "0d1c0000-0000-4000-8000-000000000001";
const DATA_UUID: &str = "0d1c0000-0000-4000-8000-000000000002";
const ESP_UUID: &str = "11FE-B0A7";
const ESP_MIB: u64 = 48;
const DATA_MIB: u64 = 16;
/// Where the marker lies, on the file system of data.
const MARKER: &str = "marker";
/// What no server of a test drives.
const DRIVERS_LEFT_OUT: [&str; 12] = [
    "sound",
    "drivers/gpu",
    "drivers/media",
    "drivers/net/wireless",
    "drivers/infiniband",
    "drivers/staging",
    "drivers/iio",
    "drivers/isdn",
    "drivers/bluetooth",
    "drivers/hwmon",
    "drivers/usb/serial",
    "drivers/net/ethernet/mellanox",
];
/// Tells on the serial port what the server holds, when it is up: its data, what is mounted, and its address if it has a wire.
const SAYS_UP: &str = r#"#!/bin/sh
for second in $(seq 30); do
    address=$(hostname -I | cut -d' ' -f1)
    [ -n "$address" ] && break
    ls /sys/class/net | grep -qvx lo || break
    sleep 1
done
mounts=$(findmnt -rno TARGET -t ext4,vfat | sort | paste -sd,)
sync
echo "@lifeboat server data=$(cat /srv/marker) root=$(findmnt -no SOURCE /) mounts=$mounts address=${address:-none}" >/dev/ttyS0
"#;
const SAYS_UP_UNIT: &str = "[Unit]\nRequiresMountsFor=/srv\nAfter=local-fs.target systemd-networkd.service\n[Service]\nType=oneshot\n\
    ExecStart=/usr/local/bin/says-up\n[Install]\nWantedBy=multi-user.target\n";
/// Gives what it holds to whoever asks by HTTP.
const SERVES_UNIT: &str = "[Unit]\nRequiresMountsFor=/srv\n[Service]\nExecStart=/usr/bin/busybox httpd -f -p 80 -h /srv\n\
    Restart=always\n[Install]\nWantedBy=multi-user.target\n";
const NETWORK: &str = "[Match]\nName=e*\n[Network]\nDHCP=yes\n";

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// UEFI, GPT, systemd-boot, all drivers, everything named by UUID: starts anywhere.
    Uefi,
    /// BIOS, MBR, GRUB, all drivers, everything named by UUID.
    Bios,
    /// UEFI, GPT, GRUB; its initial RAM disk drives SATA alone, and its disks are named `/dev/sda1` and so on: starts on
    /// SATA and nowhere else.
    SataOnly,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Uefi, Self::Bios, Self::SataOnly];

    /// Its disk's file, never to be written to: take a copy. The marker says `fresh`.
    ///
    /// # Errors
    /// Where Debian's mirror or one of the programs that make it is missing.
    pub fn disk(self) -> Result<PathBuf, String> {
        let folder =
            install_once(&format!("server-{}-1", self.name()), &|folder| self.make(folder))?;
        Ok(folder.join("disk.img"))
    }

    /// What it calls itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::Bios => "bios",
            Self::SataOnly => "sata-only",
        }
    }

    /// Whether it starts by UEFI.
    pub fn has_uefi(self) -> bool {
        self != Self::Bios
    }

    /// What is mounted when it is up, as it tells it.
    pub fn mounts(self) -> &'static str {
        if self.has_uefi() { "/,/boot/efi,/srv" } else { "/,/srv" }
    }

    /// Puts another marker, one word, on a copy of its disk that nobody uses.
    ///
    /// # Errors
    /// Where the disk is not one of this server.
    pub fn mark(self, disk: &Path, marker: &str) -> Result<(), String> {
        let scratch = Scratch::new("marker")?;
        let (text, orders) = (scratch.path().join(MARKER), scratch.path().join("orders"));
        write(&text, &format!("{marker}\n"))?;
        write(&orders, &format!("rm {MARKER}\nwrite {} {MARKER}\n", text.display()))?;
        let offset = self.data_mib() * MIB;
        let target = format!("{}?offset={offset}", disk.display());
        run(Command::new("debugfs").arg("-w").arg("-f").arg(&orders).arg(&target))?;
        let read = run(Command::new("debugfs").args(["-R", &format!("cat {MARKER}"), &target]))?;
        if read.trim() == marker { Ok(()) } else { Err(format!("{target} has no marker: {read}")) }
    }

    fn root_mib(self) -> u64 {
        if self == Self::SataOnly { 608 } else { 448 }
    }

    /// Where its root begins on the disk.
    pub fn root_at_mib(self) -> u64 {
        if self.has_uefi() { 1 + ESP_MIB } else { 1 }
    }

    fn data_mib(self) -> u64 {
        self.root_at_mib() + self.root_mib()
    }

    fn make(self, folder: &Path) -> Result<(), String> {
        let root = folder.join("root");
        self.install(&root)?;
        self.dress(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let disk = folder.join("disk.img");
        sized(&disk, self.data_mib() + DATA_MIB + 1)?;
        if self.has_uefi() {
            self.gpt(&disk)?;
            let esp = folder.join("esp.img");
            self.make_esp(&esp, &root)?;
            put(&esp, &disk, MIB)?;
            remove(&esp)?;
        } else {
            self.mbr(&disk, &root)?;
        }
        let system = folder.join("root.ext4");
        file_system(&system, self.root_mib(), "server-root", ROOT_UUID, &root)?;
        put(&system, &disk, self.root_at_mib() * MIB)?;
        let content = folder.join("content");
        fs::create_dir_all(&content).map_err(|error| error.to_string())?;
        write(&content.join(MARKER), "fresh\n")?;
        let data = folder.join("data.ext4");
        file_system(&data, DATA_MIB, "server-data", DATA_UUID, &content)?;
        put(&data, &disk, self.data_mib() * MIB)?;
        remove(&system)?;
        remove(&data)?;
        for part in [root, content] {
            fs::remove_dir_all(&part).map_err(|error| format!("{}: {error}", part.display()))?;
        }
        Ok(())
    }

    fn install(self, root: &Path) -> Result<(), String> {
        let (packages, hook) = match self {
            Self::Uefi => ("linux-image-cloud-amd64,systemd-boot-efi", None),
            Self::Bios => (
                "linux-image-cloud-amd64,grub-pc-bin,grub-common",
                Some(
                    "chroot $1 grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/grub/core.img biosdisk \
                     part_msdos ext2 normal linux echo configfile search search_fs_uuid",
                ),
            ),
            Self::SataOnly => (
                "linux-image-amd64,grub-efi-amd64-bin,grub-common",
                Some(
                    "chroot $1 grub-mkimage -O x86_64-efi -p /EFI/debian -o /boot/grub/core.efi part_gpt fat ext2 normal \
                     linux echo configfile search search_fs_uuid && \
                     echo MODULES=list >$1/etc/initramfs-tools/conf.d/driver-policy && \
                     printf 'ahci\\nsd_mod\\next4\\n' >>$1/etc/initramfs-tools/modules && \
                     chroot $1 update-initramfs -u -k all",
                ),
            ),
        };
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Languages \"none\""]);
        command.arg(format!("--include={packages},initramfs-tools,systemd-sysv,busybox"));
        command.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
        command.args(
            DRIVERS_LEFT_OUT
                .map(|path| format!("--dpkgopt=path-exclude=/lib/modules/*/kernel/{path}/*")),
        );
        if let Some(hook) = hook {
            command.arg(format!("--customize-hook=mkdir -p $1/boot/grub && {hook}"));
        }
        run(command.arg("bookworm").arg(root))
            .map(drop)
            .map_err(|error| format!("{error}; it wants root, or user namespaces and uidmap"))
    }

    fn dress(self, root: &Path) -> std::io::Result<()> {
        let units = root.join("etc/systemd/system");
        let wants = units.join("multi-user.target.wants");
        fs::create_dir_all(&wants)?;
        fs::write(root.join("etc/hostname"), format!("{}\n", self.name()))?;
        fs::write(root.join("etc/fstab"), self.fstab())?;
        fs::create_dir_all(root.join("boot/efi"))?;
        fs::create_dir_all(root.join("srv"))?;
        let program = root.join("usr/local/bin/says-up");
        fs::write(&program, SAYS_UP)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        for (name, unit) in [("says-up.service", SAYS_UP_UNIT), ("serves.service", SERVES_UNIT)] {
            fs::write(units.join(name), unit)?;
            symlink(format!("../{name}"), wants.join(name))?;
        }
        fs::write(root.join("etc/systemd/network/10-wire.network"), NETWORK)?;
        let networkd = "systemd-networkd.service";
        symlink(format!("/lib/systemd/system/{networkd}"), wants.join(networkd))?;
        if self != Self::Uefi {
            fs::write(root.join("boot/grub/grub.cfg"), self.menu(root)?)?;
        }
        Ok(())
    }

    /// What the kernel is told is its root.
    fn root_name(self) -> String {
        match self {
            Self::SataOnly => "/dev/sda2".to_owned(),
            Self::Uefi | Self::Bios => format!("UUID={ROOT_UUID}"),
        }
    }

    fn fstab(self) -> String {
        let (esp, data) = match self {
            Self::SataOnly => ("/dev/sda1".to_owned(), "/dev/sda3".to_owned()),
            Self::Uefi | Self::Bios => (format!("UUID={ESP_UUID}"), format!("UUID={DATA_UUID}")),
        };
        let root = self.root_name();
        let esp = if self.has_uefi() {
            format!("{esp} /boot/efi vfat umask=0077 0 1\n")
        } else {
            String::new()
        };
        format!("{root} / ext4 errors=remount-ro 0 1\n{esp}{data} /srv ext4 defaults 0 2\n")
    }

    /// GRUB's menu, as Debian's own generator writes it, with what tests have no use for left out.
    fn menu(self, root: &Path) -> std::io::Result<String> {
        let boot = root.join("boot");
        let file = |begin: &str| {
            let path = named(&boot, begin).map_err(std::io::Error::other)?;
            Ok::<String, std::io::Error>(
                path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            )
        };
        let (kernel, initrd) = (file("vmlinuz-")?, file("initrd.img-")?);
        let told = self.root_name();
        Ok(format!(
            "set default=0\nset timeout=0\nmenuentry 'Debian GNU/Linux' --class debian {{\n\
             \tsearch --no-floppy --fs-uuid --set=root {ROOT_UUID}\n\
             \tlinux\t/boot/{kernel} root={told} ro console=ttyS0 quiet\n\
             \tinitrd\t/boot/{initrd}\n}}\n"
        ))
    }

    fn gpt(self, disk: &Path) -> Result<(), String> {
        let (root, data) = (self.root_at_mib(), self.data_mib());
        let mut command = Command::new("sgdisk");
        command.args([format!("--new=1:1M:+{ESP_MIB}M"), "--typecode=1:ef00".to_owned()]);
        command.args([
            format!("--new=2:{root}M:+{}M", self.root_mib()),
            "--typecode=2:8300".to_owned(),
        ]);
        command.args([format!("--new=3:{data}M:+{DATA_MIB}M"), "--typecode=3:8300".to_owned()]);
        run(command.arg(disk)).map(drop)
    }

    fn make_esp(self, esp: &Path, root: &Path) -> Result<(), String> {
        sized(esp, ESP_MIB)?;
        let number = ESP_UUID.replace('-', "");
        run(Command::new("mkfs.fat").args(["-F", "32", "-n", "ESP", "-i", &number]).arg(esp))?;
        let (entry, loader) = (esp.with_extension("entry"), esp.with_extension("loader"));
        let (folders, files): (&[&str], Vec<(PathBuf, &str)>) = if self == Self::Uefi {
            let told = self.root_name();
            let words = format!(
                "title Debian\nlinux /vmlinuz\ninitrd /initrd\noptions root={told} rw console=ttyS0 quiet\n"
            );
            write(&entry, &words)?;
            write(&loader, "timeout 0\n")?;
            let boot = root.join("boot");
            (
                &["::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"],
                vec![
                    (
                        root.join("usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
                        "::/EFI/BOOT/BOOTX64.EFI",
                    ),
                    (named(&boot, "vmlinuz-")?, "::/vmlinuz"),
                    (named(&boot, "initrd.img-")?, "::/initrd"),
                    (entry.clone(), "::/loader/entries/debian.conf"),
                    (loader.clone(), "::/loader/loader.conf"),
                ],
            )
        } else {
            let words = format!(
                "search.fs_uuid {ROOT_UUID} root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
            );
            write(&entry, &words)?;
            let core = root.join("boot/grub/core.efi");
            (
                &["::/EFI", "::/EFI/BOOT", "::/EFI/debian"],
                vec![
                    (core.clone(), "::/EFI/BOOT/BOOTX64.EFI"),
                    (core, "::/EFI/debian/grubx64.efi"),
                    (entry.clone(), "::/EFI/debian/grub.cfg"),
                ],
            )
        };
        run(Command::new("mmd").arg("-i").arg(esp).args(folders))?;
        for (from, to) in files {
            run(Command::new("mcopy").arg("-i").arg(esp).arg(&from).arg(to))?;
        }
        for text in [&entry, &loader] {
            // Only one of them has a loader of its own to be told things.
            if text.exists() {
                remove(text)?;
            }
        }
        Ok(())
    }

    /// Partitions in the first sector, and GRUB in it and in those behind it, where its installer puts it.
    fn mbr(self, disk: &Path, root: &Path) -> Result<(), String> {
        let read =
            |path: &str| fs::read(root.join(path)).map_err(|error| format!("{path}: {error}"));
        let (boot, core) = (read("usr/lib/grub/i386-pc/boot.img")?, read("boot/grub/core.img")?);
        let mut sector = vec![0_u8; 512];
        let code = boot.get(..440).ok_or("boot.img is too short")?;
        sector[..440].copy_from_slice(code);
        sector[440..444].copy_from_slice(&[0x0d, 0x1c, 0xb0, 0xa7]);
        let parts =
            [(0x80_u8, self.root_at_mib(), self.root_mib()), (0, self.data_mib(), DATA_MIB)];
        for (number, (active, at, size)) in parts.into_iter().enumerate() {
            let sectors =
                |mib: u64| u32::try_from(mib * MIB / 512).map_err(|error| error.to_string());
            let entry = &mut sector[446 + 16 * number..462 + 16 * number];
            // What counts are the sectors; the old geometry says that it does not.
            entry[..8].copy_from_slice(&[active, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff]);
            entry[8..12].copy_from_slice(&sectors(at)?.to_le_bytes());
            entry[12..].copy_from_slice(&sectors(size)?.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        let room = usize::try_from(MIB).unwrap_or(0) - 512;
        if core.len() > room {
            return Err(format!(
                "GRUB has {} bytes and {room} before the first partition",
                core.len()
            ));
        }
        let file = File::options().write(true).open(disk);
        let written = file.and_then(|file| {
            file.write_all_at(&sector, 0)?;
            file.write_all_at(&core, 512)
        });
        written.map_err(|error| format!("{}: {error}", disk.display()))
    }
}

fn file_system(path: &Path, mib: u64, label: &str, uuid: &str, holds: &Path) -> Result<(), String> {
    sized(path, mib)?;
    let mut command = Command::new("mke2fs");
    // GRUB 2.06 reads no file system with the feature that a newer e2fsprogs would add.
    command.args([
        "-q",
        "-t",
        "ext4",
        "-O",
        "^metadata_csum_seed,^orphan_file",
        "-L",
        label,
        "-U",
        uuid,
        "-d",
    ]);
    run(command.arg(holds).arg(path)).map(drop)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn remove(path: &Path) -> Result<(), String> {
    fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))
}
