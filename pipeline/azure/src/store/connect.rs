//! Connections that are opened before they are needed: far away, each new one costs a round trip, with TLS two more.

use core::time::Duration;
use std::sync::Arc;

use super::AzureStore;
use crate::request::container;

/// A knock that takes longer than this opens nothing in time.
const PATIENCE: Duration = Duration::from_secs(10);

impl AzureStore {
    /// Opens so many connections in the background, each by asking for the container's facts, for a caller that will soon
    /// have that many requests in flight. Gives at once, whether they are being opened: not where a token would have to be
    /// asked for first, which must not be asked for sixteen times. What fails is not told: whoever asks next finds it out.
    pub fn connect_ahead(self: &Arc<Self>, connections: usize) -> bool {
        if !self.wire.credentials.are_at_hand() {
            return false;
        }
        for _ in 0..connections.min(self.options.transport.kept_connections) {
            let store = Arc::clone(self);
            let thread = std::thread::Builder::new().name("connect".to_owned());
            if thread.spawn(move || store.knock()).is_err() {
                return false;
            }
        }
        true
    }

    /// One request, tried once, that no governor counts: it moves nothing.
    fn knock(&self) {
        let wire = &self.wire;
        let Ok(request) = wire.authorize(container::head(&wire.address)) else { return };
        if let Ok(reply) = wire.transport.send(wire.address.origin(), &request, PATIENCE) {
            reply.drain();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Barrier;

    use super::*;
    use crate::address::{AzureAddress, Origin};
    use crate::credentials::Credentials;
    use crate::request::Request;
    use crate::response::Head;
    use crate::secret::Secret;
    use crate::store::AzureOptions;
    use crate::surroundings::Machine;
    use crate::transport::failure::{Failure, Kind};
    use crate::transport::{Reply, Transport};

    /// Answers nobody before so many are there.
    struct Together {
        all: Barrier,
        answered: AtomicUsize,
        refuses: bool,
    }

    impl Transport for Together {
        fn send(&self, _: &Origin, request: &Request<'_>, _: Duration) -> Result<Reply, Failure> {
            assert!(request.body.is_none(), "a knock carries nothing");
            self.all.wait();
            self.answered.fetch_add(1, Ordering::SeqCst);
            self.all.wait();
            if self.refuses {
                return Err(Failure::new(Kind::Broken, "refused"));
            }
            let headers = vec![("x-ms-version".to_owned(), "2021-08-06".to_owned())];
            Ok(Reply::canned(Head { status: 200, headers }, Vec::new()))
        }
    }

    #[test]
    fn connections_are_opened_at_once_each_once_whatever_comes_of_them() {
        for refuses in [false, true] {
            let all = Barrier::new(6);
            let peer = Arc::new(Together { all, answered: AtomicUsize::new(0), refuses });
            let address = AzureAddress::parse("azure://account/vault").unwrap();
            let key = Credentials::shared_key("account", &Secret::new("a2V5")).unwrap();
            let world = Arc::new(Machine::new());
            let transport = Arc::clone(&peer) as Arc<dyn Transport>;
            let options = AzureOptions::default();
            let store = AzureStore::open_over(&address, key, options, transport, world).unwrap();
            assert!(Arc::new(store).connect_ahead(5));
            // This thread is the sixth: it passes when five requests are in flight at once.
            peer.all.wait();
            peer.all.wait();
            assert_eq!(peer.answered.load(Ordering::SeqCst), 5);
        }
    }

    #[test]
    fn nobody_asks_for_a_token_to_open_connections() {
        struct Nobody;
        impl Transport for Nobody {
            fn send(&self, _: &Origin, _: &Request<'_>, _: Duration) -> Result<Reply, Failure> {
                panic!("something was asked");
            }
        }
        let address = AzureAddress::parse("azure://account/vault").unwrap();
        let set = |name: &str| match name {
            "AZURE_TENANT_ID" | "AZURE_CLIENT_ID" | "AZURE_CLIENT_SECRET" => Some(name.to_owned()),
            _ => None,
        };
        let (entra, address) = Credentials::from_lookup(&address, &set).unwrap();
        let (world, options) = (Arc::new(Machine::new()), AzureOptions::default());
        let store = AzureStore::open_over(&address, entra, options, Arc::new(Nobody), world);
        assert!(!Arc::new(store.unwrap()).connect_ahead(5));
    }
}
