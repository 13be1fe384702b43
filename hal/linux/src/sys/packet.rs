//! Sockets below IP: bound to one link and one protocol, with a filter in the kernel.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};

/// Where a packet socket is bound: whole frames of one protocol on one link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkAddress {
    /// What frames say of their content: 0x0806 is ARP.
    pub(crate) protocol: u16,
    /// The system's number of the link.
    pub(crate) link: i32,
}

// SAFETY: the closure is handed a pointer to a whole `sockaddr_ll` on this stack frame and its size, and the address
// lives until the closure has returned.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let address = libc::sockaddr_ll {
            // Both constants of the system's headers fit their fields.
            sll_family: 17,
            sll_protocol: self.protocol.to_be(),
            sll_ifindex: self.link,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        f((&raw const address).cast(), 20)
    }
}

const _: () = assert!(libc::AF_PACKET == 17 && size_of::<libc::sockaddr_ll>() == 20);

/// One instruction of the kernel's packet filter: code, jumps if true and if false, operand.
pub(crate) type Instruction = (u16, u8, u8, u32);

/// Lets the socket hear only what the program takes.
pub(crate) fn attach_filter(socket: impl AsFd, program: &[Instruction]) -> Result<()> {
    let mut instructions: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    let bytes = u32::try_from(size_of::<libc::sock_fprog>()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the option reads one `sock_fprog` of the size given, and through it `len` instructions, which live in
    // `instructions` until the call has returned; the kernel copies them and checks the program.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            bytes,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}
