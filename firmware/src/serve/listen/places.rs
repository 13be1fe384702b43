//! Who is let in: so many connections in all, so many of one address. Where there is no place left, the oldest that nobody knows
//! goes, of the address that has the most: so a crowd of strangers keeps out neither whoever comes next nor who logged in.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use smol::channel::{Receiver, Sender, bounded};

use crate::admin::throttle::near;

/// Connections in all.
pub(super) const ALL_MAX: usize = 256;
/// Connections of one address, or of one network of IPv6: a company behind one address, with a page open each.
pub(super) const OF_ADDRESS_MAX: usize = 160;

/// All places.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    next: u64,
    taken: BTreeMap<u64, Taken>,
}

struct Taken {
    address: IpAddr,
    known: Arc<AtomicBool>,
    /// Dropped, it tells the connection to go.
    _stay: Sender<()>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    number: u64,
    places: Places,
    known: Arc<AtomicBool>,
    stay: Receiver<()>,
}

impl Places {
    /// A place for somebody from this address; `None` where all are taken by who is known.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = near(address);
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = inner.taken.values().filter(|it| it.address == address).count();
        if of_address >= OF_ADDRESS_MAX {
            inner.let_go(address)?;
        } else if inner.taken.len() >= ALL_MAX {
            let most = inner.most_strangers()?;
            inner.let_go(most)?;
        }
        let number = inner.next;
        inner.next += 1;
        let known = Arc::new(AtomicBool::new(false));
        let (stay, told) = bounded(1);
        let taken = Taken { address, known: Arc::clone(&known), _stay: stay };
        inner.taken.insert(number, taken);
        Some(Place { number, places: self.clone(), known, stay: told })
    }
}

impl Inner {
    /// The oldest stranger of an address goes.
    fn let_go(&mut self, address: IpAddr) -> Option<()> {
        let strangers = |taken: &Taken| !taken.known.load(Ordering::Relaxed);
        let mut of_address = self.taken.iter().filter(|(_, it)| it.address == address);
        let oldest = of_address.find(|(_, it)| strangers(it)).map(|(number, _)| *number)?;
        self.taken.remove(&oldest).map(drop)
    }

    fn most_strangers(&self) -> Option<IpAddr> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for taken in self.taken.values().filter(|it| !it.known.load(Ordering::Relaxed)) {
            *counts.entry(taken.address).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address)
    }
}

impl Place {
    /// Ends when somebody else needs the place.
    pub(super) async fn gone(&self) {
        // Nobody ever sends: an answer means that it was dropped.
        let _ = self.stay.recv().await;
    }

    /// By this, whoever has the place is noted as known.
    pub(super) fn known(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.known)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn has_to_go(place: &Place) -> bool {
        place.stay.is_closed()
    }

    #[test]
    fn a_crowd_keeps_out_neither_the_next_nor_who_is_known() {
        let places = Places::default();
        let friend = places.enter(address(1)).unwrap();
        friend.known().store(true, Ordering::Relaxed);
        let crowd: Vec<Place> = (0..1000).map(|_| places.enter(address(1)).unwrap()).collect();
        assert!(!has_to_go(&friend));
        assert_eq!(crowd.iter().filter(|place| !has_to_go(place)).count(), OF_ADDRESS_MAX - 1);
        assert!(has_to_go(&crowd[0]) && !has_to_go(&crowd[999]), "the oldest went");
        let other = places.enter(address(2)).unwrap();
        assert!(!has_to_go(&other));
    }

    #[test]
    fn where_all_places_are_taken_the_largest_crowd_makes_room() {
        let places = Places::default();
        let small: Vec<Place> = (0..20).map(|_| places.enter(address(1)).unwrap()).collect();
        let large: Vec<Place> = (0..150).map(|_| places.enter(address(2)).unwrap()).collect();
        let more: Vec<Place> = (0..100).map(|_| places.enter(address(3)).unwrap()).collect();
        assert!(small.iter().chain(&more).all(|place| !has_to_go(place)));
        assert_eq!(large.iter().filter(|place| has_to_go(place)).count(), 270 - ALL_MAX);
    }

    #[test]
    fn where_everybody_is_known_the_next_has_to_wait() {
        let places = Places::default();
        let known: Vec<Place> = (0..OF_ADDRESS_MAX)
            .map(|_| {
                let place = places.enter(address(1)).unwrap();
                place.known().store(true, Ordering::Relaxed);
                place
            })
            .collect();
        assert!(places.enter(address(1)).is_none());
        drop(known);
        assert!(places.enter(address(1)).is_some());
    }
}
