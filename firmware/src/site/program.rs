//! `lifeboat serve` as the machine of a site: another system keeps its network, its clock and its disks.

use core::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::events::Events;
use super::facts::{Ask, Facts, Vaulted, links_of_kernel};
use crate::admin::keep::Keep;
use crate::cli::Serve;
use crate::serve::identity::Identity;
use crate::serve::replication::Seen;
use crate::session::Machine;
use crate::setup::in_use::InUse;

/// Where the page is, once it listens.
#[derive(Clone, Debug, Default)]
pub struct Listening(Arc<Mutex<Option<SocketAddr>>>);

impl Listening {
    /// It listens here.
    pub fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// Where others reach it: at all of the machine's addresses where it listens on all.
    fn reached_at(&self) -> Vec<String> {
        let address = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(address) = address else { return Vec::new() };
        if !address.ip().is_unspecified() {
            return vec![address.to_string()];
        }
        let links = links_of_kernel();
        let all = links.iter().flat_map(|link| &link.addresses);
        let plain = all.filter_map(|address| address.split('/').next()?.parse().ok());
        // What is good on one cable only helps no server elsewhere.
        let far = plain.filter(|ip| match ip {
            core::net::IpAddr::V4(ip) => !ip.is_link_local(),
            core::net::IpAddr::V6(ip) => !ip.is_unicast_link_local() && address.is_ipv6(),
        });
        far.map(|ip| SocketAddr::new(ip, address.port()).to_string()).collect()
    }
}

/// What the rest of the program has.
pub struct Parts<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The machine.
    pub machine: &'a Machine,
    /// The vault in use.
    pub in_use: &'a InUse,
    /// Ingest.
    pub agents: &'a Seen,
    /// Who the machine is.
    pub identity: &'a Arc<Identity>,
    /// Small documents.
    pub keep: &'a Arc<dyn Keep>,
    /// What happened.
    pub events: &'a Arc<Events>,
    /// Where the page is.
    pub listening: &'a Listening,
    /// The time zone.
    pub zone_minutes: Ask<i16>,
}

impl core::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Parts({})", self.name)
    }
}

/// The facts of `lifeboat serve`.
#[must_use]
pub fn facts(serve: &Serve, parts: Parts<'_>) -> Facts {
    let spool = serve.spool.clone();
    let words = spool.as_ref().map_or_else(
        || "none: nothing is acknowledged before the vault has it".to_owned(),
        |path| path.display().to_string(),
    );
    let listening = parts.listening.clone();
    // What is no text is no setting of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment: Vec<(String, String)> = environment.collect();
    let in_use = parts.in_use.clone();
    Facts {
        name: parts.name.to_owned(),
        role: "program",
        machine: parts.machine.clone(),
        vault: Arc::new(move || in_use.way().map(|way| Vaulted::of(way, &environment))),
        agents: parts.agents.clone(),
        takes_agents: serve.agents.is_some(),
        identity: Arc::clone(parts.identity),
        pages: Arc::new(move || listening.reached_at()),
        links: Arc::new(links_of_kernel),
        spool: Arc::new(move || words.clone()),
        used: Arc::new(move |disk| match &spool {
            Some(path) if path.ends_with(disk) => "spool",
            _ => "",
        }),
        troubles: Arc::new(Vec::new),
        zone_minutes: parts.zone_minutes,
        keep: Arc::clone(parts.keep),
        events: Arc::clone(parts.events),
        updates: None,
        program: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_on_every_address_is_reached_at_those_of_the_machine() {
        let listening = Listening::default();
        assert!(listening.reached_at().is_empty());
        listening.set("192.0.2.7:8443".parse().unwrap());
        assert_eq!(listening.reached_at(), ["192.0.2.7:8443"]);
        listening.set("0.0.0.0:8443".parse().unwrap());
        for address in listening.reached_at() {
            assert!(address.ends_with(":8443") && !address.starts_with('['), "{address}");
        }
    }
}
