//! The appliance's network on real wires: what it is given, what it is told, and what breaks.
//!
//! The judges are others: this machine's kernel and dnsmasq in a namespace, and frames on the wire.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use hal_sim::nic::server::SimServer;
use qemu::{Disk, Event, Mac, Machine, Network, Nic, Running};
use tests::appliance::{ANSWER, await_ready, medium, start};
use tests::azurite::Scratch;
use tests::guest::BOOT;
use tests::lan::peers::{DhcpPeer, ask};
use tests::lan::routers::{Preference, RouterPeer, ask_from_far};
use tests::lan::{Dnsmasq, answers, inside, ip, tap, until};
use tests::program::Place;

/// Settings that are changed on the page.
#[path = "appliance_network/browser.rs"]
mod browser;
/// A bond by LACP.
#[path = "appliance_network/lacp.rs"]
mod lacp;

/// The latest word on the network.
fn latest(running: &Running) -> Option<Event> {
    running.console().events().into_iter().rfind(|event| event.name == "network")
}

/// What is said of a link, by the start of its name: `eth0 (…): 10.0.0.5/24, …`.
fn link(event: &Event, name: &str) -> String {
    let links = event.field("links").unwrap_or_default();
    links.split("; ").find(|link| link.starts_with(name)).unwrap_or_default().to_owned()
}

/// Waits until the latest word on a link fits, and gives it.
#[track_caller]
fn await_link(running: &Running, name: &str, fits: impl Fn(&str) -> bool) -> String {
    let now = || latest(running).map(|event| link(&event, name)).unwrap_or_default();
    let deadline = std::time::Instant::now() + ANSWER;
    while !fits(&now()) {
        assert!(
            std::time::Instant::now() < deadline,
            "{name}: {}\n{}",
            now(),
            running.console().tail()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    now()
}

/// The first address of a link that begins so.
fn address(words: &str, start: &str) -> Option<IpAddr> {
    let mut found = words.split([' ', ',']).filter(|word| word.starts_with(start));
    found.find_map(|word| word.split('/').next()?.parse().ok())
}

/// Waits for the settings to come from there.
#[track_caller]
fn await_source(running: &Running, from: &str) {
    until(&format!("settings from {from}"), ANSWER, || {
        latest(running).is_some_and(|event| event.field("from") == Some(from))
    });
}

/// Types something and waits for the question that comes of it.
#[track_caller]
fn type_until(running: &Running, typed: &str, question: &str) {
    let console = running.console();
    let before = console.events().len();
    console.type_bytes(typed.as_bytes()).unwrap();
    let asked = |event: &Event| {
        let title = event.field("title").unwrap_or_default();
        event.name == "ask" && title.contains(question)
    };
    until(&format!("«{question}» after «{typed}»"), ANSWER, || {
        console.events().get(before..).unwrap_or_default().iter().any(asked)
    });
}

/// Cards by the order in which they were plugged in.
const CHOOSING: &str = "eth0";
const ROUTED: &str = "eth1";
const SHORT: &str = "eth2";
const GIVEN: &str = "eth3";
const TOLD: &str = "eth4";
const LEASED: &str = "eth5";

/// Networks of IPv6 whose routers leave something to a server, and one with two routers.
struct Six {
    giving: Option<Dnsmasq>,
    telling: Dnsmasq,
    time: std::thread::JoinHandle<IpAddr>,
    network: Network,
    card: Mac,
    high: RouterPeer,
    low: RouterPeer,
}

impl Six {
    fn new() -> Self {
        tap("lan2", &["fd67::1/64"]);
        tap("lan3", &["fd68::1/64", "fd68::123/64"]);
        let start = |link: &str, range: &str, option: &str| {
            Dnsmasq::start(&[
                "--port=0",
                "--enable-ra",
                &format!("--interface={link}"),
                &format!("--ra-param={link},4,600"),
                &format!("--dhcp-range={range}"),
                &format!("--dhcp-option=option6:{option}"),
            ])
        };
        let giving = start("lan2", "fd67::1000,fd67::10ff,64,2m", "dns-server,[fd67::53]");
        // A time server, of which routers know no word.
        let telling = start("lan3", "fd68::,ra-stateless", "31,[fd68::123]");
        let network = Network::new().unwrap();
        let low = RouterPeer::start(network.tap(), 1, Preference::Low);
        let high = RouterPeer::start(network.tap(), 2, Preference::High);
        let time = first_peer("[fd68::123]:123", true);
        Self { giving: Some(giving), telling, time, network, card: Mac::fresh(), high, low }
    }

    /// The card with two routers: the first of the machine, whose ways to everywhere count most.
    fn routers(&self) -> Nic {
        Nic::new().mac(self.card).plugged(self.network.port().unwrap())
    }

    /// Addresses that a server gives are used; then that server goes for good.
    fn gives(&mut self, running: &Running) {
        let words = await_link(running, GIVEN, |words| words.contains("fd67::10"));
        let given = address(&words, "fd67::10").unwrap();
        until("an answer at what a server of IPv6 gave", ANSWER, || answers(given));
        let server = self.giving.take().unwrap();
        assert!(server.log().contains(&format!("DHCPREPLY(lan2) {given}")), "{}", server.log());
        let dns = latest(running).unwrap().field("dns").unwrap().to_owned();
        assert!(dns.split(' ').any(|server| server == "fd67::53"), "{dns}");
    }

    /// The time is over, and the address is used no more.
    fn takes(&self, running: &Running) {
        let words = await_link(running, GIVEN, |words| words.contains("IPv6 ran out"));
        assert_eq!(address(&words, "fd67:"), None, "{words}");
    }

    /// With addresses by routers and the rest by a server, that server is asked for the rest alone.
    fn tells(self, running: &Running) {
        await_link(running, TOLD, |words| words.contains("fd68:"));
        // Nobody else named this time server.
        assert!(self.time.join().unwrap().is_ipv6());
        let log = self.telling.log();
        assert!(log.contains("DHCPINFORMATION-REQUEST(lan3)"), "{log}");
        assert!(!log.contains("DHCPSOLICIT"), "{log}");
    }

    /// Of two routers the one that wants to be used is, and the other when that one is gone.
    fn chooses(&self, running: &Running) {
        let words = await_link(running, CHOOSING, |words| words.contains("fd69:"));
        let Some(IpAddr::V6(own)) = address(&words, "fd69:") else { panic!("{words}") };
        let tap = self.network.tap();
        let ask = |own: Ipv6Addr| ask_from_far(&tap, hal::net::address::Mac(self.card.0), own);
        let by_high = |count: u64| {
            until("answers by the preferred router", ANSWER, || {
                ask(own);
                self.high.routed() >= count
            });
        };
        by_high(1);
        // What left before the preferred router was heard may be under way yet.
        std::thread::sleep(Duration::from_secs(1));
        let before = self.low.routed();
        by_high(20);
        assert_eq!(self.low.routed(), before, "the other is not used");
        self.high.leave();
        until("answers by the other router", ANSWER, || {
            ask(own);
            self.low.routed() >= before + 10
        });
    }
}

#[test]
fn leases_come_go_and_come_back() {
    if !inside("leases_come_go_and_come_back") {
        return;
    }
    tap("lan0", &["10.66.0.1/24", "10.77.0.1/24"]);
    tap("lan1", &["fd66::1/64"]);
    let lease = |range: &str| {
        Dnsmasq::start(&[
            "--interface=lan0",
            "--interface=lan1",
            &format!("--dhcp-range={range},255.255.255.0,2m"),
            "--domain=corp.example",
            "--enable-ra",
            "--dhcp-range=fd66::,ra-only",
            "--dhcp-option=option6:dns-server,[fd66::1]",
            "--ra-param=lan1,4,600",
        ])
    };
    let server = lease("10.66.0.50,10.66.0.60");
    let network = Network::new().unwrap();
    let short = DhcpPeer::start(network.tap(), None, SimServer::new(1, 50..58, 12));
    let mut six = Six::new();
    let running = start("", |machine| {
        let machine = machine.nic(six.routers()).nic(Nic::new().tap("lan1"));
        let machine = machine.nic(Nic::new().plugged(network.port().unwrap()));
        machine.nic(Nic::new().tap("lan2")).nic(Nic::new().tap("lan3")).spare_ports(3)
    });
    await_ready(&running);
    six.gives(&running);
    six.chooses(&running);
    let mac = Mac::fresh();
    let card = running.plug_nic(Nic::new().mac(mac).tap("lan0")).unwrap();

    // What dnsmasq gave is used, and the kernel at the other end reaches the machine there.
    let words = await_link(&running, LEASED, |words| words.contains("10.66.0."));
    let leased = address(&words, "10.66.0.").unwrap();
    until("an answer over IPv4", ANSWER, || answers(leased));
    // With routers alone, and not one word of DHCP: a network of IPv6 alone lacks nothing.
    let words = await_link(&running, ROUTED, |words| words.contains("fd66:"));
    let routed = address(&words, "fd66:").unwrap();
    until("an answer over IPv6", ANSWER, || answers(routed));
    assert!(!words.contains("no DHCP"), "{words}");
    let told = || {
        let event = latest(&running);
        event.and_then(|event| event.field("dns").map(str::to_owned)).unwrap_or_default()
    };
    until("both name servers", ANSWER, || {
        ["10.66.0.1", "fd66::1"].iter().all(|server| told().split(' ').any(|told| told == *server))
    });

    // The cable is moved to another network: the server there refuses the old address, and gives one of its own.
    running.set_link(&card, false).unwrap();
    let words = await_link(&running, LEASED, |words| words.contains("no carrier"));
    assert!(address(&words, "10.66.0.").is_some(), "the lease has not ended: {words}");
    drop(server);
    let server = lease("10.77.0.50,10.77.0.60");
    running.set_link(&card, true).unwrap();
    let words = await_link(&running, LEASED, |words| words.contains("10.77.0."));
    assert_eq!(address(&words, "10.66.0."), None, "{words}");
    assert!(server.log().contains("DHCPNAK(lan0)"), "{}", server.log());
    let moved = address(&words, "10.77.0.").unwrap();
    until("an answer in the other network", ANSWER, || answers(moved));

    // The card is pulled out, and another with its address is put in.
    running.unplug(&card).unwrap();
    await_link(&running, LEASED, str::is_empty);
    running.plug_nic(Nic::new().mac(mac).tap("lan0")).unwrap();
    let words = await_link(&running, LEASED, |words| words.contains("10.77.0."));
    assert_eq!(address(&words, "10.77.0."), Some(moved), "{words}");
    until("an answer of the new card", ANSWER, || answers(moved));

    // A server that falls silent: the lease runs out and is used no more. It speaks again: there is a lease again.
    await_link(&running, SHORT, |words| words.contains("10.0.0."));
    short.server().answers = false;
    let words = await_link(&running, SHORT, |words| words.contains("ran out"));
    assert_eq!(address(&words, "10.0.0."), None, "{words}");
    short.server().answers = true;
    await_link(&running, SHORT, |words| words.contains("10.0.0.") && !words.contains("ran out"));
    six.takes(&running);
    six.tells(&running);
}

/// Who has which card on the page.
struct Cards([Mac; 6]);

impl Cards {
    fn new() -> Self {
        Self(core::array::from_fn(|_| Mac::fresh()))
    }

    /// `lifeboat.toml`: a VLAN, a pair of cards, two ways out, and an address that somebody has.
    fn page(&self, key: &str) -> String {
        let [trunk, pair, pair_too, up, express, spare] = &self.0;
        format!(
            r#"
[vault]
address = "azure://account/container"
server = "web1"
token = "sv=2024-11-04&sig=bm90aGluZw%3D%3D"
recovery-key = """{key}"""
[network.hosts]
"account.blob.core.windows.net" = ["10.60.0.9"]
[[network.link]]
name = "trunk"
nic = "{trunk}"
ipv4 = "off"
ipv6 = "off"
[[network.link]]
name = "office"
vlan = {{ on = "trunk", id = 30 }}
[[network.link]]
name = "pair"
bond = {{ nics = ["{pair}", "{pair_too}"], mode = "active-backup" }}
addresses = ["10.3.0.5/24"]
[[network.link]]
name = "up"
nic = "{up}"
metric = 10
[[network.link]]
name = "express"
nic = "{express}"
addresses = ["10.6.0.5/24"]
[[network.link]]
name = "spare"
nic = "{spare}"
addresses = ["10.9.0.77/24", "fd09::77/64"]
[[network.route]]
to = "10.60.0.0/16"
link = "express"
via = "10.6.0.1"
"#
        )
    }
}

/// Who connects, or sends a datagram, to an address of ours: the first, within a while.
fn first_peer(bound: &str, datagrams: bool) -> std::thread::JoinHandle<IpAddr> {
    let bound: SocketAddr = bound.parse().unwrap();
    if datagrams {
        let socket = UdpSocket::bind(bound).unwrap();
        socket.set_read_timeout(Some(ANSWER * 2)).unwrap();
        return std::thread::spawn(move || socket.recv_from(&mut [0; 64]).unwrap().1.ip());
    }
    let listener = TcpListener::bind(bound).unwrap();
    std::thread::spawn(move || listener.accept().unwrap().1.ip())
}

/// Everything of the machine with the page above that lies on a wire.
struct Wires {
    trunk: Network,
    pair: Network,
}

impl Wires {
    fn new() -> Self {
        let network = || Network::new().unwrap();
        tap("lan0", &["10.5.0.1/24", "10.70.0.1/32"]);
        tap("lan1", &["10.6.0.1/24", "10.60.0.9/32"]);
        tap("lan2", &["10.9.0.1/24", "10.9.0.77/24", "fd09::1/64", "fd09::77/64"]);
        Self { trunk: network(), pair: network() }
    }

    fn plug(&self, machine: Machine, cards: &Cards, medium: &Path) -> Machine {
        let card = |place: usize| Nic::new().mac(cards.0[place]);
        let port = |network: &Network| network.port().unwrap();
        machine
            .disk(Disk::new(medium))
            .nic(card(0).plugged(port(&self.trunk)))
            .nic(card(1).plugged(port(&self.pair)))
            .nic(card(2).plugged(port(&self.pair)))
            .nic(card(3).tap("lan0"))
            .nic(card(5).tap("lan2"))
            .spare_ports(3)
    }
}

#[test]
fn vlans_bonds_routes_and_rivals_are_as_written() {
    if !inside("vlans_bonds_routes_and_rivals_are_as_written") {
        return;
    }
    let scratch = Scratch::new("network").unwrap();
    let cards = Cards::new();
    let place = Place::in_folder(scratch.path());
    let key = std::fs::read_to_string(&place.key).unwrap();
    let medium = medium(scratch.path(), &cards.page(&key));
    let wires = Wires::new();
    let office = DhcpPeer::start(wires.trunk.tap(), Some(30), SimServer::new(1, 50..58, 3600));
    let server = Dnsmasq::start(&[
        "--interface=lan0",
        "--dhcp-range=10.5.0.50,10.5.0.60,255.255.255.0,1h",
        "--dhcp-option=option:ntp-server,10.70.0.1",
    ]);
    let time = first_peer("10.70.0.1:123", true);
    let vault = first_peer("10.60.0.9:443", false);
    let running = start("", |machine| wires.plug(machine, &cards, &medium));
    await_ready(&running);

    // A card that is missing is told by what the page calls it; plugged in, it has what the page says.
    await_link(&running, "express", |words| words.contains("not in this machine"));
    let card = running.plug_nic(Nic::new().mac(cards.0[4]).tap("lan1")).unwrap();
    let express: IpAddr = "10.6.0.5".parse().unwrap();
    until("an answer of the fixed address", ANSWER, || answers(express));
    // The vault is reached by its own link, everything else by the other: the source of packets tells.
    let up = await_link(&running, "up", |words| words.contains("10.5.0."));
    assert_eq!(time.join().unwrap(), address(&up, "10.5.0.").unwrap());
    assert_eq!(vault.join().unwrap(), express);
    drop(server);

    // Tagged frames: the server hears no others, and the lease came by it.
    await_link(&running, "office", |words| words.contains("10.0.0.5"));
    assert!(office.server().answers);
    // A pair of which one is enough.
    let tap = wires.pair.tap();
    let pair = Ipv4Addr::new(10, 3, 0, 5);
    assert!(ask(&tap, pair, ANSWER).is_some());
    running.set_link("nic1", false).unwrap();
    assert!(ask(&tap, pair, ANSWER).is_some(), "the other card does not take over");
    running.set_link("nic2", false).unwrap();
    await_link(&running, "pair", |words| words.contains("no carrier"));
    running.set_link("nic1", true).unwrap();
    assert!(ask(&tap, pair, ANSWER).is_some(), "the first card does not take over again");

    // Addresses that somebody has are told, not used; and used once they are free.
    let words = await_link(&running, "spare", |words| words.contains("also used"));
    assert_eq!(address(&words, "10.9.0.77"), None, "{words}");
    ip("addr del 10.9.0.77/24 dev lan2");
    ip("addr del fd09::77/64 dev lan2");
    until("the address that is free", ANSWER, || answers("10.9.0.77".parse().unwrap()));

    running.unplug(&card).unwrap();
    await_link(&running, "express", |words| words.contains("not in this machine"));
    running.plug_nic(Nic::new().mac(cards.0[4]).tap("lan1")).unwrap();
    until("an answer of the new card", ANSWER, || answers(express));
}

#[test]
fn settings_that_a_person_types_are_tried_kept_and_forgotten() {
    // Inside there is no network to get it by.
    tests::browser::install();
    if !inside("settings_that_a_person_types_are_tried_kept_and_forgotten") {
        return;
    }
    tap("lan0", &["10.66.0.1/24", "10.8.0.1/24"]);
    let range = "--dhcp-range=10.66.0.50,10.66.0.60,255.255.255.0,1h";
    let _server = Dnsmasq::start(&["--interface=lan0", range]);
    let scratch = Scratch::new("typed").unwrap();
    let medium = medium(scratch.path(), "name = \"site\"\n");
    let running =
        start("", |machine| machine.disk(Disk::new(medium)).nic(Nic::new().tap("lan0")).reboots());
    await_ready(&running);
    await_link(&running, "eth0", |words| words.contains("10.66.0."));
    let typed: IpAddr = "10.8.0.5".parse().unwrap();
    let fixed = || {
        type_until(&running, "n", "The network");
        type_until(&running, "1", "How does eth0");
        type_until(&running, "2", "Which addresses");
        // What cannot be is asked for again.
        type_until(&running, "10.8.0.500/24\r", "Which addresses");
        type_until(&running, &format!("{}10.8.0.5/24\r", "\u{8}".repeat(20)), "Which router");
        type_until(&running, "10.8.0.1\r", "DNS servers");
        type_until(&running, "10.8.0.1\r", "VLAN");
        type_until(&running, "\r", "MTU");
        type_until(&running, "1400\r", "Use these settings?");
        type_until(&running, "1", "Keep these settings?");
        await_source(&running, "trial");
        until("an answer of the address on trial", ANSWER, || answers(typed));
    };
    fixed();
    running.console().type_bytes(b"2").unwrap();
    await_source(&running, "default");
    let words = await_link(&running, "eth0", |words| words.contains("10.66.0."));
    assert_eq!(address(&words, "10.8.0.5"), None, "{words}");

    fixed();
    running.console().type_bytes(b"1").unwrap();
    await_source(&running, "console");
    type_until(&running, "s", "Shut this machine down?");
    let before = running.console().events().len();
    running.console().type_bytes(b"3").unwrap();
    let again = || running.console().events().split_off(before);
    until("the machine is up again", BOOT, || again().iter().any(|event| event.name == "ready"));
    until("what was kept is used", ANSWER, || {
        let told = again().into_iter().rfind(|event| event.name == "network");
        told.is_some_and(|event| {
            event.field("from") == Some("console") && link(&event, "eth0").contains("10.8.0.5")
        })
    });
    until("an answer after the restart", ANSWER, || answers(typed));

    type_until(&running, "n", "The network");
    running.console().type_bytes(b"2").unwrap();
    await_source(&running, "default");
    await_link(&running, "eth0", |words| words.contains("10.66.0.") && !words.contains("10.8.0."));
    browser::tried_and_kept(&running);
}
