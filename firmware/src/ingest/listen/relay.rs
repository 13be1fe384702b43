//! What the agents' door is told, and what it says of who calls; behind it each call becomes a stream for this one agent.

use core::net::IpAddr;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use async_io::Async;
use pipeline_wire::authority::Credentials;
use pipeline_wire::certificate::Peer;
use pipeline_wire::frame;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{CONNECTIONS_MAX, Means, speak};
use crate::services::calls::Behind;

/// Who calls, by the word of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    /// Whom the certificate names.
    pub(super) peer: Peer,
    /// Where from.
    pub(super) from: IpAddr,
}

/// What the door shows, as bytes for it: this appliance's certificate and key, and the certificate of the authority.
pub(super) fn told(
    credentials: &Credentials,
    authority: &[u8],
) -> Result<Zeroizing<Vec<u8>>, postcard::Error> {
    let told = (&credentials.certificate, credentials.key.as_slice(), authority);
    postcard::to_allocvec(&told).map(Zeroizing::new)
}

/// The same out of its bytes.
pub(super) fn heard(bytes: &[u8]) -> io::Result<(Credentials, Vec<u8>)> {
    let (certificate, key, authority): (Vec<u8>, Vec<u8>, Vec<u8>) =
        frame::message(bytes).map_err(io::Error::other)?;
    Ok((Credentials { certificate, key: key.into() }, authority))
}

impl Caller {
    /// As bytes for the line.
    pub(super) fn told(&self) -> io::Result<Vec<u8>> {
        postcard::to_allocvec(self).map_err(io::Error::other)
    }
}

impl Behind for Means {
    type Who = Caller;
    const PLACES: usize = CONNECTIONS_MAX;

    fn who(bytes: &[u8]) -> Option<Caller> {
        frame::message(bytes).ok()
    }

    fn turned_away(&self, caller: &Caller) {
        log::warn!("agent at {}: turned away, {CONNECTIONS_MAX} are here", caller.from);
    }

    async fn serve(self: Arc<Self>, stream: Async<UnixStream>, caller: Caller) {
        if let Err(error) = speak(stream, caller, self).await {
            log::debug!("agent at {}: {error}", caller.from);
        }
    }
}
