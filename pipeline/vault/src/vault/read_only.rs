//! Keys that open what is there and seal nothing new: a ring that stands in for a newer one.

use std::sync::Arc;

use pipeline::ids::{KeyEpoch, ServerId};
use pipeline::seal::SecretKey;
use pipeline::segment::SegmentIdentity;

use crate::keys::KeySource;
use crate::keys::ring::KeyRing;
use crate::sealed::{ObjectKey, ObjectKind};

/// A ring whose keys open and do not seal.
pub(super) struct ReadOnly(pub(super) Arc<KeyRing>);

impl KeySource for ReadOnly {
    fn newest_record_key(&self, _server: &ServerId) -> Option<(KeyEpoch, SecretKey)> {
        None
    }

    fn object_key(
        &self,
        server: &ServerId,
        kind: ObjectKind,
        name: &str,
        epoch: KeyEpoch,
    ) -> Option<ObjectKey> {
        self.0.object_key(server, kind, name, epoch)
    }

    fn segment_key(&self, identity: &SegmentIdentity) -> Option<SecretKey> {
        self.0.segment_key(identity)
    }

    fn fingerprint_key(&self, server: &ServerId) -> Option<SecretKey> {
        self.0.fingerprint_key(server)
    }

    fn catalogue_key(&self, epoch: KeyEpoch) -> Option<SecretKey> {
        self.0.catalogue_key(epoch)
    }
}
