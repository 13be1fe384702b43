//! File systems held still, and the socket over which they are handed to another process.
//! It never decides when: whoever freezes sees to it that somebody thaws.

use core::mem::MaybeUninit;
use core::time::Duration;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fstat, major, minor, open, syncfs};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::sys;

/// File systems that one message can carry; the kernel takes at most 253.
pub const HANDLES_MAX: usize = 64;
/// Words of a message.
const WORDS: usize = 3;
const MESSAGE_BYTES: usize = WORDS * 8;

/// An open file system. While one lives, the file system cannot be unmounted.
#[derive(Debug)]
pub struct StillHandle(OwnedFd);

/// Why a file system was not frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its kind has nothing that freezes, as vfat.
    Unsupported,
    /// Somebody else froze it before.
    FrozenBefore,
    /// Anything else, as an errno.
    Failed(i32),
}

impl StillHandle {
    /// Opens what is mounted at a path, for nothing but holding it still.
    pub fn open(at: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(Self(open(at, flags, Mode::empty())?))
    }

    /// The kernel's number of what is mounted.
    pub fn device(&self) -> io::Result<(u32, u32)> {
        let found = fstat(&self.0)?;
        Ok((major(found.st_dev), minor(found.st_dev)))
    }

    /// Writes out what is waiting, so that a freeze has little left to do.
    pub fn sync(&self) -> io::Result<()> {
        Ok(syncfs(&self.0)?)
    }

    /// Tells the disks below which blocks are free; how many bytes they were told of.
    pub fn trim(&self) -> io::Result<u64> {
        Ok(sys::freeze::trim(&self.0)?)
    }

    /// Holds it still. Whoever writes waits from here on, in the kernel, where no signal reaches.
    pub fn freeze(&self) -> Result<(), Refusal> {
        match sys::freeze::freeze(&self.0) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOTTY) => Err(Refusal::Unsupported),
            Err(Errno::BUSY) => Err(Refusal::FrozenBefore),
            Err(errno) => Err(Refusal::Failed(errno.raw_os_error())),
        }
    }

    /// Lets it go on; false where it was not frozen.
    pub fn thaw(&self) -> io::Result<bool> {
        match sys::freeze::thaw(&self.0) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A second handle on the same file system.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}

/// Numbers that go over a channel; what they mean is its users' to agree on.
pub type Message = [u64; WORDS];

/// What came over a channel.
#[derive(Debug)]
pub struct Received {
    /// The numbers.
    pub message: Message,
    /// How many file systems came with them, and were handed to the callback.
    pub handles: usize,
}

/// One end of a socket between two processes of ours, which carries small messages and open file systems.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends. The second is for another process's standard input.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    /// The end that this process was started with as its standard input.
    pub fn inherited() -> io::Result<Self> {
        let owned = io::stdin().as_fd().try_clone_to_owned()?;
        let channel = Self(owned);
        let kind = rustix::net::sockopt::socket_type(&channel.0)?;
        if kind == SocketType::SEQPACKET { Ok(channel) } else { Err(Errno::NOTSOCK.into()) }
    }

    /// The same end once more, for another thread.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Sends numbers, and file systems with them (at most `HANDLES_MAX`). Never waits.
    pub fn send(&self, message: Message, handles: &[&StillHandle]) -> io::Result<()> {
        let bytes = bytes_of(message);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let mut borrowed = [self.0.as_fd(); HANDLES_MAX];
        let Some(places) = borrowed.get_mut(..handles.len()) else {
            return Err(Errno::TOOBIG.into());
        };
        places.iter_mut().zip(handles).for_each(|(place, handle)| *place = handle.0.as_fd());
        let borrowed: &[BorrowedFd<'_>] = places;
        if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(borrowed)) {
            return Err(Errno::TOOBIG.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags)?;
        Ok(())
    }

    /// Waits for a message, at most so long; `None` where none came, `UnexpectedEof` where the other end is gone.
    pub fn receive(
        &self,
        patience: Option<Duration>,
        mut handle: impl FnMut(StillHandle),
    ) -> io::Result<Option<Received>> {
        if !self.wait(PollFlags::IN, patience)? {
            return Ok(None);
        }
        let mut bytes = [0_u8; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            result => result?.bytes,
        };
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut handles = 0;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = part {
                files.for_each(|file| {
                    handles += 1;
                    handle(StillHandle(file));
                });
            }
        }
        if got != MESSAGE_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some(Received { message: message_of(&bytes), handles }))
    }

    /// Waits until the other end is gone, at most so long; whether it is.
    pub fn wait_for_end(&self, patience: Option<Duration>) -> io::Result<bool> {
        self.wait(PollFlags::empty(), patience)
    }

    /// Nothing goes over this channel any more: both ends see its end.
    pub fn shut(&self) {
        // It can fail only where the other end is gone already.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    fn wait(&self, flags: PollFlags, patience: Option<Duration>) -> io::Result<bool> {
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut [PollFd::new(&self.0, flags)], timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn bytes_of(message: Message) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    for (place, word) in bytes.chunks_exact_mut(8).zip(message) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn message_of(bytes: &[u8; MESSAGE_BYTES]) -> Message {
    let mut message = [0; WORDS];
    for (word, place) in message.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = place.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    message
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::process::Command;

    use super::*;

    #[test]
    fn numbers_and_open_files_arrive_and_the_end_is_seen() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel(theirs);
        let handle = StillHandle::open(Path::new("/proc")).unwrap();
        let device = handle.device().unwrap();
        ours.send([1, u64::MAX, 3 << 40], &[&handle, &handle]).unwrap();
        drop(handle);
        let mut devices = Vec::new();
        let got = theirs.receive(None, |handle| devices.push(handle.device().unwrap()));
        let got = got.unwrap().unwrap();
        assert_eq!((got.message, got.handles), ([1, u64::MAX, 3 << 40], 2));
        assert_eq!(devices, [device; 2]);
        let short = Some(Duration::from_millis(1));
        assert!(theirs.receive(short, |_| ()).unwrap().is_none());
        assert!(!theirs.wait_for_end(short).unwrap());
        drop(ours);
        assert!(theirs.wait_for_end(None).unwrap());
        let end = theirs.receive(None, |_| ()).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        assert!(theirs.send([0; 3], &[]).is_err());
    }

    #[test]
    fn what_is_no_file_system_that_freezes_says_so() {
        let handle = StillHandle::open(Path::new("/proc")).unwrap();
        assert_eq!(handle.freeze(), Err(Refusal::Unsupported));
        assert!(!handle.thaw().unwrap(), "it was not frozen");
        assert!(StillHandle::open(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn standard_input_that_is_no_channel_is_refused() {
        let exe = std::env::current_exe().unwrap();
        let nothing = File::open("/dev/null").unwrap();
        if std::env::var_os("HAL_LINUX_NO_CHANNEL").is_some() {
            Channel::inherited().unwrap_err();
            return;
        }
        let mut child = Command::new(exe);
        child.arg("standard_input_that_is_no_channel").env("HAL_LINUX_NO_CHANNEL", "1");
        assert!(child.stdin(nothing).output().unwrap().status.success());
        assert!(fs::metadata("/dev/null").is_ok());
    }
}
