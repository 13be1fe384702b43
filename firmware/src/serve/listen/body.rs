//! Bodies: a request's whole in memory and bounded, an answer's in pieces from where it lies or as it comes to be.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use smol::channel::{Receiver, Sender};
use smol::stream::Stream as _;

use super::{BODY, within};

/// So much of an answer is copied at once.
const PIECE_BYTES: usize = 64 * 1024;

/// So much of a body that is too large is heard and forgotten, so that its client hears the refusal: who is closed on while it still
/// sends hears nothing.
const HEARD_BYTES_MAX: usize = 1024 * 1024;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoBody {
    /// It is larger than it may be.
    Large,
    /// It ended early.
    Cut,
}

/// The whole of a request's body.
pub(super) async fn whole(incoming: Incoming, bytes_max: usize) -> Result<Vec<u8>, NoBody> {
    let mut is_large = incoming.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut incoming = pin!(incoming);
    let (mut bytes, mut heard) = (Vec::new(), 0_usize);
    while let Some(frame) = poll_fn(|context| incoming.as_mut().poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| NoBody::Cut)?.into_data() else { continue };
        heard = heard.saturating_add(data.len());
        is_large = is_large || heard > bytes_max;
        if is_large {
            bytes = Vec::new();
            if heard > bytes_max.saturating_add(HEARD_BYTES_MAX) {
                break;
            }
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    if is_large { Err(NoBody::Large) } else { Ok(bytes) }
}

/// A body that is read while it comes: what carries it, and what it is read from on another thread. Of one that is no
/// longer read the rest is heard and forgotten, so that its client hears why.
pub(super) fn pieces(incoming: Incoming, bytes_max: usize) -> (impl Future<Output = ()>, Comes) {
    let (sender, receiver) = smol::channel::bounded(1);
    let carry = async move {
        let mut incoming = pin!(incoming);
        let mut heard = 0_usize;
        let next = |it: &mut Pin<&mut Incoming>, context: &mut Context<'_>| {
            it.as_mut().poll_frame(context)
        };
        loop {
            let piece =
                within(BODY, async { Ok(poll_fn(|context| next(&mut incoming, context)).await) });
            let piece = match piece.await {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    Err(_) => continue,
                },
                Ok(Some(Err(_))) | Err(_) => Err(ErrorKind::ConnectionAborted.into()),
            };
            heard = heard.saturating_add(piece.as_ref().map_or(0, Bytes::len));
            let piece = if heard > bytes_max { Err(ErrorKind::FileTooLarge.into()) } else { piece };
            let is_over = piece.is_err();
            // Nobody reads any more: see above.
            let _ = sender.send(piece).await;
            if is_over {
                return;
            }
        }
    };
    (carry, Comes { receiver, held: Bytes::new() })
}

/// The end of [`pieces`] that is read.
pub(super) struct Comes {
    receiver: Receiver<io::Result<Bytes>>,
    held: Bytes,
}

impl io::Read for Comes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            match self.receiver.recv_blocking() {
                Ok(piece) => self.held = piece?,
                Err(_) => return Ok(0),
            }
        }
        let piece = self.held.split_to(into.len().min(self.held.len()));
        into.iter_mut().zip(piece.iter()).for_each(|(to, from)| *to = *from);
        Ok(piece.len())
    }
}

/// Where pieces of an answer come from. An error ends the connection, so that nobody takes a part for the whole.
pub(super) type Pieces = Sender<io::Result<Bytes>>;

/// The body of an answer.
pub(super) enum Told {
    /// Bytes that are there, and how many of them were told.
    Whole(Arc<Vec<u8>>, usize),
    /// What comes from behind the door.
    Relayed(Incoming),
    /// What somebody sends while it comes to be, and how many bytes that is, where it is known.
    Pieces(Pin<Box<Receiver<io::Result<Bytes>>>>, Option<u64>),
}

impl Told {
    /// Of these bytes.
    pub(super) fn new(bytes: Arc<Vec<u8>>) -> Self {
        Self::Whole(bytes, 0)
    }

    /// Of what is sent; `bytes` in all, where that is known.
    pub(super) fn pieces(bytes: Option<u64>) -> (Pieces, Self) {
        let (sender, receiver) = smol::channel::bounded(1);
        (sender, Self::Pieces(Box::pin(receiver), bytes))
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes, told) => {
                let rest = bytes.get(*told..).unwrap_or_default();
                let piece = Bytes::copy_from_slice(rest.get(..PIECE_BYTES).unwrap_or(rest));
                *told += piece.len();
                Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
            }
            Self::Relayed(incoming) => {
                let next = Pin::new(incoming).poll_frame(context);
                next.map(|next| next.map(|frame| frame.map_err(io::Error::other)))
            }
            Self::Pieces(receiver, _) => {
                let next = receiver.as_mut().poll_next(context);
                next.map(|next| next.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes, told) => *told >= bytes.len(),
            Self::Relayed(incoming) => incoming.is_end_stream(),
            Self::Pieces(_, bytes) => *bytes == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes, told) => {
                SizeHint::with_exact(u64::try_from(bytes.len() - told).unwrap_or(u64::MAX))
            }
            Self::Relayed(incoming) => incoming.size_hint(),
            Self::Pieces(_, Some(bytes)) => SizeHint::with_exact(*bytes),
            Self::Pieces(_, None) => SizeHint::default(),
        }
    }
}
