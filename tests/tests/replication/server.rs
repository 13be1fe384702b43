//! A Debian with the agent in it, and something that writes at random and kills the agent from time to time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qemu::{Disk, Gateway, Machine, Nic, Running};
use tests::azurite::run;
use tests::debian::debian_disk;
use tests::media::copy_disk;
use tests::program::built;

/// Where its root file system begins, as `debian_disk` makes it.
const ROOT_AT: u64 = 49 << 20;

const AGENT: &str = "[Unit]\nAfter=network-online.target local-fs.target\nStartLimitIntervalSec=0\n[Service]\n\
    Environment=LIFEBOAT_TEST=1\nExecStartPre=/bin/sh -c 'test -e /var/lib/lifeboat-agent/enrolment || \
    /usr/local/sbin/lifeboat-agent enrol $(cat /etc/lifeboat-token)'\n\
    ExecStart=/usr/local/sbin/lifeboat-agent run\nRestart=always\nRestartSec=1\nStandardError=journal+console\n";
const LOAD: &str = "#!/bin/bash\nmkdir -p /srv/load && cd /srv/load || exit 1\nwhile :; do\n  f=f$((RANDOM % 24))\n  \
    case $((RANDOM % 5)) in\n  0) dd if=/dev/urandom of=$f bs=4k count=$((1 + RANDOM % 16)) seek=$((RANDOM % 64)) \
    conv=notrunc status=none ;;\n  1) dd if=/dev/urandom of=$f bs=64k count=1 oflag=dsync conv=notrunc status=none ;;\n  \
    2) rm -f $f ;;\n  3) sync -f . ;;\n  4) sleep 0.2 ;;\n  esac\ndone\n";
const LOAD_UNIT: &str = "[Service]\nExecStart=/usr/local/sbin/load\nRestart=always\n";
const KILLER_UNIT: &str = "[Service]\nExecStart=/bin/bash -c 'while :; do sleep $((150 + RANDOM % 90)); \
    systemctl kill -s KILL lifeboat-agent; done'\n";
const NETWORK: &str = "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nLinkLocalAddressing=no\n";

/// The server.
pub(crate) struct Server {
    disk: PathBuf,
}

impl Server {
    /// With this token, on a disk in this folder.
    pub(crate) fn make(folder: &Path, token: &str) -> Self {
        let disk = folder.join("server.img");
        copy_disk(&debian_disk().unwrap_or_else(|error| panic!("{error}")), &disk);
        let systemd = "/etc/systemd/system";
        let agent = fs::read(built("lifeboat-agent")).unwrap();
        let agent_file = folder.join("lifeboat-agent");
        fs::write(&agent_file, agent).unwrap();
        run(Command::new("strip").arg(&agent_file)).unwrap();
        let stripped = fs::read(&agent_file).unwrap();
        let files: [(&str, &[u8], u32); 7] = [
            ("/usr/local/sbin/lifeboat-agent", &stripped, 0o755),
            ("/usr/local/sbin/load", LOAD.as_bytes(), 0o755),
            ("/etc/lifeboat-token", token.as_bytes(), 0o600),
            ("/etc/systemd/network/all.network", NETWORK.as_bytes(), 0o644),
            ("/etc/systemd/system/lifeboat-agent.service", AGENT.as_bytes(), 0o644),
            ("/etc/systemd/system/load.service", LOAD_UNIT.as_bytes(), 0o644),
            ("/etc/systemd/system/killer.service", KILLER_UNIT.as_bytes(), 0o644),
        ];
        let mut script = String::new();
        for (number, (path, content, mode)) in files.iter().enumerate() {
            let source = folder.join(format!("put{number}"));
            fs::write(&source, content).unwrap();
            script += &format!("write {} {path}\nsif {path} mode 0100{mode:o}\n", source.display());
        }
        let wants = format!("{systemd}/multi-user.target.wants");
        for unit in ["lifeboat-agent", "load", "killer"] {
            script += &format!("symlink {wants}/{unit}.service ../{unit}.service\n");
        }
        script += &format!(
            "symlink {wants}/systemd-networkd.service /lib/systemd/system/systemd-networkd.service\n"
        );
        // Nobody else reads the serial line.
        script += &format!("symlink {systemd}/serial-getty@ttyS0.service /dev/null\n");
        let commands = folder.join("commands");
        fs::write(&commands, script).unwrap();
        let root = format!("{}?offset={ROOT_AT}", disk.display());
        run(Command::new("debugfs").args(["-w", "-f"]).arg(&commands).arg(root)).unwrap();
        Self { disk }
    }

    pub(crate) fn disk(&self) -> &Path {
        &self.disk
    }

    pub(crate) fn boot(&self) -> Running {
        self.boot_with(&[])
    }

    /// With these disks beside its own.
    pub(crate) fn boot_with(&self, disks: &[&Path]) -> Running {
        let machine = Machine::uefi().disk(Disk::new(&self.disk).boot_order(0)).memory_mib(512);
        let machine = machine.nic(Nic::new().gateway(Gateway::default()));
        let machine = disks.iter().fold(machine, |machine, disk| machine.disk(Disk::new(disk)));
        machine.lifetime(core::time::Duration::from_secs(3600)).start().unwrap()
    }
}
