//! Where a disk is restored to: a new file, a file with content, or a block device.
//!
//! A file is called `FILE.lifeboat-part` while it is written, whether it is new or had content, so that nothing
//! half-written ever stands under a good name. It refuses mounted devices and devices not named twice.

use core::sync::atomic::{AtomicBool, Ordering};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hal::disk::{Completion, Disk, DiskError, Geometry, Operation, Rejected, Request};
use hal_linux::{Access, AlignedBuffer, Direct, LinuxDisk, OpenOptions, facts_of};
use pipeline_vault::Error;
use pipeline_vault::restore::Room;
use rustix::fs::FlockOperation;

use crate::disk_facts::disk_error;

const PART: &str = ".lifeboat-part";
/// File systems on which a byte takes a byte, by the numbers of `statfs(2)`: ext2 to ext4, XFS, tmpfs.
const PLAIN: [u64; 3] = [0xEF53, 0x5846_5342, 0x0102_1994];

/// An opened target.
#[derive(Debug)]
pub struct Target {
    kind: Kind,
    disk: LinuxDisk,
    /// Something was written to it.
    touched: Arc<AtomicBool>,
    /// Holds the lock that keeps a second restore away.
    _lock: Option<File>,
}

#[derive(Debug)]
enum Kind {
    Device,
    /// A file under its own name, because its folder lets nothing be renamed.
    InPlace(PathBuf),
    /// A file that is called `part` until it is whole.
    Part {
        part: PathBuf,
        file: PathBuf,
        origin: Origin,
    },
}

/// What was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Nothing,
    /// A file of the target's name.
    File,
    /// What an interrupted restore left.
    Part,
}

impl Target {
    /// Opens `to` for a disk of so many bytes. `confirm` must name a block device a second time.
    pub fn open(to: &Path, confirm: Option<&Path>, bytes: u64) -> Result<Self, Error> {
        let facts = fs::metadata(to);
        let is_device = facts.as_ref().is_ok_and(|facts| facts.file_type().is_block_device());
        check_confirmation(to, confirm, is_device)?;
        if facts.is_ok() {
            refuse_mounted(to)?;
        }
        if is_device {
            let disk = open_disk(to)?;
            return Ok(Self::new(Kind::Device, disk, None));
        }
        match facts {
            Ok(facts) if facts.is_file() => Self::open_existing(to),
            Ok(_) => Err(Error::misuse(show(to), "is neither a file nor a block device")
                .remedy("name a file or a disk with --to")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::open_new(to, bytes),
            Err(error) => Err(Error::device(show(to), format!("cannot be looked at: {error}"))),
        }
    }

    fn new(kind: Kind, disk: LinuxDisk, lock: Option<File>) -> Self {
        Self { kind, disk, touched: Arc::default(), _lock: lock }
    }

    fn open_existing(to: &Path) -> Result<Self, Error> {
        let file = fs::canonicalize(to)
            .map_err(|error| Error::device(show(to), format!("cannot be looked at: {error}")))?;
        let part = part_of(&file);
        if part.exists() {
            return Err(Error::misuse(
                show(&part),
                "is left from an interrupted restore, and the file is there too",
            )
            .remedy(
                "remove one of the two: the part to start anew, the file to go on with the part",
            ));
        }
        // Opened and locked under its own name first: what cannot be written must not be renamed either.
        let disk = open_disk(&file)?;
        let lock = lock(&file)?;
        let kind = match fs::rename(&file, &part) {
            Ok(()) => Kind::Part { part, file, origin: Origin::File },
            Err(error) => {
                log::warn!(
                    "{}: is written in place, as it cannot be renamed: {error}",
                    show(&file)
                );
                Kind::InPlace(file)
            }
        };
        Ok(Self::new(kind, disk, Some(lock)))
    }

    fn open_new(to: &Path, bytes: u64) -> Result<Self, Error> {
        let file = to.to_owned();
        let part = part_of(&file);
        if part.exists() {
            refuse_mounted(&part)?;
            let disk = open_disk(&part)?;
            let lock = lock(&part)?;
            log::info!("{}: going on with it", show(&part));
            let kind = Kind::Part { part, file, origin: Origin::Part };
            return Ok(Self::new(kind, disk, Some(lock)));
        }
        let disk = LinuxDisk::create(&part, bytes).map_err(|error| disk_error(error, &part))?;
        let lock = lock(&part)?;
        let kind = Kind::Part { part, file, origin: Origin::Nothing };
        Ok(Self::new(kind, disk, Some(lock)))
    }

    /// Whether the target holds something that blocks must be compared with.
    #[must_use]
    pub fn compare(&self) -> bool {
        !matches!(&self.kind, Kind::Part { origin: Origin::Nothing, .. })
    }

    /// What is free where a new file lies; nothing where more may fit than is free, and where some of it is there already.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        let Kind::Part { part, file, origin: Origin::Nothing } = &self.kind else { return None };
        let facts = rustix::fs::statfs(part).ok()?;
        // Others compress, or share what is the same.
        let is_plain = PLAIN.contains(&u64::try_from(facts.f_type).ok()?);
        let free_bytes = facts.f_bfree.saturating_mul(u64::try_from(facts.f_bsize).ok()?);
        is_plain.then(|| Room { place: show(file), free_bytes })
    }

    /// Whether it is a device, and no file.
    #[must_use]
    pub fn is_device(&self) -> bool {
        matches!(self.kind, Kind::Device)
    }

    /// A handle to write through.
    pub fn disk(&self) -> Result<Watched, Error> {
        let disk =
            self.disk.another().map_err(|error| disk_error(error, Path::new(self.disk.path())))?;
        Ok(Watched { disk, touched: Arc::clone(&self.touched) })
    }

    /// The restore is whole and durable: the file gets its name.
    pub fn finish(self) -> Result<(), Error> {
        let Kind::Part { part, file, .. } = &self.kind else { return Ok(()) };
        let named = fs::rename(part, file).and_then(|()| sync_folder(file));
        named.map_err(|error| {
            Error::device(show(file), format!("the restored disk cannot get its name: {error}"))
                .remedy(format!("it is whole: rename {} yourself", show(part)))
        })
    }

    /// The restore failed: what was not touched is as before, what was is left to go on with.
    #[must_use]
    pub fn give_up(self, error: Error) -> Error {
        let touched = self.touched.load(Ordering::SeqCst);
        match &self.kind {
            Kind::Part { part, origin: Origin::Nothing, .. } if !touched => {
                quietly(fs::remove_file(part), part);
                error
            }
            Kind::Part { part, file, origin: Origin::File } if !touched => {
                quietly(fs::rename(part, file), part);
                error
            }
            Kind::Part { part, .. } => incomplete(error, part),
            Kind::InPlace(file) if touched => incomplete(error, file),
            Kind::Device if touched => incomplete(error, Path::new(self.disk.path())),
            Kind::InPlace(_) | Kind::Device => error,
        }
    }
}

fn incomplete(mut error: Error, path: &Path) -> Error {
    error.what = format!("{}; {} is incomplete", error.what, show(path));
    error.remedy("mend the cause and run the same again: it goes on from there")
}

fn quietly(done: std::io::Result<()>, part: &Path) {
    if let Err(problem) = done {
        log::warn!("{}: stays behind: {problem}", show(part));
    }
}

fn check_confirmation(to: &Path, confirm: Option<&Path>, is_device: bool) -> Result<(), Error> {
    match confirm {
        Some(confirm) if confirm != to => Err(Error::misuse(
            show(to),
            format!("is not what --confirm names, {}; nothing was written", show(confirm)),
        )
        .remedy("name the same device twice")),
        None if is_device => Err(Error::misuse(
            show(to),
            "is a block device, and would be overwritten; nothing was written",
        )
        .remedy(format!("if it is the right one, add --confirm {}", show(to)))),
        _ => Ok(()),
    }
}

fn refuse_mounted(path: &Path) -> Result<(), Error> {
    let facts = facts_of(path).map_err(|error| disk_error(error, path))?;
    if facts.mounted_at.is_empty() {
        return Ok(());
    }
    let places = facts.mounted_at.join(", ");
    Err(Error::refused(show(path), format!("is in use at {places}; nothing was written"))
        .remedy("unmount it, or name another target"))
}

fn open_disk(path: &Path) -> Result<LinuxDisk, Error> {
    let options = OpenOptions { access: Access::Write, direct: Direct::Auto };
    LinuxDisk::open(path, options).map_err(|error| disk_error(error, path))
}

/// Keeps a second restore away from the same file.
fn lock(path: &Path) -> Result<File, Error> {
    let failed =
        |error: std::io::Error| Error::device(show(path), format!("cannot be locked: {error}"));
    let file = File::open(path).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Error::refused(show(path), "is being written by another program")
                .remedy("wait for it, or name another target"))
        }
        Err(errno) => Err(failed(errno.into())),
    }
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(PART);
    PathBuf::from(name)
}

fn sync_folder(file: &Path) -> std::io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// A disk that remembers whether anything was written to it.
#[derive(Debug)]
pub struct Watched {
    disk: LinuxDisk,
    touched: Arc<AtomicBool>,
}

impl Disk for Watched {
    type Buffer = AlignedBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        self.disk.geometry()
    }

    fn buffer(&mut self, length: usize) -> Result<AlignedBuffer, DiskError> {
        self.disk.buffer(length)
    }

    fn depth(&self) -> usize {
        self.disk.depth()
    }

    fn submit(&mut self, request: Request<AlignedBuffer>) -> Result<(), Rejected<AlignedBuffer>> {
        if matches!(request.operation, Operation::Write | Operation::Zero | Operation::Discard) {
            self.touched.store(true, Ordering::SeqCst);
        }
        self.disk.submit(request)
    }

    fn complete(&mut self) -> Result<Option<Completion<AlignedBuffer>>, DiskError> {
        self.disk.complete()
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        self.disk.data_after(offset)
    }

    fn another(&self) -> Result<Self, DiskError> {
        Ok(Self { disk: self.disk.another()?, touched: Arc::clone(&self.touched) })
    }
}

#[cfg(test)]
mod tests;
