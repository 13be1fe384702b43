//! Every way through the state machine, one at a time; thousands at once are in `hal-sim`.

use super::*;
use crate::net::dhcp6::message::{Address, Addresses, Options, SERVER_PORT, SERVERS};
use crate::net::frame6::group_mac;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OWN: Ipv6Addr = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1);
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 5);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 6);
const SECONDS: u32 = 1000;
const LINK: u32 = 30;

/// A client, its clock, and servers that say what they are told.
struct Bench {
    client: Client,
    now: Moment,
}

/// What a server says, piece by piece.
struct Answer {
    kind: Kind,
    server: u8,
    options: Options,
}

impl Answer {
    fn new(kind: Kind, server: u8) -> Self {
        Self { kind, server, options: Options::default() }
    }

    fn with(mut self, number: u16, value: &[u8]) -> Self {
        self.options.add(number, value);
        self
    }

    fn status(self, status: Status) -> Self {
        self.with(option::STATUS, &status.number().to_be_bytes())
    }

    /// With addresses, each with its valid time, or with a status instead.
    fn gives(self, list: &[(Ipv6Addr, u32)], status: Status) -> Self {
        let mut options = Options::default();
        for (address, valid_seconds) in list {
            let preferred_seconds = valid_seconds / 2;
            let address =
                Address { address: *address, preferred_seconds, valid_seconds: *valid_seconds };
            options.add(option::ADDRESS, &address.emit());
        }
        options.add(option::STATUS, &status.number().to_be_bytes());
        let given = Addresses { link: LINK, renew_seconds: 0, rebind_seconds: 0, options };
        self.with(option::ADDRESSES, &given.emit())
    }
}

fn offer(server: u8) -> Answer {
    Answer::new(Kind::Advertise, server).gives(&[(ADDRESS, SECONDS)], Status::Success)
}

fn reply() -> Answer {
    Answer::new(Kind::Reply, 1)
}

fn grant() -> Answer {
    reply().gives(&[(ADDRESS, SECONDS)], Status::Success)
}

impl Bench {
    fn new(wanted: Managed) -> Self {
        let identity = Identity { mac: MAC, link: LINK, host_name: "box.example".into() };
        let now = Moment(5000);
        let mut client = Client::new(identity, 1);
        client.want(now, wanted);
        Self { client, now }
    }

    /// One that has an address.
    fn bound() -> Self {
        let mut bench = Self::new(Managed::Addresses);
        let question = bench.next(Kind::Solicit);
        bench.hear(&question, offer(1).with(option::PREFERENCE, &[255]));
        let question = bench.next(Kind::Request);
        bench.hear(&question, grant());
        assert_eq!(bench.client.phase(), Phase::Bound);
        bench
    }

    /// Time passes until the client says something, at most so long.
    fn next_within(&mut self, millis: u64) -> Option<Message> {
        let end = self.now.after(millis);
        loop {
            if let Some(frame) = self.client.poll(self.now, OWN) {
                let frame = Ethernet::parse(&frame).unwrap();
                assert_eq!((frame.from, frame.to), (MAC, group_mac(SERVERS)));
                let datagram = Datagram6::parse(frame.content).unwrap();
                assert_eq!((datagram.from, datagram.to), (OWN, SERVERS));
                assert_eq!((datagram.from_port, datagram.to_port), (CLIENT_PORT, SERVER_PORT));
                let message = Message::parse(datagram.payload).unwrap();
                assert_eq!(message.options.bytes(option::CLIENT), Some(&client_name(MAC)[..]));
                return Some(message);
            }
            let deadline = self.client.deadline().unwrap_or(end);
            if self.now >= end {
                return None;
            }
            assert!(deadline > self.now, "a deadline that is past, and nothing done");
            self.now = deadline.min(end);
        }
    }

    #[track_caller]
    fn next(&mut self, kind: Kind) -> Message {
        let message = self.next_within(u64::from(SECONDS) * 2000).expect("it says something");
        assert_eq!(message.kind, kind);
        message
    }

    fn hear(&mut self, question: &Message, answer: Answer) {
        let options = Options::default()
            .with(option::CLIENT, question.options.bytes(option::CLIENT).unwrap())
            .with(option::SERVER, &[answer.server]);
        let all = [(option::CLIENT, options), (option::SERVER, answer.options)];
        let mut bytes =
            Message { kind: answer.kind, exchange: question.exchange, options: Options::default() }
                .emit();
        for (_, options) in all {
            let part = Message { kind: answer.kind, exchange: 0, options }.emit();
            bytes.extend_from_slice(&part[4..]);
        }
        self.hear_bytes(&bytes);
    }

    fn hear_bytes(&mut self, payload: &[u8]) {
        let (from, from_port) = (OTHER, SERVER_PORT);
        let datagram = Datagram6 { from, from_port, to: OWN, to_port: CLIENT_PORT, payload };
        let content = datagram.emit().unwrap();
        let from = Mac([2; 6]);
        let frame = Ethernet { to: MAC, from, kind: ETHER_IPV6, content: &content }.emit();
        self.client.hear(self.now, &frame);
    }

    fn address(&self) -> Option<Ipv6Addr> {
        self.client.lease(self.now).map(|lease| lease.address)
    }
}

#[test]
fn nobody_is_asked_unless_routers_say_so() {
    let mut bench = Bench::new(Managed::Nothing);
    assert_eq!(bench.next_within(10_000_000), None);
    assert_eq!(bench.client.deadline(), None);
}

#[test]
fn the_first_server_is_waited_for_and_the_most_willing_one_is_taken() {
    let mut bench = Bench::new(Managed::Addresses);
    let question = bench.next(Kind::Solicit);
    assert!(bench.now.since(Moment(5000)) <= FIRST_MILLIS_MAX);
    assert_eq!(question.options.bytes(option::ELAPSED), Some(&[0, 0][..]));
    assert_eq!(question.options.bytes(option::HOST_NAME), Some(&b"\x04\x03box"[..]));
    for (server, preference) in [(1, 5), (2, 9), (3, 9)] {
        bench.hear(&question, offer(server).with(option::PREFERENCE, &[preference]));
    }
    assert_eq!(bench.client.phase(), Phase::Soliciting, "others may answer yet");
    let asked = bench.now;
    let request = bench.next(Kind::Request);
    assert!((1001..=1100).contains(&bench.now.since(asked)));
    assert_eq!(request.options.bytes(option::SERVER), Some(&[2][..]));
    assert_ne!(request.exchange, question.exchange);
    bench.hear(&request, grant());
    assert_eq!(bench.address(), None, "another server has nothing to say");
    bench.hear(&request, Answer { server: 2, ..grant() }.with(option::DNS, &OTHER.octets()));
    assert_eq!(bench.address(), Some(ADDRESS));
    assert_eq!(bench.client.information(bench.now).unwrap().dns, [OTHER]);
}

#[test]
fn silence_is_told_and_asked_into_again_and_again() {
    let mut bench = Bench::new(Managed::Addresses);
    let first = bench.next(Kind::Solicit);
    for _ in 0..20 {
        let again = bench.next(Kind::Solicit);
        assert_eq!(again.exchange, first.exchange);
        assert_ne!(again.options.bytes(option::ELAPSED), Some(&[0, 0][..]));
    }
    assert!(matches!(bench.client.trouble(), Some(Trouble::Silence { .. })));
    // Late, the first answer is taken at once.
    bench.hear(&first, offer(1));
    assert_eq!(bench.client.phase(), Phase::Requesting);
}

#[test]
fn a_server_without_addresses_is_told_and_one_that_has_some_is_taken() {
    let mut bench = Bench::new(Managed::Addresses);
    let question = bench.next(Kind::Solicit);
    let none = || Answer::new(Kind::Advertise, 1);
    bench.hear(&question, none().gives(&[], Status::NoAddresses));
    assert_eq!(bench.client.trouble(), Some(Trouble::NoAddresses));
    bench.hear(&question, none().status(Status::NoAddresses));
    bench.next(Kind::Solicit);
    bench.hear(&question, offer(2));
    let request = bench.next(Kind::Request);
    // It was given to somebody else meanwhile.
    bench.hear(&request, Answer { server: 2, ..reply() }.gives(&[], Status::NoAddresses));
    assert_eq!(bench.client.trouble(), Some(Trouble::NoAddresses));
    let asked = bench.now;
    bench.next(Kind::Solicit);
    assert!(bench.now.since(asked) >= 750, "not without pause");
}

#[test]
fn requests_that_nobody_answers_end_after_ten() {
    let mut bench = Bench::new(Managed::Addresses);
    let question = bench.next(Kind::Solicit);
    bench.hear(&question, offer(1).with(option::PREFERENCE, &[255]));
    let request = bench.next(Kind::Request);
    bench.hear(&request, reply().status(Status::Failed));
    for _ in 1..10 {
        bench.next(Kind::Request);
    }
    bench.next(Kind::Solicit);
}

#[test]
fn a_lease_is_renewed_then_rebound_then_lost() {
    let mut bench = Bench::bound();
    let began = bench.now;
    let renew = bench.next(Kind::Renew);
    assert_eq!(bench.now.since(began), 250_000, "half of the preferred time");
    bench.hear(&renew, grant());
    assert_eq!(bench.client.phase(), Phase::Bound);
    let began = bench.now;
    let mut last = bench.next(Kind::Renew);
    while last.kind == Kind::Renew {
        last = bench.next_within(600_000).unwrap();
    }
    assert_eq!((last.kind, bench.now.since(began)), (Kind::Rebind, 400_000));
    assert_eq!(last.options.bytes(option::SERVER), None, "any server may answer");
    bench.hear(&last, Answer { server: 7, ..grant() });
    assert_eq!(bench.client.phase(), Phase::Bound);
    let (began, mut last) = (bench.now, bench.next(Kind::Renew));
    assert_eq!(last.options.bytes(option::SERVER), Some(&[7][..]));
    while last.kind != Kind::Solicit {
        assert_eq!(bench.address(), Some(ADDRESS));
        last = bench.next_within(600_000).unwrap();
    }
    assert!(bench.now.since(began) >= u64::from(SECONDS) * 1000);
    assert_eq!((bench.address(), bench.client.trouble()), (None, Some(Trouble::Expired)));
}

#[test]
fn a_lease_is_not_used_past_its_end_even_before_the_client_is_called() {
    let mut bench = Bench::bound();
    bench.now = bench.client.end().unwrap();
    assert_eq!(bench.address(), None);
}

#[test]
fn a_server_that_forgot_is_asked_for_the_same_again() {
    let mut bench = Bench::bound();
    let renew = bench.next(Kind::Renew);
    bench.hear(&renew, reply().gives(&[], Status::NoBinding));
    assert_eq!(bench.address(), Some(ADDRESS), "it is ours until it ends");
    let request = bench.next(Kind::Request);
    bench.hear(&request, grant());
    assert_eq!((bench.client.phase(), bench.address()), (Phase::Bound, Some(ADDRESS)));
}

#[test]
fn an_address_that_is_taken_back_is_left_and_its_successor_used() {
    let mut bench = Bench::bound();
    let renew = bench.next(Kind::Renew);
    bench.hear(&renew, reply().gives(&[], Status::Failed));
    assert_eq!(bench.client.phase(), Phase::Renewing, "a server that failed takes nothing back");
    bench.hear(&renew, reply().gives(&[(ADDRESS, 0), (OTHER, SECONDS)], Status::Success));
    assert_eq!(bench.address(), Some(OTHER));
    let renew = bench.next(Kind::Renew);
    bench.hear(&renew, reply().gives(&[(OTHER, 0)], Status::Success));
    assert_eq!((bench.address(), bench.client.trouble()), (None, Some(Trouble::Refused)));
    bench.next(Kind::Solicit);
}

#[test]
fn after_the_cable_was_out_the_address_is_asked_about_and_kept_unless_somebody_says_no() {
    let mut bench = Bench::bound();
    let end = bench.client.end();
    bench.client.resume(bench.now);
    let confirm = bench.next(Kind::Confirm);
    assert_eq!(bench.address(), Some(ADDRESS));
    bench.hear(&confirm, reply().status(Status::Success));
    assert_eq!((bench.client.phase(), bench.client.end()), (Phase::Bound, end));
    // Nobody says anything.
    bench.client.resume(bench.now);
    let began = bench.now;
    while bench.client.phase() != Phase::Renewing {
        bench.next_within(600_000);
    }
    assert!(bench.now.since(began) > 10_000);
    // Another network.
    bench.client.resume(bench.now);
    let confirm = bench.next(Kind::Confirm);
    bench.hear(&confirm, reply().status(Status::NotOnLink));
    assert_eq!(bench.address(), None);
    bench.next(Kind::Solicit);
}

#[test]
fn a_duplicate_is_declined_to_its_server_and_another_is_asked_for() {
    let mut bench = Bench::bound();
    bench.client.decline(bench.now);
    assert_eq!(bench.address(), None);
    let told = Some(Trouble::Duplicate { address: ADDRESS });
    assert_eq!(bench.client.trouble(), told);
    let decline = bench.next(Kind::Decline);
    assert_eq!(decline.options.bytes(option::SERVER), Some(&[1][..]));
    let given = Addresses::parse(decline.options.bytes(option::ADDRESSES).unwrap()).unwrap();
    let address = Address::parse(given.options.bytes(option::ADDRESS).unwrap()).unwrap();
    assert_eq!(address.address, ADDRESS);
    bench.next(Kind::Decline);
    bench.hear(&decline, reply().status(Status::Success));
    let question = bench.next(Kind::Solicit);
    assert_eq!(bench.client.trouble(), told, "a person should know until there is another");
    bench.hear(&question, offer(1).with(option::PREFERENCE, &[255]));
    let request = bench.next(Kind::Request);
    bench.hear(&request, reply().gives(&[(OTHER, SECONDS)], Status::Success));
    assert_eq!((bench.address(), bench.client.trouble()), (Some(OTHER), None));
    // A server that does not answer to that is told four times.
    bench.client.decline(bench.now);
    (0..4).for_each(|_| drop(bench.next(Kind::Decline)));
    bench.next(Kind::Solicit);
}

#[test]
fn what_is_released_is_used_no_more() {
    let mut bench = Bench::bound();
    let frame = bench.client.release(bench.now, OWN).unwrap();
    let datagram = Datagram6::parse(Ethernet::parse(&frame).unwrap().content).unwrap();
    assert_eq!(Message::parse(datagram.payload).unwrap().kind, Kind::Release);
    assert_eq!(bench.address(), None);
    assert_eq!(bench.client.release(bench.now, OWN), None);
}

#[test]
fn information_is_asked_for_and_again_when_it_is_old() {
    let mut bench = Bench::new(Managed::Information);
    let question = bench.next(Kind::Information);
    assert_eq!(question.options.bytes(option::ADDRESSES), None);
    bench.hear(&question, reply().with(option::SNTP, &OTHER.octets()));
    assert_eq!(bench.client.information(bench.now).unwrap().ntp, [OTHER]);
    let began = bench.now;
    let question = bench.next_within(100_000_000).unwrap();
    assert_eq!(bench.now.since(began), 86_400_000, "a day, where nobody says otherwise");
    bench.hear(&question, reply().with(option::REFRESH, &5_u32.to_be_bytes()));
    let began = bench.now;
    bench.next(Kind::Information);
    assert_eq!(bench.now.since(began), 600_000, "never sooner");
}

#[test]
fn a_router_that_says_less_does_not_take_a_lease_and_one_that_says_more_is_followed() {
    let mut bench = Bench::bound();
    bench.client.want(bench.now, Managed::Nothing);
    assert_eq!(bench.address(), Some(ADDRESS));
    bench.next(Kind::Renew);
    let mut bench = Bench::new(Managed::Information);
    bench.next(Kind::Information);
    bench.client.want(bench.now, Managed::Addresses);
    bench.next(Kind::Solicit);
    bench.client.want(bench.now, Managed::Nothing);
    assert_eq!(bench.next_within(10_000_000), None);
}

#[test]
fn foreign_answers_and_those_of_other_exchanges_are_none() {
    let mut bench = Bench::new(Managed::Addresses);
    let question = bench.next(Kind::Solicit);
    let willing = || offer(1).with(option::PREFERENCE, &[255]);
    let other = Message { exchange: question.exchange ^ 1, ..question.clone() };
    bench.hear(&other, willing());
    let stranger = Options::default().with(option::CLIENT, &[9]);
    bench.hear(&Message { options: stranger, ..question.clone() }, willing());
    bench.hear(&question, Answer { kind: Kind::Reply, ..willing() });
    assert_eq!(bench.client.phase(), Phase::Soliciting);
    bench.hear(&question, willing());
    assert_eq!(bench.client.phase(), Phase::Requesting);
}

#[test]
fn any_bytes_of_a_server_are_taken() {
    let mut state = 3_u64;
    let mut bound = 0;
    for round in 0..20_000 {
        let mut bench = Bench::new(Managed::Addresses);
        let question = bench.next(Kind::Solicit);
        bench.hear(&question, offer(1).with(option::PREFERENCE, &[255]));
        let request = bench.next(Kind::Request);
        let given = grant().options.bytes(option::ADDRESSES).unwrap().to_vec();
        let options = Options::default()
            .with(option::CLIENT, &client_name(MAC))
            .with(option::SERVER, &[1])
            .with(option::ADDRESSES, &given);
        let mut bytes = Message { kind: Kind::Reply, exchange: request.exchange, options }.emit();
        for _ in 0..1 + round % 3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(state >> 33).unwrap() % bytes.len();
            bytes[at] = state.to_le_bytes()[3];
        }
        bench.hear_bytes(&bytes);
        bound += u32::from(bench.client.lease(bench.now).is_some());
        assert!(bench.next_within(5_000_000_000_000).is_some() || bench.client.end().is_none());
    }
    assert!((1000..19_000).contains(&bound), "{bound}");
}
