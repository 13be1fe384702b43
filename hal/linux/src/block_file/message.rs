//! The messages of FUSE, protocol 7, as bytes: what the kernel asks and what it is answered.

use rustix::io::Errno;

pub(super) const FORGET: u32 = 2;
pub(super) const GETATTR: u32 = 3;
pub(super) const SETATTR: u32 = 4;
pub(super) const OPEN: u32 = 14;
pub(super) const READ: u32 = 15;
pub(super) const WRITE: u32 = 16;
pub(super) const STATFS: u32 = 17;
pub(super) const RELEASE: u32 = 18;
pub(super) const FSYNC: u32 = 20;
pub(super) const FLUSH: u32 = 25;
pub(super) const INIT: u32 = 26;
pub(super) const INTERRUPT: u32 = 36;
pub(super) const DESTROY: u32 = 38;
pub(super) const BATCH_FORGET: u32 = 42;

/// Most that is written or read by one request.
const TRANSFER_BYTES_MAX: u32 = 1 << 20;
/// A request with the most that it can carry.
pub(super) const BYTES_MAX: usize = (1 << 20) + 4096;
const HEADER_BYTES: usize = 40;
/// What stands before the bytes of a read or write.
const RANGE_BYTES: usize = 40;
const PAGES_MAX: u16 = 256;
/// Reads that do not wait for each other; writes of more than a page; as many pages as said.
const FLAGS: u32 = 1 | (1 << 5) | (1 << 22);
const SECTOR: u64 = 512;
/// For how many seconds the kernel may believe the attributes: they never change.
const BELIEVED: u64 = 3600;

/// A request of the kernel.
pub(super) struct Request<'a> {
    pub(super) operation: u32,
    unique: u64,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let body = bytes.get(HEADER_BYTES..)?;
        Some(Self { operation: word(bytes, 4)?, unique: long(bytes, 8)?, body })
    }

    /// Offset and length of a read or write.
    pub(super) fn range(&self) -> Option<(u64, u32)> {
        let length = word(self.body, 16)?;
        (length <= TRANSFER_BYTES_MAX).then_some((long(self.body, 8)?, length))
    }

    /// What is to be written.
    pub(super) fn written(&self) -> Option<&'a [u8]> {
        let length = usize::try_from(word(self.body, 16)?).ok()?;
        self.body.get(RANGE_BYTES..)?.get(..length)
    }
}

/// An answer with its header.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn new(request: &Request<'_>, done: Result<Vec<u8>, Errno>) -> Self {
        let (error, body) = match done {
            Ok(body) => (0, body),
            Err(errno) => (-errno.raw_os_error(), Vec::new()),
        };
        // No body is longer than a transfer.
        let length = u32::try_from(16 + body.len()).unwrap_or(16);
        let mut bytes = Vec::with_capacity(16 + body.len());
        bytes.extend(length.to_le_bytes());
        bytes.extend(error.to_le_bytes());
        bytes.extend(request.unique.to_le_bytes());
        bytes.extend(body);
        Self { bytes }
    }
}

/// `struct fuse_init_out`.
pub(super) fn introduction(request: &Request<'_>) -> Vec<u8> {
    let wanted = word(request.body, 12).unwrap_or(0);
    let ahead = word(request.body, 8).unwrap_or(0);
    let mut out = Vec::with_capacity(64);
    for value in [7, 31, ahead, FLAGS & wanted] {
        out.extend(u32::to_le_bytes(value));
    }
    for value in [16_u16, 12] {
        out.extend(value.to_le_bytes());
    }
    out.extend(TRANSFER_BYTES_MAX.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(PAGES_MAX.to_le_bytes());
    out.resize(64, 0);
    out
}

/// `struct fuse_attr_out` of the one file.
pub(super) fn attributes(bytes: u64) -> Vec<u8> {
    const MODE: u32 = 0o100_600;
    let mut out = Vec::with_capacity(104);
    out.extend(BELIEVED.to_le_bytes());
    out.extend([0; 8]);
    for value in [1, bytes, bytes.div_ceil(SECTOR), 0, 0, 0] {
        out.extend(u64::to_le_bytes(value));
    }
    for value in [0, 0, 0, MODE, 1, 0, 0, 0, 4096, 0] {
        out.extend(u32::to_le_bytes(value));
    }
    out
}

/// `struct fuse_open_out`: nothing to remember, and what the kernel has cached of it stays true.
pub(super) fn opened() -> Vec<u8> {
    const KEEP_CACHE: u32 = 1 << 1;
    let mut out = vec![0; 8];
    out.extend(KEEP_CACHE.to_le_bytes());
    out.extend([0; 4]);
    out
}

/// `struct fuse_write_out`.
pub(super) fn written(length: u32) -> Vec<u8> {
    let mut out = length.to_le_bytes().to_vec();
    out.extend([0; 4]);
    out
}

/// `struct fuse_statfs_out`: full, as nothing can be added.
pub(super) fn totals(bytes: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    for value in [bytes / 4096, 0, 0, 1, 0] {
        out.extend(u64::to_le_bytes(value));
    }
    for value in [4096, 255, 4096] {
        out.extend(u32::to_le_bytes(value));
    }
    out.resize(80, 0);
    out
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
