//! `net`: the network as it is, and kept as a file says.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::sync::Arc;

use hal::net::config::Network as Page;
use hal::net::facts::{AddressFacts, AddressState, LinkFacts, LinkKind, Way};
use hal::net::nic::{NetError, NetErrorKind, Stack};
use hal_linux::LinuxStack;
use pipeline_vault::Error;
use pipeline_vault::error::Blame;
use serde::Serialize;
use smol::channel::Receiver;

use crate::cli::{NetKeep, NetShow};
use crate::net::below::Here;
use crate::net::machine::Machine;
use crate::net::names::Files;
use crate::net::page;
use crate::net::service::{Keeper, Network};
use crate::net::state::State;
use crate::report::{Ending, Outcome, print, print_json, printable};
use crate::verbs::{Context, host_name};

/// Addresses that belong to nobody (RFC 5737 and 3849): how they would be reached is the way to everywhere.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1)),
];
/// How soon the end is noticed at the latest.
const LOOK_UP: Duration = Duration::from_millis(200);

/// A failure of the network as a failure of the program.
pub(super) fn failed(error: &NetError) -> Error {
    let blame = match error.kind {
        NetErrorKind::Misuse => Blame::Misuse,
        NetErrorKind::Refused => Blame::Refused,
        NetErrorKind::Exhausted => Blame::Exhausted,
        _ => Blame::Device,
    };
    Error::new(blame, "network", error.to_string())
}

/// `net show` as JSON.
#[derive(Serialize)]
struct Shown {
    links: Vec<ShownLink>,
    ways: Vec<ShownWay>,
    dns: String,
}

#[derive(Serialize)]
struct ShownLink {
    name: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    up: bool,
    carrier: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_mbit: Option<u32>,
    mtu: u32,
    addresses: Vec<String>,
    duplicate_addresses: Vec<String>,
}

#[derive(Serialize)]
struct ShownWay {
    /// `IPv4` or `IPv6`.
    to: &'static str,
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

pub(super) fn show(show: &NetShow) -> Ending {
    let mut stack = LinuxStack::open().map_err(|error| failed(&error))?;
    let links = stack.links().map_err(|error| failed(&error))?;
    let addresses = stack.addresses().map_err(|error| failed(&error))?;
    let mut ways = Vec::new();
    for to in ANYWHERE {
        match stack.way(to) {
            Ok(way) => ways.push(shown_way(to, &way, &links)),
            Err(error) if error.kind == NetErrorKind::NoRoute => {}
            Err(error) => log::info!("{error}"),
        }
    }
    let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = servers.lines().filter_map(|line| line.strip_prefix("nameserver "));
    let shown = Shown {
        links: links.iter().map(|link| shown_link(link, &addresses)).collect(),
        ways,
        dns: servers.map(str::trim).collect::<Vec<_>>().join(" "),
    };
    if show.json {
        print_json(&shown)?
    } else {
        print(&in_words(&shown))?
    }
    Ok(Outcome::Done)
}

fn shown_link(link: &LinkFacts, addresses: &[AddressFacts]) -> ShownLink {
    let kind = match &link.kind {
        LinkKind::Hardware => "NIC".to_owned(),
        LinkKind::Loopback => "loopback".to_owned(),
        LinkKind::Vlan { id, .. } => format!("VLAN {id}"),
        LinkKind::Bond => "bond".to_owned(),
        LinkKind::Other(kind) => printable(kind),
        _ => String::new(),
    };
    let here = addresses.iter().filter(|address| address.link == link.index);
    let of = |duplicate: bool| {
        let wanted = here
            .clone()
            .filter(move |address| (address.state == AddressState::Duplicate) == duplicate);
        wanted.map(|address| address.address.to_string()).collect()
    };
    ShownLink {
        name: printable(&link.name),
        kind,
        mac: link.mac.map(|mac| mac.to_string()),
        driver: link.driver.clone(),
        place: link.place.clone(),
        up: link.up,
        carrier: link.carrier,
        speed_mbit: link.speed_mbit,
        mtu: link.mtu,
        addresses: of(false),
        duplicate_addresses: of(true),
    }
}

fn shown_way(to: IpAddr, way: &Way, links: &[LinkFacts]) -> ShownWay {
    let link = links.iter().find(|link| link.index == way.link);
    ShownWay {
        to: if to.is_ipv4() { "IPv4" } else { "IPv6" },
        link: link.map_or_else(|| way.link.to_string(), |link| printable(&link.name)),
        via: way.via.map(|via| via.to_string()),
        source: way.source.map(|source| source.to_string()),
    }
}

fn in_words(shown: &Shown) -> String {
    use core::fmt::Write as _;
    let mut text = String::new();
    for link in &shown.links {
        let state = match (link.up, link.carrier) {
            (false, _) => "off",
            (true, false) => "no carrier",
            (true, true) => "up",
        };
        let speed = link.speed_mbit.map(|speed| format!(", {speed} Mbit/s")).unwrap_or_default();
        let driver = link.driver.as_ref().map(|driver| format!(", {driver}")).unwrap_or_default();
        let mac = link.mac.as_ref().map(|mac| format!(", {mac}")).unwrap_or_default();
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{} ({}{driver}): {state}{speed}, MTU {}{mac}",
            link.name, link.kind, link.mtu
        );
        for address in &link.addresses {
            let _ = writeln!(text, "    {address}");
        }
        for address in &link.duplicate_addresses {
            let _ = writeln!(text, "    {address}: another machine has it too");
        }
    }
    for way in &shown.ways {
        let via = way.via.as_ref().map(|via| format!(" by {via}")).unwrap_or_default();
        let source = way.source.as_ref().map(|source| format!(", as {source}")).unwrap_or_default();
        let _ = writeln!(text, "to everywhere ({}): on {}{via}{source}", way.to, way.link);
    }
    if shown.ways.is_empty() {
        text.push_str("no way to everywhere: nothing beyond these networks can be reached\n");
    }
    let servers = if shown.dns.is_empty() { "none" } else { &shown.dns };
    let _ = writeln!(text, "name servers: {}", printable(servers));
    text
}

pub(super) fn keep(keep: &NetKeep, stopped: &Receiver<()>, context: &Context) -> Ending {
    let page = match &keep.config {
        Some(path) => page::read(path)?,
        None => Page::default().check().expect("a page with nothing on it has nothing wrong"),
    };
    let files = keep.names.as_deref().map(Files::new).transpose()?;
    if let Some(files) = &files {
        files.write_hosts(&page)?;
    }
    let mut seed = [0; 8];
    context
        .machine
        .entropy
        .fill(&mut seed)
        .map_err(|error| Error::device("random numbers", error.to_string()))?;
    let stack = LinuxStack::open().map_err(|error| failed(&error))?;
    let machine = Machine::new(page, &host_name(), u64::from_ne_bytes(seed));
    let keeper = Keeper::new(stack, Here::default(), machine, files);
    let network = Network::start(keeper, Arc::clone(&context.machine.clock))?;
    let mut version = 0;
    while stopped.is_empty() {
        let (newer, state) = network.state_after(version, LOOK_UP);
        if newer > version {
            version = newer;
            tell(&state, keep.json)?;
        }
    }
    network.stop();
    Ok(Outcome::Done)
}

fn tell(state: &State, json: bool) -> Result<(), Error> {
    if json {
        let line = serde_json::to_string(state);
        let line = line.map_err(|error| Error::misuse("the state", error.to_string()))?;
        return print(&(line + "\n"));
    }
    let lines: Vec<String> = state.links.iter().map(|link| printable(&link.line())).collect();
    print(&format!("{}\n", lines.join("\n")))
}
