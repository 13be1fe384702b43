//! The Azure store passes the suite that every store passes, against Azurite, with every kind of credentials.

use core::sync::atomic::{AtomicU32, Ordering};

use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::{BlobStore, conformance};

use tests::azurite::{ACCOUNT, Azurite, KEY};

/// A container name that no other store of this run has.
fn fresh(label: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{label}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn address(azurite: &Azurite, container: &str) -> AzureAddress {
    AzureAddress::parse(&azurite.vault(container)).expect("an address")
}

fn key() -> Credentials {
    Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("the well-known key")
}

#[test]
fn the_account_key_passes_the_suite() {
    let azurite = Azurite::start().expect("Azurite starts");
    conformance::run(&|| {
        let address = address(&azurite, &fresh("key"));
        let store = AzureStore::open(&address, key(), AzureOptions::default());
        Box::new(store.expect("a store")) as Box<dyn BlobStore>
    });
}
