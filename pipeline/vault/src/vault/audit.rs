//! The objects that belong to the vault itself, each looked at: its marker, every key ring, every copy.
//!
//! Opening a vault takes the first of them that works; this says what is wrong with the others.

use std::collections::BTreeMap;

use super::Vault;
use super::marker::{self, MarkerState};
use super::rings::Unopened;
use crate::error::Error;
use crate::keys::ring::{self, copy_name, object_name};
use crate::sealed::{Failure, ObjectKind, SEALED_BYTES_MAX};
use crate::store::list_all;

const FROM_COPY: &str = "bring it back from a copy of the vault";
const REWRITE: &str = "bring it back from a copy of the vault, or let `lifeboat vault rekey` write the next key ring with its copy; a copy alone is made again by the next point";

impl Vault {
    /// Everything that is wrong with the vault's own objects: the troubles that `verify` is handed.
    ///
    /// Errors: the store cannot be asked.
    pub fn audit(&self) -> Result<Vec<Error>, Error> {
        let mut troubles = Vec::new();
        let named = |what: &str| Error::corrupt(marker::NAME, what.to_owned()).remedy(FROM_COPY);
        match marker::read(&*self.store)? {
            MarkerState::Whole(marker) if marker.vault == self.id => {}
            MarkerState::Whole(_) => troubles.push(named("is another vault's marker")),
            MarkerState::Missing => troubles.push(named("is missing")),
            _ => troubles.push(named("is damaged")),
        }
        let newest = self.ring.version();
        let mut versions: BTreeMap<u64, Vec<String>> = BTreeMap::from([(newest, Vec::new())]);
        for facts in list_all(&*self.store, ring::PREFIX)? {
            if let Some((version, _)) = ring::version_of(&facts.name) {
                versions.entry(version).or_default().push(facts.name);
            }
        }
        for (version, names) in versions {
            if version == newest {
                let wanted = [object_name(version), copy_name(version)];
                let missing = wanted.into_iter().filter(|name| !names.contains(name));
                troubles.extend(missing.map(|name| Error::missing(name).remedy(REWRITE)));
            }
            self.judge(version, &names, &mut troubles)?;
        }
        Ok(troubles)
    }

    /// One version: its object and its copy open, and are the same.
    fn judge(
        &self,
        version: u64,
        names: &[String],
        troubles: &mut Vec<Error>,
    ) -> Result<(), Error> {
        let rings = self.rings();
        let name = object_name(version);
        let mut other_key = Vec::new();
        for stored_as in names {
            match rings.try_object(stored_as, &name, version, &self.key_encryption_key)? {
                Ok(_) => {}
                Err(Unopened::Sealed(Failure::OtherKey)) => other_key.push(stored_as),
                Err(Unopened::Sealed(failure)) => {
                    let told = failure.into_error(ObjectKind::KeyRing, stored_as);
                    troubles.push(told.remedy(FROM_COPY));
                }
                // Deleted since it was listed: a rekey or shred is at work.
                Err(Unopened::Content(error)) if error.is_missing() => {}
                Err(Unopened::Content(error)) => {
                    troubles.push(error.on(stored_as).remedy(FROM_COPY));
                }
            }
        }
        // A rekey with an identity that may not delete leaves the rings of the old recovery key behind: then
        // object and copy are of another key alike, byte for byte.
        let old = version < self.ring.version() && other_key.len() == names.len();
        if old && self.are_same(names)? {
            return Ok(());
        }
        for stored_as in other_key {
            let told = Failure::OtherKey.into_error(ObjectKind::KeyRing, stored_as);
            troubles.push(told.remedy(FROM_COPY));
        }
        Ok(())
    }

    fn are_same(&self, names: &[String]) -> Result<bool, Error> {
        let mut first: Option<Vec<u8>> = None;
        for name in names {
            let bytes = self.store.read_all(name, SEALED_BYTES_MAX as u64)?;
            if *first.get_or_insert_with(|| bytes.clone()) != bytes {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hal_sim::{SimClock, SimEntropy};

    use super::*;
    use crate::store::BlobStore;
    use crate::store::memory::MemoryStore;

    #[test]
    fn every_damaged_or_missing_object_of_the_vault_itself_is_named() {
        let store = Arc::new(MemoryStore::new());
        let (clock, entropy) = (Arc::new(SimClock::default()), Arc::new(SimEntropy::new(1)));
        let (mut vault, _) = Vault::create(store.clone(), clock, entropy).expect("an empty place");
        vault.enrol("db1").expect("a fresh name");
        assert_eq!(vault.audit(), Ok(Vec::new()));
        let whole = store.snapshot();
        let names = store.names();
        assert_eq!(names.len(), 5, "a marker, two rings, two copies");
        let newest = object_name(vault.ring().version());
        for name in names {
            let body = store.read_all(&name, 1 << 20).expect("an object");
            for at in 0..body.len() {
                let mut bad = body.clone();
                bad[at] ^= 1 << (at % 8);
                store.overwrite(&name, &bad);
                let told = vault.audit().expect("a store");
                assert!(told.iter().any(|error| error.object == name), "{name} byte {at}");
            }
            store.overwrite(&name, &body[..body.len() / 2]);
            assert!(vault.audit().expect("a store").iter().any(|error| error.object == name));
            store.roll_back(&whole);
            store.lose(&name);
            let told = vault.audit().expect("a store");
            let needed = name == marker::NAME || name.starts_with(&newest);
            assert_eq!(told.iter().any(|error| error.object == name), needed, "{name}");
            store.roll_back(&whole);
        }
    }
}
