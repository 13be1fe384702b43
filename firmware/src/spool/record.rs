//! One record: a header with a keyed sum, then what was appended, sealed; whole pages.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | `LBSPREC1` |
//! | 8 | 4 | 1: a record; 2: nothing, up to where the log begins anew |
//! | 12 | 4 | bytes of the payload; of a skip, the bytes to skip |
//! | 16 | 8 | its position in the log |
//! | 24 | 8 | records before it |
//! | 32 | 8 | position up to which everything was durable when it was written |
//! | 40 | 16 | the opening that wrote it |
//! | 56 | 8 | zeros |
//! | 64 | 16 | tag of the seal; of a skip, zeros |
//! | 80 | 16 | the first half of BLAKE3 of the first 80 bytes, keyed |
//! | 96 | | the payload, sealed, then zeros up to a multiple of 4096 |
//!
//! The seal is AES-256-GCM under a key of the opening alone, its nonce the position, its associated data the first 64 bytes.
//! An opening never writes a position twice, and each has its own random name and so its own key: no nonce is used twice,
//! on a disk that was rolled back neither.

use pipeline::seal::{NONCE_BYTES, SecretKey, open_in_place, seal_in_place};

use super::layout::{PAGE_BYTES, RECORD_BYTES_MAX};
use super::superblock::{Identified, part};

/// Where the payload begins.
pub const HEADER_BYTES: usize = 96;
const MAGIC: [u8; 8] = *b"LBSPREC1";
const ASSOCIATED: usize = 64;
const SUMMED: usize = 80;

/// What a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A record.
    Record,
    /// Nothing up to the end of the lap, where the next record did not fit.
    Skip,
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it announces.
    pub kind: Kind,
    /// Where it is in the log.
    pub position: u64,
    /// Records before it.
    pub number: u64,
    /// Everything before this position was durable when it was written.
    pub durable: u64,
    /// The opening that wrote it.
    pub opening: [u8; 16],
}

/// A record that is to be written.
pub struct Record<'a> {
    /// What it says of itself.
    pub header: Header,
    /// Bytes of the log that it takes.
    pub span: u64,
    /// What is appended, in parts that follow each other.
    pub parts: &'a [&'a [u8]],
}

/// A header that was read, and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headed {
    /// What it says.
    pub header: Header,
    /// Bytes of the log that it takes.
    pub span: u64,
    /// Bytes of the payload.
    pub length: usize,
}

/// Bytes of the log that a payload takes; `None` where it is too long for a record.
#[must_use]
pub fn span(payload: usize) -> Option<u64> {
    let bytes = u64::try_from(payload.checked_add(HEADER_BYTES)?).ok()?;
    bytes.checked_next_multiple_of(PAGE_BYTES).filter(|span| *span <= RECORD_BYTES_MAX)
}

impl Record<'_> {
    fn length(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Puts it into room in which anything may be: of a skip the first page, else all of its span.
    pub fn write(&self, keys: &Identified, seal: &SecretKey, room: &mut [u8]) {
        let Some((head, rest)) = room.split_first_chunk_mut::<HEADER_BYTES>() else { return };
        let used = if self.header.kind == Kind::Record { self.length() } else { 0 };
        rest.iter_mut().skip(used).for_each(|byte| *byte = 0);
        head.fill(0);
        let Header { kind, position, number, durable, opening } = self.header;
        let (kind, length) = match kind {
            Kind::Record => (1_u32, u64::try_from(self.length()).unwrap_or(u64::MAX)),
            Kind::Skip => (2, self.span),
        };
        let length = u32::try_from(length).expect("a span is at most 2 MiB");
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&kind.to_le_bytes());
        head[12..16].copy_from_slice(&length.to_le_bytes());
        head[16..24].copy_from_slice(&position.to_le_bytes());
        head[24..32].copy_from_slice(&number.to_le_bytes());
        head[32..40].copy_from_slice(&durable.to_le_bytes());
        head[40..56].copy_from_slice(&opening);
        if let Some(body) = rest.get_mut(..self.length())
            && self.header.kind == Kind::Record
        {
            let mut room = &mut *body;
            for part in self.parts {
                let Some((here, rest)) = room.split_at_mut_checked(part.len()) else { return };
                here.copy_from_slice(part);
                room = rest;
            }
            let tag = seal_in_place(seal, &nonce(position), &head[..ASSOCIATED], body);
            head[ASSOCIATED..SUMMED].copy_from_slice(&tag);
        }
        let sum = keys.sum(&head[..SUMMED]);
        head[SUMMED..].copy_from_slice(&sum[..HEADER_BYTES - SUMMED]);
    }
}

impl Headed {
    /// Takes any bytes; `None` where they do not begin with a whole header that belongs at this position.
    #[must_use]
    pub fn read(bytes: &[u8], position: u64, keys: &Identified) -> Option<Self> {
        let head = bytes.first_chunk::<HEADER_BYTES>()?;
        if !head.starts_with(&MAGIC) {
            return None;
        }
        let sum = keys.sum(&head[..SUMMED]);
        let number = |at: usize| u64::from_le_bytes(part(head, at));
        if sum[..HEADER_BYTES - SUMMED] != head[SUMMED..] || number(16) != position {
            return None;
        }
        let length = u32::from_le_bytes(part(head, 12));
        let (kind, length, span) = match u32::from_le_bytes(part(head, 8)) {
            1 => {
                let length = usize::try_from(length).ok()?;
                (Kind::Record, length, span(length)?)
            }
            2 => (Kind::Skip, 0, u64::from(length)),
            _ => return None,
        };
        let left = keys.left_in_lap(position);
        let fits = if kind == Kind::Skip { span == left } else { span <= left };
        let header = Header {
            kind,
            position,
            number: number(24),
            durable: number(32),
            opening: part(head, 40),
        };
        fits.then_some(Self { header, span, length })
    }

    /// Opens the payload of all its bytes, into memory that is there already; `None` where they are not what was written.
    #[must_use]
    pub fn open(&self, bytes: &[u8], keys: &Identified, into: Vec<u8>) -> Option<Vec<u8>> {
        let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let mut payload = into;
        payload.clear();
        payload.extend_from_slice(rest.get(..self.length)?);
        let seal = keys.seal_key(&self.header.opening);
        let tag = part(head, ASSOCIATED);
        let nonce = nonce(self.header.position);
        open_in_place(&seal, &nonce, &head[..ASSOCIATED], &mut payload, &tag).ok()?;
        Some(payload)
    }
}

fn nonce(position: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&position.to_le_bytes());
    nonce
}
