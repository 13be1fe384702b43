//! One TLS connection that one thread reads and another writes.
//!
//! Neither waits for the network while it holds the session: a reader at rest never keeps a writer from writing, and a
//! writer that waits for a slow network never keeps the reader from hearing why.

use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{ClientConnection, Connection, ServerConnection};

/// Ciphertext read at once.
const READ_BYTES: usize = 64 * 1024;

/// The half that reads.
#[derive(Debug)]
pub struct Reader<S> {
    shared: Arc<Shared<S>>,
    sealed: Vec<u8>,
    begin: usize,
    end: usize,
    ended: bool,
}

/// The half that writes.
#[derive(Debug)]
pub struct Writer<S> {
    shared: Arc<Shared<S>>,
    sealed: Vec<u8>,
    is_broken: bool,
}

#[derive(Debug)]
struct Shared<S> {
    session: Mutex<Connection>,
    socket: S,
}

impl<S> Shared<S> {
    fn session(&self) -> MutexGuard<'_, Connection> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does the handshake over a connected socket and parts the connection: the agent's side. The socket's timeouts hold.
///
/// Errors: the network, and TLS's as the source of an `InvalidData`.
pub fn dial<S>(session: ClientConnection, socket: S) -> io::Result<(Reader<S>, Writer<S>)>
where
    for<'a> &'a S: Read + Write,
{
    part(Connection::Client(session), socket)
}

/// The same for whoever was dialled.
///
/// Errors: as [`dial`].
pub fn answer<S>(session: ServerConnection, socket: S) -> io::Result<(Reader<S>, Writer<S>)>
where
    for<'a> &'a S: Read + Write,
{
    part(Connection::Server(session), socket)
}

fn part<S>(mut session: Connection, socket: S) -> io::Result<(Reader<S>, Writer<S>)>
where
    for<'a> &'a S: Read + Write,
{
    while session.is_handshaking() {
        session.complete_io(&mut &socket)?;
    }
    // What the handshake left to be said: a client's last flight.
    while session.wants_write() {
        session.write_tls(&mut &socket)?;
    }
    let shared = Arc::new(Shared { session: Mutex::new(session), socket });
    let reader = Reader {
        shared: Arc::clone(&shared),
        sealed: vec![0; READ_BYTES],
        begin: 0,
        end: 0,
        ended: false,
    };
    Ok((reader, Writer { shared, sealed: Vec::new(), is_broken: false }))
}

impl<S> Reader<S> {
    /// Sees the session: who the peer is, what was agreed on.
    pub fn session<T>(&self, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.shared.session())
    }
}

impl<S> Read for Reader<S>
where
    for<'a> &'a S: Read,
{
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.shared.session().reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.begin == self.end && !self.ended {
                self.end = (&self.shared.socket).read(&mut self.sealed)?;
                (self.begin, self.ended) = (0, self.end == 0);
            }
            let mut session = self.shared.session();
            let mut sealed = self.sealed.get(self.begin..self.end).unwrap_or_default();
            // Everything was read out above, so that there is room. At the end this tells it that there is no more.
            self.begin += session.read_tls(&mut sealed)?;
            let heard = session.process_new_packets();
            heard.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

impl<S> Writer<S>
where
    for<'a> &'a S: Write,
{
    /// Tells the other side that nothing more will come.
    ///
    /// Errors: the network.
    pub fn close(&mut self) -> io::Result<()> {
        self.shared.session().send_close_notify();
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut session = self.shared.session();
        self.sealed.clear();
        while session.wants_write() {
            session.write_tls(&mut self.sealed)?;
        }
        drop(session);
        // After half a record nothing can be said any more.
        self.is_broken = true;
        (&self.shared.socket).write_all(&self.sealed)?;
        self.is_broken = false;
        Ok(())
    }
}

impl<S> Write for Writer<S>
where
    for<'a> &'a S: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.shared.session().writer().write_vectored(slices)?;
        self.pass_on()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

#[cfg(test)]
mod tests;
