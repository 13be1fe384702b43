//! A recovery point's disk as an NBD export, so that it can be mounted, copied from or started from at once.
//!
//! Fixed newstyle negotiation, simple and structured replies, `base:allocation`. The point stays as it is: writes are
//! refused, or kept beside it where they are meant. It speaks no TLS, and trusts nothing that a client sends: lengths,
//! counts, time and memory are all bounded.

/// How much the requests of all clients may hold in memory at once.
pub mod budget;
/// The protocol's bytes as plain values, and back.
pub mod codec;
/// From the first byte to the agreement on an export.
pub mod handshake;
/// A disk that can be written to while its point stays as it is.
pub mod layered;
/// Where the server listens: an address, or a socket in the file system.
pub mod listen;
/// Accepts clients and runs each.
pub mod server;
/// What is served.
pub mod source;
/// Requests and replies once an export is agreed on.
pub mod transmission;

#[cfg(test)]
mod tests;
