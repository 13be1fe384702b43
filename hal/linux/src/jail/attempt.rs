//! What a service would try that somebody else has taken over. Tests have it tried from inside of a jail; where nothing stops
//! an attempt, it does no harm.

use core::net::SocketAddr;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_keepalive;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType, accept_with,
    sendmsg, sendmsg_addr, sendto, shutdown, socket_with,
};
use rustix::process::{Pid, test_kill_process};

use crate::sys::attempt::{self, Empty};

/// `MSG_FASTOPEN`.
const FASTOPEN: u32 = 0x2000_0000;

/// What no service has a use for, whoever it serves: it is ended for each. That a call comes through, or comes back with an errno,
/// where the filter is left out or answers otherwise, was seen in `hal/linux/tests/jail.rs`.
pub const OF_A_SERVICE: [&str; 33] = [
    "read /proc/1/mem",
    "read /proc/1/environ",
    "read /proc/cmdline",
    "read /run/keys",
    "read /dev/vda",
    "write /dev/vda",
    "write /proc/sys/kernel/sysrq",
    "make /run/made",
    "trace",
    "read-other",
    "signal",
    "packet",
    "netlink",
    "raw",
    "unix",
    "connect 127.0.0.1:443",
    "late-connect 127.0.0.1:443",
    "late-message 127.0.0.1:443",
    "bind 0.0.0.0:8080",
    "datagram 0.0.0.0:8080",
    "ring",
    "user-namespace",
    "bpf",
    "module",
    "kexec",
    "perf",
    "keys",
    "mount",
    "memory-file",
    "fork",
    "exec",
    "runnable-page",
    "made-runnable",
];

/// What a service has no use for beside those that only speaks over the sockets that it is handed ([`super::Calls::Datagrams`]). That
/// each comes through where the other part of the list is given was seen in `hal/linux/tests/jail.rs`.
pub const OVER_ITS_SOCKETS: [&str; 4] = ["elsewhere 127.0.0.1:9", "message", "option", "accept"];

/// Errno by which an attempt was refused, 0 where it was not; `None` where there is no such attempt. Where the jail ends the
/// process for it, this never returns.
///
/// `what` is a word, or a word and what it is about: `read PATH`, `write PATH`, `connect ADDRESS:PORT`, `bind ADDRESS:PORT`.
/// `elsewhere ADDRESS:PORT`, `message`, `option` and `accept` are about the socket that is standard input, and so are
/// `late-connect ADDRESS:PORT` and `late-message ADDRESS:PORT` make a connection out of the socket that is standard input.
pub fn attempt(what: &str) -> Option<i32> {
    let (word, about) = what.split_once(' ').unwrap_or((what, ""));
    let tried = match word {
        "nothing" => Ok(()),
        "read" => std::fs::File::open(about).map(drop),
        "write" => std::fs::OpenOptions::new().write(true).open(about).map(drop),
        "make" => std::fs::OpenOptions::new().write(true).create_new(true).open(about).map(drop),
        "connect" => address(about).and_then(TcpStream::connect).map(drop),
        "late-connect" => address(about).and_then(|to| late(to, false)),
        "late-message" => address(about).and_then(|to| late(to, true)),
        "elsewhere" => address(about).and_then(elsewhere),
        "message" => {
            let parts = [io::IoSlice::new(b"x")];
            let mut none = SendAncillaryBuffer::default();
            sendmsg(io::stdin(), &parts, &mut none, SendFlags::NOSIGNAL)
                .map(drop)
                .map_err(io::Error::from)
        }
        "option" => set_socket_keepalive(io::stdin(), true).map_err(io::Error::from),
        "accept" => {
            accept_with(io::stdin(), SocketFlags::NONBLOCK).map(drop).map_err(io::Error::from)
        }
        "bind" => address(about).and_then(TcpListener::bind).map(drop),
        "datagram" => address(about).and_then(UdpSocket::bind).map(drop),
        "packet" => open(AddressFamily::PACKET, SocketType::RAW),
        "raw" => open(AddressFamily::INET, SocketType::RAW),
        "unix" => open(AddressFamily::UNIX, SocketType::STREAM),
        "netlink" => open(AddressFamily::NETLINK, SocketType::RAW),
        "signal" => test_kill_process(Pid::INIT).map_err(io::Error::from),
        "trace" => attempt::trace(1).map_err(io::Error::from),
        "ring" => match crate::confine::try_ring() {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        "user-namespace" => attempt::user_namespace().map_err(io::Error::from),
        "fork" => attempt::fork().map_err(io::Error::from),
        "exec" => Err(Command::new("/proc/self/exe").exec()),
        "runnable-page" => attempt::runnable_page().map_err(io::Error::from),
        "made-runnable" => attempt::made_runnable().map_err(io::Error::from),
        other => attempt::empty(empty(other)?).map_err(io::Error::from),
    };
    Some(match tried {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    })
}

fn empty(word: &str) -> Option<Empty> {
    Some(match word {
        "bpf" => Empty::Bpf,
        "module" => Empty::InitModule,
        "kexec" => Empty::KexecLoad,
        "perf" => Empty::PerfEvent,
        "keys" => Empty::Keyctl,
        "mount" => Empty::Mount,
        "unmount" => Empty::Unmount,
        "move-mount" => Empty::MoveMount,
        "change-mount" => Empty::ChangeMount,
        "read-other" => Empty::ReadOther,
        "memory-file" => Empty::MemoryFile,
        _ => return None,
    })
}

fn address(text: &str) -> io::Result<SocketAddr> {
    text.parse().map_err(|_| Errno::INVAL.into())
}

/// Connects without connect(2): a socket that listened and was shut down is a new one, and the first bytes connect it.
fn late(to: SocketAddr, is_message: bool) -> io::Result<()> {
    let socket = io::stdin();
    // Where it is no socket, sending says so.
    let _ = shutdown(&socket, Shutdown::Both);
    let flags = SendFlags::from_bits_retain(FASTOPEN) | SendFlags::NOSIGNAL;
    let sent = if is_message {
        let parts = [io::IoSlice::new(b"x")];
        sendmsg_addr(&socket, &to, &parts, &mut SendAncillaryBuffer::default(), flags)
    } else {
        sendto(&socket, b"x", flags, &to)
    };
    sent.map(drop).map_err(io::Error::from)
}

/// Sends over a socket to somebody whom it does not lead to.
fn elsewhere(to: SocketAddr) -> io::Result<()> {
    sendto(io::stdin(), b"x", SendFlags::NOSIGNAL, &to).map(drop).map_err(io::Error::from)
}

fn open(family: AddressFamily, kind: SocketType) -> io::Result<()> {
    let made = socket_with(family, kind, SocketFlags::CLOEXEC, None);
    made.map(drop).map_err(io::Error::from)
}
