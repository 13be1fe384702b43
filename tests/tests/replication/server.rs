//! A Debian with the agent in it, and something that writes at random and kills the agent from time to time.

use std::path::{Path, PathBuf};

use qemu::{Disk, Gateway, Machine, Nic, Running};
use tests::debian::{Put, agent, dressed};

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

/// The server.
pub(crate) struct Server {
    disk: PathBuf,
}

impl Server {
    /// With this token, on a disk in this folder.
    pub(crate) fn make(folder: &Path, token: &str) -> Self {
        let disk = folder.join("server.img");
        let agent = agent().unwrap_or_else(|error| panic!("{error}"));
        let files: [Put<'_>; 3] = [
            ("/usr/local/sbin/lifeboat-agent", &agent, 0o755),
            ("/usr/local/sbin/load", LOAD.as_bytes(), 0o755),
            ("/etc/lifeboat-token", token.as_bytes(), 0o600),
        ];
        let services = [("lifeboat-agent", AGENT), ("load", LOAD_UNIT), ("killer", KILLER_UNIT)];
        dressed(&disk, &files, &services).unwrap_or_else(|error| panic!("{error}"));
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
