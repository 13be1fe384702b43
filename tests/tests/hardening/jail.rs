//! A service that somebody took over reaches neither keys nor disks nor other processes nor the network, and the machine around
//! it takes nothing to be run.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hal_linux::jail::attempt::{OF_A_SERVICE, OVER_ITS_SOCKETS};
use qemu::{Disk, Event, Nic, Running};
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tests::appliance::{ANSWER, await_ready, event_at_any_time, medium, phase, phase_words, start};
use tests::azurite::Scratch;
use tests::lan::{Dnsmasq, answers, inside, tap, until};
use tests::program::lifeboat;

/// By it the kernel ends who makes a system call that is on no list of his.
const SIGSYS: i32 = 31;
/// Each service, and what it is ended for besides: whose calls are over sockets that it was handed speaks by those alone.
const SERVICES: [(&str, &[&str]); 5] = [
    ("door", &[]),
    ("agents", &[]),
    ("clock", &OVER_ITS_SOCKETS),
    ("network", &OVER_ITS_SOCKETS),
    ("courier", &[]),
];
/// Who connects to others is refused, with EACCES by Landlock, ports that were not named; for any other call he is ended too.
const REFUSED_TO_THE_COURIER: (&str, i32) = ("connect 127.0.0.1:443", 13);
/// What the time server of the test is ahead.
const HOUR: Duration = Duration::from_secs(3600);
/// Longest wait for a door that was ended to be there again.
const AGAIN: Duration = Duration::from_secs(30);

/// By which errno a service is refused what it is not ended for.
fn refused(service: &str, what: &str) -> Option<i32> {
    let (refused, errno) = REFUSED_TO_THE_COURIER;
    (service == "courier" && what == refused).then_some(errno)
}

fn is_root() -> bool {
    let said = Command::new("id").arg("-u").output().unwrap();
    said.stdout == b"0\n"
}

#[test]
fn a_service_that_was_taken_over_is_ended_for_what_it_has_no_use_for() {
    let try_it = |service: &str, what: &str| {
        let mut command = Command::new(lifeboat());
        command.args(["service", service]).args(is_root().then_some("strict"));
        command.args(["attempt", what]).stdin(Stdio::null()).output().unwrap()
    };
    for (service, more) in SERVICES {
        let nothing = try_it(service, "nothing");
        let said = String::from_utf8_lossy(&nothing.stdout);
        assert_eq!(said.trim(), "errno 0", "{}", String::from_utf8_lossy(&nothing.stderr));
        for what in OF_A_SERVICE.iter().chain(more) {
            let tried = try_it(service, what);
            let said = String::from_utf8_lossy(&tried.stdout);
            match refused(service, what) {
                Some(errno) => {
                    assert_eq!(said.trim(), format!("errno {errno}"), "{service}, {what}")
                }
                None => {
                    assert_eq!(tried.status.signal(), Some(SIGSYS), "{service}, {what}: {said}");
                }
            }
        }
    }
}

/// `lifeboat serve`, and its end.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(scratch: &Scratch) -> Self {
        // As from a shell that left a file open.
        let left = fs::File::create(scratch.path().join("left-open")).unwrap();
        rustix::io::fcntl_setfd(&left, rustix::io::FdFlags::empty()).unwrap();
        let mut command = Command::new(lifeboat());
        command.args(["serve", "--listen", "127.0.0.1:0", "--state"]).arg(scratch.path());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            line.strip_prefix("Serving https://")?.trim_end_matches('/').parse().ok()
        });
        // What is said later nobody reads; the pipe is kept open.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("serve says where") }
    }

    /// The process of the service.
    fn door(&self) -> Option<u32> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let told = threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let told = told.collect::<Vec<_>>().join(" ");
        let mut children = told.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
        children.find(|child| {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.windows(12).any(|part| part == b"service\0door")
        })
    }

    fn is_healthy(&self) -> bool {
        let url = format!("https://{}/status.json", self.address);
        let mut curl = Command::new("curl");
        let said = curl.args(["-sk", "-m", "10", &url]).output().unwrap();
        said.status.success() && said.stdout.starts_with(b"{")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of /proc/PID/status.
fn field(process: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_door_is_nobody_holds_nothing_and_is_back_when_it_falls() {
    let scratch = Scratch::new("door").unwrap();
    let served = Served::start(&scratch);
    until("the page", AGAIN, || served.is_healthy());
    let door = served.door().expect("a process of its own");
    // What the kernel says of it; each line is one step of `Jail::enter`.
    assert_eq!(field(door, "NoNewPrivs"), "1");
    assert_eq!(field(door, "Seccomp"), "2");
    for sets in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(door, sets), "0000000000000000", "{sets}");
    }
    if is_root() {
        assert_eq!(field(door, "Uid"), "61001 61001 61001 61001");
        assert_eq!(field(door, "Gid"), "61001 61001 61001 61001");
        assert_eq!(
            (field(door, "Groups").as_str(), field(door, "CapBnd").as_str()),
            ("", "0000000000000000")
        );
        for entry in fs::read_dir(format!("/proc/{door}/fd")).unwrap() {
            let to = fs::read_link(entry.unwrap().path()).unwrap();
            let to = to.to_string_lossy().into_owned();
            let fine = ["socket:", "pipe:", "anon_inode:", "/dev/null"];
            assert!(fine.iter().any(|start| to.starts_with(start)), "an open file: {to}");
        }
    }
    let limits = fs::read_to_string(format!("/proc/{door}/limits")).unwrap();
    assert!(
        limits.lines().any(|line| line.starts_with("Max core file size        0 ")),
        "{limits}"
    );
    // Whoever brings it down has brought down the door alone, and not for long; nor has who shuts what it listens at.
    if is_root() {
        shut_what_listens(door);
        assert!(!served.is_healthy(), "nothing was shut");
    }
    let end = Command::new("kill").args(["-ABRT", &door.to_string()]).status().unwrap();
    assert!(end.success());
    until("another door", AGAIN, || {
        served.door().is_some_and(|again| again != door) && served.is_healthy()
    });
}

/// Ends the socket at which a process listens, for everybody who holds it.
fn shut_what_listens(process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).unwrap();
    let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
    let files = (3..32).filter_map(|number| {
        let file = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
        (socket_acceptconn(&file) == Ok(true)).then_some(file)
    });
    let files: Vec<_> = files.collect();
    assert_eq!(files.len(), 1);
    shutdown(&files[0], Shutdown::Both).unwrap();
}

/// What came of an attempt.
fn came<'a>(events: &'a [Event], who: &str, what: &str) -> &'a str {
    let mut tried = events.iter().filter(|event| event.name == "attempt");
    let tried =
        tried.find(|event| event.field("who") == Some(who) && event.field("what") == Some(what));
    tried.and_then(|event| event.field("came")).unwrap_or("was not tried")
}

#[test]
fn the_machine_around_is_shut_too() {
    if !inside("jail::the_machine_around_is_shut_too") {
        return;
    }
    let scratch = Scratch::new("shut").unwrap();
    tap("tap0", &["10.9.0.1/24"]);
    let _dhcp = Dnsmasq::start(&[
        "--interface=tap0",
        "--dhcp-range=10.9.0.50,10.9.0.50,1h",
        "--dhcp-option=option:ntp-server,10.9.0.1",
    ]);
    let time = UdpSocket::bind("10.9.0.1:123").unwrap();
    std::thread::spawn(move || tell_time(&time, HOUR));
    let stick = medium(scratch.path(), "role = \"appliance\"\n[hardening]\nlock-modules = true\n");
    let running = start("lifeboat.exercise=jail", |machine| {
        let nic = Nic::new().tap("tap0");
        machine.disk(Disk::new(stick)).nic(nic).headless()
    });
    let events = await_ready(&running);
    for name in ["root", "switches"] {
        // Each switch was read back.
        assert_eq!(phase(&events, name), Some("done"), "{}", phase_words(&events, name));
    }
    event_at_any_time(&running, "tried", |_| true);
    let events = running.console().events();
    // As root of the whole machine, but in its jail.
    for (service, more) in SERVICES {
        assert_eq!(came(&events, service, "nothing"), "errno 0", "{service}");
        for what in OF_A_SERVICE.iter().chain(more) {
            let came = came(&events, service, what);
            let refused = refused(service, what).map(|errno| format!("errno {errno}"));
            let expected = refused.unwrap_or_else(|| format!("signal {SIGSYS}"));
            assert_eq!(came, expected, "{service}, {what}");
        }
    }
    services_have_their_limits_and_do_their_work(&running);
    // EROFS, and EACCES for what is run.
    for what in ["make /made", "make /etc/made", "write /etc/lifeboat/version"] {
        assert_eq!(came(&events, "first", what), "errno 30", "{what}");
    }
    // ETXTBSY: it runs.
    assert_eq!(came(&events, "first", "write /init"), "errno 26");
    assert_eq!(came(&events, "first", "run /proc/self/exe"), "errno 13");
    assert_eq!(came(&events, "first", "run /init"), "errno 0", "this program alone is run");
    let cores = events.iter().find(|event| event.name == "cores").unwrap();
    assert_eq!(cores.field("most"), Some("0"), "{cores:?}");
    let trigger = events.iter().find(|event| event.name == "trigger").unwrap();
    assert_eq!(trigger.field("covered"), Some("true"), "the kernel's emergency keys: {trigger:?}");
    only_documented_ports_are_open(&events);
    // Without [hardening] nothing is said, and drivers are loaded for ever.
    let locked = event_at_any_time(&running, "locked", |_| true);
    assert_eq!(locked.field("modules"), Some("true"), "{locked:?}");
}

/// Answers questions of SNTP with a time that is so much later than ours.
fn tell_time(socket: &UdpSocket, later: Duration) {
    let mut question = [0; 48];
    while let Ok((48, from)) = socket.recv_from(&mut question) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let mut answer = [0; 48];
        // A server of version 4, one step from a clock.
        (answer[0], answer[1]) = (0x24, 1);
        answer[24..32].copy_from_slice(&question[40..48]);
        let seconds = u32::try_from((now + later).as_secs() + 2_208_988_800).unwrap();
        for at in [32, 40] {
            answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
        }
        socket.send_to(&answer, from).unwrap();
    }
}

/// What a service of the network does is done, from its jail; and one that fell is back.
fn services_have_their_limits_and_do_their_work(running: &Running) {
    let events = running.console().events();
    for (who, memory) in [("door", 96 << 20), ("network", 32 << 20), ("clock", 32 << 20)] {
        let is_his = |event: &&Event| event.name == "group" && event.field("who") == Some(who);
        let group = events.iter().find(is_his).unwrap();
        let limits = (group.number("memory"), group.number("tasks"));
        assert_eq!(limits, (Some(memory), Some(8)), "{group:?}");
        // Who asks time servers is gone when that is done.
        let inside = group.number("inside") >= Some(1);
        assert!(inside || who == "clock", "the service itself is in its group: {group:?}");
    }
    let ended = events.iter().find(|event| event.name == "ended").unwrap();
    let processes = [ended.number("was"), ended.number("is")];
    assert!(processes.iter().all(Option::is_some) && processes[0] != processes[1], "{ended:?}");
    let set = event_at_any_time(running, "clock", |_| true);
    let offset = set.field("offset").and_then(|offset| offset.parse::<i64>().ok()).unwrap();
    assert_eq!(set.field("server"), Some("10.9.0.1"));
    assert!(
        offset.abs_diff(3_600_000) < 60_000,
        "an hour, and what the machine's clock is off: {set:?}"
    );
}

/// From outside, ports that a service usually has; from inside, all that the kernel lists.
fn only_documented_ports_are_open(events: &[Event]) {
    let address = "10.9.0.50".parse().unwrap();
    until("the machine on its link", ANSWER, || answers(address));
    let until_open = Instant::now() + ANSWER;
    let wait = Duration::from_millis(2000);
    let is_open = |port| TcpStream::connect_timeout(&SocketAddr::new(address, port), wait).is_ok();
    while !is_open(443) {
        assert!(Instant::now() < until_open, "the page does not come");
    }
    let usual = [
        2049, 2222, 2375, 3000, 3128, 3260, 3306, 3389, 5000, 5432, 5900, 5985, 6443, 8000, 8080,
        8443, 8888,
    ];
    let others = [9000, 9090, 9100, 9443, 10_809];
    let ports = (1..=1024).chain(usual).chain(others);
    let open: Vec<u16> = ports.filter(|port| is_open(*port)).collect();
    assert_eq!(open, [443]);
    for (kind, allowed) in
        [("tcp", &["", "443"][..]), ("tcp6", &["", "443"]), ("raw", &[""]), ("raw6", &["", "58"])]
    {
        let told = events.iter().find(|event| event.field("kind") == Some(kind));
        let ports = told.and_then(|event| event.field("ports")).unwrap_or_default();
        assert!(allowed.contains(&ports), "{kind}: {ports}");
    }
}
