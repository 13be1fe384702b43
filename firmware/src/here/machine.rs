//! The machine at work: QEMU, the exports that it starts from, its console and its screen.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use firmware_recovery::order::here::Seen;
use pipeline_vault::Error;
use rustix::fs::MemfdFlags;
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;

use super::guard;
use super::qemu::{Handed, Shape, Tools, line};
use super::qmp::Qmp;
use crate::nbd::server::serve_one;
use crate::nbd::source::{BlockSink, BlockSource, Export, Extent};
use crate::report::printable;

/// How much of a console is kept, from its end back.
const CONSOLE_BYTES_MAX: usize = 1 << 20;
/// How much of what QEMU says of itself is kept.
const WORDS_BYTES_MAX: usize = 4096;
/// How much of a picture is kept.
const SCREEN_BYTES_MAX: u64 = 4 << 20;

/// Bytes that a thread of their own reads as they come.
type Heard = Arc<Mutex<Vec<u8>>>;

/// A machine that was started. It ends when this is dropped.
pub(crate) struct Running {
    child: Child,
    qmp: Qmp,
    console: Heard,
    words: Heard,
    screen: File,
    trouble: Arc<Mutex<Option<String>>>,
    exports: Vec<JoinHandle<()>>,
    ended: Option<String>,
}

/// A disk that the machine has, and its name.
pub(crate) struct MachineDisk {
    pub(crate) name: String,
    pub(crate) source: Box<dyn BlockSource>,
}

impl Running {
    /// Starts it. The thread that calls this must last as long as the machine: the kernel kills it with that thread.
    pub(crate) fn start(
        tools: &Tools,
        shape: &Shape,
        disks: Vec<MachineDisk>,
    ) -> Result<Self, Error> {
        Self::started(tools, shape, disks).map_err(|error| {
            Error::device(
                tools.program.display().to_string(),
                format!("cannot be started: {error}"),
            )
        })
    }

    fn started(tools: &Tools, shape: &Shape, disks: Vec<MachineDisk>) -> io::Result<Self> {
        let (qmp, its_qmp) = UnixStream::pair()?;
        let screen = in_memory(&[])?;
        // Another opening of it: QEMU takes what may be written to and nothing else.
        let its_screen =
            File::options().write(true).open(format!("/proc/self/fd/{}", screen.as_raw_fd()))?;
        let variables = match &tools.firmware {
            Some((_, variables)) => Some(in_memory(&std::fs::read(variables)?)?),
            None => None,
        };
        let (mut ends, mut exports) = (Vec::new(), Vec::new());
        let trouble: Arc<Mutex<Option<String>>> = Arc::default();
        for MachineDisk { name, source } in disks {
            let (end, its_end) = UnixStream::pair()?;
            let source = Box::new(Watched { source, trouble: Arc::clone(&trouble) });
            let export = Export { name: name.clone(), description: name, source };
            exports.push((end, export));
            ends.push(OwnedFd::from(its_end));
        }
        let handed = Handed {
            qmp: its_qmp.as_raw_fd(),
            screen: its_screen.as_raw_fd(),
            variables: variables.as_ref().map(|file| file.as_raw_fd()),
            disks: ends.iter().map(|end| end.as_raw_fd()).collect(),
        };
        let mut inherited: Vec<BorrowedFd<'_>> = vec![its_qmp.as_fd(), its_screen.as_fd()];
        inherited.extend(variables.as_ref().map(AsFd::as_fd));
        inherited.extend(ends.iter().map(AsFd::as_fd));
        let mut child = spawn(&tools.program, &line(tools, shape, &handed), &inherited)?;
        let console = heard(child.stdout.take(), CONSOLE_BYTES_MAX);
        let words = heard(child.stderr.take(), WORDS_BYTES_MAX);
        let exports = exports.into_iter().map(|(end, export)| serve(end, export)).collect();
        let qmp = Qmp::new(qmp);
        let mut running =
            Self { child, qmp, console, words, screen, trouble, exports, ended: None };
        // What it holds now must not be held here too, or its end would not be noticed.
        drop((its_qmp, its_screen, ends));
        if let Err(error) = running.qmp.greet() {
            let words = running.ended().unwrap_or_else(|| error.to_string());
            return Err(io::Error::other(words));
        }
        Ok(running)
    }

    /// How it is.
    pub(crate) fn look(&mut self) -> Seen {
        let ended = self.ended();
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Seen { console: taken(&self.console), ended, trouble }
    }

    /// Why it runs no more, where that is so.
    fn ended(&mut self) -> Option<String> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            let words = String::from_utf8_lossy(&taken(&self.words)).trim().to_owned();
            let last = words.lines().last().map(printable).unwrap_or_default();
            let more = if last.is_empty() { String::new() } else { format!(": {last}") };
            self.ended = Some(format!("QEMU ended, {status}{more}"));
        }
        self.ended.clone()
    }

    /// Its screen as a PNG.
    pub(crate) fn picture(&mut self) -> Option<Vec<u8>> {
        let asked = json!({ "filename": "/dev/fdset/1", "format": "png" });
        if let Err(error) = self.qmp.execute("screendump", &asked) {
            log::debug!("no screenshot: {error}");
            return None;
        }
        let bytes = self.screen.metadata().ok()?.len().min(SCREEN_BYTES_MAX);
        let mut picture = vec![0; usize::try_from(bytes).ok()?];
        self.screen.read_exact_at(&mut picture, 0).ok()?;
        Some(picture)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for export in self.exports.drain(..) {
            // Its client is gone, so it ends.
            let _ = export.join();
        }
    }
}

/// Starts it with these open files and no others. The flag that keeps files from programs is off for that moment alone.
fn spawn(program: &Path, words: &[OsString], inherited: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let mut command = guard::command(program, words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("LIFEBOAT_PASSPHRASE");
    for file in inherited {
        fcntl_setfd(file, FdFlags::empty())?;
    }
    let child = command.spawn();
    for file in inherited {
        fcntl_setfd(file, FdFlags::CLOEXEC)?;
    }
    child
}

/// A file that is nowhere, with this content.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("drill", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}

fn serve(end: UnixStream, export: Export) -> JoinHandle<()> {
    thread::spawn(move || {
        let served = smol::net::unix::UnixStream::try_from(end);
        let served = served.and_then(|stream| smol::block_on(serve_one(stream, export)));
        if let Err(error) = served {
            log::debug!("the machine's disk: {error}");
        }
    })
}

/// The last of what comes, as it comes.
fn heard(from: Option<impl Read + Send + 'static>, bytes_max: usize) -> Heard {
    let heard = Heard::default();
    let Some(mut from) = from else { return heard };
    let kept = Arc::clone(&heard);
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&piece[..length]);
            let too_many = kept.len().saturating_sub(bytes_max);
            kept.drain(..too_many);
        }
    });
    heard
}

fn taken(heard: &Heard) -> Vec<u8> {
    heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A disk of which the first failure is remembered: the machine that meets it says little.
struct Watched {
    source: Box<dyn BlockSource>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Watched {
    fn note<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        done.inspect_err(|error| {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            trouble.get_or_insert_with(|| error.to_string());
        })
    }

    fn inner(&self) -> Result<&dyn BlockSink, Error> {
        self.source.sink().ok_or_else(|| Error::misuse("disk", "cannot be written to"))
    }
}

impl BlockSource for Watched {
    fn bytes(&self) -> u64 {
        self.source.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.note(self.source.read_at(offset, into))
    }

    fn extent(&self, offset: u64, bytes: u64) -> Result<Extent, Error> {
        self.source.extent(offset, bytes)
    }

    fn sink(&self) -> Option<&dyn BlockSink> {
        self.source.sink().map(|_| self as &dyn BlockSink)
    }
}

impl BlockSink for Watched {
    fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), Error> {
        self.note(self.inner().and_then(|sink| sink.write_at(offset, from)))
    }

    fn zero_at(&self, offset: u64, bytes: u64) -> Result<(), Error> {
        self.note(self.inner().and_then(|sink| sink.zero_at(offset, bytes)))
    }

    fn flush(&self) -> Result<(), Error> {
        self.note(self.inner().and_then(BlockSink::flush))
    }
}
