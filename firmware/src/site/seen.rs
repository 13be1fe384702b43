//! Machines on the network that speak SSH, for a person to pick from: what each says of itself before anything is asked.
//!
//! Nothing is sent to any of them, and nothing of what they say is kept. Their names are what the machine's DNS servers say.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Mutex;

use firmware_web::api::site::Answer;
use firmware_web::api::views::servers::SeenServer;

use super::refuse::{in_the_way, wrong};
use super::{LiveSite, Refusal, lock};
use crate::courier::errand::names_of;
use crate::report::printable;

/// Addresses of one look.
const ADDRESSES_MAX: u32 = 1024;
/// How many are spoken to at once.
const TOGETHER: u32 = 64;
const SSH: u16 = 22;
const PATIENCE: Duration = Duration::from_millis(800);
/// A name is nice to have.
const NAME_PATIENCE: Duration = Duration::from_millis(500);
/// RFC 4253: an identification is 255 bytes at most.
const BANNER_BYTES_MAX: usize = 255;
const STACK_BYTES: usize = 256 * 1024;
/// One look at a time: two would be twice as many strangers at the door.
static LOOKING: Mutex<()> = Mutex::new(());

/// An IPv4 network of at most 1024 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: u32,
    count: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let bad = |what: &str| wrong("/network", format!("network {text:?}"), what);
        let plain = text.trim();
        let (address, bits) = plain.split_once('/').unwrap_or((plain, "32"));
        let address: Ipv4Addr =
            address.parse().map_err(|_| bad("is no IPv4 network: write it like 192.0.2.0/24"))?;
        let plain = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u32 = bits
            .parse()
            .ok()
            .filter(|bits| plain && *bits <= 32)
            .ok_or_else(|| bad("has a length that is not from 0 to 32"))?;
        let count = 1_u64 << (32 - bits);
        let count = u32::try_from(count).ok().filter(|count| *count <= ADDRESSES_MAX);
        let count =
            count.ok_or_else(|| bad("has more than 1024 addresses: take /22 or a smaller one"))?;
        if address.is_multicast() || address.is_broadcast() || address.is_unspecified() {
            return Err(bad("has no machines"));
        }
        Ok(Self { first: u32::from(address) & !(count - 1), count })
    }

    fn address(self, place: u32) -> Option<Ipv4Addr> {
        (place < self.count).then(|| Ipv4Addr::from(self.first + place))
    }
}

impl LiveSite {
    pub(super) fn look_around(&self, network: &str) -> Answer<Vec<SeenServer>> {
        let network = Network::parse(network)?;
        let Ok(_one) = LOOKING.try_lock() else {
            let remedy = "wait until that has ended";
            return Err(in_the_way("the network", "is looked at already", remedy));
        };
        let told = self.told();
        let known = |address: Ipv4Addr| {
            let of =
                |told: &crate::ingest::measures::Told| told.address == Some(IpAddr::V4(address));
            told.iter().find(|(_, told)| of(told)).map(|(name, _)| name.clone())
        };
        let mut found = look(network, SSH);
        found.sort_unstable();
        let addresses: Vec<IpAddr> = found.iter().map(|(address, _)| (*address).into()).collect();
        let names = names_of(&addresses, NAME_PATIENCE);
        let seen = |((address, says), name): (Seen, Option<String>)| SeenServer {
            address: address.to_string(),
            name,
            says,
            server: known(address),
        };
        Ok(found.into_iter().zip(names).map(seen).collect())
    }
}

/// Where somebody is, and what it says.
type Seen = (Ipv4Addr, String);

/// Everybody who says that he speaks SSH.
fn look(network: Network, port: u16) -> Vec<Seen> {
    let (next, found) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER.min(network.count) {
            let work = || {
                while let Some(address) = network.address(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(says) = banner(address, port) {
                        lock(&found).push((address, says));
                    }
                }
            };
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            // Those that were started do the rest.
            if thread.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
    });
    found.into_inner().unwrap_or_default()
}

fn banner(address: Ipv4Addr, port: u16) -> Option<String> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let (mut bytes, mut filled) = ([0; BANNER_BYTES_MAX], 0);
    let began = std::time::Instant::now();
    while filled < bytes.len()
        && !bytes[..filled].contains(&b'\n')
        && began.elapsed() < 2 * PATIENCE
    {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => filled += more,
        }
    }
    let text = String::from_utf8_lossy(&bytes[..filled]);
    let line = text.lines().next().unwrap_or_default();
    line.starts_with("SSH-").then(|| printable(line.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_small_networks_are_looked_at() {
        let ok =
            |text: &str| Network::parse(text).map(|network| (network.address(0), network.count));
        let address = |a, b, c, d| Some(Ipv4Addr::new(a, b, c, d));
        assert_eq!(ok("192.0.2.77/24"), Ok((address(192, 0, 2, 0), 256)));
        assert_eq!(ok(" 10.1.2.3 "), Ok((address(10, 1, 2, 3), 1)));
        assert_eq!(ok("10.1.7.3/22"), Ok((address(10, 1, 4, 0), 1024)));
        for bad in [
            "",
            "x",
            "10.0.0.0/21",
            "10.0.0.0/0",
            "10.0.0.0/33",
            "10.0.0.0/+24",
            "::1/128",
            "224.0.0.1",
            "0.0.0.0/32",
            "10.0.0.0/",
        ] {
            let refusal = Network::parse(bad).unwrap_err();
            assert_eq!(
                (refusal.status, refusal.field.as_deref()),
                (422, Some("/network")),
                "{bad}"
            );
        }
    }

    #[test]
    fn who_speaks_ssh_is_seen_and_others_and_silent_ones_are_not() {
        let says: [&[u8]; 4] =
            [b"SSH-2.0-OpenSSH_9.2 \x1b[2J\r\nmore", b"220 mail\r\n", b"", b"SSH"];
        let first = TcpListener::bind("127.0.7.4:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let bound = |place: u8| TcpListener::bind((Ipv4Addr::new(127, 0, 7, place), port)).unwrap();
        let listeners = [first, bound(5), bound(6), bound(7)];
        let servers = listeners.map(|listener| {
            std::thread::spawn(move || listener.accept().map(|(stream, _)| stream).unwrap())
        });
        let speaks = std::thread::spawn(move || {
            for (server, says) in servers.into_iter().zip(says) {
                server.join().unwrap().write_all(says).unwrap();
            }
        });
        let found = look(Network::parse("127.0.7.0/28").unwrap(), port);
        speaks.join().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, Ipv4Addr::new(127, 0, 7, 4));
        assert!(found[0].1.starts_with("SSH-2.0-OpenSSH_9.2") && !found[0].1.contains('\x1b'));
    }
}
