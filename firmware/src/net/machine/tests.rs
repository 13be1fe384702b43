//! The network's brain on a system that is a few lists: what it asks for is done at once, and time passes when told.

use core::net::{IpAddr, Ipv4Addr};

use hal::net::address::Mac;
use hal::net::arp::Arp;
use hal::net::config::Network;
use hal::net::facts::{AddressState, Managed};
use hal::net::frame::{ETHER_ARP, Ethernet};
use hal::net::nic::NetErrorKind;
use hal_sim::nic::server::SimServer;
use hal_sim::nic::server6::SimServer6;

use super::*;
use crate::net::listener::Listener;

/// What is told by somebody who lies, or begins anew.
mod lies;

/// A system that does what it is asked, and a wire with a DHCP server and machines that have addresses.
struct Bench {
    machine: Machine,
    listener: Listener,
    seen: Seen,
    now: Moment,
    server: Option<SimServer>,
    server6: Option<SimServer6>,
    /// Machines on every wire.
    others: Vec<(Ipv4Addr, Mac)>,
    /// Changes that the system refuses, by their first letters.
    refuses: &'static str,
    changes: Vec<String>,
}

fn page(text: &str) -> Checked {
    toml::from_str::<Network>(text).unwrap().check().unwrap()
}

fn nic(index: u32, last: u8) -> LinkFacts {
    LinkFacts {
        index,
        name: format!("eth{}", index - 2),
        kind: LinkKind::Hardware,
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        permanent_mac: None,
        up: false,
        carrier: false,
        mtu: 1500,
        master: None,
        driver: None,
        place: None,
        speed_mbit: None,
        managed: Managed::Nothing,
    }
}

impl Bench {
    fn new(text: &str, nics: &[LinkFacts]) -> Self {
        let seen = Seen { links: nics.to_vec(), ..Seen::default() };
        Self {
            machine: Machine::new(page(text), "lifeboat", 1),
            listener: Listener::default(),
            seen,
            now: Moment(1000),
            server: None,
            server6: None,
            others: Vec::new(),
            refuses: "nothing",
            changes: Vec::new(),
        }
    }

    /// Everything that is to be done at this moment.
    fn settle(&mut self) {
        for _ in 0..64 {
            let news = self.listener.news(self.now);
            self.machine.look(self.seen.clone());
            let actions = self.machine.act(self.now);
            let frames = self.listener.poll(self.now);
            if actions.is_empty() && frames.is_empty() && news.is_empty() {
                return;
            }
            for told in news {
                // As it comes over a line.
                let bytes = postcard::to_allocvec(&told).unwrap();
                self.machine.told(self.now, postcard::from_bytes(&bytes).unwrap()).unwrap();
            }
            for action in actions {
                match action {
                    Action::Change(change) => self.change(&change),
                    Action::Open(link) => self.machine.opened(self.now, link, Ok(())),
                    Action::Order(order) => {
                        let bytes = postcard::to_allocvec(&order).unwrap();
                        self.listener.take(self.now, postcard::from_bytes(&bytes).unwrap());
                    }
                }
            }
            frames.iter().for_each(|(link, frame)| self.answer(*link, frame));
        }
        panic!("it never rests: {:?}", self.changes);
    }

    /// Lets time pass, a tenth of a second at a time.
    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.settle();
            self.now = self.now.after(100);
        }
        self.settle();
    }

    fn answer(&mut self, link: u32, frame: &[u8]) {
        let told = self.server.as_mut().and_then(|server| server.hear(self.now, frame));
        let told6 = self.server6.as_mut().and_then(|server| server.hear(self.now, frame));
        let asked = Ethernet::parse(frame)
            .filter(|frame| frame.kind == ETHER_ARP)
            .and_then(|frame| Arp::parse(frame.content));
        let other = self
            .others
            .iter()
            .find(|(address, _)| asked.is_some_and(|asked| asked.asks && asked.target == *address));
        let other = other
            .map(|(address, mac)| Arp { asks: false, ..Arp::announcement(*mac, *address) }.frame());
        for frame in told.into_iter().chain(told6).chain(other) {
            self.listener.hear(self.now, link, &frame);
        }
    }

    fn change(&mut self, change: &Change) {
        let words = format!("{change:?}");
        if words.starts_with(self.refuses) {
            let error = NetError::new(NetErrorKind::Refused, "the system says no");
            return self.machine.done(self.now, change, Err(&error));
        }
        self.changes.push(words);
        self.apply(change);
        self.machine.done(self.now, change, Ok(()));
    }

    fn apply(&mut self, change: &Change) {
        let made = |seen: &Seen, name: &str, kind: LinkKind| {
            let index = seen.links.iter().map(|link| link.index).max().unwrap_or(1) + 1;
            LinkFacts { name: name.to_owned(), kind, ..nic(index, u8::try_from(index).unwrap()) }
        };
        match change.clone() {
            Change::Up { link } => {
                self.link(link, |facts| (facts.up, facts.carrier) = (true, true))
            }
            Change::Down { link } => {
                self.link(link, |facts| (facts.up, facts.carrier) = (false, false))
            }
            Change::Mtu { link, mtu } => self.link(link, |facts| facts.mtu = mtu),
            Change::AddVlan { name, on, id } => {
                let link = made(&self.seen, &name, LinkKind::Vlan { on: Some(on), id });
                self.seen.links.push(link);
            }
            Change::AddBond { name, .. } => {
                let link = made(&self.seen, &name, LinkKind::Bond);
                self.seen.links.push(link);
            }
            Change::Join { link, bond } => self.link(link, |facts| facts.master = Some(bond)),
            Change::RemoveLink { link } => self.seen.links.retain(|facts| facts.index != link),
            Change::AddAddress { link, address } => {
                let state = AddressState::Usable;
                self.seen.addresses.push(AddressFacts { link, address, state, automatic: false });
            }
            Change::RemoveAddress { link, address } => {
                self.seen.addresses.retain(|there| (there.link, there.address) != (link, address));
            }
            Change::AddRoute(route) => self.seen.routes.push(route),
            Change::RemoveRoute(route) => self.seen.routes.retain(|there| *there != route),
            _ => {}
        }
    }

    fn link(&mut self, index: u32, change: impl FnOnce(&mut LinkFacts)) {
        change(self.seen.links.iter_mut().find(|facts| facts.index == index).unwrap());
    }

    fn addresses(&self) -> Vec<String> {
        self.seen
            .addresses
            .iter()
            .map(|there| format!("{} on {}", there.address, there.link))
            .collect()
    }

    fn routes(&self) -> Vec<String> {
        let via =
            |via: Option<IpAddr>| via.map_or_else(|| "itself".to_owned(), |via| via.to_string());
        let mut routes: Vec<String> = self
            .seen
            .routes
            .iter()
            .map(|route| {
                format!("{} by {} on {} at {}", route.to, via(route.via), route.link, route.metric)
            })
            .collect();
        routes.sort_unstable();
        routes
    }

    fn problem(&self, place: usize) -> Option<String> {
        self.machine.state(self.now).links[place].problem.clone()
    }
}

const FIXED: &str = "[[link]]\nname = \"up\"\nnic = \"eth0\"\naddresses = [\"10.1.0.5/24\"]\n\
    gateways = [\"10.1.0.1\"]\nipv6 = \"off\"\n";

#[test]
fn a_fixed_address_is_used_once_nobody_answers_for_it() {
    let mut bench = Bench::new(FIXED, &[nic(2, 1)]);
    bench.settle();
    assert_eq!(bench.addresses(), [""; 0], "not before it was looked for");
    bench.pass(1000);
    assert_eq!(bench.addresses(), ["10.1.0.5/24 on 2"]);
    assert_eq!(bench.routes(), ["0.0.0.0/0 by 10.1.0.1 on 2 at 100"]);
    assert!(bench.machine.state(bench.now).online);
}

#[test]
fn an_address_that_somebody_has_is_told_and_taken_when_it_is_free() {
    let mut bench = Bench::new(FIXED, &[nic(2, 1)]);
    bench.others.push((Ipv4Addr::new(10, 1, 0, 5), Mac([2, 9, 9, 9, 9, 9])));
    bench.pass(5000);
    assert_eq!((bench.addresses(), bench.routes()), (vec![], vec![]));
    let words = bench.problem(0).unwrap();
    assert!(words.contains("10.1.0.5") && words.contains("02:09:09:09:09:09"), "{words}");
    bench.others.clear();
    bench.pass(31_000);
    assert_eq!((bench.addresses().len(), bench.problem(0)), (1, None));
}

#[test]
fn a_lease_brings_address_way_and_names_and_its_end_takes_them() {
    let mut bench = Bench::new("", &[nic(2, 1)]);
    bench.server = Some(SimServer::new(1, 50..51, 60));
    bench.pass(3000);
    assert_eq!(bench.addresses(), ["10.0.0.50/24 on 2"]);
    assert_eq!(bench.routes(), ["0.0.0.0/0 by 10.0.0.1 on 2 at 100"]);
    assert_eq!(
        bench.machine.resolver(bench.now).text().lines().next(),
        Some("nameserver 10.0.0.1")
    );
    bench.server = None;
    bench.pass(61_000);
    assert_eq!((bench.addresses(), bench.routes()), (vec![], vec![]));
    assert!(bench.problem(0).unwrap().contains("ran out"));
}

#[test]
fn a_lease_that_ends_while_the_cable_is_out_wakes_nobody_again_and_again() {
    let mut bench = Bench::new("", &[nic(2, 1)]);
    bench.server = Some(SimServer::new(1, 50..51, 60));
    bench.pass(3000);
    bench.link(2, |facts| facts.carrier = false);
    bench.pass(61_000);
    assert_eq!(bench.addresses(), [""; 0]);
    let deadlines = [bench.machine.deadline(bench.now), bench.listener.deadline(bench.now)];
    assert!(deadlines.into_iter().flatten().all(|deadline| deadline > bench.now));
}

/// The system gives the link an address of the cable, and routers say so much of servers.
fn promise(bench: &mut Bench, managed: Managed) {
    bench.link(2, |facts| facts.managed = managed);
    bench.seen.addresses.push(AddressFacts {
        link: 2,
        address: "fe80::1/64".parse().unwrap(),
        state: AddressState::Usable,
        automatic: true,
    });
}

/// A link of which routers say so much of servers, and a server.
fn managed(managed: Managed) -> Bench {
    let mut bench = Bench::new("", &[nic(2, 1)]);
    bench.server6 = Some(SimServer6::new(1, 80..82, 60));
    bench.settle();
    promise(&mut bench, managed);
    bench.pass(5000);
    bench
}

#[test]
fn a_server_of_ipv6_is_asked_for_what_routers_leave_to_it_and_no_more() {
    let bench = managed(Managed::Nothing);
    assert_eq!(bench.addresses(), ["fe80::1/64 on 2"]);
    assert_eq!(bench.machine.state(bench.now).dns, [""; 0]);
    let bench = managed(Managed::Information);
    assert_eq!(bench.addresses(), ["fe80::1/64 on 2"]);
    let state = bench.machine.state(bench.now);
    assert_eq!((state.dns, state.ntp), (vec!["fd00::53".to_owned()], vec!["fd00::53".to_owned()]));
    assert_eq!(state.links[0].dhcp6.as_deref(), Some("informed"));
}

#[test]
fn a_lease_of_ipv6_brings_an_address_and_names_and_its_end_takes_them() {
    let mut bench = managed(Managed::Addresses);
    assert_eq!(bench.addresses(), ["fe80::1/64 on 2", "fd00::50/128 on 2"]);
    let state = bench.machine.state(bench.now);
    assert_eq!((state.dns, state.links[0].problem.clone()), (vec!["fd00::53".to_owned()], None));
    assert!(state.online);
    // Routers that say otherwise later, and a cable that is out for a while, take nothing away.
    bench.link(2, |facts| (facts.managed, facts.carrier) = (Managed::Nothing, false));
    bench.pass(2000);
    bench.link(2, |facts| (facts.managed, facts.carrier) = (Managed::Addresses, true));
    bench.pass(90_000);
    assert_eq!(bench.addresses().len(), 2);
    bench.server6 = None;
    bench.pass(61_000);
    assert_eq!(bench.addresses(), ["fe80::1/64 on 2"]);
    assert!(bench.problem(0).unwrap().contains("IPv6 ran out"), "{:?}", bench.problem(0));
    assert_eq!(bench.machine.state(bench.now).dns, [""; 0]);
}

#[test]
fn an_address_of_ipv6_that_somebody_has_is_declined_and_another_used() {
    let mut bench = managed(Managed::Addresses);
    bench.seen.addresses.last_mut().unwrap().state = AddressState::Duplicate;
    bench.settle();
    assert!(bench.problem(0).unwrap().contains("fd00::50"), "{:?}", bench.problem(0));
    bench.pass(10_000);
    assert_eq!(bench.addresses(), ["fe80::1/64 on 2", "fd00::51/128 on 2"]);
    assert_eq!(bench.problem(0), None);
    let frames = bench.listener.release(bench.now);
    assert_eq!(frames.len(), 1, "it is given back");
}

#[test]
fn a_server_of_ipv6_that_is_promised_and_silent_is_told_where_nothing_else_works() {
    let mut bench = Bench::new("", &[nic(2, 1)]);
    bench.settle();
    promise(&mut bench, Managed::Addresses);
    bench.pass(20_000);
    assert!(bench.problem(0).unwrap().contains("the router says"), "{:?}", bench.problem(0));
    bench.server = Some(SimServer::new(1, 50..51, 60));
    bench.pass(20_000);
    assert_eq!(bench.problem(0), None);
}

#[test]
fn a_network_of_ipv6_alone_lacks_nothing() {
    let mut bench = Bench::new("", &[nic(2, 1)]);
    bench.pass(10_000);
    assert!(bench.problem(0).unwrap().contains("no DHCP server answers"));
    bench.seen.addresses.push(AddressFacts {
        link: 2,
        address: "fd00::5/64".parse().unwrap(),
        state: AddressState::Usable,
        automatic: true,
    });
    bench.settle();
    assert_eq!(bench.problem(0), None);
    assert!(bench.machine.state(bench.now).online);
}

#[test]
fn a_card_that_comes_back_under_another_number_has_its_settings_again() {
    let text = FIXED.replace("eth0", "02:00:00:00:00:01");
    let mut bench = Bench::new(&text, &[nic(2, 1), nic(3, 7)]);
    bench.pass(1000);
    bench.seen = Seen { links: vec![nic(3, 7)], ..Seen::default() };
    bench.pass(1000);
    assert!(bench.problem(0).unwrap().contains("not in this machine"));
    bench.seen.links.push(nic(5, 1));
    bench.pass(1000);
    assert_eq!(bench.addresses(), ["10.1.0.5/24 on 5"]);
}

#[test]
fn routes_leave_by_their_own_link_and_go_with_its_carrier() {
    let text = "[[link]]\nname = \"up\"\nnic = \"eth0\"\naddresses = [\"10.1.0.5/24\"]\n\
        gateways = [\"10.1.0.1\"]\n[[link]]\nname = \"express\"\nnic = \"eth1\"\n\
        addresses = [\"10.2.0.5/24\"]\n[[route]]\nto = \"10.60.0.0/16\"\nlink = \"express\"\n\
        via = \"10.2.0.1\"\n[[route]]\nto = \"10.61.0.0/16\"\nlink = \"express\"\n";
    let mut bench = Bench::new(text, &[nic(2, 1), nic(3, 2)]);
    bench.pass(1000);
    let all = [
        "0.0.0.0/0 by 10.1.0.1 on 2 at 100",
        "10.60.0.0/16 by 10.2.0.1 on 3 at 110",
        "10.61.0.0/16 by itself on 3 at 110",
    ];
    assert_eq!(bench.routes(), all);
    bench.link(3, |facts| facts.carrier = false);
    bench.settle();
    assert_eq!(bench.routes(), all[..1]);
    bench.link(3, |facts| facts.carrier = true);
    bench.pass(1000);
    assert_eq!(bench.routes(), all);
}

#[test]
fn what_another_page_wants_no_more_is_undone_and_what_others_made_stays() {
    let text = "[[link]]\nname = \"trunk\"\nnic = \"eth0\"\nipv4 = \"off\"\nmtu = 9000\n\
        [[link]]\nname = \"office\"\nvlan = { on = \"trunk\", id = 30 }\n\
        addresses = [\"10.3.0.5/24\"]\n[[link]]\nname = \"pair\"\n\
        bond = { nics = [\"eth1\"], mode = \"active-backup\" }\naddresses = [\"10.4.0.5/24\"]\n";
    let mut bench = Bench::new(text, &[nic(2, 1), nic(3, 2)]);
    let kind = LinkKind::Vlan { on: Some(2), id: 99 };
    bench.seen.links.push(LinkFacts { name: "theirs".to_owned(), kind, ..nic(4, 1) });
    bench.pass(1000);
    let names = |bench: &Bench| -> Vec<String> {
        bench.seen.links.iter().map(|link| link.name.clone()).collect()
    };
    assert_eq!(names(&bench), ["eth0", "eth1", "theirs", "pair", "office"]);
    assert_eq!((bench.seen.links[0].mtu, bench.addresses().len()), (9000, 2));
    assert_eq!(bench.seen.links[1].master, Some(5));
    bench.machine.configure(page(FIXED));
    bench.pass(1000);
    assert_eq!(names(&bench), ["eth0", "eth1", "theirs"]);
    assert_eq!(bench.seen.links[0].mtu, 1500, "as it was before");
    // The same name with another tag is another link.
    bench.machine.configure(page(text));
    bench.pass(1000);
    bench.machine.configure(page(&text.replace("id = 30", "id = 31")));
    bench.pass(1000);
    let kinds: Vec<&LinkKind> = bench.seen.links.iter().map(|link| &link.kind).collect();
    assert!(kinds.contains(&&LinkKind::Vlan { on: Some(2), id: 31 }), "{kinds:?}");
    assert!(!kinds.contains(&&LinkKind::Vlan { on: Some(2), id: 30 }), "{kinds:?}");
}

#[test]
fn a_step_that_is_refused_is_told_and_tried_again_less_and_less_often() {
    let mut bench = Bench::new(FIXED, &[nic(2, 1)]);
    bench.refuses = "AddAddress";
    bench.pass(20_000);
    assert_eq!(bench.problem(0).as_deref(), Some("the system says no"));
    bench.refuses = "nothing";
    bench.pass(31_000);
    assert_eq!((bench.addresses().len(), bench.problem(0)), (1, None));
}

#[test]
fn links_that_nobody_named_ask_by_dhcp_in_their_order() {
    let mut bench = Bench::new("", &[nic(2, 1), nic(3, 2)]);
    bench.server = Some(SimServer::new(1, 50..60, 600));
    bench.pass(5000);
    assert_eq!(bench.addresses(), ["10.0.0.50/24 on 2", "10.0.0.51/24 on 3"]);
    assert_eq!(
        bench.routes(),
        ["0.0.0.0/0 by 10.0.0.1 on 2 at 100", "0.0.0.0/0 by 10.0.0.1 on 3 at 110"]
    );
    // Routers of IPv6 count by the same order, and the second link is the first where the first is gone.
    let told = |bench: &Bench, link: u32, metric: u32| {
        let words = format!("Ipv6 {{ link: {link}, mode: Automatic, metric: {metric} }}");
        bench.changes.contains(&words)
    };
    assert!(told(&bench, 2, 100) && told(&bench, 3, 110) && !told(&bench, 3, 100));
    let mut alone = Bench::new("", &[nic(2, 1), nic(3, 2)]);
    alone.settle();
    alone.seen.links.remove(0);
    alone.settle();
    assert!(told(&alone, 3, 100), "{:?}", alone.changes);
    let frames = bench.listener.release(bench.now);
    assert_eq!(frames.len(), 2, "both are given back");
}
