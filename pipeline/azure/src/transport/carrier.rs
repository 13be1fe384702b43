//! Who carries requests for this process, where it does not carry them itself: a program that holds keys reads no answer's bytes.
//!
//! Said once, before the first request. From then on every client that is opened here is a carrier's, and none is ureq's.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use core::time::Duration;

use pipeline_vault::Error;

use super::failure::Failure;
use super::proxy::Proxy;
use super::{HttpTransport, Reply, Transport, TransportOptions};
use crate::address::Origin;
use crate::request::Request;

/// Makes clients whose requests somebody else carries.
pub trait Carrier: Send + Sync {
    /// A client with these options.
    fn open(&self, options: &TransportOptions) -> Result<Arc<dyn Transport>, Error>;
}

static CARRIER: OnceLock<Arc<dyn Carrier>> = OnceLock::new();

/// From now on this one carries all requests of this process; false where another one does already.
pub fn carry_by(carrier: Arc<dyn Carrier>) -> bool {
    CARRIER.set(carrier).is_ok()
}

/// A client: this process's own, or the carrier's.
///
/// Errors: a certificate file or a proxy's address is no good.
pub fn open(options: &TransportOptions) -> Result<Arc<dyn Transport>, Error> {
    match CARRIER.get() {
        Some(carrier) => carrier.open(options),
        None => Ok(Arc::new(HttpTransport::new(options)?)),
    }
}

/// A body of an answer that comes over another way than a socket of ours.
pub trait Stream: Send {
    /// Reads what has come, and waits for that; 0 at its end.
    fn read_some(&mut self, into: &mut [u8]) -> Result<usize, Failure>;
}

/// A body that is sent as it comes.
pub struct Coming<'a> {
    /// Its length.
    pub bytes: u64,
    /// From where.
    pub from: &'a mut dyn Read,
}

impl HttpTransport {
    /// Sends a request for somebody else: by the proxy that he says, with a body that comes while it is sent.
    pub fn relay(
        &self,
        origin: &Origin,
        request: Request<'_>,
        body: Option<Coming<'_>>,
        proxy: Option<&Proxy>,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        match body {
            None => self.send_by(origin, &request, (), proxy, patience),
            // A body of no bytes would be waited for.
            Some(Coming { bytes: 0, .. }) => {
                self.send_by(origin, &request, &b""[..], proxy, patience)
            }
            Some(Coming { bytes, from }) => {
                // Said already, it is not sent in chunks, which Azure does not take.
                let request = request.with_header("content-length", bytes.to_string());
                let body = ureq::SendBody::from_reader(from);
                self.send_by(origin, &request, body, proxy, patience)
            }
        }
    }
}
