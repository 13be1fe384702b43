//! A Debian that works: an application that tells this host what it keeps, beside something that writes at random; the agent,
//! and the hook that stops the application.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use qemu::{Disk, Gateway, Machine, Nic, Running};
use tests::debian::{Put, agent, dressed};

/// What it calls itself.
pub(crate) const NAME: &str = "debian";
const LIFETIME: Duration = Duration::from_secs(3600);
/// A drain, translated, beside others.
const END: Duration = Duration::from_secs(300);

const AGENT: &str = "[Unit]\nAfter=network-online.target local-fs.target\nStartLimitIntervalSec=0\n[Service]\n\
    ExecStartPre=/bin/sh -c 'test -e /var/lib/lifeboat-agent/enrolment || \
    /usr/local/sbin/lifeboat-agent enrol $(cat /etc/lifeboat-token)'\n\
    ExecStart=/usr/local/sbin/lifeboat-agent run\nRestart=always\nRestartSec=1\nKillMode=process\n\
    StandardError=journal+console\n";
/// Counts, and tells each number once it is kept.
const APP: &str = "#!/bin/bash\ncd /srv || exit 1\nexec 3<>/dev/tcp/10.0.2.2/PORT || exit 1\nn=$(cat last || echo 0)\n\
    while :; do\n  n=$((n + 1)); echo $n >next && sync next && mv next last && sync . || exit 1\n  echo $n >&3\n  sleep 0.1\ndone\n";
const APP_UNIT: &str = "[Unit]\nAfter=says-last.service network-online.target\nStartLimitIntervalSec=0\n[Service]\n\
    ExecStart=/usr/local/sbin/app\nRestart=always\nRestartSec=1\n";
const HOOK: &str = "#!/bin/sh\ncase $1 in stop|start) exec systemctl $1 app ;; esac\n";
/// Says what it holds when it starts, before it goes on.
const SAYS_LAST: &str = "[Unit]\nAfter=local-fs.target\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'test ! -e /srv/last || \
    echo \"@lifeboat app last=$(cat /srv/last) root=$(findmnt -no SOURCE /)\" >/dev/ttyS0'\n";
/// Nobody stops it: it fails once everything is read-only.
const LOAD: &str = "#!/bin/bash\nmkdir -p /srv/load && cd /srv/load || exit 1\nwhile :; do\n  f=f$((RANDOM % 24))\n  \
    dd if=/dev/urandom of=$f bs=4k count=$((1 + RANDOM % 16)) seek=$((RANDOM % 64)) conv=notrunc status=none\n  \
    [ $((RANDOM % 4)) != 0 ] || sync -f .\n  sleep 0.3\ndone\n";
const LOAD_UNIT: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/usr/local/sbin/load\nRestart=always\nRestartSec=1\n";

/// The server.
pub(crate) struct Server {
    disk: PathBuf,
    acknowledged: Arc<AtomicU64>,
    running: Option<Running>,
}

impl Server {
    /// With this token, on a disk in this folder.
    pub(crate) fn make(folder: &Path, token: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        let disk = folder.join("server.img");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = APP.replace("PORT", &listener.local_addr().unwrap().port().to_string());
        let agent = agent().unwrap_or_else(|error| panic!("{error}"));
        let files: [Put<'_>; 5] = [
            ("/usr/local/sbin/lifeboat-agent", &agent, 0o755),
            ("/usr/local/sbin/app", app.as_bytes(), 0o755),
            ("/usr/local/sbin/load", LOAD.as_bytes(), 0o755),
            ("/etc/lifeboat/hooks.d/app", HOOK.as_bytes(), 0o755),
            ("/etc/lifeboat-token", token.as_bytes(), 0o600),
        ];
        let services = [
            ("lifeboat-agent", AGENT),
            ("app", APP_UNIT),
            ("says-last", SAYS_LAST),
            ("load", LOAD_UNIT),
        ];
        dressed(&disk, &files, &services).unwrap_or_else(|error| panic!("{error}"));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&acknowledged);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::clone(&heard);
                thread::spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        heard.fetch_max(line.trim().parse().unwrap_or(0), Ordering::SeqCst);
                    }
                });
            }
        });
        Self { disk, acknowledged, running: None }
    }

    pub(crate) fn boot(&mut self) {
        let machine = Machine::uefi().disk(Disk::new(&self.disk).boot_order(0)).memory_mib(512);
        let machine = machine.nic(Nic::new().gateway(Gateway::default()));
        self.running = Some(machine.lifetime(LIFETIME).start().unwrap());
    }

    pub(crate) fn disk(&self) -> &Path {
        &self.disk
    }

    /// The last number that its application was told is kept.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The end of what it said.
    pub(crate) fn console(&self) -> String {
        self.running.as_ref().map_or_else(String::new, |running| running.console().tail())
    }

    /// It switches itself off.
    pub(crate) fn ends_by_itself(&mut self) {
        let running = self.running.take().unwrap();
        let tail = running.console().tail();
        running.wait_end(END).unwrap_or_else(|error| panic!("{error}\n{tail}"));
    }
}
