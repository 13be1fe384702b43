//! Who hears on links may have been taken over: what he says is weighed, and his end takes nothing away.

use hal::net::dhcp4::client::Phase;
use hal::net::dhcp4::lease::Lease;
use hal::net::dhcp6::client::Phase as Phase6;
use hal::net::dhcp6::lease::Information;

use super::*;
use crate::net::listener::{Asked, Four, Six, Stand};

/// A link with a lease of a minute.
fn leased() -> Bench {
    let mut bench = Bench::new("", &[nic(2, 1)]);
    bench.server = Some(SimServer::new(1, 50..51, 60));
    bench.pass(3000);
    assert_eq!(bench.addresses(), ["10.0.0.50/24 on 2"]);
    bench
}

/// A lease as a server could promise it, from now on.
fn honest(now: Moment) -> (Lease, Option<Moment>) {
    let lease = Lease {
        address: "10.0.0.77/24".parse().unwrap(),
        routers: vec![Ipv4Addr::new(10, 0, 0, 1)],
        routes: Vec::new(),
        dns: vec![Ipv4Addr::new(10, 0, 0, 1)],
        domains: vec!["corp.example".to_owned()],
        ntp: Vec::new(),
        mtu: Some(1500),
        server: Ipv4Addr::new(10, 0, 0, 1),
        seconds: 60,
        renew_seconds: 30,
        rebind_seconds: 52,
    };
    (lease, Some(now.after(60_000)))
}

/// Says that a server promised this.
fn promise_of(bench: &mut Bench, lease: Lease, end: Option<Moment>) -> Result<(), String> {
    let run = bench.machine.ports[&2].run;
    let asked = Asked { phase: Phase::Bound, lease: Some(lease), end, trouble: None };
    let four = Four { asked: Some(asked), fixed: Vec::new() };
    bench.machine.told(bench.now, Told::Four { link: 2, run, four })
}

#[test]
fn no_lease_is_believed_that_no_server_promises() {
    let mut bench = leased();
    let now = bench.now;
    let address = |lease: &mut Lease, text: &str| lease.address = text.parse().unwrap();
    type Lie<'a> = (&'a str, &'a dyn Fn(&mut Lease, &mut Option<Moment>));
    let lies: [Lie<'_>; 18] = [
        ("itself", &|lease, _| address(lease, "127.0.0.1/8")),
        ("everybody", &|lease, _| address(lease, "255.255.255.255/32")),
        ("a group", &|lease, _| address(lease, "224.0.0.1/24")),
        ("nobody", &|lease, _| address(lease, "0.0.0.0/24")),
        ("the cable's name", &|lease, _| address(lease, "10.0.0.0/24")),
        ("the whole world", &|lease, _| address(lease, "10.0.0.5/0")),
        ("another kind", &|lease, _| address(lease, "fd00::5/64")),
        ("longer than it was promised", &|_, end| *end = end.map(|end| end.after(1))),
        ("for ever, for a minute", &|_, end| *end = None),
        ("a minute, for ever", &|lease, _| lease.seconds = u32::MAX),
        ("no time", &|lease, end| (lease.seconds, *end) = (0, Some(Moment(0)))),
        ("seventeen name servers", &|lease, _| lease.dns = vec![lease.server; 17]),
        ("itself as a router", &|lease, _| lease.routers = vec![Ipv4Addr::LOCALHOST]),
        ("too many ways", &|lease, _| lease.routes = vec![(lease.address, lease.server); 65]),
        ("ways of another kind", &|lease, _| {
            lease.routes = vec![("::/0".parse().unwrap(), lease.server)];
        }),
        ("a line of its own", &|lease, _| {
            lease.domains = vec!["a\nnameserver 6.6.6.6".to_owned()];
        }),
        ("packets of nothing", &|lease, _| lease.mtu = Some(0)),
        ("nobody promised it", &|lease, _| lease.server = Ipv4Addr::UNSPECIFIED),
    ];
    for (what, lie) in lies {
        let (mut lease, mut end) = honest(now);
        lie(&mut lease, &mut end);
        let told = promise_of(&mut bench, lease, end);
        assert!(told.is_err_and(|why| why.contains("no server of DHCP says")), "{what}");
        bench.settle();
        assert_eq!(bench.addresses(), ["10.0.0.50/24 on 2"], "{what}");
    }
    // The same without a lie is believed, and for ever where that was promised.
    let (lease, end) = honest(now);
    promise_of(&mut bench, lease.clone(), end).unwrap();
    promise_of(&mut bench, Lease { seconds: u32::MAX, ..lease }, None).unwrap();
    bench.settle();
    assert_eq!(bench.addresses(), ["10.0.0.77/24 on 2"]);
}

#[test]
fn nothing_is_believed_that_was_not_asked_for() {
    let mut bench = Bench::new(FIXED, &[nic(2, 1)]);
    bench.pass(1000);
    let run = bench.machine.ports[&2].run;
    let (lease, end) = honest(bench.now);
    let asked = Asked { phase: Phase::Bound, lease: Some(lease), end, trouble: None };
    let ours = Stand::Ours { rival: None };
    for (asked, fixed) in [
        (Some(asked), vec![ours]),
        (None, vec![]),
        (None, vec![ours, ours]),
        (None, vec![ours; 999]),
    ] {
        let four = Four { asked, fixed };
        assert!(bench.machine.told(bench.now, Told::Four { link: 2, run, four }).is_err());
    }
    // What is of another beginning, or of no link, came late: so it is with a link that was pulled out.
    let four = Four { asked: None, fixed: Vec::new() };
    for (link, run) in [(2, run + 1), (2, run - 1), (9, run)] {
        bench.machine.told(bench.now, Told::Four { link, run, four: four.clone() }).unwrap();
    }
    bench.settle();
    assert_eq!(bench.addresses(), ["10.1.0.5/24 on 2"]);
}

#[test]
fn no_address_of_ipv6_and_no_advice_is_believed_that_nobody_gives() {
    let mut bench = managed(Managed::Addresses);
    let (now, run) = (bench.now, bench.machine.six[&2].run);
    let six = |address: &str| Six {
        phase: Phase6::Bound,
        address: Some(address.parse().unwrap()),
        end: Some(now.after(60_000)),
        ..Six::default()
    };
    let mut all: Vec<Six> = ["::", "::1", "ff02::1", "fe80::5"].map(six).into();
    let dns = vec!["ff02::1".parse().unwrap()];
    let information = Some(Information { dns, ..Information::default() });
    all.push(Six { information, ..six("fd00::5") });
    for six in all {
        let told = bench.machine.told(now, Told::Six { link: 2, run, six: six.clone() });
        assert!(told.is_err(), "{six:?}");
    }
    let domains = vec!["a b".to_owned()];
    for advice in [
        Advice::Domains { domains, seconds: 60 },
        Advice::Domains { domains: vec!["a".to_owned(); 99], seconds: 60 },
        Advice::Servers { servers: vec!["::1".parse().unwrap()], seconds: 60 },
    ] {
        let told = bench.machine.told(now, Told::Advice { link: 2, advice: advice.clone() });
        assert!(told.is_err(), "{advice:?}");
    }
    bench.settle();
    assert_eq!(bench.addresses(), ["fe80::1/64 on 2", "fd00::50/128 on 2"]);
    assert_eq!(bench.machine.state(now).dns, ["fd00::53"]);
}

/// Somebody else hears from now on.
fn anew(bench: &mut Bench) {
    bench.listener = Listener::default();
    bench.machine.heard_anew();
    bench.changes.clear();
}

#[test]
fn who_hears_anew_takes_nothing_away_while_what_was_promised_holds() {
    let mut bench = leased();
    anew(&mut bench);
    bench.pass(20_000);
    assert_eq!(bench.changes, [""; 0], "the same server promises the same again");
    assert_eq!(bench.machine.state(bench.now).links[0].dhcp.as_deref(), Some("bound"));
    // A server that is gone has promised all the same.
    bench.server = None;
    anew(&mut bench);
    bench.pass(20_000);
    assert_eq!(bench.changes, [""; 0]);
    assert_eq!(bench.machine.resolver(bench.now).servers.len(), 1);
    bench.pass(61_000);
    assert_eq!((bench.addresses(), bench.routes()), (vec![], vec![]), "to its end, and no longer");
    // Fixed addresses are nobody's to promise.
    let mut bench = Bench::new(FIXED, &[nic(2, 1)]);
    bench.pass(1000);
    anew(&mut bench);
    bench.pass(20_000);
    assert_eq!((bench.addresses().len(), bench.changes.len()), (1, 0));
}

#[test]
fn who_hears_ipv6_anew_takes_nothing_away_either() {
    let mut bench = managed(Managed::Addresses);
    bench.server6 = None;
    anew(&mut bench);
    bench.pass(20_000);
    assert_eq!(bench.changes, [""; 0]);
    assert_eq!(bench.machine.state(bench.now).dns, ["fd00::53"]);
    bench.pass(61_000);
    assert_eq!(bench.addresses(), ["fe80::1/64 on 2"]);
}
