//! The machine's network: links brought up and kept up as configured, and the way to Azure tested step by step.

/// The listener as a service of its own.
pub(crate) mod apart;
/// What is below IP: open links, and the listener at them.
pub mod below;
/// Who hears what strangers say on a cable.
pub mod listener;
/// What should be, what is, and what to do about it.
pub mod machine;
/// DNS servers, search domains and the host table for whoever sends requests.
pub mod names;
/// The network out of a configuration file.
pub mod page;
/// The way to Azure, tested step by step.
pub mod path;
/// The addresses of IPv4 on one link.
mod port;
/// DHCP of IPv6 on one link.
mod port6;
/// Which proxy a request goes through.
pub mod proxies;
/// The thread that keeps the network.
pub mod service;
/// How fast a store takes and gives.
pub mod speed;
/// How the network stands, for the console and for `lifeboat net show`.
pub mod state;
