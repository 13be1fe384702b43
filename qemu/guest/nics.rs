//! The network cards that the guest's kernel sees, and a word to whoever is on the same network.

use std::fs;
use std::net::UdpSocket;
use std::thread;

use core::net::{Ipv6Addr, SocketAddrV6};
use core::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};

use crate::{Answer, fact, link, say};

/// A group of this link's; none that anybody else uses.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x4c42);
const PORT: u16 = 9444;

/// One event for each card.
pub(crate) fn list() -> Answer {
    let cards = fs::read_dir("/sys/class/net").map_err(|error| error.to_string())?;
    for card in cards.flatten() {
        let name = card.file_name().to_string_lossy().into_owned();
        let at = format!("/sys/class/net/{name}");
        say(
            "nic",
            &[
                ("name", &name),
                ("mac", &fact(&format!("{at}/address"))),
                ("driver", &link(&format!("{at}/device/driver"))),
                ("carrier", &fact(&format!("{at}/carrier"))),
                ("mtu", &fact(&format!("{at}/mtu"))),
            ],
        );
    }
    Ok(())
}

fn index(nic: &str) -> Result<u32, String> {
    let text = fact(&format!("/sys/class/net/{nic}/ifindex"));
    text.parse().map_err(|_| format!("there is no card {nic}"))
}

/// Brings a card up, and waits until it may send.
pub(crate) fn raise(nic: &str) -> Answer {
    let index = index(nic)?;
    // RTM_NEWLINK, asked for and acknowledged, with the flag IFF_UP to be changed and set.
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(16_u16.to_ne_bytes());
    message.extend(5_u16.to_ne_bytes());
    message.extend([0; 8 + 4]);
    message.extend(index.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    // No protocol is the first: NETLINK_ROUTE.
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None);
    let socket = socket.map_err(|error| error.to_string())?;
    send(&socket, &message, SendFlags::empty()).map_err(|error| error.to_string())?;
    // Its own address of this link is asked about for a second before it is valid.
    for _ in 0..200 {
        let addresses = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let mut ours = addresses.lines().filter(|line| line.ends_with(nic));
        let valid = |line: &str| line.split_whitespace().nth(4).is_some_and(|flags| flags == "80");
        if ours.any(valid) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(format!(
        "{nic} has no valid address; carrier {}",
        fact(&format!("/sys/class/net/{nic}/carrier"))
    ))
}

/// Says what neighbours shout, from now on.
pub(crate) fn hear(nic: &str) -> Answer {
    let index = index(nic)?;
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).map_err(|e| e.to_string())?;
    socket.join_multicast_v6(&GROUP, index).map_err(|error| error.to_string())?;
    thread::spawn(move || {
        let mut bytes = [0_u8; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
            say("heard", &[("text", &text), ("from", &from.ip())]);
        }
    });
    Ok(())
}

/// Sends a word to everybody on the network.
pub(crate) fn shout(nic: &str, text: &str) -> Answer {
    let index = index(nic)?;
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).map_err(|e| e.to_string())?;
    let to = SocketAddrV6::new(GROUP, PORT, 0, index);
    socket.send_to(text.as_bytes(), to).map(drop).map_err(|error| error.to_string())
}
