//! A real Debian on a disk, made as others make one: by mmdebstrap, with systemd-boot, its own kernel and ext4. Made once, and kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::azurite::{Scratch, install_once, run};
use crate::media::{copy_disk, put};
use crate::program::built;

/// Where the root file system begins.
pub const ROOT_AT: u64 = 49 << 20;
/// The network behind QEMU's gateway.
const NETWORK: &str = "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nLinkLocalAddressing=no\n";
/// Where systemd has what was set up on this machine.
const UNITS: &str = "/etc/systemd/system";

/// What the disk is called in the cache: another number makes it anew.
const NAME: &str = "debian-12-disk-2";
const DRACUT: &str = "debian-13-dracut-disk-2";
const MIB: u64 = 1 << 20;
const ESP_MIB: u64 = 48;
/// Room for the system, for an initial RAM disk that is made anew beside the old one, and for some files.
pub const ROOT_MIB: u64 = 496;
/// Room for both and for the partition tables: as an installer leaves it, nothing behind.
const DISK_MIB: u64 = 546;
/// Says on the serial port that the system is up, when it is.
const UNIT: &str = "[Unit]\nAfter=local-fs.target\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sync; echo \"@lifeboat debian \
    root=$(findmnt -no SOURCE /) mode=$(findmnt -no OPTIONS / | cut -d, -f1) release=$(cat /etc/debian_version)\" >/dev/ttyS0'\n\
    [Install]\nWantedBy=multi-user.target\n";
const ENTRY: &str = "title Debian\nlinux /vmlinuz\ninitrd /initrd\noptions root=PARTLABEL=debian-root rw console=ttyS0 quiet\n";
/// What a server of a test has no use for.
pub(crate) const LEFT_OUT: [&str; 3] =
    ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// The disk's file, never to be written to. The error says what is missing.
///
/// # Errors
/// Where Debian's mirror or one of the programs that make it is missing.
pub fn debian_disk() -> Result<PathBuf, String> {
    let folder = install_once(NAME, &|folder| make("bookworm", "initramfs-tools", folder))?;
    Ok(folder.join("disk.img"))
}

/// The same of the release after it, whose initramfs is made by dracut. It is for looking at: no test starts it.
///
/// # Errors
/// As above.
pub fn debian_disk_of_dracut() -> Result<PathBuf, String> {
    let folder = install_once(DRACUT, &|folder| make("trixie", "dracut", folder))?;
    Ok(folder.join("disk.img"))
}

/// The same disk with what a server of a test does not use left out of its root, so that there is less to copy.
const SLIM: &str = "debian-12-slim-1";
/// In a mount namespace of its own, beside the disk.
const SLIM_DOWN: &str = "set -eu; mkdir root; mount -o loop,offset=ROOT_AT disk.img root; cd root; \
    rm -rf boot/* usr/lib/udev/hwdb* usr/lib/x86_64-linux-gnu/gconv usr/lib/x86_64-linux-gnu/perl* \
    usr/share/perl* usr/share/zoneinfo usr/share/zsh usr/share/i18n usr/share/bash-completion; \
    find usr/lib/modules/*/kernel/drivers usr/lib/modules/*/kernel/fs usr/lib/modules/*/kernel/net -name '*.ko' | \
    grep -vE 'virtio|failover|autofs|fuse|loop' | xargs rm -f; \
    cd ..; sync -f root; fstrim root; umount root; rmdir root";

fn make_slim(folder: &Path) -> Result<(), String> {
    copy_disk(&debian_disk()?, &folder.join("disk.img"));
    let script = SLIM_DOWN.replace("ROOT_AT", &ROOT_AT.to_string());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).current_dir(folder);
    run(&mut command).map(drop)
}

/// A file that is put onto a disk: where, what, and who may do what with it.
pub type Put<'a> = (&'a str, &'a [u8], u32);

/// A copy of the disk at `disk`, without what no server of a test uses, and with these files on it, and these services, by name
/// and unit, which start with it. It has a network behind QEMU's gateway, and its serial line for itself.
///
/// # Errors
/// Where the disk cannot be made, or has no room.
pub fn dressed(disk: &Path, files: &[Put<'_>], services: &[(&str, &str)]) -> Result<(), String> {
    copy_disk(&install_once(SLIM, &make_slim)?.join("disk.img"), disk);
    let scratch = Scratch::new("dressed")?;
    let units = services.iter().map(|(name, unit)| (format!("{UNITS}/{name}.service"), *unit));
    let units = units.collect::<Vec<_>>();
    let units = units.iter().map(|(path, unit)| (path.as_str(), unit.as_bytes(), 0o644));
    let network = ("/etc/systemd/network/all.network", NETWORK.as_bytes(), 0o644);
    let mut script = String::new();
    for (number, (path, content, mode)) in
        files.iter().copied().chain(units).chain([network]).enumerate()
    {
        let source = scratch.path().join(format!("put{number}"));
        fs::write(&source, content).map_err(|error| format!("{}: {error}", source.display()))?;
        script += &folders(path);
        script += &format!("write {} {path}\nsif {path} mode 0100{mode:o}\n", source.display());
    }
    let wants = format!("{UNITS}/multi-user.target.wants");
    for (name, _) in services {
        script += &format!("symlink {wants}/{name}.service ../{name}.service\n");
    }
    let networkd = "systemd-networkd.service";
    script += &format!("symlink {wants}/{networkd} /lib/systemd/system/{networkd}\n");
    // Nobody else reads the serial line.
    script += &format!("symlink {UNITS}/serial-getty@ttyS0.service /dev/null\n");
    let orders = scratch.path().join("orders");
    fs::write(&orders, script).map_err(|error| format!("{}: {error}", orders.display()))?;
    let root = format!("{}?offset={ROOT_AT}", disk.display());
    run(Command::new("debugfs").args(["-w", "-f"]).arg(&orders).arg(root)).map(drop)
}

/// Orders of debugfs for the folders above a path; those that are there stay.
fn folders(path: &str) -> String {
    let ends = path.match_indices('/').skip(1).map(|(at, _)| at);
    ends.filter_map(|at| path.get(..at)).map(|folder| format!("mkdir {folder}\n")).collect()
}

/// The agent as it is given away, without debug lines.
///
/// # Errors
/// Where it was not built.
pub fn agent() -> Result<Vec<u8>, String> {
    let scratch = Scratch::new("agent")?;
    let agent = scratch.path().join("lifeboat-agent");
    fs::copy(built("lifeboat-agent"), &agent).map_err(|error| error.to_string())?;
    run(Command::new("strip").arg(&agent))?;
    fs::read(&agent).map_err(|error| error.to_string())
}

fn make(suite: &str, packer: &str, folder: &Path) -> Result<(), String> {
    let root = folder.join("root");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Languages \"none\""]);
    command
        .arg(format!("--include=linux-image-cloud-amd64,{packer},systemd-sysv,systemd-boot-efi"));
    command.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    run(command.arg(suite).arg(&root))
        .map_err(|error| format!("{error}; it wants root, or user namespaces and uidmap"))?;
    dress(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    let (esp, system) = (folder.join("esp.img"), folder.join("root.ext4"));
    make_esp(&esp, &root)?;
    sized(&system, ROOT_MIB)?;
    let mut command = Command::new("mke2fs");
    run(command.args(["-q", "-t", "ext4", "-L", "debian-root", "-d"]).arg(&root).arg(&system))?;
    let disk = folder.join("disk.img");
    sized(&disk, DISK_MIB)?;
    let mut command = Command::new("sgdisk");
    let (esp_at, root_at) =
        (format!("--new=1:1M:+{ESP_MIB}M"), format!("--new=2:49M:+{ROOT_MIB}M"));
    command.args([&esp_at, "--typecode=1:ef00", "--change-name=1:esp"]);
    command.args([&root_at, "--typecode=2:8300", "--change-name=2:debian-root"]);
    run(command.arg(&disk))?;
    put(&esp, &disk, MIB)?;
    put(&system, &disk, (1 + ESP_MIB) * MIB)?;
    for part in [esp, system] {
        fs::remove_file(&part).map_err(|error| format!("{}: {error}", part.display()))?;
    }
    fs::remove_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))
}

fn dress(root: &Path) -> std::io::Result<()> {
    let units = root.join("etc/systemd/system");
    fs::write(root.join("etc/hostname"), "debian\n")?;
    fs::write(units.join("says-up.service"), UNIT)?;
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    std::os::unix::fs::symlink("../says-up.service", wants.join("says-up.service"))
}

fn make_esp(esp: &Path, root: &Path) -> Result<(), String> {
    sized(esp, ESP_MIB)?;
    run(Command::new("mkfs.fat").args(["-F", "32", "-n", "ESP"]).arg(esp))?;
    let folders = ["::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"];
    run(Command::new("mmd").arg("-i").arg(esp).args(folders))?;
    let boot = root.join("boot");
    let (entry, loader) = (esp.with_extension("entry"), esp.with_extension("loader"));
    let text = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    text(&entry, ENTRY)?;
    text(&loader, "timeout 0\n")?;
    let files = [
        (root.join("usr/lib/systemd/boot/efi/systemd-bootx64.efi"), "::/EFI/BOOT/BOOTX64.EFI"),
        (named(&boot, "vmlinuz-")?, "::/vmlinuz"),
        (named(&boot, "initrd.img-")?, "::/initrd"),
        (entry, "::/loader/entries/debian.conf"),
        (loader, "::/loader/loader.conf"),
    ];
    for (from, to) in files {
        run(Command::new("mcopy").arg("-i").arg(esp).arg(&from).arg(to))?;
    }
    Ok(())
}

/// The one file of a folder whose name begins so.
pub(crate) fn named(folder: &Path, prefix: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    });
    found.ok_or_else(|| format!("{}: no {prefix}*", folder.display()))
}

pub(crate) fn sized(path: &Path, mib: u64) -> Result<(), String> {
    let made = File::create(path).and_then(|file| file.set_len(mib * MIB));
    made.map_err(|error| format!("{}: {error}", path.display()))
}
