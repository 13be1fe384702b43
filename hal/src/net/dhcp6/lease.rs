//! What a server promised, and what it knows of the network.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::message::{Address, Addresses, Message, Options, Status, is_machine, option};
use crate::net::dhcp4::lease::are_domains;
use crate::net::dhcp4::message::read_domains;

/// An address for less is none: it would be asked for without end.
const SECONDS_MIN: u32 = 10;
/// A lease is not asked for again sooner than that.
const RENEW_SECONDS_MIN: u32 = 5;
/// More domains or time servers than this are nobody's.
const ENTRIES_MAX: usize = 16;
/// The address of a time server within its option.
const NTP_ADDRESS: u16 = 1;

/// What a server knows, addresses aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Information {
    /// DNS servers, best first.
    pub dns: Vec<Ipv6Addr>,
    /// Domains that short names are searched for in.
    pub domains: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv6Addr>,
}

impl Information {
    /// What a server's message says; what is no sound option is passed over.
    pub fn read(options: &Options) -> Self {
        let newer = options.all(option::NTP).filter_map(Options::parse);
        let mut ntp: Vec<Ipv6Addr> =
            newer.flat_map(|servers| servers.addresses(NTP_ADDRESS)).collect();
        ntp.extend(options.addresses(option::SNTP));
        let mut known = Vec::new();
        ntp.retain(|server| {
            let new = !known.contains(server) && known.len() < ENTRIES_MAX;
            known.push(*server);
            new
        });
        let mut domains = read_domains(options.bytes(option::SEARCH).unwrap_or_default());
        domains.truncate(ENTRIES_MAX);
        Self { dns: options.addresses(option::DNS), domains, ntp }
    }

    /// Whether a server could know this: so it is for whatever was read of a message.
    pub fn is_sound(&self) -> bool {
        let machines = |list: &[Ipv6Addr]| {
            list.len() <= ENTRIES_MAX && list.iter().all(|address| is_machine(*address))
        };
        machines(&self.dns) && machines(&self.ntp) && are_domains(&self.domains)
    }
}

/// What a server promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address; which others are on the same cable, routers say.
    pub address: Ipv6Addr,
    /// What the server knows besides.
    pub information: Information,
    /// Who promised it.
    pub server: Vec<u8>,
    /// For how long; `u32::MAX` is for ever.
    pub seconds: u32,
    /// When to ask the same server again.
    pub renew_seconds: u32,
    /// When to ask any server.
    pub rebind_seconds: u32,
}

/// Why a message brings no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLease {
    /// The server says why.
    Status(Status),
    /// The server takes the address back that was asked about.
    Withdrawn,
    /// It says nothing of addresses that could be used.
    Nothing,
}

impl Lease {
    /// What an offer or an answer promises to this link of the client. Of several addresses `wanted` is taken where it is
    /// among them, else the first.
    pub fn read(message: &Message, link: u32, wanted: Option<Ipv6Addr>) -> Result<Self, NoLease> {
        let server = message.options.bytes(option::SERVER).ok_or(NoLease::Nothing)?;
        match message.options.status() {
            Status::Success => {}
            status => return Err(NoLease::Status(status)),
        }
        let addresses = message.options.all(option::ADDRESSES).filter_map(Addresses::parse);
        let mut told = NoLease::Nothing;
        for addresses in addresses.filter(|addresses| addresses.link == link) {
            match addresses.options.status() {
                Status::Success => {}
                status => told = NoLease::Status(status),
            }
            let (renew, rebind) = (addresses.renew_seconds, addresses.rebind_seconds);
            // RFC 8415, 21.4: who mixes the times up is not believed.
            if renew > rebind && rebind > 0 {
                continue;
            }
            let all = addresses.options.all(option::ADDRESS).filter_map(Address::parse);
            let all: Vec<Address> = all.filter(|address| is_sound(*address)).collect();
            let own = all.iter().find(|address| Some(address.address) == wanted);
            if own.is_some_and(|own| own.valid_seconds == 0) {
                told = NoLease::Withdrawn;
            }
            let lasts = |address: &&Address| address.valid_seconds >= SECONDS_MIN;
            let taken = own.filter(lasts).or_else(|| all.iter().find(lasts));
            if let Some(taken) = taken {
                let information = Information::read(&message.options);
                return Ok(Self::new(*taken, renew, rebind, information, server));
            }
        }
        Err(told)
    }

    fn new(
        taken: Address,
        renew: u32,
        rebind: u32,
        information: Information,
        server: &[u8],
    ) -> Self {
        let valid = taken.valid_seconds;
        let base = match taken.preferred_seconds {
            0 => valid,
            preferred => preferred,
        };
        let part = |tenths: u64| match base {
            u32::MAX => u32::MAX,
            base => u32::try_from(u64::from(base) * tenths / 10).unwrap_or(u32::MAX),
        };
        // RFC 8415, 14.2: half and four fifths where the server leaves it to us.
        let rebind = if rebind == 0 { part(8) } else { rebind };
        let renew = if renew == 0 { part(5) } else { renew };
        let rebind_seconds = rebind.clamp(RENEW_SECONDS_MIN, valid);
        let renew_seconds = renew.clamp(RENEW_SECONDS_MIN, rebind_seconds);
        let (address, server) = (taken.address, server.to_vec());
        Self { address, information, server, seconds: valid, renew_seconds, rebind_seconds }
    }
}

/// Whether a server could have promised this address.
pub fn is_address(own: Ipv6Addr) -> bool {
    is_machine(own) && !own.is_unicast_link_local()
}

/// RFC 8415, 21.6: preferred for longer than valid is no address at all.
fn is_sound(address: Address) -> bool {
    is_address(address.address) && address.preferred_seconds <= address.valid_seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dhcp6::message::Kind;

    const OWN: Ipv6Addr = Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 5);

    fn address(last: u16, preferred_seconds: u32, valid_seconds: u32) -> Vec<u8> {
        let address = Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, last);
        Address { address, preferred_seconds, valid_seconds }.emit()
    }

    fn read(times: (u32, u32), list: &[Vec<u8>]) -> Result<Lease, NoLease> {
        let mut options = Options::default();
        list.iter().for_each(|value| options.add(option::ADDRESS, value));
        let (renew_seconds, rebind_seconds) = times;
        let addresses = Addresses { link: 7, renew_seconds, rebind_seconds, options };
        let options = Options::default()
            .with(option::SERVER, &[1])
            .with(option::ADDRESSES, &addresses.emit());
        Lease::read(&Message { kind: Kind::Reply, exchange: 1, options }, 7, Some(OWN))
    }

    fn times(lease: &Lease) -> [u32; 3] {
        [lease.renew_seconds, lease.rebind_seconds, lease.seconds]
    }

    #[test]
    fn times_are_the_servers_or_half_and_four_fifths_of_the_preferred_time() {
        assert_eq!(times(&read((30, 48), &[address(5, 60, 120)]).unwrap()), [30, 48, 120]);
        assert_eq!(times(&read((0, 0), &[address(5, 60, 120)]).unwrap()), [30, 48, 120]);
        assert_eq!(times(&read((0, 0), &[address(5, 0, 120)]).unwrap()), [60, 96, 120]);
        assert_eq!(times(&read((500, 900), &[address(5, 60, 120)]).unwrap()), [120, 120, 120]);
        assert_eq!(times(&read((1, 1), &[address(5, 60, 120)]).unwrap()), [5, 5, 120]);
        let forever = read((0, 0), &[address(5, u32::MAX, u32::MAX)]).unwrap();
        assert_eq!(times(&forever), [u32::MAX; 3]);
    }

    #[test]
    fn the_wanted_address_is_taken_before_others_and_none_that_is_unsound() {
        let taken = |list: &[Vec<u8>]| read((0, 0), list).map(|lease| lease.address.segments()[7]);
        assert_eq!(taken(&[address(4, 60, 60), address(5, 60, 60)]), Ok(5));
        assert_eq!(taken(&[address(5, 0, 0), address(4, 60, 60)]), Ok(4));
        assert_eq!(taken(&[address(5, 0, 0)]), Err(NoLease::Withdrawn));
        assert_eq!(taken(&[address(5, 61, 60)]), Err(NoLease::Nothing));
        assert_eq!(taken(&[address(5, 1, 9)]), Err(NoLease::Nothing));
        assert_eq!(taken(&[]), Err(NoLease::Nothing));
        assert_eq!(read((48, 30), &[address(5, 60, 60)]), Err(NoLease::Nothing));
    }

    #[test]
    fn what_a_server_knows_is_read_in_both_forms_of_time_servers() {
        let server = |last: u16| Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, last).octets();
        let newer = [&[0, 2, 0, 0, 0, 1, 0, 16][..], &server(1)].concat();
        let older = [server(1), server(2), Ipv6Addr::UNSPECIFIED.octets()].concat();
        let options = Options::default()
            .with(option::NTP, &newer)
            .with(option::SNTP, &older)
            .with(option::DNS, &server(53))
            .with(option::SEARCH, b"\x04corp\x07example\x00");
        let known = Information::read(&options);
        assert_eq!(known.ntp, [server(1), server(2)].map(Ipv6Addr::from));
        assert_eq!(known.dns, [Ipv6Addr::from(server(53))]);
        assert_eq!(known.domains, ["corp.example"]);
    }
}
