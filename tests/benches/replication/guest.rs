//! `lifeboat-agent run` on a real Debian with a disk of 1 TiB that is all holes: what memory it takes, as the kernel says.

use core::time::Duration;
use std::fs::File;
use std::path::Path;

use qemu::{Disk, Gateway, Machine, Nic};
use tests::debian::{Put, agent, dressed};
use tests::serving::BY_GUESTS;

use crate::appliance::Appliance;

const TIB: u64 = 1 << 40;
/// A machine that is translated, beside others, until it is up and has something to say.
const PATIENCE: Duration = Duration::from_secs(400);
/// What is said before this many bytes were compared or copied says nothing.
const LOOKS: usize = 12;

const AGENT: &str = "[Unit]\nAfter=network-online.target local-fs.target\n[Service]\nKillMode=process\n\
    ExecStartPre=/bin/sh -c 'test -e /var/lib/lifeboat-agent/enrolment || \
    /usr/local/sbin/lifeboat-agent enrol $(cat /etc/lifeboat-token)'\n\
    ExecStart=/usr/local/sbin/lifeboat-agent run\nRestart=always\nRestartSec=1\nStandardError=journal+console\n";
/// Kilobytes that are resident of the agent and of its dead-man, and bytes of all its maps in the kernel.
const TELLER: &str = "#!/bin/bash\nwhile sleep 5; do\n  p=$(systemctl show -P MainPID lifeboat-agent); [ $p -gt 0 ] || continue\n  \
    r=$(awk '/VmRSS/{print $2}' /proc/$p/status); d=0\n  \
    a=$(awk '/RssAnon/{print $2}' /proc/$p/status)\n  \
    for c in $(cat /proc/$p/task/*/children); do d=$(awk '/VmRSS/{print $2}' /proc/$c/status); done\n  \
    maps=$(cat /proc/$p/fdinfo/* 2>/dev/null | \
    awk '/^memlock:/{m=$2} /^map_id:/{b[$2]=m} END{for(i in b) s+=b[i]; print s+0}')\n  \
    echo \"@lifeboat memory resident=$r private=$a dead_man=$d maps=$maps\" >/dev/ttyS0\ndone\n";
const TELLER_UNIT: &str = "[Service]\nExecStart=/usr/local/sbin/teller\nRestart=always\n";

/// What was found, in kibibytes.
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) dead_man: u64,
    pub(crate) maps: u64,
}

/// Boots it, and listens for a while after its first copy began.
pub(crate) fn measure(folder: &Path) -> Result<Memory, String> {
    let words = |error: &dyn core::fmt::Display| error.to_string();
    let appliance = Appliance::start(folder, BY_GUESTS);
    let system = folder.join("server.img");
    dress(&system, &appliance.token())?;
    let large = folder.join("large.img");
    File::create(&large).and_then(|file| file.set_len(TIB)).map_err(|error| words(&error))?;
    let machine = Machine::uefi().disk(Disk::new(&system).boot_order(0)).disk(Disk::new(&large));
    let machine = machine.nic(Nic::new().gateway(Gateway::default())).memory_mib(768);
    let running = machine.lifetime(PATIENCE * 3).start().map_err(|error| words(&error))?;
    let mut found = Memory { resident: 0, dead_man: 0, maps: 0 };
    for look in 0..LOOKS {
        let event = running.console().event("memory", PATIENCE).map_err(|error| words(&error))?;
        println!("look {look}: {:?}", event.fields);
        let number = |name: &str| event.number(name).unwrap_or(0);
        found.resident = found.resident.max(number("resident"));
        found.dead_man = found.dead_man.max(number("dead_man"));
        found.maps = found.maps.max(number("maps") / 1024);
    }
    println!("{}", appliance.list());
    Ok(found)
}

fn dress(disk: &Path, token: &str) -> Result<(), String> {
    let agent = agent()?;
    let files: [Put<'_>; 3] = [
        ("/usr/local/sbin/lifeboat-agent", &agent, 0o755),
        ("/usr/local/sbin/teller", TELLER.as_bytes(), 0o755),
        ("/etc/lifeboat-token", token.as_bytes(), 0o600),
    ];
    dressed(disk, &files, &[("lifeboat-agent", AGENT), ("teller", TELLER_UNIT)])
}
