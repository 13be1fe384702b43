//! A process in a jail reaches what is on its lists and nothing else, as this machine's kernel sees it.
//!
//! Each attempt is made by a process of its own: this test's program once more.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hal_linux::jail::attempt::{OVER_ITS_SOCKETS, attempt};
use hal_linux::jail::{Calls, CapabilitySet, Jail};
use rustix::process::{Resource, Rlimit, setrlimit};

/// What the process inside tries; the folder and the two ports that are on its lists.
const TRY: &str = "LIFEBOAT_TEST_JAIL";
const SIGSYS: i32 = 31;
const EACCES: i32 = 13;

/// What comes of an attempt from inside: `Ok` with an errno, or `Err` with the signal that ended the process.
fn from_inside(what: &str, calls: &str, folder: &Path, ports: (u16, u16)) -> Result<i32, i32> {
    // What a service is handed: a socket that listens.
    let handed = TcpListener::bind("127.0.0.1:0").unwrap();
    with(handed.into(), what, calls, folder, ports)
}

/// The same with another socket.
fn with(
    handed: OwnedFd,
    what: &str,
    calls: &str,
    folder: &Path,
    ports: (u16, u16),
) -> Result<i32, i32> {
    let output = Command::new(std::env::current_exe().unwrap())
        .stdin(handed)
        .env(TRY, format!("{}\n{calls}\n{}\n{}\n{what}", folder.display(), ports.0, ports.1))
        .output()
        .unwrap();
    if let Some(signal) = output.status.signal() {
        return Err(signal);
    }
    let said = String::from_utf8(output.stdout).unwrap();
    let errno = said.lines().find_map(|line| line.strip_prefix("errno ")?.parse().ok());
    Ok(errno.unwrap_or_else(|| panic!("{what}: {said}{}", String::from_utf8_lossy(&output.stderr))))
}

/// The tests by name. They have no harness but this one: a jail is for a process with a single thread, and the usual harness
/// runs each test on another.
const TESTS: [(&str, fn()); 5] = [
    (
        "only_files_and_ports_of_the_lists_are_reached",
        only_files_and_ports_of_the_lists_are_reached,
    ),
    ("a_call_that_is_on_no_list_ends_the_process", a_call_that_is_on_no_list_ends_the_process),
    ("no_socket_that_was_handed_on_connects", no_socket_that_was_handed_on_connects),
    (
        "datagrams_go_where_their_socket_leads_and_nowhere_else",
        datagrams_go_where_their_socket_leads_and_nowhere_else,
    ),
    (
        "a_machine_that_allows_few_tasks_has_jails_too",
        a_machine_that_allows_few_tasks_has_jails_too,
    ),
];

fn main() {
    if let Ok(told) = std::env::var(TRY) {
        return inside(&told);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_said = |word: &str| words.iter().any(|said| said == word);
    if is_said("--ignored") {
        return;
    }
    for (name, test) in TESTS {
        if is_said("--list") {
            println!("{name}: test");
        } else if !is_said("--exact") || is_said(name) {
            println!("{name}");
            test();
        }
    }
}

fn inside(told: &str) {
    let told: Vec<&str> = told.split('\n').collect();
    let [folder, calls, connects, binds, what] = told[..] else { panic!("{told:?}") };
    let (reads, writes) = (Path::new(folder).join("read"), Path::new(folder).join("written"));
    let all = [Calls::Base, Calls::Sockets, Calls::Read, Calls::Write, Calls::Connect, Calls::Bind];
    let jail = Jail {
        user: 61_000,
        capabilities: CapabilitySet::empty(),
        calls: match calls {
            "all" => &all,
            "datagrams" => &[Calls::Base, Calls::Datagrams],
            _ => &all[..2],
        },
        reads: &[&reads],
        writes: &[&writes],
        connects: &[connects.parse().unwrap()],
        binds: &[binds.parse().unwrap()],
        files: 64,
        memory_bytes: 1 << 26,
        tasks: 8,
    };
    if calls == "small" {
        let few = Rlimit { current: Some(128), maximum: Some(128) };
        setrlimit(Resource::Nproc, few).unwrap();
    }
    if calls != "no jail" {
        jail.enter().unwrap();
    }
    let errno = attempt(what).unwrap();
    println!("errno {errno}");
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hal-jail-{name}-{}", std::process::id()));
    for inside in ["read", "written", "else"] {
        fs::create_dir_all(folder.join(inside)).unwrap();
        fs::write(folder.join(inside).join("file"), "x").unwrap();
    }
    if rustix::process::geteuid().is_root() {
        let user = Some(61_000);
        for owned in ["written", "written/file", "else", "else/file"] {
            std::os::unix::fs::chown(folder.join(owned), user, user).unwrap();
        }
    }
    folder
}

fn only_files_and_ports_of_the_lists_are_reached() {
    let version = Command::new("uname").arg("-r").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let numbers: Vec<u32> = version.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    if numbers < vec![6, 7] {
        eprintln!("SKIPPED, not tested on this machine: Linux {version} has no Landlock for ports");
        return;
    }
    let folder = scratch("lists");
    let near = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let listeners = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let free = [0, 0].map(|port| near(&TcpListener::bind(("127.0.0.1", port)).unwrap()));
    let ports = (near(&listeners[0]), free[0]);
    let path = |name: &str| folder.join(name).display().to_string();
    // Seen to come through with `landlock::restrict` left out of `Jail::enter`.
    for (what, errno) in [
        (format!("read {}", path("read/file")), 0),
        (format!("write {}", path("written/file")), 0),
        (format!("make {}", path("written/new")), 0),
        (format!("connect 127.0.0.1:{}", ports.0), 0),
        (format!("bind 127.0.0.1:{}", ports.1), 0),
        (format!("read {}", path("else/file")), EACCES),
        (format!("write {}", path("else/file")), EACCES),
        (format!("make {}", path("else/new")), EACCES),
        (format!("write {}", path("read/file")), EACCES),
        ("read /etc/passwd".to_owned(), EACCES),
        (format!("connect 127.0.0.1:{}", near(&listeners[1])), EACCES),
        (format!("bind 127.0.0.1:{}", free[1]), EACCES),
    ] {
        assert_eq!(from_inside(&what, "all", &folder, ports), Ok(errno), "{what}");
    }
    // On no list of calls, whatever files and ports are on theirs.
    for what in ["signal", "trace", "packet", "netlink", "unix", "fork", "exec", "bpf", "ring"] {
        assert_eq!(from_inside(what, "all", &folder, ports), Err(SIGSYS), "{what}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn a_call_that_is_on_no_list_ends_the_process() {
    let folder = scratch("calls");
    let try_it = |what: &str| from_inside(what, "few", &folder, (1, 1));
    assert_eq!(try_it("nothing"), Ok(0));
    // Seen to come back with an errno with `kernel_filter::set` left out, and where the filter answers with EPERM.
    for what in [
        "read /etc/passwd",
        "connect 127.0.0.1:1",
        "bind 127.0.0.1:0",
        "raw",
        "datagram 127.0.0.1:0",
    ] {
        assert_eq!(try_it(what), Err(SIGSYS), "{what}");
    }
    for what in
        ["runnable-page", "made-runnable", "user-namespace", "memory-file", "mount", "module"]
    {
        assert_eq!(try_it(what), Err(SIGSYS), "{what}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn no_socket_that_was_handed_on_connects() {
    let folder = scratch("late");
    let neighbour = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = neighbour.local_addr().unwrap();
    neighbour.set_nonblocking(true).unwrap();
    let fast = fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").unwrap_or_default();
    let is_possible = fast.trim().parse::<u32>().is_ok_and(|bits| bits & 1 == 1);
    for what in ["late-connect", "late-message"] {
        let what = format!("{what} {address}");
        // Without a jail somebody comes, so the attempt is a real one.
        if is_possible {
            assert_eq!(from_inside(&what, "no jail", &folder, (1, 1)), Ok(0), "{what}");
            assert!(neighbour.accept().is_ok(), "{what}");
        }
        assert_eq!(from_inside(&what, "few", &folder, (1, 1)), Err(SIGSYS), "{what}");
        assert!(neighbour.accept().is_err(), "somebody came: {what}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn datagrams_go_where_their_socket_leads_and_nowhere_else() {
    let folder = scratch("datagrams");
    let [near, far] = [0, 0].map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap());
    far.set_nonblocking(true).unwrap();
    let handed = UdpSocket::bind("127.0.0.1:0").unwrap();
    handed.connect(near.local_addr().unwrap()).unwrap();
    let try_it = |what: &str, calls: &str| {
        with(handed.try_clone().unwrap().into(), what, calls, &folder, (1, 1))
    };
    let elsewhere = format!("elsewhere {}", far.local_addr().unwrap());
    // By the other list somebody hears it, so the attempt is a real one.
    assert_eq!(try_it(&elsewhere, "few"), Ok(0));
    assert!(far.recv(&mut [0; 8]).is_ok());
    assert_eq!(try_it("option", "few"), Ok(0));
    assert_eq!(try_it("message", "few"), Ok(0));
    // EOPNOTSUPP
    assert_eq!(try_it("accept", "few"), Ok(95));
    assert_eq!(try_it("nothing", "datagrams"), Ok(0));
    for what in OVER_ITS_SOCKETS.into_iter().chain([elsewhere.as_str()]) {
        assert_eq!(try_it(what, "datagrams"), Err(SIGSYS), "{what}");
    }
    assert!(far.recv(&mut [0; 8]).is_err(), "somebody was spoken to");
    fs::remove_dir_all(&folder).unwrap();
}

/// As the kernel sets it where there is little memory. Seen to fail where a jail asks for more than that.
fn a_machine_that_allows_few_tasks_has_jails_too() {
    let folder = scratch("small");
    assert_eq!(from_inside("nothing", "small", &folder, (1, 1)), Ok(0));
    fs::remove_dir_all(&folder).unwrap();
}
