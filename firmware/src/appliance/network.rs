//! The machine's network as a service: the page of `lifeboat.toml`, or DHCP on every link; its state on the board.
//!
//! Name servers and the host table go to /etc, where the verbs look for them.

use core::net::IpAddr;
use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use hal::net::config::Network as Page;
use hal::time::{Clock, Entropy};
use hal_linux::{LinuxStack, SystemClock, SystemEntropy};
use pipeline_azure::address::AzureAddress;

use super::Appliance;
use super::board::{Answer, Kind, Question};
use crate::net::machine::Machine;
use crate::net::names::{Files, proxy_environment};
use crate::net::path::Target;
use crate::net::service::{Keeper, Network};
use crate::net::state::State;

/// Where the verbs look for name servers and the host table.
const FILES: &str = "/etc";
/// What links of several parts need.
const MODULES: [&str; 2] = ["8021q", "bonding"];

/// Brings links up and keeps them so; ends when the machine goes down.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let page = page(appliance);
    if let (Some(loader), false) = (appliance.loader.get(), page.links.is_empty()) {
        for module in MODULES {
            // What the page does not use is not missed; what it does is told by the link.
            let _ = loader.need(module);
        }
    }
    let checked = page.check().map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("lifeboat.toml, the network: {}", told.join("; "))
    })?;
    let files = Files::new(Path::new(FILES)).map_err(|error| error.to_string())?;
    files.write_hosts(&checked).map_err(|error| error.to_string())?;
    let stack = LinuxStack::open().map_err(|error| error.to_string())?;
    let mut seed = [0; 8];
    SystemEntropy.fill(&mut seed).map_err(|error| error.to_string())?;
    let machine = Machine::new(checked, &host_name(appliance), u64::from_le_bytes(seed));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let network = Network::start(Keeper::new(stack, machine, Some(files)), clock)
        .map_err(|error| error.to_string())?;
    let mut seen = 0;
    while !appliance.stop.asked() {
        let (version, state) = network.state_after(seen, Duration::from_millis(500));
        if version != seen {
            seen = version;
            show(appliance, state);
        }
    }
    network.stop();
    Ok(())
}

fn page(appliance: &Appliance) -> Page {
    let settings = appliance.settings.get();
    settings.and_then(|settings| settings.network.clone()).unwrap_or_default()
}

fn host_name(appliance: &Appliance) -> String {
    let name = appliance.settings.get().and_then(|settings| settings.name.clone());
    name.unwrap_or_else(|| "lifeboat".to_owned())
}

fn show(appliance: &Appliance, state: State) {
    let lines: Vec<String> = state.links.iter().map(crate::net::state::LinkState::line).collect();
    let (online, addresses) = (state.online, lines.join("; "));
    appliance.events.say("network", &[("online", &online), ("links", &addresses)]);
    *appliance.network.lock().unwrap_or_else(PoisonError::into_inner) = state;
    appliance.board.update(|view| view.addresses = lines);
    // Cables and speeds changed too, of which the kernel sends no device message.
    super::devices::show(appliance);
}

/// What a job that talks to this vault has to know of proxies, as its environment.
pub(crate) fn proxies(
    appliance: &Appliance,
    vault: &AzureAddress,
) -> Result<Vec<(String, String)>, String> {
    let origins: Vec<_> = Target::of_vault(vault).into_iter().map(|target| target.origin).collect();
    proxy_environment(&page(appliance).proxies, &origins)
        .map_err(|error| format!("lifeboat.toml, the network: {error}"))
}

/// Waits until a link has an address that reaches further than its cable, so long at most; whether one has.
pub(crate) fn wait_online(appliance: &Appliance, patience: Duration) -> bool {
    let until = std::time::Instant::now() + patience;
    loop {
        let online = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).online;
        let late = std::time::Instant::now() >= until;
        if online || late || appliance.stop.rest(Duration::from_millis(200)) {
            return online;
        }
    }
}

/// The time servers that DHCP named.
pub(crate) fn time_servers(appliance: &Appliance) -> Vec<IpAddr> {
    let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner);
    state.ntp.iter().filter_map(|server| server.parse().ok()).collect()
}

/// The network as it stands, in full, and how it is set.
pub(crate) fn settings(appliance: &Appliance) -> Result<(), String> {
    let mut words: Vec<String> = {
        let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner);
        let names = format!("name servers: {}", state.dns.join(" "));
        state.links.iter().map(crate::net::state::LinkState::line).chain([names]).collect()
    };
    words.push("Addresses, routes, VLANs, bonds and proxies are set in lifeboat.toml in the first partition of the medium, table [network]; without it every link asks by DHCP.".to_owned());
    let kind = Kind::Choice(vec!["back".to_owned()]);
    let title = "The network".to_owned();
    match appliance.board.ask(Question { title, words, kind }) {
        Answer::Chosen(_) | Answer::Typed(_) | Answer::None => Ok(()),
    }
}
