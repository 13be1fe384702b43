//! A connection whose client takes what it is told, or is let go: who reads nothing, or a byte now and then, holds memory that
//! others want.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_io::Timer;
use smol::io::{AsyncRead, AsyncWrite};

/// A client that is being waited for takes at least so much in so long.
const WINDOW: Duration = Duration::from_secs(20);
const WINDOW_BYTES_MIN: usize = 16 * 1024;
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Both ways of a connection, with an eye on how fast its client reads.
pub(super) struct Paced<S> {
    inner: S,
    pace: Pace,
}

/// How fast a client reads.
#[derive(Clone, Default)]
pub(super) struct Pace(Arc<Mutex<Option<Window>>>);

/// It is being waited for.
struct Window {
    since: Instant,
    taken: usize,
}

impl Pace {
    /// Ends when the client is too slow.
    pub(super) async fn too_slow(&self) -> io::Error {
        loop {
            Timer::after(LOOK).await;
            if self.judge(Instant::now()) {
                return io::Error::new(io::ErrorKind::TimedOut, "does not read what it is told");
            }
        }
    }

    /// Whether it was waited for too long by now. A window that it filled is followed by another.
    fn judge(&self, now: Instant) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = window.as_mut() else { return false };
        if now.saturating_duration_since(open.since) < WINDOW {
            return false;
        }
        let slow = open.taken < WINDOW_BYTES_MIN;
        *open = Window { since: now, taken: 0 };
        slow
    }

    fn waits(&self) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.get_or_insert_with(|| Window { since: Instant::now(), taken: 0 });
    }

    fn took(&self, bytes: usize) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = window.as_mut() {
            window.taken = window.taken.saturating_add(bytes);
        }
    }

    fn took_all(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<S> Paced<S> {
    /// A connection with an eye on it.
    pub(super) fn new(inner: S, pace: &Pace) -> Self {
        Self { inner, pace: pace.clone() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        match &written {
            Poll::Pending => self.pace.waits(),
            Poll::Ready(Ok(written)) => self.pace.took(*written),
            Poll::Ready(Err(_)) => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        match &flushed {
            Poll::Pending => self.pace.waits(),
            Poll::Ready(_) => self.pace.took_all(),
        }
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_close(context);
        if closed.is_pending() {
            self.pace.waits();
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_enough_is_let_be_and_who_does_not_is_not() {
        let pace = Pace::default();
        let begin = Instant::now();
        let after = |windows: u32| begin + WINDOW * windows + LOOK * windows;
        assert!(!pace.judge(after(1)), "nobody is waited for");
        pace.waits();
        pace.took(WINDOW_BYTES_MIN);
        assert!(!pace.judge(begin));
        assert!(!pace.judge(after(1)), "it took enough");
        pace.took(WINDOW_BYTES_MIN - 1);
        assert!(pace.judge(after(2)), "then a byte less");
        pace.waits();
        pace.took_all();
        assert!(!pace.judge(after(4)));
    }
}
