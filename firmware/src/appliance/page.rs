//! The machine's page as a service of the role *appliance*: one listening socket, on every address of the machine.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use async_io::Timer;
use firmware_web::{Job, Status};
use hal::time::Clock;
use hal_linux::SystemClock;
use image_layout::command_line::Role;
use image_layout::initrd;
use smol::future;

use super::memory::Identity as Kept;
use super::{Appliance, roles};
use crate::enrol::delivery::Delivery;
use crate::serve::identity::Identity;
use crate::serve::listen::{Branch, Door, Teller};

/// HTTPS.
const PORT: u16 = 443;
/// How often it is looked whether the machine goes down, and whether its addresses changed.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until the machine goes down.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    if roles::chosen(appliance) != Role::Appliance {
        return Ok(());
    }
    let identity = identity(appliance)?;
    let fingerprint = identity.fingerprint();
    appliance.board.update(|view| view.fingerprint = Some(fingerprint.clone()));
    let teller = teller(appliance, fingerprint.clone());
    // An image may have been built without it.
    let agent = Some(PathBuf::from(initrd::AGENT)).filter(|agent| agent.exists());
    let delivery = Delivery::new(agent, &identity).map_err(|error| error.to_string())?;
    let delivery: Arc<dyn Branch> = Arc::new(delivery);
    smol::block_on(async {
        let door = open(&identity, teller).await?.with(vec![delivery]);
        let stopped = async {
            let mut told = Vec::new();
            while !appliance.stop.asked() {
                tell_addresses(appliance, &fingerprint, &mut told);
                Timer::after(LOOK).await;
            }
        };
        future::or(door.serve(), stopped).await;
        Ok(())
    })
}

/// On both kinds of addresses, or on the one kind that this kernel has.
async fn open(identity: &Identity, teller: Teller) -> Result<Door, String> {
    let everywhere = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let mut last = String::new();
    for address in everywhere {
        match Door::open(SocketAddr::new(address, PORT), identity, Arc::clone(&teller)).await {
            Ok(door) => return Ok(door),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// The one that is remembered, or a new one that is remembered from now on.
fn identity(appliance: &Appliance) -> Result<Identity, String> {
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

/// `10.0.0.5/24` as what is typed into a browser; none for addresses that reach no further than the cable.
fn url(address: &str) -> Option<String> {
    let plain = address.split_once('/').map_or(address, |(plain, _)| plain);
    match plain.parse().ok()? {
        IpAddr::V4(address) if !address.is_link_local() => Some(format!("https://{address}/")),
        IpAddr::V6(address) if !address.is_unicast_link_local() => {
            Some(format!("https://[{address}]/"))
        }
        _ => None,
    }
}

fn teller(appliance: &Appliance, fingerprint: String) -> Teller {
    let (board, watched) = (Arc::clone(&appliance.board), Arc::clone(&appliance.watched));
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
            replication: None,
            job: view.job.map(|job| Job { done_bytes: job.done, total_bytes: job.total }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_into_a_browser() {
        assert_eq!(url("10.0.2.15/24").as_deref(), Some("https://10.0.2.15/"));
        assert_eq!(url("fd00::5/64").as_deref(), Some("https://[fd00::5]/"));
        for address in ["fe80::1/64", "169.254.3.4/16", "nonsense", ""] {
            assert_eq!(url(address), None, "{address}");
        }
    }
}
