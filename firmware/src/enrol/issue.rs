//! A token made, remembered on the roll, and the line that a person runs with it.

use pipeline_vault::Error;
use pipeline_wire::enrol::Token;

use super::Grant;
use super::delivery::Delivery;
use super::tokens::{TOKENS_MAX, TooMany};
use crate::ingest::roll::kept::KeptRoll;
use crate::serve::identity::Identity;

/// What to do about a server that was revoked.
const READMIT: &str = "let it in under another name; or, as an administrator, say that it is to be let in again (readmit)";

/// What a token is for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where the page is, each `address:port`, in the order in which they are tried.
    pub addresses: Vec<String>,
    /// When it is made, seconds since 1970.
    pub now: u64,
    /// Until when it is good.
    pub ends_at: u64,
    /// Whom it is for, where a server that was enrolled before is to be enrolled again.
    pub again: Option<Grant>,
    /// That server may have been revoked: to let it in again is somebody's word, and not what comes of making a token.
    pub readmit: bool,
}

/// A token that is good from now on.
pub struct Issued {
    /// Its text.
    pub token: String,
    /// The line that a person runs on a server.
    pub line: String,
}

/// Makes one for whoever reaches the page with the certificate of `identity`.
///
/// Errors: no address, or more than a token holds; the server was revoked; too many tokens wait to be used; the vault.
pub fn issue(kept: &KeptRoll, identity: &Identity, wanted: &Wanted) -> Result<Issued, Error> {
    let first = wanted.addresses.first().cloned().unwrap_or_default();
    let pin = sha256(identity.certificate());
    let token = Token::generate(wanted.addresses.clone(), pin, wanted.ends_at)
        .map_err(|error| Error::misuse("token", error.to_string()))?;
    kept.change(&mut |roll| {
        let again = wanted.again.clone();
        // Looked at in the change itself: whoever is revoked a moment later has his tokens forgotten.
        let server = again.as_ref().and_then(|grant| roll.server(grant.server));
        if let Some(listed) = server.filter(|listed| listed.revoked && !wanted.readmit) {
            let revoked = Error::misuse(format!("server {}", listed.name), "was revoked");
            return Err(revoked.remedy(READMIT));
        }
        let added = roll.tokens.add(token.secret_hash(), wanted.ends_at, again, wanted.now);
        added.map_err(|TooMany| {
            Error::exhausted("tokens", format!("{TOKENS_MAX} are remembered"))
                .remedy("wait until some have ended")
        })
    })?;
    let token = token.to_string();
    let line = Delivery::new(None, identity)?.line(&first, &token);
    Ok(Issued { token, line })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.iter_mut().zip(digest.as_ref()).for_each(|(place, byte)| *place = *byte);
    hash
}
