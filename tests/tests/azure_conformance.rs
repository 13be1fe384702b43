//! The Azure store passes the suite that every store passes, against Azurite, with every kind of credentials,
//! over HTTP, over HTTPS with an own CA, and through a proxy that wants a password.

use std::sync::Arc;

use core::sync::atomic::{AtomicU32, Ordering};

use pipeline_azure::sas::make::{Resource, Terms, account, service};
use pipeline_azure::sign::SharedKey;
use pipeline_azure::transport::proxy::ProxyChoice;
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::{BlobStore, conformance};

use tests::azurite::certificates::Certificates;
use tests::azurite::connect_proxy::ConnectProxy;
use tests::azurite::identity::{CLIENT, CLIENT_SECRET, IdentityService, TENANT};
use tests::azurite::{ACCOUNT, Azurite, KEY};

/// A container name that no other store of this run has.
fn fresh(label: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{label}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn key() -> Credentials {
    Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("the well-known key")
}

fn terms(permissions: &str) -> Terms {
    Terms {
        permissions: permissions.to_owned(),
        expiry: "2099-01-01T00:00:00Z".to_owned(),
        version: "2024-11-04".to_owned(),
        ..Terms::default()
    }
}

/// Runs the suite, each rule in a container of its own.
fn suite(
    label: &str,
    address: &dyn Fn(&str) -> String,
    open: &dyn Fn(&AzureAddress) -> AzureStore,
) {
    conformance::run(&|| {
        let address = AzureAddress::parse(&address(&fresh(label))).expect("an address");
        Box::new(open(&address)) as Box<dyn BlobStore>
    });
}

#[test]
fn account_keys_pass_over_http() {
    let azurite = Azurite::start().expect("Azurite starts");
    suite("key", &|container| azurite.vault(container), &|address| {
        AzureStore::open(address, key(), AzureOptions::default()).expect("a store")
    });
}

#[test]
fn signatures_pass_over_http_below_a_prefix() {
    let azurite = Azurite::start().expect("Azurite starts");
    let inside = |container: &str| azurite.vault(&format!("{container}/site/one"));
    let signer = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("the well-known key");
    suite("prefix", &inside, &|address| {
        let token = account(&signer, &terms("rwdlc"), "b", "sco").expect("a token");
        AzureStore::open(address, Credentials::Sas(token), AzureOptions::default())
            .expect("a store")
    });
}

#[test]
fn bodies_in_blocks_pass_over_http() {
    let azurite = Azurite::start().expect("Azurite starts");
    let mut blocks = AzureOptions::default();
    (blocks.single_put_bytes_max, blocks.block_bytes) = (60_000, 2_000_000);
    suite("blocks", &|container| azurite.vault(container), &|address| {
        AzureStore::open(address, key(), blocks.clone()).expect("a store")
    });
}

#[test]
fn a_signature_for_one_container_that_may_not_make_it_passes() {
    let azurite = Azurite::start().expect("Azurite starts");
    let signer = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("the well-known key");
    suite("one", &|container| azurite.vault(container), &|address| {
        let owner = AzureStore::open(address, key(), AzureOptions::default()).expect("a store");
        owner.prepare().expect("the owner makes the container");
        let resource = Resource::Container { container: address.container() };
        let token = service(&signer, &terms("rcdl"), resource).expect("a token");
        AzureStore::open(address, Credentials::Sas(token), AzureOptions::default())
            .expect("a store")
    });
}

#[test]
fn identities_pass_over_https_with_an_own_ca_and_through_a_proxy() {
    let certificates = Arc::new(Certificates::make(&[]).expect("certificates"));
    let azurite = Azurite::start_https(&certificates.server()).expect("Azurite starts");
    let identities = IdentityService::start(&certificates).expect("a service");
    let proxy = ConnectProxy::start("bGlmZTpiIGF0").expect("a proxy");
    let mut options = AzureOptions::default();
    options.transport.ca_files = vec![certificates.ca()];
    options.transport.proxy = ProxyChoice::Never;
    let application = |rest: (&str, String)| {
        vec![
            ("AZURE_TENANT_ID".to_owned(), TENANT.to_owned()),
            ("AZURE_CLIENT_ID".to_owned(), CLIENT.to_owned()),
            ("AZURE_AUTHORITY_HOST".to_owned(), identities.url()),
            (rest.0.to_owned(), rest.1),
        ]
    };
    let client = certificates.client().display().to_string();
    let managed = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), identities.url())];
    let cases = [
        ("secret", application(("AZURE_CLIENT_SECRET", CLIENT_SECRET.to_owned())), false),
        ("certificate", application(("AZURE_CLIENT_CERTIFICATE_PATH", client)), true),
        ("managed", managed, false),
    ];
    for (label, environment, proxied) in cases {
        let mut options = options.clone();
        if proxied {
            let url = format!("http://life:b%20at@{}", proxy.authority());
            options.transport.proxy = ProxyChoice::explicit(&url).expect("a proxy");
        }
        let before = identities.given();
        let lookup = |name: &str| {
            let found = environment.iter().find(|(has, _)| has == name);
            found.map(|(_, value)| value.clone())
        };
        suite(label, &|container| azurite.vault(container), &|address| {
            let (credentials, address) =
                Credentials::from_lookup(address, &lookup).expect("credentials");
            AzureStore::open(&address, credentials, options.clone()).expect("a store")
        });
        assert!(identities.given() > before, "{label}: a token was asked for");
        assert_eq!(!proxy.targets().is_empty(), proxied || label == "managed", "{label}");
    }
    let storage = proxy.targets().iter().filter(|target| **target == azurite.authority()).count();
    assert!(storage > 0, "the storage was reached through the proxy");
}
