//! A file system mounted where nobody sees it: on a loop device over a [`BlockFile`], attached to no folder.
//!
//! Everything ends with the value, or with the process whatever ends it: mount, loop device and file hold each other
//! in that order and nothing else holds them. Programs and devices on it are not run and not opened, whatever they
//! are.

use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::block_file::{BlockFile, Content};
use crate::sys::loop_device;

/// How often another loop device is tried when somebody was faster.
const TRIES: u32 = 16;

/// How a file system is mounted.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Its kind, as the kernel calls it.
    pub kind: String,
    /// Nothing is changed through the mount. The journal is still replayed, into the content.
    pub read_only: bool,
    /// Options of this kind of file system; those without a value stand alone.
    pub options: Vec<(String, Option<String>)>,
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted {
    // Dropped in this order.
    root: Option<OwnedFd>,
    device: LoopDevice,
    writable: bool,
    _file: BlockFile,
}

impl Mounted {
    /// Mounts what is in `content`. Errors are the kernel's, with its own words where it has some.
    pub fn mount(content: Arc<dyn Content>, options: &MountOptions) -> io::Result<Self> {
        let file = BlockFile::show(content)?;
        // A file system that is only read still replays its journal: into the content.
        let device = LoopDevice::over(&file.open(true)?, false)?;
        let context = fsopen(options.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|errno| told(options, &errno, ""))?;
        let set = |name: &str, value: Option<&str>| match value {
            Some(value) => fsconfig_set_string(context.as_fd(), name, value),
            None => fsconfig_set_flag(context.as_fd(), name),
        };
        let source = device.path().display().to_string();
        let made = set("source", Some(&source))
            .and_then(|()| if options.read_only { set("ro", None) } else { Ok(()) })
            .and_then(|()| {
                let each = &mut options.options.iter();
                each.try_for_each(|(name, value)| set(name, value.as_deref()))
            })
            .and_then(|()| fsconfig_create(context.as_fd()));
        made.map_err(|errno| told(options, &errno, &words(&context)))?;
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOATIME;
        if options.read_only {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| told(options, &errno, &words(&context)))?;
        Ok(Self { root: Some(root), device, writable: !options.read_only, _file: file })
    }

    /// Its uppermost folder: paths are looked up from there.
    pub fn root(&self) -> io::Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Writes out what was changed, and takes the mount away; an error says that something may not be written.
    pub fn unmount(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(root) = self.root.take() else { return Ok(()) };
        let synced = if self.writable {
            // The descriptor of a mount cannot be synced itself, what is opened there can.
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::openat(&root, ".", flags, rustix::fs::Mode::empty())
                .and_then(|folder| rustix::fs::syncfs(&folder))
        } else {
            Ok(())
        };
        drop(root);
        // Unmounting writes the last: what says that the file system is clean.
        let flushed = self.device.file.sync_all();
        synced?;
        flushed
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whoever wants to know calls `unmount`.
        let _ = self.end();
    }
}

/// What the kernel says of a mount that failed.
fn words(context: &OwnedFd) -> String {
    let mut said = String::new();
    let mut line = [0; 512];
    while let Ok(length) = rustix::io::read(context, &mut line)
        && length > 0
    {
        let text = String::from_utf8_lossy(&line[..length]);
        // Each begins with its kind: error, warning, information.
        let text = text.trim_end().trim_start_matches(['e', 'w', 'i']).trim_start();
        said.push_str(if said.is_empty() { ": " } else { "; " });
        said.push_str(text);
        if said.len() > 1024 {
            break;
        }
    }
    said
}

fn told(options: &MountOptions, errno: &Errno, words: &str) -> Error {
    let error = Error::from(*errno);
    let kind = &options.kind;
    if *errno == Errno::NODEV {
        let what = format!("this kernel does not know the file system {kind}");
        return Error::new(ErrorKind::Unsupported, what);
    }
    Error::new(error.kind(), format!("the file system ({kind}) cannot be mounted: {error}{words}"))
}

/// A loop device.
#[derive(Debug)]
struct LoopDevice {
    file: File,
    path: PathBuf,
}

impl LoopDevice {
    fn over(backing: &File, read_only: bool) -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let mut tried = 0;
        loop {
            let number = loop_device::free_number(control.as_fd())?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let file = OpenOptions::new().read(true).write(!read_only).open(&path)?;
            match loop_device::configure(file.as_fd(), backing, read_only) {
                Ok(()) => return Ok(Self { file, path }),
                Err(Errno::BUSY) if tried < TRIES => tried += 1,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn path(&self) -> &PathBuf {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // It lets go of its file at the last close in any case.
        let _ = loop_device::clear(self.file.as_fd());
    }
}
