//! A process of its own that freezes and thaws over and over with the agent's freezer and the agent's dead-man, says what it
//! does, and is killed and stopped.

use core::time::Duration;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use std::{env, fs, io, thread};

use pipeline_agent::devices::FileSystem;
use pipeline_agent::freeze::{Freezer, LinuxFreezer};

const ASKED: &str = "LIFEBOAT_TEST_FREEZE";
/// Nothing here takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process.
pub(crate) struct Agent {
    child: Child,
    /// Under strace, that is the child.
    process: u32,
    heard: Arc<Mutex<Vec<String>>>,
    /// Lines that were waited for already.
    passed: usize,
}

impl Agent {
    /// Freezes these with this limit, and holds them this long.
    pub(crate) fn start(at: &[&Path], limit: Duration, hold: Duration) -> Self {
        Self::spawn(Command::new(env::current_exe().expect("a path")), at, limit, hold)
    }

    /// The same with every system call of it and its dead-man written down.
    pub(crate) fn start_under_strace(at: &[&Path], limit: Duration, log: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-ttt", "-o"]).arg(log);
        command.arg(env::current_exe().expect("a path"));
        Self::spawn(command, at, limit, Duration::from_millis(20))
    }

    fn spawn(mut command: Command, at: &[&Path], limit: Duration, hold: Duration) -> Self {
        let paths: Vec<String> = at.iter().map(|path| path.display().to_string()).collect();
        let asked = format!("{} {} {}", limit.as_micros(), hold.as_micros(), paths.join(" "));
        command.args(["--exact", "the_agent_of_these_tests", "--nocapture"]).env(ASKED, asked);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the process starts");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (lines, hearing) = (child.stdout.take().expect("piped"), Arc::clone(&heard));
        thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                hearing.lock().expect("nobody panics here").push(line);
            }
        });
        let process = child.id();
        Self { child, process, heard, passed: 0 }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// The first word of what it said last.
    pub(crate) fn said_last(&self) -> String {
        let heard = self.heard.lock().expect("nobody panics here");
        heard.last().and_then(|line| line.split(' ').next()).unwrap_or_default().to_owned()
    }

    /// What was said until now is not waited for.
    pub(crate) fn pass_all(&mut self) {
        self.passed = self.heard.lock().expect("nobody panics here").len();
    }

    /// Waits for a line that begins so, after those that were waited for before.
    pub(crate) fn await_word(&mut self, word: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            {
                let heard = self.heard.lock().expect("nobody panics here");
                let found = heard
                    .iter()
                    .enumerate()
                    .skip(self.passed)
                    .find(|(_, line)| line.starts_with(word));
                if let Some((at, line)) = found {
                    self.passed = at + 1;
                    return line.clone();
                }
                assert!(Instant::now() < until, "the agent never said {word}: {heard:?}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// It begins; its dead-man's process.
    pub(crate) fn await_ready(&mut self) -> u32 {
        let said = self.await_word("ready");
        said.split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("its dead-man's number")
    }

    /// Its file systems are frozen; its dead-man's process.
    pub(crate) fn await_frozen(&mut self) -> u32 {
        let said = self.await_word("frozen");
        said.split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("its dead-man's number")
    }

    /// Sends the signal and nothing more: in the middle of a system call it takes its time.
    pub(crate) fn kill_without_waiting(&mut self) {
        self.child.kill().expect("it is our child");
    }

    /// Kills it, and waits for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("it ends");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        signal(self.process, "CONT");
        self.kill();
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(process: u32, name: &str) {
    let _ = Command::new("kill").args(["-s", name, &process.to_string()]).output();
}

/// A process ends by itself, at the latest then.
#[track_caller]
pub(crate) fn must_end(process: u32, patience: Duration) {
    let until = Instant::now() + patience;
    let status = PathBuf::from(format!("/proc/{process}/stat"));
    // An orphan that nobody buries is a zombie, and that is an end.
    while fs::read_to_string(&status).is_ok_and(|line| !line.contains(") Z ")) {
        assert!(Instant::now() < until, "process {process} does not end");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Stops a process, and waits until each of its threads is: a signal takes a moment to reach them all. A thread that waits
/// in the kernel for a disk or a frozen file system cannot do anything either.
#[track_caller]
pub(crate) fn stop(process: u32) {
    signal(process, "STOP");
    let until = Instant::now() + Duration::from_secs(10);
    let runs = || {
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
        tasks.flatten().any(|task| {
            let line = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            !line.is_empty() && ![") T ", ") D ", ") Z "].iter().any(|state| line.contains(state))
        })
    };
    while runs() {
        assert!(Instant::now() < until, "process {process} does not stop");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What the process does, where this is it.
pub(crate) fn run_if_asked() {
    let Ok(asked) = env::var(ASKED) else { return };
    let mut words = asked.split(' ');
    let mut micros = || words.next().and_then(|word| word.parse().ok()).expect("a time");
    let (limit, hold) = (Duration::from_micros(micros()), Duration::from_micros(micros()));
    let systems: Vec<FileSystem> = words.map(|at| described(Path::new(at))).collect();
    let mut freezer = LinuxFreezer::new(&tests::program::built("lifeboat-agent"));
    // Beside the first file system, where the test's own folder is.
    let record =
        systems.first().and_then(|system| system.at.parent()).expect("a folder").join("frozen");
    freezer.record_at(&record).iter().for_each(|words| say(&format!("found {words}")));
    freezer.start_dead_man().expect("the dead-man starts");
    say(&format!("ready {}", freezer.dead_man_process().unwrap_or(0)));
    loop {
        freezer.set_file_systems(systems.clone());
        if let Err(words) = freezer.freeze(limit) {
            say(&format!("refused {words}"));
            continue;
        }
        let line = format!("frozen {}", freezer.dead_man_process().unwrap_or(0));
        let quiet = env::var_os("LIFEBOAT_TEST_QUIET").is_some();
        if !quiet {
            say(&line);
        }
        let until = Instant::now() + hold;
        while Instant::now() < until && freezer.is_frozen() {
            thread::sleep(Duration::from_millis(1));
        }
        let thawed = freezer.thaw();
        say(&format!(
            "thawed late={} micros={} {}",
            thawed.too_late,
            thawed.micros,
            thawed.remarks.join("; ")
        ));
        thread::sleep(Duration::from_millis(20));
    }
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // Whoever listened is gone, killed perhaps, and nobody else would end this. What is frozen the dead-man thaws.
        std::process::exit(0);
    }
}

fn described(at: &Path) -> FileSystem {
    let number = fs::metadata(at).expect("it is mounted").dev();
    FileSystem {
        at: at.to_path_buf(),
        kind: "ext4".to_owned(),
        number: (rustix::fs::major(number), rustix::fs::minor(number)),
        leaves: Vec::new(),
        read_only: false,
    }
}
