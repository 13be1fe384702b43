//! Keys: what a person keeps, what a vault keeps sealed, and what opens what.
//!
//! Recovery key → key-encryption key → key ring → one random key per server and epoch → segments and records.
//! A ticket is the same for one point alone.

mod armour;
/// The file that a recovery key is kept in.
pub mod key_file;
/// The printable page that starts a recovery.
pub mod kit;
/// Sealing with a passphrase, by Argon2id with capped costs.
pub mod passphrase;
/// The 160 bits that a person keeps, and how they are written down.
pub mod recovery_key;
/// The keys of all servers, as one sealed object with versions.
pub mod ring;
/// What opens one point of one server and nothing else.
pub mod ticket;

use pipeline::ids::{KeyEpoch, ServerId};
use pipeline::seal::SecretKey;
use pipeline::segment::SegmentIdentity;

use crate::names;
use crate::sealed::{ObjectKey, ObjectKind};

/// What opens a server's objects: the whole key ring, or a ticket.
pub trait KeySource: Send + Sync {
    /// The key that this server's new objects and segments are sealed with, and its epoch; `None` for keys that only read.
    fn newest_record_key(&self, server: &ServerId) -> Option<(KeyEpoch, SecretKey)>;

    /// What opens the object `name` of a server, sealed in `epoch`.
    fn object_key(
        &self,
        server: &ServerId,
        kind: ObjectKind,
        name: &str,
        epoch: KeyEpoch,
    ) -> Option<ObjectKey>;

    /// What opens one segment.
    fn segment_key(&self, identity: &SegmentIdentity) -> Option<SecretKey>;

    /// What a server's fingerprints are keyed with, in all epochs.
    fn fingerprint_key(&self, server: &ServerId) -> Option<SecretKey>;

    /// What opens a catalogue that was sealed in `epoch`; of no ticket.
    fn catalogue_key(&self, _epoch: KeyEpoch) -> Option<SecretKey> {
        None
    }

    /// What opens one slot of a server's chain.
    fn record_key(&self, server: &ServerId, slot: u64, epoch: KeyEpoch) -> Option<ObjectKey> {
        let name = names::chain_slot(server, slot);
        self.object_key(server, ObjectKind::Record, &name, epoch)
    }
}
