//! `serve`: the machine's page, and its vault watched, until it is told to stop.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use async_io::Timer;
use firmware_web::{Status, VaultState};
use pipeline_vault::Error;
use smol::channel::Receiver;
use smol::future;

use crate::cli::Serve;
use crate::enrol::Enrolment;
use crate::enrol::delivery::Delivery;
use crate::report::{Ending, Outcome, cannot_listen, print};
use crate::seeds;
use crate::serve::figures;
use crate::serve::identity::{Identity, default_folder};
use crate::serve::listen::{Branch, Door, Teller};
use crate::serve::replication::{Replication, Seen};
use crate::serve::watch::{Sight, Watched, look};
use crate::session::Machine;
use crate::verbs::{Context, host_name, recovery};

/// How often the vault is looked at.
const PACE: Duration = Duration::from_secs(5 * 60);
/// How often it is noted how servers fare.
const NOTE_PACE: Duration = Duration::from_secs(2);
/// The same while it cannot be read.
const RETRY: Duration = Duration::from_secs(30);

pub(super) fn run(serve: &Serve, stopped: &Receiver<()>, context: &Context) -> Ending {
    let folder = serve.state.clone().or_else(default_folder).ok_or_else(|| {
        Error::misuse("serve", "has no folder to keep its certificate in")
            .remedy("name one with --state")
    })?;
    let name = serve.name.clone().unwrap_or_else(host_name);
    let identity = Identity::of_folder(&folder, &name)?;
    let watched = Watched::default();
    watched.note(Ok(Sight { state: VaultState::Unknown, ..Sight::default() }));
    let watched = Arc::new(watched);
    let fingerprint = identity.fingerprint();
    let agents = Seen::default();
    let teller = teller(
        name.clone(),
        fingerprint.clone(),
        Arc::clone(&watched),
        agents.clone(),
        &context.machine,
    );
    let branches = branches(serve, &identity, &agents, context)?;
    // The same at each start, and no other machine's: by it what this appliance began in the vault is known again.
    let replication = replication(serve, folder, format!("{name} {fingerprint}"));
    let (end, ended) = mpsc::channel::<Infallible>();
    let (end_agents, agents_ended) = smol::channel::bounded(1);
    let served = std::thread::scope(|scope| {
        let seen = &*watched;
        scope.spawn(move || watch(serve, &context.machine, seen, &ended));
        let judged = &agents_ended;
        scope.spawn(move || recovery::ready::daily(&serve.opening, context, judged));
        let seeding = &agents_ended;
        scope.spawn(move || seeds::keep::keep(&serve.opening, &context.machine, seeding));
        if let Some(replication) = &replication {
            let (machine, agents, ended) = (&context.machine, &agents, &agents_ended);
            scope.spawn(move || replication.keep_running(machine, agents, &tell_agents, ended));
            scope.spawn(move || note_servers(&replication.state, agents, ended));
        }
        let served = smol::block_on(async {
            let door = Door::open(serve.listen, &identity, teller).await?.with(branches);
            let address = door.address().map_err(|error| cannot_listen(&serve.listen, &error))?;
            print(&format!(
                "Serving https://{address}/\nCertificate: SHA-256 {fingerprint}\nStop it with Ctrl-C.\n"
            ))?;
            let told = async {
                // The other end lives as long as the program does; either answer means to stop.
                let _ = stopped.recv().await;
            };
            future::or(door.serve(), told).await;
            Ok::<_, Error>(Outcome::Done)
        });
        drop(end);
        end_agents.close();
        served
    });
    Ok(served?)
}

/// What is to be run beside the page, where agents are to be taken.
fn replication(serve: &Serve, state: PathBuf, host: String) -> Option<Replication> {
    Some(Replication {
        opening: serve.opening.clone(),
        address: serve.agents?,
        spool: serve.spool.clone(),
        state,
        host,
    })
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
    watched: Arc<Watched>,
    agents: Seen,
    machine: &Machine,
) -> Teller {
    let clock = Arc::clone(&machine.clock);
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
        vault: watched.sight().told(&*clock),
        replication: agents.view().map(|view| figures::public(&view)),
        job: None,
    })
}

/// Looks at the vault until the other end of `ended` is gone.
fn watch(serve: &Serve, machine: &Machine, watched: &Watched, ended: &mpsc::Receiver<Infallible>) {
    loop {
        let seen = look(&serve.opening, machine);
        let pause = if seen.is_ok() { PACE } else { RETRY };
        if let Err(error) = &seen {
            log::warn!("{error}");
        }
        watched.note(seen.map_err(|_| machine.clock.monotonic_nanos()));
        if ended.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
    }
}
