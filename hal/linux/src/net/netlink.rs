//! A socket to the kernel's network part: questions with their answers, and events.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

use super::message::{Message, Reply, replies, word};

/// Links, addresses and routes of both kinds, and what routers say of names.
pub(super) const EVERYTHING: u32 =
    LINK | ADDRESS_V4 | ROUTE_V4 | ADDRESS_V6 | ROUTE_V6 | LINK_V6 | ADVICE;

const LINK: u32 = 1;
const ADDRESS_V4: u32 = 1 << 4;
const ROUTE_V4: u32 = 1 << 6;
const ADDRESS_V6: u32 = 1 << 8;
const ROUTE_V6: u32 = 1 << 10;
/// What routers leave to servers, as a fact of the link.
const LINK_V6: u32 = 1 << 11;
const ADVICE: u32 = 1 << 19;

const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
/// The answer has more parts than this one.
const FLAG_MULTI: u16 = 2;
/// The list changed while it was given.
const FLAG_INTERRUPTED: u16 = 16;

/// The kernel gives no more than this at once.
const READ_BYTES: usize = 64 * 1024;
/// Room for what happens while we are busy: two hundred NICs that all come up at once.
const EVENT_BYTES: usize = 1024 * 1024;
/// How often a list that changed while it was given is asked for again.
const TRIES: u32 = 5;

/// The socket.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// A socket that hears these groups of events; none for one that asks.
    pub(super) fn open(groups: u32) -> Result<Self> {
        let flags = if groups == 0 {
            SocketFlags::CLOEXEC
        } else {
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
        };
        // The first protocol of netlink, which is the network's.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        if groups != 0 {
            // Less room only means that we look again more often.
            let _ = set_socket_recv_buffer_size(&socket, EVENT_BYTES);
        }
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks, and collects the answer. The kernel answers at once: nothing here waits for anybody else.
    pub(super) fn ask(&mut self, message: Message) -> Result<Vec<Reply>> {
        for _ in 1..TRIES {
            match self.ask_once(&message) {
                Err(Errno::INTR) => {}
                answered => return answered,
            }
        }
        self.ask_once(&message)
    }

    fn ask_once(&mut self, message: &Message) -> Result<Vec<Reply>> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message.emit(self.sequence), SendFlags::empty(), &kernel)?;
        let mut answer = Vec::new();
        let mut torn = false;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let (length, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty())?;
            let parts = replies(buffer.get(..length).unwrap_or_default());
            for part in parts.into_iter().filter(|part| part.sequence == self.sequence) {
                torn |= part.flags & FLAG_INTERRUPTED != 0;
                match part.kind {
                    KIND_DONE if torn => return Err(Errno::INTR),
                    KIND_DONE => return Ok(answer),
                    KIND_ERROR => {
                        return match word(&part.body, 0) {
                            Some(0) | None => Ok(answer),
                            // The kernel's numbers are negative.
                            Some(code) => Err(Errno::from_raw_os_error(
                                i32::try_from(code.wrapping_neg()).unwrap_or(i32::MAX),
                            )),
                        };
                    }
                    _ => {
                        let last = part.flags & FLAG_MULTI == 0;
                        answer.push(part);
                        if last {
                            return Ok(answer);
                        }
                    }
                }
            }
        }
    }

    /// Everything that was heard and not read yet; an error where the kernel had to drop some.
    pub(super) fn heard(&self) -> Vec<Result<Reply>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match recv(&self.socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let parts = replies(buffer.get(..length).unwrap_or_default());
                    all.extend(parts.into_iter().map(Ok));
                }
                Err(Errno::AGAIN) => return all,
                Err(errno) => {
                    all.push(Err(errno));
                    if errno != Errno::NOBUFS {
                        return all;
                    }
                }
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
