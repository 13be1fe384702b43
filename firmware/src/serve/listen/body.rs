//! Bodies: a request's whole in memory and bounded, an answer's in pieces from where it lies.

use core::convert::Infallible;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::sync::Arc;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

/// So much of an answer is copied at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The whole of a request's body; `None` where it is larger, or ends early.
pub(super) async fn whole(incoming: Incoming, bytes_max: usize) -> Option<Vec<u8>> {
    let mut incoming = pin!(incoming);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| incoming.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            if data.len() > bytes_max - bytes.len() {
                return None;
            }
            bytes.extend_from_slice(&data);
        }
    }
    Some(bytes)
}

/// The body of an answer.
pub(super) struct Whole {
    bytes: Arc<Vec<u8>>,
    told: usize,
}

impl Whole {
    /// Of these bytes.
    pub(super) fn new(bytes: Arc<Vec<u8>>) -> Self {
        Self { bytes, told: 0 }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = self.bytes.get(self.told..).unwrap_or_default();
        let piece = Bytes::copy_from_slice(rest.get(..PIECE_BYTES).unwrap_or(rest));
        self.told += piece.len();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.told >= self.bytes.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.bytes.len() - self.told).unwrap_or(u64::MAX))
    }
}
