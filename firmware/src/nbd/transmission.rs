//! Requests and replies once an export is agreed on.
//!
//! One task reads requests; each is answered by a task of its own, in whatever order they finish. Reads and writes run
//! on threads, since the vault blocks. Both the number of requests and the memory that they hold are bounded.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use async_io::Timer;
use smol::future;
use smol::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use smol::lock::{Mutex, Semaphore};
use smol::prelude::*;

use pipeline_vault::{Blame, Error};

use crate::nbd::budget::Budget;
use crate::nbd::codec::{
    Chunk, Command, DATA_HEADER_BYTES, Errno, READ_BYTES_MAX, REQUEST_BYTES, REQUEST_DURABLE,
    REQUEST_ONE, REQUEST_READ_FLAGS, REQUEST_WRITE_FLAGS, Request, chunk, parse_request,
    simple_reply,
};
use crate::nbd::handshake::Terms;
use crate::nbd::source::{BlockSink, Export};

/// Requests of one client that are answered at once.
const REQUESTS_MAX: usize = 16;
/// Extents in one block status reply.
const EXTENTS_MAX: usize = 1024;
/// A client that takes or sends nothing for so long in the middle of a message is gone.
const STALL: Duration = Duration::from_secs(60);
/// A reply is written in pieces of this size, each of which may take as long as `STALL`.
const PIECE_BYTES: usize = 256 * 1024;

/// A connection that can be read in one task and written in another.
pub trait Stream: AsyncRead + AsyncWrite + Clone + Unpin + Send + Sync + 'static {
    /// Ends both directions, so that whoever reads or writes wakes up.
    fn end(&self);
}

impl Stream for smol::net::TcpStream {
    fn end(&self) {
        // It fails only where the connection has ended already.
        let _ = self.shutdown(std::net::Shutdown::Both);
    }
}

impl Stream for smol::net::unix::UnixStream {
    fn end(&self) {
        // It fails only where the connection has ended already.
        let _ = self.shutdown(std::net::Shutdown::Both);
    }
}

/// What all requests of one client share.
struct Client<S> {
    export: Arc<Export>,
    terms: Terms,
    writer: Mutex<S>,
    budget: Arc<Budget>,
}

/// Answers requests until the client leaves. Tasks run on `executor`.
pub async fn serve<S: Stream>(
    stream: S,
    export: Arc<Export>,
    terms: Terms,
    budget: Arc<Budget>,
    executor: Arc<smol::Executor<'static>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.clone());
    let client = Arc::new(Client { export, terms, writer: Mutex::new(stream.clone()), budget });
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let Some(request) = next_request(&mut reader).await? else { break };
        match request.command {
            Command::Disconnect => break,
            Command::Write if client.sink().is_none() => {
                skip_payload(&mut reader, request.length).await?;
            }
            _ => (),
        }
        let slot = slots.acquire_arc().await;
        let share = client.budget.take(memory(&request)).await;
        let payload = match request.command {
            Command::Write if client.sink().is_some() => {
                take_payload(&mut reader, request.length).await?
            }
            _ => Vec::new(),
        };
        let (client, stream) = (Arc::clone(&client), stream.clone());
        let task = async move {
            let reply = client.answer(request, payload).await;
            if let Err(error) = client.send(&reply).await {
                log::debug!("NBD client: {error}");
                stream.end();
            }
            drop((slot, share));
        };
        executor.spawn(task).detach();
    }
    // Replies that are under way are finished first.
    for _ in 0..REQUESTS_MAX {
        slots.acquire_arc().await.forget();
    }
    Ok(())
}

/// The next request; `None` where the client closed the connection between two.
async fn next_request<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Request>> {
    let mut bytes = [0; REQUEST_BYTES];
    // A client may be silent for days between requests, but not within one.
    if reader.read(&mut bytes[..1]).await? == 0 {
        return Ok(None);
    }
    within(STALL, reader.read_exact(&mut bytes[1..])).await?;
    let parsed = parse_request(&bytes);
    parsed.map(Some).map_err(|problem| {
        io::Error::new(io::ErrorKind::InvalidData, format!("the client sent {}", problem.0))
    })
}

/// Reads past what a refused write brings along.
async fn skip_payload<R: AsyncRead + Unpin>(reader: &mut R, length: u32) -> io::Result<()> {
    if length > READ_BYTES_MAX {
        let words = "the client sent a write of more than 32 MiB";
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    let mut left = u64::from(length);
    while left > 0 {
        let mut piece = (&mut *reader).take(left.min(PIECE_BYTES as u64));
        let copied = within(STALL, smol::io::copy(&mut piece, &mut smol::io::sink())).await?;
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= copied;
    }
    Ok(())
}

/// Reads what a write brings along; its memory was asked for.
async fn take_payload<R: AsyncRead + Unpin>(reader: &mut R, length: u32) -> io::Result<Vec<u8>> {
    if length > READ_BYTES_MAX {
        let words = "the client sent a write of more than 32 MiB";
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    let mut payload = vec![0; usize::try_from(length).expect("at most 32 MiB")];
    for piece in payload.chunks_mut(PIECE_BYTES) {
        within(STALL, reader.read_exact(piece)).await?;
    }
    Ok(payload)
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    future::or(work, async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

/// What a request needs while it is answered.
fn memory(request: &Request) -> u32 {
    match request.command {
        Command::Read | Command::Write if request.length <= READ_BYTES_MAX => request.length,
        _ => 0,
    }
}

impl<S: Stream> Client<S> {
    fn sink(&self) -> Option<&dyn BlockSink> {
        self.export.source.sink()
    }

    async fn answer(self: &Arc<Self>, request: Request, payload: Vec<u8>) -> Vec<u8> {
        let client = Arc::clone(self);
        smol::unblock(move || match (request.command, client.sink()) {
            (Command::Read, _) => client.read(&request),
            (Command::BlockStatus, _) => client.block_status(&request),
            (Command::Flush, None) => client.success(&request),
            (Command::Flush, Some(sink)) => client.done(&request, sink.flush()),
            (Command::Write | Command::Trim | Command::WriteZeros, Some(sink)) => {
                client.change(&request, sink, &payload)
            }
            (Command::Write | Command::Trim | Command::WriteZeros, None) => {
                client.failure(&request, Errno::Permission, "a recovery point cannot be written to")
            }
            (Command::Disconnect | Command::Unknown, _) => {
                client.failure(&request, Errno::Invalid, "the command is unknown")
            }
        })
        .await
    }

    fn change(&self, request: &Request, sink: &dyn BlockSink, payload: &[u8]) -> Vec<u8> {
        if let Some(words) = self.problem(request, REQUEST_WRITE_FLAGS, u32::MAX) {
            return self.failure(request, Errno::Invalid, words);
        }
        let changed = match request.command {
            Command::Write => sink.write_at(request.offset, payload),
            _ => sink.zero_at(request.offset, u64::from(request.length)),
        };
        let durable = request.flags & REQUEST_DURABLE != 0;
        self.done(request, changed.and_then(|()| if durable { sink.flush() } else { Ok(()) }))
    }

    fn done(&self, request: &Request, result: Result<(), Error>) -> Vec<u8> {
        match result {
            Ok(()) => self.success(request),
            Err(error) => {
                log::warn!("NBD {:?} at {}: {error}", request.command, request.offset);
                let full = error.blame == Blame::Exhausted;
                let errno = if full { Errno::NoSpace } else { Errno::Io };
                self.failure(request, errno, &error.to_string())
            }
        }
    }

    fn success(&self, request: &Request) -> Vec<u8> {
        if self.terms.structured {
            chunk(request.cookie, Chunk::Done)
        } else {
            simple_reply(request.cookie, None).to_vec()
        }
    }

    fn failure(&self, request: &Request, error: Errno, words: &str) -> Vec<u8> {
        if self.terms.structured {
            chunk(request.cookie, Chunk::Error(error, words))
        } else {
            simple_reply(request.cookie, Some(error)).to_vec()
        }
    }

    /// Why the range cannot be asked for, if so.
    fn problem(&self, request: &Request, flags: u16, length_max: u32) -> Option<&'static str> {
        let end = request.offset.checked_add(u64::from(request.length));
        if end.is_none_or(|end| end > self.export.source.bytes()) {
            Some("the range goes past the end of the disk")
        } else if request.length > length_max {
            Some("the range is longer than 32 MiB")
        } else if request.flags & !flags != 0 {
            Some("the flags are unknown")
        } else {
            None
        }
    }

    fn read(&self, request: &Request) -> Vec<u8> {
        if let Some(words) = self.problem(request, REQUEST_READ_FLAGS, READ_BYTES_MAX) {
            return self.failure(request, Errno::Invalid, words);
        }
        if request.length == 0 {
            return self.success(request);
        }
        let length = usize::try_from(request.length).expect("at most 32 MiB");
        let header = if self.terms.structured {
            let header = chunk(request.cookie, Chunk::Data(request.offset, request.length));
            debug_assert_eq!(header.len(), DATA_HEADER_BYTES, "the header has its room");
            header
        } else {
            simple_reply(request.cookie, None).to_vec()
        };
        // Room for the header in front, so that header and data go out from one buffer.
        let mut reply = vec![0; header.len() + length];
        let (front, data) = reply.split_at_mut(header.len());
        front.copy_from_slice(&header);
        if let Err(error) = self.export.source.read_at(request.offset, data) {
            log::warn!("NBD read of {} bytes at {}: {error}", request.length, request.offset);
            return self.failure(request, Errno::Io, &error.to_string());
        }
        if self.terms.structured && is_zero(data) {
            return chunk(request.cookie, Chunk::Hole(request.offset, request.length));
        }
        reply
    }

    fn block_status(&self, request: &Request) -> Vec<u8> {
        if !self.terms.allocation {
            return self.failure(request, Errno::Invalid, "base:allocation was not agreed on");
        }
        if let Some(words) = self.problem(request, REQUEST_ONE, u32::MAX) {
            return self.failure(request, Errno::Invalid, words);
        }
        if request.length == 0 {
            return self.failure(request, Errno::Invalid, "the range is empty");
        }
        let most = if request.flags & REQUEST_ONE != 0 { 1 } else { EXTENTS_MAX };
        match self.extents(request.offset, request.length, most) {
            Ok(extents) => chunk(request.cookie, Chunk::Status(&extents)),
            Err(error) => {
                log::warn!("NBD block status at {}: {error}", request.offset);
                self.failure(request, Errno::Io, &error.to_string())
            }
        }
    }

    /// At least one and at most `most` extents from `offset`, neighbours of one kind merged.
    fn extents(
        &self,
        mut offset: u64,
        mut left: u32,
        most: usize,
    ) -> Result<Vec<(u32, bool)>, Error> {
        let mut extents: Vec<(u32, bool)> = Vec::new();
        while left > 0 {
            let extent = self.export.source.extent(offset, u64::from(left))?;
            let bytes = u32::try_from(extent.bytes.clamp(1, u64::from(left))).unwrap_or(left);
            let full = extents.len() == most;
            match extents.last_mut() {
                Some((length, zero)) if *zero == extent.zero => *length += bytes,
                _ if full => break,
                _ => extents.push((bytes, extent.zero)),
            }
            offset += u64::from(bytes);
            left -= bytes;
        }
        Ok(extents)
    }

    async fn send(&self, reply: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        for piece in reply.chunks(PIECE_BYTES) {
            within(STALL, writer.write_all(piece)).await?;
        }
        within(STALL, writer.flush()).await
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // The first word decides for nearly all data; the rest goes at the speed of memory.
    bytes.first() == Some(&0)
        && bytes.chunks(4096).all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}
