//! Where the server listens: `ADDRESS:PORT`, or `unix:PATH` for a socket in the file system.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use pipeline_vault::Error;
use smol::net::TcpListener;
use smol::net::unix::UnixListener;

use crate::interrupt::Scrap;
use crate::report::cannot_listen;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// IP address and port; port 0 takes any that is free.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("no path after unix:".to_owned()),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                "give ADDRESS:PORT such as 127.0.0.1:10809 or [::1]:10809, or unix:PATH".to_owned()
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Whether only this machine can connect.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The address as clients of NBD write it.
    #[must_use]
    pub fn uri(&self, export: &str) -> String {
        match self {
            Self::Tcp(address) => format!("nbd://{address}/{}", escape(export)),
            Self::Unix(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("nbd+unix:///{}?socket={}", escape(export), escape(&path.to_string_lossy()))
            }
        }
    }
}

/// Everything but the letters that mean themselves in any part of a URI, and slashes, as %XX.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// On an IP address.
    Tcp(TcpListener),
    /// In the file system; its file goes with it.
    Unix(UnixListener, Scrap),
}

impl Listener {
    /// Listens, and says where: the port that was free for port 0.
    pub async fn bind(address: &Address) -> Result<(Self, Address), Error> {
        let failed = |error: io::Error| cannot_listen(address, &error);
        match address {
            Address::Tcp(wanted) => {
                let listener = TcpListener::bind(*wanted).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                Ok((Self::Tcp(listener), Address::Tcp(bound)))
            }
            Address::Unix(path) => {
                remove_dead_socket(path);
                let listener = UnixListener::bind(path).map_err(failed)?;
                Ok((Self::Unix(listener, Scrap::new(path)), address.clone()))
            }
        }
    }
}

/// A server that was killed leaves its socket's file behind; one that nobody answers on is removed.
fn remove_dead_socket(path: &Path) {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket());
    if !is_socket {
        return;
    }
    let answer = std::os::unix::net::UnixStream::connect(path);
    if answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        && let Err(error) = std::fs::remove_file(path)
    {
        log::debug!("{}: the dead socket stays: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for text in ["127.0.0.1:10809", "[::1]:0", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "localhost", "127.0.0.1", ":10809", "unix:", "1.2.3.4:99999"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_and_sockets_are_local() {
        let local = |text: &str| text.parse::<Address>().unwrap().is_local();
        assert!(local("127.0.0.1:1") && local("[::1]:1") && local("unix:x"));
        assert!(!local("0.0.0.0:1") && !local("192.168.1.2:1"));
    }

    #[test]
    fn uris_are_as_clients_write_them() {
        let tcp: Address = "127.0.0.1:1".parse().unwrap();
        assert_eq!(tcp.uri("a?b c"), "nbd://127.0.0.1:1/a%3Fb%20c");
        let unix: Address = "unix:/run/x y".parse().unwrap();
        assert_eq!(unix.uri("sda"), "nbd+unix:///sda?socket=/run/x%20y");
    }
}
