//! The dead-man: a second process that thaws every file system at the limit, or at once when this one ends.
//!
//! It is this program started again, small, locked in memory, with file systems that were opened before. It never starts
//! anything, opens, logs or allocates between freeze and thaw. Here is the side of whoever freezes.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use hal_linux::freeze::{Channel, HANDLES_MAX, StillHandle};

use super::group::{Group, Shared};

/// What runs in the other process.
pub mod process;

/// The verb that makes this program the dead-man.
pub const VERB: &str = "dead-man";

/// How long a new one may take to be ready: the machine may be very busy.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take before there is none.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// What is said, as the first number of a message; the second is the freeze's own number.
mod word {
    /// To the dead-man: here are file systems.
    pub(super) const HOLD: u64 = 1;
    /// To it: thaw them in so many nanoseconds (the third number). Back: it will, it has so many.
    pub(super) const ARM: u64 = 2;
    /// To it: the file system at this place (the third number) is frozen by somebody else.
    pub(super) const LEAVE: u64 = 3;
    /// To it: all is thawed. Back: it had to thaw so many.
    pub(super) const STAND_DOWN: u64 = 4;
    /// From it: it is ready.
    pub(super) const READY: u64 = 5;
    /// From it, to `ARM`: not now, it is still thawing what was before.
    pub(super) const BUSY: u64 = 6;
}

/// The other process, started when it is needed and again when it is gone.
#[derive(Debug)]
pub(super) struct DeadMan {
    program: PathBuf,
    running: Option<Running>,
    /// Numbers freezes, so that a late answer is known for what it is.
    freeze: u64,
}

#[derive(Debug)]
struct Running {
    child: Child,
    channel: Channel,
    watch: Arc<Watch>,
}

/// What the thread that watches over the dead-man knows.
#[derive(Debug, Default)]
struct Watch {
    gone: AtomicBool,
    /// What is to be thawed when it is gone.
    armed: Mutex<Option<Arc<Shared>>>,
}

impl Watch {
    fn set(&self, armed: Option<Arc<Shared>>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = armed;
    }

    fn end(&self) {
        self.gone.store(true, Ordering::SeqCst);
        if let Some(shared) = &*self.armed.lock().unwrap_or_else(PoisonError::into_inner) {
            shared.thaw_now();
        }
    }
}

impl DeadMan {
    pub(super) fn new(program: &Path) -> Self {
        Self { program: program.to_path_buf(), running: None, freeze: 0 }
    }

    /// Its process.
    pub(super) fn process(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Starts it where it does not run.
    pub(super) fn ensure(&mut self) -> io::Result<()> {
        if self.running.as_ref().is_some_and(Running::lives) {
            return Ok(());
        }
        self.end();
        self.running = Some(Running::start(&self.program)?);
        Ok(())
    }

    /// Hands file systems over and sets the limit. From here on it thaws them at the limit, or when this process ends.
    pub(super) fn arm(&mut self, systems: &[&StillHandle], limit: Duration) -> io::Result<()> {
        self.freeze += 1;
        let freeze = self.freeze;
        let running = self.running.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        for part in systems.chunks(HANDLES_MAX) {
            running.channel.send([word::HOLD, freeze, 0], part)?;
        }
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        running.channel.send([word::ARM, freeze, nanos], &[])?;
        let held = u64::try_from(systems.len()).unwrap_or(u64::MAX);
        match running.answer(word::ARM, freeze) {
            Ok(found) if found == held => Ok(()),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) => Err(error),
        }
    }

    /// What is to be thawed at once when it is gone.
    pub(super) fn guard(&self, shared: &Arc<Shared>) {
        let Some(running) = &self.running else { return };
        running.watch.set(Some(Arc::clone(shared)));
        if running.watch.gone.load(Ordering::SeqCst) {
            shared.thaw_now();
        }
    }

    /// It is to leave the file system at this place alone.
    pub(super) fn leave(&self, place: usize) {
        let Some(running) = &self.running else { return };
        let place = u64::try_from(place).unwrap_or(u64::MAX);
        // One that is gone thaws nothing, which is what is wanted.
        let _ = running.channel.send([word::LEAVE, self.freeze, place], &[]);
    }

    /// All is thawed; how many it had to thaw. One that does not answer is ended, and started anew for the next freeze.
    pub(super) fn stand_down(&mut self) -> io::Result<u64> {
        let Some(running) = &self.running else { return Err(io::ErrorKind::NotConnected.into()) };
        running.watch.set(None);
        let said = running.channel.send([word::STAND_DOWN, self.freeze, 0], &[]);
        let result = said.and_then(|()| running.answer(word::STAND_DOWN, self.freeze));
        if result.is_err() {
            self.end();
        }
        result
    }

    /// A file system that does not come out of freezing or thawing keeps its dead-man, armed, until it does; the next
    /// freeze has another.
    pub(super) fn stay_with(&mut self, group: Group) {
        let Some(running) = self.running.take() else { return };
        let staying = thread::Builder::new().name("dead-man".to_owned());
        let stayed = staying.spawn(move || {
            group.wait_over();
            drop(running);
        });
        if let Err(error) = stayed {
            log::warn!("nobody waits for a file system that does not thaw: {error}");
        }
    }

    /// Ends it. Only where nothing is frozen.
    fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.channel.shut();
        // It may be stopped, and then hears nothing; nothing is frozen any more, so nothing is lost with it.
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not killed: should something be frozen still, it is its duty to thaw it now.
        self.channel.shut();
        let until = Instant::now() + ANSWER_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Running {
    fn start(program: &Path) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let mut command = Command::new(program);
        command.arg(VERB).env_clear().current_dir("/").process_group(0);
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn()?;
        drop(command);
        let watch = Arc::new(Watch::default());
        let running = Self { child, channel, watch };
        let answer = running.answer_within(word::READY, 0, START_PATIENCE);
        let watching = answer.and_then(|_| {
            let (channel, watch) = (running.channel.again()?, Arc::clone(&running.watch));
            let (settled, settling) = mpsc::sync_channel(1);
            thread::Builder::new().name("dead-man".to_owned()).spawn(move || {
                // A thread asks for memory in its beginning: not under a freeze.
                let _ = settled.send(());
                while matches!(channel.wait_for_end(None), Ok(false)) {}
                watch.end();
            })?;
            settling.recv().map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
        let mut running = running;
        if let Err(error) = watching {
            let _ = running.child.kill();
            let _ = running.child.wait();
            return Err(error);
        }
        Ok(running)
    }

    fn lives(&self) -> bool {
        !self.watch.gone.load(Ordering::SeqCst)
    }

    fn answer(&self, to: u64, freeze: u64) -> io::Result<u64> {
        self.answer_within(to, freeze, ANSWER_PATIENCE)
    }

    /// Waits for the answer to this; late ones to what was before are passed over.
    fn answer_within(&self, to: u64, freeze: u64, patience: Duration) -> io::Result<u64> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let Some(received) = self.channel.receive(Some(left), drop)? else { continue };
            match received.message {
                [what, of, number] if what == to && of == freeze => return Ok(number),
                [word::BUSY, of, _] if of == freeze => {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                _ => {}
            }
        }
    }
}
