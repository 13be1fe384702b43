//! `serve`: the machine's page, and its vault watched, until it is told to stop.

use core::convert::Infallible;
use core::time::Duration;
use std::sync::{Arc, mpsc};

use firmware_web::{Status, VaultState};
use pipeline_vault::Error;
use smol::channel::Receiver;
use smol::future;

use crate::cli::Serve;
use crate::enrol::delivery::Delivery;
use crate::report::{Ending, Outcome, cannot_listen, print};
use crate::serve::identity::{Identity, default_folder};
use crate::serve::listen::{Door, Teller};
use crate::serve::watch::{Sight, Watched, look};
use crate::session::Machine;
use crate::verbs::{Context, host_name};

/// How often the vault is looked at.
const PACE: Duration = Duration::from_secs(5 * 60);
/// The same while it cannot be read.
const RETRY: Duration = Duration::from_secs(30);

pub(super) fn run(serve: &Serve, stopped: &Receiver<()>, context: &Context) -> Ending {
    let folder = serve.state.clone().or_else(default_folder).ok_or_else(|| {
        Error::misuse("serve", "has no folder to keep its certificate in")
            .remedy("name one with --state")
    })?;
    let name = serve.name.clone().unwrap_or_else(host_name);
    let identity = Identity::of_folder(&folder, &name)?;
    let delivery = Delivery::new(serve.agent.clone(), &identity)?;
    let watched = Watched::default();
    watched.note(Ok(Sight { state: VaultState::Unknown, ..Sight::default() }));
    let watched = Arc::new(watched);
    let fingerprint = identity.fingerprint();
    let teller = teller(name, fingerprint.clone(), Arc::clone(&watched), &context.machine);
    let (end, ended) = mpsc::channel::<Infallible>();
    let served = std::thread::scope(|scope| {
        let seen = &*watched;
        scope.spawn(move || watch(serve, &context.machine, seen, &ended));
        let served = smol::block_on(async {
            let door = Door::open(serve.listen, &identity, teller).await?;
            let door = door.with(vec![Arc::new(delivery)]);
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
        served
    });
    Ok(served?)
}

fn teller(name: String, fingerprint: String, watched: Arc<Watched>, machine: &Machine) -> Teller {
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
