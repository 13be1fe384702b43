//! A Debian in which the agent was installed as its installer does it: its own initial RAM disk and the end of systemd call
//! it. It writes while it runs, and once more when the agent has ended; the host tells it when to start anew.

use core::time::Duration;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use qemu::{Disk, Gateway, Machine, Nic, Running};
use tests::azurite::run;
use tests::debian::{ROOT_AT, agent, debian_disk};
use tests::media::copy_disk;

/// A translated machine takes its time to look over the programs.
const SECONDS: &str = "120";
const START: Duration = Duration::from_secs(400);
const END: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(200);
/// Has the agent remove itself, where no translated machine makes an initial RAM disk anew for minutes; and what is left.
const REMOVE: &str = "set -eu; mount -o loop,offset=ROOT_AT server.img root; \
    chroot root /usr/local/sbin/lifeboat-agent remove >&2; \
    find root/etc/initramfs-tools root/usr/lib/systemd root/var/lib -name '*lifeboat*'; \
    chroot root sh -c 'lsinitramfs /boot/initrd.img-*' | grep lifeboat || true; umount root";
const AGENT: &str = "[Unit]\nAfter=network-online.target local-fs.target\nStartLimitIntervalSec=0\n[Service]\n\
    Environment=LIFEBOAT_TEST=1\nExecStartPre=/bin/sh -c 'test -e /var/lib/lifeboat-agent/enrolment || \
    /usr/local/sbin/lifeboat-agent enrol $(cat /etc/lifeboat-token)'\n\
    ExecStart=/usr/local/sbin/lifeboat-agent run\nRestart=always\nRestartSec=1\nKillMode=process\n\
    StandardError=journal+console\n";
const LOAD: &str = "#!/bin/bash\nmkdir -p /srv/load && cd /srv/load || exit 1\nwhile :; do\n  f=f$((RANDOM % 24))\n  \
    dd if=/dev/urandom of=$f bs=4k count=$((1 + RANDOM % 16)) seek=$((RANDOM % 64)) conv=notrunc status=none\n  \
    [ $((RANDOM % 4)) != 0 ] || sync -f .\n  sleep 0.3\ndone\n";
const LOAD_UNIT: &str = "[Service]\nExecStart=/usr/local/sbin/load\nRestart=always\n";
/// Writes when it starts and when it ends, without waiting for the disk: before the agent begins, and behind its end.
const LATE: &str = "[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\nBefore=lifeboat-agent.service shutdown.target\n\
    Conflicts=shutdown.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
    ExecStart=/bin/dd if=/dev/urandom of=/srv/early bs=64k count=20 status=none\n\
    ExecStop=/bin/dd if=/dev/urandom of=/srv/late bs=64k count=20 status=none\n";
const EAR: &str = "[Unit]\nAfter=lifeboat-agent.service\n[Service]\nExecStart=/bin/bash -c 'exec 3<>/dev/tcp/10.0.2.2/PORT; \
    read -u 3 line; eval \"$line\"'\nRestart=always\nRestartSec=1\n";
const NETWORK: &str = "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nLinkLocalAddressing=no\n";
/// What is printed by the kernel is read by the test.
const ENTRY: &str = "title Debian\nlinux /vmlinuz\ninitrd /initrd\noptions root=PARTLABEL=debian-root rw console=ttyS0 loglevel=6\n";
/// In a mount namespace of its own, in the folder with everything that is to be put in.
const PUT_IN: &str = "set -eu; mkdir root; mount -o loop,offset=ROOT_AT server.img root; cd put; \
    for path in $(find . -type f); do install -D -m \"$(stat -c %a $path)\" $path ../root/$path; done; cd ..; \
    wants=root/etc/systemd/system/multi-user.target.wants; \
    for unit in lifeboat-agent load late ear; do ln -sf ../$unit.service $wants/; done; \
    ln -sf /lib/systemd/system/systemd-networkd.service $wants/; \
    ln -sf /dev/null root/etc/systemd/system/serial-getty@ttyS0.service; \
    chroot root /usr/local/sbin/lifeboat-agent install --seconds SECONDS; cp root/boot/initrd.img-* initrd; umount root";

/// The server.
pub(crate) struct Server {
    disk: PathBuf,
    ear: TcpListener,
}

impl Server {
    /// With this token, on a disk in this folder.
    pub(crate) fn make(folder: &Path, token: &str) -> Self {
        let disk = folder.join("server.img");
        copy_disk(&debian_disk().unwrap_or_else(|error| panic!("{error}")), &disk);
        let ear = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = ear.local_addr().unwrap().port().to_string();
        let agent = agent().unwrap_or_else(|error| panic!("{error}"));
        let units = ["lifeboat-agent", "load", "late", "ear"];
        let units = units.map(|name| format!("etc/systemd/system/{name}.service"));
        let ear_unit = EAR.replace("PORT", &port);
        let files: [(&str, &[u8], u32); 8] = [
            ("usr/local/sbin/lifeboat-agent", &agent, 0o755),
            ("usr/local/sbin/load", LOAD.as_bytes(), 0o755),
            ("etc/lifeboat-token", token.as_bytes(), 0o600),
            ("etc/systemd/network/all.network", NETWORK.as_bytes(), 0o644),
            (&units[0], AGENT.as_bytes(), 0o644),
            (&units[1], LOAD_UNIT.as_bytes(), 0o644),
            (&units[2], LATE.as_bytes(), 0o644),
            (&units[3], ear_unit.as_bytes(), 0o644),
        ];
        for (path, content, mode) in files {
            let path = folder.join("put").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            run(Command::new("chmod").arg(format!("{mode:o}")).arg(&path)).unwrap();
        }
        let script = PUT_IN.replace("SECONDS", SECONDS).replace("ROOT_AT", &ROOT_AT.to_string());
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        run(command.current_dir(folder)).unwrap();
        fs::write(folder.join("entry"), ENTRY).unwrap();
        let loader = format!("{}@@1M", disk.display());
        for (from, to) in [("initrd", "::/initrd"), ("entry", "::/loader/entries/debian.conf")] {
            let mut command = Command::new("mcopy");
            run(command.args(["-o", "-i", &loader]).arg(folder.join(from)).arg(to)).unwrap();
        }
        Self { disk, ear }
    }

    pub(crate) fn disk(&self) -> &Path {
        &self.disk
    }

    /// Another system mounts it, and writes a file.
    pub(crate) fn write_from_outside(&self) {
        let root = format!("{}?offset={ROOT_AT}", self.disk.display());
        let write = format!("write {} /srv/stranger", self.disk.with_file_name("entry").display());
        run(Command::new("debugfs").args(["-w", "-R", &write]).arg(root)).unwrap();
    }

    /// Removes the agent from it while it is off, and says what is left of it.
    pub(crate) fn remove(&self) -> String {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &REMOVE.replace("ROOT_AT", &ROOT_AT.to_string())]);
        run(command.current_dir(self.disk.parent().unwrap())).unwrap()
    }

    /// A running one, and where it hears.
    pub(crate) fn boot(&self) -> (Running, TcpStream) {
        // Whoever called when it went down is gone.
        self.ear.set_nonblocking(true).unwrap();
        while self.ear.accept().is_ok() {}
        let machine = Machine::uefi().disk(Disk::new(&self.disk).boot_order(0)).memory_mib(512);
        let machine = machine.nic(Nic::new().gateway(Gateway::default()));
        let running = machine.lifetime(Duration::from_secs(3600)).start().unwrap();
        let began = Instant::now();
        loop {
            match self.ear.accept() {
                Ok((heard, _)) => return (running, heard),
                Err(_) if began.elapsed() < START => std::thread::sleep(LOOK),
                Err(_) => panic!("it does not start\n{}", running.console().tail()),
            }
        }
    }
}

/// Has it start anew in order; the machine ends where it would begin again.
pub(crate) fn restart(running: Running, mut heard: TcpStream) {
    heard.write_all(b"systemctl reboot\n").unwrap();
    let tail = running.console().tail();
    running.wait_end(END).unwrap_or_else(|error| panic!("{error}\n{tail}"));
}
