//! What somebody would try who took a service over, tried from inside of its jail; and whether the machine around it is shut.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hal_linux::jail::attempt::{OF_A_SERVICE, OVER_ITS_SOCKETS, attempt};
use hal_linux::jail::{Calls, cgroup};
use rustix::process::{Pid, Signal, kill_process};

use super::super::Appliance;
use super::super::mounts::TRIGGER;
use super::super::page::KEEPER;
use super::super::processes::Owned;
use crate::services::{ALL, CLOCK, COURIER, NETWORK, attempted};

/// Tried by the first process itself, as root with everything that root may.
const BY_THE_FIRST: [&str; 5] =
    ["make /made", "make /etc/made", "write /init", "write /etc/lifeboat/version", "module"];
/// Where the kernel lists sockets.
const TABLES: [&str; 7] = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"];

/// Tries it all, and tells what came of each.
pub(super) fn try_all(appliance: &Appliance) -> Result<(), String> {
    let tell = |who: &str, what: &str, came: &str| {
        appliance.events.say("attempt", &[("who", &who), ("what", &what), ("came", &came)]);
    };
    for service in &ALL {
        let over_its_sockets = OVER_ITS_SOCKETS.into_iter();
        let over_its_sockets =
            over_its_sockets.filter(|_| service.jail.calls.contains(&Calls::Datagrams));
        // What must come through is tried too, or the rest says nothing.
        for what in ["nothing"].into_iter().chain(OF_A_SERVICE).chain(over_its_sockets) {
            tell(service.name, what, &attempted(service, &KEEPER, what)?);
        }
        let group = Path::new(cgroup::ROOT).join(service.name);
        let read = |name| fs::read_to_string(group.join(name)).unwrap_or_default();
        // The service itself may only be on its way. Who asks time servers is gone when that is done, and who asks others is not
        // there before that is wanted.
        if ![CLOCK.name, COURIER.name].contains(&service.name) {
            await_other(service.name, "");
        }
        let (memory, tasks, inside) = (read("memory.max"), read("pids.max"), read("cgroup.procs"));
        appliance.events.say(
            "group",
            &[
                ("who", &service.name),
                ("memory", &memory.trim()),
                ("tasks", &tasks.trim()),
                ("inside", &inside.lines().count()),
            ],
        );
    }
    let (before, after) = end(NETWORK.name);
    appliance.events.say("ended", &[("who", &NETWORK.name), ("was", &before), ("is", &after)]);
    for what in BY_THE_FIRST {
        let came = attempt(what).map_or_else(String::new, |errno| format!("errno {errno}"));
        tell("first", what, &came);
    }
    // Its own file is only a program where that is mounted over itself: not by the way on which the kernel started it.
    for program in ["/proc/self/exe", image_layout::initrd::INIT] {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        let run = Owned::start(&mut command).and_then(|mut child| child.0.wait());
        let errno = run.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0);
        tell("first", &format!("run {program}"), &format!("errno {errno}"));
    }
    for table in TABLES {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        appliance.events.say("sockets", &[("kind", &table), ("ports", &listening(table, &text))]);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core = core.unwrap_or_default().split_whitespace().nth(4).unwrap_or_default().to_owned();
    appliance.events.say("cores", &[("most", &core)]);
    let is_covered = fs::metadata(TRIGGER).is_ok_and(|facts| facts.file_type().is_char_device());
    appliance.events.say("trigger", &[("covered", &is_covered)]);
    appliance.events.say("tried", &[]);
    Ok(())
}

/// The processes of a service, once they are others; or the same, where no others come.
fn await_other(service: &str, before: &str) -> String {
    let list = Path::new(cgroup::ROOT).join(service).join("cgroup.procs");
    let until = Instant::now() + super::PATIENCE;
    loop {
        let now = fs::read_to_string(&list).unwrap_or_default().trim().to_owned();
        if !now.is_empty() && now != before || Instant::now() > until {
            return now;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Ends a service; its process before, and the one that came after it.
fn end(service: &str) -> (String, String) {
    let before = await_other(service, "");
    if let Some(process) = before.parse().ok().and_then(Pid::from_raw) {
        // Where it is gone already, another one comes all the same.
        let _ = kill_process(process, Signal::ABORT);
    }
    let after = await_other(service, &before);
    (before, after)
}

/// Ports that are open to others: of TCP those that listen. Of sockets below IP how many there are.
fn listening(table: &str, text: &str) -> String {
    let rows = text.lines().skip(1);
    if table == "packet" {
        return rows.count().to_string();
    }
    let listens = rows.filter(|row| {
        let state = row.split_whitespace().nth(3).unwrap_or_default();
        !table.starts_with("tcp") || state == "0A"
    });
    let port = |row: &str| {
        let local = row.split_whitespace().nth(1)?;
        u32::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
    };
    let mut ports: Vec<u32> = listens.filter_map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
