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
use crate::ingest::budget::Budget;
use crate::ingest::roll::kept::KeptRoll;
use crate::ingest::roll::registrar::{Addresses, Registrar};
use crate::ingest::service::{Ingest, View};
use crate::report::Size;
use crate::services::Keeper;
use crate::session::{Machine, Session};
use crate::spool::memory::MemoryRing;
use crate::spool::records::Records;
use crate::spool_disk::{self, owner};

/// Pause after whatever ended it: the vault cannot be read, the spool failed.
const PAUSE: Duration = Duration::from_secs(5);

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
    pub fn registrar(&self, addresses: Addresses, clock: Arc<dyn Clock>) -> Registrar {
        let seen = self.clone();
        let find = move || seen.view().map(|view| view.roll());
        Registrar::new(Box::new(find), addresses, clock)
    }

    fn set(&self, view: Option<View>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

/// Opens a vault and its roll.
pub fn open(opening: &Opening, machine: &Machine) -> Result<Arc<KeptRoll>, Error> {
    let session = Session::open(opening, machine)?;
    Ok(Arc::new(KeptRoll::open(session, Arc::clone(&machine.clock))?))
}

/// One run of ingest, whoever keeps it running.
pub struct Run {
    /// The opened vault.
    pub roll: Arc<KeptRoll>,
    /// Where agents connect.
    pub address: SocketAddr,
    /// Who writes, for messages of others: the same at each start, and nobody else's.
    pub host: String,
    /// How much memory there is for it.
    pub budget: Budget,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Who starts the agents' door.
    pub(crate) starter: Keeper<'static>,
}

impl Run {
    /// Takes agents until `over` is ready or the spool fails. `listening` is told where. When it returns, nothing holds the
    /// spool any more, but for an answer of [`Seen::view`] that somebody may still have.
    pub fn go(
        self,
        records: Box<dyn Records>,
        seen: &Seen,
        listening: impl FnOnce(SocketAddr),
        over: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        /// However it ends, nobody sees it any more.
        struct Gone<'a>(&'a Seen);
        impl Drop for Gone<'_> {
            fn drop(&mut self) {
                self.0.set(None);
            }
        }
        let ingest = Ingest::prepare(records, self.roll, self.clock, self.host, &self.budget)?;
        let _gone = Gone(seen);
        seen.set(Some(ingest.view()));
        ingest.run(self.address, listening, over, &self.starter)
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
        let run = Run {
            roll: open(&self.opening, machine)?,
            address: self.address,
            host: self.host.clone(),
            budget: Budget::whole(),
            clock: Arc::clone(&machine.clock),
            starter: Keeper::default(),
        };
        run.go(self.records()?, seen, listening, over(ended))
    }

    fn records(&self) -> Result<Box<dyn Records>, Error> {
        let Some(path) = &self.spool else {
            log::warn!(
                "no spool: nothing is acknowledged before the vault has it; give a disk with --spool"
            );
            return Ok(Box::new(MemoryRing::new(Budget::whole().ring)));
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
