//! Writers slowed down for a moment: their control groups are paused again and again, by a process of its own.
//!
//! Two hold the thread, as in `freeze`: the process that pauses lets go when this one is gone, and this one when that one is. Should
//! both be killed in the same moment, the next start lets go by a note that outlives them.

use core::fmt;
use core::time::Duration;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use hal_linux::freeze::Channel;

use crate::cut::Throttle;
use crate::manners;
use crate::note::Note;

/// What pauses and lets go, in the other process.
pub mod process;
/// Who writes most.
mod writers;

/// The verb that makes this program the one that pauses.
pub const VERB: &str = "pause-writers";

/// Who writes is seen by what was written within this.
const LOOK: Duration = Duration::from_millis(250);
/// So often where nobody is seen.
const LOOKS: u32 = 4;

/// Slows down whoever writes most.
pub struct Slower {
    program: PathBuf,
    note: Note,
    running: Option<Running>,
}

/// Writers that are slowed down.
struct Running {
    child: Child,
    channel: Channel,
    groups: Vec<PathBuf>,
    since: Instant,
}

impl fmt::Debug for Slower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slower").field("slows", &self.running.is_some()).finish_non_exhaustive()
    }
}

impl Slower {
    /// By this program; what is paused is noted in this file, which a restart of the machine must not keep.
    #[must_use]
    pub fn new(program: &Path, note: &Path) -> Self {
        Self { program: program.to_path_buf(), note: Note::new(note), running: None }
    }

    /// Lets go what an agent that is no more left paused; what was, in words.
    pub fn let_go_left(&self) -> Vec<String> {
        let groups = self.note.read();
        let paused = groups.iter().filter(|group| is_paused(group));
        let told =
            paused.map(|group| format!("{} was left paused, and is let go", group.display()));
        let told = told.collect();
        self.let_go(&groups);
        told
    }

    /// Slows down these control groups, by their folders; whether it does.
    pub fn slow(&mut self, groups: Vec<PathBuf>) -> bool {
        if groups.is_empty() {
            return false;
        }
        match self.start(groups) {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                log::warn!("writers are not slowed down: {error}");
                self.let_go(&self.note.read());
            }
        }
        self.running.is_some()
    }

    /// Whether somebody pauses: not before the first, and not where that ended by itself.
    pub fn pauses(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// The process that pauses.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Lets them go, and notes that none is paused.
    fn let_go(&self, groups: &[PathBuf]) {
        groups.iter().for_each(|group| let_go(group));
        self.note.clear();
    }

    fn start(&self, groups: Vec<PathBuf>) -> io::Result<Running> {
        let (channel, theirs) = Channel::pair()?;
        self.note.write(groups.iter().map(PathBuf::as_path))?;
        let mut command = Command::new(&self.program);
        command.arg(VERB).args(&groups).env_clear().current_dir("/").process_group(0);
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn()?;
        drop(command);
        let running = Running { child, channel, groups, since: Instant::now() };
        let (ending, groups) = (running.channel.again()?, running.groups.clone());
        let watch = move || {
            while matches!(ending.wait_for_end(None), Ok(false)) {}
            groups.iter().for_each(|group| let_go(group));
        };
        thread::Builder::new().name("slow".to_owned()).spawn(watch)?;
        Ok(running)
    }
}

impl Throttle for Slower {
    fn slow_down(&mut self) -> bool {
        if self.running.is_some() {
            return true;
        }
        let Some(root) = manners::control_groups() else { return false };
        let system = writers::System::new(Path::new("/proc"), &root);
        let before = system.written();
        // What is only rewritten in memory is nobody's until it goes to a disk, and counts again from then on.
        let looks = (0..LOOKS).map(|_| {
            thread::sleep(LOOK);
            system.groups_of_writers(&before, &system.written())
        });
        let groups = { looks }.find(|groups| !groups.is_empty());
        self.slow(groups.unwrap_or_default())
    }

    fn release(&mut self) -> Option<String> {
        let mut running = self.running.take()?;
        running.channel.shut();
        // It lets go and ends; where it does not, that is done here.
        let ended = ended(&mut running.child);
        if ended.is_none() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        self.let_go(&running.groups);
        if ended.is_some_and(|status| !status.success()) {
            return Some("writers are too fast, and could not be paused".to_owned());
        }
        let names: Vec<_> = running.groups.iter().filter_map(|group| group.file_name()).collect();
        let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
        let millis = running.since.elapsed().as_millis();
        Some(format!("writers were slowed down for {millis} ms: {}", names.join(", ")))
    }
}

impl Drop for Slower {
    fn drop(&mut self) {
        let _ = self.release();
    }
}

/// How it ends by itself, within the time that it may take on a busy machine.
fn ended(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + process::PAUSE * 5;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

/// The switch of a control group.
fn switch(group: &Path) -> PathBuf {
    group.join("cgroup.freeze")
}

fn is_paused(group: &Path) -> bool {
    fs::read_to_string(switch(group)).is_ok_and(|state| state.trim() == "1")
}

/// One that is gone pauses nobody.
fn let_go(group: &Path) {
    if let Err(error) = fs::write(switch(group), "0")
        && error.kind() != io::ErrorKind::NotFound
    {
        log::error!("{} may be left paused: {error}; echo 0 > {0}", switch(group).display());
    }
}
