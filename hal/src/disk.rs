//! Block devices and image files: owned, aligned buffers go in, the same buffers come back filled.
//!
//! The trait is shaped for deep queues: `submit` hands a request and its buffer over, `complete`
//! gives finished ones back in any order. A backend without a queue does the work in `complete`,
//! one at a time, so that a buffer is still warm in the cache when its reader gets it.
//! It refuses to know files, paths or system calls; those are the implementation's.

use core::fmt;

/// Size and sectors of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size in bytes: a multiple of `logical_sector_bytes` (an image file through the page cache:
    /// any), not always of a block.
    pub bytes: u64,
    /// Smallest addressable unit: 512 or 4096.
    pub logical_sector_bytes: u32,
    /// What the medium writes at once: 512 or 4096 or more.
    pub physical_sector_bytes: u32,
    /// Offsets, lengths and buffers of requests must be multiples of this (1 for files through the
    /// page cache).
    pub request_align_bytes: u32,
    /// Smallest discard, 0 where the disk has none.
    pub discard_bytes: u32,
    /// The disk takes no writes.
    pub read_only: bool,
}

impl Geometry {
    /// Whether a request is inside the disk, aligned for it and has the buffer that it needs.
    /// A read may end with the disk although the disk's end is not aligned; its buffer must then
    /// have room up to the next aligned length. Every implementation refuses by this one rule.
    pub fn check<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Result<(), DiskError> {
        let Request { operation, offset, length, .. } = *request;
        if operation == Operation::Flush {
            return match (offset, length) {
                (0, 0) => Ok(()),
                _ => Err(misuse("a flush has neither offset nor length").at(offset)),
            };
        }
        if length == 0 {
            return Err(misuse("a request of no bytes").at(offset));
        }
        let Some(end) = offset.checked_add(u64::from(length)).filter(|end| *end <= self.bytes)
        else {
            return Err(DiskError::words(
                ErrorKind::Misuse,
                format_args!(
                    "a request of {length} bytes past the end of a disk of {}",
                    self.bytes
                ),
            )
            .at(offset));
        };
        if operation != Operation::Read && self.read_only {
            return Err(
                DiskError::new(ErrorKind::Refused, "this disk is open for reading only").at(offset)
            );
        }
        let align = u64::from(self.request_align_bytes.max(1));
        let to_the_end = operation == Operation::Read && end == self.bytes;
        if offset % align != 0 || (u64::from(length) % align != 0 && !to_the_end) {
            return Err(DiskError::words(
                ErrorKind::Misuse,
                format_args!("a request of {length} bytes that is not aligned to {align}"),
            )
            .at(offset));
        }
        if matches!(operation, Operation::Read | Operation::Write) {
            let needed = u64::from(length).next_multiple_of(align);
            let room = request.buffer.as_ref().map_or(0, |buffer| buffer.as_ref().len() as u64);
            if room < needed {
                return Err(DiskError::words(
                    ErrorKind::Misuse,
                    format_args!("a buffer of {room} bytes for a request that needs {needed}"),
                )
                .at(offset));
            }
        }
        Ok(())
    }
}

fn misuse(what: &str) -> DiskError {
    DiskError::new(ErrorKind::Misuse, what)
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Fill the buffer's first `length` bytes from the disk.
    Read,
    /// Write the buffer's first `length` bytes to the disk.
    Write,
    /// The range reads as zeros afterwards; storage may be given back. Needs no buffer.
    Zero,
    /// The range's content no longer matters. Needs no buffer.
    Discard,
    /// Everything completed before is durable afterwards. Needs no buffer; offset and length are 0.
    Flush,
}

/// One request; `token` comes back with its completion and means nothing to the disk.
#[derive(Debug)]
pub struct Request<B> {
    /// The caller's name for the request.
    pub token: u64,
    /// What to do.
    pub operation: Operation,
    /// First byte on the disk.
    pub offset: u64,
    /// Bytes; for reads and writes at most the buffer's length.
    pub length: u32,
    /// The buffer of a read or write.
    pub buffer: Option<B>,
}

/// A finished request: the buffer always comes back, whatever the result.
#[derive(Debug)]
pub struct Completion<B> {
    /// The token of the request.
    pub token: u64,
    /// The buffer of the request.
    pub buffer: Option<B>,
    /// Done in full, or not at all as far as the caller may assume.
    pub result: Result<(), DiskError>,
}

/// A disk with a queue. One handle serves one thread; `another` opens a second queue onto the same
/// disk.
pub trait Disk: Send {
    /// An owned buffer aligned for this disk's transfers.
    type Buffer: AsRef<[u8]> + AsMut<[u8]> + Send;

    /// Size and sectors as they are now; asked again to notice a disk that shrank.
    fn geometry(&mut self) -> Result<Geometry, DiskError>;

    /// A zeroed buffer of at least `length` bytes, aligned for this disk.
    fn buffer(&mut self, length: usize) -> Result<Self::Buffer, DiskError>;

    /// How many requests are usefully in flight at once (1 for a backend without a queue).
    fn depth(&self) -> usize;

    /// Queues a request. On error it comes back untouched with the reason (queue full: complete
    /// some first).
    fn submit(&mut self, request: Request<Self::Buffer>) -> Result<(), Rejected<Self::Buffer>>;

    /// Waits for one finished request; `None` when nothing is in flight.
    fn complete(&mut self) -> Result<Option<Completion<Self::Buffer>>, DiskError>;

    /// The first range at or after `offset` that may hold data, as (start, end); `None` when all to
    /// the end reads as zeros. A disk that cannot tell answers with everything to its end.
    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError>;

    /// A second handle with a queue of its own on the same disk.
    fn another(&self) -> Result<Self, DiskError>
    where
        Self: Sized;

    /// Submits one request and waits for it; nothing else may be in flight.
    fn run(
        &mut self,
        request: Request<Self::Buffer>,
    ) -> Result<Completion<Self::Buffer>, DiskError> {
        let token = request.token;
        self.submit(request).map_err(|rejected| rejected.error)?;
        match self.complete()? {
            Some(done) if done.token == token => Ok(done),
            _ => Err(DiskError::new(ErrorKind::Misuse, "another request was in flight")),
        }
    }
}

/// A request that was not queued, and why.
#[derive(Debug)]
pub struct Rejected<B> {
    /// The request, untouched.
    pub request: Request<B>,
    /// Why.
    pub error: DiskError,
}

/// What kind of failure, sorted by whose fault it is and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller broke the trait's rules: alignment, range, a second request in `run`.
    Misuse,
    /// The queue is full: complete a request, then submit again.
    Busy,
    /// The medium could not read or write these sectors; others may be fine.
    Medium,
    /// The disk is gone, or shrank: nothing more will come from it.
    Gone,
    /// No space left behind the disk (a sparse file on a full file system).
    Full,
    /// The system refused: permissions, read-only, in use.
    Refused,
    /// The disk cannot do this operation.
    Unsupported,
    /// The machine ran out of something that is not disk space: memory, open files. Free some, then
    /// try again.
    Exhausted,
}

/// A failed disk operation. `code` is the operating system's errno where there is one, 0 otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// First byte of the failed range, where the failure has one.
    pub offset: Option<u64>,
    /// The operating system's errno, or 0.
    pub code: i32,
    /// What was being done, in words.
    pub what: heapless::String<160>,
}

impl DiskError {
    /// An error of a kind with words, cut at 160 bytes.
    pub fn new(kind: ErrorKind, what: &str) -> Self {
        Self::words(kind, format_args!("{what}"))
    }

    /// An error of a kind with formatted words, cut at 160 bytes.
    pub fn words(kind: ErrorKind, what: fmt::Arguments<'_>) -> Self {
        let mut kept = Cut(heapless::String::new());
        // `Cut` never fails; a value whose own Display fails leaves what it wrote so far.
        let _ = fmt::Write::write_fmt(&mut kept, what);
        Self { kind, offset: None, code: 0, what: kept.0 }
    }

    /// The same error with the first byte of the failed range.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same error with the system's errno.
    #[must_use]
    pub fn code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }
}

/// Keeps as many whole letters as fit.
struct Cut(heapless::String<160>);

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.0.push(letter).is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if self.code != 0 {
            write!(f, " (errno {})", self.code)?;
        }
        Ok(())
    }
}

impl core::error::Error for DiskError {}

impl embedded_io::Error for DiskError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self.kind {
            ErrorKind::Misuse => embedded_io::ErrorKind::InvalidInput,
            ErrorKind::Full | ErrorKind::Exhausted => embedded_io::ErrorKind::OutOfMemory,
            ErrorKind::Refused => embedded_io::ErrorKind::PermissionDenied,
            ErrorKind::Unsupported => embedded_io::ErrorKind::Unsupported,
            _ => embedded_io::ErrorKind::Other,
        }
    }
}
