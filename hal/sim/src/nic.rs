//! NICs on one simulated wire: frames are lost, late, doubled and overtaken by seed; cables are pulled by tests.
//!
//! Time stands still until a test moves it, and nothing sleeps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hal::net::address::Mac;
use hal::net::frame::{Datagram, ETHER_ARP, ETHER_IPV4, ETHER_IPV6, Ethernet};
use hal::net::frame6::Datagram6;
use hal::net::nic::{FRAME_BYTES_MAX, NetError, NetErrorKind, Nic, check_frame};
use hal::time::Moment;

use crate::random::Random;

/// A server of DHCP for many seeded histories.
pub mod server;
/// The same for IPv6.
pub mod server6;

/// Where DHCP's clients listen.
const CLIENT_PORT: u16 = 68;
const CLIENT_PORT_V6: u16 = 546;

/// What can go wrong on a wire; the default is nothing. Odds are per million frames and listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireFaults {
    /// A frame does not arrive.
    pub lose_per_million: u32,
    /// A frame arrives twice.
    pub double_per_million: u32,
    /// A bit of a frame is wrong when it arrives.
    pub flip_per_million: u32,
    /// A frame is under way for up to so long, and others overtake it.
    pub delay_millis_max: u64,
}

/// A wire with any number of NICs, all in one broadcast domain. Clones are the same wire.
#[derive(Clone, Debug)]
pub struct Wire {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    now: Moment,
    random: Random,
    faults: WireFaults,
    stations: Vec<Station>,
    /// Counts frames, so that those of one moment keep their order.
    sent: u64,
}

#[derive(Debug)]
struct Station {
    mac: Mac,
    carrier: bool,
    /// Hears everything that is for it, not only what a client hears.
    server: bool,
    arriving: Vec<(Moment, u64, Vec<u8>)>,
}

impl Wire {
    /// A wire whose faults the seed fixes.
    pub fn new(seed: u64, faults: WireFaults) -> Self {
        let random = Random::new(seed);
        let (now, stations) = (Moment(0), Vec::new());
        let inner = Inner { now, random, faults, stations, sent: 0 };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// A NIC with its cable in. It hears what `Nic` promises.
    pub fn nic(&self, mac: Mac) -> SimNic {
        self.station(mac, false)
    }

    /// A NIC that hears every frame for it, as a server does.
    pub fn server(&self, mac: Mac) -> SimNic {
        self.station(mac, true)
    }

    fn station(&self, mac: Mac, server: bool) -> SimNic {
        let mut inner = self.lock();
        inner.stations.push(Station { mac, carrier: true, server, arriving: Vec::new() });
        SimNic { wire: self.clone(), place: inner.stations.len() - 1, mac }
    }

    /// Other faults from now on.
    pub fn set_faults(&self, faults: WireFaults) {
        self.lock().faults = faults;
    }

    /// The wire's time.
    pub fn now(&self) -> Moment {
        self.lock().now
    }

    /// Time passes up to this moment.
    pub fn pass_to(&self, moment: Moment) {
        let mut inner = self.lock();
        inner.now = inner.now.max(moment);
    }

    /// When the next frame arrives somewhere.
    pub fn next_arrival(&self) -> Option<Moment> {
        let inner = self.lock();
        let arriving = inner.stations.iter().flat_map(|station| &station.arriving);
        arriving.map(|(moment, ..)| *moment).min()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A NIC on a simulated wire.
#[derive(Debug)]
pub struct SimNic {
    wire: Wire,
    place: usize,
    mac: Mac,
}

impl SimNic {
    /// Puts the cable in, or pulls it; frames under way to it are lost.
    pub fn set_carrier(&self, carrier: bool) {
        if let Some(station) = self.wire.lock().stations.get_mut(self.place) {
            station.carrier = carrier;
            station.arriving.clear();
        }
    }

    /// Whether the cable is in.
    pub fn carrier(&self) -> bool {
        self.wire.lock().stations.get(self.place).is_some_and(|station| station.carrier)
    }
}

impl Nic for SimNic {
    fn link(&self) -> u32 {
        u32::try_from(self.place).unwrap_or(u32::MAX)
    }

    fn mac(&self) -> Mac {
        self.mac
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), NetError> {
        check_frame(frame)?;
        if !self.carrier() {
            return Err(NetError::new(NetErrorKind::Down, "sending without a cable"));
        }
        self.wire.lock().send(self.place, frame);
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8; FRAME_BYTES_MAX]) -> Result<Option<usize>, NetError> {
        let mut inner = self.wire.lock();
        let now = inner.now;
        let Some(station) = inner.stations.get_mut(self.place) else { return Ok(None) };
        let due = station.arriving.iter().enumerate().filter(|(_, (moment, ..))| *moment <= now);
        let next = due.min_by_key(|(_, (moment, number, _))| (*moment, *number));
        let Some(next) = next.map(|(place, _)| place) else { return Ok(None) };
        let (.., frame) = station.arriving.remove(next);
        if let Some(room) = into.get_mut(..frame.len()) {
            room.copy_from_slice(&frame);
        }
        Ok(Some(frame.len()))
    }
}

impl Inner {
    fn send(&mut self, from: usize, frame: &[u8]) {
        let faults = self.faults.clone();
        for place in (0..self.stations.len()).filter(|place| *place != from) {
            if !self
                .stations
                .get(place)
                .is_some_and(|station| station.carrier && station.hears(frame))
            {
                continue;
            }
            let copies = 1 + u8::from(self.random.happens(faults.double_per_million));
            for _ in 0..copies {
                if self.random.happens(faults.lose_per_million) {
                    continue;
                }
                let mut frame = frame.to_vec();
                if self.random.happens(faults.flip_per_million) {
                    let bit = self.random.below(frame.len() as u64 * 8);
                    let at = usize::try_from(bit / 8).unwrap_or(0);
                    if let Some(byte) = frame.get_mut(at) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                let moment = self.now.after(self.random.below(faults.delay_millis_max + 1));
                self.sent += 1;
                let number = self.sent;
                if let Some(station) = self.stations.get_mut(place) {
                    station.arriving.push((moment, number, frame));
                }
            }
        }
    }
}

impl Station {
    /// Whether a frame is for it, and of a kind that it hears.
    fn hears(&self, bytes: &[u8]) -> bool {
        let Some(frame) = Ethernet::parse(bytes) else { return false };
        let for_it = frame.to == self.mac || frame.to.0[0] & 1 == 1;
        let client = match frame.kind {
            ETHER_ARP => true,
            ETHER_IPV4 => Datagram::parse(frame.content)
                .is_some_and(|datagram| datagram.to_port == CLIENT_PORT),
            ETHER_IPV6 => Datagram6::parse(frame.content)
                .is_some_and(|datagram| datagram.to_port == CLIENT_PORT_V6),
            _ => false,
        };
        for_it && (self.server || client)
    }
}
