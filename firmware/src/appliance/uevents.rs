//! What the kernel says of devices that come and go: its netlink messages, read and taken apart.
//!
//! The parser takes any bytes. It refuses to act: who listens decides.

use core::time::Duration;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt,
};

/// The kernel's own limit of one message.
const MESSAGE_BYTES_MAX: usize = 8192;
/// Room for the messages of 200 disks that appear at once.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What happened to one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uevent {
    /// `add`, `remove`, `change`, ...
    pub(crate) action: String,
    /// Its folder, under /sys.
    pub(crate) path: String,
    /// `block`, `net`, `usb`, ...
    pub(crate) subsystem: String,
    /// What its driver is found by.
    pub(crate) modalias: Option<String>,
    /// The name of its node, or of its network interface.
    pub(crate) name: Option<String>,
}

impl Uevent {
    /// Takes a message apart; `None` where it is none of the kernel's.
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        let mut event = Self::default();
        for field in message.split(|byte| *byte == 0) {
            let text = String::from_utf8_lossy(field);
            let Some((key, value)) = text.split_once('=') else { continue };
            let value = value.to_owned();
            match key {
                "ACTION" => event.action = value,
                "DEVPATH" => event.path = value,
                "SUBSYSTEM" => event.subsystem = value,
                "MODALIAS" => event.modalias = Some(value),
                "DEVNAME" | "INTERFACE" => event.name = Some(value),
                _ => {}
            }
        }
        (!event.action.is_empty() && !event.path.is_empty()).then_some(event)
    }
}

/// The kernel's messages, from the moment that this is opened.
pub(crate) struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Opens the socket: before devices are looked for, so that none is missed in between.
    pub(crate) fn open() -> Result<Self, String> {
        let open = || -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let kind = SocketType::DGRAM;
            let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(KOBJECT_UEVENT))?;
            // Less room only means that more is looked for again after a burst.
            let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES);
            bind(&socket, &SocketAddrNetlink::new(0, 1))?;
            Ok(socket)
        };
        let socket = open().map_err(|errno| format!("the kernel's device messages: {errno}"))?;
        Ok(Self { socket })
    }

    /// The next message, waited for so long.
    pub(crate) fn next(&self, patience: Duration) -> Heard {
        let mut buffer = vec![0_u8; MESSAGE_BYTES_MAX];
        let mut waited = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = Timespec::try_from(patience).ok();
        match poll(&mut waited, patience.as_ref()) {
            Ok(0) => return Heard::Quiet,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Heard::Missed,
        }
        match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) => {
                let message = buffer.get(..length).unwrap_or_default();
                Uevent::parse(message).map_or(Heard::Nothing, Heard::Event)
            }
            Err(Errno::NOBUFS) => Heard::Missed,
            Err(_) => Heard::Nothing,
        }
    }
}

/// What came of listening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message.
    Event(Uevent),
    /// Something that is none.
    Nothing,
    /// Time ran out.
    Quiet,
    /// There were more messages than room: look at everything again.
    Missed,
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    const ADD: &[u8] = b"add@/devices/pci0/virtio1\0ACTION=add\0DEVPATH=/devices/pci0/virtio1\0\
        SUBSYSTEM=virtio\0MODALIAS=virtio:d00000002v00001AF4\0SEQNUM=1420\0";

    #[test]
    fn a_message_is_taken_apart() {
        let event = Uevent::parse(ADD).unwrap();
        assert_eq!((event.action.as_str(), event.subsystem.as_str()), ("add", "virtio"));
        assert_eq!(event.path, "/devices/pci0/virtio1");
        assert_eq!(event.modalias.as_deref(), Some("virtio:d00000002v00001AF4"));
        let disk =
            b"add@/x\0ACTION=add\0DEVPATH=/devices/x/block/vda\0SUBSYSTEM=block\0DEVNAME=vda\0";
        assert_eq!(Uevent::parse(disk).unwrap().name.as_deref(), Some("vda"));
    }

    #[test]
    fn what_is_no_message_is_none() {
        for bytes in [&b""[..], b"libudev\0\xfe\xed", b"ACTION=add", b"DEVPATH=/x\0ACTION="] {
            assert_eq!(Uevent::parse(bytes), None);
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer() {
        let mut random = Random::new(23);
        for _ in 0..20_000 {
            let mut bytes = ADD.to_vec();
            for _ in 0..=random.below(8) {
                let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            bytes.truncate(usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap());
            if let Some(event) = Uevent::parse(&bytes) {
                assert!(!event.action.is_empty() && !event.path.is_empty());
            }
        }
    }

    #[test]
    fn the_socket_opens_and_is_quiet_for_a_while_or_hears_the_kernel() {
        let Ok(uevents) = Uevents::open() else {
            eprintln!("SKIPPED, not tested on this machine: no netlink socket");
            return;
        };
        assert_ne!(uevents.next(Duration::from_millis(1)), Heard::Missed);
    }
}
