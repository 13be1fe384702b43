//! The door that agents meet, taken over: what it may do of the machine is nothing, and what it says is only its word.
//!
//! The tests become the door of a real `lifeboat serve`: the real one is stopped, and its line is taken (`pidfd_getfd`).

use core::mem::MaybeUninit;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::fs;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Instant;

use hal_sim::random::Random;
use pipeline::ids::ServerId;
use pipeline_wire::certificate::Peer;
use pipeline_wire::connection::Connection;
use pipeline_wire::frame;
use pipeline_wire::message::{FromAgent, FromAppliance, Hello, VERSION, VERSION_MIN, Why};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg,
    sendmsg,
};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process,
    pidfd_getfd, pidfd_open, setrlimit,
};
use tests::azurite::Scratch;
use tests::ingesting::Appliance;
use tests::program::lifeboat;
use tests::scripted_agent::ScriptedAgent;

const DISK: usize = 1 << 20;
/// As many agents as are taken at once.
const PLACES: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// The door's process of this `serve`.
fn door_of(serve: u32) -> Pid {
    let began = Instant::now();
    loop {
        let found = fs::read_dir("/proc").expect("processes").flatten().find_map(|entry| {
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?;
            let is_door = words.windows(16).any(|words| words == b"\0service\0agents\0");
            let is_child = parent.parse() == Ok(serve);
            (is_door && is_child).then(|| entry.file_name().to_str()?.parse().ok()).flatten()
        });
        if let Some(pid) = found.and_then(Pid::from_raw) {
            return pid;
        }
        assert!(began.elapsed() < PATIENCE, "there is no door of agents beside serve");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The line waits for nobody: its end is the same open file as the door's.
fn patiently<T>(mut step: impl FnMut() -> Result<T, Errno>) -> T {
    let began = Instant::now();
    loop {
        match step() {
            Err(Errno::AGAIN) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done.expect("a line to the appliance"),
        }
    }
}

/// The door taken over: its end of the line, and nobody else at it.
struct Taken {
    door: Pid,
    line: OwnedFd,
    number: u64,
}

impl Taken {
    fn over(serve: u32) -> Self {
        let door = door_of(serve);
        kill_process(door, Signal::STOP).unwrap();
        let pidfd = pidfd_open(door, PidfdFlags::empty()).unwrap();
        // Its standard input.
        let line = pidfd_getfd(&pidfd, 0, PidfdGetfdFlags::empty()).unwrap();
        Self { door, line, number: 1 << 40 }
    }

    fn say(&self, bytes: &[u8]) {
        let parts = [IoSlice::new(bytes)];
        let sent = patiently(|| {
            let mut control = SendAncillaryBuffer::default();
            sendmsg(&self.line, &parts, &mut control, SendFlags::NOSIGNAL)
        });
        assert_eq!(sent, bytes.len());
    }

    /// Calls as this peer; the stream, where a place is left.
    fn call(&mut self, peer: &Peer) -> Option<UnixStream> {
        self.number += 1;
        let from = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        let caller = frame::emit(&(peer, from), 0).unwrap();
        self.say(&[&self.number.to_le_bytes(), &caller[frame::HEAD_BYTES..]].concat());
        let mut bytes = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let got = patiently(|| recvmsg(&self.line, parts, &mut control, RecvFlags::CMSG_CLOEXEC));
        assert_eq!(bytes[..got.bytes], self.number.to_le_bytes(), "another call was answered");
        control.drain().find_map(|part| match part {
            RecvAncillaryMessage::ScmRights(mut files) => files.next().map(UnixStream::from),
            _ => None,
        })
    }

    /// Says what an agent would say, as this peer; what is answered first.
    fn greet(&mut self, peer: &Peer, hello: Hello) -> Option<(Agent, FromAppliance)> {
        let stream = self.call(peer)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut agent = Connection::new(stream, 1);
        agent.send(&FromAgent::Hello(Box::new(hello))).unwrap();
        let answer = agent.receive().unwrap().expect("an answer").message;
        Some((agent, answer))
    }

    /// Why this peer is sent away.
    fn refused(&mut self, peer: &Peer, hello: Hello) -> Why {
        match self.greet(peer, hello).expect("a place").1 {
            FromAppliance::Refused(refused) => refused.why,
            other => panic!("{peer:?} is let in: {other:?}"),
        }
    }
}

type Agent = Connection<UnixStream>;

fn hello(agent: &ScriptedAgent, run: u8) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION,
        agent: "scripted".to_owned(),
        host: "scripted".to_owned(),
        kernel: "none".to_owned(),
        server: agent.enrolment.server,
        binding: agent.binding.clone(),
        run: [run; 16],
        connection: 0,
        disks: vec![agent.hello_disk()],
    }
}

fn peer(agent: &ScriptedAgent) -> Peer {
    Peer::of(&agent.enrolment.certificate).unwrap()
}

/// It asks, and is answered: the appliance serves it.
fn is_served(agent: &mut Agent, question: u32) {
    let asked = FromAgent::Fingerprints { question, disk: 0, first: 0 };
    agent.send_with(&asked, &[&[0; 16]]).unwrap();
    let began = Instant::now();
    loop {
        let said = agent.receive().unwrap().map(|received| received.message);
        if matches!(said, Some(FromAppliance::Wanted { question: of, .. }) if of == question) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "question {question} is not answered: {said:?}");
    }
}

/// Whether the appliance still holds this stream, on which nothing is said.
fn is_open(mut stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// The appliance ends this stream by itself.
fn is_ended(mut stream: &UnixStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Ok(_) => {}
            Err(error) => panic!("the stream is still there: {error}"),
        }
    }
}

/// Seen failing where the door that came anew was ended by the kernel at its first look at the clock: no agent came in again.
/// Each of the other protections was not taken away yet to see it fail: keys looked for on the roll (`KeptRoll::admit`), Hello
/// held against the caller (`welcome`), places behind the door and the end of a line that is no line (`services::calls::answer`).
#[test]
fn a_door_that_lies_ends_itself_and_harms_neither_the_appliance_nor_who_is_connected() {
    if !rustix::process::geteuid().is_root() {
        println!("only root takes the door over");
        return;
    }
    let mut appliance = Appliance::new("lying-door", true);
    appliance.start();
    let enrol = |name: &str| ScriptedAgent::enrol(&appliance.token(), name, DISK, 1).unwrap();
    let (mut web, db, old) = (enrol("web"), enrol("db"), enrol("old"));
    appliance.revoke("old");
    let serve = appliance.pid();
    let mut door = Taken::over(serve);
    let (mut honest, answer) = door.greet(&peer(&web), hello(&web, 1)).expect("a place");
    assert!(matches!(answer, FromAppliance::Welcome(_)), "{answer:?}");
    is_served(&mut honest, 1);

    // Whom it has no certificate of.
    let nobody = Peer { server: ServerId([9; 16]), ..peer(&db) };
    assert_eq!(
        door.refused(&nobody, Hello { server: nobody.server, ..hello(&db, 2) }),
        Why::Unknown
    );
    let forged = Peer { key_fingerprint: [9; 32], ..peer(&db) };
    assert_eq!(door.refused(&forged, hello(&db, 2)), Why::Unknown);
    assert_eq!(door.refused(&peer(&db), hello(&web, 2)), Why::Nonsense);
    // The door lets in whose certificate is the authority's, and revoked all the same.
    assert_eq!(door.refused(&peer(&old), hello(&old, 2)), Why::Unknown);

    // What no door hands on: lengths beyond all limits, a payload that does not fit, noise.
    let seed = u64::from(std::process::id());
    println!("LIFEBOAT_SEED={seed}");
    let mut random = Random::new(seed);
    let long = [u32::MAX.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    let status = FromAgent::Goodbye { words: String::new() };
    let unfit = frame::emit(&status, 4096).unwrap();
    for number in 0..40 {
        let noise: Vec<u8> = match number {
            0 => long.clone(),
            1 => unfit.clone(),
            _ => {
                let mut noise = vec![0; 8 + usize::try_from(random.below(4000)).unwrap()];
                random.fill(&mut noise);
                noise
            }
        };
        let mut before = door.call(&peer(&db)).expect("a place");
        before.write_all(&noise).unwrap();
        let (mut behind, _) = door.greet(&peer(&db), hello(&db, 3)).expect("a place");
        // It may have ended already.
        let _ = behind.stream().write_all(&noise);
        for stream in [&before, &*behind.stream()] {
            // Noise that is the beginning of something long is ended by time; what ends here is all that was said.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            is_ended(stream);
        }
    }
    is_served(&mut honest, 2);

    // More calls than there are places, none of which says a word.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    assert!(limit.maximum.is_none_or(|most| most > 3000), "this test needs more open files");
    let streams: Vec<_> = (0..PLACES + 64).filter_map(|_| door.call(&peer(&db))).collect();
    let open = streams.iter().filter(|stream| is_open(stream)).count();
    assert!(open < PLACES, "{open} streams beside the honest one");
    is_served(&mut honest, 3);
    drop(streams);

    // No call at all: that door is none any more, and there is a new one, which serves.
    door.say(b"open sesame");
    drop(honest);
    web.connect_patiently();
    web.write_some(3);
    let epoch = web.cut();
    web.work_until("the point", |web| web.vaulted >= epoch);
    assert_ne!(door_of(serve), door.door);
    assert_eq!(appliance.pid(), serve);
    appliance.stop();
}

/// What is tried from inside of the door's jail. `errno 0` is that nothing stopped it.
fn tried(what: &str) -> String {
    let mut command = Command::new(lifeboat());
    command.args(["service", "agents", "attempt", what]);
    let output = command.output().expect("it starts");
    match output.status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    }
}

/// How it fails with the list of calls taken away was seen of the page's door, whose jail is the same (`hardening/jail.rs`).
#[test]
fn a_door_that_was_taken_over_reaches_neither_keys_nor_disks_nor_machines_nor_processes() {
    let scratch = Scratch::new("door-reaches").unwrap();
    let key = scratch.path().join("vault.key");
    fs::write(&key, b"secret").unwrap();
    let neighbour = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = neighbour.local_addr().unwrap();
    assert_eq!(tried("nothing"), "errno 0", "the jail itself stands in the way of nothing");
    let key = key.display();
    // By a call that is on no list it is ended at once.
    for what in [
        &format!("read {key}"),
        &format!("write {key}"),
        &format!("make {key}.new"),
        "read /dev/vda",
        "write /dev/vda",
        "read /proc/1/mem",
        &format!("connect {address}"),
        &format!("late-connect {address}"),
        &format!("late-message {address}"),
        "bind 127.0.0.1:0",
        "datagram 127.0.0.1:0",
        "packet",
        "raw",
        "unix",
        "netlink",
        "trace",
        "read-other",
        "ring",
        "fork",
        "exec",
        "user-namespace",
        "mount",
        "module",
        "kexec",
        "bpf",
        "keys",
        "runnable-page",
        "made-runnable",
    ] {
        assert_eq!(tried(what), "signal 31", "{what}");
    }
    neighbour.set_nonblocking(true).unwrap();
    assert!(neighbour.accept().is_err(), "somebody came");
}
