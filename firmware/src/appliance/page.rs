//! The machine's page as a service of the role *appliance*: one listening socket, on every address of the machine.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_io::Timer;
use firmware_web::{Job, Status};
use hal::time::Clock;
use hal_linux::SystemClock;
use hal_linux::jail::cgroup;
use image_layout::command_line::Role;
use image_layout::initrd;
use pipeline_wire::enrol::ADDRESSES_MAX;
use smol::future;

use super::memory::Identity as Kept;
use super::{Appliance, agents, roles};
use crate::enrol::Enrolment;
use crate::enrol::delivery::Delivery;
use crate::net::state::State;
use crate::serve::figures;
use crate::serve::identity::Identity;
use crate::serve::listen::{Branch, Door, Teller};
use crate::services::Keeper;

/// HTTPS.
pub(crate) const PORT: u16 = 443;
/// Every address of the machine, of both kinds; and of the one kind, where the kernel has no other.
pub(crate) const EVERYWHERE: [IpAddr; 2] =
    [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
/// How often it is looked whether the machine goes down, and whether its addresses changed.
const LOOK: Duration = Duration::from_millis(500);

/// The first process insists on every bar of a service's jail.
pub(crate) const KEEPER: Keeper<'static> = Keeper { strict: true, groups: Some(cgroup::ROOT) };

/// Serves until the machine goes down.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    if roles::chosen(appliance) != Role::Appliance {
        return Ok(());
    }
    let identity = identity(appliance)?;
    let fingerprint = identity.fingerprint();
    appliance.board.update(|view| view.fingerprint = Some(fingerprint.clone()));
    let teller = teller(appliance, fingerprint.clone());
    let branches = branches(appliance, &identity)?;
    smol::block_on(async {
        let mut door = open(&identity, teller).await?.with(branches);
        if let Some(managed) = appliance.managed.get() {
            door = door.with_api(managed.api()).called(managed.names());
        }
        let stopped = async {
            let mut told = Vec::new();
            while !appliance.stop.asked() {
                tell_addresses(appliance, &fingerprint, &mut told);
                Timer::after(LOOK).await;
            }
            Ok(())
        };
        let served = async { Err(door.serve_behind(&KEEPER).await) };
        future::or(served, stopped).await
    })
}

/// What is behind the door beside the page: servers are enrolled, and get the agent.
fn branches(appliance: &Appliance, identity: &Identity) -> Result<Vec<Arc<dyn Branch>>, String> {
    let (network, advertised) = (Arc::clone(&appliance.network), advertised(appliance));
    let addresses = move || reached_at(&network, &advertised, agents::PORT);
    let registrar = appliance.agents.registrar(Box::new(addresses));
    let enrolment = Enrolment::new(Arc::new(registrar), Arc::new(SystemClock));
    // An image may have been built without it.
    let agent = Some(PathBuf::from(initrd::AGENT)).filter(|agent| agent.exists());
    let delivery = Delivery::new(agent, identity).map_err(|error| error.to_string())?;
    Ok(vec![Arc::new(enrolment), Arc::new(delivery)])
}

/// On both kinds of addresses, or on the one kind that this kernel has.
async fn open(identity: &Identity, teller: Teller) -> Result<Door, String> {
    let mut last = String::new();
    for address in EVERYWHERE {
        match Door::open(SocketAddr::new(address, PORT), identity, Arc::clone(&teller)).await {
            Ok(door) => return Ok(door),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Who the machine is to browsers and agents: what is remembered, or made now and remembered from now on.
pub(crate) fn identity(appliance: &Appliance) -> Result<Arc<Identity>, String> {
    // Held until it is made: two services want one and the same.
    let mut known = appliance.identity.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(identity) = &*known {
        return Ok(Arc::clone(identity));
    }
    let identity = Arc::new(find_identity(appliance)?);
    *known = Some(Arc::clone(&identity));
    Ok(identity)
}

fn find_identity(appliance: &Appliance) -> Result<Identity, String> {
    if let Some(kept) = appliance.memory.kept().identity {
        match Identity::from_der(kept.certificate.clone(), kept.key.clone()) {
            Ok(identity) => return Ok(identity),
            Err(error) => log::warn!("{error}"),
        }
    }
    let name = appliance.settings.get().and_then(|settings| settings.name.clone());
    let identity =
        Identity::generate(&name.unwrap_or_default()).map_err(|error| error.to_string())?;
    let kept = Kept { certificate: identity.certificate().to_vec(), key: identity.key().to_vec() };
    if let Err(words) = appliance.memory.change(|memory| memory.identity = Some(kept)) {
        log::warn!("the certificate is forgotten at the next start: {words}");
    }
    Ok(identity)
}

/// What a browser is to open, told once for each new address.
fn tell_addresses(appliance: &Appliance, fingerprint: &str, told: &mut Vec<String>) {
    let links = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).links.clone();
    let addresses = links.iter().flat_map(|link| link.addresses.iter());
    let pages: Vec<String> = addresses.filter_map(|address| url(address)).collect();
    if pages == *told {
        return;
    }
    for page in pages.iter().filter(|page| !told.contains(page)) {
        log::info!("the page of this machine: {page}");
        appliance.events.say("page", &[("url", page), ("fingerprint", &fingerprint)]);
    }
    *told = pages;
    let first = told.first().cloned();
    appliance.board.update(|view| view.page = first);
}

/// By which addresses it is found that it does not have itself, as its settings say.
pub(crate) fn advertised(appliance: &Appliance) -> Vec<IpAddr> {
    appliance.settings.get().map(|settings| settings.advertise.clone()).unwrap_or_default()
}

/// Where a port of this machine is reached, `address:port` each: what is advertised first, then its own addresses, as far as
/// others can know them.
pub(crate) fn reached_at(network: &Mutex<State>, advertised: &[IpAddr], port: u16) -> Vec<String> {
    let network = network.lock().unwrap_or_else(PoisonError::into_inner);
    let own = network.links.iter().flat_map(|link| link.addresses.iter());
    let own = own.filter_map(|address| reached(address));
    let own = own.filter(|address| !advertised.contains(address));
    let all = advertised.iter().copied().chain(own);
    all.map(|address| SocketAddr::new(address, port).to_string()).take(ADDRESSES_MAX).collect()
}

/// The address of `10.0.0.5/24`; none where it reaches no further than the cable.
fn reached(address: &str) -> Option<IpAddr> {
    let plain = address.split_once('/').map_or(address, |(plain, _)| plain);
    let address: IpAddr = plain.parse().ok()?;
    let is_near = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    (!is_near).then_some(address)
}

/// What is typed into a browser.
fn url(address: &str) -> Option<String> {
    Some(match reached(address)? {
        IpAddr::V4(address) => format!("https://{address}/"),
        IpAddr::V6(address) => format!("https://[{address}]/"),
    })
}

fn teller(appliance: &Appliance, fingerprint: String) -> Teller {
    let (board, watched) = (Arc::clone(&appliance.board), Arc::clone(&appliance.watched));
    let agents = appliance.agents.seen().clone();
    let began = SystemClock.monotonic_nanos();
    Arc::new(move || {
        let view = board.view();
        Status {
            product: "lifeboat",
            name: view.name,
            version: view.version,
            role: view.role,
            status: view.status,
            ready: true,
            uptime_seconds: SystemClock.monotonic_nanos().saturating_sub(began) / 1_000_000_000,
            certificate_sha256: fingerprint.clone(),
            vault: watched.sight().told(&SystemClock),
            replication: agents.view().map(|view| figures::public(&view)),
            job: view.job.map(|job| Job { done_bytes: job.done, total_bytes: job.total }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::state::LinkState;

    #[test]
    fn what_is_typed_into_a_browser() {
        assert_eq!(url("10.0.2.15/24").as_deref(), Some("https://10.0.2.15/"));
        assert_eq!(url("fd00::5/64").as_deref(), Some("https://[fd00::5]/"));
        for address in ["fe80::1/64", "169.254.3.4/16", "nonsense", ""] {
            assert_eq!(url(address), None, "{address}");
        }
    }

    #[test]
    fn agents_are_told_what_reaches_the_machine_and_no_more_than_a_token_holds() {
        let link = |addresses: &[&str]| LinkState {
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            ..LinkState::default()
        };
        let links = vec![
            link(&["169.254.3.4/16", "10.0.2.15/24", "fd00::5/64"]),
            link(&[]),
            link(&["10.1.0.1/8", "10.1.0.2/8", "10.1.0.3/8"]),
        ];
        let network = Mutex::new(State { links, ..State::default() });
        let reached = reached_at(&network, &[], 9443);
        assert_eq!(reached, ["10.0.2.15:9443", "[fd00::5]:9443", "10.1.0.1:9443", "10.1.0.2:9443"]);
        assert!(reached_at(&Mutex::default(), &[], 9443).is_empty());
        // What somebody says that it is found by comes first, and once.
        let said = ["203.0.113.7", "10.1.0.1"].map(|address| address.parse().unwrap());
        let reached = reached_at(&network, &said, 443);
        assert_eq!(reached, ["203.0.113.7:443", "10.1.0.1:443", "10.0.2.15:443", "[fd00::5]:443"]);
        assert_eq!(reached_at(&Mutex::default(), &said[..1], 443), ["203.0.113.7:443"]);
    }
}
