//! One link, below IP: packet sockets that hear ARP and DHCP of both kinds and nothing else.
//!
//! They work before there is any address, and whatever `rp_filter` says: the kernel's IP never sees these frames first.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hal::net::address::Mac;
use hal::net::frame::{ETHER_ARP, ETHER_IPV4, ETHER_IPV6};
use hal::net::nic::{FRAME_BYTES_MAX, NetError, NetErrorKind, Nic, check_frame};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use super::failed;
use crate::sys::packet::{Instruction, LinkAddress, attach_filter};

// Words of the kernel's packet filter.
const LOAD_WORD: u16 = 0x20;
const LOAD_SHORT: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_SHORT_INDEXED: u16 = 0x48;
const LOAD_IP_HEAD_LENGTH: u16 = 0xB1;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
/// Where the filter finds how a frame is addressed, and what it finds for frames to others.
const ADDRESSED: u32 = 0xFFFF_F004;
const TO_OTHERS: u32 = 3;
const TAKE: Instruction = (RETURN, 0, 0, 0x0004_0000);
const DROP: Instruction = (RETURN, 0, 0, 0);

/// Frames that are not for other machines (of another VLAN, or heard while somebody captures).
const FOR_US: [Instruction; 4] =
    [(LOAD_WORD, 0, 0, ADDRESSED), (JUMP_IF_EQUAL, 1, 0, TO_OTHERS), TAKE, DROP];

/// Of these the ones of UDP to the port of DHCP's clients; later fragments have no port.
const DHCP_FOR_US: [Instruction; 11] = [
    (LOAD_WORD, 0, 0, ADDRESSED),
    (JUMP_IF_EQUAL, 8, 0, TO_OTHERS),
    (LOAD_BYTE, 0, 0, 23),
    (JUMP_IF_EQUAL, 0, 6, 17),
    (LOAD_SHORT, 0, 0, 20),
    (JUMP_IF_SET, 4, 0, 0x1FFF),
    (LOAD_IP_HEAD_LENGTH, 0, 0, 14),
    (LOAD_SHORT_INDEXED, 0, 0, 16),
    (JUMP_IF_EQUAL, 0, 1, 68),
    TAKE,
    DROP,
];

/// The same of IPv6, whose header has one length where it has no others behind it; fragments have.
const DHCP6_FOR_US: [Instruction; 8] = [
    (LOAD_WORD, 0, 0, ADDRESSED),
    (JUMP_IF_EQUAL, 5, 0, TO_OTHERS),
    (LOAD_BYTE, 0, 0, 20),
    (JUMP_IF_EQUAL, 0, 3, 17),
    (LOAD_SHORT, 0, 0, 56),
    (JUMP_IF_EQUAL, 0, 1, 546),
    TAKE,
    DROP,
];

/// One link, below IP.
#[derive(Debug)]
pub struct LinuxNic {
    link: u32,
    mac: Mac,
    arp: OwnedFd,
    dhcp: OwnedFd,
    dhcp6: OwnedFd,
}

impl LinuxNic {
    pub(super) fn open(link: u32, mac: Mac) -> Result<Self> {
        let arp = hearing(link, ETHER_ARP, &FOR_US)?;
        let dhcp = hearing(link, ETHER_IPV4, &DHCP_FOR_US)?;
        let dhcp6 = hearing(link, ETHER_IPV6, &DHCP6_FOR_US)?;
        Ok(Self { link, mac, arp, dhcp, dhcp6 })
    }

    /// One that another process opened, by its sockets; see [`Self::hand_on`].
    #[must_use]
    pub fn handed_on(link: u32, mac: Mac, [arp, dhcp, dhcp6]: [OwnedFd; 3]) -> Self {
        Self { link, mac, arp, dhcp, dhcp6 }
    }

    /// Its sockets, for another process, which hears and speaks by them on this link alone as long as it makes no other
    /// system calls than those of [`crate::jail::Calls::Datagrams`].
    #[must_use]
    pub fn hand_on(self) -> [OwnedFd; 3] {
        [self.arp, self.dhcp, self.dhcp6]
    }

    /// What is waited at.
    #[must_use]
    pub fn sockets(&self) -> [BorrowedFd<'_>; 3] {
        [&self.arp, &self.dhcp, &self.dhcp6].map(AsFd::as_fd)
    }
}

/// A socket for frames of one protocol; it hears nothing before its filter is in force.
fn hearing(link: u32, protocol: u16, filter: &[Instruction]) -> Result<OwnedFd> {
    let link = i32::try_from(link).map_err(|_| Errno::NODEV)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    attach_filter(&socket, filter)?;
    bind(&socket, &LinkAddress { protocol, link })?;
    Ok(socket)
}

/// Why a frame did not go out. A link that just lost its carrier throws frames away as a full queue does: both say that there
/// is no room, and neither takes it later.
fn unsent(errno: Errno, link: u32) -> NetError {
    let doing = format!("sending on link number {link}");
    if errno == Errno::NOBUFS {
        let what =
            format!("{doing}: it throws frames away, without a carrier or with a full queue");
        return NetError::new(NetErrorKind::Down, what).code(errno.raw_os_error());
    }
    failed(errno, &doing)
}

impl Nic for LinuxNic {
    fn link(&self) -> u32 {
        self.link
    }

    fn mac(&self) -> Mac {
        self.mac
    }

    fn send(&mut self, frame: &[u8]) -> core::result::Result<(), NetError> {
        check_frame(frame)?;
        let kind = frame.first_chunk::<14>().map(|head| u16::from_be_bytes([head[12], head[13]]));
        let socket = match kind {
            Some(ETHER_ARP) => &self.arp,
            Some(ETHER_IPV6) => &self.dhcp6,
            _ => &self.dhcp,
        };
        send(socket, frame, SendFlags::DONTWAIT).map(drop).map_err(|errno| unsent(errno, self.link))
    }

    fn receive(
        &mut self,
        into: &mut [u8; FRAME_BYTES_MAX],
    ) -> core::result::Result<Option<usize>, NetError> {
        for socket in [&self.arp, &self.dhcp, &self.dhcp6] {
            loop {
                match recv(socket, into.as_mut_slice(), RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
                    // What was longer than its room is passed over.
                    Ok((kept, whole)) if kept == whole => return Ok(Some(kept)),
                    // That the link went down once is told once by each socket; the facts tell it better.
                    Ok(_) | Err(Errno::INTR | Errno::NETDOWN) => {}
                    Err(Errno::AGAIN) => break,
                    Err(errno) => {
                        let doing = format!("listening on link number {}", self.link);
                        return Err(failed(errno, &doing));
                    }
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_a_link_throws_away_says_that_the_link_is_down() {
        let error = unsent(Errno::NOBUFS, 15);
        assert_eq!((error.kind, error.code), (NetErrorKind::Down, Errno::NOBUFS.raw_os_error()));
        assert!(error.what.contains("link number 15"), "{error}");
        assert_eq!(unsent(Errno::NOMEM, 15).kind, NetErrorKind::Exhausted);
    }
}
