//! Bytes of ours as one file that the kernel reads and writes: the few messages of FUSE that this takes, by hand.
//!
//! The file is the root of a file system that is attached nowhere: only whoever holds it can open it, and it is gone
//! when it is dropped or when the process ends. It refuses to be a folder, to change its size and to punch holes.

use core::panic::AssertUnwindSafe;
use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

/// The kernel's requests and our answers.
mod message;

use message::{Answer, BYTES_MAX, Request};

/// Requests that are answered at once.
const THREADS: usize = 2;
/// The file's type and mode, in octal as the kernel wants to read them: a regular file for its owner alone.
const ROOT_MODE: &str = "100600";

/// What the file holds. Its size stays as it is; calls come from several threads at once.
pub trait Content: Send + Sync {
    /// Size in bytes.
    fn bytes(&self) -> u64;

    /// Fills all of `into` from `offset`, which is inside.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `from` at `offset`; all of it is inside.
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()>;

    /// What was written before is kept afterwards.
    fn flush(&self) -> io::Result<()>;
}

/// A file that the kernel has of us.
#[derive(Debug)]
pub struct BlockFile {
    mount: Option<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl BlockFile {
    /// Shows `content` to the kernel. Errors: no right to mount, or a kernel without FUSE or older than 5.2.
    pub fn show(content: Arc<dyn Content>) -> io::Result<Self> {
        let told = |what: &'static str| move |error: Errno| said(what, &error.into());
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .map_err(|error| said("/dev/fuse", &error))?;
        let device = Arc::new(device);
        let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(told("fsopen fuse"))?;
        let settings = [
            ("fd", device.as_raw_fd().to_string()),
            ("rootmode", ROOT_MODE.to_owned()),
            ("user_id", rustix::process::geteuid().as_raw().to_string()),
            ("group_id", rustix::process::getegid().as_raw().to_string()),
        ];
        for (name, value) in settings {
            let set = fsconfig_set_string(context.as_fd(), name, value.as_str());
            set.map_err(told("a setting of FUSE"))?;
        }
        fsconfig_create(context.as_fd()).map_err(told("a file system of FUSE"))?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(told("fsmount"))?;
        let mut file = Self { mount: Some(mount), threads: Vec::new() };
        for number in 0..THREADS {
            let (device, content) = (Arc::clone(&device), Arc::clone(&content));
            let thread = std::thread::Builder::new().name(format!("block-file-{number}"));
            file.threads.push(thread.spawn(move || serve(&device, content.as_ref()))?);
        }
        Ok(file)
    }

    /// The file, opened.
    pub fn open(&self, writable: bool) -> io::Result<File> {
        let Some(mount) = &self.mount else { return Err(ErrorKind::NotConnected.into()) };
        let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
        OpenOptions::new().read(true).write(writable).open(path)
    }
}

impl Drop for BlockFile {
    fn drop(&mut self) {
        // Whoever still has it open, such as a loop device, keeps it served; the threads end with the last of them.
        drop(self.mount.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; nothing here depends on how it ended.
            let _ = thread.join();
        }
    }
}

fn said(what: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{what}: {error}"))
}

/// Answers requests until nobody has the file any more.
fn serve(device: &File, content: &dyn Content) {
    let mut buffer = vec![0; BYTES_MAX];
    loop {
        let length = match rustix::io::read(device, &mut buffer) {
            Ok(length) => length,
            // The request was taken back before it was read.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
            // The file system is gone.
            Err(_) => return,
        };
        let Some(request) = Request::parse(&buffer[..length]) else { continue };
        // Whoever waits for this is the kernel, and it waits for ever: a panic is an error like others.
        let done = catch_unwind(AssertUnwindSafe(|| answer(&request, content)));
        let failed = |_| Some(Answer::new(&request, Err(Errno::IO)));
        let Some(answer) = done.unwrap_or_else(failed) else { continue };
        // An answer that the kernel no longer waits for is no loss.
        let _ = rustix::io::write(device, &answer.bytes);
    }
}

/// What the kernel is told; `None` where it waits for nothing.
fn answer(request: &Request<'_>, content: &dyn Content) -> Option<Answer> {
    let bytes = content.bytes();
    let done = match request.operation {
        message::FORGET | message::BATCH_FORGET | message::INTERRUPT => return None,
        message::INIT => Ok(message::introduction(request)),
        message::GETATTR | message::SETATTR => Ok(message::attributes(bytes)),
        message::OPEN => Ok(message::opened()),
        message::READ => request.range().map_or(Err(Errno::INVAL), |(offset, length)| {
            let length = (bytes.saturating_sub(offset)).min(u64::from(length));
            let mut read = vec![0; usize::try_from(length).unwrap_or(0).min(BYTES_MAX)];
            content.read_at(offset, &mut read).map(|()| read).map_err(|error| code(&error))
        }),
        message::WRITE => write(request, content),
        message::FSYNC | message::FLUSH => {
            content.flush().map(|()| Vec::new()).map_err(|error| code(&error))
        }
        message::RELEASE | message::DESTROY => Ok(Vec::new()),
        message::STATFS => Ok(message::totals(bytes)),
        _ => Err(Errno::NOSYS),
    };
    Some(Answer::new(request, done))
}

fn write(request: &Request<'_>, content: &dyn Content) -> Result<Vec<u8>, Errno> {
    let (offset, length) = request.range().ok_or(Errno::INVAL)?;
    let given = request.written().ok_or(Errno::INVAL)?;
    let end = offset.checked_add(u64::from(length));
    if end.is_none_or(|end| end > content.bytes()) {
        return Err(Errno::NOSPC);
    }
    content.write_at(offset, given).map_err(|error| code(&error))?;
    Ok(message::written(length))
}

fn code(error: &Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
