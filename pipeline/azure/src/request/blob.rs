//! Requests about one object. Every write says that the object must not exist yet: nothing is overwritten.

use core::fmt::Write as _;

use super::{Method, Request};
use crate::address::AzureAddress;
use crate::crc64::{crc64, header_value};
use crate::encode::base64;

/// How an object is kept, which decides what it costs and how soon it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessTier {
    /// Read often.
    Hot,
    /// Read seldom, kept at least 30 days.
    Cool,
    /// Read hardly ever, kept at least 90 days.
    Cold,
    /// Takes hours to come back, kept at least 180 days.
    Archive,
}

impl AccessTier {
    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "Hot",
            Self::Cool => "Cool",
            Self::Cold => "Cold",
            Self::Archive => "Archive",
        }
    }
}

/// Put Blob: the whole object in one request, with its checksum, only if it does not exist.
pub fn put<'a>(
    address: &AzureAddress,
    name: &str,
    body: &'a [u8],
    tier: Option<AccessTier>,
) -> Request<'a> {
    let request = Request::storage(Method::Put, address.blob_path(name))
        .with_header("x-ms-blob-type", "BlockBlob")
        .with_header("content-type", "application/octet-stream")
        .with_header("if-none-match", "*")
        .with_header("x-ms-content-crc64", header_value(crc64(body)))
        .with_body(body);
    with_tier(request, tier)
}

/// Put Block: one part of an object, kept aside until a block list names it.
pub fn put_block<'a>(
    address: &AzureAddress,
    name: &str,
    block: &BlockId,
    body: &'a [u8],
) -> Request<'a> {
    Request::storage(Method::Put, address.blob_path(name))
        .with_query("comp", "block")
        .with_query("blockid", block.encoded())
        .with_header("x-ms-content-crc64", header_value(crc64(body)))
        .with_body(body)
}

/// Put Block List: makes the object of parts put before, only if it does not exist.
pub fn put_block_list(
    address: &AzureAddress,
    name: &str,
    blocks: &[BlockId],
    tier: Option<AccessTier>,
) -> Request<'static> {
    let body = block_list_xml(blocks).into_bytes();
    let request = Request::storage(Method::Put, address.blob_path(name))
        .with_query("comp", "blocklist")
        .with_header("content-type", "application/xml")
        .with_header("x-ms-blob-content-type", "application/octet-stream")
        .with_header("if-none-match", "*")
        .with_header("x-ms-content-crc64", header_value(crc64(&body)))
        .with_body(body);
    with_tier(request, tier)
}

/// Get Blob, a range of it: `bytes` bytes from `offset`, of the version with this tag if one is known.
pub fn get_range(
    address: &AzureAddress,
    name: &str,
    offset: u64,
    bytes: u64,
    etag: Option<&str>,
) -> Request<'static> {
    debug_assert!(bytes > 0, "an empty range cannot be asked for");
    let last = offset.saturating_add(bytes).saturating_sub(1);
    let request = Request::storage(Method::Get, address.blob_path(name))
        .with_header("x-ms-range", format!("bytes={offset}-{last}"));
    match etag {
        Some(etag) => request.with_header("if-match", etag),
        None => request,
    }
}

/// Get Blob, all of it.
pub fn get(address: &AzureAddress, name: &str) -> Request<'static> {
    Request::storage(Method::Get, address.blob_path(name))
}

/// Get Blob Properties.
pub fn head(address: &AzureAddress, name: &str) -> Request<'static> {
    Request::storage(Method::Head, address.blob_path(name))
}

/// Delete Blob.
pub fn delete(address: &AzureAddress, name: &str) -> Request<'static> {
    Request::storage(Method::Delete, address.blob_path(name))
}

/// Set Blob Tier.
pub fn set_tier(address: &AzureAddress, name: &str, tier: AccessTier) -> Request<'static> {
    Request::storage(Method::Put, address.blob_path(name))
        .with_query("comp", "tier")
        .with_header("x-ms-access-tier", tier.name())
        .with_body(&[][..])
}

/// The name of one block: unique to one upload, so that two writers of one object cannot mix their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockId {
    upload: [u8; 16],
    number: u32,
}

impl BlockId {
    /// Block `number` of the upload that drew these random bytes.
    pub fn new(upload: [u8; 16], number: u32) -> Self {
        Self { upload, number }
    }

    /// As Azure wants it: base64, of the same length for all blocks of an object.
    pub fn encoded(&self) -> String {
        let mut raw = [0_u8; 21];
        raw[..16].copy_from_slice(&self.upload);
        raw[16..20].copy_from_slice(&self.number.to_be_bytes());
        base64(&raw)
    }
}

fn with_tier(request: Request<'_>, tier: Option<AccessTier>) -> Request<'_> {
    match tier {
        Some(tier) => request.with_header("x-ms-access-tier", tier.name()),
        None => request,
    }
}

fn block_list_xml(blocks: &[BlockId]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for block in blocks {
        // Base64 needs no escaping in XML.
        let line = write!(xml, "<Uncommitted>{}</Uncommitted>", block.encoded());
        debug_assert!(line.is_ok(), "a String takes everything");
    }
    xml.push_str("</BlockList>");
    xml
}
