//! Real objects to start from, and a copy of their vault in memory to put mutated ones into.

use std::sync::Arc;

use pipeline::ids::{KeyEpoch, ServerId};
use pipeline::seal::SecretKey;
use pipeline_vault::access::Access;
use pipeline_vault::sealed::{self, ObjectKey, ObjectKind};
use pipeline_vault::store::BlobStore;
use pipeline_vault::store::memory::{MemoryStore, Snapshot};
use tests::small_vault::SmallVault;

/// A vault that has seen some days, in memory.
pub(crate) struct Bed {
    pub(crate) vault: SmallVault,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) access: Access,
    pub(crate) server: ServerId,
    pub(crate) servers: Vec<ServerId>,
    whole: Snapshot,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let vault = SmallVault::kept_up();
        let store = Arc::new(MemoryStore::new());
        for name in vault.objects() {
            store.overwrite(&name, &vault.body(&name));
        }
        let whole = store.snapshot();
        let opened = vault.open_in(store.clone()).expect("its own key");
        let server = opened.server("db1").expect("a server").id;
        let servers = opened.servers().iter().map(|server| server.id).collect();
        Self { access: opened.access(), vault, store, server, servers, whole }
    }

    /// Puts the vault back as it was.
    pub(crate) fn mend(&self) {
        self.store.roll_back(&self.whole);
    }

    /// Names of objects of a class of the server.
    pub(crate) fn names(&self, class: &str) -> Vec<String> {
        let prefix = format!("{class}/{}/", self.server);
        let names: Vec<String> =
            self.store.names().into_iter().filter(|name| name.starts_with(&prefix)).collect();
        assert!(!names.is_empty(), "no {class} to mutate");
        names
    }

    pub(crate) fn bodies(&self, names: &[String]) -> Vec<Vec<u8>> {
        names.iter().map(|name| self.store.read_all(name, 16 << 20).expect("an object")).collect()
    }

    /// What is inside sealed objects.
    pub(crate) fn plain(&self, kind: ObjectKind, names: &[String]) -> Vec<Vec<u8>> {
        let bodies = self.bodies(names);
        let open = |(name, body): (&String, &Vec<u8>)| {
            sealed::open(kind, self.access.vault, name, body, &|epoch| {
                self.access.keys.object_key(&self.server, kind, name, epoch)
            })
            .expect("a whole object")
            .to_vec()
        };
        names.iter().zip(&bodies).map(open).collect()
    }

    /// Seals content under a name as the server's own writer would, and puts it there.
    pub(crate) fn plant(&self, kind: ObjectKind, name: &str, plain: &[u8]) -> Vec<u8> {
        let (epoch, key): (KeyEpoch, SecretKey) =
            self.access.keys.newest_record_key(&self.server).expect("a key");
        assert!(matches!(
            self.access.keys.object_key(&self.server, kind, name, epoch),
            Some(ObjectKey::Epoch(_))
        ));
        let entropy = &*self.access.entropy;
        let vault = self.access.vault;
        let bytes = sealed::seal(kind, vault, epoch, &key, name, plain, entropy).expect("small");
        self.store.overwrite(name, &bytes);
        bytes
    }
}
