//! A server of DHCP for IPv6 for many seeded histories: it remembers, forgets, falls silent and comes back.

use core::net::Ipv6Addr;
use std::collections::BTreeMap;

use hal::net::address::Mac;
use hal::net::dhcp6::message::{
    Address, Addresses, CLIENT_PORT, Kind, Message, Options, SERVER_PORT, Status, client_name,
    option,
};
use hal::net::frame::{ETHER_IPV6, Ethernet};
use hal::net::frame6::Datagram6;
use hal::time::Moment;

/// For how long an address is kept free that somebody declined.
const DECLINED_MILLIS: u64 = 600_000;

/// What the server knows, and how it behaves.
#[derive(Clone, Debug)]
pub struct SimServer6 {
    /// Its hardware address.
    pub mac: Mac,
    /// The addresses that it gives, as the last two bytes of fd00::x.
    pub pool: core::ops::Range<u16>,
    /// For how long.
    pub lease_seconds: u32,
    /// Whether it answers.
    pub answers: bool,
    /// The server of names and of time that it tells of.
    pub knows: Ipv6Addr,
    leases: BTreeMap<Ipv6Addr, (Vec<u8>, Moment)>,
    declined: BTreeMap<Ipv6Addr, Moment>,
}

/// An address of the server's network.
pub fn own_network(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, last)
}

impl SimServer6 {
    /// A server that gives these addresses.
    pub fn new(last: u8, pool: core::ops::Range<u16>, lease_seconds: u32) -> Self {
        Self {
            mac: Mac([2, 0x56, 0, 0, 0, last]),
            pool,
            lease_seconds,
            answers: true,
            knows: own_network(0x53),
            leases: BTreeMap::new(),
            declined: BTreeMap::new(),
        }
    }

    /// It starts again without what it knew.
    pub fn forget(&mut self) {
        self.leases.clear();
        self.declined.clear();
    }

    /// Until when an address is this machine's, as far as the server promised.
    pub fn promised(&self, address: Ipv6Addr, mac: Mac) -> Option<Moment> {
        let (owner, until) = self.leases.get(&address)?;
        (owner.as_slice() == client_name(mac)).then_some(*until)
    }

    /// Hears a frame; the answer, where there is one.
    pub fn hear(&mut self, now: Moment, frame: &[u8]) -> Option<Vec<u8>> {
        let frame = Ethernet::parse(frame).filter(|frame| frame.kind == ETHER_IPV6)?;
        let datagram = Datagram6::parse(frame.content)?;
        if !self.answers || datagram.to_port != SERVER_PORT {
            return None;
        }
        let asked = Message::parse(datagram.payload)?;
        let client = asked.options.bytes(option::CLIENT)?.to_vec();
        let name = client_name(self.mac);
        let to_one =
            matches!(asked.kind, Kind::Request | Kind::Renew | Kind::Release | Kind::Decline);
        if to_one && asked.options.bytes(option::SERVER) != Some(&name) {
            return None;
        }
        let given = asked.options.bytes(option::ADDRESSES).and_then(Addresses::parse);
        let wanted = given.as_ref().and_then(|given| {
            Address::parse(given.options.bytes(option::ADDRESS)?).map(|address| address.address)
        });
        let mut options =
            Options::default().with(option::CLIENT, &client).with(option::SERVER, &name);
        let kind = if asked.kind == Kind::Solicit { Kind::Advertise } else { Kind::Reply };
        match (asked.kind, given) {
            (Kind::Information, _) => {}
            (Kind::Confirm, _) => {
                let fits = wanted.is_some_and(|wanted| self.is_of_pool(wanted));
                let status = if fits { Status::Success } else { Status::NotOnLink };
                options.add(option::STATUS, &status.number().to_be_bytes());
            }
            (Kind::Decline | Kind::Release, _) => {
                let owned = wanted.filter(|wanted| self.owns(*wanted, &client));
                if let Some(address) = owned {
                    self.leases.remove(&address);
                    if asked.kind == Kind::Decline {
                        self.declined.insert(address, now.after(DECLINED_MILLIS));
                    }
                }
            }
            (_, Some(given)) => {
                let answer = self.addresses(now, asked.kind, wanted, &client);
                let answer = Addresses { link: given.link, ..answer };
                options.add(option::ADDRESSES, &answer.emit());
            }
            _ => return None,
        }
        options.add(option::DNS, &self.knows.octets());
        options.add(option::SNTP, &self.knows.octets());
        let payload = Message { kind, exchange: asked.exchange, options }.emit();
        self.send(frame.from, datagram.from, &payload)
    }

    fn addresses(
        &mut self,
        now: Moment,
        kind: Kind,
        wanted: Option<Ipv6Addr>,
        client: &[u8],
    ) -> Addresses {
        let chosen = match kind {
            Kind::Renew | Kind::Rebind => wanted.filter(|wanted| self.owns(*wanted, client)),
            _ => self.choose(now, wanted, client),
        };
        let mut options = Options::default();
        match chosen {
            Some(address) => {
                let seconds = self.lease_seconds;
                let (preferred_seconds, valid_seconds) = (seconds / 2, seconds);
                let address = Address { address, preferred_seconds, valid_seconds };
                options.add(option::ADDRESS, &address.emit());
                if kind != Kind::Solicit {
                    let until = now.after(u64::from(seconds) * 1000);
                    self.leases.insert(address.address, (client.to_vec(), until));
                }
            }
            None => {
                let renews = matches!(kind, Kind::Renew | Kind::Rebind);
                let status = if renews { Status::NoBinding } else { Status::NoAddresses };
                options.add(option::STATUS, &status.number().to_be_bytes());
            }
        }
        Addresses { link: 0, renew_seconds: 0, rebind_seconds: 0, options }
    }

    fn is_of_pool(&self, address: Ipv6Addr) -> bool {
        self.pool.clone().any(|last| own_network(last) == address)
    }

    fn owns(&self, address: Ipv6Addr, client: &[u8]) -> bool {
        self.leases.get(&address).is_some_and(|(owner, _)| owner == client)
    }

    fn choose(&self, now: Moment, wanted: Option<Ipv6Addr>, client: &[u8]) -> Option<Ipv6Addr> {
        let is_free = |address: &Ipv6Addr| {
            let lease = self.leases.get(address);
            let taken = lease.is_some_and(|(owner, until)| owner != client && now < *until);
            let declined = self.declined.get(address).is_some_and(|until| now < *until);
            !taken && !declined && self.is_of_pool(*address)
        };
        let known = self.leases.iter().find(|(_, (owner, _))| owner == client);
        let known = known.map(|(address, _)| *address).filter(is_free);
        let all = self.pool.clone().map(own_network);
        known.or_else(|| wanted.filter(is_free)).or_else(|| all.into_iter().find(is_free))
    }

    fn send(&self, to_mac: Mac, to: Ipv6Addr, payload: &[u8]) -> Option<Vec<u8>> {
        let from = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, u16::from(self.mac.0[5]));
        let datagram =
            Datagram6 { from, from_port: SERVER_PORT, to, to_port: CLIENT_PORT, payload };
        let content = datagram.emit()?;
        let ether = Ethernet { to: to_mac, from: self.mac, kind: ETHER_IPV6, content: &content };
        Some(ether.emit())
    }
}
