//! How a server comes to have a certificate: a token, one request with it, and the answer.
//!
//! A token is text that a person carries from an appliance's page to the server. It says where the appliance is and what
//! certificate it shows, so that nobody on the way can take its place, and has a secret that is good once. PROTOCOL.md has
//! the bytes.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use pipeline::ids::ServerId;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::authority::AuthorityError;
use crate::message::{Binding, DiskHello};

/// The request over HTTP/1.1, and its answer.
pub mod http;
/// Letters and digits that survive being read aloud.
mod letters;

/// The version of enrolment that this crate speaks.
pub const VERSION: u16 = 1;
/// Where a request goes.
pub const PATH: &str = "/enrol";
/// Largest request and largest answer.
pub const BYTES_MAX: usize = 64 * 1024;
/// Addresses of an appliance in a token.
pub const ADDRESSES_MAX: usize = 4;
/// Longest text of a token.
pub const TOKEN_TEXT_MAX: usize = 1024;

const CHECK_BYTES: usize = 4;

/// What lets one server in, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    version: u16,
    /// Where the appliance's page is, `address:port`, in the order in which they are tried.
    pub addresses: Vec<String>,
    /// SHA-256 of the certificate that the page shows: the fingerprint on the console.
    pub pin: [u8; 32],
    /// Until when it is good, seconds since 1970 by the appliance's clock.
    pub ends_at: u64,
    /// What only its holder knows.
    pub secret: [u8; 16],
}

impl fmt::Debug for Token {
    /// Everything but the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Token");
        shown
            .field("addresses", &self.addresses)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

/// Text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAToken {
    /// A sign that no token has.
    Sign(char),
    /// Cut, or mistyped.
    Mistyped,
    /// Of a newer Lifeboat.
    Newer,
}

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sign(sign) => write!(
                f,
                "the token has a {sign:?}, and tokens are letters, digits and dashes: copy it whole from the appliance's page"
            ),
            Self::Mistyped => {
                f.write_str("the token is cut or mistyped: copy it whole from the appliance's page")
            }
            Self::Newer => f.write_str(
                "the token is of a newer Lifeboat: install the agent from that appliance",
            ),
        }
    }
}

impl core::error::Error for NotAToken {}

impl Token {
    /// A new one.
    ///
    /// Errors: no randomness; more or longer addresses than a token holds.
    pub fn generate(
        addresses: Vec<String>,
        pin: [u8; 32],
        ends_at: u64,
    ) -> Result<Self, AuthorityError> {
        let made = |why: &str| AuthorityError::Made(why.to_owned());
        if !are_addresses(&addresses) {
            return Err(made(
                "a token names one to four addresses, each address:port, of the appliance",
            ));
        }
        let mut secret = [0; 16];
        SystemRandom::new().fill(&mut secret).map_err(|_| made("the machine has no randomness"))?;
        Ok(Self { version: VERSION, addresses, pin, ends_at, secret })
    }

    /// What an appliance keeps of it.
    #[must_use]
    pub fn secret_hash(&self) -> [u8; 32] {
        secret_hash(&self.secret)
    }
}

/// What an appliance keeps of a token's secret: who reads it there enrols nothing.
#[must_use]
pub fn secret_hash(secret: &[u8; 16]) -> [u8; 32] {
    sha256(&[b"lifeboat token\0".as_slice(), secret].concat())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *place = *byte;
    }
    hash
}

fn are_addresses(addresses: &[String]) -> bool {
    // Numbers only: a server whose names do not resolve is one that needs us most.
    let fine = |address: &String| address.parse::<SocketAddr>().is_ok();
    (1..=ADDRESSES_MAX).contains(&addresses.len()) && addresses.iter().all(fine)
}

impl fmt::Display for Token {
    /// Groups of eight letters and digits; the last twenty bits or so are a checksum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = postcard::to_allocvec(self).map_err(|_| fmt::Error)?;
        let check = sha256(&bytes);
        bytes.extend(check.iter().take(CHECK_BYTES));
        f.write_str(&letters::write(&bytes))
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    /// Case, spaces, line ends and dashes do not matter, nor does O for 0 or I and L for 1.
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        if text.len() > TOKEN_TEXT_MAX {
            return Err(NotAToken::Mistyped);
        }
        let bytes = letters::read(text).map_err(NotAToken::Sign)?;
        let (bytes, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(NotAToken::Mistyped)?;
        if !sha256(bytes).starts_with(check) {
            return Err(NotAToken::Mistyped);
        }
        // What follows the version in another one, only that one knows.
        match postcard::take_from_bytes::<u16>(bytes) {
            Ok((VERSION, _)) => {}
            Ok(_) => return Err(NotAToken::Newer),
            Err(_) => return Err(NotAToken::Mistyped),
        }
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((token, [])) if are_addresses(&token.addresses) => Ok(token),
            _ => Err(NotAToken::Mistyped),
        }
    }
}

/// What a server asks for with a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Of enrolment: [`VERSION`].
    pub version: u16,
    /// Of the token.
    pub secret: [u8; 16],
    /// For a certificate: PKCS #10, DER.
    pub request: Vec<u8>,
    /// What machine it is.
    pub binding: Binding,
    /// Its name.
    pub host: String,
    /// Its kernel's release, for people.
    pub kernel: String,
    /// The agent's version, for people.
    pub agent: String,
    /// Its disks, for people.
    pub disks: Vec<DiskHello>,
}

impl fmt::Debug for Request {
    /// Everything but the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What the appliance answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// The server is enrolled.
    Enrolled(Box<Enrolled>),
    /// It is not.
    Denied(Denied),
}

/// Who the server is from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its identity.
    pub server: ServerId,
    /// Its name in the vault.
    pub name: String,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// The site authority's, DER.
    pub authority: Vec<u8>,
    /// Where appliances listen, `address:port`, in the order in which they are tried.
    pub addresses: Vec<String>,
}

/// Why a server is not enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// For the program.
    pub why: Why,
    /// For a person: what and why.
    pub words: String,
    /// For a person: what to do now.
    pub remedy: String,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Why {
    /// The appliance has no such token.
    Unknown,
    /// Another server has used it.
    Used,
    /// It was good until an hour ago.
    Ended,
    /// Not now: busy, without a vault, or asked too often.
    Later,
    /// What was asked makes no sense, or is of another version.
    Nonsense,
}

impl Why {
    /// The status of HTTP that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Unknown | Self::Used | Self::Ended => 403,
            Self::Later => 503,
            Self::Nonsense => 400,
        }
    }
}

impl Denied {
    /// Why, and what the person at the server is told.
    #[must_use]
    pub fn of(why: Why) -> Self {
        const NEW: &str =
            "make a new token on the appliance's page, and run the line that it shows";
        let (words, remedy) = match why {
            Why::Unknown => ("the appliance has no such token", NEW),
            Why::Used => ("another server has used this token: each is good for one", NEW),
            Why::Ended => ("the token is too old", NEW),
            Why::Later => ("the appliance cannot enrol a server now", "try again in a minute"),
            Why::Nonsense => (
                "the appliance does not understand the agent",
                "install the agent from that appliance",
            ),
        };
        Self { why, words: words.to_owned(), remedy: remedy.to_owned() }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.words, self.remedy)
    }
}

impl core::error::Error for Denied {}

/// A request or an answer as bytes.
///
/// Errors: larger than [`BYTES_MAX`].
pub fn emit<T: Serialize>(what: &T) -> Result<Vec<u8>, TooLarge> {
    let bytes = postcard::to_allocvec(what).map_err(|_| TooLarge)?;
    if bytes.len() > BYTES_MAX { Err(TooLarge) } else { Ok(bytes) }
}

/// A request or an answer of bytes; `None` for bytes that are none.
#[must_use]
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((what, [])) if bytes.len() <= BYTES_MAX => Some(what),
        _ => None,
    }
}

/// The version that a request is of, whatever follows it.
#[must_use]
pub fn version_of(bytes: &[u8]) -> Option<u16> {
    postcard::take_from_bytes(bytes).ok().map(|(version, _)| version)
}

/// A server with more disks than a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this server has more disks than can be told at enrolment")
    }
}

impl core::error::Error for TooLarge {}

#[cfg(test)]
pub(crate) mod tests;
