//! What the client says, by state: RFC 8415, section 18.2.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::Identity;
use crate::net::dhcp6::lease::Lease;
use crate::net::dhcp6::message::{
    Address, Addresses, CLIENT_PORT, Kind, Message, Options, SERVER_PORT, SERVERS, client_name,
    option,
};
use crate::net::frame::{ETHER_IPV6, Ethernet};
use crate::net::frame6::{Datagram6, group_mac};

/// What is wanted of servers.
const ASKED: [u16; 5] =
    [option::DNS, option::SEARCH, option::SNTP, option::NTP, option::SOLICIT_MAX];
/// The same of those that give no addresses.
const ASKED_OF_INFORMATION: [u16; 6] = [
    option::DNS,
    option::SEARCH,
    option::SNTP,
    option::NTP,
    option::REFRESH,
    option::INFORMATION_MAX,
];
/// The name is for the server's list: nothing is to be changed in DNS for it.
const NAME_ONLY: u8 = 4;
/// Longest part of a name.
const LABEL_BYTES_MAX: usize = 63;

/// The frame of a question: its kind, exchange and hundredths of a second since the first of its kind; `lease` is what
/// it is about. All goes to every server on the cable, and says which it is for.
pub(super) fn frame(
    identity: &Identity,
    from: Ipv6Addr,
    (kind, exchange, hundredths): (Kind, u32, u16),
    lease: Option<&Lease>,
) -> Option<Vec<u8>> {
    let mut options = Options::default().with(option::CLIENT, &client_name(identity.mac));
    let to_one = matches!(kind, Kind::Request | Kind::Renew | Kind::Release | Kind::Decline);
    if let Some(lease) = lease.filter(|_| to_one) {
        options.add(option::SERVER, &lease.server);
    }
    options.add(option::ELAPSED, &hundredths.to_be_bytes());
    if kind != Kind::Information {
        options.add(option::ADDRESSES, &addresses(identity, lease));
    }
    let asks = matches!(kind, Kind::Solicit | Kind::Request | Kind::Renew | Kind::Rebind);
    if asks {
        options.add(option::ASKED, &numbers(&ASKED));
        if let Some(name) = host_name(identity) {
            options.add(option::HOST_NAME, &name);
        }
    }
    if kind == Kind::Information {
        options.add(option::ASKED, &numbers(&ASKED_OF_INFORMATION));
    }
    let payload = Message { kind, exchange, options }.emit();
    let (from_port, to_port) = (CLIENT_PORT, SERVER_PORT);
    let packet = Datagram6 { from, from_port, to: SERVERS, to_port, payload: &payload }.emit()?;
    let (to, from) = (group_mac(SERVERS), identity.mac);
    Some(Ethernet { to, from, kind: ETHER_IPV6, content: &packet }.emit())
}

/// The one address of this link, or the wish for one; all times are the server's to say.
fn addresses(identity: &Identity, lease: Option<&Lease>) -> Vec<u8> {
    let mut options = Options::default();
    if let Some(lease) = lease {
        let address = Address { address: lease.address, preferred_seconds: 0, valid_seconds: 0 };
        options.add(option::ADDRESS, &address.emit());
    }
    Addresses { link: identity.link, renew_seconds: 0, rebind_seconds: 0, options }.emit()
}

fn numbers(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// The machine's name as DNS writes it, without an end, since nobody says which domain it is in.
fn host_name(identity: &Identity) -> Option<Vec<u8>> {
    let label = identity.host_name.split('.').next().unwrap_or_default().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let length = u8::try_from(label.len()).ok()?;
    let sound = (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.iter().all(plain);
    sound.then(|| [&[NAME_ONLY, length], label].concat())
}
