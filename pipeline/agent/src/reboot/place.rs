//! Where marks are saved: a file that was made while the system ran, and that is written to past its file system once that
//! takes no writes any more, so that saving changes nothing that the saved marks do not name.
//!
//! It is filled with stamps that say whose it is. Before anything is written each of its blocks must bear its stamp where the
//! file system says that it lies, read from the device: nothing else is ever written to. What is saved counts once its head
//! is written, which is last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hal::time::Entropy as _;
use hal_linux::extents::{FileExtent, extents_of};
use hal_linux::{AlignedBuffer, SystemEntropy};
use pipeline::seal::digest;

use crate::devices;

/// What bears a stamp.
const PAGE: usize = 4096;
/// What a device can write: extents of file systems with small blocks begin anywhere.
const SECTOR: u64 = 512;
const PIECE: usize = 256 * PAGE;
/// Enough for 120 TiB of disks.
const BYTES_MAX: u64 = 240 << 20;
const STAMP: &[u8; 8] = b"LBSPARE1";
const HEAD: &[u8; 8] = b"LBMARKS1";
const NONCE_BYTES: usize = 16;
const SUM_BYTES: usize = 32;
/// File systems that keep a file where it lies, without sums of its content.
const KINDS: [&str; 3] = ["ext2", "ext3", "ext4"];
const DIRECT: i32 = 0o40_000;

/// The file.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
}

/// The file as parts of its device, each of which bears its stamp.
#[derive(Debug)]
pub struct Open {
    node: File,
    device: (u32, u32),
    extents: Vec<FileExtent>,
    nonce: [u8; NONCE_BYTES],
    bytes: u64,
}

impl Place {
    /// This file.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What was saved; nothing where nothing was.
    ///
    /// # Errors
    /// Something was, and it is not whole.
    pub fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(file) => {
                file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| self.said(&error))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.said(&error)),
        };
        parse(&bytes)
    }

    /// Makes void what was saved, and makes room for so many bytes.
    ///
    /// # Errors
    /// What was saved may still be there.
    pub fn prepare(&self, bytes: u64) -> Result<(), String> {
        let pages = bytes.div_ceil(PAGE as u64) + 1;
        let wanted = pages * PAGE as u64;
        if wanted > BYTES_MAX {
            return Err(
                "the disks are too large for what is noted at the end of a start".to_owned()
            );
        }
        let mut nonce = [0; NONCE_BYTES];
        SystemEntropy.fill(&mut nonce).map_err(|error| error.to_string())?;
        let there = fs::metadata(&self.path).is_ok_and(|found| found.len() == wanted);
        let made = if there {
            // Where it lies it stays.
            OpenOptions::new()
                .write(true)
                .open(&self.path)
                .and_then(|file| stamp(&file, pages, &nonce))
        } else {
            self.make(pages, &nonce)
        };
        made.map_err(|error| self.said(&error))
    }

    /// Finds where it lies on its device, which takes no writes from its file system any more.
    ///
    /// # Errors
    /// It is not sure that each of its blocks is there.
    pub fn open(&self) -> Result<Open, String> {
        let found = fs::metadata(&self.path).map_err(|error| self.said(&error))?;
        let device = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
        let systems = devices::file_systems();
        let system = systems.iter().find(|system| system.number == device);
        match system {
            Some(system) if !KINDS.contains(&system.kind.as_str()) => {
                return Err(format!("marks cannot be saved on {}", system.kind));
            }
            Some(system) if !system.read_only => {
                return Err(format!("{} takes writes still", system.at.display()));
            }
            Some(_) => {}
            None => return Err("what is remembered lies on no protected disk".to_owned()),
        }
        let extents = extents_of(&self.path).map_err(|error| self.said(&error))?;
        let node = node_of(device)?;
        let mut options = OpenOptions::new();
        let node = options.read(true).write(true).custom_flags(DIRECT).open(&node);
        let node = node.map_err(|error| self.said(&error))?;
        let mut open = Open { node, device, extents, nonce: [0; NONCE_BYTES], bytes: found.len() };
        open.check()?;
        Ok(open)
    }

    fn make(&self, pages: u64, nonce: &[u8; NONCE_BYTES]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let new = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        stamp(&file, pages, nonce)?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }

    fn said(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }
}

impl Open {
    /// The device of its file system.
    #[must_use]
    pub fn device(&self) -> (u32, u32) {
        self.device
    }

    /// Writes it as it is.
    ///
    /// # Errors
    /// In words.
    pub fn rewrite(&self) -> Result<(), String> {
        let pages = self.bytes / PAGE as u64;
        let mut all = Vec::new();
        for page in 0..pages {
            all.extend(stamp_of(page, &self.nonce));
        }
        self.put(0, &all)
    }

    /// Saves bytes, if everything is still as long as it takes.
    ///
    /// # Errors
    /// Nothing is saved.
    pub fn write(
        &self,
        bytes: &[u8],
        is_still: &dyn Fn() -> Result<(), String>,
    ) -> Result<(), String> {
        let mut body = bytes.to_vec();
        body.resize(bytes.len().next_multiple_of(PAGE), 0);
        let room = self.bytes.saturating_sub(PAGE as u64);
        if u64::try_from(body.len()).unwrap_or(u64::MAX) > room {
            return Err("there is too little room for what is to be saved".to_owned());
        }
        let saved = self.put(PAGE as u64, &body).and_then(|()| {
            let mut read = vec![0; body.len()];
            self.get(PAGE as u64, &mut read)?;
            if read != body {
                return Err("what was written is not what is read".to_owned());
            }
            is_still()?;
            self.put(0, &head_of(bytes))?;
            is_still()
        });
        saved.map_err(|why| match self.rewrite() {
            Ok(()) => why,
            Err(worse) => format!("{why}; {worse}"),
        })
    }

    /// Every page bears its stamp, on the device as in the file.
    fn check(&mut self) -> Result<(), String> {
        let length = usize::try_from(self.bytes).map_err(|error| error.to_string())?;
        let whole = length.is_multiple_of(PAGE) && (PAGE..=BYTES_MAX_IN_MEMORY).contains(&length);
        let mut next = 0;
        for extent in &self.extents {
            let aligned = [extent.in_file, extent.on_device, extent.bytes]
                .iter()
                .all(|number| number.is_multiple_of(SECTOR));
            if extent.in_file != next || !aligned {
                next = 0;
                break;
            }
            next += extent.bytes;
        }
        if !whole || next < self.bytes {
            return Err("the place for marks does not lie on its disk as it should".to_owned());
        }
        let mut found = vec![0; length];
        self.get(0, &mut found)?;
        let nonce = found.get(STAMP.len()..STAMP.len() + NONCE_BYTES);
        self.nonce.copy_from_slice(nonce.unwrap_or_default());
        let pages = (0..).zip(found.chunks(PAGE));
        let ours = |(page, found): (u64, &[u8])| found == stamp_of(page, &self.nonce);
        if pages.into_iter().all(ours) {
            Ok(())
        } else {
            Err("the place for marks bears no stamp: something was saved already".to_owned())
        }
    }

    fn put(&self, at: u64, bytes: &[u8]) -> Result<(), String> {
        let mut buffer = AlignedBuffer::zeroed(PIECE).map_err(|error| error.to_string())?;
        self.each(at, bytes.len(), &mut |on_device, from, end| {
            let piece = bytes.get(from..end).unwrap_or_default();
            let into = buffer.as_mut().get_mut(..piece.len()).unwrap_or_default();
            into.copy_from_slice(piece);
            self.node.write_all_at(into, on_device)
        })?;
        self.node.sync_all().map_err(|error| format!("saving marks: {error}"))
    }

    fn get(&self, at: u64, bytes: &mut [u8]) -> Result<(), String> {
        let mut buffer = AlignedBuffer::zeroed(PIECE).map_err(|error| error.to_string())?;
        self.each(at, bytes.len(), &mut |on_device, from, end| {
            let piece = bytes.get_mut(from..end).unwrap_or_default();
            let read = buffer.as_mut().get_mut(..piece.len()).unwrap_or_default();
            self.node.read_exact_at(read, on_device)?;
            piece.copy_from_slice(read);
            Ok(())
        })
    }

    /// Pieces of the file from a byte on: where each lies on the device, and which of so many bytes it has.
    fn each(
        &self,
        at: u64,
        length: usize,
        piece: &mut dyn FnMut(u64, usize, usize) -> io::Result<()>,
    ) -> Result<(), String> {
        let mut done = 0;
        while done < length {
            let in_file = at + done as u64;
            let extent = self.extents.iter().find(|extent| {
                extent.in_file <= in_file && in_file - extent.in_file < extent.bytes
            });
            let extent = extent.ok_or("the place for marks is smaller than it was")?;
            let within = in_file - extent.in_file;
            let left = usize::try_from(extent.bytes - within).unwrap_or(usize::MAX);
            let end = done + left.min(PIECE).min(length - done);
            piece(extent.on_device + within, done, end)
                .map_err(|error| format!("the place for marks: {error}"))?;
            done = end;
        }
        Ok(())
    }
}

const BYTES_MAX_IN_MEMORY: usize = 240 << 20;
const _: () = assert!(BYTES_MAX_IN_MEMORY as u64 == BYTES_MAX);

fn stamp(mut file: &File, pages: u64, nonce: &[u8; NONCE_BYTES]) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE);
    for page in 0..pages {
        piece.extend(stamp_of(page, nonce));
        if piece.len() >= PIECE || page + 1 == pages {
            file.write_all(&piece)?;
            piece.clear();
        }
    }
    file.sync_all()
}

fn stamp_of(page: u64, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    let mut bytes = [STAMP.as_slice(), nonce, &page.to_le_bytes()].concat();
    bytes.resize(PAGE, 0);
    bytes
}

fn head_of(body: &[u8]) -> Vec<u8> {
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX).to_le_bytes();
    let sum = digest(&[HEAD, &length, body]);
    let mut bytes = [HEAD.as_slice(), &sum.0, &length].concat();
    bytes.resize(PAGE, 0);
    bytes
}

/// What a file says.
fn parse(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if bytes.starts_with(STAMP) {
        return Ok(None);
    }
    let body = || {
        let rest = bytes.strip_prefix(HEAD)?;
        let (sum, rest) = rest.split_first_chunk::<SUM_BYTES>()?;
        let (length, _) = rest.split_first_chunk::<8>()?;
        let body = bytes.get(PAGE..)?;
        let body = body.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        (digest(&[HEAD, length, body]).0 == *sum).then(|| body.to_vec())
    };
    body().map(Some).ok_or_else(|| "it is not whole".to_owned())
}

/// The node of a block device, as the kernel names it.
fn node_of((major, minor): (u32, u32)) -> Result<PathBuf, String> {
    let path = format!("/sys/dev/block/{major}:{minor}/uevent");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map(|name| Path::new("/dev").join(name)).ok_or_else(|| format!("{path}: no name"))
}

#[cfg(test)]
mod tests;
