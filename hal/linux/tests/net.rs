//! The machine's network in namespaces of its own: packet sockets pass the suite, and what is changed is so.
//!
//! Each test runs itself again in a fresh namespace, so nothing here touches the machine's own network.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use core::time::Duration;
use std::path::Path;
use std::process::Command;

use hal::net::address::Cidr;
use hal::net::facts::{AddressState, LinkFacts, LinkKind, Route};
use hal::net::nic::{Change, Event, Ipv6Mode, NetErrorKind, Nic as _, Stack};
use hal_linux::{LinuxNic, LinuxStack};
use hal_sim::conformance::nic::{Bench, run};

const INSIDE: &str = "LIFEBOAT_TEST_NAMESPACE";

/// Whether this is the run inside; outside it runs the test inside, and fails as that does.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let possible = Command::new("unshare").args(["--net", "--mount", "true"]).status();
    let has_ip =
        ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].iter().any(|path| Path::new(path).exists());
    if !possible.is_ok_and(|status| status.success()) || !has_ip {
        eprintln!(
            "SKIPPED, not tested on this machine: no network namespaces (root, unshare and ip are needed)"
        );
        return false;
    }
    let own = std::env::current_exe().unwrap();
    let script = "mount -t sysfs sysfs /sys && exec \"$@\"";
    let status = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", script, "sh"])
        .arg(own)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside its namespace");
    false
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {words}");
}

fn link(stack: &mut LinuxStack, name: &str) -> LinkFacts {
    let links = stack.links().unwrap();
    links.into_iter().find(|link| link.name == name).unwrap_or_else(|| panic!("no link {name}"))
}

/// Both ends of a virtual cable, without IPv6 so that nobody else speaks.
fn cable(stack: &mut LinuxStack, a: &str, b: &str) -> [u32; 2] {
    ip(&format!("link add {a} type veth peer name {b}"));
    [a, b].map(|name| {
        let link = link(stack, name).index;
        stack.change(&Change::Ipv6 { link, mode: Ipv6Mode::Off, metric: 100 }).unwrap();
        stack.change(&Change::Up { link }).unwrap();
        link
    })
}

/// Waits for events until it is so.
fn until(stack: &mut LinuxStack, mut is_so: impl FnMut(&mut LinuxStack) -> bool) {
    for _ in 0..100 {
        if is_so(stack) {
            return;
        }
        stack.wait(&[], Duration::from_millis(100)).unwrap();
    }
    panic!("it never was so");
}

/// Whether the kernel has made a virtual cable ready for its carrier; before that it loses frames.
fn is_ready(name: &str) -> bool {
    let state = std::fs::read_to_string(format!("/sys/class/net/{name}/operstate"));
    state.is_ok_and(|state| state.trim() == "up")
}

struct Pair {
    stack: LinuxStack,
    ends: [LinuxNic; 2],
    peer: u32,
}

impl Pair {
    fn new(number: usize) -> Self {
        let mut stack = LinuxStack::open().unwrap();
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        let links = cable(&mut stack, &a, &b);
        until(&mut stack, |stack| link(stack, &a).carrier && link(stack, &b).carrier);
        let ready = |name: &String| is_ready(name);
        until(&mut stack, |_| [&a, &b].into_iter().all(ready));
        let ends = links.map(|link| stack.open(link).unwrap());
        Self { stack, ends, peer: links[1] }
    }
}

impl Bench for Pair {
    type Nic = LinuxNic;

    fn ends(&mut self) -> (&mut LinuxNic, &mut LinuxNic) {
        let [a, b] = &mut self.ends;
        (a, b)
    }

    fn pass(&mut self) {
        // The kernel delivers when it comes to it, which is late on a machine with much else to do.
        std::thread::sleep(Duration::from_millis(250));
    }

    fn set_carrier(&mut self, carrier: bool) {
        let link = self.peer;
        let change = if carrier { Change::Up { link } } else { Change::Down { link } };
        self.stack.change(&change).unwrap();
        let (own, peer) = (self.ends[0].link(), self.peer);
        until(&mut self.stack, |stack| {
            let links = stack.links().unwrap();
            let is_so = links.iter().any(|link| link.index == own && link.carrier == carrier);
            let named = links.iter().filter(|link| link.name != "lo" && link.up);
            let ends = |link: &&LinkFacts| link.index == own || link.index == peer;
            is_so && (!carrier || named.filter(ends).all(|link| is_ready(&link.name)))
        });
    }
}

#[test]
fn packet_sockets_conform() {
    if !inside("packet_sockets_conform") {
        return;
    }
    let mut number = 0;
    run(|| {
        number += 1;
        Pair::new(number)
    });
}

#[test]
fn what_is_changed_is_so_and_told() {
    if !inside("what_is_changed_is_so_and_told") {
        return;
    }
    let mut stack = LinuxStack::open().unwrap();
    let [own, other] = cable(&mut stack, "a0", "b0");
    until(&mut stack, |stack| link(stack, "a0").carrier);
    let facts = link(&mut stack, "a0");
    assert!(facts.up && facts.is_usable());
    assert_eq!((facts.kind.clone(), facts.mtu), (LinkKind::Other("veth".to_owned()), 1500));
    assert_eq!(link(&mut stack, "lo").kind, LinkKind::Loopback);

    let quiet =
        |stack: &mut LinuxStack| stack.wait(&[], Duration::from_millis(300)).unwrap().is_empty();
    until(&mut stack, quiet);
    let address: Cidr = "10.66.0.5/24".parse().unwrap();
    let add = Change::AddAddress { link: own, address };
    stack.change(&add).unwrap();
    stack.change(&add).unwrap();
    let given = stack.addresses().unwrap();
    let given: Vec<_> = given.iter().filter(|given| given.link == own).collect();
    assert_eq!(given.len(), 1);
    assert_eq!(
        (given[0].address, given[0].state, given[0].automatic),
        (address, AddressState::Usable, false)
    );
    assert_eq!(stack.wait(&[], Duration::from_secs(2)).unwrap(), [Event::Changed]);
    until(&mut stack, quiet);

    let via = Some("10.66.0.1".parse().unwrap());
    let everywhere = Route { to: Cidr::EVERYTHING_V4, via, link: own, metric: 100, source: None };
    let far = Route { to: "10.9.0.0/16".parse().unwrap(), ..everywhere };
    ip("route add 10.8.0.0/16 via 10.66.0.2");
    for route in [everywhere, far] {
        stack.change(&Change::AddRoute(route)).unwrap();
    }
    let mut routes = stack.routes().unwrap();
    routes.sort_unstable();
    assert_eq!(routes, [everywhere, far], "ours, and not what others made");
    let way = stack.way("192.0.2.7".parse().unwrap()).unwrap();
    assert_eq!((way.link, way.via, way.source), (own, via, Some(address.address())));
    for _ in 0..2 {
        stack.change(&Change::RemoveRoute(everywhere)).unwrap();
    }
    let error = stack.way("192.0.2.7".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind, NetErrorKind::NoRoute, "{error}");

    stack.change(&Change::Mtu { link: own, mtu: 9000 }).unwrap();
    assert_eq!(link(&mut stack, "a0").mtu, 9000);
    for _ in 0..2 {
        stack.change(&Change::RemoveAddress { link: own, address }).unwrap();
    }
    stack.change(&Change::Down { link: other }).unwrap();
    until(&mut stack, |stack| !link(stack, "a0").carrier);
    assert!(link(&mut stack, "a0").up);
}

#[test]
fn addresses_of_ipv6_follow_the_mode() {
    if !inside("addresses_of_ipv6_follow_the_mode") {
        return;
    }
    let mut stack = LinuxStack::open().unwrap();
    let [own, _] = cable(&mut stack, "a0", "b0");
    let v6 = |stack: &mut LinuxStack| {
        let given = stack.addresses().unwrap().into_iter();
        given.filter(|given| given.link == own && given.address.address().is_ipv6()).count()
    };
    assert_eq!(v6(&mut stack), 0);
    stack.change(&Change::Ipv6 { link: own, mode: Ipv6Mode::Fixed, metric: 100 }).unwrap();
    let address = "fd00:66::5/64".parse().unwrap();
    stack.change(&Change::AddAddress { link: own, address }).unwrap();
    until(&mut stack, |stack| {
        let given = stack.addresses().unwrap();
        given.iter().any(|given| given.address == address && given.state == AddressState::Usable)
    });
    stack.change(&Change::Ipv6 { link: own, mode: Ipv6Mode::Off, metric: 100 }).unwrap();
    assert_eq!(v6(&mut stack), 0);
    stack.change(&Change::Ipv6 { link: own, mode: Ipv6Mode::Automatic, metric: 110 }).unwrap();
    let setting = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/a0/{name}"));
        text.map(|text| text.trim().to_owned())
    };
    assert_eq!(setting("accept_ra").unwrap(), "1");
    // Kernels before 5.12 have it not.
    assert!(
        setting("ra_defrtr_metric").is_ok_and(|metric| metric == "110")
            || setting("ra_defrtr_metric").is_err()
    );
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    if !inside("what_cannot_be_is_refused_in_words") {
        return;
    }
    let mut stack = LinuxStack::open().unwrap();
    let address = "10.66.0.5/24".parse().unwrap();
    for (change, kind) in [
        (Change::Up { link: 4711 }, NetErrorKind::Gone),
        (Change::AddAddress { link: 4711, address }, NetErrorKind::Gone),
        (Change::Mtu { link: 1, mtu: 1 << 31 }, NetErrorKind::Misuse),
        (
            Change::AddVlan { name: "much-too-long-for-a-link".to_owned(), on: 1, id: 5 },
            NetErrorKind::Misuse,
        ),
        (Change::Ipv6 { link: 4711, mode: Ipv6Mode::Off, metric: 100 }, NetErrorKind::Gone),
    ] {
        let error = stack.change(&change).unwrap_err();
        assert_eq!(error.kind, kind, "{change:?}: {error}");
        assert!(error.what.len() > 20, "{error}");
    }
    assert_eq!(stack.open(4711).unwrap_err().kind, NetErrorKind::Gone);
    assert_eq!(stack.open(1).unwrap_err().kind, NetErrorKind::Gone, "no Ethernet");
}
