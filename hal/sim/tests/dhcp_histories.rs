//! Thousands of seeded histories of DHCP: clients, a server and a machine that has an address of the pool, on a wire
//! that loses, doubles, delays and flips, with cables pulled and the server silent or forgetful.
//!
//! `LIFEBOAT_DHCP_SEEDS` sets how many; each failure names its seed.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use core::net::Ipv4Addr;

use hal::net::address::Mac;
use hal::net::arp::Arp;
use hal::net::dhcp4::client::{Client, Identity};
use hal::net::frame::{ETHER_ARP, Ethernet};
use hal::net::nic::{FRAME_BYTES_MAX, Nic as _};
use hal::time::Moment;
use hal_sim::nic::server::SimServer;
use hal_sim::random::Random;
use hal_sim::{SimNic, Wire, WireFaults};

/// A machine that sits on an address of the pool.
const SQUATTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
const CLIENTS: u8 = 3;

struct World {
    seed: u64,
    wire: Wire,
    clients: Vec<(Client, SimNic)>,
    server: SimServer,
    server_nic: SimNic,
    squatter: SimNic,
    /// Frames are lost or changed, so that a search for duplicates may miss one.
    rough: bool,
    /// The server does not know what it promised.
    forgot: bool,
    sent: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let wire = Wire::new(seed, WireFaults::default());
        let now = wire.now();
        let clients = (0..CLIENTS).map(|number| {
            let mac = Mac([2, 0, 0, 0, 1, number]);
            let identity = Identity { mac, host_name: String::new() };
            (Client::new(identity, seed ^ u64::from(number), now), wire.nic(mac))
        });
        let clients = clients.collect();
        let server = SimServer::new(1, 50..58, 120 + u32::try_from(seed % 4000).unwrap());
        let server_nic = wire.server(server.mac);
        let squatter = wire.nic(Mac([2, 9, 9, 9, 9, 9]));
        Self {
            seed,
            wire,
            clients,
            server,
            server_nic,
            squatter,
            rough: false,
            forgot: false,
            sent: 0,
        }
    }

    /// Everything that happens at this moment, until nothing does.
    fn settle(&mut self) {
        let mut room = [0; FRAME_BYTES_MAX];
        loop {
            let mut busy = false;
            let now = self.wire.now();
            for (client, nic) in &mut self.clients {
                while let Some(length) = nic.receive(&mut room).unwrap() {
                    client.hear(now, &room[..length]);
                    busy = true;
                }
                if !nic.carrier() {
                    continue;
                }
                while let Some(frame) = client.poll(now) {
                    nic.send(&frame).unwrap();
                    self.sent += 1;
                    busy = true;
                }
            }
            while let Some(length) = self.server_nic.receive(&mut room).unwrap() {
                if let Some(answer) = self.server.hear(now, &room[..length]) {
                    self.server_nic.send(&answer).unwrap();
                }
                busy = true;
            }
            while let Some(length) = self.squatter.receive(&mut room).unwrap() {
                let frame =
                    Ethernet::parse(&room[..length]).filter(|frame| frame.kind == ETHER_ARP);
                let asked = frame.and_then(|frame| Arp::parse(frame.content));
                if asked.is_some_and(|asked| asked.asks && asked.target == SQUATTER) {
                    let own = Arp::announcement(self.squatter.mac_address(), SQUATTER);
                    self.squatter.send(&Arp { asks: false, ..own }.frame()).unwrap();
                }
                busy = true;
            }
            if !busy {
                return;
            }
        }
    }

    /// Lets time pass, and looks after every step at what must always hold.
    fn run_for(&mut self, millis: u64) {
        let end = self.wire.now().after(millis);
        let mut steps = 0_u64;
        loop {
            self.settle();
            self.check();
            let now = self.wire.now();
            if now >= end {
                return;
            }
            let awake = self.clients.iter().filter(|(_, nic)| nic.carrier());
            let next =
                awake.map(|(client, _)| client.deadline()).chain(self.wire.next_arrival()).min();
            let next = next.unwrap_or(end).min(end);
            assert!(next > now, "seed {}: time stands still at {now:?}", self.seed);
            self.wire.pass_to(next);
            steps += 1;
            assert!(steps < 200_000, "seed {}: no rest", self.seed);
        }
    }

    fn check(&self) {
        let now = self.wire.now();
        let seed = self.seed;
        let held = self.clients.iter().filter_map(|(client, nic)| {
            let lease = client.lease()?;
            (client.end().is_none_or(|end| now < end))
                .then(|| (lease.own(), nic.mac_address(), client.end()))
        });
        let held: Vec<(Ipv4Addr, Mac, Option<Moment>)> = held.collect();
        for (place, (address, mac, end)) in held.iter().enumerate() {
            assert!(
                self.forgot || (50..58).contains(&address.octets()[3]),
                "seed {seed}: {address} is not the server's"
            );
            assert!(
                self.rough || *address != SQUATTER,
                "seed {seed}: the address of another is used"
            );
            if self.forgot {
                continue;
            }
            let promised = self.server.promised(*address, *mac);
            assert!(
                promised.is_some_and(|until| end.is_some_and(|end| end <= until)),
                "seed {seed}: {address} is used until {end:?}, promised until {promised:?}"
            );
            let others = held.iter().skip(place + 1);
            assert!(
                others.clone().all(|(other, ..)| other != address),
                "seed {seed}: {address} twice"
            );
        }
    }
}

/// The hardware address without the trait's borrow.
trait MacAddress {
    fn mac_address(&self) -> Mac;
}

impl MacAddress for SimNic {
    fn mac_address(&self) -> Mac {
        hal::net::nic::Nic::mac(self)
    }
}

fn history(seed: u64) -> u64 {
    let mut world = World::new(seed);
    let mut random = Random::new(seed.wrapping_mul(31));
    for _ in 0..12 {
        match random.below(8) {
            0 | 1 => {
                let faults = WireFaults {
                    lose_per_million: 300_000 * u32::try_from(random.below(3)).unwrap(),
                    double_per_million: 100_000,
                    flip_per_million: if seed.is_multiple_of(3) { 20_000 } else { 0 },
                    delay_millis_max: random.below(3000),
                };
                world.rough = true;
                // Ethernet itself would drop a changed frame: here it may even promise another time.
                world.forgot |= faults.flip_per_million > 0;
                world.wire.set_faults(faults);
            }
            2 => world.wire.set_faults(WireFaults::default()),
            3 => world.server.answers = !world.server.answers,
            4 if random.below(3) == 0 => {
                world.server.forget();
                world.forgot = true;
            }
            _ => {
                let which = usize::try_from(random.below(u64::from(CLIENTS))).unwrap();
                let now = world.wire.now();
                let (client, nic) = &mut world.clients[which];
                nic.set_carrier(!nic.carrier());
                if nic.carrier() {
                    client.resume(now);
                }
            }
        }
        let most = if random.below(4) == 0 { 5_000_000 } else { 40_000 };
        world.run_for(1 + random.below(most));
    }
    // Everything heals: soon everybody has an address.
    world.wire.set_faults(WireFaults::default());
    world.server.answers = true;
    let now = world.wire.now();
    for (client, nic) in &mut world.clients {
        if !nic.carrier() {
            nic.set_carrier(true);
            client.resume(now);
        }
    }
    world.run_for(300_000);
    for (client, _) in &world.clients {
        assert!(
            client.lease().is_some(),
            "seed {seed}: no address after five good minutes: {client:?}"
        );
    }
    world.sent
}

#[test]
fn leases_are_kept_to_the_letter_in_every_history() {
    let seeds = std::env::var("LIFEBOAT_DHCP_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let sent: u64 = (0..seeds.unwrap_or(3000)).map(history).sum();
    assert!(sent > 10_000, "only {sent} frames were sent: nothing was tried");
    eprintln!("{sent} frames");
}
