//! Who asks Azure and reads what it answers, taken over: it reaches the ports that its keeper named, no key, no file, no program; and
//! whoever keeps the keys does not ask anybody himself.

use core::time::Duration;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch};
use tests::fault_proxy::{Action, FOREVER, FaultProxy, Rule};
use tests::ingesting::Appliance;
use tests::paired::Paired;
use tests::program::lifeboat;
use tests::scripted_agent::ScriptedAgent;
use tests::serving::SPOOL_BYTES;

const DISK: usize = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// What is tried from inside of its jail, where these ports were named. `errno 0` is that nothing stopped it.
fn tried(ports: &str, what: &str) -> String {
    let mut command = Command::new(lifeboat());
    command.args(["service", "courier"]);
    command.args(rustix::process::geteuid().is_root().then_some("strict"));
    let output = command.args(["connects", ports, "attempt", what]).output().expect("it starts");
    match output.status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    }
}

/// Seen: where the list of ports is not handed over the named one is refused too (errno 13), and where the other one is on it nothing
/// of ours stops that: it is the list that lets in and keeps out. Not seen yet: the same with Landlock taken out of `Jail::enter`.
#[test]
fn a_courier_reaches_the_ports_that_were_named_and_neither_keys_nor_files_nor_programs() {
    let scratch = Scratch::new("courier-reaches").unwrap();
    let key = scratch.path().join("vault.key");
    fs::write(&key, b"secret").unwrap();
    let [named, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [to, beside] = [&named, &other].map(|neighbour| neighbour.local_addr().unwrap());
    let ports = format!("53,{}", to.port());
    assert_eq!(tried(&ports, "nothing"), "errno 0", "the jail stands in the way of nothing");
    assert_eq!(tried(&ports, &format!("connect {to}")), "errno 0", "that is what it is for");
    assert_eq!(tried(&ports, &format!("connect {beside}")), "errno 13", "a port beside");
    let key = key.display();
    for what in [
        &format!("read {key}"),
        &format!("write {key}"),
        &format!("make {key}.new"),
        &format!("late-connect {beside}"),
        &format!("late-message {beside}"),
        "read /proc/1/mem",
        "read /etc/resolv.conf",
        "bind 127.0.0.1:0",
        "datagram 127.0.0.1:0",
        "unix",
        "netlink",
        "packet",
        "trace",
        "read-other",
        "fork",
        "exec",
        "memory-file",
        "runnable-page",
        "made-runnable",
    ] {
        assert_eq!(tried(&ports, what), "signal 31", "{what}");
    }
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "somebody came");
}

/// The courier of this process, by its command line.
fn courier_of(serve: u32) -> Option<Pid> {
    couriers_of(serve).first().copied()
}

/// The same with those that others took the place of.
fn couriers_of(serve: u32) -> Vec<Pid> {
    let found = fs::read_dir("/proc").expect("processes").flatten().filter_map(|entry| {
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?;
        let is_it = words.windows(17).any(|words| words == b"\0service\0courier\0");
        let is_child = parent.parse() == Ok(serve) && !status.contains("State:\tZ");
        (is_it && is_child).then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    });
    found.filter_map(Pid::from_raw).collect()
}

fn await_courier(serve: u32, not: Option<Pid>) -> Pid {
    let began = Instant::now();
    loop {
        match courier_of(serve) {
            Some(courier) if Some(courier) != not => return courier,
            _ => assert!(began.elapsed() < PATIENCE, "there is no courier beside serve"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sockets of IP of a process that are connected to this port.
fn connections(process: u32, port: u16) -> usize {
    let mut inodes = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(|row| {
            let mut words = row.split_whitespace();
            let remote = words.nth(2)?;
            let is_there = remote.ends_with(&format!(":{port:04X}"));
            is_there.then(|| words.nth(6).map(|inode| format!("socket:[{inode}]"))).flatten()
        }));
    }
    let files = fs::read_dir(format!("/proc/{process}/fd")).expect("its files").flatten();
    let open = files.filter_map(|file| fs::read_link(file.path()).ok());
    open.filter(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str())).count()
}

/// That a process which asks by itself is seen to do so is shown below, by the verb that a person types. Not taken away yet to see it
/// fail: that another courier is begun (`Courier::lose`).
#[test]
fn a_courier_that_is_killed_while_it_carries_costs_no_point_and_the_keeper_asks_nobody_himself() {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let proxy = FaultProxy::start(azurite.port()).unwrap();
    let endpoint = format!("http://{}/{ACCOUNT}", proxy.authority());
    let port: u16 = proxy.authority().rsplit_once(':').unwrap().1.parse().unwrap();
    let vault = format!("azure://{ACCOUNT}/courier?endpoint={endpoint}");
    let key = ("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned());
    let scratch = Scratch::new("courier-killed").unwrap();
    let mut appliance = Appliance::of(scratch, vault, &[key], Some(SPOOL_BYTES));
    appliance.start();
    let serve = appliance.pid();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, 5).unwrap();
    agent.connect_patiently();
    agent.write_some(40);
    let first = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= first);
    let mut courier = await_courier(serve, None);
    assert_eq!(connections(serve, port), 0, "who keeps the keys asks by himself");
    // What is created takes its time: it is killed while it carries that, a body half sent or an answer awaited.
    for signal in [Signal::KILL, Signal::ABORT, Signal::KILL] {
        let slow = Rule::new("PUT", "", FOREVER, Action::Delay(Duration::from_millis(1500)));
        proxy.set_rules(vec![slow]);
        agent.write_some(60);
        let epoch = agent.cut();
        agent.work_until("a slow request", |_| proxy.count("delay") > 0);
        kill_process(courier, signal).unwrap();
        proxy.set_rules(Vec::new());
        agent.work_until("the point", |agent| agent.vaulted >= epoch);
        courier = await_courier(serve, Some(courier));
    }
    assert_eq!((appliance.pid(), connections(serve, port)), (serve, 0));
    appliance.check_newest(&agent);
    appliance.verify();
    appliance.stop();
}

/// The verb that a person types has none, and is seen to ask by itself: so is one without `courier::keep` in `program::run`.
#[test]
fn a_verb_that_this_program_runs_has_a_courier_too() {
    if !rustix::process::geteuid().is_root() {
        println!("only root sees the files of another user");
        return;
    }
    let scratch = Scratch::new("courier-job").unwrap();
    for is_job in [true, false] {
        let nobody_answers = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = nobody_answers.local_addr().unwrap().port();
        let vault = format!("azure://{ACCOUNT}/job?endpoint=http://127.0.0.1:{port}/{ACCOUNT}");
        let mut command = Command::new(lifeboat());
        if is_job {
            command.arg0("/proc/self/exe");
        }
        command.args(["vault", "create", &vault, "--key-out"]).arg(scratch.path().join("key"));
        command.env("AZURE_STORAGE_KEY", KEY).stdout(Stdio::null()).stderr(Stdio::null());
        let mut verb = command.spawn().unwrap();
        let _asked = nobody_answers.accept().unwrap();
        let (own, courier) = (connections(verb.id(), port), courier_of(verb.id()));
        let of_courier = courier.map(|courier| {
            let process = u32::try_from(courier.as_raw_nonzero().get()).unwrap();
            connections(process, port)
        });
        verb.kill().unwrap();
        verb.wait().unwrap();
        assert_eq!((own, of_courier), if is_job { (0, Some(1)) } else { (1, None) });
    }
}

/// How many connections to this port serve has by itself, and how many its couriers have: for a port that was not named there is another.
fn whose(serve: u32, port: u16) -> (usize, usize) {
    let of_courier = |courier: Pid| {
        let process = u32::try_from(courier.as_raw_nonzero().get()).unwrap();
        connections(process, port)
    };
    (connections(serve, port), couriers_of(serve).into_iter().map(of_courier).sum())
}

/// Seen to fail, with one connection of serve itself, where `errand::run` runs it in the process that asks.
#[test]
fn mail_and_syslog_are_spoken_by_the_courier_and_what_is_said_there_comes_back_cut_and_printable() {
    let scratch = Scratch::new("courier-mail").unwrap();
    let bed = Paired::new(scratch.path(), &[]);
    let serve = bed.serving.id();
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [mail, log] = listeners.each_ref().map(|it| it.local_addr().unwrap().port());
    let letter = json!({"kind": "mail", "host": format!("127.0.0.1:{mail}"), "tls": "none", "from": "box@example.com", "to": ["a@example.com"]});
    let record = json!({"kind": "syslog", "host": format!("127.0.0.1:{log}"), "by": "tcp"});
    let channels =
        json!({"channels": [{"name": "mail", "way": letter}, {"name": "log", "way": record}]});
    bed.curl.change("PUT", "/alerts", &channels);
    let tests = std::thread::scope(|scope| {
        let asked = scope.spawn(|| bed.curl.change("POST", "/alerts/test", &json!({})));
        let accepted = |listener: &TcpListener| listener.accept().unwrap().0;
        let [mut mails, mut logs]: [TcpStream; 2] = listeners.each_ref().map(accepted);
        assert_eq!(whose(serve, mail), (0, 1), "who speaks SMTP");
        assert_eq!(whose(serve, log), (0, 1), "who speaks syslog");
        let mut heard = Vec::new();
        logs.read_to_end(&mut heard).unwrap();
        assert!(String::from_utf8_lossy(&heard).contains("this is a test"));
        drop(logs);
        let long = "x".repeat(900);
        mails.write_all(format!("554 \x1b[2J{long}\r\n").as_bytes()).unwrap();
        asked.join().unwrap()
    });
    let words = tests[0]["words"].as_str().unwrap();
    assert!(tests[0]["taken"] == false && words.contains("554 \u{FFFD}[2Jxxx"), "{words}");
    assert!(words.len() < 600 && !words.chars().any(char::is_control), "{words}");
    assert_eq!(tests[1]["taken"], true, "{tests}");
}
