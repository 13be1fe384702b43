//! A connection to a receiver of messages: with one deadline for all of it, in the clear or within TLS, lines of bounded length.
//!
//! A receiver that answers a byte a minute, or never ends its line, costs its own channel some seconds and a kilobyte.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use pipeline_azure::transport::names::Names;
use pipeline_azure::transport::tls::client_config_of;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// Longest wait for one address to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest line that is read.
const LINE_BYTES_MAX: usize = 1024;

/// What connections are made with.
pub(super) struct Ways<'a> {
    /// Names to addresses.
    pub(super) names: &'a Names,
    /// Who is trusted beside the usual authorities.
    pub(super) authorities: &'a [Vec<u8>],
    /// For all of a message.
    pub(super) patience: Duration,
}

/// A socket that knows when all must be over.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(ErrorKind::TimedOut, "it took too long"));
        }
        Ok(left)
    }
}

/// What the system says where a timeout of a socket has passed.
fn late(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock {
        return io::Error::new(ErrorKind::TimedOut, "it took too long");
    }
    error
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(into).map_err(late)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Socket {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
    /// While one becomes the other.
    None,
}

/// A connection.
pub(super) struct Wire {
    socket: Socket,
    /// What came and was not read yet.
    come: Vec<u8>,
    host: String,
}

impl Wire {
    /// Connects to the first address of the host that takes it.
    pub(super) fn connect(ways: &Ways<'_>, host: &str, port: u16) -> Result<Self, String> {
        let deadline = Instant::now() + ways.patience;
        let addresses = ways.names.look_up(host, CONNECT).map_err(|failure| failure.what)?;
        let mut last = format!("{host} has no address");
        for address in addresses {
            let address = SocketAddr::new(address, port);
            let patience = deadline.saturating_duration_since(Instant::now()).min(CONNECT);
            if patience.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    let socket = Socket::Plain(Timed { stream, deadline });
                    return Ok(Self { socket, come: Vec::new(), host: host.to_owned() });
                }
                Err(error) => last = format!("{address} takes no connection: {error}"),
            }
        }
        Err(last)
    }

    /// The same connection within TLS from now on.
    pub(super) fn into_tls(mut self, ways: &Ways<'_>) -> Result<Self, String> {
        if !self.come.is_empty() {
            // Said before anything was private: somebody on the way may have said it.
            return Err(format!("{} said more than it was asked before TLS began", self.host));
        }
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| format!("{} is no name that a certificate can carry", self.host))?;
        let config = client_config_of(ways.authorities)
            .map_err(|error| format!("TLS cannot begin: {error}"))?;
        let connection = ClientConnection::new(config, name)
            .map_err(|error| format!("TLS cannot begin: {error}"))?;
        let Socket::Plain(timed) = core::mem::replace(&mut self.socket, Socket::None) else {
            return Err("TLS has begun already".to_owned());
        };
        let mut stream = StreamOwned::new(connection, timed);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|error| format!("TLS with {} fails: {error}", self.host))?;
        }
        self.socket = Socket::Tls(Box::new(stream));
        Ok(self)
    }

    /// Whether it is private.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    /// Sends all of it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = match &mut self.socket {
            Socket::Plain(stream) => stream.write_all(bytes),
            Socket::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Socket::None => Err(ErrorKind::NotConnected.into()),
        };
        sent.map_err(|error| format!("{} takes no more: {error}", self.host))
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.socket {
            Socket::Plain(stream) => stream.read(into),
            Socket::Tls(stream) => stream.read(into),
            Socket::None => Ok(0),
        }
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.come.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.come.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.come.len() > LINE_BYTES_MAX {
                return Err(format!("{} answers a line that does not end", self.host));
            }
            let mut part = [0; LINE_BYTES_MAX];
            match self.read(&mut part) {
                Ok(0) => return Err(format!("{} ended the connection", self.host)),
                Ok(more) => self.come.extend_from_slice(&part[..more]),
                Err(error) => return Err(format!("{} does not answer: {error}", self.host)),
            }
        }
    }

    /// Says that no more comes and waits for the other side to have taken it: who ended the connection by force did not.
    pub(super) fn finish(mut self, wait: Duration) -> Result<(), String> {
        if let Socket::Tls(stream) = &mut self.socket {
            stream.conn.send_close_notify();
            // The other side may be gone; what comes below says so.
            let _ = stream.conn.complete_io(&mut stream.sock);
        }
        let timed = match &mut self.socket {
            Socket::Plain(stream) => stream,
            Socket::Tls(stream) => &mut stream.sock,
            Socket::None => return Ok(()),
        };
        timed.deadline = timed.deadline.min(Instant::now() + wait);
        let ended = timed.stream.shutdown(Shutdown::Write);
        let host = &self.host;
        ended.map_err(|error| format!("{host} ended the connection by force: {error}"))?;
        let mut part = [0; 256];
        loop {
            match timed.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // It takes its time to end: nothing says that it did not take what was sent.
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(()),
                Err(error) => return Err(format!("{host} ended the connection by force: {error}")),
            }
        }
    }
}
