//! What the vault has of a server's disks, for agents that lost track of what changed: a question about 256 blocks is answered
//! from the newest map, and of what is still on its way to the vault everything is wanted.
//!
//! It may want what the vault has; it never calls something not wanted that the vault lacks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::ids::{Fingerprint, PointId, ServerId};
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::chain::Chain;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::map::{Entry, leaves_of, tree};
use pipeline_vault::writer::newest_of;
use pipeline_wire::message::DiskHello;

use super::base::Base;
use super::hub::Hub;
use super::journal::Life;

/// Blocks of a question: a leaf of a map.
pub const LEAF_BLOCKS: u64 = 256;
/// Bytes of pages that are kept for one server.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Servers whose maps are kept at hand.
const OPEN_MAX: usize = 16;

/// The newest maps of a server, as they were after so many of its pieces.
struct Seen {
    pieces: u64,
    frames: FrameReader,
    base: Base,
    zeros: Fingerprint,
}

/// Answers questions.
pub struct Compare {
    access: Arc<dyn Fn(ServerId) -> Access + Send + Sync>,
    /// How this appliance calls itself in the vault.
    host: String,
    /// The chain that has what a server's agent was told is in the vault.
    chains: Box<dyn Fn(ServerId) -> Result<ServerId, Error> + Send + Sync>,
    seen: Mutex<BTreeMap<ServerId, Arc<Seen>>>,
}

impl Compare {
    /// From the vault as it is used for each server.
    #[must_use]
    pub fn new(access: Arc<dyn Fn(ServerId) -> Access + Send + Sync>, host: String) -> Self {
        Self { access, host, chains: Box::new(Ok), seen: Mutex::default() }
    }

    /// Agents are answered from the chains that this says.
    #[must_use]
    pub fn with_chains(
        self,
        chains: impl Fn(ServerId) -> Result<ServerId, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { chains: Box::new(chains), ..self }
    }

    /// For each disk whether the vault has content of it, and the point that this is of.
    pub fn known(
        &self,
        hub: &Hub,
        server: ServerId,
        disks: &[DiskHello],
    ) -> Result<(Vec<bool>, Option<PointId>), Error> {
        // Looked at anew: what is said now holds for the whole run.
        self.all().remove(&server);
        let seen = self.seen(hub, server)?;
        let known = disks.iter().map(|disk| seen.disk(disk).is_some()).collect();
        Ok((known, seen.base.point_id()))
    }

    /// Which of these blocks of a disk are wanted, a bit each. Where the vault does not answer, all are.
    #[must_use]
    pub fn wanted(
        &self,
        hub: &Hub,
        life: Life,
        disk: u16,
        first: u64,
        fingerprints: &[[u8; 16]],
    ) -> Vec<u8> {
        let all = vec![u8::MAX; fingerprints.len().div_ceil(8)];
        let end = first.saturating_add(fingerprints.len() as u64);
        // First what is on its way: what arrives in the vault meanwhile is then wanted once too often, never once too little.
        let Some(hello) = hub.disk(life, disk).map(|disk| disk.hello) else { return all };
        if !first.is_multiple_of(LEAF_BLOCKS) || hub.is_pending(life, disk, first..end) {
            return all;
        }
        let held =
            self.seen(hub, life.server).and_then(|seen| seen.held(&hello, first / LEAF_BLOCKS));
        let held = match held {
            Ok(held) => held,
            Err(error) => {
                log::debug!("server {}: everything is wanted: {error}", life.server);
                return all;
            }
        };
        let mut bits = vec![0; fingerprints.len().div_ceil(8)];
        for (at, (fingerprint, held)) in fingerprints.iter().zip(held).enumerate() {
            if held != Some(*fingerprint) {
                bits[at / 8] |= 1 << (at % 8);
            }
        }
        bits
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ServerId, Arc<Seen>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, hub: &Hub, server: ServerId) -> Result<Arc<Seen>, Error> {
        let pieces = hub.pieces(server);
        if let Some(seen) = self.all().get(&server).filter(|seen| seen.pieces >= pieces) {
            return Ok(Arc::clone(seen));
        }
        let access = (self.access)(server);
        let chain = Chain::open(&access, (self.chains)(server)?)?;
        let frames = FrameReader::new(&access, chain.server(), &chain.upkeep()?, CACHE_BYTES)?;
        let zeros = frames.fingerprinter().of(&[0; BLOCK_BYTES]);
        // What the drain puts pieces on is what agents are answered from.
        let base = if hub.knows(server) {
            Base::of(&chain, hub.base_point(server), &self.host)?
        } else {
            Base::first(&chain, &self.host)?
        };
        let seen = Arc::new(Seen { pieces, frames, base, zeros });
        let mut all = self.all();
        if all.len() >= OPEN_MAX && !all.contains_key(&server) {
            all.pop_first();
        }
        all.insert(server, Arc::clone(&seen));
        Ok(seen)
    }
}

impl Seen {
    fn disk(&self, hello: &DiskHello) -> Option<pipeline_vault::record::DiskState> {
        let links = [self.base.checkpoint.as_ref(), self.base.point.as_ref()];
        newest_of(links, &hello.name, &hello.identity)
    }

    /// What the vault has of a leaf's blocks, as agents write it: zeros for a block of zeros; `None` where it has nothing that
    /// could be compared with.
    fn held(&self, hello: &DiskHello, leaf: u64) -> Result<Vec<Option<[u8; 16]>>, Error> {
        let zeros = Some([0; 16]);
        let length = usize::try_from(LEAF_BLOCKS).unwrap_or(usize::MAX);
        // What is not in a map is zeros, and so is what lies behind the end of a disk that grew.
        let Some(disk) = self.disk(hello) else { return Ok(vec![zeros; length]) };
        if leaf >= leaves_of(disk.bytes) {
            return Ok(vec![zeros; length]);
        }
        let entries = tree::load_leaf(&self.frames, &disk.root, leaf)?;
        let held = |entry: &Entry| match entry {
            Entry::Data(block) if block.fingerprint == self.zeros => zeros,
            Entry::Data(block) => Some(block.fingerprint.0),
            Entry::Zero | Entry::Discarded => zeros,
            Entry::Unread => None,
        };
        Ok(entries.entries.iter().map(held).collect())
    }
}
