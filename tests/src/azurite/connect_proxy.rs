//! A small HTTP proxy that connects (CONNECT) whoever knows its name and password, to loopback only.

use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::server::{Handler, Server, parse_head, read_head};

/// The proxy; it ends when this is dropped.
pub struct ConnectProxy {
    server: Server,
    targets: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Starts it; `basic` is base64 of `name:password`, empty for none.
    pub fn start(basic: &str) -> io::Result<Self> {
        let targets: Arc<Mutex<Vec<String>>> = Arc::default();
        let handler = Connect { basic: basic.to_owned(), targets: Arc::clone(&targets) };
        Ok(Self { server: Server::start(handler)?, targets })
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        self.server.address().to_string()
    }

    /// What it connected to, host and port as the client named them.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Connect {
    basic: String,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Handler for Connect {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let (first, headers) = parse_head(&read_head(&mut reader)?)?;
        let given = headers.iter().find(|(name, _)| name == "proxy-authorization");
        let wanted = format!("Basic {}", self.basic);
        if !self.basic.is_empty() && given.is_none_or(|(_, value)| *value != wanted) {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                Proxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n";
            return writer.write_all(refusal.as_bytes());
        }
        let Some(target) = first.strip_prefix("CONNECT ").and_then(|it| it.split(' ').next())
        else {
            return writer.write_all(b"HTTP/1.1 405 Only CONNECT\r\nContent-Length: 0\r\n\r\n");
        };
        let port = target.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let Ok(far) = TcpStream::connect(("127.0.0.1", port.unwrap_or(443))) else {
            return writer.write_all(b"HTTP/1.1 502 Nobody There\r\nContent-Length: 0\r\n\r\n");
        };
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
        writer.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        stream.set_read_timeout(None)?;
        let (near_in, far_out) = (stream.try_clone()?, far.try_clone()?);
        let out = thread::spawn(move || pour(near_in, far_out));
        pour(far, stream);
        drop(out.join());
        Ok(())
    }
}

/// Moves bytes until one side ends, then tells the other.
fn pour(mut from: TcpStream, mut to: TcpStream) {
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}
