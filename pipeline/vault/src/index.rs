//! Indexes: sealed objects that say what the slots of one day (or of one hour of the current day) hold, so that
//! thousands of points are found by a few calls instead of one read per slot.
//!
//! An index is only a hint. Which slots exist is what the chain's listing says, which are pruned is what the newest
//! upkeep record says; a slot that no index tells of is read itself, and an index that is missing or damaged costs
//! calls and nothing else. What an index says of a slot never becomes wrong, because a slot never changes.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::ids::{Digest, PointId, SegmentId, ServerId};
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::chain::Link;
use crate::error::{Blame, Error};
use crate::names;
use crate::record::{Body, Consistency, DiskState, Manifest, Work};
use crate::sealed::{self, ObjectKind};
use crate::store::{Created, list_all};

const HOUR: u64 = 3_600_000;

/// What one slot holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The slot.
    pub slot: u64,
    /// BLAKE3 of its object's bytes.
    pub digest: Digest,
    /// The author's wall clock, milliseconds since 1970.
    pub local_time: u64,
    /// The store's clock, milliseconds since 1970.
    pub store_time: u64,
    /// What kind of record it is.
    pub holds: Holds,
}

/// What a slot holds, as far as listing points and upkeep want to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Holds {
    /// A recovery point.
    Point(Summary),
    /// A checkpoint.
    Checkpoint(Summary),
    /// A writer took the chain over, or a failover did, or one ended.
    EpochOpen,
    /// A step of upkeep.
    Upkeep,
}

/// A manifest without what only verifying needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The point's identity.
    pub id: PointId,
    /// How clean the instant is.
    pub consistency: Consistency,
    /// The instant, the author's wall clock, milliseconds since 1970.
    pub started: u64,
    /// The disks with their sizes, maps and unread blocks.
    pub disks: Vec<DiskState>,
    /// Segments that the record introduced.
    pub segments: Vec<SegmentId>,
    /// What making it cost.
    pub work: Work,
}

impl Entry {
    /// What a record that was read says.
    #[must_use]
    pub fn of(link: &Link) -> Self {
        let record = &link.record;
        Self {
            slot: record.slot,
            digest: link.digest,
            local_time: record.local_time,
            store_time: record.store_time,
            holds: match &record.body {
                Body::Point(manifest) => Holds::Point(Summary::of(manifest)),
                Body::Checkpoint(manifest) => Holds::Checkpoint(Summary::of(manifest)),
                Body::EpochOpen(_) | Body::Fork(_) | Body::ForkEnded(_) => Holds::EpochOpen,
                Body::Upkeep(_) => Holds::Upkeep,
            },
        }
    }

    /// The point in it.
    #[must_use]
    pub fn point(&self) -> Option<&Summary> {
        match &self.holds {
            Holds::Point(summary) => Some(summary),
            _ => None,
        }
    }

    /// The point or the checkpoint in it.
    #[must_use]
    pub fn summary(&self) -> Option<&Summary> {
        match &self.holds {
            Holds::Point(summary) | Holds::Checkpoint(summary) => Some(summary),
            _ => None,
        }
    }

    /// The later of the two clocks: what retention reckons with, so that nothing looks older than it is.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.local_time.max(self.store_time)
    }
}

impl Summary {
    fn of(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id,
            consistency: manifest.consistency,
            started: manifest.started,
            disks: manifest.disks.clone(),
            segments: manifest.segments.iter().map(|known| known.segment).collect(),
            work: manifest.work,
        }
    }
}

/// What an index object holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Content {
    server: ServerId,
    entries: Vec<Entry>,
}

/// An index as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// The object's name.
    pub name: String,
    /// Its entries; empty where it does not open.
    pub entries: Vec<Entry>,
}

/// Names of all indexes of a server, the newest day first.
pub(crate) fn names_of(access: &Access, server: &ServerId) -> Result<Vec<String>, Error> {
    let listed = list_all(&*access.store, &names::day_index_prefix(server))?;
    Ok(listed.into_iter().map(|facts| facts.name).collect())
}

/// Reads one index; one that is damaged or gone is empty.
pub(crate) fn read(access: &Access, server: &ServerId, name: &str) -> Result<Index, Error> {
    let entries = match open(access, server, name) {
        Ok(content) => content.entries,
        Err(error) if error.blame == Blame::Device => return Err(error),
        Err(error) => {
            log::warn!("{error}: the slots themselves are read instead");
            Vec::new()
        }
    };
    Ok(Index { name: name.to_owned(), entries })
}

fn open(access: &Access, server: &ServerId, name: &str) -> Result<Content, Error> {
    let bytes = access.store.read_all(name, sealed::SEALED_BYTES_MAX as u64)?;
    let plain = sealed::open(ObjectKind::Index, access.vault, name, &bytes, &|epoch| {
        access.keys.object_key(server, ObjectKind::Index, name, epoch)
    })?;
    let content: Content = postcard::from_bytes(&plain)
        .map_err(|error| Error::corrupt(name, format!("opens but does not decode ({error})")))?;
    if content.server == *server {
        Ok(content)
    } else {
        Err(Error::corrupt(name, "is an index of another server"))
    }
}

/// Writes one index if there is none of this name yet; true where it is there now.
pub(crate) fn write(
    access: &Access,
    server: ServerId,
    name: &str,
    entries: Vec<Entry>,
) -> Result<bool, Error> {
    let plain = postcard::to_allocvec(&Content { server, entries })
        .map_err(|error| Error::misuse(name, format!("cannot be encoded ({error})")))?;
    if plain.len() > pipeline::limits::RECORD_BYTES_MAX {
        return Ok(false);
    }
    let (epoch, key) = access.keys.newest_record_key(&server).ok_or_else(|| {
        Error::misuse(server.to_string(), "the keys at hand cannot write for this server")
    })?;
    let entropy = &*access.entropy;
    let bytes = sealed::seal(ObjectKind::Index, access.vault, epoch, &key, name, &plain, entropy)?;
    // Somebody else's index of the same hours says the same.
    match access.store.create(name, &bytes)? {
        Created::New | Created::Same | Created::Taken => Ok(true),
    }
}

/// The periods that are over at `now` (the store's clock) and the entries that their indexes would have: days where
/// `whole_days` says so, and hours of days that have none.
pub(crate) fn due<'a>(
    server: &ServerId,
    entries: impl Iterator<Item = &'a Entry>,
    now: u64,
    whole_days: bool,
    known: &BTreeSet<String>,
) -> BTreeMap<String, Vec<&'a Entry>> {
    let mut due: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        let hour = entry.store_time / HOUR;
        let day = names::day_index(server, hour / 24);
        let over = |hours: u64| hours * HOUR <= now;
        if (whole_days && over((hour / 24 + 1) * 24)) || known.contains(&day) {
            due.entry(day).or_default().push(entry);
        } else if over(hour + 1) {
            due.entry(names::hour_index(server, hour)).or_default().push(entry);
        }
    }
    due
}
