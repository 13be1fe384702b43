//! A stream that is read in large pieces. TLS asks for 4 KiB at a time, and each time would be a call of the system.
//!
//! A piece is held of a stream that has something to say, and of none that is silent: there may be many of those.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use smol::io::{AsyncRead, AsyncWrite};

/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that are kept to be used again: fresh memory costs more than what is done with it.
const SPARE_MAX: usize = 4;

/// Pieces that nobody uses now.
#[derive(Clone, Debug, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    fn piece(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; PIECE_BYTES])
    }

    fn give_back(&self, piece: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !piece.is_empty() && kept.len() < SPARE_MAX {
            kept.push(piece);
        }
    }
}

/// A stream, and what was read of it before anybody asked.
#[derive(Debug)]
pub(super) struct Pieces<S> {
    stream: S,
    spare: Spare,
    /// Empty where nothing is held.
    piece: Vec<u8>,
    /// Given out, and read.
    at: usize,
    filled: usize,
}

impl<S> Pieces<S> {
    /// Reads `stream` into pieces of these.
    pub(super) fn new(stream: S, spare: &Spare) -> Self {
        Self { stream, spare: spare.clone(), piece: Vec::new(), at: 0, filled: 0 }
    }

    fn give_back(&mut self) {
        self.spare.give_back(core::mem::take(&mut self.piece));
    }
}

impl<S> Drop for Pieces<S> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.at >= this.filled {
            if this.piece.is_empty() {
                this.piece = this.spare.piece();
            }
            let polled = Pin::new(&mut this.stream).poll_read(context, &mut this.piece);
            (this.at, this.filled) = (0, 0);
            match polled {
                Poll::Ready(Ok(read)) if read > 0 => this.filled = read,
                // Silent, ended or broken.
                other => {
                    this.give_back();
                    return other;
                }
            }
        }
        let held = this.piece.get(this.at..this.filled).unwrap_or_default();
        let length = held.len().min(into.len());
        let (Some(from), Some(room)) = (held.get(..length), into.get_mut(..length)) else {
            return Poll::Ready(Ok(0));
        };
        room.copy_from_slice(from);
        this.at += length;
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pieces<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_close(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use smol::io::AsyncReadExt as _;

    use super::*;

    /// Says so many bytes at a time, and is silent at 0. How often it was asked.
    struct Said(VecDeque<usize>, usize);

    impl AsyncRead for Said {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.1 += 1;
            let said = self.0.pop_front().unwrap_or(0);
            if said == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let read = said.min(into.len());
            into[..read].fill(u8::try_from(self.1).unwrap());
            Poll::Ready(Ok(read))
        }
    }

    #[test]
    fn many_small_questions_are_one_read_and_who_is_silent_holds_nothing() {
        let spare = Spare::default();
        let mut pieces = Pieces::new(Said(VecDeque::from([PIECE_BYTES, 0, 5]), 0), &spare);
        let mut got = vec![0; PIECE_BYTES + 5];
        let (whole, behind) = got.split_at_mut(PIECE_BYTES);
        smol::block_on(async {
            for part in whole.chunks_mut(4096) {
                pieces.read_exact(part).await.unwrap();
            }
            assert_eq!(pieces.stream.1, 1, "one read for all of them");
            let silent = smol::future::poll_once(pieces.read(behind)).await;
            assert!(silent.is_none() && pieces.piece.is_empty(), "it holds nothing");
            assert_eq!(spare.0.lock().unwrap().len(), 1, "the next one has it");
            pieces.read_exact(behind).await.unwrap();
        });
        assert_eq!(got[..PIECE_BYTES], vec![1; PIECE_BYTES]);
        assert_eq!(got[PIECE_BYTES..], [3; 5]);
    }
}
