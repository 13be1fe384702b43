//! Page blobs: the disks that are uploaded into, by the signature that Azure gives out for each, and warm seeds in a
//! container of one's own.
//!
//! A disk's place answers to little: it is there already, and takes looks, page ranges, reads and page writes only.
//! Nothing sent to it is conditional or leased; a seed has one writer, who holds its lease. Every request may be sent twice,
//! so a lost reply is answered by sending it again. Calls come from many threads; how many go at once is for the governor to
//! say.

/// A page blob of one's own beside its bytes.
mod kept;
/// What the bytes of a disk are written as: pieces of at most 4 MiB, and zeros that need not be sent.
pub mod piece;
/// One request's life.
mod run;

pub use kept::HOLD_SECONDS;

use std::sync::{Arc, PoisonError, RwLock};

use core::fmt;

use pipeline_vault::Error;

use crate::address::AzureAddress;
use crate::credentials::Credentials;
use crate::governor::{FlowOptions, Governor};
use crate::request::lease::LeaseId;
use crate::request::{Method, page};
use crate::response::pages::{PageRange, page_ranges};
use crate::response::{Refusal, content_range};
use crate::retry::RetryPolicy;
use crate::sas::url::SignedUrl;
use crate::secret::Secret;
use crate::surroundings::{Machine, Surroundings};
use crate::transport::failure::{Failure, Kind};
use crate::transport::{Reply, Transport, TransportOptions, carrier};
use crate::wire::{Trouble, Wire, refusal_of};
use piece::{Piece, Zeros, pieces};

/// Sectors of a page blob: every offset and length is a multiple.
pub const SECTOR_BYTES: u64 = 512;
/// The most that one request writes.
pub const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest page blob: 8 TiB.
const BLOB_BYTES_MAX: u64 = 8 << 40;
/// Largest list of page ranges that is read.
const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of a blob one question for page ranges covers: the answer stays small and soon comes.
const RANGES_STEP: u64 = 1 << 40;
/// Most answers to one question for page ranges.
const ANSWERS_MAX: u32 = 10_000;

/// Why something could not be done with a page blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The signature has ended: ask for another, hand it to `renew`, and go on.
    Expired(Error),
    /// Anything else.
    Other(Error),
}

impl From<PageError> for Error {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Expired(error) | PageError::Other(error) => error,
        }
    }
}

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(error) | Self::Other(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PageError {}

/// How a page blob's requests behave.
#[derive(Clone, Debug)]
pub struct PageOptions {
    /// How requests travel.
    pub transport: TransportOptions,
    /// How patient they are.
    pub retry: RetryPolicy,
    /// How many are in flight.
    pub flow: FlowOptions,
}

impl Default for PageOptions {
    fn default() -> Self {
        // A page blob takes 500 requests a second and 60 MiB/s; more at once only wait there.
        let flow = FlowOptions { start: 16, least: 1, most: 32 };
        Self { transport: TransportOptions::default(), retry: RetryPolicy::default(), flow }
    }
}

/// One page blob.
pub struct PageBlob {
    transport: Arc<dyn Transport>,
    surroundings: Arc<dyn Surroundings>,
    retry: RetryPolicy,
    governor: Governor,
    place: Place,
}

enum Place {
    /// Where Azure says, by a signature that ends.
    Signed(RwLock<Arc<SignedUrl>>),
    /// In a container, by one's own credentials.
    Kept { wire: Box<Wire>, name: String, lease: RwLock<Option<LeaseId>> },
}

impl PageBlob {
    /// The blob at a whole URL with its signature, as a disk gives it out.
    pub fn signed(url: &Secret, options: &PageOptions) -> Result<Self, Error> {
        let transport = carrier::open(&options.transport)?;
        Self::signed_over(url, options, transport, Arc::new(Machine::new()))
    }

    /// The same over another transport, clock and dice.
    pub fn signed_over(
        url: &Secret,
        options: &PageOptions,
        transport: Arc<dyn Transport>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Self, Error> {
        let place = Place::Signed(RwLock::new(Arc::new(SignedUrl::parse(url)?)));
        let (retry, governor) = (options.retry, Governor::new(options.flow));
        Ok(Self { transport, surroundings, retry, governor, place })
    }

    /// The blob of that name in a container.
    pub fn kept(
        address: &AzureAddress,
        name: &str,
        credentials: Credentials,
        options: &PageOptions,
    ) -> Result<Self, Error> {
        pipeline_vault::store::check_name(name)?;
        credentials.check_origin(address.origin())?;
        let transport = carrier::open(&options.transport)?;
        let surroundings: Arc<dyn Surroundings> = Arc::new(Machine::new());
        let retry = options.retry;
        let wire = Box::new(Wire {
            transport: Arc::clone(&transport),
            surroundings: Arc::clone(&surroundings),
            address: address.clone(),
            credentials,
            retry,
            governor: Governor::new(options.flow),
        });
        let place = Place::Kept { wire, name: name.to_owned(), lease: RwLock::default() };
        Ok(Self { transport, surroundings, retry, governor: Governor::new(options.flow), place })
    }

    /// Goes on with another signature of the same blob.
    pub fn renew(&self, url: &Secret) -> Result<(), Error> {
        let Place::Signed(held) = &self.place else {
            return Err(Error::misuse(self.shown(), "has no signature to renew"));
        };
        let next = Arc::new(SignedUrl::parse(url)?);
        *held.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// When the signature ends, in milliseconds since 1970, where it says so itself.
    pub fn expires(&self) -> Option<u64> {
        match &self.place {
            Place::Signed(held) => read_lock(held).expires(),
            Place::Kept { .. } => None,
        }
    }

    /// How many requests are worth having in flight just now.
    pub fn parallel(&self) -> usize {
        self.governor.limit()
    }

    /// Makes the blob, all zeros; `false` where it was there already with this length.
    pub fn create(&self, bytes: u64) -> Result<bool, PageError> {
        if !bytes.is_multiple_of(SECTOR_BYTES) || !(1..=BLOB_BYTES_MAX).contains(&bytes) {
            let what =
                format!("cannot have {bytes} bytes: page blobs have whole sectors up to 8 TiB");
            return Err(Error::misuse(self.shown(), what).into());
        }
        let made = self.run(
            Method::Put,
            |place| page::create(place, bytes),
            |mut reply| match reply.head.status {
                201 => Ok(true),
                409 => {
                    let body = reply.read_all(64 * 1024).unwrap_or_default();
                    let refusal = Refusal::new(&reply.head, &body);
                    if refusal.code == "BlobAlreadyExists" {
                        return Ok(false);
                    }
                    Err(Trouble::Refused(refusal))
                }
                _ => Err(refusal_of(reply)),
            },
        )?;
        match made {
            true => Ok(true),
            false if self.bytes()? == bytes => Ok(false),
            false => Err(Error::refused(self.shown(), "is there already with another length")
                .remedy("delete it, or use another name")
                .into()),
        }
    }

    /// The blob's length.
    pub fn bytes(&self) -> Result<u64, PageError> {
        self.run(
            Method::Head,
            |place| place,
            |reply| {
                if reply.head.status != 200 {
                    return Err(refusal_of(reply));
                }
                if reply.head.header("x-ms-blob-type") != Some("PageBlob") {
                    return Err(Trouble::Final(Error::misuse(self.shown(), "is no page blob")));
                }
                let length = reply.head.content_length();
                length.ok_or_else(|| Trouble::Odd("the answer tells no length".to_owned()))
            },
        )
    }

    /// Writes whole sectors, 4 MiB at most, as they are.
    pub fn write(&self, offset: u64, body: &[u8]) -> Result<(), PageError> {
        self.check(offset, length(body))?;
        if body.len() > WRITE_BYTES_MAX {
            return Err(Error::misuse(self.shown(), "takes 4 MiB at a time").into());
        }
        self.run(Method::Put, |place| page::write(place, offset, body), created)
    }

    /// Makes whole sectors zeros.
    pub fn clear(&self, offset: u64, bytes: u64) -> Result<(), PageError> {
        self.check(offset, bytes)?;
        self.run(Method::Put, |place| page::clear(place, offset, bytes), created)
    }

    /// Writes whole sectors, as many as there are: what is zeros is left out or cleared, the rest goes in pieces.
    /// Answers how many bytes were sent.
    pub fn write_sparse(&self, offset: u64, body: &[u8], zeros: Zeros) -> Result<u64, PageError> {
        self.check(offset, length(body))?;
        let mut sent = 0;
        for piece in pieces(body) {
            match piece {
                Piece::Zeros { at, bytes } if zeros == Zeros::Clear => {
                    self.clear(offset + at, bytes)?;
                }
                Piece::Zeros { .. } => {}
                Piece::Data { at, body } => {
                    self.write(offset + at, body)?;
                    sent += length(body);
                }
            }
        }
        Ok(sent)
    }

    /// What was written in a part of the blob; the rest of it is zeros.
    pub fn ranges(&self, offset: u64, bytes: u64) -> Result<Vec<PageRange>, PageError> {
        self.check(offset, bytes)?;
        let (mut at, mut all, end) = (offset, Vec::<PageRange>::new(), offset + bytes);
        while at < end {
            let step = RANGES_STEP.min(end - at);
            self.ranges_of_step(at, step, &mut all)?;
            at += step;
        }
        Ok(all)
    }

    fn ranges_of_step(
        &self,
        offset: u64,
        bytes: u64,
        all: &mut Vec<PageRange>,
    ) -> Result<(), PageError> {
        let mut marker: Option<String> = None;
        for _ in 0..ANSWERS_MAX {
            let answer = self.run(
                Method::Get,
                |place| page::ranges(place, offset, bytes, marker.as_deref()),
                |mut reply| {
                    if reply.head.status != 200 {
                        return Err(refusal_of(reply));
                    }
                    let body = reply.read_all(LIST_BYTES_MAX).map_err(Trouble::Way)?;
                    page_ranges(&body).map_err(|odd| Trouble::Odd(odd.0.to_owned()))
                },
            )?;
            for range in answer.written {
                // Azure answers whole ranges, which may begin before and end after what was asked for.
                let first = range.offset.max(offset);
                let last = (range.offset + range.bytes).min(offset + bytes);
                match all.last_mut() {
                    Some(before) if before.offset + before.bytes >= first => {
                        before.bytes = before.bytes.max(last.saturating_sub(before.offset));
                    }
                    _ if first < last => {
                        all.push(PageRange { offset: first, bytes: last - first });
                    }
                    _ => {}
                }
            }
            match answer.next {
                Some(next) => marker = Some(next),
                None => return Ok(()),
            }
        }
        Err(Error::refused(self.shown(), "has a list of page ranges that does not end").into())
    }

    /// Reads whole sectors.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), PageError> {
        self.check(offset, length(into))?;
        let wanted = length(into);
        self.run(
            Method::Get,
            |place| page::read(place, offset, wanted),
            |mut reply| {
                if !matches!(reply.head.status, 200 | 206) {
                    return Err(refusal_of(reply));
                }
                let range = reply.head.header("content-range").and_then(content_range);
                let right = range.is_some_and(|range| {
                    range.first == offset && range.last + 1 == offset + wanted
                });
                if !right {
                    return Err(Trouble::Odd(
                        "the answer is not the range that was asked for".to_owned(),
                    ));
                }
                match reply.read_into(into) {
                    (filled, _) if filled == into.len() => Ok(()),
                    (_, Some(failure)) => Err(Trouble::Way(failure)),
                    (_, None) => {
                        Err(Trouble::Way(Failure::new(Kind::Broken, "the answer ended too soon")))
                    }
                }
            },
        )
    }

    fn check(&self, offset: u64, bytes: u64) -> Result<(), Error> {
        let whole = offset.is_multiple_of(SECTOR_BYTES) && bytes.is_multiple_of(SECTOR_BYTES);
        let end = offset.checked_add(bytes);
        if whole && bytes > 0 && end.is_some_and(|end| end <= 64 << 40) {
            return Ok(());
        }
        let what = format!("cannot be asked for {bytes} bytes at {offset}: whole sectors only");
        Err(Error::misuse(self.shown(), what))
    }

    /// How a person may see it.
    pub fn shown(&self) -> String {
        match &self.place {
            Place::Signed(held) => read_lock(held).shown(),
            Place::Kept { wire, name, .. } => wire.address.object(name),
        }
    }
}

fn read_lock(held: &RwLock<Arc<SignedUrl>>) -> Arc<SignedUrl> {
    Arc::clone(&held.read().unwrap_or_else(PoisonError::into_inner))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What a write is answered with.
fn created(reply: Reply) -> Result<(), Trouble> {
    if reply.head.status != 201 {
        return Err(refusal_of(reply));
    }
    reply.drain();
    Ok(())
}

impl fmt::Debug for PageBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PageBlob").field(&self.shown()).finish()
    }
}

#[cfg(test)]
mod tests;
