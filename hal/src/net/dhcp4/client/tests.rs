//! Every way through the state machine, one at a time; thousands at once are in `hal-sim`.

use super::*;
use crate::net::address::Cidr;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x53]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const LEASE_SECONDS: u32 = 3600;

/// A client, its clock, and a server that says what it is told.
struct Bench {
    client: Client,
    now: Moment,
}

/// What the client sent, taken apart.
struct Sent {
    to: Mac,
    from: Ipv4Addr,
    to_address: Ipv4Addr,
    message: Message,
}

impl Bench {
    fn new() -> Self {
        let identity = Identity { mac: MAC, host_name: "box".into() };
        let now = Moment(5000);
        Self { client: Client::new(identity, 1, now), now }
    }

    /// Time passes until the client says something of DHCP, at most so long.
    fn next_within(&mut self, millis: u64) -> Option<Sent> {
        let end = self.now.after(millis);
        loop {
            while let Some(frame) = self.client.poll(self.now) {
                let frame = Ethernet::parse(&frame).unwrap();
                assert_eq!(frame.from, MAC);
                if frame.kind != ETHER_IPV4 {
                    continue;
                }
                let datagram = Datagram::parse(frame.content).unwrap();
                assert_eq!((datagram.from_port, datagram.to_port), (CLIENT_PORT, SERVER_PORT));
                let message = Message::parse(datagram.payload).unwrap();
                assert_eq!(message.options.bytes(option::CLIENT), Some(&[1, 2, 0, 0, 0, 0, 1][..]));
                let (to, from, to_address) = (frame.to, datagram.from, datagram.to);
                return Some(Sent { to, from, to_address, message });
            }
            if self.now >= end {
                return None;
            }
            let deadline = self.client.deadline();
            assert!(deadline > self.now, "a deadline that is past, and nothing done");
            self.now = deadline.min(end);
        }
    }

    fn next(&mut self) -> Sent {
        self.next_within(30_000).expect("the client says something")
    }

    fn answer(&mut self, sent: &Sent, kind: Kind, change: impl FnOnce(&mut Message)) {
        let mut message = Message::of_client(kind, sent.message.exchange, MAC);
        message.reply = true;
        message.given = ADDRESS;
        message.options.set(option::SERVER, &SERVER.octets());
        message.options.set(option::MASK, &[255, 255, 255, 0]);
        message.options.set(option::ROUTERS, &SERVER.octets());
        message.options.set(option::LEASE, &LEASE_SECONDS.to_be_bytes());
        change(&mut message);
        let frame = server_frame(&message);
        self.client.hear(self.now, &frame);
    }

    /// From nothing to an address.
    fn bound() -> Self {
        let mut bench = Self::new();
        let discover = bench.next();
        bench.answer(&discover, Kind::Offer, |_| ());
        let request = bench.next();
        bench.answer(&request, Kind::Ack, |_| ());
        assert!(bench.next_within(1000).is_none());
        assert_eq!(bench.client.phase(), Phase::Bound);
        bench
    }

    fn own(&self) -> Option<Ipv4Addr> {
        self.client.lease().map(Lease::own)
    }
}

fn server_frame(message: &Message) -> Vec<u8> {
    let payload = message.emit();
    let packet =
        Datagram { from: SERVER, from_port: 67, to: ADDRESS, to_port: 68, payload: &payload };
    let content = packet.emit().unwrap();
    Ethernet { to: MAC, from: SERVER_MAC, kind: ETHER_IPV4, content: &content }.emit()
}

#[test]
fn four_messages_and_a_search_give_an_address() {
    let mut bench = Bench::new();
    let discover = bench.next();
    assert_eq!(discover.message.kind, Kind::Discover);
    assert_eq!((discover.to, discover.to_address), (Mac::BROADCAST, Ipv4Addr::BROADCAST));
    assert_eq!(discover.message.options.text(option::HOST_NAME).as_deref(), Some("box"));
    bench.answer(&discover, Kind::Offer, |_| ());
    let request = bench.next();
    assert_eq!(request.message.kind, Kind::Request);
    assert_eq!(request.message.options.address(option::WANTED), Some(ADDRESS));
    assert_eq!(request.message.options.address(option::SERVER), Some(SERVER));
    assert_eq!(request.message.own, Ipv4Addr::UNSPECIFIED);
    bench.answer(&request, Kind::Ack, |_| ());
    assert_eq!(bench.own(), None, "not before the search for duplicates");
    assert!(bench.next_within(1000).is_none());
    let lease = bench.client.lease().unwrap();
    assert_eq!(lease.address, Cidr::new(ADDRESS.into(), 24).unwrap());
    assert_eq!(lease.routers, [SERVER]);
    assert_eq!(bench.client.trouble(), None);
}

#[test]
fn an_answer_to_another_exchange_machine_or_offer_is_nothing() {
    let mut bench = Bench::new();
    let discover = bench.next();
    bench.answer(&discover, Kind::Offer, |message| message.exchange ^= 1);
    bench.answer(&discover, Kind::Offer, |message| message.mac = SERVER_MAC);
    bench.answer(&discover, Kind::Offer, |message| message.reply = false);
    bench.answer(&discover, Kind::Offer, |message| message.given = Ipv4Addr::BROADCAST);
    bench.answer(&discover, Kind::Offer, |message| message.options.set(option::SERVER, &[]));
    bench.answer(&discover, Kind::Ack, |_| ());
    assert_eq!(bench.client.phase(), Phase::Selecting);
    bench.answer(&discover, Kind::Offer, |_| ());
    let request = bench.next();
    bench.answer(&request, Kind::Ack, |message| message.given = Ipv4Addr::new(10, 0, 0, 6));
    bench
        .answer(&request, Kind::Ack, |message| message.options.set(option::SERVER, &[10, 0, 0, 2]));
    bench
        .answer(&request, Kind::Nak, |message| message.options.set(option::SERVER, &[10, 0, 0, 2]));
    assert_eq!(bench.client.phase(), Phase::Requesting);
}

#[test]
fn silence_is_asked_into_less_and_less_often_and_told() {
    let mut bench = Bench::new();
    let mut waits = Vec::new();
    let mut flags = Vec::new();
    let mut last = bench.now;
    for _ in 0..8 {
        flags.push(bench.next().message.broadcast);
        waits.push(bench.now.since(last));
        last = bench.now;
    }
    assert_eq!(flags, [false, true, false, true, false, true, false, true]);
    assert!(waits[1] >= 1500 && waits[1] <= 2500, "{waits:?}");
    assert!(waits[7] >= 12_000 && waits[7] <= 20_000, "{waits:?}");
    assert!(matches!(bench.client.trouble(), Some(Trouble::Silence { since: Moment(5000) })));
}

#[test]
fn an_offer_that_leads_nowhere_is_let_go() {
    let mut bench = Bench::new();
    let discover = bench.next();
    bench.answer(&discover, Kind::Offer, |_| ());
    for _ in 0..4 {
        assert_eq!(bench.next().message.kind, Kind::Request);
    }
    assert_eq!(bench.next().message.kind, Kind::Discover);
}

#[test]
fn refusals_are_met_with_longer_and_longer_pauses() {
    let mut bench = Bench::new();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let discover = bench.next_within(100_000).unwrap();
        assert_eq!(discover.message.kind, Kind::Discover);
        bench.answer(&discover, Kind::Offer, |_| ());
        let request = bench.next();
        bench.answer(&request, Kind::Nak, |_| ());
        assert_eq!(bench.client.trouble(), Some(Trouble::Refused { server: Some(SERVER) }));
        pauses.push(bench.client.deadline().since(bench.now));
    }
    assert!(pauses[0] <= 1250 && pauses[8] >= 45_000 && pauses[8] <= 75_000, "{pauses:?}");
}

#[test]
fn an_address_that_somebody_has_is_declined_and_asked_anew_later() {
    let mut bench = Bench::new();
    let discover = bench.next();
    bench.answer(&discover, Kind::Offer, |_| ());
    let request = bench.next();
    bench.answer(&request, Kind::Ack, |_| ());
    assert!(bench.next_within(100).is_none());
    let rival = Mac([2, 9, 9, 9, 9, 9]);
    let answer = Arp { asks: false, ..Arp::announcement(rival, ADDRESS) };
    bench.client.hear(bench.now, &answer.frame());
    let decline = bench.next();
    assert_eq!(decline.message.kind, Kind::Decline);
    assert_eq!(decline.message.options.address(option::WANTED), Some(ADDRESS));
    assert_eq!(bench.own(), None);
    let machine = rival;
    assert_eq!(bench.client.trouble(), Some(Trouble::Duplicate { address: ADDRESS, machine }));
    let before = bench.now;
    assert_eq!(bench.next().message.kind, Kind::Discover);
    assert!(bench.now.since(before) >= DECLINED_MILLIS);
}

#[test]
fn a_later_rival_is_told_once_and_yielded_to_when_it_stays() {
    let mut bench = Bench::bound();
    let rival = Arp::announcement(Mac([2, 9, 9, 9, 9, 9]), ADDRESS).frame();
    bench.client.hear(bench.now, &rival);
    let defence = bench.client.poll(bench.now).unwrap();
    let told = Arp::parse(Ethernet::parse(&defence).unwrap().content).unwrap();
    assert_eq!((told.sender, told.sender_mac), (ADDRESS, MAC));
    assert_eq!(bench.own(), Some(ADDRESS));
    bench.now = bench.now.after(DEFEND_MILLIS + 1);
    bench.client.hear(bench.now, &rival);
    assert_eq!(bench.own(), Some(ADDRESS), "a while later it is a new quarrel");
    bench.client.hear(bench.now, &rival);
    assert_eq!(bench.own(), None);
}

#[test]
fn a_lease_is_renewed_with_its_server() {
    let mut bench = Bench::bound();
    let renew = bench.next_within(u64::from(LEASE_SECONDS) * 1000).unwrap();
    assert_eq!(bench.client.phase(), Phase::Renewing);
    assert!(bench.now.0 >= 5000 + 1_740_000 && bench.now.0 <= 5000 + 1_810_000, "{:?}", bench.now);
    assert_eq!((renew.to, renew.from, renew.to_address), (SERVER_MAC, ADDRESS, SERVER));
    assert_eq!(renew.message.own, ADDRESS);
    assert_eq!(renew.message.options.bytes(option::WANTED), None);
    assert_eq!(renew.message.options.bytes(option::SERVER), None);
    let end = bench.client.end();
    bench.answer(&renew, Kind::Ack, |_| ());
    assert_eq!(bench.client.phase(), Phase::Bound);
    assert!(bench.client.end() > end);
}

#[test]
fn a_silent_server_is_followed_by_any_and_then_by_the_end() {
    let mut bench = Bench::bound();
    let (mut renewals, mut rebinds) = (0, 0);
    loop {
        let sent = bench.next_within(4_000_000).unwrap();
        match bench.client.phase() {
            Phase::Renewing => renewals += 1,
            Phase::Rebinding => {
                rebinds += 1;
                assert_eq!((sent.to, sent.message.own), (Mac::BROADCAST, ADDRESS));
            }
            Phase::Selecting => break,
            phase => panic!("{phase:?}"),
        }
        assert_eq!(bench.own(), Some(ADDRESS));
    }
    assert!((2..20).contains(&renewals) && (2..10).contains(&rebinds), "{renewals} {rebinds}");
    assert_eq!(bench.client.trouble(), Some(Trouble::Expired));
    assert_eq!(bench.own(), None);
    assert!(bench.now.0.abs_diff(5000 + 3_600_000) < 2000, "{:?}", bench.now);
}

#[test]
fn another_server_may_keep_the_address_when_the_first_is_gone() {
    let mut bench = Bench::bound();
    let rebind = loop {
        let sent = bench.next_within(4_000_000).unwrap();
        if bench.client.phase() == Phase::Rebinding {
            break sent;
        }
    };
    bench.answer(&rebind, Kind::Ack, |message| message.options.set(option::SERVER, &[10, 0, 0, 2]));
    assert_eq!(bench.client.phase(), Phase::Bound);
    assert_eq!(bench.client.lease().unwrap().server, Ipv4Addr::new(10, 0, 0, 2));
}

#[test]
fn a_link_that_comes_back_keeps_its_address_unless_somebody_says_no() {
    let mut bench = Bench::bound();
    bench.client.resume(bench.now);
    assert_eq!(bench.own(), Some(ADDRESS), "used while it is asked for");
    let reboot = bench.next();
    assert_eq!(bench.client.phase(), Phase::Rebooting);
    assert_eq!(reboot.message.options.address(option::WANTED), Some(ADDRESS));
    assert_eq!(reboot.message.options.bytes(option::SERVER), None);
    bench.answer(&reboot, Kind::Ack, |_| ());
    assert_eq!(bench.client.phase(), Phase::Bound);

    bench.client.resume(bench.now);
    let reboot = bench.next();
    bench.answer(&reboot, Kind::Nak, |message| message.options.set(option::SERVER, &[]));
    assert_eq!(bench.own(), None);
    assert_eq!(bench.next().message.kind, Kind::Discover);
}

#[test]
fn a_link_that_comes_back_where_nobody_answers_uses_its_lease_to_the_end() {
    let mut bench = Bench::bound();
    bench.client.resume(bench.now);
    for _ in 0..3 {
        assert_eq!(bench.next().message.options.address(option::WANTED), Some(ADDRESS));
    }
    let rebind = bench.next();
    assert_eq!((bench.client.phase(), rebind.message.own), (Phase::Rebinding, ADDRESS));
    assert_eq!(bench.own(), Some(ADDRESS));
    bench.now = bench.now.after(4_000_000);
    bench.client.resume(bench.now);
    assert_eq!(bench.own(), None, "its time is over");
    assert_eq!(bench.next().message.kind, Kind::Discover);
}

#[test]
fn a_lease_for_ever_is_never_renewed() {
    let mut bench = Bench::new();
    let discover = bench.next();
    let forever = |message: &mut Message| message.options.set(option::LEASE, &[255; 4]);
    bench.answer(&discover, Kind::Offer, forever);
    let request = bench.next();
    bench.answer(&request, Kind::Ack, forever);
    assert!(bench.next_within(1 << 50).is_none());
    assert_eq!((bench.own(), bench.client.end()), (Some(ADDRESS), None));
}

#[test]
fn a_released_address_is_told_to_its_server() {
    let mut bench = Bench::bound();
    let frame = bench.client.release(bench.now).unwrap();
    let frame = Ethernet::parse(&frame).unwrap();
    assert_eq!(frame.to, SERVER_MAC);
    let message = Message::parse(Datagram::parse(frame.content).unwrap().payload).unwrap();
    assert_eq!((message.kind, message.own), (Kind::Release, ADDRESS));
    assert_eq!(bench.own(), None);
    assert_eq!(bench.client.release(bench.now), None);
}

#[test]
fn any_frames_in_any_state_do_no_harm() {
    let mut chance = Chance::new(7);
    let mut addresses = 0;
    for seed in 0..400 {
        let identity = Identity { mac: MAC, host_name: "box".into() };
        let mut bench = Bench { client: Client::new(identity, seed, Moment(0)), now: Moment(0) };
        for _ in 0..60 {
            let Some(sent) = bench.next_within(2_000_000) else { continue };
            let kind = [Kind::Offer, Kind::Ack, Kind::Ack, Kind::Nak]
                [usize::from(chance.word().to_le_bytes()[0] % 4)];
            let mut message = Message::of_client(kind, sent.message.exchange, MAC);
            message.reply = true;
            message.given = ADDRESS;
            message.options.set(option::SERVER, &SERVER.octets());
            message.options.set(option::LEASE, &(chance.word() % 5000).to_be_bytes());
            message.options.set(option::RENEW, &(chance.word() % 5000).to_be_bytes());
            let good = server_frame(&message);
            let mut bad = good.clone();
            for _ in 0..chance.number() % 4 {
                let at = usize::try_from(chance.number()).unwrap() % bad.len();
                bad[at] = chance.number().to_le_bytes()[0];
            }
            bench.client.hear(bench.now, &bad);
            if !chance.number().is_multiple_of(3) {
                bench.client.hear(bench.now, &good);
            }
            if chance.number().is_multiple_of(20) {
                bench.client.resume(bench.now);
            }
            if let Some(lease) = bench.client.lease() {
                addresses += 1;
                assert!(lease.address.is_machine());
                assert!(lease.renew_seconds < lease.rebind_seconds);
                assert!(lease.rebind_seconds < lease.seconds);
                assert!(bench.client.end().is_none_or(|end| end >= bench.now));
            }
        }
    }
    assert!(addresses > 2000, "only {addresses} times was there a lease to look at");
}
