//! Opening and creating disks, with every refusal in words.
//! It never truncates, and never opens what is neither a block device nor a regular file.

use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hal::disk::{DiskError, ErrorKind};
use rustix::fs::{
    Advice, FileType, Mode, OFlags, fadvise, fstat, fsync, ftruncate, open, stat, unlink,
};
use rustix::io::Errno;

use super::{fault, geometry};

/// What the handle may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a disk is read, or read and written; there is no third"
)]
pub enum Access {
    /// Reads only; works on mounted disks too.
    #[default]
    Read,
    /// Reads and writes; a block device is claimed alone.
    Write,
}

/// Whether requests go past the page cache. Exhaustive: yes, no, or what suits the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direct {
    /// Block devices past the page cache, image files through it.
    #[default]
    Auto,
    /// Past the page cache, or an error.
    Always,
    /// Through the page cache.
    Never,
}

/// How to open a disk. Exhaustive: every caller says all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// What the handle may do.
    pub access: Access,
    /// Whether requests go past the page cache.
    pub direct: Direct,
}

/// What kind of thing was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Device,
}

/// An open disk, shared by all its handles.
#[derive(Debug)]
pub(super) struct Opened {
    file: OwnedFd,
    path: String,
    kind: Kind,
    access: Access,
    /// Alignment of direct requests in bytes; 0 through the page cache.
    direct_align: u32,
    /// A flush failed: the kernel reports that once and forgets, so we must not.
    flush_failed: AtomicBool,
}

impl Opened {
    pub(super) fn open(path: &Path, options: OpenOptions) -> Result<Self, DiskError> {
        let name = path.to_string_lossy().into_owned();
        let doing = match options.access {
            Access::Read => "opening",
            Access::Write => "opening for writing",
        };
        // Looked at before it is opened: opening a named pipe would wait for its other end.
        let found = stat(path).map_err(|errno| fault::error(errno, doing, &name))?;
        let kind = kind_of(found.st_mode, &name)?;
        let mut flags = OFlags::CLOEXEC | OFlags::NOCTTY;
        flags |= match (options.access, kind) {
            (Access::Read, _) => OFlags::RDONLY,
            (Access::Write, Kind::File) => OFlags::RDWR,
            (Access::Write, Kind::Device) => OFlags::RDWR | OFlags::EXCL,
        };
        let direct = match options.direct {
            Direct::Auto => kind == Kind::Device,
            Direct::Always => true,
            Direct::Never => false,
        };
        let opened = |direct: bool| {
            let flags = if direct { flags | OFlags::DIRECT } else { flags };
            open(path, flags, Mode::empty())
        };
        let (file, direct) = match opened(direct) {
            Err(Errno::INVAL) if direct && options.direct == Direct::Auto => (opened(false), false),
            Err(Errno::INVAL) if direct => return Err(no_direct(&name)),
            result => (result, direct),
        };
        let file = file.map_err(|errno| fault::error(errno, doing, &name))?;
        let now = fstat(&file).map_err(|errno| fault::error(errno, doing, &name))?;
        if kind_of(now.st_mode, &name)? != kind {
            return Err(fault::failed(
                ErrorKind::Gone,
                "replaced while being opened",
                doing,
                &name,
            ));
        }
        let mut opened = Self {
            file,
            path: name,
            kind,
            access: options.access,
            direct_align: 0,
            flush_failed: AtomicBool::new(false),
        };
        if direct {
            opened.direct_align =
                geometry::direct_align(&opened)?.ok_or_else(|| no_direct(&opened.path))?;
        }
        opened.admit()?;
        if !direct {
            // Disks are mostly read from start to end; the kernel may read further ahead. Only
            // advice: it may refuse.
            let _ = fadvise(&opened.file, 0, None, Advice::Sequential);
        }
        Ok(opened)
    }

    pub(super) fn create(path: &Path, bytes: u64) -> Result<Self, DiskError> {
        const DOING: &str = "creating";
        let name = path.to_string_lossy().into_owned();
        let flags = OFlags::CLOEXEC | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        // A disk's content is nobody else's business: owner only.
        let file = open(path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| fault::error(errno, DOING, &name))?;
        let sized = ftruncate(&file, bytes).and_then(|()| fsync(&file)).and_then(|()| settle(path));
        if let Err(errno) = sized {
            // Ours and empty: leave nothing behind that looks like a disk.
            let _ = unlink(path);
            return Err(fault::error(errno, DOING, &name));
        }
        Ok(Self {
            file,
            path: name,
            kind: Kind::File,
            access: Access::Write,
            direct_align: 0,
            flush_failed: AtomicBool::new(false),
        })
    }

    /// Refusals that need the geometry.
    fn admit(&self) -> Result<(), DiskError> {
        if self.access == Access::Read {
            return Ok(());
        }
        let geometry = geometry::of(self)?;
        if geometry.read_only {
            return Err(fault::error(Errno::ROFS, "opening for writing", &self.path));
        }
        if geometry.bytes % u64::from(geometry.request_align_bytes) != 0 {
            return Err(fault::failed(
                ErrorKind::Unsupported,
                "size is no multiple of the direct request; go through the page cache",
                "opening for writing",
                &self.path,
            ));
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn direct(&self) -> bool {
        self.direct_align != 0
    }

    pub(super) fn direct_align(&self) -> u32 {
        self.direct_align
    }

    pub(super) fn error(&self, errno: Errno, doing: &str) -> DiskError {
        fault::error(errno, doing, &self.path)
    }

    pub(super) fn failed(&self, kind: ErrorKind, cause: &str, doing: &str) -> DiskError {
        fault::failed(kind, cause, doing, &self.path)
    }

    /// The end of a flush on any handle. Once one failed, every later one fails too: what the
    /// kernel could not write it has dropped, and its next answer would say that all is well.
    pub(super) fn flushed(&self, result: Result<(), Errno>) -> Result<(), DiskError> {
        if let Err(errno) = result {
            self.flush_failed.store(true, Ordering::SeqCst);
            return Err(self.error(errno, "flushing"));
        }
        if self.flush_failed.load(Ordering::SeqCst) {
            return Err(self.failed(
                ErrorKind::Medium,
                "an earlier flush failed, so writes were lost; open it again and rewrite",
                "flushing",
            ));
        }
        Ok(())
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn kind_of(mode: u32, path: &str) -> Result<Kind, DiskError> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(Kind::File),
        FileType::BlockDevice => Ok(Kind::Device),
        FileType::Directory => Err(fault::error(Errno::ISDIR, "opening", path)),
        _ => Err(fault::failed(
            ErrorKind::Refused,
            "neither a block device nor an image file",
            "opening",
            path,
        )),
    }
}

fn no_direct(path: &str) -> DiskError {
    fault::failed(
        ErrorKind::Unsupported,
        "its file system has no direct I/O; go through the page cache",
        "opening",
        path,
    )
}

/// Makes the new name itself durable.
fn settle(path: &Path) -> Result<(), Errno> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let folder =
        open(&folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match fsync(&folder) {
        // Some network file systems cannot sync a folder; the file itself is synced.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        result => result,
    }
}
