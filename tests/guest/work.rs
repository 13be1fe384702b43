//! What writes: a process of its own, as a writer that waits for a frozen file system would stop the tracker with it if
//! they shared their memory. One thread for each letter, until the input is closed.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use hal_linux::AlignedBuffer;
use hal_linux::bpf::SharedWords;
use hal_linux::freeze::StillHandle;
use hal_sim::random::Random;
use rustix::fs::{FallocateFlags, fallocate};

/// Of each thread's file.
const FILE_BYTES: u64 = 12 << 20;
const BUFFER_BYTES: usize = 1 << 20;
const DIRECT: i32 = 0o40_000;

/// Every kind of writer: b buffered, d direct, m mapped, c files that come and go, z holes, t trim, s sync.
pub(crate) const ALL: &str = "bdmczts";

/// The process, and how it is ended.
pub(crate) struct Work(Child);

impl Work {
    /// Starts it.
    pub(crate) fn start(folder: &str, letters: &str, seed: u64) -> Result<Self, String> {
        let letters = if letters == "all" { ALL } else { letters };
        let mut command = Command::new("/proc/self/exe");
        command.args(["work", folder, letters, &seed.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().map(Self).map_err(|error| error.to_string())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it; how many operations it did.
    pub(crate) fn finish(mut self) -> Result<u64, String> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse().map_err(|error| format!("the writers ended with «{text}»: {error}"))
    }
}

/// Writes until the input is closed; how many operations were done.
pub(crate) fn run(folder: &Path, letters: &str, seed: u64) -> u64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for (place, letter) in (1..).zip(letters.chars()) {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                let random = Random::new(seed.wrapping_mul(1000).wrapping_add(place));
                let mut writer = match Writer::new(folder, letter, place, random) {
                    Ok(writer) => writer,
                    Err(error) => return eprintln!("writer {letter}: {error}"),
                };
                while !stop.load(Ordering::Relaxed) {
                    // A full disk is part of what happens.
                    if writer.step().is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed)
}

struct Writer<'a> {
    folder: &'a Path,
    letter: char,
    random: Random,
    file: File,
    mapped: Option<SharedWords>,
    still: StillHandle,
    buffer: AlignedBuffer,
    steps: u64,
}

impl<'a> Writer<'a> {
    fn new(folder: &'a Path, letter: char, place: u64, mut random: Random) -> Result<Self, String> {
        let words = |error: &dyn core::fmt::Display| error.to_string();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        if letter == 'd' {
            options.custom_flags(DIRECT);
        }
        let path = folder.join(format!("file-{letter}{place}"));
        let file = options.open(path).map_err(|error| words(&error))?;
        let mapped = if letter == 'm' {
            file.set_len(FILE_BYTES).map_err(|error| words(&error))?;
            Some(SharedWords::of_file(&file).map_err(|error| words(&error))?)
        } else {
            None
        };
        let mut buffer = AlignedBuffer::zeroed(BUFFER_BYTES).map_err(|error| words(&error))?;
        random.fill(buffer.as_mut());
        let still = StillHandle::open(folder).map_err(|error| words(&error))?;
        Ok(Self { folder, letter, random, file, mapped, still, buffer, steps: 0 })
    }

    fn step(&mut self) -> std::io::Result<()> {
        self.steps += 1;
        let stamp = self.random.number().to_ne_bytes();
        if let Some(place) = self.buffer.as_mut().get_mut(..8) {
            place.copy_from_slice(&stamp);
        }
        match self.letter {
            'b' => self.buffered(),
            'd' => self.direct(),
            'm' => self.mapped(),
            'c' => self.come_and_go(),
            'z' => self.holes(),
            't' => {
                thread::sleep(Duration::from_millis(300));
                self.still.trim().map(drop)
            }
            _ => {
                thread::sleep(Duration::from_millis(120));
                self.still.sync()
            }
        }
    }

    fn bytes(&self, length: u64) -> &[u8] {
        let length = usize::try_from(length).unwrap_or(0);
        self.buffer.as_ref().get(..length).unwrap_or_default()
    }

    fn buffered(&mut self) -> std::io::Result<()> {
        let length = 1 + self.random.below(65_536);
        let at = self.random.below(FILE_BYTES - length);
        self.file.write_all_at(self.bytes(length), at)?;
        if self.steps.is_multiple_of(37) { self.file.sync_all() } else { Ok(()) }
    }

    fn direct(&mut self) -> std::io::Result<()> {
        let length = 4096 * (1 + self.random.below(32));
        let at = 4096 * self.random.below((FILE_BYTES - length) / 4096);
        self.file.write_all_at(self.bytes(length), at)
    }

    fn mapped(&mut self) -> std::io::Result<()> {
        let Some(words) = &self.mapped else { return Ok(()) };
        for _ in 0..16 {
            let at = usize::try_from(self.random.below(FILE_BYTES / 8)).unwrap_or(0);
            if let Some(word) = words.get(at) {
                word.store(self.random.number(), Ordering::Relaxed);
            }
        }
        if self.steps.is_multiple_of(40) {
            words.flush()?;
        }
        thread::sleep(Duration::from_millis(2));
        Ok(())
    }

    fn come_and_go(&mut self) -> std::io::Result<()> {
        let path = self.folder.join(format!("come-{}", self.random.below(100)));
        if self.random.below(2) == 0 {
            return fs::remove_file(path);
        }
        let length = 1 + self.random.below(200_000);
        fs::write(&path, self.bytes(length))?;
        if self.steps.is_multiple_of(5) { File::open(&path)?.sync_all() } else { Ok(()) }
    }

    fn holes(&mut self) -> std::io::Result<()> {
        let length = 4096 * (1 + self.random.below(64));
        let at = 4096 * self.random.below((FILE_BYTES - length) / 4096);
        match self.random.below(3) {
            0 => self.file.write_all_at(self.bytes(length), at)?,
            1 => fallocate(
                &self.file,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                at,
                length,
            )?,
            _ => fallocate(
                &self.file,
                FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
                at,
                length,
            )?,
        }
        if self.steps.is_multiple_of(29) { self.file.sync_data() } else { Ok(()) }
    }
}
