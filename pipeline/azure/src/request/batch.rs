//! Many deletes in one call: a multipart body of small requests, each with its own authorization.

use core::fmt::Write as _;

use super::{Method, Request};
use crate::address::AzureAddress;

/// Requests in one batch: Azure's own limit.
pub const BATCH_REQUESTS_MAX: usize = 256;

/// One delete as it stands in a batch: without a version, which only the batch itself may name.
pub fn part(address: &AzureAddress, name: &str) -> Request<'static> {
    Request::new(Method::Delete, address.blob_path(name)).with_header("content-length", "0")
}

/// The batch of parts that were authorized one by one. `boundary` must occur in none of them.
pub fn delete(address: &AzureAddress, parts: &[Request<'_>], boundary: &str) -> Request<'static> {
    debug_assert!(parts.len() <= BATCH_REQUESTS_MAX, "the caller splits longer lists");
    let mut body = String::new();
    for (number, part) in parts.iter().enumerate() {
        let head = write!(
            body,
            "--{boundary}\r\nContent-Type: application/http\r\n\
             Content-Transfer-Encoding: binary\r\nContent-ID: {number}\r\n\r\n\
             {} {} HTTP/1.1\r\n",
            part.method.name(),
            part.target().expose(),
        );
        debug_assert!(head.is_ok(), "a String takes everything");
        for (name, value) in &part.headers {
            let line = write!(body, "{name}: {value}\r\n");
            debug_assert!(line.is_ok(), "a String takes everything");
        }
        body.push_str("\r\n\r\n");
    }
    let end = write!(body, "--{boundary}--\r\n");
    debug_assert!(end.is_ok(), "a String takes everything");
    Request::storage(Method::Post, address.container_path())
        .with_query("restype", "container")
        .with_query("comp", "batch")
        .with_header("content-type", format!("multipart/mixed; boundary={boundary}"))
        .with_body(body.into_bytes())
}
