//! The blob store: a vault's objects as block blobs in one container.

/// Connections opened before they are needed.
mod connect;
/// The container: made, listed, asked for the time.
mod container;
/// Making objects: in one request or in blocks, and telling «ours» from «somebody else's» afterwards.
mod create;
/// Deleting, many at once where that is possible.
mod delete;
/// Leases and tiers.
mod manage;
/// Reading: ranges, whole objects, facts.
mod read;

use core::fmt;
use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use pipeline_vault::Error;
use pipeline_vault::store::{BlobStore, Created, Listing, ObjectFacts, check_name};

use crate::address::AzureAddress;
use crate::credentials::Credentials;
use crate::governor::{FlowOptions, Governor};
use crate::request::blob::AccessTier;
use crate::retry::RetryPolicy;
use crate::surroundings::{Machine, Surroundings};
use crate::transport::{Transport, TransportOptions, carrier};
use crate::wire::Wire;

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct AzureOptions {
    /// How requests travel.
    pub transport: TransportOptions,
    /// How patient it is.
    pub retry: RetryPolicy,
    /// How many requests are in flight.
    pub flow: FlowOptions,
    /// Bodies longer than this go up in blocks.
    pub single_put_bytes_max: usize,
    /// The length of a block.
    pub block_bytes: usize,
    /// The tier that new objects get; `None` for the account's own.
    pub tier: Option<AccessTier>,
}

impl Default for AzureOptions {
    fn default() -> Self {
        Self {
            transport: TransportOptions::default(),
            retry: RetryPolicy::default(),
            flow: FlowOptions::default(),
            single_put_bytes_max: 64 * 1024 * 1024,
            block_bytes: 8 * 1024 * 1024,
            tier: None,
        }
    }
}

/// A vault's objects as block blobs in one container.
pub struct AzureStore {
    wire: Wire,
    options: AzureOptions,
    /// Set once batches turned out not to be possible here: objects are then deleted one by one.
    batches_refused: AtomicBool,
}

impl AzureStore {
    /// Opens the store; nothing is sent before the first call.
    pub fn open(
        address: &AzureAddress,
        credentials: Credentials,
        options: AzureOptions,
    ) -> Result<Self, Error> {
        let transport = carrier::open(&options.transport)?;
        Self::open_over(address, credentials, options, transport, Arc::new(Machine::new()))
    }

    /// The same over another transport, clock and dice.
    pub fn open_over(
        address: &AzureAddress,
        credentials: Credentials,
        options: AzureOptions,
        transport: Arc<dyn Transport>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Self, Error> {
        credentials.check_origin(address.origin())?;
        let wire = Wire {
            transport,
            surroundings,
            address: address.clone(),
            credentials,
            retry: options.retry,
            governor: Governor::new(options.flow),
        };
        Ok(Self { wire, options, batches_refused: AtomicBool::new(false) })
    }

    /// Where it is.
    pub fn address(&self) -> &AzureAddress {
        &self.wire.address
    }

    /// The same vault's read-only copy in the paired region, with the same credentials and connections.
    pub fn secondary(&self) -> Result<Self, Error> {
        let address = self.wire.address.secondary()?;
        Self::open_over(
            &address,
            self.wire.credentials.clone(),
            self.options.clone(),
            Arc::clone(&self.wire.transport),
            Arc::clone(&self.wire.surroundings),
        )
    }

    /// Refuses writing to the copy that can only be read.
    fn check_writable(&self, object: &str) -> Result<(), Error> {
        if self.wire.address.is_secondary() {
            return Err(Error::misuse(object, "is on the secondary, which can only be read")
                .remedy("leave out --secondary"));
        }
        Ok(())
    }
}

impl fmt::Debug for AzureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureStore")
            .field("address", &self.wire.address.to_string())
            .field("credentials", &self.wire.credentials.kind())
            .finish_non_exhaustive()
    }
}

/// Opens the vault at `azure://…` with the credentials that the environment holds.
pub fn open_from_env(uri: &str) -> Result<AzureStore, Error> {
    let address = AzureAddress::parse(uri)?;
    let (credentials, address) = Credentials::from_env(&address)?;
    let options =
        AzureOptions { transport: TransportOptions::from_env(), ..AzureOptions::default() };
    AzureStore::open(&address, credentials, options)
}

impl BlobStore for AzureStore {
    fn prepare(&self) -> Result<(), Error> {
        self.make_container()?;
        self.refuse_foreign_content()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        check_name(name)?;
        self.check_writable(&self.wire.address.object(name))?;
        self.create_object(name, body)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        check_name(name)?;
        self.read_range(name, offset, into)
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        check_name(name)?;
        self.read_whole(name, bytes_max)
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        check_name(name)?;
        self.look_at(name)
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        self.list_page(prefix, next, limit)
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        self.delete_objects(names)
    }

    fn now(&self) -> Result<u64, Error> {
        self.ask_time()
    }

    fn place(&self) -> String {
        self.wire.address.to_string()
    }

    fn parallel(&self) -> usize {
        self.wire.governor.limit()
    }
}
