//! What routers of IPv6 say of name servers: the options RDNSS and DNSSL of RFC 8106. Reading takes any bytes.
//!
//! Addresses and routes out of the same messages are the system's business.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::dhcp4::lease::are_domains;
use super::dhcp4::message::read_domains;

const OPTION_SERVERS: u8 = 25;
const OPTION_DOMAINS: u8 = 31;
/// More servers or domains than this are nobody's.
const ENTRIES_MAX: usize = 16;

/// One thing that a router says of names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Advice {
    /// These servers answer questions.
    Servers {
        /// Their addresses.
        servers: Vec<Ipv6Addr>,
        /// For how long that holds; 0 takes it back.
        seconds: u32,
    },
    /// Short names are searched for in these domains.
    Domains {
        /// The domains.
        domains: Vec<String>,
        /// For how long that holds; 0 takes it back.
        seconds: u32,
    },
}

impl Advice {
    /// Whether a router could have said this: so it is for whatever was read of a message.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Servers { servers, .. } => {
                servers.len() <= ENTRIES_MAX && servers.iter().all(is_server)
            }
            Self::Domains { domains, .. } => are_domains(domains),
        }
    }
}

/// Reads the options of a router's message, one after the other; what is no sound option about names is passed over.
pub fn read_advice(mut options: &[u8]) -> Vec<Advice> {
    let mut advice = Vec::new();
    while let [kind, eighths, ..] = *options {
        let bytes = usize::from(eighths) * 8;
        let Some((option, rest)) = options.split_at_checked(bytes).filter(|_| bytes > 0) else {
            break;
        };
        options = rest;
        let Some((head, body)) = option.split_first_chunk::<8>() else { continue };
        let seconds = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        match kind {
            OPTION_SERVERS => {
                let addresses = body.as_chunks::<16>().0.iter().copied().map(Ipv6Addr::from);
                let servers: Vec<Ipv6Addr> =
                    addresses.filter(is_server).take(ENTRIES_MAX).collect();
                if !servers.is_empty() {
                    advice.push(Advice::Servers { servers, seconds });
                }
            }
            OPTION_DOMAINS => {
                let domains: Vec<String> =
                    read_domains(body).into_iter().take(ENTRIES_MAX).collect();
                if !domains.is_empty() {
                    advice.push(Advice::Domains { domains, seconds });
                }
            }
            _ => {}
        }
    }
    advice
}

fn is_server(address: &Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn options() -> Vec<u8> {
        let mut bytes = vec![25, 5, 0, 0, 0, 0, 7, 8];
        bytes.extend("fd00::53".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([5, 1, 0, 0, 0, 0, 5, 220]);
        bytes.extend([31, 3, 0, 0, 0, 0, 0, 9]);
        bytes.extend(b"\x04corp\x07example\x00\x00\x00");
        bytes
    }

    #[test]
    fn servers_and_domains_are_read() {
        let servers = vec!["fd00::53".parse().unwrap(), "fe80::1".parse().unwrap()];
        let domains = vec![String::from("corp.example")];
        assert_eq!(
            read_advice(&options()),
            [Advice::Servers { servers, seconds: 0x708 }, Advice::Domains { domains, seconds: 9 }]
        );
    }

    #[test]
    fn any_bytes_are_taken() {
        let good = options();
        for length in 0..good.len() {
            assert!(read_advice(&good[..length]).len() <= 2);
        }
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut bad = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 33).unwrap() % bad.len();
                bad[at] = state.to_le_bytes()[2];
            }
            for advice in read_advice(&bad) {
                match advice {
                    Advice::Servers { servers, .. } => assert!(servers.iter().all(is_server)),
                    Advice::Domains { domains, .. } => {
                        assert!(domains.iter().all(|domain| !domain.is_empty()));
                    }
                }
            }
        }
        assert_eq!(read_advice(&[25, 0, 25, 0]), []);
    }
}
