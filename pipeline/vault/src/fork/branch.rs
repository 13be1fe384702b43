//! What an original wrote since it was failed over, kept beside its server and never mixed in.
//!
//! A *branch* is a server of the vault with an identity that follows from the original's and the order's, named
//! `NAME~ORDER`. Its chain begins with a copy of the point that the original's last acknowledged cut was, under the same
//! identity of a point, so that whatever goes on from that point goes on here. Segments are sealed for one server and are not
//! shared between two (FORMAT.md), so that copy is whole: it is read out of one chain and written into the other.

use std::sync::Arc;

use pipeline::ids::{KeyEpoch, ServerId};
use pipeline::seal::digest;

use super::point_disk::PointDisk;
use crate::access::Access;
use crate::chain::{Chain, Link};
use crate::error::Error;
use crate::frames::FrameReader;
use crate::keys::ring::{EpochKey, SERVER_NAME_BYTES_MAX, ServerKeys};
use crate::map::blocks_of;
use crate::reader::{CACHE_BYTES, PointReader};
use crate::record::{DiskState, Manifest, Told};
use crate::vault::Vault;
use crate::writer::{DiskJob, Options, Progress, Publish, Run, Since, Writer};

/// What stands between a server's name and an order's.
pub const BETWEEN: char = '~';
/// What the copy of a piece says of itself.
const COPIED: &str = "copied from the original's chain";
/// Map pages that are kept while the base is read.
const PAGE_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The identity of a server's branch of an order.
#[must_use]
pub fn identity(server: &ServerId, order: &str) -> ServerId {
    let digest = digest(&[b"lifeboat branch 1", &server.0, order.as_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    ServerId(id)
}

/// Its name; of a server with a very long one, the beginning of that.
#[must_use]
pub fn name(server: &str, order: &str) -> String {
    let room = SERVER_NAME_BYTES_MAX.saturating_sub(order.len() + BETWEEN.len_utf8());
    let server = &server[..server.floor_char_boundary(room)];
    format!("{server}{BETWEEN}{order}")
}

/// Puts a server's branch of an order into the key ring, or finds it there.
///
/// Its fingerprints are the original's, whose agent compares with either.
pub fn enrol(vault: &mut Vault, server: ServerId, order: &str) -> Result<ServerKeys, Error> {
    let original = vault.servers().iter().find(|keys| keys.id == server).cloned();
    let original = original.ok_or_else(|| {
        Error::misuse(format!("server {server}"), "is not in the key ring at hand")
    })?;
    let now = vault.access().clock.now().0;
    let key = EpochKey { epoch: KeyEpoch(0), key: vault.new_key()?, made: now };
    vault.adopt(&ServerKeys {
        id: identity(&server, order),
        name: name(&original.name, order),
        enrolled: now,
        fingerprint: original.fingerprint,
        epochs: vec![key],
    })
}

/// What a branch begins with.
pub struct Base {
    /// The original's point.
    pub point: Link,
    /// A piece of the next one, which was in the original's chain already.
    pub checkpoint: Option<Link>,
}

/// Makes a branch begin with what its original has, unless it has begun; whether it did so now.
///
/// It can be stopped and killed at any moment, and goes on when it is called again. Errors: the base is damaged or gone, the
/// store.
pub fn begin(
    access: &Access,
    (from, into): (ServerId, ServerId),
    base: &Base,
    options: &Options,
    progress: &dyn Progress,
) -> Result<bool, Error> {
    let upkeep = Chain::open(access, from)?.upkeep()?;
    let jobs = |manifest: &Manifest| {
        let jobs = manifest.disks.iter().map(|disk| {
            let frames = FrameReader::new(access, from, &upkeep, PAGE_CACHE_BYTES)?;
            let reader = PointReader::new(frames, disk.clone(), CACHE_BYTES);
            let (name, identity) = (disk.name.clone(), disk.identity.clone());
            Ok(DiskJob { name, identity, disk: PointDisk::new(Arc::new(reader)), changed: None })
        });
        jobs.collect::<Result<Vec<_>, Error>>()
    };
    let nothing =
        || Error::corrupt(format!("server {from}"), "has no point to begin a branch with");
    let point = base.point.record.point().ok_or_else(nothing)?;
    let has_begun = Chain::open(access, into)?;
    let piece = base.checkpoint.as_ref().and_then(|link| link.record.manifest());
    let newest = has_begun.newest_point()?;
    let newest_id = newest.as_ref().and_then(|link| link.record.point()).map(|point| point.id);
    // Whatever is newer than the base has what the piece had.
    let is_first = newest_id.is_none_or(|id| id == point.id);
    let checkpoint = has_begun.newest_checkpoint()?;
    let went_on =
        checkpoint.as_ref().and_then(|link| link.record.manifest()).is_some_and(has_piece);
    if newest.is_some() && (piece.is_none() || went_on || !is_first) {
        return Ok(false);
    }
    let mut writer = Writer::open(access, into, options.clone())?;
    if newest.is_none() {
        let run = Run {
            id: Some(point.id),
            consistency: point.consistency,
            started: Some(point.started),
            told: point.told.clone(),
            ..Run::from(options)
        };
        writer.run(jobs(point)?, &run, progress)?;
    }
    if let Some(piece) = piece {
        let publish = Publish::Checkpoint;
        let mut told = Told::default();
        told.remark(COPIED);
        let run = Run { since: Since::Newest, publish, told, ..Run::from(options) };
        writer.run(jobs(piece)?, &run, progress)?;
    }
    Ok(true)
}

/// Whether a checkpoint of a branch has all of the piece that the original's chain had: it is the whole copy of it, or was
/// made behind that.
fn has_piece(checkpoint: &Manifest) -> bool {
    let is_whole = |disk: &DiskState| disk.done_blocks >= blocks_of(disk.bytes);
    let is_copy = checkpoint.told.remarks().iter().any(|remark| remark == COPIED);
    !is_copy || checkpoint.disks.iter().all(is_whole)
}

#[cfg(test)]
mod tests;
