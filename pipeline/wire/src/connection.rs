//! Messages over whatever carries bytes: two halves, or one stream for both ways.
//!
//! A payload is written from where it lies and read to where it stays. Silence is told: a stream whose reads time out
//! gives `None`, nothing of a half-read frame is lost, and too many silences in a row end the connection.

use core::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use crate::frame::{self, BODY_BYTES_MAX, FrameError, HEAD_BYTES, Head};
use crate::message::{FromAgent, FromAppliance, Hello, Refused, Said, Welcome};
use crate::tls;

/// How often each side says something, seconds: `Status` by the agent, `Credit` (of 0 bytes if need be) by the appliance.
pub const HEARTBEAT_SECONDS: u64 = 10;
/// After so long without a byte the other side is taken for dead, seconds.
pub const SILENCE_SECONDS: u64 = 30;

/// Why a connection is of no more use.
#[derive(Debug)]
#[non_exhaustive]
pub enum Broken {
    /// The other side closed it.
    Closed,
    /// The other side said nothing for too long.
    Silent,
    /// What it said is no message, or has another payload than it says.
    Frame(FrameError),
    /// TLS failed: [`tls::explain`] says what that means.
    Tls(rustls::Error),
    /// The network.
    Network(io::Error),
}

impl Broken {
    /// What to do now.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Tls(error) => tls::explain(error).1,
            Self::Frame(_) => {
                "update the older of agent and appliance; the connection is tried again by itself"
            }
            Self::Closed | Self::Silent | Self::Network(_) => "it is tried again by itself",
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other side closed the connection"),
            Self::Silent => f.write_str("the other side says nothing any more"),
            Self::Frame(error) => error.fmt(f),
            Self::Tls(error) => f.write_str(&tls::explain(error).0),
            Self::Network(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl core::error::Error for Broken {}

impl From<FrameError> for Broken {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return Self::Tls(rustls::Error::clone(error));
        }
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => Self::Closed,
            _ => Self::Network(error),
        }
    }
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<M> {
    /// What was said.
    pub message: M,
    /// Bytes of payload that follow: what the message says, and to be taken by [`Receiver::payload`].
    pub payload: usize,
}

/// The half that says.
#[derive(Debug)]
pub struct Sender<W> {
    stream: W,
}

impl<W: Write> Sender<W> {
    /// Says things over `stream`.
    pub fn new(stream: W) -> Self {
        Self { stream }
    }

    /// Says a message that has no payload.
    ///
    /// Errors: the connection; then it is of no more use.
    pub fn send<M: Said>(&mut self, message: &M) -> Result<(), Broken> {
        self.send_with(message, &[])
    }

    /// Says a message with its payload, which may lie in several places. All of it is handed over at once, so that a
    /// message and its payload share packets; nothing is copied here.
    ///
    /// Errors: a payload that is not what the message says; the connection, which then is of no more use.
    pub fn send_with<M: Said>(&mut self, message: &M, payload: &[&[u8]]) -> Result<(), Broken> {
        let bytes = payload.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        if !message.fits(bytes) {
            return Err(FrameError::Payload.into());
        }
        let head = frame::emit(message, bytes)?;
        let parts = core::iter::once(head.as_slice()).chain(payload.iter().copied());
        let mut slices: Vec<IoSlice<'_>> = parts.map(IoSlice::new).collect();
        write_all(&mut self.stream, &mut slices)?;
        Ok(self.stream.flush()?)
    }

    /// What it says things over.
    pub fn stream(&mut self) -> &mut W {
        &mut self.stream
    }
}

fn write_all(stream: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Slices of nothing would look like a stream that takes nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match stream.write_vectored(slices) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The half that listens.
#[derive(Debug)]
pub struct Receiver<R> {
    stream: R,
    head: [u8; HEAD_BYTES],
    body: Vec<u8>,
    known: Option<Head>,
    filled: usize,
    payload: usize,
    silences: u32,
    silences_max: u32,
}

impl<R: Read> Receiver<R> {
    /// Listens to `stream`, which is taken for dead after so many reads in a row that timed out. A stream whose reads
    /// never time out is waited for.
    pub fn new(stream: R, silences_max: u32) -> Self {
        let body = vec![0; BODY_BYTES_MAX];
        let head = [0; HEAD_BYTES];
        Self { stream, head, body, known: None, filled: 0, payload: 0, silences: 0, silences_max }
    }

    /// The next message; `None` where a read timed out before it was whole. Payload of the message before it that
    /// nobody took is passed over.
    ///
    /// Errors: the connection; then it is of no more use.
    pub fn receive<M: Said>(&mut self) -> Result<Option<Received<M>>, Broken> {
        while self.payload > 0 {
            let place = self.payload.min(self.body.len());
            match self.read(Place::Passed(place))? {
                Some(read) => self.payload -= read,
                None => return Ok(None),
            }
        }
        let head = match self.known {
            Some(head) => head,
            None => {
                if !self.fill(HEAD_BYTES)? {
                    return Ok(None);
                }
                let head = frame::head(self.head)?;
                self.filled = 0;
                *self.known.insert(head)
            }
        };
        if !self.fill(head.body)? {
            return Ok(None);
        }
        let body = self.body.get(..head.body).ok_or(FrameError::Length)?;
        let message: M = frame::message(body)?;
        if !message.fits(head.payload) {
            return Err(FrameError::Payload.into());
        }
        (self.known, self.filled, self.payload) = (None, 0, head.payload);
        Ok(Some(Received { message, payload: head.payload }))
    }

    /// Fills `into` with the next bytes of the payload, straight from the stream. It may be taken in parts.
    ///
    /// Errors: more than is left of it; the connection, which then is of no more use.
    pub fn payload(&mut self, into: &mut [u8]) -> Result<(), Broken> {
        let mut rest = into;
        self.payload = self.payload.checked_sub(rest.len()).ok_or(FrameError::Payload)?;
        while !rest.is_empty() {
            if let Some(read) = self.read(Place::Given(rest))? {
                rest = rest.get_mut(read..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// What it listens to.
    pub fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// Whether head or body, whichever is being read, has `wanted` bytes by now.
    fn fill(&mut self, wanted: usize) -> Result<bool, Broken> {
        while self.filled < wanted {
            match self.read(Place::Own(wanted))? {
                Some(read) => self.filled += read,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// One read; `None` for one that timed out.
    fn read(&mut self, place: Place<'_>) -> Result<Option<usize>, Broken> {
        let into = match place {
            Place::Given(into) => into,
            Place::Passed(length) => self.body.get_mut(..length).unwrap_or_default(),
            Place::Own(end) if self.known.is_some() => {
                self.body.get_mut(self.filled..end).unwrap_or_default()
            }
            Place::Own(end) => self.head.get_mut(self.filled..end).unwrap_or_default(),
        };
        let read = loop {
            match self.stream.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match read {
            Ok(0) => Err(Broken::Closed),
            Ok(read) => {
                self.silences = 0;
                Ok(Some(read))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.silences = self.silences.saturating_add(1);
                if self.silences >= self.silences_max { Err(Broken::Silent) } else { Ok(None) }
            }
            Err(error) => Err(error.into()),
        }
    }
}

enum Place<'a> {
    /// Where the caller says.
    Given(&'a mut [u8]),
    /// So many bytes that nobody wants.
    Passed(usize),
    /// Up to here of the head or the body.
    Own(usize),
}

/// One stream for both ways, for whoever needs no two threads.
#[derive(Debug)]
pub struct Connection<S> {
    receiver: Receiver<S>,
}

impl<S: Read + Write> Connection<S> {
    /// Speaks over `stream`; see [`Receiver::new`].
    pub fn new(stream: S, silences_max: u32) -> Self {
        Self { receiver: Receiver::new(stream, silences_max) }
    }

    /// See [`Sender::send`].
    ///
    /// Errors: as there.
    pub fn send<M: Said>(&mut self, message: &M) -> Result<(), Broken> {
        self.send_with(message, &[])
    }

    /// See [`Sender::send_with`].
    ///
    /// Errors: as there.
    pub fn send_with<M: Said>(&mut self, message: &M, payload: &[&[u8]]) -> Result<(), Broken> {
        Sender::new(&mut self.receiver.stream).send_with(message, payload)
    }

    /// See [`Receiver::receive`].
    ///
    /// Errors: as there.
    pub fn receive<M: Said>(&mut self) -> Result<Option<Received<M>>, Broken> {
        self.receiver.receive()
    }

    /// See [`Receiver::payload`].
    ///
    /// Errors: as there.
    pub fn payload(&mut self, into: &mut [u8]) -> Result<(), Broken> {
        self.receiver.payload(into)
    }

    /// What it speaks over.
    pub fn stream(&mut self) -> &mut S {
        &mut self.receiver.stream
    }
}

/// What an appliance answers to `Hello`.
#[derive(Clone, Debug, PartialEq)]
pub enum Greeting {
    /// The agent may go on.
    Welcome(Box<Welcome>),
    /// It may not.
    Refused(Refused),
}

/// Says `Hello` and waits for the answer. An appliance that refuses the certificate says so after TLS's handshake, which
/// may be seen as a failed write first: what it said is read all the same.
///
/// Errors: the connection; an answer that is none.
pub fn greet<S: Read + Write>(
    connection: &mut Connection<S>,
    hello: Hello,
) -> Result<Greeting, Broken> {
    let sent = connection.send(&FromAgent::Hello(Box::new(hello)));
    loop {
        let said = match connection.receive::<FromAppliance>() {
            Ok(Some(received)) => received.message,
            Ok(None) => continue,
            Err(Broken::Closed) => return Err(sent.err().unwrap_or(Broken::Closed)),
            Err(error) => return Err(error),
        };
        return match said {
            FromAppliance::Welcome(welcome) => Ok(Greeting::Welcome(welcome)),
            FromAppliance::Refused(refused) => Ok(Greeting::Refused(refused)),
            _ => Err(FrameError::Body.into()),
        };
    }
}

#[cfg(test)]
mod tests;
