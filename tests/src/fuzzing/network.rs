//! What other machines of a network say: DHCP for IPv4 and IPv6, routers, time servers, name servers.

use core::net::Ipv6Addr;

use firmware::appliance::sntp as time;
use hal::net::address::Mac;
use hal::net::dhcp4::{client as client4, lease::Lease, message::Message};
use hal::net::dhcp6::lease::{Information, is_address};
use hal::net::dhcp6::{client as client6, message::Message as Message6};
use hal::net::facts::Managed;
use hal::net::ndisc::{Advice, read_advice};
use hal::time::Moment;
use pipeline_azure::transport::dns;

use super::{choice, pieces};

/// The link that the clients are on.
const MAC: Mac = Mac([0x52, 0x54, 0, 1, 2, 3]);
/// Whose name the questions to name servers are about.
const HOST: &str = "vault.blob.core.windows.net.";

/// A client that asks, and frames that it hears one after the other, each a while later.
pub(super) fn dhcp4(bytes: &[u8]) {
    let (whole, rest) = choice(bytes, 2);
    if whole == 1 {
        if let Some(message) = Message::parse(rest) {
            assert!(Lease::read(&message).is_none_or(|lease| lease.is_sound()));
        }
        return;
    }
    let mut now = Moment(0);
    let identity = client4::Identity { mac: MAC, host_name: "web1".to_owned() };
    let mut client = client4::Client::new(identity, 1, now);
    for frame in pieces(rest) {
        while client.poll(now).is_some() {}
        client.hear(now, frame);
        let _ = (client.phase(), client.trouble(), client.end());
        assert!(client.lease().is_none_or(Lease::is_sound));
        // To where it acts by itself next, or a moment.
        now = client.deadline().min(now.after(40_000)).max(now.after(1));
    }
}

/// The same for IPv6.
pub(super) fn dhcp6(bytes: &[u8]) {
    let (whole, rest) = choice(bytes, 3);
    if whole == 2 {
        let _ = Message6::parse(rest);
        return;
    }
    let wanted = if whole == 0 { Managed::Addresses } else { Managed::Information };
    let mut now = Moment(0);
    let identity = client6::Identity { mac: MAC, link: 0, host_name: "web1".to_owned() };
    let mut client = client6::Client::new(identity, 1);
    let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    client.want(now, wanted);
    for frame in pieces(rest) {
        while client.poll(now, from).is_some() {}
        client.hear(now, frame);
        let _ = (client.phase(), client.end());
        assert!(client.lease(now).is_none_or(|lease| is_address(lease.address)));
        assert!(client.information(now).is_none_or(Information::is_sound));
        let next = client.deadline().unwrap_or(now).min(now.after(40_000));
        now = next.max(now.after(1));
    }
}

/// The options of a router's message.
pub(super) fn router(bytes: &[u8]) {
    assert!(read_advice(bytes).iter().all(Advice::is_sound));
}

/// A time server's answer.
pub(super) fn sntp(bytes: &[u8]) {
    let _ = time::answer(bytes, *b"unlikely", 1_795_377_845_250, 1_795_377_845_350);
}

/// A name server's answer.
pub(super) fn dns(bytes: &[u8]) {
    if let Some((addresses, alias)) = dns::understand(bytes, HOST) {
        assert!(alias.len() <= 1024 && addresses.len() <= bytes.len());
    }
}
