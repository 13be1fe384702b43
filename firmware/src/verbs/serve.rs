//! `serve`: the machine's page, and its vault watched, until it is told to stop.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use async_io::Timer;
use firmware_web::Status;
use hal::time::Clock;
use pipeline_vault::Error;
use smol::channel::Receiver;
use smol::future;

use crate::cli::Serve;
use crate::courier;
use crate::enrol::Enrolment;
use crate::enrol::delivery::Delivery;
use crate::report::{Ending, Outcome, cannot_listen, print};
use crate::seeds;
use crate::serve::figures;
use crate::serve::identity::{Identity, default_folder};
use crate::serve::listen::{Branch, Door, Names, Teller};
use crate::serve::replication::{Replication, Seen};
use crate::services::Keeper;
use crate::setup::in_use::{InUse, Way};
use crate::site::LiveSite;
use crate::site::program::Listening;
use crate::verbs::{Context, host_name};

/// What stands behind the API.
mod behind;

use behind::{Around, Behind};

/// How often it is noted how servers fare.
const NOTE_PACE: Duration = Duration::from_secs(2);

pub(super) fn run(serve: &Serve, stopped: &Receiver<()>, context: &Context) -> Ending {
    courier::keep(Keeper::default());
    let folder = serve.state.clone().or_else(default_folder).ok_or_else(|| {
        Error::misuse("serve", "has no folder to keep its certificate in")
            .remedy("name one with --state")
    })?;
    let name = serve.name.clone().unwrap_or_else(host_name);
    let identity = Arc::new(Identity::of_folder(&folder, &name)?);
    let in_use = InUse::default();
    let fingerprint = identity.fingerprint();
    let (agents, listening) = (Seen::default(), Listening::default());
    let branches = branches(serve, &identity, &agents, context)?;
    let behind = behind::open(&Around {
        serve,
        context,
        folder: &folder,
        name: &name,
        identity: &identity,
        in_use: &in_use,
        agents: &agents,
        listening: &listening,
    })?;
    let (clock, site) = (Arc::clone(&context.machine.clock), Arc::clone(&behind.site));
    let teller = teller(name.clone(), fingerprint.clone(), site, agents.clone(), clock);
    let names = names(&name, &behind, &identity);
    // The same at each start, and no other machine's: by it what this appliance began in the vault is known again.
    let host = format!("{name} {fingerprint}");
    let (end_agents, agents_ended) = smol::channel::bounded(1);
    let served = std::thread::scope(|scope| {
        let (agents, agents_ended) = (&agents, &agents_ended);
        let (in_use, folder) = (&in_use, &folder);
        let chosen = move || in_use.wait_until(|| agents_ended.is_closed());
        scope.spawn(move || {
            if let Some(way) = chosen() {
                seeds::keep::keep(&way.opening, &way.machine, agents_ended);
            }
        });
        if let Some(address) = serve.agents {
            scope.spawn(move || {
                if let Some(way) = chosen() {
                    let replication = replication(serve, address, folder, &host, &way);
                    replication.keep_running(&way.machine, agents, &tell_agents, agents_ended);
                }
            });
            scope.spawn(move || note_servers(folder, agents, agents_ended));
        }
        let served = smol::block_on(async {
            let door = Door::open(serve.listen, &identity, teller).await?.with(branches);
            let door = door.with_api(Arc::clone(&behind.api)).called(names);
            let address = door.address().map_err(|error| cannot_listen(&serve.listen, &error))?;
            listening.set(address);
            print(&format!(
                "Serving https://{address}/\nCertificate: SHA-256 {fingerprint}\nStop it with Ctrl-C.\n"
            ))?;
            let told = async {
                // The other end lives as long as the program does; either answer means to stop.
                let _ = stopped.recv().await;
            };
            let keeper = Keeper::default();
            future::or(door.serve_kept(&keeper), told).await;
            Ok::<_, Error>(Outcome::Done)
        });
        end_agents.close();
        served
    });
    Ok(served?)
}

/// What a browser may call the machine: its name, those of its certificate, and what an administrator added.
fn names(name: &str, behind: &Behind, identity: &Arc<Identity>) -> Names {
    let (name, accounts) = (name.to_owned(), Arc::clone(&behind.accounts));
    let identity = Arc::clone(identity);
    Arc::new(move |asked| {
        let own = || identity.own().is_some_and(|own| own.is_for(asked));
        asked.eq_ignore_ascii_case(&name) || own() || accounts.is_host(asked)
    })
}

/// What is to be run beside the page once there is a vault.
fn replication(
    serve: &Serve,
    address: SocketAddr,
    state: &Path,
    host: &str,
    way: &Way,
) -> Replication {
    Replication {
        opening: way.opening.clone(),
        address,
        spool: serve.spool.clone(),
        state: state.to_path_buf(),
        host: host.to_owned(),
    }
}

/// What is behind the page's door where agents are taken: their enrolment and their delivery.
fn branches(
    serve: &Serve,
    identity: &Identity,
    agents: &Seen,
    context: &Context,
) -> Result<Vec<Arc<dyn Branch>>, Error> {
    let Some(address) = serve.agents else { return Ok(Vec::new()) };
    let mut addresses: Vec<String> = serve.advertise.iter().map(ToString::to_string).collect();
    if addresses.is_empty() && !address.ip().is_unspecified() {
        addresses.push(address.to_string());
    }
    if addresses.is_empty() {
        return Err(Error::misuse(
            address.to_string(),
            "is no address that an agent could connect to",
        )
        .remedy("say what it is with --advertise ADDRESS:PORT"));
    }
    let clock = &context.machine.clock;
    let registrar = agents.registrar(Box::new(move || addresses.clone()), Arc::clone(clock));
    let enrolment = Enrolment::new(Arc::new(registrar), Arc::clone(clock));
    let delivery = Delivery::new(serve.agent.clone(), identity)?;
    Ok(vec![Arc::new(enrolment), Arc::new(delivery)])
}

fn tell_agents(address: SocketAddr) {
    if let Err(error) = print(&format!("Agents connect to {address}\n")) {
        log::debug!("{error}");
    }
}

/// Writes how servers fare to where `server list` finds it.
fn note_servers(state: &Path, agents: &Seen, ended: &Receiver<()>) {
    while !ended.is_closed() {
        if let Some(view) = agents.view()
            && let Err(error) = figures::write(state, &view.told())
        {
            log::debug!("how servers fare is not noted: {error}");
        }
        smol::block_on(future::or(
            async {
                let _ = ended.recv().await;
            },
            async {
                Timer::after(NOTE_PACE).await;
            },
        ));
    }
}

fn teller(
    name: String,
    fingerprint: String,
    site: Arc<LiveSite>,
    agents: Seen,
    clock: Arc<dyn Clock>,
) -> Teller {
    let began = clock.monotonic_nanos();
    Arc::new(move || Status {
        product: "lifeboat",
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: "program".to_owned(),
        status: "serving".to_owned(),
        ready: true,
        uptime_seconds: clock.monotonic_nanos().saturating_sub(began) / 1_000_000_000,
        certificate_sha256: fingerprint.clone(),
        vault: site.summary().told(&*clock),
        replication: agents.view().map(|view| figures::public(&view)),
        job: None,
    })
}
