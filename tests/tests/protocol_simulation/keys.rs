//! One key for everything, and access to a store with it.

use std::sync::Arc;

use hal::time::{Clock, Entropy};
use hal_sim::{SimClock, SimEntropy};
use pipeline::ids::{KeyEpoch, ServerId, VaultId};
use pipeline::seal::SecretKey;
use pipeline::segment::{SegmentIdentity, derive_segment_key};
use pipeline_vault::access::Access;
use pipeline_vault::keys::KeySource;
use pipeline_vault::sealed::{ObjectKey, ObjectKind};
use pipeline_vault::store::BlobStore;

pub(crate) const SERVER: ServerId = ServerId([5; 16]);
pub(crate) const VAULT: VaultId = VaultId([9; 16]);

pub(crate) struct OneKey;

impl OneKey {
    fn key() -> SecretKey {
        SecretKey::from_bytes([1; 32])
    }

    /// What opens a segment.
    pub(crate) fn of_segment(identity: &SegmentIdentity) -> SecretKey {
        derive_segment_key(&Self::key(), identity)
    }
}

impl KeySource for OneKey {
    fn newest_record_key(&self, _: &ServerId) -> Option<(KeyEpoch, SecretKey)> {
        Some((KeyEpoch(1), Self::key()))
    }

    fn object_key(&self, _: &ServerId, _: ObjectKind, _: &str, _: KeyEpoch) -> Option<ObjectKey> {
        Some(ObjectKey::Epoch(Self::key()))
    }

    fn segment_key(&self, identity: &SegmentIdentity) -> Option<SecretKey> {
        Some(Self::of_segment(identity))
    }

    fn fingerprint_key(&self, _: &ServerId) -> Option<SecretKey> {
        Some(SecretKey::from_bytes([2; 32]))
    }
}

/// Access to a store from a machine with this clock and these random numbers.
pub(crate) fn access(store: Arc<dyn BlobStore>, clock: &SimClock, entropy: &SimEntropy) -> Access {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let entropy: Arc<dyn Entropy> = Arc::new(entropy.clone());
    Access { store, vault: VAULT, keys: Arc::new(OneKey), clock, entropy }
}
