//! Verbs for somebody elsewhere, run on the appliance: each a process of its own, in a folder of its own, asked to end in order
//! where whoever wanted it is gone.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use firmware_web::api::site::{Answer, Caller, Refusal};
use firmware_web::api::verbs::{FILE_BYTES_MAX, Running, VerbAsked, VerbTold, Verbs, Weight};
use hal::time::Entropy;
use pipeline_azure::encode::{base64, base64_decode, hex};
use rustix::process::{Pid, Signal, kill_process};

use super::weigh::{Checked, Own, check};
use crate::appliance::processes::{self, Owned};
use crate::report::EXIT_FAILED;
use crate::site::facts::{Ask, Vaulted};

/// Verbs at once, of all that ask.
const RUNNING_MAX: usize = 8;
/// Bytes of output that are told at once, and pieces that wait to be told: a verb whose listener is slow waits.
const PIECE_BYTES: usize = 32 * 1024;
const PIECES_MAX: usize = 16;
/// How often it is said that a verb still runs.
const BEAT: Duration = Duration::from_secs(10);
/// A verb that was asked to end in order has this long.
const END_PATIENCE: Duration = Duration::from_secs(25);
const LOOK: Duration = Duration::from_millis(100);
/// What an address with a signature begins with.
const SIGNED: &str = "sas:";

/// What runs verbs.
pub struct Runner {
    vault: Ask<Option<Vaulted>>,
    environment: Vec<(String, String)>,
    state: Option<PathBuf>,
    scratch: PathBuf,
    entropy: Arc<dyn Entropy>,
    running: Arc<AtomicUsize>,
}

impl Runner {
    /// On the vault in use, and its environment; a verb that wants none finds `environment`. folders for its files are made in
    /// `scratch` and taken away again. `state` is the folder that `serve` keeps its documents in, where there is one.
    #[must_use]
    pub fn new(
        vault: Ask<Option<Vaulted>>,
        environment: Vec<(String, String)>,
        state: Option<PathBuf>,
        scratch: PathBuf,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { vault, environment, state, scratch, entropy, running: Arc::default() }
    }

    fn checked(&self, asked: &VerbAsked, folder: &Path) -> Answer<(Checked, Option<Vaulted>)> {
        let vaulted = (self.vault)();
        let own = Own {
            opening: vaulted.as_ref().map(|vaulted| &vaulted.opening),
            state: self.state.as_deref(),
            input: folder.join("input"),
            output: folder.join("output"),
        };
        Ok((check(asked, &own)?, vaulted))
    }

    fn start(
        &self,
        by: &Caller,
        checked: &Checked,
        vaulted: Option<&Vaulted>,
    ) -> io::Result<Owned> {
        let all = vaulted.map_or(&self.environment, |vaulted| &vaulted.environment);
        let ours = all.iter().filter(|(name, _)| !NOT_HANDED_ON.contains(&name.as_str()));
        let mut command = Command::new(processes::program());
        command
            .args(&checked.words)
            .env_clear()
            .envs(ours.cloned())
            // Who gives an order is who asked for it.
            .env("USER", &by.name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = Owned::start_job(&mut command)?;
        // Where memory runs out, the verb goes before the appliance does.
        let _ = fs::write(format!("/proc/{}/oom_score_adj", child.0.id()), "800");
        Ok(child)
    }
}

/// Of the environment: who started this process gave no order, and a verb is not sent on.
const NOT_HANDED_ON: [&str; 4] = ["SUDO_USER", "LOGNAME", "LIFEBOAT_REMOTE", "LIFEBOAT_TOKEN"];

impl Verbs for Runner {
    fn weigh(&self, asked: &VerbAsked) -> Answer<Weight> {
        Ok(self.checked(asked, Path::new("/nowhere"))?.0.weight)
    }

    fn begin(&self, by: &Caller, asked: &VerbAsked) -> Answer<Box<dyn Running>> {
        let place = Place::take(&self.running)?;
        let scratch = Scratch::make(&self.scratch, &*self.entropy)
            .map_err(|error| unavailable(format!("has no folder to work in: {error}")))?;
        let (mut checked, vaulted) = self.checked(asked, &scratch.0)?;
        put_away(&mut checked.words, &scratch)
            .map_err(|error| unavailable(format!("cannot keep what it was given: {error}")))?;
        if let Some(input) = &asked.input {
            let bytes = base64_decode(input).filter(|bytes| bytes.len() <= FILE_BYTES_MAX);
            let bytes = bytes.ok_or_else(|| {
                Refusal::new(422, "the file", "is no base64, or is larger than 4 MiB").at("/input")
            })?;
            scratch
                .write("input", &bytes)
                .map_err(|error| unavailable(format!("cannot keep its file: {error}")))?;
        }
        let mut child = self
            .start(by, &checked, vaulted.as_ref())
            .map_err(|error| unavailable(format!("cannot be started: {error}")))?;
        let (tell, told) = sync_channel(PIECES_MAX);
        let out = child.0.stdout.take();
        let err = child.0.stderr.take();
        let hear = |pipe: Option<Box<dyn Read + Send>>,
                    shape: fn(String) -> VerbTold,
                    tell: SyncSender<VerbTold>| {
            let pipe = pipe.ok_or_else(|| unavailable("cannot be heard".to_owned()))?;
            let started = std::thread::Builder::new()
                .name("verb".to_owned())
                .spawn(move || listen(pipe, shape, &tell));
            started.map(drop).map_err(|error| unavailable(format!("cannot be heard: {error}")))
        };
        let job = Job {
            child: Some(child),
            told: Some(told),
            output: asked.output.as_ref().map(|_| scratch.0.join("output")),
            state: State::Runs,
            began: Instant::now(),
            held: Some((scratch, place)),
        };
        hear(out.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>), VerbTold::Out, tell.clone())?;
        hear(err.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>), VerbTold::Err, tell)?;
        Ok(Box::new(job))
    }
}

/// Addresses that open something go into a file: command lines are read by whoever is on the machine.
fn put_away(words: &mut [OsString], scratch: &Scratch) -> io::Result<()> {
    for word in words {
        let text = word.to_string_lossy().into_owned();
        if let Some((before, address)) = text.split_once(SIGNED)
            && (before.is_empty() || before.ends_with('='))
        {
            scratch.write("address", address.as_bytes())?;
            *word = format!("{before}{SIGNED}@{}", scratch.0.join("address").display()).into();
        }
    }
    Ok(())
}

fn unavailable(detail: String) -> Refusal {
    Refusal::new(503, "the verb", detail).remedy("try again in a moment")
}

/// One of the verbs that may run at once.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(running: &Arc<AtomicUsize>) -> Answer<Self> {
        if running.fetch_add(1, Ordering::AcqRel) >= RUNNING_MAX {
            running.fetch_sub(1, Ordering::AcqRel);
            return Err(unavailable(format!("waits: {RUNNING_MAX} run already")));
        }
        Ok(Self(Arc::clone(running)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A folder of one verb, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn make(within: &Path, entropy: &dyn Entropy) -> io::Result<Self> {
        let mut name = [0; 8];
        entropy.fill(&mut name).map_err(io::Error::other)?;
        let folder = within.join(format!("verb-{}", hex(&name)));
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(self.0.join(name))?.write_all(bytes)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}

/// Takes what a verb prints until it closes its end, or nobody wants it any more.
fn listen(
    mut pipe: Box<dyn Read + Send>,
    shape: fn(String) -> VerbTold,
    tell: &SyncSender<VerbTold>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match pipe.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(more) => {
                if tell.send(shape(base64(&piece[..more]))).is_err() {
                    return;
                }
            }
        }
    }
}

enum State {
    /// It prints.
    Runs,
    /// It has ended so, and its file is to be told.
    Ended(u8),
    /// All was told.
    Told,
}

/// A verb that runs.
struct Job {
    child: Option<Owned>,
    told: Option<Receiver<VerbTold>>,
    output: Option<PathBuf>,
    state: State,
    began: Instant,
    /// What goes with the process: its folder, and its place among those that may run.
    held: Option<(Scratch, Place)>,
}

impl Running for Job {
    fn next(&mut self) -> Option<VerbTold> {
        match self.state {
            State::Runs => {
                let told = self.told.as_ref()?;
                match told.recv_timeout(BEAT) {
                    Ok(told) => return Some(told),
                    Err(RecvTimeoutError::Timeout) => {
                        return Some(VerbTold::Beat(self.began.elapsed().as_secs()));
                    }
                    Err(RecvTimeoutError::Disconnected) => {}
                }
                self.state = State::Ended(self.wait());
                self.next()
            }
            State::Ended(code) => match self.output.take().and_then(|path| file(&path)) {
                Some(Ok(told)) => Some(told),
                Some(Err(words)) => {
                    // Half a file is none: nobody shall take it for the whole.
                    self.state = State::Ended(code.max(EXIT_FAILED));
                    Some(VerbTold::Err(base64(words.as_bytes())))
                }
                None => {
                    self.state = State::Told;
                    Some(VerbTold::Ended(code))
                }
            },
            State::Told => None,
        }
    }
}

impl Job {
    fn wait(&mut self) -> u8 {
        let status = self.child.as_mut().map(|child| child.0.wait());
        self.child = None;
        status.and_then(Result::ok).map_or(EXIT_FAILED, code)
    }
}

fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(EXIT_FAILED)
}

/// The file that the verb made, where it made one; or why it does not go over.
fn file(path: &Path) -> Option<Result<VerbTold, String>> {
    let failed = |words: &str| format!("lifeboat: the file that was asked for {words}\n");
    let file = fs::File::open(path).ok()?;
    let mut bytes = Vec::new();
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    Some(match file.take(most + 1).read_to_end(&mut bytes) {
        Err(error) => Err(failed(&format!("cannot be read: {error}"))),
        Ok(_) if bytes.len() > FILE_BYTES_MAX => {
            Err(failed("is larger than 4 MiB, which is all that comes back: print it on the page"))
        }
        Ok(_) => Ok(VerbTold::File(base64(&bytes))),
    })
}

impl Drop for Job {
    fn drop(&mut self) {
        // Its pipes have a reader no more: what it prints ends there.
        self.told = None;
        let Some(child) = self.child.take() else { return };
        let held = self.held.take();
        log::info!("a verb is asked to end: nobody listens to it any more");
        // Whoever drops this has others to serve meanwhile.
        let ends = move || {
            end(child);
            drop(held);
        };
        if let Err(error) = std::thread::Builder::new().name("verb".to_owned()).spawn(ends) {
            log::warn!("a verb goes on although nobody listens to it: {error}");
        }
    }
}

fn end(mut child: Owned) {
    let Some(pid) = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw) else { return };
    // It may have ended already.
    let _ = kill_process(pid, Signal::TERM);
    let until = Instant::now() + END_PATIENCE;
    while Instant::now() < until {
        if !matches!(child.0.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    let _ = kill_process(pid, Signal::KILL);
    let _ = child.0.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("lifeboat-verb-{}", std::process::id()));
        assert_eq!(file(&path), None, "where none was made");
        fs::write(&path, vec![b'x'; FILE_BYTES_MAX]).unwrap();
        let whole = VerbTold::File(base64(&vec![b'x'; FILE_BYTES_MAX]));
        assert!(file(&path) == Some(Ok(whole)));
        fs::write(&path, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
        assert!(file(&path).unwrap().unwrap_err().contains("larger than 4 MiB"));
        fs::remove_file(&path).unwrap();
    }
}
