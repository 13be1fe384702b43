//! Fills a recovery ticket for one server and point, and reads that point with the ticket alone.
//!
//! A ticket holds keys of single objects: the point's record, the upkeep record that says where its moved frames
//! are, and the segments that its maps need. It refuses to carry any key that opens more than those.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hal::time::{Clock, Entropy};
use pipeline::ids::{KeyEpoch, SegmentId, ServerId};
use pipeline::seal::SecretKey;
use pipeline::segment::SegmentIdentity;

use crate::access::Access;
use crate::chain::{Link, read_slot};
use crate::error::Error;
use crate::frames::FrameReader;
use crate::keys::ticket::{ObjectTicket, SegmentTicket, Ticket};
use crate::named::Named;
use crate::names;
use crate::points::ChainView;
use crate::record::Body;
use crate::sealed::{self, ObjectKey, ObjectKind, SEALED_BYTES_MAX};
use crate::store::BlobStore;
use crate::verify::parallel;

#[cfg(test)]
mod tests;

/// Memory for map pages and frame tables while the point is walked.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// What the ticket says besides its keys.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Where the vault is, as the command line takes it.
    pub place: &'a str,
    /// The server's name.
    pub server_name: &'a str,
    /// After this a program should refuse the ticket, milliseconds since 1970.
    pub expires: Option<u64>,
}

/// Makes a ticket for one point of a chain that was just read. Whoever hands it out should pin the point, or say
/// how long it is kept: a ticket does not keep anything from being pruned.
pub fn fill(
    access: &Access,
    view: &ChainView,
    point: &Link,
    request: &Request<'_>,
) -> Result<Ticket, Error> {
    let slot = point.record.slot;
    let manifest = point.record.point().ok_or_else(|| {
        Error::misuse(names::chain_slot(&view.server, slot), "is no recovery point")
    })?;
    let frames = FrameReader::new(access, view.server, &view.upkeep, CACHE_BYTES)?;
    let fingerprint = access.keys.fingerprint_key(&view.server).ok_or_else(|| {
        Error::misuse(format!("server {}", view.server), "no key for this server is at hand")
    })?;
    let mut named = HashSet::new();
    for disk in &manifest.disks {
        named.extend(Named::of(&frames, &disk.root)?.segments);
    }
    let moved = named.iter().any(|segment| frames.holders(segment) != [*segment]);
    let mut slots = vec![slot];
    if moved {
        let upkeep = view.links.iter().rfind(|link| matches!(link.record.body, Body::Upkeep(_)));
        slots.extend(upkeep.map(|link| link.record.slot));
    }
    let objects = slots.iter().map(|slot| object(access, &view.server, *slot));
    Ok(Ticket {
        vault: access.vault,
        place: request.place.to_owned(),
        server: view.server,
        server_name: request.server_name.to_owned(),
        point: manifest.id,
        slot,
        made: access.clock.now().0,
        expires: request.expires,
        fingerprint,
        objects: objects.collect::<Result<_, _>>()?,
        segments: segment_keys(&frames, &named)?,
    })
}

/// The key of each object that holds a named segment's frames, and of each named segment whose frames were
/// carried into another object.
fn segment_keys(
    frames: &FrameReader,
    named: &HashSet<SegmentId>,
) -> Result<Vec<SegmentTicket>, Error> {
    let holders: HashSet<SegmentId> =
        named.iter().flat_map(|segment| frames.holders(segment)).collect();
    let holders: Vec<SegmentId> = holders.into_iter().collect();
    let keys: Mutex<BTreeMap<SegmentId, SecretKey>> = Mutex::default();
    let access = frames.access();
    let workers = access.store.parallel().clamp(1, 16);
    parallel::each(
        &holders,
        workers,
        &Arc::default(),
        || (),
        |(), holder| {
            let opened = frames.table(holder)?;
            let own = *opened.table.identity();
            let carried = opened.table.origins().filter(|origin| named.contains(&origin.segment));
            let carried = carried.map(|origin| SegmentIdentity {
                segment: origin.segment,
                key_epoch: origin.key_epoch,
                salt: origin.salt,
                ..own
            });
            for identity in core::iter::once(own).chain(carried) {
                let key = access.keys.segment_key(&identity).ok_or_else(|| {
                    Error::misuse(
                        names::segment(&frames.server(), &identity.segment),
                        "the keys at hand do not open it, so no ticket can",
                    )
                })?;
                keys.lock().unwrap_or_else(PoisonError::into_inner).insert(identity.segment, key);
            }
            Ok(())
        },
    )?;
    let keys = keys.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(keys.into_iter().map(|(segment, key)| SegmentTicket { segment, key }).collect())
}

/// The key of one slot of the chain, made from the key of the epoch that it was sealed in.
fn object(access: &Access, server: &ServerId, slot: u64) -> Result<ObjectTicket, Error> {
    let name = names::chain_slot(server, slot);
    let bytes = access.store.read_all(&name, SEALED_BYTES_MAX as u64)?;
    let used: Mutex<Option<KeyEpoch>> = Mutex::new(None);
    // Opened for the proof that the header's epoch is the one that it was sealed in.
    sealed::open(ObjectKind::Record, access.vault, &name, &bytes, &|epoch| {
        *used.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
        access.keys.record_key(server, slot, epoch)
    })?;
    let epoch = used.into_inner().unwrap_or_else(PoisonError::into_inner);
    let key = epoch.and_then(|epoch| access.keys.record_key(server, slot, epoch));
    match key {
        Some(ObjectKey::Epoch(key)) => {
            let key = sealed::name_key(&key, access.vault, ObjectKind::Record, &name);
            Ok(ObjectTicket { name, key })
        }
        Some(ObjectKey::Name(key)) => Ok(ObjectTicket { name, key }),
        None => Err(Error::misuse(name, "no key for it is at hand")),
    }
}

/// Access to a vault with a ticket instead of its keys. Refuses a ticket whose time is over.
pub fn access(
    ticket: Ticket,
    store: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Access, Error> {
    if let Some(expires) = ticket.expires
        && clock.now().0 > expires
    {
        return Err(Error::misuse("ticket", "has expired").remedy("have a new one made"));
    }
    Ok(Access { store, vault: ticket.vault, keys: Arc::new(ticket), clock, entropy })
}

/// What a ticket opens of a chain: its point, and where moved frames are. Everything else stays closed, so nothing is
/// said of what comes before or after.
pub fn read_point(access: &Access, ticket: &Ticket) -> Result<ChainView, Error> {
    let mut links = Vec::new();
    for object in &ticket.objects {
        let slot = names::slot_of(&ticket.server, &object.name)?;
        let link = read_slot(access, &ticket.server, slot).map_err(|error| {
            if error.is_missing() {
                let what = "is gone: the point was pruned since the ticket was made";
                Error::corrupt(&object.name, what).remedy("have a ticket made for a newer point")
            } else {
                error
            }
        })?;
        links.push(link);
    }
    links.sort_unstable_by_key(|link| link.record.slot);
    let upkeep = links.iter().rev().find_map(|link| match &link.record.body {
        Body::Upkeep(upkeep) => Some(upkeep.clone()),
        _ => None,
    });
    let is_it = |link: &Link| {
        link.record.slot == ticket.slot
            && link.record.point().is_some_and(|point| point.id == ticket.point)
    };
    if !links.iter().any(is_it) {
        return Err(Error::corrupt("ticket", "does not open the point that it names")
            .remedy("have it made again"));
    }
    Ok(ChainView { server: ticket.server, links, upkeep: upkeep.unwrap_or_default() })
}
