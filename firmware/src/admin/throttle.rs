//! Whoever guesses waits longer each time: by the name that is tried, and by the address that tries.
//!
//! A name alone never waits long, and not at all from an address that it came in from before: a stranger who keeps guessing at it
//! must not keep its owner out.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

const SECOND: u64 = 1_000_000_000;
/// Wrong tries that cost nothing: people mistype.
const FREE: u32 = 3;
/// Longest pause of an address, and of a name.
const ADDRESS_PAUSE_MAX: u64 = 15 * 60 * SECOND;
const NAME_PAUSE_MAX: u64 = 30 * SECOND;
/// After so long without a wrong try it is forgotten.
const FORGOTTEN: u64 = 60 * 60 * SECOND;
/// Names and addresses that are remembered, and good pairs of them.
const ENTRIES_MAX: usize = 1024;
const FRIENDS_MAX: usize = 256;
/// Longest name that is remembered: what is longer is nobody's.
const NAME_BYTES_MAX: usize = 64;

/// Who tried in vain.
#[derive(Debug, Default)]
pub struct Throttle {
    addresses: Table<IpAddr>,
    names: Table<String>,
    /// Who came in from where, the latest last.
    friends: VecDeque<(String, IpAddr)>,
}

#[derive(Debug)]
struct Table<K>(BTreeMap<K, Tries>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    wrong: u32,
    last: u64,
    until: u64,
}

impl<K: Ord + Clone> Table<K> {
    /// How long this one still has to wait.
    fn left(&self, key: &K, now: u64) -> u64 {
        self.0.get(key).map_or(0, |tries| tries.until.saturating_sub(now))
    }

    fn failed(&mut self, key: K, now: u64, pause_max: u64) {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&key) {
            // Whoever tried longest ago is forgotten first.
            let oldest = self.0.iter().min_by_key(|(_, tries)| tries.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.0.remove(&oldest);
            }
        }
        let tries = self.0.entry(key).or_default();
        if now.saturating_sub(tries.last) > FORGOTTEN {
            *tries = Tries::default();
        }
        tries.wrong = tries.wrong.saturating_add(1);
        tries.last = now;
        let doublings = tries.wrong.saturating_sub(FREE);
        if doublings > 0 {
            let pause = SECOND.checked_shl(doublings - 1).unwrap_or(pause_max);
            tries.until = now.saturating_add(pause.clamp(SECOND, pause_max));
        }
    }
}

impl Throttle {
    /// Whether this address may try this name now; otherwise after how many seconds.
    pub fn may(&self, name: Option<&str>, address: IpAddr, now: u64) -> Result<(), u64> {
        let address = near(address);
        let by_name = name.map(key).map_or(0, |name| {
            let is_friend = self.friends.contains(&(name.clone(), address));
            if is_friend { 0 } else { self.names.left(&name, now) }
        });
        let left = by_name.max(self.addresses.left(&address, now));
        if left == 0 { Ok(()) } else { Err(left.div_ceil(SECOND)) }
    }

    /// It was wrong.
    pub fn failed(&mut self, name: Option<&str>, address: IpAddr, now: u64) {
        self.addresses.failed(near(address), now, ADDRESS_PAUSE_MAX);
        if let Some(name) = name {
            self.names.failed(key(name), now, NAME_PAUSE_MAX);
        }
    }

    /// It was right.
    pub fn succeeded(&mut self, name: Option<&str>, address: IpAddr) {
        let address = near(address);
        self.addresses.0.remove(&address);
        let Some(name) = name.map(key) else { return };
        self.names.0.remove(&name);
        let friend = (name, address);
        self.friends.retain(|known| *known != friend);
        self.friends.push_back(friend);
        while self.friends.len() > FRIENDS_MAX {
            self.friends.pop_front();
        }
    }
}

/// Who has one address of IPv6 has all of its network.
#[must_use]
pub fn near(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        address => address,
    }
}

fn key(name: &str) -> String {
    name.to_ascii_lowercase().chars().take(NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn pauses_grow_and_end() {
        let mut throttle = Throttle::default();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..16 {
            throttle.failed(Some("anna"), HERE, now);
            let pause = throttle.may(Some("anna"), HERE, now).err().unwrap_or(0);
            pauses.push(pause);
            now += pause * SECOND;
            assert_eq!(throttle.may(Some("anna"), HERE, now), Ok(()), "it is over when it is");
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        // Forgotten after an hour.
        now += FORGOTTEN + 1;
        throttle.failed(Some("anna"), HERE, now);
        assert_eq!(throttle.may(Some("anna"), HERE, now), Ok(()));
    }

    #[test]
    fn a_stranger_does_not_keep_the_owner_out() {
        let mut throttle = Throttle::default();
        throttle.succeeded(Some("anna"), HERE);
        for _ in 0..50 {
            throttle.failed(Some("anna"), THERE, 0);
        }
        assert_eq!(throttle.may(Some("anna"), HERE, 0), Ok(()));
        assert_eq!(throttle.may(Some("ANNA"), THERE, 0), Err(900));
        let other = IpAddr::from([192, 0, 2, 3]);
        assert_eq!(throttle.may(Some("Anna"), other, 0), Err(30), "a name alone waits a little");
        assert_eq!(throttle.may(Some("bert"), other, 0), Ok(()));
    }

    #[test]
    fn a_network_of_the_new_kind_is_one_guesser() {
        let mut throttle = Throttle::default();
        let address = |last: u16| IpAddr::from([0xfd00, 0, 0, 1, 0, 0, 0, last]);
        for last in 0..20 {
            throttle.failed(None, address(last), 0);
        }
        assert!(throttle.may(None, address(99), 0).is_err());
        assert!(throttle.may(None, IpAddr::from([0xfd00, 0, 0, 2, 0, 0, 0, 1]), 0).is_ok());
    }

    #[test]
    fn many_guessers_take_little_memory() {
        let mut throttle = Throttle::default();
        for number in 0..5_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            throttle.failed(Some(&format!("name{number}")), address, u64::from(number));
        }
        assert_eq!(
            (throttle.addresses.0.len(), throttle.names.0.len()),
            (ENTRIES_MAX, ENTRIES_MAX)
        );
        for number in 0..5_000_u32 {
            throttle.succeeded(Some(&format!("name{number}")), HERE);
        }
        assert_eq!(throttle.friends.len(), FRIENDS_MAX);
    }
}
