//! Networks: links, addresses and routes as plain values, the traits that hardware and system stand behind, and the
//! protocols that need no system at all. Nothing here opens a socket or looks at a clock.

/// MAC addresses, and addresses with their prefix.
pub mod address;
/// Is this address already somebody's? Probes and answers of ARP.
pub mod arp;
/// Numbers that spread waiting times.
pub mod chance;
/// The network as a person writes it down.
pub mod config;
/// The client side of DHCP for IPv4.
pub mod dhcp4;
/// The client side of DHCP for IPv6.
pub mod dhcp6;
/// What the system says of links, addresses and routes.
pub mod facts;
/// Ethernet, IPv4 and UDP around a payload.
pub mod frame;
/// IPv6 and UDP around a payload.
pub mod frame6;
/// What leases of both versions have in common.
mod lease_time;
/// What routers of IPv6 say of name servers.
pub mod ndisc;
/// A NIC that takes whole frames, and a system that keeps links, addresses and routes.
pub mod nic;
