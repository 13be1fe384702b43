//! Requests about the container that a vault is in.

use super::{Method, Request};
use crate::address::AzureAddress;

/// Create Container, closed to the public.
pub fn create(address: &AzureAddress) -> Request<'static> {
    Request::storage(Method::Put, address.container_path())
        .with_query("restype", "container")
        .with_body(&[][..])
}

/// Get Container Properties: cheap, and its answer carries Azure's clock whatever it says.
pub fn head(address: &AzureAddress) -> Request<'static> {
    Request::storage(Method::Head, address.container_path()).with_query("restype", "container")
}

/// List Blobs: at most `limit` objects whose full names start with `prefix`, from `marker` of the page before.
pub fn list(
    address: &AzureAddress,
    prefix: &str,
    marker: Option<&str>,
    limit: usize,
) -> Request<'static> {
    let mut request = Request::storage(Method::Get, address.container_path())
        .with_query("restype", "container")
        .with_query("comp", "list")
        .with_query("maxresults", limit.clamp(1, 5000).to_string());
    if !prefix.is_empty() {
        request = request.with_query("prefix", prefix);
    }
    match marker {
        Some(marker) => request.with_query("marker", marker),
        None => request,
    }
}
