//! Leases on an object: courtesy between healthy writers, never what keeps a vault right.

use super::{Method, Request};
use crate::address::AzureAddress;
use crate::encode::uuid;

/// The name of a lease, drawn by who takes it, so that a repeated request means the same lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseId(pub [u8; 16]);

impl LeaseId {
    /// As headers carry it.
    pub fn text(self) -> String {
        uuid(self.0)
    }
}

/// For how long a lease holds unless renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseTerm {
    /// That many seconds; Azure takes 15 to 60.
    Seconds(u8),
    /// Until released or broken.
    Endless,
}

/// Takes the lease, or renews it where it is ours already.
pub fn acquire(
    address: &AzureAddress,
    name: &str,
    id: LeaseId,
    term: LeaseTerm,
) -> Request<'static> {
    let seconds = match term {
        LeaseTerm::Seconds(seconds) => seconds.clamp(15, 60).to_string(),
        LeaseTerm::Endless => "-1".to_owned(),
    };
    lease(address, name, "acquire")
        .with_header("x-ms-lease-duration", seconds)
        .with_header("x-ms-proposed-lease-id", id.text())
}

/// Keeps the lease for another term.
pub fn renew(address: &AzureAddress, name: &str, id: LeaseId) -> Request<'static> {
    lease(address, name, "renew").with_header("x-ms-lease-id", id.text())
}

/// Gives the lease back.
pub fn release(address: &AzureAddress, name: &str, id: LeaseId) -> Request<'static> {
    lease(address, name, "release").with_header("x-ms-lease-id", id.text())
}

/// Ends somebody's lease, at the latest after `seconds`.
pub fn break_(address: &AzureAddress, name: &str, seconds: u8) -> Request<'static> {
    lease(address, name, "break")
        .with_header("x-ms-lease-break-period", seconds.min(60).to_string())
}

fn lease(address: &AzureAddress, name: &str, action: &str) -> Request<'static> {
    Request::storage(Method::Put, address.blob_path(name))
        .with_query("comp", "lease")
        .with_header("x-ms-lease-action", action)
        .with_body(&[][..])
}
