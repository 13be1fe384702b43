//! The client side of DHCP for IPv6 (RFC 8415, with the options of 3646, 4075, 4704, 4242 and 5908), as values only: time,
//! chance and frames go in, frames, a lease and what servers know come out. Whether anybody is asked, routers say.

/// From the first question to the end of a lease.
pub mod client;
/// What a server promised, and what it knows.
pub mod lease;
/// Messages as bytes.
pub mod message;
