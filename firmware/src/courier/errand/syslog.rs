//! A message as a record of RFC 5424: by datagram, or by a connection with octets counted (RFC 6587), within TLS (RFC 5425).

use core::net::SocketAddr;
use core::time::Duration;

use firmware_web::api::views::alerts::SyslogBy;

use super::super::apart::datagrams;
use super::wire::{Ways, Wire};

/// How long a receiver has to say that it did not take it, by ending the connection by force.
const FINISH: Duration = Duration::from_secs(2);

pub(super) fn send(
    ways: &Ways<'_>,
    host: &str,
    port: u16,
    by: SyslogBy,
    record: &[u8],
) -> Result<String, String> {
    if by == SyslogBy::Udp {
        return datagram(ways, host, port, record);
    }
    let mut wire = Wire::connect(ways, host, port)?;
    if by == SyslogBy::Tls {
        wire = wire.into_tls(ways)?;
    }
    let mut framed = format!("{} ", record.len()).into_bytes();
    framed.extend_from_slice(record);
    wire.send(&framed)?;
    wire.finish(FINISH)?;
    Ok(format!("{host}:{port} was sent it, and did not refuse"))
}

fn datagram(ways: &Ways<'_>, host: &str, port: u16, record: &[u8]) -> Result<String, String> {
    let addresses = ways.names.look_up(host, ways.patience).map_err(|failure| failure.what)?;
    let mut last = format!("{host} has no address");
    for address in addresses {
        let sent = datagrams(SocketAddr::new(address, port)).and_then(|socket| {
            socket.send(record)?;
            // Where nobody listens, the machine there says so at once, and the next call tells.
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            match socket.recv(&mut [0; 16]) {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(error),
                _ => Ok(()),
            }
        });
        match sent {
            Ok(()) => {
                return Ok(format!(
                    "it was sent to {host}:{port}; UDP does not tell whether it came"
                ));
            }
            Err(error) => last = format!("{address}:{port} takes no datagram: {error}"),
        }
    }
    Err(last)
}
