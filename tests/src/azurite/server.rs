//! An HTTP server of a few dozen lines, for peers that misbehave on purpose. One thread per connection.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

/// Longest that a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Largest request body that is taken.
const BODY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The head, byte for byte.
    pub head: Vec<u8>,
}

impl Incoming {
    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }
}

/// What a server does with one connection.
pub trait Handler: Send + Sync + 'static {
    /// Serves the connection until it is done with it.
    fn serve(&self, stream: TcpStream) -> io::Result<()>;
}

/// A handler that answers each request with bytes.
pub struct Answers<F>(
    /// The whole answer, head and body, to a request.
    pub F,
);

impl<F: Fn(&Incoming) -> Vec<u8> + Send + Sync + 'static> Handler for Answers<F> {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            writer.write_all(&(self.0)(&request))?;
        }
        Ok(())
    }
}

/// Hands connections on to a port of loopback, byte for byte.
#[derive(Clone, Copy, Debug)]
pub struct Relay(
    /// Which.
    pub u16,
);

impl Handler for Relay {
    fn serve(&self, near: TcpStream) -> io::Result<()> {
        let far = TcpStream::connect(("127.0.0.1", self.0))?;
        let (mut near_in, mut far_out) = (near.try_clone()?, far.try_clone()?);
        let out = thread::spawn(move || {
            // How a connection ends is its two ends' business.
            let _ = io::copy(&mut near_in, &mut far_out);
            far_out.shutdown(Shutdown::Write)
        });
        let (mut far_in, mut near_out) = (far, near);
        let _ = io::copy(&mut far_in, &mut near_out);
        near_out.shutdown(Shutdown::Both)?;
        drop(out.join());
        Ok(())
    }
}

/// A server on loopback; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it on a free port.
    pub fn start(handler: impl Handler) -> io::Result<Self> {
        Self::start_at(0, handler)
    }

    /// Starts it at this port, where somebody looks for it already.
    pub fn start_at(port: u16, handler: impl Handler) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let handler = Arc::new(handler);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let handler = Arc::clone(&handler);
                thread::spawn(move || {
                    let limited = stream
                        .set_read_timeout(Some(SILENCE))
                        .and_then(|()| stream.set_nodelay(true));
                    // How a connection ends is the business of who tests it.
                    drop(limited.and_then(|()| handler.serve(stream)));
                });
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of its root, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accepting thread, which then sees that it has to stop.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// An answer with a length, ready to send.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Test\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one request; `None` when the connection ended before it.
pub fn read_request<R: io::Read>(reader: &mut BufReader<R>) -> io::Result<Option<Incoming>> {
    let head = read_head(reader)?;
    if head.is_empty() {
        return Ok(None);
    }
    let (first, headers) = parse_head(&head)?;
    let mut words = first.split(' ');
    let mut request = Incoming {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
        head,
    };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.unwrap_or(0);
    if length > BODY_BYTES_MAX {
        return Err(io::Error::other("the body is too large for a test"));
    }
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// Everything up to and with the empty line; empty at the end of the connection.
pub fn read_head<R: io::Read>(reader: &mut BufReader<R>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let read = reader.read_until(b'\n', &mut head)?;
        if read == 0 {
            return if head.is_empty() {
                Ok(head)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if matches!(&head[before..], b"\r\n" | b"\n") {
            return Ok(head);
        }
    }
}

/// Names of headers in lower case, and their values.
pub type Headers = Vec<(String, String)>;

/// First line and headers.
pub fn parse_head(head: &[u8]) -> io::Result<(String, Headers)> {
    let text = core::str::from_utf8(head).map_err(|_| io::Error::other("the head is no text"))?;
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((first, headers))
}
