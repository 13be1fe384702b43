//! bpf(2): maps, programs, links, and names for them in bpffs. It knows no helper and no program.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_void;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::{Errno, Result};

use crate::sys::shared::SharedWords;

/// What the kernel reads of an argument; it takes no other lengths than those whose rest is zero.
const ATTRIBUTE_BYTES: usize = 128;
/// Names of maps and programs, with the zero at their end.
const NAME_BYTES: usize = 16;
/// The flag of a map that can be mapped into memory.
const MAPPABLE: u32 = 1 << 10;
/// A program on a typed tracepoint.
const TRACING: u32 = 26;
/// Where such a program is attached.
const RAW_TRACEPOINT: u32 = 23;
/// What a kernel tells of a program, of which later ones tell more.
const PROGRAM_INFO_BYTES: usize = 256;
/// Where it tells how often a program did not run as it was running already.
const MISSES_AT: usize = 208;
/// Room for what the verifier says.
const LOG_BYTES: usize = 4 << 20;
/// Its last lines are those that say why.
const LOG_LINES: usize = 12;

/// The commands of bpf(2) that are used here.
#[derive(Clone, Copy, Debug)]
enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgramLoad = 5,
    Pin = 6,
    Get = 7,
    Info = 15,
    RawTracepointOpen = 17,
}

/// How a map keeps its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapKind {
    /// By keys.
    Hash = 1,
    /// By number.
    Array = 2,
    /// By number, and for each processor its own: only programs get at its values.
    ArrayOfProcessor = 6,
}

/// What a map is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// How it keeps its values.
    pub kind: MapKind,
    /// Bytes of a key; 4 for arrays.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// How many there can be.
    pub entries: u32,
    /// Whether it can be mapped into memory.
    pub mappable: bool,
}

/// A map of the kernel's.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    shape: MapShape,
}

impl Map {
    /// Makes a map.
    pub fn create(shape: MapShape, name: &str) -> Result<Self> {
        let flags = if shape.mappable { MAPPABLE } else { 0 };
        let mut attribute = Attribute::default();
        attribute.number(0, shape.kind as u32);
        attribute.number(4, shape.key_bytes);
        attribute.number(8, shape.value_bytes);
        attribute.number(12, shape.entries);
        attribute.number(16, flags);
        attribute.name(28, name);
        Ok(Self { fd: attribute.opened(Command::MapCreate)?, shape })
    }

    /// The map that was pinned under a name. `INVAL` where it is no map of a kind that is known here.
    pub fn pinned(path: &Path) -> Result<Self> {
        let fd = pinned(path)?;
        let mut info = [0; 80];
        object_info(fd.as_fd(), &mut info)?;
        let field = |at: usize| {
            let bytes = info.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_ne_bytes).ok_or(Errno::INVAL)
        };
        let kind = match field(0)? {
            1 => MapKind::Hash,
            2 => MapKind::Array,
            6 => MapKind::ArrayOfProcessor,
            _ => return Err(Errno::INVAL),
        };
        let shape = MapShape {
            kind,
            key_bytes: field(8)?,
            value_bytes: field(12)?,
            entries: field(16)?,
            mappable: field(20)? & MAPPABLE != 0,
        };
        let map = Self { fd, shape };
        // A program or a link has other facts at these places: only of a map the kernel tells keys.
        let mut next = vec![0; shape.key_bytes.min(4096) as usize];
        match map.next(None, &mut next) {
            Ok(()) | Err(Errno::NOENT) => Ok(map),
            Err(error) => Err(error),
        }
    }

    /// What it is like.
    #[must_use]
    pub fn shape(&self) -> MapShape {
        self.shape
    }

    /// Sets the value of a key. `INVAL` where lengths do not fit.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.fits(key, value.len())?;
        let mut attribute = self.attribute();
        attribute.pointer(8, key.as_ptr().cast());
        attribute.pointer(16, value.as_ptr().cast());
        // SAFETY: the kernel reads as many bytes from both as the map's keys and values have, which was held against
        // the slices, and writes nothing.
        unsafe { attribute.call(Command::MapUpdate) }.map(drop)
    }

    /// Reads the value of a key; whether there is one.
    pub fn value(&self, key: &[u8], value: &mut [u8]) -> Result<bool> {
        self.fits(key, value.len())?;
        let mut attribute = self.attribute();
        attribute.pointer(8, key.as_ptr().cast());
        attribute.pointer(16, value.as_mut_ptr().cast());
        // SAFETY: the kernel reads a key and writes a value, whose lengths were held against the slices.
        found(unsafe { attribute.call(Command::MapLookup) })
    }

    /// Takes a key out; whether it was in.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        self.fits(key, self.shape.value_bytes as usize)?;
        let mut attribute = self.attribute();
        attribute.pointer(8, key.as_ptr().cast());
        // SAFETY: the kernel reads a key, whose length was held against the slice, and writes nothing.
        found(unsafe { attribute.call(Command::MapDelete) })
    }

    /// All keys, as they are while nobody else changes them.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        // A map that others change may begin anew: never more than it can hold.
        for _ in 0..self.shape.entries {
            let mut next = vec![0; self.shape.key_bytes as usize];
            match self.next(keys.last().map(Vec::as_slice), &mut next) {
                Ok(()) => keys.push(next),
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    /// The values in memory, as words that programs and other processes change too.
    pub fn words(&self) -> Result<SharedWords> {
        if !self.shape.mappable {
            return Err(Errno::INVAL);
        }
        let value_bytes = (self.shape.value_bytes as usize).next_multiple_of(8);
        let bytes = value_bytes.checked_mul(self.shape.entries as usize).ok_or(Errno::OVERFLOW)?;
        SharedWords::of(&self.fd, bytes.next_multiple_of(4096))
    }

    fn next(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<()> {
        let length = self.shape.key_bytes as usize;
        if next.len() < length || key.is_some_and(|key| key.len() < length) {
            return Err(Errno::INVAL);
        }
        let mut attribute = self.attribute();
        if let Some(key) = key {
            attribute.pointer(8, key.as_ptr().cast());
        }
        attribute.pointer(16, next.as_mut_ptr().cast());
        // SAFETY: the kernel reads one key, or none, and writes one; both slices hold a key.
        unsafe { attribute.call(Command::MapNextKey) }.map(drop)
    }

    fn fits(&self, key: &[u8], value_bytes: usize) -> Result<()> {
        let shape = &self.shape;
        let fits = key.len() == shape.key_bytes as usize
            && value_bytes == shape.value_bytes as usize
            // Of these the kernel copies as many values as there may be processors.
            && shape.kind != MapKind::ArrayOfProcessor;
        if fits { Ok(()) } else { Err(Errno::INVAL) }
    }

    fn attribute(&self) -> Attribute {
        let mut attribute = Attribute::default();
        attribute.descriptor(0, self.fd.as_fd());
        attribute
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A program that the verifier let pass.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

/// Why a program was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The kernel's answer.
    pub errno: Errno,
    /// The last lines of what the verifier said; empty where it said nothing.
    pub log: String,
}

impl Program {
    /// Loads a program for the typed tracepoint of this number in the kernel's own types.
    pub fn load(
        code: &[u64],
        tracepoint: u32,
        license: &str,
        name: &str,
    ) -> core::result::Result<Self, Rejected> {
        let refused = |errno| Rejected { errno, log: String::new() };
        let count = u32::try_from(code.len()).map_err(|_| refused(Errno::TOOBIG))?;
        let license = CString::new(license).map_err(|_| refused(Errno::INVAL))?;
        let mut attribute = Attribute::default();
        attribute.number(0, TRACING);
        attribute.number(4, count);
        attribute.pointer(8, code.as_ptr().cast());
        attribute.pointer(16, license.as_ptr().cast());
        attribute.name(48, name);
        attribute.number(68, RAW_TRACEPOINT);
        attribute.number(108, tracepoint);
        match attribute.clone().opened(Command::ProgramLoad) {
            Ok(fd) => Ok(Self { fd }),
            // Once more for the reason: most times nobody asks.
            Err(errno) => {
                let mut log = vec![0_u8; LOG_BYTES];
                attribute.number(24, 1);
                attribute.number(28, u32::try_from(log.len()).unwrap_or(u32::MAX));
                attribute.pointer(32, log.as_mut_ptr().cast());
                match attribute.opened(Command::ProgramLoad) {
                    Ok(fd) => Ok(Self { fd }),
                    Err(_) => Err(Rejected { errno, log: last_lines(&log) }),
                }
            }
        }
    }

    /// The program that was pinned under a name.
    pub fn pinned(path: &Path) -> Result<Self> {
        let fd = pinned(path)?;
        Ok(Self { fd })
    }

    /// How often it did not run because it was running already; nothing where the kernel does not count that.
    pub fn misses(&self) -> Result<Option<u64>> {
        let mut info = [0; PROGRAM_INFO_BYTES];
        let told = object_info(self.fd.as_fd(), &mut info)?;
        let misses = info.get(MISSES_AT..MISSES_AT + 8).filter(|_| told >= MISSES_AT + 8);
        Ok(misses.and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes))
    }

    /// Runs it from now on, wherever its tracepoint is passed, until the link is dropped and not pinned.
    pub fn attach(&self) -> Result<Link> {
        let mut attribute = Attribute::default();
        attribute.descriptor(8, self.fd.as_fd());
        attribute.opened(Command::RawTracepointOpen).map(|fd| Link { fd })
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What keeps a program on its tracepoint.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

impl Link {
    /// The link that was pinned under a name.
    pub fn pinned(path: &Path) -> Result<Self> {
        pinned(path).map(|fd| Self { fd })
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives a map, a program or a link a name in bpffs, under which it lives on without a process.
pub fn pin(object: impl AsFd, path: &Path) -> Result<()> {
    let path = c_path(path)?;
    let mut attribute = Attribute::default();
    attribute.pointer(0, path.as_ptr().cast());
    attribute.descriptor(8, object.as_fd());
    // SAFETY: the kernel reads the path up to its zero, and writes nothing.
    unsafe { attribute.call(Command::Pin) }.map(drop)
}

fn pinned(path: &Path) -> Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attribute = Attribute::default();
    attribute.pointer(0, path.as_ptr().cast());
    attribute.opened(Command::Get)
}

/// Facts of an object; how many bytes of them the kernel knows.
fn object_info(object: BorrowedFd<'_>, info: &mut [u8]) -> Result<usize> {
    let length = u32::try_from(info.len()).map_err(|_| Errno::INVAL)?;
    let mut attribute = Attribute::default();
    attribute.descriptor(0, object);
    attribute.number(4, length);
    attribute.pointer(8, info.as_mut_ptr().cast());
    // SAFETY: the kernel writes at most as many bytes as it is told that there are. What it reads there first are
    // lengths of further lists, all zero, as no caller fills the buffer.
    unsafe { attribute.call(Command::Info) }?;
    Ok(attribute
        .0
        .get(4..8)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, |bytes| usize::try_from(u32::from_ne_bytes(bytes)).unwrap_or(0).min(info.len())))
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

fn found(answer: Result<i32>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn last_lines(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join(" | ")
}

/// The argument of bpf(2): a union, of which every command has its own fields.
#[derive(Clone)]
#[repr(align(8))]
struct Attribute([u8; ATTRIBUTE_BYTES]);

impl Default for Attribute {
    fn default() -> Self {
        Self([0; ATTRIBUTE_BYTES])
    }
}

impl Attribute {
    fn bytes(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn number(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_ne_bytes());
    }

    fn descriptor(&mut self, at: usize, fd: BorrowedFd<'_>) {
        self.bytes(at, &fd.as_raw_fd().to_ne_bytes());
    }

    fn pointer(&mut self, at: usize, pointer: *const c_void) {
        self.bytes(at, &(pointer.expose_provenance() as u64).to_ne_bytes());
    }

    fn name(&mut self, at: usize, name: &str) {
        let length = name.len().min(NAME_BYTES - 1);
        self.bytes(at, name.as_bytes().get(..length).unwrap_or_default());
    }

    /// A command whose answer is a new descriptor, and that only reads what the pointers of its argument point to; the
    /// verifier's log is written, where there is room told for it.
    fn opened(mut self, command: Command) -> Result<OwnedFd> {
        // SAFETY: all callers are in this file: their pointers are to whole slices and strings that outlive the call,
        // with their lengths beside them.
        let fd = unsafe { self.call(command) }?;
        // SAFETY: the kernel has just made this descriptor for us, with close-on-exec.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// # Safety
    /// Every pointer in the argument must be good for what the command reads and writes there.
    unsafe fn call(&mut self, command: Command) -> Result<i32> {
        let start = self.0.as_mut_ptr();
        // SAFETY: the argument is so many bytes long and lives through the call; what it points to is the caller's
        // promise.
        let answer = unsafe {
            libc::syscall(libc::SYS_bpf, command as libc::c_long, start, ATTRIBUTE_BYTES)
        };
        match i32::try_from(answer) {
            Ok(answer) if answer >= 0 => Ok(answer),
            _ => {
                Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
            }
        }
    }
}
