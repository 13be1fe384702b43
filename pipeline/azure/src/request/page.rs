//! Requests about a page blob. Each begins as a request to the blob's own place, whoever signs it.

use super::Request;
use crate::crc64::{crc64, header_value};

/// Create a page blob of this length, a multiple of 512; all zeros. Only if it does not exist.
pub fn create(place: Request<'static>, bytes: u64) -> Request<'static> {
    place
        .with_header("x-ms-blob-type", "PageBlob")
        .with_header("x-ms-blob-content-length", bytes.to_string())
        .with_header("content-type", "application/octet-stream")
        .with_header("if-none-match", "*")
        .with_body(&[][..])
}

/// Put Page: writes whole sectors, with their checksum.
pub fn write<'a>(place: Request<'static>, offset: u64, body: &'a [u8]) -> Request<'a> {
    let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let mut request: Request<'a> = place;
    request.query.push(("comp".to_owned(), "page".to_owned()));
    request
        .with_header("x-ms-page-write", "update")
        .with_header("x-ms-range", range(offset, bytes))
        .with_header("x-ms-content-crc64", header_value(crc64(body)))
        .with_body(body)
}

/// Put Page: makes whole sectors zeros, without sending any.
pub fn clear(place: Request<'static>, offset: u64, bytes: u64) -> Request<'static> {
    place
        .with_query("comp", "page")
        .with_header("x-ms-page-write", "clear")
        .with_header("x-ms-range", range(offset, bytes))
        .with_body(&[][..])
}

/// Get Page Ranges: what was written, within a part of the blob; from the page of the answer that `marker` names.
pub fn ranges(
    place: Request<'static>,
    offset: u64,
    bytes: u64,
    marker: Option<&str>,
) -> Request<'static> {
    let request =
        place.with_query("comp", "pagelist").with_header("x-ms-range", range(offset, bytes));
    match marker {
        Some(marker) => request.with_query("marker", marker),
        None => request,
    }
}

/// Get Blob, a range of it.
pub fn read(place: Request<'static>, offset: u64, bytes: u64) -> Request<'static> {
    place.with_header("x-ms-range", range(offset, bytes))
}

/// As the header carries it, both ends included.
fn range(offset: u64, bytes: u64) -> String {
    format!("bytes={offset}-{}", offset.saturating_add(bytes).saturating_sub(1))
}

/// Snapshot Blob.
pub fn snapshot(place: Request<'static>) -> Request<'static> {
    place.with_query("comp", "snapshot").with_body(&[][..])
}

/// Copy Blob: what lies at a URL of the same account. Only if there is nothing yet.
pub fn copy(place: Request<'static>, source: &str) -> Request<'static> {
    place
        .with_header("x-ms-copy-source", source)
        .with_header("if-none-match", "*")
        .with_body(&[][..])
}

/// Delete Blob, with whatever snapshots it has.
pub fn remove(place: Request<'static>) -> Request<'static> {
    place.with_header("x-ms-delete-snapshots", "include")
}

/// Delete Blob: its snapshots alone.
pub fn remove_snapshots(place: Request<'static>) -> Request<'static> {
    place.with_header("x-ms-delete-snapshots", "only")
}

/// Delete Blob: one snapshot of it.
pub fn remove_snapshot(place: Request<'static>, instant: &str) -> Request<'static> {
    place.with_query("snapshot", instant)
}
