//! One TLS connection to an appliance: bytes both ways at once, without a thread for each way.
//!
//! The socket never blocks. Whoever owns a link feeds it parcels while it takes them, and waits for the socket or for its
//! waker. It refuses to know what is said.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use pipeline_wire::message::FromAppliance;
use pipeline_wire::tls::explain;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::decode::Decoder;
use crate::outbox::Parcel;

/// How long an address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// How long what was sent may stay unanswered by the other side's kernel before the connection counts as lost.
const UNANSWERED_MILLIS: u32 = 30_000;

/// How a link is made.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who we are and whom we believe.
    pub config: Arc<ClientConfig>,
    /// What the appliance's certificate must name.
    pub name: ServerName<'static>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    socket: TcpStream,
    tls: ClientConnection,
    decoder: Decoder,
    parcel: Option<(Arc<Parcel>, usize)>,
    /// What arrived and is for whoever reads next.
    early: Vec<FromAppliance>,
    /// When something arrived last.
    heard: Instant,
    round_trip: Duration,
}

impl Link {
    /// Dials, and shakes hands.
    pub(super) fn dial(address: SocketAddr, tls: &Tls) -> Result<Self, String> {
        let said = |error: io::Error| in_words(&error);
        let began = Instant::now();
        let mut socket = TcpStream::connect_timeout(&address, CONNECT).map_err(said)?;
        let round_trip = began.elapsed();
        socket.set_nodelay(true).map_err(said)?;
        rustix::net::sockopt::set_tcp_user_timeout(&socket, UNANSWERED_MILLIS)
            .map_err(|errno| said(errno.into()))?;
        socket.set_read_timeout(Some(CONNECT)).map_err(said)?;
        socket.set_write_timeout(Some(CONNECT)).map_err(said)?;
        let mut tls = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone())
            .map_err(|error| format!("TLS: {error}"))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(said)?;
        }
        socket.set_nonblocking(true).map_err(said)?;
        Ok(Self {
            socket,
            tls,
            decoder: Decoder::default(),
            parcel: None,
            early: Vec::new(),
            heard: Instant::now(),
            round_trip,
        })
    }

    /// How long the address took to answer.
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// How long nothing arrived.
    pub(super) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Whether another parcel may be given.
    pub(super) fn is_idle(&self) -> bool {
        self.parcel.is_none()
    }

    /// Gives back what was read and is for whoever reads next.
    pub(super) fn unread(&mut self, messages: Vec<FromAppliance>) {
        self.early = messages;
    }

    /// Gives a parcel, which `write` sends; only where the link is idle.
    pub(super) fn give(&mut self, parcel: Arc<Parcel>) {
        debug_assert!(self.is_idle(), "one parcel after another");
        self.parcel = Some((parcel, 0));
    }

    /// Sends as much as the socket takes now.
    pub(super) fn write(&mut self) -> Result<(), String> {
        loop {
            let mut moved = false;
            if let Some((parcel, at)) = &mut self.parcel {
                let left = match at.checked_sub(parcel.head.len()) {
                    None => parcel.head.get(*at..),
                    Some(at) => parcel.payload.get(at..),
                };
                let left = left.unwrap_or_default();
                let taken = self.tls.writer().write(left).map_err(|error| in_words(&error))?;
                *at += taken;
                moved = taken > 0;
                if *at == parcel.head.len() + parcel.payload.len() {
                    self.parcel = None;
                }
            }
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.socket) {
                    Ok(0) => return Err("the appliance closed the connection".to_owned()),
                    Ok(_) => moved = true,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(in_words(&error)),
                }
            }
            if !moved || self.parcel.is_none() {
                return Ok(());
            }
        }
    }

    /// Every message that arrived whole until now. What was said before the connection ended is given first.
    pub(super) fn read(&mut self) -> Result<Vec<FromAppliance>, String> {
        let mut messages = core::mem::take(&mut self.early);
        loop {
            match self.read_more(&mut messages) {
                Ok(true) => {}
                Ok(false) => return Ok(messages),
                // An end is met again by whoever reads again.
                Err(_) if !messages.is_empty() => return Ok(messages),
                Err(words) => return Err(words),
            }
        }
    }

    /// Whether the socket had something.
    fn read_more(&mut self, messages: &mut Vec<FromAppliance>) -> Result<bool, String> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => return Err("the appliance closed the connection".to_owned()),
            Ok(_) => self.heard = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(in_words(&error)),
        }
        self.tls.process_new_packets().map_err(|error| refused(&error))?;
        let mut plain = [0; 4096];
        loop {
            match self.tls.reader().read(&mut plain) {
                Ok(0) => return Err("the appliance ended the session".to_owned()),
                Ok(read) => {
                    let bytes = plain.get(..read).unwrap_or_default();
                    messages.extend(self.decoder.take(bytes)?);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(in_words(&error)),
            }
        }
    }

    /// Waits for the socket, for a waker, or for the time to be over.
    pub(super) fn wait(&self, waker: &UnixStream, limit: Duration) -> Result<(), String> {
        let mut socket = PollFlags::IN;
        if self.tls.wants_write() {
            socket |= PollFlags::OUT;
        }
        let mut waiting = [PollFd::new(&self.socket, socket), PollFd::new(waker, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        match poll(&mut waiting, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(in_words(&errno.into())),
        }
        let mut rung = [0; 64];
        // Nothing to read is what mostly happens; nothing else can go wrong with a pair of our own.
        let _ = (&mut &*waker).read(&mut rung);
        Ok(())
    }

    /// Says at the end that this is the end, as TLS wants it.
    pub(super) fn close(mut self) {
        self.tls.send_close_notify();
        // The other side may be gone already: then there is nobody to tell.
        let _ = self.tls.write_tls(&mut self.socket);
    }
}

/// What TLS says, for people.
fn refused(error: &rustls::Error) -> String {
    let (words, remedy) = explain(error);
    format!("{words}: {remedy}")
}

/// What went wrong with the network, for people.
fn in_words(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return refused(error);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens there: is the appliance running, and is this its address?".to_owned()
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            "no answer: is the appliance on, and does every firewall between let TCP through?"
                .to_owned()
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            "the connection was cut".to_owned()
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            "there is no way there: check this server's addresses and routes".to_owned()
        }
        _ => error.to_string(),
    }
}
