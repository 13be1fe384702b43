//! How often strangers may try: so many wrong tokens a minute from one address.
//!
//! A secret of 128 bits is never guessed; this keeps the log short and the processor free. Who has a good token is held up
//! only by others behind the same address, and for a minute at most.

use core::net::{IpAddr, Ipv6Addr};

const WINDOW_NANOS: u64 = 60_000_000_000;
const FAILURES_MAX: u32 = 10;
/// Addresses that are remembered; the oldest makes room.
const ADDRESSES_MAX: usize = 256;

/// Who failed lately.
#[derive(Debug, Default)]
pub(super) struct Tries(Vec<(IpAddr, u64, u32)>);

impl Tries {
    /// Whether this address may try, at a time of the clock that only runs forwards.
    pub(super) fn may(&self, address: IpAddr, now: u64) -> bool {
        let address = network(address);
        let fresh = |begun: u64| now.saturating_sub(begun) < WINDOW_NANOS;
        !self.0.iter().any(|(who, begun, failures)| {
            *who == address && fresh(*begun) && *failures >= FAILURES_MAX
        })
    }

    /// It failed.
    pub(super) fn failed(&mut self, address: IpAddr, now: u64) {
        let address = network(address);
        self.0.retain(|(_, begun, _)| now.saturating_sub(*begun) < WINDOW_NANOS);
        match self.0.iter_mut().find(|(who, _, _)| *who == address) {
            Some((_, _, failures)) => *failures = failures.saturating_add(1),
            None => {
                if self.0.len() >= ADDRESSES_MAX {
                    self.0.remove(0);
                }
                self.0.push((address, now, 1));
            }
        }
    }
}

/// A host has a whole /64 of IPv6 to come from.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(whole) => {
            let [a, b, c, d, ..] = whole.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_a_minute_and_only_for_whoever_failed() {
        let (one, two): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut tries = Tries::default();
        for now in 0..u64::from(FAILURES_MAX) {
            assert!(tries.may(one, now));
            tries.failed(one, now);
        }
        assert!(!tries.may(one, 10) && tries.may(two, 10));
        assert!(!tries.may(one, WINDOW_NANOS - 1) && tries.may(one, WINDOW_NANOS));
        let near: IpAddr = "2001:db8::1".parse().unwrap();
        for place in 0..FAILURES_MAX {
            let host: IpAddr = format!("2001:db8::{place:x}").parse().unwrap();
            tries.failed(host, WINDOW_NANOS);
        }
        assert!(!tries.may(near, WINDOW_NANOS));
    }

    #[test]
    fn many_addresses_take_no_more_memory() {
        let mut tries = Tries::default();
        for place in 0..10_000_u32 {
            tries.failed(IpAddr::from(place.to_be_bytes()), 5);
        }
        assert_eq!(tries.0.len(), ADDRESSES_MAX);
    }
}
