//! Thousands of seeded histories of DHCP for IPv6: clients, two servers and a machine that has an address of the pool, on a
//! wire that loses, doubles, delays and flips, with cables pulled, servers silent or forgetful, routers that say one thing
//! and then another, and strangers that answer what they were not asked.
//!
//! `LIFEBOAT_DHCP_SEEDS` sets how many; each failure names its seed.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use core::net::Ipv6Addr;

use hal::net::address::Mac;
use hal::net::dhcp6::client::{Client, Identity};
use hal::net::facts::Managed;
use hal::net::nic::{FRAME_BYTES_MAX, Nic as _};
use hal::time::Moment;
use hal_sim::nic::server6::{SimServer6, own_network};
use hal_sim::random::Random;
use hal_sim::{SimNic, Wire, WireFaults};

/// A machine sits on this address of the pool; the system notices after a while.
const SQUATTER: u16 = 50;
const NOTICED_MILLIS: u64 = 1000;
const CLIENTS: u8 = 3;

struct World {
    seed: u64,
    wire: Wire,
    clients: Vec<(Client, SimNic)>,
    servers: [(SimServer6, SimNic); 2],
    /// Repeats what servers said, to everybody and late.
    stranger: SimNic,
    overheard: Vec<Vec<u8>>,
    /// The server does not know what it promised.
    forgot: bool,
    noticed: [Option<Moment>; CLIENTS as usize],
    sent: u64,
    declined: u64,
}

fn source(client: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 1, u16::try_from(client).unwrap())
}

impl World {
    fn new(seed: u64) -> Self {
        let wire = Wire::new(seed, WireFaults::default());
        let clients = (0..CLIENTS).map(|number| {
            let mac = Mac([2, 0, 0, 0, 1, number]);
            let identity = Identity { mac, link: u32::from(number), host_name: "box".into() };
            let mut client = Client::new(identity, seed ^ u64::from(number));
            client.want(wire.now(), Managed::Addresses);
            (client, wire.nic(mac))
        });
        let clients = clients.collect();
        let lease = 40 + u32::try_from(seed % 4000).unwrap();
        let servers = [SimServer6::new(1, 50..54, lease), SimServer6::new(2, 54..58, lease / 2)];
        let servers = servers.map(|server| {
            let nic = wire.server(server.mac);
            (server, nic)
        });
        let stranger = wire.server(Mac([2, 9, 9, 9, 9, 9]));
        Self {
            seed,
            wire,
            clients,
            servers,
            stranger,
            overheard: Vec::new(),
            forgot: false,
            noticed: [None; CLIENTS as usize],
            sent: 0,
            declined: 0,
        }
    }

    /// Everything that happens at this moment, until nothing does.
    fn settle(&mut self) {
        let mut room = [0; FRAME_BYTES_MAX];
        loop {
            let mut busy = false;
            let now = self.wire.now();
            for (place, (client, nic)) in self.clients.iter_mut().enumerate() {
                while let Some(length) = nic.receive(&mut room).unwrap() {
                    client.hear(now, &room[..length]);
                    busy = true;
                }
                if !nic.carrier() {
                    continue;
                }
                while let Some(frame) = client.poll(now, source(place)) {
                    nic.send(&frame).unwrap();
                    self.sent += 1;
                    busy = true;
                }
                let own = client.lease(now).map(|lease| lease.address);
                let rival = own == Some(own_network(SQUATTER));
                match self.noticed[place] {
                    Some(moment) if rival && now >= moment => {
                        client.decline(now);
                        self.declined += 1;
                        busy = true;
                    }
                    None if rival => self.noticed[place] = Some(now.after(NOTICED_MILLIS)),
                    _ => {}
                }
                if !rival {
                    self.noticed[place] = None;
                }
            }
            for (server, nic) in &mut self.servers {
                while let Some(length) = nic.receive(&mut room).unwrap() {
                    if let Some(answer) = server.hear(now, &room[..length]) {
                        if self.overheard.len() < 20 {
                            self.overheard.push(answer.clone());
                        }
                        nic.send(&answer).unwrap();
                    }
                    busy = true;
                }
            }
            while self.stranger.receive(&mut room).unwrap().is_some() {}
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
            let next = awake.filter_map(|(client, _)| client.deadline());
            let noticed = self.noticed.iter().copied().flatten().filter(|moment| *moment > now);
            let next = next.chain(noticed).chain(self.wire.next_arrival()).min();
            let next = next.unwrap_or(end).min(end);
            assert!(
                next > now,
                "seed {}: time stands still at {now:?}: {:?}",
                self.seed,
                self.clients
            );
            self.wire.pass_to(next);
            steps += 1;
            assert!(steps < 200_000, "seed {}: no rest", self.seed);
        }
    }

    fn check(&self) {
        let (now, seed) = (self.wire.now(), self.seed);
        if self.forgot {
            return;
        }
        let mut held = Vec::new();
        for (client, nic) in &self.clients {
            let Some(lease) = client.lease(now) else { continue };
            let (address, end) = (lease.address, client.end().unwrap());
            let promised =
                self.servers.iter().find_map(|(server, _)| server.promised(address, nic.mac()));
            assert!(
                promised.is_some_and(|until| now < end && end <= until),
                "seed {seed}: {address} is used until {end:?}, promised until {promised:?}"
            );
            assert!(!held.contains(&address), "seed {seed}: {address} twice");
            held.push(address);
        }
    }

    /// Says again what was said once.
    fn repeat(&mut self, random: &mut Random) {
        for mut frame in self.overheard.clone() {
            if random.below(2) == 0 {
                let at = usize::try_from(random.below(frame.len() as u64)).unwrap();
                // Neither whom it is for nor which exchange it is of.
                if at > 66 {
                    frame[at] ^= 1 << random.below(8);
                    self.forgot = true;
                }
            }
            self.stranger.send(&frame).unwrap();
        }
    }
}

fn faults(seed: u64, random: &mut Random) -> WireFaults {
    WireFaults {
        lose_per_million: 300_000 * u32::try_from(random.below(3)).unwrap(),
        double_per_million: 100_000,
        flip_per_million: if seed.is_multiple_of(3) { 20_000 } else { 0 },
        delay_millis_max: random.below(3000),
    }
}

fn history(seed: u64) -> (u64, u64) {
    let mut world = World::new(seed);
    let mut random = Random::new(seed.wrapping_mul(37));
    for _ in 0..12 {
        let which = usize::try_from(random.below(u64::from(CLIENTS))).unwrap();
        let now = world.wire.now();
        match random.below(10) {
            0 | 1 => {
                let faults = faults(seed, &mut random);
                // Ethernet itself would drop a changed frame: here it may even promise another time.
                world.forgot |= faults.flip_per_million > 0;
                world.wire.set_faults(faults);
            }
            2 => world.wire.set_faults(WireFaults::default()),
            3 => {
                let server = &mut world.servers[usize::from(random.below(2) == 0)].0;
                server.answers = !server.answers;
            }
            4 if random.below(3) == 0 => {
                world.servers.iter_mut().for_each(|(server, _)| server.forget());
                world.forgot = true;
            }
            5 => world.repeat(&mut random),
            6 => {
                let says = [Managed::Nothing, Managed::Information, Managed::Addresses];
                let says = says[usize::try_from(random.below(3)).unwrap()];
                world.clients[which].0.want(now, says);
            }
            // Time that jumps, as of a machine that was asleep, or frames that hold no sense at all.
            7 => world.wire.pass_to(now.after(random.below(10_000_000))),
            8 => {
                let mut frame = world.overheard.first().cloned().unwrap_or_default();
                frame.resize(62 + usize::try_from(random.below(200)).unwrap(), 0);
                random.fill(frame.get_mut(62..).unwrap());
                world.stranger.send(&frame).unwrap();
            }
            _ => {
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
    heal(&mut world);
    (world.sent, world.declined)
}

/// Everything heals: soon everybody has an address that nobody else has.
fn heal(world: &mut World) {
    world.wire.set_faults(WireFaults::default());
    world.servers.iter_mut().for_each(|(server, _)| server.answers = true);
    let now = world.wire.now();
    for (client, nic) in &mut world.clients {
        nic.set_carrier(true);
        client.want(now, Managed::Addresses);
        client.resume(now);
    }
    world.run_for(400_000);
    let now = world.wire.now();
    for (client, _) in &world.clients {
        let seed = world.seed;
        let lease = client.lease(now);
        assert!(lease.is_some(), "seed {seed}: no address after all is well: {client:?}");
        assert_ne!(lease.unwrap().address, own_network(SQUATTER), "seed {seed}");
        assert!(!client.information(now).unwrap().dns.is_empty(), "seed {seed}");
    }
}

#[test]
fn leases_are_kept_to_the_letter_in_every_history() {
    let seeds = std::env::var("LIFEBOAT_DHCP_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let (sent, declined) = (0..seeds.unwrap_or(3000))
        .map(history)
        .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    assert!(sent > 10_000, "only {sent} frames were sent: nothing was tried");
    assert!(declined > 100, "only {declined} addresses were declined");
    eprintln!("{sent} frames, {declined} declined");
}
