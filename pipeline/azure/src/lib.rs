#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Where a vault is: account, container, prefix, endpoint.
pub mod address;
/// Azure's control plane: calls, answers, operations that take long.
pub mod arm;
/// Azure's clouds as data.
pub mod cloud;
/// The checksum that Azure keeps with a body.
pub mod crc64;
/// Who we are to Azure, and where that is found.
pub mod credentials;
/// Dates of HTTP and of SAS tokens.
pub mod date;
/// Percent encoding, base64, hexadecimal.
pub mod encode;
/// Refusals in words for a person.
mod explain;
/// How many requests are in flight at once.
pub mod governor;
/// Page blobs: the disks that are uploaded into, and warm seeds.
pub mod pages;
/// Requests as pure values.
pub mod request;
/// Answers as pure values.
pub mod response;
/// Trying again.
pub mod retry;
/// Shared access signatures: held and made.
pub mod sas;
/// Text that must not be seen.
pub mod secret;
/// SharedKey signatures.
pub mod sign;
/// The blob store.
pub mod store;
/// Time and chance as parameters.
pub mod surroundings;
#[cfg(test)]
mod test_vectors;
#[cfg(test)]
mod test_world;
/// The one HTTP client.
pub mod transport;
/// The footer of a fixed VHD.
pub mod vhd;
/// One request's life: signed, sent, judged, tried again.
mod wire;

pub use address::AzureAddress;
pub use credentials::Credentials;
pub use secret::Secret;
pub use store::{AzureOptions, AzureStore, open_from_env};
