//! The client side of DHCP for IPv4 (RFC 2131, with the options of 2132, 3396, 3397, 3442 and 4361's plain form), as
//! values only: time, chance and frames go in, frames and a lease come out.

/// From the first question to the end of a lease.
pub mod client;
/// What a server promised.
pub mod lease;
/// Messages as bytes.
pub mod message;
