//! One chain per server: slots that are created once and never reused, linked by hash.
//!
//! Creating the next slot is the compare-and-swap that everything hangs on: whoever finds it taken has
//! learnt something (a record it did not know) and looks at that before trying again.
//! It refuses to know what points and upkeep mean.

use std::sync::Arc;

use pipeline::ids::{Digest, ServerId, WriterId};
use pipeline::limits::RECORD_BYTES_MAX;
use pipeline::seal::digest;

use crate::access::Access;
use crate::error::{Error, Retry};
use crate::fork::Fork;
use crate::names;
use crate::record::{Body, Record, Trail, Upkeep};
use crate::sealed::{self, ObjectKind};
use crate::store::Created;

/// A record and the digest of its object: what the next slot links to.
#[derive(Clone, Debug)]
pub struct Link {
    /// The record.
    pub record: Arc<Record>,
    /// BLAKE3 of its object's bytes.
    pub digest: Digest,
}

/// What became of an attempt to publish.
#[derive(Clone, Debug)]
pub enum Published {
    /// The record is in this slot, durably.
    Slot(u64),
    /// Somebody else's record is in the slot; the chain now ends there. Look at it, then try again or stop.
    Moved(Arc<Record>),
}

/// A server's chain as of its newest slot known here.
pub struct Chain {
    access: Access,
    server: ServerId,
    writer: WriterId,
    writer_epoch: u64,
    head: Option<Link>,
    /// Both clocks when the chain was opened: (store's, monotonic), milliseconds.
    opened: (u64, u64),
}

impl Chain {
    /// Finds the newest slot: one listing and one read.
    pub fn open(access: &Access, server: ServerId) -> Result<Self, Error> {
        let writer = WriterId(access.random_id()?);
        let opened = (access.store.now()?, access.clock.monotonic_nanos() / 1_000_000);
        let mut chain =
            Self { access: access.clone(), server, writer, writer_epoch: 0, head: None, opened };
        chain.refresh()?;
        Ok(chain)
    }

    /// Looks again for the newest slot.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let prefix = names::chain_prefix(&self.server);
        let newest = self.access.store.list(&prefix, None, 1)?.objects.into_iter().next();
        let Some(newest) = newest else {
            if let Some(head) = &self.head {
                return Err(rolled_back(&self.server, head.record.slot));
            }
            return Ok(());
        };
        let slot = names::slot_of(&self.server, &newest.name)?;
        match &self.head {
            Some(head) if head.record.slot > slot => {
                Err(rolled_back(&self.server, head.record.slot))
            }
            Some(head) if head.record.slot == slot => Ok(()),
            _ => {
                self.head = Some(self.read(slot)?);
                Ok(())
            }
        }
    }

    /// Looks again for the newest slot after a long time, and at the store's clock: this machine's may have stood still.
    pub fn look_again(&mut self) -> Result<(), Error> {
        let clock = &self.access.clock;
        self.opened = (self.access.store.now()?, clock.monotonic_nanos() / 1_000_000);
        self.refresh()
    }

    /// Whose chain.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// What the chain is read and written with.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The identity of this run.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    /// The newest record known here.
    pub fn head(&self) -> Option<&Link> {
        self.head.as_ref()
    }

    /// Where the newest record of each kind is.
    pub fn trail(&self) -> Trail {
        self.head.as_ref().map(|link| link.record.trail_after()).unwrap_or_default()
    }

    /// From now on records carry this epoch: the writer has published its epoch-open.
    pub fn set_writer_epoch(&mut self, epoch: u64) {
        self.writer_epoch = epoch;
    }

    /// Reads one slot, and checks that it is what its name says.
    pub fn read(&self, slot: u64) -> Result<Link, Error> {
        if let Some(head) = self.head.as_ref().filter(|link| link.record.slot == slot) {
            return Ok(head.clone());
        }
        read_slot(&self.access, &self.server, slot)
    }

    /// The newest recovery point.
    pub fn newest_point(&self) -> Result<Option<Link>, Error> {
        self.trail().point.map(|slot| self.read(slot)).transpose()
    }

    /// The newest checkpoint after the newest point.
    pub fn newest_checkpoint(&self) -> Result<Option<Link>, Error> {
        self.trail().checkpoint.map(|slot| self.read(slot)).transpose()
    }

    /// The state of upkeep now.
    pub fn upkeep(&self) -> Result<Upkeep, Error> {
        let Some(slot) = self.trail().upkeep else { return Ok(Upkeep::default()) };
        match &self.read(slot)?.record.body {
            Body::Upkeep(upkeep) => Ok(upkeep.clone()),
            _ => Err(Error::corrupt(
                names::chain_slot(&self.server, slot),
                "is no upkeep record although a later record says so",
            )),
        }
    }

    /// The newest epoch, 0 where no writer ever opened one.
    pub fn newest_epoch(&self) -> Result<u64, Error> {
        let Some(slot) = self.trail().epoch else { return Ok(0) };
        match &self.read(slot)?.record.body {
            Body::EpochOpen(open) => Ok(open.epoch),
            Body::Fork(fork) => Ok(fork.epoch),
            Body::ForkEnded(ended) => Ok(ended.epoch),
            _ => Err(Error::corrupt(
                names::chain_slot(&self.server, slot),
                "is no epoch record although a later record says so",
            )),
        }
    }

    /// The failover that stands in this chain, if one does.
    pub fn fork(&self) -> Result<Option<Fork>, Error> {
        let Some(slot) = self.trail().epoch else { return Ok(None) };
        match &self.read(slot)?.record.body {
            Body::Fork(fork) => Ok(Some(fork.clone())),
            _ => Ok(None),
        }
    }

    /// The store's clock, reckoned from when the chain was opened, milliseconds since 1970.
    pub fn store_time(&self) -> u64 {
        let now = self.access.clock.monotonic_nanos() / 1_000_000;
        self.opened.0.saturating_add(now.saturating_sub(self.opened.1))
    }

    /// Publishes one record in the next slot, if nobody else has taken it.
    pub fn publish(&mut self, body: Body) -> Result<Published, Error> {
        let slot = self.head.as_ref().map_or(0, |link| link.record.slot + 1);
        let record = Record {
            server: self.server,
            slot,
            previous: self.head.as_ref().map_or(Digest([0; 32]), |link| link.digest),
            writer: self.writer,
            writer_epoch: self.writer_epoch,
            local_time: self.access.clock.now().0,
            store_time: self.store_time(),
            trail: self.trail(),
            body,
        };
        let name = names::chain_slot(&self.server, slot);
        let bytes = self.seal(&name, &record)?;
        match self.access.store.create(&name, &bytes)? {
            // `Same` is a lost reply of ours: the bytes hold a fresh salt, nobody else can have made them.
            Created::New | Created::Same => {
                let link = Link { record: Arc::new(record), digest: digest(&[&bytes]) };
                self.confirm(&link)?;
                self.head = Some(link);
                Ok(Published::Slot(slot))
            }
            Created::Taken => {
                let link = self.read(slot)?;
                if self.head.as_ref().is_some_and(|head| head.digest != link.record.previous) {
                    return Err(forked(&name));
                }
                let moved = Arc::clone(&link.record);
                self.head = Some(link);
                // An earlier try of this very run whose reply was lost beyond the store's own retries.
                if moved.writer == self.writer && moved.body == record.body {
                    return Ok(Published::Slot(slot));
                }
                Ok(Published::Moved(moved))
            }
        }
    }

    /// Objects of pruned slots are deleted in the end, so a writer that slept longer than the grace could
    /// create a slot that was pruned while it slept. Then newer slots exist and the next one does not link here.
    fn confirm(&self, link: &Link) -> Result<(), Error> {
        let slot = link.record.slot;
        let prefix = names::chain_prefix(&self.server);
        let newest = self.access.store.list(&prefix, None, 1)?.objects.into_iter().next();
        let newest = newest.map(|facts| names::slot_of(&self.server, &facts.name)).transpose()?;
        if newest == Some(slot) {
            return Ok(());
        }
        let next = match newest {
            Some(newest) if newest > slot => read_slot(&self.access, &self.server, slot + 1).ok(),
            _ => None,
        };
        if next.is_some_and(|next| next.record.previous == link.digest) {
            return Ok(());
        }
        Err(Error::refused(
            names::chain_slot(&self.server, slot),
            "was written into a part of the chain that is long pruned: this machine slept while another wrote",
        )
        .remedy("nothing was published; stop one of the two machines, then run again"))
    }

    fn seal(&self, name: &str, record: &Record) -> Result<Vec<u8>, Error> {
        let plain = record
            .encode()
            .map_err(|error| Error::misuse(name, format!("cannot be encoded ({error})")))?;
        if plain.len() > RECORD_BYTES_MAX {
            return Err(Error::exhausted(name, "the record is larger than 16 MiB"));
        }
        let (epoch, key) = self.access.keys.newest_record_key(&self.server).ok_or_else(|| {
            Error::misuse(self.server.to_string(), "the keys at hand cannot write for this server")
        })?;
        let entropy = &*self.access.entropy;
        sealed::seal(ObjectKind::Record, self.access.vault, epoch, &key, name, &plain, entropy)
    }
}

/// Reads one slot of a chain, and checks that it is what its name says.
pub fn read_slot(access: &Access, server: &ServerId, slot: u64) -> Result<Link, Error> {
    let name = names::chain_slot(server, slot);
    let bytes = access.store.read_all(&name, RECORD_BYTES_MAX as u64 + 4096)?;
    open_record(access, server, slot, &bytes)
}

/// Opens the bytes of a slot.
pub fn open_record(
    access: &Access,
    server: &ServerId,
    slot: u64,
    bytes: &[u8],
) -> Result<Link, Error> {
    let name = names::chain_slot(server, slot);
    let plain = sealed::open(ObjectKind::Record, access.vault, &name, bytes, &|epoch| {
        access.keys.object_key(server, ObjectKind::Record, &name, epoch)
    })?;
    let record = Record::decode(&plain).map_err(|error| {
        Error::corrupt(&name, format!("opens but does not decode ({error})"))
            .remedy("it was written by a newer Lifeboat: use that version")
    })?;
    if record.server != *server || record.slot != slot {
        return Err(Error::corrupt(&name, "holds the record of another slot"));
    }
    Ok(Link { record: Arc::new(record), digest: digest(&[bytes]) })
}

fn rolled_back(server: &ServerId, known: u64) -> Error {
    Error::corrupt(
        names::chain_prefix(server),
        format!("the vault was rolled back: slot {known} was there before and is gone"),
    )
    .remedy(
        "find out who restored or deleted objects of the vault; nothing was changed by this run",
    )
}

fn forked(name: &str) -> Error {
    Error::corrupt(
        name,
        "the record does not follow the one before it: the chain was rolled back and written again",
    )
    .retry(Retry::Never)
    .remedy("compare the vault with a copy from before; nothing was changed by this run")
}
