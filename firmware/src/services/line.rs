//! The line between a service and the program that started it: messages, and open files with them, over a Unix socket that was
//! there before the service was.
//!
//! Messages are whole or not at all. Whoever finds the other end gone ends.

use core::mem::MaybeUninit;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send,
    sendmsg, socketpair,
};

/// Longest message: two chains of certificates and more.
pub(crate) const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Open files with one message.
const FILES_MAX: usize = 8;

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// Words.
    pub(crate) bytes: Vec<u8>,
    /// Open files, in their order.
    pub(crate) files: Vec<OwnedFd>,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Line {
    /// Both ends. The second is for another process's standard input.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// The end that is this file.
    pub(crate) fn of(file: OwnedFd) -> io::Result<Self> {
        match rustix::net::sockopt::socket_type(&file)? {
            SocketType::SEQPACKET => Ok(Self(file)),
            _ => Err(Errno::NOTSOCK.into()),
        }
    }

    /// The same end once more.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Sends a message, and open files with it.
    pub(crate) fn send(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // An empty message would be taken for the end.
        let is_sendable = !bytes.is_empty() && bytes.len() <= MESSAGE_BYTES_MAX;
        let fits = files.is_empty() || control.push(SendAncillaryMessage::ScmRights(files));
        if !is_sendable || !fits {
            return Err(Errno::TOOBIG.into());
        }
        if files.is_empty() {
            // By the simpler call, which some services have alone.
            send(&self.0, bytes, SendFlags::NOSIGNAL)?;
            return Ok(());
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message of at most so many bytes; `None` where the other end is gone.
    pub(crate) fn receive(&self, bytes_max: usize) -> io::Result<Option<Handed>> {
        let mut bytes = vec![0; bytes_max.min(MESSAGE_BYTES_MAX)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&self.0, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if got.bytes == 0 {
            return Ok(None);
        }
        let mut files = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handed) = part {
                files.extend(handed);
            }
        }
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.truncate(got.bytes);
        Ok(Some(Handed { bytes, files }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn messages_come_whole_with_their_files_and_the_end_is_seen() {
        let (ours, theirs) = Line::pair().unwrap();
        let theirs = Line::of(theirs).unwrap();
        let (mut read, write) = io::pipe().unwrap();
        ours.send(b"one", &[write.as_fd()]).unwrap();
        ours.send(&[7; MESSAGE_BYTES_MAX], &[]).unwrap();
        drop(write);
        let first = theirs.receive(16).unwrap().unwrap();
        assert_eq!((&first.bytes[..], first.files.len()), (&b"one"[..], 1));
        File::from(first.files.into_iter().next().unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert_eq!(
            theirs.receive(MESSAGE_BYTES_MAX).unwrap().unwrap().bytes.len(),
            MESSAGE_BYTES_MAX
        );
        for unsendable in [&[][..], &[0; MESSAGE_BYTES_MAX + 1]] {
            assert!(ours.send(unsendable, &[]).is_err());
        }
        ours.send(b"longer than is wanted", &[]).unwrap();
        assert!(theirs.receive(4).is_err(), "a part is not taken for the whole");
        drop(ours);
        assert!(theirs.receive(16).unwrap().is_none());
    }

    #[test]
    fn what_is_no_line_is_not_taken_for_one() {
        let (read, _write) = io::pipe().unwrap();
        assert!(Line::of(read.into()).is_err());
    }
}
