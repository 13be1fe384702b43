//! Ingest beside the page: prepared, run, and prepared again after whatever ended it, until everything ends.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_io::Timer;
use hal::time::Clock;
use pipeline_vault::Error;
use smol::channel::Receiver;
use smol::future;

use crate::cli::Opening;
use crate::ingest::roll::kept::KeptRoll;
use crate::ingest::roll::registrar::Registrar;
use crate::ingest::service::{Ingest, View};
use crate::report::Size;
use crate::session::{Machine, Session};
use crate::spool::memory::MemoryRing;
use crate::spool::records::Records;
use crate::spool_disk::{self, owner};

/// Pause after whatever ended it: the vault cannot be read, the spool failed.
const PAUSE: Duration = Duration::from_secs(5);
/// The ring in memory, where there is no disk for the spool.
const MEMORY_BYTES: u64 = 320 * 1024 * 1024;

/// What is to be run.
pub struct Replication {
    /// The vault.
    pub opening: Opening,
    /// Where agents connect.
    pub address: SocketAddr,
    /// The spool: a device or a file that was formatted for it.
    pub spool: Option<PathBuf>,
    /// Where its key is.
    pub state: PathBuf,
    /// Who writes, for messages of others.
    pub host: String,
}

/// How ingest fares: its view while it runs.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Option<View>>>);

impl Seen {
    /// The view, while it runs.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What puts servers on the roll, while there is one; they are told to connect to these addresses.
    #[must_use]
    pub fn registrar(&self, addresses: Vec<String>, clock: Arc<dyn Clock>) -> Registrar {
        let seen = self.clone();
        let find = move || seen.view().map(|view| view.roll());
        Registrar::new(Box::new(find), addresses, clock)
    }

    fn set(&self, view: Option<View>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

impl Replication {
    /// Runs until the other end of `ended` is gone. `listening` is told where, each time.
    pub fn keep_running(
        &self,
        machine: &Machine,
        seen: &Seen,
        listening: &(dyn Fn(SocketAddr) + Sync),
        ended: &Receiver<()>,
    ) {
        while !ended.is_closed() {
            if let Err(error) = self.run_once(machine, seen, listening, ended) {
                log::warn!("replication: {error}; tried again in {} s", PAUSE.as_secs());
            }
            seen.set(None);
            smol::block_on(future::or(over(ended), async {
                Timer::after(PAUSE).await;
            }));
        }
    }

    fn run_once(
        &self,
        machine: &Machine,
        seen: &Seen,
        listening: &(dyn Fn(SocketAddr) + Sync),
        ended: &Receiver<()>,
    ) -> Result<(), Error> {
        let session = Session::open(&self.opening, machine)?;
        let roll = Arc::new(KeptRoll::open(session, Arc::clone(&machine.clock))?);
        let (clock, host) = (Arc::clone(&machine.clock), self.host.clone());
        let ingest = Ingest::prepare(self.records()?, roll, clock, host)?;
        seen.set(Some(ingest.view()));
        ingest.run(self.address, listening, over(ended))
    }

    fn records(&self) -> Result<Box<dyn Records>, Error> {
        let Some(path) = &self.spool else {
            log::warn!(
                "no spool: nothing is acknowledged before the vault has it; give a disk with --spool"
            );
            return Ok(Box::new(MemoryRing::new(MEMORY_BYTES)));
        };
        let object = || format!("spool {}", path.display());
        let owner = owner::of_folder(&self.state)?.ok_or_else(|| {
            Error::misuse(object(), "has no key on this machine")
                .remedy(format!("make it a spool: lifeboat spool format {}", path.display()))
        })?;
        let (spool, found) = spool_disk::open(path, &owner)
            .map_err(|error| Error::device(object(), error.to_string()))?;
        for trouble in &found.troubles {
            log::warn!("{}: {trouble}", object());
        }
        let usage = spool.usage();
        log::info!("{}: {} of {} used", object(), Size(usage.used), Size(usage.bytes));
        Ok(Box::new(spool))
    }
}

/// Ready when the other end is gone.
async fn over(ended: &Receiver<()>) {
    // Nobody ever sends: an answer means that it is closed.
    let _ = ended.recv().await;
}
