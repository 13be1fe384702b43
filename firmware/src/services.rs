//! Services that read what strangers send, as processes of their own: this program once more, as `lifeboat service NAME`.
//!
//! Who starts one keeps the keys, and hands it open files over a [`line::Line`]: a socket that listens, what it may know. The
//! service shuts itself in before it reads the first byte from outside, and ends where its starter is gone.

use core::time::Duration;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use hal::time::Clock as _;
use hal_linux::SystemClock;
use hal_linux::jail::attempt::attempt;
use hal_linux::jail::cgroup::Cgroup;
use hal_linux::jail::{Calls, CapabilitySet, Jail};
use hal_linux::manners::hand_on_nothing;

use crate::appliance::processes::{self, Owned};
use line::{Handed, Line, MESSAGE_BYTES_MAX};

/// What is asked behind a door.
pub(crate) mod calls;
/// Those that strangers connect to.
pub(crate) mod doors;
/// What goes between a service and its starter.
pub(crate) mod line;

/// The first word of the command line of a service. It stands in no help: nobody but this program starts one.
pub(crate) const VERB: &str = "service";
/// The word behind its name where all bars of the jail must hold.
const STRICT: &str = "strict";
/// The word behind that before the ports that it may connect to, with commas between them.
const CONNECTS: &str = "connects";
/// Instead of its work the service tries one thing that it may not, and says what came of it.
const ATTEMPT: &str = "attempt";
/// Longest line that a service says.
const LINE_BYTES_MAX: u64 = 4096;
/// So much of what a service says is told in a minute: whoever took one over drowns nothing else.
const LINES_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// `SIGSYS`: by it the kernel ends who makes a system call that is on no list of his.
const SIGNAL_OF_CALLS: i32 = 31;

const MIB: u64 = 1 << 20;
/// What a service may do that only needs sockets that it is handed.
const NOTHING: Jail<'static> = Jail {
    user: 0,
    capabilities: CapabilitySet::empty(),
    calls: &[Calls::Base, Calls::Sockets],
    reads: &[],
    writes: &[],
    connects: &[],
    binds: &[],
    files: 64,
    memory_bytes: 32 * MIB,
    tasks: 8,
};

/// A service.
pub(crate) struct Service<'a> {
    /// Its name, which is that of its control group too.
    pub(crate) name: &'static str,
    /// What it may do.
    pub(crate) jail: Jail<'a>,
    /// What it does, inside of the jail; it ends when its starter is gone.
    run: fn(Line, Handed) -> Result<(), String>,
}

impl Service<'_> {
    /// The same, that may connect to these ports.
    pub(crate) fn connecting<'b>(&'b self, connects: &'b [u16]) -> Service<'b> {
        Service { jail: Jail { connects, ..self.jail }, ..*self }
    }
}

/// All services. Their users are numbers above those of people and below those that systemd gives away.
pub(crate) const ALL: [Service<'static>; 5] = [DOOR, AGENTS, CLOCK, NETWORK, COURIER];

/// The page's door: TLS and HTTP.
pub(crate) const DOOR: Service<'static> = Service {
    name: "door",
    jail: Jail { user: 61_001, files: 1024, memory_bytes: 96 * MIB, ..NOTHING },
    run: crate::serve::listen::front::run,
};

/// The agents' door: TLS and frames. Each agent has two sockets, and a part of a payload on its way.
pub(crate) const AGENTS: Service<'static> = Service {
    name: "agents",
    jail: Jail { user: 61_002, files: 2304, memory_bytes: 256 * MIB, tasks: 32, ..NOTHING },
    run: crate::ingest::listen::front::run,
};

/// Who asks time servers: over sockets that lead to one server each, for one answer of each.
pub(crate) const CLOCK: Service<'static> = Service {
    name: "clock",
    jail: Jail { user: 61_003, calls: &[Calls::Base, Calls::Datagrams], ..NOTHING },
    run: crate::appliance::clock::apart::run,
};

/// Who hears what is said on cables below IP. Each link has three sockets.
pub(crate) const NETWORK: Service<'static> = Service {
    name: "network",
    jail: Jail { user: 61_004, calls: &[Calls::Base, Calls::Datagrams], files: 1024, ..NOTHING },
    run: crate::net::apart::run,
};

/// Who asks others over HTTP for whoever holds the keys. Its ports are named when it is started. Each lane is a thread with TLS and
/// its buffers; while one for other ports takes its place there are twice as many.
pub(crate) const COURIER: Service<'static> = Service {
    name: "courier",
    jail: Jail {
        user: 61_005,
        calls: &[Calls::Base, Calls::Sockets, Calls::Connect],
        files: 1024,
        memory_bytes: 256 * MIB,
        tasks: 224,
        ..NOTHING
    },
    run: crate::courier::apart::run,
};

/// Who starts services, and how much of a jail he insists on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keeper<'a> {
    /// Whether a service must not run where one bar does not hold: so it is on the appliance.
    pub(crate) strict: bool,
    /// Where control groups are, for limits of memory and tasks.
    pub(crate) groups: Option<&'a str>,
}

/// A service at work. Dropped, it ends.
pub(crate) struct Running {
    child: Owned,
    name: &'static str,
    /// The line to it.
    pub(crate) line: Line,
}

impl Running {
    /// Starts a service, and hands it its first message. Nothing of it has read a byte from outside when this returns, and its
    /// limits of memory and tasks hold.
    pub(crate) fn start(
        service: &Service<'_>,
        keeper: &Keeper<'_>,
        bytes: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> Result<Self, String> {
        let name = service.name;
        let failed =
            |error: std::io::Error| format!("the service {name} cannot be started: {error}");
        let (line, theirs) = Line::pair().map_err(failed)?;
        // What a shell had open is no business of a service; ours never were.
        if let Err(error) = hand_on_nothing() {
            log::debug!("the service {name} may hold files that were open before: {error}");
        }
        let mut command = command(service, keeper);
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = Owned::start(&mut command).map_err(failed)?;
        let mut running = Self { child, name, line };
        // The child waits for its first message, so that its limits are there first.
        limit(service, keeper, running.child.0.id())?;
        if let Some(pipe) = running.child.0.stderr.take() {
            let listen = move || hear(name, pipe);
            std::thread::Builder::new().name(name.to_owned()).spawn(listen).map_err(failed)?;
        }
        running.line.send(bytes, files).map_err(failed)?;
        Ok(running)
    }

    /// Whether it ends within this time.
    pub(crate) fn has_ended(&mut self, patience: Duration) -> bool {
        let until = std::time::Instant::now() + patience;
        loop {
            match self.child.0.try_wait() {
                Ok(None) if std::time::Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                ended => return matches!(ended, Ok(Some(_))),
            }
        }
    }

    /// Waits for its end, so long at most; why it ended, in words.
    pub(crate) fn why(mut self, patience: Duration) -> String {
        let until = std::time::Instant::now() + patience;
        loop {
            match self.child.0.try_wait() {
                Ok(Some(status)) => return ended(self.name, status),
                Ok(None) if std::time::Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return format!("the service {} hears nothing any more", self.name),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then its exit code is taken here.
        let _ = self.child.0.kill();
        let _ = self.child.0.wait();
    }
}

fn command(service: &Service<'_>, keeper: &Keeper<'_>) -> Command {
    let mut command = Command::new(processes::program());
    command.args([VERB, service.name]).args(keeper.strict.then_some(STRICT)).env_clear();
    if !service.jail.connects.is_empty() {
        let ports: Vec<String> = service.jail.connects.iter().map(u16::to_string).collect();
        command.args([CONNECTS, &ports.join(",")]);
    }
    // glibc gives memory of a second arena back only after a look at a file of /proc, which ends a service: so there is one.
    command.env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1");
    command
}

fn limit(service: &Service<'_>, keeper: &Keeper<'_>, process: u32) -> Result<(), String> {
    let Some(root) = keeper.groups else { return Ok(()) };
    let name = service.name;
    Cgroup::make(Path::new(root), name, &service.jail)
        .and_then(|group| group.add(process))
        .map_err(|error| format!("the service {name} gets no limits, so it does not run: {error}"))
}

/// What the service says goes into the log of who started it, as lines of that service.
fn hear(name: &str, pipe: impl std::io::Read) {
    let mut pipe = BufReader::new(pipe);
    let mut told = Told::default();
    loop {
        let mut line = Vec::new();
        match pipe.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let Some(left_out) = told.one_more(std::time::Instant::now()) else { continue };
        if left_out > 0 {
            log::warn!("{name}: {left_out} lines were left out: it said too much");
        }
        let line = crate::report::printable(String::from_utf8_lossy(&line).trim());
        log::warn!("{name}: {}", line.strip_prefix("lifeboat: ").unwrap_or(&line));
    }
}

/// How much of what a service says was told in this minute.
#[derive(Default)]
struct Told {
    since: Option<std::time::Instant>,
    lines: u32,
    left_out: u64,
}

impl Told {
    /// Whether one more line is told, and how many were left out before it.
    fn one_more(&mut self, now: std::time::Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= MINUTE) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(core::mem::take(&mut self.left_out))
    }
}

fn ended(name: &str, status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(SIGNAL_OF_CALLS)) => format!(
            "the service {name} was ended by the kernel: it made a system call that it has no use for. It gave up by itself, \
             as it does where memory is short, or somebody tried to take it over"
        ),
        (_, Some(9)) => format!(
            "the service {name} was ended, most likely as it wanted more memory than it may have"
        ),
        (_, Some(signal)) => format!("the service {name} crashed (signal {signal})"),
        (Some(code), None) => format!("the service {name} ended with {code}"),
        (None, None) => format!("the service {name} ended in an unknown way"),
    }
}

/// Tries one thing from inside of a service's jail, in a process of its own, and tells what came of it: `errno N`, with 0 where
/// nothing stopped it, or `signal N` where the process was ended for it.
pub(crate) fn attempted(
    service: &Service<'_>,
    keeper: &Keeper<'_>,
    what: &str,
) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut command = command(service, keeper);
    command.args([ATTEMPT, what]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Owned::start(&mut command).map_err(failed)?;
    let mut said = String::new();
    if let Some(pipe) = child.0.stdout.take() {
        pipe.take(LINE_BYTES_MAX).read_to_string(&mut said).map_err(failed)?;
    }
    let status = child.0.wait().map_err(failed)?;
    Ok(match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => said.trim().to_owned(),
    })
}

/// The process of a service, from its start to its end. `words` are those behind `service`.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    match work(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            // Its starter's log; where that is gone, nobody is there to read.
            let _ = std::io::stderr().lock().write_all(format!("lifeboat: {words}\n").as_bytes());
            ExitCode::from(crate::report::EXIT_FAILED)
        }
    }
}

fn work(words: &[OsString]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let (name, rest) = words.split_first().ok_or("a service has a name")?;
    let service = ALL.iter().find(|service| service.name == *name);
    let service = service.ok_or_else(|| format!("there is no service {name}"))?;
    let (strict, rest) = match rest {
        [STRICT, rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (connects, rest) = match rest {
        [CONNECTS, ports, rest @ ..] => (ports.split(',').flat_map(str::parse).collect(), rest),
        rest => (Vec::new(), rest),
    };
    let service = &service.connecting(&connects);
    if let [ATTEMPT, what] = rest {
        shut_in(service, strict)?;
        let errno = attempt(what).ok_or_else(|| format!("{what}: there is no such attempt"))?;
        let told = writeln!(std::io::stdout(), "errno {errno}");
        return told.map_err(|error| error.to_string());
    }
    // From who started it: nothing of a stranger.
    let line = std::io::stdin().as_fd().try_clone_to_owned().and_then(Line::of);
    let line = line.map_err(|error| format!("a service is started by Lifeboat alone: {error}"))?;
    let first = line.receive(MESSAGE_BYTES_MAX).map_err(|error| error.to_string())?;
    let Some(first) = first else { return Ok(()) };
    crate::logging::start(0);
    shut_in(service, strict)?;
    (service.run)(line, first)
}

fn shut_in(service: &Service<'_>, strict: bool) -> Result<(), String> {
    // Where the clock is read is asked of the system at the first look, by a call that is on no list.
    let _ = SystemClock.now();
    let entered = service.jail.enter();
    let entered = entered.map_err(|error| format!("it cannot be shut in: {error}"))?;
    match entered.lacks.as_slice() {
        [] => Ok(()),
        lacks if strict => Err(format!("it cannot be shut in without {}", lacks.join("; "))),
        lacks => {
            log::debug!("works without {}", lacks.join("; "));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_services_are_one_user_and_none_is_somebody() {
        for (place, service) in ALL.iter().enumerate() {
            assert!((60_001..61_184).contains(&service.jail.user), "{}", service.name);
            assert!(ALL[..place].iter().all(|other| other.jail.user != service.jail.user));
            assert!(service.jail.tasks <= 256 && service.jail.memory_bytes <= 512 * MIB);
        }
    }

    #[test]
    fn a_service_that_says_too_much_is_told_in_part_and_what_is_left_out_is_counted() {
        let (mut told, now) = (Told::default(), std::time::Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(told.one_more(now), Some(0));
        }
        for second in [0, 1, 59] {
            assert_eq!(told.one_more(now + Duration::from_secs(second)), None);
        }
        assert_eq!(told.one_more(now + MINUTE), Some(3));
        assert_eq!(told.one_more(now + MINUTE), Some(0), "once is enough");
    }

    #[test]
    fn every_end_of_a_service_has_its_words() {
        let words = |status| ended("door", ExitStatus::from_raw(status));
        assert!(words(SIGNAL_OF_CALLS).contains("system call"));
        assert!(words(9).contains("memory"));
        assert!(words(11).contains("signal 11"));
        assert!(words(1 << 8).contains("ended with 1"));
    }
}
