//! What is said on a lane: by the keeper who is asked for and what, by the courier what came of it.
//!
//! A word is its length, four bytes, and postcard. What a lane is for comes first: an errand, or a client and its requests one after the
//! other, each with as many bytes behind it as it says. An answer is a head, and a body in pieces: a length each, 0 at the end,
//! [`BROKEN`] and a word where it broke. What a courier says is [`checked`](Answer::checked) before anybody sees it; that of an errand
//! [`by itself`](Came::checked).

use std::borrow::Cow;
use std::io::{self, Read, Write};

use core::net::{IpAddr, SocketAddr};

use pipeline_azure::request::Method;
use pipeline_azure::response::Head;
use pipeline_azure::transport::failure::{Failure, Kind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::errand::{CAME_BYTES_MAX, Came, Errand};
use crate::report::printable;

/// Longest word of the keeper: a client with its certificates.
pub(super) const ORDER_BYTES_MAX: usize = 2 << 20;
/// Longest word of a courier: HTTP heads are shorter than half of it.
pub(super) const ANSWER_BYTES_MAX: usize = 128 * 1024;
/// Most headers of an answer.
const HEADERS_MAX: usize = 256;
/// Longest words on what failed.
const FAILURE_CHARS_MAX: usize = 400;
/// Longest piece of a body.
pub(super) const PIECE_BYTES_MAX: usize = 64 * 1024;
/// Instead of a piece's length: the body broke, and a word says why.
pub(super) const BROKEN: u32 = u32::MAX;
const LENGTH_BYTES: usize = 4;

/// What a lane is for: the first word on it.
#[derive(Serialize, Deserialize)]
pub(super) enum Begins<'a> {
    /// Requests of this client, one after the other.
    Requests(Cow<'a, Client>),
    /// One errand, answered by a [`Came`](super::errand::Came); the lane ends with it.
    Errand { errand: Box<Errand<'a>>, names: Named<'a> },
}

/// A client, as its options say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Client {
    /// No other client has it.
    pub(super) number: u64,
    pub(super) connect_millis: u64,
    pub(super) idle_millis: u64,
    pub(super) answer_millis: u64,
    pub(super) kept_connections: u32,
    pub(super) kept_for_millis: u64,
    /// Files of certificates, whole.
    pub(super) authorities: Vec<Vec<u8>>,
    pub(super) pin: Option<Option<[u8; 32]>>,
}

/// A request. `body` is how many bytes of one come behind it.
#[derive(Serialize, Deserialize)]
pub(super) struct Asked<'a> {
    pub(super) https: bool,
    pub(super) authority: Cow<'a, str>,
    pub(super) method: Method,
    pub(super) target: Cow<'a, str>,
    pub(super) headers: Cow<'a, [(String, String)]>,
    pub(super) body: Option<u64>,
    pub(super) patience_millis: u64,
    pub(super) proxy: Option<Cow<'a, str>>,
    pub(super) names: Named<'a>,
}

/// What is written of the host that is connected to, and which DNS servers are asked where nothing is.
#[derive(Serialize, Deserialize)]
pub(super) struct Named<'a> {
    pub(super) host: Cow<'a, str>,
    pub(super) known: Vec<IpAddr>,
    pub(super) resolv_conf: Cow<'a, str>,
    pub(super) servers: Vec<SocketAddr>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What a peer showed, where a certificate is known by its fingerprint.
    pub(super) shown: Option<[u8; 32]>,
    pub(super) outcome: Result<Answered, (Kind, String)>,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// No piece follows, nor an end.
    pub(super) is_bodiless: bool,
}

/// Says a word.
pub(super) fn say(into: &mut impl Write, word: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_extend(word, vec![0; LENGTH_BYTES]).map_err(io::Error::other)?;
    // It may hold a token.
    let mut bytes = Zeroizing::new(bytes);
    let length = u32::try_from(bytes.len() - LENGTH_BYTES).map_err(io::Error::other)?;
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    into.write_all(&bytes)
}

/// Hears one, of at most so many bytes.
pub(super) fn hear<T: DeserializeOwned>(from: &mut impl Read, bytes_max: usize) -> io::Result<T> {
    let length = usize::try_from(length(from)?).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(nonsense());
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut bytes)?;
    match postcard::take_from_bytes(&bytes) {
        Ok((word, [])) => Ok(word),
        _ => Err(nonsense()),
    }
}

fn length(from: &mut impl Read) -> io::Result<u32> {
    let mut length = [0; LENGTH_BYTES];
    from.read_exact(&mut length)?;
    Ok(u32::from_le_bytes(length))
}

/// What no courier says.
pub(super) fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it says what no courier says")
}

impl Answer {
    /// The head, or why there is none, where a courier could have said it.
    pub(super) fn checked(self) -> io::Result<Result<(Head, bool), Failure>> {
        match self.outcome {
            Err((kind, what)) => Ok(Err(Failure::new(kind, shown(&what, FAILURE_CHARS_MAX)))),
            Ok(answered) => {
                let Answered { status, headers, is_bodiless } = answered;
                let is_fine = (100..1000).contains(&status)
                    && headers.len() <= HEADERS_MAX
                    && headers.iter().all(|(name, value)| is_name(name) && is_value(value));
                let head = Head { status, headers };
                if is_fine { Ok(Ok((head, is_bodiless))) } else { Err(nonsense()) }
            }
        }
    }
}

/// As HTTP has it, and in lower case, as everybody here looks for it.
fn is_name(name: &str) -> bool {
    let is_fine = |letter: u8| {
        letter.is_ascii_graphic()
            && !letter.is_ascii_uppercase()
            && !b"()<>@,;:\\\"/[]?={}".contains(&letter)
    };
    !name.is_empty() && name.bytes().all(is_fine)
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|letter| letter == b'\t' || (b' '..0x7F).contains(&letter))
}

/// It stands in messages to people.
pub(super) fn shown(what: &str, chars_max: usize) -> String {
    printable(what).chars().take(chars_max).collect()
}

/// A body on its way from a courier.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Of the piece that is read.
    left: usize,
    /// Of all, where the head says how many.
    claimed: Option<u64>,
    /// Its end was read.
    pub(super) is_over: bool,
}

impl Pieces {
    pub(super) fn new(head: &Head, is_bodiless: bool) -> Self {
        Self { left: 0, claimed: head.content_length(), is_over: is_bodiless }
    }

    /// Reads some; 0 at the end. The inner error is what broke it there, the outer one is the courier's own.
    pub(super) fn read(
        &mut self,
        from: &mut impl Read,
        into: &mut [u8],
    ) -> io::Result<Result<usize, Failure>> {
        if into.is_empty() || self.is_over {
            return Ok(Ok(0));
        }
        if self.left == 0
            && let Err(failure) = self.next(from)?
        {
            return Ok(Err(failure));
        }
        if self.is_over {
            return Ok(Ok(0));
        }
        let most = into.len().min(self.left);
        let read = from.read(&mut into[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read;
        if let Some(claimed) = &mut self.claimed {
            let read = u64::try_from(read).unwrap_or(u64::MAX);
            *claimed = claimed.checked_sub(read).ok_or_else(nonsense)?;
            // The end comes with the last piece: whoever has all he asked for reads no further.
            if *claimed == 0
                && self.left == 0
                && let Err(failure) = self.next(from)?
            {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(read))
    }

    /// The next piece, or the end.
    fn next(&mut self, from: &mut impl Read) -> io::Result<Result<(), Failure>> {
        match length(from)? {
            0 => self.is_over = true,
            BROKEN => {
                let (kind, what): (Kind, String) = hear(from, ANSWER_BYTES_MAX)?;
                self.is_over = true;
                return Ok(Err(Failure::new(kind, shown(&what, FAILURE_CHARS_MAX))));
            }
            length => {
                self.left = usize::try_from(length).unwrap_or(usize::MAX);
                if self.left > PIECE_BYTES_MAX || self.claimed == Some(0) {
                    return Err(nonsense());
                }
            }
        }
        Ok(Ok(()))
    }
}

/// What a keeper makes of all that a courier says on a lane: status, and bytes of the body, no more than `bytes_max`. `None` where no
/// courier says that. Takes any bytes.
#[must_use]
pub fn understand(mut said: &[u8], bytes_max: usize) -> Option<(u16, usize)> {
    let answer: Answer = hear(&mut said, ANSWER_BYTES_MAX).ok()?;
    let (head, is_bodiless) = answer.checked().ok()?.ok()?;
    let mut pieces = Pieces::new(&head, is_bodiless);
    let (mut bytes, mut part) = (0, [0; 4096]);
    while bytes < bytes_max {
        match pieces.read(&mut said, &mut part).ok()?.ok()? {
            0 => break,
            more => bytes += more,
        }
    }
    Some((head.status, bytes))
}

/// What a keeper makes of what a courier says to an errand that asked for so many names, or for none. `None` where no courier says
/// that. Takes any bytes.
#[must_use]
pub fn understand_errand(mut said: &[u8], names: Option<usize>) -> Option<Came> {
    hear::<Came>(&mut said, CAME_BYTES_MAX).ok()?.checked(names).ok()
}

#[cfg(test)]
mod tests;
